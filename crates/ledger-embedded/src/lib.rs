//! The embedded engine: one process owns a folder, [`fjall`] keeps the sorted tables.
//!
//! * `folder`: the folder's format marker and its lock.
//! * `witness`: `HEAD`, the note outside the store of how far it had been acknowledged.
//! * `journal`: the store's journals, checked before the store replays them.
//! * `record`: how keys, values and checksums lie in the store.
//! * `store`: opening, point reads, pages.
//! * `queue`, `group`, `committer`: commits waiting, the decision over a group of them, and the
//!   one thread that writes.
//! * `syncer`: puts on disk what was written, then answers.
//! * `verify`: reads everything.
//! * `restore`: a ledger as it is copied, out of a folder and into one.
//!
//! Invariants: a commit is answered after the sync that holds it; what was answered is there
//! after any crash or the store refuses to open; each read is checked against its checksum.
//! docs/format.md draws the bytes.

mod committer;
mod engine;
mod folder;
mod group;
mod journal;
pub mod limits;
mod options;
mod queue;
mod record;
mod restore;
mod store;
mod syncer;
mod verify;
mod witness;

pub use engine::EmbeddedLedger;
pub use options::{OpenError, Options, WitnessRule};
pub use restore::EmbeddedCopy;
