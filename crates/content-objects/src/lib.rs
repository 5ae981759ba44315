//! The content store in an object store: one object per content, in S3, Azure Blob or GCS.
//!
//! * `options`: which provider, which bucket, whose keys; what a request may cost.
//! * `object`: how a content lies in its object; the same bytes as in a file.
//! * `writer`: a content under way, by one PUT or by parts.
//! * `reader`: a range, fetched in windows, every frame checked.
//! * `store`: names, listing, counters.
//! * `failure`: what a provider's error means, without secrets.
//! * `request_ids`: puts the provider's request id into its errors.
//!
//! Invariants: an object has its name only when the provider acknowledged the whole of it; no byte
//! is given out before its frame's checksum was compared; memory is bounded per writer and reader.
//! docs/adr/0008-content-in-an-object-store.md says why.

mod failure;
mod limits;
mod object;
mod options;
mod reader;
mod request_ids;
mod store;
mod writer;

pub use options::{Azure, Gcs, ObjectOptions, Patience, Provider, S3, Secret};
pub use store::{Chance, Now, ObjectContent};
