//! What operations share: where a request goes, its query, answers.

pub(crate) mod query;
pub(crate) mod render;
pub(crate) mod route;
