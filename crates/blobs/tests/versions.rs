//! Versions on memory: which operations make them, what they keep, and what goes with them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{
    Answer, Bench, bytes, contents, create_pages, listed, put_pages, retain, take_snapshot, versioning,
    with_container,
};

const DAY_SECONDS: i64 = 24 * 3_600;
const ALL: &str = "versions,snapshots,deleted";
const LATER: &str = "2030-01-01T00:00:00Z";

fn at(path: &str, version: &str) -> String {
    format!("{path}?versionid={}", version.replace(':', "%3A"))
}

fn with(path: &str, comp: &str, version: &str) -> String {
    format!("{path}?comp={comp}&versionid={}", version.replace(':', "%3A"))
}

async fn put(bench: &Bench, body: &[u8]) -> String {
    let put = bench.put("/box/x", body).await;
    assert_eq!(put.status, 201, "{}", put.text());
    put.header("x-ms-version-id").to_owned()
}

/// The states of a listing without their times.
async fn states(bench: &Bench, include: &str) -> Vec<String> {
    let lines = listed(bench, include).await;
    lines.into_iter().map(|(_, state, _)| state).collect()
}

fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.code())
}

async fn content(bench: &Bench, version: &str) -> Vec<u8> {
    let got = bench.ask("GET", &at("/box/x", version), &[], b"").await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(got.header("x-ms-version-id"), version);
    got.body.to_vec()
}

#[tokio::test]
async fn which_operations_make_versions() {
    let block = "MDAx";
    let list = format!("<BlockList><Latest>{block}</Latest></BlockList>");
    let source = "http://127.0.0.1:10000/dev/box/source";
    let tags = "<Tags><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tags>";
    let append = ("x-ms-blob-type", "AppendBlob");
    let page = ("x-ms-blob-type", "PageBlob");
    let page_length = ("x-ms-blob-content-length", "1024");
    let page_update = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511")];
    let copied = ("x-ms-copy-source", source);
    let acquire = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")];
    let pages = bytes(512);
    // Method and rest of the address, headers, body; whether a version is made of a block, append, page blob.
    let whole = |make: bool| [make, make, make];
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], [bool; 3]);
    let block_blob = [("x-ms-blob-type", "BlockBlob")];
    let from_url = [("x-ms-blob-type", "BlockBlob"), copied];
    let append_blob = [append];
    let page_blob = [page, page_length];
    let (copy, metadata) = ([copied], [("x-ms-meta-a", "1")]);
    let (kind, tier) = (
        [("x-ms-blob-content-type", "a/b")],
        [("x-ms-access-tier", "Cool")],
    );
    let only = |block: bool, append: bool, page: bool| [block, append, page];
    let table: [Row<'_>; 15] = [
        ("", &block_blob, b"new", only(true, false, false)),
        ("", &from_url, b"", only(true, false, false)),
        ("", &append_blob, b"", only(false, true, false)),
        ("", &page_blob, b"", only(false, false, true)),
        ("", &copy, b"", only(true, false, false)),
        ("?comp=block&blockid=MDAx", &[], b"1", whole(false)),
        ("?comp=blocklist", &[], list.as_bytes(), only(true, false, false)),
        ("?comp=appendblock", &[], b"1", whole(false)),
        ("?comp=page", &page_update, &pages, whole(false)),
        ("?comp=metadata", &metadata, b"", whole(true)),
        ("?comp=snapshot", &[], b"", whole(true)),
        ("?comp=properties", &kind, b"", whole(false)),
        ("?comp=tags", &[], tags.as_bytes(), whole(false)),
        ("?comp=tier", &tier, b"", whole(false)),
        ("?comp=lease", &acquire, b"", whole(false)),
    ];
    for (kind, first) in [(0, &block_blob[..]), (1, &append_blob[..]), (2, &page_blob[..])] {
        for on in [true, false] {
            for (rest, headers, body, makes) in &table {
                let bench = match on {
                    true => versioning().await,
                    false => with_container().await,
                };
                bench.put("/box/source", b"source").await;
                if *rest == "?comp=blocklist" && kind == 0 {
                    let staged = format!("/box/x?comp=block&blockid={block}");
                    bench.put("/box/x", b"").await;
                    assert_eq!(bench.ask("PUT", &staged, &[], b"1").await.status, 201);
                } else {
                    let made = bench.ask("PUT", "/box/x", first, b"").await;
                    assert_eq!(made.status, 201, "{}", made.text());
                    assert_eq!(made.header("x-ms-version-id").is_empty(), !on);
                }
                let before = bench.ask("HEAD", "/box/x", &[], b"").await;
                let before = before.header("x-ms-version-id").to_owned();
                let answer = bench.ask("PUT", &format!("/box/x{rest}"), headers, body).await;
                let place = format!("{kind} {rest} {headers:?} {on}: {}", answer.text());
                let after = bench.ask("HEAD", "/box/x", &[], b"").await;
                assert_eq!(after.header("x-ms-is-current-version") == "true", on, "{place}");
                let after = after.header("x-ms-version-id").to_owned();
                let makes = makes[kind] && on;
                assert_eq!(after > before, makes, "{place}");
                assert_eq!(
                    answer.header("x-ms-version-id"),
                    if makes { after.as_str() } else { "" },
                    "{place}"
                );
                let versions = states(&bench, "versions").await;
                let expected = 1 + usize::from(makes) + 1;
                assert_eq!(versions.len(), expected, "{place} {versions:?}");
                contents(&bench).await;
            }
        }
    }
}

