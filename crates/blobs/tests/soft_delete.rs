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

use bench::{BLOB, Bench, LARGE_BLOCKS, bytes, contents, put_large, records, with_container};

const DAY_SECONDS: i64 = 24 * 3_600;

async fn keeping(days: u32) -> Bench {
    let bench = with_container().await;
    retain(&bench, &format!("<Enabled>true</Enabled><Days>{days}</Days>")).await;
    bench
}

async fn retain(bench: &Bench, policy: &str) {
    let body = format!(
        "<StorageServiceProperties><DeleteRetentionPolicy>{policy}</DeleteRetentionPolicy>\
         </StorageServiceProperties>"
    );
    let path = "?restype=service&comp=properties";
    let answer = bench.ask("PUT", &format!("/{path}"), &[], body.as_bytes()).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test]
async fn deleted_content_is_kept_for_its_time_and_then_goes() {
    for length in [100, 50_000] {
        let bench = keeping(2).await;
        let two = if length > 16 * 1024 { (2, 0) } else { (0, 2) };
        bench.put("/box/x", &bytes(length)).await;
        bench.put("/box/x", &bytes(length + 1)).await;
        let deleted = bench.ask("DELETE", "/box/x", &[], b"").await;
        assert_eq!(deleted.header("x-ms-delete-type-permanent"), "false");
        assert_eq!(contents(&bench).await, two);
        bench.clock.advance_seconds(2 * DAY_SECONDS - 1);
        assert_eq!(contents(&bench).await, two);
        bench.clock.advance_seconds(2);
        assert_eq!(contents(&bench).await, (0, 0));
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
    assert_eq!(contents(&bench).await, (1, 0));
    bench.clock.advance_seconds(DAY_SECONDS + 1);
    assert_eq!(contents(&bench).await, (0, 0));
    bench.clock.advance_seconds(DAY_SECONDS + 1);
    assert_eq!(contents(&bench).await, (0, 0));
}

/// More of what a state refers to than one commit takes.
const LARGE: usize = 7;

#[tokio::test]
async fn large_states_are_deleted_and_come_back() {
    let bench = keeping(1).await;
    put_large(&bench, "/box/x").await;
    for _ in 0..LARGE {
        let taken = bench.ask("PUT", "/box/x?comp=snapshot", &[], b"").await;
        assert_eq!(taken.status, 201, "{}", taken.text());
    }
    let all = [("x-ms-delete-snapshots", "include")];
    let deleted = bench.ask("DELETE", "/box/x", &all, b"").await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    let blob = bench.ask("HEAD", "/box/x", &[], b"").await;
    assert_eq!(blob.header("content-length"), LARGE_BLOCKS.to_string());
    let list = "/box?restype=container&comp=list&include=snapshots";
    let text = bench.ask("GET", list, &[], b"").await.text();
    assert_eq!(text.matches("<Snapshot>").count(), LARGE);
}

#[tokio::test]
async fn what_expired_goes_in_one_round() {
    let bench = keeping(1).await;
    for _ in 0..=2 * blobs::limits::SWEEP_STEP_ENTRIES_MAX {
        bench.put("/box/x", b"1").await;
    }
    bench.clock.advance_seconds(DAY_SECONDS + 1);
    let outcome = bench.blobs.sweep_once().await.unwrap();
    let expected = 2 * blobs::limits::SWEEP_STEP_ENTRIES_MAX as u64;
    assert_eq!(outcome.purged_records, expected);
    assert_eq!(contents(&bench).await, (0, 1));
}

#[tokio::test]
async fn what_comes_back_beside_a_blob_writes_it_anew() {
    let bench = keeping(1).await;
    bench.put("/box/x", b"1").await;
    bench.put("/box/x", b"2").await;
    let before = records(&bench, BLOB).await;
    let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    let after = records(&bench, BLOB).await;
    assert_eq!(before[0].versioned.value, after[0].versioned.value);
    assert!(
        before[0].versioned.version < after[0].versioned.version,
        "a deletion that began before notices"
    );
}

#[tokio::test]
async fn a_deletion_that_overtakes_leaves_no_snapshot_without_a_blob() {
    let bench = keeping(1).await;
    bench.put("/box/x", &bytes(20_000)).await;
    bench.put("/box/x", &bytes(20_001)).await;
    let mut deletion = ledger::Transaction::new();
    deletion.delete(records(&bench, BLOB).await[0].key.clone());
    *bench.overtaking.first.lock().unwrap() = Some(deletion);
    let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.body, bytes(20_000));
    let list = "/box?restype=container&comp=list&include=snapshots";
    assert!(
        !bench
            .ask("GET", list, &[], b"")
            .await
            .text()
            .contains("<Snapshot>")
    );
}

#[tokio::test]
async fn an_overwritten_state_without_a_blob_comes_back_as_the_blob() {
    let bench = keeping(1).await;
    for text in ["1", "2", "3"] {
        bench.put("/box/x", text.as_bytes()).await;
    }
    retain(&bench, "<Enabled>false</Enabled>").await;
    assert_eq!(bench.ask("DELETE", "/box/x", &[], b"").await.status, 202);
    let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.text(), "2");
    let list = "/box?restype=container&comp=list&include=snapshots";
    let text = bench.ask("GET", list, &[], b"").await.text();
    assert_eq!(text.matches("<Snapshot>").count(), 1);
    assert_eq!(contents(&bench).await, (0, 2));
}
