//! When the jobs run: instances at 03:00, elements at 04:00 (UTC), once a day each, as in the
//! original.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use parking_lot::Mutex;

use crate::Platform;
use crate::error::PlatformError;

const INSTANCES_HOUR: i8 = 3;
const ELEMENTS_HOUR: i8 = 4;

/// Remembers when the jobs ran last. A new process begins as if they had run just now: one that
/// was down at their hour leaves them to the next day.
#[derive(Debug)]
pub struct Schedule {
    last: Mutex<(Timestamp, Timestamp)>,
}

impl Schedule {
    /// Begins at `now`.
    #[must_use]
    pub fn starting(now: Timestamp) -> Self {
        Self {
            last: Mutex::new((now, now)),
        }
    }

    /// Which jobs are due: instances, elements. What is due counts as run.
    fn take_due(&self, now: Timestamp) -> (bool, bool) {
        let mut last = self.last.lock();
        let instances = hour_passed(last.0, now, INSTANCES_HOUR);
        let elements = hour_passed(last.1, now, ELEMENTS_HOUR);
        if instances {
            last.0 = now;
        }
        if elements {
            last.1 = now;
        }
        (instances, elements)
    }
}

/// Whether `hour` o'clock came between `last` and `now`.
fn hour_passed(last: Timestamp, now: Timestamp, hour: i8) -> bool {
    let at = TimeZone::UTC.to_datetime(last);
    let today = at.date().at(hour, 0, 0, 0);
    let next = if at < today {
        today
    } else {
        today.checked_add(1.day()).unwrap_or(today)
    };
    TimeZone::UTC.to_timestamp(next).is_ok_and(|next| next <= now)
}

impl Platform {
    /// Runs the jobs whose hour has come. Call it every few seconds.
    ///
    /// # Errors
    /// The ledger's; what was done by then stays done.
    pub async fn run_due_jobs(&self) -> Result<(), PlatformError> {
        self.forget_mutations().await?;
        // Lists that aren't complete make calls slower; nothing else has to wait for them.
        if let Err(error) = self.complete_lists().await {
            tracing::warn!(%error, "the lists that this release added couldn't be completed; it is tried again");
        }
        let (instances, elements) = self.schedule.take_due(self.clock.now());
        if instances {
            let report = self.clean_up_instances().await?;
            tracing::info!(?report, "deleted instances were cleaned up");
        }
        if elements {
            let report = self.clean_up_elements().await?;
            tracing::info!(?report, "deleted data elements were cleaned up");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_day_at_their_hour() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let schedule = Schedule::starting(at("2026-01-01T02:59:00Z"));
        assert_eq!(schedule.take_due(at("2026-01-01T02:59:59Z")), (false, false));
        assert_eq!(schedule.take_due(at("2026-01-01T03:00:00Z")), (true, false));
        assert_eq!(schedule.take_due(at("2026-01-01T03:00:05Z")), (false, false));
        assert_eq!(schedule.take_due(at("2026-01-01T04:30:00Z")), (false, true));
        assert_eq!(schedule.take_due(at("2026-01-02T02:00:00Z")), (false, false));
        // A clock that jumps runs each once.
        assert_eq!(schedule.take_due(at("2026-01-09T05:00:00Z")), (true, true));
        assert_eq!(schedule.take_due(at("2026-01-09T05:00:01Z")), (false, false));
    }
}