#[tokio::test]
async fn a_version_keeps_what_was() {
    for length in [10, 100_000] {
        let bench = versioning().await;
        let (old, new) = (bytes(length), bytes(length + 1));
        let first = put(&bench, &old).await;
        let second = put(&bench, &new).await;
        assert!(first < second, "ids rise while the clock stands still");
        assert!(first.len() == 28 && first.ends_with('Z'), "{first}");
        let metadata = bench
            .ask("PUT", "/box/x?comp=metadata", &[("x-ms-meta-a", "1")], b"")
            .await;
        let third = metadata.header("x-ms-version-id").to_owned();
        assert_eq!(content(&bench, &first).await, old);
        assert_eq!(content(&bench, &second).await, new);
        assert_eq!(content(&bench, &third).await, new);
        let of_first = bench.ask("HEAD", &at("/box/x", &first), &[], b"").await;
        let of_third = bench.ask("HEAD", &at("/box/x", &third), &[], b"").await;
        assert_eq!(
            (
                of_first.header("x-ms-is-current-version"),
                of_first.header("x-ms-meta-a")
            ),
            ("", "")
        );
        assert_eq!(
            (
                of_third.header("x-ms-is-current-version"),
                of_third.header("x-ms-meta-a")
            ),
            ("true", "1")
        );
        let range = [("x-ms-range", "bytes=2-4")];
        let part = bench.ask("GET", &at("/box/x", &first), &range, b"").await;
        assert_eq!((part.status.as_u16(), &part.body[..]), (206, &old[2..5]));
        let condition = [("if-none-match", of_first.header("etag"))];
        assert_eq!(
            bench
                .ask("GET", &at("/box/x", &first), &condition, b"")
                .await
                .status,
            304
        );
        assert_eq!(bench.ask("GET", "/box/x", &condition, b"").await.status, 200);
        // Stored content is shared, small content copied.
        let stored = if length > 16 * 1024 { (2, 0) } else { (0, 3) };
        assert_eq!(contents(&bench).await, stored);
        for (version, left) in [(&first, (1, 2)), (&second, (1, 1))] {
            let gone = bench.ask("DELETE", &at("/box/x", version), &[], b"").await;
            assert_eq!(
                (gone.status.as_u16(), gone.header("x-ms-delete-type-permanent")),
                (202, "true")
            );
            let left = if length > 16 * 1024 {
                (left.0, 0)
            } else {
                (0, left.1)
            };
            assert_eq!(contents(&bench).await, left);
        }
        assert_eq!(content(&bench, &third).await, new);
    }
}

