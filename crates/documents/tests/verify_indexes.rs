//! What `verify` says of indexes that are still built, and of indexes that nobody has.
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

use ledger::{Direction, Key, KeyRange, KeyWriter, Keyspace, Scan, Transaction, VerifyReport};
use serde_json::{Value, json};
use signed::{Fixture, fixture};

const DOCS: &str = "/dbs/d/colls/c/docs";

fn tagged(tag: u8) -> KeyWriter {
    KeyWriter::new(Keyspace::Documents).u8(tag)
}

async fn keys(f: &Fixture, tag: u8) -> Vec<Key> {
    let snapshot = f.ledger.snapshot().await.unwrap();
    let range = KeyRange::prefix(&tagged(tag).finish());
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let mut found = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        found.push(entry.key);
    }
    found
}

async fn put(f: &Fixture, key: &Key, value: impl Into<bytes::Bytes>) {
    let mut tx = Transaction::new();
    tx.put(key.clone(), value.into());
    f.ledger.commit(tx).await.unwrap();
}

async fn delete(f: &Fixture, key: &Key) {
    let mut tx = Transaction::new();
    tx.delete(key.clone());
    f.ledger.commit(tx).await.unwrap();
}

/// What a node that has just begun says.
async fn faults(f: &Fixture) -> Vec<String> {
    let f = f.another_node();
    let snapshot = f.ledger.snapshot().await.unwrap();
    let mut report = VerifyReport::default();
    f.documents.verify(snapshot.as_ref(), &mut report).await.unwrap();
    report.faults
}

async fn is_fault(f: &Fixture, text: &str) {
    let faults = faults(f).await;
    assert!(faults.len() == 1 && faults[0].contains(text), "{faults:?}");
}

async fn create(f: &Fixture, id: &str) {
    let item = json!({"id": id, "pk": "a", "n": 1});
    f.json("POST", DOCS, &[], item).await.expect(201);
}

/// A container with two items, and the tag of its index: as long as its number is small, it has one.
async fn two_items(composites: Value) -> (Fixture, Key, Value, u8) {
    let policy = json!({"includedPaths": [{"path": "/*"}], "compositeIndexes": composites});
    let f = fixture().with_container(json!({"indexingPolicy": policy})).await;
    create(&f, "first").await;
    create(&f, "second").await;
    let key = keys(&f, 2).await.remove(0);
    let snapshot = f.ledger.snapshot().await.unwrap();
    let stored = snapshot.get(&key).await.unwrap().unwrap();
    let record: Value = serde_json::from_slice(&stored.value).unwrap();
    let index = match &record["index"] {
        Value::Array(both) => both[1][0]["index"].clone(),
        single => single.clone(),
    };
    let tag = 0x40 | u8::try_from(index.as_u64().unwrap()).unwrap();
    (f, key, record, tag)
}

/// Both kinds of index: built up to the second item, which writes have put in nevertheless.
async fn checks_up_to_the_position(composites: Value) {
    let (f, key, mut record, tag) = two_items(composites).await;
    let with_both = keys(&f, tag).await;
    f.send(
        "DELETE",
        &format!("{DOCS}/second"),
        &[("x-ms-documentdb-partitionkey", "[\"a\"]")],
        "",
    )
    .await
    .expect(204);
    let of_the_first = keys(&f, tag).await;
    let first = of_the_first[0].clone();
    create(&f, "second").await;
    let of_the_second = keys(&f, tag)
        .await
        .into_iter()
        .find(|key| !of_the_first.contains(key))
        .unwrap();
    let gone = with_both
        .into_iter()
        .find(|key| !of_the_first.contains(key) && *key != of_the_second);

    let item = keys(&f, 16).await.pop().unwrap();
    let position = item.as_bytes()[item.as_bytes().len() - 8..].to_vec();
    let index = u32::from(tag & 0x3F);
    if record["index"].is_array() {
        record["index"][1][0]["complete"] = json!(false);
    } else {
        record["index_complete"] = json!(false);
    }
    put(&f, &key, record.to_string().into_bytes()).await;
    put(&f, &tagged(7).u32(index).finish(), position).await;
    assert_eq!(faults(&f).await, Vec::<String>::new());
    delete(&f, &of_the_second).await;
    assert_eq!(
        faults(&f).await,
        Vec::<String>::new(),
        "the build will come to it"
    );
    delete(&f, &first).await;
    is_fault(&f, "is missing").await;
    put(&f, &first, "").await;
    put(&f, &gone.unwrap(), "").await;
    is_fault(&f, "fits no item").await;
}

#[tokio::test]
async fn an_index_that_is_built_is_checked_up_to_its_position() {
    checks_up_to_the_position(json!([])).await;
    let column = |path: &str| json!({"path": path, "order": "ascending"});
    checks_up_to_the_position(json!([[column("/n"), column("/id")]])).await;
}

#[tokio::test]
async fn an_index_that_nobody_has_is_named() {
    let (f, ..) = two_items(json!([])).await;
    assert_eq!(faults(&f).await, Vec::<String>::new());
    for number in [0x3F_u32, 0x3FFF, 0x4000] {
        let prefix = match number {
            0x3F => tagged(0x7F),
            0x3FFF => tagged(0xBF).u8(0xFF),
            _ => tagged(0xC0).u32(number),
        };
        let entry = prefix.raw(b"a term and a number").finish();
        put(&f, &entry, "").await;
        is_fault(&f, &format!("index {number}: no container has it")).await;
        let purge = tagged(6).u32(number).finish();
        put(&f, &purge, "\"Index\"").await;
        assert_eq!(faults(&f).await, Vec::<String>::new(), "a sweep will remove it");
        f.documents.sweep_once().await.unwrap();
        assert_eq!(keys(&f, entry.as_bytes()[1]).await, [], "{number}");
    }
}
