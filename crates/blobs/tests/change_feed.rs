//! The change feed over memory: what is in it, when it is readable, and that nothing is missing or there twice
//! however its writer is cut off.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::sync::Arc;

use bench::{ACCOUNT, Bench, bench_over, bench_with_clock};
use blobs::ChangeFeed;
use blobs::limits::{FEED_LOG_ENTRIES_MAX, FEED_STEPS_MAX};
use jiff::Timestamp;
use ledger::fault::{CommitFault, FaultLedger};
use ledger::follower::position_key;
use ledger::{AdjustableClock, Ledger, Transaction};
use serde_json::Value;

const FEED: &str = "/$blobchangefeed";

fn clock() -> Arc<AdjustableClock> {
    Arc::new(AdjustableClock::standing_at(
        "2023-11-14T22:13:20Z".parse::<Timestamp>().unwrap(),
    ))
}

fn with_feed(retention_days: Option<u32>, versioning: bool) -> Bench {
    bench_with_clock(clock(), |settings| {
        settings.accounts[0].versioning = versioning;
        settings.accounts[0].change_feed = Some(ChangeFeed {
            interval_seconds: 0,
            retention_days,
        });
    })
}

/// Another process over the same stores.
fn restarted(bench: &Bench, feeds: bool) -> Bench {
    let stores = (bench.ledger.clone(), bench.content.clone());
    bench_over(stores, bench.clock.clone(), 9, |settings| {
        settings.accounts[0].change_feed = feeds.then(ChangeFeed::default);
    })
}

async fn begun(bench: &Bench) {
    bench.blobs.feed_once().await.unwrap();
    let made = bench.ask("PUT", "/box?restype=container", &[], b"").await;
    assert_eq!(made.status, 201);
}

async fn ok(bench: &Bench, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> bench::Answer {
    let answer = bench.ask(method, path, headers, body).await;
    assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
    answer
}

async fn names(bench: &Bench, prefix: &str) -> Vec<String> {
    let path = format!("{FEED}?restype=container&comp=list&prefix={prefix}");
    let listed = ok(bench, "GET", &path, &[], b"").await.text();
    let names = listed.split("<Name>").skip(1);
    names
        .map(|part| part.split("</Name>").next().unwrap().to_owned())
        .collect()
}

async fn json(bench: &Bench, path: &str) -> Value {
    let answer = ok(bench, "GET", &format!("{FEED}/{path}"), &[], b"").await;
    serde_json::from_slice(&answer.body).unwrap()
}

/// The events of a file.
async fn file(bench: &Bench, path: &str) -> Vec<Value> {
    let answer = ok(bench, "GET", &format!("{FEED}/{path}"), &[], b"").await;
    let reader = apache_avro::Reader::new(answer.body.as_ref()).unwrap();
    reader.map(|record| record.unwrap().try_into().unwrap()).collect()
}

/// All events, segment by segment, as a reader gets them.
async fn events(bench: &Bench) -> Vec<Value> {
    let mut events = Vec::new();
    for manifest in names(bench, "idx/segments/").await {
        for shard in json(bench, &manifest).await["chunkFilePaths"].as_array().unwrap() {
            let prefix = shard.as_str().unwrap().strip_prefix("$blobchangefeed/").unwrap();
            for path in names(bench, prefix).await {
                events.extend(file(bench, &path).await);
            }
        }
    }
    events
}

fn told(events: &[Value]) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let told = |event: &Value| {
        let subject = text(&event["subject"]);
        let blob = subject.rsplit('/').next().unwrap().to_owned();
        (text(&event["eventType"]), text(&event["data"]["api"]), blob)
    };
    events.iter().map(told).collect()
}

