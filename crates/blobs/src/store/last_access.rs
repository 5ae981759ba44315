//! When blobs were read last, in accounts that keep it. It is known to a day, so a blob is written for it once a day at
//! most, however often it is read.
//!
//! Invariant: a read never fails, and is never other than it would be, for what is noted of it. Neither the entity tag nor
//! the time of the last write changes, and the log tells nothing of it.
//!
//! Source: "Optionally enable access time tracking".

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ledger::{LedgerError, Transaction};

use crate::Blobs;
use crate::limits::{LAST_ACCESS_COMMIT_SECONDS, LAST_ACCESS_SECONDS, LAST_ACCESS_WAIT_MILLISECONDS};
use crate::store::blobs::Blob;
use crate::store::containers::Container;
use crate::store::keys;
use crate::store::records::{BlobRecord, encode};

/// When a blob was read or written last, as far as that is known.
pub(crate) fn accessed(record: &BlobRecord) -> Timestamp {
    let read = record.last_access.unwrap_or(record.last_modified);
    read.max(record.last_modified)
}

impl Blobs {
    /// Whether an account keeps when its blobs were read last.
    pub(crate) fn tracks_access(&self, account: &str) -> bool {
        self.account(account)
            .is_some_and(|account| account.last_access_time_tracking)
    }

    /// Notes that a blob is read, if its account keeps it and the last time is a day ago. The read waits a moment for
    /// it, not longer.
    pub(crate) async fn note_access(&self, container: &Container, blob: &Blob) {
        let now = self.clock.now();
        let recently = SignedDuration::from_secs(LAST_ACCESS_SECONDS);
        // Snapshots and previous versions have none.
        if !self.tracks_access(&container.account)
            || blob.record.below().is_some()
            || now.duration_since(accessed(&blob.record)) < recently
        {
            return;
        }
        let record = BlobRecord {
            last_access: Some(now),
            ..blob.record.clone()
        };
        let key = keys::blob(&container.record.generation, &record.name);
        let mut tx = Transaction::new();
        tx.require_version(key.clone(), Some(blob.version));
        match encode(&record) {
            Ok(encoded) => tx.put(key, encoded),
            Err(error) => return tracing::debug!(%error, "when a blob was read isn't noted"),
        }
        let wait = Duration::from_millis(LAST_ACCESS_WAIT_MILLISECONDS);
        if tokio::time::timeout(wait, self.commit_note(tx)).await.is_err() {
            tracing::debug!("a read doesn't wait any more until it is noted");
        }
    }

    /// Commits a note in a task of its own, which goes on when nobody waits for it any more: were it cut off, a ledger
    /// that is always slow would let blobs get old that are read.
    async fn commit_note(&self, tx: Transaction) {
        let Ok(permit) = self.access_notes.clone().acquire_owned().await else {
            return;
        };
        let ledger = self.ledger.clone();
        let task = tokio::spawn(async move {
            let _permit = permit;
            let longest = Duration::from_secs(LAST_ACCESS_COMMIT_SECONDS);
            match tokio::time::timeout(longest, ledger.commit(tx)).await {
                // Somebody else wrote, or noted the same.
                Ok(Ok(_) | Err(LedgerError::Conflict(_))) => {}
                Ok(Err(error)) => {
                    tracing::debug!(%error, "when a blob was read isn't noted; the next read tries again");
                }
                Err(_) => {
                    tracing::debug!("when a blob was read isn't noted in time; the next read tries again");
                }
            }
        });
        if let Err(error) = task.await {
            tracing::debug!(%error, "when a blob was read isn't noted");
        }
    }
}
