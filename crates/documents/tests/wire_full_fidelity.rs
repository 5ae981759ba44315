//! The change feed of all versions and deletes, through the service, with signed requests.
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

use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan};
use serde_json::{Value, json};
use signed::{Fixture, Reply, fixture};

const DOCS: &str = "/dbs/d/colls/c/docs";
const COLL: &str = "/dbs/d/colls/c";
const PK: &str = "x-ms-documentdb-partitionkey";
const A: (&str, &str) = (PK, "[\"a\"]");
const B: (&str, &str) = (PK, "[\"b\"]");
const UPSERT: (&str, &str) = ("x-ms-documentdb-is-upsert", "True");
const MODE: (&str, &str) = ("a-im", "Full-Fidelity Feed");
const FORM: (&str, &str) = ("x-ms-cosmos-changefeed-wire-format-version", "2021-09-15");
const VERSION_TAG: u8 = 22;
const BEGINNING_TAG: u8 = 11;

fn keeping(minutes: i64) -> Value {
    json!({"changeFeedPolicy": {"retentionDuration": minutes}})
}

async fn feed(f: &Fixture, token: &str, more: &[(&str, &str)]) -> Reply {
    let headers = [&[MODE, FORM, ("if-none-match", token)], more].concat();
    f.send("GET", DOCS, &headers, "").await
}

/// What changed: operation, id, the number in it.
fn told(reply: &Reply) -> Vec<(String, String, i64)> {
    let body = reply.json();
    let changes = body["Documents"].as_array().unwrap();
    assert_eq!(body["_count"], changes.len());
    let told = changes.iter().map(|change| {
        let operation = change["metadata"]["operationType"].as_str().unwrap();
        let image = if operation == "delete" {
            assert_eq!(change["current"], json!({}));
            &change["previous"]
        } else {
            assert!(change.get("previous").is_none());
            &change["current"]
        };
        let id = image["id"].as_str().unwrap();
        (operation.to_owned(), id.to_owned(), image["n"].as_i64().unwrap())
    });
    told.collect()
}

fn change(operation: &str, id: &str, n: i64) -> (String, String, i64) {
    (operation.to_owned(), id.to_owned(), n)
}

async fn put(f: &Fixture, key: (&str, &str), id: &str, n: i64) {
    let pk = if key == A { "a" } else { "b" };
    let body = json!({"id": id, "pk": pk, "n": n});
    let reply = f.json("POST", DOCS, &[key, UPSERT], body).await;
    assert!(reply.status.is_success());
}

async fn now(f: &Fixture) -> String {
    feed(f, "*", &[]).await.expect(304).header("etag").to_owned()
}

/// How many keys of the service have this tag.
async fn keys(f: &Fixture, tag: u8) -> usize {
    let snapshot = f.ledger.snapshot().await.unwrap();
    let prefix = KeyWriter::new(Keyspace::Documents).u8(tag).finish();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let mut found = 0;
    while scan.next().await.unwrap().is_some() {
        found += 1;
    }
    found
}

