//! A container of the change feed's name that a client made when there was no feed.
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

use bench::{ACCOUNT, bench_with_clock};
use blobs::ChangeFeed;
use ledger::AdjustableClock;

const LIST: &str = "/$blobchangefeed?restype=container&comp=list";
const CONTAINER: &str = "/$blobchangefeed?restype=container";

/// The kind of containers' keys.
const CONTAINERS: u8 = 1;

#[tokio::test]
async fn it_is_not_taken_for_the_feeds() {
    let begin = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let bench = bench_with_clock(Arc::new(AdjustableClock::standing_at(begin)), |settings| {
        settings.accounts[0].change_feed = Some(ChangeFeed::default());
    });
    // Releases of before let clients make it.
    let made = bench.blobs.ensure_container(ACCOUNT, "$blobchangefeed");
    made.await.unwrap();
    let record = bench::records(&bench, CONTAINERS).await.remove(0);
    let mut value: serde_json::Value = serde_json::from_slice(&record.versioned.value).unwrap();
    value["metadata"] = serde_json::json!({ "made": "by a client" });
    let mut tx = ledger::Transaction::new();
    tx.put(record.key, value.to_string().into_bytes());
    bench.ledger.commit(tx).await.unwrap();
    bench.blobs.feed_once().await.unwrap();
    let list = bench.ask("GET", LIST, &[], b"").await.text();
    assert!(!list.contains("<Name>"), "{list}");
    let refused = bench.put("/$blobchangefeed/x", b"1").await;
    assert_eq!(refused.code(), "InsufficientAccountPermissions");
    // It can be deleted, and the feed begins.
    assert_eq!(bench.ask("DELETE", CONTAINER, &[], b"").await.status, 202);
    bench.blobs.feed_once().await.unwrap();
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    bench.put("/box/a", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    let list = bench.ask("GET", LIST, &[], b"").await.text();
    assert!(list.contains("<Name>log/00/"), "{list}");
    let refused = bench.ask("DELETE", CONTAINER, &[], b"").await;
    assert_eq!(refused.code(), "InsufficientAccountPermissions");
}

#[tokio::test]
async fn an_empty_one_that_a_crash_left_is_taken_over() {
    let begin = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let bench = bench_with_clock(Arc::new(AdjustableClock::standing_at(begin)), |settings| {
        settings.accounts[0].change_feed = Some(ChangeFeed::default());
    });
    let made = bench.blobs.ensure_container(ACCOUNT, "$blobchangefeed");
    made.await.unwrap();
    bench.blobs.feed_once().await.unwrap();
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    bench.put("/box/a", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    let list = bench.ask("GET", LIST, &[], b"").await.text();
    assert!(list.contains("<Name>log/00/"), "{list}");
    bench::contents(&bench).await;
}

#[tokio::test]
async fn a_feed_begins_in_one_commit() {
    let begin = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    let bench = bench_with_clock(Arc::new(AdjustableClock::standing_at(begin)), |settings| {
        settings.accounts[0].change_feed = Some(ChangeFeed::default());
    });
    let head = async || *bench.ledger.head().borrow();
    let before = head().await;
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(head().await, before + 1);
    let list = bench.ask("GET", LIST, &[], b"").await.text();
    assert!(list.contains("<Name>meta/segments.json"), "{list}");
}
