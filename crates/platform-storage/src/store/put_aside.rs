//! Messages that were put aside: looked at, delivered again, or dropped, by people.

use jiff::Timestamp;
use ledger::{Direction, Key, KeyRange, Scan, Sequence, Transaction};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Attempts, keys, log};
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::rules::outbox::{DeadLetter, Outbox, ScanMessage, SyncRow};

/// Bytes of an id: as many as tell the messages of one server apart.
const ID_BYTES: usize = 8;

/// A message that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PutAside {
    /// What it is called here, hexadecimal.
    pub id: String,
    /// When it was put aside.
    pub put_aside: Timestamp,
    /// The outbox it was in; `None` if that can't be told.
    pub outbox: Option<Outbox>,
    /// The element that is to be scanned, or the instance that the portal is to be told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Why it was put aside.
    pub cause: String,
    /// The message as it was kept.
    pub row: String,
    #[serde(skip)]
    key: Key,
    #[serde(skip)]
    version: Sequence,
}

/// A message as it was kept, if it can be read.
enum Kept {
    Scan(ScanMessage),
    Portal(SyncRow),
}

impl PutAside {
    fn read(key: Key, version: Sequence, value: &[u8]) -> Self {
        let (at, had) = keys::read_dead_letter(&key).unwrap_or((0, key.clone()));
        // One that can't be read is shown as it is.
        let letter: DeadLetter = serde_json::from_slice(value).unwrap_or_else(|error| DeadLetter {
            cause: format!("what was put aside can't be read: {error}"),
            row: String::from_utf8_lossy(value).into_owned(),
        });
        let digest = Sha256::digest(key.as_bytes());
        let id = digest.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}"));
        let mut message = Self {
            id: id.collect(),
            put_aside: Timestamp::from_microsecond(at).unwrap_or(Timestamp::UNIX_EPOCH),
            outbox: keys::outbox_of(&had),
            about: None,
            cause: letter.cause,
            row: letter.row,
            key,
            version,
        };
        message.about = message.kept().map(|kept| match kept {
            Kept::Scan(scan) => format!("{}/data/{}", scan.instance_id, scan.data_element_id),
            Kept::Portal(row) => format!("{}/{}", row.party_id, row.instance_id),
        });
        message
    }

    fn kept(&self) -> Option<Kept> {
        match self.outbox? {
            Outbox::Scan => {
                let scan: ScanMessage = serde_json::from_str(&self.row).ok()?;
                Uuid::parse_str(&scan.data_element_id).ok()?;
                Some(Kept::Scan(scan))
            }
            Outbox::Portal => {
                let row: SyncRow = serde_json::from_str(&self.row).ok()?;
                Uuid::parse_str(&row.instance_id).ok()?;
                Some(Kept::Portal(row))
            }
        }
    }

    /// Whether it can be delivered at all.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.kept().is_some()
    }
}

impl Platform {
    /// Messages that were put aside, the oldest first, `most` of them; `behind` is the last one of the page before.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn put_aside(
        &self,
        behind: Option<&PutAside>,
        most: usize,
    ) -> Result<Vec<PutAside>, PlatformError> {
        let mut range: KeyRange = keys::dead_letters();
        if let Some(behind) = behind {
            range.start = behind.key.successor();
        }
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut found = Vec::new();
        while found.len() < most
            && let Some(entry) = scan.next().await?
        {
            let (version, value) = (entry.versioned.version, entry.versioned.value);
            found.push(PutAside::read(entry.key, version, &value));
        }
        Ok(found)
    }

    /// Puts a message back into its outbox, to be delivered at once.
    ///
    /// # Errors
    /// [`PlatformError::Unprocessable`] if it can't be read; [`PlatformError::Conflict`] if it is no longer put aside; the
    /// ledger's.
    pub async fn retry_put_aside(&self, message: &PutAside) -> Result<(), PlatformError> {
        let kept = message
            .kept()
            .ok_or_else(|| PlatformError::Unprocessable("the message can't be read".to_owned()))?;
        let now = self.clock.now().as_microsecond();
        let written = |text: Result<Vec<u8>, serde_json::Error>| {
            text.map_err(|error| PlatformError::Internal(error.to_string()))
        };
        let mut attempts = Attempts::default();
        loop {
            let mut tx = self.without(message, "retryMessage").await?;
            match &kept {
                Kept::Scan(scan) => {
                    let scan = ScanMessage {
                        attempts: 0,
                        refusals: 0,
                        ..scan.clone()
                    };
                    let element = Uuid::parse_str(&scan.data_element_id).unwrap_or_default();
                    let key = keys::scan(now, &element, &scan.blob_version_id);
                    tx.put(key, written(serde_json::to_vec(&scan))?);
                }
                Kept::Portal(row) => {
                    let instance = Uuid::parse_str(&row.instance_id).unwrap_or_default();
                    let key = keys::sync(&instance);
                    let snapshot = self.ledger.snapshot().await?;
                    // Where a newer one waits, the portal will read the instance anyway.
                    if snapshot.get(&key).await?.is_none() {
                        let row = SyncRow {
                            due: now,
                            attempts: 0,
                            refusals: 0,
                            ..row.clone()
                        };
                        tx.require_absent(key.clone());
                        tx.put(keys::sync_due(now, &instance), Vec::new());
                        tx.put(key, written(serde_json::to_vec(&row))?);
                    }
                }
            }
            if self.commit(tx, &mut attempts).await? {
                return Ok(());
            }
        }
    }

    /// Forgets a message that was put aside.
    ///
    /// # Errors
    /// [`PlatformError::Conflict`] if it is no longer put aside; the ledger's.
    pub async fn drop_put_aside(&self, message: &PutAside) -> Result<(), PlatformError> {
        let tx = self.without(message, "dropMessage").await?;
        self.ledger.commit(tx).await?;
        Ok(())
    }

    /// A transaction that takes a message away.
    async fn without(&self, message: &PutAside, operation: &str) -> Result<Transaction, PlatformError> {
        let snapshot = self.ledger.snapshot().await?;
        if snapshot.get(&message.key).await?.map(|found| found.version) != Some(message.version) {
            return Err(PlatformError::Conflict(format!(
                "message {} is no longer put aside",
                message.id
            )));
        }
        let mut tx = Transaction::new();
        tx.require_version(message.key.clone(), Some(message.version));
        tx.delete(message.key.clone());
        let subject = message.about.as_deref().unwrap_or(&message.id);
        log(&mut tx, operation, subject, &Caller::default());
        Ok(tx)
    }
}
