//! What reads must not depend on: how much else a repository has.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bench::{Bench, bench_with, image_of, open_settings};
use ledger::memory::MemoryLedger;
use ledger::{
    Committed, Direction, Health, Key, KeyRange, Ledger, LedgerError, LedgerStats, LogPage, ScanLimit,
    ScanPage, Sequence, Snapshot, Transaction, VerifyReport, Versioned,
};
use serde_json::json;
use tokio::sync::watch;

/// Counts the rows that are read.
struct Counting(Arc<dyn Ledger>, Arc<AtomicUsize>);

struct CountingSnapshot(Arc<dyn Snapshot>, Arc<AtomicUsize>);

#[async_trait]
impl Snapshot for CountingSnapshot {
    fn sequence(&self) -> Sequence {
        self.0.sequence()
    }
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.get(key).await
    }
    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        let page = self.0.scan_page(range, direction, limit).await?;
        self.1.fetch_add(page.entries.len(), Ordering::SeqCst);
        Ok(page)
    }
}

#[async_trait]
impl Ledger for Counting {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        let snapshot = self.0.snapshot().await?;
        Ok(Arc::new(CountingSnapshot(snapshot, self.1.clone())))
    }
    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        self.0.commit(transaction).await
    }
    async fn log_page(&self, after: Sequence, entries: usize, bytes: usize) -> Result<LogPage, LedgerError> {
        self.0.log_page(after, entries, bytes).await
    }
    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        self.0.trim_log(through).await
    }
    fn head(&self) -> watch::Receiver<Sequence> {
        self.0.head()
    }
    fn health(&self) -> Health {
        self.0.health()
    }
    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.0.stats().await
    }
    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.0.verify(progress).await
    }
    async fn close(&self) -> Result<(), LedgerError> {
        self.0.close().await
    }
}

/// A repository with a manifest of 1,500 tags and one of three; and how many rows were read.
async fn crowded() -> (Bench, Arc<AtomicUsize>, String) {
    let clock = bench::clock();
    let rows = Arc::new(AtomicUsize::new(0));
    let memory = Arc::new(MemoryLedger::new(clock.clone()));
    let ledger = Arc::new(Counting(memory, rows.clone()));
    let content = bench::memory_content(&clock);
    let bench = bench::over(ledger, content, clock, open_settings(), 7);
    let config = bench.blob("a", b"{}").await;
    let image = image_of(&config, &config);
    let digest = bench::sha256(image.to_string().as_bytes());
    for first in (0..1_500).step_by(50) {
        let tags: Vec<String> = (first..first + 50)
            .map(|number| format!("tag=t{number:04}"))
            .collect();
        let path = format!("{digest}?{}", tags.join("&"));
        assert_eq!(bench.manifest("a", &path, &image).await.status, 201);
    }
    let mut few = String::new();
    for tag in ["m3", "m1", "z2"] {
        few = bench.image("a", tag, b"few").await.to_string();
        bench.clock.advance_seconds(1);
    }
    (bench, rows, few)
}

#[tokio::test]
async fn the_tags_of_a_manifest_and_counts_read_what_they_need() {
    let (bench, rows, few) = crowded().await;
    bench.clock.advance_seconds(120);
    bench.collect().await;
    let ask = async |path: &str| {
        let before = rows.load(Ordering::SeqCst);
        let answer = bench.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let read = rows.load(Ordering::SeqCst) - before;
        assert!(read < 20, "{path} read {read} rows");
        answer
    };
    for (orderby, expected) in [
        ("", ["m1", "m3", "z2"]),
        ("timeasc", ["m3", "m1", "z2"]),
        ("timedesc", ["z2", "m1", "m3"]),
    ] {
        let mut path = format!("/acr/v1/a/_tags?digest={few}&orderby={orderby}&n=2");
        let mut found = Vec::new();
        while !path.is_empty() {
            let page = ask(&path).await;
            let names = page.json()["tags"].as_array().unwrap().clone();
            found.extend(names.iter().map(|tag| tag["name"].as_str().unwrap().to_owned()));
            path = page
                .header("link")
                .trim_start_matches('<')
                .split('>')
                .next()
                .unwrap()
                .to_owned();
        }
        assert_eq!(found, expected, "{orderby}");
    }
    let repository = ask("/acr/v1/a").await.json();
    assert_eq!(
        (&repository["manifestCount"], &repository["tagCount"]),
        (&json!(2), &json!(1_503))
    );
}

#[tokio::test]
async fn counts_are_right_after_whatever_came_and_went() {
    let bench = bench_with(open_settings());
    let counts = async |name: &str| {
        let found = bench.get(&format!("/acr/v1/{name}")).await.json();
        (
            found["manifestCount"].as_i64().unwrap(),
            found["tagCount"].as_i64().unwrap(),
        )
    };
    let first = bench.image("a", "v1", b"one").await;
    bench.image("a", "v1", b"one").await;
    bench.image("a", "v2", b"two").await;
    assert_eq!(counts("a").await, (2, 2));
    // A tag moves, and is moved back.
    bench.image("a", "v2", b"one").await;
    assert_eq!(counts("a").await, (2, 2));
    bench.clock.advance_seconds(90);
    bench.collect().await;
    bench.image("a", "v3", b"three").await;
    assert_eq!(counts("a").await, (3, 3));
    bench.verify().await;
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{first}")).await.status,
        202
    );
    assert_eq!(counts("a").await, (2, 1));
    assert_eq!(bench.delete("/v2/a/manifests/v3").await.status, 202);
    assert_eq!(counts("a").await, (2, 0));
    bench.clock.advance_seconds(90);
    bench.collect().await;
    assert_eq!(counts("a").await, (2, 0));
    bench.verify().await;
    // A repository of the same name begins anew.
    assert_eq!(bench.delete("/acr/v1/a").await.status, 202);
    bench.image("a", "v1", b"one").await;
    assert_eq!(counts("a").await, (1, 1));
    bench.clock.advance_seconds(90);
    bench.collect().await;
    assert_eq!(counts("a").await, (1, 1));
    bench.verify().await;
}

#[tokio::test]
async fn a_repository_s_deletion_gives_all_its_bytes_back() {
    let mut settings = open_settings();
    settings.registries[0].quota_bytes = Some(6_000);
    let bench = bench_with(settings);
    for round in 0..6 {
        for tag in ["a", "b", "c", "d"] {
            bench.image("a", tag, format!("{tag} {round}").as_bytes()).await;
        }
        assert_eq!(bench.delete("/acr/v1/a").await.status, 202);
        for _ in 0..4 {
            bench.clock.advance_seconds(25 * 3_600);
            bench.collect().await;
        }
    }
}
