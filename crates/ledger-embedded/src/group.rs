//! Decides a group of commits: which of them hold, what they write, what each is answered.
//!
//! Invariant: a commit is checked against the store plus what the commits before it in the same
//! group write, exactly as if each had been committed alone; one that conflicts leaves no trace
//! and doesn't disturb its neighbours.

use std::collections::{HashMap, HashSet};

use fjall::{UserKey, UserValue};
use ledger::{Committed, Key, LedgerError, LogEntry, Sequence, Transaction, Write};

use crate::queue::Waiting;
use crate::record;
use crate::store::{Store, View};
use crate::witness::Mark;

/// A write of the group: stored key, and the sealed record or nothing for a delete.
pub(crate) type StoredWrite = (UserKey, Option<UserValue>);

const LENGTHS: usize = 256;

/// How many keys a commit writes, its log entry's among them.
pub(crate) fn writes_of(transaction: &Transaction) -> usize {
    transaction.writes().len() + transaction.sequenced().len() + 1
}

/// A group under decision.
pub(crate) struct Group<'a> {
    store: &'a Store,
    view: &'a View,
    /// Where the log stands behind the commits accepted so far.
    pub(crate) head: Mark,
    /// Everything the accepted commits write, in order.
    pub(crate) writes: Vec<StoredWrite>,
    /// Keys that a later commit of the group demands something of.
    watched: HashSet<&'a Key>,
    /// The lengths that watched keys have, modulo the array's own: most writes are told apart so
    /// without hashing them.
    watched_lengths: [bool; LENGTHS],
    /// Versions of watched keys as the accepted commits leave them (`None`: absent).
    overlay: HashMap<&'a Key, Option<Sequence>>,
    /// The stored key and record being made. What is short lies inside the store's own handles,
    /// so most writes cost no allocation.
    key: Vec<u8>,
    record: Vec<u8>,
}

impl<'a> Group<'a> {
    /// A group of `transactions`, which are then decided one by one, in this order.
    pub(crate) fn new(
        store: &'a Store,
        view: &'a View,
        transactions: impl Iterator<Item = &'a Transaction> + Clone,
    ) -> Self {
        let writes = transactions.clone().map(writes_of).sum();
        let watched: HashSet<&Key> = transactions
            .skip(1)
            .flat_map(Transaction::preconditions)
            .map(|precondition| &precondition.key)
            .collect();
        let mut watched_lengths = [false; LENGTHS];
        for key in &watched {
            if let Some(length) = watched_lengths.get_mut(key.as_bytes().len() % LENGTHS) {
                *length = true;
            }
        }
        Self {
            store,
            view,
            head: view.head,
            writes: Vec::with_capacity(writes),
            watched,
            watched_lengths,
            overlay: HashMap::new(),
            key: Vec::new(),
            record: Vec::new(),
        }
    }

    /// Checks one transaction and, if it holds, adds its writes.
    pub(crate) fn decide(
        &mut self,
        waiting: &'a Waiting,
        time: jiff::Timestamp,
    ) -> Result<Committed, LedgerError> {
        let transaction = &waiting.transaction;
        for precondition in transaction.preconditions() {
            let found = match self.overlay.get(&precondition.key) {
                Some(version) => *version,
                None => {
                    record::write_data_key(&mut self.key, precondition.key.as_bytes());
                    let found = self.store.version(self.view, &self.key)?;
                    // Writers of one container all demand its record.
                    if self.watches(&precondition.key) {
                        self.overlay.insert(&precondition.key, found);
                    }
                    found
                }
            };
            ledger::memory::check(&precondition.key, precondition.expected, found)
                .map_err(LedgerError::Conflict)?;
        }
        let sequence = self.head.sequence + 1;
        let entry = LogEntry::new(
            &self.head.chain,
            sequence,
            time,
            waiting.writes_hash,
            transaction.records(),
        );
        for put in transaction.sequenced() {
            let key = put.key(sequence);
            if self.watches(&key)
                && let Some(watched) = self.watched.get(&key)
            {
                self.overlay.insert(watched, Some(sequence));
            }
            self.put(&key, sequence, Some(&put.value));
        }
        for (key, write) in transaction.writes() {
            let value = match write {
                Write::Put(value) => Some(value.as_ref()),
                Write::Delete => None,
            };
            if self.watches(key) {
                self.overlay.insert(key, value.map(|_| sequence));
            }
            self.put(key, sequence, value);
        }
        let log_key = record::log_key(sequence);
        let sealed = record::seal(&log_key, sequence, &entry.encode());
        self.writes.push((log_key.into(), Some(sealed.into())));
        self.head = Mark {
            sequence,
            chain: entry.chain,
        };
        Ok(Committed { sequence, time })
    }

    fn watches(&self, key: &Key) -> bool {
        let length = key.as_bytes().len() % LENGTHS;
        self.watched_lengths.get(length) == Some(&true) && self.watched.contains(key)
    }

    fn put(&mut self, key: &Key, sequence: Sequence, value: Option<&[u8]>) {
        record::write_data_key(&mut self.key, key.as_bytes());
        let sealed = value.map(|value| {
            record::write_sealed(&mut self.record, &self.key, sequence, value);
            self.record.as_slice().into()
        });
        self.writes.push((self.key.as_slice().into(), sealed));
    }
}
