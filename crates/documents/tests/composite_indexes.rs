//! What becomes of composite indexes: which queries they serve and what that costs, what is written for
//! them, how another policy changes them, and that verify finds what is wrong with them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod signed;

use base64::Engine as _;
use ledger::{Direction, Entry, Key, KeyRange, KeyWriter, Keyspace, Scan, Transaction, VerifyReport};
use serde_json::{Value, json};
use signed::{Fixture, fixture};

const DOCS: &str = "/dbs/d/colls/c/docs";
const CONTAINER: &str = "/dbs/d/colls/c";
const ITEMS: usize = 200;
const PURGED: u64 = 200;
const ASKED: [(&str, &str); 4] = [
    ("x-ms-documentdb-isquery", "True"),
    ("x-ms-documentdb-populatequerymetrics", "True"),
    ("x-ms-cosmos-populateindexmetrics", "True"),
    ("x-ms-documentdb-query-enablecrosspartition", "True"),
];

fn pair(a: &str, b: &str) -> Value {
    let column = |path: &str| match path.strip_prefix('-') {
        Some(path) => json!({"path": path, "order": "descending"}),
        None => json!({"path": path, "order": "ascending"}),
    };
    json!([column(a), column(b)])
}

fn policy(composites: &[Value]) -> Value {
    json!({"indexingMode": "consistent", "automatic": true, "includedPaths": [{"path": "/*"}],
        "excludedPaths": [{"path": "/\"_etag\"/?"}], "compositeIndexes": composites})
}

async fn filled(composites: &[Value]) -> Fixture {
    let f = fixture()
        .with_container(json!({"indexingPolicy": policy(composites)}))
        .await;
    for number in 0..ITEMS {
        let mut item =
            json!({"id": number.to_string(), "pk": "a", "group": number % 4, "n": (number * 7) % ITEMS});
        if number % 50 == 49 {
            item.as_object_mut().unwrap().remove("n");
        }
        f.json("POST", DOCS, &[], item).await.expect(201);
    }
    f
}

/// A page of a query: rows, where to go on, items that were read, and composite indexes used and missing.
struct Told {
    rows: Value,
    continuation: String,
    read: f64,
    used: Value,
    missing: Value,
}

async fn ask(f: &Fixture, sql: &str, items_max: usize, continuation: &str) -> Told {
    let items_max = items_max.to_string();
    let mut headers = ASKED.to_vec();
    headers.push(("x-ms-max-item-count", &items_max));
    if !continuation.is_empty() {
        headers.push(("x-ms-continuation", continuation));
    }
    let reply = f
        .json("POST", DOCS, &headers, json!({"query": sql}))
        .await
        .expect(200);
    let figures = reply.header("x-ms-documentdb-query-metrics");
    let read = figures
        .split(';')
        .find_map(|field| field.strip_prefix("retrievedDocumentCount="));
    let indexes = reply.header("x-ms-cosmos-index-utilization");
    let indexes = base64::engine::general_purpose::STANDARD.decode(indexes).unwrap();
    let indexes: Value = serde_json::from_slice(&indexes).unwrap();
    let specs = |list: &str| {
        let list = indexes[list].as_array().unwrap().iter();
        list.map(|index| index["IndexSpecs"].clone())
            .collect::<Vec<_>>()
            .into()
    };
    Told {
        rows: reply.json()["Documents"].clone(),
        continuation: reply.header("x-ms-continuation").to_owned(),
        read: read.unwrap().parse().unwrap(),
        used: specs("UtilizedCompositeIndexes"),
        missing: specs("PotentialCompositeIndexes"),
    }
}

async fn change_policy(f: &Fixture, composites: &[Value]) -> signed::Reply {
    let mut container = f.send("GET", CONTAINER, &[], "").await.expect(200).json();
    container["indexingPolicy"] = policy(composites);
    f.json("PUT", CONTAINER, &[], container).await.expect(200)
}

/// Everything in the documents' keyspace whose key goes on with `tag`.
async fn entries(f: &Fixture, tag: u8) -> Vec<Entry> {
    let snapshot = f.ledger.snapshot().await.unwrap();
    let prefix = KeyWriter::new(Keyspace::Documents).u8(tag).finish();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let mut found = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        found.push(entry);
    }
    found
}