#[tokio::test]
async fn each_change_of_a_blob_is_an_event_with_what_it_was_about() {
    let bench = with_feed(None, true);
    begun(&bench).await;
    let typed = [
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-client-request-id", "mine"),
        ("content-type", "text/plain"),
    ];
    let put = ok(&bench, "PUT", "/box/a", &typed, b"one").await;
    ok(
        &bench,
        "PUT",
        "/box/a?comp=metadata",
        &[("x-ms-meta-k", "v")],
        b"",
    )
    .await;
    ok(
        &bench,
        "PUT",
        "/box/a?comp=properties",
        &[("x-ms-blob-cache-control", "max-age=9")],
        b"",
    )
    .await;
    let tags = b"<Tags><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tags>";
    ok(&bench, "PUT", "/box/a?comp=tags", &[], tags).await;
    ok(
        &bench,
        "PUT",
        "/box/a?comp=tier",
        &[("x-ms-access-tier", "Cool")],
        b"",
    )
    .await;
    let snapshot = ok(&bench, "PUT", "/box/a?comp=snapshot", &[], b"").await;
    ok(
        &bench,
        "PUT",
        "/box/a?comp=lease",
        &[("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")],
        b"",
    )
    .await;
    ok(
        &bench,
        "PUT",
        "/box/a?comp=lease",
        &[("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0")],
        b"",
    )
    .await;
    let at = snapshot.header("x-ms-snapshot").to_owned();
    ok(&bench, "DELETE", &format!("/box/a?snapshot={at}"), &[], b"").await;
    ok(&bench, "DELETE", "/box/a", &[], b"").await;
    bench.blobs.feed_once().await.unwrap();
    let events = events(&bench).await;
    let expected = [
        ("BlobCreated", "PutBlob"),
        ("BlobPropertiesUpdated", "SetBlobMetadata"),
        ("BlobPropertiesUpdated", "SetBlobProperties"),
        ("BlobPropertiesUpdated", "SetBlobTags"),
        ("BlobTierChanged", "SetBlobTier"),
        ("BlobSnapshotCreated", "SnapshotBlob"),
        ("BlobDeleted", "DeleteBlob"),
        ("BlobDeleted", "DeleteBlob"),
    ];
    let expected = expected.map(|(event, api)| (event.to_owned(), api.to_owned(), "a".to_owned()));
    assert_eq!(told(&events), expected);
    let data = |number: usize| &events[number]["data"];
    assert_eq!(data(0)["etag"], put.header("etag").trim_matches('"'));
    assert_eq!(
        (&data(0)["contentLength"], &data(0)["contentType"]),
        (&3.into(), &"text/plain".into())
    );
    assert_eq!(data(0)["clientRequestId"], "mine");
    assert_eq!(data(0)["blobVersion"], put.header("x-ms-version-id"));
    assert_eq!(
        data(1)["previousInfo"]["LastVersion"],
        put.header("x-ms-version-id")
    );
    let cache = &data(2)["blobPropertiesUpdated"]["CacheControl"];
    assert_eq!(
        (&cache["previous"], &cache["current"]),
        (&"".into(), &"max-age=9".into())
    );
    assert_eq!(data(3)["blobTagsUpdated"]["current"]["k"], "v");
    assert_eq!(
        (&data(4)["blobTier"], &data(4)["previousInfo"]["PreviousTier"]),
        (&"Cool".into(), &"Hot".into())
    );
    assert_eq!(
        (&data(5)["snapshot"], &data(6)["snapshot"]),
        (&at.as_str().into(), &at.as_str().into())
    );
    assert_eq!(events[0]["eventTime"], "2023-11-14T22:13:20.0000000Z");
    let sequencers: Vec<_> = (0..events.len())
        .map(|number| data(number)["sequencer"].as_str().unwrap())
        .collect();
    assert!(
        sequencers.is_sorted() && sequencers.iter().all(|text| text.len() == 48),
        "{sequencers:?}"
    );
}

