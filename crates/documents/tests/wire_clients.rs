//! What only the clients of one language send or look at.
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

#[tokio::test]
async fn a_containers_owner_is_its_database() {
    let f = fixture();
    let database = f
        .json("POST", "/dbs", &[], json!({"id": "d"}))
        .await
        .expect(201)
        .json();
    let new = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash"}});
    let created = f.json("POST", "/dbs/d/colls", &[], new.clone()).await.expect(201);
    let read = f.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200);
    let replaced = f.json("PUT", "/dbs/d/colls/c", &[], new).await.expect(200);
    for answer in [created, read, replaced] {
        assert_eq!(answer.header("x-ms-alt-content-path"), "dbs/d");
        assert_eq!(
            answer.header("x-ms-content-path"),
            database["_rid"].as_str().unwrap()
        );
    }
    let ranges = f
        .send("GET", "/dbs/d/colls/c/pkranges", &[], "")
        .await
        .expect(200);
    assert_eq!(ranges.header("x-ms-alt-content-path"), "dbs/d/colls/c");
}

#[tokio::test]
async fn a_partition_keys_version_comes_as_its_name_too() {
    let f = fixture();
    f.json("POST", "/dbs", &[], json!({"id": "d"})).await.expect(201);
    let with = |version: &str| {
        let key = json!({"paths": ["/a", "/b"], "kind": "MultiHash", "version": version});
        json!({"id": "c", "partitionKey": key})
    };
    let made = f
        .json("POST", "/dbs/d/colls", &[], with("V2"))
        .await
        .expect(201)
        .json();
    assert_eq!(made["partitionKey"]["version"], 2);
    f.json("PUT", "/dbs/d/colls/c", &[], with("V2")).await.expect(200);
    f.json("PUT", "/dbs/d/colls/c", &[], with("V1")).await.expect(400);
    f.json("POST", "/dbs/d/colls", &[], with("V3")).await.expect(400);
}

#[tokio::test]
async fn a_query_is_told_by_either_header() {
    let f = fixture();
    f.json("POST", "/dbs", &[], json!({"id": "d"})).await.expect(201);
    let query = || json!({"query": "SELECT VALUE r.id FROM r"});
    for name in ["x-ms-documentdb-isquery", "x-ms-documentdb-query"] {
        let found = f
            .json("POST", "/dbs", &[(name, "True")], query())
            .await
            .expect(200)
            .json();
        assert_eq!(found["Databases"], json!(["d"]), "{name}");
    }
    f.json("POST", "/dbs", &[("x-ms-documentdb-query", "False")], query())
        .await
        .expect(400);
}
