//! The ledger on PostgreSQL, for any number of nodes over one database.
//!
//! * [`PostgresLedger::connect`] makes or migrates the schema, and refuses a newer one.
//! * [`PostgresSource`] and [`PostgresCopy`]: a ledger as it is copied, out of a schema and into one.
//! * [`Options`] say how the database is reached and what is waited for.
//!
//! Inside: `committer` is the one task of a node that writes, a group of commits per database
//! transaction; `group` decides a group without I/O; `snapshot` reads; `connection` knows TLS,
//! time-outs and statements; `schema` has the tables.
//!
//! Invariant: every group locks the one row of `head` before it looks at anything, and holds it
//! until its transaction has ended. So groups of all nodes happen one after the other, sequence
//! numbers have no gaps, and a commit is visible before the next one gets its number: no reader of
//! the log ever sees number n+1 without n.

mod committer;
mod connection;
mod copy;
mod engine;
mod error;
mod group;
pub mod limits;
mod log_rows;
mod options;
mod predicted;
mod record;
mod rows;
mod schema;
mod silence;
mod snapshot;
mod verify;
mod watcher;

pub use copy::{PostgresCopy, PostgresSource};
pub use engine::PostgresLedger;
pub use error::ConnectError;
pub use options::Options;
