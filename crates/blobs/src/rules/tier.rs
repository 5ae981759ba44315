//! Access tiers of block blobs. Content lies where it lies; what a tier changes is who may read it:
//! what is archived is closed until it is given another tier, which is done at once.
//!
//! Source: "Set Blob Tier".

use serde::{Deserialize, Serialize};

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

    /// Reads `x-ms-access-tier`; `None` for those that block blobs don't have.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Hot, Self::Cool, Self::Cold, Self::Archive]
            .into_iter()
            .find(|tier| tier.name().eq_ignore_ascii_case(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
