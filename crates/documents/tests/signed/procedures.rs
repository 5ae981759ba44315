//! Stored procedures of container `c` in partition `a`.

use serde_json::json;

use super::{Fixture, Reply};

pub const SPROCS: &str = "/dbs/d/colls/c/sprocs";
pub const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");

/// Keeps a procedure.
pub async fn keep(f: &Fixture, id: &str, body: &str) {
    let script = json!({"id": id, "body": body});
    f.json("POST", SPROCS, &[], script).await.expect(201);
}

/// Runs one without parameters.
pub async fn execute(f: &Fixture, id: &str) -> Reply {
    f.json("POST", &format!("{SPROCS}/{id}"), &[A], json!([])).await
}
