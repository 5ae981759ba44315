//! A snapshot as the writes of a transaction that isn't committed yet would leave it.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use ledger::{
    Direction, Entry, Key, KeyRange, LedgerError, ScanLimit, ScanPage, Sequence, Snapshot, Transaction,
    Versioned, Write,
};

/// A snapshot with the writes of a transaction on top; what is staged has version 0.
pub(crate) struct StagedSnapshot<'a> {
    pub(crate) below: &'a dyn Snapshot,
    pub(crate) staged: &'a Transaction,
}

impl StagedSnapshot<'_> {
    /// The entries of a page, with the writes to the part of the range that it covers.
    fn merge(&self, entries: Vec<Entry>, covered: &KeyRange, direction: Direction) -> Vec<Entry> {
        if covered.is_empty() {
            return entries;
        }
        let end = covered.end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut writes = self
            .staged
            .writes()
            .range::<Key, _>((Bound::Included(&covered.start), end))
            .peekable();
        if writes.peek().is_none() {
            return entries;
        }
        let found = entries.into_iter().map(|entry| (entry.key, entry.versioned));
        let mut merged: BTreeMap<Key, Versioned> = found.collect();
        for (key, write) in writes {
            match write {
                Write::Put(value) => {
                    let value = value.clone();
                    merged.insert(key.clone(), Versioned { value, version: 0 });
                }
                Write::Delete => {
                    merged.remove(key);
                }
            }
        }
        let mut entries: Vec<Entry> = merged
            .into_iter()
            .map(|(key, versioned)| Entry { key, versioned })
            .collect();
        if direction == Direction::Backward {
            entries.reverse();
        }
        entries
    }
}

#[async_trait]
impl Snapshot for StagedSnapshot<'_> {
    fn sequence(&self) -> Sequence {
        self.below.sequence()
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        match self.staged.staged(key) {
            Some(Write::Put(value)) => Ok(Some(Versioned {
                value: value.clone(),
                version: 0,
            })),
            Some(Write::Delete) => Ok(None),
            None => self.below.get(key).await,
        }
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        let mut range = range.clone();
        loop {
            let page = self.below.scan_page(&range, direction, limit).await?;
            let covered = match (&page.rest, direction) {
                (None, _) => range,
                (Some(rest), Direction::Forward) => KeyRange {
                    start: range.start,
                    end: Some(rest.start.clone()),
                },
                (Some(rest), Direction::Backward) => KeyRange {
                    start: rest.end.clone().unwrap_or(range.start),
                    end: range.end,
                },
            };
            let entries = self.merge(page.entries, &covered, direction);
            match page.rest {
                // All of it was deleted; a page without entries would look like the end.
                Some(rest) if entries.is_empty() => range = rest,
                rest => return Ok(ScanPage { entries, rest }),
            }
        }
    }
}
