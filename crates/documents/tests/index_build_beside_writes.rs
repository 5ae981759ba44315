//! An index is built although others write all the time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod signed;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ledger::{
    Committed, Direction, Health, Key, KeyRange, KeyWriter, Keyspace, Ledger, LedgerError, LedgerStats,
    LogPage, Scan, Sequence, Snapshot, Transaction, VerifyReport,
};
use serde_json::json;
use signed::{Fixture, fixture};
use tokio::sync::watch;

const DOCS: &str = "/dbs/d/colls/c/docs";
const ITEMS: usize = 120;
const CONFLICTS_MAX: usize = 200;

/// A ledger on which an item is written before each commit that demands it beside others: whoever
/// reads many items takes longer than its writer does.
struct WithBusyItem {
    writer: Fixture,
    busy: Key,
    conflicts: AtomicUsize,
}

fn items() -> Key {
    KeyWriter::new(Keyspace::Documents).u8(16).finish()
}

async fn write_busy_item(f: &Fixture) {
    let item = json!({"id": "70", "pk": "a", "n": 1});
    let upsert = ("x-ms-documentdb-is-upsert", "True");
    let reply = f.json("POST", DOCS, &[upsert], item).await;
    assert!(matches!(reply.status.as_u16(), 200 | 201));
}

#[async_trait]
impl Ledger for WithBusyItem {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        self.writer.ledger.snapshot().await
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        let all = KeyRange::prefix(&items());
        let demanded = transaction
            .preconditions()
            .iter()
            .map(|precondition| &precondition.key);
        let demanded: Vec<&Key> = demanded.filter(|key| all.contains(key)).collect();
        let is_slow = demanded.len() > 1 && demanded.contains(&&self.busy);
        if is_slow && self.conflicts.fetch_add(1, Ordering::SeqCst) < CONFLICTS_MAX {
            write_busy_item(&self.writer).await;
        }
        self.writer.ledger.commit(transaction).await
    }

    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        self.writer.ledger.log_page(after, entries_max, bytes_max).await
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        self.writer.ledger.trim_log(through).await
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        self.writer.ledger.head()
    }

    fn health(&self) -> Health {
        self.writer.ledger.health()
    }

    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.writer.ledger.stats().await
    }

    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.writer.ledger.verify(progress).await
    }

    async fn close(&self) -> Result<(), LedgerError> {
        self.writer.ledger.close().await
    }
}

#[tokio::test]
async fn an_item_that_is_written_all_the_time_holds_up_no_build() {
    let f = fixture().with_container(json!({})).await;
    for number in 0..ITEMS {
        let item = json!({"id": number.to_string(), "pk": "a", "n": number});
        f.json("POST", DOCS, &[], item).await.expect(201);
    }
    let snapshot = f.ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::prefix(&items()), Direction::Forward);
    let mut busy = None;
    for _ in 0..=70 {
        busy = scan.next().await.unwrap();
    }
    let ledger = Arc::new(WithBusyItem {
        writer: f.another_node(),
        busy: busy.unwrap().key,
        conflicts: AtomicUsize::new(0),
    });
    let slow = f.another_node_on(ledger.clone(), |_| {});
    let mut container = slow
        .send("GET", "/dbs/d/colls/c", &[], "")
        .await
        .expect(200)
        .json();
    container["indexingPolicy"] =
        json!({"includedPaths": [{"path": "/n/?"}], "excludedPaths": [{"path": "/*"}]});
    slow.json("PUT", "/dbs/d/colls/c", &[], container)
        .await
        .expect(200);
    let read = slow.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200);
    assert_eq!(
        read.header("x-ms-documentdb-collection-index-transformation-progress"),
        "100"
    );
    let conflicts = ledger.conflicts.load(Ordering::SeqCst);
    assert!(conflicts > 0, "nobody was faster");
    assert!(conflicts < CONFLICTS_MAX, "the build came no farther by itself");
    f.another_node().verify().await;
}
