//! Users, permissions and resource tokens: who gets in, and how far.
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

use http::{Method, Request};
use http_semantics::Body;
use serde_json::{Value, json};
use signed::{Fixture, Reply, fixture};

const PERMISSIONS: &str = "/dbs/d/users/u/permissions";

async fn prepared() -> Fixture {
    let fixture = fixture().with_container(json!({})).await;
    for (id, pk) in [("a1", "a"), ("b1", "b")] {
        fixture
            .json("POST", "/dbs/d/colls/c/docs", &[], json!({"id": id, "pk": pk}))
            .await
            .expect(201);
    }
    fixture
        .json("POST", "/dbs/d/users", &[], json!({"id": "u"}))
        .await
        .expect(201);
    fixture
}

async fn permission(fixture: &Fixture, id: &str, mode: &str, resource: &str, more: Value) -> String {
    let mut body = json!({"id": id, "permissionMode": mode, "resource": resource});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = fixture
        .json("POST", PERMISSIONS, &[], body)
        .await
        .expect(201)
        .json();
    made["_token"].as_str().unwrap().to_owned()
}

async fn with_token(
    fixture: &Fixture,
    token: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Reply {
    let encoded: String = token
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .header("host", "localhost:8081")
        .header("authorization", encoded);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    fixture
        .raw(request.body(Body::full(body.into_bytes())).unwrap())
        .await
}

const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");
const B: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"b\"]");
const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");

#[tokio::test]
async fn users_are_kept() {
    let fixture = prepared().await;
    fixture
        .json("POST", "/dbs/d/users", &[], json!({"id": "u"}))
        .await
        .expect(409);
    fixture
        .json("POST", "/dbs/d/users", &[], json!({}))
        .await
        .expect(400);
    fixture
        .json("POST", "/dbs/x/users", &[], json!({"id": "u"}))
        .await
        .expect(404);
    fixture
        .json("POST", "/dbs/d/users", &[], json!({"id": "v"}))
        .await
        .expect(201);
    let read = fixture.send("GET", "/dbs/d/users/v", &[], "").await.expect(200);
    assert_eq!(read.json()["_permissions"], "permissions/");
    let rid = read.json()["_rid"].as_str().unwrap().to_owned();
    let database = fixture.send("GET", "/dbs/d", &[], "").await.json()["_rid"]
        .as_str()
        .unwrap()
        .to_owned();
    let by_rid = fixture
        .documents_get_by_rid(&format!("/dbs/{database}/users/{rid}"), &rid)
        .await;
    assert_eq!(by_rid.expect(200).json()["id"], "v");
    let page = fixture
        .send("GET", "/dbs/d/users", &[("x-ms-max-item-count", "1")], "")
        .await
        .expect(200);
    assert_eq!(page.json()["Users"][0]["id"], "u");
    let next = page.header("x-ms-continuation").to_owned();
    let page = fixture
        .send("GET", "/dbs/d/users", &[("x-ms-continuation", &next)], "")
        .await
        .expect(200);
    assert_eq!(page.json()["Users"][0]["id"], "v");
    assert_eq!(page.header("x-ms-continuation"), "");
    let found = fixture
        .json(
            "POST",
            "/dbs/d/users",
            &[QUERY],
            json!({"query": "SELECT VALUE u.id FROM u WHERE u.id > 'u'"}),
        )
        .await
        .expect(200);
    assert_eq!(found.json()["Users"], json!(["v"]));
    let stale = [("if-match", "\"other\"")];
    fixture
        .json("PUT", "/dbs/d/users/v", &stale, json!({"id": "w"}))
        .await
        .expect(412);
    fixture
        .json("PUT", "/dbs/d/users/v", &[], json!({"id": "u"}))
        .await
        .expect(409);
    fixture
        .json("PUT", "/dbs/d/users/v", &[], json!({"id": "w"}))
        .await
        .expect(200);
    fixture.send("GET", "/dbs/d/users/v", &[], "").await.expect(404);
    fixture
        .send("DELETE", "/dbs/d/users/w", &[], "")
        .await
        .expect(204);
    fixture
        .send("DELETE", "/dbs/d/users/w", &[], "")
        .await
        .expect(404);
}

