//! A stored copy that is damaged: a push of the same bytes mends it, and nobody is told meanwhile that it is there who
//! would leave it away.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bench::{Bench, bytes, open_settings, request, sha256};
use bytes::Bytes;
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};
use http_semantics::{Body, Service};
use ledger::memory::MemoryLedger;
use parking_lot::Mutex;
use registry::rules::cache::CacheNames;
use registry::rules::digest::Digest;
use registry::{CacheRule, Upstream, UpstreamBlob, UpstreamError, UpstreamManifest};

/// Bytes of a content that come before its damage.
const SOUND_BYTES: usize = 65_536;

/// A content store whose contents go bad on demand, behind their first frame.
struct Worn {
    store: Arc<dyn ContentStore>,
    damaged: Mutex<HashSet<ContentId>>,
    readers: AtomicUsize,
}

struct WornReader {
    reader: Box<dyn ContentReader>,
    left: Option<(ContentId, usize)>,
}

#[async_trait]
impl ContentReader for WornReader {
    fn length_bytes(&self) -> u64 {
        self.reader.length_bytes()
    }
    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        let piece = self.reader.next().await?;
        if let (Some((id, left)), Some(piece)) = (&mut self.left, &piece) {
            if *left < piece.len() {
                return Err(ContentError::Corrupt {
                    id: *id,
                    cause: "a test".to_owned(),
                });
            }
            *left -= piece.len();
        }
        Ok(piece)
    }
}

#[async_trait]
impl ContentStore for Worn {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        self.store.writer().await
    }
    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        self.readers.fetch_add(1, Ordering::SeqCst);
        let is_damaged = self.damaged.lock().contains(&id);
        Ok(Box::new(WornReader {
            reader: self.store.reader(id, range).await?,
            left: is_damaged.then_some((id, SOUND_BYTES)),
        }))
    }
    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.store.info(id).await
    }
    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.store.delete(id).await
    }
    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        self.store.list(after, entries_max).await
    }
    async fn stats(&self) -> Result<ContentStats, ContentError> {
        self.store.stats().await
    }
}

impl Worn {
    /// Everything that is stored now goes bad.
    async fn wear(&self) {
        let all = self.store.list(None, 1_000).await.unwrap();
        self.damaged.lock().extend(all.iter().map(|info| info.id));
    }
}

fn worn_bench() -> (Bench, Arc<Worn>) {
    let clock = bench::clock();
    let worn = Arc::new(Worn {
        store: bench::memory_content(&clock),
        damaged: Mutex::default(),
        readers: AtomicUsize::new(0),
    });
    let ledger = Arc::new(MemoryLedger::new(clock.clone()));
    (bench::over(ledger, worn.clone(), clock, open_settings(), 7), worn)
}

/// Reads a blob: its bytes, or nothing where it can't be read to its end.
async fn read(bench: &Bench, repository: &str, content: &[u8]) -> Option<Bytes> {
    let path = format!("/v2/{repository}/blobs/{}", sha256(content));
    let answer = bench.front.call(request("GET", &path, &[], Body::empty())).await;
    answer.into_body().read_bounded(64 << 20).await.ok()
}

async fn head(bench: &Bench, content: &[u8]) -> u16 {
    let path = format!("/v2/a/blobs/{}", sha256(content));
    bench.ask("HEAD", &path, &[], b"").await.status
}

/// Three frames: the first is sound.
fn content() -> Vec<u8> {
    bytes(3 * SOUND_BYTES)
}

#[tokio::test]
async fn a_push_mends_what_is_stored_whether_or_not_somebody_saw_the_damage() {
    for seen in [false, true] {
        let (bench, worn) = worn_bench();
        let content = content();
        bench.blob("a", &content).await;
        worn.wear().await;
        if seen {
            assert_eq!(read(&bench, "a", &content).await, None);
        }
        bench.blob("a", &content).await;
        assert_eq!(
            read(&bench, "a", &content).await.unwrap(),
            content,
            "seen: {seen}"
        );
        // In whichever repository it is.
        let digest = sha256(&content);
        let mount = format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
        assert_eq!(bench.ask("POST", &mount, &[], b"").await.status, 201);
        assert_eq!(read(&bench, "b", &content).await.unwrap(), content);
        // What was bad goes, and nothing else.
        bench.clock.advance_seconds(2 * 3_600 + 1);
        bench.collect().await;
        assert_eq!(bench.verify().await, 1);
        assert_eq!(read(&bench, "a", &content).await.unwrap(), content);
    }
}

