//! Runs server-side JavaScript within bounds: stored procedures and triggers ([`run`]), and functions
//! that queries call ([`Functions`]), in a process that has given up everything else ([`work`]) and is told what to do over a socket ([`Order`],
//! [`Report`]). Knows nothing of HTTP, of ledgers or of time: what a script asks of its collection
//! goes to a [`Host`], and whoever started the process kills it when its time is over.
//!
//! The engine is QuickJS. A script reaches the language, what `prelude.js` gives it, and nothing
//! else: no files, no network, no processes, no modules, no timers.
//!
//! Running blocks the thread; the other end of the line is for the caller to drive as it likes.

mod bounds;
mod confine;
mod engine;
mod error;
mod frame;
mod functions;
mod message;
mod run;
mod worker;

pub use bounds::{Bounds, Stop};
pub use confine::{PROCESSOR_SECONDS_MAX, confine};
pub use error::{HostError, ScriptError};
pub use frame::{Frames, LineError};
pub use functions::{Functions, NamedFunction};
pub use message::{
    ARGUMENT_BYTES_MAX, ARGUMENTS_MAX, FUNCTIONS_MAX, ORDER_BYTES_MAX, Order, REPORT_BYTES_MAX, Report,
};
pub use run::{Host, Input, Outcome, Role, Run, run};
pub use worker::work;

/// Whether a text could be a script: it can be compiled, and nothing of it is run where the caller
/// would notice.
///
/// # Errors
/// [`ScriptError::Syntax`] with the engine's words; [`ScriptError::Stopped`].
pub fn check(source: &str, bounds: &Bounds, stop: &Stop) -> Result<(), ScriptError> {
    let engine = engine::Engine::new(bounds, stop)?;
    engine.check(source)
}
