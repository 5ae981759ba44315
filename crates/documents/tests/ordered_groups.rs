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

use base64::Engine as _;
use documents::{Container, PartitionKey};
use ledger::Transaction;
use serde_json::{Value, json};
use signed::{Fixture, fixture};

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

/// The value of an item.
type Shared = fn(usize) -> Value;

/// What a group of 100 items shares: nothing tells them apart, or only their documents do.
fn groups() -> Vec<(&'static str, Shared)> {
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
                let c = f.container("c", composite.then(|| policy.clone())).await;
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

/// A page of ten by the wire: how many items were read for it, the composite indexes that were used, and
/// where to go on.
async fn cost(f: &Fixture, sql: &str, from: &str) -> (f64, Value, String) {
    let mut headers = vec![
        ("x-ms-documentdb-isquery", "True"),
        ("x-ms-documentdb-populatequerymetrics", "True"),
        ("x-ms-cosmos-populateindexmetrics", "True"),
        ("x-ms-documentdb-query-enablecrosspartition", "True"),
        ("x-ms-max-item-count", "10"),
    ];
    if !from.is_empty() {
        headers.push(("x-ms-continuation", from));
    }
    let body = json!({"query": sql});
    let reply = f.json("POST", "/dbs/d/colls/c/docs", &headers, body).await;
    let reply = reply.expect(200);
    assert_eq!(reply.json()["Documents"].as_array().unwrap().len(), 10);
    let figures = reply.header("x-ms-documentdb-query-metrics");
    let read = figures
        .split(';')
        .find_map(|field| field.strip_prefix("retrievedDocumentCount="));
    let indexes = reply.header("x-ms-cosmos-index-utilization");
    let indexes = base64::engine::general_purpose::STANDARD.decode(indexes).unwrap();
    let indexes: Value = serde_json::from_slice(&indexes).unwrap();
    let used = indexes["UtilizedCompositeIndexes"].clone();
    let next = reply.header("x-ms-continuation").to_owned();
    (read.unwrap().parse().unwrap(), used, next)
}

#[tokio::test]
async fn equal_structures_are_read_page_by_page() {
    for (order, by_json) in [
        ("c.v", json!([])),
        ("c.v, c.n", json!({"a": 1})),
        ("c.n, c.v", json!([1])),
    ] {
        let paths: Vec<Value> = order
            .split(", ")
            .map(|path| json!({"path": path.replace("c.", "/")}))
            .collect();
        let policy = (paths.len() > 1).then(|| json!({"compositeIndexes": [paths]}));
        let f = fixture();
        let c = f.container("c", policy).await;
        let item = |at: usize| json!({"id": at.to_string(), "pk": "a", "n": at % 2, "v": by_json});
        create(&f, &c, (0..1_200).map(item)).await;
        // Items without the property come last.
        let order = order.replace(",", " DESC,");
        let sql = format!("SELECT VALUE c.id FROM c ORDER BY {order} DESC");
        let mut from = String::new();
        for at in 0..5 {
            let (read, _, next) = cost(&f, &sql, &from).await;
            assert!(read <= 64.0, "{sql}, page {at}: {read}");
            from = next;
        }
    }
}

#[tokio::test]
async fn a_group_keeps_no_documents() {
    let f = fixture();
    let c = f.container("c", None).await;
    let fill = "y".repeat(1_900_000);
    let start = "x".repeat(300);
    for at in 0..36 {
        let item =
            json!({"id": format!("{at:02}"), "pk": "a", "v": format!("{start}{:02}", 35 - at), "fill": fill});
        create(&f, &c, [item]).await;
    }
    let (ids, _) = page(&f, &c, "SELECT VALUE c.id FROM c ORDER BY c.v", 3, None).await;
    assert_eq!(ids, ["35", "34", "33"]);
}

#[tokio::test]
async fn what_shares_a_cut_constant_is_no_group() {
    let f = fixture();
    let policy = json!({"compositeIndexes": [[{"path": "/url"}, {"path": "/ts"}]]});
    let c = f.container("c", Some(policy)).await;
    let url = "x".repeat(300);
    let item = |at: usize| json!({"id": at.to_string(), "pk": "a", "url": url, "ts": 1_000 - at});
    create(&f, &c, (0..1_000).map(item)).await;
    let sql = format!("SELECT VALUE c.id FROM c WHERE c.url = '{url}' ORDER BY c.ts");
    assert_eq!(cost(&f, &sql, "").await.1, json!([]));
    let grouped = format!("SELECT VALUE c.id FROM c WHERE c.url = '{url}' ORDER BY c.url, c.ts");
    let (ids, _) = page(&f, &c, &sql, 3, None).await;
    assert_eq!(ids, ["999", "998", "997"]);
    assert_eq!(ids, page(&f, &c, &grouped, 3, None).await.0);
}

#[tokio::test]
async fn a_single_value_narrows_before_a_range_of_a_composite_index() {
    let f = fixture();
    let policy = json!({"compositeIndexes": [[{"path": "/status"}, {"path": "/created"}]]});
    let c = f.container("c", Some(policy)).await;
    let item = |at: usize| json!({"id": at.to_string(), "pk": "a", "email": at, "status": 1, "created": at});
    create(&f, &c, (0..5_000).map(item)).await;
    let sql = "SELECT VALUE c.id FROM c WHERE c.email = 4000 AND c.status = 1 AND c.created > 5";
    assert_eq!(page(&f, &c, sql, 10, None).await.0, ["4000"]);
    let headers = [
        ("x-ms-documentdb-isquery", "True"),
        ("x-ms-documentdb-query-enablecrosspartition", "True"),
    ];
    let body = json!({"query": sql});
    let reply = f.json("POST", "/dbs/d/colls/c/docs", &headers, body).await;
    let charge: f64 = reply.expect(200).header("x-ms-request-charge").parse().unwrap();
    // 0.002 for each key.
    assert!(charge < 8.0, "{charge}");
}

#[tokio::test]
async fn documents_of_other_partitions_are_not_read_for_an_order() {
    let f = fixture();
    let policy = json!({"compositeIndexes": [[{"path": "/status"}, {"path": "/created"}]]});
    let c = f.container("c", Some(policy)).await;
    // More than are sorted, behind those of another partition.
    let item = |at: usize| {
        let pk = if at < 2_000 { "b" } else { "a" };
        json!({"id": at.to_string(), "pk": pk, "status": 1, "created": at})
    };
    create(&f, &c, (0..7_100).map(item)).await;
    let key = PartitionKey::string("a");
    let mut from: Option<String> = None;
    for first in [2_000, 2_010, 2_020] {
        let sql = "SELECT VALUE c.created FROM c ORDER BY c.status, c.created";
        let found = f
            .documents
            .query(&c, sql, &[], Some(&key), 10, from.as_deref())
            .await
            .unwrap();
        let wanted: Vec<Value> = (first..first + 10).map(Value::from).collect();
        assert_eq!(found.rows, wanted);
        from = found.continuation;
    }
    let headers = [
        ("x-ms-documentdb-isquery", "True"),
        ("x-ms-documentdb-partitionkey", r#"["a"]"#),
        ("x-ms-documentdb-populatequerymetrics", "True"),
    ];
    let body = json!({"query": "SELECT TOP 10 * FROM c ORDER BY c.status, c.created"});
    let reply = f
        .json("POST", "/dbs/d/colls/c/docs", &headers, body)
        .await
        .expect(200);
    let figures = reply.header("x-ms-documentdb-query-metrics");
    let read = figures
        .split(';')
        .find_map(|field| field.strip_prefix("retrievedDocumentCount="));
    let read: f64 = read.unwrap().parse().unwrap();
    assert!(read <= 300.0, "{read}");
}
