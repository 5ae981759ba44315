//! Removing what deleted containers and replaced indexes left, so many keys in each call of the sweep:
//! what else it has to do doesn't wait for millions of keys, nor does the lease by which one node does it.
//!
//! A purge's record goes last. What was removed leaves marks in an engine until it has cleared up, and to
//! begin at the first key each time would be to read them all again, so the place is kept in memory; a
//! process that begins anew reads them once.

use ledger::{Direction, Key, KeyRange, Scan, Snapshot, Transaction};

use super::keys;
use super::records::{PurgeRecord, decode};
use super::sweep::SweepReport;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{SWEEP_KEYS_PER_COMMIT_MAX, SWEEP_PURGED_KEYS_MAX};

/// Where a purge goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PurgePosition {
    /// Of the purge's key.
    number: u32,
    /// Which of its ranges.
    range: usize,
    /// The first key that is left of it.
    key: Key,
}

/// What a purge removes, in this order.
fn ranges(number: u32, record: &PurgeRecord) -> Vec<Key> {
    let versions = |number| [keys::versions(number), keys::versions_beginning(number)];
    match *record {
        PurgeRecord::Index => vec![keys::index(number), keys::index_build(number)],
        PurgeRecord::Versions => versions(number).into(),
        PurgeRecord::Permissions { database } => vec![keys::permissions(database, number)],
        PurgeRecord::Users { database } => vec![keys::all_permissions(database), keys::users(database)],
        PurgeRecord::Container {
            index,
            versions: kept,
        } => {
            let mut ranges: Vec<Key> = kept.into_iter().flat_map(versions).collect();
            ranges.extend([
                keys::index(index),
                keys::index_build(index),
                keys::partitions(number),
                keys::uniques(number),
                keys::feed(number),
                keys::ids(number),
                keys::items(number),
                keys::items_counter(number),
                keys::all_scripts(number),
                keys::copy(number),
                keys::index_build(number),
            ]);
            ranges
        }
    }
}

impl Documents {
    /// Purges until all is done or the bound of one call is reached, which the report says.
    pub(super) async fn purge_some(&self, report: &mut SweepReport) -> Result<(), DocumentsError> {
        let snapshot = self.ledger.snapshot().await?;
        let all = KeyRange::prefix(&keys::purges());
        let mut scan = Scan::new(snapshot.as_ref(), all, Direction::Forward);
        let mut keys_left = SWEEP_PURGED_KEYS_MAX;
        while let Some(entry) = scan.next().await? {
            let Some(number) = keys::read_purge(&entry.key) else {
                break;
            };
            let record: PurgeRecord = decode(&entry.versioned.value, "a purge record")?;
            let begun = self.purge_position.lock().take();
            let begun = begun.filter(|position| position.number == number);
            let (skipped, mut from) = match begun {
                Some(position) => (position.range, Some(position.key)),
                None => (0, None),
            };
            for (range, prefix) in ranges(number, &record).iter().enumerate().skip(skipped) {
                let left = match from.take() {
                    Some(key) => KeyRange::prefix_from(prefix, key),
                    None => KeyRange::prefix(prefix),
                };
                let rest = self
                    .purge_range(snapshot.as_ref(), left, &mut keys_left, report)
                    .await?;
                if let Some(key) = rest {
                    *self.purge_position.lock() = Some(PurgePosition { number, range, key });
                    report.more = true;
                    return Ok(());
                }
            }
            let mut tx = Transaction::new();
            tx.delete(entry.key);
            self.ledger.commit(tx).await?;
        }
        Ok(())
    }

    /// Removes keys of a range while `keys_left` allows; the first one that is left.
    async fn purge_range(
        &self,
        snapshot: &dyn Snapshot,
        range: KeyRange,
        keys_left: &mut usize,
        report: &mut SweepReport,
    ) -> Result<Option<Key>, DocumentsError> {
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let mut rest = None;
        let mut tx = Transaction::new();
        let mut staged = 0;
        while let Some(entry) = scan.next().await? {
            if *keys_left == 0 {
                rest = Some(entry.key);
                break;
            }
            *keys_left -= 1;
            tx.delete(entry.key);
            staged += 1;
            if staged >= SWEEP_KEYS_PER_COMMIT_MAX {
                self.ledger.commit(std::mem::take(&mut tx)).await?;
                report.keys_purged += staged as u64;
                staged = 0;
            }
        }
        if staged > 0 {
            self.ledger.commit(tx).await?;
            report.keys_purged += staged as u64;
        }
        Ok(rest)
    }
}
