//! Versions of accounts that get versioning late or lose it again, and of page blobs, whose pages they share.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::versions::{ALL, at, content, listed, put, refused, retain, states, versioning, with};
use bench::{contents, create_pages, put_pages, take_snapshot, with_container};

#[tokio::test]
async fn versioning_is_turned_on_over_what_is_there_and_off_again() {
    let off = with_container().await;
    off.put("/box/x", b"1").await;
    off.clock.advance_seconds(10);
    let on = off.restarted(true);
    let plain = on.ask("HEAD", "/box/x", &[], b"").await;
    assert_eq!(
        (
            plain.header("x-ms-version-id"),
            plain.header("x-ms-is-current-version")
        ),
        ("", "")
    );
    assert_eq!(states(&on, ALL).await, ["blob"]);
    let second = put(&on, b"2").await;
    let lines = listed(&on, ALL).await;
    let first = lines[0].2.clone();
    assert_eq!(
        first, "2023-11-14T22:13:20.0000000Z",
        "the time at which it was made"
    );
    assert_eq!((lines[0].1.as_str(), lines[1].1.as_str()), ("version", "current"));
    assert_eq!(content(&on, &first).await, b"1");
    let off = on.restarted(false);
    assert_eq!(content(&off, &second).await, b"2");
    // In place: the version stays what it is.
    let kind = [("x-ms-blob-content-type", "a/b")];
    assert_eq!(
        off.ask("PUT", "/box/x?comp=properties", &kind, b"").await.status,
        200
    );
    let current = off.ask("HEAD", "/box/x", &[], b"").await;
    assert_eq!(current.header("x-ms-version-id"), second);
    retain(&off, 2, false).await;
    assert_eq!(put(&off, b"3").await, "");
    assert_eq!(
        states(&off, ALL).await,
        ["version", "version", "blob"],
        "and nothing is kept twice"
    );
    assert_eq!(put(&off, b"4").await, "");
    assert_eq!(
        states(&off, ALL).await,
        ["version", "version", "deleted snapshot", "blob"]
    );
    assert_eq!(content(&off, &second).await, b"2");
    assert_eq!(
        off.ask("DELETE", &at("/box/x", &second), &[], b"").await.status,
        202
    );
    let on = off.restarted(true);
    let last = put(&on, b"5").await;
    assert!(last > second);
    assert_eq!(
        states(&on, "versions,snapshots").await,
        ["version", "version", "current"]
    );
    // A current version that is deleted while versioning is off is one that stays.
    let off = on.restarted(false);
    off.ask("DELETE", "/box/x", &[], b"").await;
    assert_eq!(content(&off, &last).await, b"5");
    contents(&off).await;
}

#[tokio::test]
async fn what_was_deleted_before_versioning_comes_back_as_the_blob() {
    let off = with_container().await;
    retain(&off, 2, false).await;
    off.put("/box/x", b"1").await;
    off.put("/box/x", b"2").await;
    off.ask("DELETE", "/box/x", &[], b"").await;
    let on = off.restarted(true);
    let back = on.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(on.ask("GET", "/box/x", &[], b"").await.body, &b"2"[..]);
    assert_eq!(states(&on, ALL).await, ["snapshot", "blob"]);
    contents(&on).await;
}

#[tokio::test]
async fn what_was_deleted_before_versions_does_not_come_back_over_them() {
    let off = with_container().await;
    retain(&off, 2, false).await;
    off.put("/box/x", b"old").await;
    off.ask("DELETE", "/box/x", &[], b"").await;
    let on = off.restarted(true);
    on.clock.advance_seconds(1);
    let new = put(&on, b"new").await;
    on.ask("DELETE", "/box/x", &[], b"").await;
    let back = on.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(on.ask("GET", "/box/x", &[], b"").await.status, 404);
    assert_eq!(states(&on, ALL).await, ["snapshot", "version"]);
    assert_eq!(content(&on, &new).await, b"new");
    contents(&on).await;
}

#[tokio::test]
async fn staged_blocks_are_the_blobs_alone() {
    let bench = versioning().await;
    let first = put(&bench, b"1").await;
    put(&bench, b"2").await;
    let staged = bench
        .ask("PUT", "/box/x?comp=block&blockid=QUFB", &[], b"3")
        .await;
    assert_eq!(staged.status, 201, "{}", staged.text());
    let all = "&blocklisttype=all";
    let list = |path: String| {
        let bench = &bench;
        async move { bench.ask("GET", &format!("{path}{all}"), &[], b"").await }
    };
    assert!(
        list("/box/x?comp=blocklist".to_owned())
            .await
            .text()
            .contains("QUFB")
    );
    let of_version = list(with("/box/x", "blocklist", &first)).await;
    assert_eq!(of_version.status, 200);
    assert!(!of_version.text().contains("QUFB"), "{}", of_version.text());
    let gone = list(with("/box/x", "blocklist", "2001-01-01T00:00:00.0000000Z")).await;
    assert_eq!(refused(&gone), (404, "BlobNotFound"));
}

