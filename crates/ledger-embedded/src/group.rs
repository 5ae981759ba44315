//! Decides a group of commits: which of them hold, what they write, what each is answered.
//!
//! Invariant: a commit is checked against the store plus what the commits before it in the same
//! group write, exactly as if each had been committed alone; one that conflicts leaves no trace
//! and doesn't disturb its neighbours.

use std::collections::HashMap;

use ledger::{Committed, Key, LedgerError, LogEntry, Sequence, Transaction, Write};

use crate::record;
use crate::store::{Store, View};
use crate::witness::Mark;

/// A write of the group: stored key, and the sealed record or nothing for a delete.
pub(crate) type StoredWrite = (Vec<u8>, Option<Vec<u8>>);

/// A group under decision.
pub(crate) struct Group<'a> {
    store: &'a Store,
    view: &'a View,
    /// Where the log stands behind the commits accepted so far.
    pub(crate) head: Mark,
    /// Everything the accepted commits write, in order.
    pub(crate) writes: Vec<StoredWrite>,
    /// Versions of keys that accepted commits wrote (`None`: deleted).
    overlay: HashMap<Key, Option<Sequence>>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(store: &'a Store, view: &'a View) -> Self {
        Self {
            store,
            view,
            head: view.head,
            writes: Vec::new(),
            overlay: HashMap::new(),
        }
    }

    /// Checks one transaction and, if it holds, adds its writes.
    pub(crate) fn decide(
        &mut self,
        transaction: &Transaction,
        time: jiff::Timestamp,
    ) -> Result<Committed, LedgerError> {
        for precondition in transaction.preconditions() {
            let found = match self.overlay.get(&precondition.key) {
                Some(version) => *version,
                None => self
                    .store
                    .version(self.view, &record::data_key(precondition.key.as_bytes()))?,
            };
            ledger::memory::check(&precondition.key, precondition.expected, found)
                .map_err(LedgerError::Conflict)?;
        }
        let sequence = self.head.sequence + 1;
        let entry = LogEntry::new(&self.head.chain, sequence, time, transaction);
        for put in transaction.sequenced() {
            self.put(&put.key(sequence), sequence, Some(&put.value));
        }
        for (key, write) in transaction.writes() {
            match write {
                Write::Put(value) => self.put(key, sequence, Some(value)),
                Write::Delete => self.put(key, sequence, None),
            }
        }
        let log_key = record::log_key(sequence);
        let sealed = record::seal(&log_key, sequence, &entry.encode());
        self.writes.push((log_key, Some(sealed)));
        self.head = Mark {
            sequence,
            chain: entry.chain,
        };
        Ok(Committed { sequence, time })
    }

    fn put(&mut self, key: &Key, sequence: Sequence, value: Option<&[u8]>) {
        let stored_key = record::data_key(key.as_bytes());
        let sealed = value.map(|value| record::seal(&stored_key, sequence, value));
        self.overlay
            .insert(key.clone(), value.is_some().then_some(sequence));
        self.writes.push((stored_key, sealed));
    }
}
