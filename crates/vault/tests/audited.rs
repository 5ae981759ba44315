//! The audit: a row for each request in its own commit, never a value, and changes of it are found.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects may end it"
)]

mod world;

use std::sync::Arc;

use ledger::fault::{CommitFault, FaultLedger};
use ledger::{Key, KeyRange, KeyWriter, Keyspace, Ledger, Scan, Transaction};
use serde_json::{Value, json};
use vault::audit;
use vault::rules::roles::Role;
use world::{HOST, World, holder};

#[tokio::test]
async fn each_request_leaves_its_row_and_no_value() {
    let world = World::new().await;
    let set = world
        .call("PUT", "/secrets/a", json!({"value": "planted-value"}))
        .await
        .ok();
    world.call("GET", "/secrets/a", Value::Null).await.ok();
    world
        .call("GET", "/secrets/none", Value::Null)
        .await
        .is(404, "SecretNotFound");
    world
        .by("nobody", "GET", "/secrets/a", Value::Null)
        .await
        .is(403, "Forbidden/ForbiddenByRbac");
    world
        .send(World::request("GET", HOST, "/secrets/a?sig=planted", None, ""))
        .await
        .is(401, "Unauthorized");
    world
        .call("PUT", "/secrets/a", json!({"value": {"planted": 1}}))
        .await
        .is(400, "BadParameter");
    let rows = world.audit().await;
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = |at: &str| {
                row.pointer(at).map_or(String::new(), |value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
            };
            [
                "/operationName",
                "/resultType",
                "/properties/httpStatusCode",
                "/resultDescription",
                "/identity/claim/oid",
            ]
            .map(text)
            .join(" ")
        })
        .collect();
    let admin = holder(Role::Administrator);
    assert_eq!(
        told,
        [
            format!("SecretSet Success 200 null {admin}"),
            format!("SecretGet Success 200 null {admin}"),
            format!("SecretGet Failed 404 SecretNotFound {admin}"),
            "SecretGet Failed 403 Forbidden/ForbiddenByRbac nobody".to_owned(),
            "Authentication Failed 401 Unauthorized ".to_owned(),
            format!("SecretSet Failed 400 BadParameter {admin}"),
        ]
    );
    assert_eq!(rows[0]["properties"]["id"], set["id"]);
    assert_eq!(rows[1]["properties"]["id"], set["id"]);
    assert_eq!(rows[1]["callerIpAddress"], "192.0.2.7");
    assert_eq!(
        rows[1]["properties"]["requestUri"],
        "https://acme.vault.example/secrets/a"
    );
    assert_eq!(rows[1]["identity"]["claim"]["appid"], "app");
    assert!(!Value::Array(rows).to_string().contains("planted"));
}

#[tokio::test]
async fn strangers_and_those_without_a_role_cannot_fill_the_disk() {
    let world = World::new().await;
    for _ in 0..200 {
        world
            .send(World::request("GET", HOST, "/secrets", None, ""))
            .await
            .is(401, "Unauthorized");
    }
    assert_eq!(world.audit().await.len(), 1);
    for _ in 0..200 {
        let answer = world.by("nobody", "GET", "/secrets/a", Value::Null).await;
        answer.is(403, "Forbidden/ForbiddenByRbac");
    }
    assert_eq!(world.audit().await.len(), 21);
    // Who may something isn't held up by those.
    world.call("GET", "/secrets", Value::Null).await.ok();
    world.clock.advance_seconds(10);
    world
        .send(World::request("GET", HOST, "/secrets", None, ""))
        .await
        .is(401, "Unauthorized");
    let rows = world.audit().await;
    assert_eq!(rows[22]["properties"]["suppressed"], 199);
    assert_eq!(rows[22]["properties"]["suppressedLastCaller"], "192.0.2.7");
    // What no later row tells of, the background work does.
    world.vaults.sweep_once().await.unwrap();
    let rows = world.audit().await;
    assert_eq!(rows.len(), 24);
    assert_eq!(rows[23]["properties"]["suppressed"], 180);
    assert_eq!(rows[23]["identity"]["claim"]["oid"], "nobody");
    assert_eq!(rows[23]["resultType"], "Failed");
    world.clock.advance_seconds(100);
    world.vaults.sweep_once().await.unwrap();
    assert_eq!(world.audit().await.len(), 24);
}

