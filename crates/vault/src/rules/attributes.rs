//! What attributes mean: recovery levels, whether a version may be used now.

use crate::limits::RECOVERABLE_DAYS_MAX;

/// How a vault keeps what is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// For how long, in days.
    pub days: u32,
    /// Whether nothing can be purged before its time.
    pub purge_protection: bool,
}

impl Recovery {
    /// What `recoveryLevel` says.
    #[must_use]
    pub fn level(self) -> &'static str {
        match (self.days >= RECOVERABLE_DAYS_MAX, self.purge_protection) {
            (true, false) => "Recoverable+Purgeable",
            (true, true) => "Recoverable",
            (false, false) => "CustomizedRecoverable+Purgeable",
            (false, true) => "CustomizedRecoverable",
        }
    }

    /// When what is deleted at `at` (Unix seconds) goes.
    #[must_use]
    pub fn purge_at(self, at: i64) -> i64 {
        at.saturating_add(i64::from(self.days) * 86_400)
    }
}

/// What a key is asked for, as far as its time of validity matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Protects something: sign, encrypt, wrapKey.
    Protect,
    /// Processes what was protected: verify, decrypt, unwrapKey.
    Process,
}

/// Whether a key may be used at `now` (Unix seconds): outside of its time it processes what was protected
/// before, and protects nothing.
#[must_use]
pub fn is_in_time(usage: Use, nbf: Option<i64>, exp: Option<i64>, now: i64) -> bool {
    usage == Use::Process || (nbf.is_none_or(|nbf| nbf <= now) && exp.is_none_or(|exp| now < exp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_the_documented_ones() {
        let level = |days, purge_protection| {
            let recovery = Recovery {
                days,
                purge_protection,
            };
            recovery.level()
        };
        assert_eq!(level(90, false), "Recoverable+Purgeable");
        assert_eq!(level(90, true), "Recoverable");
        assert_eq!(level(89, false), "CustomizedRecoverable+Purgeable");
        assert_eq!(level(7, true), "CustomizedRecoverable");
    }

    #[test]
    fn outside_of_its_time_a_key_protects_nothing() {
        for (usage, nbf, exp, allowed) in [
            (Use::Protect, None, None, true),
            (Use::Protect, Some(10), Some(11), true),
            (Use::Protect, Some(11), None, false),
            (Use::Protect, None, Some(10), false),
            (Use::Process, Some(11), None, true),
            (Use::Process, None, Some(10), true),
        ] {
            assert_eq!(
                is_in_time(usage, nbf, exp, 10),
                allowed,
                "{usage:?} {nbf:?} {exp:?}"
            );
        }
    }
}