#[tokio::test]
async fn a_token_reads_or_writes_one_container() {
    let fixture = prepared().await;
    fixture
        .json(
            "POST",
            "/dbs/d/colls",
            &[],
            json!({"id": "other", "partitionKey": {"paths": ["/pk"]}}),
        )
        .await
        .expect(201);
    let reads = permission(&fixture, "r", "Read", "dbs/d/colls/c", json!({})).await;
    let writes = permission(&fixture, "w", "All", "dbs/d/colls/c", json!({})).await;
    let none = Value::Null;
    let item = json!({"id": "n", "pk": "a"});
    let query = json!({"query": "SELECT VALUE c.id FROM c"});
    for token in [&reads, &writes] {
        for (method, path, headers, body) in [
            ("GET", "/", vec![], &none),
            ("GET", "/dbs/d/colls/c", vec![], &none),
            ("GET", "/dbs/d/colls/c/pkranges", vec![], &none),
            ("GET", "/dbs/d/colls/c/docs/a1", vec![A], &none),
            ("GET", "/dbs/d/colls/c/docs", vec![], &none),
            ("POST", "/dbs/d/colls/c/docs", vec![QUERY], &query),
        ] {
            let reply = with_token(&fixture, token, method, path, &headers, body).await;
            assert_eq!(reply.status.as_u16(), 200, "{method} {path}");
        }
        for (method, path, body) in [
            ("GET", "/dbs", &none),
            ("GET", "/dbs/d", &none),
            ("POST", "/dbs", &item),
            ("GET", "/dbs/d/colls", &none),
            ("POST", "/dbs/d/colls", &item),
            ("PUT", "/dbs/d/colls/c", &item),
            ("DELETE", "/dbs/d/colls/c", &none),
            ("GET", "/dbs/d/colls/other", &none),
            ("GET", "/dbs/d/colls/other/docs", &none),
            ("POST", "/dbs/d/colls/other/docs", &item),
            ("GET", "/dbs/d/users", &none),
            ("GET", "/dbs/d/users/u/permissions", &none),
            ("GET", "/dbs/d/users/u/permissions/w", &none),
            ("POST", "/dbs/d/users", &item),
            ("GET", "/offers", &none),
        ] {
            with_token(&fixture, token, method, path, &[], body)
                .await
                .expect(403);
        }
    }
    let docs = "/dbs/d/colls/c/docs";
    let batch = ("x-ms-cosmos-is-batch-request", "True");
    let operations = json!([{"operationType": "Delete", "id": "a1", "partitionKey": "[\"a\"]"}]);
    for (method, path, headers, body, status) in [
        ("POST", docs, vec![], &item, 201),
        (
            "POST",
            docs,
            vec![("x-ms-documentdb-is-upsert", "True")],
            &item,
            200,
        ),
        ("PUT", "/dbs/d/colls/c/docs/n", vec![A], &item, 200),
        ("DELETE", "/dbs/d/colls/c/docs/n", vec![A], &none, 204),
        (
            "POST",
            docs,
            vec![batch, A, ("x-ms-cosmos-batch-atomic", "True")],
            &operations,
            200,
        ),
        (
            "POST",
            docs,
            vec![batch, ("x-ms-cosmos-batch-atomic", "False")],
            &operations,
            207,
        ),
        (
            "POST",
            "/dbs/d/colls/c/operations/partitionkeydelete",
            vec![B],
            &none,
            200,
        ),
    ] {
        with_token(&fixture, &reads, method, path, &headers, body)
            .await
            .expect(403);
        let reply = with_token(&fixture, &writes, method, path, &headers, body).await;
        assert!(
            reply.status.as_u16() == status || (status == 207 && reply.status == 200),
            "{method} {path} {}",
            reply.status
        );
    }
}

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

