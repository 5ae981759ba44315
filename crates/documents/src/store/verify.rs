//! Checks that items and what points at them agree, both ways.
//!
//! Forward: each item's id, partition, feed, unique and index keys are there, and its version where
//! versions are kept. Backward: there are exactly as many keys as items ask for; only if the count
//! differs, each key is looked at to name those that lead nowhere. As keys are distinct, equal counts
//! prove that there are no others. [`super::verify_indexes`] has the indexes.

use std::collections::BTreeSet;

use ledger::{Direction, Key, KeyRange, LedgerError, Scan, Snapshot, VerifyReport};

use super::container::Container;
use super::items::{read_number, unique_hashes};
use super::keys;
use super::records::{ContainerRecord, ItemRecord, decode};
use super::verify_indexes::{CheckedIndex, indexes_of, name_forgotten};
use super::versions;
use crate::Documents;
use crate::error::DocumentsError;

/// How many keys of each kind the items ask for.
#[derive(Debug, Default)]
struct Wanted {
    items: u64,
    uniques: u64,
}

impl Documents {
    /// Adds what is wrong to the report. An error is one of reading, not of what was read.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn verify(
        &self,
        snapshot: &dyn Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut scan = Scan::new(
            snapshot,
            KeyRange::prefix(&keys::all_containers()),
            Direction::Forward,
        );
        let mut indexes = BTreeSet::new();
        while let Some(entry) = scan.next().await? {
            report.records += 1;
            let checked = self.verify_record(snapshot, &entry, &mut indexes, report).await;
            match checked {
                Ok(()) => {}
                Err(DocumentsError::Ledger(error)) => return Err(error),
                Err(error) => report.fault(format!("documents, container {:?}: {error}", entry.key)),
            }
        }
        name_forgotten(snapshot, indexes, report).await
    }

    async fn verify_record(
        &self,
        snapshot: &dyn Snapshot,
        entry: &ledger::Entry,
        indexes: &mut BTreeSet<u32>,
        report: &mut VerifyReport,
    ) -> Result<(), DocumentsError> {
        let record: ContainerRecord = decode(&entry.versioned.value, "a container's record")?;
        match self.container_of(snapshot, &entry.key, &record).await? {
            Some(container) => {
                let mut kept = indexes_of(snapshot, &container).await?;
                indexes.extend(kept.iter().map(CheckedIndex::number));
                self.verify_container(snapshot, &container, &mut kept, report)
                    .await
            }
            None => {
                report.fault(format!(
                    "documents, container {:?}: its database doesn't exist",
                    entry.key
                ));
                Ok(())
            }
        }
    }

    async fn verify_container(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        indexes: &mut [CheckedIndex<'_>],
        report: &mut VerifyReport,
    ) -> Result<(), DocumentsError> {
        let mut wanted = Wanted::default();
        let range = KeyRange::prefix(&keys::items(container.number));
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        while let Some(entry) = scan.next().await? {
            report.records += 1;
            wanted.items += 1;
            if let Err(error) = verify_item(snapshot, container, indexes, &entry, &mut wanted, report).await {
                if let DocumentsError::Ledger(error) = error {
                    return Err(error.into());
                }
                report.fault(format!(
                    "documents, {}, {:?}: {error}",
                    container.name_path(),
                    entry.key
                ));
            }
        }
        if let Some(kept) = container.versions {
            versions::verify(snapshot, kept, report).await?;
        }
        let counted = |prefix: Key| async move { count(snapshot, &prefix).await };
        let partition_keys = counted(keys::partitions(container.number)).await?;
        let id_keys = counted(keys::ids(container.number)).await?;
        let unique_keys = counted(keys::uniques(container.number)).await?;
        for (what, found, wanted) in [
            ("partition keys", partition_keys, wanted.items),
            ("ids", id_keys, wanted.items),
            ("unique keys", unique_keys, wanted.uniques),
        ] {
            if found != wanted {
                report.fault(format!(
                    "documents, {}: {found} {what}, but the items ask for {wanted}",
                    container.name_path()
                ));
            }
        }
        for index in indexes {
            index.name_superfluous(snapshot, report).await?;
        }
        verify_feed(snapshot, container, report).await
    }
}

pub(super) async fn count(snapshot: &dyn Snapshot, prefix: &Key) -> Result<u64, LedgerError> {
    let mut scan = Scan::new(snapshot, KeyRange::prefix(prefix), Direction::Forward);
    let mut found = 0;
    while scan.next().await?.is_some() {
        found += 1;
    }
    Ok(found)
}

async fn verify_item(
    snapshot: &dyn Snapshot,
    container: &Container,
    indexes: &mut [CheckedIndex<'_>],
    entry: &ledger::Entry,
    wanted: &mut Wanted,
    report: &mut VerifyReport,
) -> Result<(), DocumentsError> {
    let place = || format!("documents, {}, {:?}", container.name_path(), entry.key);
    let Some((_, number)) = keys::read_item(&entry.key) else {
        report.fault(format!("{}: the key is malformed", place()));
        return Ok(());
    };
    let record = ItemRecord::decode(&entry.versioned.value)?;
    let document = record.parse()?;
    let key = container.partition_key.extract(&document)?;
    let partition = container.place(&key);
    let id = document
        .get("id")
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    let pointer = snapshot.get(&keys::id(container.number, &partition, id)).await?;
    let points_here = match pointer {
        Some(pointer) => read_number(&pointer.value)? == number,
        None => false,
    };
    if !points_here {
        report.fault(format!("{}: its id leads elsewhere or nowhere", place()));
    }
    let mut expected = vec![
        keys::partition_item(container.number, &partition, number),
        keys::feed_entry(container.number, entry.versioned.version, number),
    ];
    for (which, hash) in unique_hashes(container, &document).iter().enumerate() {
        wanted.uniques += 1;
        let which = u8::try_from(which).unwrap_or(u8::MAX);
        expected.push(keys::unique(container.number, &partition, which, hash));
    }
    if let Some(kept) = container.versions
        && !versions::has(snapshot, kept, entry.versioned.version, &record.text).await?
    {
        report.fault(format!("{}: its version isn't kept", place()));
    }
    let found = snapshot.get_many(&expected).await?;
    let pairs = expected.into_iter().zip(found);
    let mut missing: Vec<Key> = pairs
        .filter(|(_, found)| found.is_none())
        .map(|(key, _)| key)
        .collect();
    for index in indexes {
        missing.extend(index.missing(snapshot, &record, &document, number).await?);
    }
    for key in missing {
        report.fault(format!("{}: {key:?} is missing", place()));
    }
    Ok(())
}

/// A feed entry's item is gone (created and deleted by one commit) or was last written by the
/// entry's commit.
async fn verify_feed(
    snapshot: &dyn Snapshot,
    container: &Container,
    report: &mut VerifyReport,
) -> Result<(), DocumentsError> {
    let mut scan = Scan::new(
        snapshot,
        KeyRange::prefix(&keys::feed(container.number)),
        Direction::Forward,
    );
    while let Some(entry) = scan.next().await? {
        let sound = match keys::read_feed_entry(&entry.key) {
            None => false,
            Some((sequence, number)) => snapshot
                .get(&keys::item(container.number, number))
                .await?
                .is_none_or(|item| item.version == sequence),
        };
        if !sound {
            report.fault(format!(
                "documents, {}: feed entry {:?} is stale",
                container.name_path(),
                entry.key
            ));
        }
    }
    Ok(())
}
