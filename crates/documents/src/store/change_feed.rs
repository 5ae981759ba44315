//! The change feed, latest version: each item once, at the commit that last wrote it.

use std::time::Duration;

use ledger::{Clock, Direction, KeyRange, Scan, Sequence, Snapshot};

use super::container::Container;
use super::keys;
use super::records::ItemRecord;
use crate::error::DocumentsError;
use crate::limits::{PAGE_BYTES_MAX, PAGE_MILLISECONDS_MAX};

/// Where a page of a feed ends: after so many items, so many bytes or so much time.
pub(crate) struct PageEnd<'a> {
    items_max: usize,
    clock: &'a dyn Clock,
    begun: Duration,
}

impl<'a> PageEnd<'a> {
    /// Time runs from here.
    pub(crate) fn new(items_max: usize, clock: &'a dyn Clock) -> Self {
        Self {
            items_max,
            clock,
            begun: clock.monotonic(),
        }
    }

    pub(super) fn is_reached(&self, items: usize, bytes: usize) -> bool {
        let spent = self.clock.monotonic().saturating_sub(self.begun);
        items >= self.items_max
            || bytes >= PAGE_BYTES_MAX
            || spent > Duration::from_millis(PAGE_MILLISECONDS_MAX)
    }
}

/// Some changes.
#[derive(Debug)]
pub(crate) struct ChangePage {
    /// Item and the commit that wrote it.
    pub(crate) items: Vec<(ItemRecord, Sequence)>,
    /// Everything through this commit is covered.
    pub(crate) through: Sequence,
    /// Whether the page ended before the changes did.
    pub(crate) more: bool,
}

/// Reads changes after commit `after`. A page ends between commits, never within one, so it may
/// have more items than asked for.
pub(crate) async fn read_changes(
    snapshot: &dyn Snapshot,
    container: &Container,
    after: Sequence,
    end: &PageEnd<'_>,
    mut wanted: impl FnMut(&ItemRecord) -> Result<bool, DocumentsError>,
) -> Result<ChangePage, DocumentsError> {
    let prefix = keys::feed(container.number);
    let range = KeyRange::prefix_from(&prefix, keys::feed_after(container.number, after));
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let mut page = ChangePage {
        items: Vec::new(),
        through: after,
        more: false,
    };
    let mut bytes = 0;
    while let Some(entry) = scan.next().await? {
        let Some((sequence, number)) = keys::read_feed_entry(&entry.key) else {
            break;
        };
        if sequence > page.through && end.is_reached(page.items.len(), bytes) {
            page.more = true;
            return Ok(page);
        }
        page.through = sequence;
        // Gone if the same commit created and deleted it.
        let Some(found) = snapshot.get(&keys::item(container.number, number)).await? else {
            continue;
        };
        if found.version != sequence {
            continue;
        }
        let record = ItemRecord::decode(&found.value)?;
        if wanted(&record)? {
            bytes += record.text.len();
            page.items.push((record, sequence));
        }
    }
    Ok(page)
}

/// The newest commit that wrote an item which is there; zero if there is none.
pub(crate) async fn newest_change(
    snapshot: &dyn Snapshot,
    container: &Container,
) -> Result<Sequence, DocumentsError> {
    let range = KeyRange::prefix(&keys::feed(container.number));
    let newest = Scan::new(snapshot, range, Direction::Backward).next().await?;
    let entry = newest.and_then(|entry| keys::read_feed_entry(&entry.key));
    Ok(entry.map_or(0, |(sequence, _)| sequence))
}

#[cfg(test)]
mod tests {
    use ledger::AdjustableClock;

    use super::*;

    #[test]
    fn a_page_ends_by_items_bytes_or_time() {
        let clock = AdjustableClock::standing_at("2026-01-01T00:00:00Z".parse().unwrap());
        let end = PageEnd::new(2, &clock);
        assert!(!end.is_reached(1, 0));
        assert!(end.is_reached(2, 0));
        assert!(end.is_reached(0, PAGE_BYTES_MAX));
        clock.advance_seconds(5);
        assert!(!end.is_reached(1, 0));
        clock.advance_seconds(1);
        assert!(end.is_reached(0, 0));
    }
}
