//! One request: its id, its place among those under way, its service, its end.
//!
//! Invariant: a panic in a service ends its request with 500 and nothing else. The query string
//! is never logged: it may hold a signature.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_semantics::{Body, BodyError, OperationName, RequestContext, Service};
use hyper::body::Incoming;
use ledger::{Clock, Random};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::body::{BodyBounds, RequestBody, ResponseBody};
use crate::limits::{LOGGED_PATH_BYTES_MAX, RETRY_AFTER_SECONDS};
use crate::metrics::{Answered, Metrics};
use crate::traffic::UnderWay;
use crate::{Listener, ListenerLimits};

/// What every request of a listener needs.
pub(crate) struct Handler {
    pub(crate) name: Arc<str>,
    pub(crate) limits: ListenerLimits,
    pub(crate) metrics: Arc<Metrics>,
    service: Arc<dyn Service>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    places: Arc<Semaphore>,
}

/// What happens at a request's end, however it comes.
pub(crate) struct Finish {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    listener: Arc<str>,
    method: Method,
    path: String,
    request_id: Uuid,
    operation: Option<OperationName>,
    status: u16,
    began: Duration,
    sent_bytes: u64,
    _place: Option<OwnedSemaphorePermit>,
    _under_way: UnderWay,
}

impl Finish {
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }

    pub(crate) fn failed(&self, error: &BodyError) {
        tracing::warn!(request_id = %self.request_id, listener = &*self.listener, path = self.path, %error, "an answer broke off");
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let seconds = self.clock.monotonic().saturating_sub(self.began).as_secs_f64();
        self.metrics.end(&Answered {
            listener: &self.listener,
            method: &self.method,
            operation: self.operation.map(|name| name.0),
            status: self.status,
            seconds,
            sent_bytes: self.sent_bytes,
        });
        let (id, path, status) = (self.request_id, &self.path, self.status);
        // 501 and 503 are answers, not faults.
        if status == 500 {
            tracing::warn!(request_id = %id, listener = &*self.listener, method = %self.method, path, status, "request failed");
        } else {
            tracing::debug!(request_id = %id, listener = &*self.listener, method = %self.method, path, status, seconds, "request");
        }
    }
}

impl Handler {
    pub(crate) fn new(
        listener: &Listener,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self {
            name: listener.name.clone(),
            limits: listener.limits.clone(),
            metrics,
            service: listener.service.clone(),
            clock,
            random,
            places: Arc::new(Semaphore::new(listener.limits.requests_max)),
        }
    }

    /// Serves one request.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        peer: std::net::SocketAddr,
        secure: bool,
        under_way: UnderWay,
    ) -> Response<ResponseBody> {
        let request_id = self.random.uuid();
        self.metrics.begin(&self.name);
        let place = self.places.clone().try_acquire_owned().ok();
        let busy = place.is_none();
        let path = request.uri().path();
        let end = path.floor_char_boundary(LOGGED_PATH_BYTES_MAX);
        let mut finish = Finish {
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            listener: self.name.clone(),
            method: request.method().clone(),
            path: path.get(..end).unwrap_or_default().to_owned(),
            request_id,
            operation: None,
            status: 0,
            began: self.clock.monotonic(),
            sent_bytes: 0,
            _place: place,
            _under_way: under_way,
        };
        let response = if busy {
            too_busy()
        } else {
            let context = RequestContext {
                request_id,
                peer,
                secure,
                listener: self.name.clone(),
            };
            let served = AssertUnwindSafe(self.service.call(self.bounded(request, context))).catch_unwind();
            served.await.unwrap_or_else(|_| {
                self.metrics.panicked();
                tracing::error!(%request_id, listener = &*self.name, path = finish.path, "a handler panicked");
                plain(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            })
        };
        let mut response = response;
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            // Whatever the service was waiting for, coming back soon is worth a try.
            response
                .headers_mut()
                .entry(RETRY_AFTER)
                .or_insert(HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        finish.status = response.status().as_u16();
        finish.operation = response.extensions().get().copied();
        response.map(|body| ResponseBody::new(body, finish))
    }

    fn bounded(&self, request: Request<Incoming>, context: RequestContext) -> Request<Body> {
        let bounds = BodyBounds {
            bytes_max: self.limits.body_bytes_max,
            idle_max: self.limits.body_idle_max,
            total_max: self.limits.body_total_max,
            drains: request.version() <= Version::HTTP_11,
            expects_continue: request.headers().contains_key(EXPECT),
        };
        let mut request = request.map(|body| Body::wrap(RequestBody::new(body, bounds)));
        request.extensions_mut().insert(context);
        request
    }
}

fn too_busy() -> Response<Body> {
    let mut response = plain(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many requests are under way; try again",
    );
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// An answer in plain text, for what no protocol of ours answers.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::full(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
