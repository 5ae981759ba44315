//! Access tiers of blobs. Content lies where it lies; what a tier changes is who may read it:
//! what is archived is closed until it is given another tier, which is done at once.
//!
//! The account is a general-purpose one, as it says of itself: page blobs have tiers (P4 to P80) in premium
//! accounts alone, so they are refused here as that kind of account refuses them, and append blobs have none.
//!
//! Source: "Set Blob Tier"; the original's answers to a page blob with a tier in a general-purpose account.

use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;

/// An access tier.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// The default.
    #[default]
    Hot,
    /// Read seldom.
    Cool,
    /// Read hardly ever.
    Cold,
    /// Not read.
    Archive,
}

impl Tier {
    /// As headers and listings have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "Hot",
            Self::Cool => "Cool",
            Self::Cold => "Cold",
            Self::Archive => "Archive",
        }
    }

    /// Reads a block blob's tier.
    fn parse(text: &str) -> Option<Self> {
        [Self::Hot, Self::Cool, Self::Cold, Self::Archive]
            .into_iter()
            .find(|tier| tier.name().eq_ignore_ascii_case(text))
    }
}

/// Tiers of page blobs in premium accounts.
const PREMIUM: [&str; 11] = [
    "P4", "P6", "P10", "P15", "P20", "P30", "P40", "P50", "P60", "P70", "P80",
];

/// What a request has as `x-ms-access-tier`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// One of block blobs.
    Standard(Tier),
    /// One of page blobs in premium accounts.
    Premium,
}

impl Asked {
    /// Reads the header; `None` for what is no tier.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let premium = PREMIUM.iter().any(|name| name.eq_ignore_ascii_case(text));
        match premium {
            true => Some(Self::Premium),
            false => Tier::parse(text).map(Self::Standard),
        }
    }

    /// The tier that a blob is given, if it is of a kind that has it.
    ///
    /// # Errors
    /// `AccessTierNotSupportedForBlobType` for other blobs than block blobs; `InvalidHeaderValue` for a page
    /// blob's tier.
    pub fn of_blob(self, is_block: bool) -> Result<Tier, ErrorCode> {
        match self {
            _ if !is_block => Err(ErrorCode::AccessTierNotSupportedForBlobType),
            Self::Standard(tier) => Ok(tier),
            Self::Premium => Err(ErrorCode::InvalidHeaderValue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_blobs_have_which_tiers() {
        let table = [
            ("hot", true, Some(Ok(Tier::Hot))),
            ("P10", true, Some(Err(ErrorCode::InvalidHeaderValue))),
            (
                "Hot",
                false,
                Some(Err(ErrorCode::AccessTierNotSupportedForBlobType)),
            ),
            (
                "p80",
                false,
                Some(Err(ErrorCode::AccessTierNotSupportedForBlobType)),
            ),
            ("P5", true, None),
            ("P5", false, None),
        ];
        for (text, is_block, expected) in table {
            let found = Asked::parse(text).map(|asked| asked.of_blob(is_block));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn tiers_are_read_in_any_case() {
        let table = [
            ("Hot", Some(Tier::Hot)),
            ("COOL", Some(Tier::Cool)),
            ("cold", Some(Tier::Cold)),
            ("Archive", Some(Tier::Archive)),
            ("P10", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(Tier::parse(text), expected, "{text}");
        }
    }
}
