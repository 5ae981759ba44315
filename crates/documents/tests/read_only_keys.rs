//! Read-only account keys.
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

use serde_json::json;
use signed::{Reply, fixture};

const PERMISSIONS: &str = "/dbs/d/users/u/permissions";
const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");
const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");

/// Refused for its key, not for something else.
fn assert_read_only(reply: &Reply) {
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("read-only"), "{message}");
}

#[tokio::test]
async fn a_read_only_key_reads() {
    let mut fixture = fixture().with_container(json!({})).await;
    let posts = [
        ("/dbs/d/colls/c/docs", json!({"id": "a1", "pk": "a"})),
        ("/dbs/d/users", json!({"id": "u"})),
        (
            PERMISSIONS,
            json!({"id": "r", "permissionMode": "Read", "resource": "dbs/d/colls/c"}),
        ),
    ];
    for (path, body) in posts {
        fixture.json("POST", path, &[], body).await.expect(201);
    }
    let provisioned = json!({"id": "t", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
    fixture
        .json(
            "POST",
            "/dbs/d/colls",
            &[("x-ms-offer-throughput", "400")],
            provisioned,
        )
        .await
        .expect(201);
    let offers = fixture.send("GET", "/offers", &[], "").await.expect(200).json();
    let offer = format!("/offers/{}", offers["Offers"][0]["id"].as_str().unwrap());
    fixture.key = fixture.read_only_key.clone();
    let query = json!({"query": "SELECT VALUE COUNT(1) FROM c"});
    for path in [
        "/",
        "/dbs",
        "/dbs/d",
        "/dbs/d/colls",
        "/dbs/d/colls/c",
        "/dbs/d/colls/c/docs",
        "/dbs/d/users",
        "/offers",
    ] {
        fixture.send("GET", path, &[], "").await.expect(200);
    }
    fixture
        .send("GET", "/dbs/d/colls/c/docs/a1", &[A], "")
        .await
        .expect(200);
    fixture
        .json("POST", "/dbs/d/colls/c/docs", &[QUERY], query)
        .await
        .expect(200);
    fixture.send("GET", &offer, &[], "").await.expect(200);
    let item = json!({"id": "x", "pk": "a"});
    let docs = "/dbs/d/colls/c/docs";
    let batch = ("x-ms-cosmos-is-batch-request", "True");
    for (path, headers) in [
        (docs, vec![A, ("x-ms-documentdb-is-upsert", "True")]),
        (docs, vec![A, batch, ("x-ms-cosmos-batch-atomic", "True")]),
        (docs, vec![batch, ("x-ms-cosmos-batch-atomic", "False")]),
        ("/dbs/d/colls/c/operations/partitionkeydelete", vec![A]),
    ] {
        let refused = fixture
            .json("POST", path, &headers, item.clone())
            .await
            .expect(403);
        assert_read_only(&refused);
    }
    for (method, path) in [
        ("PUT", offer.as_str()),
        ("POST", "/dbs"),
        ("DELETE", "/dbs/d"),
        ("POST", "/dbs/d/colls"),
        ("PUT", "/dbs/d/colls/c"),
        ("DELETE", "/dbs/d/colls/c"),
        ("POST", "/dbs/d/colls/c/docs"),
        ("PUT", "/dbs/d/colls/c/docs/a1"),
        ("PATCH", "/dbs/d/colls/c/docs/a1"),
        ("DELETE", "/dbs/d/colls/c/docs/a1"),
        ("POST", "/dbs/d/users"),
        ("PUT", "/dbs/d/users/u"),
        ("DELETE", "/dbs/d/users/u"),
        ("POST", "/dbs/d/users/u/permissions"),
        ("PUT", "/dbs/d/users/u/permissions/r"),
        ("DELETE", "/dbs/d/users/u/permissions/r"),
        ("GET", "/dbs/d/users/u/permissions"),
        ("GET", "/dbs/d/users/u/permissions/r"),
    ] {
        let refused = fixture.json(method, path, &[A], item.clone()).await.expect(403);
        assert_read_only(&refused);
    }
}
