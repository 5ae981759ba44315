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

use serde_json::{Value, json};
use signed::tokens::{A, B, PERMISSIONS, QUERY, permission, prepared, with_token};

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
    let delete = |id: &str, key: &str| json!([{"operationType": "Delete", "id": id, "partitionKey": json!([key]).to_string()}]);
    let (of_batch, of_bulk) = (delete("a1", "a"), delete("b1", "b"));
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
            &of_batch,
            200,
        ),
        (
            "POST",
            docs,
            vec![batch, ("x-ms-cosmos-batch-atomic", "False")],
            &of_bulk,
            200,
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
        assert_eq!(reply.status.as_u16(), status, "{method} {path} {body}");
        // What was done is said for each operation.
        if headers.contains(&batch) {
            assert_eq!(reply.json()[0]["statusCode"], 204, "{body}");
        }
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
    with_token(&fixture, &token, "GET", path, &[A], &none)
        .await
        .expect(200);
    let replaced = fixture
        .json("PUT", "/dbs/d/users/u/permissions/w", &[], body("w"))
        .await
        .expect(200)
        .json();
    let of_old = with_token(&fixture, &token, "GET", path, &[A], &none)
        .await
        .expect(403);
    let why = of_old.json()["message"].as_str().unwrap().to_owned();
    assert!(why.contains("changed or deleted"), "{why}");
    let token = replaced["_token"].as_str().unwrap().to_owned();
    with_token(&fixture, &token, "DELETE", path, &[A], &none)
        .await
        .expect(403);
    with_token(&fixture, &token, "GET", path, &[A], &none)
        .await
        .expect(200);
    // Nor does a token get the mode that its permission has later.
    let wider = json!({"id": "w", "permissionMode": "All", "resource": "dbs/d/colls/c"});
    fixture
        .json("PUT", "/dbs/d/users/u/permissions/w", &[], wider)
        .await
        .expect(200);
    for method in ["GET", "DELETE"] {
        with_token(&fixture, &token, method, path, &[A], &none)
            .await
            .expect(403);
    }
    let again = fixture
        .send("GET", "/dbs/d/users/u/permissions/w", &[], "")
        .await
        .expect(200)
        .json();
    assert_eq!(again["_rid"], replaced["_rid"]);
    let token = again["_token"].as_str().unwrap().to_owned();
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
