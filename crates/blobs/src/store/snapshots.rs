//! Snapshots of blobs in the ledger: records of their own, below the blob's name, with references of
//! their own to the content that they share with it.
//!
//! Invariant: a snapshot is taken of a blob, or comes back, in a commit that writes the blob's record anew, so
//! that whoever removes the blob meanwhile notices. One has no blob only if it came back where there was none,
//! which versioning leaves as it is.

use jiff::Timestamp;
use ledger::{Snapshot, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::rules::immutability::Protection;
use crate::store::blobs::Blob;
use crate::store::containers::Container;
use crate::store::holdings;
use crate::store::immutability;
use crate::store::keys;
use crate::store::records::{BlobRecord, encode};
use crate::store::states::next_tick;

/// What the log calls the deletion of a state below its blob's name.
pub(crate) fn deletion(record: &BlobRecord) -> &'static str {
    if record.previous {
        "deleteVersion"
    } else {
        "deleteSnapshot"
    }
}

impl Blobs {
    /// Stages a state below its blob's name that has the content which the blob has in `snapshot`.
    pub(crate) async fn stage_below(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        record: &BlobRecord,
    ) -> Result<(), BlobsError> {
        let generation = &container.record.generation;
        let key = keys::state(generation, record);
        tx.require_absent(key.clone());
        if let Some(stored) = snapshot
            .get(&keys::inline(generation, &record.name, None))
            .await?
            && record.extents.iter().any(|extent| extent.content.is_none())
        {
            tx.put(
                keys::inline(generation, &record.name, record.below()),
                stored.value,
            );
        }
        holdings::hold(tx, record, &key);
        immutability::mark(tx, generation, record);
        tx.put(key, encode(record)?);
        Ok(())
    }

    /// Stages a blob's record anew, as it is, so that whoever removes the blob meanwhile notices.
    pub(crate) fn stage_anew(
        &self,
        tx: &mut Transaction,
        container: &Container,
        blob: &Blob,
    ) -> Result<(), BlobsError> {
        let key = keys::blob(&container.record.generation, &blob.record.name);
        container.require(tx);
        tx.require_version(key.clone(), Some(blob.version));
        tx.put(key, encode(&blob.record)?);
        Ok(())
    }

    /// Stages a snapshot of a blob, as `record` has it, and the blob's record anew; the snapshot's time. A page
    /// blob goes on in its next epoch. Where the account has versioning, what the blob was is a previous version
    /// then, and the blob a new one, whose id is given as well.
    pub(crate) async fn stage_snapshot_of(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        blob: &Blob,
        record: BlobRecord,
    ) -> Result<(Timestamp, Option<Timestamp>), BlobsError> {
        self.stage_anew(tx, container, blob)?;
        let key = keys::blob(&container.record.generation, &blob.record.name);
        let mut next = blob.record.clone();
        let mut newest = blob.record.version;
        let makes = self.makes_versions(&container.account);
        if makes {
            newest = Some(self.stage_previous(tx, snapshot, container, blob).await?);
        }
        let at = self.next_time(snapshot, container, &record.name, newest).await?;
        if makes {
            next.version = Some(next_tick(at));
        }
        if let Some(pages) = &mut next.pages {
            tx.delete(keys::map_owner(pages, &key));
            pages.epoch += 1;
            tx.put(keys::map_owner(pages, &key), Vec::new());
        }
        tx.put(key, encode(&next)?);
        let taken = BlobRecord {
            snapshot: Some(at),
            version: None,
            lease: None,
            // A policy is of the version for which it was set: the blob keeps it, and so does what it was.
            protection: Protection::default(),
            ..record
        };
        tx.record(self.blob_log_record("snapshot", container, None, &taken));
        self.stage_below(tx, snapshot, container, &taken).await?;
        Ok((at, next.version.filter(|_| makes)))
    }

    /// Stages the removal of a state below its blob's name.
    pub(crate) fn stage_state_removal(&self, tx: &mut Transaction, container: &Container, found: &Blob) {
        Self::stage_state_gone(tx, container, found);
        let record = self.blob_log_record(deletion(&found.record), container, None, &found.record);
        tx.record(record);
    }

    /// The same of one that isn't deleted by it: it is there in another place.
    pub(crate) fn stage_state_gone(tx: &mut Transaction, container: &Container, found: &Blob) {
        let generation = &container.record.generation;
        let key = keys::state(generation, &found.record);
        container.require(tx);
        tx.require_version(key.clone(), Some(found.version));
        holdings::release(tx, &found.record, &key);
        tx.delete(keys::inline(generation, &found.record.name, found.record.below()));
        tx.delete(key);
    }
}
