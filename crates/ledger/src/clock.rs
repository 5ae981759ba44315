//! The only door to time. Everything else takes a [`Clock`], so tests and `dev` can move it.

use std::fmt::Debug;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync + Debug + 'static {
    /// Wall-clock time.
    fn now(&self) -> Timestamp;

    /// Time since an arbitrary moment, never going back: for measuring durations.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the system clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the system clock"
    )]
    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that can be moved: over the system clock (`dev`), or standing still (tests).
#[derive(Debug)]
pub struct AdjustableClock {
    standing_at: Option<Timestamp>,
    offset_seconds: AtomicI64,
}

impl AdjustableClock {
    /// Follows the system clock plus an offset, 0 at first.
    #[must_use]
    pub fn over_system() -> Self {
        Self {
            standing_at: None,
            offset_seconds: AtomicI64::new(0),
        }
    }

    /// Stands still at `at` until it is advanced.
    #[must_use]
    pub fn standing_at(at: Timestamp) -> Self {
        Self {
            standing_at: Some(at),
            offset_seconds: AtomicI64::new(0),
        }
    }

    /// Moves the clock forward (or back, for tests) by whole seconds.
    pub fn advance_seconds(&self, seconds: i64) {
        self.offset_seconds.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for AdjustableClock {
    fn now(&self) -> Timestamp {
        let base = self.standing_at.unwrap_or_else(|| SystemClock.now());
        let offset = SignedDuration::from_secs(self.offset_seconds.load(Ordering::SeqCst));
        base.checked_add(offset).unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Duration {
        let offset = u64::try_from(self.offset_seconds.load(Ordering::SeqCst)).unwrap_or(0);
        match self.standing_at {
            Some(_) => Duration::from_secs(offset),
            None => SystemClock
                .monotonic()
                .saturating_add(Duration::from_secs(offset)),
        }
    }
}
