//! The background work: purges deleted containers, lets go of staged blocks that nobody commits, removes content that lost its last reference,
//! and content that no commit ever referred to.
//!
//! Invariant: content is removed only when the newest state has no reference to it; a commit that
//! would add one requires the record it copies from to be unchanged, and that record's own
//! reference is there until the same commit that queued the content here.

use std::time::Duration;

use async_trait::async_trait;
use content::ContentId;
use content::sweep::{AnyOf, References, SweepReport, sweep};
use ledger::{Direction, Entry, Key, KeyRange, LedgerError, Scan, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SWEEP_GRACE_SECONDS, SWEEP_STEP_ENTRIES_MAX, SWEEP_STEPS_MAX};
use crate::store::holdings;
use crate::store::keys::{self, Generation};
use crate::store::records::{BlobRecord, BlockRecord, decode};
use crate::store::steps;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepOutcome {
    /// Records of deleted containers, and deleted states of blobs with their parts, and staged blocks that
    /// nobody committed, that were removed.
    pub purged_records: u64,
    /// Contents that were removed because their last reference went.
    pub removed_contents: u64,
}

/// What an entry of a deleted container is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// A blob's record, or a snapshot's.
    Blob,
    /// A staged block's.
    Block,
    /// One that refers to nothing.
    Bare,
}

impl Blobs {
    /// One bounded round: call it every few seconds.
    ///
    /// # Errors
    /// As the ledger and the content store; the next round goes on.
    pub async fn sweep_once(&self) -> Result<SweepOutcome, BlobsError> {
        let mut outcome = SweepOutcome::default();
        let mut more = SWEEP_STEPS_MAX;
        if let Err(error) = self.sweep_deleted_containers().await {
            tracing::error!(%error, "deleted containers weren't looked at; the next round tries again");
        }
        for entry in self.step(keys::all_purges()).await? {
            let Some(generation) = keys::purged_generation(&entry.key) else {
                continue;
            };
            // Each has a step at least, however much the first ones have to remove.
            loop {
                match self.purge_step(&generation, &entry.key).await {
                    Ok((records, complete)) => {
                        outcome.purged_records += records;
                        if complete || more == 0 {
                            break;
                        }
                        more -= 1;
                    }
                    // What is wrong with one container holds no other work up.
                    Err(error) => {
                        tracing::error!(
                            generation = %uuid::Uuid::from_bytes(generation),
                            %error,
                            "a deleted container couldn't be purged; the next round tries again"
                        );
                        break;
                    }
                }
            }
        }
        outcome.purged_records += self.sweep_expired().await?;
        match self.sweep_staged().await {
            Ok(records) => outcome.purged_records += records,
            Err(error) => {
                tracing::error!(%error, "staged blocks weren't looked at; the next round tries again");
            }
        }
        if let Err(error) = self.sweep_copies().await {
            tracing::error!(%error, "unfinished copies of page blobs weren't looked at; the next round tries again");
        }
        self.sweep_maps().await?;
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

    /// Removes some of what a deleted container had, in one commit: how many records, and whether that
    /// was all.
    async fn purge_step(&self, generation: &Generation, purge: &Key) -> Result<(u64, bool), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let [blobs, snapshots, inline, blocks, tags, uploads] = keys::generation(generation);
        let parts = [
            (blobs, Part::Blob),
            (snapshots, Part::Blob),
            (blocks, Part::Block),
            (inline, Part::Bare),
            (tags, Part::Bare),
            (uploads, Part::Bare),
        ];
        let mut tx = Transaction::new();
        let (mut looked_at, mut records) = (0, 0);
        for (range, part) in parts {
            let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
            while let Some(entry) = scan.next().await? {
                if looked_at >= SWEEP_STEP_ENTRIES_MAX || steps::is_full(&tx) {
                    self.ledger.commit(tx).await?;
                    return Ok((records, false));
                }
                looked_at += 1;
                records += u64::from(part != Part::Bare);
                match part {
                    Part::Blob => {
                        let record: BlobRecord = decode(&entry.versioned)?;
                        holdings::release(&mut tx, &record, &entry.key);
                        tx.delete(entry.key.clone());
                    }
                    Part::Block => {
                        let block: BlockRecord = decode(&entry.versioned)?;
                        tx.delete(keys::reference(block.content.id(), &entry.key));
                        tx.put(keys::dropped(block.content.id()), Vec::new());
                        tx.delete(entry.key.clone());
                    }
                    Part::Bare => tx.delete(entry.key.clone()),
                }
            }
        }
        tx.delete(purge.clone());
        self.ledger.commit(tx).await?;
        Ok((records, true))
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

    /// Walks the whole content store for content that no commit ever referred to, of blobs or of `others` that
    /// share the store: call it daily.
    ///
    /// # Errors
    /// As the content store.
    pub async fn sweep_orphans(&self, others: &[&dyn References]) -> Result<SweepReport, BlobsError> {
        let grace = Duration::from_secs(SWEEP_GRACE_SECONDS);
        let mut all: Vec<&dyn References> = vec![self];
        all.extend(others);
        Ok(sweep(&self.content, &AnyOf::new(all), self.clock.now(), grace).await?)
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

#[async_trait]
impl References for Blobs {
    async fn is_referenced(&self, id: ContentId) -> Result<bool, String> {
        let snapshot = self.ledger.snapshot().await.map_err(|error| error.to_string())?;
        let mut scan = Scan::new(snapshot.as_ref(), keys::references(id), Direction::Forward);
        Ok(scan.next().await.map_err(|error| error.to_string())?.is_some())
    }
}
