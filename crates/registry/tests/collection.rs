//! The collection by itself: what it removes, when, and what it leaves.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bench::{bench, bytes, open_settings, sha256};
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};
use ledger::memory::MemoryLedger;

/// A content store that can't remove its first content while `broken`.
struct Stuck {
    store: Arc<dyn ContentStore>,
    broken: AtomicBool,
}

#[async_trait]
impl ContentStore for Stuck {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        self.store.writer().await
    }
    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        self.store.reader(id, range).await
    }
    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.store.info(id).await
    }
    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        let first = ContentId::from_bytes(1_u128.to_be_bytes());
        if id == first && self.broken.load(Ordering::SeqCst) {
            return Err(ContentError::Unavailable("stuck".to_owned()));
        }
        self.store.delete(id).await
    }
    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        self.store.list(after, entries_max).await
    }
    async fn stats(&self) -> Result<ContentStats, ContentError> {
        self.store.stats().await
    }
}

#[tokio::test]
async fn what_can_t_be_removed_keeps_nothing_else() {
    let clock = bench::clock();
    let stuck = Arc::new(Stuck {
        store: bench::memory_content(&clock),
        broken: AtomicBool::new(true),
    });
    let ledger = Arc::new(MemoryLedger::new(clock.clone()));
    let bench = bench::over(ledger, stuck.clone(), clock, open_settings(), 7);
    for number in 0..3 {
        bench.blob("a", &bytes(20_000 + number)).await;
    }
    let mut contents = 0;
    bench.clock.advance_seconds(25 * 3_600);
    for _ in 0..6 {
        contents += bench.collect().await.contents;
        bench.clock.advance_seconds(2 * 3_600);
    }
    assert_eq!((contents, bench.verify().await), (2, 1));
    stuck.broken.store(false, Ordering::SeqCst);
    assert_eq!((bench.collect().await.contents, bench.verify().await), (1, 0));
}

#[tokio::test]
async fn what_no_manifest_needs_goes_after_its_time() {
    let bench = bench();
    let kept = bench.image("a", "v1", &bytes(20_000)).await;
    let loose = bench.blob("a", &bytes(30_000)).await;
    bench.clock.advance_seconds(23 * 3_600);
    assert_eq!(bench.collect().await.links, 0);
    bench.clock.advance_seconds(2 * 3_600);
    assert_eq!(bench.collect().await.links, 1);
    assert_eq!(bench.get(&format!("/v2/a/blobs/{loose}")).await.status, 404);
    // Marked, but its bytes may still be on their way to somebody.
    bench.collect().await;
    bench.collect().await;
    assert_eq!(bench.verify().await, 2);
    bench.clock.advance_seconds(2 * 3_600);
    let mut contents = 0;
    for _ in 0..3 {
        contents += bench.collect().await.contents;
    }
    assert_eq!((contents, bench.verify().await), (1, 1));
    assert_eq!(bench.get(&format!("/v2/a/manifests/{kept}")).await.status, 200);
    assert_eq!(bench.delete(&format!("/v2/a/manifests/{kept}")).await.status, 202);
    for _ in 0..6 {
        bench.clock.advance_seconds(30 * 3_600);
        bench.collect().await;
    }
    assert_eq!(bench.verify().await, 0);
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let all = ledger::KeyRange::prefix(&ledger::KeyWriter::new(ledger::Keyspace::Registry).finish());
    let mut scan = ledger::Scan::new(snapshot.as_ref(), all, ledger::Direction::Forward);
    let mut left = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        // Tag of the key: the repository, its time, rows of usage and of what is counted stay.
        left.push(entry.key.as_bytes()[1]);
    }
    left.retain(|tag| ![1, 2, 18, 19, 21, 22].contains(tag));
    assert_eq!(left, Vec::<u8>::new());
}

#[tokio::test]
async fn a_shared_blob_stays_while_one_registry_has_it() {
    let bench = bench();
    let content = bytes(20_000);
    bench.blob("a", &content).await;
    let digest = sha256(&content);
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let other = [("host", "other.cr.test")];
    assert_eq!(bench.ask("POST", &path, &other, &content).await.status, 201);
    assert_eq!(bench.delete(&format!("/v2/a/blobs/{digest}")).await.status, 202);
    for _ in 0..5 {
        bench.collect().await;
        bench.clock.advance_seconds(3 * 3_600);
    }
    let found = bench
        .ask("GET", &format!("/v2/a/blobs/{digest}"), &other, b"")
        .await;
    assert_eq!((found.status, found.body.len()), (200, 20_000));
    assert_eq!(bench.verify().await, 1);
}
