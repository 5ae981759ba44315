//! The protocol through the service's own front, with signed requests.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{ACCOUNT, KEY, account_sas, bytes, container_sas, next_marker, with_container};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_semantics::{Body, BodyError};
use md5::{Digest as _, Md5};

#[tokio::test]
async fn small_and_large_blobs_come_back_whole_and_in_ranges() {
    let bench = with_container().await;
    for length in [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000] {
        let content = bytes(length);
        let put = bench.put("/box/a%20b/%C3%A6.bin", &content).await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
        let get = bench.ask("GET", "/box/a%20b/%C3%A6.bin", &[], b"").await;
        assert_eq!((get.status, &get.body[..]), (StatusCode::OK, &content[..]));
        assert_eq!(get.header("content-md5"), STANDARD.encode(Md5::digest(&content)));
        assert_eq!(get.header("etag"), put.header("etag"));
        let ranged = bench
            .ask(
                "GET",
                "/box/a%20b/%C3%A6.bin",
                &[("x-ms-range", "bytes=10-19")],
                b"",
            )
            .await;
        if length > 10 {
            assert_eq!(
                (ranged.status, &ranged.body[..]),
                (StatusCode::PARTIAL_CONTENT, &content[10..20])
            );
            assert_eq!(ranged.header("content-range"), format!("bytes 10-19/{length}"));
        } else {
            assert_eq!((ranged.status.as_u16(), ranged.code()), (416, "InvalidRange"));
            assert_eq!(ranged.header("content-range"), format!("bytes */{length}"));
        }
    }
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut report = ledger::VerifyReport::default();
    bench.blobs.verify(snapshot.as_ref(), &mut report).await.unwrap();
    assert_eq!((report.records, report.faults), (1, vec![]));
    // Overwritten contents go; the current one stays.
    bench.blobs.sweep_once().await.unwrap();
    assert_eq!(bench.content.stats().await.unwrap().contents, 1);
}

#[tokio::test]
async fn conditions_hold() {
    let bench = with_container().await;
    let etag = bench.put("/box/x", b"one").await.header("etag").to_owned();
    let twice = bench
        .ask(
            "PUT",
            "/box/x",
            &[("x-ms-blob-type", "BlockBlob"), ("if-none-match", "*")],
            b"two",
        )
        .await;
    assert_eq!((twice.status.as_u16(), twice.code()), (409, "BlobAlreadyExists"));
    let wrong = bench
        .ask(
            "PUT",
            "/box/x",
            &[("x-ms-blob-type", "BlockBlob"), ("if-match", "\"0x1\"")],
            b"two",
        )
        .await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (412, "ConditionNotMet"));
    let same = bench.ask("GET", "/box/x", &[("if-none-match", &etag)], b"").await;
    assert_eq!(same.status, StatusCode::NOT_MODIFIED);
    assert_eq!(same.code(), "ConditionNotMet");
    let right = bench.ask("DELETE", "/box/x", &[("if-match", &etag)], b"").await;
    assert_eq!(right.status, StatusCode::ACCEPTED);
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.code(), "BlobNotFound");
}

