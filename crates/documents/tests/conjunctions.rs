//! Conjunctions over conditions of very different frequency give the rows of the whole query run
//! over every document, whatever the page size: those that are intersected by walking, those that
//! are looked up, and those whose rows are answered as stored.
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
use documents_sql::{Compiled, EvalContext, OrderMode};
use ledger::Transaction;
use proptest::prelude::*;
use serde_json::{Value, json};
use signed::{Fixture, fixture};

async fn container(f: &Fixture) -> Arc<Container> {
    let spec = ContainerSpec {
        account: "test".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        partition_key_paths: vec!["/owner/name".to_owned()],
        default_ttl: None,
        indexing_policy: None,
    };
    f.documents.ensure_container(&spec).await.unwrap()
}

/// Creates documents; gives them back as they are stored, in the order of creation.
async fn create(f: &Fixture, container: &Container, documents: &[Value]) -> Vec<Value> {
    let mut stored = Vec::new();
    for block in documents.chunks(100) {
        let mut tx = Transaction::new();
        for document in block {
            let staged = f.documents.stage_create(&mut tx, container, document.clone());
            stored.push(staged.await.unwrap().document().unwrap());
        }
        f.ledger.commit(tx).await.unwrap();
    }
    stored
}

/// The query over every document, without an index.
fn run_whole(documents: &[Value], sql: &str, owner: Option<&str>) -> Vec<Value> {
    let compiled = Compiled::compile(&documents_sql::parse(sql).unwrap(), &[]).unwrap();
    let context = EvalContext {
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
        random_seed: 1,
    };
    let mut execution = compiled.execution(context, 1 << 30, OrderMode::Sort);
    let mut rows = Vec::new();
    for (order, document) in (0u64..).zip(documents) {
        if owner.is_none_or(|owner| document["owner"]["name"] == owner) {
            execution.push(document, order).unwrap();
        }
    }
    execution.finish().unwrap();
    while let Some(row) = execution.next_row() {
        rows.push(row);
    }
    rows
}

async fn run_paged(
    f: &Fixture,
    container: &Container,
    sql: &str,
    owner: Option<&str>,
    page: usize,
) -> Vec<Value> {
    let key = owner.map(PartitionKey::string);
    let mut rows = Vec::new();
    let mut continuation: Option<String> = None;
    loop {
        let found = f
            .documents
            .query(container, sql, &[], key.as_ref(), page, continuation.as_deref())
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert!(found.rows.len() <= page);
        rows.extend(found.rows);
        match found.continuation {
            Some(next) => continuation = Some(next),
            None => return rows,
        }
    }
}

/// Document `n` of `seed`: `a` has many values, `b` few, `e` two, `f` is the same in nearly all;
/// `late` is only in the last quarter.
fn document(n: u64, count: u64, seed: u64) -> Value {
    let mix = |salt: u64| {
        let mut z = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (seed + salt).wrapping_mul(0xBF58_476D);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z ^ (z >> 27)
    };
    let mut document = json!({
        "id": n.to_string(), "owner": {"name": format!("o{}", mix(1) % 5)},
        "a": mix(2) % 60, "b": format!("b{}", mix(3) % 7), "e": mix(4) % 2 == 0,
        "f": if mix(5) % 50 == 0 { Value::Null } else { json!(1) },
        "tags": [mix(6) % 4, mix(7) % 40], "n": n,
    });
    if n >= count - count / 4 {
        document["late"] = json!(mix(8) % 3);
    }
    document
}

fn equality() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0u64..61).prop_map(|a| format!("c.a = {a}")),
        2 => (0u64..8).prop_map(|b| format!("c.b = 'b{b}'")),
        2 => any::<bool>().prop_map(|e| format!("c.e = {e}")),
        2 => Just("c.f = 1".to_owned()),
        1 => Just("c.f = null".to_owned()),
        1 => (0u64..40).prop_map(|tag| format!("ARRAY_CONTAINS(c.tags, {tag})")),
        1 => (0u64..60, 0u64..60).prop_map(|(x, y)| format!("c.a IN ({x}, {y}, 7)")),
        1 => (0u64..7, 0u64..7).prop_map(|(x, y)| format!("c.b IN ('b{x}', 'b{y}')")),
        1 => (0u64..4).prop_map(|late| format!("c.late = {late}")),
        1 => (0u64..6).prop_map(|owner| format!("c.owner.name = 'o{owner}'")),
        1 => (0u64..60, 0u64..2).prop_map(|(a, e)| format!("(c.a = {a} OR c.e = {})", e == 0)),
        1 => (0u64..900).prop_map(|n| format!("c.n < {n}")),
    ]
}

fn query() -> impl Strategy<Value = String> {
    let conditions = prop::collection::vec(equality(), 1..5);
    (conditions, 0usize..8).prop_map(|(conditions, kind)| {
        let filter = conditions.join(" AND ");
        match kind {
            0 => format!("SELECT c.id, c.owner FROM c WHERE {filter}"),
            1 => format!("SELECT * FROM c WHERE {filter} ORDER BY c.a DESC"),
            2 => format!("SELECT VALUE c FROM c WHERE {filter} OFFSET 2 LIMIT 9"),
            3 => format!("SELECT VALUE COUNT(1) FROM c WHERE {filter}"),
            4 => format!("SELECT VALUE c FROM c JOIN t IN c.tags WHERE {filter}"),
            _ => format!("SELECT * FROM c WHERE {filter}"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn as_if_every_document_had_been_read(
        count in 40u64..900,
        seed in 0u64..1_000_000,
        queries in prop::collection::vec((query(), prop::option::of(0u64..6)), 24),
        page in prop_oneof![1usize..8, Just(1_000)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let f = fixture();
            let c = container(&f).await;
            let documents: Vec<Value> = (0..count).map(|n| document(n, count, seed)).collect();
            let stored = create(&f, &c, &documents).await;
            for (sql, owner) in &queries {
                let owner = owner.map(|owner| format!("o{owner}"));
                let wanted = run_whole(&stored, sql, owner.as_deref());
                let found = run_paged(&f, &c, sql, owner.as_deref(), page).await;
                assert_eq!(found, wanted, "{sql}, owner {owner:?}, by {page}");
            }
        });
    }
}

/// The frequent condition isn't read through for a rare one: the charge, which counts keys read,
/// stays small.
#[tokio::test]
async fn a_frequent_condition_is_looked_up() {
    let f = fixture().with_container(json!({})).await;
    let pk = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    for n in 0..1_500 {
        let item = json!({"id": n.to_string(), "pk": "a", "rare": n % 300, "same": 1});
        f.json("POST", "/dbs/d/colls/c/docs", &[pk], item)
            .await
            .expect(201);
    }
    let query = |sql: &str| json!({"query": sql, "parameters": []}).to_string();
    let headers = [pk, ("x-ms-documentdb-isquery", "True")];
    let mut charges = Vec::new();
    for sql in [
        "SELECT * FROM c WHERE c.rare = 7",
        "SELECT * FROM c WHERE c.same = 1 AND c.rare = 7",
    ] {
        let answer = f
            .send("POST", "/dbs/d/colls/c/docs", &headers, query(sql).as_str())
            .await
            .expect(200);
        assert_eq!(answer.json()["_count"], 5, "{sql}");
        charges.push(answer.header("x-ms-request-charge").parse::<f64>().unwrap());
    }
    // A page of the frequent one and five lookups, 0.002 each; reading it through costs 3.
    assert!(charges[1] - charges[0] < 0.2, "{charges:?}");
}
