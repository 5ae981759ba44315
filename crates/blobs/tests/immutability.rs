//! Immutability policies and legal holds on memory: each operation under each protection, who may set them, where,
//! and what they outlast.
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

use bench::versions::{DAY_SECONDS, LATER, at, refused, retain, with};
use bench::{Answer, Bench, account_sas, bench_over, bench_with_clock, bytes, container_sas, contents};
use blobs::Account;
use http_semantics::date;
use ledger::{AdjustableClock, Clock as _};

const UNTIL: &str = "x-ms-immutability-policy-until-date";
const MODE: &str = "x-ms-immutability-policy-mode";
const HOLD: &str = "x-ms-legal-hold";
const POLICY: (u16, &str) = (409, "BlobImmutableDueToPolicy");
const HELD: (u16, &str) = (409, "BlobImmutableDueToLegalHold");

fn clock() -> Arc<AdjustableClock> {
    Arc::new(AdjustableClock::standing_at(
        jiff::Timestamp::from_second(1_700_000_000).unwrap(),
    ))
}

fn immutable(account: &mut Account) {
    account.versioning = true;
    account.immutable_storage = true;
}

async fn immutable_bench() -> Bench {
    let bench = bench_with_clock(clock(), |settings| immutable(&mut settings.accounts[0]));
    let made = bench.ask("PUT", "/box?restype=container", &[], b"").await;
    assert_eq!(made.status, 201);
    bench
}

/// The same estate after a restart, with other settings.
fn restarted(bench: &Bench, set: impl FnOnce(&mut Account)) -> Bench {
    let stores = (bench.ledger.clone(), bench.content.clone());
    bench_over(stores, bench.clock.clone(), 5, |settings| {
        set(&mut settings.accounts[0])
    })
}

/// A date that is so far away.
fn date_in(bench: &Bench, seconds: i64) -> String {
    let now = bench.clock.now();
    date::format(now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap())
}

async fn set_policy(bench: &Bench, path: &str, mode: &str, seconds: i64) -> Answer {
    let until = date_in(bench, seconds);
    let headers = [(UNTIL, until.as_str()), (MODE, mode)];
    bench.ask("PUT", path, &headers, b"").await
}

async fn set_hold(bench: &Bench, path: &str, held: &str) -> Answer {
    bench.ask("PUT", path, &[(HOLD, held)], b"").await
}

fn ok(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
}

/// What protects a state, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Protected {
    Never,
    Unlocked,
    Locked,
    UnlockedOver,
    LockedOver,
    Held,
    HeldAndLocked,
    LetGo,
}

use Protected::{Held, HeldAndLocked, LetGo, Locked, LockedOver, Never, Unlocked, UnlockedOver};

const ALL: [Protected; 8] = [
    Never,
    Unlocked,
    Locked,
    UnlockedOver,
    LockedOver,
    Held,
    HeldAndLocked,
    LetGo,
];

/// Protects the state that `rest` names beside the blob.
async fn protect(bench: &Bench, rest: &str, how: Protected) {
    let policies = format!("/box/x?comp=immutabilityPolicies{rest}");
    let hold = format!("/box/x?comp=legalhold{rest}");
    let mode = match how {
        Unlocked | UnlockedOver => Some("Unlocked"),
        Locked | LockedOver | HeldAndLocked => Some("Locked"),
        Never | Held | LetGo => None,
    };
    if let Some(mode) = mode {
        ok(&set_policy(bench, &policies, mode, 100).await, 200);
    }
    if matches!(how, Held | HeldAndLocked | LetGo) {
        ok(&set_hold(bench, &hold, "true").await, 200);
    }
    if how == LetGo {
        ok(&set_hold(bench, &hold, "false").await, 200);
    }
    if matches!(how, UnlockedOver | LockedOver) {
        bench.clock.advance_seconds(100);
    }
}

/// How an operation is answered.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// Whatever protects the blob.
    Done(u16),
    /// As a deletion: refused while the protection lasts.
    Deletes,
    /// As a change in place: refused also when a policy's time is over.
    Changes(u16),
    /// A locked policy isn't unlocked.
    Unlocks,
    /// A locked policy isn't deleted.
    DeletesPolicy,
}

