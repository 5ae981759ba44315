//! Small things in which clients notice whether a server is the original: each with the source of what it does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::versions::{LATER, refused};
use bench::{account_sas, with_container};
use md5::{Digest as _, Md5};

const BLOCK: (&str, &str) = ("x-ms-blob-type", "BlockBlob");
const HOST: &str = "http://127.0.0.1:10000/dev";

// Source: "Create a service SAS", "Specify query parameters to override response headers"; the tests of
// azure-sdk-for-js read the overridden headers from Get Blob Properties.
#[tokio::test]
async fn a_signature_overrides_the_headers_of_properties_too() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let sas = account_sas("r", "o", LATER);
    let path = format!("/box/x?{sas}&rscc=no-store&rscd=inline&rsce=br&rscl=nb&rsct=text%2Fplain");
    for method in ["GET", "HEAD"] {
        let answer = bench.bare(method, &path, &[]).await;
        assert_eq!(answer.status, 200, "{method}");
        for (header, value) in [
            ("cache-control", "no-store"),
            ("content-disposition", "inline"),
            ("content-encoding", "br"),
            ("content-language", "nb"),
            ("content-type", "text/plain"),
        ] {
            assert_eq!(answer.header(header), value, "{method} {header}");
        }
    }
}

// What signs a request is unambiguous.
#[tokio::test]
async fn a_signature_stands_in_an_address_once() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let path = format!("/box/x?{}", account_sas("r", "o", LATER));
    assert_eq!(bench.bare("GET", &path, &[]).await.status, 200);
    for more in ["&sig=x", "&SIG=x", "&sig="] {
        let answer = bench.bare("GET", &format!("{path}{more}"), &[]).await;
        assert_eq!(refused(&answer), (403, "AuthenticationFailed"), "{more}");
    }
}

// Source: the service's answers in azure-sdk-for-net issues 20196 and 41634: 202, and one answer for any number of
// requests. That a client says `restype=container` of an account is seen from @azure/storage-blob 12.33, which takes
// an account in the path for a container.
#[tokio::test]
async fn a_batch_that_cannot_be_served_is_answered_in_a_batch() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let sas = account_sas("d", "o", LATER);
    let part = |id: u32| {
        format!(
            "--b\r\nContent-Type: application/http\r\nContent-ID: {id}\r\n\r\n\
             DELETE /dev/box/x?{sas} HTTP/1.1\r\n\r\n"
        )
    };
    let good = format!("{}--b--", part(0));
    let many = format!("{}--b--", (0..257).map(part).collect::<String>());
    for path in [
        "/?comp=batch",
        "?comp=batch&restype=container",
        "/box?restype=container&comp=batch",
    ] {
        for (kind, body, code) in [
            ("multipart/mixed", good.as_str(), "InvalidHeaderValue"),
            ("multipart/mixed; boundary=", good.as_str(), "InvalidHeaderValue"),
            (
                "multipart/mixed; boundary=a; boundary=b",
                good.as_str(),
                "InvalidInput",
            ),
            ("multipart/mixed; boundary=b", "", "InvalidInput"),
            ("multipart/mixed; boundary=b", many.as_str(), "InvalidInput"),
        ] {
            let kind = [("content-type", kind)];
            let answer = bench.ask("POST", path, &kind, body.as_bytes()).await;
            assert_eq!(answer.status, 202, "{path} {kind:?}");
            let text = answer.text();
            assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
            assert!(text.contains("HTTP/1.1 400 "), "{text}");
            assert!(
                text.contains(&format!("x-ms-error-code: {code}\r\n")),
                "{path} {kind:?} {text}"
            );
            assert!(!text.contains("Content-ID"), "{text}");
        }
        let none = bench.ask("POST", path, &[], good.as_bytes()).await;
        assert_eq!(refused(&none), (400, "MissingRequiredHeader"), "{path}");
        for boundary in ["boundary=b", "Boundary= b", "boundary=\"b\""] {
            bench.put("/box/x", b"content").await;
            let kind = format!("multipart/mixed; {boundary}");
            let answer = bench
                .ask("POST", path, &[("content-type", &kind)], good.as_bytes())
                .await;
            assert!(
                answer.text().contains("HTTP/1.1 202 "),
                "{path} {boundary}: {}",
                answer.text()
            );
        }
    }
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.status, 404);
}

