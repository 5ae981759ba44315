//! The background work: purges deleted containers, removes content that lost its last reference,
//! and content that no commit ever referred to.
//!
//! Invariant: content is removed only when the newest state has no reference to it; a commit that
//! would add one requires the record it copies from to be unchanged, and that record's own
//! reference is there until the same commit that queued the content here.

use std::time::Duration;

use async_trait::async_trait;
use content::ContentId;
use content::sweep::{References, SweepReport, sweep};
use ledger::{Direction, Entry, Key, KeyRange, LedgerError, Scan, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SWEEP_GRACE_SECONDS, SWEEP_STEP_ENTRIES_MAX, SWEEP_STEPS_MAX};
use crate::store::keys;
use crate::store::records::{BlobRecord, BlockRecord, decode};

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepOutcome {
    /// Records of deleted containers, and deleted states of blobs with their parts, that were removed.
    pub purged_records: u64,
    /// Contents that were removed because their last reference went.
    pub removed_contents: u64,
}

impl Blobs {
    /// One bounded round: call it every few seconds.
    ///
    /// # Errors
    /// As the ledger and the content store; the next round goes on.
    pub async fn sweep_once(&self) -> Result<SweepOutcome, BlobsError> {
        let mut outcome = SweepOutcome::default();
        for entry in self.step(keys::all_purges()).await? {
            let Some(generation) = keys::purged_generation(&entry.key) else {
                continue;
            };
            let mut tx = Transaction::new();
            let [blobs, snapshots, inline, blocks, tags] = keys::generation(&generation);
            for range in [blobs, snapshots] {
                for entry in self.step(range).await? {
                    let record: BlobRecord = decode(&entry.versioned)?;
                    stage_purge(&mut tx, &entry.key, record.contents());
                    outcome.purged_records += 1;
                }
            }
            for range in [inline, tags] {
                for entry in self.step(range).await? {
                    stage_purge(&mut tx, &entry.key, std::iter::empty());
                }
            }
            for entry in self.step(blocks).await? {
                let block: BlockRecord = decode(&entry.versioned)?;
                stage_purge(&mut tx, &entry.key, std::iter::once(block.content.id()));
                outcome.purged_records += 1;
            }
            if tx.is_empty() {
                tx.delete(entry.key);
            }
            self.ledger.commit(tx).await?;
        }
        outcome.purged_records += self.sweep_expired().await?;
        for _ in 0..SWEEP_STEPS_MAX {
            let dropped = self.step(keys::all_dropped()).await?;
            let complete = dropped.len() < SWEEP_STEP_ENTRIES_MAX;
            outcome.removed_contents += self.remove_dropped(dropped).await?;
            if complete {
                break;
            }
        }
        Ok(outcome)
    }

    /// Removes the contents that these entries queued, but for those that are referred to; then
    /// the entries, in one commit. One that was queued anew meanwhile is left for the next round.
    async fn remove_dropped(&self, dropped: Vec<Entry>) -> Result<u64, BlobsError> {
        let mut removed = 0;
        let mut tx = Transaction::new();
        for entry in dropped {
            let Some(id) = keys::dropped_content(&entry.key) else {
                continue;
            };
            if !self.is_referenced(id).await.map_err(LedgerError::Unavailable)? {
                self.content.delete(id).await?;
                removed += 1;
            }
            tx.require_version(entry.key.clone(), Some(entry.versioned.version));
            tx.delete(entry.key);
        }
        if tx.is_empty() {
            return Ok(removed);
        }
        match self.ledger.commit(tx).await {
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(removed),
            Err(error) => Err(error.into()),
        }
    }

    /// Walks the whole content store for content that no commit ever referred to: call it daily.
    ///
    /// # Errors
    /// As the content store.
    pub async fn sweep_orphans(&self) -> Result<SweepReport, BlobsError> {
        let grace = Duration::from_secs(SWEEP_GRACE_SECONDS);
        Ok(sweep(&self.content, self, self.clock.now(), grace).await?)
    }

    async fn step(&self, range: KeyRange) -> Result<Vec<Entry>, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut entries = Vec::new();
        while entries.len() < SWEEP_STEP_ENTRIES_MAX
            && let Some(entry) = scan.next().await?
        {
            entries.push(entry);
        }
        Ok(entries)
    }
}

/// Removes a record of a deleted container; what it referred to is queued.
fn stage_purge(tx: &mut Transaction, key: &Key, contents: impl Iterator<Item = ContentId>) {
    for content in contents {
        tx.delete(keys::reference(content, key));
        tx.put(keys::dropped(content), Vec::new());
    }
    tx.delete(key.clone());
}

#[async_trait]
impl References for Blobs {
    async fn is_referenced(&self, id: ContentId) -> Result<bool, String> {
        let snapshot = self.ledger.snapshot().await.map_err(|error| error.to_string())?;
        let mut scan = Scan::new(snapshot.as_ref(), keys::references(id), Direction::Forward);
        Ok(scan.next().await.map_err(|error| error.to_string())?.is_some())
    }
}