#[tokio::test]
async fn what_an_address_with_a_version_is_for() {
    let bench = versioning().await;
    let (first, second) = (put(&bench, b"1").await, put(&bench, b"2").await);
    let snapshot = take_snapshot(&bench, "/box/x").await;
    let never = "2020-01-01T00:00:00.0000000Z";
    let both = format!("{}&snapshot={snapshot}", at("/box/x", &first));
    let all = [("x-ms-delete-snapshots", "include")];
    let lease = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")];
    let invalid = (400, "InvalidQueryParameterValue");
    let table = [
        ("GET", at("/box/x", never), &[][..], (404, "BlobNotFound")),
        ("GET", at("/box/x", "yesterday"), &[], invalid),
        ("GET", at("/box/x", "2020-01-01T00:00:00Z"), &[], invalid),
        ("GET", both, &[], (400, "MutuallyExclusiveQueryParameters")),
        (
            "GET",
            format!("/box/x?snapshot={first}"),
            &[],
            (404, "BlobNotFound"),
        ),
        ("GET", at("/box/x", &snapshot), &[], (404, "BlobNotFound")),
        ("DELETE", at("/box/x", &first), &all, invalid),
        ("DELETE", at("/box/x", never), &[], (404, "BlobNotFound")),
        ("PUT", with("/box/x", "metadata", &first), &[], invalid),
        ("PUT", with("/box/x", "properties", &first), &[], invalid),
        ("PUT", with("/box/x", "snapshot", &first), &[], invalid),
        ("PUT", with("/box/x", "lease", &first), &lease, invalid),
        ("PUT", with("/box/x", "undelete", &first), &[], invalid),
        (
            "PUT",
            at("/box/x", &first),
            &[("x-ms-blob-type", "BlockBlob")],
            invalid,
        ),
        (
            "GET",
            at("/box/x", &second),
            &[("x-ms-lease-id", "00000000-0000-0000-0000-000000000001")],
            (412, "LeaseNotPresentWithBlobOperation"),
        ),
    ];
    for (method, path, headers, expected) in table {
        let answer = bench.ask(method, &path, headers, b"").await;
        assert_eq!(refused(&answer), expected, "{method} {path}");
    }
    let now = bench.ask("HEAD", "/box/x", &[], b"").await;
    let current = now.header("x-ms-version-id");
    let root = bench.ask("DELETE", &at("/box/x", current), &[], b"").await;
    assert_eq!(refused(&root), (403, "OperationNotAllowedOnRootBlob"));
    assert_eq!(
        states(&bench, ALL).await,
        ["version", "version", "snapshot", "current"]
    );
}

#[tokio::test]
async fn a_lease_is_on_the_current_version() {
    let bench = versioning().await;
    let (first, id) = (put(&bench, b"1").await, "00000000-0000-0000-0000-000000000001");
    let acquire = [
        ("x-ms-lease-action", "acquire"),
        ("x-ms-lease-duration", "-1"),
        ("x-ms-proposed-lease-id", id),
    ];
    assert_eq!(
        bench.ask("PUT", "/box/x?comp=lease", &acquire, b"").await.status,
        201
    );
    assert_eq!(refused(&bench.put("/box/x", b"2").await), (412, "LeaseIdMissing"));
    let held = [("x-ms-blob-type", "BlockBlob"), ("x-ms-lease-id", id)];
    assert_eq!(bench.ask("PUT", "/box/x", &held, b"2").await.status, 201);
    let previous = bench.ask("HEAD", &at("/box/x", &first), &[], b"").await;
    assert_eq!(previous.header("x-ms-lease-state"), "available");
    let gone = bench.ask("DELETE", &at("/box/x", &first), &[], b"").await;
    assert_eq!(gone.status, 202, "the lease is not on what was");
    assert_eq!(
        refused(&bench.ask("DELETE", "/box/x", &[], b"").await),
        (412, "LeaseIdMissing")
    );
    let gone = bench.ask("DELETE", "/box/x", &[("x-ms-lease-id", id)], b"").await;
    assert_eq!(gone.status, 202);
    let anew = put(&bench, b"3").await;
    assert_eq!(content(&bench, &anew).await, b"3");
}