#[tokio::test]
async fn bad_input_has_its_own_code_and_changes_nothing() {
    let bench = with_container().await;
    bench.put("/box/x", b"sound").await;
    let bad_md5 = STANDARD.encode([0; 16]);
    let headers = [("x-ms-blob-type", "BlockBlob"), ("content-md5", bad_md5.as_str())];
    assert_eq!(
        bench.ask("PUT", "/box/x", &headers, b"other").await.code(),
        "Md5Mismatch"
    );
    let short = bench.signed("PUT", "/dev/box/x", &[("x-ms-blob-type", "BlockBlob")], 100, KEY);
    let cut = Body::stream(futures::stream::iter([
        Ok(Bytes::from_static(b"half")),
        Err(BodyError::Truncated("connection closed".to_owned())),
    ]));
    let short = bench.send(short.body(cut).unwrap()).await;
    assert_eq!((short.status.as_u16(), short.code()), (400, "InvalidInput"));
    let forged = bench.signed(
        "PUT",
        "/dev/box/x",
        &[("x-ms-blob-type", "BlockBlob")],
        3,
        "b3RoZXI=",
    );
    let forged = bench.send(forged.body(Body::full("new")).unwrap()).await;
    assert_eq!(
        (forged.status.as_u16(), forged.code()),
        (403, "AuthenticationFailed")
    );
    assert!(forged.text().contains("<AuthenticationErrorDetail>"));
    let bare = Request::get("/dev/box/x")
        .header("host", "h")
        .body(Body::empty())
        .unwrap();
    assert_eq!(bench.send(bare).await.code(), "ResourceNotFound");
    assert_eq!(
        bench
            .ask("PUT", "/box/x", &[("x-ms-blob-type", "PageBlob")], b"")
            .await
            .code(),
        "MissingRequiredHeader"
    );
    assert_eq!(
        bench
            .ask("PUT", "/none/x", &[("x-ms-blob-type", "BlockBlob")], b"")
            .await
            .code(),
        "ContainerNotFound"
    );
    let list = bench
        .ask("PUT", "/box/x?comp=blocklist", &[], b"<BlockList><Latest>")
        .await;
    assert_eq!(list.code(), "InvalidXmlDocument");
    let list = bench
        .ask(
            "PUT",
            "/box/x?comp=blocklist",
            &[],
            b"<BlockList><Latest>YQ==</Latest></BlockList>",
        )
        .await;
    assert_eq!(list.code(), "InvalidBlockList");
    let dots = bench.put("/box/../../etc/passwd", b"just a name").await;
    assert_eq!(dots.status, StatusCode::CREATED, "{}", dots.text());
    assert_eq!(
        bench.ask("GET", "/box/../../etc/passwd", &[], b"").await.body,
        "just a name"
    );
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.body, "sound");
}

#[tokio::test]
async fn blocks_are_staged_and_committed() {
    let bench = with_container().await;
    for (id, part) in [("MQ==", "first "), ("Mg==", "second "), ("Mw==", "dropped")] {
        let put = bench
            .ask(
                "PUT",
                &format!("/box/x?comp=block&blockid={}", id.replace('=', "%3D")),
                &[],
                part.as_bytes(),
            )
            .await;
        assert_eq!(put.status, StatusCode::CREATED, "{}", put.text());
    }
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.code(), "BlobNotFound");
    let staged = bench
        .ask("GET", "/box/x?comp=blocklist&blocklisttype=all", &[], b"")
        .await
        .text();
    assert!(
        staged.contains("<UncommittedBlocks><Block><Name>MQ==</Name><Size>6</Size></Block>"),
        "{staged}"
    );
    let list =
        b"<?xml version=\"1.0\"?><BlockList><Latest>Mg==</Latest><Uncommitted>MQ==</Uncommitted></BlockList>";
    let headers = [
        ("x-ms-blob-content-type", "text/plain"),
        ("x-ms-meta-kind", "letter"),
    ];
    assert_eq!(
        bench
            .ask("PUT", "/box/x?comp=blocklist", &headers, list)
            .await
            .status,
        StatusCode::CREATED
    );
    let get = bench.ask("GET", "/box/x", &[], b"").await;
    assert_eq!(get.text(), "second first ");
    assert_eq!(
        (get.header("content-type"), get.header("x-ms-meta-kind")),
        ("text/plain", "letter")
    );
    bench.blobs.sweep_once().await.unwrap();
    assert_eq!(
        bench.content.stats().await.unwrap().contents,
        2,
        "the dropped block's content goes"
    );
    let ranged = bench.ask("GET", "/box/x", &[("range", "bytes=5-8")], b"").await;
    assert_eq!(ranged.text(), "d fi");
}

