//! Repositories that are fetched from another registry: another Stabbur, in process.
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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bench::{Bench, bench_with, bytes, index_of, open_settings, sha256};
use http_semantics::Body;
use registry::rules::cache::CacheNames;
use registry::rules::digest::Digest;
use registry::{CacheRule, Upstream, UpstreamBlob, UpstreamError, UpstreamManifest};
use serde_json::json;

/// The other registry, as a client sees it; and what goes wrong on the way.
struct Other {
    bench: Bench,
    away: AtomicBool,
    damages: AtomicBool,
    blobs: AtomicUsize,
}

impl std::fmt::Debug for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Other")
    }
}

impl Other {
    fn check(&self) -> Result<(), UpstreamError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(UpstreamError("away".to_owned())),
            false => Ok(()),
        }
    }

    fn damaged(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        if self.damages.load(Ordering::SeqCst) {
            bytes[0] ^= 1;
        }
        bytes
    }
}

#[async_trait]
impl Upstream for Other {
    async fn digest_of(&self, repository: &str, tag: &str) -> Result<Option<Digest>, UpstreamError> {
        self.check()?;
        let path = format!("/v2/{repository}/manifests/{tag}");
        let answer = self.bench.ask("HEAD", &path, &[], b"").await;
        Ok(Digest::parse(answer.header("docker-content-digest")))
    }

    async fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<UpstreamManifest>, UpstreamError> {
        self.check()?;
        let answer = self
            .bench
            .get(&format!("/v2/{repository}/manifests/{digest}"))
            .await;
        Ok((answer.status == 200).then(|| UpstreamManifest {
            media_type: answer.header("content-type").to_owned(),
            bytes: self.damaged(&answer.body).into(),
        }))
    }

    async fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<UpstreamBlob>, UpstreamError> {
        self.check()?;
        self.blobs.fetch_add(1, Ordering::SeqCst);
        let answer = self.bench.get(&format!("/v2/{repository}/blobs/{digest}")).await;
        Ok((answer.status == 200).then(|| UpstreamBlob {
            body: Body::full(self.damaged(&answer.body)),
            length: Some(answer.body.len() as u64),
        }))
    }
}

fn caching() -> (Bench, Arc<Other>) {
    let other = Arc::new(Other {
        bench: bench_with(open_settings()),
        away: AtomicBool::new(false),
        damages: AtomicBool::new(false),
        blobs: AtomicUsize::new(0),
    });
    let mut settings = open_settings();
    settings.registries[0].cache = vec![CacheRule {
        names: CacheNames::parse("hub/*", "library/*").unwrap(),
        upstream: other.clone(),
    }];
    (bench_with(settings), other)
}

