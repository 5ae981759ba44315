//! Who may read what without a signature.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Bench, bench_with};
use http::Request;
use http_semantics::Body;

async fn bare(bench: &Bench, method: &str, uri: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "h")
        .header("content-length", 0)
        .header("x-ms-blob-type", "BlockBlob");
    let answer = bench.send(request.body(Body::empty()).unwrap()).await;
    (answer.status.as_u16(), answer.code().to_owned())
}

#[tokio::test]
async fn anonymous_access_reaches_what_the_container_opens() {
    let bench = bench_with(true);
    for (name, access) in [("none", ""), ("blobs", "blob"), ("whole", "container")] {
        let path = format!("/{name}?restype=container");
        let headers = [("x-ms-blob-public-access", access)];
        let headers = if access.is_empty() { &[][..] } else { &headers[..] };
        assert_eq!(bench.ask("PUT", &path, headers, b"").await.status, 201);
        assert_eq!(bench.put(&format!("/{name}/x"), b"content").await.status, 201);
    }
    let closed = || (401, "NoAuthenticationInformation".to_owned());
    let open = || (200, String::new());
    // Columns: closed, its blobs, whole, and a container that isn't there.
    let table = [
        ("GET", "/x", [closed(), open(), open(), closed()]),
        ("HEAD", "/x", [closed(), open(), open(), closed()]),
        ("GET", "/x?comp=metadata", [closed(), open(), open(), closed()]),
        (
            "GET",
            "?restype=container&comp=list",
            [closed(), closed(), open(), closed()],
        ),
        (
            "HEAD",
            "?restype=container",
            [closed(), closed(), open(), closed()],
        ),
        (
            "GET",
            "?restype=container&comp=acl",
            [closed(), closed(), closed(), closed()],
        ),
        ("PUT", "/y", [closed(), closed(), closed(), closed()]),
        ("DELETE", "/x", [closed(), closed(), closed(), closed()]),
        (
            "DELETE",
            "?restype=container",
            [closed(), closed(), closed(), closed()],
        ),
    ];
    for (method, path, row) in table {
        for (name, expected) in ["none", "blobs", "whole", "missing"].into_iter().zip(row) {
            let found = bare(&bench, method, &format!("/dev/{name}{path}")).await;
            assert_eq!(found, expected, "{method} {name}{path}");
        }
    }
    assert_eq!(bare(&bench, "GET", "/dev/blobs/none").await.0, 404);
    assert_eq!(bare(&bench, "GET", "/dev?comp=list").await, closed());
}

#[tokio::test]
async fn an_account_may_refuse_anonymous_access() {
    let bench = bench_with(false);
    let refused = (409, "PublicAccessNotPermitted");
    let open = [("x-ms-blob-public-access", "blob")];
    let answer = bench.ask("PUT", "/box?restype=container", &open, b"").await;
    assert_eq!((answer.status.as_u16(), answer.code()), refused);
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    let answer = bench
        .ask("PUT", "/box?restype=container&comp=acl", &open, b"")
        .await;
    assert_eq!((answer.status.as_u16(), answer.code()), refused);
    bench.put("/box/x", b"content").await;
    let (status, code) = bare(&bench, "GET", "/dev/box/x").await;
    assert_eq!((status, code.as_str()), refused);
}