#[tokio::test]
async fn a_segment_is_readable_when_its_hour_is_over_and_stays_as_it_is() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    assert_eq!(
        json(&bench, "meta/segments.json").await["lastConsumable"],
        "2023-11-14T22:00:00.000Z"
    );
    let first = "idx/segments/1601/01/01/0000/meta.json";
    let (now, later) = (
        "idx/segments/2023/11/14/2200/meta.json",
        "idx/segments/2023/11/15/0100/meta.json",
    );
    assert_eq!(names(&bench, "idx/").await, [first]);
    bench.put("/box/a", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(json(&bench, now).await["status"], "Publishing");
    bench.put("/box/b", b"2").await;
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(
        json(&bench, "meta/segments.json").await["lastConsumable"],
        "2023-11-14T22:00:00.000Z"
    );
    bench.clock.advance_seconds(3 * 3_600);
    // What comes later ends it, and so does time alone.
    bench.put("/box/c", b"3").await;
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(json(&bench, now).await["status"], "Finalized");
    assert_eq!(
        json(&bench, "meta/segments.json").await["lastConsumable"],
        "2023-11-14T23:00:00.000Z"
    );
    assert_eq!(json(&bench, later).await["status"], "Publishing");
    let finished = file(&bench, "log/00/2023/11/14/2200/00000.avro").await;
    assert_eq!(finished.len(), 2);
    bench.clock.advance_seconds(3_600);
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(json(&bench, later).await["status"], "Finalized");
    assert_eq!(
        json(&bench, "meta/segments.json").await["lastConsumable"],
        "2023-11-15T02:00:00.000Z"
    );
    // A clock that goes back makes no event of a segment that is finished.
    bench.clock.advance_seconds(-3_000);
    bench.put("/box/d", b"4").await;
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(file(&bench, "log/00/2023/11/14/2200/00000.avro").await, finished);
    assert_eq!(file(&bench, "log/00/2023/11/15/0100/00000.avro").await.len(), 1);
    assert_eq!(file(&bench, "log/00/2023/11/15/0200/00000.avro").await.len(), 1);
    assert_eq!(told(&events(&bench).await).len(), 4);
}

#[tokio::test]
async fn an_idle_feed_writes_nothing() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    bench.put("/box/a", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    let head = *bench.ledger.head().borrow();
    for _ in 0..3 {
        bench.blobs.feed_once().await.unwrap();
    }
    assert_eq!(*bench.ledger.head().borrow(), head);
}

/// What a day does to blobs, over three hours.
async fn a_day(bench: &Bench) -> Vec<(String, String, String)> {
    let mut expected = Vec::new();
    for hour in 0..3 {
        for number in 0..5 {
            let path = format!("/box/{hour}-{number}");
            bench.put(&path, b"1").await;
            expected.push((
                "BlobCreated".to_owned(),
                "PutBlob".to_owned(),
                format!("{hour}-{number}"),
            ));
        }
        bench.clock.advance_seconds(3_600);
    }
    expected
}

