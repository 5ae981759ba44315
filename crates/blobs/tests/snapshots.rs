//! Snapshots on memory: what they keep alive, and what goes with them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{BLOB, Bench, bytes, contents, next_marker, put_large, records, with_container};

async fn take(bench: &Bench, path: &str) -> String {
    let answer = bench.ask("PUT", &format!("{path}?comp=snapshot"), &[], b"").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.header("x-ms-snapshot").to_owned()
}

#[tokio::test]
async fn the_sweep_leaves_what_a_snapshot_refers_to() {
    let bench = with_container().await;
    for length in [100, 100_000] {
        let (old, new) = (bytes(length), bytes(length + 7));
        // Stored content is shared, small content copied.
        let left = |stored: u64, small: usize| match length > 16 * 1024 {
            true => (stored, 0),
            false => (0, small),
        };
        bench.put("/box/x", &old).await;
        let (first, second) = (take(&bench, "/box/x").await, take(&bench, "/box/x").await);
        assert!(first < second, "times rise while the clock stands still");
        let at = |time: &str| format!("/box/x?snapshot={}", time.replace(':', "%3A"));
        assert_eq!(contents(&bench).await, left(1, 3), "a snapshot shares content");
        bench.put("/box/x", &new).await;
        assert_eq!(contents(&bench).await, left(2, 3));
        assert_eq!(bench.ask("GET", &at(&first), &[], b"").await.body, old);
        assert_eq!(bench.ask("DELETE", &at(&first), &[], b"").await.status, 202);
        assert_eq!(
            bench.ask("GET", &at(&first), &[], b"").await.code(),
            "BlobNotFound"
        );
        assert_eq!(
            contents(&bench).await,
            left(2, 2),
            "the second one holds it still"
        );
        let source = format!("http://127.0.0.1:10000/dev/box/x?snapshot={second}");
        let promoted = bench
            .ask("PUT", "/box/x", &[("x-ms-copy-source", &source)], b"")
            .await;
        assert_eq!(promoted.status, 202, "{}", promoted.text());
        assert_eq!(contents(&bench).await, left(1, 2));
        assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.body, old);
        let refused = bench.ask("DELETE", "/box/x", &[], b"").await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (409, "SnapshotsPresent")
        );
        let all = [("x-ms-delete-snapshots", "include")];
        assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
        assert_eq!(
            bench.ask("GET", &at(&second), &[], b"").await.code(),
            "BlobNotFound"
        );
        assert_eq!(contents(&bench).await, (0, 0));
    }
}

#[tokio::test]
async fn more_snapshots_than_one_commit_removes_go_with_their_blob() {
    let bench = with_container().await;
    bench.put("/box/x", &bytes(20_000)).await;
    for _ in 0..=blobs::limits::SNAPSHOTS_STEP_MAX {
        take(&bench, "/box/x").await;
    }
    let only = [("x-ms-delete-snapshots", "only")];
    assert_eq!(bench.ask("DELETE", "/box/x", &only, b"").await.status, 202);
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.status, 200);
    assert_eq!(bench.ask("DELETE", "/box/x", &[], b"").await.status, 202);
    assert_eq!(contents(&bench).await, (0, 0));
}

#[tokio::test]
async fn snapshots_go_with_their_container() {
    let bench = with_container().await;
    bench.put("/box/x", &bytes(20_000)).await;
    take(&bench, "/box/x").await;
    bench.ask("DELETE", "/box?restype=container", &[], b"").await;
    assert_eq!(contents(&bench).await, (0, 0));
}

#[tokio::test]
async fn a_container_of_large_blobs_is_purged() {
    let bench = with_container().await;
    put_large(&bench, "/box/x").await;
    // The same record under more names: together they refer to more than one commit takes.
    let one = records(&bench, BLOB).await[0].clone();
    for at in 0..20 {
        let mut tx = ledger::Transaction::new();
        let key = ledger::KeyWriter::after(&one.key).u8(at).finish();
        tx.put(key, one.versioned.value.clone());
        bench.ledger.commit(tx).await.unwrap();
    }
    let deleted = bench.ask("DELETE", "/box?restype=container", &[], b"").await;
    assert_eq!(deleted.status, 202, "{}", deleted.text());
    assert_eq!(contents(&bench).await, (0, 0));
    assert_eq!(records(&bench, BLOB).await, []);
}

