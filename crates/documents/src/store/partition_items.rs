//! All items of one partition, for services above: read from the caller's own snapshot, so what
//! they decide on agrees with what else they read there.

use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Direction, KeyRange, ScanLimit, Snapshot};

use super::container::Container;
use super::item::{Item, ItemText};
use super::keys;
use super::records::ItemRecord;
use crate::Documents;
use crate::error::DocumentsError;
use crate::rules::partition_key::PartitionKey;

/// Keys of a partition that are read at once.
const PAGE_ENTRIES: usize = 128;

impl Documents {
    /// The items of a partition in the order of their creation, at most `items_max` of them; those
    /// whose time to live is over are left out.
    ///
    /// # Errors
    /// The ledger's; [`DocumentsError::TooLarge`] if there are more.
    pub async fn read_partition(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        partition_key: &PartitionKey,
        items_max: usize,
    ) -> Result<Vec<Item>, DocumentsError> {
        let items = self
            .read_partition_texts(snapshot, container, partition_key, items_max)
            .await?;
        items.into_iter().map(ItemText::into_item).collect()
    }

    /// As [`Documents::read_partition`], not taken apart.
    ///
    /// # Errors
    /// As [`Documents::read_partition`].
    pub async fn read_partition_texts(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        partition_key: &PartitionKey,
        items_max: usize,
    ) -> Result<Vec<ItemText>, DocumentsError> {
        let now = self.clock.now().as_second();
        let prefix = keys::partition(container.number, &container.place(partition_key));
        let mut rest = Some(KeyRange::prefix(&prefix));
        let mut items = Vec::new();
        while let Some(range) = rest {
            let limit = ScanLimit {
                entries_max: PAGE_ENTRIES,
                bytes_max: SCAN_PAGE_BYTES_MAX,
            };
            let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
            let mut wanted = Vec::with_capacity(page.entries.len());
            for entry in &page.entries {
                let number = keys::ending_number(&entry.key).ok_or_else(|| {
                    DocumentsError::Damaged(format!("a partition's key of {} is malformed", container.rid))
                })?;
                wanted.push(keys::item(container.number, number));
            }
            for (key, found) in wanted.iter().zip(snapshot.get_many(&wanted).await?) {
                let found = found.ok_or_else(|| {
                    DocumentsError::Damaged(format!(
                        "a partition of {} lists {key:?}, which isn't there",
                        container.rid
                    ))
                })?;
                let record = ItemRecord::decode(&found.value)?;
                if record.is_expired(container.default_ttl, now) {
                    continue;
                }
                if items.len() == items_max {
                    return Err(DocumentsError::TooLarge(format!(
                        "The partition has more than {items_max} items."
                    )));
                }
                items.push(ItemText::new(record, found.version));
            }
            rest = page.rest;
        }
        Ok(items)
    }
}
