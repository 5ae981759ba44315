//! Items in the order of one property, from its index.
//!
//! Items without the property come first (last when descending); they aren't in the index, so
//! they are found among all items. Items whose strings were cut in the index are put in order by
//! their documents.

use std::cmp::Ordering;
use std::collections::VecDeque;

use documents_sql::{ExecError, Path, PathStep, compare_values};
use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Clock, Direction, Entry, Key, KeyRange, ScanLimit, Snapshot};
use serde_json::Value;

use super::page::Counters;
use crate::error::DocumentsError;
use crate::limits::{CONTINUATION_POSITION_BYTES_MAX, QUERY_MEMORY_BYTES_MAX};
use crate::rules::index_terms::PathHash;
use crate::rules::index_value;
use crate::store::Container;
use crate::store::item_number::ItemNumber;
use crate::store::keys;
use crate::store::records::ItemRecord;

const BATCH_FIRST: usize = 16;
const BATCH_MAX: usize = 256;

/// Where an item was found, as a continuation keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) undefined: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: u32,
}

/// An item and its place.
#[derive(Debug)]
pub(super) struct OrderedItem {
    pub(super) number: u64,
    pub(super) record: ItemRecord,
    pub(super) document: Value,
    pub(super) position: Position,
}

/// What a step of the walk gives.
#[derive(Debug)]
pub(super) enum Step {
    /// An item.
    Item(Box<OrderedItem>),
    /// None within the time of a page; go on here.
    Pause(Position),
    /// No more.
    End,
}

/// What is walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Undefined,
    Values,
}

/// A lazy walk.
#[derive(Debug)]
pub(super) struct OrderedSource<'a> {
    container: &'a Container,
    path: &'a Path,
    prefix: Key,
    descending: bool,
    phases: VecDeque<(Phase, KeyRange)>,
    batch: usize,
    buffer: VecDeque<OrderedItem>,
    /// The long value being walked through, and how many entries of it are done.
    group: Vec<u8>,
    group_entries: u32,
    /// Entries still to be left away after a continuation.
    skip: u32,
}

impl<'a> OrderedSource<'a> {
    pub(super) fn new(
        container: &'a Container,
        path: &'a Path,
        descending: bool,
        range: KeyRange,
        undefined_too: bool,
        resume: Option<&Position>,
    ) -> Self {
        let prefix = keys::index_term(container.index, &PathHash::of(path).to_bytes());
        let mut phases = VecDeque::from([(Phase::Values, range)]);
        if undefined_too {
            let all = (Phase::Undefined, KeyRange::prefix(&keys::items(container.number)));
            if descending {
                phases.push_back(all);
            } else {
                phases.push_front(all);
            }
        }
        let mut source = Self {
            container,
            path,
            prefix,
            descending,
            phases,
            batch: BATCH_FIRST,
            buffer: VecDeque::new(),
            group: Vec::new(),
            group_entries: 0,
            skip: 0,
        };
        if let Some(position) = resume {
            source.resume(position);
        }
        source
    }

    fn resume(&mut self, position: &Position) {
        let phase = if position.undefined {
            Phase::Undefined
        } else {
            Phase::Values
        };
        while self.phases.front().is_some_and(|(first, _)| *first != phase) {
            self.phases.pop_front();
        }
        self.skip = position.entries;
        let descending = self.descending;
        let base = if position.undefined {
            keys::items(self.container.number)
        } else {
            self.prefix.clone()
        };
        let at = ledger::KeyWriter::after(&base).raw(&position.bytes).finish();
        if let Some((_, range)) = self.phases.front_mut() {
            if descending {
                // The place itself is still to come.
                let end = KeyRange::prefix(&at).end;
                range.end = match (range.end.take(), end) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            } else {
                range.start = range.start.clone().max(at);
            }
        }
    }

    fn direction(&self) -> Direction {
        if self.descending {
            Direction::Backward
        } else {
            Direction::Forward
        }
    }

