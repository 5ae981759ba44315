//! Copies that others overtake while the source's content is checked: it is read once, unless the
//! source itself was changed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{Answer, Bench, bytes, over, with_container};
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};
use md5::{Digest as _, Md5};

/// Writes a blob whenever content is read: all of it, or some pages.
struct Meddling {
    others: Bench,
    path: &'static str,
    pages_at: Option<usize>,
    /// After so many writes it rests.
    writes_max: usize,
    reads: AtomicUsize,
}

#[async_trait]
impl ContentStore for Meddling {
    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        let reader = self.others.content.reader(id, range).await?;
        if self.reads.fetch_add(1, Ordering::Relaxed) < self.writes_max {
            match self.pages_at {
                Some(at) => bench::put_pages(&self.others, self.path, at, &[9; 512]).await,
                None => assert_eq!(self.others.put(self.path, &bytes(50_000)).await.status, 201),
            }
        }
        Ok(reader)
    }

    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        self.others.content.writer().await
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.others.content.info(id).await
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.others.content.delete(id).await
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        self.others.content.list(after, entries_max).await
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        self.others.content.stats().await
    }
}

/// Copies while `path` is written; answers how often content was read, too.
async fn copy(kind: Option<&str>, path: &'static str, writes_max: usize) -> (Answer, usize) {
    let others = with_container().await;
    let content = bytes(100_000);
    others.put("/box/from", &content).await;
    let (ledger, clock) = (others.ledger.clone(), others.clock.clone());
    let meddling = Arc::new(Meddling {
        others,
        path,
        pages_at: None,
        writes_max,
        reads: AtomicUsize::new(0),
    });
    let bench = over(ledger, meddling.clone(), clock);
    let md5 = STANDARD.encode(Md5::digest(&content));
    let mut headers = vec![
        ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/from"),
        ("x-ms-source-content-md5", md5.as_str()),
    ];
    headers.extend(kind.map(|kind| ("x-ms-blob-type", kind)));
    let answer = bench.ask("PUT", "/box/to", &headers, b"").await;
    let reads = meddling.reads.load(Ordering::Relaxed);
    if answer.code().is_empty() {
        assert_eq!(bench.ask("GET", "/box/to", &[], b"").await.body, content);
    }
    (answer, reads)
}

#[tokio::test]
async fn the_source_is_read_once() {
    for kind in [None, Some("BlockBlob")] {
        let (answer, reads) = copy(kind, "/box/to", usize::MAX).await;
        assert!(answer.status.is_success(), "{}", answer.text());
        assert_eq!(reads, 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_source_that_was_changed_is_checked_anew() {
    for kind in [None, Some("BlockBlob")] {
        let (answer, reads) = copy(kind, "/box/from", 1).await;
        assert_eq!((answer.code(), reads), ("Md5Mismatch", 2), "{kind:?}");
    }
}

#[tokio::test]
async fn pages_that_are_written_while_they_are_read_are_read_again() {
    let others = with_container().await;
    let (segment, page) = (4 * 1024 * 1024, 512);
    // More segments than a body reads ahead.
    let count = 20;
    bench::create_pages(&others, "/box/from", count * segment).await;
    for number in 0..count {
        bench::put_pages(&others, "/box/from", number * segment, &bytes(64 * page)).await;
    }
    let (ledger, clock) = (others.ledger.clone(), others.clock.clone());
    let meddling = Arc::new(Meddling {
        others,
        path: "/box/from",
        pages_at: Some((count - 1) * segment),
        writes_max: 1,
        reads: AtomicUsize::new(0),
    });
    let bench = over(ledger, meddling.clone(), clock);
    let headers = [
        ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/from"),
        ("x-ms-blob-type", "BlockBlob"),
    ];
    let put = bench.ask("PUT", "/box/to", &headers, b"").await;
    assert_eq!(put.status, 201, "{}", put.text());
    for number in [0, count - 1] {
        let range = format!("bytes={}-{}", number * segment, number * segment + page - 1);
        let read = [("x-ms-range", range.as_str())];
        let [from, to] = ["/box/from", "/box/to"].map(|path| bench.ask("GET", path, &read, b""));
        let (from, to) = (from.await.body, to.await.body);
        assert_eq!(from, to, "segment {number}");
        assert_eq!(to[0] == 9, number != 0);
    }
    // A part of them isn't read again: the client may ask once more.
    meddling.reads.store(0, Ordering::Relaxed);
    let block = bench
        .ask("PUT", "/box/other?comp=block&blockid=MDAx", &headers[..1], b"")
        .await;
    assert_eq!((block.status.as_u16(), block.code()), (503, "ServerBusy"));
}
