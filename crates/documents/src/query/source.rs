//! Items in the order of their numbers: all of a container, or those that meet conditions.

use std::collections::VecDeque;

use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Direction, KeyRange, ScanLimit, Snapshot};

use super::cursor::Numbers;
use super::intersection::Intersection;
use super::page::Counters;
use crate::error::DocumentsError;
use crate::store::Container;
use crate::store::keys;
use crate::store::records::ItemRecord;

const BATCH_FIRST: usize = 16;
const BATCH_MAX: usize = 256;

/// A lazy walk.
#[derive(Debug)]
pub(super) struct NumberSource<'a> {
    container: &'a Container,
    /// Of nothing: every item.
    conditions: Intersection,
    /// Where a walk through all items stands.
    next: u64,
    ended: bool,
    batch: usize,
    buffer: VecDeque<(u64, ItemRecord)>,
}

impl<'a> NumberSource<'a> {
    pub(super) fn new(container: &'a Container, conditions: Vec<Numbers>, from: u64) -> Self {
        Self {
            container,
            conditions: Intersection::new(conditions, from),
            next: from,
            ended: false,
            batch: BATCH_FIRST,
            buffer: VecDeque::new(),
        }
    }

    /// A walk that finds nothing.
    pub(super) fn empty(container: &'a Container) -> Self {
        Self {
            ended: true,
            ..Self::new(container, Vec::new(), 0)
        }
    }

    pub(super) async fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        counters: &mut Counters,
    ) -> Result<Option<(u64, ItemRecord)>, DocumentsError> {
        while self.buffer.is_empty() && !self.ended {
            if self.conditions.is_of_nothing() {
                self.read_items(snapshot).await?;
            } else {
                self.read_matches(snapshot, counters).await?;
            }
            self.batch = (self.batch * 2).min(BATCH_MAX);
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
            entries_max: self.batch,
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
        let begun = counters.timings.now();
        let numbers = self
            .conditions
            .next(snapshot, self.batch, &mut counters.index_keys)
            .await?;
        counters.timings.index += counters.timings.since(begun);
        self.ended = numbers.len() < self.batch;
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
