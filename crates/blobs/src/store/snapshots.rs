//! Snapshots of blobs in the ledger: records of their own, below the blob's name, with references of
//! their own to the content that they share with it.
//!
//! Invariant: a snapshot has a blob. Taking one, or bringing one back, writes the blob's record anew, so
//! that whoever removes the blob meanwhile notices.

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, Scan, ScanLimit, Snapshot, Transaction};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{SNAPSHOT_TICK_NANOSECONDS, SNAPSHOTS_STEP_MAX, STEP_BYTES_MAX};
use crate::store::blobs::Blob;
use crate::store::containers::{Container, log_record};
use crate::store::holdings;
use crate::store::keys;
use crate::store::records::{BlobRecord, decode, encode};

/// A snapshot's time as the protocol writes it.
pub(crate) fn time_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string()
}

/// Reads a snapshot's time.
///
/// # Errors
/// `InvalidQueryParameterValue`.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, BlobsError> {
    text.parse().map_err(|_| {
        let text = "snapshot is a time such as 2024-01-31T12:00:00.0000000Z.";
        BlobsError::with(ErrorCode::InvalidQueryParameterValue, text)
    })
}

/// Cuts to what the protocol's times hold.
fn whole_ticks(at: Timestamp) -> Timestamp {
    let nanoseconds = at.as_nanosecond();
    Timestamp::from_nanosecond(nanoseconds - nanoseconds.rem_euclid(SNAPSHOT_TICK_NANOSECONDS)).unwrap_or(at)
}

/// What of a record tells whether it is deleted; the rest isn't built.
#[derive(Deserialize)]
struct Fate {
    #[serde(default)]
    deleted: Option<IgnoredAny>,
}

impl Blobs {
    /// A state of a blob: the newest, or a snapshot.
    pub(crate) async fn blob_at(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
        at: Option<Timestamp>,
    ) -> Result<Option<Blob>, BlobsError> {
        let Some(at) = at else {
            return self.blob(snapshot, container, name).await;
        };
        let key = keys::snapshot(&container.record.generation, name, at);
        let found = snapshot.get(&key).await?;
        found
            .map(|found| {
                Ok(Blob {
                    record: decode(&found)?,
                    version: found.version,
                })
            })
            .transpose()
            .map(|found: Option<Blob>| found.filter(|found| found.record.deleted.is_none()))
    }

    /// A blob's oldest snapshots, or its oldest deleted states, as many as a step takes and a request
    /// may hold; and whether there are no more.
    pub(crate) async fn states(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
        deleted: bool,
    ) -> Result<(Vec<Blob>, bool), BlobsError> {
        let range = keys::snapshots_of(&container.record.generation, name);
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = scan.next().await? {
            if decode::<Fate>(&entry.versioned)?.deleted.is_some() != deleted {
                continue;
            }
            if found.len() >= SNAPSHOTS_STEP_MAX || bytes >= STEP_BYTES_MAX {
                return Ok((found, false));
            }
            bytes += entry.versioned.value.len();
            found.push(Blob {
                record: decode(&entry.versioned)?,
                version: entry.versioned.version,
            });
        }
        Ok((found, true))
    }

    /// Whether a blob has a snapshot.
    pub(crate) async fn has_snapshot(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<bool, BlobsError> {
        let range = keys::snapshots_of(&container.record.generation, name);
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        while let Some(entry) = scan.next().await? {
            if decode::<Fate>(&entry.versioned)?.deleted.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A time for a blob's next snapshot: later than that of any before.
    pub(crate) async fn snapshot_time(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<Timestamp, BlobsError> {
        let range = keys::snapshots_of(&container.record.generation, name);
        let limit = ScanLimit {
            entries_max: 1,
            bytes_max: 1,
        };
        let now = whole_ticks(self.clock.now());
        let page = snapshot.scan_page(&range, Direction::Backward, limit).await?;
        let Some(entry) = page.entries.first() else {
            return Ok(now);
        };
        let newest: BlobRecord = decode(&entry.versioned)?;
        let tick = SignedDuration::from_nanos(100);
        let next = newest.snapshot.and_then(|newest| newest.checked_add(tick).ok());
        Ok(next.map_or(now, |next| next.max(now)))
    }

    /// Stages `record`, whose `snapshot` is set, beside the blob that it was taken of.
    pub(crate) async fn stage_snapshot(
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
                keys::inline(generation, &record.name, record.snapshot),
                stored.value,
            );
        }
        holdings::hold(tx, record, &key);
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

    /// Stages a snapshot of a blob as it is, and the blob's record anew. A page blob goes on in its next epoch.
    pub(crate) async fn stage_snapshot_of(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        blob: &Blob,
        record: &BlobRecord,
    ) -> Result<(), BlobsError> {
        self.stage_anew(tx, container, blob)?;
        let mut next = blob.record.clone();
        if let Some(pages) = &mut next.pages {
            let key = keys::blob(&container.record.generation, &next.name);
            tx.delete(keys::map_owner(pages, &key));
            pages.epoch += 1;
            tx.put(keys::map_owner(pages, &key), Vec::new());
            tx.put(key, encode(&next)?);
        }
        tx.record(log_record(
            "snapshot",
            &container.account,
            &container.record.name,
            Some(&blob.record.name),
        ));
        self.stage_snapshot(tx, snapshot, container, record).await
    }

    /// Stages the removal of a snapshot.
    pub(crate) fn stage_snapshot_removal(&self, tx: &mut Transaction, container: &Container, found: &Blob) {
        let generation = &container.record.generation;
        let key = keys::state(generation, &found.record);
        container.require(tx);
        tx.require_version(key.clone(), Some(found.version));
        holdings::release(tx, &found.record, &key);
        tx.delete(keys::inline(
            generation,
            &found.record.name,
            found.record.snapshot,
        ));
        tx.delete(key);
        tx.record(log_record(
            "deleteSnapshot",
            &container.account,
            &container.record.name,
            Some(&found.record.name),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        let at = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
        let cut = whole_ticks(at);
        assert_eq!(time_text(cut), "2023-11-14T22:13:20.1234567Z");
        assert_eq!(parse_time(&time_text(cut)), Ok(cut));
        assert!(parse_time("yesterday").is_err());
    }
}
