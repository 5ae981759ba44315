//! Who may read what without a signature, and what of tags a signature opens.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Bench, account_sas, bench_with, container_sas};
use http::Request;
use http_semantics::Body;

async fn bare(bench: &Bench, method: &str, uri: &str) -> (u16, String) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("host", "h")
        .header("content-length", 0)
        .header("x-ms-version", "2024-11-04")
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
        ("GET", "/x?comp=tags", [closed(), closed(), closed(), closed()]),
        ("GET", "/x?comp=blocklist", [closed(), open(), open(), closed()]),
        (
            "GET",
            "/x?comp=blocklist&blocklisttype=uncommitted",
            [closed(), closed(), closed(), closed()],
        ),
        (
            "GET",
            "/x?comp=blocklist&blocklisttype=all",
            [closed(), closed(), closed(), closed()],
        ),
        (
            "GET",
            "?restype=container&comp=list&include=tags",
            [closed(), closed(), closed(), closed()],
        ),
        (
            "GET",
            "?restype=container&comp=blobs&where=%22a%22%3D%27b%27",
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

#[tokio::test]
async fn tags_are_read_with_t_and_found_with_f() {
    let bench = bench_with(true);
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-tags", "a=b")];
    bench.ask("PUT", "/box/x", &headers, b"content").await;
    let later = "2030-01-01T00:00:00Z";
    let container = |permissions| container_sas(permissions, later);
    let account = |permissions, types| account_sas(permissions, types, later);
    let (open, refused) = ((200, ""), (403, "AuthorizationPermissionMismatch"));
    let other_type = (403, "AuthorizationResourceTypeMismatch");
    let tags = "/box/x?comp=tags";
    let list = "/box?restype=container&comp=list&include=tags";
    let find = "/box?restype=container&comp=blobs&where=%22a%22%3D%27b%27";
    let find_all = "/?comp=blobs&where=%22a%22%3D%27b%27";
    for (path, sas, expected) in [
        (tags, container("t"), open),
        (tags, container("rwlf"), refused),
        (tags, account("t", "o"), open),
        (tags, account("rwlf", "o"), refused),
        (list, container("lt"), open),
        (list, container("rwlf"), refused),
        (list, container("rwtf"), refused),
        (list, account("lt", "c"), open),
        (list, account("rwlf", "c"), refused),
        (find, container("f"), open),
        (find, container("rwlt"), refused),
        (find, account("f", "c"), open),
        (find, account("f", "o"), other_type),
        (find_all, account("f", "s"), open),
        (find_all, account("rwlt", "s"), refused),
        (find_all, account("f", "co"), other_type),
        // Not what else there is to a container: that takes an account's signature.
        ("/box?restype=container", container("rwdltf"), refused),
        ("/box?restype=container&comp=acl", container("rwdltf"), refused),
    ] {
        let answer = bench.bare("GET", &format!("{path}&{sas}"), &[]).await;
        let found = (answer.status.as_u16(), answer.code());
        assert_eq!(found, expected, "{path} {sas}: {}", answer.text());
        if expected == open {
            assert!(
                answer.text().contains("<Value>b</Value>"),
                "{path}: {}",
                answer.text()
            );
        }
    }
}
