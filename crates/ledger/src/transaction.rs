//! A transaction as it is staged: preconditions, writes, log records. Pure data, no I/O.
//!
//! Operations stage into a transaction that their caller owns, so what several services write
//! commits together. A later write to the same key replaces an earlier one; preconditions add up
//! and are checked against the ledger as it is before the transaction.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_WRITES_MAX, VALUE_BYTES_MAX};
use crate::{Expectation, Key, LedgerError, LogRecord, Sequence};

/// What must hold of a key for the transaction to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// The key.
    pub key: Key,
    /// What must hold.
    pub expected: Expectation,
}

/// A write to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores the value.
    Put(Bytes),
    /// Removes the key, if it is there.
    Delete,
}

/// A put whose key holds the commit's own sequence number: prefix, then the number in 8
/// big-endian bytes, then suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencedPut {
    /// Before the number.
    pub prefix: Key,
    /// Behind the number.
    pub suffix: Bytes,
    /// The value.
    pub value: Bytes,
}

impl SequencedPut {
    /// The key once the number is known.
    #[must_use]
    pub fn key(&self, sequence: Sequence) -> Key {
        crate::KeyWriter::after(&self.prefix)
            .u64(sequence)
            .raw(&self.suffix)
            .finish()
    }
}

/// A transaction under construction. See the module's header.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    preconditions: Vec<Precondition>,
    writes: BTreeMap<Key, Write>,
    sequenced: Vec<SequencedPut>,
    records: Vec<LogRecord>,
    bytes: usize,
}

impl Transaction {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Demands that `key` does not exist.
    pub fn require_absent(&mut self, key: Key) {
        self.require(key, Expectation::Absent);
    }

    /// Demands that `key` exists.
    pub fn require_present(&mut self, key: Key) {
        self.require(key, Expectation::Present);
    }

    /// Demands that `key` was last written by commit `version`; `None` demands that it is absent.
    pub fn require_version(&mut self, key: Key, version: Option<Sequence>) {
        self.require(key, version.map_or(Expectation::Absent, Expectation::Version));
    }

    /// Demands `expected` of `key`.
    pub fn require(&mut self, key: Key, expected: Expectation) {
        self.bytes += key.as_bytes().len();
        self.preconditions.push(Precondition { key, expected });
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: Key, value: impl Into<Bytes>) {
        let value = value.into();
        self.bytes += key.as_bytes().len() + value.len();
        self.writes.insert(key, Write::Put(value));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: Key) {
        self.bytes += key.as_bytes().len();
        self.writes.insert(key, Write::Delete);
    }

    /// Stores `value` under a key that holds this commit's sequence number.
    pub fn put_sequenced(&mut self, prefix: Key, suffix: impl Into<Bytes>, value: impl Into<Bytes>) {
        let put = SequencedPut {
            prefix,
            suffix: suffix.into(),
            value: value.into(),
        };
        self.bytes += put.prefix.as_bytes().len() + 8 + put.suffix.len() + put.value.len();
        self.sequenced.push(put);
    }

    /// Appends a record to the commit's log entry.
    pub fn record(&mut self, record: LogRecord) {
        self.bytes += record.payload.len() + 8;
        self.records.push(record);
    }

    /// What this transaction itself has staged for `key`: an operation that reads before it
    /// writes looks here first, so operations compose.
    #[must_use]
    pub fn staged(&self, key: &Key) -> Option<&Write> {
        self.writes.get(key)
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.sequenced.is_empty() && self.records.is_empty()
    }

    /// Preconditions in the order staged.
    #[must_use]
    pub fn preconditions(&self) -> &[Precondition] {
        &self.preconditions
    }

    /// Writes in key order.
    #[must_use]
    pub fn writes(&self) -> &BTreeMap<Key, Write> {
        &self.writes
    }

    /// Puts whose key holds the sequence number.
    #[must_use]
    pub fn sequenced(&self) -> &[SequencedPut] {
        &self.sequenced
    }

    /// Log records in the order staged.
    #[must_use]
    pub fn records(&self) -> &[LogRecord] {
        &self.records
    }

    /// About how many bytes this transaction carries.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// BLAKE3 over what this transaction writes: per write a tag (1 put, 2 delete, 3 sequenced
    /// put), then key and value, for a sequenced put prefix, suffix and value, each with its
    /// length (8 bytes, big-endian) before it. The sequence number isn't in it, so it can be computed before the
    /// commit has one; the log entry that holds this hash has the number.
    #[must_use]
    pub fn writes_hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        let mut write = |tag: u8, parts: &[&[u8]]| {
            hasher.update(&[tag]);
            for part in parts {
                hasher.update(&(part.len() as u64).to_be_bytes());
                hasher.update(part);
            }
        };
        for (key, staged) in &self.writes {
            match staged {
                Write::Put(value) => write(1, &[key.as_bytes(), value]),
                Write::Delete => write(2, &[key.as_bytes()]),
            }
        }
        for put in &self.sequenced {
            write(3, &[put.prefix.as_bytes(), &put.suffix, &put.value]);
        }
        *hasher.finalize().as_bytes()
    }

    /// Checks the limits. Engines call this before anything else.
    ///
    /// # Errors
    /// [`LedgerError::TooLarge`] names what is too large.
    pub fn check_limits(&self) -> Result<(), LedgerError> {
        let writes = self.writes.len() + self.sequenced.len();
        if writes > TRANSACTION_WRITES_MAX {
            return Err(LedgerError::TooLarge(format!(
                "{writes} writes, at most {TRANSACTION_WRITES_MAX}"
            )));
        }
        if self.bytes > TRANSACTION_BYTES_MAX {
            return Err(LedgerError::TooLarge(format!(
                "{} bytes, at most {TRANSACTION_BYTES_MAX}",
                self.bytes
            )));
        }
        for (key, write) in &self.writes {
            check_key(key.as_bytes().len())?;
            if let Write::Put(value) = write {
                check_value(value.len())?;
            }
        }
        for put in &self.sequenced {
            check_key(put.prefix.as_bytes().len() + 8 + put.suffix.len())?;
            check_value(put.value.len())?;
        }
        Ok(())
    }
}

fn check_key(length: usize) -> Result<(), LedgerError> {
    if length > KEY_BYTES_MAX {
        return Err(LedgerError::TooLarge(format!(
            "a key of {length} bytes, at most {KEY_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn check_value(length: usize) -> Result<(), LedgerError> {
    if length > VALUE_BYTES_MAX {
        return Err(LedgerError::TooLarge(format!(
            "a value of {length} bytes, at most {VALUE_BYTES_MAX}"
        )));
    }
    Ok(())
}
