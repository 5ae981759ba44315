//! A ledger that fails where a test wants it to: around any other ledger.
//!
//! Faults are planned, not drawn: a test says which commit or read fails and how, so that what a
//! service does about it can be repeated. What isn't planned goes through unchanged. Behind the
//! feature `fault`; no product code constructs it.
//!
//! Invariant: a fault that says "nothing was written" leaves no trace in the ledger below, and
//! one that says "nobody knows" has either written everything or nothing, as planned.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    Committed, Conflict, Direction, Expectation, Health, Key, KeyRange, Ledger, LedgerError, LedgerStats,
    LogPage, ScanLimit, ScanPage, Sequence, Snapshot, Transaction, VerifyReport, Versioned,
};

/// How a planned commit fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitFault {
    /// [`LedgerError::Unavailable`]; nothing was written.
    BeforeApplied,
    /// [`LedgerError::Unknown`], and everything was written: the answer was lost on its way.
    /// What a caller must be able to repeat.
    AfterApplied,
    /// [`LedgerError::Failed`], nothing was written; every later commit fails the same way until
    /// [`FaultLedger::restart`], as after a sync that failed.
    SyncFailed,
    /// As [`CommitFault::SyncFailed`], but the data had reached the disk: it is there after the
    /// restart.
    SyncFailedButWritten,
    /// [`LedgerError::Full`]; nothing was written.
    Full,
    /// A conflict that nobody staged, on the transaction's first precondition, as if another
    /// commit had come between; on a transaction without one the commit goes through.
    Conflict,
}

/// How a planned read fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadFault {
    /// [`LedgerError::Unavailable`].
    Unavailable,
    /// [`LedgerError::Corrupt`].
    Corrupt,
}

impl ReadFault {
    fn error(&self) -> LedgerError {
        match self {
            Self::Unavailable => LedgerError::Unavailable("a planned read error".to_owned()),
            Self::Corrupt => LedgerError::Corrupt("a planned damage".to_owned()),
        }
    }
}

/// A fault that waits: so many go through before it strikes, so many times it strikes.
#[derive(Debug)]
struct Planned<F> {
    fault: F,
    skip: u64,
    times: u64,
}

/// What will fail, in the order planned.
#[derive(Debug, Default)]
struct Plan {
    commits: VecDeque<Planned<CommitFault>>,
    reads: VecDeque<Planned<ReadFault>>,
    /// Keys whose reads fail until [`FaultLedger::heal`].
    damaged: Vec<(KeyRange, ReadFault)>,
    failed: Option<String>,
    commits_failed: u64,
    reads_failed: u64,
}

/// The next fault of a queue, if it strikes now.
fn strikes<F: Clone>(queue: &mut VecDeque<Planned<F>>) -> Option<F> {
    let next = queue.front_mut()?;
    if next.skip > 0 {
        next.skip -= 1;
        return None;
    }
    let fault = next.fault.clone();
    next.times = next.times.saturating_sub(1);
    if next.times == 0 {
        queue.pop_front();
    }
    Some(fault)
}

/// The ledger that fails as planned. See the module's header.
#[derive(Clone)]
pub struct FaultLedger {
    inner: Arc<dyn Ledger>,
    plan: Arc<Mutex<Plan>>,
}

impl std::fmt::Debug for FaultLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultLedger")
            .field("plan", &*self.plan.lock())
            .finish_non_exhaustive()
    }
}

impl FaultLedger {
    /// Wraps `inner`; nothing fails yet. Clones share their plan, so a test keeps one and gives
    /// the service the other.
    #[must_use]
    pub fn over(inner: Arc<dyn Ledger>) -> Self {
        Self {
            inner,
            plan: Arc::default(),
        }
    }

    /// The next commit fails.
    pub fn fail_next_commit(&self, fault: CommitFault) {
        self.fail_commits(0, 1, fault);
    }

    /// Once `skip` commits have gone through, the next `times` fail. Plans follow one another:
    /// `skip` counts from where the plan before has ended.
    pub fn fail_commits(&self, skip: u64, times: u64, fault: CommitFault) {
        if times > 0 {
            self.plan.lock().commits.push_back(Planned { fault, skip, times });
        }
    }

    /// Once `skip` reads have gone through, the next `times` fail. A snapshot, a `get`, a
    /// `get_many`, a page of a scan or of the log is one read each.
    pub fn fail_reads(&self, skip: u64, times: u64, fault: ReadFault) {
        if times > 0 {
            self.plan.lock().reads.push_back(Planned { fault, skip, times });
        }
    }

    /// Reads that touch `range` fail until [`FaultLedger::heal`].
    pub fn damage(&self, range: KeyRange, fault: ReadFault) {
        self.plan.lock().damaged.push((range, fault));
    }

    /// Nothing more is planned, nothing is damaged. A ledger whose sync failed stays so.
    pub fn heal(&self) {
        let mut plan = self.plan.lock();
        plan.commits.clear();
        plan.reads.clear();
        plan.damaged.clear();
    }

    /// As if the process had started anew: commits are accepted again after a failed sync.
    pub fn restart(&self) {
        self.plan.lock().failed = None;
    }

