//! Server-side JavaScript on the collection: what runs a script beside the asynchronous workers,
//! and does for it what it asks.
//!
//! Invariant: everything that a script writes is staged in one transaction, which whoever started
//! the run commits after the script has ended well; nothing else of a run lasts.

mod runner;
mod session;
mod staged_snapshot;

pub(crate) use runner::{Deadline, Runner, check, run};
pub(crate) use session::Session;
