//! The items that lack an ORDER BY property, in the order of their numbers: from what is remembered of
//! them, and where nothing is, from all items.

use std::ops::Range;
use std::sync::Arc;

use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Clock, Direction, KeyRange, ScanLimit, Sequence, Snapshot};
use serde_json::Value;

use super::lacking_memory::{Known, LackingMemory, Learnt, Place, Stretch};
use super::page::Counters;
use crate::error::DocumentsError;
use crate::rules::index_columns::IndexColumns;
use crate::store::Container;
use crate::store::keys;
use crate::store::records::ItemRecord;

/// Changes that are taken in at once, but for those of one commit.
const CHANGES_BATCH: usize = 256;

/// Changes that a page takes in. What is remembered may be of a few numbers only, or nobody may have asked
/// for long: then it isn't worth reading all that was written since.
const CHANGES_MAX: usize = 100_000;

/// Items that are read at once by their numbers: large ones are 2 MiB each.
const READ_MAX: usize = 64;

/// An item without the property.
pub(super) type Found = (u64, ItemRecord, Value);

/// A walk.
#[derive(Debug)]
pub(super) struct Lacking<'a> {
    container: &'a Container,
    columns: IndexColumns,
    /// The top-level property that the path begins with.
    property: [String; 1],
    /// Where it is remembered; `None` for a snapshot that has what isn't committed.
    memory: Option<(&'a LackingMemory, Place)>,
    descending: bool,
    view: Option<Arc<Known>>,
    /// Whether the view has all of the snapshot.
    current: bool,
    /// Changes that were taken in.
    changes: usize,
}

impl<'a> Lacking<'a> {
    pub(super) fn new(
        container: &'a Container,
        columns: &IndexColumns,
        descending: bool,
        memory: Option<&'a LackingMemory>,
        at: Sequence,
    ) -> Self {
        let path = columns.first_path();
        let place = (container.number, path.to_vec());
        Self {
            container,
            columns: columns.clone(),
            property: [path.first().cloned().unwrap_or_default()],
            // Others may learn from later snapshots till it is needed.
            view: memory.and_then(|memory| memory.peek(&place, at)),
            memory: memory.map(|memory| (memory, place)),
            descending,
            current: false,
            changes: 0,
        }
    }

    /// The next of those with numbers in a range, from its start or from its end, and what is left of it.
    /// A step reads a bounded amount and may find none. All is left only if the time of a page is over
    /// before all is known that was written, of which a part is known then.
    pub(super) async fn read(
        &mut self,
        snapshot: &dyn Snapshot,
        mut numbers: Range<u64>,
        batch: usize,
        counters: &mut Counters,
        clock: &dyn Clock,
    ) -> Result<(Vec<Found>, Option<Range<u64>>), DocumentsError> {
        loop {
            if let Some((memory, place)) = &self.memory
                && self.view.is_none()
            {
                self.view = memory.view(place, snapshot.sequence(), clock.monotonic());
            }
            let Some(view) = self.view.clone() else {
                return self
                    .look(snapshot, numbers.clone(), numbers, batch, counters, clock)
                    .await;
            };
            if !self.current {
                let view = self.newest_of(view, snapshot, clock);
                self.catch_up(snapshot, view, counters, clock).await?;
                // Much to take in must not hold up others.
                tokio::task::yield_now().await;
                if !self.current && counters.is_over_time(clock) {
                    return Ok((Vec::new(), Some(numbers)));
                }
                continue;
            }
            match view.stretch(&numbers, self.descending) {
                // To know that there is none is no step: a page that has time for one only goes on.
                Stretch::Remembered(stretch) if view.numbers().first(&stretch).is_none() => {
                    let none = stretch.end..stretch.end;
                    match rest(&numbers, &stretch, &none, self.descending) {
                        Some(rest) => numbers = rest,
                        None => return Ok((Vec::new(), None)),
                    }
                }
                Stretch::Remembered(stretch) => {
                    return self
                        .recall(snapshot, stretch, numbers, batch, counters, clock)
                        .await;
                }
                Stretch::Unknown(stretch) => {
                    // Two who look at the same items would both read them all.
                    let memory = self.memory.as_ref();
                    let turn = memory.and_then(|(memory, place)| memory.turn(place));
                    let _turn = match &turn {
                        Some(turn) => Some(turn.lock().await),
                        None => None,
                    };
                    if let Some((memory, place)) = &self.memory
                        && let Some(newer) = memory.peek(place, snapshot.sequence())
                        && newer.stretch(&numbers, self.descending) != Stretch::Unknown(stretch.clone())
                    {
                        self.current = false;
                        self.view = Some(newer);
                        continue;
                    }
                    return self
                        .look(snapshot, stretch, numbers, batch, counters, clock)
                        .await;
                }
            }
        }
    }

