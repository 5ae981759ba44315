//! What becomes of a container's indexes when its indexing policy is another one.
//!
//! Invariant: an index is kept for as long as what its entries are made of stays the same. The index
//! of single paths begins anew under another number if other paths are in it; a composite index goes
//! if the policy doesn't ask for it any more, and comes if it does. None of these touches another one.

use ledger::Transaction;
use serde_json::Value;

use super::catalog_log::log_container;
use super::container::Container;
use super::keys;
use super::numbers::reserve;
use super::records::{CompositeIndex, ContainerRecord, PurgeRecord, encode};
use crate::Documents;
use crate::error::DocumentsError;
use crate::rules::index_policy::IndexPolicy;
use crate::rules::order_rules::OrderRules;

impl Documents {
    /// Stages what another policy means for the indexes. New ones are built later.
    pub(super) async fn stage_index_change(
        &self,
        tx: &mut Transaction,
        current: &Container,
        resource: &Value,
        record: &mut ContainerRecord,
    ) -> Result<(), DocumentsError> {
        let policy = resource.get("indexingPolicy").unwrap_or(&Value::Null);
        if IndexPolicy::from_value(policy)? != current.policy {
            let range = reserve(self.ledger.as_ref(), &keys::numbers_counter(), 1).await?;
            tx.put(keys::purge(current.index), encode(&PurgeRecord::Index)?);
            record.index.single = super::catalog::small(range.start)?;
            record.index_complete = false;
        }
        let composites = self.composites_of(resource, &current.composites, false).await?;
        let gone: Vec<CompositeIndex> = current
            .composites
            .iter()
            .filter(|kept| composites.iter().all(|composite| composite.index != kept.index))
            .cloned()
            .collect();
        stage_removal(tx, &gone)?;
        record.index.composites = composites;
        Ok(())
    }

    /// The composite indexes that a container's resource asks for: those of `kept`, and others under
    /// new numbers, which hold every item if `complete`.
    pub(super) async fn composites_of(
        &self,
        resource: &Value,
        kept: &[CompositeIndex],
        complete: bool,
    ) -> Result<Vec<CompositeIndex>, DocumentsError> {
        let rules = OrderRules::from_policy(resource.get("indexingPolicy"))?;
        let mut composites = Vec::with_capacity(rules.indexes().len());
        for columns in rules.indexes() {
            let composite = match kept.iter().find(|composite| composite.columns == *columns) {
                Some(composite) => composite.clone(),
                None => {
                    let range = reserve(self.ledger.as_ref(), &keys::numbers_counter(), 1).await?;
                    CompositeIndex {
                        index: super::catalog::small(range.start)?,
                        complete,
                        columns: columns.clone(),
                    }
                }
            };
            composites.push(composite);
        }
        Ok(composites)
    }

    /// Begins all of a container's indexes anew: those that it has are of numbers that a release of before
    /// read inexactly. Whether nobody else was faster.
    pub(super) async fn begin_exact_indexes(&self, container: &Container) -> Result<bool, DocumentsError> {
        let mut record = container.record();
        let mut tx = Transaction::new();
        tx.require_version(container.key.clone(), Some(container.version));
        tx.put(keys::purge(container.index), encode(&PurgeRecord::Index)?);
        stage_removal(&mut tx, &container.composites)?;
        let range = reserve(self.ledger.as_ref(), &keys::numbers_counter(), 1).await?;
        record.index.single = super::catalog::small(range.start)?;
        record.index.composites = self.composites_of(&container.resource, &[], false).await?;
        (record.index_complete, record.exact_numbers) = (false, true);
        tx.put(container.key.clone(), encode(&record)?);
        log_container(&mut tx, "indexContainer", container);
        let committed = self.commit_or_conflict(tx).await?;
        self.catalog.forget(container);
        Ok(committed.is_some())
    }

    /// Begins the composite indexes that a container's policy asks for and that it hasn't got: its
    /// policy is from a release that kept none. Whether there were any.
    pub(super) async fn begin_missing_composites(
        &self,
        container: &Container,
    ) -> Result<bool, DocumentsError> {
        if has_composites_of_its_policy(container) {
            return Ok(false);
        }
        let mut record = container.record();
        let mut tx = Transaction::new();
        tx.require_version(container.key.clone(), Some(container.version));
        self.stage_index_change(&mut tx, container, &container.resource, &mut record)
            .await?;
        tx.put(container.key.clone(), encode(&record)?);
        log_container(&mut tx, "indexContainer", container);
        let committed = self.commit_or_conflict(tx).await?;
        self.catalog.forget(container);
        Ok(committed.is_some())
    }
}

/// Whether a container keeps what its policy asks for.
fn has_composites_of_its_policy(container: &Container) -> bool {
    let asked = container.order_rules.indexes();
    asked.len() == container.composites.len()
        && container
            .composites
            .iter()
            .zip(asked)
            .all(|(kept, asked)| kept.columns == *asked)
}

/// Asks for the entries of composite indexes to be swept.
pub(super) fn stage_removal(tx: &mut Transaction, gone: &[CompositeIndex]) -> Result<(), DocumentsError> {
    for composite in gone {
        tx.put(keys::purge(composite.index), encode(&PurgeRecord::Index)?);
    }
    Ok(())
}
