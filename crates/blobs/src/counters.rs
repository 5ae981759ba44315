//! What the background work has done since the start, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Blobs;
use crate::operations::lifecycle::Done;

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    feed_events: AtomicU64,
    lifecycle_seen: AtomicU64,
    lifecycle_deleted: AtomicU64,
    lifecycle_tiered: AtomicU64,
    lifecycle_refused: AtomicU64,
}

impl Counters {
    pub(crate) fn feed_events(&self, events: u64) {
        self.feed_events.fetch_add(events, Ordering::Relaxed);
    }

    pub(crate) fn lifecycle(&self, done: Done) {
        self.lifecycle_seen.fetch_add(done.seen, Ordering::Relaxed);
        self.lifecycle_deleted.fetch_add(done.deleted, Ordering::Relaxed);
        self.lifecycle_tiered.fetch_add(done.tiered, Ordering::Relaxed);
        self.lifecycle_refused.fetch_add(done.refused, Ordering::Relaxed);
    }
}

impl Blobs {
    /// What the background work has done since the start: name, number. A dry run counts what it would have done.
    #[must_use]
    pub fn counters(&self) -> Vec<(&'static str, u64)> {
        let counters = &self.counters;
        let damaged = self.contents.damaged_counter();
        [
            ("content_corrupt_customer_frames", damaged.as_ref()),
            ("blobs_change_feed_events", &counters.feed_events),
            ("blobs_lifecycle_seen", &counters.lifecycle_seen),
            ("blobs_lifecycle_deleted", &counters.lifecycle_deleted),
            ("blobs_lifecycle_tiered", &counters.lifecycle_tiered),
            ("blobs_lifecycle_refused", &counters.lifecycle_refused),
        ]
        .map(|(name, counter)| (name, counter.load(Ordering::Relaxed)))
        .into()
    }
}
