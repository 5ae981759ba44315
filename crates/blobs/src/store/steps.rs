//! Work that may be long goes in steps, each one commit: where one ends.
//!
//! Invariant: whatever is staged for one more blob or snapshot fits behind a step that isn't full, so a
//! step that stages before it asks again always gets on, and never meets the ledger's limits.

use ledger::Transaction;

use crate::limits::{STEP_BYTES_MAX, STEP_WRITES_MAX};

/// Whether what is staged is enough for one commit.
pub(crate) fn is_full(tx: &Transaction) -> bool {
    tx.size_bytes() >= STEP_BYTES_MAX || tx.writes().len() >= STEP_WRITES_MAX
}
