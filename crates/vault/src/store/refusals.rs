//! How many rows refusals may write.
//!
//! Invariant: each refusal has a row of its own, or is in the count of a later one. Counts are in memory: what a
//! process counted when it dies is lost.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::ErrorCode;
use crate::limits::{
    AUDIT_REFUSALS_MAX, AUDIT_REFUSALS_SECONDS, AUDIT_REFUSED_PRINCIPALS_MAX, AUDIT_STRANGERS_MAX,
};

/// A vault, and whom it refused; `None`: strangers.
pub(crate) type Refused = (String, Option<String>);

/// The last refusal that had no row of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) operation: &'static str,
    pub(crate) code: ErrorCode,
    pub(crate) caller: String,
}

/// Refusals that had no rows of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Suppressed {
    pub(crate) count: u64,
    pub(crate) last: Option<Last>,
}

#[derive(Debug)]
struct Window {
    began: Duration,
    rows: u32,
    suppressed: Suppressed,
}

impl Window {
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.began).as_secs() >= AUDIT_REFUSALS_SECONDS
    }
}

/// Who was refused of late.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<Refused, Window>>);

impl Refusals {
    /// Whether a refusal gets a row at `now`, and which ones before it that row tells of.
    pub(crate) fn admit(
        &self,
        vault: &str,
        principal: Option<&str>,
        this: Last,
        now: Duration,
    ) -> Option<Suppressed> {
        let mut windows = self.0.lock();
        let mut refused = (vault.to_owned(), principal.map(str::to_owned));
        if windows.len() >= AUDIT_REFUSED_PRINCIPALS_MAX && !windows.contains_key(&refused) {
            windows.retain(|_, window| !window.is_over(now) || window.suppressed.count > 0);
            if windows.len() >= AUDIT_REFUSED_PRINCIPALS_MAX {
                refused.1 = None;
            }
        }
        let rows_max = if refused.1.is_some() {
            AUDIT_REFUSALS_MAX
        } else {
            AUDIT_STRANGERS_MAX
        };
        let window = windows.entry(refused).or_insert(Window {
            began: now,
            rows: 0,
            suppressed: Suppressed::default(),
        });
        if window.is_over(now) {
            window.began = now;
            window.rows = 0;
        }
        if window.rows >= rows_max {
            window.suppressed.count += 1;
            window.suppressed.last = Some(this);
            return None;
        }
        window.rows += 1;
        Some(std::mem::take(&mut window.suppressed))
    }

    /// Takes the counts of those whose time is over, for rows of their own.
    pub(crate) fn take_counted(&self, now: Duration) -> Vec<(Refused, Suppressed)> {
        let mut counted = Vec::new();
        self.0.lock().retain(|refused, window| {
            let is_over = window.is_over(now);
            if is_over && window.suppressed.count > 0 {
                counted.push((refused.clone(), std::mem::take(&mut window.suppressed)));
            }
            !is_over
        });
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(at: u64) -> Last {
        Last {
            operation: "SecretGet",
            code: ErrorCode::Unauthorized,
            caller: format!("192.0.2.{at}"),
        }
    }

    fn seconds(at: u64) -> Duration {
        Duration::from_secs(at)
    }

    #[test]
    fn refusals_have_their_share_of_rows_and_the_rest_is_counted() {
        let refusals = Refusals::default();
        let admit = |principal, at| refusals.admit("a", principal, last(at), seconds(at));
        assert_eq!(admit(None, 1), Some(Suppressed::default()));
        assert_eq!(admit(None, 2), None);
        assert_eq!(admit(None, 3), None);
        for _ in 0..AUDIT_REFUSALS_MAX {
            assert_eq!(admit(Some("me"), 3), Some(Suppressed::default()));
        }
        assert_eq!(admit(Some("me"), 3), None);
        assert_eq!(admit(Some("you"), 3), Some(Suppressed::default()));
        let two = Suppressed {
            count: 2,
            last: Some(last(3)),
        };
        assert_eq!(admit(None, 11), Some(two));
        let one = Suppressed {
            count: 1,
            last: Some(last(3)),
        };
        assert_eq!(
            refusals.take_counted(seconds(13)),
            [(("a".to_owned(), Some("me".to_owned())), one)]
        );
        assert!(refusals.take_counted(seconds(40)).is_empty());
        assert!(refusals.0.lock().is_empty());
    }

    #[test]
    fn many_principals_are_counted_as_strangers() {
        let refusals = Refusals::default();
        let rows = (0..2 * AUDIT_REFUSED_PRINCIPALS_MAX)
            .filter(|at| {
                let principal = at.to_string();
                refusals
                    .admit("a", Some(&principal), last(1), seconds(1))
                    .is_some()
            })
            .count();
        assert_eq!(rows, AUDIT_REFUSED_PRINCIPALS_MAX + 1);
        assert!(refusals.0.lock().len() <= AUDIT_REFUSED_PRINCIPALS_MAX + 1);
    }
}
