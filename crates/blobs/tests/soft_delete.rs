//! Soft delete on memory: what is kept, for how long, and what goes with it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Bench, bytes, with_container};

async fn contents(bench: &Bench) -> u64 {
    for _ in 0..3 {
        bench.blobs.sweep_once().await.unwrap();
    }
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut report = ledger::VerifyReport::default();
    bench.blobs.verify(snapshot.as_ref(), &mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    bench.content.stats().await.unwrap().contents
}

const DAY_SECONDS: i64 = 24 * 3_600;

async fn keeping(days: u32) -> Bench {
    let bench = with_container().await;
    let body = format!(
        "<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>{days}</Days>\
         </DeleteRetentionPolicy></StorageServiceProperties>"
    );
    let path = "?restype=service&comp=properties";
    let answer = bench.ask("PUT", &format!("/{path}"), &[], body.as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    bench
}

#[tokio::test]
async fn deleted_content_is_kept_for_its_time_and_then_goes() {
    for length in [100, 50_000] {
        let bench = keeping(2).await;
        let stored = u64::from(length > 16 * 1024);
        bench.put("/box/x", &bytes(length)).await;
        bench.put("/box/x", &bytes(length + 1)).await;
        let deleted = bench.ask("DELETE", "/box/x", &[], b"").await;
        assert_eq!(deleted.header("x-ms-delete-type-permanent"), "false");
        assert_eq!(contents(&bench).await, 2 * stored);
        bench.clock.advance_seconds(2 * DAY_SECONDS - 1);
        assert_eq!(contents(&bench).await, 2 * stored);
        bench.clock.advance_seconds(2);
        assert_eq!(contents(&bench).await, 0);
        let gone = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
        assert_eq!((gone.status.as_u16(), gone.code()), (404, "BlobNotFound"));
        let list = "/box?restype=container&comp=list&include=deleted,snapshots";
        assert!(!bench.ask("GET", list, &[], b"").await.text().contains("<Blob>"));
    }
}

#[tokio::test]
async fn what_came_back_stays_when_its_time_would_have_been_over() {
    for length in [100, 50_000] {
        let bench = keeping(1).await;
        let content = bytes(length);
        bench.put("/box/x", &content).await;
        bench.ask("DELETE", "/box/x", &[], b"").await;
        let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
        assert_eq!(back.status, 200, "{}", back.text());
        bench.clock.advance_seconds(DAY_SECONDS + 1);
        contents(&bench).await;
        assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.body, content);
    }
}

#[tokio::test]
async fn more_states_than_one_commit_returns_all_come_back() {
    let bench = keeping(1).await;
    let number = blobs::limits::SNAPSHOTS_STEP_MAX + 3;
    for at in 0..number {
        bench.put("/box/x", at.to_string().as_bytes()).await;
    }
    bench.ask("DELETE", "/box/x", &[], b"").await;
    let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(
        bench.ask("GET", "/box/x", &[], b"").await.text(),
        (number - 1).to_string()
    );
    let list = "/box?restype=container&comp=list&include=snapshots";
    let text = bench.ask("GET", list, &[], b"").await.text();
    assert_eq!(text.matches("<Snapshot>").count(), number - 1);
    contents(&bench).await;
}

#[tokio::test]
async fn kept_states_go_with_their_container() {
    let bench = keeping(1).await;
    bench.put("/box/x", &bytes(50_000)).await;
    bench.ask("DELETE", "/box/x", &[], b"").await;
    bench.ask("DELETE", "/box?restype=container", &[], b"").await;
    assert_eq!(contents(&bench).await, 0);
    bench.clock.advance_seconds(DAY_SECONDS + 1);
    assert_eq!(contents(&bench).await, 0);
}
