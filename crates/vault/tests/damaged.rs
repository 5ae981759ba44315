//! A damaged record is its own object's trouble: others are listed, purged and rotated, and it can be deleted.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects may end it"
)]

mod world;

use std::sync::Arc;

use ledger::{Direction, Key, KeyRange, KeyWriter, Keyspace, Scan, Transaction};
use serde_json::{Value, json};
use vault::seal::Seal;
use world::World;

/// The keys under a tag of the vault.
async fn under(world: &World, tag: u8) -> Vec<Key> {
    let prefix = KeyWriter::new(Keyspace::Vault).u8(tag).str("acme").finish();
    let snapshot = world.ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let mut found = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        found.push(entry.key);
    }
    found
}

async fn damage(world: &World, key: &Key) {
    let mut tx = Transaction::new();
    tx.put(key.clone(), b"not what was written".to_vec());
    world.ledger.commit(tx).await.unwrap();
}

#[tokio::test]
async fn a_damaged_version_is_listed_deleted_and_recovered_by_its_header() {
    let world = World::new().await;
    world
        .call("PUT", "/secrets/bad", json!({"value": "v"}))
        .await
        .ok();
    damage(&world, &under(&world, 4).await[0]).await;
    world
        .call("PUT", "/secrets/good", json!({"value": "v"}))
        .await
        .ok();
    let broken = world.call("GET", "/secrets/bad", Value::Null).await;
    broken.is(500, "InternalError");
    for path in ["/secrets", "/secrets/bad/versions"] {
        let rows = world.call("GET", path, Value::Null).await.ok();
        assert_eq!(rows["value"][0]["attributes"]["enabled"], false, "{path}");
    }
    let rows = world.call("GET", "/secrets", Value::Null).await.ok();
    assert_eq!(rows["value"].as_array().unwrap().len(), 2);
    assert_eq!(rows["value"][1]["attributes"]["enabled"], true);
    world.call("DELETE", "/secrets/bad", Value::Null).await.ok();
    world.call("GET", "/deletedsecrets", Value::Null).await.ok();
    world.call("GET", "/deletedsecrets/bad", Value::Null).await.ok();
    world
        .call("POST", "/deletedsecrets/bad/recover", Value::Null)
        .await
        .ok();
    world.call("DELETE", "/secrets/bad", Value::Null).await.ok();
    let purge = world.call("DELETE", "/deletedsecrets/bad", Value::Null).await;
    assert_eq!(purge.status, 204);
}

#[tokio::test]
async fn a_damaged_key_is_deleted_and_recovered() {
    let world = World::new().await;
    let ec = json!({"kty": "EC", "crv": "P-256"});
    let made = world.call("POST", "/keys/bad/create", ec).await.ok();
    damage(&world, &under(&world, 4).await[0]).await;
    let deleted = world.call("DELETE", "/keys/bad", Value::Null).await.ok();
    assert_eq!(deleted["key"]["kid"], made["key"]["kid"]);
    world
        .call("POST", "/deletedkeys/bad/recover", Value::Null)
        .await
        .ok();
}

#[tokio::test]
async fn a_damaged_header_holds_up_no_other_object() {
    let mut world = World::new().await;
    for name in ["a", "b"] {
        let path = format!("/secrets/{name}");
        world.call("PUT", &path, json!({"value": "v"})).await.ok();
        world.call("DELETE", &path, Value::Null).await.ok();
    }
    world.call("PUT", "/secrets/c", json!({"value": "v"})).await.ok();
    world.call("PUT", "/secrets/d", json!({"value": "v"})).await.ok();
    // The first of the deleted ones, and of the living.
    damage(&world, &under(&world, 8).await[0]).await;
    damage(&world, &under(&world, 3).await[0]).await;
    let rows = world.call("GET", "/secrets", Value::Null).await.ok();
    assert_eq!(rows["value"].as_array().unwrap().len(), 1);
    world.clock.advance_seconds(91 * 86_400);
    // Nor does it need the root key that what is over goes.
    world.restart_with(Arc::new(Seal::sealed(world.ledger.clone(), "no key")));
    assert_eq!(world.vaults.sweep_once().await.unwrap().purged, 1);
    world.reopen().await;
    world
        .call("GET", "/deletedsecrets/b", Value::Null)
        .await
        .is(404, "SecretNotFound");
}
