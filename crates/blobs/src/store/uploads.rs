//! Names that have staged blocks: for listings of blobs that aren't committed, and for the sweep, which lets go of
//! blocks that nobody added to or committed for a week.
//!
//! Invariant: each staged block's name has a record, and an entry by the time at which its blocks go. Whoever
//! stages a block writes both, without a condition; whoever removes a name's blocks demands its record as it
//! was read, so no block stays without one. Blocks from before there were such records stay until they are
//! committed or replaced.

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, Entry, Key, LedgerError, Scan, Snapshot, Transaction, Versioned};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{STAGED_DAYS_MAX, STAGED_TOUCH_SECONDS, SWEEP_STEP_ENTRIES_MAX, SWEEP_STEPS_MAX};
use crate::store::blocks::stage_entry_removal;
use crate::store::keys::{self, Generation};
use crate::store::records::{UploadRecord, decode, encode};

/// When the blocks of a name go, if nothing comes.
fn until(record: &UploadRecord) -> Timestamp {
    let kept = SignedDuration::from_hours(24 * STAGED_DAYS_MAX);
    record.at.saturating_add(kept).unwrap_or(Timestamp::MAX)
}

/// Stages what a name has when a block is staged for it. Its time is moved each hour at most.
pub(crate) async fn stage(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    (generation, name): (&Generation, &str),
    now: Timestamp,
) -> Result<(), BlobsError> {
    let key = keys::upload(generation, name);
    let before: Option<UploadRecord> = snapshot
        .get(&key)
        .await?
        .map(|found| decode(&found))
        .transpose()?;
    let record = match before {
        Some(before) if now.duration_since(before.at).as_secs() < STAGED_TOUCH_SECONDS => before,
        before => {
            if let Some(before) = before {
                tx.delete(keys::upload_expiry(until(&before), &key));
            }
            UploadRecord {
                name: name.to_owned(),
                at: now,
            }
        }
    };
    tx.put(keys::upload_expiry(until(&record), &key), Vec::new());
    tx.put(key, encode(&record)?);
    Ok(())
}

/// Stages the removal of what a name had while it had staged blocks.
pub(crate) fn stage_removal(tx: &mut Transaction, key: &Key, found: &Versioned) -> Result<(), BlobsError> {
    let record: UploadRecord = decode(found)?;
    tx.require_version(key.clone(), Some(found.version));
    tx.delete(keys::upload_expiry(until(&record), key));
    tx.delete(key.clone());
    Ok(())
}

impl Blobs {
    /// Removes the staged blocks whose time is over, in a bounded number of steps: how many went.
    pub(crate) async fn sweep_staged(&self) -> Result<u64, BlobsError> {
        let mut removed = 0;
        for _ in 0..SWEEP_STEPS_MAX {
            let Some(step) = self.staged_step().await? else {
                break;
            };
            removed += step;
        }
        Ok(removed)
    }

    /// Removes some of the blocks of the name that is due first, in one commit; `None` if none is due.
    async fn staged_step(&self) -> Result<Option<u64>, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let now = self.clock.now();
        let mut due = Scan::new(snapshot.as_ref(), keys::expired_uploads(now), Direction::Forward);
        let Some(entry) = due.next().await? else {
            return Ok(None);
        };
        let mut tx = Transaction::new();
        let mut removed = 0;
        let key = keys::expiring_upload(&entry.key);
        let found = match &key {
            Some(key) => snapshot.get(key).await?,
            None => None,
        };
        match (key, found) {
            (Some(key), Some(found)) if until(&decode(&found)?) < now => {
                let mut blocks = Scan::new(
                    snapshot.as_ref(),
                    keys::blocks_of_upload(&key),
                    Direction::Forward,
                );
                let mut entries: Vec<Entry> = Vec::new();
                while entries.len() <= SWEEP_STEP_ENTRIES_MAX
                    && let Some(block) = blocks.next().await?
                {
                    entries.push(block);
                }
                for block in entries.iter().take(SWEEP_STEP_ENTRIES_MAX) {
                    stage_entry_removal(&mut tx, block)?;
                    removed += 1;
                }
                // Who stages another block meanwhile keeps the others.
                tx.require_version(key.clone(), Some(found.version));
                if entries.len() <= SWEEP_STEP_ENTRIES_MAX {
                    stage_removal(&mut tx, &key, &found)?;
                    tx.delete(entry.key);
                }
            }
            // The name has no blocks any more, or a later time.
            _ => tx.delete(entry.key),
        }
        match self.ledger.commit(tx).await {
            Ok(_) => Ok(Some(removed)),
            // The next round looks again.
            Err(LedgerError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
