//! How long a source that throttles or fails is waited for.

use std::time::Duration;

const PAUSE_MILLISECONDS_FIRST: u64 = 100;
pub(crate) const PAUSE_MILLISECONDS_MAX: u64 = 30_000;

/// Pauses that double, up to a bound on each and on all of them together.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
    left: Duration,
}

impl Pauses {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            next: Duration::from_millis(PAUSE_MILLISECONDS_FIRST),
            left: patience,
        }
    }

    /// The next pause, at least `asked`; `None` if patience is at its end.
    fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let longest = Duration::from_millis(PAUSE_MILLISECONDS_MAX);
        // What asks for no time at all is still not asked in a loop.
        let pause = asked.map_or(self.next, |asked| asked.max(Duration::from_millis(10)));
        self.left = self.left.checked_sub(pause)?;
        self.next = (self.next * 2).min(longest);
        Some(pause)
    }

    /// Waits; false if patience is at its end.
    pub(crate) async fn wait(&mut self, asked: Option<Duration>) -> bool {
        match self.next(asked) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let mut pauses = Pauses::new(Duration::from_secs(2));
        let mut taken = Vec::new();
        while let Some(pause) = pauses.next(None) {
            taken.push(pause.as_millis());
        }
        assert_eq!(taken, [100, 200, 400, 800]);
        let mut pauses = Pauses::new(Duration::from_millis(100));
        assert_eq!(pauses.next(Some(Duration::ZERO)), Some(Duration::from_millis(10)));
        assert_eq!(pauses.next(Some(Duration::from_millis(91))), None);
    }
}
