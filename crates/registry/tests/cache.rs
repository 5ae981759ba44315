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
use bench::{Bench, bench_with, bytes, image_of, index_of, open_settings, sha256};
use http_semantics::Body;
use registry::rules::cache::CacheNames;
use registry::rules::digest::Digest;
use registry::{CacheRule, Settings, Upstream, UpstreamBlob, UpstreamError, UpstreamManifest};
use serde_json::json;

/// The other registry, as a client sees it; and what goes wrong on the way.
struct Other {
    bench: Bench,
    away: AtomicBool,
    damages: AtomicBool,
    asked: AtomicUsize,
    blobs: AtomicUsize,
    /// Blobs come while nobody holds it.
    held: tokio::sync::RwLock<()>,
}

impl std::fmt::Debug for Other {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Other")
    }
}

impl Other {
    fn check(&self) -> Result<(), UpstreamError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.away.load(Ordering::SeqCst) {
            true => Err(UpstreamError("https://inside.test is away".to_owned())),
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
        let _let_through = self.held.read().await;
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
        asked: AtomicUsize::new(0),
        blobs: AtomicUsize::new(0),
        held: tokio::sync::RwLock::new(()),
    });
    (bench_with(caching_settings(&other)), other)
}

fn caching_settings(other: &Arc<Other>) -> Settings {
    let mut settings = open_settings();
    settings.registries[0].cache = vec![CacheRule {
        names: CacheNames::parse("hub/*", "library/*").unwrap(),
        upstream: other.clone(),
    }];
    settings
}

/// The same stores with other settings.
fn again(bench: &Bench, settings: Settings) -> Bench {
    bench::over(
        bench.ledger.clone(),
        bench.content.clone(),
        bench.clock.clone(),
        settings,
        5,
    )
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
    let mut settings = caching_settings(&other);
    settings.registries[0].quota_bytes = Some(10_000);
    let bench = again(&bench, settings);
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

#[tokio::test]
async fn nothing_is_pushed_to_a_cache() {
    let (bench, _) = caching();
    let plain = again(&bench, open_settings());
    let digest = plain.blob("a", b"layer").await;
    let begun = plain.begin("hub/alpine").await;
    let uploads = "/v2/hub/alpine/blobs/uploads/";
    let refused = (403, "DENIED".to_owned());
    for (method, path) in [
        ("POST", uploads.to_owned()),
        ("POST", format!("{uploads}?digest={digest}")),
        ("POST", format!("{uploads}?mount={digest}&from=a")),
        ("PATCH", begun.clone()),
        ("PUT", format!("{begun}?digest={digest}")),
    ] {
        let answer = bench.ask(method, &path, &[], b"layer").await;
        assert_eq!(answer.failure(), refused, "{method} {path}");
    }
    let answer = bench
        .manifest("hub/alpine", "3", &image_of(&digest, &digest))
        .await;
    assert_eq!(answer.failure(), refused);
    // To others as ever.
    bench.image("hubs/alpine", "3", b"layer").await;
}

#[tokio::test]
async fn a_rule_over_what_was_pushed_harms_nothing() {
    let (bench, other) = caching();
    let plain = again(&bench, open_settings());
    let own = plain.image("hub/alpine", "3", b"own").await;
    let same = other.bench.image("library/alpine", "3", b"theirs").await;
    let fresh = other.bench.image("library/alpine", "4", b"fresh").await;
    for _ in 0..2 {
        let pulled = bench.get("/v2/hub/alpine/manifests/3").await;
        assert_eq!(pulled.header("docker-content-digest"), own.as_str());
        let pulled = bench.get("/v2/hub/alpine/manifests/4").await;
        assert_eq!(pulled.header("docker-content-digest"), fresh.as_str());
        stored(&bench, "hub/alpine", "4").await;
    }
    // By its digest what is there comes beside it.
    let path = format!("/v2/hub/alpine/manifests/{same}");
    assert_eq!(bench.get(&path).await.status, 200);
    let moved = other.bench.image("library/alpine", "4", b"moved").await;
    let pulled = bench.get("/v2/hub/alpine/manifests/4").await;
    assert_eq!(pulled.header("docker-content-digest"), moved.as_str());
    bench.verify().await;
}

#[tokio::test]
async fn a_child_that_comes_after_its_index_stays_as_long() {
    let (bench, other) = caching();
    let mut settings = caching_settings(&other);
    settings.registries[0].retention_days = Some(0);
    let bench = again(&bench, settings);
    bench.collect().await;
    let amd64 = other.bench.image("library/alpine", "amd64", b"amd64").await;
    let index = index_of(&[&amd64]);
    other.bench.manifest("library/alpine", "3", &index).await;
    assert_eq!(bench.get("/v2/hub/alpine/manifests/3").await.status, 200);
    stored(&bench, "hub/alpine", "3").await;
    let path = format!("/v2/hub/alpine/manifests/{amd64}");
    assert_eq!(bench.get(&path).await.status, 200);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    other.away.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        assert_eq!(bench.get(&path).await.status, 200);
        bench.clock.advance_seconds(30 * 3_600);
        bench.collect().await;
    }
    bench.verify().await;
}