/// The only container's record.
async fn record(f: &Fixture) -> (Key, Value) {
    let entry = entries(f, 2).await.remove(0);
    (entry.key, serde_json::from_slice(&entry.versioned.value).unwrap())
}

/// The entries of the composite index at a place; as long as numbers are small, a tag is the number's.
async fn composite_entries(f: &Fixture, place: usize) -> Vec<Entry> {
    let (_, record) = record(f).await;
    let index = u8::try_from(record["index"][1][place]["index"].as_u64().unwrap()).unwrap();
    entries(f, 0x40 | index).await
}

async fn faults(f: &Fixture) -> Vec<String> {
    let snapshot = f.ledger.snapshot().await.unwrap();
    let mut report = VerifyReport::default();
    f.documents.verify(snapshot.as_ref(), &mut report).await.unwrap();
    report.faults
}

#[tokio::test]
async fn orders_are_read_page_by_page() {
    let f = filled(&[pair("/group", "-/n")]).await;
    let spec = json!([["/group ASC", "/n DESC"]]);
    for (order, first) in [("c.group, c.n DESC", 0), ("c.group DESC, c.n", 3)] {
        let sql = format!("SELECT VALUE c.group FROM c ORDER BY {order}");
        let mut page = ask(&f, &sql, 10, "").await;
        assert_eq!((page.rows[0].clone(), page.used), (json!(first), spec.clone()));
        let mut rows = page.rows.as_array().unwrap().len();
        while !page.continuation.is_empty() {
            assert!(page.read <= 60.0, "a page doesn't read everything: {}", page.read);
            page = ask(&f, &sql, 10, &page.continuation).await;
            rows += page.rows.as_array().unwrap().len();
        }
        assert_eq!(rows, ITEMS, "those without a property as well");
    }
    let sql = "SELECT VALUE c.n FROM c WHERE c.group = 2 ORDER BY c.group, c.n DESC";
    let page = ask(&f, sql, 5, "").await;
    assert_eq!(
        (page.rows, page.used),
        (json!([198, 194, 190, 186, 182]), spec.clone())
    );
    assert!(page.read <= 20.0, "{}", page.read);
    // The bound property may be left out; turned, ties would come out in the wrong order.
    let f = filled(&[pair("/group", "/n")]).await;
    let page = ask(
        &f,
        "SELECT VALUE c.n FROM c WHERE c.group = 2 ORDER BY c.n DESC",
        5,
        "",
    )
    .await;
    assert_eq!(
        (page.rows, page.used),
        (
            json!([198, 194, 190, 186, 182]),
            json!([["/group ASC", "/n ASC"]])
        )
    );
}

#[tokio::test]
async fn filters_are_one_range() {
    let f = filled(&[pair("/group", "/n"), pair("-/n", "/pk")]).await;
    let group = json!(["/group ASC", "/n ASC"]);
    let table = [
        ("c.group = 2 AND c.n = 10", 1.0, json!([group]), json!([])),
        ("c.group = 2 AND c.n > 180", 5.0, json!([group]), json!([])),
        (
            "c.n = 10 AND c.pk > 'A' AND c.group = 2",
            1.0,
            json!([group, ["/n DESC", "/pk ASC"]]),
            json!([["/n ASC", "/group ASC", "/pk ASC"]]),
        ),
        (
            "c.group > 1 AND c.n = 10",
            1.0,
            json!([]),
            json!([["/n ASC", "/group ASC"]]),
        ),
        ("c.group = 2", 50.0, json!([]), json!([])),
    ];
    for (filter, read, used, missing) in table {
        let page = ask(&f, &format!("SELECT VALUE c.id FROM c WHERE {filter}"), 100, "").await;
        assert_eq!(
            (page.read, page.used, page.missing),
            (read, used, missing),
            "{filter}"
        );
        assert_eq!(
            page.rows.as_array().unwrap().len() as f64,
            page.read,
            "{filter}: {}",
            page.rows
        );
    }
}

