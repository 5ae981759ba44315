//! An engine in memory: for tests. It keeps nothing when
//! the process ends, so `dev` and `serve` never use it.
//!
//! Snapshots are whole persistent copies behind an `Arc` that are made on the first commit after
//! one was taken: simple and right, not fast for large data.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::follower::{FOLLOWER_TAG, decode_position};
use crate::log::CHAIN_START;
use crate::scan::rest_behind;
use crate::{
    Clock, Committed, Conflict, Direction, Entry, Expectation, Health, Key, KeyRange, KeyWriter, Keyspace,
    Ledger, LedgerError, LedgerStats, LogEntry, LogPage, ScanLimit, ScanPage, Sequence, Snapshot,
    Transaction, VerifyReport, Versioned, Write,
};

type Map = BTreeMap<Key, Versioned>;

/// The engine in memory.
#[derive(Debug)]
pub struct MemoryLedger {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    head: watch::Sender<Sequence>,
}

#[derive(Debug, Default)]
struct State {
    map: Arc<Map>,
    log: BTreeMap<Sequence, LogEntry>,
    sequence: Sequence,
    chain: [u8; 32],
    trimmed: Sequence,
    commits: u64,
    conflicts: u64,
    closed: bool,
}

impl MemoryLedger {
    /// An empty ledger.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::new(State {
                chain: CHAIN_START,
                ..State::default()
            }),
            head: watch::Sender::new(0),
        }
    }
}

/// Checks one precondition against what is stored.
///
/// # Errors
/// The conflict, naming the key.
pub fn check(key: &Key, expected: Expectation, found: Option<Sequence>) -> Result<(), Conflict> {
    let holds = match expected {
        Expectation::Absent => found.is_none(),
        Expectation::Present => found.is_some(),
        Expectation::Version(version) => found == Some(version),
    };
    if holds {
        Ok(())
    } else {
        Err(Conflict {
            key: key.clone(),
            expected,
            found,
        })
    }
}

struct MemorySnapshot {
    map: Arc<Map>,
    sequence: Sequence,
}

#[async_trait]
impl Snapshot for MemorySnapshot {
    fn sequence(&self) -> Sequence {
        self.sequence
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        Ok(self.map.get(key).cloned())
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        if range.is_empty() {
            return Ok(ScanPage {
                entries: Vec::new(),
                rest: None,
            });
        }
        let end = range.end.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.map.range((Bound::Included(range.start.clone()), end));
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut take = |(key, versioned): (&Key, &Versioned)| {
            if entries.len() >= limit.entries_max.max(1) || bytes >= limit.bytes_max.max(1) {
                return false;
            }
            bytes += key.as_bytes().len() + versioned.value.len();
            entries.push(Entry {
                key: key.clone(),
                versioned: versioned.clone(),
            });
            true
        };
        let complete = match direction {
            Direction::Forward => found.into_iter().all(&mut take),
            Direction::Backward => found.into_iter().rev().all(&mut take),
        };
        let rest = match entries.last() {
            Some(last) if !complete => rest_behind(range, direction, &last.key),
            _ => None,
        };
        Ok(ScanPage { entries, rest })
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        let state = self.state.lock();
        Ok(Arc::new(MemorySnapshot {
            map: state.map.clone(),
            sequence: state.sequence,
        }))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        transaction.check_limits()?;
        let mut state = self.state.lock();
        if state.closed {
            return Err(LedgerError::Closed);
        }
        for precondition in transaction.preconditions() {
            let found = state.map.get(&precondition.key).map(|found| found.version);
            if let Err(conflict) = check(&precondition.key, precondition.expected, found) {
                state.conflicts += 1;
                return Err(LedgerError::Conflict(conflict));
            }
        }
        let sequence = state.sequence + 1;
        let time = self.clock.now();
        let entry = LogEntry::new(
            &state.chain,
            sequence,
            time,
            transaction.writes_hash(),
            transaction.records(),
        );
        let map = Arc::make_mut(&mut state.map);
        let mut put = |key: Key, value: &Bytes| {
            map.insert(
                key,
                Versioned {
                    value: value.clone(),
                    version: sequence,
                },
            );
        };
        for sequenced in transaction.sequenced() {
            put(sequenced.key(sequence), &sequenced.value);
        }
        for (key, write) in transaction.writes() {
            match write {
                Write::Put(value) => {
                    map.insert(
                        key.clone(),
                        Versioned {
                            value: value.clone(),
                            version: sequence,
                        },
                    );
                }
                Write::Delete => {
                    map.remove(key);
                }
            }
        }
        state.chain = entry.chain;
        state.log.insert(sequence, entry);
        state.sequence = sequence;
        state.commits += 1;
        // Still under the lock: two commits must not tell their numbers in the wrong order.
        self.head.send_replace(sequence);
        Ok(Committed { sequence, time })
    }

    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        let state = self.state.lock();
        if after < state.trimmed {
            return Err(LedgerError::LogTrimmed {
                through: state.trimmed,
            });
        }
        let mut bytes = 0;
        let entries = state
            .log
            .range((Bound::Excluded(after), Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take(entries_max.max(1))
            .take_while(|entry| {
                let before = bytes;
                bytes += entry
                    .records
                    .iter()
                    .map(|record| record.payload.len())
                    .sum::<usize>()
                    + 96;
                before == 0 || bytes <= bytes_max
            })
            .cloned()
            .collect();
        Ok(LogPage {
            entries,
            head: state.sequence,
        })
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        let followers = KeyRange::prefix(&KeyWriter::new(Keyspace::System).u8(FOLLOWER_TAG).finish());
        let mut state = self.state.lock();
        let mut through = through.min(state.sequence);
        for (_, position) in state
            .map
            .range(followers.start.clone()..)
            .take_while(|(k, _)| followers.contains(k))
        {
            through = through.min(decode_position(&position.value)?);
        }
        if through > state.trimmed {
            state.log = state.log.split_off(&(through + 1));
            state.trimmed = through;
        }
        Ok(state.trimmed)
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        self.head.subscribe()
    }

    fn health(&self) -> Health {
        if self.state.lock().closed {
            Health::Unavailable("closed".to_owned())
        } else {
            Health::Ready
        }
    }

    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        let state = self.state.lock();
        Ok(LedgerStats {
            engine: "memory",
            head: state.sequence,
            commits: state.commits,
            conflicts: state.conflicts,
            groups: state.commits,
            details: vec![("keys".to_owned(), state.map.len().to_string())],
            ..LedgerStats::default()
        })
    }

    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        let state = self.state.lock();
        let mut report = VerifyReport {
            records: state.map.len() as u64,
            ..VerifyReport::default()
        };
        let mut previous: Option<[u8; 32]> = (state.trimmed == 0).then_some(CHAIN_START);
        for entry in state.log.values() {
            if previous.is_some_and(|previous| entry.chained(&previous) != entry.chain) {
                report.fault(format!(
                    "log entry {}: the hash chain breaks here",
                    entry.sequence
                ));
            }
            previous = Some(entry.chain);
            report.log_entries += 1;
        }
        progress(report.records);
        Ok(report)
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.state.lock().closed = true;
        Ok(())
    }
}
