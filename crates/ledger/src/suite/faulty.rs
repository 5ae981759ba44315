//! Faulty engines: the engine in memory behind a wrapper that does one thing wrong. They show that
//! the suite can fail.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::memory::MemoryLedger;
use crate::{
    AdjustableClock, Committed, Direction, Health, Key, KeyRange, Ledger, LedgerError, LedgerStats, LogPage,
    ScanLimit, ScanPage, Sequence, Snapshot, Transaction, VerifyReport, Versioned, Write,
};

/// What a faulty engine does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    IgnoresPreconditions,
    IgnoresAllButTheFirstPrecondition,
    ChecksAndWritesApart,
    NamesAnotherKey,
    WritesInSpiteOfAConflict,
    SkipsALogEntry,
    RepeatsALogEntry,
    BreaksTheChain,
    LosesRecords,
    TrimsPastFollowers,
    SnapshotsSeeLaterCommits,
    SnapshotsAreLate,
    ForgetsDeletes,
    ForgetsSequencedPuts,
    WrongVersions,
    IgnoresLimits,
    ScansBackwardsForward,
    PagesRepeatTheirLast,
    PagesAreTooLong,
    ScansIncludeTheEnd,
    PagesEndTheScan,
    HeadIsStale,
    CommitsAfterClosing,
    LosesTheNewestWhenReopened,
    LosesAllWhenReopened,
}

pub(super) const FAULTS: [Fault; 25] = [
    Fault::IgnoresPreconditions,
    Fault::IgnoresAllButTheFirstPrecondition,
    Fault::ChecksAndWritesApart,
    Fault::NamesAnotherKey,
    Fault::WritesInSpiteOfAConflict,
    Fault::SkipsALogEntry,
    Fault::RepeatsALogEntry,
    Fault::BreaksTheChain,
    Fault::LosesRecords,
    Fault::TrimsPastFollowers,
    Fault::SnapshotsSeeLaterCommits,
    Fault::SnapshotsAreLate,
    Fault::ForgetsDeletes,
    Fault::ForgetsSequencedPuts,
    Fault::WrongVersions,
    Fault::IgnoresLimits,
    Fault::ScansBackwardsForward,
    Fault::PagesRepeatTheirLast,
    Fault::PagesAreTooLong,
    Fault::ScansIncludeTheEnd,
    Fault::PagesEndTheScan,
    Fault::HeadIsStale,
    Fault::CommitsAfterClosing,
    Fault::LosesTheNewestWhenReopened,
    Fault::LosesAllWhenReopened,
];

/// A memory ledger with a fault. Reopened, it commits its history anew.
pub(super) struct Faulty {
    fault: Fault,
    inner: Arc<MemoryLedger>,
    stale_head: watch::Sender<Sequence>,
    late_snapshot: Mutex<Option<Arc<dyn Snapshot>>>,
    history: Mutex<BTreeMap<Sequence, Transaction>>,
    trimmed: AtomicU64,
    closed: AtomicBool,
}