fn expected(rule: Rule, how: Protected) -> (u16, &'static str) {
    match (rule, how) {
        (Rule::Done(status), _) => (status, ""),
        (Rule::Deletes | Rule::Changes(_), Held | HeldAndLocked) => HELD,
        (Rule::Deletes | Rule::Changes(_), Unlocked | Locked) => POLICY,
        (Rule::Changes(_), UnlockedOver | LockedOver) => POLICY,
        (Rule::Deletes, _) => (202, ""),
        (Rule::Changes(status), _) => (status, ""),
        (Rule::Unlocks, Locked | LockedOver | HeldAndLocked) => POLICY,
        (Rule::DeletesPolicy, Locked | LockedOver | HeldAndLocked) => {
            (409, "ImmutabilityPolicyDeleteOnLockedPolicy")
        }
        (Rule::Unlocks | Rule::DeletesPolicy, _) => (200, ""),
    }
}

type Headers<'a> = &'a [(&'a str, &'a str)];

const BLOCK: Headers<'static> = &[("x-ms-blob-type", "BlockBlob")];
const APPEND: Headers<'static> = &[("x-ms-blob-type", "AppendBlob")];
const PAGE: Headers<'static> = &[
    ("x-ms-blob-type", "PageBlob"),
    ("x-ms-blob-content-length", "1024"),
];