#[tokio::test]
async fn a_deleted_blob_leaves_versions_and_comes_back_by_a_copy() {
    let bench = versioning().await;
    let (first, second) = (put(&bench, b"1").await, put(&bench, b"2").await);
    let gone = bench.ask("DELETE", "/box/x", &[], b"").await;
    assert_eq!(
        (gone.status.as_u16(), gone.header("x-ms-delete-type-permanent")),
        (202, "false")
    );
    for (method, path) in [
        ("GET", "/box/x"),
        ("DELETE", "/box/x"),
        ("PUT", "/box/x?comp=snapshot"),
    ] {
        assert_eq!(
            refused(&bench.ask(method, path, &[], b"").await),
            (404, "BlobNotFound")
        );
    }
    assert_eq!(content(&bench, &second).await, b"2");
    assert_eq!(states(&bench, "").await, Vec::<String>::new());
    assert_eq!(states(&bench, ALL).await, ["version", "version"]);
    assert_eq!(states(&bench, "deletedwithversions").await, ["versions only"]);
    assert_eq!(
        states(&bench, "deletedwithversions,versions").await,
        ["version", "version", "versions only"]
    );
    let source = format!("http://127.0.0.1:10000/dev{}", at("/box/x", &first));
    let promoted = bench
        .ask("PUT", "/box/x", &[("x-ms-copy-source", &source)], b"")
        .await;
    assert_eq!(promoted.status, 202, "{}", promoted.text());
    assert_eq!(content(&bench, promoted.header("x-ms-version-id")).await, b"1");
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.body, &b"1"[..]);
    assert_eq!(
        states(&bench, "versions,deletedwithversions").await,
        ["version", "version", "current"]
    );
    assert_eq!(contents(&bench).await, (0, 3));
}

#[tokio::test]
async fn versions_and_snapshots_side_by_side() {
    let bench = versioning().await;
    let first = put(&bench, b"1").await;
    let snapshot = take_snapshot(&bench, "/box/x").await;
    let current = bench.ask("HEAD", "/box/x", &[], b"").await;
    let current = current.header("x-ms-version-id").to_owned();
    assert!(first < snapshot && snapshot < current);
    assert_eq!(
        refused(&bench.ask("DELETE", "/box/x", &[], b"").await),
        (409, "SnapshotsPresent")
    );
    let all = [("x-ms-delete-snapshots", "include")];
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    assert_eq!(
        states(&bench, ALL).await,
        ["version", "version"],
        "the snapshot is gone"
    );
    for version in [&first, &current] {
        assert_eq!(content(&bench, version).await, b"1");
    }
    let only = [("x-ms-delete-snapshots", "only")];
    put(&bench, b"2").await;
    take_snapshot(&bench, "/box/x").await;
    assert_eq!(bench.ask("DELETE", "/box/x", &only, b"").await.status, 202);
    assert_eq!(
        states(&bench, ALL).await,
        ["version", "version", "version", "current"]
    );
    assert_eq!(contents(&bench).await, (0, 4));
}