impl Faulty {
    pub(super) fn new(fault: Fault) -> Self {
        // A clock that stands still: a history that is committed anew has the same hashes.
        let clock = AdjustableClock::standing_at(jiff::Timestamp::UNIX_EPOCH);
        Self {
            fault,
            inner: Arc::new(MemoryLedger::new(Arc::new(clock))),
            stale_head: watch::Sender::new(0),
            late_snapshot: Mutex::new(None),
            history: Mutex::new(BTreeMap::new()),
            trimmed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) async fn reopened(&self) -> Result<Self, LedgerError> {
        let new = Self::new(self.fault);
        let mut history = self.history.lock().clone();
        match self.fault {
            Fault::LosesTheNewestWhenReopened => drop(history.pop_last()),
            Fault::LosesAllWhenReopened => history.clear(),
            _ => {}
        }
        for transaction in history.values() {
            new.inner.commit(transaction.clone()).await?;
        }
        *new.history.lock() = history;
        let trimmed = self.trimmed.load(Ordering::SeqCst);
        new.inner.trim_log(trimmed).await?;
        new.trimmed.store(trimmed, Ordering::SeqCst);
        Ok(new)
    }
}

/// The transaction again, with other preconditions and writes.
fn rebuilt(
    from: &Transaction,
    preconditions: usize,
    keep: impl Fn(&Key, &Write) -> bool,
    sequenced: bool,
    records: bool,
) -> Transaction {
    let mut to = Transaction::new();
    for precondition in from.preconditions().iter().take(preconditions) {
        to.require(precondition.key.clone(), precondition.expected);
    }
    for (key, write) in from.writes() {
        match write {
            _ if !keep(key, write) => {}
            Write::Put(value) => to.put(key.clone(), value.clone()),
            Write::Delete => to.delete(key.clone()),
        }
    }
    for put in from.sequenced().iter().filter(|_| sequenced) {
        to.put_sequenced(put.prefix.clone(), put.suffix.clone(), put.value.clone());
    }
    for record in from.records().iter().filter(|_| records) {
        to.record(record.clone());
    }
    to
}

#[async_trait]
impl Ledger for Faulty {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        let mut then = self.inner.snapshot().await?;
        if self.fault == Fault::SnapshotsAreLate
            && let Some(before) = self.late_snapshot.lock().replace(then.clone())
        {
            then = before;
        }
        Ok(Arc::new(FaultySnapshot {
            fault: self.fault,
            then,
            ledger: self.inner.clone(),
        }))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let all = |_: &Key, _: &Write| true;
        let some = usize::MAX;
        if self.closed.load(Ordering::SeqCst) && self.fault != Fault::CommitsAfterClosing {
            return Err(LedgerError::Closed);
        }
        let changed = match self.fault {
            Fault::IgnoresPreconditions => rebuilt(&transaction, 0, all, true, true),
            Fault::IgnoresAllButTheFirstPrecondition => rebuilt(&transaction, 1, all, true, true),
            Fault::ChecksAndWritesApart => {
                // Checked in a commit that writes nothing would take a number: look, then write.
                let snapshot = self.inner.snapshot().await?;
                for one in transaction.preconditions() {
                    let found = snapshot.get(&one.key).await?.map(|found| found.version);
                    crate::memory::check(&one.key, one.expected, found).map_err(LedgerError::Conflict)?;
                }
                tokio::task::yield_now().await;
                rebuilt(&transaction, 0, all, true, true)
            }
            Fault::LosesRecords => rebuilt(&transaction, some, all, true, false),
            Fault::ForgetsDeletes => {
                rebuilt(&transaction, some, |_, write| *write != Write::Delete, true, true)
            }
            Fault::ForgetsSequencedPuts => rebuilt(&transaction, some, all, false, true),
            _ => transaction.clone(),
        };
        let mut written = rebuilt(&changed, 0, all, true, true);
        let answer = match self.inner.commit(changed).await {
            Err(LedgerError::Conflict(mut conflict)) if self.fault == Fault::NamesAnotherKey => {
                conflict.key = conflict.key.successor();
                Err(LedgerError::Conflict(conflict))
            }
            Err(LedgerError::Conflict(conflict)) if self.fault == Fault::WritesInSpiteOfAConflict => {
                let committed = self.inner.commit(written.clone()).await?;
                self.history.lock().insert(committed.sequence, written);
                return Err(LedgerError::Conflict(conflict));
            }
            Err(LedgerError::TooLarge(_)) if self.fault == Fault::IgnoresLimits => {
                written = Transaction::new();
                self.inner.commit(Transaction::new()).await
            }
            other => other,
        };
        if let Ok(committed) = &answer {
            self.history.lock().insert(committed.sequence, written);
            if committed.sequence % 2 == 0 {
                self.stale_head.send_replace(committed.sequence);
            }
        }
        answer
    }

    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        let mut page = self.inner.log_page(after, entries_max, bytes_max).await?;
        match self.fault {
            Fault::SkipsALogEntry if page.entries.len() > 1 => {
                page.entries.remove(0);
            }
            Fault::RepeatsALogEntry if page.entries.len() > 1 => {
                let first = page.entries[0].clone();
                page.entries.insert(1, first);
            }
            Fault::BreaksTheChain => {
                for entry in page.entries.iter_mut().filter(|entry| entry.sequence % 13 == 0) {
                    entry.chain[7] ^= 1;
                }
            }
            _ => {}
        }
        Ok(page)
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        if self.fault == Fault::TrimsPastFollowers {
            return Ok(through.min(*self.inner.head().borrow()));
        }
        let trimmed = self.inner.trim_log(through).await?;
        self.trimmed.store(trimmed, Ordering::SeqCst);
        Ok(trimmed)
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        match self.fault {
            Fault::HeadIsStale => self.stale_head.subscribe(),
            _ => self.inner.head(),
        }
    }

    fn health(&self) -> Health {
        if self.closed.load(Ordering::SeqCst) {
            Health::Unavailable("closed".to_owned())
        } else {
            Health::Ready
        }
    }

    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.inner.stats().await
    }

    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.inner.verify(progress).await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.closed.store(true, Ordering::SeqCst);
        Ok(())
    }
}

struct FaultySnapshot {
    fault: Fault,
    then: Arc<dyn Snapshot>,
    ledger: Arc<MemoryLedger>,
}

impl FaultySnapshot {
    /// What is read: the past, or with this fault the present.
    async fn source(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        match self.fault {
            Fault::SnapshotsSeeLaterCommits => self.ledger.snapshot().await,
            _ => Ok(self.then.clone()),
        }
    }
}

#[async_trait]
impl Snapshot for FaultySnapshot {
    fn sequence(&self) -> Sequence {
        self.then.sequence()
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        let mut found = self.source().await?.get(key).await?;
        if self.fault == Fault::WrongVersions
            && let Some(found) = &mut found
        {
            found.version = self.sequence();
        }
        Ok(found)
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        let source = self.source().await?;
        let (mut range, mut limit, mut way) = (range.clone(), limit, direction);
        match (self.fault, &range.end) {
            (Fault::ScansBackwardsForward, _) => way = Direction::Forward,
            (Fault::PagesAreTooLong, _) => limit.entries_max += 1,
            (Fault::ScansIncludeTheEnd, Some(end)) if !range.is_empty() => {
                range.end = Some(end.successor());
            }
            _ => {}
        }
        let mut page = source.scan_page(&range, way, limit).await?;
        match (self.fault, direction, &mut page.rest) {
            (Fault::PagesEndTheScan, _, _) => page.rest = None,
            (Fault::PagesRepeatTheirLast, Direction::Forward, Some(rest)) if page.entries.len() > 1 => {
                if let Some(last) = page.entries.last() {
                    rest.start = last.key.clone();
                }
            }
            _ => {}
        }
        Ok(page)
    }
}