// Source: what the service answered in azure-storage-azcopy issue 2829 and azure-cli issue 15722: the code is
// CannotVerifyCopySource, status and message are those of reading the source.
#[tokio::test]
async fn a_source_that_cannot_be_read_says_why() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let wrong = account_sas("w", "o", LATER);
    for (source, status, code, text) in [
        (
            format!("{HOST}/box/x?{wrong}"),
            403,
            "CannotVerifyCopySource",
            "This request is not authorized to perform this operation using this permission.",
        ),
        (
            "/dev/box/x".to_owned(),
            400,
            "InvalidHeaderValue",
            "x-ms-copy-source is not an address.",
        ),
        (
            "ftp://127.0.0.1:10000/dev/box/x".to_owned(),
            400,
            "InvalidHeaderValue",
            "is not an address.",
        ),
    ] {
        let answer = bench
            .ask("PUT", "/box/y", &[("x-ms-copy-source", &source)], b"")
            .await;
        assert_eq!(refused(&answer), (status, code), "{source}");
        assert!(answer.text().contains(text), "{}", answer.text());
    }
}

// Source: "Copy Blob", x-ms-copy-source: the address of a snapshot names it by its query.
#[tokio::test]
async fn a_copy_says_which_snapshot_it_is_of_and_keeps_no_signature() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let taken = bench.ask("PUT", "/box/x?comp=snapshot", &[], b"").await;
    let snapshot = taken.header("x-ms-snapshot").replace(':', "%3A");
    let sas = account_sas("r", "o", LATER);
    for query in [
        format!("snapshot={snapshot}"),
        format!("{sas}&snapshot={snapshot}"),
        format!("snapshot={snapshot}&{sas}"),
    ] {
        let source = format!("{HOST}/box/x?{query}");
        let copied = bench
            .ask("PUT", "/box/y", &[("x-ms-copy-source", &source)], b"")
            .await;
        assert_eq!(copied.status, 202, "{}", copied.text());
        let found = bench.ask("HEAD", "/box/y", &[], b"").await;
        let kept = format!("{HOST}/box/x?snapshot={snapshot}");
        assert_eq!(found.header("x-ms-copy-source"), kept);
    }
    let source = format!("{HOST}/box/x?{sas}");
    bench
        .ask("PUT", "/box/y", &[("x-ms-copy-source", &source)], b"")
        .await;
    let found = bench.ask("HEAD", "/box/y", &[], b"").await;
    assert_eq!(found.header("x-ms-copy-source"), format!("{HOST}/box/x"));
}

// Source: "Copy Blob", "Copying archived blobs"; "Copy Blob From URL" takes a source that is online alone.
#[tokio::test]
async fn a_copy_takes_a_blob_out_of_the_archive() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let archive = ("x-ms-access-tier", "Archive");
    bench.ask("PUT", "/box/x?comp=tier", &[archive], b"").await;
    let source = ("x-ms-copy-source", format!("{HOST}/box/x"));
    let source = (source.0, source.1.as_str());
    let sync = ("x-ms-requires-sync", "true");
    let hot = ("x-ms-access-tier", "Hot");
    for refusal in [
        vec![source],
        vec![source, archive],
        vec![source, hot, sync],
        vec![source, hot, BLOCK],
    ] {
        let answer = bench.ask("PUT", "/box/y", &refusal, b"").await;
        assert_eq!(refused(&answer), (409, "BlobArchived"), "{refusal:?}");
    }
    let copied = bench.ask("PUT", "/box/y", &[source, hot], b"").await;
    assert_eq!(copied.status, 202, "{}", copied.text());
    let found = bench.ask("GET", "/box/y", &[], b"").await;
    assert_eq!(
        (found.text().as_str(), found.header("x-ms-access-tier")),
        ("content", "Hot")
    );
    assert_eq!(
        refused(&bench.ask("GET", "/box/x", &[], b"").await),
        (409, "BlobArchived")
    );
}