#[tokio::test]
async fn a_container_that_cannot_be_purged_holds_nothing_up() {
    let bench = with_container().await;
    bench.put("/box/x", b"1").await;
    let mut tx = ledger::Transaction::new();
    tx.put(records(&bench, BLOB).await[0].key.clone(), "damaged");
    bench.ledger.commit(tx).await.unwrap();
    for name in ["one", "two", "three"] {
        let path = format!("/{name}?restype=container");
        assert_eq!(bench.ask("PUT", &path, &[], b"").await.status, 201);
        bench.put(&format!("/{name}/x"), &bytes(20_000)).await;
    }
    for name in ["box", "one", "two", "three"] {
        let path = format!("/{name}?restype=container");
        assert_eq!(bench.ask("DELETE", &path, &[], b"").await.status, 202);
    }
    assert_eq!(contents(&bench).await, (0, 1), "but for the damaged one's");
}

#[tokio::test]
async fn listings_merge_snapshots_in_and_are_paged_anywhere() {
    let bench = with_container().await;
    for name in ["a", "a/1", "b/1", "b/2", "c"] {
        bench.put(&format!("/box/{name}"), b"1").await;
        for _ in 0..2 {
            take(&bench, &format!("/box/{name}")).await;
        }
    }
    let lines = |text: &str| -> Vec<String> {
        text.split("<Name>")
            .skip(1)
            .map(|rest| {
                let mark = if rest.contains("<Snapshot>") { "@" } else { "" };
                format!("{}{mark}", rest.split('<').next().unwrap())
            })
            .collect()
    };
    let flat = [
        "a@", "a@", "a", "a/1@", "a/1@", "a/1", "b/1@", "b/1@", "b/1", "b/2@", "b/2@", "b/2", "c@", "c@", "c",
    ];
    let tree = ["a@", "a@", "a", "a/", "b/", "c@", "c@", "c"];
    for (delimiter, expected) in [("", &flat[..]), ("&delimiter=%2F", &tree[..])] {
        for size in [1, 2, 4, 100] {
            let mut marker = String::new();
            let mut seen = Vec::new();
            loop {
                let query = format!(
                    "/box?restype=container&comp=list&include=snapshots{delimiter}&maxresults={size}&marker={}",
                    marker.replace('!', "%21")
                );
                let page = bench.ask("GET", &query, &[], b"").await.text();
                seen.extend(lines(&page));
                marker = next_marker(&page);
                if marker.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{delimiter} by {size}");
        }
    }
}

#[tokio::test]
async fn very_many_snapshots_go_with_their_blob_and_are_kept_where_the_account_keeps_them() {
    let bench = with_container().await;
    let properties =
        b"<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>\
        </DeleteRetentionPolicy></StorageServiceProperties>";
    let set = bench
        .ask("PUT", "/?restype=service&comp=properties", &[], properties)
        .await;
    assert_eq!(set.status, 202);
    bench.put("/box/x", &bytes(20)).await;
    let many = 2 * blobs::limits::SNAPSHOTS_STEP_MAX + 10;
    let mut first = String::new();
    for _ in 0..many {
        let taken = take(&bench, "/box/x").await;
        if first.is_empty() {
            first = taken;
        }
    }
    for (which, kept) in [("only", false), ("include", true)] {
        let headers = [("x-ms-delete-snapshots", which)];
        let gone = bench.ask("DELETE", "/box/x", &headers, b"").await;
        assert_eq!(
            (gone.status.as_u16(), gone.header("x-ms-delete-type-permanent")),
            (202, "false")
        );
        let list = bench
            .ask(
                "GET",
                "/box?restype=container&comp=list&include=snapshots",
                &[],
                b"",
            )
            .await
            .text();
        assert_eq!(list.matches("<Snapshot>").count(), 0);
        assert_eq!(list.contains("<Name>x</Name>"), !kept);
        let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
        assert_eq!(back.status, 200, "{}", back.text());
        let got = bench
            .ask("GET", &format!("/box/x?snapshot={first}"), &[], b"")
            .await;
        assert_eq!(got.status, 200);
    }
}