#[tokio::test]
async fn each_operation_under_each_protection() {
    use Rule::{Changes, Deletes, DeletesPolicy, Done, Unlocks};
    let source = [("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/source")];
    let from_url = [BLOCK[0], source[0]];
    let tags = b"<Tags><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tags>";
    let list = b"<BlockList><Latest>MDAx</Latest></BlockList>";
    let lease = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "-1")];
    let update = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511")];
    let clear = [("x-ms-page-write", "clear"), ("x-ms-range", "bytes=0-511")];
    let from_pages = [
        update[0],
        update[1],
        ("x-ms-source-range", "bytes=0-511"),
        ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/large"),
    ];
    let snapshots_too = [("x-ms-delete-snapshots", "include")];
    let (metadata, kind) = ([("x-ms-meta-a", "1")], [("x-ms-blob-content-type", "a/b")]);
    let (cool, unlocked) = (
        [("x-ms-access-tier", "Cool")],
        [(UNTIL, "Sat, 01 Jan 2033 00:00:00 GMT")],
    );
    let pages = bytes(512);
    type Row<'a> = (&'a str, &'a str, Headers<'a>, &'a [u8], Rule);
    let of_all: Vec<Row<'_>> = vec![
        ("GET", "", &[], b"", Done(200)),
        ("HEAD", "", &[], b"", Done(200)),
        ("PUT", "?comp=metadata", &metadata, b"", Changes(200)),
        ("PUT", "?comp=properties", &kind, b"", Changes(200)),
        ("PUT", "?comp=snapshot", &[], b"", Done(201)),
        ("PUT", "?comp=tags", &[], tags, Done(204)),
        ("PUT", "?comp=lease", &lease, b"", Done(201)),
        ("PUT", "?comp=undelete", &[], b"", Done(200)),
        ("DELETE", "", &[], b"", Deletes),
        ("DELETE", "", &snapshots_too, b"", Deletes),
        ("PUT", "?comp=immutabilityPolicies", &unlocked, b"", Unlocks),
        ("DELETE", "?comp=immutabilityPolicies", &[], b"", DeletesPolicy),
        ("PUT", "?comp=legalhold", &[(HOLD, "true")], b"", Done(200)),
        ("PUT", "?comp=legalhold", &[(HOLD, "false")], b"", Done(200)),
    ];
    let of_blocks: Vec<Row<'_>> = vec![
        ("PUT", "", BLOCK, b"new", Done(201)),
        ("PUT", "", &from_url, b"", Done(201)),
        ("PUT", "", &source, b"", Done(202)),
        ("PUT", "?comp=block&blockid=MDAx", &[], b"1", Done(201)),
        ("PUT", "?comp=blocklist", &[], list, Done(201)),
        ("PUT", "?comp=tier", &cool, b"", Done(200)),
    ];
    let of_appends: Vec<Row<'_>> = vec![
        ("PUT", "", APPEND, b"", Done(201)),
        ("PUT", "?comp=appendblock", &[], b"1", Changes(201)),
        ("PUT", "?comp=appendblock", &source, b"", Changes(201)),
        ("PUT", "?comp=seal", &[], b"", Changes(200)),
    ];
    let of_pages: Vec<Row<'_>> = vec![
        ("PUT", "", PAGE, b"", Done(201)),
        ("PUT", "?comp=page", &update, &pages, Changes(201)),
        ("PUT", "?comp=page", &clear, b"", Changes(201)),
        ("PUT", "?comp=page", &from_pages, b"", Changes(201)),
        (
            "PUT",
            "?comp=properties",
            &[("x-ms-blob-content-length", "512")],
            b"",
            Changes(200),
        ),
        (
            "PUT",
            "?comp=properties",
            &[("x-ms-sequence-number-action", "increment")],
            b"",
            Changes(200),
        ),
    ];
    for (first, own) in [(BLOCK, of_blocks), (APPEND, of_appends), (PAGE, of_pages)] {
        for (method, rest, headers, body, rule) in own.iter().chain(&of_all) {
            for how in ALL {
                let bench = immutable_bench().await;
                bench.put("/box/source", b"source").await;
                bench.put("/box/large", &bytes(512)).await;
                ok(&bench.ask("PUT", "/box/x", first, b"").await, 201);
                if *rest == "?comp=blocklist" {
                    let staged = "/box/x?comp=block&blockid=MDAx";
                    ok(&bench.ask("PUT", staged, &[], b"1").await, 201);
                }
                protect(&bench, "", how).await;
                let before = bench.ask("HEAD", "/box/x", &[], b"").await;
                let version = before.header("x-ms-version-id").to_owned();
                let path = format!("/box/x{rest}");
                let answer = bench.ask(method, &path, headers, body).await;
                let place = format!("{first:?} {method} {rest} {headers:?} {how:?}: {:?}", answer.body);
                assert_eq!(refused(&answer), expected(*rule, how), "{place}");
                // The state that was protected is there as it was, as the blob or as a version of it.
                let after = bench.ask("HEAD", &at("/box/x", &version), &[], b"").await;
                ok(&after, 200);
                if !rest.contains("immutabilityPolicies") && !rest.contains("legalhold") {
                    for name in [UNTIL, MODE, HOLD] {
                        assert_eq!(after.header(name), before.header(name), "{name} {place}");
                    }
                }
                if answer.status == 409 {
                    assert_eq!(after.header("etag"), before.header("etag"), "{place}");
                    assert_eq!(after.header("content-length"), before.header("content-length"));
                }
                let gone = bench.ask("DELETE", "/box?restype=container", &[], b"").await;
                let not_empty = (409, "ContainerImmutableStorageWithVersioningEnabled");
                assert_eq!(refused(&gone), not_empty, "{place}");
                contents(&bench).await;
            }
        }
    }
}

