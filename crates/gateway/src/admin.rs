//! What operators ask: is it alive, is it ready, what does it count. In development also the
//! clock.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_semantics::{Body, Service};
use ledger::AdjustableClock;

use crate::limits::{ADMIN_BODY_BYTES_MAX, CLOCK_ADVANCE_SECONDS_MAX};
use crate::metrics::Metrics;
use crate::request::plain;

/// Says whether the process can serve.
#[async_trait]
pub trait HealthSource: Send + Sync + 'static {
    /// `Err` holds why not, for people.
    async fn ready(&self) -> Result<(), String>;
}

/// The admin listener's service. It has no authentication of its own: keep it on loopback or
/// behind something that has.
pub struct AdminService {
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Readiness.
    pub health: Arc<dyn HealthSource>,
    /// The clock that `POST /dev/clock` moves; in development only.
    pub clock: Option<Arc<AdjustableClock>>,
    /// Who answers other paths.
    pub inner: Option<Arc<dyn Service>>,
}

impl std::fmt::Debug for AdminService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminService(..)")
    }
}

#[async_trait]
impl Service for AdminService {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/health/live") => plain(StatusCode::OK, "live"),
            (&Method::GET, "/health/ready") => match self.health.ready().await {
                Ok(()) => plain(StatusCode::OK, "ready"),
                Err(cause) => plain(StatusCode::SERVICE_UNAVAILABLE, &cause),
            },
            (&Method::GET, "/metrics") => {
                let mut response = Response::new(Body::full(self.metrics.render().await));
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
                response
            }
            (&Method::POST, "/dev/clock") if self.clock.is_some() => self.advance(request).await,
            _ => match &self.inner {
                Some(inner) => inner.call(request).await,
                None => plain(
                    StatusCode::NOT_FOUND,
                    "no such page; see /health/ready and /metrics",
                ),
            },
        }
    }
}

impl AdminService {
    async fn advance(&self, request: Request<Body>) -> Response<Body> {
        let wanted = match request.into_body().read_bounded(ADMIN_BODY_BYTES_MAX).await {
            Ok(body) => serde_json::from_slice::<serde_json::Value>(&body)
                .ok()
                .and_then(|body| body.get("advanceSeconds")?.as_i64()),
            Err(error) => return plain(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match (wanted, &self.clock) {
            (Some(seconds), Some(clock)) if (0..=CLOCK_ADVANCE_SECONDS_MAX).contains(&seconds) => {
                clock.advance_seconds(seconds);
                let now = ledger::Clock::now(clock.as_ref());
                let mut response = Response::new(Body::full(format!("{{\"now\":\"{now}\"}}")));
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            _ => plain(
                StatusCode::BAD_REQUEST,
                &format!("send {{\"advanceSeconds\": n}}, n from 0 to {CLOCK_ADVANCE_SECONDS_MAX}"),
            ),
        }
    }
}
