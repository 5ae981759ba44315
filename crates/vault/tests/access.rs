//! Who gets in: the challenge, tokens, roles as a golden table, TLS, a sealed vault.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects may end it"
)]

mod world;

use ledger::Clock as _;
use serde_json::{Value, json};
use std::sync::Arc;
use vault::operation::{Operation, Support};
use vault::rules::roles::Role;
use vault::seal::{RootKey, Seal};
use world::{HOST, TENANT, World, holder};

/// Which role may do what: a column for each role in the order of [`Role::ALL`] (administrator, secrets user,
/// secrets officer, crypto user, crypto officer, crypto service encryption user, certificates officer,
/// certificate user, reader). Written from Azure's definitions of the roles, not from the code.
const GOLDEN: &str = "
SecretSet               x . x . . . . . .
SecretGet               x x x . . . . x .
SecretUpdate            x . x . . . . . .
SecretList              x x x . . . . x x
SecretListVersions      x x x . . . . x x
SecretDelete            x . x . . . . . .
SecretListDeleted       x x x . . . . x x
SecretGetDeleted        x x x . . . . x x
SecretRecover           x . x . . . . . .
SecretPurge             x . x . . . . . .
SecretBackup            x . x . . . . . .
SecretRestore           x . x . . . . . .
KeyCreate               x . . . x . . . .
KeyImport               x . . . x . . . .
KeyGet                  x . . x x x . x x
KeyUpdate               x . . x x . . . .
KeyList                 x . . x x x . x x
KeyListVersions         x . . x x x . x x
KeyDelete               x . . . x . . . .
KeyListDeleted          x . . x x x . x x
KeyGetDeleted           x . . x x x . x x
KeyRecover              x . . . x . . . .
KeyPurge                x . . . x . . . .
KeyBackup               x . . x x . . . .
KeyRestore              x . . . x . . . .
KeyEncrypt              x . . x x . . . .
KeyDecrypt              x . . x x . . . .
KeyWrap                 x . . x x x . . .
KeyUnwrap               x . . x x x . . .
KeySign                 x . . x x . . . .
KeyVerify               x . . x x . . . .
KeyRotate               x . . . x . . . .
KeyGetRotationPolicy    x . . . x . . . x
KeySetRotationPolicy    x . . . x . . . .
KeyRelease              x . . . x . . . .
KeyGetAttestation       x . . x x x . x x
KeyGetRandomBytes       x . . . . . . . .
CertificateCreate       x . . . . . x . .
CertificateImport       x . . . . . x . .
CertificateGet          x . . . . . x x x
CertificateUpdate       x . . . . . x . .
CertificateList         x . . . . . x x x
CertificateListVersions x . . . . . x x x
CertificateDelete       x . . . . . x . .
CertificateListDeleted  x . . . . . x x x
CertificateGetDeleted   x . . . . . x x x
CertificateRecover      x . . . . . x . .
CertificatePurge        x . . . . . x . .
CertificateBackup       x . . . . . x . .
CertificateRestore      x . . . . . x . .
CertificatePolicyGet    x . . . . . x x x
CertificatePolicySet    x . . . . . x . .
CertificatePendingGet   x . . . . . x x x
CertificatePendingUpdate x . . . . . x . .
CertificatePendingDelete x . . . . . x . .
CertificatePendingMerge x . . . . . x . .
CertificateContactsGet  x . . . . . x x x
CertificateContactsSet  x . . . . . x . .
CertificateContactsDelete x . . . . . x . .
CertificateIssuersList  x . . . . . x . x
CertificateIssuersGet   x . . . . . x . x
CertificateIssuersSet   x . . . . . x . .
CertificateIssuersUpdate x . . . . . x . .
CertificateIssuersDelete x . . . . . x . .
";

fn request_of(operation: Operation, name: &str) -> (String, String) {
    let (method, path) = operation.request().split_once(' ').unwrap();
    let version = "0".repeat(32);
    let path = path
        .replace("{n}", name)
        .replace("{v}", &version)
        .replace("{i}", "issuer");
    (method.to_owned(), path)
}

