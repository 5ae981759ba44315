//! What operations share.

pub(crate) mod answer;
pub(crate) mod links;
pub mod query;
