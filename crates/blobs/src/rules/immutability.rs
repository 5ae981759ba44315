//! Immutability policies and legal holds of blobs' states: what they refuse, and how they may be changed.
//!
//! Source: "Version-level write once, read many (WORM) policies", "Set Blob Immutability Policy", "Delete Blob
//! Immutability Policy", "Set Blob Legal Hold". Invariant: what is protected goes neither by a deletion nor by
//! a change; a locked policy ends no earlier than it said.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{BlobsError, ErrorCode};
use crate::limits::IMMUTABILITY_DAYS_MAX;

/// Whether a policy may be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It may be changed and deleted.
    Unlocked,
    /// It may be extended.
    Locked,
}

impl Mode {
    /// Reads `x-ms-immutability-policy-mode`. `Mutable`, which clients know as well, is no mode that can be set.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let modes = [Self::Unlocked, Self::Locked];
        modes
            .into_iter()
            .find(|mode| text.eq_ignore_ascii_case(mode.name()))
    }

    /// As answers have it: in small letters, unlike requests of clients.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unlocked => "unlocked",
            Self::Locked => "locked",
        }
    }
}

/// A time-based retention policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Until when nothing goes, in whole seconds.
    pub until: Timestamp,
    /// Whether it may be taken back.
    pub mode: Mode,
}

impl Policy {
    /// Decides whether the policy may take the place of another one, or of none.
    ///
    /// # Errors
    /// `InvalidHeaderValue` for a time that is over, or too far away; `BlobImmutableDueToPolicy` where a locked
    /// one would be shortened or unlocked.
    pub fn replaces(self, before: Option<Self>, now: Timestamp) -> Result<(), BlobsError> {
        let furthest = now.saturating_add(SignedDuration::from_hours(24 * IMMUTABILITY_DAYS_MAX));
        if self.until <= now || furthest.is_ok_and(|furthest| self.until > furthest) {
            let text = "x-ms-immutability-policy-until-date is a time to come, at most 146,000 days away.";
            return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
        }
        match before {
            Some(before)
                if before.mode == Mode::Locked
                    && (self.mode != Mode::Locked || self.until < before.until) =>
            {
                let text = "A locked immutability policy stays locked, and can only be extended.";
                Err(BlobsError::with(ErrorCode::BlobImmutableDueToPolicy, text))
            }
            _ => Ok(()),
        }
    }

    /// Decides whether the policy may be deleted, be its time over or not.
    ///
    /// # Errors
    /// `ImmutabilityPolicyDeleteOnLockedPolicy`.
    pub fn deletes(self) -> Result<(), ErrorCode> {
        match self.mode {
            Mode::Unlocked => Ok(()),
            Mode::Locked => Err(ErrorCode::ImmutabilityPolicyDeleteOnLockedPolicy),
        }
    }
}

/// What protects a state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Its policy, be its time over or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Whether it is held; `None`: nobody ever said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub legal_hold: Option<bool>,
}