#[tokio::test]
async fn every_operation_lets_in_its_roles_and_nobody_else() {
    let world = World::new().await;
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap();
        let operation = Operation::ALL.iter().find(|known| known.name() == name).unwrap();
        seen.push(*operation);
        let (method, path) = request_of(*operation, "some");
        let allowed: Vec<bool> = words.map(|word| word == "x").collect();
        assert_eq!(allowed.len(), Role::ALL.len(), "{line}");
        for (role, allowed) in Role::ALL.into_iter().zip(allowed) {
            let answer = world.by(&holder(role), &method, &path, Value::Null).await;
            let refused = answer.status == 403 && answer.inner() == "ForbiddenByRbac";
            if refused == allowed {
                wrong.push(format!("{name} {role:?}: {}", answer.status));
            }
            if allowed && operation.support() == Support::No {
                answer.is(501, "NotImplemented");
            }
        }
        for stranger in ["nobody", "one-object"] {
            let answer = world.by(stranger, &method, &path, Value::Null).await;
            if answer.inner() != "ForbiddenByRbac" {
                wrong.push(format!("{name} {stranger}: {}", answer.status));
            }
        }
        // Bare, and before anything else is looked at.
        let bare = World::request(&method, HOST, &path, None, "not json");
        world.send(bare).await.is(401, "Unauthorized");
    }
    assert_eq!(seen, Operation::ALL, "an operation without a line");
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn a_role_for_one_object_is_for_that_object() {
    let world = World::new().await;
    let body = || json!({"value": "v"});
    world.by("one-object", "PUT", "/secrets/mine", body()).await.ok();
    world
        .by("one-object", "GET", "/secrets/MINE/", Value::Null)
        .await
        .ok();
    world
        .by("one-object", "DELETE", "/secrets/mine", Value::Null)
        .await
        .ok();
    world
        .by("one-object", "POST", "/deletedsecrets/mine/recover", Value::Null)
        .await
        .ok();
    for (method, path) in [
        ("PUT", "/secrets/mine2"),
        ("GET", "/secrets"),
        ("GET", "/deletedsecrets"),
        ("POST", "/secrets/restore"),
        ("GET", "/certificates/mine"),
    ] {
        let refused = world.by("one-object", method, path, body()).await;
        refused.is(403, "Forbidden/ForbiddenByRbac");
    }
    let ec = json!({"kty": "EC"});
    world
        .by("one-object", "POST", "/keys/mine/create", ec.clone())
        .await
        .ok();
    world
        .by("one-object", "POST", "/keys/other/create", ec)
        .await
        .is(403, "Forbidden/ForbiddenByRbac");
}

