//! Instances: their documents, and the rows and pointers that find them.
//!
//! Invariant: a document, its pointer, its rows and its place among the deleted change together.

use documents::PartitionKey;
use ledger::{Key, Transaction};
use uuid::Uuid;

use super::keys::{self, List};
use super::{Stored, View, to_document};
use crate::Platform;
use crate::error::PlatformError;
use crate::model::{DataElement, Instance};
use crate::rules::row::Row;

/// An instance as it was read; its id is the bare guid.
pub(crate) type StoredInstance = Stored<Instance>;

/// The list rows of an instance: keys, and the one value of them all.
pub(super) fn rows(instance: &Instance) -> Result<(Vec<Key>, Vec<u8>), PlatformError> {
    let guid = guid_of(instance)?;
    let row = Row::of(instance);
    let changed = instance
        .last_changed
        .map_or(0, crate::model::Moment::microseconds);
    let keys = List::FIRST
        .into_iter()
        .chain(List::ADDED)
        .filter_map(|list| row_key(list, &row, changed, &guid))
        .collect();
    let value = serde_json::to_vec(&row).map_err(|error| PlatformError::Internal(error.to_string()))?;
    Ok((keys, value))
}

/// The key of an instance's row in a kind of list, if it belongs there.
pub(super) fn row_key(list: List, row: &Row, changed: i64, guid: &Uuid) -> Option<Key> {
    let unconfirmed = || row.ended.is_some() && !row.is_confirmed();
    let task;
    let name: &str = match list {
        List::Org => row.org(),
        List::App => &row.app_id,
        List::Party => &row.party,
        List::OrgUnconfirmed => unconfirmed().then(|| row.org())?,
        List::AppUnconfirmed => unconfirmed().then_some(&row.app_id)?,
        List::AppTask => {
            task = keys::task_name(&row.app_id, row.task.as_deref()?);
            &task
        }
    };
    Some(keys::list_row(list, name, changed, guid))
}

pub(super) fn guid_of(instance: &Instance) -> Result<Uuid, PlatformError> {
    instance
        .guid()
        .ok_or_else(|| PlatformError::Internal(format!("the instance id {:?} holds no guid", instance.id)))
}

impl Platform {
    /// The party of an instance; `None` if there is no such instance.
    pub(crate) async fn party_of(&self, view: &View, guid: &Uuid) -> Result<Option<String>, PlatformError> {
        let found = view.snapshot.get(&keys::instance(guid)).await?;
        Ok(found.map(|found| String::from_utf8_lossy(&found.value).into_owned()))
    }

    /// The instance of a party; `None` if there is none.
    pub(crate) async fn stored_instance(
        &self,
        view: &View,
        party: &str,
        guid: &Uuid,
    ) -> Result<Option<StoredInstance>, PlatformError> {
        let item = self
            .documents
            .read_item_text(
                view.snapshot(),
                &view.containers.instances,
                &PartitionKey::string(party),
                &guid.to_string(),
            )
            .await?;
        item.map(Stored::read).transpose()
    }

    /// Stages a new instance.
    pub(crate) async fn stage_instance_creation(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
    ) -> Result<(), PlatformError> {
        let guid = guid_of(instance)?;
        self.documents
            .stage_create(tx, &view.containers.instances, to_document(instance)?)
            .await?;
        tx.require_absent(keys::instance(&guid));
        tx.put(keys::instance(&guid), instance.party().as_bytes().to_vec());
        let (rows, value) = rows(instance)?;
        for row in rows {
            tx.put(row, value.clone());
        }
        Ok(())
    }

    /// Stages a changed instance; that it is still as it was `before` becomes a precondition.
    pub(crate) async fn stage_instance(
        &self,
        tx: &mut Transaction,
        view: &View,
        before: &StoredInstance,
        after: &Instance,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_replace(
                tx,
                view.snapshot(),
                &view.containers.instances,
                to_document(after)?,
                Some(&before.etag),
            )
            .await?;
        let (old, old_value) = rows(&before.value)?;
        let (new, new_value) = rows(after)?;
        if old_value != new_value || old != new {
            for row in old.into_iter().filter(|row| !new.contains(row)) {
                tx.delete(row);
            }
            for row in new {
                tx.put(row, new_value.clone());
            }
        }
        let guid = guid_of(after)?;
        match (before.value.status.is_hard_deleted, after.status.is_hard_deleted) {
            (false, true) => tx.put(keys::deleted(&guid), after.party().as_bytes().to_vec()),
            (true, false) => tx.delete(keys::deleted(&guid)),
            _ => {}
        }
        Ok(())
    }

    /// Stages the removal of an instance; its elements and events are the caller's to remove. That it came from elsewhere
    /// stays known, so that it doesn't come again.
    pub(crate) async fn stage_instance_removal(
        &self,
        tx: &mut Transaction,
        view: &View,
        before: &StoredInstance,
    ) -> Result<(), PlatformError> {
        let guid = guid_of(&before.value)?;
        self.documents
            .stage_delete(
                tx,
                view.snapshot(),
                &view.containers.instances,
                &PartitionKey::string(before.value.party()),
                &guid.to_string(),
                Some(&before.etag),
            )
            .await?;
        let (rows, _) = rows(&before.value)?;
        for row in rows {
            tx.delete(row);
        }
        tx.delete(keys::instance(&guid));
        tx.delete(keys::lock(&guid));
        tx.delete(keys::deleted(&guid));
        self.stage_removed_import(tx, view, &guid).await
    }

    /// Makes it a precondition that an instance stays as it was `before`, without writing it.
    pub(super) async fn stage_instance_stays(
        &self,
        tx: &mut Transaction,
        view: &View,
        before: &StoredInstance,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_unchanged(
                tx,
                view.snapshot(),
                &view.containers.instances,
                &PartitionKey::string(before.value.party()),
                &guid_of(&before.value)?.to_string(),
                &before.etag,
            )
            .await?;
        Ok(())
    }

    /// The instance with its elements as a reader sees them; those that wait for their removal are
    /// the owner's to see.
    pub(crate) fn with_elements(
        instance: &Instance,
        elements: Vec<Stored<DataElement>>,
        sees_deleted: bool,
    ) -> Instance {
        let elements = elements
            .into_iter()
            .map(|element| element.value)
            .filter(|element| sees_deleted || !element.is_hard_deleted());
        Instance {
            data: Some(elements.collect()),
            ..instance.clone()
        }
    }
}
