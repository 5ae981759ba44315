//! Items in the order of an index: of one property, or a composite one.
//!
//! Items without the one property come first (last when descending); they aren't in its index (see
//! [`super::lacking`]). A composite index has them. Items whose values an index tells apart no more, as
//! strings were cut or structures hashed, are a group (see [`super::group`]).

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Clock, Direction, Entry, Key, KeyRange, KeyWriter, ScanLimit, Sequence, Snapshot};
use serde_json::Value;

use super::batches::Batches;
use super::cursor::Numbers;
use super::group::{Group, Member};
use super::lacking::Lacking;
use super::lacking_memory::LackingMemory;
use super::page::Counters;
use super::plan::intersect;
use crate::error::DocumentsError;
use crate::rules::index_columns::{IndexColumns, Inexact};
use crate::store::Container;
use crate::store::item_number::ItemNumber;
use crate::store::keys;
use crate::store::records::ItemRecord;

/// Items whose arrays or objects share a hash up to which it is looked whether these are equal. That
/// more of them aren't all equal is taken as out of the question: they come by their numbers then.
const STRUCTURES_TOGETHER_MAX: usize = 256;

/// Where an item was found, as a continuation keeps it: what its key has behind the index's prefix, or
/// what the keys of its group begin with and how many of the group are before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) composite: Option<u32>,
    pub(super) undefined: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) entries: u32,
    /// The item there. In a group its place is where it is found again, whatever came or went before
    /// it; `entries` counts only if it is gone itself.
    pub(super) number: u64,
}

/// An item and its place.
#[derive(Debug)]
pub(super) struct OrderedItem {
    pub(super) number: u64,
    pub(super) record: ItemRecord,
    /// What the query and the columns look at of it, at least.
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
#[derive(Debug)]
enum Phase {
    /// The items without the property, of those with these numbers.
    Undefined(Range<u64>),
    Values(KeyRange),
}

/// The index that is walked, and how far.
#[derive(Debug)]
pub(super) struct Walk {
    /// What each key begins with; the columns follow.
    pub(super) prefix: Key,
    pub(super) columns: IndexColumns,
    /// The number of a composite index.
    pub(super) composite: Option<u32>,
    /// The keys that matter.
    pub(super) range: KeyRange,
    /// Whether items without the property matter, too, and aren't in the index.
    pub(super) undefined_too: bool,
}

/// A lazy walk.
#[derive(Debug)]
pub(super) struct OrderedSource<'a> {
    container: &'a Container,
    prefix: Key,
    columns: IndexColumns,
    composite: Option<u32>,
    descending: bool,
    phases: VecDeque<Phase>,
    lacking: Lacking<'a>,
    batches: Batches,
    buffer: VecDeque<OrderedItem>,
    /// Entries that were read and whose items weren't.
    waiting: VecDeque<Entry>,
    /// What entries begin with whose keys are in order, though their values are hashed.
    in_order: Vec<Vec<u8>>,
    /// The group whose items are being given, and what its entries begin with.
    members: VecDeque<Member>,
    shared: Vec<u8>,
    /// The last entry that was left away, if all of its page were.
    passed: Option<Position>,
    /// What else an item must meet.
    beside: Vec<Numbers>,
    /// Where the last page ended, which may be inside a group.
    resumed: Option<Position>,
    /// The properties that are read of each item; `None` means all.
    properties: Option<Vec<String>>,
}

/// The place of an item among those without the property.
fn undefined_at(number: u64) -> Position {
    Position {
        composite: None,
        undefined: true,
        bytes: number.to_be_bytes().to_vec(),
        entries: 0,
        number,
    }
}

