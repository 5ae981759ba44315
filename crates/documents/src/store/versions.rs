//! Every change of an item, for the feed of all versions and deletes: kept only by containers whose
//! change feed policy asks for it, so that the others pay nothing.
//!
//! A version is a key of its own that holds the commit's number; its record is
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | format, 1 |
//! | 1 | 1 created, 2 replaced, 3 deleted, 4 deleted because its time to live was over |
//! | 8 | the time of the change, seconds, big-endian |
//! | 8 | the commit that wrote the version before; 0 none, all ones this very commit |
//! | rest | JSON text: of the new version, or of the one that was deleted |
//!
//! Invariant: a feed that goes on at a token gets every change behind it or an error, never some.
//! What is over its retention counts as gone whether or not the sweep has been there.
//!
//! Rejected: reading the ledger's log. It says what was done to which item, not what the item was,
//! and it is one log for everything.

use bytes::Bytes;
use ledger::{Direction, KeyRange, LedgerError, Scan, Sequence, Snapshot, Transaction, VerifyReport};

use super::change_feed::PageEnd;
use super::container::{Container, KeptVersions};
use super::items::{Current, read_number};
use super::keys;
use super::sweep::SweepReport;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::SWEEP_KEYS_PER_COMMIT_MAX;

const VERSION_FORMAT: u8 = 1;
const HEAD_BYTES: usize = 18;
const THIS_COMMIT: Sequence = Sequence::MAX;

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Create,
    Replace,
    Delete,
    /// A removal because the time to live was over.
    Expire,
}

/// A version as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionRecord {
    pub(crate) change: Change,
    /// Seconds.
    pub(crate) ts: i64,
    previous: Sequence,
    /// JSON text: the new version, or the one that was deleted.
    pub(crate) text: Bytes,
}

impl VersionRecord {
    fn encode(change: Change, ts: i64, previous: Sequence, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + text.len());
        out.push(VERSION_FORMAT);
        out.push(match change {
            Change::Create => 1,
            Change::Replace => 2,
            Change::Delete => 3,
            Change::Expire => 4,
        });
        out.extend_from_slice(&ts.to_be_bytes());
        out.extend_from_slice(&previous.to_be_bytes());
        out.extend_from_slice(text);
        out
    }

    /// Reads a record; the text shares the bytes.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, DocumentsError> {
        let read = || {
            let (format, rest) = bytes.split_first()?;
            let (change, rest) = rest.split_first()?;
            let (ts, rest) = rest.split_first_chunk::<8>()?;
            let (previous, _) = rest.split_first_chunk::<8>()?;
            (*format == VERSION_FORMAT).then_some(())?;
            let change = match change {
                1 => Change::Create,
                2 => Change::Replace,
                3 => Change::Delete,
                4 => Change::Expire,
                _ => return None,
            };
            Some(Self {
                change,
                ts: i64::from_be_bytes(*ts),
                previous: u64::from_be_bytes(*previous),
                text: bytes.slice(HEAD_BYTES..),
            })
        };
        read().ok_or_else(|| DocumentsError::Damaged("a version's record has an unknown form".to_owned()))
    }

    /// The commit that wrote the version before this one; `None` if there was none.
    pub(crate) fn previous(&self, own: Sequence) -> Option<Sequence> {
        match self.previous {
            0 => None,
            THIS_COMMIT => Some(own),
            earlier => Some(earlier),
        }
    }

    fn is_over(&self, kept: KeptVersions, now: i64) -> bool {
        self.ts.saturating_add(kept.seconds) <= now
    }
}

/// Stages the version that a write makes, if the container keeps versions.
pub(super) fn stage(
    tx: &mut Transaction,
    container: &Container,
    change: Change,
    ts: i64,
    before: Option<&Current>,
    text: &[u8],
) {
    let Some(kept) = container.versions else {
        return;
    };
    let previous = before.map_or(0, |before| before.version.unwrap_or(THIS_COMMIT));
    // Grows within the commit, so that its changes come in the order they were staged.
    let place = u32::try_from(tx.sequenced().len()).unwrap_or(u32::MAX);
    tx.put_sequenced(
        keys::versions(kept.number),
        place.to_be_bytes().to_vec(),
        VersionRecord::encode(change, ts, previous, text),
    );
}

/// Stages the version that a removal makes, if the container keeps versions.
pub(super) fn stage_removal(tx: &mut Transaction, container: &Container, now: i64, before: &Current) {
    let change = if before.record.is_expired(container.default_ttl, now) {
        Change::Expire
    } else {
        Change::Delete
    };
    stage(tx, container, change, now, Some(before), &before.record.text);
}

/// Some changes.
#[derive(Debug)]
pub(crate) struct VersionPage {
    /// The changes, and the commits that made them.
    pub(crate) changes: Vec<(VersionRecord, Sequence)>,
    /// Everything through this commit is covered.
    pub(crate) through: Sequence,
    /// Whether the page ended before the changes did.
    pub(crate) more: bool,
}

