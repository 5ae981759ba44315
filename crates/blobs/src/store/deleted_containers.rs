//! Containers that were deleted and are kept for a while. What was in one stays under its generation, so that it
//! comes back by one record, under any name, and its own name is free at once.
//!
//! Invariant: a generation is a container's, a deleted container's, or waits for its purge. A deleted container
//! has an entry by the time at which it goes.

use jiff::Timestamp;
use ledger::{Direction, LedgerError, Scan, ScanLimit, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::SWEEP_STEP_ENTRIES_MAX;
use crate::store::containers::{Container, log_record};
use crate::store::keys;
use crate::store::records::{ContainerRecord, decode, encode};

/// 1601, from which the protocol's versions of deleted containers count, before 1970: in units of 100 ns.
const TICKS_BEFORE_1970: u64 = 116_444_736_000_000_000;

/// Which of a name's deleted containers one is; later ones have larger versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct DeletedVersion(pub(crate) u64);

impl DeletedVersion {
    pub(crate) fn at(time: Timestamp) -> Self {
        let ticks = u64::try_from(time.as_nanosecond() / 100).unwrap_or_default();
        Self(ticks.saturating_add(TICKS_BEFORE_1970))
    }

    /// The time that it says.
    pub(crate) fn time(self) -> Timestamp {
        let ticks = self.0.saturating_sub(TICKS_BEFORE_1970);
        Timestamp::from_nanosecond(i128::from(ticks) * 100).unwrap_or(Timestamp::MAX)
    }

    /// As the protocol writes it.
    pub(crate) fn text(self) -> String {
        format!("{:016X}", self.0)
    }

    /// Reads what [`Self::text`] wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number.map(Self)
    }
}

/// A deleted container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeletedContainer {
    /// As it was.
    pub(crate) container: ContainerRecord,
    pub(crate) version: DeletedVersion,
    pub(crate) at: Timestamp,
    /// When it goes.
    pub(crate) until: Timestamp,
}

impl Blobs {
    /// Stages what becomes of a container's content when its record goes: it is kept, if the account keeps
    /// what is deleted, or purged.
    pub(crate) async fn stage_container_keeping(
        &self,
        tx: &mut Transaction,
        container: &Container,
    ) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let Container { account, record, .. } = container;
        let Some(kept) = self.retention(snapshot.as_ref(), account).await? else {
            tx.put(keys::purge(&record.generation), Vec::new());
            return Ok(());
        };
        let limit = ScanLimit {
            entries_max: 1,
            bytes_max: 1,
        };
        let range = keys::deleted_containers_of(account, &record.name);
        let newest = snapshot.scan_page(&range, Direction::Backward, limit).await?;
        let newest = newest.entries.first().map(|newest| decode(&newest.versioned));
        let newest: Option<DeletedContainer> = newest.transpose()?;
        let now = self.clock.now();
        let next = newest.map(|newest| DeletedVersion(newest.version.0.saturating_add(1)));
        let deleted = DeletedContainer {
            container: record.clone(),
            version: next.map_or(DeletedVersion::at(now), |next| next.max(DeletedVersion::at(now))),
            at: now,
            until: now.saturating_add(kept).unwrap_or(now),
        };
        let key = keys::deleted_container(account, &record.name, deleted.version);
        tx.require_absent(key.clone());
        tx.put(keys::container_expiry(deleted.until, &key), Vec::new());
        tx.put(key, encode(&deleted)?);
        Ok(())
    }

    /// Brings a deleted container back as `destination`.
    ///
    /// # Errors
    /// `ContainerNotFound`, `ContainerAlreadyExists`; as the ledger.
    pub(crate) async fn restore_container(
        &self,
        account: &str,
        (name, version): (&str, DeletedVersion),
        destination: &str,
    ) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let key = keys::deleted_container(account, name, version);
        let stored = snapshot.get(&key).await?.ok_or(ErrorCode::ContainerNotFound)?;
        let deleted: DeletedContainer = decode(&stored)?;
        if deleted.until <= self.clock.now() {
            return Err(ErrorCode::ContainerNotFound.into());
        }
        let record = ContainerRecord {
            name: destination.to_owned(),
            etag: self.new_etag(),
            last_modified: self.clock.now(),
            lease: None,
            ..deleted.container
        };
        let back = keys::container(account, destination);
        let mut tx = Transaction::new();
        tx.require_version(key.clone(), Some(stored.version));
        tx.require_absent(back.clone());
        tx.delete(keys::container_expiry(deleted.until, &key));
        tx.delete(key.clone());
        tx.put(back, encode(&record)?);
        tx.record(log_record("restoreContainer", account, destination, None));
        match self.ledger.commit(tx).await {
            // Somebody else brought it back, or its time was over.
            Err(LedgerError::Conflict(conflict)) if conflict.key == key => {
                Err(ErrorCode::ContainerNotFound.into())
            }
            Err(LedgerError::Conflict(_)) => Err(ErrorCode::ContainerAlreadyExists.into()),
            other => other.map(|_| ()).map_err(BlobsError::from),
        }
    }

    /// Queues what deleted containers had for its purge when their time is over: a bounded number, in one commit.
    pub(crate) async fn sweep_deleted_containers(&self) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let range = keys::expired_containers(self.clock.now());
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut tx = Transaction::new();
        let mut gone = 0;
        while gone < SWEEP_STEP_ENTRIES_MAX
            && let Some(entry) = scan.next().await?
        {
            gone += 1;
            let key = keys::expiring_container(&entry.key);
            let stored = match &key {
                Some(key) => snapshot.get(key).await?,
                None => None,
            };
            let (Some(key), Some(stored)) = (key, stored) else {
                tx.delete(entry.key);
                continue;
            };
            let deleted: DeletedContainer = match decode(&stored) {
                Ok(deleted) => deleted,
                Err(error) => {
                    tracing::error!(?key, %error, "a deleted container can't be read; what it had stays");
                    continue;
                }
            };
            tx.delete(entry.key);
            tx.require_version(key.clone(), Some(stored.version));
            tx.put(keys::purge(&deleted.container.generation), Vec::new());
            tx.delete(key);
        }
        if tx.is_empty() {
            return Ok(());
        }
        match self.ledger.commit(tx).await {
            // One came back meanwhile: the next round looks again.
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a deleted container's own entries lack: that by its time.
pub(crate) async fn lacks_expiry(
    snapshot: &dyn Snapshot,
    key: &ledger::Key,
    deleted: &DeletedContainer,
) -> Result<bool, LedgerError> {
    let expiry = keys::container_expiry(deleted.until, key);
    Ok(snapshot.get(&expiry).await?.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_written_and_read() {
        let at = Timestamp::from_nanosecond(1_700_000_000_123_456_700).unwrap();
        let version = DeletedVersion::at(at);
        assert_eq!(version.text(), "01DA1747C67FD687");
        assert_eq!(version.time(), at);
        assert_eq!(DeletedVersion::parse(&version.text()), Some(version));
        for bad in ["", "1", "01DA1747C67FD68", "+1DA1747C67FD687", "01DA1747C67FD68G"] {
            assert_eq!(DeletedVersion::parse(bad), None, "{bad}");
        }
    }
}