#[tokio::test]
async fn a_writer_that_is_cut_off_at_any_commit_leaves_no_hole_and_nothing_twice() {
    let faults = [
        CommitFault::BeforeApplied,
        CommitFault::AfterApplied,
        CommitFault::SyncFailed,
        CommitFault::SyncFailedButWritten,
        CommitFault::Conflict,
    ];
    for fault in faults {
        let mut struck = 0;
        for skip in 0..12 {
            let bench = with_feed(None, false);
            begun(&bench).await;
            let expected = a_day(&bench).await;
            let failing = FaultLedger::over(bench.ledger.clone());
            failing.fail_commits(skip, 1, fault.clone());
            let stores: (Arc<dyn Ledger>, _) = (Arc::new(failing.clone()), bench.content.clone());
            let dying = bench_over(stores, bench.clock.clone(), 5, |settings| {
                settings.accounts[0].change_feed = Some(ChangeFeed::default());
            });
            dying.blobs.feed_once().await.unwrap();
            struck += failing.struck().0;
            let next = restarted(&bench, true);
            next.blobs.feed_once().await.unwrap();
            assert_eq!(
                told(&events(&next).await),
                expected,
                "{fault:?} behind {skip} commits"
            );
            let ids: std::collections::BTreeSet<_> = events(&next)
                .await
                .iter()
                .map(|event| event["id"].to_string())
                .collect();
            assert_eq!(ids.len(), expected.len());
        }
        assert!(struck >= 5, "{fault:?} struck {struck} times alone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_write_at_once_write_each_event_once() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    let expected = a_day(&bench).await;
    let rounds: Vec<_> = (0..4)
        .map(|_| {
            let blobs = restarted(&bench, true).blobs;
            tokio::spawn(async move { blobs.feed_once().await })
        })
        .collect();
    for round in rounds {
        round.await.unwrap().unwrap();
    }
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(told(&events(&bench).await), expected);
}

#[tokio::test]
async fn a_node_that_was_overtaken_does_not_take_the_position_back() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    idle(&bench, 5_000).await;
    let position = position_key(&format!("blobs change feed {ACCOUNT}"));
    let head = *bench.ledger.head().borrow();
    let state = bench::records(&bench, 24).await.remove(0);
    let mut other = Transaction::new();
    other.put(state.key, state.versioned.value);
    other.put(position.clone(), head.to_be_bytes().to_vec());
    *bench.overtaking.first.lock().unwrap() = Some(other);
    bench.blobs.feed_once().await.unwrap();
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let stored = snapshot.get(&position).await.unwrap().unwrap();
    assert_eq!(stored.value[..], head.to_be_bytes());
}

/// Commits that are nothing to the feed.
async fn idle(bench: &Bench, commits: usize) {
    for _ in 0..commits {
        let mut tx = Transaction::new();
        tx.put(position_key("another follower"), vec![0; 8]);
        bench.ledger.commit(tx).await.unwrap();
    }
}

#[tokio::test]
async fn clients_read_it_and_change_nothing() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    bench.put("/box/a", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    let manifest = format!("{FEED}/idx/segments/2023/11/14/2200/meta.json");
    for (method, path, headers) in [
        ("DELETE", manifest.as_str(), &[][..]),
        ("PUT", manifest.as_str(), &[("x-ms-blob-type", "BlockBlob")]),
        ("PUT", &format!("{manifest}?comp=metadata"), &[]),
        (
            "PUT",
            &format!("{manifest}?comp=lease"),
            &[("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")],
        ),
        ("DELETE", &format!("{FEED}?restype=container"), &[]),
        ("PUT", &format!("{FEED}?restype=container"), &[]),
        ("PUT", &format!("{FEED}?restype=container&comp=acl"), &[]),
    ] {
        let answer = bench.ask(method, path, headers, b"").await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (403, "InsufficientAccountPermissions"),
            "{method} {path}"
        );
    }
    let listed = |answer: bench::Answer| answer.text().contains("$blobchangefeed");
    assert!(!listed(ok(&bench, "GET", "/?comp=list", &[], b"").await));
    assert!(listed(
        ok(&bench, "GET", "/?comp=list&include=system", &[], b"").await
    ));
    let page = ok(&bench, "GET", "/?comp=list&maxresults=1", &[], b"")
        .await
        .text();
    assert!(
        page.contains("<Name>box</Name>") && page.contains("<NextMarker></NextMarker>"),
        "{page}"
    );
}

