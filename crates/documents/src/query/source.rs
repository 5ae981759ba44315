//! Items in the order of their numbers: all of a container, or those that meet conditions.

use std::collections::VecDeque;

use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Direction, KeyRange, ScanLimit, Snapshot};

use super::batches::Batches;
use super::cursor::Numbers;
use super::intersection::Intersection;
use super::page::Counters;
use crate::error::DocumentsError;
use crate::store::Container;
use crate::store::keys;
use crate::store::records::ItemRecord;

/// A lazy walk.
#[derive(Debug)]
pub(super) struct NumberSource<'a> {
    container: &'a Container,
    /// Of nothing: every item.
    conditions: Intersection,
    /// Where a walk through all items stands.
    next: u64,
    ended: bool,
    batches: Batches,
    /// Matches whose items weren't read yet.
    matches: VecDeque<u64>,
    buffer: VecDeque<(u64, ItemRecord)>,
}

impl<'a> NumberSource<'a> {
    /// From a number on; the page wants `wanted` items.
    pub(super) fn new(container: &'a Container, conditions: Vec<Numbers>, from: u64, wanted: u64) -> Self {
        Self {
            container,
            conditions: Intersection::new(conditions, from),
            next: from,
            ended: false,
            batches: Batches::new(wanted),
            matches: VecDeque::new(),
            buffer: VecDeque::new(),
        }
    }

    /// A walk that finds nothing.
    pub(super) fn empty(container: &'a Container) -> Self {
        Self {
            ended: true,
            ..Self::new(container, Vec::new(), 0, 0)
        }
    }

    pub(super) async fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        counters: &mut Counters,
    ) -> Result<Option<(u64, ItemRecord)>, DocumentsError> {
        while self.buffer.is_empty() && !(self.ended && self.matches.is_empty()) {
            if self.conditions.is_of_nothing() {
                self.read_items(snapshot).await?;
            } else {
                self.read_matches(snapshot, counters).await?;
            }
        }
        let next = self.buffer.pop_front();
        if let Some((_, record)) = &next {
            counters.loaded(record.text.len());
        }
        Ok(next)
    }

    async fn read_items(&mut self, snapshot: &dyn Snapshot) -> Result<(), DocumentsError> {
        let prefix = keys::items(self.container.number);
        let range = KeyRange::prefix_from(&prefix, keys::item(self.container.number, self.next));
        let limit = ScanLimit {
            entries_max: self.batches.items(),
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
        self.ended = page.rest.is_none();
        for entry in page.entries {
            let Some((_, number)) = keys::read_item(&entry.key) else {
                continue;
            };
            self.next = number.saturating_add(1);
            self.buffer
                .push_back((number, ItemRecord::decode(&entry.versioned.value)?));
        }
        Ok(())
    }

    async fn read_matches(
        &mut self,
        snapshot: &dyn Snapshot,
        counters: &mut Counters,
    ) -> Result<(), DocumentsError> {
        if self.matches.is_empty() {
            let begun = counters.timings.now();
            let entries = self.batches.entries();
            let read = &mut counters.index_keys;
            self.matches = self.conditions.next(snapshot, entries, read).await?.into();
            counters.timings.index += counters.timings.since(begun);
            self.ended = self.matches.len() < entries;
        }
        let count = self.matches.len().min(self.batches.items());
        let numbers: Vec<u64> = self.matches.drain(..count).collect();
        let item_keys: Vec<_> = numbers
            .iter()
            .map(|number| keys::item(self.container.number, *number))
            .collect();
        let found = snapshot.get_many(&item_keys).await?;
        for (number, found) in numbers.into_iter().zip(found) {
            // An index entry without its item is a fault that verify reports, not an answer.
            if let Some(found) = found {
                self.buffer.push_back((number, ItemRecord::decode(&found.value)?));
            }
        }
        Ok(())
    }
}