#[tokio::test]
async fn versions_are_deleted_softly_and_come_back_as_versions() {
    let bench = versioning().await;
    retain(&bench, 2, false).await;
    let (first, second) = (put(&bench, b"1").await, put(&bench, b"2").await);
    let snapshot = take_snapshot(&bench, "/box/x").await;
    let all = [("x-ms-delete-snapshots", "include")];
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    assert_eq!(
        states(&bench, ALL).await,
        ["version", "version", "deleted snapshot", "version"]
    );
    let gone = bench.ask("DELETE", &at("/box/x", &first), &[], b"").await;
    assert_eq!(
        (gone.status.as_u16(), gone.header("x-ms-delete-type-permanent")),
        (202, "false")
    );
    assert_eq!(
        refused(&bench.ask("GET", &at("/box/x", &first), &[], b"").await),
        (404, "BlobNotFound")
    );
    assert_eq!(
        refused(&bench.ask("DELETE", &at("/box/x", &first), &[], b"").await),
        (404, "BlobNotFound")
    );
    assert_eq!(states(&bench, "versions").await, ["version", "version"]);
    assert_eq!(
        states(&bench, "versions,deleted").await,
        ["deleted version", "version", "deleted snapshot", "version"]
    );
    assert_eq!(states(&bench, "deleted").await, ["deleted snapshot"]);
    let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(
        states(&bench, ALL).await,
        ["version", "version", "snapshot", "version"],
        "none is current"
    );
    assert_eq!(content(&bench, &first).await, b"1");
    let kept = bench
        .ask("GET", &format!("/box/x?snapshot={snapshot}"), &[], b"")
        .await;
    assert_eq!(kept.body, &b"2"[..]);
    // There is nothing to do, and something there.
    assert_eq!(
        bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await.status,
        200
    );
    bench.ask("DELETE", &at("/box/x", &second), &[], b"").await;
    bench.clock.advance_seconds(2 * DAY_SECONDS + 1);
    contents(&bench).await;
    assert_eq!(
        states(&bench, ALL).await,
        ["version", "snapshot", "version"],
        "its time is over"
    );
}

#[tokio::test]
async fn what_is_overwritten_is_a_version_and_not_kept_twice() {
    let bench = versioning().await;
    retain(&bench, 2, false).await;
    put(&bench, &bytes(20_000)).await;
    put(&bench, &bytes(20_001)).await;
    bench.ask("DELETE", "/box/x", &[], b"").await;
    assert_eq!(states(&bench, ALL).await, ["version", "version"]);
    bench.clock.advance_seconds(3 * DAY_SECONDS);
    assert_eq!(contents(&bench).await, (2, 0), "versions have no end");
}

#[tokio::test]
async fn deleting_at_once() {
    let bench = versioning().await;
    let (first, _) = (put(&bench, &bytes(20_000)).await, put(&bench, b"2").await);
    let snapshot = take_snapshot(&bench, "/box/x").await;
    let snapshot = format!("/box/x?snapshot={snapshot}");
    let at_once = |path: &str| format!("{path}&deletetype=permanent");
    retain(&bench, 2, false).await;
    for path in [&at("/box/x", &first), &snapshot] {
        assert_eq!(bench.ask("DELETE", path, &[], b"").await.status, 202);
        let closed = bench.ask("DELETE", &at_once(path), &[], b"").await;
        assert_eq!(refused(&closed), (409, "InvalidOperation"));
    }
    retain(&bench, 2, true).await;
    let properties = bench
        .ask("GET", "/?restype=service&comp=properties", &[], b"")
        .await;
    assert!(
        properties
            .text()
            .contains("<AllowPermanentDelete>true</AllowPermanentDelete>")
    );
    let blob = bench.ask("DELETE", "/box/x?deletetype=permanent", &[], b"").await;
    assert_eq!(refused(&blob), (409, "InvalidOperation"));
    let current = bench
        .ask("HEAD", "/box/x", &[], b"")
        .await
        .header("x-ms-version-id")
        .to_owned();
    let root = bench
        .ask("DELETE", &at_once(&at("/box/x", &current)), &[], b"")
        .await;
    assert_eq!(refused(&root), (403, "OperationNotAllowedOnRootBlob"));
    let alive = states(&bench, "versions").await.len();
    let lines = listed(&bench, "versions").await;
    let live = lines.iter().find(|(_, state, _)| state == "version").unwrap();
    let softly_first = bench
        .ask("DELETE", &at_once(&at("/box/x", &live.2)), &[], b"")
        .await;
    assert_eq!(refused(&softly_first), (409, "BlobSnapshotNotSoftDeleted"));
    assert_eq!(states(&bench, "versions").await.len(), alive);
    assert_eq!(contents(&bench).await.0, 1);
    for path in [&at("/box/x", &first), &snapshot] {
        let gone = bench.ask("DELETE", &at_once(path), &[], b"").await;
        assert_eq!(
            (gone.status.as_u16(), gone.header("x-ms-delete-type-permanent")),
            (202, "true")
        );
        assert_eq!(
            refused(&bench.ask("DELETE", &at_once(path), &[], b"").await),
            (404, "BlobNotFound")
        );
    }
    assert_eq!(contents(&bench).await.0, 0);
    assert!(
        states(&bench, ALL)
            .await
            .iter()
            .all(|state| !state.starts_with("deleted"))
    );
}

