//! What a container takes, told to who asks: counted, and left away where counting takes too long.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod signed;

use std::collections::HashMap;

use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan};
use serde_json::json;
use signed::watched::{Slow, Watched};
use signed::{Fixture, Reply, fixture};

const CONTAINER: &str = "/dbs/d/colls/c";
const ASKED: (&str, &str) = ("x-ms-documentdb-populatequotainfo", "True");

fn figures(header: &str) -> HashMap<&str, i64> {
    let pairs = header.split_terminator(';').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name, value.parse().unwrap())
    });
    pairs.collect()
}

async fn read(f: &Fixture) -> Reply {
    f.send("GET", CONTAINER, &[ASKED], "").await.expect(200)
}

async fn create(f: &Fixture, number: usize) -> i64 {
    let item = json!({"id": number.to_string(), "pk": number % 3, "n": number, "text": "x".repeat(number)});
    let made = f.json("POST", "/dbs/d/colls/c/docs", &[], item).await.expect(201);
    i64::try_from(made.body.len()).unwrap()
}

/// Kilobytes of all keys from those of scripts on, and of their values: of the only container.
async fn kilobytes(f: &Fixture) -> i64 {
    let snapshot = f.ledger.snapshot().await.unwrap();
    let documents = KeyRange::prefix(&KeyWriter::new(Keyspace::Documents).finish());
    let range = KeyRange {
        start: KeyWriter::new(Keyspace::Documents).u8(12).finish(),
        ..documents
    };
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let mut bytes = 0;
    while let Some(entry) = scan.next().await.unwrap() {
        bytes += entry.key.as_bytes().len() + entry.versioned.value.len();
    }
    i64::try_from(bytes.div_ceil(1_024)).unwrap()
}

#[tokio::test]
async fn figures_are_true() {
    let policy = json!({"indexingPolicy": {"compositeIndexes": [[{"path": "/pk"}, {"path": "/n"}]]},
        "uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/n"]}]},
        "changeFeedPolicy": {"retentionDuration": 10}, "defaultTtl": -1});
    let f = fixture().with_container(policy).await;
    let reply = read(&f).await;
    let empty =
        "functions=0;storedProcedures=0;triggers=0;documentsCount=0;documentsSize=0;collectionSize=0;";
    assert_eq!(reply.header("x-ms-resource-usage"), empty);
    let mut bytes = 0;
    for number in 0..600 {
        bytes += create(&f, number).await;
    }
    for (kind, count) in [("sprocs", 3), ("triggers", 2), ("udfs", 1)] {
        for number in 0..count {
            let mut script = json!({"id": number.to_string(), "body": "function () {}"});
            if kind == "triggers" {
                script["triggerType"] = json!("Pre");
                script["triggerOperation"] = json!("All");
            }
            f.json("POST", &format!("{CONTAINER}/{kind}"), &[], script)
                .await
                .expect(201);
        }
    }
    let usage = |reply: &Reply| -> HashMap<String, i64> {
        let found = figures(reply.header("x-ms-resource-usage"));
        found
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    };
    let reply = read(&f).await;
    let found = usage(&reply);
    let wanted = [
        ("functions", 1),
        ("storedProcedures", 3),
        ("triggers", 2),
        ("documentsCount", 600),
        ("documentsSize", (bytes + 1_023) / 1_024),
        ("collectionSize", kilobytes(&f).await),
    ];
    for (name, value) in wanted {
        assert_eq!(found[name], value, "{name}");
    }
    assert_eq!(found.len(), wanted.len());
    let quota = figures(reply.header("x-ms-resource-quota"));
    assert_eq!((quota["storedProcedures"], quota["documentsCount"]), (100, -1));
    assert_eq!(quota.len(), wanted.len());

    // What was deleted, and whose time is over, though it is still there.
    let key = [("x-ms-documentdb-partitionkey", "[0]")];
    f.send("DELETE", &format!("{CONTAINER}/docs/0"), &key, "")
        .await
        .expect(204);
    f.json(
        "POST",
        "/dbs/d/colls/c/docs",
        &[],
        json!({"id": "short", "pk": 1, "n": -1, "ttl": 5}),
    )
    .await
    .expect(201);
    assert_eq!(usage(&read(&f).await)["documentsCount"], 600);
    f.clock.advance_seconds(6);
    let found = usage(&read(&f).await);
    assert_eq!(found["documentsCount"], 599);
    assert_eq!(found["collectionSize"], kilobytes(&f).await);

    let quiet = f.send("GET", CONTAINER, &[], "").await.expect(200);
    for header in ["x-ms-resource-usage", "x-ms-resource-quota"] {
        assert_eq!(quiet.header(header), "");
    }
}

#[tokio::test]
async fn what_takes_too_long_is_left_away_and_what_took_long_is_remembered() {
    let f = fixture().with_container(json!({})).await;
    for number in 0..600 {
        create(&f, number).await;
    }
    let watched = Watched::over(f.ledger.clone(), f.clock.clone());
    let slow = f.another_node_on(watched.clone(), |_| {});
    let names = async |which: Slow| {
        // What was remembered is forgotten.
        slow.clock.advance_seconds(3_600);
        watched.watch.slow(which);
        let reply = read(&slow).await;
        watched.watch.slow(Slow::None);
        let usage = figures(reply.header("x-ms-resource-usage"));
        let quota = figures(reply.header("x-ms-resource-quota"));
        let count = usage.get("documentsCount").copied();
        assert!(count.is_none_or(|count| count == 600), "{usage:?}");
        assert!(usage.keys().all(|name| quota.contains_key(name)) && usage.len() == quota.len());
        (
            count.is_some(),
            usage.contains_key("documentsSize"),
            usage.contains_key("collectionSize"),
        )
    };
    assert_eq!(names(Slow::None).await, (true, true, true));
    assert_eq!(names(Slow::All).await, (false, false, false));
    // Reads are slow one after the other: with the first page of items, their keys still are counted.
    let mut seen = Vec::new();
    for at in 0..20 {
        seen.push(names(Slow::One(at)).await);
    }
    assert!(seen.contains(&(true, false, false)), "{seen:?}");
    assert!(seen.contains(&(true, true, false)), "{seen:?}");
    assert!(!seen.contains(&(false, true, true)), "{seen:?}");

    // That it took long is remembered, too.
    slow.clock.advance_seconds(3_600);
    watched.watch.slow(Slow::All);
    read(&slow).await;
    watched.watch.slow(Slow::None);
    let reply = read(&slow).await;
    assert!(!figures(reply.header("x-ms-resource-usage")).contains_key("documentsCount"));
    slow.clock.advance_seconds(3_600);
    let reply = read(&slow).await;
    assert_eq!(
        figures(reply.header("x-ms-resource-usage"))["documentsCount"],
        600
    );
}