#[tokio::test]
async fn strangers_are_told_where_to_go_and_nothing_else() {
    let world = World::new().await;
    world.call("PUT", "/secrets/a", json!({"value": "v"})).await.ok();
    for (method, path) in [
        ("GET", "/secrets/a?api-version=7.4"),
        ("GET", "/secrets/none"),
        ("PUT", "/nothing/at/all"),
        ("GET", "/"),
    ] {
        let answer = world.send(World::request(method, HOST, path, None, "{")).await;
        assert_eq!(
            answer.headers["www-authenticate"],
            "Bearer authorization=\"https://login.example/t\", resource=\"https://vault.example\""
        );
        assert!(
            answer.json["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("AKV10000")
        );
        assert_eq!(answer.headers["x-ms-client-request-id"], "client-1");
        assert!(answer.headers.contains_key("x-ms-request-id"));
        assert_eq!(answer.headers["cache-control"], "no-store");
        answer.is(401, "Unauthorized");
    }
    // The port is part of the resource.
    let ported = World::request("GET", "acme.vault.example:8443", "/secrets", None, "");
    let answer = world.send(ported).await;
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.ends_with("resource=\"https://vault.example:8443\""),
        "{challenge}"
    );
    for host in [
        "none.vault.example",
        "vault.example",
        "localhost",
        "a b",
        "acme.vault.example.evil",
        "acme.vault.example:9999",
    ] {
        let answer = world
            .send(World::request("GET", host, "/secrets", None, ""))
            .await;
        assert_eq!(answer.status, 404, "{host}");
        assert!(!answer.headers.contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn only_good_tokens_for_this_vault_count() {
    let world = World::new().await;
    let admin = holder(Role::Administrator);
    let with = async |token: &str| {
        let request = World::request("GET", HOST, "/secrets?api-version=7.4", Some(token), "");
        world.send(request).await
    };
    let good = "https://vault.example";
    for audience in [good, "https://vault.example/", "https://vault.azure.net"] {
        with(&world.token_of(&admin, audience, |_| {}).await).await.ok();
    }
    let refused = async |token: &str, beginning: &str| {
        let answer = with(token).await;
        let message = answer.json["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with(beginning), "{message}");
        assert!(answer.headers.contains_key("www-authenticate"));
        answer.is(401, "Unauthorized");
    };
    for audience in [
        "https://storage.azure.com",
        "https://acme.vault.example",
        "https://vault.example:8443",
        "",
    ] {
        refused(&world.token_of(&admin, audience, |_| {}).await, "AKV10022").await;
    }
    for tenant in [json!("other"), Value::Null] {
        let token = world
            .token_of(&admin, good, |claims| claims["tid"] = tenant)
            .await;
        refused(&token, "AKV10032").await;
    }
    let claims = json!({"aud": good, "oid": admin, "tid": TENANT})
        .as_object()
        .cloned()
        .unwrap();
    let foreign = world
        .issuer
        .issue("https://elsewhere", claims.clone(), 60)
        .await
        .unwrap();
    refused(&foreign, "AKV10032").await;
    let old = world
        .issuer
        .issue(world::ISSUER, claims.clone(), -1)
        .await
        .unwrap();
    refused(&old, "The token has expired").await;
    let nameless = world
        .token_of(&admin, good, |claims| claims["oid"] = Value::Null)
        .await;
    refused(&nameless, "The token names no principal").await;
    refused("a.b.c", "The token is malformed").await;
    let token = world.token_of(&admin, good, |_| {}).await;
    let cut = token.rsplit_once('.').unwrap().0;
    refused(&format!("{cut}.AAAA"), "The token is malformed").await;
    // Without TLS nothing is answered, whatever the token.
    let mut plain = World::request("GET", HOST, "/secrets?api-version=7.4", Some(&token), "");
    let context = plain
        .extensions_mut()
        .get_mut::<http_semantics::RequestContext>()
        .unwrap();
    context.secure = false;
    world.send(plain).await.is(403, "Forbidden");
}

#[tokio::test]
async fn without_its_root_key_a_vault_is_sealed_and_says_why_to_nobody() {
    let mut world = World::new().await;
    world.call("PUT", "/secrets/a", json!({"value": "v"})).await.ok();
    let other = world.folder.path().join("other.key");
    RootKey::make_file(&other, world.random.as_ref()).unwrap();
    let missing = Seal::sealed(world.ledger.clone(), "the file is gone");
    let wrong = world.seal(vec![RootKey::from_file(&other).unwrap()]).await;
    for seal in [Arc::new(missing), wrong] {
        let cause = seal.cause().unwrap().to_owned();
        world.restart_with(seal);
        assert!(world.vaults.sealed_because().is_some());
        for (method, path) in [
            ("GET", "/secrets/a"),
            ("PUT", "/secrets/b"),
            ("GET", "/secrets"),
            ("GET", "/keys"),
        ] {
            let answer = world.call(method, path, json!({"value": "v"})).await;
            assert!(!answer.text.contains(&cause), "{}", answer.text);
            answer.is(503, "ServiceUnavailable");
        }
        // Who may not isn't told either.
        world
            .by("nobody", "GET", "/secrets/a", Value::Null)
            .await
            .is(403, "Forbidden/ForbiddenByRbac");
        world.vaults.sweep_once().await.unwrap();
    }
    world.reopen().await;
    assert_eq!(
        world.call("GET", "/secrets/a", Value::Null).await.ok()["value"],
        "v"
    );
    assert!(world.clock.now().as_second() > 0 && world.ledger.stats().await.unwrap().head > 0);
}

#[tokio::test]
async fn a_record_moved_or_bent_on_disk_is_never_an_answer() {
    let world = World::new().await;
    for name in ["a", "b"] {
        world
            .call("PUT", &format!("/secrets/{name}"), json!({"value": name}))
            .await
            .ok();
    }
    let prefix = ledger::KeyWriter::new(ledger::Keyspace::Vault).u8(4).finish();
    let snapshot = world.ledger.snapshot().await.unwrap();
    let mut scan = ledger::Scan::new(
        snapshot.as_ref(),
        ledger::KeyRange::prefix(&prefix),
        ledger::Direction::Forward,
    );
    let (one, two) = (
        scan.next().await.unwrap().unwrap(),
        scan.next().await.unwrap().unwrap(),
    );
    let mut tx = ledger::Transaction::new();
    tx.put(one.key.clone(), two.versioned.value.clone());
    let mut bent = two.versioned.value.to_vec();
    *bent.last_mut().unwrap() ^= 1;
    tx.put(two.key.clone(), bent);
    world.ledger.commit(tx).await.unwrap();
    for path in ["/secrets/a", "/secrets/b"] {
        world
            .call("GET", path, Value::Null)
            .await
            .is(500, "InternalError");
    }
    // They are there, and nothing that was said of them is.
    let rows = world.call("GET", "/secrets", Value::Null).await.ok();
    for row in rows["value"].as_array().unwrap() {
        assert_eq!(row["attributes"]["enabled"], false);
        assert_eq!(row["attributes"]["created"], 0);
    }
}