#[tokio::test]
async fn what_would_help_is_told() {
    let f = filled(&[]).await;
    let table = [
        ("c.group = 2", json!([])),
        ("c.group > 2 AND c.n > 2", json!([])),
        (
            "c.group = 2 AND c.n = 1 AND c.group = 2",
            json!([["/group ASC", "/n ASC"]]),
        ),
        (
            "c.n > 2 AND c.group = 2 AND c.pk = 'a' AND STARTSWITH(c['x y'], 'a')",
            json!([
                ["/group ASC", "/pk ASC", "/n ASC"],
                ["/group ASC", "/pk ASC", "/\"x y\" ASC"]
            ]),
        ),
    ];
    for (filter, missing) in table {
        let page = ask(&f, &format!("SELECT VALUE c.id FROM c WHERE {filter}"), 100, "").await;
        assert_eq!((page.used, page.missing), (json!([]), missing), "{filter}");
    }
}

#[tokio::test]
async fn what_would_help_of_too_many_conditions_is_not_told() {
    let f = filled(&[pair("/group", "/n")]).await;
    let equal = (0..8_000).map(|at| format!("c.e{at}=1"));
    let ranges = (0..8_000).map(|at| format!("c.r{at}>1"));
    let filter: Vec<String> = equal.chain(ranges).collect();
    // Nothing can meet it, so no index is used, and there is room to tell what would help.
    let sql = format!(
        "SELECT * FROM c WHERE c.n>5 AND c.n<3 AND {}",
        filter.join(" AND ")
    );
    // Each of the ranges behind each of the values would be 64 million.
    assert_eq!(ask(&f, &sql, 10, "").await.missing, json!([]));
}

#[tokio::test]
async fn a_policy_changes_only_its_own_indexes() {
    let f = filled(&[pair("/group", "/n")]).await;
    f.documents.sweep_once().await.unwrap();
    let (_, before) = record(&f).await;
    assert_eq!(composite_entries(&f, 0).await.len(), ITEMS);
    // Turned as a whole it is the same index; another one joins it.
    change_policy(&f, &[pair("/pk", "-/n"), pair("-/group", "-/n")]).await;
    let (_, after) = record(&f).await;
    assert_eq!(after["index"][0], before["index"][0], "single paths are the same");
    assert_eq!(after["index"][1][1], before["index"][1][0]);
    assert_eq!(after["index"][1][0]["complete"], true);
    assert_eq!(f.documents.sweep_once().await.unwrap().keys_purged, 0);
    let page = ask(&f, "SELECT VALUE c.n FROM c ORDER BY c.pk, c.n DESC", 2, "").await;
    assert_eq!(
        (page.rows, page.used),
        (json!([199, 198]), json!([["/pk ASC", "/n DESC"]]))
    );
    f.verify().await;
    // What goes is swept, and a token of it is refused.
    let token = page.continuation;
    change_policy(&f, &[pair("/group", "/n")]).await;
    assert_eq!(f.documents.sweep_once().await.unwrap().keys_purged, PURGED);
    let query = json!({"query": "SELECT VALUE c.n FROM c ORDER BY c.pk, c.n DESC"});
    let refused = f
        .json("POST", DOCS, &[ASKED[0], ("x-ms-continuation", &token)], query)
        .await;
    refused.expect(400);
    change_policy(&f, &[]).await;
    assert_eq!(f.documents.sweep_once().await.unwrap().keys_purged, PURGED);
    let (_, none) = record(&f).await;
    assert_eq!(none["index"], before["index"][0], "as it was without any");
    f.verify().await;
    // With the container everything goes.
    change_policy(&f, &[pair("/group", "/n")]).await;
    assert_eq!(composite_entries(&f, 0).await.len(), ITEMS);
    f.send("DELETE", CONTAINER, &[], "").await.expect(204);
    f.documents.sweep_once().await.unwrap();
    for tag in 0x40..0x80 {
        assert_eq!(entries(&f, tag).await.len(), 0, "{tag}");
    }
}

