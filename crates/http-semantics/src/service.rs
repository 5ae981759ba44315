//! The shape of a service: a request in, a response out, never an error. Whatever goes wrong is
//! rendered by the service in its own protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use uuid::Uuid;

use crate::Body;

/// What the listener knows of a request; in the request's extensions.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The request's own id: in logs, audit and the protocol's request-id header.
    pub request_id: Uuid,
    /// Who is connected.
    pub peer: SocketAddr,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// The listener's name, for logs and metrics.
    pub listener: Arc<str>,
}

impl RequestContext {
    /// The URL scheme the client used.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// The operation that a service took a request for, as its protocol names it; in the response's extensions, for
/// metrics. One of a fixed list: never what a client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationName(pub &'static str);

/// A protocol's front: parse, authenticate, authorise, run, render.
#[async_trait]
pub trait Service: Send + Sync + 'static {
    /// Serves one request. [`RequestContext`] is in its extensions.
    async fn call(&self, request: Request<Body>) -> Response<Body>;
}