#[tokio::test]
async fn a_token_ends_with_its_time_its_permission_its_user_and_its_container() {
    let fixture = prepared().await;
    let path = "/dbs/d/colls/c/docs/a1";
    let none = Value::Null;
    let body = |id: &str| json!({"id": id, "permissionMode": "Read", "resource": "dbs/d/colls/c"});
    let short = [("x-ms-documentdb-expiry-seconds", "10")];
    let made = fixture
        .json("POST", PERMISSIONS, &short, body("t"))
        .await
        .expect(201)
        .json();
    let token = made["_token"].as_str().unwrap();
    with_token(&fixture, token, "GET", path, &[A], &none)
        .await
        .expect(200);
    fixture.clock.advance_seconds(10);
    let late = with_token(&fixture, token, "GET", path, &[A], &none)
        .await
        .expect(403);
    assert!(
        late.json()["message"]
            .as_str()
            .unwrap()
            .contains("not valid at the current time")
    );
    for bad in ["0", "-1", "86401", "x"] {
        let header = [("x-ms-documentdb-expiry-seconds", bad)];
        fixture
            .send("GET", "/dbs/d/users/u/permissions/t", &header, "")
            .await
            .expect(400);
    }
    let again = fixture
        .send("GET", "/dbs/d/users/u/permissions/t", &[], "")
        .await
        .expect(200)
        .json();
    let token = again["_token"].as_str().unwrap();
    with_token(&fixture, token, "GET", path, &[A], &none)
        .await
        .expect(200);
    fixture.clock.advance_seconds(3_599);
    with_token(&fixture, token, "GET", path, &[A], &none)
        .await
        .expect(200);
    fixture
        .send("DELETE", "/dbs/d/users/u/permissions/t", &[], "")
        .await
        .expect(204);
    with_token(&fixture, token, "GET", path, &[A], &none)
        .await
        .expect(403);
    // Another permission of the same id doesn't bring the old token back.
    fixture
        .json("POST", PERMISSIONS, &[], body("t"))
        .await
        .expect(201);
    with_token(&fixture, token, "GET", path, &[A], &none)
        .await
        .expect(403);

    let token = permission(&fixture, "w", "All", "dbs/d/colls/c", json!({})).await;
    fixture
        .json("PUT", "/dbs/d/users/u/permissions/w", &[], body("w"))
        .await
        .expect(200);
    with_token(&fixture, &token, "DELETE", path, &[A], &none)
        .await
        .expect(403);
    with_token(&fixture, &token, "GET", path, &[A], &none)
        .await
        .expect(200);
    fixture
        .send("DELETE", "/dbs/d/users/u", &[], "")
        .await
        .expect(204);
    with_token(&fixture, &token, "GET", path, &[A], &none)
        .await
        .expect(403);
    fixture.documents.sweep_once().await.unwrap();
    with_token(&fixture, &token, "GET", path, &[A], &none)
        .await
        .expect(403);

    fixture
        .json("POST", "/dbs/d/users", &[], json!({"id": "u"}))
        .await
        .expect(201);
    let token = permission(&fixture, "c", "Read", "dbs/d/colls/c", json!({})).await;
    fixture
        .send("DELETE", "/dbs/d/colls/c", &[], "")
        .await
        .expect(204);
    let again = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
    fixture.json("POST", "/dbs/d/colls", &[], again).await.expect(201);
    with_token(&fixture, &token, "GET", "/dbs/d/colls/c/docs", &[], &none)
        .await
        .expect(403);
    fixture.send("DELETE", "/dbs/d", &[], "").await.expect(204);
    with_token(&fixture, &token, "GET", "/", &[], &none)
        .await
        .expect(403);
    let purged = fixture.documents.sweep_once().await.unwrap();
    assert!(purged.keys_purged >= 2, "{purged:?}");
}