/// Waits until what goes on in the background has stored a tag.
async fn stored(bench: &Bench, repository: &str, tag: &str) {
    for _ in 0..1_000 {
        let list = bench.get(&format!("/v2/{repository}/tags/list")).await.json();
        if list["tags"]
            .as_array()
            .is_some_and(|tags| tags.contains(&json!(tag)))
        {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{repository}:{tag} isn't stored");
}

#[tokio::test]
async fn what_is_pulled_is_fetched_once_and_stays() {
    let (bench, other) = caching();
    let layer = bytes(50_000);
    let digest = other.bench.image("library/alpine", "3", &layer).await;
    let pulled = bench.get("/v2/hub/alpine/manifests/3").await;
    assert_eq!(
        (pulled.status, pulled.header("docker-content-digest")),
        (200, digest.as_str())
    );
    let blob = bench
        .get(&format!("/v2/hub/alpine/blobs/{}", sha256(&layer)))
        .await;
    assert_eq!((blob.status, &blob.body[..]), (200, &layer[..]));
    stored(&bench, "hub/alpine", "3").await;
    assert_eq!(other.blobs.load(Ordering::SeqCst), 2, "each blob once");
    // From now on its source may be away.
    other.away.store(true, Ordering::SeqCst);
    assert_eq!(bench.get("/v2/hub/alpine/manifests/3").await.body, pulled.body);
    let path = format!("/v2/hub/alpine/manifests/{digest}");
    assert_eq!(bench.get(&path).await.status, 200);
    assert_eq!(bench.get("/v2/hub/alpine/manifests/4").await.status, 503);
    bench.verify().await;
    // And it isn't collected.
    for _ in 0..4 {
        bench.clock.advance_seconds(25 * 3_600);
        bench.collect().await;
    }
    let blob = bench
        .get(&format!("/v2/hub/alpine/blobs/{}", sha256(&layer)))
        .await;
    assert_eq!(blob.status, 200);
}

#[tokio::test]
async fn a_tag_that_moves_at_its_source_moves_here() {
    let (bench, other) = caching();
    other.bench.image("library/alpine", "3", b"one").await;
    bench.get("/v2/hub/alpine/manifests/3").await;
    stored(&bench, "hub/alpine", "3").await;
    let second = other.bench.image("library/alpine", "3", b"two").await;
    let head = bench.ask("HEAD", "/v2/hub/alpine/manifests/3", &[], b"").await;
    assert_eq!(head.header("docker-content-digest"), second.as_str());
    let pulled = bench.get("/v2/hub/alpine/manifests/3").await;
    assert_eq!(pulled.header("docker-content-digest"), second.as_str());
    // A tag that goes there stays here.
    assert_eq!(
        other.bench.delete("/v2/library/alpine/manifests/3").await.status,
        202
    );
    assert_eq!(bench.get("/v2/hub/alpine/manifests/3").await.status, 200);
    assert_eq!(bench.get("/v2/hub/alpine/manifests/nosuch").await.status, 404);
    assert_eq!(bench.get("/v2/hub/nosuch/manifests/3").await.status, 404);
    let unknown = sha256(b"nosuch");
    assert_eq!(
        bench.get(&format!("/v2/hub/alpine/blobs/{unknown}")).await.status,
        404
    );
    // Other repositories are nobody's business.
    assert_eq!(bench.get("/v2/library/alpine/manifests/3").await.status, 404);
}

#[tokio::test]
async fn an_index_is_stored_without_what_nobody_pulled() {
    let (bench, other) = caching();
    let amd64 = other.bench.image("library/alpine", "amd64", b"amd64").await;
    let arm64 = other.bench.image("library/alpine", "arm64", b"arm64").await;
    let index = index_of(&[&amd64, &arm64]);
    assert_eq!(
        other.bench.manifest("library/alpine", "3", &index).await.status,
        201
    );
    assert_eq!(bench.get("/v2/hub/alpine/manifests/3").await.status, 200);
    stored(&bench, "hub/alpine", "3").await;
    let path = format!("/v2/hub/alpine/manifests/{amd64}");
    assert_eq!(bench.get(&path).await.status, 200);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    other.away.store(true, Ordering::SeqCst);
    assert_eq!(bench.get("/v2/hub/alpine/manifests/3").await.status, 200);
    assert_eq!(bench.get(&path).await.status, 200);
    assert_eq!(
        bench
            .get(&format!("/v2/hub/alpine/manifests/{arm64}"))
            .await
            .status,
        503
    );
    bench.verify().await;
}

#[tokio::test]
async fn bytes_that_are_others_are_given_to_nobody() {
    let (bench, other) = caching();
    let digest = other.bench.image("library/alpine", "3", b"one").await;
    other.damages.store(true, Ordering::SeqCst);
    assert_eq!(bench.get("/v2/hub/alpine/manifests/3").await.status, 503);
    assert_eq!(
        bench
            .get(&format!("/v2/hub/alpine/manifests/{digest}"))
            .await
            .status,
        503
    );
    assert_eq!(
        bench
            .get(&format!("/v2/hub/alpine/blobs/{}", sha256(b"one")))
            .await
            .status,
        503
    );
    other.damages.store(false, Ordering::SeqCst);
    assert_eq!(
        bench
            .get(&format!("/v2/hub/alpine/blobs/{}", sha256(b"one")))
            .await
            .status,
        200
    );
    bench.verify().await;
}

#[tokio::test]
async fn many_who_pull_the_same_fetch_it_once() {
    let (bench, other) = caching();
    let layer = bytes(40_000);
    other.bench.image("library/alpine", "3", &layer).await;
    let path = format!("/v2/hub/alpine/blobs/{}", sha256(&layer));
    let pulls: Vec<_> = (0..20).map(|_| bench.get(&path)).collect();
    for pulled in futures::future::join_all(pulls).await {
        assert_eq!((pulled.status, pulled.body.len()), (200, 40_000));
    }
    assert_eq!(other.blobs.load(Ordering::SeqCst), 1);
    assert!(!bench.front.service().is_fetching());
}

#[tokio::test]
async fn what_doesn_t_fit_is_passed_through_and_not_stored() {
    let (bench, other) = caching();
    let mut settings = open_settings();
    settings.registries[0].quota_bytes = Some(10_000);
    settings.registries[0].cache = vec![CacheRule {
        names: CacheNames::parse("hub/*", "library/*").unwrap(),
        upstream: other.clone(),
    }];
    let bench = bench::over(
        bench.ledger.clone(),
        bench.content.clone(),
        bench.clock.clone(),
        settings,
        3,
    );
    let layer = bytes(20_000);
    let digest = other.bench.image("library/alpine", "3", &layer).await;
    let pulled = bench.get("/v2/hub/alpine/manifests/3").await;
    assert_eq!(
        (pulled.status, pulled.header("docker-content-digest")),
        (200, digest.as_str())
    );
    let blob = bench
        .get(&format!("/v2/hub/alpine/blobs/{}", sha256(&layer)))
        .await;
    assert_eq!(blob.failure(), (403, "DENIED".to_owned()));
}
