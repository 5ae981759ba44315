//! How many bytes a registry has: those of the blobs that its repositories are linked to, each once, of manifests
//! in each repository, and of uploads under way. What comes and goes is a row each, so that pushes don't wait for one another; the
//! background work folds them.

use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot, Transaction};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::USAGE_ROWS_MAX;
use crate::settings::Registry;
use crate::store::keys;
use crate::store::records::{UploadRecord, decode, decode_number};

/// Notes that `bytes` came, or went if it is negative.
pub(crate) fn stage(tx: &mut Transaction, registry: &str, bytes: i64) {
    if bytes != 0 {
        // A commit may have several: each has a key of its own.
        let number = u32::try_from(tx.sequenced().len()).unwrap_or(u32::MAX);
        tx.put_sequenced(
            keys::usage_deltas(registry),
            number.to_be_bytes().to_vec(),
            bytes.to_be_bytes().to_vec(),
        );
    }
}

/// Bytes of blobs and manifests.
pub(crate) async fn linked_bytes(snapshot: &dyn Snapshot, registry: &str) -> Result<u64, LedgerError> {
    let mut sum = match snapshot.get(&keys::usage(registry)).await? {
        Some(found) => decode_number(&found.value)?,
        None => 0,
    };
    let deltas = KeyRange::prefix(&keys::usage_deltas(registry));
    let mut scan = Scan::new(snapshot, deltas, Direction::Forward);
    while let Some(entry) = scan.next().await? {
        sum = sum.saturating_add(decode_number(&entry.versioned.value)?);
    }
    Ok(u64::try_from(sum).unwrap_or(0))
}

/// Bytes of uploads under way, and how many there are; `caller`'s alone as well.
pub(crate) async fn open_uploads(
    snapshot: &dyn Snapshot,
    registry: &str,
    caller: &str,
) -> Result<(u64, usize, usize), LedgerError> {
    let (mut bytes, mut all, mut own) = (0_u64, 0, 0);
    let mut scan = Scan::new(snapshot, keys::uploads(registry), Direction::Forward);
    while let Some(entry) = scan.next().await? {
        let record: UploadRecord = decode(&entry.versioned)?;
        bytes = bytes.saturating_add(record.offset);
        all += 1;
        own += usize::from(record.caller == caller);
    }
    Ok((bytes, all, own))
}

impl RegistryService {
    /// Refuses `more` bytes where they wouldn't fit. Requests that run at once may pass together, by what
    /// each of them brings.
    pub(crate) async fn check_quota(&self, registry: &Registry, more: u64) -> Result<(), RegistryError> {
        let Some(quota) = registry.quota_bytes else {
            return Ok(());
        };
        let snapshot = self.ledger.snapshot().await?;
        let linked = linked_bytes(snapshot.as_ref(), &registry.name).await?;
        let (open, ..) = open_uploads(snapshot.as_ref(), &registry.name, "").await?;
        if linked.saturating_add(open).saturating_add(more) > quota {
            let text = format!("the registry may hold {quota} bytes, and this would be more");
            return Err(RegistryError::with(ErrorCode::Denied, text));
        }
        Ok(())
    }

    /// Folds a registry's rows into one, if there are many.
    pub(crate) async fn fold_usage(&self, registry: &str) -> Result<(), LedgerError> {
        let snapshot = self.ledger.snapshot().await?;
        let base_key = keys::usage(registry);
        let base = snapshot.get(&base_key).await?;
        let mut sum = match &base {
            Some(found) => decode_number(&found.value)?,
            None => 0,
        };
        let mut tx = Transaction::new();
        let deltas = KeyRange::prefix(&keys::usage_deltas(registry));
        let mut scan = Scan::new(snapshot.as_ref(), deltas, Direction::Forward);
        let mut rows = 0;
        while rows < USAGE_ROWS_MAX * 16
            && let Some(entry) = scan.next().await?
        {
            sum = sum.saturating_add(decode_number(&entry.versioned.value)?);
            tx.delete(entry.key);
            rows += 1;
        }
        if rows <= USAGE_ROWS_MAX {
            return Ok(());
        }
        tx.require_version(base_key.clone(), base.map(|found| found.version));
        tx.put(base_key, sum.to_be_bytes().to_vec());
        match self.ledger.commit(tx).await {
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
