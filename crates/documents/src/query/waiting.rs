//! Items that wait until some are pushed together.
//!
//! Invariant: what waits is bounded by number, bytes and time, but for one item, which may always.

use std::collections::VecDeque;
use std::time::Duration;

use ledger::Clock;

use super::candidates::Candidate;
use crate::limits::{FUNCTION_BATCH_BYTES_MAX, FUNCTION_BATCH_ITEMS, FUNCTION_BATCH_MILLISECONDS};

pub(super) struct Waiting {
    items: VecDeque<Candidate>,
    /// Of their texts.
    bytes: usize,
    /// How many are worth waiting for now.
    at_once: usize,
    /// When the first of them came.
    since: Duration,
}

impl Waiting {
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            at_once,
            since: Duration::ZERO,
        }
    }

    /// Whether to look for another one before those that are there are pushed.
    pub(super) fn wants_more(&self, clock: &dyn Clock) -> bool {
        self.items.is_empty()
            || self.items.len() < self.at_once
                && self.bytes < FUNCTION_BATCH_BYTES_MAX
                && clock.monotonic().saturating_sub(self.since)
                    < Duration::from_millis(FUNCTION_BATCH_MILLISECONDS)
    }

    pub(super) fn add(&mut self, candidate: Candidate, clock: &dyn Clock) {
        if self.items.is_empty() && self.at_once > 1 {
            self.since = clock.monotonic();
        }
        self.bytes += candidate.record.text.len();
        self.items.push_back(candidate);
    }

    pub(super) fn first(&self) -> Option<&Candidate> {
        self.items.front()
    }

    pub(super) fn take_first(&mut self) -> Option<Candidate> {
        let first = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(first.record.text.len());
        Some(first)
    }

    /// Whether none waits beside the first one.
    pub(super) fn is_one(&self) -> bool {
        self.items.len() == 1
    }

    /// Once as many as were thought to be enough were not, more are worth waiting for.
    pub(super) fn grow(&mut self) {
        if self.at_once > 1 {
            self.at_once = (self.at_once * 2).min(FUNCTION_BATCH_ITEMS);
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ledger::AdjustableClock;
    use serde_json::Value;

    use super::*;
    use crate::store::records::ItemRecord;

    fn item(bytes: usize) -> Candidate {
        Candidate {
            number: 1,
            record: ItemRecord {
                etag: [0; 16],
                ts: 0,
                ttl: None,
                indexed: true,
                text: Bytes::from(vec![b' '; bytes]),
            },
            document: Value::Null,
            position: None,
        }
    }

    fn clock() -> AdjustableClock {
        AdjustableClock::standing_at("2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn as_many_wait_as_are_worth_it() {
        let clock = clock();
        let mut waiting = Waiting::new(3);
        for _ in 0..3 {
            assert!(waiting.wants_more(&clock));
            waiting.add(item(10), &clock);
        }
        assert!(!waiting.wants_more(&clock));
        for _ in 0..9 {
            waiting.grow();
        }
        let mut count = 3;
        while waiting.wants_more(&clock) {
            waiting.add(item(10), &clock);
            count += 1;
        }
        assert_eq!(count, FUNCTION_BATCH_ITEMS);
    }

    #[test]
    fn large_ones_do_not_wait_together() {
        let clock = clock();
        let mut waiting = Waiting::new(FUNCTION_BATCH_ITEMS);
        waiting.add(item(FUNCTION_BATCH_BYTES_MAX * 3), &clock);
        assert!(
            !waiting.wants_more(&clock),
            "one is always allowed, and stays alone"
        );
        waiting.take_first().unwrap();
        for _ in 0..2 {
            assert!(waiting.wants_more(&clock));
            waiting.add(item(FUNCTION_BATCH_BYTES_MAX / 2), &clock);
        }
        assert!(!waiting.wants_more(&clock));
    }

    #[test]
    fn the_first_one_does_not_wait_for_long() {
        let clock = clock();
        let mut waiting = Waiting::new(FUNCTION_BATCH_ITEMS);
        clock.advance_seconds(100);
        waiting.add(item(10), &clock);
        assert!(waiting.wants_more(&clock));
        clock.advance_seconds(1);
        assert!(!waiting.wants_more(&clock));
    }
}
