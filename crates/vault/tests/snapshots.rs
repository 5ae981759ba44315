//! Snapshots are few in some engines: none is open while a request waits, makes a key or commits.
#![allow(clippy::unwrap_used, reason = "what a test expects may end it")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ledger::fault::{CommitFault, FaultLedger};
use ledger::log::LogPage;
use ledger::memory::MemoryLedger;
use ledger::{
    AdjustableClock, Committed, Direction, Health, Key, KeyRange, Ledger, LedgerError, LedgerStats,
    ScanLimit, ScanPage, Sequence, Snapshot, Transaction, VerifyReport, Versioned,
};
use serde_json::{Value, json};
use world::World;

#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
    at_commit: AtomicUsize,
}

/// A ledger that counts its open snapshots.
struct Counting {
    inner: Arc<dyn Ledger>,
    open: Arc<Open>,
    /// Answered instead of a new one.
    old: Option<Arc<dyn Snapshot>>,
}

struct Counted {
    inner: Arc<dyn Snapshot>,
    open: Arc<Open>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.now.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Snapshot for Counted {
    fn sequence(&self) -> Sequence {
        self.inner.sequence()
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        self.inner.get(key).await
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        self.inner.scan_page(range, direction, limit).await
    }
}

#[async_trait]
impl Ledger for Counting {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        let inner = match &self.old {
            Some(old) => old.clone(),
            None => self.inner.snapshot().await?,
        };
        let now = self.open.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.open.most.fetch_max(now, Ordering::SeqCst);
        let open = self.open.clone();
        Ok(Arc::new(Counted { inner, open }))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let now = self.open.now.load(Ordering::SeqCst);
        self.open.at_commit.fetch_max(now, Ordering::SeqCst);
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

    fn head(&self) -> tokio::sync::watch::Receiver<Sequence> {
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

fn clock() -> Arc<AdjustableClock> {
    let start = jiff::Timestamp::from_second(world::START).unwrap();
    Arc::new(AdjustableClock::standing_at(start))
}

#[tokio::test]
async fn none_is_open_while_a_request_waits_for_its_place_or_commits() {
    let clock = clock();
    let open = Arc::new(Open::default());
    let ledger = Arc::new(Counting {
        inner: Arc::new(MemoryLedger::new(clock.clone())),
        open: open.clone(),
        old: None,
    });
    let world = World::over(ledger, clock, |_| {}).await;
    let ec = json!({"kty": "EC", "crv": "P-256"});
    world.call("POST", "/keys/k/create", ec.clone()).await.ok();
    let forget = || {
        open.most.store(0, Ordering::SeqCst);
        open.at_commit.store(0, Ordering::SeqCst);
    };
    forget();
    // More than there are places.
    let digest = "A".repeat(43);
    let all = (0..24).map(|at| {
        let (world, ec, digest) = (&world, ec.clone(), &digest);
        async move {
            match at % 3 {
                0 => world.call("POST", &format!("/keys/k{at}/create"), ec).await,
                1 => world.call("POST", "/keys/k/rotate", Value::Null).await,
                _ => {
                    let body = json!({"alg": "ES256", "value": digest});
                    world.call("POST", "/keys/k/sign", body).await
                }
            }
            .ok()
        }
    });
    futures::future::join_all(all).await;
    assert_eq!(open.most.load(Ordering::SeqCst), 1);
    world.call("GET", "/keys/k", Value::Null).await.ok();
    world.call("GET", "/keys", Value::Null).await.ok();
    assert_eq!(open.at_commit.load(Ordering::SeqCst), 0);
    assert_eq!(open.now.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_key_is_made_once_however_often_its_commit_is_refused() {
    let clock = clock();
    let inner: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
    let faulty = Arc::new(FaultLedger::over(inner));
    let world = World::over(faulty.clone(), clock, |_| {}).await;
    let ec = json!({"kty": "EC", "crv": "P-256"});
    for (path, body) in [("/keys/k/create", ec), ("/keys/k/rotate", Value::Null)] {
        let before = world.vaults.key_works();
        faulty.fail_commits(0, 5, CommitFault::Conflict);
        world.call("POST", path, body).await.ok();
        assert_eq!(world.vaults.key_works(), before + 1, "{path}");
    }
}

#[tokio::test]
async fn two_sealers_at_once_leave_one_chain() {
    let world = World::new().await;
    let list = async || world.call("GET", "/secrets", Value::Null).await.ok();
    list().await;
    list().await;
    let seal = world.seal(vec![world.root()]).await;
    let late = Arc::new(Counting {
        inner: world.ledger.clone(),
        open: Arc::default(),
        old: Some(world.ledger.snapshot().await.unwrap()),
    });
    list().await;
    let (clock, random) = (world.clock.clone(), world.random.clone());
    let other = vault::Vaults::new(late, clock, random, seal.clone(), world.settings.clone());
    assert_eq!(world.vaults.sweep_once().await.unwrap().audit_rows, 3);
    assert_eq!(other.sweep_once().await.unwrap().audit_rows, 0);
    let verify = || vault::audit::verify(world.ledger.as_ref(), &seal, "acme", None);
    let report = verify().await.unwrap();
    assert_eq!((report.seals, report.sealed_rows), (1, 3));
    assert_eq!(report.faults, Vec::<String>::new());
}
