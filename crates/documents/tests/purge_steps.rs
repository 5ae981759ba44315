//! What a deleted container left is removed in steps, whatever its size.
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

use documents::limits::SWEEP_PURGED_KEYS_MAX;
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan};
use serde_json::json;
use signed::{Fixture, fixture};

const ITEMS: usize = 60;
/// Index entries of each item's array.
const ENTRIES: usize = 1_000;

/// Keys of all items, and of what belongs to them: their tags are the highest.
async fn keys_of_items(f: &Fixture) -> usize {
    let snapshot = f.ledger.snapshot().await.unwrap();
    let documents = KeyRange::prefix(&KeyWriter::new(Keyspace::Documents).finish());
    let range = KeyRange {
        start: KeyWriter::new(Keyspace::Documents).u8(16).finish(),
        ..documents
    };
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let mut count = 0;
    while scan.next().await.unwrap().is_some() {
        count += 1;
    }
    count
}

async fn filled() -> Fixture {
    let f = fixture().with_container(json!({})).await;
    for number in 0..ITEMS {
        let tags: Vec<usize> = (0..ENTRIES).collect();
        let item = json!({"id": number.to_string(), "pk": "a", "tags": tags});
        f.json("POST", "/dbs/d/colls/c/docs", &[], item).await.expect(201);
    }
    f
}

#[tokio::test]
async fn a_call_removes_so_many_keys_and_leaves_the_rest_to_the_next() {
    let f = filled().await;
    // Another container, of which an item's time is over.
    let more = json!({"id": "short", "partitionKey": {"paths": ["/pk"]}, "defaultTtl": 10});
    f.json("POST", "/dbs/d/colls", &[], more).await.expect(201);
    let item = json!({"id": "1", "pk": "a"});
    f.json("POST", "/dbs/d/colls/short/docs", &[], item)
        .await
        .expect(201);
    f.clock.advance_seconds(11);
    f.send("DELETE", "/dbs/d/colls/c", &[], "").await.expect(204);
    let all = keys_of_items(&f).await;
    assert!(all > ITEMS * ENTRIES);
    let first = f.documents.sweep_once().await.unwrap();
    assert!(first.more);
    assert_eq!(first.keys_purged, SWEEP_PURGED_KEYS_MAX as u64);
    assert_eq!(first.items_expired, 1, "others don't wait for it");
    let left = keys_of_items(&f).await;
    assert!(left > 0 && left < all, "{left} of {all}");
    let second = f.documents.sweep_once().await.unwrap();
    assert!(!second.more && second.keys_purged > 0);
    assert_eq!(keys_of_items(&f).await, 0);
    assert_eq!(f.documents.sweep_once().await.unwrap(), Default::default());
    f.verify().await;
}

#[tokio::test]
async fn another_process_goes_on() {
    let f = filled().await;
    f.send("DELETE", "/dbs/d/colls/c", &[], "").await.expect(204);
    assert!(f.documents.sweep_once().await.unwrap().more);
    // One that knows no place to go on.
    let other = f.another_node();
    assert!(!other.documents.sweep_once().await.unwrap().more);
    assert_eq!(keys_of_items(&f).await, 0);
    // The first one's place is of a purge that is no more.
    f.json(
        "POST",
        "/dbs/d/colls",
        &[],
        json!({"id": "c", "partitionKey": {"paths": ["/pk"]}}),
    )
    .await
    .expect(201);
    f.json("POST", "/dbs/d/colls/c/docs", &[], json!({"id": "1", "pk": "a"}))
        .await
        .expect(201);
    f.send("DELETE", "/dbs/d/colls/c", &[], "").await.expect(204);
    assert!(!f.documents.sweep_once().await.unwrap().more);
    assert_eq!(keys_of_items(&f).await, 0);
    f.verify().await;
}