impl<'a> OrderedSource<'a> {
    /// The page wants `wanted` items. `memory` is of items without the property; `None` if the snapshot isn't
    /// one that others share. `at` is its commit.
    pub(super) fn new(
        container: &'a Container,
        walk: Walk,
        descending: bool,
        (resume, wanted): (Option<&Position>, u64),
        (memory, at): (Option<&'a LackingMemory>, Sequence),
    ) -> Self {
        let mut phases = VecDeque::from([Phase::Values(walk.range)]);
        let memory = memory.filter(|_| walk.undefined_too);
        let lacking = Lacking::new(container, &walk.columns, descending, memory, at);
        if walk.undefined_too {
            // No item has the last number.
            let all = Phase::Undefined(0..u64::MAX);
            if descending {
                phases.push_back(all);
            } else {
                phases.push_front(all);
            }
        }
        let mut source = Self {
            container,
            prefix: walk.prefix,
            columns: walk.columns,
            composite: walk.composite,
            descending,
            phases,
            lacking,
            batches: Batches::new(wanted),
            buffer: VecDeque::new(),
            waiting: VecDeque::new(),
            passed: None,
            beside: Vec::new(),
            in_order: Vec::new(),
            members: VecDeque::new(),
            shared: Vec::new(),
            resumed: resume.filter(|position| !position.undefined).cloned(),
            properties: None,
        };
        if let Some(position) = resume {
            source.resume(position);
        }
        source
    }

    /// Leaves away items that don't meet these, before they are read.
    pub(super) fn meeting(mut self, beside: Vec<Numbers>) -> Self {
        self.beside = beside;
        self
    }

    /// Reads no more of each item than these properties and the columns.
    pub(super) fn reading(mut self, properties: Option<&[String]>) -> Self {
        self.properties = properties.map(|properties| {
            let columns = self.columns.top_level().map(str::to_owned);
            properties.iter().cloned().chain(columns).collect()
        });
        self
    }

    fn resume(&mut self, position: &Position) {
        let is_of = |phase: &Phase| matches!(phase, Phase::Undefined(_)) == position.undefined;
        if !self.phases.iter().any(is_of) {
            // An earlier release gave the token, and looked for items without the property where there
            // can't be any.
            if self.descending {
                self.phases.clear();
            }
            return;
        }
        while self.phases.front().is_some_and(|first| !is_of(first)) {
            self.phases.pop_front();
        }
        // The place itself is still to come.
        match self.phases.front_mut() {
            Some(Phase::Undefined(numbers)) if self.descending => {
                numbers.end = position.number.saturating_add(1);
            }
            Some(Phase::Undefined(numbers)) => numbers.start = position.number,
            Some(Phase::Values(range)) => {
                let at = KeyWriter::after(&self.prefix).raw(&position.bytes).finish();
                if self.descending {
                    let end = KeyRange::prefix(&at).end;
                    range.end = match (range.end.take(), end) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                } else {
                    range.start = range.start.clone().max(at);
                }
            }
            None => {}
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
                return Ok(Step::Item(Box::new(item)));
            }
            if !self.members.is_empty() {
                self.read_members(snapshot, counters).await?;
                continue;
            }
            if !self.waiting.is_empty() {
                self.read_waiting(snapshot, counters).await?;
                continue;
            }
            let Some(phase) = self.phases.pop_front() else {
                return Ok(Step::End);
            };
            let rest = match phase {
                Phase::Undefined(numbers) if numbers.is_empty() => continue,
                Phase::Undefined(numbers) => {
                    let rest = self.read_undefined(snapshot, numbers, counters, clock).await?;
                    rest.map(Phase::Undefined)
                }
                Phase::Values(range) if range.is_empty() => continue,
                Phase::Values(range) => {
                    let rest = self.read_values(snapshot, &range, counters).await?;
                    rest.map(Phase::Values)
                }
            };
            // Else the next phase begins: its place isn't one of this.
            let mut place = None;
            let passed = self.passed.take();
            if let Some(rest) = rest {
                place = match &rest {
                    Phase::Undefined(numbers) if self.descending => {
                        Some(undefined_at(numbers.end.saturating_sub(1)))
                    }
                    Phase::Undefined(numbers) => Some(undefined_at(numbers.start)),
                    Phase::Values(_) => passed,
                };
                self.phases.push_front(rest);
            }
            if self.buffer.is_empty() && self.waiting.is_empty() {
                // Long stretches without a match must not hold up others, nor the page.
                tokio::task::yield_now().await;
                if let Some(place) = place.filter(|_| counters.is_over_time(clock)) {
                    return Ok(Step::Pause(place));
                }
            }
        }
    }

    async fn read_undefined(
        &mut self,
        snapshot: &dyn Snapshot,
        numbers: Range<u64>,
        counters: &mut Counters,
        clock: &dyn Clock,
    ) -> Result<Option<Range<u64>>, DocumentsError> {
        let batch = self.batches.items();
        let (found, rest) = self
            .lacking
            .read(snapshot, numbers, batch, counters, clock)
            .await?;
        self.buffer
            .extend(found.into_iter().map(|(number, record, document)| OrderedItem {
                number,
                record,
                document,
                position: undefined_at(number),
            }));
        Ok(rest)
    }

