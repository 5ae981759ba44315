//! Several writes at once: batches, bulk, time to live, writers side by side.
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
use signed::fixture;

const DOCS: &str = "/dbs/d/colls/c/docs";
const PK: &str = "x-ms-documentdb-partitionkey";
const A: (&str, &str) = (PK, "[\"a\"]");
const UPSERT: (&str, &str) = ("x-ms-documentdb-is-upsert", "True");

#[tokio::test]
async fn batches_are_atomic() {
    let f = fixture().with_container(json!({})).await;
    let batch = [
        A,
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
    ];
    let create = |id: &str| json!({"operationType": "Create", "resourceBody": {"id": id, "pk": "a", "n": 1}});
    let good = json!([
        create("1"),
        create("2"),
        {"operationType": "Read", "id": "1"},
        {"operationType": "Replace", "id": "2", "resourceBody": {"id": "2", "pk": "a", "n": 2}},
        {"operationType": "Patch", "id": "2", "resourceBody": {"operations": [{"op": "incr", "path": "/n", "value": 5}]}},
        {"operationType": "Upsert", "resourceBody": {"id": "3", "pk": "a"}},
        {"operationType": "Delete", "id": "1"},
        create("1"),
    ]);
    let done = f.json("POST", DOCS, &batch, good).await.expect(200).json();
    let statuses: Vec<_> = done
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["statusCode"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 201, 200, 200, 200, 201, 204, 201]);
    assert_eq!(done[2]["resourceBody"]["id"], "1");
    assert_eq!(
        f.send("GET", "/dbs/d/colls/c/docs/2", &[A], "")
            .await
            .expect(200)
            .json()["n"],
        7
    );
    f.verify().await;

    let before = f.send("GET", DOCS, &[], "").await.expect(200).json();
    let bad = json!([create("9"), {"operationType": "Replace", "id": "2", "ifMatch": "\"x\"", "resourceBody": {"id": "2", "pk": "a"}}, create("8")]);
    let failed = f.json("POST", DOCS, &batch, bad).await.expect(207).json();
    let statuses: Vec<_> = failed
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["statusCode"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [424, 412, 424]);
    let failed = f
        .json("POST", DOCS, &batch, json!([create("9"), create("9")]))
        .await
        .expect(207)
        .json();
    assert_eq!(failed[1]["statusCode"], 409);
    let other_key = json!([{"operationType": "Create", "resourceBody": {"id": "9", "pk": "b"}}]);
    let failed = f.json("POST", DOCS, &batch, other_key).await.expect(207).json();
    assert_eq!(
        (&failed[0]["statusCode"], &failed[0]["subStatusCode"]),
        (&json!(400), &json!(1001))
    );
    f.json("POST", DOCS, &batch, json!([])).await.expect(400);
    f.json("POST", DOCS, &batch, Value::Array(vec![create("9"); 101]))
        .await
        .expect(400);
    f.json("POST", DOCS, &batch[1..], json!([create("9")]))
        .await
        .expect(400);
    assert_eq!(
        f.send("GET", DOCS, &[], "").await.expect(200).json(),
        before,
        "nothing was stored"
    );
    f.verify().await;
}

#[tokio::test]
async fn bulk_is_not_atomic() {
    let f = fixture().with_container(json!({})).await;
    let bulk = [
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "False"),
        ("x-ms-cosmos-batch-continue-on-error", "True"),
        ("x-ms-documentdb-partitionkeyrangeid", "0"),
    ];
    let create = |id: &str, pk: &str| json!({"operationType": "Create", "partitionKey": format!("[\"{pk}\"]"), "resourceBody": {"id": id, "pk": pk}});
    let done = f
        .json(
            "POST",
            DOCS,
            &bulk,
            json!([create("1", "a"), create("1", "a"), create("1", "b")]),
        )
        .await
        .expect(207)
        .json();
    let statuses: Vec<_> = done
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["statusCode"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 409, 201]);
    f.json("POST", DOCS, &bulk, json!([create("2", "a")]))
        .await
        .expect(200);
    f.verify().await;
}

#[tokio::test]
async fn time_to_live() {
    let f = fixture().with_container(json!({"defaultTtl": 100})).await;
    f.json("POST", DOCS, &[A], json!({"id": "1", "pk": "a"}))
        .await
        .expect(201);
    f.json("POST", DOCS, &[A], json!({"id": "2", "pk": "a", "ttl": 1_000}))
        .await
        .expect(201);
    f.json("POST", DOCS, &[A], json!({"id": "3", "pk": "a", "ttl": -1}))
        .await
        .expect(201);
    f.json("POST", DOCS, &[A], json!({"id": "4", "pk": "a", "ttl": 0}))
        .await
        .expect(400);
    f.clock.advance_seconds(101);
    f.send("GET", "/dbs/d/colls/c/docs/1", &[A], "").await.expect(404);
    f.json(
        "PUT",
        "/dbs/d/colls/c/docs/1",
        &[A],
        json!({"id": "1", "pk": "a"}),
    )
    .await
    .expect(404);
    assert_eq!(f.send("GET", DOCS, &[], "").await.expect(200).json()["_count"], 2);
    f.json("POST", DOCS, &[A], json!({"id": "1", "pk": "a", "again": true}))
        .await
        .expect(201);
    f.json("POST", DOCS, &[A], json!({"id": "1", "pk": "a"}))
        .await
        .expect(409);
    f.verify().await;
    f.clock.advance_seconds(101);
    f.json("POST", DOCS, &[A, UPSERT], json!({"id": "1", "pk": "a"}))
        .await
        .expect(201);
    f.clock.advance_seconds(2_000);
    let report = f.documents.sweep_once().await.unwrap();
    assert_eq!(report.items_expired, 2);
    assert_eq!(f.send("GET", DOCS, &[], "").await.expect(200).json()["_count"], 1);
    f.verify().await;
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let f = std::sync::Arc::new(fixture().with_container(json!({})).await);
    f.json("POST", DOCS, &[A], json!({"id": "1", "pk": "a", "n": 0}))
        .await
        .expect(201);
    let add = || {
        let f = f.clone();
        async move {
            let patch = json!({"operations": [{"op": "incr", "path": "/n", "value": 1}]});
            loop {
                let reply = f
                    .json("PATCH", "/dbs/d/colls/c/docs/1", &[A], patch.clone())
                    .await;
                if reply.status.as_u16() == 200 {
                    return;
                }
                assert_eq!(reply.status.as_u16(), 449);
            }
        }
    };
    futures::future::join_all((0..20).map(|_| tokio::spawn(add()))).await;
    assert_eq!(
        f.send("GET", "/dbs/d/colls/c/docs/1", &[A], "")
            .await
            .expect(200)
            .json()["n"],
        20
    );
    f.verify().await;
}
