//! Content that opens and can't be read: the client gets an error, not an answer that breaks off.
#![allow(clippy::unwrap_used, missing_docs, reason = "test code")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use blobs::limits::SCRUB_FAILED_IN_A_ROW_MAX;
use blobs::{Account, Blobs, Settings};
use bytes::Bytes;
use content::memory::MemoryContent;
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};
use http::{Request, Response, StatusCode};
use http_semantics::{Body, RequestContext, Service};
use identity::SharedKey;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock as _};

const KEY: &str = "c2VjcmV0LWtleQ==";

/// Opens readers of which none gives a byte.
struct OutOfReach(MemoryContent);

struct Nothing;

#[async_trait]
impl ContentReader for Nothing {
    fn length_bytes(&self) -> u64 {
        1
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        Err(ContentError::Io("the store is away".to_owned()))
    }
}

#[async_trait]
impl ContentStore for OutOfReach {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        self.0.writer().await
    }

    async fn reader(&self, _: ContentId, _: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        Ok(Box::new(Nothing))
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.0.info(id).await
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.0.delete(id).await
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        self.0.list(after, entries_max).await
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        self.0.stats().await
    }
}

fn blobs() -> Arc<Blobs> {
    let clock = Arc::new(AdjustableClock::standing_at(
        jiff::Timestamp::from_second(1_700_000_000).unwrap(),
    ));
    let counter = AtomicU64::new(1);
    let now = clock.clone();
    let content = MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        (ContentId::from_bytes(number.to_be_bytes()), now.now())
    }));
    Blobs::new(
        Arc::new(MemoryLedger::new(clock.clone())),
        Arc::new(OutOfReach(content)),
        clock,
        Arc::new(SeededRandom::new(1)),
        Settings {
            accounts: vec![Account::new("dev", vec![SharedKey::from_base64(KEY).unwrap()])],
            host_suffixes: Vec::new(),
            web_host_suffixes: Vec::new(),
            bearer: None,
            keyring: None,
            local_keys_in_clear: false,
        },
    )
}

/// A request with a shared key; `resource` is its path and query, as they are signed.
async fn send(
    blobs: &Blobs,
    method: &str,
    uri: &str,
    resource: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Response<Body> {
    let mut headers = headers.to_vec();
    headers.extend([
        ("x-ms-date", "Tue, 14 Nov 2023 22:13:20 GMT"),
        ("x-ms-version", "2021-12-02"),
    ]);
    headers.sort_unstable();
    let length = if body.is_empty() {
        String::new()
    } else {
        body.len().to_string()
    };
    let named: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let text = format!("{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{named}/dev{resource}");
    let signature = SharedKey::from_base64(KEY).unwrap().sign(&text);
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://127.0.0.1{uri}"))
        .header("content-length", body.len())
        .header("authorization", format!("SharedKey dev:{signature}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut request = request.body(Body::full(body)).unwrap();
    request.extensions_mut().insert(RequestContext {
        request_id: uuid::Uuid::nil(),
        peer: "127.0.0.1:1".parse().unwrap(),
        secure: false,
        listener: "blobs".into(),
    });
    blobs.call(request).await
}

#[tokio::test]
async fn an_error_before_the_first_byte_is_an_answer() {
    let blobs = blobs();
    let made = send(
        &blobs,
        "PUT",
        "/dev/box?restype=container",
        "/dev/box\nrestype:container",
        &[],
        vec![],
    );
    assert_eq!(made.await.status(), StatusCode::CREATED);
    let kind = [("x-ms-blob-type", "BlockBlob")];
    let content = vec![7; 100_000];
    let md5 = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(&content));
    let put = send(&blobs, "PUT", "/dev/box/a", "/dev/box/a", &kind, content).await;
    assert_eq!(put.status(), StatusCode::CREATED);
    assert_eq!(put.headers()["content-md5"], md5.as_str());
    for range in ["bytes=0-99", "bytes=70000-70009", "bytes=0-"] {
        let got = send(
            &blobs,
            "GET",
            "/dev/box/a",
            "/dev/box/a",
            &[("x-ms-range", range)],
            vec![],
        )
        .await;
        assert_eq!(got.status(), StatusCode::INTERNAL_SERVER_ERROR, "{range}");
        assert_eq!(got.headers()["x-ms-error-code"], "InternalError");
        assert!(got.headers().contains_key("x-ms-request-id"));
        let text = got.into_body().read_bounded(10_000).await.unwrap();
        assert!(
            text.starts_with(b"\xef\xbb\xbf<?xml") || text.starts_with(b"<?xml"),
            "{text:?}"
        );
    }
}

#[tokio::test]
async fn a_scrub_tells_contents_that_can_not_be_read_from_a_store_that_fails() {
    let blobs = blobs();
    let container = ("/dev/box?restype=container", "/dev/box\nrestype:container");
    send(&blobs, "PUT", container.0, container.1, &[], vec![]).await;
    let put = async |number: usize| {
        let uri = format!("/dev/box/{number:02}");
        let kind = [("x-ms-blob-type", "BlockBlob")];
        let put = send(&blobs, "PUT", &uri, &uri, &kind, vec![7; 20_000]).await;
        assert_eq!(put.status(), StatusCode::CREATED);
    };
    for number in 0..3 {
        put(number).await;
    }
    let report = blobs.scrub(&|_, _| {}).await.unwrap();
    assert_eq!(
        (report.contents, report.damaged_count, report.broke_off),
        (3, 3, None)
    );
    let owners: Vec<_> = report.damaged.iter().flat_map(|damage| &damage.owners).collect();
    assert_eq!(owners, ["box/00", "box/01", "box/02"]);
    for number in 3..30 {
        put(number).await;
    }
    let report = blobs.scrub(&|_, _| {}).await.unwrap();
    assert!(
        report
            .broke_off
            .is_some_and(|cause| cause.contains("the store is away"))
    );
    assert_eq!(report.damaged_count, u64::from(SCRUB_FAILED_IN_A_ROW_MAX));
    assert!(report.damaged.iter().all(|damage| damage.owners.len() == 1));
}