/// Writes that come while an index is built are in it, and queries don't use it before.
#[tokio::test]
async fn an_index_is_built_beside_writes() {
    let f = filled(&[pair("/group", "/n")]).await;
    // What a build that was interrupted leaves: a number of its own, a position, entries behind it missing.
    let (key, mut record) = record(&f).await;
    let index = u32::try_from(record["index"][1][0]["index"].as_u64().unwrap()).unwrap();
    record["index"][1][0]["complete"] = json!(false);
    let mut tx = Transaction::new();
    tx.put(key, record.to_string().into_bytes());
    for entry in composite_entries(&f, 0).await {
        tx.delete(entry.key);
    }
    tx.put(
        KeyWriter::new(Keyspace::Documents).u8(7).u32(index).finish(),
        1u64.to_be_bytes().to_vec(),
    );
    f.ledger.commit(tx).await.unwrap();
    let f = f.another_node();
    let progress = async || {
        let read = f.send("GET", CONTAINER, &[], "").await.expect(200);
        read.header("x-ms-documentdb-collection-index-transformation-progress")
            .to_owned()
    };
    assert_eq!(progress().await, "0");
    let item = json!({"id": "3", "pk": "a", "group": 9, "n": 1});
    let pk = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    f.json("PUT", &format!("{DOCS}/3"), &[pk], item).await.expect(200);
    f.send("DELETE", &format!("{DOCS}/7"), &[pk], "")
        .await
        .expect(204);
    let sql = "SELECT VALUE c.group FROM c ORDER BY c.group DESC, c.n DESC";
    let page = ask(&f, sql, 10, "").await;
    assert_eq!((page.rows[0].clone(), page.used), (json!(9), json!([])), "sorted");
    let swept = f.documents.sweep_once().await.unwrap();
    assert_eq!((swept.indexes_completed, progress().await), (1, "100".to_owned()));
    f.verify().await;
    assert_eq!(composite_entries(&f, 0).await.len(), ITEMS - 1);
    let page = ask(&f, sql, 10, "").await;
    assert_eq!(
        (page.rows[0].clone(), page.used),
        (json!(9), json!([["/group ASC", "/n ASC"]]))
    );
}

/// A container from a release that kept no composite indexes gets them.
#[tokio::test]
async fn containers_from_before_get_their_indexes() {
    let f = filled(&[pair("/group", "/n")]).await;
    let (key, mut record) = record(&f).await;
    let mut tx = Transaction::new();
    for entry in composite_entries(&f, 0).await {
        tx.delete(entry.key);
    }
    record["index"] = record["index"][0].clone();
    tx.put(key, record.to_string().into_bytes());
    f.ledger.commit(tx).await.unwrap();
    let f = f.another_node();
    f.verify().await;
    let sql = "SELECT VALUE c.id FROM c ORDER BY c.group, c.n";
    let before = ask(&f, sql, 1_000, "").await;
    assert_eq!(before.used, json!([]));
    let more = json!({"id": "more", "pk": "a"});
    f.json("POST", DOCS, &[], more).await.expect(201);
    let swept = f.documents.sweep_once().await.unwrap();
    assert_eq!((swept.indexes_completed, swept.keys_purged), (1, 0));
    let after = ask(&f, sql, 1_000, "").await;
    assert_eq!(after.used, json!([["/group ASC", "/n ASC"]]));
    assert_eq!(after.rows[0], "more");
    assert_eq!(
        after.rows.as_array().unwrap()[1..],
        before.rows.as_array().unwrap()[..]
    );
    f.verify().await;
    assert_eq!(f.documents.sweep_once().await.unwrap().indexes_completed, 0);
}