    async fn read_values(
        &mut self,
        snapshot: &dyn Snapshot,
        range: &KeyRange,
        counters: &mut Counters,
    ) -> Result<Option<KeyRange>, DocumentsError> {
        let limit = ScanLimit {
            entries_max: self.batches.entries(),
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let page = snapshot.scan_page(range, self.direction(), limit).await?;
        counters.index_keys += page.entries.len() as u64;
        let last = page.entries.last();
        let last = last
            .and_then(|entry| self.term_of(entry))
            .map(|(term, number)| Position {
                composite: self.composite,
                undefined: false,
                bytes: [term, ItemNumber::new(number).as_bytes()].concat(),
                entries: 0,
                number,
            });
        let entries = self.meeting_beside(snapshot, page.entries, counters).await?;
        self.passed = last.filter(|_| entries.is_empty());
        self.waiting.extend(entries);
        Ok(page.rest)
    }

    /// Those entries whose items meet what else there is. Those of groups stay, as their places are
    /// known by all of the group.
    async fn meeting_beside(
        &self,
        snapshot: &dyn Snapshot,
        mut entries: Vec<Entry>,
        counters: &mut Counters,
    ) -> Result<Vec<Entry>, DocumentsError> {
        if self.beside.is_empty() {
            return Ok(entries);
        }
        let alone = entries.iter().filter(|entry| self.group_of(entry).is_none());
        let mut numbers: Vec<u64> = alone.filter_map(|entry| Some(self.term_of(entry)?.1)).collect();
        for condition in &self.beside {
            let read = &mut counters.index_keys;
            condition.retain(snapshot, &mut numbers, read).await?;
        }
        let numbers: HashSet<u64> = numbers.into_iter().collect();
        entries.retain(|entry| {
            let number = self.term_of(entry).map(|(_, number)| number);
            self.group_of(entry).is_some() || number.is_some_and(|number| numbers.contains(&number))
        });
        Ok(entries)
    }

    /// Reads the items of entries that wait: those whose places are sure, or the first one's group.
    async fn read_waiting(
        &mut self,
        snapshot: &dyn Snapshot,
        counters: &mut Counters,
    ) -> Result<(), DocumentsError> {
        let sure = self.sure();
        if sure > 0 {
            let sure = sure.min(self.batches.items());
            let entries: Vec<Entry> = self.waiting.drain(..sure).collect();
            let items = self.fetch(snapshot, &entries, counters).await?;
            self.buffer.extend(items);
            return Ok(());
        }
        let first = self.waiting.front().and_then(|entry| self.group_of(entry));
        let Some(Inexact { shared, column, cut }) = first else {
            self.waiting.pop_front();
            return Ok(());
        };
        let shared = shared.to_vec();
        // A count is a place among the group's items only, whatever the group is now.
        let counted = self.resumed.as_ref().is_some_and(|at| at.bytes == shared);
        let range = KeyRange::prefix(&KeyWriter::after(&self.prefix).raw(&shared).finish());
        let entries_max = if cut || counted {
            None
        } else {
            Some(STRUCTURES_TOGETHER_MAX)
        };
        let Some(group) = Group::read(self, snapshot, &range, entries_max, counters).await? else {
            self.follow_keys_of(shared);
            return Ok(());
        };
        if !cut && !counted && group.shares_value(column) {
            self.follow_keys_of(shared);
            return Ok(());
        }
        let resumed = self.resumed.take_if(|at| at.bytes.starts_with(&shared));
        let resumed = resumed.map(|at| (at.number, at.entries));
        self.members = group.into_members(&self.columns, self.descending, resumed);
        self.shared = shared;
        self.waiting.retain(|entry| !range.contains(&entry.key));
        // It may go on behind what was read of the index.
        if let Some(Phase::Values(rest)) = self.phases.front_mut() {
            let behind = if self.descending {
                KeyRange::between(rest.start.clone(), range.start)
            } else {
                KeyRange {
                    start: range.end.unwrap_or(range.start),
                    end: None,
                }
            };
            *rest = intersect(rest, &behind);
        }
        Ok(())
    }

    /// The keys of entries that begin so are in order, as far as it is known.
    fn follow_keys_of(&mut self, shared: Vec<u8>) {
        self.in_order.retain(|earlier| shared.starts_with(earlier));
        self.in_order.push(shared);
    }

    /// How many of the entries that wait are in their places: they belong to no group, or are alone in
    /// theirs, as the neighbours show.
    fn sure(&self) -> usize {
        let mut before: Option<&Entry> = None;
        let mut waiting = self.waiting.iter().peekable();
        let mut sure = 0;
        while let Some(entry) = waiting.next() {
            if let Some(Inexact { shared, .. }) = self.group_of(entry) {
                let elsewhere = |neighbour: Option<&Entry>| {
                    let term = neighbour.and_then(|neighbour| self.term_of(neighbour));
                    term.is_some_and(|(term, _)| !term.starts_with(shared))
                };
                if !elsewhere(before) || !elsewhere(waiting.peek().copied()) {
                    break;
                }
            }
            before = Some(entry);
            sure += 1;
        }
        sure
    }

    /// Reads the next items of the group.
    async fn read_members(
        &mut self,
        snapshot: &dyn Snapshot,
        counters: &mut Counters,
    ) -> Result<(), DocumentsError> {
        let count = self.members.len().min(self.batches.items());
        let members: Vec<Member> = self.members.drain(..count).collect();
        let numbers: Vec<u64> = members.iter().map(|member| member.number).collect();
        let found = self.load(snapshot, &numbers, counters).await?;
        for (member, found) in members.into_iter().zip(found) {
            let Some((record, document)) = found else { continue };
            self.buffer.push_back(OrderedItem {
                number: member.number,
                record,
                document,
                position: Position {
                    composite: self.composite,
                    undefined: false,
                    bytes: self.shared.clone(),
                    entries: member.at,
                    number: member.number,
                },
            });
        }
        Ok(())
    }

    /// What an entry has between the index's prefix and the item's number.
    fn term_of<'e>(&self, entry: &'e Entry) -> Option<(&'e [u8], u64)> {
        ItemNumber::split_last(entry.key.as_bytes().strip_prefix(self.prefix.as_bytes())?)
    }

