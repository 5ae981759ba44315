//! What operations share on the wire: routes, queries, bodies, answers.

pub(crate) mod body;
pub(crate) mod host;
pub(crate) mod query;
pub(crate) mod render;
pub(crate) mod route;
