//! What a verification says of page blobs whose records don't fit each other.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Bench, create_pages, put_pages, records, take_snapshot, with_container};
use ledger::{Key, Transaction, VerifyReport};

/// Kinds of keys: versions of segments, pieces, owners of maps.
const SEGMENTS: u8 = 12;
const PIECES: u8 = 13;
const OWNERS: u8 = 14;

async fn faults(bench: &Bench) -> Vec<String> {
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut report = VerifyReport::default();
    bench.blobs.verify(snapshot.as_ref(), &mut report).await.unwrap();
    report.faults
}

/// The same key with other bytes at its end.
fn beside(key: &Key) -> Key {
    let mut bytes = key.as_bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 0x40;
    Key::from_encoded(bytes.into())
}

async fn blob_with_snapshots() -> Bench {
    let bench = with_container().await;
    create_pages(&bench, "/box/x", 8192).await;
    for fill in 1..4 {
        put_pages(&bench, "/box/x", 0, &[fill; 1024]).await;
        take_snapshot(&bench, "/box/x").await;
    }
    bench
}

#[tokio::test]
async fn what_nothing_refers_to_is_told() {
    let bench = blob_with_snapshots().await;
    create_pages(&bench, "/box/y", 8192).await;
    put_pages(&bench, "/box/y", 0, &[5; 1024]).await;
    assert_eq!(faults(&bench).await, Vec::<String>::new());
    let (pieces, owners) = (records(&bench, PIECES).await, records(&bench, OWNERS).await);
    assert_eq!((pieces.len(), owners.len()), (4, 5));
    for (found, words) in [
        (&pieces[1], ["nothing refers to its piece", "kept for ever"]),
        (&pieces[3], ["nothing refers to its piece", "kept for ever"]),
        (&owners[0], ["their owner isn't there", "kept for ever"]),
        (&owners[4], ["their owner isn't there", "kept for ever"]),
    ] {
        let more = beside(&found.key);
        let mut tx = Transaction::new();
        tx.put(more.clone(), found.versioned.value.clone());
        bench.ledger.commit(tx).await.unwrap();
        let told = faults(&bench).await;
        assert!(
            told.len() == 1 && words.iter().all(|word| told[0].contains(word)),
            "{told:?}"
        );
        let mut tx = Transaction::new();
        tx.delete(more);
        bench.ledger.commit(tx).await.unwrap();
    }
    // A version that goes leaves its piece behind.
    let mut tx = Transaction::new();
    tx.delete(records(&bench, SEGMENTS).await[1].key.clone());
    bench.ledger.commit(tx).await.unwrap();
    let told = faults(&bench).await;
    assert!(told.len() == 1 && told[0].contains("its piece"), "{told:?}");
    // So does a blob its owner.
    let mut tx = Transaction::new();
    tx.delete(records(&bench, bench::BLOB).await[1].key.clone());
    bench.ledger.commit(tx).await.unwrap();
    let told = faults(&bench).await;
    assert!(told.len() == 2 && told[1].contains("their owner"), "{told:?}");
}

#[tokio::test]
async fn what_waits_for_its_removal_is_no_fault() {
    let bench = blob_with_snapshots().await;
    let deleted = bench.ask("DELETE", "/box?restype=container", &[], b"").await;
    assert_eq!(deleted.status, 202);
    assert_eq!(records(&bench, OWNERS).await.len(), 4);
    assert_eq!(faults(&bench).await, Vec::<String>::new());
}
