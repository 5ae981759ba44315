//! What a copy of another server's container needs beside the import of its items: the container as
//! that server describes it, its scripts, a note of how far the copy is, and all as it is, to compare.
//!
//! The note is a record beside the container's items, not a file: a ledger that is copied, or put
//! back as it was once, brings the note that fits its items along, and who deletes the container
//! deletes the note.

use std::sync::Arc;

use bytes::Bytes;
use ledger::limits::SCAN_PAGE_BYTES_MAX;
use ledger::{Direction, KeyRange, LedgerError, ScanLimit, Snapshot, Transaction};
use serde_json::Value;

use super::container::Container;
use super::items::require_container;
use super::keys;
use super::records::ItemRecord;
use super::scripts::{NewScript, ScriptKind};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, TRANSFER_ITEMS_MAX};

/// An item as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredItem {
    /// Its number: another one for each item of the container.
    pub number: u64,
    /// JSON text, system properties included.
    pub text: Bytes,
}

/// Some items in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPage {
    /// Those whose time to live isn't over.
    pub items: Vec<StoredItem>,
    /// The number to go on at; `None` after the last item.
    pub next: Option<u64>,
}

impl Documents {
    /// Finds the container that a resource describes, or makes it and its database; true if it was
    /// made.
    ///
    /// # Errors
    /// 400 if the resource asks for what isn't served; 409 if the container that is there is
    /// partitioned otherwise.
    pub async fn find_or_create_container(
        &self,
        account: &str,
        database: &str,
        resource: &Value,
    ) -> Result<(Arc<Container>, bool), DocumentsError> {
        let id = resource.get("id").and_then(Value::as_str).unwrap_or_default();
        let wanted =
            crate::rules::partition_key::PartitionKeyDefinition::from_value(resource.get("partitionKey"))?;
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            match self.container(account, database, id).await {
                Ok(found) if found.partition_key == wanted => return Ok((found, false)),
                Ok(found) => {
                    return Err(DocumentsError::Conflict(format!(
                        "The container {id:?} that is here is partitioned otherwise: by {:?}, not {wanted:?}.",
                        found.partition_key
                    )));
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            let snapshot = self.ledger.snapshot().await?;
            if self
                .database(snapshot.as_ref(), account, database)
                .await?
                .is_none()
            {
                match self.create_database(account, database, None).await {
                    Ok(_) | Err(DocumentsError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match self.create_container(account, database, resource, None).await {
                Ok(container) => return Ok((container, true)),
                // Somebody else made it meanwhile.
                Err(DocumentsError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// The note of the copy into a container, if there is one.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn copy_note(&self, container: &Container) -> Result<Option<Bytes>, DocumentsError> {
        let snapshot = self.ledger.snapshot().await?;
        let found = snapshot.get(&keys::copy(container.number)).await?;
        Ok(found.map(|found| found.value))
    }

    /// Notes how far the copy into a container is; what was committed before is on disk by then.
    ///
    /// # Errors
    /// 404 if the container is gone; the ledger's.
    pub async fn keep_copy_note(&self, container: &Container, note: Vec<u8>) -> Result<(), DocumentsError> {
        let note = Bytes::from(note);
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let container = self.latest(container).await?;
            let mut tx = Transaction::new();
            require_container(&mut tx, &container);
            tx.put(keys::copy(container.number), note.clone());
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok(()),
                Err(LedgerError::Conflict(_)) => self.catalog.forget(&container),
                Err(error) => return Err(error.into()),
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Creates a script, or replaces the one of its id; false if it is there as it shall be. Its text isn't
    /// looked into.
    ///
    /// # Errors
    /// 403 if the container has as many as it may have; 404 if it is gone; the ledger's.
    pub async fn put_script(
        &self,
        container: &Container,
        kind: ScriptKind,
        new: &NewScript,
    ) -> Result<bool, DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let container = self.latest(container).await?;
            let snapshot = self.ledger.snapshot().await?;
            let found = self.script(snapshot.as_ref(), &container, kind, &new.id).await?;
            let written = match found.map(|found| NewScript::from(found.record)) {
                Some(known) if known == *new => return Ok(false),
                Some(_) => self.replace_script(&container, kind, new, None).await,
                None => self.create_script(&container, kind, new).await,
            };
            match written {
                Ok(_) => return Ok(true),
                // Somebody else made or deleted it meanwhile.
                Err(DocumentsError::Conflict(_) | DocumentsError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// The scripts of a container, in the order of their ids.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn stored_scripts(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        kind: ScriptKind,
    ) -> Result<Vec<NewScript>, DocumentsError> {
        let most = (kind.count_max(), usize::MAX);
        let (scripts, _) = self.list_scripts(snapshot, container, kind, None, most).await?;
        Ok(scripts.into_iter().map(|script| script.record.into()).collect())
    }

    /// The item with the id and partition key of `document`.
    ///
    /// # Errors
    /// 400 if the document has no good partition key; the ledger's.
    pub async fn stored_item(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        document: &Value,
    ) -> Result<Option<StoredItem>, DocumentsError> {
        let key = container.partition_key.extract(document)?;
        let id = document.get("id").and_then(Value::as_str).unwrap_or_default();
        let found = self
            .find(&Transaction::new(), snapshot, container, &key, id)
            .await?;
        Ok(found.map(|current| StoredItem {
            number: current.number,
            text: current.record.text,
        }))
    }

    /// Reads items from a number on.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn stored_page(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        from: u64,
    ) -> Result<StoredPage, DocumentsError> {
        let range = KeyRange::prefix_from(&keys::items(container.number), keys::item(container.number, from));
        let limit = ScanLimit {
            entries_max: TRANSFER_ITEMS_MAX,
            bytes_max: SCAN_PAGE_BYTES_MAX,
        };
        let now = self.clock.now().as_second();
        let found = snapshot.scan_page(&range, Direction::Forward, limit).await?;
        let mut page = StoredPage {
            items: Vec::new(),
            next: None,
        };
        let mut last = from;
        for entry in found.entries {
            let Some((_, number)) = keys::read_item(&entry.key) else {
                continue;
            };
            last = number;
            let record = ItemRecord::decode(&entry.versioned.value)?;
            if !record.is_expired(container.default_ttl, now) {
                page.items.push(StoredItem {
                    number,
                    text: record.text,
                });
            }
        }
        page.next = found.rest.map(|_| last.saturating_add(1));
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use ledger::Ledger as _;
    use serde_json::json;

    use super::*;
    use crate::store::in_memory;

    /// Whoever deletes a container and makes another one of its name begins its copy anew.
    #[tokio::test]
    async fn a_note_goes_with_its_container() {
        let (documents, ledger) = in_memory::documents();
        let resource = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
        let make = async || {
            documents
                .find_or_create_container("test", "d", &resource)
                .await
                .unwrap()
        };
        let (container, made) = make().await;
        assert!(made && !make().await.1);
        assert_eq!(documents.copy_note(&container).await.unwrap(), None);
        documents
            .keep_copy_note(&container, b"note".to_vec())
            .await
            .unwrap();
        let note = documents.copy_note(&container).await.unwrap();
        assert_eq!(note.as_deref(), Some(b"note".as_slice()));

        documents.delete_container("test", "d", "c", None).await.unwrap();
        let late = documents.keep_copy_note(&container, b"late".to_vec()).await;
        assert!(late.unwrap_err().is_not_found());
        let (another, made) = make().await;
        assert!(made);
        assert_eq!(documents.copy_note(&another).await.unwrap(), None);
        documents.sweep_once().await.unwrap();
        let snapshot = ledger.snapshot().await.unwrap();
        assert_eq!(snapshot.get(&keys::copy(container.number)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn another_partition_key_is_refused() {
        let (documents, _) = in_memory::documents();
        let resource = |paths: Value, kind: &str| json!({"id": "c", "partitionKey": {"paths": paths, "kind": kind, "version": 2}});
        let first = resource(json!(["/pk"]), "Hash");
        documents
            .find_or_create_container("test", "d", &first)
            .await
            .unwrap();
        for other in [
            resource(json!(["/other"]), "Hash"),
            resource(json!(["/pk", "/more"]), "MultiHash"),
        ] {
            let refused = documents.find_or_create_container("test", "d", &other).await;
            assert!(refused.unwrap_err().to_string().contains("partitioned otherwise"));
        }
    }
}
