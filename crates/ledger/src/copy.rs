//! Copies a whole ledger into an empty one, whatever their engines: every record with its version,
//! every log entry with its number, time and hash, and how far the log was trimmed.
//!
//! Versions and numbers are carried over because others hold them: preconditions compare versions,
//! change feeds have numbers in their keys, followers and clients keep positions. What comes out is
//! the same ledger, not a new one with the same content.
//!
//! * [`CopySource`] and [`CopyTarget`] are the doors that an engine offers for it, beside
//!   [`crate::Ledger`]: a service is never given them.
//! * [`copy`] goes on where an interrupted copy stopped: both halves are written in order, so what
//!   the target has last says how far it is.
//! * `transfer` writes; `comparison` reads everything back.
//!
//! Invariants: at most two pages are in memory, one of each side; a target is a ledger only after
//! [`CopyTarget::finish`], which is called when everything was read back and found the same, and
//! the source was found where it had been.

mod comparison;
#[cfg(test)]
mod tests;
mod transfer;

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::lease::{LEASE_TAG, decode};
use crate::limits::{SCAN_PAGE_BYTES_MAX, SCAN_PAGE_ENTRIES_MAX};
use crate::log::CHAIN_START;
use crate::{
    Entry, Key, KeyRange, KeyWriter, Keyspace, LedgerError, LogEntry, ScanLimit, ScanPage, Sequence,
};

pub use transfer::copy;

/// A place in the log: a commit's number and the chain's hash there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogMark {
    /// The commit's number.
    pub sequence: Sequence,
    /// The chain's hash including its entry.
    pub chain: [u8; 32],
}

impl LogMark {
    /// The place before the first commit.
    pub const START: Self = Self {
        sequence: 0,
        chain: CHAIN_START,
    };
}

/// The number and the hash in hexadecimal.
impl fmt::Display for LogMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sequence, blake3::Hash::from_bytes(self.chain))
    }
}

/// Where a ledger stands. The hash covers every commit there ever was, so two ledgers that stand at
/// the same place are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The newest commit.
    pub head: LogMark,
    /// How far the log was trimmed.
    pub trimmed: LogMark,
}

/// Two lines, for markers of half copies.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "head {}\ntrimmed {}", self.head, self.trimmed)
    }
}

/// What a copy reads, of either side.
#[async_trait]
pub trait Readable: Send + Sync {
    /// A page of records in the order of their keys, each checked against its checksum.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] names the record, [`LedgerError::Unavailable`] if the engine can't
    /// be reached.
    async fn records(&self, range: &KeyRange, limit: ScanLimit) -> Result<ScanPage, LedgerError>;

    /// Log entries behind `after` in order, each checked against its checksum, without checking
    /// that none is missing; none at the log's end.
    ///
    /// # Errors
    /// As [`Readable::records`].
    async fn log(&self, after: Sequence, limit: ScanLimit) -> Result<Vec<LogEntry>, LedgerError>;
}

/// A ledger that is copied, read from one consistent view.
#[async_trait]
pub trait CopySource: Readable {
    /// Where the view stands.
    fn standing(&self) -> Standing;

    /// Where the ledger stands by now.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the engine can't be reached.
    async fn standing_now(&self) -> Result<Standing, LedgerError>;
}

/// How far an interrupted copy is; of a new one, the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The last record, in the order of keys.
    pub key: Option<Key>,
    /// The last log entry; without one, where the log was trimmed.
    pub log: LogMark,
}

/// A place that a ledger is copied into. Nobody else can open it before it is finished.
#[async_trait]
pub trait CopyTarget: Readable {
    /// What is there.
    ///
    /// # Errors
    /// As [`Readable::records`].
    async fn reached(&self) -> Result<Reached, LedgerError>;

    /// Writes records that follow the last one, all or nothing; on disk when it answers.
    ///
    /// # Errors
    /// [`LedgerError::Full`], [`LedgerError::Unavailable`] or [`LedgerError::Failed`]: of an
    /// interrupted write all or nothing is there.
    async fn put_records(&mut self, records: &[Entry]) -> Result<(), LedgerError>;