#[tokio::test]
async fn tags_and_tiers_are_each_versions_own() {
    let bench = versioning().await;
    let first = put(&bench, b"1").await;
    let tags = |value: &str| {
        format!("<Tags><TagSet><Tag><Key>a</Key><Value>{value}</Value></Tag></TagSet></Tags>").into_bytes()
    };
    let set = |path: String, value: &str| {
        let body = tags(value);
        let bench = &bench;
        async move { bench.ask("PUT", &path, &[], &body).await.status.as_u16() }
    };
    assert_eq!(set("/box/x?comp=tags".to_owned(), "old").await, 204);
    let second = put(&bench, b"2").await;
    assert_eq!(set("/box/x?comp=tags".to_owned(), "new").await, 204);
    let get = |path: String| {
        let bench = &bench;
        async move { bench.ask("GET", &path, &[], b"").await.text() }
    };
    assert!(get(with("/box/x", "tags", &first)).await.contains("old"));
    assert_eq!(set(with("/box/x", "tags", &first), "older").await, 204);
    assert_eq!(set(with("/box/x", "tags", &second), "newer").await, 204);
    assert!(get(with("/box/x", "tags", &first)).await.contains("older"));
    assert!(get("/box/x?comp=tags".to_owned()).await.contains("newer"));
    // The search knows the current version alone.
    let find = |value: &str| get(format!("/?comp=blobs&where=%22a%22%3D%27{value}%27"));
    assert!(find("newer").await.contains("<Name>x</Name>"));
    assert!(!find("older").await.contains("<Name>x</Name>"));
    let cool = [("x-ms-access-tier", "Cool")];
    let set = bench
        .ask("PUT", &with("/box/x", "tier", &first), &cool, b"")
        .await;
    assert_eq!(set.status, 200, "{}", set.text());
    let tier = |answer: Answer| answer.header("x-ms-access-tier").to_owned();
    assert_eq!(
        tier(bench.ask("HEAD", &at("/box/x", &first), &[], b"").await),
        "Cool"
    );
    assert_eq!(tier(bench.ask("HEAD", "/box/x", &[], b"").await), "Hot");
    assert_eq!(content(&bench, &first).await, b"1");
    bench.ask("DELETE", "/box/x", &[], b"").await;
    assert!(!find("newer").await.contains("<Name>x</Name>"));
    contents(&bench).await;
}

#[tokio::test]
async fn all_versions_are_of_one_kind() {
    let bench = versioning().await;
    let first = put(&bench, b"1").await;
    let append = [("x-ms-blob-type", "AppendBlob")];
    let other = bench.ask("PUT", "/box/x", &append, b"").await;
    assert_eq!(refused(&other), (409, "InvalidBlobType"));
    bench.ask("DELETE", "/box/x", &[], b"").await;
    let other = bench.ask("PUT", "/box/x", &append, b"").await;
    assert_eq!(
        refused(&other),
        (409, "InvalidBlobType"),
        "its versions are there still"
    );
    assert_eq!(
        bench.ask("DELETE", &at("/box/x", &first), &[], b"").await.status,
        202
    );
    assert_eq!(bench.ask("PUT", "/box/x", &append, b"").await.status, 201);
    assert_eq!(states(&bench, ALL).await, ["current"]);
}

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
    for version in &versions[..2] {
        assert_eq!(read(at("/box/x", version)).await, (1, 0, 2, 0));
    }
    assert_eq!(read(format!("/box/x?snapshot={snapshot}")).await, (1, 0, 2, 0));
    assert_eq!(read("/box/x".to_owned()).await, (3, 0, 4, 0));
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
    assert_eq!(read(at("/box/x", &versions[2])).await, (3, 0, 4, 0));
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

