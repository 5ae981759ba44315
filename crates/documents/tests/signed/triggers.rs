//! Triggers of container `c`, and writes that name them.

use serde_json::{Value, json};

use super::{Fixture, Reply, fixture_with, script_worker};

pub const DOCS: &str = "/dbs/d/colls/c/docs";
pub const TRIGGERS: &str = "/dbs/d/colls/c/triggers";
pub const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");
pub const UPSERT: (&str, &str) = ("x-ms-documentdb-is-upsert", "True");

pub fn pre(name: &str) -> (&str, &str) {
    ("x-ms-documentdb-pre-trigger-include", name)
}

pub fn post(name: &str) -> (&str, &str) {
    ("x-ms-documentdb-post-trigger-include", name)
}

pub async fn running(more: Value) -> Fixture {
    fixture_with(|settings| settings.script_worker = Some(script_worker()))
        .with_container(more)
        .await
}

pub async fn keep(f: &Fixture, id: &str, kind: &str, operation: &str, body: &str) {
    let trigger = json!({"id": id, "body": body, "triggerType": kind, "triggerOperation": operation});
    f.json("POST", TRIGGERS, &[], trigger).await.expect(201);
}

pub async fn create(f: &Fixture, headers: &[(&str, &str)], document: Value) -> Reply {
    f.json("POST", DOCS, headers, document).await
}

pub async fn replace(f: &Fixture, id: &str, headers: &[(&str, &str)], document: Value) -> Reply {
    f.json("PUT", &format!("{DOCS}/{id}"), headers, document).await
}

pub async fn ids(f: &Fixture) -> Vec<String> {
    let listed = f.send("GET", DOCS, &[], "").await.expect(200).json();
    let documents = listed["Documents"].as_array().unwrap();
    documents
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

pub async fn read(f: &Fixture, id: &str) -> Value {
    f.send("GET", &format!("{DOCS}/{id}"), &[A], "")
        .await
        .expect(200)
        .json()
}
