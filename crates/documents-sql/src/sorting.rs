//! Rows in the order of ORDER BY, of which only those are kept that can still be wanted.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use crate::program::Block;
use crate::value::compare_values;

/// A row with what it is sorted by.
pub(crate) struct SortRow {
    pub(crate) keys: Vec<Option<Value>>,
    /// `_rid` order, then order within the document.
    pub(crate) place: (u64, u64),
    pub(crate) row: Value,
    pub(crate) bytes: usize,
}

impl SortRow {
    fn keys(&self) -> impl Iterator<Item = Option<&Value>> {
        self.keys.iter().map(Option::as_ref)
    }
}

/// Collects rows and sorts them; with a known number of wanted rows it forgets the others.
pub(crate) struct Sorter {
    rows: Vec<SortRow>,
    descending: Vec<bool>,
    /// OFFSET plus LIMIT, or what the caller takes, unless DISTINCT may drop rows behind the sort.
    wanted: Option<usize>,
    /// How many of the rows are in order and the first ones of all so far: as many as are wanted.
    sorted: usize,
}

impl Sorter {
    /// Rows beyond the wanted ones that are let in before the next sort; below it sorting per
    /// row would cost more than the memory saved.
    const SLACK_ROWS: usize = 256;

    pub(crate) fn new(block: &Block) -> Self {
        let wanted = block
            .take
            .filter(|_| !block.distinct)
            .map(|take| take.saturating_add(block.skip));
        Self {
            rows: Vec::new(),
            descending: block.order.iter().map(|(_, descending)| *descending).collect(),
            wanted: wanted.and_then(|wanted| usize::try_from(wanted).ok()),
            sorted: 0,
        }
    }

    /// Keeps no more than so many.
    pub(crate) fn want(&mut self, rows: u64) {
        if let Ok(rows) = usize::try_from(rows) {
            self.wanted = Some(self.wanted.map_or(rows, |wanted| wanted.min(rows)));
        }
    }

    /// Whether enough rows come before one with these keys already.
    pub(crate) fn is_too_late(&self, keys: &[Option<Cow<'_, Value>>], place: (u64, u64)) -> bool {
        let last = self.sorted.checked_sub(1).and_then(|last| self.rows.get(last));
        last.is_some_and(|last| {
            let keys = keys.iter().map(Option::as_deref);
            compare_places((keys, place), (last.keys(), last.place), &self.descending).is_gt()
        })
    }

    /// Takes a row in; gives the bytes of rows it could forget.
    pub(crate) fn push(&mut self, row: SortRow) -> usize {
        self.rows.push(row);
        match self.wanted {
            Some(wanted) if self.rows.len() >= wanted.saturating_mul(2).saturating_add(Self::SLACK_ROWS) => {
                self.forget()
            }
            _ => 0,
        }
    }

    /// Forgets the rows that can't be wanted; gives their bytes.
    pub(crate) fn forget(&mut self) -> usize {
        match self.wanted {
            Some(wanted) if self.rows.len() > wanted => {
                self.sort();
                self.sorted = wanted;
                self.rows.drain(wanted..).map(|row| row.bytes).sum()
            }
            _ => 0,
        }
    }

    fn sort(&mut self) {
        let Self { rows, descending, .. } = self;
        rows.sort_by(|a, b| compare_places((a.keys(), a.place), (b.keys(), b.place), descending));
    }

    pub(crate) fn finish(mut self) -> Vec<SortRow> {
        self.sort();
        self.rows
    }
}

fn compare_places<'v>(
    (a, place): (impl Iterator<Item = Option<&'v Value>>, (u64, u64)),
    (b, other): (impl Iterator<Item = Option<&'v Value>>, (u64, u64)),
    descending: &[bool],
) -> Ordering {
    let turned = |order: Ordering, descending: bool| if descending { order.reverse() } else { order };
    a.zip(b)
        .zip(descending)
        .map(|((a, b), descending)| turned(compare_values(a, b), *descending))
        .find(|order| order.is_ne())
        .unwrap_or_else(|| {
            let first = descending.first().copied().unwrap_or(false);
            turned(place.0.cmp(&other.0), first).then_with(|| place.1.cmp(&other.1))
        })
}
