//! Item numbers that meet a condition, in growing order, found by seeking.
//!
//! A condition is a union of ranges. Memory is a page per range, or a bounded sorted list for
//! ranges whose keys aren't in the order of numbers. How several are intersected is in
//! [`super::intersection`].

use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Direction, Key, KeyRange, LedgerError, ScanLimit, Snapshot};

use super::plan::Condition;
use crate::store::item_number::ItemNumber;
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

/// What is known of a condition's numbers from where a walk stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outlook {
    /// Numbers of the condition per number of the container, as far as was read: 0 to 1, or more
    /// where ranges overlap.
    pub(super) density: f64,
    /// How many ranges one number may be in.
    pub(super) ranges: usize,
    /// Whether all that is left is in memory already.
    pub(super) in_memory: bool,
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
            let start = match self.page.last() {
                Some(last) if *last >= from => self.key(last.saturating_add(1)),
                _ => self.key(from),
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

    /// The key of a number's entry.
    fn key(&self, number: u64) -> Key {
        ledger::KeyWriter::after(&self.prefix)
            .raw(ItemNumber::new(number).as_bytes())
            .finish()
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
    pub(super) async fn seek(
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

    /// What the pages read so far tell.
    pub(super) fn outlook(&self) -> Outlook {
        match self {
            Self::Postings(postings) => Outlook {
                density: postings.iter().map(|posting| density(&posting.page)).sum(),
                ranges: postings.len(),
                in_memory: postings.iter().all(|posting| posting.ended),
            },
            Self::List { sorted, .. } => Outlook {
                density: density(sorted),
                ranges: 1,
                in_memory: true,
            },
        }
    }

    /// Keeps those of `candidates` that the condition holds, by asking for their very keys.
    pub(super) async fn retain(
        &self,
        snapshot: &dyn Snapshot,
        candidates: &mut Vec<u64>,
        read: &mut u64,
    ) -> Result<(), LedgerError> {
        let postings = match self {
            Self::Postings(postings) => postings,
            Self::List { sorted, .. } => {
                candidates.retain(|number| sorted.binary_search(number).is_ok());
                return Ok(());
            }
        };
        let mut held = vec![false; candidates.len()];
        for posting in postings {
            let keys: Vec<Key> = candidates.iter().map(|number| posting.key(*number)).collect();
            *read += keys.len() as u64;
            let found = snapshot.get_many(&keys).await?;
            for (held, found) in held.iter_mut().zip(found) {
                *held |= found.is_some();
            }
        }
        let mut held = held.into_iter();
        candidates.retain(|_| held.next().unwrap_or(true));
        Ok(())
    }
}

/// Numbers per number, of a sorted piece.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn density(sorted: &[u64]) -> f64 {
    match (sorted.first(), sorted.last()) {
        (Some(first), Some(last)) => sorted.len() as f64 / ((last - first) as f64 + 1.0),
        _ => 0.0,
    }
}
