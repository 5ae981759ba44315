//! Versions of blobs in the ledger. Where an account has versioning, what a write makes is a version, by the time
//! of its making, and what it replaces stays as a previous version, below the blob's name like a snapshot. So
//! does a blob that is deleted.
//!
//! Invariant: a version isn't lost but by its own deletion: who replaces or removes a blob that is a version
//! stages it as a previous one in the same commit, also where the account has no versioning any more. All
//! versions of a name are of one kind.

use jiff::Timestamp;
use ledger::{Direction, Scan, Snapshot, Transaction};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::store::blobs::Blob;
use crate::store::containers::Container;
use crate::store::immutability;
use crate::store::keys;
use crate::store::records::{BlobRecord, ContainerRecord, decode, encode};
use crate::store::states::whole_ticks;

/// Blobs of a container that are looked at for signs of versioning.
const SIGNS_BLOBS_MAX: usize = 1_000;

impl Blobs {
    /// Whether writes to an account's blobs make versions.
    pub(crate) fn makes_versions(&self, account: &str) -> bool {
        self.account(account).is_some_and(|account| account.versioning)
    }

    /// Whether the ledger shows that an account has a change feed or versioning, which whoever writes without its
    /// settings would pass over: what shows it. Of a container's blobs the first [`SIGNS_BLOBS_MAX`] are looked at.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn signs_of_settings(&self, account: &str) -> Result<Option<&'static str>, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        if snapshot.get(&keys::change_feed(account)).await?.is_some() {
            return Ok(Some("a change feed"));
        }
        let mut containers = Scan::new(
            snapshot.as_ref(),
            keys::containers(account, ""),
            Direction::Forward,
        );
        while let Some(entry) = containers.next().await? {
            let container: ContainerRecord = decode(&entry.versioned)?;
            let range = keys::blobs(&container.generation, "");
            let mut blobs = Scan::new(snapshot.as_ref(), range, Direction::Forward);
            for _ in 0..SIGNS_BLOBS_MAX {
                let Some(entry) = blobs.next().await? else { break };
                let blob: BlobRecord = decode(&entry.versioned)?;
                if blob.version.is_some() {
                    return Ok(Some("versions"));
                }
            }
        }
        Ok(None)
    }

    /// Gives the state that a write makes its version, if it is to be one, and stages the state that it
    /// replaces as a previous version, if that is one or becomes one; whether it is kept so. A page blob whose
    /// pages stay the same goes on in its next epoch.
    ///
    /// # Errors
    /// `InvalidBlobType` if the name's versions are of another kind; the ledger's.
    pub(crate) async fn stage_version(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        before: Option<&Blob>,
        record: &mut BlobRecord,
    ) -> Result<bool, BlobsError> {
        let makes = self.makes_versions(&container.account);
        record.version = None;
        record.previous = false;
        let Some(before) = before else {
            if makes {
                let kind = self.kind_of_versions(snapshot, container, &record.name).await?;
                if kind.is_some_and(|kind| kind != record.kind) {
                    return Err(ErrorCode::InvalidBlobType.into());
                }
                record.version = Some(self.next_time(snapshot, container, &record.name, None).await?);
            }
            return Ok(false);
        };
        if !makes && before.record.version.is_none() {
            return Ok(false);
        }
        if before.record.kind != record.kind {
            return Err(ErrorCode::InvalidBlobType.into());
        }
        let kept = self.stage_previous(tx, snapshot, container, before).await?;
        if makes {
            let next = self.next_time(snapshot, container, &record.name, Some(kept));
            record.version = Some(next.await?);
        }
        // An incremental copy isn't written, and its map is its source's.
        let own = record.pages.as_mut().filter(|_| record.incremental.is_none());
        if let (Some(own), Some(old)) = (own, &before.record.pages)
            && own.map == old.map
        {
            own.epoch = old.epoch + 1;
        }
        Ok(true)
    }

    /// As [`Self::stage_version`], for a write of a whole blob: what it replaces is otherwise kept for a while,
    /// if the account keeps it.
    ///
    /// # Errors
    /// As [`Self::stage_version`]; `BlobImmutableDueToPolicy`, `BlobImmutableDueToLegalHold` if it is protected
    /// and wouldn't stay as a version.
    pub(crate) async fn stage_replacing(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        before: Option<&Blob>,
        record: &mut BlobRecord,
    ) -> Result<(), BlobsError> {
        let kept = self
            .stage_version(tx, snapshot, container, before, record)
            .await?;
        if let Some(before) = before.filter(|_| !kept) {
            before.record.protection.deletion(self.clock.now())?;
            self.stage_keeping(tx, snapshot, container, before, false).await?;
        }
        Ok(())
    }

    /// Stages a blob as it is as a previous version; its id. One from before its account had versioning gets
    /// the time at which it was made.
    pub(crate) async fn stage_previous(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        blob: &Blob,
    ) -> Result<Timestamp, BlobsError> {
        let version = match blob.record.version {
            Some(version) => version,
            None => self.late_version(snapshot, container, &blob.record).await?,
        };
        let record = BlobRecord {
            version: Some(version),
            previous: true,
            lease: None,
            ..blob.record.clone()
        };
        self.stage_below(tx, snapshot, container, &record).await?;
        Ok(version)
    }

    async fn late_version(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        record: &BlobRecord,
    ) -> Result<Timestamp, BlobsError> {
        let made = whole_ticks(record.last_modified);
        let key = keys::snapshot(&container.record.generation, &record.name, made);
        match snapshot.get(&key).await? {
            None => Ok(made),
            Some(_) => self.next_time(snapshot, container, &record.name, None).await,
        }
    }

    /// Stages what stays of a blob that is about to be deleted: a previous version, or what the account keeps
    /// for a while; false if nothing does.
    pub(crate) async fn stage_leaving(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        blob: &Blob,
    ) -> Result<bool, BlobsError> {
        if !self.makes_versions(&container.account) && blob.record.version.is_none() {
            return self.stage_keeping(tx, snapshot, container, blob, true).await;
        }
        self.stage_previous(tx, snapshot, container, blob).await?;
        Ok(true)
    }

    /// Stages a state's record with tags, a tier or protection changed, be it the blob or what lies below its name.
    pub(crate) fn stage_change(
        &self,
        tx: &mut Transaction,
        container: &Container,
        found: &Blob,
        record: &BlobRecord,
        op: &str,
    ) -> Result<(), BlobsError> {
        if record.below().is_none() {
            return self.stage_blob(tx, container, Some(found), record, None, op);
        }
        let key = keys::state(&container.record.generation, record);
        container.require(tx);
        tx.require_version(key.clone(), Some(found.version));
        immutability::mark(tx, &container.record.generation, record);
        tx.put(key, encode(record)?);
        tx.record(self.blob_log_record(op, container, Some(&found.record), record));
        Ok(())
    }
}
