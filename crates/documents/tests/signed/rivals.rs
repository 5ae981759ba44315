//! A way to a ledger on which others are faster: before a commit of items is made, a rival has its turn.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use ledger::{
    Committed, Health, Ledger, LedgerError, LedgerStats, LogPage, Sequence, Snapshot, Transaction,
    VerifyReport,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// What a rival does before and after a commit.
pub type Turn = (BoxFuture<'static, ()>, BoxFuture<'static, ()>);

/// The other's ledger, with rivals for the commits to come.
pub struct Rivalled {
    inner: Arc<dyn Ledger>,
    turns: Mutex<VecDeque<Turn>>,
}

impl Rivalled {
    /// A way to a ledger without rivals yet.
    pub fn over(inner: Arc<dyn Ledger>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            turns: Mutex::default(),
        })
    }

    /// The next commit of items that has none yet gets this rival.
    pub fn rival(
        &self,
        before: impl Future<Output = ()> + Send + 'static,
        after: impl Future<Output = ()> + Send + 'static,
    ) {
        self.turns.lock().push_back((Box::pin(before), Box::pin(after)));
    }

    /// Rivals that had no turn.
    pub fn left(&self) -> usize {
        self.turns.lock().len()
    }
}

#[async_trait]
impl Ledger for Rivalled {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        self.inner.snapshot().await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        // Items are logged; counters, which are taken from in between, are not.
        let turn = if transaction.records().is_empty() {
            None
        } else {
            self.turns.lock().pop_front()
        };
        let Some((before, after)) = turn else {
            return self.inner.commit(transaction).await;
        };
        before.await;
        let outcome = self.inner.commit(transaction).await;
        after.await;
        outcome
    }

    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        self.inner.log_page(after, entries_max, bytes_max).await
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        self.inner.trim_log(through).await
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        self.inner.head()
    }

    fn health(&self) -> Health {
        self.inner.health()
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
