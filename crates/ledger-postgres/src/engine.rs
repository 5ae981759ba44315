//! The engine as services hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use ledger::limits::COMMIT_QUEUE_MAX;
use ledger::{
    Clock, Committed, Health, Ledger, LedgerError, LedgerStats, LogPage, Random, Sequence, Snapshot,
    Transaction, VerifyReport,
};
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::committer::{Committer, Request, Waiting};
use crate::connection::{Connector, Writer};
use crate::snapshot::Snapshots;
use crate::{ConnectError, Options, log_rows, schema, verify, watcher};

/// The ledger in a PostgreSQL database. Any number of processes may have it open.
pub struct PostgresLedger {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Request>,
}

impl std::fmt::Debug for PostgresLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLedger")
            .field("connector", &self.shared.connector)
            .finish_non_exhaustive()
    }
}

/// What the engine's face and its tasks share.
pub(crate) struct Shared {
    pub(crate) connector: Arc<Connector>,
    pub(crate) snapshots: Snapshots,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    head: watch::Sender<Sequence>,
    closed: watch::Sender<bool>,
    outage: RwLock<Option<String>>,
    commits: AtomicU64,
    conflicts: AtomicU64,
    groups: AtomicU64,
    /// Groups that were decided before the database was asked.
    pub(crate) predicted: AtomicU64,
}

impl Shared {
    /// A commit is known to be there.
    pub(crate) fn show(&self, sequence: Sequence) {
        self.head.send_if_modified(|head| {
            let is_newer = sequence > *head;
            *head = sequence.max(*head);
            is_newer
        });
    }

    pub(crate) fn is_available(&self) -> bool {
        self.outage.read().is_none()
    }

    pub(crate) fn available(&self) {
        if self.is_available() {
            return;
        }
        if self.outage.write().take().is_some() {
            tracing::info!("PostgreSQL is back");
        }
    }

    pub(crate) fn unavailable(&self, cause: &str) {
        let mut outage = self.outage.write();
        if outage.is_none() {
            tracing::warn!(cause, "PostgreSQL is away; commits are refused until it is back");
        }
        *outage = Some(cause.to_owned());
    }

    pub(crate) fn count(&self, answers: &[Result<Committed, LedgerError>]) {
        let count = |counter: &AtomicU64, matching: usize| {
            counter.fetch_add(matching as u64, Ordering::Relaxed);
        };
        let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
        let conflicts = answers
            .iter()
            .filter(|answer| matches!(answer, Err(LedgerError::Conflict(_))));
        count(&self.commits, accepted);
        count(&self.conflicts, conflicts.count());
        count(&self.groups, usize::from(accepted > 0));
    }

    pub(crate) async fn until_closed(&self) {
        let mut closed = self.closed.subscribe();
        // An error means that the ledger is gone, which is closed enough.
        let _ = closed.wait_for(|closed| *closed).await;
    }
}

impl PostgresLedger {
    /// Connects, and makes or migrates the schema.
    ///
    /// # Errors
    /// [`ConnectError`] says why the database can't be used.
    pub async fn connect(
        options: &Options,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, ConnectError> {
        let connector = Arc::new(Connector::new(options)?);
        let client = connector.open().await?;
        schema::prepare(&client, connector.schema()).await?;
        let sequence = schema::newest_commit(&client, connector.schema()).await?;
        let writer = Writer::open(&connector).await?;
        let (head, _) = watch::channel(sequence);
        let (closed, _) = watch::channel(false);
        let shared = Arc::new(Shared {
            snapshots: Snapshots::new(connector.clone(), options.readers_max),
            connector,
            clock,
            random,
            head,
            closed,
            outage: RwLock::default(),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            predicted: AtomicU64::new(0),
        });
        let (queue, inbox) = mpsc::channel(COMMIT_QUEUE_MAX);
        tokio::spawn(Committer::new(shared.clone(), inbox, writer).run());
        tokio::spawn(watcher::watch(shared.clone()));
        Ok(Self { shared, queue })
    }
}

impl Drop for PostgresLedger {
    fn drop(&mut self) {
        self.shared.closed.send_replace(true);
    }
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        if *self.shared.closed.borrow() {
            return Err(LedgerError::Closed);
        }
        Ok(Arc::new(self.shared.snapshots.open().await?))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        transaction.check_limits()?;
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting {
            writes_hash: transaction.writes_hash(),
            transaction,
            reply,
        };
        self.queue
            .send(Request::Commit(waiting))
            .await
            .map_err(|_| LedgerError::Closed)?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        if *self.shared.closed.borrow() {
            return Err(LedgerError::Closed);
        }
        let snapshot = self.shared.snapshots.open().await?;
        let trimmed = snapshot.0.trimmed;
        if after < trimmed {
            return Err(LedgerError::LogTrimmed { through: trimmed });
        }
        let mut entries = Vec::new();
        let found = snapshot.log(after, entries_max.max(1), bytes_max.max(1)).await?;
        for (expected, (sequence, sealed)) in (after + 1..).zip(found) {
            if sequence != expected {
                let cause = format!("the log entries before {sequence} are missing");
                return Err(LedgerError::Corrupt(cause));
            }
            entries.push(log_rows::open(sequence, &sealed)?);
        }
        Ok(LogPage {
            entries,
            head: snapshot.sequence(),
        })
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.queue
            .send(Request::Trim { through, reply })
            .await
            .map_err(|_| LedgerError::Closed)?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        self.shared.head.subscribe()
    }

    fn health(&self) -> Health {
        if *self.shared.closed.borrow() {
            return Health::Unavailable("the ledger is closed".to_owned());
        }
        match self.shared.outage.read().as_ref() {
            None => Health::Ready,
            Some(cause) => Health::Unavailable(format!("PostgreSQL is away: {cause}")),
        }
    }

    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        let snapshot = self.shared.snapshots.open().await?;
        let groups = self.shared.groups.load(Ordering::Relaxed);
        Ok(LedgerStats {
            engine: "postgres",
            head: snapshot.sequence(),
            commits: self.shared.commits.load(Ordering::Relaxed),
            conflicts: self.shared.conflicts.load(Ordering::Relaxed),
            groups,
            syncs: groups,
            disk_bytes: snapshot.disk_bytes().await?,
            details: vec![
                ("schema".to_owned(), self.shared.connector.schema().to_owned()),
                (
                    "groups in one trip".to_owned(),
                    self.shared.predicted.load(Ordering::Relaxed).to_string(),
                ),
            ],
        })
    }

    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        let snapshot = self.shared.snapshots.open().await?;
        verify::verify(&snapshot, progress).await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        let (reply, answer) = oneshot::channel();
        if self.queue.send(Request::Close { reply }).await.is_ok() {
            let _ = answer.await;
        }
        self.shared.closed.send_replace(true);
        Ok(())
    }
}
