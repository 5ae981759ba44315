//! Immutability policies and legal holds on memory: how they are set, by whom and where, and what they outlast.
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
    APPEND, BLOCK, HELD, HOLD, Headers, MODE, PAGE, POLICY, UNTIL, clock, date_in, immutable,
    immutable_bench, ok, restarted, set_hold, set_policy,
};
use bench::versions::{DAY_SECONDS, LATER, at, refused, retain, with};
use bench::{Bench, account_sas, bench_with_clock, container_sas, contents};

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
