//! Lazy, bounded scans over a snapshot.
//!
//! Invariant: at most one page is in memory, however long the range. Pages begin small, so a
//! caller that wants three entries doesn't pay for five hundred, and double from there.

use std::collections::VecDeque;

use crate::limits::{SCAN_PAGE_BYTES_MAX, SCAN_PAGE_ENTRIES_FIRST, SCAN_PAGE_ENTRIES_MAX};
use crate::{Key, KeyRange, LedgerError, Snapshot, Versioned};

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the range's start up.
    Forward,
    /// From the range's end down.
    Backward,
}

/// Where a page ends, at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimit {
    /// Most entries.
    pub entries_max: usize,
    /// Bytes after which no further entry is added.
    pub bytes_max: usize,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// The value and its version.
    pub versioned: Versioned,
}

/// Some entries of a range, in the scan's direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// What is left of the range; `None` if nothing is.
    pub rest: Option<KeyRange>,
}

/// A scan in progress.
#[derive(Debug)]
pub struct Scan<'a, S: Snapshot + ?Sized> {
    snapshot: &'a S,
    direction: Direction,
    rest: Option<KeyRange>,
    page: VecDeque<Entry>,
    page_entries: usize,
}

impl<'a, S: Snapshot + ?Sized> Scan<'a, S> {
    /// Begins a scan. Nothing is read before the first [`Scan::next`].
    pub fn new(snapshot: &'a S, range: KeyRange, direction: Direction) -> Self {
        Self {
            snapshot,
            direction,
            rest: (!range.is_empty()).then_some(range),
            page: VecDeque::new(),
            page_entries: SCAN_PAGE_ENTRIES_FIRST,
        }
    }

    /// The next entry, or `None` at the range's end.
    ///
    /// # Errors
    /// As [`Snapshot::scan_page`].
    pub async fn next(&mut self) -> Result<Option<Entry>, LedgerError> {
        while self.page.is_empty() {
            let Some(range) = self.rest.take() else {
                return Ok(None);
            };
            let limit = ScanLimit {
                entries_max: self.page_entries,
                bytes_max: SCAN_PAGE_BYTES_MAX,
            };
            let page = self.snapshot.scan_page(&range, self.direction, limit).await?;
            self.page_entries = (self.page_entries * 2).min(SCAN_PAGE_ENTRIES_MAX);
            self.page = page.entries.into();
            self.rest = page.rest;
        }
        Ok(self.page.pop_front())
    }
}

/// What is left of `range` behind `last` in `direction`; engines build [`ScanPage::rest`] with it.
#[must_use]
pub fn rest_behind(range: &KeyRange, direction: Direction, last: &Key) -> Option<KeyRange> {
    let rest = match direction {
        Direction::Forward => KeyRange {
            start: last.successor(),
            end: range.end.clone(),
        },
        Direction::Backward => KeyRange {
            start: range.start.clone(),
            end: Some(last.clone()),
        },
    };
    (!rest.is_empty()).then_some(rest)
}
