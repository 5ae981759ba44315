//! A static website: pages for browsers that sign nothing, under a host of their own.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{ACCOUNT, Answer, Bench, PLANTED, bench_with};
use http_semantics::Body;

async fn browse(bench: &Bench, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("host", format!("{ACCOUNT}.web.localhost:8080"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    bench.send(request.body(Body::empty()).unwrap()).await
}

async fn set(bench: &Bench, website: &str) {
    let body = format!(
        "<StorageServiceProperties><StaticWebsite>{website}</StaticWebsite></StorageServiceProperties>"
    );
    let set = bench
        .ask("PUT", "/?restype=service&comp=properties", &[], body.as_bytes())
        .await;
    assert_eq!(set.status, 202, "{}", set.text());
}

async fn put(bench: &Bench, path: &str, kind: &str, content: &[u8]) {
    let headers = [
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-blob-content-type", kind),
        ("x-ms-meta-inner", "secret"),
    ];
    let put = bench.ask("PUT", path, &headers, content).await;
    assert_eq!(put.status, 201, "{}", put.text());
}

#[tokio::test]
async fn pages_are_served_and_nothing_else_is() {
    // Nobody reads other containers without a signature here.
    let bench = bench_with(false);
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    put(&bench, "/box/private", "text/plain", b"private").await;
    let off = browse(&bench, "GET", "/", &[]).await;
    assert_eq!((off.status.as_u16(), off.code()), (404, "WebContentNotFound"));
    set(
        &bench,
        "<Enabled>true</Enabled><IndexDocument>index.html</IndexDocument>\
         <ErrorDocument404Path>404.html</ErrorDocument404Path>",
    )
    .await;
    // Its container is made with it.
    put(&bench, "/$web/index.html", "text/html", b"<h1>home</h1>").await;
    put(&bench, "/$web/docs/index.html", "text/html", b"<h1>docs</h1>").await;
    put(&bench, "/$web/style%20sheet.css", "text/css", &[b'a'; 50_000]).await;
    for (path, kind, content) in [
        ("/", "text/html", &b"<h1>home</h1>"[..]),
        ("/index.html", "text/html", b"<h1>home</h1>"),
        ("/docs/", "text/html", b"<h1>docs</h1>"),
        ("/style%20sheet.css?v=7", "text/css", &[b'a'; 50_000]),
    ] {
        let got = browse(&bench, "GET", path, &[]).await;
        assert_eq!(got.status, 200, "{path}: {}", got.text());
        assert_eq!(got.header("content-type"), kind, "{path}");
        assert!(got.body == content, "{path}");
        assert_eq!(got.header("x-ms-meta-inner"), "");
        assert_eq!(got.header("x-ms-lease-state"), "");
        let etag = got.header("etag").to_owned();
        let same = browse(&bench, "GET", path, &[("if-none-match", &etag)]).await;
        assert_eq!(same.status, 304, "{path}");
        let head = browse(&bench, "HEAD", path, &[]).await;
        assert_eq!(
            (head.status.as_u16(), head.header("content-length")),
            (200, content.len().to_string().as_str())
        );
    }
    let part = browse(&bench, "GET", "/index.html", &[("range", "bytes=4-7")]).await;
    assert_eq!((part.status.as_u16(), &part.body[..]), (206, &b"home"[..]));
    // What isn't there: plainly, and with a page for it.
    for path in ["/none", "/docs", "/box/private", "/docs/../../box/private"] {
        let gone = browse(&bench, "GET", path, &[]).await;
        assert_eq!(
            (gone.status.as_u16(), gone.code()),
            (404, "WebContentNotFound"),
            "{path}"
        );
        assert_eq!(gone.header("content-type"), "text/html");
        assert!(!gone.text().contains("private"), "{}", gone.text());
    }
    put(&bench, "/$web/404.html", "text/html", b"<h1>lost?</h1>").await;
    let gone = browse(&bench, "GET", "/none", &[("range", "bytes=0-1")]).await;
    assert_eq!(
        (gone.status.as_u16(), &gone.body[..]),
        (404, &b"<h1>lost?</h1>"[..])
    );
    // Nothing is written there, and the protocol isn't spoken.
    for method in ["PUT", "DELETE", "POST"] {
        let refused = browse(&bench, method, "/index.html", &[("content-length", "0")]).await;
        assert_eq!(refused.status, 405, "{method}");
    }
    let list = browse(&bench, "GET", "/?restype=container&comp=list", &[]).await;
    assert_eq!(&list.body[..], b"<h1>home</h1>");
    // A page under a customer's key is nobody's here.
    let mut headers = PLANTED[0].headers();
    headers.push(("x-ms-blob-type", "BlockBlob"));
    bench.ask("PUT", "/$web/key.html", &headers, b"x").await;
    let refused = browse(&bench, "GET", "/key.html", &[]).await;
    assert_eq!(refused.status, 409);
    let read = bench
        .ask("GET", "/?restype=service&comp=properties", &[], b"")
        .await
        .text();
    assert!(read.contains("<StaticWebsite><Enabled>true</Enabled><IndexDocument>index.html</IndexDocument>"));
    set(&bench, "<Enabled>false</Enabled>").await;
    assert_eq!(browse(&bench, "GET", "/", &[]).await.status, 404);
}

#[tokio::test]
async fn one_page_may_stand_for_all_folders() {
    let bench = bench_with(false);
    set(
        &bench,
        "<Enabled>true</Enabled><DefaultIndexDocumentPath>app/start.html</DefaultIndexDocumentPath>",
    )
    .await;
    put(&bench, "/$web/app/start.html", "text/html", b"start").await;
    for path in ["/", "/any/folder/"] {
        assert_eq!(browse(&bench, "GET", path, &[]).await.body, "start", "{path}");
    }
    assert_eq!(browse(&bench, "GET", "/any", &[]).await.status, 404);
}

#[tokio::test]
async fn a_page_for_what_is_not_there_that_cannot_be_read_is_none() {
    let bench = bench_with(false);
    set(
        &bench,
        "<Enabled>true</Enabled><ErrorDocument404Path>404.html</ErrorDocument404Path>",
    )
    .await;
    // Under a customer's key, which no browser brings.
    let mut headers = PLANTED[0].headers();
    headers.push(("x-ms-blob-type", "BlockBlob"));
    let made = bench.ask("PUT", "/$web/404.html", &headers, b"lost").await;
    assert_eq!(made.status, 201, "{}", made.text());
    let gone = browse(&bench, "GET", "/none", &[]).await;
    assert_eq!((gone.status.as_u16(), gone.code()), (404, "WebContentNotFound"));
}

#[tokio::test]
async fn backslashes_are_slashes_there_too() {
    let bench = bench_with(false);
    set(
        &bench,
        "<Enabled>true</Enabled><IndexDocument>index.html</IndexDocument>",
    )
    .await;
    put(&bench, "/$web/docs/index.html", "text/html", b"docs").await;
    for path in ["/docs%5Cindex.html", "/docs%5C", "/docs/"] {
        let got = browse(&bench, "GET", path, &[]).await;
        assert_eq!(
            (got.status.as_u16(), &got.body[..]),
            (200, &b"docs"[..]),
            "{path}"
        );
    }
}

#[tokio::test]
async fn hosts_of_the_protocol_below_the_websites_suffix_are_the_protocols() {
    let bench = bench::bench_with_clock(
        std::sync::Arc::new(ledger::AdjustableClock::standing_at(
            jiff::Timestamp::from_second(1_700_000_000).unwrap(),
        )),
        |settings| {
            settings.host_suffixes = vec!["blob.web.localhost".to_owned()];
        },
    );
    let request = http::Request::builder()
        .uri("/?comp=list")
        .header("host", format!("{ACCOUNT}.blob.web.localhost:8080"))
        .header("x-ms-version", "2024-11-04");
    let answer = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.code(), "NoAuthenticationInformation", "{}", answer.text());
}
