//! What HTTP itself defines and every service needs: bodies with bounds, conditions, ranges,
//! dates, and the shape of a service.
//!
//! A protocol's own rules (which condition wins over which, how an error looks) are not here.

pub mod body;
pub mod date;
pub mod etag;
pub mod range;
mod service;

pub use body::{Body, BodyError};
pub use service::{OperationName, RequestContext, Service};