#[tokio::test]
async fn what_signatures_allow() {
    let bench = versioning().await;
    retain(&bench, 2, true).await;
    let (first, second) = (put(&bench, b"1").await, put(&bench, b"2").await);
    put(&bench, b"3").await;
    let signed = |path: String, sas: &str| format!("{path}&{sas}");
    let mismatch = (403, "AuthorizationPermissionMismatch");
    for (permissions, path, expected) in [
        ("d", at("/box/x", &first), mismatch),
        (
            "x",
            format!("/box/x?deletetype=permanent&{}", &at("", &first)[1..]),
            mismatch,
        ),
        ("x", "/box/x?a=b".to_owned(), mismatch),
        ("x", at("/box/x", &first), (202, "")),
        (
            "x",
            format!("/box/x?deletetype=permanent&{}", &at("", &first)[1..]),
            mismatch,
        ),
        (
            "y",
            format!("/box/x?deletetype=permanent&{}", &at("", &first)[1..]),
            (202, ""),
        ),
    ] {
        for sas in [bench::account_sas(permissions, "o", LATER)] {
            let answer = bench.bare("DELETE", &signed(path.clone(), &sas), &[]).await;
            assert_eq!(refused(&answer), expected, "{permissions} {path}");
        }
    }
    let of_version = bench::version_sas("rx", LATER, "x", &second);
    let read = bench
        .bare("GET", &signed(at("/box/x", &second), &of_version), &[])
        .await;
    assert_eq!((read.status.as_u16(), &read.body[..]), (200, &b"2"[..]));
    for path in [
        at("/box/x", &first),
        "/box/x?a=b".to_owned(),
        at("/box/y", &second),
    ] {
        let answer = bench.bare("GET", &signed(path, &of_version), &[]).await;
        assert_eq!(refused(&answer), (403, "AuthenticationFailed"));
    }
    let gone = bench
        .bare("DELETE", &signed(at("/box/x", &second), &of_version), &[])
        .await;
    assert_eq!(gone.status, 202, "{}", gone.text());
}

