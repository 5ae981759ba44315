//! Data elements: their documents and their content.
//!
//! Invariant: an element's document and its blob are staged together, so neither is ever without
//! the other.

use blobs::{BlobHeaders, StagedContent};
use documents::PartitionKey;
use ledger::Transaction;
use uuid::Uuid;

use super::{Stored, View, keys, to_document};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::ELEMENTS_PER_INSTANCE_MAX;
use crate::model::{DataElement, Instance};
use crate::rules::names;

/// An element as it was read.
pub(crate) type StoredElement = Stored<DataElement>;

impl Platform {
    /// All elements of an instance, by creation.
    pub(crate) async fn stored_elements(
        &self,
        view: &View,
        instance: &Uuid,
    ) -> Result<Vec<StoredElement>, PlatformError> {
        let items = self
            .documents
            .read_partition_texts(
                view.snapshot(),
                &view.containers.data_elements,
                &PartitionKey::string(instance.to_string()),
                ELEMENTS_PER_INSTANCE_MAX,
            )
            .await?;
        let mut elements = items
            .into_iter()
            .map(Stored::read)
            .collect::<Result<Vec<StoredElement>, _>>()?;
        elements.sort_by_key(|element| element.value.created);
        Ok(elements)
    }

    /// One element.
    pub(crate) async fn stored_element(
        &self,
        view: &View,
        instance: &Uuid,
        element: &Uuid,
    ) -> Result<Option<StoredElement>, PlatformError> {
        let item = self
            .documents
            .read_item_text(
                view.snapshot(),
                &view.containers.data_elements,
                &PartitionKey::string(instance.to_string()),
                &element.to_string(),
            )
            .await?;
        item.map(Stored::read).transpose()
    }

    /// Stages a new element with its content.
    pub(crate) async fn stage_element_creation(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
        element: &DataElement,
        content: &StagedContent,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_create(tx, &view.containers.data_elements, to_document(element)?)
            .await?;
        self.stage_content(tx, view, instance, element, content).await
    }

    /// Stages a changed element; that it is still as it was `before` becomes a precondition.
    pub(crate) async fn stage_element(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
        before: &StoredElement,
        after: &DataElement,
    ) -> Result<(), PlatformError> {
        self.documents
            .stage_replace(
                tx,
                view.snapshot(),
                &view.containers.data_elements,
                to_document(after)?,
                Some(&before.etag),
            )
            .await?;
        let (guid, element) = ids(after)?;
        match (before.value.is_hard_deleted(), after.is_hard_deleted()) {
            (false, true) => tx.put(
                keys::element(&guid, &element),
                instance.party().as_bytes().to_vec(),
            ),
            (true, false) => tx.delete(keys::element(&guid, &element)),
            _ => {}
        }
        Ok(())
    }

    /// Makes the container of an org's content if it is missing.
    pub(crate) async fn ensure_content_container(&self, org: &str) -> Result<(), PlatformError> {
        let container = names::container(org, &self.settings.environment);
        self.blobs
            .ensure_container(&self.settings.blobs_account, &container)
            .await?;
        Ok(())
    }

    /// Stages an element's content in the place of what is there, and its scan, if it waits for one.
    pub(crate) async fn stage_content(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
        element: &DataElement,
        content: &StagedContent,
    ) -> Result<(), PlatformError> {
        let container = names::container(&instance.org, &self.settings.environment);
        let headers = BlobHeaders {
            content_type: element.content_type.clone(),
            ..BlobHeaders::default()
        };
        self.blobs
            .stage_put(
                tx,
                view.snapshot(),
                (&self.settings.blobs_account, &container),
                blob_of(element)?,
                content,
                headers,
            )
            .await?;
        self.stage_scan(tx, view, instance, element).await
    }

    /// Stages the removal of an element and its content.
    pub(crate) async fn stage_element_removal(
        &self,
        tx: &mut Transaction,
        view: &View,
        instance: &Instance,
        before: &StoredElement,
    ) -> Result<(), PlatformError> {
        let (guid, element) = ids(&before.value)?;
        self.documents
            .stage_delete(
                tx,
                view.snapshot(),
                &view.containers.data_elements,
                &PartitionKey::string(guid.to_string()),
                &before.value.id,
                Some(&before.etag),
            )
            .await?;
        let container = names::container(&instance.org, &self.settings.environment);
        self.blobs
            .stage_delete(
                tx,
                view.snapshot(),
                (&self.settings.blobs_account, &container),
                blob_of(&before.value)?,
            )
            .await?;
        tx.delete(keys::element(&guid, &element));
        Ok(())
    }

    /// An element's content as `view` has it.
    pub(crate) async fn open_content(
        &self,
        view: &View,
        instance: &Instance,
        element: &DataElement,
    ) -> Result<blobs::OpenBlob, PlatformError> {
        let container = names::container(&instance.org, &self.settings.environment);
        let opened = self
            .blobs
            .open(
                view.snapshot(),
                (&self.settings.blobs_account, &container),
                blob_of(element)?,
            )
            .await?;
        Ok(opened)
    }
}

fn blob_of(element: &DataElement) -> Result<&str, PlatformError> {
    element
        .blob_storage_path
        .as_deref()
        .ok_or_else(|| PlatformError::Internal(format!("element {} names no blob", element.id)))
}

fn ids(element: &DataElement) -> Result<(Uuid, Uuid), PlatformError> {
    let instance = Uuid::parse_str(&element.instance_guid).ok();
    instance
        .zip(element.guid())
        .ok_or_else(|| PlatformError::Internal(format!("element {:?} has no guids", element.id)))
}