// Source: "Copy Blob From URL", x-ms-copy-source-tag-option: COPY and x-ms-tags exclude each other.
#[tokio::test]
async fn a_copy_has_tags_of_the_source_or_of_its_own() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let source = format!("{HOST}/box/x");
    let headers = [
        ("x-ms-copy-source", source.as_str()),
        ("x-ms-requires-sync", "true"),
        ("x-ms-copy-source-tag-option", "COPY"),
        ("x-ms-tags", "a=b"),
    ];
    let answer = bench.ask("PUT", "/box/y", &headers, b"").await;
    assert_eq!(refused(&answer), (400, "InvalidHeaderValue"));
    assert_eq!(bench.ask("PUT", "/box/y", &headers[..3], b"").await.status, 202);
}

// Source: RFC 9110, 14.2; Azurite issue 2458, in which its maintainers found that Azure passes over such a header.
#[tokio::test]
async fn what_is_no_range_is_passed_over() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    for range in ["bytes=0--1", "bytes=5-2", "items=0-1", "bytes=a-b"] {
        for header in ["range", "x-ms-range"] {
            let answer = bench.ask("GET", "/box/x", &[(header, range)], b"").await;
            assert_eq!(answer.status, 200, "{header}: {range}");
            assert_eq!(
                (answer.text().as_str(), answer.header("content-range")),
                ("content", "")
            );
        }
    }
    let behind = bench.ask("GET", "/box/x", &[("range", "bytes=7-9")], b"").await;
    assert_eq!(refused(&behind), (416, "InvalidRange"));
    assert_eq!(behind.header("content-range"), "bytes */7");
}

// Source: "Set Blob Properties": what isn't named is cleared, and x-ms-blob-content-md5 isn't validated; the tests of
// azure-sdk-for-js set four bytes there, and find no content type after a request without one.
#[tokio::test]
async fn properties_are_set_as_they_are_given() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let path = "/box/x?comp=properties";
    assert_eq!(
        bench
            .ask("PUT", path, &[("x-ms-blob-content-md5", "AQIDBA==")], b"")
            .await
            .status,
        200
    );
    for method in ["GET", "HEAD"] {
        let found = bench.ask(method, "/box/x", &[], b"").await;
        assert_eq!(found.header("content-md5"), "AQIDBA==");
        assert_eq!(found.header("content-type"), "");
    }
    let wrong = bench
        .ask("PUT", path, &[("x-ms-blob-content-md5", "no base64")], b"")
        .await;
    assert_eq!(refused(&wrong), (400, "InvalidMd5"));
    let typed = [("x-ms-blob-content-type", "text/plain")];
    assert_eq!(bench.ask("PUT", path, &typed, b"").await.status, 200);
    let found = bench.ask("HEAD", "/box/x", &[], b"").await;
    assert_eq!(
        (found.header("content-type"), found.header("content-md5")),
        ("text/plain", "")
    );
    for (name, kind, more) in [
        ("log", "AppendBlob", None),
        ("disk", "PageBlob", Some(("x-ms-blob-content-length", "512"))),
    ] {
        let path = format!("/box/{name}");
        let mut headers = vec![("x-ms-blob-type", kind), ("x-ms-blob-content-md5", "AQIDBA==")];
        headers.extend(more);
        assert_eq!(bench.ask("PUT", &path, &headers, b"").await.status, 201, "{kind}");
        let found = bench.ask("HEAD", &path, &[], b"").await;
        assert_eq!(found.header("content-md5"), "AQIDBA==", "{kind}");
    }
}

