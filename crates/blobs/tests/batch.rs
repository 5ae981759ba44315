//! What a batch may hold is decided on what its requests will be served as.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Answer, Bench, account_sas, with_container};

/// A batch of one request, whose own signature grants everything.
async fn batch(bench: &Bench, method: &str, path: &str, headers: &str) -> Answer {
    let sas = account_sas("rwdlact", "sco", "2030-01-01T00:00:00Z");
    let joint = if path.contains('?') { '&' } else { '?' };
    let body = format!(
        "--b\r\nContent-Type: application/http\r\n\r\n{method} {path}{joint}{sas} HTTP/1.1\r\n{headers}\r\n\r\n--b--"
    );
    let kind = [("content-type", "multipart/mixed; boundary=b")];
    bench
        .ask(
            "POST",
            "/box?restype=container&comp=batch",
            &kind,
            body.as_bytes(),
        )
        .await
}

#[tokio::test]
async fn nothing_but_deletions_and_tiers() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let copy = "x-ms-copy-source: http://127.0.0.1:10000/dev/box/x\r\nx-ms-access-tier: Cool\r\n";
    for (method, path) in [
        ("PUT", "/dev/box/y"),
        ("PUT", "/dev/box/y?comp="),
        ("PUT", "/dev/box/y?comp=&comp=tier"),
        ("PUT", "/dev/box/x?comp=snapshot&comp=tier"),
        ("PUT", "/dev/box/x?%63omp=snapshot&comp=tier"),
        ("PUT", "/dev/box/x?COMP=snapshot&comp=tier"),
        ("PUT", "/dev/box/x?comp=tier&restype=container"),
        ("PUT", "/dev/box/x?comp=tier&%72estype=container"),
        ("DELETE", "/dev/box/x?restype=container"),
        ("DELETE", "/dev/box/x?%72estype=container"),
        ("DELETE", "/dev/box/x?%63omp=lease"),
        ("DELETE", "/dev/box"),
        ("DELETE", "/dev/other/x"),
        ("DELETE", "http://elsewhere.example/dev/box/x"),
        ("GET", "/dev/box/x"),
    ] {
        let answer = batch(&bench, method, path, copy).await;
        let text = answer.text();
        assert_eq!(answer.status, 202, "{method} {path}");
        assert!(text.contains("HTTP/1.1 400 "), "{method} {path}: {text}");
        assert!(
            text.contains("x-ms-error-code: InvalidInput"),
            "{method} {path}: {text}"
        );
    }
    assert_eq!(bench.ask("GET", "/box/y", &[], b"").await.status, 404);
    for path in ["/dev/box/x?comp=tier", "/dev/box/x?%63omp=%74ier"] {
        let answer = batch(&bench, "PUT", path, "x-ms-access-tier: Cool\r\n").await;
        assert!(
            answer.text().contains("HTTP/1.1 200 "),
            "{path}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn its_requests_are_for_the_host_that_it_is_sent_to() {
    let bench = bench::bench_at("blobs.test");
    for container in ["box", "other"] {
        let path = format!("/{container}?restype=container");
        assert_eq!(bench.ask("PUT", &path, &[], b"").await.status, 201);
        assert_eq!(
            bench.put(&format!("/{container}/x"), b"content").await.status,
            201
        );
    }
    bench.ask("PUT", "/dev?restype=container", &[], b"").await;
    bench.put("/dev/box/x", b"content").await;
    // By the host that the request itself names, its path would be of the container `dev`.
    let answer = batch(&bench, "DELETE", "/dev/box/x", "Host: dev.blobs.test\r\n").await;
    assert!(answer.text().contains("HTTP/1.1 202 "), "{}", answer.text());
    assert_eq!(bench.ask("GET", "/dev/box/x", &[], b"").await.status, 200);
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.status, 404);
}
