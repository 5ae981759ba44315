//! Work on page blobs that goes in steps, while others write: sweeping, shrinking, copying.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{contents, create_pages, put_pages, records, take_snapshot, with_container};
use ledger::Transaction;

const SEGMENT: usize = 4 * 1024 * 1024;

/// The kind of keys of segments' versions.
const SEGMENTS: u8 = 12;

#[tokio::test]
async fn a_segment_that_is_written_all_the_time_holds_up_none_behind_it() {
    let bench = with_container().await;
    create_pages(&bench, "/box/x", 3 * SEGMENT).await;
    let write = async |fill: u8| {
        for number in 0..3 {
            put_pages(&bench, "/box/x", number * SEGMENT, &[fill; 512]).await;
        }
    };
    write(1).await;
    let time = take_snapshot(&bench, "/box/x").await;
    write(2).await;
    let gone = format!("/box/x?snapshot={time}");
    assert_eq!(bench.ask("DELETE", &gone, &[], b"").await.status, 202);
    let before = records(&bench, SEGMENTS).await;
    assert_eq!(before.len(), 6);
    // The blob's own version of the first segment is written before each commit.
    let mut again = Transaction::new();
    again.put(before[1].key.clone(), before[1].versioned.value.clone());
    *bench.overtaking.each.lock().unwrap() = Some(again);
    bench.blobs.sweep_once().await.unwrap();
    let left = records(&bench, SEGMENTS).await;
    let left: Vec<_> = left.into_iter().map(|entry| entry.key).collect();
    let expected = [0, 1, 3, 5].map(|at: usize| before[at].key.clone());
    assert_eq!(left, expected);
    *bench.overtaking.each.lock().unwrap() = None;
    contents(&bench).await;
    assert_eq!(records(&bench, SEGMENTS).await.len(), 3);
    assert_eq!(
        bench
            .ask("GET", "/box/x", &[("x-ms-range", "bytes=0-511")], b"")
            .await
            .body,
        [2; 512][..]
    );
}
