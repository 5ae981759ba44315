//! The contract of Stabbur's bottom floor: an ordered, transactional key-value store with a
//! commit log.
//!
//! * [`Ledger`] is what an engine offers; services hold `Arc<dyn Ledger>` and never see which.
//! * [`Transaction`] is staged by operations and committed once: several services may stage into
//!   the same one, so what they write becomes visible together or not at all.
//! * [`Snapshot`] reads are consistent with each other; [`Scan`] is lazy and bounded.
//! * [`log`] is the commit log: every commit has a sequence number that grows in commit order,
//!   and a [`Follower`] sees each commit once, in order, without gaps.
//! * [`key`] is the only place that knows how keys are encoded.
//! * [`copy`] carries a whole ledger from one engine to another.
//! * `suite` (feature) is what every engine must pass; `fault` (feature) a ledger that fails where
//!   a service's test wants it to.
//! * [`Clock`] and [`Random`] are the only doors to time and chance.
//!
//! Invariant: nothing here assumes more than PostgreSQL can give.

pub mod clock;
pub mod copy;
mod error;
#[cfg(any(test, feature = "fault"))]
pub mod fault;
pub mod follower;
pub mod key;
pub mod lease;
pub mod limits;
pub mod log;
pub mod memory;
pub mod random;
pub mod scan;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod transaction;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

pub use clock::{AdjustableClock, Clock, SystemClock};
pub use error::{Conflict, Expectation, LedgerError};
pub use follower::Follower;
pub use key::{Key, KeyRange, KeyReader, KeyWriter, Keyspace};
pub use lease::Lease;
pub use log::{LogEntry, LogPage, LogRecord};
pub use random::{Random, SystemRandom};
pub use scan::{Direction, Entry, Scan, ScanLimit, ScanPage};
pub use transaction::{Precondition, SequencedPut, Transaction, Write};

/// A commit's number. Grows in commit order; 0 means "before the first commit".
pub type Sequence = u64;

/// A value as it was read, with the sequence number of the commit that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The stored bytes.
    pub value: Bytes,
    /// The commit that wrote them: what [`Transaction::require_version`] compares.
    pub version: Sequence,
}

/// What a successful commit answers. It is on disk when this is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The commit's number.
    pub sequence: Sequence,
    /// The ledger's time of the commit.
    pub time: jiff::Timestamp,
}

/// Whether the ledger can serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Reads and writes work.
    Ready,
    /// Reads work, writes are refused: the cause, for people.
    ReadOnly(String),
    /// Nothing works for now: the cause, for people.
    Unavailable(String),
}

/// Counters of an engine since it was opened, and sizes as they are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// The engine's name.
    pub engine: &'static str,
    /// Newest committed sequence number.
    pub head: Sequence,
    /// Commits acknowledged since opening.
    pub commits: u64,
    /// Commits refused for a failed precondition since opening.
    pub conflicts: u64,
    /// Groups written since opening (one sync, or one database transaction, each).
    pub groups: u64,
    /// Syncs the engine asked of the disk since opening.
    pub syncs: u64,
    /// Bytes on disk, as far as the engine knows.
    pub disk_bytes: u64,
    /// What else the engine can say: name, value.
    pub details: Vec<(String, String)>,
}

/// What [`Ledger::verify`] found. Empty `faults` means sound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Records whose checksum was checked.
    pub records: u64,
    /// Log entries whose chain was checked.
    pub log_entries: u64,
    /// Faults, each naming its place; at most [`limits::VERIFY_FAULTS_MAX`] are kept.
    pub faults: Vec<String>,
}

impl VerifyReport {
    /// Notes a fault, dropping those past the limit.
    pub fn fault(&mut self, text: impl Into<String>) {
        if self.faults.len() < limits::VERIFY_FAULTS_MAX {
            self.faults.push(text.into());
        }
    }
}

/// A consistent view of the ledger at one commit. Cheap to make; hold it for a request or a page,
/// not for minutes.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// The newest commit that this view contains.
    fn sequence(&self) -> Sequence;

    /// Reads one key.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] if the record fails its checksum, [`LedgerError::Unavailable`] if
    /// the engine can't be reached.
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError>;

    /// Reads several keys, in the order asked. Engines with a round trip to pay override this.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, LedgerError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(self.get(key).await?);
        }
        Ok(found)
    }

    /// Reads one page of a range. Prefer [`Scan`], which asks for pages as they are needed.
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError>;
}

/// An ordered, transactional key-value store with a commit log.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// A consistent view that contains at least every commit acknowledged before the call.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if the engine can't be reached.
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError>;

    /// Commits a transaction: all of it, or nothing. Answers after the data is on disk;
    /// concurrent commits share a sync.
    ///
    /// # Errors
    /// [`LedgerError::Conflict`] names the key whose precondition failed; nothing was written.
    /// [`LedgerError::Full`] if there is no space; nothing was written.
    /// [`LedgerError::Unavailable`] if the engine can't be reached; nothing was written.
    /// [`LedgerError::Unknown`] if it went away before it said what became of the commit.
    /// [`LedgerError::Failed`] if a sync failed: what the disk holds is unknown until the process
    /// is restarted, and no further commit is accepted.
    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError>;

    /// Log entries after `after`, in order, without gaps, at most `entries_max` of them and at
    /// most about `bytes_max` bytes (but at least one, if there is one).
    ///
    /// # Errors
    /// [`LedgerError::LogTrimmed`] if entries after `after` are no longer kept.
    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError>;

    /// Forgets log entries up to and including `through`, but none that a registered follower
    /// hasn't acknowledged.
    ///
    /// # Errors
    /// As [`Ledger::commit`].
    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError>;

    /// Follows the newest committed sequence number.
    fn head(&self) -> watch::Receiver<Sequence>;

    /// Whether the engine can serve.
    fn health(&self) -> Health;

    /// Counters and sizes.
    ///
    /// # Errors
    /// As [`Ledger::snapshot`].
    async fn stats(&self) -> Result<LedgerStats, LedgerError>;

    /// Reads everything and checks record checksums and the log's hash chain. `progress` is told
    /// how many records were read so far.
    ///
    /// # Errors
    /// As [`Ledger::snapshot`]; a fault in the data is not an error but a line in the report.
    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError>;

    /// Flushes and stops: later commits are refused with [`LedgerError::Closed`].
    ///
    /// # Errors
    /// [`LedgerError::Failed`] if the last flush failed.
    async fn close(&self) -> Result<(), LedgerError>;
}
