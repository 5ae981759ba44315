//! Immutability policies and legal holds on memory: each operation under each protection.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::immutable::{
    APPEND, BLOCK, HELD, HOLD, Headers, MODE, PAGE, POLICY, UNTIL, immutable_bench, ok, set_hold, set_policy,
};
use bench::versions::{at, refused, retain};
use bench::{Bench, bytes, contents};
use http_semantics::date;
use ledger::Clock as _;

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
