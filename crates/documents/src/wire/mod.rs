//! What operations share: the request as they see it, the answer as they give it, routing.

pub(crate) mod answer;
pub(crate) mod call;
pub(crate) mod coverage;
pub(crate) mod headers;
pub(crate) mod route;
pub(crate) mod session;
