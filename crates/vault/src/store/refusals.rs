//! How many rows refusals may write.

use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::AUDIT_STRANGERS_PER_SECOND_MAX;

/// How many rows strangers may write.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: u64,
    rows: u32,
    suppressed: u64,
}

impl Strangers {
    /// Whether one more may be written at `now`, and how many weren't since the last one that was.
    pub(crate) fn admit(&self, now: Duration) -> Option<u64> {
        let mut window = self.0.lock();
        if window.second != now.as_secs() {
            window.second = now.as_secs();
            window.rows = 0;
        }
        if window.rows >= AUDIT_STRANGERS_PER_SECOND_MAX {
            window.suppressed += 1;
            return None;
        }
        window.rows += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_write_no_more_than_their_share() {
        let strangers = Strangers::default();
        let second = Duration::from_secs(7);
        for _ in 0..AUDIT_STRANGERS_PER_SECOND_MAX {
            assert_eq!(strangers.admit(second), Some(0));
        }
        assert_eq!(strangers.admit(second), None);
        assert_eq!(strangers.admit(second), None);
        assert_eq!(strangers.admit(Duration::from_secs(8)), Some(2));
        assert_eq!(strangers.admit(Duration::from_secs(8)), Some(0));
    }
}
