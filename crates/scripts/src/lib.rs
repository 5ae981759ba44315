//! Runs server-side JavaScript within bounds: stored procedures and triggers ([`run`]).
//! Knows nothing of HTTP, of ledgers or of time: what a
//! script asks of its collection goes to a [`Host`], and whoever started the run stops it through
//! its [`Stop`].
//!
//! The engine is QuickJS. A script reaches the language, what `prelude.js` gives it, and nothing
//! else: no files, no network, no processes, no modules, no timers.
//!
//! Everything here blocks its thread: callers run it beside their asynchronous workers.

mod bounds;
mod engine;
mod error;
mod run;

pub use bounds::{Bounds, Stop};
pub use error::{HostError, ScriptError};
pub use run::{Host, Input, Outcome, Role, Run, run};

/// Whether a text could be a script: it can be compiled, and nothing of it is run where the caller
/// would notice.
///
/// # Errors
/// [`ScriptError::Syntax`] with the engine's words; [`ScriptError::Stopped`].
pub fn check(source: &str, bounds: &Bounds, stop: &Stop) -> Result<(), ScriptError> {
    let engine = engine::Engine::new(bounds, stop)?;
    engine.check(source)
}
