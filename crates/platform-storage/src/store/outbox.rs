//! The outboxes: contents to scan, instances to tell the portal of. Staged with what they are about.
//!
//! Invariant: a message goes only when its receiver has taken it, and only if it is still the one that was sent: an
//! event that comes while its instance's row is being delivered makes the row stay.

use bytes::Bytes;
use ledger::{Direction, Key, KeyRange, Scan, Sequence, Transaction, Write};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::instances::guid_of;
use super::{View, keys};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::DELIVERIES_PER_ROUND_MAX;
use crate::model::{DataElement, FileScanResult, Instance, InstanceEvent};
use crate::rules::outbox::{ScanMessage, SyncRow};

/// A message that is due.
#[derive(Debug)]
pub(crate) struct Due<T> {
    pub(crate) key: Key,
    pub(crate) version: Sequence,
    pub(crate) value: T,
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
        let (Some(message), Some(guid)) = (ScanMessage::new(instance, element, app.as_ref()), element.guid())
        else {
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
                found
                    .map(|found| read("a row of the portal's outbox", &found.value))
                    .transpose()?
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

    /// Scans that are due, the earliest first.
    pub(crate) async fn due_scans(&self, view: &View) -> Result<Vec<Due<ScanMessage>>, PlatformError> {
        let range = keys::scans_until(self.clock.now().as_microsecond());
        let mut scan = Scan::new(view.snapshot(), range, Direction::Forward);
        let mut due = Vec::new();
        while due.len() < DELIVERIES_PER_ROUND_MAX
            && let Some(entry) = scan.next().await?
        {
            due.push(Due {
                value: read("a scan that waits", &entry.versioned.value)?,
                key: entry.key,
                version: entry.versioned.version,
            });
        }
        Ok(due)
    }

    /// Instances that the portal is to be told of now, the earliest first.
    pub(crate) async fn due_syncs(&self, view: &View) -> Result<Vec<Due<SyncRow>>, PlatformError> {
        let range = keys::syncs_until(self.clock.now().as_microsecond());
        let mut scan = Scan::new(view.snapshot(), range, Direction::Forward);
        let mut due = Vec::new();
        while due.len() < DELIVERIES_PER_ROUND_MAX
            && let Some(entry) = scan.next().await?
        {
            let damaged = || PlatformError::Internal(format!("the outbox' key {:?} is malformed", entry.key));
            let (_, guid) = keys::read_list_row(&entry.key).ok_or_else(damaged)?;
            let key = keys::sync(&guid);
            let Some(found) = view.snapshot.get(&key).await? else {
                return Err(PlatformError::Internal(format!(
                    "the portal's outbox has no row of instance {guid}"
                )));
            };
            due.push(Due {
                value: read("a row of the portal's outbox", &found.value)?,
                key,
                version: found.version,
            });
        }
        Ok(due)
    }

    /// Stages that a scan is no longer to be asked for.
    pub(crate) fn stage_scan_end(tx: &mut Transaction, due: &Due<ScanMessage>) {
        tx.require_version(due.key.clone(), Some(due.version));
        tx.delete(due.key.clone());
    }

    /// Stages that a scan is asked for again at `at`.
    pub(crate) fn stage_scan_again(
        tx: &mut Transaction,
        due: &Due<ScanMessage>,
        at: i64,
    ) -> Result<(), PlatformError> {
        Self::stage_scan_end(tx, due);
        let message = ScanMessage {
            attempts: due.value.attempts.saturating_add(1),
            ..due.value.clone()
        };
        let guid = Uuid::parse_str(&message.data_element_id).unwrap_or_default();
        tx.put(
            keys::scan(at, &guid, &message.blob_version_id),
            written(&message)?,
        );
        Ok(())
    }

    /// Stages that the portal knows.
    pub(crate) fn stage_sync_end(tx: &mut Transaction, due: &Due<SyncRow>) {
        let guid = Uuid::parse_str(&due.value.instance_id).unwrap_or_default();
        tx.require_version(due.key.clone(), Some(due.version));
        tx.delete(due.key.clone());
        tx.delete(keys::sync_due(due.value.due, &guid));
    }

    /// Stages that the portal is told again at `at`.
    pub(crate) fn stage_sync_again(
        tx: &mut Transaction,
        due: &Due<SyncRow>,
        at: i64,
    ) -> Result<(), PlatformError> {
        Self::stage_sync_end(tx, due);
        let guid = Uuid::parse_str(&due.value.instance_id).unwrap_or_default();
        let row = SyncRow {
            due: at,
            attempts: due.value.attempts.saturating_add(1),
            ..due.value.clone()
        };
        tx.put(due.key.clone(), written(&row)?);
        tx.put(keys::sync_due(at, &guid), Vec::new());
        Ok(())
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