#[tokio::test]
async fn every_version_and_every_deletion_comes_in_order() {
    let f = fixture().with_container(keeping(10)).await;
    put(&f, A, "before", 0).await;
    let start = now(&f).await;
    put(&f, A, "1", 1).await;
    f.clock.advance_seconds(2);
    put(&f, A, "1", 2).await;
    put(&f, B, "2", 3).await;
    let replaced = json!({"id": "1", "pk": "a", "n": 4});
    f.json("PUT", &format!("{DOCS}/1"), &[A], replaced)
        .await
        .expect(200);
    let patch = json!({"operations": [{"op": "incr", "path": "/n", "value": 1}]});
    f.json("PATCH", &format!("{DOCS}/1"), &[A], patch)
        .await
        .expect(200);
    f.send("DELETE", &format!("{DOCS}/1"), &[A], "").await.expect(204);
    // What failed isn't a change.
    f.json("POST", DOCS, &[B], json!({"id": "2", "pk": "b"}))
        .await
        .expect(409);

    let reply = feed(&f, &start, &[]).await.expect(200);
    assert_eq!(
        told(&reply),
        [
            change("create", "1", 1),
            change("replace", "1", 2),
            change("create", "2", 3),
            change("replace", "1", 4),
            change("replace", "1", 5),
            change("delete", "1", 5),
        ]
    );
    let changes = reply.json()["Documents"].clone();
    let metadata = |at: usize| changes[at]["metadata"].clone();
    assert_eq!(metadata(0)["crts"], 1_767_225_600);
    assert_eq!(metadata(1)["crts"], 1_767_225_602);
    assert_eq!(changes[0]["current"]["_ts"], 1_767_225_600);
    assert!(metadata(0).get("previousImageLSN").is_none());
    assert_eq!(metadata(1)["previousImageLSN"], metadata(0)["lsn"]);
    assert_eq!(metadata(3)["previousImageLSN"], metadata(1)["lsn"]);
    assert_eq!(
        metadata(5),
        json!({
            "operationType": "delete", "lsn": metadata(5)["lsn"], "crts": 1_767_225_602,
            "previousImageLSN": metadata(4)["lsn"], "timeToLiveExpired": false,
            "id": "1", "partitionKey": {"pk": "a"},
        })
    );
    let lsns: Vec<u64> = (0..6).map(|at| metadata(at)["lsn"].as_u64().unwrap()).collect();
    assert!(lsns.is_sorted());

    let done = feed(&f, reply.header("etag"), &[]).await.expect(304);
    assert!(done.body.is_empty());
    // From any commit on.
    let reply = feed(&f, &format!("\"{}\"", lsns[3]), &[]).await.expect(200);
    assert_eq!(
        told(&reply),
        [change("replace", "1", 5), change("delete", "1", 5)]
    );
    f.verify().await;
}

#[tokio::test]
async fn a_feed_of_a_key_or_a_range_has_its_own_only() {
    let f = fixture().with_container(keeping(10)).await;
    let start = now(&f).await;
    for n in 0..6 {
        put(&f, A, "1", n).await;
        put(&f, B, "2", n).await;
    }
    f.send("DELETE", &format!("{DOCS}/2"), &[B], "").await.expect(204);
    let reply = feed(&f, &start, &[B]).await.expect(200);
    let told_b = told(&reply);
    assert_eq!(told_b.len(), 7);
    assert!(told_b.iter().all(|(_, id, _)| id == "2"));
    assert_eq!(told_b[6], change("delete", "2", 5));

    // The two halves of the ring together have everything once.
    let mut halves = Vec::new();
    for (from, to) in [("", "1F"), ("1F", "FF")] {
        let range = [
            ("x-ms-documentdb-partitionkeyrangeid", "0"),
            ("x-ms-start-epk", from),
            ("x-ms-end-epk", to),
        ];
        let reply = feed(&f, &start, &range).await;
        if reply.status == 200 {
            halves.extend(told(&reply));
        }
    }
    assert_eq!(halves.len(), 13);

    // Pages of two, each going on where the last one ended.
    let (mut token, mut paged) = (start, Vec::new());
    loop {
        let reply = feed(&f, &token, &[A, ("x-ms-max-item-count", "2")]).await;
        token = reply.header("etag").to_owned();
        if reply.status == 304 {
            break;
        }
        assert!(told(&reply).len() <= 2);
        paged.extend(told(&reply));
    }
    let wanted: Vec<_> = (0..6)
        .map(|n| change(if n == 0 { "create" } else { "replace" }, "1", n))
        .collect();
    assert_eq!(paged, wanted);
}

