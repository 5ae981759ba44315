//! A way to a ledger whose reads are counted, and take time where a test wants them to.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::future::BoxFuture;
use ledger::{
    AdjustableClock, Committed, Direction, Health, Key, KeyRange, KeyReader, Keyspace, Ledger, LedgerError,
    LedgerStats, LogPage, ScanLimit, ScanPage, Sequence, Snapshot, Transaction, VerifyReport, Versioned,
};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The tag of items' keys.
const ITEM: u8 = 16;

/// What is shared with the snapshots.
pub struct Watch {
    clock: Arc<AdjustableClock>,
    /// Items that were read.
    items: AtomicU64,
    /// Reads, of whatever.
    reads: AtomicU64,
    /// Which of the reads to come take longer than a page may.
    slow: Mutex<Slow>,
    /// What happens while the read with that number is made.
    meanwhile: Mutex<Option<(u64, BoxFuture<'static, ()>)>>,
}

/// Which reads are slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slow {
    None,
    All,
    /// The one with that number.
    One(u64),
}

pub struct Watched {
    inner: Arc<dyn Ledger>,
    pub watch: Arc<Watch>,
}

impl Watched {
    pub fn over(inner: Arc<dyn Ledger>, clock: Arc<AdjustableClock>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            watch: Arc::new(Watch {
                clock,
                items: AtomicU64::default(),
                reads: AtomicU64::default(),
                slow: Mutex::new(Slow::None),
                meanwhile: Mutex::default(),
            }),
        })
    }
}

impl Watch {
    /// Items that were read since this was asked last.
    pub fn items(&self) -> u64 {
        self.items.swap(0, Ordering::Relaxed)
    }

    /// From here on.
    pub fn slow(&self, slow: Slow) {
        self.reads.store(0, Ordering::Relaxed);
        *self.slow.lock() = slow;
    }

    /// Something happens while the read with that number is made, counted from here on.
    pub fn meanwhile(&self, at: u64, turn: impl Future<Output = ()> + Send + 'static) {
        self.reads.store(0, Ordering::Relaxed);
        *self.meanwhile.lock() = Some((at, Box::pin(turn)));
    }

    /// Whether there was no such read.
    pub fn had_none(&self) -> bool {
        self.meanwhile.lock().take().is_some()
    }

    /// Reads since then.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn read<'k>(&self, keys: impl Iterator<Item = &'k Key>) {
        let is_item = |key: &&Key| {
            KeyReader::new(key, Keyspace::Documents).and_then(|mut reader| reader.u8()) == Some(ITEM)
        };
        self.items
            .fetch_add(keys.filter(is_item).count() as u64, Ordering::Relaxed);
        let at = self.reads.fetch_add(1, Ordering::Relaxed);
        let slow = *self.slow.lock();
        if slow == Slow::All || slow == Slow::One(at) {
            self.clock.advance_seconds(6);
        }
    }
}

struct WatchedSnapshot {
    inner: Arc<dyn Snapshot>,
    watch: Arc<Watch>,
}

#[async_trait]
impl Snapshot for WatchedSnapshot {
    fn sequence(&self) -> Sequence {
        self.inner.sequence()
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        self.watch.read([key].into_iter());
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, LedgerError> {
        self.watch.read(keys.iter());
        self.inner.get_many(keys).await
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        let page = self.inner.scan_page(range, direction, limit).await?;
        self.watch.read(page.entries.iter().map(|entry| &entry.key));
        // Others have their turn where a real ledger would be waited for.
        tokio::task::yield_now().await;
        let reads = self.watch.reads();
        let turn = self.watch.meanwhile.lock().take_if(|(at, _)| *at < reads);
        if let Some((_, turn)) = turn {
            turn.await;
        }
        Ok(page)
    }
}

#[async_trait]
impl Ledger for Watched {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        Ok(Arc::new(WatchedSnapshot {
            inner: self.inner.snapshot().await?,
            watch: self.watch.clone(),
        }))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        self.inner.commit(transaction).await
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