// Source: "Put Blob", x-ms-blob-content-md5: for a block blob it takes precedence over Content-MD5.
#[tokio::test]
async fn a_block_blobs_own_md5_comes_before_the_requests() {
    let bench = with_container().await;
    let digest = |content: &[u8]| STANDARD.encode(Md5::digest(content));
    let (right, wrong) = (digest(b"content"), digest(b"other"));
    let put = async |own: &str, sent: &str| {
        let headers = [BLOCK, ("x-ms-blob-content-md5", own), ("content-md5", sent)];
        bench.ask("PUT", "/box/x", &headers, b"content").await
    };
    assert_eq!(refused(&put(&wrong, &right).await), (400, "Md5Mismatch"));
    assert_eq!(refused(&put("AQIDBA==", &right).await), (400, "InvalidMd5"));
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.status, 404);
    assert_eq!(put(&right, &wrong).await.status, 201);
    assert_eq!(
        bench.ask("HEAD", "/box/x", &[], b"").await.header("content-md5"),
        right
    );
}

// Source: "Put Block", blockid: one length for all blocks of a blob, before they are encoded.
#[tokio::test]
async fn block_ids_are_as_long_as_each_other() {
    let bench = with_container().await;
    let stage = async |id: &str| {
        let path = format!("/box/x?comp=block&blockid={id}");
        bench.ask("PUT", &path, &[], b"content").await
    };
    assert_eq!(stage("MQ%3D%3D").await.status, 201);
    assert_eq!(stage("Mg%3D%3D").await.status, 201);
    // Three bytes, and as many characters as one has.
    assert_eq!(refused(&stage("MTIz").await), (400, "InvalidBlobOrBlock"));
}

// Source: "Get Block List" takes the conditions of tags that reads take.
#[tokio::test]
async fn a_block_list_is_read_on_condition_of_tags() {
    let bench = with_container().await;
    bench
        .ask("PUT", "/box/x", &[BLOCK, ("x-ms-tags", "a=b")], b"content")
        .await;
    let path = "/box/x?comp=blocklist";
    for (condition, status) in [
        ("a = 'b'", 200),
        ("a <> 'b'", 412),
        ("@container = 'box'", 400),
        ("a", 400),
    ] {
        let answer = bench.ask("GET", path, &[("x-ms-if-tags", condition)], b"").await;
        assert_eq!(answer.status, status, "{condition}");
        if status == 400 {
            assert_eq!(answer.code(), "InvalidHeaderValue");
            let text = "The value for one of the HTTP headers is not in the correct format.";
            assert!(answer.text().contains(text), "{}", answer.text());
        }
    }
}

// Source: the tests of azure-sdk-for-js note that the service takes a backslash in a blob's name for a slash, also in
// what a signature is over.
#[tokio::test]
async fn a_backslash_in_a_name_is_a_slash() {
    let bench = with_container().await;
    bench.put("/box/a%5Cb", b"content").await;
    assert_eq!(bench.ask("GET", "/box/a/b", &[], b"").await.text(), "content");
    let listed = bench
        .ask("GET", "/box?restype=container&comp=list", &[], b"")
        .await;
    assert!(listed.text().contains("<Name>a/b</Name>"), "{}", listed.text());
}

// `include` is read without regard to case; an empty one includes nothing.
#[tokio::test]
async fn what_a_listing_includes_is_named_in_any_case() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    bench.ask("PUT", "/box/x?comp=snapshot", &[], b"").await;
    for (include, number) in [("", 1), ("Snapshots", 2), ("metadata,SNAPSHOTS", 2)] {
        let path = format!("/box?restype=container&comp=list&include={include}");
        let listed = bench.ask("GET", &path, &[], b"").await;
        assert_eq!(listed.text().matches("<Blob>").count(), number, "{include}");
    }
}

// Source: "Preflight Blob Request", "Status code", and the support page of CORS: 400 without the headers it needs.
#[tokio::test]
async fn a_preflight_names_origin_and_method() {
    let bench = with_container().await;
    for headers in [
        vec![],
        vec![("origin", "https://a.example")],
        vec![("access-control-request-method", "GET")],
    ] {
        let answer = bench.bare("OPTIONS", "/box/x", &headers).await;
        assert_eq!(refused(&answer), (400, "InvalidHeaderValue"), "{headers:?}");
        assert!(answer.text().contains("A required CORS header is not present."));
    }
}
