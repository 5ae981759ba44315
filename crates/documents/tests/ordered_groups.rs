//! Items that an index doesn't tell apart (equal arrays and objects, strings that begin the same): pages
//! go on where they ended while items come and go, and what such a group costs.
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

use std::sync::Arc;

use documents::{Container, ContainerSpec, PartitionKey};
use ledger::Transaction;
use serde_json::{Value, json};
use signed::{Fixture, fixture};

async fn container(f: &Fixture, policy: Option<Value>) -> Arc<Container> {
    let spec = ContainerSpec {
        account: "test".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        partition_key_paths: vec!["/pk".to_owned()],
        default_ttl: None,
        indexing_policy: policy,
    };
    f.documents.ensure_container(&spec).await.unwrap()
}

async fn create(f: &Fixture, c: &Container, documents: impl IntoIterator<Item = Value>) {
    let documents: Vec<Value> = documents.into_iter().collect();
    for together in documents.chunks(50) {
        let mut tx = Transaction::new();
        for document in together {
            let staged = f.documents.stage_create(&mut tx, c, document.clone()).await;
            staged.unwrap();
        }
        f.ledger.commit(tx).await.unwrap();
    }
}

async fn delete(f: &Fixture, c: &Container, ids: &[String]) {
    let mut tx = Transaction::new();
    let snapshot = f.ledger.snapshot().await.unwrap();
    let key = PartitionKey::string("a");
    for id in ids {
        let deleted = f
            .documents
            .stage_delete(&mut tx, snapshot.as_ref(), c, &key, id, None);
        deleted.await.unwrap();
    }
    f.ledger.commit(tx).await.unwrap();
}

/// A page of ids, and where to go on.
async fn page(
    f: &Fixture,
    c: &Container,
    sql: &str,
    items_max: usize,
    from: Option<&str>,
) -> (Vec<String>, Option<String>) {
    let found = f.documents.query(c, sql, &[], None, items_max, from).await;
    let found = found.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let ids = found.rows.iter().map(|row| row.as_str().unwrap().to_owned());
    (ids.collect(), found.continuation)
}

/// What a group of 100 items shares: nothing tells them apart, or only their documents do.
fn groups() -> Vec<(&'static str, fn(usize) -> Value)> {
    vec![
        ("equal arrays", |_| json!([])),
        ("equal objects", |_| json!({})),
        // These two share a hash.
        (
            "objects of one hash",
            |at| json!({"x": 9_007_199_254_740_992_i64 + i64::try_from(at % 2).unwrap()}),
        ),
        ("strings that are cut", |at| {
            json!(format!("{}{:02}", "x".repeat(300), (at * 37) % 100))
        }),
    ]
}

#[tokio::test]
async fn pages_go_on_though_what_was_given_is_deleted() {
    for composite in [false, true] {
        let policy = json!({"compositeIndexes": [[{"path": "/v"}, {"path": "/n"}]]});
        let order = if composite { "c.v, c.n" } else { "c.v" };
        for direction in ["ASC", "DESC"] {
            let order = order.replace(',', &format!(" {direction},"));
            let sql = format!("SELECT VALUE c.id FROM c ORDER BY {order} {direction}");
            for (name, value) in groups() {
                let f = fixture();
                let c = container(&f, composite.then(|| policy.clone())).await;
                let item = |at: usize| json!({"id": at.to_string(), "pk": "a", "n": at / 2, "v": value(at)});
                create(&f, &c, (0..100).map(item)).await;
                let wanted = page(&f, &c, &sql, 1_000, None).await.0;
                assert_eq!(wanted.len(), 100);
                let (mut found, mut from) = (Vec::new(), None);
                loop {
                    let (ids, next) = page(&f, &c, &sql, 10, from.as_deref()).await;
                    // Come in the middle of it, these take a place before or behind.
                    let added: Vec<Value> = (0..3)
                        .map(|more| {
                            let mut item = item(more);
                            item["id"] = json!(format!("added {} {more}", found.len()));
                            item
                        })
                        .collect();
                    delete(&f, &c, &ids).await;
                    create(&f, &c, added).await;
                    found.extend(ids);
                    assert!(found.len() < 1_000, "{name}, {sql}");
                    match next {
                        Some(next) => from = Some(next),
                        None => break,
                    }
                }
                found.retain(|id| !id.starts_with("added"));
                assert_eq!(found, wanted, "{name}, {sql}");
            }
        }
    }
}