#[tokio::test]
async fn segments_go_when_their_time_is_over() {
    let bench = with_feed(Some(2), false);
    begun(&bench).await;
    bench.put("/box/a", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    bench.clock.advance_seconds(24 * 3_600);
    bench.put("/box/b", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    bench.clock.advance_seconds(24 * 3_600);
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(
        told(&events(&bench).await).len(),
        2,
        "the first one's end is less than two days ago"
    );
    bench.clock.advance_seconds(3_600);
    bench.blobs.feed_once().await.unwrap();
    let left = [
        "idx/segments/1601/01/01/0000/meta.json",
        "idx/segments/2023/11/15/2200/meta.json",
        "log/00/2023/11/15/2200/00000.avro",
        "meta/segments.json",
    ];
    assert_eq!(names(&bench, "").await, left);
    assert_eq!(told(&events(&bench).await).len(), 1);
}

#[tokio::test]
async fn turned_off_it_ends_and_turned_on_again_it_begins_with_what_comes_then() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    bench.put("/box/a", b"1").await;
    let position = position_key(&format!("blobs change feed {ACCOUNT}"));
    let off = restarted(&bench, false);
    off.put("/box/b", b"1").await;
    off.blobs.feed_once().await.unwrap();
    let snapshot = bench.ledger.snapshot().await.unwrap();
    assert_eq!(
        snapshot.get(&position).await.unwrap(),
        None,
        "the log isn't kept for it"
    );
    assert_eq!(
        told(&events(&off).await).len(),
        1,
        "what was written before is in it"
    );
    assert_eq!(
        json(&off, "idx/segments/2023/11/14/2200/meta.json").await["status"],
        "Finalized"
    );
    let head = *bench.ledger.head().borrow();
    off.blobs.feed_once().await.unwrap();
    assert_eq!(*bench.ledger.head().borrow(), head);
    let on = restarted(&bench, true);
    on.blobs.feed_once().await.unwrap();
    on.put("/box/c", b"1").await;
    on.blobs.feed_once().await.unwrap();
    let blobs: Vec<_> = told(&events(&on).await)
        .into_iter()
        .map(|(_, _, blob)| blob)
        .collect();
    assert_eq!(blobs, ["a", "c"]);
}

#[tokio::test]
async fn a_feed_reads_past_much_that_is_not_for_it_and_holds_the_log_until_then() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    bench.put("/box/a", b"1").await;
    let head = *bench.ledger.head().borrow();
    assert!(
        bench.ledger.trim_log(head).await.unwrap() < head,
        "the feed hasn't read it yet"
    );
    idle(&bench, 5_000).await;
    bench.put("/box/b", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    let blobs: Vec<_> = told(&events(&bench).await)
        .into_iter()
        .map(|(_, _, blob)| blob)
        .collect();
    assert_eq!(blobs, ["a", "b"]);
}

#[tokio::test]
async fn an_account_without_a_feed_says_as_little_as_before_in_the_log() {
    let bench = bench::with_container().await;
    bench.put("/box/a", b"1").await;
    let page = bench.ledger.log_page(0, 100, 1 << 20).await.unwrap();
    let last = page.entries.last().unwrap();
    let payloads: Vec<_> = last
        .records
        .iter()
        .map(|record| record.payload.escape_ascii().to_string())
        .collect();
    assert_eq!(payloads.len(), 1);
    assert!(!payloads[0].contains("event"), "{payloads:?}");
}

#[tokio::test]
async fn what_comes_back_is_not_said_to_be_deleted() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    let kept = b"<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>\
        </DeleteRetentionPolicy></StorageServiceProperties>";
    ok(&bench, "PUT", "/?restype=service&comp=properties", &[], kept).await;
    bench.put("/box/a", b"1").await;
    ok(&bench, "DELETE", "/box/a", &[], b"").await;
    ok(&bench, "PUT", "/box/a?comp=undelete", &[], b"").await;
    bench.blobs.feed_once().await.unwrap();
    let told: Vec<String> = told(&events(&bench).await)
        .into_iter()
        .map(|(event, api, _)| format!("{event} {api}"))
        .collect();
    let expected = [
        "BlobCreated PutBlob",
        "BlobDeleted DeleteBlob",
        "BlobCreated UndeleteBlob",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_feed_that_is_far_behind_does_not_wait_for_its_interval() {
    let bench = bench_with_clock(clock(), |settings| {
        settings.accounts[0].change_feed = Some(ChangeFeed {
            interval_seconds: 3_600,
            retention_days: None,
        });
    });
    begun(&bench).await;
    bench.clock.advance_seconds(3_600);
    // More than a round takes.
    idle(&bench, FEED_STEPS_MAX * FEED_LOG_ENTRIES_MAX + 10).await;
    bench.put("/box/b", b"1").await;
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(events(&bench).await.len(), 0, "one round is bounded");
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(events(&bench).await.len(), 1);
}

#[tokio::test]
async fn a_feed_does_not_end_where_another_node_was_quicker() {
    let bench = with_feed(None, false);
    begun(&bench).await;
    for name in ["a", "b", "c"] {
        bench.put(&format!("/box/{name}"), b"1").await;
    }
    let off = restarted(&bench, false);
    // Another node has written the feed's record when this one commits its step.
    let state = bench::records(&bench, 24).await.remove(0);
    let mut other = Transaction::new();
    other.put(state.key, state.versioned.value);
    *off.overtaking.first.lock().unwrap() = Some(other);
    off.blobs.feed_once().await.unwrap();
    let position = position_key(&format!("blobs change feed {ACCOUNT}"));
    let kept = async || {
        let snapshot = bench.ledger.snapshot().await.unwrap();
        snapshot.get(&position).await.unwrap().is_some()
    };
    assert!(kept().await, "the feed ended with events in the log");
    off.blobs.feed_once().await.unwrap();
    assert!(!kept().await);
    let told: Vec<_> = told(&events(&bench).await)
        .into_iter()
        .map(|(.., name)| name)
        .collect();
    assert_eq!(told, ["a", "b", "c"]);
}
