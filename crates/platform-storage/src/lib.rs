//! Altinn's Platform Storage: what its models, rules and queries say. Under construction.
//!
//! * [`model`] is what travels in bodies and lies in documents.
//! * [`rules`] decides without I/O: lists, locks, file names, multipart bodies, process steps,
//!   history, read status, clean-up.
//! * [`wire`] is what operations share.
//! * [`limits`] has every limit by name.
//!
//! Not here yet, and so in no listener: the service itself, its store on the ledger, and the
//! decision point. Nothing in this crate does I/O.

pub mod limits;
pub mod model;
pub mod rules;
pub mod wire;