#[tokio::test]
async fn a_fetch_goes_on_though_its_client_went() {
    let (bench, other) = caching();
    let layer = bytes(40_000);
    other.bench.image("library/alpine", "3", &layer).await;
    let path = format!("/v2/hub/alpine/blobs/{}", sha256(&layer));
    let hold = other.held.write().await;
    {
        let pull = bench.get(&path);
        let soon = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            _ = pull => panic!("it came though it is held"),
            () = soon => {}
        }
    }
    assert!(bench.front.service().is_fetching());
    drop(hold);
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert!(!bench.front.service().is_fetching());
    other.away.store(true, Ordering::SeqCst);
    assert_eq!(&bench.get(&path).await.body[..], &layer[..]);
    assert_eq!(other.blobs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn locks_hold_in_a_cache_before_its_source_is_asked() {
    let (bench, other) = caching();
    let first = other.bench.image("library/alpine", "3", b"one").await;
    bench.get("/v2/hub/alpine/manifests/3").await;
    stored(&bench, "hub/alpine", "3").await;
    let second = other.bench.image("library/alpine", "3", b"two").await;
    let lock = async |at: &str, name: &str, value: bool| {
        let body = json!({ name: value }).to_string();
        let locked = bench.ask("PATCH", at, &[], body.as_bytes()).await;
        assert_eq!(locked.status, 200, "{at}");
    };
    let path = "/v2/hub/alpine/manifests/3";
    let asked = other.asked.load(Ordering::SeqCst);
    let blob = format!("/v2/hub/alpine/blobs/{}", sha256(b"two"));
    for at in ["/acr/v1/hub/alpine/_tags/3", "/acr/v1/hub/alpine"] {
        lock(at, "writeEnabled", false).await;
        let pulled = bench.get(path).await;
        assert_eq!(pulled.header("docker-content-digest"), first.as_str(), "{at}");
        if at == "/acr/v1/hub/alpine" {
            assert_eq!(bench.get(&blob).await.status, 404, "nothing comes into it");
        }
        lock(at, "writeEnabled", true).await;
        lock(at, "readEnabled", false).await;
        let disallowed = "REGISTRY_DISALLOWED_OPERATION";
        assert_eq!(bench.get(path).await.code(), disallowed, "{at}");
        lock(at, "readEnabled", true).await;
    }
    assert_eq!(other.asked.load(Ordering::SeqCst), asked);
    let pulled = bench.get(path).await;
    assert_eq!(pulled.header("docker-content-digest"), second.as_str());
}

#[tokio::test]
async fn clients_aren_t_told_what_is_wrong_elsewhere() {
    let (bench, other) = caching();
    other.away.store(true, Ordering::SeqCst);
    let answer = bench.get("/v2/hub/alpine/manifests/3").await;
    assert_eq!(answer.failure(), (503, "UNAVAILABLE".to_owned()));
    assert!(!answer.json().to_string().contains("inside.test"));
}
