//! Pure decisions: names, digests, ranges, manifests, what may be changed. No I/O.

pub mod attributes;
pub mod cache;
pub mod digest;
pub mod grants;
pub mod manifest;
pub mod name;
pub mod range;
pub mod scope;
pub(crate) mod strict_json;
pub mod upload;
pub mod webhook;