/// Releases of before read some numbers as the double beside; what they indexed so is found after all.
#[tokio::test]
async fn indexes_of_inexact_numbers_are_built_anew() {
    let f = filled(&[pair("/group", "/n")]).await;
    let exact = "6.3333336e150";
    let item = format!(r#"{{"id": "exact", "pk": "a", "group": {exact}, "n": 1}}"#);
    f.send("POST", DOCS, &[], item).await.expect(201);
    // Of a release of before: no mark, and entries elsewhere.
    let (key, mut record) = record(&f).await;
    assert_eq!(record["exact_numbers"].take(), true);
    record.as_object_mut().unwrap().remove("exact_numbers");
    let mut tx = Transaction::new();
    for tag in 0x40..0x80 {
        for entry in entries(&f, tag).await {
            tx.delete(entry.key);
        }
    }
    tx.put(key, record.to_string().into_bytes());
    f.ledger.commit(tx).await.unwrap();
    let f = f.another_node();
    let swept = f.documents.sweep_once().await.unwrap();
    assert_eq!(swept.indexes_completed, 1);
    let after = self::record(&f).await.1;
    assert_ne!(after["index"], record["index"]);
    assert_eq!(after["exact_numbers"], true);
    f.verify().await;
    for (sql, rows) in [
        (format!("SELECT VALUE c.group FROM c WHERE c.group = {exact}"), 1),
        (
            format!("SELECT VALUE c.group FROM c WHERE c.group >= {exact} ORDER BY c.group, c.n"),
            1,
        ),
    ] {
        let page = ask(&f, &sql, 10, "").await;
        assert_eq!(page.rows.as_array().unwrap().len(), rows, "{sql}");
        assert_eq!(
            page.rows[0].as_f64().unwrap().to_bits(),
            6.3333336e150f64.to_bits()
        );
    }
    // Once is enough.
    assert_eq!(f.documents.sweep_once().await.unwrap().indexes_completed, 0);
}

#[tokio::test]
async fn verify_looks_in_both_directions() {
    let f = filled(&[pair("/group", "/n")]).await;
    let found = composite_entries(&f, 0).await;
    let mut tx = Transaction::new();
    tx.delete(found[0].key.clone());
    f.ledger.commit(tx).await.unwrap();
    let wrong = faults(&f).await;
    assert!(wrong.len() == 1 && wrong[0].contains("is missing"), "{wrong:?}");
    // An entry of another value, and one of an item that isn't there.
    for end in [found[7].key.as_bytes(), &[0, 0x3F, 0xFC][..]] {
        let mut tx = Transaction::new();
        tx.put(found[0].key.clone(), "");
        let value = &found[3].key.as_bytes()[..found[3].key.as_bytes().len() - 3];
        let end = &end[end.len() - 3..];
        let stray = Key::from_encoded([value, end].concat().into());
        tx.put(stray.clone(), "");
        f.ledger.commit(tx).await.unwrap();
        let wrong = faults(&f).await;
        assert!(wrong.len() == 1 && wrong[0].contains("fits no item"), "{wrong:?}");
        let mut tx = Transaction::new();
        tx.delete(stray);
        f.ledger.commit(tx).await.unwrap();
    }
    f.verify().await;
}

/// One entry for each composite index, none without; nothing is written that stays as it is.
#[tokio::test]
async fn what_writes_cost() {
    let f = fixture();
    let mut writes = Vec::new();
    for (name, composites) in [
        ("none", vec![]),
        ("one", vec![pair("/a", "/b")]),
        ("two", vec![pair("/a", "/b"), pair("/a", "/c")]),
    ] {
        let c = f.container(name, Some(policy(&composites))).await;
        let mut count = Vec::new();
        let mut item = json!({"id": "1", "pk": "a", "a": 1, "b": 2, "c": 3, "d": 4});
        for change in ["", "d", "c", "b"] {
            item[change] = json!("changed");
            let mut tx = Transaction::new();
            let snapshot = f.ledger.snapshot().await.unwrap();
            let staged = f
                .documents
                .stage_upsert(&mut tx, snapshot.as_ref(), &c, item.clone());
            staged.await.unwrap();
            count.push(tx.writes().len());
            f.ledger.commit(tx).await.unwrap();
        }
        writes.push(count);
    }
    let beside = |which: usize| -> Vec<usize> {
        let pairs = writes[which].iter().zip(&writes[0]);
        pairs.map(|(with, without)| with - without).collect()
    };
    assert_eq!(beside(1), [1, 0, 0, 2]);
    assert_eq!(beside(2), [2, 0, 2, 2]);
    f.verify().await;
}
