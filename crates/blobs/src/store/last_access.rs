//! When blobs were read last, in accounts that keep it. It is known to a day, so a blob is written for it once a day at
//! most, however often it is read.
//!
//! Invariant: a read never fails, and is never other than it would be, for what is noted of it. Neither the entity tag nor
//! the time of the last write changes, and the log tells nothing of it.
//!
//! Source: "Optionally enable access time tracking".

use jiff::{SignedDuration, Timestamp};
use ledger::{LedgerError, Transaction};

use crate::Blobs;
use crate::limits::LAST_ACCESS_SECONDS;
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

    /// Notes that a blob is read, if its account keeps it and the last time is a day ago.
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
        let outcome = match encode(&record) {
            Ok(encoded) => {
                tx.put(key, encoded);
                self.ledger.commit(tx).await.map(|_| ())
            }
            Err(error) => Err(error),
        };
        match outcome {
            // Somebody else wrote, or noted the same.
            Ok(()) | Err(LedgerError::Conflict(_)) => {}
            Err(error) => {
                tracing::debug!(%error, "when a blob was read isn't noted; the next read tries again");
            }
        }
    }
}
