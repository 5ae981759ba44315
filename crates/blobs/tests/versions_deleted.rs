//! Versions that are deleted, softly or for good, by whom, and what a listing says of them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::versions::{
    ALL, DAY_SECONDS, LATER, at, content, listed, put, refused, retain, states, versioning,
};
use bench::{bytes, contents, take_snapshot};

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
    let of_version = bench::versions::version_sas("rx", LATER, "x", &second);
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
                        let (_, state, _) = bench::versions::listed_line(&format!("<Name>{line}"));
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

#[tokio::test]
async fn more_versions_than_one_commit_returns_all_come_back() {
    let bench = versioning().await;
    retain(&bench, 2, false).await;
    for _ in 0..blobs::limits::SNAPSHOTS_STEP_MAX + 3 {
        put(&bench, b"1").await;
    }
    assert_eq!(bench.ask("DELETE", "/box/x", &[], b"").await.status, 202);
    let all = listed(&bench, "versions").await;
    for (_, _, version) in &all {
        let gone = bench.ask("DELETE", &at("/box/x", version), &[], b"").await;
        assert_eq!(gone.status, 202, "{}", gone.text());
    }
    assert_eq!(listed(&bench, "versions").await, []);
    let back = bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert_eq!(listed(&bench, "versions").await, all);
    contents(&bench).await;
}