#[tokio::test]
async fn one_commit_has_its_changes_in_the_order_they_were_made() {
    let f = fixture().with_container(keeping(10)).await;
    put(&f, A, "old", 1).await;
    let start = now(&f).await;
    let batch = json!([
        {"operationType": "Create", "resourceBody": {"id": "z", "pk": "a", "n": 1}},
        {"operationType": "Replace", "id": "z", "resourceBody": {"id": "z", "pk": "a", "n": 2}},
        {"operationType": "Delete", "id": "old"},
        {"operationType": "Create", "resourceBody": {"id": "old", "pk": "a", "n": 3}},
        {"operationType": "Delete", "id": "z"},
        {"operationType": "Create", "resourceBody": {"id": "b", "pk": "a", "n": 4}},
    ]);
    let atomic = [
        A,
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
    ];
    f.json("POST", DOCS, &atomic, batch).await.expect(200);
    let reply = feed(&f, &start, &[("x-ms-max-item-count", "1")])
        .await
        .expect(200);
    assert_eq!(
        told(&reply),
        [
            change("create", "z", 1),
            change("replace", "z", 2),
            change("delete", "old", 1),
            change("create", "old", 3),
            change("delete", "z", 2),
            change("create", "b", 4),
        ]
    );
    let changes = reply.json()["Documents"].clone();
    let lsn = &changes[0]["metadata"]["lsn"];
    for change in changes.as_array().unwrap() {
        assert_eq!(change["metadata"]["lsn"], *lsn);
    }
    assert_eq!(changes[1]["metadata"]["previousImageLSN"], *lsn);
    assert_ne!(changes[2]["metadata"]["previousImageLSN"], *lsn);

    // A batch of which something fails changed nothing.
    let batch = json!([
        {"operationType": "Create", "resourceBody": {"id": "never", "pk": "a", "n": 1}},
        {"operationType": "Delete", "id": "nothing"},
    ]);
    f.json("POST", DOCS, &atomic, batch).await.expect(207);
    feed(&f, reply.header("etag"), &[]).await.expect(304);
    f.verify().await;
}

#[tokio::test]
async fn deletions_by_key_and_by_time_are_changes() {
    let mut container = keeping(10);
    container["defaultTtl"] = json!(-1);
    let f = fixture().with_container(container).await;
    put(&f, A, "1", 1).await;
    put(&f, A, "2", 2).await;
    put(&f, B, "3", 3).await;
    let mortal = json!({"id": "4", "pk": "b", "n": 4, "ttl": 30});
    f.json("POST", DOCS, &[B], mortal).await.expect(201);
    let again = json!({"id": "5", "pk": "b", "n": 5, "ttl": 30});
    f.json("POST", DOCS, &[B], again).await.expect(201);
    let start = now(&f).await;
    let by_key = format!("{COLL}/operations/partitionkeydelete");
    f.send("POST", &by_key, &[A], "").await.expect(200);
    f.clock.advance_seconds(31);
    // Whoever creates an expired item's id anew ends the expired one first.
    put(&f, B, "5", 6).await;
    assert_eq!(f.documents.sweep_once().await.unwrap().items_expired, 1);
    let reply = feed(&f, &start, &[]).await.expect(200);
    assert_eq!(
        told(&reply),
        [
            change("delete", "1", 1),
            change("delete", "2", 2),
            change("delete", "5", 5),
            change("create", "5", 6),
            change("delete", "4", 4),
        ]
    );
    let changes = reply.json()["Documents"].clone();
    let expired = |at: usize| changes[at]["metadata"]["timeToLiveExpired"].clone();
    assert_eq!(expired(0), false);
    assert_eq!(expired(2), true);
    assert_eq!(expired(3), Value::Null);
    assert_eq!(expired(4), true);
    f.verify().await;
}

