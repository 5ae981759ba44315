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
use signed::fixture;

const PERMISSIONS: &str = "/dbs/d/users/u/permissions";
const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");
const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");

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
    let item = json!({"id": "x", "pk": "a"});
    for (method, path) in [
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
        ("GET", "/dbs/d/users/u/permissions"),
        ("GET", "/dbs/d/users/u/permissions/r"),
    ] {
        fixture.json(method, path, &[A], item.clone()).await.expect(403);
    }
}
