//! Permissions of one user, and requests with their tokens.

use http::{Method, Request};
use http_semantics::Body;
use serde_json::{Value, json};

use super::{Fixture, Reply, fixture};

pub const PERMISSIONS: &str = "/dbs/d/users/u/permissions";

/// Items `a1` and `b1`, each in a partition of its own, and user `u`.
pub async fn prepared() -> Fixture {
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

/// Makes a permission of `u`; its token.
pub async fn permission(fixture: &Fixture, id: &str, mode: &str, resource: &str, more: Value) -> String {
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

/// Sends a request that a token speaks for.
pub async fn with_token(
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

pub const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");
pub const B: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"b\"]");
pub const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");
