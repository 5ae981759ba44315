//! Resource tokens for one partition or one item: what they reach there, and nothing beside it.
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
use signed::tokens::{A, B, PERMISSIONS, QUERY, permission, prepared, with_token};

#[tokio::test]
async fn a_token_keeps_to_its_partition_and_its_item() {
    let fixture = prepared().await;
    let docs = "/dbs/d/colls/c/docs";
    let none = Value::Null;
    let query = json!({"query": "SELECT VALUE c.id FROM c"});
    let key = json!({"resourcePartitionKey": ["a"]});
    let partition = permission(&fixture, "p", "All", "dbs/d/colls/c", key.clone()).await;
    with_token(&fixture, &partition, "GET", "/dbs/d/colls/c/docs/a1", &[A], &none)
        .await
        .expect(200);
    let rows = with_token(&fixture, &partition, "POST", docs, &[QUERY, A], &query)
        .await
        .expect(200);
    assert_eq!(rows.json()["Documents"], json!(["a1"]));
    let (start, end) = (("x-ms-start-epk", ""), ("x-ms-end-epk", "FF"));
    let bulk = [
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "False"),
        A,
    ];
    let operations = json!([{"operationType": "Delete", "id": "b1", "partitionKey": "[\"b\"]"}]);
    for (method, path, headers, body) in [
        ("GET", "/dbs/d/colls/c/docs/b1", vec![B], &none),
        ("GET", docs, vec![], &none),
        ("GET", docs, vec![("a-im", "Incremental Feed")], &none),
        ("POST", docs, vec![QUERY], &query),
        ("POST", docs, vec![QUERY, B], &query),
        ("POST", docs, vec![QUERY, start, end], &query),
        ("POST", docs, vec![], &json!({"id": "x", "pk": "a"})),
        ("POST", docs, bulk.to_vec(), &operations),
        (
            "POST",
            "/dbs/d/colls/c/operations/partitionkeydelete",
            vec![B],
            &none,
        ),
    ] {
        with_token(&fixture, &partition, method, path, &headers, body)
            .await
            .expect(403);
    }
    // The header is held against the document.
    with_token(
        &fixture,
        &partition,
        "POST",
        docs,
        &[A],
        &json!({"id": "x", "pk": "b"}),
    )
    .await
    .expect(400);
    with_token(
        &fixture,
        &partition,
        "POST",
        docs,
        &[A],
        &json!({"id": "x", "pk": "a"}),
    )
    .await
    .expect(201);

    let item = permission(&fixture, "i", "All", "dbs/d/colls/c/docs/a1", key).await;
    with_token(&fixture, &item, "GET", "/dbs/d/colls/c/docs/a1", &[A], &none)
        .await
        .expect(200);
    with_token(
        &fixture,
        &item,
        "PUT",
        "/dbs/d/colls/c/docs/a1",
        &[A],
        &json!({"id": "a1", "pk": "a"}),
    )
    .await
    .expect(200);
    for (method, path, headers, body) in [
        ("GET", "/dbs/d/colls/c/docs/x", vec![A], &none),
        ("GET", docs, vec![A], &none),
        ("POST", docs, vec![A], &json!({"id": "y", "pk": "a"})),
        ("POST", docs, vec![QUERY, A], &query),
    ] {
        with_token(&fixture, &item, method, path, &headers, body)
            .await
            .expect(403);
    }
}

#[tokio::test]
async fn a_permission_for_an_item_is_for_one_in_one_partition() {
    let fixture = prepared().await;
    let none = Value::Null;
    // Another item of the same id, in another partition.
    let twin = json!({"id": "a1", "pk": "b"});
    fixture
        .json("POST", "/dbs/d/colls/c/docs", &[], twin)
        .await
        .expect(201);
    let path = "/dbs/d/colls/c/docs/a1";
    let item = fixture.send("GET", path, &[A], "").await.expect(200).json();
    let link = item["_self"].as_str().unwrap();
    let token = permission(&fixture, "rid", "All", link, json!({})).await;
    let kept = fixture
        .send("GET", "/dbs/d/users/u/permissions/rid", &[], "")
        .await
        .expect(200)
        .json();
    assert_eq!(kept["resourcePartitionKey"], json!(["a"]));
    let key = json!({"resourcePartitionKey": ["b"]});
    let named = permission(&fixture, "name", "All", "dbs/d/colls/c/docs/a1", key).await;
    for (token, own, other) in [(&token, A, B), (&named, B, A)] {
        with_token(&fixture, token, "GET", path, &[own], &none)
            .await
            .expect(200);
        for method in ["GET", "DELETE"] {
            for headers in [vec![other], vec![]] {
                with_token(&fixture, token, method, path, &headers, &none)
                    .await
                    .expect(403);
            }
        }
    }
    for body in [
        json!({"resource": "dbs/d/colls/c/docs/a1"}),
        json!({"resource": "dbs/d/colls/c/docs/a1", "resourcePartitionKey": null}),
        json!({"resource": link, "resourcePartitionKey": ["b"]}),
    ] {
        let mut body = body;
        body["id"] = json!("refused");
        body["permissionMode"] = json!("Read");
        let refused = fixture.json("POST", PERMISSIONS, &[], body).await.expect(400);
        assert!(
            refused.json()["message"]
                .as_str()
                .unwrap()
                .contains("resourcePartitionKey")
        );
    }
}
