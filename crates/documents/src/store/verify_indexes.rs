//! Checks that indexes and items agree, also while an index is built.
//!
//! Of an index that is built on, the items before the position of the build must be in it; those
//! behind it may be, as far as they were written meanwhile. No entry of any index may fit no item,
//! and no index may be there that neither a container has nor a sweep will remove.

use std::collections::BTreeSet;

use ledger::{Direction, Key, KeyRange, LedgerError, Scan, Snapshot, VerifyReport};
use serde_json::Value;

use super::container::Container;
use super::item_index::{composite_entries, terms_of};
use super::items::read_number;
use super::keys;
use super::records::{CompositeIndex, ItemRecord, PurgeRecord, decode};
use crate::error::DocumentsError;

/// An index of a container, and how many of the entries that items ask for are there.
pub(super) struct CheckedIndex<'c> {
    container: &'c Container,
    number: u32,
    /// `None`: the index of single paths.
    composite: Option<&'c CompositeIndex>,
    /// Items with smaller numbers must be in it; `None`: all.
    position: Option<u64>,
    found: u64,
}

/// The indexes of a container.
pub(super) async fn indexes_of<'c>(
    snapshot: &dyn Snapshot,
    container: &'c Container,
) -> Result<Vec<CheckedIndex<'c>>, DocumentsError> {
    let single = (container.index, None, container.index_complete);
    let composites = container.composites.iter();
    let composites = composites.map(|composite| (composite.index, Some(composite), composite.complete));
    let mut indexes = Vec::with_capacity(1 + container.composites.len());
    for (number, composite, complete) in [single].into_iter().chain(composites) {
        let position = if complete {
            None
        } else {
            let stored = snapshot.get(&keys::index_build(number)).await?;
            Some(stored.map_or(Ok(0), |stored| read_number(&stored.value))?)
        };
        indexes.push(CheckedIndex {
            container,
            number,
            composite,
            position,
            found: 0,
        });
    }
    Ok(indexes)
}

impl CheckedIndex<'_> {
    /// Its number, in keys.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The entries that an item asks for.
    fn entries(
        &self,
        record: &ItemRecord,
        document: &Value,
        number: u64,
    ) -> Result<Vec<Key>, DocumentsError> {
        if let Some(composite) = self.composite {
            let composite = std::slice::from_ref(composite);
            return Ok(composite_entries(
                composite,
                record.indexed,
                document,
                record.ts,
                number,
            ));
        }
        let terms = terms_of(&self.container.policy, record.indexed, document, record.ts)?;
        let entry = |term: &Vec<u8>| keys::index_entry(self.number, term, number);
        Ok(terms.iter().map(entry).collect())
    }

    /// Looks for an item's entries; those that are missing and mustn't be.
    pub(super) async fn missing(
        &mut self,
        snapshot: &dyn Snapshot,
        record: &ItemRecord,
        document: &Value,
        number: u64,
    ) -> Result<Vec<Key>, DocumentsError> {
        let entries = self.entries(record, document, number)?;
        let there = snapshot.get_many(&entries).await?;
        let must = self.position.is_none_or(|position| number < position);
        let mut missing = Vec::new();
        for (entry, there) in entries.into_iter().zip(there) {
            if there.is_some() {
                self.found += 1;
            } else if must {
                missing.push(entry);
            }
        }
        Ok(missing)
    }

    /// Names the entries that fit no item. As keys are distinct, there are none if there are as many
    /// as items were found to ask for.
    pub(super) async fn name_superfluous(
        &self,
        snapshot: &dyn Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), DocumentsError> {
        let prefix = keys::index(self.number);
        if super::verify::count(snapshot, &prefix).await? == self.found {
            return Ok(());
        }
        let mut scan = Scan::new(snapshot, KeyRange::prefix(&prefix), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            if !self.fits(snapshot, &entry.key).await? {
                report.fault(format!(
                    "documents, {}: index entry {:?} fits no item",
                    self.container.name_path(),
                    entry.key
                ));
            }
        }
        Ok(())
    }

    async fn fits(&self, snapshot: &dyn Snapshot, key: &Key) -> Result<bool, DocumentsError> {
        let Some((term, number)) = keys::read_index_entry(key, self.number) else {
            return Ok(false);
        };
        let Some(found) = snapshot.get(&keys::item(self.container.number, number)).await? else {
            return Ok(false);
        };
        let record = ItemRecord::decode(&found.value)?;
        let document = record.parse()?;
        if let Some(composite) = self.composite {
            return Ok(record.indexed && composite.columns.term(&document, record.ts) == term);
        }
        let terms = terms_of(&self.container.policy, record.indexed, &document, record.ts)?;
        Ok(terms.binary_search_by(|known| known.as_slice().cmp(term)).is_ok())
    }
}

/// Names the indexes that are none of `kept` and that no sweep knows of. Each costs one look.
pub(super) async fn name_forgotten(
    snapshot: &dyn Snapshot,
    mut kept: BTreeSet<u32>,
    report: &mut VerifyReport,
) -> Result<(), LedgerError> {
    let mut scan = Scan::new(snapshot, KeyRange::prefix(&keys::purges()), Direction::Forward);
    while let Some(entry) = scan.next().await? {
        match decode(&entry.versioned.value, "a purge record") {
            Ok(PurgeRecord::Index) => kept.extend(keys::read_purge(&entry.key)),
            Ok(PurgeRecord::Container { index, .. }) => {
                kept.insert(index);
            }
            Ok(_) => {}
            Err(error) => report.fault(format!("documents, {:?}: {error}", entry.key)),
        }
    }
    let mut range = keys::all_indexes();
    while let Some(entry) = Scan::new(snapshot, range.clone(), Direction::Forward)
        .next()
        .await?
    {
        let Some(number) = keys::read_index(&entry.key) else {
            report.fault(format!("documents, index entry {:?} is malformed", entry.key));
            return Ok(());
        };
        if !kept.contains(&number) {
            report.fault(format!(
                "documents, index {number}: no container has it, and no sweep will remove it"
            ));
        }
        match KeyRange::prefix(&keys::index(number)).end {
            Some(next) => range.start = next,
            None => return Ok(()),
        }
    }
    Ok(())
}