#[tokio::test]
async fn what_is_over_its_retention_is_an_error_and_no_gap() {
    let f = fixture().with_container(keeping(5)).await;
    let start = now(&f).await;
    put(&f, A, "1", 1).await;
    f.clock.advance_seconds(200);
    put(&f, A, "1", 2).await;
    let first = feed(&f, &start, &[("x-ms-max-item-count", "1")])
        .await
        .expect(200);
    assert_eq!(told(&first), [change("create", "1", 1)]);
    f.clock.advance_seconds(100);
    // The sweep makes no difference.
    for purged in [1, 0] {
        let refused = feed(&f, &start, &[]).await.expect(400).json();
        assert!(refused["message"].as_str().unwrap().contains("retention window"));
        let rest = feed(&f, first.header("etag"), &[]).await.expect(200);
        assert_eq!(told(&rest), [change("replace", "1", 2)]);
        f.verify().await;
        assert_eq!(f.documents.sweep_once().await.unwrap().keys_purged, purged);
    }
    f.clock.advance_seconds(300);
    feed(&f, first.header("etag"), &[]).await.expect(400);
    f.documents.sweep_once().await.unwrap();
    assert_eq!(keys(&f, VERSION_TAG).await, 0);
    feed(&f, first.header("etag"), &[]).await.expect(400);
    // Now is always a beginning, and nothing new is no error.
    let token = now(&f).await;
    feed(&f, &token, &[]).await.expect(304);
    f.clock.advance_seconds(10_000);
    feed(&f, &token, &[]).await.expect(304);
    f.verify().await;
}

#[tokio::test]
async fn a_position_in_a_container_of_before_is_an_error_and_no_gap() {
    let f = fixture().with_container(keeping(10)).await;
    let start = now(&f).await;
    put(&f, A, "1", 1).await;
    f.send("DELETE", COLL, &[], "").await.expect(204);
    let mut again = keeping(10);
    again["id"] = json!("c");
    again["partitionKey"] = json!({"paths": ["/pk"], "kind": "Hash", "version": 2});
    f.json("POST", "/dbs/d/colls", &[], again).await.expect(201);
    let fresh = now(&f).await;
    put(&f, A, "2", 2).await;
    feed(&f, &start, &[]).await.expect(400);
    let told_since = feed(&f, &fresh, &[]).await.expect(200);
    assert_eq!(told(&told_since), [change("create", "2", 2)]);
    f.verify().await;
}

#[tokio::test]
async fn a_node_that_knows_an_older_container_tells_every_change() {
    let f = fixture().with_container(keeping(10)).await;
    let other = f.another_node();
    let from_before = now(&other).await;
    let replace = |minutes: i64| {
        let mut container =
            json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
        if minutes > 0 {
            container["changeFeedPolicy"] = json!({"retentionDuration": minutes});
        }
        container
    };
    f.json("PUT", COLL, &[], replace(0)).await.expect(200);
    f.json("PUT", COLL, &[], replace(10)).await.expect(200);
    let fresh = now(&f).await;
    put(&f, A, "1", 1).await;
    let told_there = feed(&other, &fresh, &[]).await.expect(200);
    assert_eq!(told(&told_there), [change("create", "1", 1)]);
    feed(&other, &from_before, &[]).await.expect(400);
    // The same of the latest versions, where the container of the name is another one.
    f.send("DELETE", COLL, &[], "").await.expect(204);
    f.json("POST", "/dbs/d/colls", &[], replace(0)).await.expect(201);
    put(&f, A, "2", 2).await;
    let reply = other
        .send("GET", DOCS, &[("a-im", "Incremental Feed")], "")
        .await
        .expect(200)
        .json();
    assert_eq!(reply["_count"], 1);
    assert_eq!(reply["Documents"][0]["id"], "2");
}

