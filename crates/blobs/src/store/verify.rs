//! Checks the service's own records against each other and against the content store.

use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot, VerifyReport};

use crate::Blobs;
use crate::store::contents::plain_length;
use crate::store::deleted_containers::{DeletedContainer, lacks_expiry};
use crate::store::keys;
use crate::store::records::{BlobRecord, ContainerRecord, decode};

impl Blobs {
    /// Every blob and every state below its name: its record is readable, its tags are in the index, its inline content is there and as long as it says,
    /// its references are there, and the content they mean exists with the right length. So are pages.
    ///
    /// # Errors
    /// As the ledger; a fault in the data is a line in the report.
    pub async fn verify(
        &self,
        snapshot: &dyn Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut containers = Scan::new(snapshot, keys::all_containers(), Direction::Forward);
        while let Some(entry) = containers.next().await? {
            let container: ContainerRecord = decode(&entry.versioned)?;
            self.verify_container(snapshot, &container, report).await?;
        }
        let mut deleted = Scan::new(snapshot, keys::all_deleted_containers(), Direction::Forward);
        while let Some(entry) = deleted.next().await? {
            let deleted: DeletedContainer = decode(&entry.versioned)?;
            if lacks_expiry(snapshot, &entry.key, &deleted).await? {
                let name = &deleted.container.name;
                report.fault(format!("container {name}: a deleted one would be kept for ever"));
            }
            self.verify_container(snapshot, &deleted.container, report)
                .await?;
        }
        self.verify_pages(snapshot, report).await
    }

    async fn verify_container(
        &self,
        snapshot: &dyn Snapshot,
        container: &ContainerRecord,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        for range in [
            keys::blobs(&container.generation, ""),
            keys::snapshots(&container.generation, ""),
        ] {
            self.verify_blobs(snapshot, container, range, report).await?;
        }
        Ok(())
    }

    async fn verify_blobs(
        &self,
        snapshot: &dyn Snapshot,
        container: &ContainerRecord,
        range: KeyRange,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut blobs = Scan::new(snapshot, range, Direction::Forward);
        while let Some(entry) = blobs.next().await? {
            let record: BlobRecord = decode(&entry.versioned)?;
            if keys::state(&container.generation, &record) != entry.key {
                report.fault(format!(
                    "blob {}/{}: its record is under another key",
                    container.name, record.name
                ));
            }
            if let Some(deleted) = &record.deleted {
                let expiry = keys::expiry(deleted.until, &entry.key);
                if snapshot.get(&expiry).await?.is_none() {
                    let place = format!("blob {}/{}", container.name, record.name);
                    report.fault(format!("{place}: a deleted state would be kept for ever"));
                }
            }
            if let Some(version) = record.version.filter(|_| record.below().is_none()) {
                let previous = keys::snapshot(&container.generation, &record.name, version);
                if snapshot.get(&previous).await?.is_some() {
                    let place = format!("blob {}/{}", container.name, record.name);
                    report.fault(format!("{place}: something else has its version's time"));
                }
            }
            for (key, value) in record.tags.iter().filter(|_| record.below().is_none()) {
                let entry = keys::tag(&container.generation, key, value, &record.name);
                if snapshot.get(&entry).await?.is_none() {
                    let place = format!("blob {}/{}", container.name, record.name);
                    report.fault(format!("{place}: its tag {key} is missing in the index"));
                }
            }
            let place = format!("blob {}/{}", container.name, record.name);
            let extents: u64 = record.extents.iter().map(|extent| extent.length).sum();
            if let Some(pages) = &record.pages {
                let owner = keys::map_owner(pages, &entry.key);
                if snapshot.get(&owner).await?.is_none() {
                    report.fault(format!("{place}: its entry as an owner of its pages is missing"));
                }
            } else if extents != record.length {
                report.fault(format!(
                    "{place}: has {} bytes, its extents {extents}",
                    record.length
                ));
            }
            for extent in &record.extents {
                let found = match extent.content {
                    None => {
                        let key = keys::inline(&container.generation, &record.name, record.below());
                        let found = snapshot.get(&key).await?;
                        found.and_then(|found| plain_length(extent.inline, found.value.len() as u64))
                    }
                    Some(content) => {
                        let key = keys::reference(content.id(), &entry.key);
                        if snapshot.get(&key).await?.is_none() {
                            report.fault(format!("{place}: its reference to {} is missing", content.id()));
                        }
                        self.content
                            .info(content.id())
                            .await
                            .ok()
                            .and_then(|info| plain_length(extent.content, info.length_bytes))
                    }
                };
                if found.is_none_or(|length| length < extent.length) {
                    report.fault(format!(
                        "{place}: content of {} bytes, found {found:?}",
                        extent.length
                    ));
                }
            }
            report.records += 1;
        }
        Ok(())
    }
}
