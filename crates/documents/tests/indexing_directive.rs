//! Items that a request keeps out of the index, through the service, with signed requests.
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

use serde_json::{Value, json};
use signed::{Fixture, fixture};

const DOCS: &str = "/dbs/d/colls/c/docs";
const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");
const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");
const EXCLUDE: (&str, &str) = ("x-ms-indexing-directive", "Exclude");
const INCLUDE: (&str, &str) = ("x-ms-indexing-directive", "Include");

async fn found(f: &Fixture, tail: &str) -> Vec<String> {
    let query = json!({"query": format!("SELECT VALUE c.id FROM c {tail}")});
    let reply = f.json("POST", DOCS, &[QUERY], query).await.expect(200).json();
    let ids = reply["Documents"].as_array().unwrap().iter();
    let mut ids: Vec<String> = ids.map(|id| id.as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

async fn create(f: &Fixture, id: &str, directive: Option<(&str, &str)>) {
    let headers: Vec<_> = [A].into_iter().chain(directive).collect();
    let body = json!({"id": id, "pk": "a", "n": 1, "list": [1]});
    f.json("POST", DOCS, &headers, body).await.expect(201);
}

#[tokio::test]
async fn what_is_kept_out_is_found_by_id_and_by_scans_only() {
    let f = fixture().with_container(json!({})).await;
    create(&f, "in", None).await;
    create(&f, "out", Some(EXCLUDE)).await;
    for served in [
        "WHERE c.n = 1",
        "WHERE c.n > 0",
        "WHERE c.id = 'out' AND c.n = 1",
        "WHERE c.id = 'out' OR c.n = 1",
        "WHERE ARRAY_CONTAINS(c.list, 1)",
        "ORDER BY c.n",
        "ORDER BY c.missing",
        "WHERE IS_DEFINED(c.n) AND NOT IS_DEFINED(c.x)",
    ] {
        assert!(!found(&f, served).await.contains(&"out".to_owned()), "{served}");
    }
    for scanned in [
        "",
        "WHERE c.n != 2",
        "WHERE STARTSWITH(c.id, 'o') OR c.id = 'in'",
        "ORDER BY c.id",
    ] {
        assert_eq!(found(&f, scanned).await, ["in", "out"], "{scanned}");
    }
    assert_eq!(found(&f, "WHERE c.id = 'out'").await, ["out"]);
    f.send("GET", &format!("{DOCS}/out"), &[A], "").await.expect(200);
    f.verify().await;
}

#[tokio::test]
async fn every_write_decides_anew_but_a_patch() {
    let f = fixture().with_container(json!({})).await;
    create(&f, "1", Some(EXCLUDE)).await;
    let indexed = || async {
        f.verify().await;
        found(&f, "WHERE c.n >= 0").await.len() == 1
    };
    assert!(!indexed().await);
    let patch = json!({"operations": [{"op": "set", "path": "/n", "value": 2}]});
    f.json("PATCH", &format!("{DOCS}/1"), &[A], patch)
        .await
        .expect(200);
    assert!(!indexed().await);
    let body = json!({"id": "1", "pk": "a", "n": 3});
    f.json("PUT", &format!("{DOCS}/1"), &[A], body.clone())
        .await
        .expect(200);
    assert!(indexed().await);
    // As Python sends it.
    let python = ("x-ms-indexing-directive", "1");
    let upsert = ("x-ms-documentdb-is-upsert", "True");
    f.json("POST", DOCS, &[A, upsert, python], body.clone())
        .await
        .expect(200);
    assert!(!indexed().await);
    let batch = json!([{"operationType": "Replace", "id": "1", "resourceBody": body, "indexingDirective": "Include"}]);
    let atomic = [
        A,
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
    ];
    f.json("POST", DOCS, &atomic, batch).await.expect(200);
    assert!(indexed().await);
    f.json(
        "PUT",
        &format!("{DOCS}/1"),
        &[A, ("x-ms-indexing-directive", "Maybe")],
        body,
    )
    .await
    .expect(400);
    f.send("DELETE", &format!("{DOCS}/1"), &[A], "").await.expect(204);
    f.verify().await;
}

#[tokio::test]
async fn a_policy_that_is_not_automatic() {
    let policy = json!({"indexingPolicy": {"automatic": false}});
    let f = fixture().with_container(policy).await;
    create(&f, "out", None).await;
    create(&f, "in", Some(INCLUDE)).await;
    assert_eq!(found(&f, "WHERE c.n = 1").await, ["in"]);
    assert_eq!(found(&f, "").await, ["in", "out"]);
    // A new index holds what the old one held.
    let mut container: Value = f.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200).json();
    container["indexingPolicy"]["excludedPaths"] = json!([{"path": "/other/*"}]);
    f.json("PUT", "/dbs/d/colls/c", &[], container).await.expect(200);
    assert_eq!(found(&f, "WHERE c.n = 1").await, ["in"]);
    f.verify().await;
}

/// "After the bulk operations are complete, the index mode can be set to Consistent" (the service's page on
/// indexing policies): what was written without an index is in the one that comes then.
#[tokio::test]
async fn an_index_that_comes_later_holds_what_is_there() {
    let f = fixture()
        .with_container(json!({"indexingPolicy": {"indexingMode": "none", "automatic": false}}))
        .await;
    create(&f, "in", None).await;
    create(&f, "out", Some(EXCLUDE)).await;
    assert_eq!(found(&f, "WHERE c.n = 1").await, ["in", "out"]);
    let mut container: Value = f.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200).json();
    container["indexingPolicy"] = json!({"indexingMode": "consistent", "automatic": true});
    f.json("PUT", "/dbs/d/colls/c", &[], container).await.expect(200);
    while f.documents.sweep_once().await.unwrap().more {}
    assert_eq!(found(&f, "WHERE c.n = 1").await, ["in"]);
    f.verify().await;
}