#[tokio::test]
async fn listings_are_flat_or_by_delimiter_and_paged() {
    let bench = with_container().await;
    for name in ["a", "a/1", "a/2", "b/x/1", "b/y", "c"] {
        bench.put(&format!("/box/{name}"), b"1").await;
    }
    let names = |text: &str| -> Vec<String> {
        text.split("<Name>")
            .skip(1)
            .map(|rest| rest.split('<').next().unwrap().to_owned())
            .collect()
    };
    let flat = bench
        .ask("GET", "/box?restype=container&comp=list", &[], b"")
        .await
        .text();
    assert_eq!(names(&flat), ["a", "a/1", "a/2", "b/x/1", "b/y", "c"]);
    let mut marker = String::new();
    let mut seen = Vec::new();
    loop {
        let query = format!("/box?restype=container&comp=list&delimiter=%2F&maxresults=1&marker={marker}");
        let page = bench.ask("GET", &query, &[], b"").await.text();
        seen.extend(names(&page));
        marker = next_marker(&page);
        if marker.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["a", "a/", "b/", "c"]);
    let under = bench
        .ask(
            "GET",
            "/box?restype=container&comp=list&prefix=b%2F&delimiter=%2F",
            &[],
            b"",
        )
        .await
        .text();
    assert_eq!(names(&under), ["b/x/", "b/y"]);
    let zero = bench
        .ask("GET", "/box?restype=container&comp=list&maxresults=0", &[], b"")
        .await;
    assert_eq!(zero.code(), "OutOfRangeQueryParameterValue");
}

#[tokio::test]
async fn copies_share_content_and_outlive_their_source() {
    let bench = with_container().await;
    for length in [100, 100_000] {
        let content = bytes(length);
        bench.put("/box/from", &content).await;
        let copy = bench
            .ask(
                "PUT",
                "/box/to",
                &[("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/from")],
                b"",
            )
            .await;
        assert_eq!(
            (copy.status, copy.header("x-ms-copy-status")),
            (StatusCode::ACCEPTED, "success"),
            "{}",
            copy.text()
        );
        bench.ask("DELETE", "/box/from", &[], b"").await;
        bench.blobs.sweep_once().await.unwrap();
        assert_eq!(bench.ask("GET", "/box/to", &[], b"").await.body, content);
    }
}

#[tokio::test]
async fn a_copy_and_a_blob_put_from_an_address_leave_the_same_behind() {
    let bench = with_container().await;
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-tags", "state=ready")];
    bench.ask("PUT", "/box/from", &headers, b"content").await;
    let source = [
        ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/from"),
        ("x-ms-copy-source-tag-option", "COPY"),
    ];
    let kind = [("x-ms-blob-type", "BlockBlob")];
    for (name, headers) in [("copy", source.to_vec()), ("put", [&source[..], &kind].concat())] {
        let path = format!("/box/{name}");
        let block = bench
            .ask("PUT", &format!("{path}?comp=block&blockid=MDAx"), &[], b"staged")
            .await;
        assert_eq!(block.status, 201);
        let made = bench.ask("PUT", &path, &headers, b"").await;
        assert!(made.status.is_success(), "{name}: {}", made.text());
        let list = bench
            .ask(
                "GET",
                &format!("{path}?comp=blocklist&blocklisttype=all"),
                &[],
                b"",
            )
            .await;
        assert!(!list.text().contains("<Block>"), "{name}: {}", list.text());
        let tags = bench.ask("GET", &format!("{path}?comp=tags"), &[], b"").await;
        assert!(
            tags.text().contains("<Value>ready</Value>"),
            "{name}: {}",
            tags.text()
        );
    }
}

#[tokio::test]
async fn sources_are_this_service_and_no_other_on_this_machine() {
    let bench = with_container().await;
    bench.put("/box/from", b"content").await;
    let unverified = (404, "CannotVerifyCopySource");
    for (source, expected) in [
        ("http://127.0.0.1:10000/dev/box/from", (202, "")),
        ("http://localhost:10000/dev/box/from", (202, "")),
        ("http://[::1]:10000/dev/box/from", (202, "")),
        ("http://localhost:10001/dev/box/from", unverified),
        ("http://127.0.0.1:10001/dev/box/from", unverified),
        ("http://127.0.0.1/dev/box/from", unverified),
        ("http://[::1]:9/dev/box/from", unverified),
        ("http://other.example:10000/dev/box/from", unverified),
    ] {
        let headers = [("x-ms-copy-source", source)];
        let answer = bench.ask("PUT", "/box/to", &headers, b"").await;
        assert_eq!((answer.status.as_u16(), answer.code()), expected, "{source}");
    }
}

