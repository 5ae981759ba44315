//! Items whose index entries begin with the same bytes though their values may differ there: put in
//! order by their documents, of which only the values of the columns are kept meanwhile.

use std::collections::VecDeque;

use documents_sql::{ExecError, compare_values};
use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Direction, KeyRange, ScanLimit, Snapshot};
use serde_json::Value;

use super::ordered::OrderedSource;
use super::page::Counters;
use crate::error::DocumentsError;
use crate::limits::QUERY_MEMORY_BYTES_MAX;
use crate::rules::index_columns::IndexColumns;

/// Entries that are read at once.
const BATCH: usize = 256;

/// What is kept of an item beside its values.
const ITEM_BYTES: usize = 64;

/// An item of a group, and how many are before it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) at: u32,
    pub(super) number: u64,
}

/// The values of the columns, and the number, of each item.
#[derive(Debug)]
pub(super) struct Group(Vec<(Vec<Option<Value>>, u64)>);

impl Group {
    /// Reads the items of a range of entries; `None` if these are more than `entries_max`.
    ///
    /// # Errors
    /// If the values are more than a query may keep.
    pub(super) async fn read(
        source: &OrderedSource<'_>,
        snapshot: &dyn Snapshot,
        range: &KeyRange,
        entries_max: Option<usize>,
        counters: &mut Counters,
    ) -> Result<Option<Self>, DocumentsError> {
        let limit = ScanLimit {
            entries_max: entries_max.map_or(BATCH, |max| max.saturating_add(1)),
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let mut found = Vec::new();
        let mut bytes = 0usize;
        let mut entries = 0usize;
        let mut rest = Some(range.clone());
        while let Some(range) = rest.take() {
            let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
            counters.index_keys += page.entries.len() as u64;
            entries = entries.saturating_add(page.entries.len());
            if entries_max.is_some_and(|max| entries > max) {
                return Ok(None);
            }
            for batch in page.entries.chunks(BATCH) {
                for item in source.fetch(snapshot, batch, counters).await? {
                    let values = source.columns().values(&item.document);
                    let kept: usize = values.iter().flatten().map(bytes_of).sum();
                    bytes = bytes.saturating_add(kept).saturating_add(ITEM_BYTES);
                    found.push((values, item.number));
                }
            }
            if bytes > QUERY_MEMORY_BYTES_MAX {
                return Err(ExecError::MemoryExceeded {
                    max_bytes: QUERY_MEMORY_BYTES_MAX,
                }
                .into());
            }
            rest = page.rest;
            tokio::task::yield_now().await;
        }
        Ok(Some(Self(found)))
    }

    /// Whether all have an equal value in a column.
    pub(super) fn shares_value(&self, column: usize) -> bool {
        let mut values = self.0.iter().map(|(values, _)| values.get(column));
        let Some(first) = values.next().flatten() else {
            return true;
        };
        values.all(|other| other.is_some_and(|other| compare_values(first.as_ref(), other.as_ref()).is_eq()))
    }

    /// The items in order, from where the last page ended: at an item, or, if that is gone, behind so
    /// many.
    pub(super) fn into_members(
        self,
        columns: &IndexColumns,
        descending: bool,
        resumed: Option<(u64, u32)>,
    ) -> VecDeque<Member> {
        let mut found = self.0;
        found.sort_by(|(a, number), (b, other)| columns.compare(a, b).then_with(|| number.cmp(other)));
        if descending {
            found.reverse();
        }
        let done = resumed.map_or(0, |(number, entries)| {
            let place = found.iter().position(|(_, found)| *found == number);
            place.unwrap_or_else(|| usize::try_from(entries).unwrap_or(usize::MAX))
        });
        let members = (0u32..).zip(found).skip(done);
        members.map(|(at, (_, number))| Member { at, number }).collect()
    }
}

/// About what a value takes in memory.
fn bytes_of(value: &Value) -> usize {
    let own = size_of::<Value>();
    match value {
        Value::String(text) => own + text.len(),
        Value::Array(values) => own + values.iter().map(bytes_of).sum::<usize>(),
        Value::Object(members) => {
            let members = members.iter();
            own + members
                .map(|(name, value)| ITEM_BYTES + name.len() + bytes_of(value))
                .sum::<usize>()
        }
        _ => own,
    }
}
