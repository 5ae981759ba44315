//! Server-side JavaScript on the collection: the processes that run scripts, and what does for a
//! script what it asks.
//!
//! Invariant: everything that a script writes is staged in one transaction, which whoever started
//! the run commits after the script has ended well; nothing else of a run lasts.

mod functions;
mod process;
mod runner;
mod session;
mod staged_snapshot;
mod workers;

pub(crate) use functions::{FunctionCalls, Seat};
pub use process::ScriptWorker;
pub(crate) use runner::{Turn, check, run};
pub(crate) use session::Session;
pub(crate) use workers::{Place, Workers};
