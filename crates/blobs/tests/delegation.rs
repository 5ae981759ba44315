//! User delegation: who gets keys, and what signatures by them say in each version.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::collections::BTreeMap;

use bench::take_snapshot;
use bench::tokens::{Estate, NOBODY, TENANT, bare, estate, object_id, outcome};
use blobs::rules::roles::{Assignment, Role};
use identity::SharedKey;

const START: &str = "2023-11-14T22:00:00Z";
/// A day from the test's beginning.
const EXPIRY: &str = "2023-11-15T22:00:00Z";
const KEY: &str = "/?restype=service&comp=userdelegationkey";

/// The terms of a signature, by the names of their parameters.
type Terms = BTreeMap<&'static str, String>;

async fn asked_key(estate: &Estate, token: &str, more: &str) -> (u16, String, String) {
    let body = format!("<KeyInfo><Start>{START}</Start><Expiry>{EXPIRY}</Expiry>{more}</KeyInfo>");
    let answer = estate.ask(token, "POST", KEY, &[], body.as_bytes()).await;
    let (status, code) = outcome(&answer);
    (status, code, answer.text())
}

fn of(xml: &str, tag: &str) -> String {
    let found = xml
        .split(&format!("<{tag}>"))
        .nth(1)
        .and_then(|rest| rest.split('<').next());
    found.unwrap_or_default().to_owned()
}

/// Terms by a key that a principal asked for, for reading a blob.
fn terms(key: &str, version: &str) -> Terms {
    let mut terms = Terms::from([
        ("sv", version.to_owned()),
        ("sr", "b".to_owned()),
        ("sp", "r".to_owned()),
        ("se", EXPIRY.to_owned()),
    ]);
    for (name, tag) in [
        ("skoid", "SignedOid"),
        ("sktid", "SignedTid"),
        ("skt", "SignedStart"),
        ("ske", "SignedExpiry"),
        ("sks", "SignedService"),
        ("skv", "SignedVersion"),
        ("skdutid", "SignedDelegatedUserTid"),
    ] {
        terms.insert(name, of(key, tag));
    }
    terms
}

/// What is signed, as the documentation lists it for each version, written a second time.
fn query(key: &str, terms: &Terms, path: &str, (headers, parameters): (&str, &str)) -> String {
    let get = |name: &str| terms.get(name).cloned().unwrap_or_default();
    let version = get("sv");
    let time = if get("sr") == "bs" {
        get("snapshot")
    } else {
        String::new()
    };
    let since = |first: &str, fields: Vec<String>| {
        if version.as_str() >= first {
            fields
        } else {
            Vec::new()
        }
    };
    let text = [
        vec![get("sp"), get("st"), get("se"), format!("/blob/dev{path}")],
        vec![
            get("skoid"),
            get("sktid"),
            get("skt"),
            get("ske"),
            get("sks"),
            get("skv"),
        ],
        since("2020-02-10", vec![get("saoid"), get("suoid"), get("scid")]),
        since("2025-07-05", vec![get("skdutid"), get("sduoid")]),
        vec![get("sip"), get("spr"), version.clone(), get("sr"), time],
        since("2020-12-06", vec![get("ses")]),
        since("2026-04-06", vec![headers.to_owned(), parameters.to_owned()]),
        vec![get("rscc"), get("rscd"), get("rsce"), get("rscl"), get("rsct")],
    ]
    .concat()
    .join("\n");
    let signature = SharedKey::from_base64(&of(key, "Value")).unwrap().sign(&text);
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let mut query = format!("sig={}", encode(&signature));
    for (name, value) in terms.iter().filter(|(_, value)| !value.is_empty()) {
        query.push_str(&format!("&{name}={}", encode(value)));
    }
    query
}

const VERSIONS: [&str; 7] = [
    "2018-11-09",
    "2020-02-10",
    "2020-12-06",
    "2022-11-02",
    "2025-07-05",
    "2026-04-06",
    "2026-10-06",
];

async fn boxed() -> (Estate, String) {
    let estate = estate();
    estate.bench.ask("PUT", "/box?restype=container", &[], b"").await;
    estate.bench.put("/box/x", b"content").await;
    let token = estate.token(&object_id(Role::Reader)).await;
    let (status, code, key) = asked_key(&estate, &token, "").await;
    assert_eq!((status, code.as_str()), (200, ""), "{key}");
    (estate, key)
}

