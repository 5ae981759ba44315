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
use ledger::{Direction, Entry, KeyRange, LedgerError, Scan, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SWEEP_GRACE_SECONDS, SWEEP_STEP_ENTRIES_MAX};
use crate::store::keys;
use crate::store::records::{BlobRecord, BlockRecord, decode};

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepOutcome {
    /// Records of deleted containers that were removed.
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
        let snapshot = self.ledger.snapshot().await?;
        for entry in self.step(keys::all_purges()).await? {
            let Some(generation) = keys::purged_generation(&entry.key) else {
                continue;
            };
            let mut tx = Transaction::new();
            for range in keys::generation(&generation) {
                for entry in self.step(range).await? {
                    self.stage_purge(&mut tx, &entry)?;
                    outcome.purged_records += 1;
                }
            }
            if tx.is_empty() {
                tx.delete(entry.key);
            }
            self.ledger.commit(tx).await?;
        }
        drop(snapshot);
        for entry in self.step(keys::all_dropped()).await? {
            let Some(id) = keys::dropped_content(&entry.key) else {
                continue;
            };
            if !self.is_referenced(id).await.map_err(LedgerError::Unavailable)? {
                self.content.delete(id).await?;
                outcome.removed_contents += 1;
            }
            let mut tx = Transaction::new();
            tx.require_version(entry.key.clone(), Some(entry.versioned.version));
            tx.delete(entry.key);
            match self.ledger.commit(tx).await {
                Ok(_) | Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(outcome)
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

    fn stage_purge(&self, tx: &mut Transaction, entry: &Entry) -> Result<(), BlobsError> {
        let contents: Vec<ContentId> = if let Ok(record) = decode::<BlobRecord>(&entry.versioned) {
            record.contents().collect()
        } else if let Ok(block) = decode::<BlockRecord>(&entry.versioned) {
            vec![block.content.id()]
        } else {
            Vec::new()
        };
        for content in contents {
            tx.delete(keys::reference(content, &entry.key));
            tx.put(keys::dropped(content), Vec::new());
        }
        tx.delete(entry.key.clone());
        Ok(())
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