#[tokio::test]
async fn forged_and_damaged_tokens_are_refused() {
    let fixture = prepared().await;
    let token = permission(&fixture, "r", "Read", "dbs/d/colls/c", json!({})).await;
    let (head, claims) = token.trim_end_matches(';').split_once(';').unwrap();
    let none = Value::Null;
    let mut flipped = claims.to_owned();
    flipped.replace_range(0..1, if claims.starts_with('e') { "f" } else { "e" });
    for bad in [
        format!("{head};{flipped};"),
        format!("{head};;"),
        head.to_owned(),
        format!("type=resource&ver=1.0&sig=;{claims};"),
        format!("type=resource&ver=1.0&sig={};{claims};", fixture.key.sign(claims)),
        format!("type=resource&ver=1.0&sig=AAAA;{claims};"),
        "type=resource&ver=1.0&sig=".to_owned(),
        format!("type=resource&ver=1.0&sig={}", "A".repeat(9_000)),
    ] {
        with_token(&fixture, &bad, "GET", "/dbs/d/colls/c/docs", &[], &none)
            .await
            .expect(401);
    }
    with_token(&fixture, &token, "GET", "/dbs/d/colls/c/docs", &[], &none)
        .await
        .expect(200);
}

#[tokio::test]
async fn permissions_are_checked() {
    let fixture = prepared().await;
    permission(&fixture, "r", "Read", "dbs/d/colls/c", json!({})).await;
    for (body, status) in [
        (
            json!({"id": "r", "permissionMode": "Read", "resource": "dbs/d/colls/c"}),
            409,
        ),
        (
            json!({"id": "x", "permissionMode": "Write", "resource": "dbs/d/colls/c"}),
            400,
        ),
        (json!({"id": "x", "permissionMode": "Read"}), 400),
        (
            json!({"permissionMode": "Read", "resource": "dbs/d/colls/c"}),
            400,
        ),
        (
            json!({"id": "x", "permissionMode": "Read", "resource": "dbs/d"}),
            400,
        ),
        (
            json!({"id": "x", "permissionMode": "Read", "resource": "dbs/e/colls/c"}),
            400,
        ),
        (
            json!({"id": "x", "permissionMode": "Read", "resource": "dbs/d/colls/none"}),
            404,
        ),
        (
            json!({"id": "x", "permissionMode": "Read", "resource": "dbs/d/colls/c/sprocs/s"}),
            400,
        ),
        (
            json!({"id": "x", "permissionMode": "Read", "resource": "dbs/d/colls/c", "resourcePartitionKey": []}),
            400,
        ),
        (
            json!({"id": "x", "permissionMode": "Read", "resource": "dbs/d/colls/c", "resourcePartitionKey": "a"}),
            400,
        ),
    ] {
        fixture
            .json("POST", PERMISSIONS, &[], body.clone())
            .await
            .expect(status);
    }
    // By resource ids, as `_self` has them.
    let link = fixture.send("GET", "/dbs/d/colls/c", &[], "").await.json()["_self"]
        .as_str()
        .unwrap()
        .to_owned();
    let token = permission(&fixture, "rid", "Read", &link, json!({})).await;
    with_token(&fixture, &token, "GET", "/dbs/d/colls/c/docs", &[], &Value::Null)
        .await
        .expect(200);
    let listed = fixture.send("GET", PERMISSIONS, &[], "").await.expect(200).json();
    assert_eq!(listed["_count"], 2);
    assert!(listed["Permissions"][0]["_token"].is_string());
    let found = fixture
        .json(
            "POST",
            PERMISSIONS,
            &[QUERY],
            json!({"query": "SELECT VALUE p.id FROM p WHERE p.id = 'rid'"}),
        )
        .await
        .expect(200);
    assert_eq!(found.json()["Permissions"], json!(["rid"]));
}