async fn get(estate: &Estate, path: &str, query: &str) -> (u16, String) {
    outcome(&estate.bare("GET", &format!("{path}?{query}"), &[], b"").await)
}

fn failed() -> (u16, String) {
    (403, "AuthenticationFailed".to_owned())
}

fn good() -> (u16, String) {
    (200, String::new())
}

#[tokio::test]
async fn keys_are_for_tokens_and_say_what_they_are() {
    let (estate, key) = boxed().await;
    for (tag, value) in [
        ("SignedOid", object_id(Role::Reader).as_str()),
        ("SignedTid", TENANT),
        ("SignedStart", START),
        ("SignedExpiry", EXPIRY),
        ("SignedService", "b"),
        ("SignedVersion", "2024-11-04"),
        ("SignedDelegatedUserTid", ""),
    ] {
        assert_eq!(of(&key, tag), value, "{tag}");
    }
    // The same again for the same principal and times; another one for each other.
    let reader = estate.token(&object_id(Role::Reader)).await;
    assert_eq!(asked_key(&estate, &reader, "").await.2, key);
    let owner = estate.token(&object_id(Role::Owner)).await;
    let other = asked_key(&estate, &owner, "").await.2;
    assert_ne!(of(&other, "Value"), of(&key, "Value"));
    let tenant = format!("<DelegatedUserTid>{TENANT}</DelegatedUserTid>");
    let delegated = asked_key(&estate, &reader, &tenant).await.2;
    assert_eq!(of(&delegated, "SignedDelegatedUserTid"), TENANT);
    assert_ne!(of(&delegated, "Value"), of(&key, "Value"));
    let foreign = "<DelegatedUserTid>other</DelegatedUserTid>";
    assert_eq!(
        asked_key(&estate, &reader, foreign).await.1,
        "InvalidXmlNodeValue"
    );
    let nobody = estate.token(NOBODY).await;
    assert_eq!(
        asked_key(&estate, &nobody, "").await.1,
        "AuthorizationPermissionMismatch"
    );
    // The account's key asks for no other one.
    let body = format!("<KeyInfo><Expiry>{EXPIRY}</Expiry></KeyInfo>");
    let answer = estate.bench.ask("POST", KEY, &[], body.as_bytes()).await;
    assert_eq!(outcome(&answer), failed());
    let longer = "<KeyInfo><Expiry>2023-11-22T22:00:00Z</Expiry></KeyInfo>";
    let answer = estate.ask(&reader, "POST", KEY, &[], longer.as_bytes()).await;
    assert_eq!(outcome(&answer), (400, "InvalidXmlNodeValue".to_owned()));
}