#[tokio::test]
async fn a_container_may_begin_and_end_to_keep_versions() {
    let f = fixture().with_container(json!({})).await;
    put(&f, A, "1", 1).await;
    f.send("DELETE", &format!("{DOCS}/1"), &[A], "").await.expect(204);
    assert_eq!(
        (keys(&f, VERSION_TAG).await, keys(&f, BEGINNING_TAG).await),
        (0, 0),
        "others pay nothing"
    );
    feed(&f, "*", &[]).await.expect(400);

    let mut container = f.send("GET", COLL, &[], "").await.expect(200).json();
    container["changeFeedPolicy"] = json!({"retentionDuration": 10});
    f.json("PUT", COLL, &[], container.clone()).await.expect(200);
    assert_eq!(
        f.send("GET", COLL, &[], "").await.json()["changeFeedPolicy"]["retentionDuration"],
        10
    );
    // What was before isn't there, and who asks for it is told.
    feed(&f, "\"1\"", &[]).await.expect(400);
    let start = now(&f).await;
    put(&f, A, "1", 2).await;
    assert_eq!(
        told(&feed(&f, &start, &[]).await.expect(200)),
        [change("create", "1", 2)]
    );
    f.verify().await;

    container["changeFeedPolicy"] = json!({"retentionDuration": 0});
    f.json("PUT", COLL, &[], container.clone()).await.expect(200);
    put(&f, A, "1", 3).await;
    feed(&f, &start, &[]).await.expect(400);
    container["changeFeedPolicy"] = json!({"retentionDuration": 10});
    f.json("PUT", COLL, &[], container.clone()).await.expect(200);
    // Not the gap in between.
    feed(&f, &start, &[]).await.expect(400);
    let again = now(&f).await;
    put(&f, A, "1", 4).await;
    f.documents.sweep_once().await.unwrap();
    assert_eq!(
        told(&feed(&f, &again, &[]).await.expect(200)),
        [change("replace", "1", 4)]
    );
    assert_eq!(keys(&f, VERSION_TAG).await, 1, "the earlier ones are swept");
    f.verify().await;

    f.send("DELETE", COLL, &[], "").await.expect(204);
    f.documents.sweep_once().await.unwrap();
    assert_eq!(
        (keys(&f, VERSION_TAG).await, keys(&f, BEGINNING_TAG).await),
        (0, 0)
    );
    for bad in [json!(-1), json!(43_201), json!("x"), json!(1.5)] {
        let body = json!({
            "id": "e", "partitionKey": {"paths": ["/pk"]}, "changeFeedPolicy": {"retentionDuration": bad},
        });
        f.json("POST", "/dbs/d/colls", &[], body).await.expect(400);
    }
}

#[tokio::test]
async fn only_from_now_or_a_token_and_in_one_form() {
    let f = fixture().with_container(keeping(10)).await;
    put(&f, A, "1", 1).await;
    f.send("GET", DOCS, &[MODE, FORM], "").await.expect(400);
    let since = f.date();
    f.send("GET", DOCS, &[MODE, FORM, ("if-modified-since", &since)], "")
        .await
        .expect(400);
    f.send("GET", DOCS, &[MODE, ("if-none-match", "*")], "")
        .await
        .expect(400);
    feed(&f, "\"soon\"", &[]).await.expect(400);
    // The latest version is read as ever.
    let latest = f
        .send("GET", DOCS, &[("a-im", "Incremental Feed")], "")
        .await
        .expect(200);
    assert_eq!(latest.json()["_count"], 1);
}

#[tokio::test]
async fn verify_misses_a_version() {
    let f = fixture().with_container(keeping(10)).await;
    put(&f, A, "1", 1).await;
    let snapshot = f.ledger.snapshot().await.unwrap();
    let prefix = KeyWriter::new(Keyspace::Documents).u8(VERSION_TAG).finish();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let entry = scan.next().await.unwrap().unwrap();
    let mut tx = ledger::Transaction::new();
    tx.delete(entry.key);
    f.ledger.commit(tx).await.unwrap();
    let snapshot = f.ledger.snapshot().await.unwrap();
    let mut report = ledger::VerifyReport::default();
    f.documents.verify(snapshot.as_ref(), &mut report).await.unwrap();
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
}
