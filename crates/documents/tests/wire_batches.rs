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

/// The rows of the .NET client, of which this is the simplest: columns, no fields.
fn row(verb: u32, id: Option<&str>, body: Option<&Value>) -> Vec<u8> {
    let mut row = vec![0x81, 0x70, 0x54, 0xE1, 0x7F];
    row.push(0b11 | u8::from(id.is_some()) << 4 | u8::from(body.is_some()) << 6);
    row.extend_from_slice(&verb.to_le_bytes());
    row.extend_from_slice(&2u32.to_le_bytes());
    for column in [id.map(str::to_owned), body.map(Value::to_string)]
        .into_iter()
        .flatten()
    {
        row.push(u8::try_from(column.len()).unwrap());
        assert!(column.len() < 0x80);
        row.extend_from_slice(column.as_bytes());
    }
    row
}

fn rows(rows: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![0x81, 0xF0, 0xD8, 0xFF, 0x7F, 1, 10, 0, 0, 0];
    for row in rows {
        body.extend_from_slice(&[0x81, 0xF1, 0xD8, 0xFF, 0x7F]);
        body.extend_from_slice(&u32::try_from(row.len()).unwrap().to_le_bytes());
        let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, row);
        body.extend_from_slice(&u32::try_from(sum).unwrap().to_le_bytes());
        body.extend_from_slice(row);
    }
    body
}

/// Status and etag of each result.
fn results(mut body: &[u8]) -> Vec<(u32, Option<String>)> {
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap());
    assert_eq!(body[..10], [0x81, 0xF0, 0xD8, 0xFF, 0x7F, 1, 10, 0, 0, 0]);
    body = &body[10..];
    let mut found = Vec::new();
    while !body.is_empty() {
        assert_eq!(body[..5], [0x81, 0xF1, 0xD8, 0xFF, 0x7F]);
        let length = usize::try_from(number(&body[5..])).unwrap();
        let row = &body[13..13 + length];
        assert_eq!(row[..5], [0x81, 0x71, 0x54, 0xE1, 0x7F]);
        let etag = (row[5] & 0b100 != 0).then(|| {
            let length = usize::from(row[14]);
            String::from_utf8(row[15..15 + length].to_vec()).unwrap()
        });
        found.push((number(&row[6..]), etag));
        body = &body[13 + length..];
    }
    found
}

#[tokio::test]
async fn batches_in_rows_are_answered_in_rows() {
    let f = fixture().with_container(json!({})).await;
    let batch = [
        A,
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
    ];
    let item = |id: &str| json!({"id": id, "pk": "a"});
    let sent = rows(&[
        row(0, None, Some(&item("1"))),
        row(20, Some("2"), Some(&item("2"))),
        row(2, Some("1"), None),
        row(4, Some("1"), None),
    ]);
    let done = f.send("POST", DOCS, &batch, sent.clone()).await.expect(200);
    assert_eq!(done.header("content-type"), "application/octet-stream");
    let done = results(&done.body);
    assert_eq!(
        done.iter().map(|(status, _)| *status).collect::<Vec<_>>(),
        [201, 201, 200, 204]
    );
    let item_two = f.send("GET", "/dbs/d/colls/c/docs/2", &[A], "").await.expect(200);
    assert_eq!(done[1].1.as_deref(), item_two.json()["_etag"].as_str());
    f.verify().await;

    let failing = rows(&[row(20, None, Some(&item("3"))), row(0, None, Some(&item("2")))]);
    let failed = f.send("POST", DOCS, &batch, failing).await.expect(207);
    assert_eq!(results(&failed.body), [(424, None), (409, None)]);
    f.send("GET", "/dbs/d/colls/c/docs/3", &[A], "").await.expect(404);

    let mut damaged = sent;
    damaged[40] ^= 1;
    let refused = f.send("POST", DOCS, &batch, damaged).await.expect(400);
    assert!(
        signed::message(&refused).contains("checksum"),
        "{}",
        signed::message(&refused)
    );
    let elsewhere = f.send("POST", DOCS, &[A], rows(&[])).await.expect(400);
    assert!(signed::message(&elsewhere).contains("only batches"));
}