#[tokio::test]
async fn every_version_signs_its_own_fields() {
    let (estate, key) = boxed().await;
    let snapshot = take_snapshot(&estate.bench, "/box/x").await;
    for version in VERSIONS {
        let plain = terms(&key, version);
        assert_eq!(
            get(&estate, "/box/x", &query(&key, &plain, "/box/x", ("", ""))).await,
            good(),
            "{version}"
        );
        // The container's opens its blobs, and its list where it says so.
        let mut container = plain.clone();
        container.insert("sr", "c".to_owned());
        container.insert("sp", "rl".to_owned());
        let sas = query(&key, &container, "/box", ("", ""));
        assert_eq!(get(&estate, "/box/x", &sas).await, good(), "{version}");
        let list = format!("restype=container&comp=list&{sas}");
        assert_eq!(get(&estate, "/box", &list).await, good(), "{version}");
        let mut of_snapshot = plain.clone();
        of_snapshot.insert("sr", "bs".to_owned());
        of_snapshot.insert("snapshot", snapshot.clone());
        let sas = query(&key, &of_snapshot, "/box/x", ("", ""));
        assert_eq!(get(&estate, "/box/x", &sas).await, good(), "{version}");
        // Everything that may stand in it at once.
        let mut full = plain.clone();
        for (name, value) in [
            ("st", START),
            ("saoid", NOBODY),
            ("scid", "c"),
            ("sip", "127.0.0.1"),
            ("spr", "https"),
            ("ses", "scope"),
            ("rscc", "no-store"),
            ("rsct", "text/plain"),
        ] {
            full.insert(name, value.to_owned());
        }
        let sas = query(&key, &full, "/box/x", ("", ""));
        let answer = estate.bare("GET", &format!("/box/x?{sas}"), &[], b"").await;
        assert_eq!(outcome(&answer), good(), "{version}: {}", answer.text());
        assert_eq!(answer.header("cache-control"), "no-store");
        // Whatever is changed afterwards, the signature doesn't fit any more.
        let mut signed: Vec<&str> = vec![
            "sp", "st", "se", "skt", "ske", "skv", "sip", "spr", "rscc", "rsct",
        ];
        if version >= "2020-02-10" {
            signed.extend(["saoid", "scid"]);
        }
        if version >= "2020-12-06" {
            signed.push("ses");
        }
        for name in signed {
            let changed = match name {
                "st" | "skt" => "2023-11-14T22:00:01Z",
                "se" | "ske" => "2023-11-16T22:00:00Z",
                "sp" => "rw",
                "skv" => "2024-11-05",
                "sip" => "127.0.0.0-127.0.0.2",
                "spr" => "https,http",
                _ => "other",
            };
            let encoded = |value: &str| {
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let old = format!("&{name}={}", encoded(&full[name]));
            assert!(sas.contains(&old), "{old} {sas}");
            let other = sas.replace(&old, &format!("&{name}={}", encoded(changed)));
            assert_eq!(get(&estate, "/box/x", &other).await, failed(), "{version} {name}");
        }
    }
}

#[tokio::test]
async fn a_signature_is_of_its_signer_and_its_resource() {
    let (estate, key) = boxed().await;
    let plain = terms(&key, "2022-11-02");
    let sign = |change: &[(&'static str, &str)], path: &str| {
        let mut terms = plain.clone();
        for (name, value) in change {
            terms.insert(name, (*value).to_owned());
        }
        query(&key, &terms, path, ("", ""))
    };
    let owner = object_id(Role::Owner);
    for (change, path) in [
        // Somebody else's name, another tenant, another service, times, versions, resources.
        (vec![("skoid", owner.as_str())], "/box/x"),
        (vec![("sktid", "bbbbbbbb-0000-4000-8000-000000000000")], "/box/x"),
        (vec![("sks", "q")], "/box/x"),
        (vec![("skt", "")], "/box/x"),
        (vec![("ske", "soon")], "/box/x"),
        (vec![("skoid", "")], "/box/x"),
        (vec![("sv", "2015-04-05")], "/box/x"),
        (vec![("si", "policy")], "/box/x"),
        (vec![("suoid", NOBODY)], "/box/x"),
        (vec![("sr", "d")], "/box/x"),
        (vec![("sr", "bv")], "/box/x"),
        (vec![("se", "2023-11-14T22:00:00Z")], "/box/x"),
        (vec![("st", "2023-11-15T21:00:00Z")], "/box/x"),
        (vec![], "/box/y"),
        (vec![], "/other/x"),
    ] {
        let found = get(&estate, "/box/x", &sign(&change, path)).await;
        // Without skoid it is a service SAS whose signature doesn't fit.
        assert_eq!(found, failed(), "{change:?} {path}");
    }
    // The signature holds as long as both it and its key do.
    let longer = sign(&[("se", "2030-01-01T00:00:00Z")], "/box/x");
    assert_eq!(get(&estate, "/box/x", &longer).await, good());
    estate.bench.clock.advance_seconds(86_000);
    assert_eq!(get(&estate, "/box/x", &longer).await, failed());
    // The account's key doesn't sign in a principal's name.
    let account = key.replace(&of(&key, "Value"), bench::KEY);
    let forged = query(&account, &plain, "/box/x", ("", ""));
    assert_eq!(get(&estate, "/box/x", &forged).await, failed());
}

#[tokio::test]
async fn a_signature_may_be_bound_to_a_place_and_to_tls() {
    let (estate, key) = boxed().await;
    let mut terms = terms(&key, "2022-11-02");
    terms.insert("sip", "10.0.0.1-10.0.0.9".to_owned());
    terms.insert("spr", "https".to_owned());
    let path = format!("/box/x?{}", query(&key, &terms, "/box/x", ("", "")));
    for (peer, secure, expected) in [
        ("10.0.0.9", true, (200, "")),
        ("10.0.0.9", false, (403, "AuthorizationProtocolMismatch")),
        ("10.0.0.10", true, (403, "AuthorizationSourceIPMismatch")),
    ] {
        let request = bare("GET", &path, &[], b"");
        let answer = estate.bench.send_from(peer, secure, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            expected,
            "{peer} {secure}"
        );
    }
}

#[tokio::test]
async fn rights_are_the_signers_at_the_time_of_use() {
    let (estate, _) = boxed().await;
    let contributor = object_id(Role::Contributor);
    let token = estate.token(&contributor).await;
    let key = asked_key(&estate, &token, "").await.2;
    let mut written = terms(&key, "2022-11-02");
    written.insert("sp", "rwt".to_owned());
    let sas = query(&key, &written, "/box/x", ("", ""));
    let put = [("x-ms-blob-type", "BlockBlob")];
    let path = format!("/box/x?{sas}");
    assert_eq!(estate.bare("PUT", &path, &put, b"new").await.status, 201);
    let refused = (403, "AuthorizationPermissionMismatch".to_owned());
    // A contributor has no tags to give away, whatever the signature says.
    assert_eq!(get(&estate, "/box/x", &format!("comp=tags&{sas}")).await, refused);
    let (ledger, content) = (estate.bench.ledger.clone(), estate.bench.content.clone());
    // Later the role is taken away: the key signs, but for nothing.
    let without = |assignments: &mut Vec<Assignment>| {
        assignments.retain(|given| given.role != Role::Contributor);
    };
    let restarted = estate.over((ledger.clone(), content.clone()), |account| {
        without(&mut account.roles);
    });
    assert_eq!(get(&restarted, "/box/x", &sas).await, refused);
    // A restart alone ends no key; another generation ends them all.
    let same = estate.over((ledger.clone(), content.clone()), |_| {});
    assert_eq!(get(&same, "/box/x", &sas).await, good());
    let revoked = estate.over((ledger, content), |account| account.delegation_generation = 1);
    assert_eq!(get(&revoked, "/box/x", &sas).await, failed());
}

#[tokio::test]
async fn a_signature_for_one_user_needs_that_users_token() {
    let (estate, key) = boxed().await;
    let user = object_id(Role::Delegator);
    let tenant = format!("<DelegatedUserTid>{TENANT}</DelegatedUserTid>");
    let reader = estate.token(&object_id(Role::Reader)).await;
    let with_tenant = asked_key(&estate, &reader, &tenant).await.2;
    for key in [&key, &with_tenant] {
        let mut terms = terms(key, "2025-07-05");
        terms.insert("sduoid", user.clone());
        let sas = query(key, &terms, "/box/x", ("", ""));
        let path = format!("/box/x?{sas}");
        assert_eq!(get(&estate, "/box/x", &sas).await, failed());
        let own = estate.token(&user).await;
        assert_eq!(outcome(&estate.ask(&own, "GET", &path, &[], b"").await), good());
        let other = estate.token(NOBODY).await;
        assert_eq!(
            outcome(&estate.ask(&other, "GET", &path, &[], b"").await),
            failed()
        );
        let broken = estate.ask("x", "GET", &path, &[], b"").await;
        assert_eq!(broken.status, 401);
    }
    // A key for users of a tenant signs for one of them.
    let anybody = query(
        &with_tenant,
        &terms(&with_tenant, "2025-07-05"),
        "/box/x",
        ("", ""),
    );
    assert_eq!(get(&estate, "/box/x", &anybody).await, failed());
}

#[tokio::test]
async fn headers_and_parameters_may_be_signed() {
    let (estate, key) = boxed().await;
    let mut terms = terms(&key, "2026-04-06");
    terms.insert("srh", "x-ms-client-request-id,Cache-Hint".to_owned());
    terms.insert("srq", "timeout".to_owned());
    let signed = ("x-ms-client-request-id:one\nCache-Hint:a b\n", "\ntimeout:30");
    let path = format!("/box/x?timeout=30&{}", query(&key, &terms, "/box/x", signed));
    let headers = [("x-ms-client-request-id", "one"), ("cache-hint", "a b")];
    assert_eq!(outcome(&estate.bare("GET", &path, &headers, b"").await), good());
    let other = [("x-ms-client-request-id", "two"), ("cache-hint", "a b")];
    assert_eq!(outcome(&estate.bare("GET", &path, &other, b"").await), failed());
    assert_eq!(
        outcome(&estate.bare("GET", &path, &headers[..1], b"").await),
        failed()
    );
    let changed = path.replace("timeout=30", "timeout=31");
    assert_eq!(
        outcome(&estate.bare("GET", &changed, &headers, b"").await),
        failed()
    );
    let absent = path.replace("timeout=30&", "");
    assert_eq!(
        outcome(&estate.bare("GET", &absent, &headers, b"").await),
        failed()
    );
    // Versions of before don't sign them: they would be promised in vain.
    terms.insert("sv", "2025-07-05".to_owned());
    let old = format!("/box/x?timeout=30&{}", query(&key, &terms, "/box/x", ("", "")));
    assert_eq!(outcome(&estate.bare("GET", &old, &headers, b"").await), failed());
}

#[tokio::test]
async fn no_value_stands_for_another_field() {
    let (estate, key) = boxed().await;
    let mut listing = terms(&key, "2026-04-06");
    for (name, value) in [("sr", "c"), ("sp", "l"), ("srq", "prefix")] {
        listing.insert(name, value.to_owned());
    }
    let signed = query(&key, &listing, "/box", ("", "\nprefix:user1/"));
    let list = "/box?restype=container&comp=list";
    let kept = format!("{list}&prefix=user1%2F&{signed}");
    assert_eq!(outcome(&estate.bare("GET", &kept, &[], b"").await), good());
    // The same text is signed where a line's end lets another field hold what was demanded.
    let stripped = signed.replace("&srq=prefix", "");
    let moved = format!("{list}&{stripped}&rscc=prefix%3Auser1%2F%0A");
    assert_eq!(outcome(&estate.bare("GET", &moved, &[], b"").await), failed());
    let twice = format!("{list}&prefix=user1%2F&prefix=user2%2F&{signed}");
    assert_eq!(outcome(&estate.bare("GET", &twice, &[], b"").await), failed());

    let mut headed = terms(&key, "2026-04-06");
    headed.insert("srh", "x-ms-client-request-id".to_owned());
    let signed = query(&key, &headed, "/box/x", ("x-ms-client-request-id:one\n", ""));
    let path = format!("/box/x?{signed}");
    let once = [("x-ms-client-request-id", "one")];
    assert_eq!(outcome(&estate.bare("GET", &path, &once, b"").await), good());
    let stripped = signed.replace("&srh=x%2Dms%2Dclient%2Drequest%2Did", "");
    assert_ne!(stripped, signed);
    let moved = format!("/box/x?{stripped}&ses=%0Ax-ms-client-request-id%3Aone");
    assert_eq!(outcome(&estate.bare("GET", &moved, &[], b"").await), failed());
    let twice = [once[0], ("x-ms-client-request-id", "two")];
    assert_eq!(outcome(&estate.bare("GET", &path, &twice, b"").await), failed());
}

#[tokio::test]
async fn one_user_is_named_where_the_name_is_signed_alone() {
    let (estate, key) = boxed().await;
    let token = estate.token(NOBODY).await;
    for (version, expected) in [("2025-07-05", good()), ("2023-11-03", failed())] {
        let mut terms = terms(&key, version);
        terms.insert("sduoid", NOBODY.to_owned());
        let path = format!("/box/x?{}", query(&key, &terms, "/box/x", ("", "")));
        assert_eq!(
            outcome(&estate.ask(&token, "GET", &path, &[], b"").await),
            expected
        );
    }
}

#[tokio::test]
async fn what_a_signature_says_of_the_protocol_is_known_or_refused() {
    let (estate, key) = boxed().await;
    for (protocols, expected) in [
        ("https", good()),
        ("https,http", good()),
        ("HTTPS", failed()),
        ("https,", failed()),
    ] {
        let mut terms = terms(&key, "2022-11-02");
        terms.insert("spr", protocols.to_owned());
        let sas = query(&key, &terms, "/box/x", ("", ""));
        assert_eq!(get(&estate, "/box/x", &sas).await, expected, "{protocols}");
    }
}

#[tokio::test]
async fn what_an_account_is_is_told_to_signers_who_may_know() {
    let (estate, key) = boxed().await;
    let mut terms = terms(&key, "2022-11-02");
    terms.insert("sr", "c".to_owned());
    let sas = query(&key, &terms, "/box", ("", ""));
    assert_eq!(get(&estate, "/box/x", &sas).await, good());
    // None of the roles has the action.
    let asked = format!("restype=account&comp=properties&{sas}");
    let refused = (403, "AuthorizationPermissionMismatch".to_owned());
    assert_eq!(get(&estate, "/box", &asked).await, refused);
}
