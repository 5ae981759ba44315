//! Soft delete: what is deleted or overwritten is kept for a while as a state below the blob's name,
//! in the range of the snapshots, and can come back.
//!
//! Invariant: whoever looks for a blob or a snapshot doesn't see what is deleted; only listings that
//! ask for it and Undelete Blob do. A kept state has references of its own, as a snapshot has, and an
//! entry by the time at which it goes.

use jiff::SignedDuration;
use ledger::{Direction, LedgerError, Scan, Snapshot, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SWEEP_STEP_ENTRIES_MAX, SWEEP_STEPS_MAX};
use crate::store::blobs::Blob;
use crate::store::containers::Container;
use crate::store::holdings;
use crate::store::keys;
use crate::store::records::{BlobRecord, Deleted, decode, encode};
use crate::store::snapshots::deletion;
use crate::store::steps;

impl Blobs {
    /// How long `container`'s deleted blobs are kept, and what a state that is deleted now carries.
    fn deleted(&self, kept: SignedDuration, was_current: bool) -> Deleted {
        let now = self.clock.now();
        Deleted {
            at: now,
            until: now.saturating_add(kept).unwrap_or(now),
            was_current,
        }
    }

    /// Stages a copy of a blob that is about to be overwritten or deleted, if the account keeps what
    /// is; false if it doesn't.
    pub(crate) async fn stage_keeping(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        blob: &Blob,
        was_current: bool,
    ) -> Result<bool, BlobsError> {
        let Some(kept) = self.retention(snapshot, &container.account).await? else {
            return Ok(false);
        };
        let mut record = blob.record.clone();
        let at = self
            .next_time(snapshot, container, &record.name, record.version)
            .await?;
        record.snapshot = Some(at);
        record.lease = None;
        let deleted = self.deleted(kept, was_current);
        tx.put(
            keys::expiry(deleted.until, &keys::state(&container.record.generation, &record)),
            Vec::new(),
        );
        record.deleted = Some(deleted);
        self.stage_below(tx, snapshot, container, &record).await?;
        Ok(true)
    }

    /// Stages the deletion of a state below its blob's name; false if the account doesn't keep it.
    ///
    /// # Errors
    /// `BlobImmutableDueToPolicy`, `BlobImmutableDueToLegalHold`; the ledger's.
    pub(crate) async fn stage_state_deletion(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        found: &Blob,
    ) -> Result<bool, BlobsError> {
        found.record.protection.deletion(self.clock.now())?;
        let Some(kept) = self.retention(snapshot, &container.account).await? else {
            self.stage_state_removal(tx, container, found);
            return Ok(false);
        };
        let mut record = found.record.clone();
        let deleted = self.deleted(kept, false);
        let key = keys::state(&container.record.generation, &record);
        container.require(tx);
        tx.require_version(key.clone(), Some(found.version));
        tx.put(keys::expiry(deleted.until, &key), Vec::new());
        record.deleted = Some(deleted);
        tx.put(key, encode(&record)?);
        tx.record(self.blob_log_record(deletion(&record), container, None, &record));
        Ok(true)
    }

    /// Stages the removal of a deleted state before its time is over.
    ///
    /// # Errors
    /// `BlobImmutableDueToPolicy`, `BlobImmutableDueToLegalHold`.
    pub(crate) fn stage_deleted_removal(
        &self,
        tx: &mut Transaction,
        container: &Container,
        found: &Blob,
    ) -> Result<(), BlobsError> {
        found.record.protection.deletion(self.clock.now())?;
        if let Some(deleted) = &found.record.deleted {
            let key = keys::state(&container.record.generation, &found.record);
            tx.delete(keys::expiry(deleted.until, &key));
        }
        self.stage_state_removal(tx, container, found);
        Ok(())
    }

    /// Stages the return of a deleted state: as the snapshot or the version that it was, or as the blob, which
    /// must not be there.
    pub(crate) async fn stage_return(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        found: &Blob,
        as_current: bool,
    ) -> Result<(), BlobsError> {
        let generation = &container.record.generation;
        let key = keys::state(generation, &found.record);
        let mut record = found.record.clone();
        let mut was_current = false;
        if let Some(deleted) = record.deleted.take() {
            tx.delete(keys::expiry(deleted.until, &key));
            was_current = deleted.was_current;
        }
        if !as_current {
            container.require(tx);
            tx.require_version(key.clone(), Some(found.version));
            tx.put(key, encode(&record)?);
            return Ok(());
        }
        record.snapshot = None;
        // Whoever was the blob until it was deleted goes on in its map; others have shared theirs.
        if let Some(pages) = record.pages.as_ref().filter(|_| !was_current) {
            let to = keys::blob(generation, &record.name);
            let copied = self.copy_pages((&key, found), pages, &to).await?;
            copied.stage(tx);
            record.pages = Some(copied.pages);
        }
        let inline = snapshot
            .get(&keys::inline(generation, &record.name, found.record.below()))
            .await?;
        let inline = inline.map(|stored| stored.value);
        self.stage_blob(tx, container, None, &record, inline, "undelete")?;
        Self::stage_state_gone(tx, container, found);
        Ok(())
    }

    /// Removes the deleted states whose time is over, in a bounded number of steps.
    pub(crate) async fn sweep_expired(&self) -> Result<u64, BlobsError> {
        let mut removed = 0;
        for _ in 0..SWEEP_STEPS_MAX {
            let (step, complete) = self.expired_step().await?;
            removed += step;
            if complete {
                break;
            }
        }
        Ok(removed)
    }

    /// One step of it, one commit: how many went, and whether there were no more.
    async fn expired_step(&self) -> Result<(u64, bool), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let range = keys::expired(self.clock.now());
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut tx = Transaction::new();
        let (mut removed, mut complete) = (0, true);
        while let Some(entry) = scan.next().await? {
            if removed >= SWEEP_STEP_ENTRIES_MAX as u64 || steps::is_full(&tx) {
                complete = false;
                break;
            }
            removed += 1;
            // Its container may have been purged meanwhile.
            let key = keys::expiring_state(&entry.key);
            let stored = match &key {
                Some(key) => snapshot.get(key).await?,
                None => None,
            };
            let (Some(key), Some(stored)) = (key, stored) else {
                tx.delete(entry.key);
                continue;
            };
            let record: BlobRecord = decode(&stored)?;
            // Nothing that is protected is deleted, so none comes here; it would stay if it did.
            if record.protection.deletion(self.clock.now()).is_err() {
                tracing::error!(
                    name = record.name,
                    "a deleted state of a blob is protected; it stays"
                );
                continue;
            }
            tx.delete(entry.key);
            if record.deleted.is_none() {
                continue;
            }
            tx.require_version(key.clone(), Some(stored.version));
            holdings::release(&mut tx, &record, &key);
            if let Some(inline) = keys::inline_of_state(&key) {
                tx.delete(inline);
            }
            tx.delete(key);
        }
        if tx.is_empty() {
            return Ok((0, true));
        }
        match self.ledger.commit(tx).await {
            Ok(_) => Ok((removed, complete)),
            // Some came back meanwhile: the next round looks again.
            Err(LedgerError::Conflict(_)) => Ok((0, true)),
            Err(error) => Err(error.into()),
        }
    }
}
