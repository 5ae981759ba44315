//! The service on memory, and requests to it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "test code, of which each test takes a part"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use content::memory::MemoryContent;
use content::{ContentId, ContentStore};
use http::{HeaderMap, Request, StatusCode};
use http_semantics::{Body, RequestContext, Service};
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Ledger, VerifyReport};
use registry::rules::digest::{Algorithm, Digest};
use registry::rules::manifest::{OCI_INDEX, OCI_MANIFEST};
use registry::{CollectOutcome, ContentReferences, Front, Registry, Settings};
use serde_json::{Value, json};

pub struct Bench {
    pub front: Front,
    pub ledger: Arc<dyn Ledger>,
    pub content: Arc<dyn ContentStore>,
    pub clock: Arc<AdjustableClock>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The protocol's code, if it is an error.
    pub fn code(&self) -> String {
        self.json()["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Status and code.
    pub fn failure(&self) -> (u16, String) {
        (self.status, self.code())
    }
}

pub fn memory_content(clock: &Arc<AdjustableClock>) -> Arc<dyn ContentStore> {
    let (counter, now) = (AtomicU64::new(1), clock.clone());
    Arc::new(MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        (
            ContentId::from_bytes(number.to_be_bytes()),
            ledger::Clock::now(now.as_ref()),
        )
    })))
}

pub fn clock() -> Arc<AdjustableClock> {
    // Keys have microseconds; real clocks have more.
    let start = jiff::Timestamp::new(1_800_000_000, 42).unwrap();
    Arc::new(AdjustableClock::standing_at(start))
}

pub fn open_settings() -> Settings {
    let mut registry = Registry::new("dev");
    registry.open = true;
    let mut other = Registry::new("other");
    other.open = true;
    Settings {
        registries: vec![registry, other],
        host_suffixes: vec!["cr.test".to_owned()],
        default_registry: Some("dev".to_owned()),
        bearer: None,
    }
}

pub fn bench() -> Bench {
    bench_with(open_settings())
}

pub fn bench_with(settings: Settings) -> Bench {
    let clock = clock();
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
    let content = memory_content(&clock);
    over(ledger, content, clock, settings, 7)
}

pub fn over(
    ledger: Arc<dyn Ledger>,
    content: Arc<dyn ContentStore>,
    clock: Arc<AdjustableClock>,
    settings: Settings,
    seed: u64,
) -> Bench {
    let random = Arc::new(SeededRandom::new(seed));
    let front = Front::new(ledger.clone(), content.clone(), clock.clone(), random, settings);
    Bench {
        front,
        ledger,
        content,
        clock,
    }
}

pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", "127.0.0.1:5000");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request
        .extension(RequestContext {
            request_id: uuid::Uuid::nil(),
            peer: ([127, 0, 0, 1], 1).into(),
            secure: false,
            listener: "test".into(),
        })
        .body(body)
        .unwrap()
}

impl Bench {
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.front.call(request).await.into_parts();
        assert_ne!(parts.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(parts.headers["docker-distribution-api-version"], "registry/2.0");
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.read_bounded(64 << 20).await.unwrap(),
        }
    }

    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send(request(method, path, headers, Body::full(body.to_vec())))
            .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"").await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], b"").await
    }

    /// Begins an upload: its address.
    pub async fn begin(&self, repository: &str) -> String {
        let begun = self
            .ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"")
            .await;
        assert_eq!(begun.status, 202);
        begun.header("location").to_owned()
    }

    /// Pushes a blob in one request.
    pub async fn blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = sha256(bytes);
        let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let pushed = self.ask("POST", &path, &[], bytes).await;
        assert_eq!(pushed.status, 201, "{:?}", pushed.json());
        digest
    }

    pub async fn manifest(&self, repository: &str, reference: &str, manifest: &Value) -> Answer {
        let media_type = manifest["mediaType"].as_str().unwrap().to_owned();
        let path = format!("/v2/{repository}/manifests/{reference}");
        let headers = [("content-type", media_type.as_str())];
        self.ask("PUT", &path, &headers, manifest.to_string().as_bytes())
            .await
    }

    /// Pushes an image of a configuration and a layer with these bytes: its manifest's digest.
    pub async fn image(&self, repository: &str, tag: &str, bytes: &[u8]) -> Digest {
        let config = self
            .blob(repository, b"{\"os\":\"linux\",\"architecture\":\"amd64\"}")
            .await;
        let layer = self.blob(repository, bytes).await;
        let image = image_of(&config, &layer);
        let pushed = self.manifest(repository, tag, &image).await;
        assert_eq!(pushed.status, 201, "{:?}", pushed.json());
        let digest = sha256(image.to_string().as_bytes());
        assert_eq!(pushed.header("docker-content-digest"), digest.as_str());
        digest
    }

    /// Nothing is wrong with the records; how many contents there are.
    pub async fn verify(&self) -> u64 {
        let snapshot = self.ledger.snapshot().await.unwrap();
        let mut report = VerifyReport::default();
        let references = ContentReferences::new(self.ledger.clone());
        references
            .verify(snapshot.as_ref(), &self.content, &mut report)
            .await
            .unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
        self.content.stats().await.unwrap().contents
    }

    pub async fn collect(&self) -> CollectOutcome {
        self.front.service().collect_once().await.unwrap()
    }
}

pub fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

pub fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap())
        .collect()
}

pub fn described(media_type: &str, digest: &Digest, size: usize) -> Value {
    json!({"mediaType": media_type, "digest": digest.as_str(), "size": size})
}

pub fn image_of(config: &Digest, layer: &Digest) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": described("application/vnd.oci.image.config.v1+json", config, 37),
        "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", layer, 5)],
    })
}

pub fn index_of(manifests: &[&Digest]) -> Value {
    let manifests: Vec<Value> = manifests
        .iter()
        .map(|digest| described(OCI_MANIFEST, digest, 9))
        .collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
}
