//! Item numbers that meet a condition, in growing order, found by seeking.
//!
//! A condition is a union of ranges; several conditions are intersected by leaping: whoever is
//! behind seeks to where the others are. Memory is a page per range, or a bounded sorted list for
//! ranges whose keys aren't in the order of numbers.

use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Direction, Key, KeyRange, LedgerError, ScanLimit, Snapshot};

use super::plan::Condition;
use crate::store::keys;

/// Ranges of one value each that are read side by side; more are gathered and sorted first.
const POSTINGS_MAX: usize = 64;
const PAGE_ENTRIES_FIRST: usize = 32;
const PAGE_ENTRIES_MAX: usize = 512;

/// The numbers of one condition.
#[derive(Debug)]
pub(super) enum Numbers {
    Postings(Vec<Posting>),
    List { sorted: Vec<u64>, at: usize },
}

/// The numbers of one value's index entries, read by pages.
#[derive(Debug)]
pub(super) struct Posting {
    range: KeyRange,
    prefix: Key,
    page: Vec<u64>,
    at: usize,
    page_entries: usize,
    /// Nothing lies behind the page.
    ended: bool,
}

impl Posting {
    fn new(range: KeyRange) -> Self {
        Self {
            prefix: range.start.clone(),
            range,
            page: Vec::new(),
            at: 0,
            page_entries: PAGE_ENTRIES_FIRST,
            ended: false,
        }
    }

    /// The first number at or above `from`.
    async fn seek(
        &mut self,
        snapshot: &dyn Snapshot,
        from: u64,
        read: &mut u64,
    ) -> Result<Option<u64>, LedgerError> {
        loop {
            let rest = self.page.get(self.at..).unwrap_or_default();
            let skipped = rest.partition_point(|number| *number < from);
            self.at += skipped;
            if let Some(number) = self.page.get(self.at) {
                return Ok(Some(*number));
            }
            if self.ended {
                return Ok(None);
            }
            let start = ledger::KeyWriter::after(&self.prefix).u64(from).finish();
            let start = match self.page.last() {
                Some(last) if *last >= from => ledger::KeyWriter::after(&self.prefix).u64(last + 1).finish(),
                _ => start,
            };
            let range = KeyRange {
                start,
                end: self.range.end.clone(),
            };
            if range.is_empty() {
                self.ended = true;
                continue;
            }
            let limit = ScanLimit {
                entries_max: self.page_entries,
                bytes_max: SCAN_PAGE_BYTES_MAX,
            };
            let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
            *read += page.entries.len() as u64;
            self.page_entries = (self.page_entries * 2).min(PAGE_ENTRIES_MAX);
            self.page = page
                .entries
                .iter()
                .filter_map(|entry| keys::ending_number(&entry.key))
                .collect();
            self.at = 0;
            self.ended = page.rest.is_none();
        }
    }
}

impl Numbers {
    /// Opens a condition. Ranges that aren't in the order of numbers are gathered, if they have at
    /// most `gathered_max` entries; `None` if they have more.
    pub(super) async fn open(
        snapshot: &dyn Snapshot,
        condition: &Condition,
        gathered_max: usize,
        read: &mut u64,
    ) -> Result<Option<Self>, LedgerError> {
        if condition.by_number && condition.ranges.len() <= POSTINGS_MAX {
            return Ok(Some(Self::Postings(
                condition.ranges.iter().cloned().map(Posting::new).collect(),
            )));
        }
        let mut sorted = Vec::new();
        for range in &condition.ranges {
            let mut scan = ledger::Scan::new(snapshot, range.clone(), Direction::Forward);
            while let Some(entry) = scan.next().await? {
                *read += 1;
                if sorted.len() >= gathered_max {
                    return Ok(None);
                }
                sorted.extend(keys::ending_number(&entry.key));
            }
        }
        sorted.sort_unstable();
        sorted.dedup();
        Ok(Some(Self::List { sorted, at: 0 }))
    }

    /// The first number at or above `from`.
    async fn seek(
        &mut self,
        snapshot: &dyn Snapshot,
        from: u64,
        read: &mut u64,
    ) -> Result<Option<u64>, LedgerError> {
        match self {
            Self::Postings(postings) => {
                let mut least: Option<u64> = None;
                for posting in postings {
                    if let Some(number) = posting.seek(snapshot, from, read).await? {
                        least = Some(least.map_or(number, |least| least.min(number)));
                    }
                }
                Ok(least)
            }
            Self::List { sorted, at } => {
                let rest = sorted.get(*at..).unwrap_or_default();
                *at += rest.partition_point(|number| *number < from);
                Ok(sorted.get(*at).copied())
            }
        }
    }
}

/// The first number at or above `from` that meets all conditions (of which there is at least one).
pub(super) async fn seek_all(
    snapshot: &dyn Snapshot,
    conditions: &mut [Numbers],
    from: u64,
    read: &mut u64,
) -> Result<Option<u64>, LedgerError> {
    let mut candidate = from;
    'leap: loop {
        for numbers in conditions.iter_mut() {
            match numbers.seek(snapshot, candidate, read).await? {
                None => return Ok(None),
                Some(number) if number > candidate => {
                    candidate = number;
                    continue 'leap;
                }
                Some(_) => {}
            }
        }
        return Ok(Some(candidate));
    }
}
