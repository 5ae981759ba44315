//! The outboxes: contents to scan, instances to tell the portal of. Staged with what they are about.
//!
//! Invariant: a message goes only when its receiver has taken it, and only if it is still the one that was sent: an
//! event that comes while its instance's row is being delivered makes the row stay.

use bytes::Bytes;
use ledger::{Direction, Key, KeyRange, Scan, Sequence, Transaction, Versioned, Write};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::instances::guid_of;
use super::{View, keys};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::DELIVERIES_PER_ROUND_MAX;
use crate::model::{DataElement, FileScanResult, Instance, InstanceEvent};
use crate::rules::outbox::{DeadLetter, ScanMessage, SyncRow};

/// What is due of an outbox.
#[derive(Debug)]
pub(crate) struct Round<T> {
    /// Messages, the earliest first.
    pub(crate) due: Vec<Due<T>>,
    /// Rows that can't be read.
    pub(crate) damaged: Vec<Damaged>,
}

/// A row that can't be read.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) key: Key,
    pub(crate) version: Sequence,
    pub(crate) value: Bytes,
    pub(crate) cause: String,
    /// A key that leads to it.
    pub(crate) due_key: Option<Key>,
}

/// A message that is due.
#[derive(Debug, Clone)]
pub(crate) struct Due<T> {
    pub(crate) key: Key,
    pub(crate) version: Sequence,
    pub(crate) value: T,
    /// A key that leads to it.
    pub(crate) due_key: Option<Key>,
}

impl<T: DeserializeOwned> Round<T> {
    fn empty() -> Self {
        Self {
            due: Vec::new(),
            damaged: Vec::new(),
        }
    }

    fn rows(&self) -> usize {
        self.due.len() + self.damaged.len()
    }

    fn take(&mut self, key: Key, found: Versioned, due_key: Option<Key>) {
        let version = found.version;
        match serde_json::from_slice(&found.value) {
            Ok(value) => self.due.push(Due {
                key,
                version,
                value,
                due_key,
            }),
            Err(error) => self.damaged.push(Damaged {
                key,
                version,
                value: found.value,
                cause: error.to_string(),
                due_key,
            }),
        }
    }
}

fn read<T: DeserializeOwned>(what: &str, value: &[u8]) -> Result<T, PlatformError> {
    serde_json::from_slice(value).map_err(|error| PlatformError::Internal(format!("{what}: {error}")))
}

fn written<T: serde::Serialize>(value: &T) -> Result<Bytes, PlatformError> {
    let text = serde_json::to_vec(value).map_err(|error| PlatformError::Internal(error.to_string()))?;
    Ok(text.into())
}

impl Platform {
    /// Stages the scan of an element's new content, if it waits for one.
    pub(super) async fn stage_scan(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
        element: &DataElement,
    ) -> Result<(), PlatformError> {
        if element.file_scan_result != FileScanResult::Pending {
            return Ok(());
        }
        let app = self.application_of(view, &instance.app_id).await?;
        let (Some(message), Some(guid)) = (
            ScanMessage::new(instance, element, app.as_deref()),
            element.guid(),
        ) else {
            return Err(PlatformError::Internal(format!(
                "element {} waits for a scan and its content has no version",
                element.id
            )));
        };
        let now = self.clock.now().as_microsecond();
        tx.put(
            keys::scan(now, &guid, &message.blob_version_id),
            written(&message)?,
        );
        Ok(())
    }

    /// Stages that the portal is to be told of `event`, if there is a portal.
    pub(super) async fn stage_sync(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
        event: &InstanceEvent,
    ) -> Result<(), PlatformError> {
        if !self.settings.portal_sync {
            return Ok(());
        }
        let guid = guid_of(instance)?;
        let key = keys::sync(&guid);
        // An operation may stage several events.
        let staged = match tx.staged(&key) {
            Some(Write::Put(value)) => Some(value.clone()),
            _ => None,
        };
        let before = match staged {
            Some(value) => Some(read::<SyncRow>("a row of the portal's outbox", &value)?),
            None => {
                let found = view.snapshot.get(&key).await?;
                tx.require_version(key.clone(), found.as_ref().map(|found| found.version));
                // A row that can't be read mustn't keep the instance from being changed: this one takes its place.
                found.and_then(|found| serde_json::from_slice(&found.value).ok())
            }
        };
        let row = SyncRow::after(
            before.as_ref(),
            instance,
            event,
            self.clock.now().as_microsecond(),
        );
        if let Some(before) = before {
            tx.delete(keys::sync_due(before.due, &guid));
        }
        tx.put(keys::sync_due(row.due, &guid), Vec::new());
        tx.put(key, written(&row)?);
        Ok(())
    }

    /// Scans that are due.
    pub(crate) async fn due_scans(&self, view: &View) -> Result<Round<ScanMessage>, PlatformError> {
        let range = keys::scans_until(self.clock.now().as_microsecond());
        let mut scan = Scan::new(view.snapshot(), range, Direction::Forward);
        let mut round = Round::empty();
        while round.rows() < DELIVERIES_PER_ROUND_MAX
            && let Some(entry) = scan.next().await?
        {
            round.take(entry.key, entry.versioned, None);
        }
        Ok(round)
    }