    /// Writes log entries that follow the last one, all or nothing; on disk when it answers.
    ///
    /// # Errors
    /// As [`CopyTarget::put_records`].
    async fn put_log(&mut self, entries: &[LogEntry]) -> Result<(), LedgerError>;

    /// Everything is written and will be read back.
    ///
    /// # Errors
    /// As [`CopyTarget::put_records`].
    async fn settle(&mut self) -> Result<(), LedgerError>;

    /// Everything was found right: from here on this is a ledger.
    ///
    /// # Errors
    /// As [`CopyTarget::put_records`].
    async fn finish(self: Box<Self>) -> Result<(), LedgerError>;
}

/// What a copy is doing, for who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Records copied in this run.
    Records(u64),
    /// Log entries that are copied, and how many there are.
    Log {
        /// Copied so far.
        done: u64,
        /// All of them.
        of: u64,
    },
    /// Records read back.
    ReadingRecords(u64),
    /// Log entries read back.
    ReadingLog(u64),
}

/// The same on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// Where both ledgers stand.
    pub standing: Standing,
    /// Records, and how many of them were copied in this run.
    pub records: u64,
    /// See [`CopyReport::records`].
    pub records_copied: u64,
    /// BLAKE3 over every key, version and value, in order.
    pub records_sum: [u8; 32],
    /// Log entries, and how many of them were copied in this run.
    pub log_entries: u64,
    /// See [`CopyReport::log_entries`].
    pub log_entries_copied: u64,
    /// BLAKE3 over every log entry, in order.
    pub log_sum: [u8; 32],
}

/// Why a ledger wasn't copied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// The source can't be read, or a record of it is damaged.
    #[error("the source: {0}")]
    Source(LedgerError),
    /// The target can't be written or read.
    #[error("the target: {0}; what is there stays: the same command goes on from there")]
    Target(LedgerError),
    /// What the source holds contradicts itself.
    #[error("the source is damaged: {0}; run `stabbur ledger verify` on it, restore it from a backup")]
    SourceDamaged(String),
    /// Somebody committed to the source, or trimmed its log.
    #[error(
        "the source changed while it was copied: its newest commit was {before}, now it is {now}; stop every \
         node that uses it, remove what was copied, copy anew"
    )]
    Moved {
        /// The newest commit when the copy began.
        before: Sequence,
        /// The newest commit now.
        now: Sequence,
    },
    /// What was read back isn't what was to be copied.
    #[error("the copy isn't the same: {0}; remove what was copied, copy anew")]
    Differs(String),
}

impl CopyError {
    /// A failed target can be gone on with; a damaged one can't.
    fn of_target(error: LedgerError) -> Self {
        match error {
            LedgerError::Corrupt(what) => Self::Differs(what),
            other => Self::Target(other),
        }
    }
}

/// When the last lease in force ends, if there is one: a node that uses this ledger holds it.
///
/// # Errors
/// As [`Readable::records`].
pub async fn lease_in_force(
    source: &dyn CopySource,
    now: Timestamp,
) -> Result<Option<Timestamp>, LedgerError> {
    let prefix = KeyWriter::new(Keyspace::System).u8(LEASE_TAG).finish();
    let limit = ScanLimit {
        entries_max: SCAN_PAGE_ENTRIES_MAX,
        bytes_max: SCAN_PAGE_BYTES_MAX,
    };
    let mut rest = Some(KeyRange::prefix(&prefix));
    let mut last = None;
    while let Some(range) = rest.take() {
        let page = source.records(&range, limit).await?;
        for entry in &page.entries {
            let (_, end) = decode(&entry.versioned.value)
                .ok_or_else(|| LedgerError::Corrupt(format!("the lease {:?} can't be read", entry.key)))?;
            last = last.max(Some(end).filter(|end| *end > now));
        }
        rest = page.rest;
    }
    Ok(last)
}
