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

use bench::{bench, bytes, sha256};

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
        // Tag of the key: the repository, its time, and rows of usage stay.
        left.push(entry.key.as_bytes()[1]);
    }
    left.retain(|tag| ![1, 2, 18, 19].contains(tag));
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