    /// Instances that the portal is to be told of now.
    pub(crate) async fn due_syncs(&self, view: &View) -> Result<Round<SyncRow>, PlatformError> {
        let range = keys::syncs_until(self.clock.now().as_microsecond());
        let mut scan = Scan::new(view.snapshot(), range, Direction::Forward);
        let mut round = Round::empty();
        while round.rows() < DELIVERIES_PER_ROUND_MAX
            && let Some(entry) = scan.next().await?
        {
            let key = keys::read_list_row(&entry.key).map(|(_, guid)| keys::sync(&guid));
            let found = match &key {
                Some(key) => view.snapshot.get(key).await?,
                None => None,
            };
            match key.zip(found) {
                Some((key, found)) => round.take(key, found, Some(entry.key)),
                None => round.damaged.push(Damaged {
                    key: entry.key,
                    version: entry.versioned.version,
                    value: entry.versioned.value,
                    cause: "there is no such row".to_owned(),
                    due_key: None,
                }),
            }
        }
        Ok(round)
    }

    /// Puts a row that can't be read aside, so that it holds up no other.
    pub(crate) fn stage_damaged(&self, tx: &mut Transaction, row: &Damaged) -> Result<(), PlatformError> {
        tx.require_version(row.key.clone(), Some(row.version));
        tx.delete(row.key.clone());
        if let Some(key) = &row.due_key {
            tx.delete(key.clone());
        }
        self.stage_dead_letter(tx, &row.key, &row.cause, &row.value)
    }

    /// Keeps a message that nobody takes.
    pub(crate) fn stage_dead_letter(
        &self,
        tx: &mut Transaction,
        key: &Key,
        cause: &str,
        row: &[u8],
    ) -> Result<(), PlatformError> {
        let letter = DeadLetter {
            cause: cause.to_owned(),
            row: String::from_utf8_lossy(row).into_owned(),
        };
        let at = self.clock.now().as_microsecond();
        tx.put(keys::dead_letter(at, key), written(&letter)?);
        Ok(())
    }

    /// Stages that a scan is no longer to be asked for.
    pub(crate) fn stage_scan_end(tx: &mut Transaction, due: &Due<ScanMessage>) {
        tx.require_version(due.key.clone(), Some(due.version));
        tx.delete(due.key.clone());
    }

    /// Stages that a scan is asked for again at `at`, as `message` says.
    pub(crate) fn stage_scan_again(
        tx: &mut Transaction,
        due: &Due<ScanMessage>,
        message: &ScanMessage,
        at: i64,
    ) -> Result<(), PlatformError> {
        Self::stage_scan_end(tx, due);
        let guid = Uuid::parse_str(&message.data_element_id).unwrap_or_default();
        tx.put(keys::scan(at, &guid, &message.blob_version_id), written(message)?);
        Ok(())
    }

    /// Stages that the portal knows.
    pub(crate) fn stage_sync_end(tx: &mut Transaction, due: &Due<SyncRow>) {
        let guid = Uuid::parse_str(&due.value.instance_id).unwrap_or_default();
        tx.require_version(due.key.clone(), Some(due.version));
        tx.delete(due.key.clone());
        tx.delete(keys::sync_due(due.value.due, &guid));
        if let Some(key) = &due.due_key {
            tx.delete(key.clone());
        }
    }

    /// Stages that the portal is told again when `row` says.
    pub(crate) fn stage_sync_again(
        tx: &mut Transaction,
        due: &Due<SyncRow>,
        row: &SyncRow,
    ) -> Result<(), PlatformError> {
        Self::stage_sync_end(tx, due);
        let guid = Uuid::parse_str(&due.value.instance_id).unwrap_or_default();
        tx.put(due.key.clone(), written(row)?);
        tx.put(keys::sync_due(row.due, &guid), Vec::new());
        Ok(())
    }

    /// How many messages were put aside. Looks at no more than `most`.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn dead_letters(&self, most: usize) -> Result<usize, PlatformError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), keys::dead_letters(), Direction::Forward);
        let mut found = 0;
        while found < most && scan.next().await?.is_some() {
            found += 1;
        }
        Ok(found)
    }

    /// How many messages wait: scans, instances for the portal. Looks at no more than `most` of each.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn waiting(&self, most: usize) -> Result<(usize, usize), PlatformError> {
        let snapshot = self.ledger.snapshot().await?;
        let count = async |range: KeyRange| -> Result<usize, PlatformError> {
            let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
            let mut found = 0;
            while found < most && scan.next().await?.is_some() {
                found += 1;
            }
            Ok(found)
        };
        Ok((
            count(keys::scans_until(i64::MAX)).await?,
            count(keys::syncs_until(i64::MAX)).await?,
        ))
    }
}
