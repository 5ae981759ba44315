//! Orders that no index gives, of more than a query may keep; and counts that read no document.
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
use signed::watched::Watched;
use signed::{Fixture, Reply, fixture};

const DOCS: &str = "/dbs/d/colls/c/docs";
const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");

fn partition(key: &str) -> String {
    format!("[\"{key}\"]")
}

async fn create(f: &Fixture, headers: &[(&str, &str)], item: Value) {
    let key = partition(item["pk"].as_str().unwrap());
    let headers = [headers, &[("x-ms-documentdb-partitionkey", key.as_str())]].concat();
    f.json("POST", DOCS, &headers, item).await.expect(201);
}

async fn page(f: &Fixture, sql: &str, size: usize, from: &str) -> Reply {
    let size = size.to_string();
    let mut headers = vec![QUERY, ("x-ms-max-item-count", size.as_str())];
    if !from.is_empty() {
        headers.push(("x-ms-continuation", from));
    }
    f.json("POST", DOCS, &headers, json!({"query": sql})).await
}

#[tokio::test]
async fn an_order_without_an_index_keeps_a_page() {
    let policy = json!({
        "includedPaths": [{"path": "/*"}, {"path": "/back/?"}],
        "excludedPaths": [{"path": "/text/?"}],
    });
    let back = json!([{"name": "back", "query": "SELECT VALUE -c.n FROM c"}]);
    let f = fixture()
        .with_container(json!({"indexingPolicy": policy, "computedProperties": back}))
        .await;
    // More than 64 MiB.
    let text = "x".repeat(1_000_000);
    for n in 0..80 {
        create(
            &f,
            &[],
            json!({"id": n.to_string(), "pk": "a", "n": (n * 7) % 80, "text": text}),
        )
        .await;
    }
    let sql = "SELECT * FROM c ORDER BY c.back";
    let (mut found, mut from) = (Vec::new(), String::new());
    for _ in 0..6 {
        let reply = page(&f, sql, 5, &from).await.expect(200);
        let rows = reply.json()["Documents"].as_array().unwrap().clone();
        assert!(!rows.is_empty());
        found.extend(rows.iter().map(|row| row["n"].as_i64().unwrap()));
        from = reply.header("x-ms-continuation").to_owned();
    }
    let wanted: Vec<i64> = (0..80).rev().take(found.len()).collect();
    assert_eq!(found, wanted);
    let top = page(&f, "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.back", 100, "")
        .await
        .expect(200);
    assert_eq!(top.json()["Documents"], json!([79, 78, 77]));
    // What DISTINCT compares, it keeps.
    let distinct = "SELECT DISTINCT c.n, c.text FROM c ORDER BY c.back";
    page(&f, distinct, 5, "").await.expect(400);
}

#[tokio::test]
async fn a_count_of_all_reads_no_document() {
    let f = fixture().with_container(json!({})).await;
    let ledger = Watched::over(f.ledger.clone(), f.clock.clone());
    let watch = ledger.watch.clone();
    let node = f.another_node_on(ledger, |_| {});
    let count = async |sql: &str, key: Option<&str>| {
        let key = key.map(partition);
        let mut headers = vec![QUERY];
        headers.extend(key.as_deref().map(|key| ("x-ms-documentdb-partitionkey", key)));
        let reply = node
            .json("POST", DOCS, &headers, json!({"query": sql}))
            .await
            .expect(200);
        reply.json()["Documents"].clone()
    };
    let all = "SELECT VALUE COUNT(1) FROM c";
    assert_eq!(count(all, None).await, json!([0]));
    for n in 0..700 {
        let exclude = ("x-ms-indexing-directive", "Exclude");
        let headers: &[_] = if n % 9 == 0 { &[exclude] } else { &[] };
        let key = if n % 7 == 0 { "a" } else { "b" };
        create(&f, headers, json!({"id": n.to_string(), "pk": key, "n": n})).await;
    }
    watch.items();
    assert_eq!(count(all, None).await, json!([700]));
    assert_eq!(count(all, Some("a")).await, json!([100]));
    assert_eq!(count(all, Some("none")).await, json!([0]));
    assert_eq!(
        count("SELECT COUNT(1) AS n, COUNT(c) AS m FROM c", Some("b")).await,
        json!([{"n": 600, "m": 600}])
    );
    assert_eq!(watch.items(), 0);
    assert_eq!(count("SELECT VALUE COUNT(c.n) FROM c", None).await, json!([700]));
    assert!(watch.items() >= 700);
    f.send(
        "DELETE",
        &format!("{DOCS}/0"),
        &[("x-ms-documentdb-partitionkey", "[\"a\"]")],
        "",
    )
    .await
    .expect(204);
    assert_eq!(count(all, Some("a")).await, json!([99]));
}

#[tokio::test]
async fn what_is_expired_is_not_counted() {
    let f = fixture().with_container(json!({"defaultTtl": -1})).await;
    create(&f, &[], json!({"id": "1", "pk": "a", "ttl": 5})).await;
    create(&f, &[], json!({"id": "2", "pk": "a"})).await;
    f.clock.advance_seconds(6);
    let reply = page(&f, "SELECT VALUE COUNT(1) FROM c", 10, "").await.expect(200);
    assert_eq!(reply.json()["Documents"], json!([1]));
}
