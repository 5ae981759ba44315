//! Versions on memory: which operations make them, and what they keep.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::versions::{ALL, at, content, listed, put, refused, states, versioning, with};
use bench::{Answer, Bench, bytes, contents, take_snapshot, with_container};

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
async fn replacing_many_blocks_fits_a_commit() {
    let (bench, blocks) = (versioning().await, 100);
    let list: String = (0..blocks)
        .map(|number| format!("<Latest>{number:04}</Latest>"))
        .collect();
    let list = format!("<BlockList>{list}</BlockList>");
    let mut made = Vec::new();
    for round in 0..3 {
        for number in 0..blocks {
            let path = format!("/box/x?comp=block&blockid={number:04}");
            let body = format!("{round} {number:04} ");
            assert_eq!(bench.ask("PUT", &path, &[], body.as_bytes()).await.status, 201);
        }
        let put = bench
            .ask("PUT", "/box/x?comp=blocklist", &[], list.as_bytes())
            .await;
        assert_eq!(put.status, 201, "{}", put.text());
        // Five for each block: 40,000 blocks, as many as a record takes, fit one commit.
        let writes = bench.overtaking.writes.load(std::sync::atomic::Ordering::Relaxed);
        assert!(writes <= 5 * blocks + 20, "{writes}");
        made.push(put.header("x-ms-version-id").to_owned());
        let kept = blocks * (round + 1);
        assert_eq!(contents(&bench).await, (kept, 0), "each block has its place");
    }
    for (round, version) in made.iter().enumerate() {
        let body = content(&bench, version).await;
        assert!(body.starts_with(format!("{round} 0000 {round} 0001 ").as_bytes()));
    }
    for version in &made[..2] {
        assert_eq!(
            bench.ask("DELETE", &at("/box/x", version), &[], b"").await.status,
            202
        );
    }
    assert_eq!(contents(&bench).await, (blocks, 0));
    bench.put("/box/x", b"small").await;
    assert_eq!(
        bench
            .ask("DELETE", &at("/box/x", &made[2]), &[], b"")
            .await
            .status,
        202
    );
    assert_eq!(contents(&bench).await, (0, 1));
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

/// Writes the blob's record once more, as it is, before the service's next commit.
async fn overtake(bench: &Bench) {
    let record = &bench::records(bench, bench::BLOB).await[0];
    let mut tx = ledger::Transaction::new();
    tx.put(record.key.clone(), record.versioned.value.clone());
    *bench.overtaking.first.lock().unwrap() = Some(tx);
}

#[tokio::test]
async fn who_is_overtaken_makes_one_version() {
    let bench = versioning().await;
    let mut made = vec![put(&bench, b"1").await];
    let metadata = [("x-ms-meta-a", "1")];
    overtake(&bench).await;
    made.push(put(&bench, b"2").await);
    for (comp, headers) in [("metadata", &metadata[..]), ("snapshot", &[])] {
        overtake(&bench).await;
        let answer = bench
            .ask("PUT", &format!("/box/x?comp={comp}"), headers, b"")
            .await;
        assert!(answer.status.is_success(), "{}", answer.text());
        made.push(answer.header("x-ms-version-id").to_owned());
    }
    let source = format!("http://127.0.0.1:10000/dev{}", at("/box/x", &made[0]));
    overtake(&bench).await;
    let answer = bench
        .ask("PUT", "/box/x", &[("x-ms-copy-source", &source)], b"")
        .await;
    made.push(answer.header("x-ms-version-id").to_owned());
    overtake(&bench).await;
    let all = [("x-ms-delete-snapshots", "include")];
    assert_eq!(bench.ask("DELETE", "/box/x", &all, b"").await.status, 202);
    let listed = listed(&bench, "versions").await;
    let versions: Vec<_> = listed.iter().map(|(_, _, version)| version.clone()).collect();
    assert_eq!(versions, made);
    assert!(listed.iter().all(|(_, state, _)| state == "version"));
    contents(&bench).await;
}