    /// The group that an entry has to be read with; `None` if its own place is sure.
    fn group_of<'e>(&'e self, entry: &'e Entry) -> Option<Inexact<'e>> {
        let mut inexact = self.columns.inexact(self.term_of(entry)?.0);
        inexact.find(|inexact| self.in_order.iter().all(|known| known != inexact.shared))
    }

    /// Reads items.
    async fn load(
        &self,
        snapshot: &dyn Snapshot,
        numbers: &[u64],
        counters: &mut Counters,
    ) -> Result<Vec<Option<(ItemRecord, Value)>>, DocumentsError> {
        let item_keys: Vec<_> = numbers
            .iter()
            .map(|number| keys::item(self.container.number, *number))
            .collect();
        let mut items = Vec::with_capacity(numbers.len());
        for found in snapshot.get_many(&item_keys).await? {
            let Some(found) = found else {
                items.push(None);
                continue;
            };
            let record = ItemRecord::decode(&found.value)?;
            counters.loaded(record.text.len());
            let document = record.parse_properties(self.properties.as_deref())?;
            items.push(Some((record, document)));
        }
        Ok(items)
    }

    /// Reads the items of index entries.
    pub(super) async fn fetch(
        &self,
        snapshot: &dyn Snapshot,
        entries: &[Entry],
        counters: &mut Counters,
    ) -> Result<Vec<OrderedItem>, DocumentsError> {
        let terms: Vec<(&[u8], u64)> = entries.iter().filter_map(|entry| self.term_of(entry)).collect();
        let numbers: Vec<u64> = terms.iter().map(|(_, number)| *number).collect();
        let found = self.load(snapshot, &numbers, counters).await?;
        let mut items = Vec::with_capacity(terms.len());
        for ((term, number), found) in terms.into_iter().zip(found) {
            let Some((record, document)) = found else { continue };
            // Else it is another path with the same hash, or an entry that verify would report.
            if self.columns.term(&document, record.ts) == term {
                items.push(OrderedItem {
                    number,
                    record,
                    document,
                    position: Position {
                        composite: self.composite,
                        undefined: false,
                        bytes: [term, ItemNumber::new(number).as_bytes()].concat(),
                        entries: 0,
                        number,
                    },
                });
            }
        }
        Ok(items)
    }

    /// The columns of the index.
    pub(super) fn columns(&self) -> &IndexColumns {
        &self.columns
    }
}
