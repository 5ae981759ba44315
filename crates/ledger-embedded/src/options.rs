//! How a folder is opened, and why it may be refused.

use std::path::PathBuf;

use crate::limits;

/// What to do when the folder's witness (`HEAD`) can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WitnessRule {
    /// Refuse: without it nobody can tell whether acknowledged commits are missing.
    Required,
    /// Write a new one from what the store holds. A person decides this, having checked the data.
    Rebuild,
}

/// How a folder is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of table blocks kept in memory.
    pub cache_bytes: u64,
    /// Bytes of recent writes kept in memory before they become a table. Fixed when the folder is
    /// created.
    pub memtable_bytes: u64,
    /// Free disk bytes under which commits are refused with [`ledger::LedgerError::Full`].
    pub reserve_bytes: u64,
    /// What to do about an unusable witness.
    pub witness: WitnessRule,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: limits::CACHE_BYTES,
            memtable_bytes: limits::MEMTABLE_BYTES,
            reserve_bytes: limits::RESERVE_BYTES,
            witness: WitnessRule::Required,
        }
    }
}

/// Why a folder couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("{path}: another process has this ledger open; stop it, or choose another folder")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something else.
    #[error("{path}: not a ledger: it has no FORMAT file but holds {found:?}; choose an empty folder")]
    NotALedger {
        /// The folder.
        path: PathBuf,
        /// One name that was found.
        found: String,
    },
    /// The folder's format isn't one this version reads.
    #[error(
        "{path}: unknown ledger format {found:?}, this version reads {known:?}; use the version that wrote it"
    )]
    UnknownFormat {
        /// The folder.
        path: PathBuf,
        /// What FORMAT says.
        found: String,
        /// What this version reads.
        known: &'static str,
    },
    /// Acknowledged commits are missing.
    #[error(
        "{path}: commits are missing: {detail}; restore from a backup, or copy the folder away for rescue"
    )]
    LostCommits {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        detail: String,
    },
    /// Stored data fails its checks.
    #[error("{path}: damaged: {detail}; restore from a backup, or copy the folder away for rescue")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is damaged.
        detail: String,
    },
    /// A journal is damaged before its end: opened all the same, the store would cut it there.
    #[error(
        "{file}: damaged from byte {offset} on: {detail}; nothing was changed: copy the folder away for rescue, \
         then restore from a backup"
    )]
    JournalDamaged {
        /// The journal.
        file: PathBuf,
        /// Where the damaged batch begins.
        offset: u64,
        /// What is wrong, and why it is no torn tail.
        detail: String,
    },
    /// A ledger is being copied into the folder.
    #[error(
        "{path}: half a copy of a ledger; the same `stabbur ledger copy` again goes on with it, or remove the \
         folder to give it up"
    )]
    HalfCopied {
        /// The folder.
        path: PathBuf,
    },
    /// A ledger can't be copied into the folder: why, and what to do.
    #[error("{path}: {why}")]
    NotForCopy {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The operating system refused.
    #[error("{path}: {doing}: {source}")]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// The cause.
        source: std::io::Error,
    },
}
