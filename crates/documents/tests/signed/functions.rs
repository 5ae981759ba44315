//! User-defined functions of container `c`, and queries that call them.

use serde_json::{Value, json};

use super::{Fixture, Reply, fixture_with, script_worker};

pub const DOCS: &str = "/dbs/d/colls/c/docs";
pub const UDFS: &str = "/dbs/d/colls/c/udfs";
pub const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");

pub async fn running() -> Fixture {
    fixture_with(|settings| settings.script_worker = Some(script_worker()))
        .with_container(json!({}))
        .await
}

pub async fn keep(f: &Fixture, id: &str, body: &str) {
    f.json("POST", UDFS, &[], json!({"id": id, "body": body}))
        .await
        .expect(201);
}

/// Items `0`, `1`, … with `n`, in two partitions, some with tags.
pub async fn with_items(f: &Fixture, count: u32) {
    for n in 0..count {
        let pk = if n % 2 == 0 { "a" } else { "b" };
        let tags: Vec<u32> = (0..n % 3).collect();
        let item = json!({"id": n.to_string(), "pk": pk, "n": n, "tags": tags});
        f.json("POST", DOCS, &[], item).await.expect(201);
    }
}

pub async fn ask(f: &Fixture, sql: &str, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = [QUERY].iter().chain(headers).copied().collect();
    let body = json!({"query": sql, "parameters": [{"name": "@two", "value": 2}]});
    f.json("POST", DOCS, &headers, body).await
}

pub async fn rows(f: &Fixture, sql: &str) -> Value {
    ask(f, sql, &[]).await.expect(200).json()["Documents"].clone()
}
