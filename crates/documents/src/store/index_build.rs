//! Filling new indexes with the items that are there already.
//!
//! While it runs, writes keep the new indexes and queries don't use them. Each commit covers some
//! items and moves the position, so a build goes on after a crash where it was. Indexes that begin
//! together are filled together.
//!
//! A commit demands its items as they were read. If others write one of them meanwhile, the next try
//! covers half as many, down to one: so an item that is written all the time holds up no build.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::{Direction, Key, KeyRange, LedgerError, Scan, Snapshot, Transaction};

use super::catalog_log::log_container;
use super::container::Container;
use super::item_index::{composite_entries, terms_of};
use super::items::read_number;
use super::keys;
use super::records::{CompositeIndex, ItemRecord, encode};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{INDEX_BUILD_ITEMS_PER_COMMIT_MAX, INDEX_ENTRIES_PER_ITEM_MAX};

/// The indexes that one pass over the items fills.
struct Targets {
    /// Whether the index of single paths is one of them.
    single: bool,
    composites: Vec<CompositeIndex>,
    /// The next item's number.
    position: u64,
}

impl Targets {
    fn numbers(&self, container: &Container) -> Vec<u32> {
        let single = self.single.then_some(container.index);
        let composites = self.composites.iter().map(|composite| composite.index);
        single.into_iter().chain(composites).collect()
    }

    fn entries(
        &self,
        container: &Container,
        record: &ItemRecord,
        number: u64,
    ) -> Result<Vec<Key>, DocumentsError> {
        let document = record.parse()?;
        let mut entries = composite_entries(&self.composites, record.indexed, &document, record.ts, number);
        if self.single {
            let terms = terms_of(&container.policy, record.indexed, &document, record.ts)?;
            entries.extend(
                terms
                    .iter()
                    .map(|term| keys::index_entry(container.index, term, number)),
            );
        }
        Ok(entries)
    }
}

impl Documents {
    /// Builds until all indexes are complete or `time_max` is over; true if they are complete.
    pub(crate) async fn build_indexes(
        &self,
        container: &Arc<Container>,
        time_max: Duration,
    ) -> Result<bool, DocumentsError> {
        let start = self.clock.monotonic();
        let mut container = container.clone();
        let mut items_max = INDEX_BUILD_ITEMS_PER_COMMIT_MAX;
        loop {
            if container.all_indexes_complete() {
                return Ok(true);
            }
            let built = self.build_some(&container, items_max).await;
            items_max = match built {
                Ok(_) => (items_max * 2).min(INDEX_BUILD_ITEMS_PER_COMMIT_MAX),
                Err(_) => (items_max / 2).max(1),
            };
            match built {
                Ok(false) => {}
                Ok(true) => container = self.latest(&container).await?,
                // An item or the container changed meanwhile: read again.
                Err(DocumentsError::Ledger(LedgerError::Conflict(_))) => {
                    self.catalog.forget(&container);
                    container = self.latest(&container).await?;
                }
                Err(error) => return Err(error),
            }
            if self.clock.monotonic().saturating_sub(start) >= time_max {
                return Ok(container.all_indexes_complete());
            }
        }
    }

    /// The first index that isn't complete, and those that are as far as it is.
    async fn targets(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
    ) -> Result<Targets, DocumentsError> {
        let mut targets = Targets {
            single: false,
            composites: Vec::new(),
            position: 0,
        };
        let mut first = None;
        let single = (!container.index_complete).then_some((container.index, None));
        let composites = container
            .composites
            .iter()
            .filter(|composite| !composite.complete);
        let composites = composites.map(|composite| (composite.index, Some(composite)));
        for (index, composite) in single.into_iter().chain(composites) {
            let stored = snapshot.get(&keys::index_build(index)).await?;
            let at = stored.map_or(Ok(0), |stored| read_number(&stored.value))?;
            if *first.get_or_insert(at) != at {
                continue;
            }
            targets.position = at;
            match composite {
                None => targets.single = true,
                Some(composite) => targets.composites.push(composite.clone()),
            }
        }
        Ok(targets)
    }

    /// One commit, of so many items at most; true if it completes an index.
    async fn build_some(&self, container: &Container, items_max: usize) -> Result<bool, DocumentsError> {
        let snapshot = self.ledger.snapshot().await?;
        let targets = self.targets(snapshot.as_ref(), container).await?;
        let numbers = targets.numbers(container);
        let start = keys::item(container.number, targets.position);
        let range = KeyRange::prefix_from(&keys::items(container.number), start);
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut tx = Transaction::new();
        tx.require_version(container.key.clone(), Some(container.version));
        let (mut items, mut entries) = (0, 0);
        while let Some(entry) = scan.next().await? {
            let Some((_, number)) = keys::read_item(&entry.key) else {
                break;
            };
            if items >= items_max || entries > INDEX_ENTRIES_PER_ITEM_MAX {
                for index in numbers {
                    tx.put(keys::index_build(index), number.to_be_bytes().to_vec());
                }
                self.ledger.commit(tx).await?;
                return Ok(false);
            }
            let record = ItemRecord::decode(&entry.versioned.value)?;
            let found = targets.entries(container, &record, number)?;
            items += 1;
            entries += found.len();
            tx.require_version(entry.key, Some(entry.versioned.version));
            for key in found {
                tx.put(key, Bytes::new());
            }
        }
        let mut record = container.record();
        record.index_complete |= targets.single;
        for composite in &mut record.index.composites {
            composite.complete |= numbers.contains(&composite.index);
        }
        tx.put(container.key.clone(), encode(&record)?);
        for index in numbers {
            tx.delete(keys::index_build(index));
        }
        log_container(&mut tx, "indexContainer", container);
        self.ledger.commit(tx).await?;
        self.catalog.forget(container);
        Ok(true)
    }
}
