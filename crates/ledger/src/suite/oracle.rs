//! What a ledger must hold, kept the simplest way: a sorted map and a list of commits.
//!
//! It is no engine: it isn't asked before the ledger answers, but replays what the ledger says it
//! did and fails where that can't be.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::check::{Failure, ensure, equal};
use super::probe::{PAGE, key, log, scan};
use crate::{
    Committed, Direction, Entry, Expectation, Key, KeyRange, Keyspace, Ledger, LedgerError, LogEntry,
    LogRecord, Random, Sequence, Snapshot, Transaction, Versioned, Write,
};

/// Keys over which contended transactions fight.
const FEW_KEYS: u64 = 5;
/// Keys of the usual transactions.
const KEYS: u64 = 60;

/// The model of a ledger.
#[derive(Debug, Default, Clone)]
pub(super) struct Oracle {
    /// What is stored.
    pub(super) map: BTreeMap<Key, Versioned>,
    /// Every commit, in order; its number is its place + 1.
    commits: Vec<(Transaction, Committed)>,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The newest commit.
    pub(super) fn head(&self) -> Sequence {
        self.commits.len() as u64
    }

    /// A transaction of one to five writes over many keys, mostly without preconditions.
    pub(super) fn transaction(&self, random: &dyn Random) -> Transaction {
        self.stage(random, KEYS, 3)
    }

    /// A transaction over few keys that always relies on something.
    pub(super) fn contended(&self, random: &dyn Random) -> Transaction {
        self.stage(random, FEW_KEYS, 0)
    }

    /// One in `free` + 1 draws has preconditions.
    fn stage(&self, random: &dyn Random, keys: u64, free: u64) -> Transaction {
        let mut transaction = Transaction::new();
        if random.u64().is_multiple_of(free + 1) {
            for _ in 0..1 + random.u64() % 3 {
                let at = key(random.u64() % keys);
                let known = self.map.get(&at).map(|found| found.version);
                match random.u64() % 8 {
                    0 => transaction.require_absent(at),
                    1 => transaction.require_present(at),
                    2 => transaction.require_version(at, Some(random.u64() % (self.head() + 2))),
                    // Mostly what holds now, else hardly anything would commit.
                    _ => transaction.require_version(at, known),
                }
            }
        }
        for _ in 0..random.u64() % 5 {
            let at = key(random.u64() % keys);
            match random.u64() % 8 {
                0 | 1 => transaction.delete(at),
                2 => transaction.put_sequenced(at, &b"#"[..], random.u64().to_string()),
                _ => transaction.put(at, bytes(random)),
            }
        }
        for _ in 0..random.u64() % 3 {
            transaction.record(LogRecord {
                keyspace: Keyspace::Blobs,
                kind: u8::try_from(random.u64() % 256).unwrap_or(0),
                payload: bytes(random),
            });
        }
        transaction
    }

    /// Whether every precondition holds now.
    pub(super) fn would_commit(&self, transaction: &Transaction) -> bool {
        transaction.preconditions().iter().all(|precondition| {
            let found = self.map.get(&precondition.key).map(|found| found.version);
            holds(precondition.expected, found)
        })
    }

    /// Takes what was committed at the same time and what the ledger answered to each: there must
    /// be an order, that of the numbers, in which every answer is right.
    pub(super) fn replay(
        &mut self,
        answered: Vec<(Transaction, Result<Committed, LedgerError>)>,
    ) -> Result<(), Failure> {
        let mut committed = BTreeMap::new();
        let mut conflicts = Vec::new();
        for (transaction, answer) in answered {
            match answer {
                Ok(answer) => {
                    let twice = committed.insert(answer.sequence, (transaction, answer));
                    ensure(twice.is_none(), || {
                        format!("two commits are both number {}", answer.sequence)
                    })?;
                }
                Err(LedgerError::Conflict(conflict)) => {
                    let staged = transaction
                        .preconditions()
                        .iter()
                        .any(|p| p.key == conflict.key && p.expected == conflict.expected);
                    ensure(staged, || {
                        format!("a conflict that no precondition asked for: {conflict:?}")
                    })?;
                    ensure(!holds(conflict.expected, conflict.found), || {
                        format!("a conflict though the precondition holds: {conflict:?}")
                    })?;
                    conflicts.push(conflict);
                }
                Err(error) => return Err(error.into()),
            }
        }
        // A conflict saw its key as it was before one of these commits or behind the last.
        let mut unseen = conflicts;
        let remove_seen = |unseen: &mut Vec<crate::Conflict>, map: &BTreeMap<Key, Versioned>| {
            unseen.retain(|conflict| map.get(&conflict.key).map(|found| found.version) != conflict.found);
        };
        remove_seen(&mut unseen, &self.map);
        for (_, (transaction, answer)) in committed {
            self.commit(transaction, answer)?;
            remove_seen(&mut unseen, &self.map);
        }
        ensure(unseen.is_empty(), || {
            format!("conflicts with versions that never were: {unseen:?}")
        })
    }

