//! What operations share.

pub mod query;
