//! Listeners: where requests come in and answers go out.
//!
//! * [`Listener`] is an address, how it is spoken to ([`Transport`]), a service and its limits;
//!   [`Gateway::bind`] takes all of them and [`Bound::run`] serves until it is told to stop.
//! * [`tls`] reads certificates from files or makes a development authority of its own.
//! * [`metrics`] counts; [`AdminService`] shows it, with health and, in `dev`, the clock.
//!
//! Invariants: every request has an id and a [`http_semantics::RequestContext`]; nothing a client
//! sends is taken without a bound in size and time; a panic in a handler ends that request and
//! nothing else; a stop finishes what was accepted, within a bounded time. A query string is never
//! logged: it may hold a signature.

mod admin;
mod body;
mod connection;
mod error;
pub mod limits;
mod listener;
pub mod metrics;
mod patient;
mod request;
mod server;
pub mod tls;
mod traffic;

pub use admin::{AdminService, HealthSource};
pub use error::GatewayError;
pub use limits::ListenerLimits;
pub use listener::{Listener, Transport};
pub use metrics::{Metrics, Sample, StatsSource};
pub use server::{Bound, Gateway, StopReport};
