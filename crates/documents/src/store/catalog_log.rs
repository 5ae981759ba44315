//! What the log says of databases and containers, and how other nodes' memory follows it.
//!
//! Invariant: memory never decides a write (see [`super::catalog`]); what is read by a container
//! that another node has changed is at most as old as the last [`Documents::follow_catalog`].

use ledger::{Keyspace, LedgerError, LogRecord, Sequence, Transaction};
use serde_json::json;

use super::container::Container;
use crate::Documents;

/// The kind of this service's records about databases and containers in the log.
pub const LOG_KIND_CATALOG: u8 = 2;

/// Log entries that are read at once.
const PAGE_ENTRIES: usize = 1_000;
const PAGE_BYTES: usize = 1024 * 1024;

/// Says in the log what becomes of a container.
pub(super) fn log_container(tx: &mut Transaction, op: &str, container: &Container) {
    log(
        tx,
        &json!({"op": op, "account": container.account, "database": container.database, "container": container.id}),
    );
}

/// Says in the log what becomes of a database.
pub(super) fn log_database(tx: &mut Transaction, op: &str, account: &str, database: &str) {
    log(tx, &json!({"op": op, "account": account, "database": database}));
}

fn log(tx: &mut Transaction, payload: &serde_json::Value) {
    tx.record(LogRecord {
        keyspace: Keyspace::Documents,
        kind: LOG_KIND_CATALOG,
        payload: payload.to_string().into(),
    });
}

impl Documents {
    /// Reads the log behind `position` and forgets containers in memory if any was changed; where
    /// to go on. A node that shares its ledger calls this whenever the head has moved.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn follow_catalog(&self, mut position: Sequence) -> Result<Sequence, LedgerError> {
        loop {
            let page = match self.ledger.log_page(position, PAGE_ENTRIES, PAGE_BYTES).await {
                Ok(page) => page,
                Err(LedgerError::LogTrimmed { through }) => {
                    self.catalog.forget_all();
                    position = through;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let changed = page
                .entries
                .iter()
                .flat_map(|entry| &entry.records)
                .any(|record| record.keyspace == Keyspace::Documents && record.kind == LOG_KIND_CATALOG);
            if changed {
                self.catalog.forget_all();
            }
            match page.entries.last() {
                Some(last) => position = last.sequence,
                None => return Ok(position),
            }
            if position >= page.head {
                return Ok(position);
            }
        }
    }
}