#[tokio::test]
async fn what_was_seen_to_be_damaged_is_asked_for_again() {
    let (bench, worn) = worn_bench();
    let content = content();
    bench.blob("a", &content).await;
    worn.wear().await;
    assert_eq!(head(&bench, &content).await, 200);
    assert_eq!(read(&bench, "a", &content).await, None);
    assert_eq!(head(&bench, &content).await, 404);
    let mount = format!("/v2/b/blobs/uploads/?mount={}&from=a", sha256(&content));
    assert_eq!(bench.ask("POST", &mount, &[], b"").await.status, 202);
    bench.blob("a", &content).await;
    assert_eq!(head(&bench, &content).await, 200);
    assert_eq!(bench.ask("POST", &mount, &[], b"").await.status, 201);
}

#[tokio::test]
async fn a_sound_copy_stays_and_the_second_goes() {
    let (bench, worn) = worn_bench();
    let content = content();
    bench.blob("a", &content).await;
    let first = worn.store.list(None, 10).await.unwrap();
    bench.blob("b", &content).await;
    bench.collect().await;
    assert_eq!(worn.store.list(None, 10).await.unwrap(), first);
}

#[tokio::test]
async fn what_only_another_registry_has_isn_t_looked_at_by_a_push() {
    let (bench, worn) = worn_bench();
    let content = content();
    bench.blob("a", &content).await;
    worn.wear().await;
    let before = worn.readers.load(Ordering::SeqCst);
    let path = format!("/v2/x/blobs/uploads/?digest={}", sha256(&content));
    let other = [("host", "other.cr.test")];
    assert_eq!(bench.ask("POST", &path, &other, &content).await.status, 201);
    assert_eq!(
        worn.readers.load(Ordering::SeqCst),
        before,
        "its time tells nothing"
    );
    // And it is mended for the one that had it.
    assert_eq!(read(&bench, "a", &content).await.unwrap(), content);
    bench.clock.advance_seconds(2 * 3_600 + 1);
    bench.collect().await;
    assert_eq!(bench.verify().await, 1);
}

/// A registry that has one blob.
#[derive(Debug)]
struct OneBlob(Vec<u8>);

#[async_trait]
impl Upstream for OneBlob {
    async fn digest_of(&self, _: &str, _: &str) -> Result<Option<Digest>, UpstreamError> {
        Ok(None)
    }
    async fn manifest(&self, _: &str, _: &Digest) -> Result<Option<UpstreamManifest>, UpstreamError> {
        Ok(None)
    }
    async fn blob(&self, _: &str, digest: &Digest) -> Result<Option<UpstreamBlob>, UpstreamError> {
        Ok((*digest == sha256(&self.0)).then(|| UpstreamBlob {
            body: Body::full(self.0.clone()),
            length: Some(self.0.len() as u64),
        }))
    }
}

#[tokio::test]
async fn a_cache_fetches_again_what_was_seen_to_be_damaged() {
    let (bench, worn) = worn_bench();
    let content = content();
    let mut settings = open_settings();
    settings.registries[0].cache = vec![CacheRule {
        names: CacheNames::parse("hub/*", "library/*").unwrap(),
        upstream: Arc::new(OneBlob(content.clone())),
    }];
    let bench = bench::over(
        bench.ledger.clone(),
        worn.clone(),
        bench.clock.clone(),
        settings,
        8,
    );
    assert_eq!(read(&bench, "hub/a", &content).await.unwrap(), content);
    worn.wear().await;
    assert_eq!(read(&bench, "hub/a", &content).await, None);
    assert_eq!(read(&bench, "hub/a", &content).await.unwrap(), content);
    bench.clock.advance_seconds(2 * 3_600 + 1);
    bench.collect().await;
    assert_eq!(bench.verify().await, 1);
}