    /// A view that another query has brought further meanwhile, or one without anything, if there was too
    /// much to take in.
    fn newest_of(&mut self, view: Arc<Known>, snapshot: &dyn Snapshot, clock: &dyn Clock) -> Arc<Known> {
        let Some((memory, place)) = &self.memory else {
            return view;
        };
        let at = snapshot.sequence();
        match memory.peek(place, at) {
            Some(newer) if newer.through() > view.through() => newer,
            _ if self.changes > CHANGES_MAX => {
                self.changes = 0;
                memory.begin_anew(place, at, clock.monotonic())
            }
            _ => view,
        }
    }

    /// Takes in some of what was written since the view was made.
    async fn catch_up(
        &mut self,
        snapshot: &dyn Snapshot,
        mut view: Arc<Known>,
        counters: &mut Counters,
        clock: &dyn Clock,
    ) -> Result<(), DocumentsError> {
        let after = view.through();
        let container = self.container.number;
        let all = KeyRange::prefix_from(&keys::feed(container), keys::feed_after(container, after));
        let limit = ScanLimit {
            entries_max: CHANGES_BATCH,
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let mut changes: Vec<(Sequence, u64)> = Vec::new();
        let mut rest = (!all.is_empty()).then_some(all);
        // What one commit wrote is taken in together; more than that isn't waited for.
        let through = loop {
            let Some(range) = rest.take() else {
                break snapshot.sequence();
            };
            let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
            counters.index_keys += page.entries.len() as u64;
            changes.extend(
                page.entries
                    .iter()
                    .filter_map(|entry| keys::read_feed_entry(&entry.key)),
            );
            rest = page.rest;
            let last = changes.last().map(|(sequence, _)| *sequence);
            if let Some(last) = last.filter(|_| rest.is_some())
                && changes.first().is_some_and(|(first, _)| *first < last)
            {
                changes.retain(|(sequence, _)| *sequence < last);
                break last - 1;
            }
        };
        self.current = rest.is_none() && through == snapshot.sequence();
        self.changes += changes.len();
        let mut items = Vec::with_capacity(changes.len());
        for changes in changes.chunks(READ_MAX) {
            let numbers: Vec<u64> = changes.iter().map(|(_, number)| *number).collect();
            let records = self.load(snapshot, &numbers, counters).await?;
            tokio::task::yield_now().await;
            for (number, record) in numbers.iter().zip(records) {
                let lacks = record.map_or(Ok(false), |record| self.is_lacked_by(&record))?;
                items.push((*number, lacks));
            }
        }
        if !items.is_empty() {
            let changes = Learnt::Changes {
                after,
                through,
                items,
            };
            self.learn(snapshot, &changes, &mut view, clock);
        }
        self.view = Some(view);
        Ok(())
    }

    /// Reads some of the items that are remembered.
    async fn recall(
        &mut self,
        snapshot: &dyn Snapshot,
        stretch: Range<u64>,
        numbers: Range<u64>,
        batch: usize,
        counters: &mut Counters,
        clock: &dyn Clock,
    ) -> Result<(Vec<Found>, Option<Range<u64>>), DocumentsError> {
        let mut left = stretch.clone();
        let mut remembered = Vec::new();
        while remembered.len() < batch.min(READ_MAX) {
            let known = self.view.as_ref().map(|view| view.numbers());
            let next = known.and_then(|known| {
                if self.descending {
                    known.last(&left)
                } else {
                    known.first(&left)
                }
            });
            let Some(number) = next else {
                left = left.end..left.end;
                break;
            };
            remembered.push(number);
            if self.descending {
                left.end = number;
            } else {
                left.start = number.saturating_add(1);
            }
        }
        let mut found = Vec::with_capacity(remembered.len());
        let mut dropped = Vec::new();
        for (number, record) in remembered
            .iter()
            .zip(self.load(snapshot, &remembered, counters).await?)
        {
            match record {
                Some(record) if self.is_lacked_by(&record)? => {
                    let document = record.parse()?;
                    found.push((*number, record, document));
                }
                _ => dropped.push(*number),
            }
        }
        if !dropped.is_empty()
            && let Some(mut view) = self.view.clone()
        {
            self.learn(snapshot, &Learnt::Dropped(dropped), &mut view, clock);
            self.view = Some(view);
        }
        Ok((found, rest(&numbers, &stretch, &left, self.descending)))
    }

    /// Looks at some of all items.
    async fn look(
        &mut self,
        snapshot: &dyn Snapshot,
        stretch: Range<u64>,
        numbers: Range<u64>,
        batch: usize,
        counters: &mut Counters,
        clock: &dyn Clock,
    ) -> Result<(Vec<Found>, Option<Range<u64>>), DocumentsError> {
        let key = |number| keys::item(self.container.number, number);
        let range = KeyRange::between(key(stretch.start), key(stretch.end));
        let direction = if self.descending {
            Direction::Backward
        } else {
            Direction::Forward
        };
        let limit = ScanLimit {
            entries_max: batch,
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let page = snapshot.scan_page(&range, direction, limit).await?;
        let mut found = Vec::new();
        let mut last = None;
        for entry in page.entries {
            let Some((_, number)) = keys::read_item(&entry.key) else {
                continue;
            };
            last = Some(number);
            let record = ItemRecord::decode(&entry.versioned.value)?;
            counters.loaded(record.text.len());
            if self.is_lacked_by(&record)? {
                let document = record.parse()?;
                found.push((number, record, document));
            }
        }
        let mut left = stretch.clone();
        match (last, page.rest) {
            (Some(last), Some(_)) if self.descending => left.end = last,
            (Some(last), Some(_)) => left.start = last.saturating_add(1),
            (_, None) | (None, _) => left = left.end..left.end,
        }
        if let Some(mut view) = self.view.clone() {
            let at = if left.is_empty() {
                stretch.clone()
            } else if self.descending {
                left.end..stretch.end
            } else {
                stretch.start..left.start
            };
            let lacking = found.iter().map(|(number, ..)| *number).collect();
            self.learn(snapshot, &Learnt::Looked { at, lacking }, &mut view, clock);
            self.view = Some(view);
        }
        Ok((found, rest(&numbers, &stretch, &left, self.descending)))
    }

    fn learn(&self, snapshot: &dyn Snapshot, learnt: &Learnt, view: &mut Arc<Known>, clock: &dyn Clock) {
        if let Some((memory, place)) = &self.memory {
            memory.learn(place, snapshot.sequence(), learnt, view, clock.monotonic());
        }
    }

    fn is_lacked_by(&self, record: &ItemRecord) -> Result<bool, DocumentsError> {
        let document = record.parse_properties(Some(&self.property))?;
        Ok(self.columns.lacks_first(&document))
    }

    async fn load(
        &self,
        snapshot: &dyn Snapshot,
        numbers: &[u64],
        counters: &mut Counters,
    ) -> Result<Vec<Option<ItemRecord>>, DocumentsError> {
        let number = self.container.number;
        let item_keys: Vec<_> = numbers.iter().map(|item| keys::item(number, *item)).collect();
        let found = snapshot.get_many(&item_keys).await?.into_iter();
        let records = found.map(|found| {
            let record = found.map(|found| ItemRecord::decode(&found.value)).transpose()?;
            if let Some(record) = &record {
                counters.loaded(record.text.len());
            }
            Ok(record)
        });
        records.collect()
    }
}

/// What is left of a range, where so much is left of its first (or last) stretch.
fn rest(
    numbers: &Range<u64>,
    stretch: &Range<u64>,
    left: &Range<u64>,
    descending: bool,
) -> Option<Range<u64>> {
    let rest = match (left.is_empty(), descending) {
        (false, false) => left.start..numbers.end,
        (false, true) => numbers.start..left.end,
        (true, false) => stretch.end..numbers.end,
        (true, true) => numbers.start..stretch.start,
    };
    (!rest.is_empty()).then_some(rest)
}