#[tokio::test]
async fn rows_go_when_their_time_is_over_and_their_seals_stay() {
    let world = World::with(|vault| vault.audit_days = Some(30)).await;
    sealed_rounds(&world, 2).await;
    world.clock.advance_seconds(20 * 86_400);
    sealed_rounds(&world, 1).await;
    world.clock.advance_seconds(11 * 86_400);
    let rows = under(&world, 5).await;
    let seal = world.seal(vec![world.root()]).await;
    let verify = async || {
        audit::verify(world.ledger.as_ref(), &seal, "acme", None)
            .await
            .unwrap()
    };
    // What was changed isn't dropped: it would be found no more.
    let mut bent = rows[1].clone();
    bent.1[10] ^= 1;
    put(&world, &[bent]).await;
    assert!(world.vaults.sweep_once().await.is_err());
    assert_eq!(under(&world, 5).await.len(), 12);
    put(&world, &rows[1..2]).await;
    assert_eq!(world.vaults.sweep_once().await.unwrap().audit_rows_dropped, 8);
    assert_eq!(world.vaults.sweep_once().await.unwrap().audit_rows_dropped, 0);
    assert_eq!(world.audit().await.len(), 4);
    let report = verify().await;
    assert_eq!((report.seals, report.sealed_rows, report.dropped_rows), (3, 4, 8));
    assert_eq!(report.faults, Vec::<String>::new());
    sealed_rounds(&world, 1).await;
    assert_eq!(verify().await.faults, Vec::<String>::new());
    // A row more that goes is found, and one that comes back.
    take(&world, &rows[8..9]).await;
    assert_eq!(verify().await.faults.len(), 1);
    put(&world, &rows[8..9]).await;
    put(&world, &rows[..1]).await;
    assert_eq!(verify().await.faults.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_audited_is_not_answered() {
    let start = jiff::Timestamp::from_second(world::START).unwrap();
    let clock = Arc::new(ledger::AdjustableClock::standing_at(start));
    let inner: Arc<dyn Ledger> = Arc::new(ledger::memory::MemoryLedger::new(clock.clone()));
    let faulty = Arc::new(FaultLedger::over(inner));
    let world = World::over(faulty.clone(), clock, |_| {}).await;
    world
        .call("PUT", "/secrets/a", json!({"value": "planted-value"}))
        .await
        .ok();
    for fault in [
        CommitFault::BeforeApplied,
        CommitFault::AfterApplied,
        CommitFault::Full,
    ] {
        faulty.fail_commits(0, 1, fault.clone());
        let answer = world.call("GET", "/secrets/a", Value::Null).await;
        assert!(!answer.text.contains("planted"), "{}", answer.text);
        assert!(answer.status.is_server_error(), "{fault:?} {}", answer.status);
        // What was refused, too.
        faulty.fail_commits(0, 1, fault);
        let answer = world.by("nobody", "GET", "/secrets/a", Value::Null).await;
        assert!(answer.status.is_server_error());
    }
    world.call("GET", "/secrets/a", Value::Null).await.ok();
}

#[tokio::test]
async fn changes_that_meet_are_decided_anew() {
    let start = jiff::Timestamp::from_second(world::START).unwrap();
    let clock = Arc::new(ledger::AdjustableClock::standing_at(start));
    let inner: Arc<dyn Ledger> = Arc::new(ledger::memory::MemoryLedger::new(clock.clone()));
    let faulty = Arc::new(FaultLedger::over(inner));
    let world = World::over(faulty.clone(), clock, |_| {}).await;
    faulty.fail_commits(0, 3, CommitFault::Conflict);
    world.call("PUT", "/secrets/a", json!({"value": "v"})).await.ok();
    assert_eq!(world.audit().await.len(), 1);
    faulty.fail_commits(0, 20, CommitFault::Conflict);
    world
        .call("PUT", "/secrets/a", json!({"value": "w"}))
        .await
        .is(503, "ServiceUnavailable");
    assert_eq!(
        world.call("GET", "/secrets/a", Value::Null).await.ok()["value"],
        "v"
    );
    let writes = (0..8).map(|at| {
        let world = &world;
        async move {
            world
                .call("PUT", "/secrets/a", json!({"value": at.to_string()}))
                .await
                .ok()
        }
    });
    futures::future::join_all(writes).await;
    let versions = world.call("GET", "/secrets/a/versions", Value::Null).await.ok();
    assert_eq!(versions["value"].as_array().unwrap().len(), 9);
}

/// The keys and values under a tag.
async fn under(world: &World, tag: u8) -> Vec<(Key, Vec<u8>)> {
    let prefix = KeyWriter::new(Keyspace::Vault).u8(tag).str("acme").finish();
    let snapshot = world.ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(
        snapshot.as_ref(),
        KeyRange::prefix(&prefix),
        ledger::Direction::Forward,
    );
    let mut found = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        found.push((entry.key, entry.versioned.value.to_vec()));
    }
    found
}

#[tokio::test]
async fn changes_of_sealed_rows_are_found() {
    let world = World::new().await;
    for round in 0..3 {
        for _ in 0..4 {
            world.call("GET", "/secrets", Value::Null).await.ok();
        }
        assert_eq!(world.vaults.sweep_once().await.unwrap().audit_rows, 4, "{round}");
        assert_eq!(world.vaults.sweep_once().await.unwrap().audit_rows, 0);
    }
    world.call("GET", "/secrets", Value::Null).await.ok();
    let seal = world.seal(vec![world.root()]).await;
    let verify = async || {
        audit::verify(world.ledger.as_ref(), &seal, "acme", None)
            .await
            .unwrap()
    };
    let report = verify().await;
    assert_eq!((report.sealed_rows, report.seals, report.newer_rows), (12, 3, 1));
    assert_eq!(report.faults, Vec::<String>::new());
    let rows = under(&world, 5).await;
    let seals = under(&world, 6).await;
    let change = async |key: &Key, value: Option<&[u8]>| {
        let mut tx = Transaction::new();
        match value {
            Some(value) => tx.put(key.clone(), value.to_vec()),
            None => tx.delete(key.clone()),
        }
        world.ledger.commit(tx).await.unwrap();
    };
    let mut bent = rows[5].1.clone();
    bent[10] ^= 1;
    for (at, value) in [(0, None), (5, Some(bent.as_slice())), (11, None)] {
        change(&rows[at].0, value).await;
        assert_eq!(verify().await.faults.len(), 1, "row {at}");
        change(&rows[at].0, Some(&rows[at].1)).await;
        assert!(verify().await.faults.is_empty());
    }
    change(&seals[1].0, None).await;
    assert!(!verify().await.faults.is_empty());
    change(&seals[1].0, Some(&seals[1].1)).await;
    // Who doesn't have the key can't seal what was changed.
    let mut forged: Value = serde_json::from_slice(&seals[0].1).unwrap();
    forged["rows"] = json!(3);
    change(&rows[0].0, None).await;
    change(&seals[0].0, Some(forged.to_string().as_bytes())).await;
    assert!(!verify().await.faults.is_empty());
}

async fn put(world: &World, records: &[(Key, Vec<u8>)]) {
    let mut tx = Transaction::new();
    for (key, value) in records {
        tx.put(key.clone(), value.clone());
    }
    world.ledger.commit(tx).await.unwrap();
}

async fn take(world: &World, records: &[(Key, Vec<u8>)]) {
    let mut tx = Transaction::new();
    for (key, _) in records {
        tx.delete(key.clone());
    }
    world.ledger.commit(tx).await.unwrap();
}

const TAGS: [u8; 3] = [5, 6, 12];

async fn sealed_rounds(world: &World, rounds: usize) {
    for _ in 0..rounds {
        for _ in 0..4 {
            world.call("GET", "/secrets", Value::Null).await.ok();
        }
        assert_eq!(world.vaults.sweep_once().await.unwrap().audit_rows, 4);
    }
}

#[tokio::test]
async fn an_end_that_was_taken_away_is_found_and_not_sealed_over() {
    let mut world = World::new().await;
    sealed_rounds(&world, 3).await;
    let seal = world.seal(vec![world.root()]).await;
    let verify = async |world: &World| {
        audit::verify(world.ledger.as_ref(), &seal, "acme", None)
            .await
            .unwrap()
    };
    let (rows, seals, head) = (
        under(&world, 5).await,
        under(&world, 6).await,
        under(&world, 12).await,
    );
    assert_eq!((seals.len(), head.len()), (3, 1));
    // The last seals go, and a row behind is another one.
    take(&world, &seals[1..]).await;
    let mut forged: Value = serde_json::from_slice(&rows[9].1).unwrap();
    forged["callerIpAddress"] = json!("192.0.2.99");
    put(&world, &[(rows[9].0.clone(), forged.to_string().into_bytes())]).await;
    assert!(!verify(&world).await.faults.is_empty());
    world.reopen().await;
    assert!(world.vaults.sweep_once().await.is_err());
    assert_eq!(under(&world, 6).await.len(), 1);
    // Nor does the chain begin anew without its head, or with one of another hand.
    let mut other: Value = serde_json::from_slice(&head[0].1).unwrap();
    other["sequence"] = json!(0);
    other["hash"] = json!("");
    take(&world, &seals).await;
    take(&world, &head).await;
    for again in [None, Some(other.to_string().into_bytes())] {
        if let Some(value) = again {
            put(&world, &[(head[0].0.clone(), value)]).await;
        }
        world.reopen().await;
        assert!(!verify(&world).await.faults.is_empty());
        assert!(world.vaults.sweep_once().await.is_err());
        assert!(under(&world, 6).await.is_empty());
    }
    // As it was, all is well.
    for records in [&rows, &seals, &head] {
        put(&world, records).await;
    }
    assert_eq!(verify(&world).await.faults, Vec::<String>::new());
    sealed_rounds(&world, 1).await;
}

#[tokio::test]
async fn an_audit_that_was_put_back_is_found_by_whoever_saw_its_head() {
    let world = World::new().await;
    sealed_rounds(&world, 1).await;
    let mut before = Vec::new();
    for tag in TAGS {
        before.extend(under(&world, tag).await);
    }
    sealed_rounds(&world, 1).await;
    let seal = world.seal(vec![world.root()]).await;
    let verify = async |known: Option<(u64, &str)>| {
        audit::verify(world.ledger.as_ref(), &seal, "acme", known)
            .await
            .unwrap()
    };
    let report = verify(None).await;
    let (sequence, hash) = report.head;
    assert_eq!(verify(Some((sequence, &hash))).await.faults, Vec::<String>::new());
    assert_eq!(verify(Some((0, ""))).await.faults, Vec::<String>::new());
    assert_eq!(verify(Some((sequence, "other"))).await.faults.len(), 1);
    for tag in TAGS {
        take(&world, &under(&world, tag).await).await;
    }
    put(&world, &before).await;
    // Whole by itself: only who saw the later head knows.
    assert_eq!(verify(None).await.faults, Vec::<String>::new());
    assert_eq!(verify(Some((sequence, &hash))).await.faults.len(), 1);
    world.call("GET", "/secrets", Value::Null).await.ok();
    assert!(world.vaults.sweep_once().await.is_err());
    assert_eq!(under(&world, 6).await.len(), 1);
}
