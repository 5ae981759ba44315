//! Filling a new index with the items that are there already.
//!
//! While it runs, writes keep the new index and queries don't use it. Each commit covers some
//! items and moves the position, so a build goes on after a crash where it was.

use std::time::Duration;

use bytes::Bytes;
use ledger::{Direction, KeyRange, LedgerError, Scan, Transaction};

use super::catalog_log::log_container;
use super::container::Container;
use super::item_index::terms_of;
use super::items::read_number;
use super::keys;
use super::records::{ItemRecord, encode};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{INDEX_BUILD_ITEMS_PER_COMMIT_MAX, INDEX_ENTRIES_PER_ITEM_MAX};

impl Documents {
    /// Builds until the index is complete or `time_max` is over; true if it is complete.
    pub(crate) async fn build_index(
        &self,
        container: &Container,
        time_max: Duration,
    ) -> Result<bool, DocumentsError> {
        let start = self.clock.monotonic();
        loop {
            match self.build_some(container).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                // An item or the container changed meanwhile: read again.
                Err(DocumentsError::Ledger(LedgerError::Conflict(_))) => {
                    if self.latest(container).await?.version != container.version {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
            if self.clock.monotonic().saturating_sub(start) >= time_max {
                return Ok(false);
            }
        }
    }

    async fn build_some(&self, container: &Container) -> Result<bool, DocumentsError> {
        let position_key = keys::index_build(container.index);
        let snapshot = self.ledger.snapshot().await?;
        let position = match snapshot.get(&position_key).await? {
            Some(stored) => read_number(&stored.value)?,
            None => 0,
        };
        let start = keys::item(container.number, position);
        let range = KeyRange::prefix_from(&keys::items(container.number), start);
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut tx = Transaction::new();
        tx.require_version(container.key.clone(), Some(container.version));
        let (mut items, mut entries) = (0, 0);
        while let Some(entry) = scan.next().await? {
            let Some((_, number)) = keys::read_item(&entry.key) else {
                break;
            };
            if items >= INDEX_BUILD_ITEMS_PER_COMMIT_MAX || entries > INDEX_ENTRIES_PER_ITEM_MAX {
                tx.put(position_key, number.to_be_bytes().to_vec());
                self.ledger.commit(tx).await?;
                return Ok(false);
            }
            let record = ItemRecord::decode(&entry.versioned.value)?;
            let terms = terms_of(&container.policy, record.indexed, &record.parse()?, record.ts)?;
            items += 1;
            entries += terms.len();
            tx.require_version(entry.key, Some(entry.versioned.version));
            for term in &terms {
                tx.put(keys::index_entry(container.index, term, number), Bytes::new());
            }
        }
        let mut record = container.record();
        record.index_complete = true;
        tx.put(container.key.clone(), encode(&record)?);
        tx.delete(position_key);
        log_container(&mut tx, "indexContainer", container);
        self.ledger.commit(tx).await?;
        self.catalog.forget(container);
        Ok(true)
    }
}