    pub(super) async fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        counters: &mut Counters,
        clock: &dyn Clock,
    ) -> Result<Step, DocumentsError> {
        loop {
            if let Some(item) = self.buffer.pop_front() {
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                return Ok(Step::Item(Box::new(item)));
            }
            let Some((phase, range)) = self.phases.pop_front() else {
                return Ok(Step::End);
            };
            if range.is_empty() {
                continue;
            }
            let rest = match phase {
                Phase::Undefined => self.read_undefined(snapshot, &range, counters).await?,
                Phase::Values => self.read_values(snapshot, &range, counters).await?,
            };
            self.batch = (self.batch * 2).min(BATCH_MAX);
            if let Some(rest) = rest {
                self.phases.push_front((phase, rest));
            }
            if self.buffer.is_empty() {
                // Long stretches without a match must not hold up others, nor the page.
                tokio::task::yield_now().await;
                if phase == Phase::Undefined && counters.is_over_time(clock) {
                    return Ok(self.pause());
                }
            }
        }
    }

    /// Where to go on among the items without the property.
    fn pause(&self) -> Step {
        let boundary = self.phases.front().and_then(|(_, range)| {
            let key = if self.descending {
                range.end.as_ref()?
            } else {
                &range.start
            };
            keys::read_item(key)
        });
        match boundary {
            Some((_, number)) => Step::Pause(Position {
                undefined: true,
                bytes: number.to_be_bytes().to_vec(),
                entries: 0,
            }),
            None => Step::End,
        }
    }

    fn limit(&self) -> ScanLimit {
        ScanLimit {
            entries_max: self.batch,
            bytes_max: SCAN_PAGE_BYTES_MAX,
        }
    }

    async fn read_undefined(
        &mut self,
        snapshot: &dyn Snapshot,
        range: &KeyRange,
        counters: &mut Counters,
    ) -> Result<Option<KeyRange>, DocumentsError> {
        let page = snapshot.scan_page(range, self.direction(), self.limit()).await?;
        for entry in page.entries {
            let Some((_, number)) = keys::read_item(&entry.key) else {
                continue;
            };
            let record = ItemRecord::decode(&entry.versioned.value)?;
            counters.loaded(record.text.len());
            let document = record.parse()?;
            if value_at(self.path, &document).is_none() {
                let position = Position {
                    undefined: true,
                    bytes: number.to_be_bytes().to_vec(),
                    entries: 0,
                };
                self.buffer.push_back(OrderedItem {
                    number,
                    record,
                    document,
                    position,
                });
            }
        }
        Ok(page.rest)
    }

    async fn read_values(
        &mut self,
        snapshot: &dyn Snapshot,
        range: &KeyRange,
        counters: &mut Counters,
    ) -> Result<Option<KeyRange>, DocumentsError> {
        let page = snapshot.scan_page(range, self.direction(), self.limit()).await?;
        counters.index_keys += page.entries.len() as u64;
        let cut = page
            .entries
            .iter()
            .position(|entry| self.value_of(entry).is_some_and(index_value::is_cut));
        let Some(cut) = cut else {
            let items = self.fetch(snapshot, page.entries, counters).await?;
            self.buffer.extend(items.into_iter().flatten());
            return Ok(page.rest);
        };
        let mut entries = page.entries;
        let behind = entries.split_off(cut);
        let items = self.fetch(snapshot, entries, counters).await?;
        self.buffer.extend(items.into_iter().flatten());
        let value = behind
            .first()
            .and_then(|entry| self.value_of(entry))
            .unwrap_or_default()
            .to_vec();
        let group = KeyRange::prefix(&ledger::KeyWriter::after(&self.prefix).raw(&value).finish());
        self.read_cut_group(snapshot, &group, counters).await?;
        let rest = if self.descending {
            KeyRange {
                start: range.start.clone(),
                end: Some(group.start),
            }
        } else {
            KeyRange {
                start: group.end.unwrap_or(group.start),
                end: range.end.clone(),
            }
        };
        Ok((!rest.is_empty()).then_some(rest))
    }

    /// Reads every item that shares a cut string, and puts them in order.
    async fn read_cut_group(
        &mut self,
        snapshot: &dyn Snapshot,
        group: &KeyRange,
        counters: &mut Counters,
    ) -> Result<(), DocumentsError> {
        let mut found = Vec::new();
        let mut rest = Some(group.clone());
        let mut bytes = 0;
        while let Some(range) = rest.take() {
            let page = snapshot
                .scan_page(&range, Direction::Forward, self.limit())
                .await?;
            counters.index_keys += page.entries.len() as u64;
            for item in self
                .fetch(snapshot, page.entries, counters)
                .await?
                .into_iter()
                .flatten()
            {
                bytes += item.record.text.len();
                found.push(item);
            }
            if bytes > QUERY_MEMORY_BYTES_MAX {
                return Err(ExecError::MemoryExceeded {
                    max_bytes: QUERY_MEMORY_BYTES_MAX,
                }
                .into());
            }
            rest = page.rest;
        }
        let path = self.path;
        let order = |a: &OrderedItem, b: &OrderedItem| -> Ordering {
            compare_values(value_at(path, &a.document), value_at(path, &b.document))
                .then_with(|| a.number.cmp(&b.number))
        };
        found.sort_by(order);
        if self.descending {
            found.reverse();
        }
        // The positions were counted in the order of keys.
        let start = found.iter().map(|item| item.position.entries).min().unwrap_or(0);
        for (done, mut item) in found.into_iter().enumerate() {
            item.position.entries = start.saturating_add(u32::try_from(done).unwrap_or(u32::MAX));
            self.buffer.push_back(item);
        }
        Ok(())
    }

    fn value_of<'e>(&self, entry: &'e Entry) -> Option<&'e [u8]> {
        let suffix = entry.key.as_bytes().strip_prefix(self.prefix.as_bytes())?;
        ItemNumber::split_last(suffix).map(|(value, _)| value)
    }

    /// Reads the items of index entries; `None` in the place of an entry that fits no item.
    async fn fetch(
        &mut self,
        snapshot: &dyn Snapshot,
        entries: Vec<Entry>,
        counters: &mut Counters,
    ) -> Result<Vec<Option<OrderedItem>>, DocumentsError> {
        let numbers: Vec<u64> = entries
            .iter()
            .filter_map(|entry| keys::ending_number(&entry.key))
            .collect();
        let item_keys: Vec<_> = numbers
            .iter()
            .map(|number| keys::item(self.container.number, *number))
            .collect();
        let found = snapshot.get_many(&item_keys).await?;
        let mut items = Vec::with_capacity(numbers.len());
        for ((entry, number), found) in entries.iter().zip(numbers).zip(found) {
            let Some(value) = self.value_of(entry) else {
                continue;
            };
            let position = self.position(value, number);
            let Some(found) = found else { continue };
            let record = ItemRecord::decode(&found.value)?;
            counters.loaded(record.text.len());
            let document = record.parse()?;
            // Another path with the same hash, or an entry that verify would report.
            let fits =
                value_at(self.path, &document).is_some_and(|found| index_value::encode(found) == value);
            items.push(fits.then_some(OrderedItem {
                number,
                record,
                document,
                position,
            }));
        }
        Ok(items)
    }

    /// A short value's position is its key; a long one's is its beginning and a count.
    fn position(&mut self, value: &[u8], number: u64) -> Position {
        if value.len() <= CONTINUATION_POSITION_BYTES_MAX {
            let bytes = [value, ItemNumber::new(number).as_bytes()].concat();
            return Position {
                undefined: false,
                bytes,
                entries: 0,
            };
        }
        let beginning = value.get(..CONTINUATION_POSITION_BYTES_MAX).unwrap_or(value);
        if self.group == beginning {
            self.group_entries = self.group_entries.saturating_add(1);
        } else {
            self.group = beginning.to_vec();
            self.group_entries = 0;
        }
        Position {
            undefined: false,
            bytes: self.group.clone(),
            entries: self.group_entries,
        }
    }
}

fn value_at<'d>(path: &[PathStep], document: &'d Value) -> Option<&'d Value> {
    path.iter().try_fold(document, |value, step| match step {
        PathStep::Name(name) => value.get(name),
        PathStep::Element => None,
    })
}