    fn commit(&mut self, transaction: Transaction, answer: Committed) -> Result<(), Failure> {
        equal(answer.sequence, self.head() + 1, "the next commit's number")?;
        for precondition in transaction.preconditions() {
            let found = self.map.get(&precondition.key).map(|found| found.version);
            ensure(holds(precondition.expected, found), || {
                format!(
                    "commit {} was accepted though {precondition:?} failed: found {found:?}",
                    answer.sequence
                )
            })?;
        }
        let version = answer.sequence;
        for put in transaction.sequenced() {
            let value = put.value.clone();
            self.map.insert(put.key(version), Versioned { value, version });
        }
        for (key, write) in transaction.writes() {
            match write {
                Write::Put(value) => {
                    let value = value.clone();
                    self.map.insert(key.clone(), Versioned { value, version });
                }
                Write::Delete => {
                    self.map.remove(key);
                }
            }
        }
        self.commits.push((transaction, answer));
        Ok(())
    }

    /// Compares everything that the ledger shows now.
    pub(super) async fn compare(&self, ledger: &Arc<dyn Ledger>) -> Result<(), Failure> {
        equal(*ledger.head().borrow(), self.head(), "the head")?;
        let snapshot = ledger.snapshot().await?;
        equal(snapshot.sequence(), self.head(), "the snapshot's number")?;
        self.compare_snapshot(snapshot.as_ref()).await
    }

    /// Compares everything that a snapshot shows.
    pub(super) async fn compare_snapshot(&self, snapshot: &dyn Snapshot) -> Result<(), Failure> {
        for direction in [Direction::Forward, Direction::Backward] {
            self.compare_range(snapshot, &KeyRange::all(), direction, PAGE)
                .await?;
        }
        for number in 0..KEYS {
            let found = snapshot.get(&key(number)).await?;
            equal(
                found.as_ref(),
                self.map.get(&key(number)),
                &format!("key {number}"),
            )?;
        }
        Ok(())
    }

    /// Compares one range.
    pub(super) async fn compare_range(
        &self,
        snapshot: &dyn Snapshot,
        range: &KeyRange,
        direction: Direction,
        limit: crate::ScanLimit,
    ) -> Result<(), Failure> {
        let mut wanted: Vec<Entry> = self
            .map
            .iter()
            .filter(|(key, _)| range.contains(key))
            .map(|(key, versioned)| Entry {
                key: key.clone(),
                versioned: versioned.clone(),
            })
            .collect();
        if direction == Direction::Backward {
            wanted.reverse();
        }
        let found = scan(snapshot, range, direction, limit).await?;
        if found == wanted {
            return Ok(());
        }
        let odd = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
        Err(Failure::new(format!(
            "{range:?} {direction:?}: wanted {} entries, found {}; first difference {odd:?}",
            wanted.len(),
            found.len()
        )))
    }

    /// Compares the log behind `after`, where the chain's hash is `chain`; its hash at the end.
    pub(super) async fn compare_log(
        &self,
        ledger: &Arc<dyn Ledger>,
        after: Sequence,
        chain: [u8; 32],
    ) -> Result<(), Failure> {
        let found = log(ledger, after, Some(chain)).await?;
        let mut chain = chain;
        let mut wanted = Vec::new();
        for (transaction, answer) in self
            .commits
            .iter()
            .skip(usize::try_from(after).unwrap_or(usize::MAX))
        {
            let entry = LogEntry::new(
                &chain,
                answer.sequence,
                answer.time,
                transaction.writes_hash(),
                transaction.records(),
            );
            chain = entry.chain;
            wanted.push(entry);
        }
        equal(found.len(), wanted.len(), "entries in the log")?;
        let odd = found.iter().zip(&wanted).find(|(found, wanted)| found != wanted);
        equal(odd, None, "a log entry that isn't what was committed")
    }

    /// The chain's hash at `sequence`.
    pub(super) fn chain_at(&self, sequence: Sequence) -> [u8; 32] {
        let through = usize::try_from(sequence).unwrap_or(usize::MAX);
        self.commits
            .iter()
            .take(through)
            .fold(crate::log::CHAIN_START, |chain, (transaction, answer)| {
                LogEntry::new(
                    &chain,
                    answer.sequence,
                    answer.time,
                    transaction.writes_hash(),
                    transaction.records(),
                )
                .chain
            })
    }
}

fn holds(expected: Expectation, found: Option<Sequence>) -> bool {
    match expected {
        Expectation::Absent => found.is_none(),
        Expectation::Present => found.is_some(),
        Expectation::Version(version) => found == Some(version),
    }
}

/// Up to 300 bytes, now and then a few thousand.
fn bytes(random: &dyn Random) -> Bytes {
    let length = if random.u64().is_multiple_of(20) {
        random.u64() % 9_000
    } else {
        random.u64() % 300
    };
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    random.fill(&mut bytes);
    bytes.into()
}