#[tokio::test]
async fn pages_of_a_listing_may_begin_anywhere() {
    let bench = versioning().await;
    retain(&bench, 2, false).await;
    // a: two versions and the blob; b/1 and b/2: versions alone; c: a snapshot behind its versions, and no
    // blob; d: a blob; e: deleted versions alone.
    for name in ["a", "a", "a", "b/1", "b/1", "b/2", "c", "d", "e"] {
        bench.put(&format!("/box/{name}"), b"1").await;
    }
    take_snapshot(&bench, "/box/c").await;
    let all = [("x-ms-delete-snapshots", "include")];
    for name in ["b/1", "b/2", "c", "e"] {
        let gone = bench.ask("DELETE", &format!("/box/{name}"), &all, b"").await;
        assert_eq!(gone.status, 202, "{}", gone.text());
    }
    let last = listed(&bench, "versions&prefix=e").await.pop().unwrap();
    bench.ask("DELETE", &at("/box/e", &last.2), &[], b"").await;
    assert_eq!(
        bench.ask("PUT", "/box/c?comp=undelete", &[], b"").await.status,
        200
    );
    let table: [(&str, &str, &[&str]); 7] = [
        ("", "", &["a blob", "d blob"]),
        (
            "versions",
            "",
            &[
                "a version",
                "a version",
                "a current",
                "b/1 version",
                "b/1 version",
                "b/2 version",
                "c version",
                "c version",
                "d current",
            ],
        ),
        (
            "deletedwithversions",
            "",
            &[
                "a current",
                "b/1 versions only",
                "b/2 versions only",
                "c versions only",
                "d current",
                "e versions only",
            ],
        ),
        (
            "deletedwithversions,snapshots",
            "",
            &[
                "a current",
                "b/1 versions only",
                "b/2 versions only",
                "c snapshot",
                "c versions only",
                "d current",
                "e versions only",
            ],
        ),
        (
            "deletedwithversions,versions,deleted",
            "",
            &[
                "a version",
                "a version",
                "a current",
                "b/1 version",
                "b/1 version",
                "b/1 versions only",
                "b/2 version",
                "b/2 versions only",
                "c version",
                "c version",
                "c versions only",
                "d current",
                "e deleted version",
                "e versions only",
            ],
        ),
        (
            "deletedwithversions",
            "&delimiter=%2F",
            &[
                "a current",
                "b/",
                "c versions only",
                "d current",
                "e versions only",
            ],
        ),
        (
            "versions,snapshots",
            "&delimiter=%2F",
            &[
                "a version",
                "a version",
                "a current",
                "b/",
                "c version",
                "c snapshot",
                "c version",
                "d current",
            ],
        ),
    ];
    for (include, delimiter, expected) in table {
        for size in [1, 2, 3, 100] {
            let mut marker = String::new();
            let mut seen = Vec::new();
            for _ in 0..40 {
                let query = format!(
                    "/box?restype=container&comp=list&include={include}{delimiter}&maxresults={size}&marker={}",
                    marker.replace('!', "%21")
                );
                let page = bench.ask("GET", &query, &[], b"").await.text();
                let lines: Vec<_> = page
                    .split("<Blobs>")
                    .nth(1)
                    .unwrap()
                    .split("<Name>")
                    .skip(1)
                    .map(|line| {
                        let name = line.split('<').next().unwrap();
                        if line.contains("</BlobPrefix>") && !line.contains("<Properties>") {
                            return name.to_owned();
                        }
                        let (_, state, _) = bench::listed_line(&format!("<Name>{line}"));
                        // Those of an account with versioning are versions, asked for or not.
                        format!("{name} {}", if include.is_empty() { "blob" } else { &state })
                    })
                    .collect();
                assert!(lines.len() <= size, "{page}");
                seen.extend(lines);
                marker = bench::next_marker(&page);
                if marker.is_empty() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{include} {delimiter} by {size}");
        }
    }
}

#[tokio::test]
async fn verification_notices_what_is_wrong_with_versions() {
    let bench = versioning().await;
    put(&bench, &bytes(20_000)).await;
    put(&bench, b"2").await;
    let [previous] = &bench::records(&bench, 5).await[..] else {
        panic!("a previous version")
    };
    let [current] = &bench::records(&bench, bench::BLOB).await[..] else {
        panic!("a blob")
    };
    let text = String::from_utf8(previous.versioned.value.to_vec()).unwrap();
    let version = text
        .split("\"version\":")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap()
        .to_owned();
    let damaged = [
        (
            previous.key.clone(),
            text.replace(",\"previous\":true", ""),
            "another key",
        ),
        (
            previous.key.clone(),
            text.replace(&version, "\"2020-01-01T00:00:00Z\""),
            "another key",
        ),
        (
            current.key.clone(),
            {
                let text = String::from_utf8(current.versioned.value.to_vec()).unwrap();
                let own = text
                    .split("\"version\":")
                    .nth(1)
                    .unwrap()
                    .split([',', '}'])
                    .next()
                    .unwrap()
                    .to_owned();
                text.replace(&own, &version)
            },
            "version's time",
        ),
    ];
    for (key, value, fault) in damaged {
        let mut tx = ledger::Transaction::new();
        let before = bench
            .ledger
            .snapshot()
            .await
            .unwrap()
            .get(&key)
            .await
            .unwrap()
            .unwrap()
            .value;
        assert_ne!(before, value, "{fault}");
        tx.put(key.clone(), value);
        bench.ledger.commit(tx).await.unwrap();
        let snapshot = bench.ledger.snapshot().await.unwrap();
        let mut report = ledger::VerifyReport::default();
        bench.blobs.verify(snapshot.as_ref(), &mut report).await.unwrap();
        assert!(
            report.faults.iter().any(|found| found.contains(fault)),
            "{fault}: {:?}",
            report.faults
        );
        let mut tx = ledger::Transaction::new();
        tx.put(key, before);
        bench.ledger.commit(tx).await.unwrap();
    }
    contents(&bench).await;
}