#[tokio::test]
async fn versions_and_snapshots_under_each_protection() {
    use Rule::{Deletes, DeletesPolicy, Done, Unlocks};
    let unlocked = [(UNTIL, "Sat, 01 Jan 2033 00:00:00 GMT")];
    let cool = [("x-ms-access-tier", "Cool")];
    type Row<'a> = (&'a str, &'a str, Headers<'a>, Rule);
    let table: [Row<'_>; 6] = [
        ("GET", "", &[], Done(200)),
        ("DELETE", "", &[], Deletes),
        ("PUT", "&comp=tier", &cool, Done(200)),
        ("PUT", "&comp=immutabilityPolicies", &unlocked, Unlocks),
        ("DELETE", "&comp=immutabilityPolicies", &[], DeletesPolicy),
        ("PUT", "&comp=legalhold", &[(HOLD, "false")], Done(200)),
    ];
    for is_version in [true, false] {
        for keeps in [true, false] {
            for (method, rest, headers, rule) in &table {
                for how in ALL {
                    let bench = immutable_bench().await;
                    if keeps {
                        retain(&bench, 1, true).await;
                    }
                    let made = bench.put("/box/x", b"old").await;
                    let taken = bench.ask("PUT", "/box/x?comp=snapshot", &[], b"").await;
                    let named = match is_version {
                        true => format!("versionid={}", made.header("x-ms-version-id")),
                        false => format!("snapshot={}", taken.header("x-ms-snapshot")),
                    };
                    let named = named.replace(':', "%3A");
                    protect(&bench, &format!("&{named}"), how).await;
                    let answer = bench
                        .ask(method, &format!("/box/x?{named}{rest}"), headers, b"")
                        .await;
                    let place = format!("{named} {keeps} {method} {rest} {how:?}: {:?}", answer.body);
                    assert_eq!(refused(&answer), expected(*rule, how), "{place}");
                    if is_version {
                        continue;
                    }
                    // Who deletes all snapshots deletes none, or all.
                    let still = bench.ask("HEAD", &format!("/box/x?{named}"), &[], b"").await;
                    let is_there = still.status == 200;
                    let holds = still.header(HOLD) == "true";
                    let until = date::parse(still.header(UNTIL));
                    let lasts = until.is_some_and(|until| until > bench.clock.now());
                    for scope in ["only", "include"] {
                        let header = [("x-ms-delete-snapshots", scope)];
                        let answer = bench.ask("DELETE", "/box/x", &header, b"").await;
                        let expected = match (is_there, holds, lasts) {
                            (true, true, _) => HELD,
                            (true, false, true) => POLICY,
                            _ => (202, ""),
                        };
                        assert_eq!(refused(&answer), expected, "{scope} {place}");
                    }
                    contents(&bench).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_write_says_what_protects_its_blob() {
    let bench = immutable_bench().await;
    bench.put("/box/source", b"source").await;
    ok(&set_hold(&bench, "/box/source?comp=legalhold", "true").await, 200);
    let until = date_in(&bench, 100);
    let staged = "/box/x?comp=block&blockid=MDAx";
    let list = b"<BlockList><Latest>MDAx</Latest></BlockList>";
    let source = ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/source");
    let writes: [(Headers<'_>, &str, &[u8], u16); 6] = [
        (BLOCK, "/box/x", b"1", 201),
        (&[BLOCK[0], source], "/box/x", b"", 201),
        (&[], "/box/x?comp=blocklist", list, 201),
        (&[source], "/box/x", b"", 202),
        (APPEND, "/box/a", b"", 201),
        (PAGE, "/box/p", b"", 201),
    ];
    for (headers, path, body, status) in writes {
        let blob = path.split('?').next().unwrap();
        for (mode, hold, shown) in [
            (Some("Locked"), None, ("locked", "")),
            (None, Some("false"), ("unlocked", "false")),
            (Some("unlocked"), Some("true"), ("unlocked", "true")),
        ] {
            ok(&bench.ask("PUT", staged, &[], b"1").await, 201);
            let mut all = headers.to_vec();
            all.push((UNTIL, &until));
            all.extend(mode.map(|mode| (MODE, mode)));
            all.extend(hold.map(|hold| (HOLD, hold)));
            let answer = bench.ask("PUT", path, &all, body).await;
            ok(&answer, status);
            for method in ["HEAD", "GET"] {
                let got = bench.ask(method, blob, &[], b"").await;
                let found = (got.header(UNTIL), got.header(MODE), got.header(HOLD));
                assert_eq!(
                    found,
                    (until.as_str(), shown.0, shown.1),
                    "{method} {path} {mode:?}"
                );
            }
        }
        // The next one protects nothing, and what was protected stays so.
        ok(&bench.ask("PUT", staged, &[], b"1").await, 201);
        let before = bench.ask("HEAD", blob, &[], b"").await;
        ok(&bench.ask("PUT", path, headers, body).await, status);
        let got = bench.ask("HEAD", blob, &[], b"").await;
        assert_eq!(
            (got.header(UNTIL), got.header(MODE), got.header(HOLD)),
            ("", "", ""),
            "{path}"
        );
        let version = at(blob, before.header("x-ms-version-id"));
        let old = bench.ask("HEAD", &version, &[], b"").await;
        assert_eq!(old.header(HOLD), "true");
        assert_eq!(refused(&bench.ask("DELETE", &version, &[], b"").await), HELD);
        ok(&bench.ask("DELETE", blob, &[], b"").await, 202);
        assert_eq!(bench.ask("HEAD", &version, &[], b"").await.status, 200);
    }
    for (headers, code) in [
        (vec![(MODE, "Locked")], "MissingRequiredHeader"),
        (
            vec![(UNTIL, until.as_str()), (MODE, "Mutable")],
            "InvalidHeaderValue",
        ),
        (vec![(UNTIL, "tomorrow")], "InvalidHeaderValue"),
        (
            vec![(UNTIL, "Sun, 06 Nov 1994 08:49:37 GMT")],
            "InvalidHeaderValue",
        ),
        (
            vec![(UNTIL, "Sun, 06 Nov 2994 08:49:37 GMT")],
            "InvalidHeaderValue",
        ),
        (vec![(HOLD, "yes")], "InvalidHeaderValue"),
    ] {
        let put = [BLOCK, &headers[..]].concat();
        assert_eq!(
            refused(&bench.ask("PUT", "/box/new", &put, b"").await),
            (400, code),
            "{headers:?}"
        );
        let (comp, status) = match headers.iter().any(|(name, _)| *name == HOLD) {
            true => ("legalhold", 400),
            false => ("immutabilityPolicies", 400),
        };
        let path = format!("/box/source?comp={comp}");
        assert_eq!(
            refused(&bench.ask("PUT", &path, &headers, b"").await),
            (status, code),
            "{headers:?}"
        );
    }
    for comp in ["legalhold", "immutabilityPolicies"] {
        let missing = (400, "MissingRequiredHeader");
        let path = format!("/box/source?comp={comp}");
        assert_eq!(refused(&bench.ask("PUT", &path, &[], b"").await), missing);
    }
    assert_eq!(bench.ask("HEAD", "/box/new", &[], b"").await.status, 404);
}

#[tokio::test]
async fn answers_tell_what_was_set_and_tags_and_times_stay() {
    let bench = immutable_bench().await;
    let put = bench.put("/box/x", b"1").await;
    bench.clock.advance_seconds(5);
    let until = date_in(&bench, 10);
    let answer = set_policy(&bench, "/box/x?comp=immutabilityPolicies", "Unlocked", 10).await;
    assert_eq!(
        (answer.header(UNTIL), answer.header(MODE)),
        (until.as_str(), "unlocked")
    );
    assert_eq!(answer.header("etag"), "");
    let answer = set_hold(&bench, "/box/x?comp=legalhold", "true").await;
    assert_eq!(answer.header(HOLD), "true");
    let listed = |include: &'static str| {
        let path = format!("/box?restype=container&comp=list&include={include}");
        let bench = &bench;
        async move { bench.ask("GET", &path, &[], b"").await.text() }
    };
    let policy = format!(
        "<ImmutabilityPolicyUntilDate>{until}</ImmutabilityPolicyUntilDate>\
         <ImmutabilityPolicyMode>unlocked</ImmutabilityPolicyMode>"
    );
    let hold = "<LegalHold>true</LegalHold>";
    for (include, has) in [
        ("", (false, false)),
        ("metadata", (false, false)),
        ("immutabilitypolicy", (true, false)),
        ("legalhold", (false, true)),
        ("immutabilitypolicy,legalhold,versions", (true, true)),
    ] {
        let page = listed(include).await;
        assert_eq!(
            (page.contains(&policy), page.contains(hold)),
            has,
            "{include}: {page}"
        );
        assert_eq!(page.contains("ImmutabilityPolicy"), has.0);
    }
    let head = bench.ask("HEAD", "/box/x", &[], b"").await;
    for name in ["etag", "last-modified", "x-ms-version-id"] {
        assert_eq!(head.header(name), put.header(name), "{name}");
    }
    // Conditions hold of the blob as they do elsewhere.
    let late = [
        (HOLD, "false"),
        ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    let answer = bench.ask("PUT", "/box/x?comp=legalhold", &late, b"").await;
    assert_eq!(refused(&answer), (412, "ConditionNotMet"));
    for (method, comp) in [
        ("PUT", "legalhold"),
        ("PUT", "immutabilityPolicies"),
        ("DELETE", "immutabilityPolicies"),
    ] {
        let path = format!("/box/none?comp={comp}");
        let headers = [(HOLD, "true"), (UNTIL, until.as_str())];
        let answer = bench.ask(method, &path, &headers, b"").await;
        assert_eq!(refused(&answer), (404, "BlobNotFound"), "{method} {comp}");
    }
    let answer = bench
        .ask("DELETE", "/box/x?comp=immutabilityPolicies", &[], b"")
        .await;
    ok(&answer, 200);
    ok(&set_hold(&bench, "/box/x?comp=legalhold", "false").await, 200);
    let page = listed("immutabilitypolicy,legalhold").await;
    assert!(!page.contains("ImmutabilityPolicy") && page.contains("<LegalHold>false</LegalHold>"));
    ok(&bench.ask("DELETE", "/box/x", &[], b"").await, 202);
}

#[tokio::test]
async fn blobs_are_protected_where_the_account_says_so() {
    let not_here = (409, "InvalidOperation");
    let bench = bench_with_clock(clock(), |settings| {
        settings.accounts[0].versioning = true;
        settings.accounts[0].immutable_containers = vec!["safe".to_owned()];
    });
    for (name, enabled) in [("safe", true), ("open", false)] {
        let container = format!("/{name}?restype=container");
        ok(&bench.ask("PUT", &container, &[], b"").await, 201);
        let head = bench.ask("HEAD", &container, &[], b"").await;
        let shown = head.header("x-ms-immutable-storage-with-versioning-enabled");
        assert_eq!(shown, enabled.to_string());
        let list = bench
            .ask("GET", &format!("/?comp=list&prefix={name}"), &[], b"")
            .await;
        let element = format!("<ImmutableStorageWithVersioningEnabled>{enabled}<");
        assert!(list.text().contains(&element), "{}", list.text());
        let path = format!("/{name}/x");
        bench.put(&path, b"1").await;
        let expected = |status: u16| if enabled { (status, "") } else { not_here };
        let policies = format!("{path}?comp=immutabilityPolicies");
        let hold = format!("{path}?comp=legalhold");
        let answer = set_policy(&bench, &policies, "Unlocked", 100).await;
        assert_eq!(refused(&answer), expected(200));
        assert_eq!(refused(&set_hold(&bench, &hold, "true").await), expected(200));
        let answer = bench.ask("DELETE", &policies, &[], b"").await;
        assert_eq!(refused(&answer), expected(200));
        assert_eq!(refused(&set_hold(&bench, &hold, "false").await), expected(200));
        let until = date_in(&bench, 100);
        let put = [BLOCK[0], (UNTIL, until.as_str())];
        assert_eq!(refused(&bench.ask("PUT", &path, &put, b"2").await), expected(201));
        let put = [BLOCK[0], (HOLD, "true")];
        assert_eq!(refused(&bench.ask("PUT", &path, &put, b"2").await), expected(201));
        let removed = bench.ask("DELETE", &container, &[], b"").await;
        assert_eq!(removed.status == 202, !enabled, "{}", removed.text());
    }
    // Without versions there are none.
    let bench = bench_with_clock(clock(), |settings| settings.accounts[0].immutable_storage = true);
    ok(&bench.ask("PUT", "/box?restype=container", &[], b"").await, 201);
    bench.put("/box/x", b"1").await;
    assert_eq!(
        refused(&set_hold(&bench, "/box/x?comp=legalhold", "true").await),
        not_here
    );
}

#[tokio::test]
async fn protection_outlasts_the_settings() {
    let bench = immutable_bench().await;
    // Made before versions were, so that it isn't one.
    let before = restarted(&bench, |_| {});
    before.put("/box/x", b"old").await;
    ok(&set_hold(&bench, "/box/x?comp=legalhold", "true").await, 200);
    let off = restarted(&bench, |_| {});
    retain(&off, 1, true).await;
    for (headers, body) in [(BLOCK, b"new".as_slice()), (&[], b"")] {
        let source = ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/x");
        let headers = if headers.is_empty() {
            vec![source]
        } else {
            headers.to_vec()
        };
        assert_eq!(refused(&off.ask("PUT", "/box/x", &headers, body).await), HELD);
    }
    ok(
        &off.ask("PUT", "/box/x?comp=block&blockid=MDAx", &[], b"1").await,
        201,
    );
    let list = b"<BlockList><Latest>MDAx</Latest></BlockList>";
    assert_eq!(
        refused(&off.ask("PUT", "/box/x?comp=blocklist", &[], list).await),
        HELD
    );
    assert_eq!(refused(&off.ask("DELETE", "/box/x", &[], b"").await), HELD);
    let not_empty = (409, "ContainerImmutableStorageWithVersioningEnabled");
    let container = "/box?restype=container";
    assert_eq!(refused(&off.ask("DELETE", container, &[], b"").await), not_empty);
    let answer = set_policy(&off, "/box/x?comp=immutabilityPolicies", "Locked", 5).await;
    assert_eq!(refused(&answer), (409, "InvalidOperation"));
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.body, "old");
    // What was protected can be let go.
    ok(&set_hold(&off, "/box/x?comp=legalhold", "false").await, 200);
    ok(&off.ask("DELETE", "/box/x", &[], b"").await, 202);
    // It is kept for a day.
    assert_eq!(refused(&off.ask("DELETE", container, &[], b"").await), not_empty);
    off.clock.advance_seconds(DAY_SECONDS + 1);
    contents(&off).await;
    ok(&off.ask("DELETE", container, &[], b"").await, 202);
    let none = restarted(&bench, immutable);
    ok(&none.ask("PUT", container, &[], b"").await, 201);
    ok(&none.ask("DELETE", container, &[], b"").await, 202);
}

#[tokio::test]
async fn deleted_states_were_let_go_before_and_go_in_their_time() {
    let bench = immutable_bench().await;
    retain(&bench, 1, true).await;
    let first = bench.put("/box/x", b"old").await;
    let first = first.header("x-ms-version-id").to_owned();
    bench.put("/box/x", b"new").await;
    let version = at("/box/x", &first);
    let policies = with("/box/x", "immutabilityPolicies", &first);
    ok(
        &set_policy(&bench, &policies, "Locked", 3 * DAY_SECONDS).await,
        200,
    );
    assert_eq!(refused(&bench.ask("DELETE", &version, &[], b"").await), POLICY);
    let permanent = format!("{version}&deletetype=permanent");
    assert_eq!(
        refused(&bench.ask("DELETE", &permanent, &[], b"").await),
        (409, "BlobSnapshotNotSoftDeleted")
    );
    bench.clock.advance_seconds(2 * DAY_SECONDS);
    contents(&bench).await;
    assert_eq!(bench.ask("GET", &version, &[], b"").await.body, "old");
    bench.clock.advance_seconds(DAY_SECONDS);
    // Its time is over: it goes, may come back, and is what it was.
    ok(&bench.ask("DELETE", &version, &[], b"").await, 202);
    assert_eq!(bench.ask("HEAD", &version, &[], b"").await.status, 404);
    assert_eq!(
        refused(&set_policy(&bench, &policies, "Locked", 5).await),
        (404, "BlobNotFound")
    );
    ok(&bench.ask("PUT", "/box/x?comp=undelete", &[], b"").await, 200);
    let back = bench.ask("HEAD", &version, &[], b"").await;
    assert_eq!(back.header(MODE), "locked");
    ok(&set_policy(&bench, &policies, "Locked", 5).await, 200);
    assert_eq!(refused(&bench.ask("DELETE", &version, &[], b"").await), POLICY);
    bench.clock.advance_seconds(5);
    ok(&bench.ask("DELETE", &version, &[], b"").await, 202);
    ok(&bench.ask("DELETE", &permanent, &[], b"").await, 202);
    assert_eq!(contents(&bench).await, (0, 1));
}

#[tokio::test]
async fn a_container_is_not_deleted_beside_a_write_that_protects() {
    let bench = immutable_bench().await;
    let other = restarted(&bench, immutable);
    // What a protecting write of another node commits just before the deletion does.
    let (first, second) = (bench.ledger.snapshot().await.unwrap(), "/box/x");
    other.ask("PUT", second, &[BLOCK[0], (HOLD, "true")], b"1").await;
    let after = bench.ledger.snapshot().await.unwrap();
    let mut tx = ledger::Transaction::new();
    for kind in 0..=u8::MAX {
        let range =
            ledger::KeyRange::prefix(&ledger::KeyWriter::new(ledger::Keyspace::Blobs).u8(kind).finish());
        let mut scan = ledger::Scan::new(after.as_ref(), range, ledger::Direction::Forward);
        while let Some(entry) = scan.next().await.unwrap() {
            if first.get(&entry.key).await.unwrap().is_none() {
                tx.put(entry.key, entry.versioned.value);
            }
        }
    }
    let fresh = immutable_bench().await;
    let generation = |bench: &Bench| {
        let ledger = bench.ledger.clone();
        async move {
            let range =
                ledger::KeyRange::prefix(&ledger::KeyWriter::new(ledger::Keyspace::Blobs).u8(1).finish());
            let snapshot = ledger.snapshot().await.unwrap();
            let mut scan = ledger::Scan::new(snapshot.as_ref(), range, ledger::Direction::Forward);
            scan.next().await.unwrap().unwrap().versioned.value
        }
    };
    // The same seed makes the same container, so that the write fits.
    let same = |value: bytes::Bytes| {
        let record: serde_json::Value = serde_json::from_slice(&value).unwrap();
        record["generation"].clone()
    };
    assert_eq!(same(generation(&bench).await), same(generation(&fresh).await));
    *fresh.overtaking.first.lock().unwrap() = Some(tx);
    let removed = fresh.ask("DELETE", "/box?restype=container", &[], b"").await;
    assert_eq!(
        refused(&removed),
        (409, "ContainerImmutableStorageWithVersioningEnabled")
    );
    assert_eq!(fresh.ask("GET", "/box/x", &[], b"").await.body, "1");
}

#[tokio::test]
async fn permissions_of_signatures() {
    let bench = immutable_bench().await;
    bench.put("/box/x", b"1").await;
    let until = date_in(&bench, 100);
    let headers = [(UNTIL, until.as_str()), (HOLD, "true")];
    let mismatch = (403, "AuthorizationPermissionMismatch");
    for (granted, allowed) in [("i", true), ("rwdxyltfme", false)] {
        for sas in [account_sas(granted, "o", LATER), container_sas(granted, LATER)] {
            for (method, comp) in [
                ("PUT", "immutabilityPolicies"),
                ("PUT", "legalhold"),
                ("DELETE", "immutabilityPolicies"),
            ] {
                let path = format!("/box/x?comp={comp}&{sas}");
                let answer = bench.bare(method, &path, &headers).await;
                let expected = if allowed { (200, "") } else { mismatch };
                assert_eq!(refused(&answer), expected, "{granted} {method} {comp}");
            }
            ok(&set_hold(&bench, "/box/x?comp=legalhold", "false").await, 200);
        }
    }
    // A write that protects needs both.
    for (granted, expected) in [("cw", mismatch), ("i", mismatch), ("cwi", (201, ""))] {
        let path = format!("/box/new?{}", container_sas(granted, LATER));
        let put = [BLOCK[0], headers[0], headers[1]];
        assert_eq!(
            refused(&bench.bare("PUT", &path, &put).await),
            expected,
            "{granted}"
        );
    }
    let path = format!("/box/plain?{}", container_sas("cw", LATER));
    ok(&bench.bare("PUT", &path, BLOCK).await, 201);
}
