//! Page blobs as the source of block blobs.
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
use bench::{Bench, bytes, contents, create_pages, put_pages, take_snapshot, with_container};
use md5::{Digest as _, Md5};

const SEGMENT: usize = 4 * 1024 * 1024;

async fn put_from(bench: &Bench, source: &str, more: &[(&str, &str)]) -> bench::Answer {
    let source = format!("http://127.0.0.1:10000/dev{source}");
    let mut headers = vec![
        ("x-ms-copy-source", source.as_str()),
        ("x-ms-blob-type", "BlockBlob"),
    ];
    headers.extend(more);
    bench.ask("PUT", "/box/y", &headers, b"").await
}

#[tokio::test]
async fn a_page_blob_is_put_as_a_block_blob() {
    for length in [8 * 1024, SEGMENT + 1024] {
        let bench = with_container().await;
        create_pages(&bench, "/box/x", length).await;
        put_pages(&bench, "/box/x", 1024, &bytes(4096)).await;
        put_pages(&bench, "/box/x", length - 512, &[7; 512]).await;
        let time = take_snapshot(&bench, "/box/x").await;
        let expected = bench.ask("GET", "/box/x", &[], b"").await.body;
        let md5 = STANDARD.encode(Md5::digest(&expected));
        let wrong = STANDARD.encode(Md5::digest(b"other"));
        let refused = put_from(&bench, "/box/x", &[("x-ms-source-content-md5", &wrong)]).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (400, "Md5Mismatch"));
        let put = put_from(&bench, "/box/x", &[("x-ms-source-content-md5", &md5)]).await;
        assert_eq!(
            (put.status.as_u16(), put.header("content-md5")),
            (201, md5.as_str()),
            "{}",
            put.text()
        );
        put_pages(&bench, "/box/x", 1024, &[8; 512]).await;
        let get = bench.ask("GET", "/box/y", &[], b"").await;
        assert!(get.body == expected);
        assert_eq!(get.header("x-ms-blob-type"), "BlockBlob");
        assert_eq!(get.header("content-md5"), md5);
        // From a snapshot as well, without an announced sum.
        let put = put_from(&bench, &format!("/box/x?snapshot={time}"), &[]).await;
        assert_eq!(put.status, 201, "{}", put.text());
        assert!(bench.ask("GET", "/box/y", &[], b"").await.body == expected);
        let all = [("x-ms-delete-snapshots", "include")];
        for path in ["/box/x", "/box/y"] {
            assert_eq!(bench.ask("DELETE", path, &all, b"").await.status, 202);
        }
        // What the refused one wrote in the content store is the daily sweep's.
        bench.clock.advance_seconds(2 * 24 * 3_600);
        bench.blobs.sweep_orphans(&[]).await.unwrap();
        assert_eq!(contents(&bench).await, (0, 0));
    }
}
