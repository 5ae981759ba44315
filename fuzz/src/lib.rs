//! Requests out of arbitrary bytes, for targets that fuzz a whole service on memory: the first line
//! is method and target, the next ones are headers up to an empty one, the rest is the body. A line
//! that can't be part of a request is left out, so nearly every input is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use content::ContentId;
use content::memory::MemoryContent;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_semantics::{Body, RequestContext, Service};
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock, Ledger, Random};

/// Longest response body that is read.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// The stores of a service on memory.
pub struct Stores {
    pub ledger: Arc<dyn Ledger>,
    pub content: Arc<MemoryContent>,
    pub clock: Arc<AdjustableClock>,
    pub random: Arc<dyn Random>,
}

impl Stores {
    /// Empty ones; the same seed and time at each run, so what is found is found again.
    pub fn new() -> Self {
        let start = jiff::Timestamp::from_second(1_800_000_000).unwrap_or_default();
        let clock = Arc::new(AdjustableClock::standing_at(start));
        let (ids, now) = (AtomicU64::new(1), clock.clone());
        let content = MemoryContent::new(Arc::new(move || {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&ids.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            (ContentId::from_bytes(id), now.now())
        }));
        Self {
            ledger: Arc::new(MemoryLedger::new(clock.clone())),
            content: Arc::new(content),
            clock,
            random: Arc::new(SeededRandom::new(1)),
        }
    }
}

impl Default for Stores {
    fn default() -> Self {
        Self::new()
    }
}

/// The request that `data` describes.
pub fn request(data: &[u8]) -> Option<Request<Body>> {
    let (line, mut rest) = split_line(data);
    let line = std::str::from_utf8(line).ok()?;
    let (method, target) = line.split_once(' ')?;
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = target.parse::<Uri>().ok()?;
    request
        .headers_mut()
        .insert("host", HeaderValue::from_static("127.0.0.1:10000"));
    loop {
        let (line, after) = split_line(rest);
        let ended = after.len() == rest.len() || line.is_empty();
        rest = after;
        if ended {
            break;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts
            .next()
            .and_then(|value| HeaderValue::from_bytes(value.trim_ascii()).ok());
        if let (Some(name), Some(value)) = (name, value) {
            request.headers_mut().append(name, value);
        }
    }
    *request.body_mut() = Body::full(rest.to_vec());
    request.extensions_mut().insert(RequestContext {
        request_id: uuid::Uuid::nil(),
        peer: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        secure: true,
        listener: "fuzz".into(),
    });
    Some(request)
}

fn split_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

/// Sends the request to the service and reads the answer, which is never the service's own fault.
pub async fn serve(service: &dyn Service, request: Request<Body>) {
    let response = service.call(request).await;
    assert_ne!(response.status(), 500, "{response:?}");
    let _ = response.into_body().read_bounded(RESPONSE_BYTES_MAX).await;
}

/// Runs a future on this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime on this thread")
        .block_on(future)
}
