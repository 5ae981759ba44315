//! Secrets over the wire protocol: every operation, attributes, limits, versions, pages, deletion, backup.

mod world;

use serde_json::{Value, json};
use vault::rules::attributes::Recovery;
use vault::rules::roles::Role;
use world::{START, World, holder};

#[tokio::test]
async fn a_secret_is_set_read_and_versioned() {
    let world = World::new().await;
    let set = world
        .call(
            "PUT",
            "/secrets/Db-Password",
            json!({"value": "one \u{1F512}\n\"", "contentType": "text/plain", "tags": {"a": "b"},
                "attributes": {"nbf": 5, "exp": 4_000_000_000_i64}}),
        )
        .await
        .ok();
    assert_eq!(set["value"], "one \u{1F512}\n\"");
    let id = set["id"].as_str().unwrap();
    let (base, version) = id.rsplit_once('/').unwrap();
    assert_eq!(base, "https://acme.vault.example/secrets/Db-Password");
    assert!(version.len() == 32 && version.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(
        set["attributes"],
        json!({"enabled": true, "nbf": 5, "exp": 4_000_000_000_i64, "created": START, "updated": START,
            "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90})
    );
    assert_eq!(
        (&set["contentType"], &set["tags"]),
        (&json!("text/plain"), &json!({"a": "b"}))
    );

    // Names without case, latest with and without the empty last segment; the first spelling stays.
    for path in [
        "/secrets/db-password",
        "/secrets/DB-PASSWORD/",
        "//Secrets/Db-Password/",
    ] {
        let got = world.call("GET", path, Value::Null).await.ok();
        assert_eq!(got, set, "{path}");
    }
    world.clock.advance_seconds(10);
    let second = world
        .call("PUT", "/secrets/DB-password", json!({"value": ""}))
        .await
        .ok();
    assert_eq!(second["value"], "");
    assert!(
        second["id"]
            .as_str()
            .unwrap()
            .starts_with("https://acme.vault.example/secrets/Db-Password/")
    );
    assert_eq!(second["attributes"]["created"], START + 10);
    assert!(second.get("contentType").is_none() && second.get("tags").is_none());
    let latest = world.call("GET", "/secrets/Db-Password", Value::Null).await.ok();
    assert_eq!(latest, second);
    let old = world
        .call("GET", &format!("/secrets/db-password/{version}"), Value::Null)
        .await
        .ok();
    assert_eq!(old, set);
    // Links are of the host that was asked.
    let token = world
        .token_of(&holder(Role::Administrator), "https://vault.example:8443", |_| {})
        .await;
    let path = "/secrets/db-password?api-version=7.4";
    let ported = World::request("GET", "ACME.vault.example:8443", path, Some(&token), "");
    let ported = world.send(ported).await.ok();
    assert!(
        ported["id"]
            .as_str()
            .unwrap()
            .starts_with("https://acme.vault.example:8443/secrets/")
    );
    // The other vault has none of it.
    let other = world
        .at(
            "other.vault.example",
            &holder(Role::Administrator),
            "GET",
            "/secrets/db-password",
            Value::Null,
        )
        .await;
    other.is(404, "SecretNotFound");
}

#[tokio::test]
async fn attributes_change_and_disabled_secrets_are_not_read() {
    let world = World::new().await;
    let set = world
        .call(
            "PUT",
            "/secrets/a",
            json!({"value": "v", "contentType": "x", "tags": {"k": "w"}}),
        )
        .await
        .ok();
    let version = set["id"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
    world.clock.advance_seconds(5);
    let path = format!("/secrets/a/{version}");
    let patched = world
        .call(
            "PATCH",
            &path,
            json!({"attributes": {"enabled": false, "exp": 7}}),
        )
        .await
        .ok();
    assert!(patched.get("value").is_none());
    assert_eq!(patched["attributes"]["enabled"], false);
    assert_eq!(patched["attributes"]["updated"], START + 5);
    assert_eq!(
        (&patched["contentType"], &patched["tags"]),
        (&json!("x"), &json!({"k": "w"}))
    );
    for path in ["/secrets/a", &path] {
        let refused = world.call("GET", path, Value::Null).await;
        refused.is(403, "Forbidden/SecretDisabled");
    }
    let list = world.call("GET", "/secrets", Value::Null).await.ok();
    assert_eq!(list["value"][0]["attributes"]["enabled"], false);
    let patched = world
        .call(
            "PATCH",
            &path,
            json!({"attributes": {"enabled": true}, "tags": {}, "contentType": "y"}),
        )
        .await
        .ok();
    assert!(patched.get("tags").is_none() && patched["contentType"] == "y");
    assert_eq!(patched["attributes"]["exp"], 7);
    // Outside of its time it reads fine.
    assert_eq!(
        world.call("GET", "/secrets/a", Value::Null).await.ok()["value"],
        "v"
    );
    world
        .call("PATCH", "/secrets/none/", json!({}))
        .await
        .is(404, "SecretNotFound");
}

#[tokio::test]
async fn what_breaks_a_limit_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    let tags = |count: usize| -> Value { (0..count).map(|at| (format!("t{at}"), json!("v"))).collect() };
    let longest = "x".repeat(25 * 1024);
    assert_eq!(
        world
            .call(
                "PUT",
                "/secrets/long",
                json!({"value": longest, "tags": tags(15)})
            )
            .await
            .ok()["value"],
        longest
    );
    for body in [
        json!({"value": "x".repeat(25 * 1024 + 1)}),
        json!({"value": "v", "tags": tags(16)}),
        json!({"value": "v", "tags": {"a": "x".repeat(257)}}),
        json!({"value": "v", "contentType": "x".repeat(256)}),
        json!({"value": null}),
        json!({"value": 7}),
        json!({}),
        json!([]),
    ] {
        world
            .call("PUT", "/secrets/a", body)
            .await
            .is(400, "BadParameter");
    }
    world
        .call("PUT", "/secrets/a", Value::Null)
        .await
        .is(400, "BadParameter");
    for name in ["a_b", "a.b", "%C3%A5", &"x".repeat(128)] {
        world
            .call("PUT", &format!("/secrets/{name}"), json!({"value": "v"}))
            .await
            .is(400, "BadParameter");
    }
    let huge = json!({"value": "x".repeat(300_000)});
    world
        .call("PUT", "/secrets/a", huge)
        .await
        .is(413, "RequestBodyTooLarge");
    world
        .call("GET", "/secrets/a", Value::Null)
        .await
        .is(404, "SecretNotFound");
    world
        .call("GET", "/secrets/long/1234", Value::Null)
        .await
        .is(400, "BadParameter");
    let unknown = format!("/secrets/long/{}", "0".repeat(32));
    world
        .call("GET", &unknown, Value::Null)
        .await
        .is(404, "SecretNotFound");
    for version in ["", "banana", "6.0"] {
        let path = format!("/secrets/long?api-version={version}");
        world
            .call("GET", &path, Value::Null)
            .await
            .is(400, "BadParameter");
    }
    world
        .call("GET", "/secrets/long?api%2Dversion=2031-12-31", Value::Null)
        .await
        .ok();
    world
        .call("GET", "/secrets?maxresults=26", Value::Null)
        .await
        .is(400, "BadParameter");
    world
        .call("GET", "/secrets?$skiptoken=!", Value::Null)
        .await
        .is(400, "BadParameter");
    world
        .call("GET", "/storage", Value::Null)
        .await
        .is(404, "NotFound");
}

#[tokio::test]
async fn lists_come_in_pages() {
    let world = World::new().await;
    for at in 0..30 {
        world
            .call("PUT", &format!("/secrets/s{at:02}"), json!({"value": "v"}))
            .await
            .ok();
    }
    for _ in 0..3 {
        world
            .call("PUT", "/secrets/S07", json!({"value": "w"}))
            .await
            .ok();
    }
    let pages = async |first: &str| {
        let (mut rows, mut counts, mut path) = (Vec::new(), Vec::new(), first.to_owned());
        loop {
            let page = world.call("GET", &path, Value::Null).await.ok();
            let found = page["value"].as_array().unwrap().clone();
            counts.push(found.len());
            rows.extend(found);
            let Some(next) = page["nextLink"].as_str() else {
                assert_eq!(page["nextLink"], Value::Null);
                return (rows, counts);
            };
            path = next
                .strip_prefix("https://acme.vault.example")
                .unwrap()
                .to_owned();
        }
    };
    let (rows, counts) = pages("/secrets").await;
    assert_eq!(counts, [25, 5]);
    assert_eq!(rows[7]["id"], "https://acme.vault.example/secrets/s07");
    assert!(rows.iter().all(|row| row.get("value").is_none()));
    assert_eq!(pages("/secrets?maxresults=15").await.1, [15, 15]);
    let (versions, counts) = pages("/secrets/s07/versions?maxresults=3").await;
    assert_eq!(counts, [3, 1]);
    let mut ids: Vec<&str> = versions.iter().map(|row| row["id"].as_str().unwrap()).collect();
    ids.dedup();
    assert!(ids.len() == 4 && ids.iter().all(|id| id.rsplit('/').next().unwrap().len() == 32));
    for at in 0..30 {
        world
            .call("DELETE", &format!("/secrets/s{at:02}"), Value::Null)
            .await
            .ok();
    }
    assert!(pages("/secrets").await.0.is_empty());
    let (deleted, counts) = pages("/deletedsecrets").await;
    assert_eq!(counts, [25, 5]);
    assert_eq!(
        deleted[0]["recoveryId"],
        "https://acme.vault.example/deletedsecrets/s00"
    );
    world
        .call("GET", "/secrets/s07/versions", Value::Null)
        .await
        .is(404, "SecretNotFound");
}

#[tokio::test]
async fn what_is_deleted_is_recovered_or_purged() {
    let world = World::new().await;
    world
        .call("PUT", "/secrets/a", json!({"value": "one"}))
        .await
        .ok();
    let two = world
        .call("PUT", "/secrets/a", json!({"value": "two"}))
        .await
        .ok();
    world.clock.advance_seconds(3);
    let deleted = world.call("DELETE", "/secrets/A", Value::Null).await.ok();
    assert_eq!(deleted["id"], two["id"]);
    assert_eq!(
        deleted["recoveryId"],
        "https://acme.vault.example/deletedsecrets/a"
    );
    assert_eq!(deleted["deletedDate"], START + 3);
    assert_eq!(deleted["scheduledPurgeDate"], START + 3 + 90 * 86_400);
    assert!(deleted.get("value").is_none());
    world
        .call("GET", "/secrets/a", Value::Null)
        .await
        .is(404, "SecretNotFound");
    world
        .call("DELETE", "/secrets/a", Value::Null)
        .await
        .is(404, "SecretNotFound");
    let again = world.call("PUT", "/secrets/A", json!({"value": "three"})).await;
    again.is(409, "Conflict/ObjectIsDeletedButRecoverable");
    assert_eq!(
        world.call("GET", "/deletedsecrets/a", Value::Null).await.ok(),
        deleted
    );

    let recovered = world
        .call("POST", "/deletedsecrets/a/recover", Value::Null)
        .await
        .ok();
    assert_eq!(recovered["id"], two["id"]);
    assert!(recovered.get("recoveryId").is_none());
    assert_eq!(
        world.call("GET", "/secrets/a", Value::Null).await.ok()["value"],
        "two"
    );
    let versions = world.call("GET", "/secrets/a/versions", Value::Null).await.ok();
    assert_eq!(versions["value"].as_array().unwrap().len(), 2);
    world
        .call("GET", "/deletedsecrets/a", Value::Null)
        .await
        .is(404, "SecretNotFound");
    world
        .call("POST", "/deletedsecrets/a/recover", Value::Null)
        .await
        .is(404, "SecretNotFound");

    world.call("DELETE", "/secrets/a", Value::Null).await.ok();
    let purged = world.call("DELETE", "/deletedsecrets/a", Value::Null).await;
    assert_eq!((purged.status.as_u16(), purged.text.as_str()), (204, ""));
    world
        .call("GET", "/deletedsecrets/a", Value::Null)
        .await
        .is(404, "SecretNotFound");
    // A new one of the same name has nothing of it.
    world
        .call("PUT", "/secrets/A", json!({"value": "new"}))
        .await
        .ok();
    let versions = world.call("GET", "/secrets/a/versions", Value::Null).await.ok();
    assert_eq!(versions["value"].as_array().unwrap().len(), 1);
    let old = two["id"].as_str().unwrap().rsplit_once('/').unwrap().1.to_owned();
    world
        .call("GET", &format!("/secrets/a/{old}"), Value::Null)
        .await
        .is(404, "SecretNotFound");
}

#[tokio::test]
async fn purge_protection_holds_until_the_time_has_come() {
    let world = World::with(|vault| {
        vault.recovery = Recovery {
            days: 7,
            purge_protection: true,
        };
    })
    .await;
    let set = world.call("PUT", "/secrets/a", json!({"value": "v"})).await.ok();
    assert_eq!(set["attributes"]["recoveryLevel"], "CustomizedRecoverable");
    world.call("DELETE", "/secrets/a", Value::Null).await.ok();
    world
        .call("DELETE", "/deletedsecrets/a", Value::Null)
        .await
        .is(403, "Forbidden/PurgeProtected");
    world.clock.advance_seconds(7 * 86_400 - 1);
    assert_eq!(world.vaults.sweep_once().await.unwrap().purged, 0);
    world.call("GET", "/deletedsecrets/a", Value::Null).await.ok();
    world.clock.advance_seconds(1);
    assert_eq!(world.vaults.sweep_once().await.unwrap().purged, 1);
    world
        .call("GET", "/deletedsecrets/a", Value::Null)
        .await
        .is(404, "SecretNotFound");
    assert_eq!(world.vaults.sweep_once().await.unwrap().purged, 0);
    let rows = world.audit().await;
    let swept: Vec<&Value> = rows
        .iter()
        .filter(|row| row["callerIpAddress"] == "background")
        .collect();
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0]["operationName"], "SecretPurge");
}

#[tokio::test]
async fn what_was_recovered_is_not_swept_and_many_versions_all_go() {
    let world = World::new().await;
    world
        .call("PUT", "/secrets/kept", json!({"value": "v"}))
        .await
        .ok();
    world.call("DELETE", "/secrets/kept", Value::Null).await.ok();
    world
        .call("POST", "/deletedsecrets/kept/recover", Value::Null)
        .await
        .ok();
    for _ in 0..1_003 {
        world
            .call("PUT", "/secrets/many", json!({"value": "v"}))
            .await
            .ok();
    }
    let too_many = world.call("POST", "/secrets/many/backup", Value::Null).await;
    too_many.is(400, "BadParameter");
    world.call("DELETE", "/secrets/many", Value::Null).await.ok();
    world.call("DELETE", "/deletedsecrets/many", Value::Null).await;
    world.clock.advance_seconds(100 * 86_400);
    assert_eq!(world.vaults.sweep_once().await.unwrap().purged, 0);
    world.call("GET", "/secrets/kept", Value::Null).await.ok();
    // Of sealed versions the one that is kept is left.
    let snapshot = world.ledger.snapshot().await.unwrap();
    let prefix = ledger::KeyWriter::new(ledger::Keyspace::Vault).u8(4).finish();
    let mut scan = ledger::Scan::new(
        snapshot.as_ref(),
        ledger::KeyRange::prefix(&prefix),
        ledger::Direction::Forward,
    );
    let mut left = 0;
    while scan.next().await.unwrap().is_some() {
        left += 1;
    }
    assert_eq!(left, 1);
}

#[tokio::test]
async fn a_backup_is_opaque_and_comes_back_whole() {
    let mut world = World::new().await;
    let one = world
        .call(
            "PUT",
            "/secrets/A",
            json!({"value": "planted-one", "tags": {"k": "v"}}),
        )
        .await
        .ok();
    let two = world
        .call("PUT", "/secrets/a", json!({"value": "planted-two"}))
        .await
        .ok();
    let backup = world.call("POST", "/secrets/a/backup", Value::Null).await.ok();
    let text = backup["value"].as_str().unwrap().to_owned();
    assert!(!text.contains('=') && !text.contains("planted"));
    world
        .call("POST", "/secrets/restore", backup.clone())
        .await
        .is(409, "Conflict");
    world.call("DELETE", "/secrets/a", Value::Null).await.ok();
    let over_deleted = world.call("POST", "/secrets/restore", backup.clone()).await;
    over_deleted.is(409, "Conflict/ObjectIsDeletedButRecoverable");
    world.call("DELETE", "/deletedsecrets/a", Value::Null).await;
    world.reopen().await;
    let restored = world.call("POST", "/secrets/restore", backup.clone()).await.ok();
    assert_eq!(restored["id"], two["id"]);
    let row = world.audit().await.pop().unwrap();
    assert_eq!(row["operationName"], "SecretRestore");
    assert_eq!(row["properties"]["id"], two["id"]);
    assert_eq!(world.call("GET", "/secrets/a", Value::Null).await.ok(), two);
    let path = one["id"]
        .as_str()
        .unwrap()
        .strip_prefix("https://acme.vault.example")
        .unwrap();
    assert_eq!(world.call("GET", path, Value::Null).await.ok(), one);
    // Not into another vault, nor as something else, nor bent.
    let admin = holder(Role::Administrator);
    world
        .at(
            "other.vault.example",
            &admin,
            "POST",
            "/secrets/restore",
            backup.clone(),
        )
        .await
        .is(400, "BadParameter");
    world
        .call("POST", "/keys/restore", backup)
        .await
        .is(400, "BadParameter");
    let mut bent = text.clone().into_bytes();
    let middle = bent.len() / 2;
    bent[middle] = if bent[middle] == b'A' { b'B' } else { b'A' };
    for bad in [
        String::from_utf8(bent).unwrap(),
        "AAAA".to_owned(),
        String::new(),
        "!".to_owned(),
    ] {
        world
            .call("POST", "/secrets/restore", json!({"value": bad}))
            .await
            .is(400, "BadParameter");
    }
    let elsewhere = World::elsewhere().await;
    let foreign = elsewhere
        .call("POST", "/secrets/restore", json!({ "value": text }))
        .await;
    foreign.is(400, "BadParameter");
}

#[tokio::test]
async fn purge_protection_that_another_node_turned_on_holds_here() {
    let world = World::new().await;
    world.call("PUT", "/secrets/a", json!({"value": "v"})).await.ok();
    world.call("DELETE", "/secrets/a", Value::Null).await.ok();
    let mut settings = world.settings.clone();
    settings.vaults[0].recovery.purge_protection = true;
    vault::keep_protection(world.ledger.as_ref(), &mut settings)
        .await
        .unwrap();
    let purge = world.call("DELETE", "/deletedsecrets/a", Value::Null).await;
    purge.is(403, "Forbidden/PurgeProtected");
    world.call("GET", "/deletedsecrets/a", Value::Null).await.ok();
}
