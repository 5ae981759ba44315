//! What can go wrong in the ledger, as types that a caller decides on.

use crate::{Key, Sequence};

/// What a precondition wanted of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation {
    /// The key must not exist.
    Absent,
    /// The key must exist.
    Present,
    /// The key must exist and have been written by this commit.
    Version(Sequence),
}

/// A precondition that failed. Nothing of its transaction was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The key whose precondition failed.
    pub key: Key,
    /// What was wanted.
    pub expected: Expectation,
    /// The version that was found, if any.
    pub found: Option<Sequence>,
}

/// A failed ledger operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A precondition failed; nothing was written.
    #[error("conflict on key {:?}: expected {:?}, found version {:?}", .0.key, .0.expected, .0.found)]
    Conflict(Conflict),
    /// The transaction breaks a limit of [`crate::limits`]; nothing was written.
    #[error("transaction refused: {0}")]
    TooLarge(String),
    /// No space left; nothing was written. Reads work on.
    #[error("the ledger's disk is full; free space on it and retry")]
    Full,
    /// The engine can't be reached for now; nothing was written.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// The engine went away behind a commit, and didn't come back in time to say what became of
    /// it: it is there whole, or not at all.
    #[error("the ledger went away behind a commit, which is whole or absent: {0}")]
    Unknown(String),
    /// A write or sync failed. Writes stop until the process is restarted and recovers.
    #[error("the ledger failed and accepts no more writes: {0}; restart to recover")]
    Failed(String),
    /// Stored data fails its checks.
    #[error("the ledger's data is damaged: {0}; run `stabbur ledger verify`, restore from a backup")]
    Corrupt(String),
    /// The log no longer holds what was asked for.
    #[error("the log was trimmed through {through}; a follower that is behind must start anew")]
    LogTrimmed {
        /// The newest entry that is gone.
        through: Sequence,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl LedgerError {
    /// The conflict, if it is one.
    #[must_use]
    pub fn conflict(&self) -> Option<&Conflict> {
        match self {
            Self::Conflict(conflict) => Some(conflict),
            _ => None,
        }
    }
}
