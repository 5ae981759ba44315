//! The content store in a folder: one file per content.
//!
//! * `file`: how a content lies in its file; checked reads of ranges.
//! * `pool`: the memory that files are read and written in.
//! * `writer`: a content under way, in `tmp/`, until it is synced and named.
//!
//! Invariants: a file has its final name only when its bytes are synced, and the name is synced
//! before the id is given out; what is found in `tmp/` at open was never finished and is removed.
//! docs/format.md draws the bytes.

mod file;
mod pool;
mod store;
mod writer;

pub use store::{Chance, LocalContent, Now};
