//! Locks of instances: at most one each.

use ledger::{Sequence, Transaction};
use uuid::Uuid;

use super::{View, keys};
use crate::Platform;
use crate::error::PlatformError;
use crate::rules::lock_token::LockRecord;

/// A lock as it was read, with the version that a change of it demands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredLock {
    pub(crate) record: LockRecord,
    pub(crate) version: Sequence,
}

impl Platform {
    /// The lock of an instance; one that has ended may still be there.
    pub(crate) async fn stored_lock(
        &self,
        view: &View,
        instance: &Uuid,
    ) -> Result<Option<StoredLock>, PlatformError> {
        let found = view.snapshot.get(&keys::lock(instance)).await?;
        found
            .map(|found| {
                let record = serde_json::from_slice(&found.value)
                    .map_err(|error| PlatformError::Internal(format!("the lock of {instance}: {error}")))?;
                Ok(StoredLock {
                    record,
                    version: found.version,
                })
            })
            .transpose()
    }

    /// Stages a lock in the place of what is there, and that the instance is there.
    pub(crate) fn stage_lock(
        &self,
        tx: &mut Transaction,
        instance: &Uuid,
        before: Option<&StoredLock>,
        record: &LockRecord,
    ) -> Result<(), PlatformError> {
        let key = keys::lock(instance);
        let value = serde_json::to_vec(record).map_err(|error| PlatformError::Internal(error.to_string()))?;
        tx.require_present(keys::instance(instance));
        tx.require_version(key.clone(), before.map(|before| before.version));
        tx.put(key, value);
        Ok(())
    }
}
