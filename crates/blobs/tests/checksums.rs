//! Digests of content on its way: CRC64 beside MD5, and structured messages, in both directions.
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
use bench::{bytes, with_container};
use blobs::rules::structured::{Decoder, Encoder, FORM, crc64};
use bytes::Bytes;
use md5::{Digest as _, Md5};

/// The kind and name of the blob that must be there, the address, the headers.
type Operation = (
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// Each operation that takes content.
const WRITES: [Operation; 4] = [
    ("", "", "/box/whole", &[("x-ms-blob-type", "BlockBlob")]),
    ("", "", "/box/blocks?comp=block&blockid=YQ==", &[]),
    ("AppendBlob", "/box/log", "/box/log?comp=appendblock", &[]),
    (
        "PageBlob",
        "/box/disk",
        "/box/disk?comp=page",
        &[("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-20479")],
    ),
];

/// Larger than what is kept in the ledger, and whole pages.
const LENGTH: usize = 20_480;

fn crc64_of(bytes: &[u8]) -> String {
    let mut digest = crc64();
    digest.update(bytes);
    STANDARD.encode(digest.finalize().to_le_bytes())
}

fn message(content: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(content.len() as u64);
    let mut out = vec![encoder.begin()];
    encoder.push(Bytes::copy_from_slice(content), &mut out);
    out.push(encoder.end());
    out.concat()
}

fn content_of(message: &[u8]) -> Vec<u8> {
    let (mut decoder, mut data) = (Decoder::default(), Vec::new());
    decoder.push(Bytes::copy_from_slice(message), &mut data).unwrap();
    decoder.finish().unwrap();
    data.concat()
}

/// Makes the blob that a write of [`WRITES`] needs.
async fn make(bench: &bench::Bench, kind: &str, path: &str) {
    if !kind.is_empty() {
        let headers = [("x-ms-blob-type", kind), ("x-ms-blob-content-length", "20480")];
        let headers = if kind == "PageBlob" {
            &headers[..]
        } else {
            &headers[..1]
        };
        assert_eq!(bench.ask("PUT", path, headers, b"").await.status, 201);
    }
}

/// The newest commit once nothing is left to sweep: a refusal that left a trace moves it.
async fn newest_commit(bench: &bench::Bench) -> u64 {
    bench.blobs.sweep_once().await.unwrap();
    bench.ledger.snapshot().await.unwrap().sequence()
}

#[tokio::test]
async fn content_is_checked_against_its_crc64_and_answered_with_it() {
    for (kind, made, path, headers) in WRITES {
        let bench = with_container().await;
        make(&bench, kind, made).await;
        let content = bytes(LENGTH);
        let before = newest_commit(&bench).await;
        let ask = async |digest: &[(&str, &str)]| {
            let headers = [headers, digest].concat();
            bench.ask("PUT", path, &headers, &content).await
        };
        let (right, wrong) = (crc64_of(&content), crc64_of(b"something else"));
        let md5 = STANDARD.encode(Md5::digest(&content));
        for (digest, code) in [
            (&[("x-ms-content-crc64", wrong.as_str())][..], "Crc64Mismatch"),
            (&[("x-ms-content-crc64", "AAAA")], "InvalidHeaderValue"),
            (
                &[("x-ms-content-crc64", &right), ("content-md5", &md5)],
                "BothCrc64AndMd5HeaderPresent",
            ),
        ] {
            let refused = ask(digest).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (400, code), "{path}");
        }
        assert_eq!(
            newest_commit(&bench).await,
            before,
            "{path}: something was written"
        );
        let put = ask(&[("x-ms-content-crc64", &right)]).await;
        assert_eq!(
            (put.status.as_u16(), put.header("x-ms-content-crc64")),
            (201, right.as_str()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn structured_messages_are_taken_apart_and_checked() {
    for (kind, made, path, headers) in WRITES {
        let bench = with_container().await;
        make(&bench, kind, made).await;
        let content = bytes(LENGTH);
        let whole = message(&content);
        let before = newest_commit(&bench).await;
        let ask = async |body: &[u8], length: &str| {
            let more = [
                ("x-ms-structured-body", FORM),
                ("x-ms-structured-content-length", length),
            ];
            bench.ask("PUT", path, &[headers, &more].concat(), body).await
        };
        let changed = |at: usize| {
            let mut message = whole.clone();
            message[at] ^= 1;
            message
        };
        for (body, length, code) in [
            (changed(100), "20480", "Crc64Mismatch"),
            (changed(whole.len() - 1), "20480", "Crc64Mismatch"),
            (changed(0), "20480", "InvalidInput"),
            (whole[..whole.len() - 8].to_vec(), "20480", "InvalidInput"),
            (message(&content[..512]), "20480", "InvalidHeaderValue"),
            (whole.clone(), "x", "InvalidHeaderValue"),
        ] {
            let refused = ask(&body, length).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (400, code), "{path}");
        }
        if kind != "PageBlob" {
            // Pages would be refused by their range.
            assert_eq!(ask(&whole, "20479").await.code(), "InvalidInput", "{path}");
        }
        assert_eq!(
            newest_commit(&bench).await,
            before,
            "{path}: something was written"
        );
        let put = ask(&whole, "20480").await;
        assert_eq!(
            (put.status.as_u16(), put.header("x-ms-structured-body")),
            (201, FORM),
            "{path}: {}",
            put.text()
        );
        if path.contains("comp=block&") {
            let list = b"<BlockList><Latest>YQ==</Latest></BlockList>";
            let committed = bench.ask("PUT", "/box/blocks?comp=blocklist", &[], list).await;
            assert_eq!(committed.status, 201);
        }
        let name = path.split('?').next().unwrap();
        assert!(bench.ask("GET", name, &[], b"").await.body == content, "{path}");
    }
}

#[tokio::test]
async fn what_is_read_comes_with_its_checksums_if_they_are_wanted() {
    let bench = with_container().await;
    let content = bytes(9_000_000);
    bench.put("/box/large", &content).await;
    let wanted = ("x-ms-structured-body", FORM);
    let get = bench.ask("GET", "/box/large", &[wanted], b"").await;
    assert_eq!(get.status, 200);
    assert_eq!(get.header("content-length"), get.body.len().to_string());
    assert_eq!(get.header("x-ms-structured-content-length"), "9000000");
    assert_eq!(get.header("x-ms-structured-body"), FORM);
    assert_eq!(u16::from_le_bytes([get.body[11], get.body[12]]), 3, "segments");
    assert!(content_of(&get.body) == content);
    let range = ("x-ms-range", "bytes=100-5000099");
    let get = bench.ask("GET", "/box/large", &[wanted, range], b"").await;
    assert_eq!(
        (get.status.as_u16(), get.header("content-range")),
        (206, "bytes 100-5000099/9000000")
    );
    assert!(content_of(&get.body) == content[100..5_000_100]);
    bench.put("/box/empty", b"").await;
    let get = bench.ask("GET", "/box/empty", &[wanted], b"").await;
    assert!(content_of(&get.body).is_empty());

    let crc = ("x-ms-range-get-content-crc64", "true");
    let range = ("x-ms-range", "bytes=100-199");
    let get = bench.ask("GET", "/box/large", &[range, crc], b"").await;
    assert_eq!(get.header("x-ms-content-crc64"), crc64_of(&content[100..200]));
    let long = ("x-ms-range", "bytes=0-4194304");
    let refused = bench.ask("GET", "/box/large", &[long, crc], b"").await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (400, "OutOfRangeInput")
    );
    let md5 = ("x-ms-range-get-content-md5", "true");
    let refused = bench.ask("GET", "/box/large", &[range, crc, md5], b"").await;
    assert_eq!(refused.code(), "BothCrc64AndMd5HeaderPresent");
    let other = ("x-ms-structured-body", "XSM/2.0");
    let refused = bench.ask("GET", "/box/large", &[other], b"").await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (400, "InvalidHeaderValue")
    );
}

#[tokio::test]
async fn lists_and_copies_are_checked_too() {
    let bench = with_container().await;
    let content = bytes(LENGTH);
    bench.put("/box/from", &content).await;
    let source = "http://127.0.0.1:10000/dev/box/from";
    for (crc, wanted) in [(crc64_of(b"other"), 400), (crc64_of(&content), 201)] {
        let headers = [
            ("x-ms-blob-type", "BlockBlob"),
            ("x-ms-copy-source", source),
            ("x-ms-source-content-crc64", &crc),
        ];
        let put = bench.ask("PUT", "/box/to", &headers, b"").await;
        assert_eq!(put.status.as_u16(), wanted, "{}", put.text());
    }
    bench
        .ask("PUT", "/box/blocks?comp=block&blockid=YQ==", &[], &content)
        .await;
    let list = b"<BlockList><Latest>YQ==</Latest></BlockList>";
    for (crc, wanted) in [(crc64_of(b"other"), 400), (crc64_of(list), 201)] {
        let headers = [("x-ms-content-crc64", crc.as_str())];
        let put = bench
            .ask("PUT", "/box/blocks?comp=blocklist", &headers, list)
            .await;
        assert_eq!(put.status.as_u16(), wanted, "{}", put.text());
    }
    let structured = [
        ("x-ms-structured-body", FORM),
        ("x-ms-structured-content-length", "44"),
    ];
    let put = bench
        .ask("PUT", "/box/blocks?comp=blocklist", &structured, list)
        .await;
    assert_eq!(put.code(), "NotImplemented");
}
