//! The item operations of the wire protocol, through the service, with signed requests.
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
use signed::fixture;

const DOCS: &str = "/dbs/d/colls/c/docs";
const PK: &str = "x-ms-documentdb-partitionkey";
const A: (&str, &str) = (PK, "[\"a\"]");
const UPSERT: (&str, &str) = ("x-ms-documentdb-is-upsert", "True");

#[tokio::test]
async fn an_item_lives() {
    let f = fixture().with_container(json!({})).await;
    let created = f
        .json("POST", DOCS, &[A], json!({"id": "1", "pk": "a", "n": 1.0}))
        .await
        .expect(201);
    let body = created.json();
    assert_eq!(body["_etag"], created.header("etag"));
    assert_eq!(body["_ts"], 1_767_225_600);
    assert_eq!(body["_attachments"], "attachments/");
    assert!(
        body["_self"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/docs/{}/", body["_rid"].as_str().unwrap()))
    );
    assert!(created.header("x-ms-session-token").starts_with("0:-1#"));
    assert_eq!(created.header("x-ms-alt-content-path"), "dbs/d/colls/c");

    let read = f
        .send("GET", "/dbs/d/colls/c/docs/1/", &[A], "")
        .await
        .expect(200);
    assert_eq!(read.body, created.body, "a point read gives what was stored");
    assert_eq!(read.header("x-ms-request-charge"), "1.00");
    let etag = read.header("etag").to_owned();
    f.send("GET", "/dbs/d/colls/c/docs/1", &[A, ("if-none-match", &etag)], "")
        .await
        .expect(304);
    f.send(
        "GET",
        "/dbs/d/colls/c/docs/1",
        &[A, ("if-none-match", "\"x\"")],
        "",
    )
    .await
    .expect(200);

    f.json("POST", DOCS, &[A], json!({"id": "1", "pk": "a"}))
        .await
        .expect(409);
    let replaced = f
        .json("POST", DOCS, &[A, UPSERT], json!({"id": "1", "pk": "a", "n": 2}))
        .await
        .expect(200);
    assert_eq!(replaced.json()["_rid"], body["_rid"]);
    f.json("POST", DOCS, &[A, UPSERT], json!({"id": "2", "pk": "a"}))
        .await
        .expect(201);
    let stale = ("if-match", etag.as_str());
    let new = json!({"id": "1", "pk": "a", "n": 3});
    f.json("PUT", "/dbs/d/colls/c/docs/1", &[A, stale], new.clone())
        .await
        .expect(412);
    f.json("POST", DOCS, &[A, UPSERT, stale], new.clone())
        .await
        .expect(412);
    f.send("DELETE", "/dbs/d/colls/c/docs/1", &[A, stale], "")
        .await
        .expect(412);
    f.json(
        "PATCH",
        "/dbs/d/colls/c/docs/1",
        &[A, stale],
        json!([{"op": "set", "path": "/n", "value": 1}]),
    )
    .await
    .expect(412);
    let etag = replaced.header("etag").to_owned();
    let replaced = f
        .json("PUT", "/dbs/d/colls/c/docs/1", &[A, ("if-match", &etag)], new)
        .await
        .expect(200);
    assert_eq!(replaced.json()["n"], 3);
    f.verify().await;

    let minimal = [A, ("prefer", "return=minimal")];
    let quiet = f
        .json(
            "PUT",
            "/dbs/d/colls/c/docs/1",
            &minimal,
            json!({"id": "1", "pk": "a"}),
        )
        .await
        .expect(200);
    assert!(quiet.body.is_empty() && !quiet.header("etag").is_empty());
    f.send("DELETE", "/dbs/d/colls/c/docs/1", &[A], "")
        .await
        .expect(204);
    let gone = f.send("GET", "/dbs/d/colls/c/docs/1", &[A], "").await.expect(404);
    assert!(gone.header("x-ms-session-token").starts_with("0:-1#"));
    assert_eq!(gone.header("x-ms-substatus"), "");
    f.send("DELETE", "/dbs/d/colls/c/docs/1", &[A], "")
        .await
        .expect(404);
    f.json(
        "PUT",
        "/dbs/d/colls/c/docs/1",
        &[A],
        json!({"id": "1", "pk": "a"}),
    )
    .await
    .expect(404);
    f.verify().await;
}

#[tokio::test]
async fn what_is_refused() {
    let f = fixture().with_container(json!({})).await;
    let refused = |body: &str| f.send("POST", DOCS, &[A], body.to_owned());
    for bad in [
        "",
        "{",
        "[]",
        "1",
        "{}",
        r#"{"id":1,"pk":"a"}"#,
        r#"{"id":"a/b","pk":"a"}"#,
        r#"{"id":"","pk":"a"}"#,
    ] {
        refused(bad).await.expect(400);
    }
    let deep = |depth: usize| {
        format!(
            "{{\"id\":\"1\",\"pk\":\"a\",\"x\":{}1{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    refused(&deep(10_000)).await.expect(400);
    refused(&deep(127)).await.expect(400);
    refused(&deep(100)).await.expect(201);
    let large = |bytes: usize| format!("{{\"id\":\"2\",\"pk\":\"a\",\"x\":\"{}\"}}", "x".repeat(bytes));
    refused(&large(3 << 20)).await.expect(413);
    refused(&large((2 << 20) + 1)).await.expect(413);
    refused(&large((2 << 20) - 100)).await.expect(201);
    let mismatch = f
        .json("POST", DOCS, &[A], json!({"id": "3", "pk": "b"}))
        .await
        .expect(400);
    assert_eq!(mismatch.header("x-ms-substatus"), "1001");
    f.json(
        "PUT",
        "/dbs/d/colls/c/docs/1",
        &[A],
        json!({"id": "9", "pk": "a"}),
    )
    .await
    .expect(400);
    f.send("GET", "/dbs/d/colls/c/docs/1", &[], "").await.expect(400);
    f.send("GET", "/dbs/d/colls/c/docs/1", &[(PK, "a")], "")
        .await
        .expect(400);
    f.send("GET", "/dbs/d/colls/c/docs/1", &[(PK, "[\"a\",\"b\"]")], "")
        .await
        .expect(400);
    let owner = f
        .send("GET", "/dbs/d/colls/no/docs/1", &[A], "")
        .await
        .expect(404);
    assert_eq!(owner.header("x-ms-substatus"), "1003");
    f.json(
        "POST",
        DOCS,
        &[A, ("x-ms-documentdb-pre-trigger-include", "t")],
        json!({"id": "4", "pk": "a"}),
    )
    .await
    .expect(403);
    let recreated = f
        .send(
            "GET",
            "/dbs/d/colls/c/docs/1",
            &[A, ("x-ms-cosmos-intended-collection-rid", "AAAA")],
            "",
        )
        .await
        .expect(400);
    assert_eq!(recreated.header("x-ms-substatus"), "1024");
    f.send("POST", DOCS, &[A], vec![0x81, 0xF0]).await.expect(400);
    f.send(
        "GET",
        "/dbs/d/colls/c/docs/1",
        &[A, ("x-ms-consistency-level", "Strong")],
        "",
    )
    .await
    .expect(400);
    let ahead = f
        .send(
            "GET",
            "/dbs/d/colls/c/docs/1",
            &[A, ("x-ms-session-token", "0:-1#99999")],
            "",
        )
        .await
        .expect(404);
    assert_eq!(ahead.header("x-ms-substatus"), "1002");
    f.verify().await;
}

#[tokio::test]
async fn repeated_names_and_system_properties_of_the_client() {
    let f = fixture().with_container(json!({})).await;
    let text = r#"{"id":"1","pk":"a","n":1,"n":2,"_etag":"x","_ts":5,"_rid":"y","_self":"z"}"#;
    let stored = f.send("POST", DOCS, &[A], text).await.expect(201);
    let text = String::from_utf8(stored.body.clone()).unwrap();
    assert_eq!(text.matches("\"n\"").count(), 1, "{text}");
    assert_eq!(text.matches("\"_etag\"").count(), 1, "{text}");
    assert_eq!(stored.json()["n"], 2);
    f.verify().await;
}

#[tokio::test]
async fn binary_json_is_read() {
    let f = fixture().with_container(json!({})).await;
    let body = b"\x80\xED\x0D\x03\x82id\x811\x82pk\x81a\x81n\x07".to_vec();
    let stored = f.send("POST", DOCS, &[A], body).await.expect(201).json();
    assert_eq!(stored["n"], 7);
    f.send("POST", DOCS, &[A], b"\x80\xED\x0F\x03\x82id".to_vec())
        .await
        .expect(400);
}

#[tokio::test]
async fn patches() {
    let f = fixture().with_container(json!({})).await;
    f.json(
        "POST",
        DOCS,
        &[A],
        json!({"id": "1", "pk": "a", "n": 1, "l": [1]}),
    )
    .await
    .expect(201);
    let path = "/dbs/d/colls/c/docs/1";
    let patch = |operations: Value| json!({"operations": operations});
    let patched = f
        .json(
            "PATCH",
            path,
            &[A],
            patch(
                json!([{"op": "incr", "path": "/n", "value": 4}, {"op": "add", "path": "/l/-", "value": 2}]),
            ),
        )
        .await
        .expect(200)
        .json();
    assert_eq!((&patched["n"], &patched["l"]), (&json!(5), &json!([1, 2])));
    f.json(
        "PATCH",
        path,
        &[A],
        patch(json!([{"op": "set", "path": "/pk", "value": "b"}])),
    )
    .await
    .expect(400);
    f.json(
        "PATCH",
        path,
        &[A],
        patch(json!([{"op": "remove", "path": "/x"}])),
    )
    .await
    .expect(400);
    f.json(
        "PATCH",
        "/dbs/d/colls/c/docs/2",
        &[A],
        patch(json!([{"op": "set", "path": "/n", "value": 1}])),
    )
    .await
    .expect(404);
    let conditional = |condition: &str| json!({"condition": condition, "operations": [{"op": "set", "path": "/n", "value": 9}]});
    let refused = f
        .json("PATCH", path, &[A], conditional("from c where c.n = 4"))
        .await
        .expect(412);
    assert_eq!(refused.header("x-ms-substatus"), "1110");
    f.json("PATCH", path, &[A], conditional("from c where"))
        .await
        .expect(400);
    assert_eq!(
        f.json("PATCH", path, &[A], conditional("from c where c.n = 5"))
            .await
            .expect(200)
            .json()["n"],
        9
    );
    let mut deep = json!(1);
    for _ in 0..100 {
        deep = json!([deep]);
    }
    f.json(
        "PATCH",
        path,
        &[A],
        patch(json!([{"op": "set", "path": "/deep", "value": deep}])),
    )
    .await
    .expect(200);
    let within = format!("/deep{}", "/0".repeat(90));
    f.json(
        "PATCH",
        path,
        &[A],
        patch(json!([{"op": "set", "path": within, "value": deep}])),
    )
    .await
    .expect(400);
    f.verify().await;
}

#[tokio::test]
async fn partition_keys_of_every_type() {
    let f = fixture().with_container(json!({})).await;
    for (key, header) in [
        (json!({"pk": null}), "[null]"),
        (json!({}), "[{}]"),
        (json!({"pk": 5}), "[5]"),
        (json!({"pk": 5.5}), "[5.5]"),
        (json!({"pk": true}), "[true]"),
        (json!({"pk": "æ"}), "[\"æ\"]"),
        (json!({"pk": ""}), "[\"\"]"),
    ] {
        let mut document = key.clone();
        document["id"] = json!("same");
        f.json("POST", DOCS, &[(PK, header)], document).await.expect(201);
        f.send("GET", "/dbs/d/colls/c/docs/same", &[(PK, header)], "")
            .await
            .expect(200);
        let feed = f.send("GET", DOCS, &[(PK, header)], "").await.expect(200).json();
        assert_eq!(feed["_count"], 1, "{header}");
    }
    f.json("POST", DOCS, &[], json!({"id": "x", "pk": [1]}))
        .await
        .expect(400);
    f.verify().await;
}

#[tokio::test]
async fn hierarchical_keys_narrow_by_prefix() {
    let key = json!({"paths": ["/t", "/u"], "kind": "MultiHash", "version": 2});
    let f = fixture().with_container(json!({"partitionKey": key})).await;
    for (id, t, u) in [("1", "a", "x"), ("2", "a", "y"), ("3", "b", "x")] {
        f.json("POST", DOCS, &[], json!({"id": id, "t": t, "u": u}))
            .await
            .expect(201);
    }
    f.send("GET", "/dbs/d/colls/c/docs/2", &[(PK, "[\"a\",\"y\"]")], "")
        .await
        .expect(200);
    f.send("GET", "/dbs/d/colls/c/docs/2", &[(PK, "[\"a\"]")], "")
        .await
        .expect(400);
    let query = json!({"query": "SELECT VALUE c.id FROM c"});
    let isquery = ("x-ms-documentdb-isquery", "true");
    for (header, wanted) in [
        ("[\"a\"]", json!(["1", "2"])),
        ("[\"b\"]", json!(["3"])),
        ("[\"a\",\"y\"]", json!(["2"])),
    ] {
        let found = f
            .json("POST", DOCS, &[isquery, (PK, header)], query.clone())
            .await
            .expect(200)
            .json();
        assert_eq!(found["Documents"], wanted, "{header}");
        let feed = f.send("GET", DOCS, &[(PK, header)], "").await.expect(200).json();
        assert_eq!(feed["_count"], wanted.as_array().unwrap().len());
    }
    let range = [
        isquery,
        ("x-ms-start-epk", ""),
        ("x-ms-end-epk", "FF"),
        ("x-ms-read-key-type", "EffectivePartitionKeyRange"),
    ];
    assert_eq!(
        f.json("POST", DOCS, &range, query.clone())
            .await
            .expect(200)
            .json()["_count"],
        3
    );
    let (mut low, mut high) = (0, 0);
    for (start, end, count) in [("", "1F", &mut low), ("1F", "FF", &mut high)] {
        let range = [isquery, ("x-ms-start-epk", start), ("x-ms-end-epk", end)];
        *count = f
            .json("POST", DOCS, &range, query.clone())
            .await
            .expect(200)
            .json()["_count"]
            .as_u64()
            .unwrap();
    }
    assert_eq!(low + high, 3);
    f.json("POST", DOCS, &[isquery, ("x-ms-start-epk", "zz")], query.clone())
        .await
        .expect(400);
    let gone = f
        .json(
            "POST",
            DOCS,
            &[isquery, ("x-ms-documentdb-partitionkeyrangeid", "7")],
            query,
        )
        .await
        .expect(410);
    assert_eq!(gone.header("x-ms-substatus"), "1002");
}

#[tokio::test]
async fn unique_keys() {
    let policy = json!({"uniqueKeys": [{"paths": ["/email"]}, {"paths": ["/a", "/b/c"]}]});
    let f = fixture().with_container(json!({"uniqueKeyPolicy": policy})).await;
    f.json(
        "POST",
        DOCS,
        &[],
        json!({"id": "1", "pk": "a", "email": "x", "a": 1}),
    )
    .await
    .expect(201);
    f.json(
        "POST",
        DOCS,
        &[],
        json!({"id": "2", "pk": "a", "email": "x", "a": 2}),
    )
    .await
    .expect(409);
    f.json(
        "POST",
        DOCS,
        &[],
        json!({"id": "2", "pk": "a", "email": "y", "a": 1.0}),
    )
    .await
    .expect(409);
    f.json(
        "POST",
        DOCS,
        &[],
        json!({"id": "2", "pk": "b", "email": "x", "a": 1}),
    )
    .await
    .expect(201);
    f.json("POST", DOCS, &[], json!({"id": "3", "pk": "a", "a": 3}))
        .await
        .expect(201);
    f.json(
        "POST",
        DOCS,
        &[],
        json!({"id": "4", "pk": "a", "email": null, "a": 4}),
    )
    .await
    .expect(409);
    f.json(
        "PUT",
        "/dbs/d/colls/c/docs/3",
        &[],
        json!({"id": "3", "pk": "a", "email": "x", "a": 3}),
    )
    .await
    .expect(409);
    f.json(
        "PUT",
        "/dbs/d/colls/c/docs/1",
        &[],
        json!({"id": "1", "pk": "a", "email": "z", "a": 1}),
    )
    .await
    .expect(200);
    f.json(
        "PUT",
        "/dbs/d/colls/c/docs/3",
        &[],
        json!({"id": "3", "pk": "a", "email": "x", "a": 3}),
    )
    .await
    .expect(200);
    f.send("DELETE", "/dbs/d/colls/c/docs/3", &[A], "")
        .await
        .expect(204);
    f.json(
        "POST",
        DOCS,
        &[],
        json!({"id": "5", "pk": "a", "email": "x", "a": 5}),
    )
    .await
    .expect(201);
    f.verify().await;
}
