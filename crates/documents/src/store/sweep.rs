//! What happens beside requests: items whose time is over go, what a deleted container or a
//! replaced index left goes, versions go when their retention is over, and index builds go on.
//!
//! Invariant: nothing that a request could see depends on when this runs.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Direction, Key, KeyRange, Scan, Snapshot, Transaction};

use super::container::Container;
use super::keys;
use super::records::{ContainerRecord, ItemRecord, NumberRecord, decode};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::SWEEP_ITEMS_MAX;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Items removed because their time to live was over.
    pub items_expired: u64,
    /// Keys removed that deleted containers and replaced indexes had left, and versions whose
    /// retention was over.
    pub keys_purged: u64,
    /// Index builds that were completed.
    pub indexes_completed: u64,
    /// Whether there is more to do at once.
    pub more: bool,
}

const BUILD_TIME_MAX: Duration = Duration::from_secs(2);

/// Whether a container's policy names composite indexes; whether they are kept, the container knows.
fn asks_for_composites(record: &ContainerRecord) -> bool {
    let composites = record.resource.pointer("/indexingPolicy/compositeIndexes");
    composites
        .and_then(serde_json::Value::as_array)
        .is_some_and(|composites| !composites.is_empty())
}

impl Documents {
    /// Does a bounded amount of the work described above. Call it again soon if
    /// [`SweepReport::more`], else in a minute or so.
    ///
    /// # Errors
    /// The ledger's. What was done by then stays done.
    pub async fn sweep_once(&self) -> Result<SweepReport, DocumentsError> {
        let mut report = SweepReport::default();
        self.purge_some(&mut report).await?;
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(
            snapshot.as_ref(),
            KeyRange::prefix(&keys::all_containers()),
            Direction::Forward,
        );
        let mut items_left = SWEEP_ITEMS_MAX;
        while let Some(entry) = scan.next().await? {
            let record: ContainerRecord = decode(&entry.versioned.value, "a container's record")?;
            let has_ttl = record.resource.get("defaultTtl").is_some();
            let asks_composites = asks_for_composites(&record);
            if record.index_complete
                && record.exact_numbers
                && !asks_composites
                && !has_ttl
                && record.versions.is_none()
            {
                continue;
            }
            let Some(mut container) = self.container_of(snapshot.as_ref(), &entry.key, &record).await? else {
                continue;
            };
            if !record.exact_numbers && self.begin_exact_indexes(&container).await? {
                container = self.latest(&container).await?;
            }
            if asks_composites && self.begin_missing_composites(&container).await? {
                container = self.latest(&container).await?;
            }
            if !container.all_indexes_complete() {
                let complete = self.build_indexes(&container, BUILD_TIME_MAX).await?;
                report.indexes_completed += u64::from(complete);
                report.more |= !complete;
            }
            if has_ttl {
                self.expire_some(snapshot.as_ref(), &container, &mut items_left, &mut report)
                    .await?;
            }
            self.trim_versions(snapshot.as_ref(), &container, &mut report)
                .await?;
        }
        Ok(report)
    }

    /// The container of a record that was met in a scan; `None` if it is gone by now.
    pub(super) async fn container_of(
        &self,
        snapshot: &dyn Snapshot,
        key: &Key,
        record: &ContainerRecord,
    ) -> Result<Option<Arc<Container>>, DocumentsError> {
        let Some(database) = keys::read_container(key) else {
            return Ok(None);
        };
        let Some(owner) = snapshot.get(&keys::database_number(database)).await? else {
            return Ok(None);
        };
        let owner: NumberRecord = decode(&owner.value, "a database's number")?;
        let id = record
            .resource
            .get("id")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        match self.container(&owner.owner, &owner.id, id).await {
            Ok(container) if container.number == record.number => Ok(Some(container)),
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn expire_some(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        items_left: &mut usize,
        report: &mut SweepReport,
    ) -> Result<(), DocumentsError> {
        let start = self
            .sweep_positions
            .lock()
            .get(&container.number)
            .copied()
            .unwrap_or(0);
        let range = KeyRange::prefix_from(
            &keys::items(container.number),
            keys::item(container.number, start),
        );
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let now = self.clock.now().as_second();
        while let Some(entry) = scan.next().await? {
            let Some((_, number)) = keys::read_item(&entry.key) else {
                break;
            };
            if *items_left == 0 {
                self.sweep_positions.lock().insert(container.number, number);
                report.more = true;
                return Ok(());
            }
            *items_left -= 1;
            let record = ItemRecord::decode(&entry.versioned.value)?;
            if record.is_expired(container.default_ttl, now) {
                report.items_expired += u64::from(self.expire(container, number).await?);
            }
        }
        self.sweep_positions.lock().remove(&container.number);
        Ok(())
    }

    async fn expire(&self, container: &Container, number: u64) -> Result<bool, DocumentsError> {
        let container = match self.latest(container).await {
            Ok(container) => container,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        let snapshot = self.ledger.snapshot().await?;
        let Some(found) = snapshot.get(&keys::item(container.number, number)).await? else {
            return Ok(false);
        };
        let document = ItemRecord::decode(&found.value)?.parse()?;
        let key = container.partition_key.extract(&document)?;
        let id = document
            .get("id")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        let mut tx = Transaction::new();
        if !self
            .remove_expired(&mut tx, snapshot.as_ref(), &container, &key, id)
            .await?
        {
            return Ok(false);
        }
        match self.commit_or_conflict(tx).await? {
            Some(_) => Ok(true),
            None => {
                self.catalog.forget(&container);
                Ok(false)
            }
        }
    }
}
