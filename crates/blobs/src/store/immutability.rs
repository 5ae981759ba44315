//! Protected states in the ledger: where a state may be protected, and the mark of containers that have one.
//!
//! Invariant: whoever stages a state that is protected stages its container's mark as well. A container's deletion
//! demands the mark as it was read, and that nothing is in a container with one: so no state goes with its
//! container, be it protected while the container is being looked at, or after the account's setting was
//! taken back.

use jiff::Timestamp;
use ledger::{Direction, KeyRange, ScanLimit, Snapshot, Transaction};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::store::containers::Container;
use crate::store::keys::{self, Generation};
use crate::store::records::BlobRecord;

/// Marks the container of a state that is protected.
pub(crate) fn mark(tx: &mut Transaction, generation: &Generation, record: &BlobRecord) {
    if !record.protection.is_none() {
        tx.put(keys::protected(generation), Vec::new());
    }
}

/// Whether there is anything in a range.
async fn holds(snapshot: &dyn Snapshot, range: KeyRange) -> Result<bool, BlobsError> {
    let limit = ScanLimit {
        entries_max: 1,
        bytes_max: 1,
    };
    let page = snapshot.scan_page(&range, Direction::Forward, limit).await?;
    Ok(!page.entries.is_empty())
}

impl Blobs {
    /// Whether blobs of a container can be protected.
    pub(crate) fn has_immutable_storage(&self, account: &str, container: &str) -> bool {
        self.account(account).is_some_and(|account| {
            let named = || {
                account
                    .immutable_containers
                    .iter()
                    .any(|named| named == container)
            };
            account.versioning && (account.immutable_storage || named())
        })
    }

    /// Refuses to protect where that isn't possible.
    ///
    /// # Errors
    /// `InvalidOperation`.
    pub(crate) fn permit_protection(&self, container: &Container) -> Result<(), BlobsError> {
        if self.has_immutable_storage(&container.account, &container.record.name) {
            return Ok(());
        }
        let text = "Immutability policies and legal holds need a container that has immutable storage with versioning.";
        Err(BlobsError::with(ErrorCode::InvalidOperation, text))
    }

    /// Refuses a container's deletion where something is in it that may be protected; stages the removal of its
    /// mark.
    ///
    /// # Errors
    /// `ContainerImmutableStorageWithVersioningEnabled`; the ledger's.
    pub(crate) async fn stage_unmarking(
        &self,
        tx: &mut Transaction,
        container: &Container,
    ) -> Result<(), BlobsError> {
        let Container { account, record, .. } = container;
        let snapshot = self.ledger.snapshot().await?;
        let mark = keys::protected(&record.generation);
        let found = snapshot.get(&mark).await?;
        tx.require_version(mark.clone(), found.as_ref().map(|found| found.version));
        if found.is_none() && !self.has_immutable_storage(account, &record.name) {
            return Ok(());
        }
        for range in [
            keys::blobs(&record.generation, ""),
            keys::snapshots(&record.generation, ""),
        ] {
            if holds(snapshot.as_ref(), range).await? {
                return Err(ErrorCode::ContainerImmutableStorageWithVersioningEnabled.into());
            }
        }
        if found.is_some() {
            tx.delete(mark);
        }
        Ok(())
    }

    /// Refuses what deletes a blob's snapshots where one is protected.
    ///
    /// # Errors
    /// `BlobImmutableDueToPolicy`, `BlobImmutableDueToLegalHold`; the ledger's.
    pub(crate) async fn check_snapshots(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<(), BlobsError> {
        let now: Timestamp = self.clock.now();
        match self.protected_snapshot(snapshot, container, name, now).await? {
            Some(protection) => Ok(protection.deletion(now)?),
            None => Ok(()),
        }
    }
}