    /// How many commits and reads have failed as planned: a test whose fault never struck proves
    /// nothing.
    #[must_use]
    pub fn struck(&self) -> (u64, u64) {
        let plan = self.plan.lock();
        (plan.commits_failed, plan.reads_failed)
    }

    /// The fault that a commit meets now, counting it.
    fn commit_fault(&self) -> Result<Option<CommitFault>, LedgerError> {
        let mut plan = self.plan.lock();
        if let Some(failed) = &plan.failed {
            return Err(LedgerError::Failed(failed.clone()));
        }
        let fault = strikes(&mut plan.commits);
        if matches!(
            fault,
            Some(CommitFault::SyncFailed | CommitFault::SyncFailedButWritten)
        ) {
            plan.failed = Some("a planned failure of a sync".to_owned());
        }
        Ok(fault)
    }

    fn strike(&self) {
        self.plan.lock().commits_failed += 1;
    }
}

/// Fails if a read is planned to, or touches what is damaged.
fn read(plan: &Mutex<Plan>, touches: impl Fn(&KeyRange) -> bool) -> Result<(), LedgerError> {
    let mut plan = plan.lock();
    let damaged = plan.damaged.iter().find(|(range, _)| touches(range));
    let fault = match damaged.map(|(_, fault)| fault.clone()) {
        Some(fault) => Some(fault),
        None => strikes(&mut plan.reads),
    };
    match fault {
        Some(fault) => {
            plan.reads_failed += 1;
            Err(fault.error())
        }
        None => Ok(()),
    }
}

/// Whether the ranges have a key in common.
fn overlap(one: &KeyRange, other: &KeyRange) -> bool {
    let begins_before_end =
        |one: &KeyRange, other: &KeyRange| other.end.as_ref().is_none_or(|end| one.start < *end);
    begins_before_end(one, other) && begins_before_end(other, one)
}

#[async_trait]
impl Ledger for FaultLedger {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        read(&self.plan, |_| false)?;
        Ok(Arc::new(FaultSnapshot {
            inner: self.inner.snapshot().await?,
            plan: self.plan.clone(),
        }))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let away = || LedgerError::Unavailable("a planned fault before a commit".to_owned());
        let lost = || LedgerError::Unknown("a planned fault behind a commit".to_owned());
        let failed = || LedgerError::Failed("a planned failure of a sync".to_owned());
        let Some(fault) = self.commit_fault()? else {
            return self.inner.commit(transaction).await;
        };
        match fault {
            CommitFault::BeforeApplied => {
                self.strike();
                Err(away())
            }
            CommitFault::SyncFailed => {
                self.strike();
                Err(failed())
            }
            CommitFault::Full => {
                self.strike();
                Err(LedgerError::Full)
            }
            // A conflict, a limit: what the ledger itself refuses keeps its own error.
            CommitFault::AfterApplied => {
                self.inner.commit(transaction).await?;
                self.strike();
                Err(lost())
            }
            CommitFault::SyncFailedButWritten => {
                self.inner.commit(transaction).await?;
                self.strike();
                Err(failed())
            }
            CommitFault::Conflict => {
                let Some(first) = transaction.preconditions().first() else {
                    return self.inner.commit(transaction).await;
                };
                let found = self.inner.snapshot().await?.get(&first.key).await?;
                self.strike();
                Err(LedgerError::Conflict(Conflict {
                    key: first.key.clone(),
                    expected: first.expected,
                    found: other_than(first.expected, found.map(|found| found.version)),
                }))
            }
        }
    }

    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        read(&self.plan, |_| false)?;
        self.inner.log_page(after, entries_max, bytes_max).await
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        if let Some(failed) = self.plan.lock().failed.clone() {
            return Err(LedgerError::Failed(failed));
        }
        self.inner.trim_log(through).await
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        self.inner.head()
    }

    fn health(&self) -> Health {
        match self.plan.lock().failed.clone() {
            Some(failed) => Health::ReadOnly(failed),
            None => self.inner.health(),
        }
    }

    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.inner.stats().await
    }

    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.inner.verify(progress).await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.inner.close().await
    }
}

/// A version that breaks `expected`, near what is stored.
fn other_than(expected: Expectation, stored: Option<Sequence>) -> Option<Sequence> {
    match expected {
        Expectation::Absent => stored.or(Some(1)),
        Expectation::Present => None,
        Expectation::Version(version) if stored == Some(version) => Some(version + 1),
        Expectation::Version(_) => stored,
    }
}

struct FaultSnapshot {
    inner: Arc<dyn Snapshot>,
    plan: Arc<Mutex<Plan>>,
}

#[async_trait]
impl Snapshot for FaultSnapshot {
    fn sequence(&self) -> Sequence {
        self.inner.sequence()
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        read(&self.plan, |damaged| damaged.contains(key))?;
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, LedgerError> {
        read(&self.plan, |damaged| keys.iter().any(|key| damaged.contains(key)))?;
        self.inner.get_many(keys).await
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        read(&self.plan, |damaged| overlap(damaged, range))?;
        self.inner.scan_page(range, direction, limit).await
    }
}

#[cfg(test)]
mod tests;