#[tokio::test]
async fn a_blob_from_before_versioning_with_newer_snapshots() {
    let off = with_container().await;
    off.put("/box/x", b"1").await;
    // The clock stands: the snapshot has the very time at which the blob was made.
    let snapshot = take_snapshot(&off, "/box/x").await;
    assert_eq!(snapshot, "2023-11-14T22:13:20.0000000Z");
    let on = off.restarted(true);
    let second = put(&on, b"2").await;
    let lines = listed(&on, ALL).await;
    let times: Vec<_> = lines.iter().map(|line| line.2.as_str()).collect();
    assert!(
        times[0] == snapshot && times[0] < times[1] && times[1] < second.as_str(),
        "{times:?}"
    );
    assert_eq!(content(&on, times[1]).await, b"1");
    contents(&on).await;
}

#[tokio::test]
async fn page_blobs_share_their_pages_with_their_versions() {
    let bench = versioning().await;
    create_pages(&bench, "/box/x", 1024 * 1024).await;
    let (one, two) = (vec![1_u8; 512], vec![2_u8; 40 * 1024]);
    put_pages(&bench, "/box/x", 0, &one).await;
    put_pages(&bench, "/box/x", 4096, &two).await;
    let first = bench
        .ask("HEAD", "/box/x", &[], b"")
        .await
        .header("x-ms-version-id")
        .to_owned();
    let set = bench
        .ask("PUT", "/box/x?comp=metadata", &[("x-ms-meta-a", "1")], b"")
        .await;
    assert_eq!(set.status, 200, "{}", set.text());
    // What is written now isn't the first version's.
    put_pages(&bench, "/box/x", 44 * 1024, &[6; 512]).await;
    let snapshot = take_snapshot(&bench, "/box/x").await;
    put_pages(&bench, "/box/x", 0, &[3; 512]).await;
    put_pages(&bench, "/box/x", 4096, &vec![4; 40 * 1024]).await;
    contents(&bench).await;
    let read = |path: String| {
        let bench = &bench;
        async move {
            let got = bench.ask("GET", &path, &[], b"").await;
            assert_eq!(got.status, 200, "{path} {}", got.text());
            (got.body[0], got.body[512], got.body[4096], got.body[44 * 1024])
        }
    };
    let versions: Vec<_> = listed(&bench, "versions")
        .await
        .into_iter()
        .map(|line| line.2)
        .collect();
    assert_eq!((versions.len(), &versions[0]), (3, &first));
    assert_eq!(read(at("/box/x", &first)).await, (1, 0, 2, 0));
    assert_eq!(read(at("/box/x", &versions[1])).await, (1, 0, 2, 6));
    assert_eq!(read(format!("/box/x?snapshot={snapshot}")).await, (1, 0, 2, 6));
    assert_eq!(read("/box/x".to_owned()).await, (3, 0, 4, 6));
    let ranges = bench
        .ask("GET", &with("/box/x", "pagelist", &first), &[], b"")
        .await;
    assert!(
        ranges.text().contains("<Start>4096</Start><End>45055</End>"),
        "{}",
        ranges.text()
    );
    // Promoted, it has pages of its own; the versions stay.
    let source = format!("http://127.0.0.1:10000/dev{}", at("/box/x", &first));
    let promoted = bench
        .ask("PUT", "/box/x", &[("x-ms-copy-source", &source)], b"")
        .await;
    assert_eq!(promoted.status, 202, "{}", promoted.text());
    put_pages(&bench, "/box/x", 512, &[5; 512]).await;
    assert_eq!(read("/box/x".to_owned()).await, (1, 5, 2, 0));
    assert_eq!(read(at("/box/x", &versions[2])).await, (3, 0, 4, 6));
    let all = [("x-ms-delete-snapshots", "include")];
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    contents(&bench).await;
    assert_eq!(read(at("/box/x", &first)).await, (1, 0, 2, 0));
    for (_, _, version) in listed(&bench, "versions").await {
        assert_eq!(
            bench
                .ask("DELETE", &at("/box/x", &version), &[], b"")
                .await
                .status,
            202
        );
        contents(&bench).await;
    }
    for kind in [12, 13, 14] {
        assert_eq!(bench::records(&bench, kind).await, [], "segments, pieces, owners");
    }
    assert_eq!(contents(&bench).await, (0, 0));
}

#[tokio::test]
async fn an_older_version_is_not_compared_with_a_newer_snapshot() {
    let bench = versioning().await;
    create_pages(&bench, "/box/x", 4096).await;
    let first = bench
        .ask("HEAD", "/box/x", &[], b"")
        .await
        .header("x-ms-version-id")
        .to_owned();
    bench.ask("PUT", "/box/x?comp=metadata", &[], b"").await;
    put_pages(&bench, "/box/x", 0, &[1; 512]).await;
    let snapshot = take_snapshot(&bench, "/box/x").await;
    let path = format!("{}&prevsnapshot={snapshot}", with("/box/x", "pagelist", &first));
    let answer = bench.ask("GET", &path, &[], b"").await;
    assert_eq!(refused(&answer), (400, "PreviousSnapshotCannotBeNewer"));
}