/// Reads all changes after commit `after`. A page ends between commits, never within one.
pub(crate) async fn read_versions(
    snapshot: &dyn Snapshot,
    kept: KeptVersions,
    after: Sequence,
    now: i64,
    end: &PageEnd<'_>,
    mut wanted: impl FnMut(&VersionRecord) -> Result<bool, DocumentsError>,
) -> Result<VersionPage, DocumentsError> {
    if after < beginning(snapshot, kept).await? {
        return Err(outside(kept, after));
    }
    let range = KeyRange::prefix_from(
        &keys::versions(kept.number),
        keys::versions_after(kept.number, after),
    );
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let mut page = VersionPage {
        changes: Vec::new(),
        through: after,
        more: false,
    };
    let mut bytes = 0;
    while let Some(entry) = scan.next().await? {
        let Some(sequence) = keys::read_version(&entry.key) else {
            break;
        };
        if sequence > page.through && end.is_reached(page.changes.len(), bytes) {
            page.more = true;
            return Ok(page);
        }
        let record = VersionRecord::decode(&entry.versioned.value)?;
        if page.through == after && record.is_over(kept, now) {
            return Err(outside(kept, after));
        }
        page.through = sequence;
        if wanted(&record)? {
            bytes += record.text.len();
            page.changes.push((record, sequence));
        }
    }
    Ok(page)
}

fn outside(kept: KeptVersions, after: Sequence) -> DocumentsError {
    DocumentsError::bad_request(format!(
        "The continuation \"{after}\" is outside the retention window of the change feed: all versions are kept for {} minutes, and only from when the container began to keep them. Start from now.",
        kept.seconds / 60
    ))
}

/// The commit behind which every version is there.
async fn beginning(snapshot: &dyn Snapshot, kept: KeptVersions) -> Result<Sequence, DocumentsError> {
    match snapshot.get(&keys::versions_beginning(kept.number)).await? {
        None => Ok(0),
        Some(found) if found.value.is_empty() => Ok(found.version),
        Some(found) => read_number(&found.value),
    }
}

/// Whether the version that commit `sequence` made with this text is there, or needn't be.
pub(super) async fn has(
    snapshot: &dyn Snapshot,
    kept: KeptVersions,
    sequence: Sequence,
    text: &Bytes,
) -> Result<bool, DocumentsError> {
    if sequence <= beginning(snapshot, kept).await? {
        return Ok(true);
    }
    let range = KeyRange::between(
        keys::versions_after(kept.number, sequence - 1),
        keys::versions_after(kept.number, sequence),
    );
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    while let Some(entry) = scan.next().await? {
        if VersionRecord::decode(&entry.versioned.value)?.text == *text {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks that every version can be read.
pub(super) async fn verify(
    snapshot: &dyn Snapshot,
    kept: KeptVersions,
    report: &mut VerifyReport,
) -> Result<(), LedgerError> {
    let range = KeyRange::prefix(&keys::versions(kept.number));
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    while let Some(entry) = scan.next().await? {
        report.records += 1;
        let commit = keys::read_version(&entry.key);
        let sound = commit == Some(entry.versioned.version);
        if !sound || VersionRecord::decode(&entry.versioned.value).is_err() {
            report.fault(format!("documents, version {:?} can't be read", entry.key));
        }
    }
    Ok(())
}

impl Documents {
    /// Removes versions whose retention is over, the oldest first, at most what fits a commit.
    pub(super) async fn trim_versions(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        report: &mut SweepReport,
    ) -> Result<(), DocumentsError> {
        let Some(kept) = container.versions else {
            return Ok(());
        };
        let now = self.clock.now().as_second();
        let beginning = keys::versions_beginning(kept.number);
        let mut tx = Transaction::new();
        // Another node may be at it, or the container may go: the mark must not go back, or stay.
        tx.require_version(container.key.clone(), Some(container.version));
        let known = snapshot.get(&beginning).await?;
        tx.require_version(beginning.clone(), known.map(|known| known.version));
        let range = KeyRange::prefix(&keys::versions(kept.number));
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let (mut count, mut through) = (0, 0);
        while let Some(entry) = scan.next().await? {
            if !VersionRecord::decode(&entry.versioned.value)?.is_over(kept, now) {
                break;
            }
            if count == SWEEP_KEYS_PER_COMMIT_MAX {
                report.more = true;
                break;
            }
            through = keys::read_version(&entry.key).unwrap_or(through);
            tx.delete(entry.key);
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        tx.put(beginning, through.to_be_bytes().to_vec());
        match self.commit_or_conflict(tx).await? {
            Some(_) => report.keys_purged += count as u64,
            None => self.catalog.forget(container),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        for change in [Change::Create, Change::Replace, Change::Delete, Change::Expire] {
            let bytes = VersionRecord::encode(change, -3, 7, b"{}");
            let record = VersionRecord::decode(&bytes.into()).unwrap();
            let wanted = VersionRecord {
                change,
                ts: -3,
                previous: 7,
                text: Bytes::from_static(b"{}"),
            };
            assert_eq!(record, wanted);
        }
        for bad in [
            &b"\x01\x01short"[..],
            &[2; 30],
            &[1; 17],
            b"\x01\x05                ",
        ] {
            assert!(
                VersionRecord::decode(&Bytes::copy_from_slice(bad)).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn the_version_before() {
        let before = |previous| {
            let bytes = VersionRecord::encode(Change::Replace, 0, previous, b"");
            VersionRecord::decode(&bytes.into()).unwrap().previous(9)
        };
        assert_eq!(before(0), None);
        assert_eq!(before(5), Some(5));
        assert_eq!(before(THIS_COMMIT), Some(9));
    }
}