impl Protection {
    /// Whether nobody ever protected the state.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn held(&self) -> Result<(), ErrorCode> {
        match self.legal_hold {
            Some(true) => Err(ErrorCode::BlobImmutableDueToLegalHold),
            Some(false) | None => Ok(()),
        }
    }

    /// Decides whether the state may be deleted, or replaced by one that doesn't keep it.
    ///
    /// # Errors
    /// `BlobImmutableDueToLegalHold`; `BlobImmutableDueToPolicy` while a policy's time isn't over.
    pub fn deletion(&self, now: Timestamp) -> Result<(), ErrorCode> {
        self.held()?;
        match self.policy {
            Some(policy) if policy.until > now => Err(ErrorCode::BlobImmutableDueToPolicy),
            _ => Ok(()),
        }
    }

    /// Decides whether the state may be changed in place: its content, its metadata, its properties. A policy
    /// refuses that also when its time is over.
    ///
    /// # Errors
    /// `BlobImmutableDueToLegalHold`, `BlobImmutableDueToPolicy`.
    pub fn change(&self) -> Result<(), ErrorCode> {
        self.held()?;
        match self.policy {
            Some(_) => Err(ErrorCode::BlobImmutableDueToPolicy),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn policy(until: i64, mode: Mode) -> Policy {
        Policy {
            until: at(until),
            mode,
        }
    }

    #[test]
    fn modes_are_read_and_written() {
        for (text, expected) in [
            ("Unlocked", Some(Mode::Unlocked)),
            ("unlocked", Some(Mode::Unlocked)),
            ("LOCKED", Some(Mode::Locked)),
            ("Mutable", None),
            ("", None),
        ] {
            assert_eq!(Mode::parse(text), expected, "{text}");
        }
        assert_eq!(
            (Mode::Unlocked.name(), Mode::Locked.name()),
            ("unlocked", "locked")
        );
    }

    #[test]
    fn what_may_replace_what() {
        use Mode::{Locked, Unlocked};
        let refused = Err(ErrorCode::BlobImmutableDueToPolicy);
        let invalid = Err(ErrorCode::InvalidHeaderValue);
        let table = [
            (None, policy(1, Unlocked), Ok(())),
            (None, policy(1, Locked), Ok(())),
            (None, policy(0, Unlocked), invalid),
            (None, policy(-1, Locked), invalid),
            (None, policy(146_000 * 86_400, Unlocked), Ok(())),
            (None, policy(146_000 * 86_400 + 1, Unlocked), invalid),
            (Some(policy(9, Unlocked)), policy(5, Unlocked), Ok(())),
            (Some(policy(9, Unlocked)), policy(10, Unlocked), Ok(())),
            (Some(policy(9, Unlocked)), policy(5, Locked), Ok(())),
            (Some(policy(9, Unlocked)), policy(0, Unlocked), invalid),
            (Some(policy(9, Locked)), policy(9, Locked), Ok(())),
            (Some(policy(9, Locked)), policy(10, Locked), Ok(())),
            (Some(policy(9, Locked)), policy(8, Locked), refused),
            (Some(policy(9, Locked)), policy(10, Unlocked), refused),
            // Its time is over; it stays locked.
            (Some(policy(-9, Locked)), policy(1, Locked), Ok(())),
            (Some(policy(-9, Locked)), policy(1, Unlocked), refused),
        ];
        for (before, asked, expected) in table {
            let found = asked.replaces(before, at(0)).map_err(|error| error.code);
            assert_eq!(found, expected, "{before:?} {asked:?}");
        }
        let locked = Err(ErrorCode::ImmutabilityPolicyDeleteOnLockedPolicy);
        assert_eq!(policy(9, Unlocked).deletes(), Ok(()));
        assert_eq!(policy(9, Locked).deletes(), locked);
        assert_eq!(policy(-9, Locked).deletes(), locked);
    }

    #[test]
    fn what_is_refused() {
        let (by_hold, by_policy) = (
            Err(ErrorCode::BlobImmutableDueToLegalHold),
            Err(ErrorCode::BlobImmutableDueToPolicy),
        );
        // Policy, hold; deletion, change.
        let table = [
            (None, None, Ok(()), Ok(())),
            (None, Some(false), Ok(()), Ok(())),
            (None, Some(true), by_hold, by_hold),
            (Some(1), None, by_policy, by_policy),
            (Some(1), Some(true), by_hold, by_hold),
            (Some(0), None, Ok(()), by_policy),
            (Some(-1), Some(false), Ok(()), by_policy),
            (Some(-1), Some(true), by_hold, by_hold),
        ];
        for (until, legal_hold, deletion, change) in table {
            for mode in [Mode::Unlocked, Mode::Locked] {
                let protection = Protection {
                    policy: until.map(|until| policy(until, mode)),
                    legal_hold,
                };
                assert_eq!(protection.deletion(at(0)), deletion, "{protection:?}");
                assert_eq!(protection.change(), change, "{protection:?}");
                assert_eq!(protection.is_none(), until.is_none() && legal_hold.is_none());
            }
        }
    }
}
