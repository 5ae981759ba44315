//! Lifecycle rules over memory: what goes and what stays, once a day, whatever is in the way.
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

use bench::{Bench, bench_over, bench_with_clock};
use blobs::rules::lifecycle::Policy;
use blobs::{ChangeFeed, Lifecycle};
use jiff::Timestamp;
use ledger::fault::{CommitFault, FaultLedger};
use ledger::{AdjustableClock, Clock as _, Ledger};

const DAY: i64 = 24 * 3_600;

fn policy(rules: &[(&str, &str)]) -> Policy {
    let rules: Vec<_> = rules
        .iter()
        .enumerate()
        .map(|(number, (actions, filters))| {
            format!(
                r#"{{"name":"r{number}","type":"Lifecycle","definition":{{"actions":{actions},
                "filters":{{"blobTypes":["blockBlob","appendBlob"]{filters}}}}}}}"#
            )
        })
        .collect();
    Policy::parse(&format!(r#"{{"rules":[{}]}}"#, rules.join(","))).unwrap()
}

const DELETE_AFTER_5: &str = r#"{"baseBlob":{"delete":{"daysAfterModificationGreaterThan":5}}}"#;

fn with_rules(rules: &[(&str, &str)], dry_run: bool, versioning: bool) -> Bench {
    let begin = Timestamp::from_second(1_700_000_000).unwrap();
    let policy = policy(rules);
    bench_with_clock(Arc::new(AdjustableClock::standing_at(begin)), |settings| {
        settings.accounts[0].versioning = versioning;
        settings.accounts[0].lifecycle = Some(Lifecycle { policy, dry_run });
        settings.accounts[0].change_feed = Some(ChangeFeed::default());
    })
}

async fn ok(bench: &Bench, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> bench::Answer {
    let answer = bench.ask(method, path, headers, body).await;
    assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
    answer
}

async fn with_blobs(bench: &Bench, container: &str, names: &[&str]) {
    ok(bench, "PUT", &format!("/{container}?restype=container"), &[], b"").await;
    for name in names {
        assert_eq!(bench.put(&format!("/{container}/{name}"), b"x").await.status, 201);
    }
}

async fn names(bench: &Bench, container: &str, include: &str) -> Vec<String> {
    let path = format!("/{container}?restype=container&comp=list&include={include}");
    let listed = ok(bench, "GET", &path, &[], b"").await.text();
    let names = listed.split("<Name>").skip(1);
    names
        .map(|part| part.split("</Name>").next().unwrap().to_owned())
        .collect()
}

async fn tier(bench: &Bench, path: &str) -> String {
    ok(bench, "HEAD", path, &[], b"")
        .await
        .header("x-ms-access-tier")
        .to_owned()
}

fn counter(bench: &Bench, name: &str) -> u64 {
    let counters = bench.blobs.counters();
    counters.iter().find(|(found, _)| *found == name).unwrap().1
}

#[tokio::test]
async fn what_is_old_goes_once_a_day_and_the_rest_stays() {
    let bench = with_rules(
        &[(DELETE_AFTER_5, r#","prefixMatch":["box/logs/","old"]"#)],
        false,
        false,
    );
    with_blobs(&bench, "box", &["logs/a", "logs/b", "other"]).await;
    with_blobs(&bench, "new", &["logs/a"]).await;
    with_blobs(&bench, "older", &["x"]).await;
    bench.blobs.lifecycle_once().await;
    bench.clock.advance_seconds(5 * DAY + 1);
    bench.put("/box/logs/b", b"again").await;
    bench.blobs.lifecycle_once().await;
    assert_eq!(names(&bench, "box", "").await, ["logs/b", "other"]);
    assert_eq!(names(&bench, "new", "").await, ["logs/a"]);
    assert!(names(&bench, "older", "").await.is_empty());
    // The next run is a day later, not before.
    bench.clock.advance_seconds(DAY - 1);
    let head = *bench.ledger.head().borrow();
    bench.blobs.lifecycle_once().await;
    assert_eq!(*bench.ledger.head().borrow(), head);
    assert_eq!(counter(&bench, "blobs_lifecycle_deleted"), 2);
}

#[tokio::test]
async fn leases_snapshots_and_soft_delete_are_respected() {
    let bench = with_rules(&[(DELETE_AFTER_5, "")], false, false);
    let properties =
        b"<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>\
        </DeleteRetentionPolicy></StorageServiceProperties>";
    ok(
        &bench,
        "PUT",
        "/?restype=service&comp=properties",
        &[],
        properties,
    )
    .await;
    with_blobs(&bench, "box", &["leased", "plain", "snapped"]).await;
    let forever = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")];
    ok(&bench, "PUT", "/box/leased?comp=lease", &forever, b"").await;
    ok(&bench, "PUT", "/box/snapped?comp=snapshot", &[], b"").await;
    bench.clock.advance_seconds(6 * DAY);
    bench.blobs.lifecycle_once().await;
    assert_eq!(names(&bench, "box", "").await, ["leased", "snapped"]);
    assert_eq!(
        names(&bench, "box", "deleted").await,
        ["leased", "plain", "snapped"]
    );
    assert_eq!(
        (
            counter(&bench, "blobs_lifecycle_deleted"),
            counter(&bench, "blobs_lifecycle_refused")
        ),
        (1, 2)
    );
    ok(&bench, "PUT", "/box/plain?comp=undelete", &[], b"").await;
    // What was refused is tried again the next day.
    ok(
        &bench,
        "PUT",
        "/box/leased?comp=lease",
        &[("x-ms-lease-action", "break"), ("x-ms-lease-break-period", "0")],
        b"",
    )
    .await;
    bench.clock.advance_seconds(DAY);
    bench.blobs.lifecycle_once().await;
    assert_eq!(names(&bench, "box", "").await, ["snapped"]);
}

#[tokio::test]
async fn tiers_follow_age_and_are_told_to_the_feed() {
    let actions = r#"{"baseBlob":{"tierToCool":{"daysAfterModificationGreaterThan":1},
        "tierToArchive":{"daysAfterModificationGreaterThan":3}}}"#;
    let bench = with_rules(&[(actions, "")], false, false);
    with_blobs(&bench, "box", &["a"]).await;
    ok(
        &bench,
        "PUT",
        "/box/appended",
        &[("x-ms-blob-type", "AppendBlob")],
        b"",
    )
    .await;
    bench.blobs.feed_once().await.unwrap();
    let etag = ok(&bench, "HEAD", "/box/a", &[], b"")
        .await
        .header("etag")
        .to_owned();
    for (days, expected) in [
        (1, "Hot"),
        (1, "Cool"),
        (1, "Cool"),
        (1, "Archive"),
        (1, "Archive"),
    ] {
        bench.clock.advance_seconds(days * DAY);
        bench.blobs.lifecycle_once().await;
        assert_eq!(tier(&bench, "/box/a").await, expected);
    }
    assert_eq!(ok(&bench, "HEAD", "/box/a", &[], b"").await.header("etag"), etag);
    assert_eq!(
        (
            counter(&bench, "blobs_lifecycle_tiered"),
            counter(&bench, "blobs_lifecycle_refused")
        ),
        (2, 0)
    );
    bench.blobs.feed_once().await.unwrap();
    assert_eq!(counter(&bench, "blobs_change_feed_events"), 2);
}

#[tokio::test]
async fn snapshots_and_versions_go_by_their_own_age() {
    let actions = r#"{"snapshot":{"delete":{"daysAfterCreationGreaterThan":2}},
        "version":{"delete":{"daysAfterCreationGreaterThan":4}}}"#;
    let bench = with_rules(&[(actions, "")], false, true);
    with_blobs(&bench, "box", &["a"]).await;
    ok(&bench, "PUT", "/box/a?comp=snapshot", &[], b"").await;
    bench.put("/box/a", b"second").await;
    assert_eq!(names(&bench, "box", "snapshots,versions").await.len(), 4);
    bench.clock.advance_seconds(3 * DAY);
    bench.put("/box/a", b"third").await;
    bench.blobs.lifecycle_once().await;
    assert_eq!(
        names(&bench, "box", "snapshots").await,
        ["a"],
        "the snapshot went"
    );
    assert_eq!(names(&bench, "box", "versions").await.len(), 4);
    bench.clock.advance_seconds(2 * DAY);
    bench.blobs.lifecycle_once().await;
    assert_eq!(
        names(&bench, "box", "versions").await,
        ["a"],
        "what is the blob stays"
    );
    assert_eq!(ok(&bench, "GET", "/box/a", &[], b"").await.body, b"third"[..]);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_counts() {
    let bench = with_rules(&[(DELETE_AFTER_5, "")], true, false);
    with_blobs(&bench, "box", &["a", "b"]).await;
    bench.clock.advance_seconds(6 * DAY);
    bench.blobs.lifecycle_once().await;
    assert_eq!(names(&bench, "box", "").await, ["a", "b"]);
    assert_eq!(
        (
            counter(&bench, "blobs_lifecycle_seen"),
            counter(&bench, "blobs_lifecycle_deleted")
        ),
        (2, 2)
    );
}

#[tokio::test]
async fn many_blobs_take_many_rounds_and_none_is_forgotten() {
    let bench = with_rules(
        &[(DELETE_AFTER_5, r#","prefixMatch":["box/a","box/c","boxes"]"#)],
        false,
        false,
    );
    let all: Vec<String> = (0..1_300)
        .flat_map(|number| {
            [
                format!("a{number:04}"),
                format!("b{number:04}"),
                format!("c{number:04}"),
            ]
        })
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    with_blobs(&bench, "box", &all).await;
    with_blobs(&bench, "boxes", &["x"]).await;
    bench.clock.advance_seconds(6 * DAY);
    let mut rounds = 0;
    while counter(&bench, "blobs_lifecycle_deleted") < 2_601 {
        bench.blobs.lifecycle_once().await;
        rounds += 1;
        assert!(rounds < 20, "{}", counter(&bench, "blobs_lifecycle_deleted"));
    }
    assert!(rounds > 1, "a round is bounded");
    let left = names(&bench, "box", "").await;
    assert!(left.len() == 1_300 && left.iter().all(|name| name.starts_with('b')));
    assert!(names(&bench, "boxes", "").await.is_empty());
}

#[tokio::test]
async fn a_run_that_is_cut_off_at_any_commit_goes_on() {
    for fault in [
        CommitFault::BeforeApplied,
        CommitFault::AfterApplied,
        CommitFault::SyncFailedButWritten,
    ] {
        let mut struck = 0;
        for skip in 0..10 {
            let bench = with_rules(&[(DELETE_AFTER_5, "")], false, false);
            with_blobs(&bench, "one", &["a", "b", "c"]).await;
            with_blobs(&bench, "two", &["a", "b", "c"]).await;
            bench.clock.advance_seconds(6 * DAY);
            bench.put("/two/b", b"young").await;
            let failing = FaultLedger::over(bench.ledger.clone());
            failing.fail_commits(skip, 1, fault.clone());
            let stores: (Arc<dyn Ledger>, _) = (Arc::new(failing.clone()), bench.content.clone());
            let policy = policy(&[(DELETE_AFTER_5, "")]);
            let dying = bench_over(stores, bench.clock.clone(), 5, |settings| {
                let dry_run = false;
                settings.accounts[0].lifecycle = Some(Lifecycle { policy, dry_run });
            });
            dying.blobs.lifecycle_once().await;
            struck += failing.struck().0;
            bench.blobs.lifecycle_once().await;
            assert!(
                names(&bench, "one", "").await.is_empty(),
                "{fault:?} behind {skip} commits"
            );
            assert_eq!(
                names(&bench, "two", "").await,
                ["b"],
                "{fault:?} behind {skip} commits"
            );
        }
        assert!(struck >= 7, "{fault:?} struck {struck} times alone");
    }
}

const CONTAINER: u8 = 1;
const COOL_AFTER_5: &str = r#"{"baseBlob":{"tierToCool":{"daysAfterModificationGreaterThan":5}}}"#;

#[tokio::test]
async fn a_change_of_the_container_does_not_put_tiers_off_to_the_next_day() {
    let bench = with_rules(&[(COOL_AFTER_5, "")], false, false);
    with_blobs(&bench, "box", &["a", "b", "c"]).await;
    bench.clock.advance_seconds(5 * DAY + 1);
    // Before the first of the run's commits somebody writes the container's record.
    let record = bench::records(&bench, CONTAINER).await.remove(0);
    let mut tx = ledger::Transaction::new();
    tx.put(record.key, record.versioned.value);
    *bench.overtaking.first.lock().unwrap() = Some(tx);
    bench.blobs.lifecycle_once().await;
    for name in ["a", "b", "c"] {
        assert_eq!(tier(&bench, &format!("/box/{name}")).await, "Cool", "{name}");
    }
    assert_eq!(counter(&bench, "blobs_lifecycle_tiered"), 3);
}

#[tokio::test]
async fn tags_that_change_behind_a_decision_are_noticed() {
    for actions in [DELETE_AFTER_5, COOL_AFTER_5] {
        let tagged = r#","blobIndexMatch":[{"name":"keep","op":"==","value":"no"}]"#;
        let bench = with_rules(&[(actions, tagged)], false, false);
        ok(&bench, "PUT", "/box?restype=container", &[], b"").await;
        let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-tags", "keep=no")];
        ok(&bench, "PUT", "/box/x", &headers, b"x").await;
        bench.clock.advance_seconds(5 * DAY + 1);
        // What Set Blob Tags leaves: other tags under the same entity tag.
        let record = bench::records(&bench, bench::BLOB).await.remove(0);
        let text = String::from_utf8(record.versioned.value.to_vec()).unwrap();
        let changed = text.replace(r#""keep":"no""#, r#""keep":"yes""#);
        assert_ne!(changed, text);
        let mut tx = ledger::Transaction::new();
        tx.put(record.key, changed.into_bytes());
        *bench.overtaking.first.lock().unwrap() = Some(tx);
        bench.blobs.lifecycle_once().await;
        assert_eq!(names(&bench, "box", "").await, ["x"], "{actions}");
        assert_eq!(tier(&bench, "/box/x").await, "Hot");
        assert_eq!(counter(&bench, "blobs_lifecycle_deleted"), 0);
        assert_eq!(counter(&bench, "blobs_lifecycle_tiered"), 0);
    }
}

const DELETE_UNREAD: &str = r#"{"baseBlob":{"delete":{"daysAfterLastAccessTimeGreaterThan":5}}}"#;

fn tracking(bench: Option<&Bench>, tracks: bool, rules: Option<&str>) -> Bench {
    let set = |settings: &mut blobs::Settings| {
        settings.accounts[0].last_access_time_tracking = tracks;
        settings.accounts[0].lifecycle = rules.map(|rules| Lifecycle {
            policy: policy(&[(rules, "")]),
            dry_run: false,
        });
    };
    match bench {
        None => {
            let begin = Timestamp::from_second(1_700_000_000).unwrap();
            bench_with_clock(Arc::new(AdjustableClock::standing_at(begin)), set)
        }
        Some(bench) => {
            let stores = (bench.ledger.clone(), bench.content.clone());
            bench_over(stores, bench.clock.clone(), 77, set)
        }
    }
}

async fn accessed(bench: &Bench, path: &str) -> String {
    let head = ok(bench, "HEAD", path, &[], b"").await;
    head.header("x-ms-last-access-time").to_owned()
}

#[tokio::test]
async fn a_read_is_noted_once_a_day_where_the_account_keeps_it() {
    for tracks in [true, false] {
        let bench = tracking(None, tracks, None);
        with_blobs(&bench, "box", &["a"]).await;
        let head = async || *bench.ledger.head().borrow();
        let before = head().await;
        let made = accessed(&bench, "/box/a").await;
        assert_eq!(made.is_empty(), !tracks);
        bench.clock.advance_seconds(DAY - 1);
        let etag = ok(&bench, "GET", "/box/a", &[], b"")
            .await
            .header("etag")
            .to_owned();
        assert_eq!(head().await, before, "it was written within a day");
        bench.clock.advance_seconds(2);
        // Looking at properties is no access, neither is what isn't sent.
        ok(&bench, "HEAD", "/box/a", &[], b"").await;
        let same = bench.ask("GET", "/box/a", &[("if-none-match", &etag)], b"").await;
        assert_eq!((same.status.as_u16(), head().await), (304, before));
        for _ in 0..3 {
            ok(&bench, "GET", "/box/a", &[], b"").await;
        }
        assert_eq!(head().await, before + u64::from(tracks), "one write a day");
        let read = ok(&bench, "HEAD", "/box/a", &[], b"").await;
        assert_eq!(read.header("etag"), etag);
        assert_eq!(read.header("x-ms-last-access-time") != made, tracks);
        let list = ok(&bench, "GET", "/box?restype=container&comp=list", &[], b"")
            .await
            .text();
        assert_eq!(list.contains("<LastAccessTime>"), tracks);
        bench::contents(&bench).await;
    }
}

#[tokio::test]
async fn what_nobody_reads_goes_and_what_is_read_stays() {
    let bench = tracking(None, true, Some(DELETE_UNREAD));
    with_blobs(&bench, "box", &["read", "unread", "written"]).await;
    bench.blobs.lifecycle_once().await;
    bench.clock.advance_seconds(3 * DAY);
    ok(&bench, "GET", "/box/read", &[], b"").await;
    bench.put("/box/written", b"y").await;
    bench.clock.advance_seconds(2 * DAY + 1);
    bench.blobs.lifecycle_once().await;
    assert_eq!(names(&bench, "box", "").await, ["read", "written"]);
    bench.clock.advance_seconds(3 * DAY);
    bench.blobs.lifecycle_once().await;
    assert!(names(&bench, "box", "").await.is_empty());
}

#[tokio::test]
async fn what_was_read_before_it_was_kept_is_given_time() {
    let before = tracking(None, false, None);
    with_blobs(&before, "box", &["a"]).await;
    before.clock.advance_seconds(100 * DAY);
    let bench = tracking(Some(&before), true, Some(DELETE_UNREAD));
    bench.blobs.lifecycle_once().await;
    bench.clock.advance_seconds(4 * DAY);
    bench.blobs.lifecycle_once().await;
    assert_eq!(names(&bench, "box", "").await, ["a"]);
    bench.clock.advance_seconds(2 * DAY);
    bench.blobs.lifecycle_once().await;
    assert!(names(&bench, "box", "").await.is_empty());
}

#[tokio::test]
async fn what_was_read_while_it_was_not_kept_is_given_time() {
    for policy_meanwhile in [None, Some(DELETE_UNREAD)] {
        let on = tracking(None, true, Some(DELETE_UNREAD));
        with_blobs(&on, "box", &["a"]).await;
        on.blobs.lifecycle_once().await;
        on.clock.advance_seconds(2 * DAY);
        // Noted once, so that there is a time that gets old.
        ok(&on, "GET", "/box/a", &[], b"").await;
        on.blobs.lifecycle_once().await;
        // The run of this day is over when it is turned off, so that no other one is due.
        let off = tracking(Some(&on), false, policy_meanwhile);
        off.clock.advance_seconds(60);
        off.blobs.lifecycle_once().await;
        off.clock.advance_seconds(100 * DAY);
        ok(&off, "GET", "/box/a", &[], b"").await;
        let again = tracking(Some(&off), true, Some(DELETE_UNREAD));
        for _ in 0..2 {
            again.blobs.lifecycle_once().await;
            assert_eq!(names(&again, "box", "").await, ["a"], "{policy_meanwhile:?}");
            again.clock.advance_seconds(2 * DAY + DAY / 2 - 1);
        }
        again.blobs.lifecycle_once().await;
        assert_eq!(names(&again, "box", "").await, ["a"]);
        again.clock.advance_seconds(2 * DAY);
        again.blobs.lifecycle_once().await;
        assert!(names(&again, "box", "").await.is_empty());
    }
}

#[tokio::test]
async fn a_read_behind_a_decision_is_noticed() {
    let bench = tracking(None, true, Some(DELETE_UNREAD));
    with_blobs(&bench, "box", &["a"]).await;
    bench.clock.advance_seconds(6 * DAY);
    // What a read leaves, before the deletion's commit.
    let record = bench::records(&bench, bench::BLOB).await.remove(0);
    let mut value: serde_json::Value = serde_json::from_slice(&record.versioned.value).unwrap();
    value["last_access"] = bench.clock.now().to_string().into();
    let mut tx = ledger::Transaction::new();
    tx.put(record.key, value.to_string().into_bytes());
    *bench.overtaking.first.lock().unwrap() = Some(tx);
    bench.blobs.lifecycle_once().await;
    assert_eq!(names(&bench, "box", "").await, ["a"]);
}

#[tokio::test]
async fn a_read_does_not_wait_long_until_it_is_noted() {
    let bench = tracking(None, true, None);
    with_blobs(&bench, "box", &["a"]).await;
    let made = accessed(&bench, "/box/a").await;
    bench.clock.advance_seconds(2 * DAY);
    let takes = std::time::Duration::from_secs(2);
    let milliseconds = u64::try_from(takes.as_millis()).unwrap();
    bench
        .overtaking
        .takes
        .store(milliseconds, std::sync::atomic::Ordering::Relaxed);
    let read = tokio::time::timeout(takes, ok(&bench, "GET", "/box/a", &[], b""));
    read.await.expect("the read waits for its note");
    assert_eq!(accessed(&bench, "/box/a").await, made);
    // It is noted all the same.
    for _ in 0..100 {
        tokio::time::sleep(takes / 20).await;
        if accessed(&bench, "/box/a").await != made {
            return;
        }
    }
    panic!("the read isn't noted");
}