#[tokio::test]
async fn leases_and_lists_of_blocks_heed_conditions_on_tags() {
    let bench = with_container().await;
    let headers = [("x-ms-blob-type", "BlockBlob"), ("x-ms-tags", "state=ready")];
    bench.ask("PUT", "/box/x", &headers, b"content").await;
    for (value, lease, list) in [("done", 412, 412), ("ready", 201, 200)] {
        let condition = format!("\"state\" = '{value}'");
        let headers = [
            ("x-ms-lease-action", "acquire"),
            ("x-ms-lease-duration", "-1"),
            ("x-ms-if-tags", condition.as_str()),
        ];
        let answer = bench.ask("PUT", "/box/x?comp=lease", &headers, b"").await;
        assert_eq!(answer.status, lease, "{condition}");
        let headers = [("x-ms-if-tags", condition.as_str())];
        let answer = bench.ask("GET", "/box/x?comp=blocklist", &headers, b"").await;
        assert_eq!(answer.status, list, "{condition}");
    }
}

#[tokio::test]
async fn a_deleted_container_is_empty_when_made_anew_and_its_content_goes() {
    let bench = with_container().await;
    bench.put("/box/x", &bytes(50_000)).await;
    assert_eq!(
        bench
            .ask("DELETE", "/box?restype=container", &[], b"")
            .await
            .status,
        StatusCode::ACCEPTED
    );
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    assert_eq!(bench.ask("GET", "/box/x", &[], b"").await.code(), "BlobNotFound");
    for _ in 0..3 {
        bench.blobs.sweep_once().await.unwrap();
    }
    assert_eq!(bench.content.stats().await.unwrap().contents, 0);
}

#[tokio::test]
async fn signatures_grant_what_they_say() {
    let bench = with_container().await;
    bench.put("/box/x", b"content").await;
    let (later, before) = ("2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z");
    let table = [
        ("GET", "/box/x", account_sas("r", "o", later), 200, ""),
        (
            "GET",
            "/box/x",
            account_sas("r", "c", later),
            403,
            "AuthorizationResourceTypeMismatch",
        ),
        (
            "GET",
            "/box/x",
            account_sas("w", "o", later),
            403,
            "AuthorizationPermissionMismatch",
        ),
        (
            "GET",
            "/box/x",
            account_sas("r", "o", before),
            403,
            "AuthenticationFailed",
        ),
        (
            "GET",
            "/box/x",
            account_sas("r", "o", later).replace("sp=r", "sp=rw"),
            403,
            "AuthenticationFailed",
        ),
        ("GET", "/box/x", container_sas("rl", later), 200, ""),
        (
            "GET",
            "/box?restype=container&comp=list",
            container_sas("rl", later),
            200,
            "",
        ),
        (
            "GET",
            "/box?restype=container&comp=list",
            container_sas("r", later),
            403,
            "AuthorizationPermissionMismatch",
        ),
        (
            "DELETE",
            "/box?restype=container",
            container_sas("rd", later),
            403,
            "AuthorizationPermissionMismatch",
        ),
        ("GET", "/?comp=list", account_sas("l", "s", later), 200, ""),
    ];
    for (method, path, sas, status, code) in table {
        let joint = if path.contains('?') { '&' } else { '?' };
        let uri = format!("/{ACCOUNT}{path}{joint}{sas}");
        let request = Request::builder()
            .method(method)
            .uri(&uri)
            .header("host", "h")
            .body(Body::empty())
            .unwrap();
        let answer = bench.send(request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code),
            "{method} {uri}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn parallel_puts_leave_one_of_them_whole() {
    let bench = Arc::new(with_container().await);
    let tasks: Vec<_> = (0..16_u8)
        .map(|writer| {
            let bench = bench.clone();
            tokio::spawn(async move { bench.put("/box/x", &[writer; 20_000]).await.status })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), StatusCode::CREATED);
    }
    let body = bench.ask("GET", "/box/x", &[], b"").await.body;
    assert!(body.len() == 20_000 && body.iter().all(|byte| *byte == body[0]));
    bench.blobs.sweep_once().await.unwrap();
    assert_eq!(bench.content.stats().await.unwrap().contents, 1);
}
