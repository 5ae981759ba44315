//! Items: reading one, and staging what creates, replaces and deletes one together with its index
//! entries, unique keys, place in the feed and log record.
//!
//! Invariant: whatever is staged here demands the container as it was read, and either the item's
//! absence or its version, so two writers of one item, or a writer and who deletes the container,
//! never both succeed. A second staging of an item in the same transaction sees the first.

use std::sync::Arc;

use bytes::Bytes;
use ledger::{Key, Keyspace, LogRecord, Sequence, Snapshot, Transaction, Write};
use serde::Serialize;
use serde_json::{Value, json};

use super::container::Container;
use super::item::{Item, ItemText, StagedItem};
pub(crate) use super::item_index::unique_hashes;
use super::item_index::{
    composite_entries, stage_composite_difference, stage_index_difference, stage_unique_keys, terms_of,
};
use super::item_number::ItemNumber;
use super::keys::{self, PartitionPlace};
pub(crate) use super::new_document::NewDocument;
use super::new_document::check_size;
use super::records::{ItemRecord, etag_text};
use super::versions::{self, Change};
use crate::Documents;
use crate::error::DocumentsError;
use crate::rules::partition_key::PartitionKey;

/// The kind of this service's item records in the log.
pub const LOG_KIND_ITEM: u8 = 1;

/// An item as it is before an operation.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) number: u64,
    pub(crate) record: ItemRecord,
    /// `None` if this very transaction staged it.
    pub(crate) version: Option<Sequence>,
}

/// An item as it will be.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    pub(crate) etag: String,
    pub(crate) text: Bytes,
    /// How many index entries were added or removed.
    pub(crate) index_changes: usize,
}

impl Staged {
    fn into_item(self) -> StagedItem {
        StagedItem::new(self.etag, self.text)
    }
}

#[derive(Serialize)]
struct ItemLog<'a> {
    op: &'a str,
    account: &'a str,
    database: &'a str,
    container: &'a str,
    id: &'a str,
    #[serde(rename = "partitionKey")]
    partition_key: Value,
}

impl Documents {
    /// Reads an item; `None` if there is none, or its time to live is over.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn read_item(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        partition_key: &PartitionKey,
        id: &str,
    ) -> Result<Option<Item>, DocumentsError> {
        let found = self
            .read_item_text(snapshot, container, partition_key, id)
            .await?;
        found.map(ItemText::into_item).transpose()
    }

    /// As [`Documents::read_item`], not taken apart.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn read_item_text(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        partition_key: &PartitionKey,
        id: &str,
    ) -> Result<Option<ItemText>, DocumentsError> {
        let found = self
            .find(&Transaction::new(), snapshot, container, partition_key, id)
            .await?;
        Ok(found.map(|current| ItemText::new(current.record, current.version.unwrap_or(0))))
    }

    /// Stages the creation of an item; its absence becomes a precondition.
    ///
    /// # Errors
    /// 400 for a bad document; 409 if this transaction stages one of the same id already; 404 if
    /// the container is gone.
    pub async fn stage_create(
        &self,
        tx: &mut Transaction,
        container: &Container,
        document: Value,
    ) -> Result<StagedItem, DocumentsError> {
        let container = self.latest(container).await?;
        let new = NewDocument::from_value(document)?;
        let key = container.partition_key.extract(new.value())?;
        Ok(self.create_in(tx, &container, &new, &key).await?.into_item())
    }

    /// Stages the creation of an item, or the replacement of the one that is there.
    ///
    /// # Errors
    /// As [`Documents::stage_create`], and the ledger's.
    pub async fn stage_upsert(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        document: Value,
    ) -> Result<StagedItem, DocumentsError> {
        let container = self.latest(container).await?;
        let new = NewDocument::from_value(document)?;
        let key = container.partition_key.extract(new.value())?;
        let upserted = self.upsert_in(tx, snapshot, &container, &new, &key, None);
        Ok(upserted.await?.0.into_item())
    }

    /// Stages the replacement of an item, whose present version becomes a precondition.
    ///
    /// # Errors
    /// 404 if there is none; 412 if `expected_etag` (with or without quotes) isn't its etag.
    pub async fn stage_replace(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        document: Value,
        expected_etag: Option<&str>,
    ) -> Result<StagedItem, DocumentsError> {
        let container = self.latest(container).await?;
        let new = NewDocument::from_value(document)?;
        let key = container.partition_key.extract(new.value())?;
        let current = self
            .find(tx, snapshot, &container, &key, new.id())
            .await?
            .ok_or_else(|| not_found(new.id()))?;
        check_etag(&current, expected_etag)?;
        let replaced = self.replace_in(tx, &container, &new, &key, &current);
        Ok(replaced.await?.into_item())
    }

    /// Stages the removal of an item, whose present version becomes a precondition.
    ///
    /// # Errors
    /// As [`Documents::stage_replace`].
    pub async fn stage_delete(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        partition_key: &PartitionKey,
        id: &str,
        expected_etag: Option<&str>,
    ) -> Result<(), DocumentsError> {
        let container = self.latest(container).await?;
        let current = self
            .find(tx, snapshot, &container, partition_key, id)
            .await?
            .ok_or_else(|| not_found(id))?;
        check_etag(&current, expected_etag)?;
        self.delete_in(tx, &container, partition_key, id, &current)?;
        Ok(())
    }

    /// Makes it a precondition that an item stays as it is, without writing it.
    ///
    /// # Errors
    /// As [`Documents::stage_replace`].
    pub async fn stage_unchanged(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        partition_key: &PartitionKey,
        id: &str,
        expected_etag: &str,
    ) -> Result<(), DocumentsError> {
        let container = self.latest(container).await?;
        let current = self
            .find(tx, snapshot, &container, partition_key, id)
            .await?
            .ok_or_else(|| not_found(id))?;
        check_etag(&current, Some(expected_etag))?;
        require_container(tx, &container);
        if let Some(version) = current.version {
            tx.require_version(keys::item(container.number, current.number), Some(version));
        }
        Ok(())
    }

    /// The item as `tx` and `snapshot` have it; `None` also if its time to live is over.
    pub(crate) async fn find(
        &self,
        tx: &Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        key: &PartitionKey,
        id: &str,
    ) -> Result<Option<Current>, DocumentsError> {
        let current = self.find_even_expired(tx, snapshot, container, key, id).await?;
        let now = self.clock.now().as_second();
        Ok(current.filter(|current| !current.record.is_expired(container.default_ttl, now)))
    }

    /// As [`Documents::find`], also if the item's time to live is over.
    pub(crate) async fn find_even_expired(
        &self,
        tx: &Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        key: &PartitionKey,
        id: &str,
    ) -> Result<Option<Current>, DocumentsError> {
        let id_key = keys::id(container.number, &container.place(key), id);
        let pointer = match tx.staged(&id_key) {
            Some(Write::Delete) => return Ok(None),
            Some(Write::Put(pointer)) => pointer.clone(),
            None => match snapshot.get(&id_key).await? {
                None => return Ok(None),
                Some(found) => found.value,
            },
        };
        let number = read_number(&pointer)?;
        let item_key = keys::item(container.number, number);
        let (value, version) = match tx.staged(&item_key) {
            Some(Write::Delete) => return Ok(None),
            Some(Write::Put(value)) => (value.clone(), None),
            None => {
                let found = snapshot.get(&item_key).await?.ok_or_else(|| {
                    DocumentsError::Damaged(format!(
                        "the id of item {number} of {} leads nowhere",
                        container.rid
                    ))
                })?;
                (found.value, Some(found.version))
            }
        };
        Ok(Some(Current {
            number,
            record: ItemRecord::decode(&value)?,
            version,
        }))
    }

    /// Stages a creation without reading: if the item exists, the commit fails.
    pub(crate) async fn create_in(
        &self,
        tx: &mut Transaction,
        container: &Container,
        new: &NewDocument,
        key: &PartitionKey,
    ) -> Result<Staged, DocumentsError> {
        let place = container.place(key);
        let id_key = keys::id(container.number, &place, new.id());
        match tx.staged(&id_key) {
            Some(Write::Put(_)) => return Err(id_conflict()),
            // Who staged the removal demanded the version of what was removed.
            Some(Write::Delete) => {}
            None => tx.require_absent(id_key),
        }
        let number = container.numbers.next(self.ledger.as_ref()).await?;
        self.put(tx, container, new, key, &place, number, None)
    }

    /// Stages a creation or replacement; true if it is a creation.
    pub(crate) async fn upsert_in(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        new: &NewDocument,
        key: &PartitionKey,
        expected: Option<&http_semantics::etag::TagList>,
    ) -> Result<(Staged, bool), DocumentsError> {
        match self.find(tx, snapshot, container, key, new.id()).await? {
            Some(current) => {
                if expected.is_some_and(|expected| !expected.matches(&current.record.etag_text())) {
                    return Err(etag_mismatch());
                }
                Ok((self.replace_in(tx, container, new, key, &current).await?, false))
            }
            // Without an item there is no etag that could differ: the service ignores If-Match.
            None => {
                self.remove_expired(tx, snapshot, container, key, new.id())
                    .await?;
                Ok((self.create_in(tx, container, new, key).await?, true))
            }
        }
    }

    /// Stages the removal of an item whose time to live is over, if there is one: what a creation
    /// of the same id does first.
    pub(crate) async fn remove_expired(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        container: &Container,
        key: &PartitionKey,
        id: &str,
    ) -> Result<bool, DocumentsError> {
        if container.default_ttl.is_none() {
            return Ok(false);
        }
        let now = self.clock.now().as_second();
        match self.find_even_expired(tx, snapshot, container, key, id).await? {
            Some(current) if current.record.is_expired(container.default_ttl, now) => {
                self.delete_in(tx, container, key, id, &current)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    pub(crate) async fn replace_in(
        &self,
        tx: &mut Transaction,
        container: &Container,
        new: &NewDocument,
        key: &PartitionKey,
        current: &Current,
    ) -> Result<Staged, DocumentsError> {
        let place = container.place(key);
        self.put(tx, container, new, key, &place, current.number, Some(current))
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "all of them are what a write is made of"
    )]
    fn put(
        &self,
        tx: &mut Transaction,
        container: &Container,
        new: &NewDocument,
        key: &PartitionKey,
        place: &PartitionPlace,
        number: u64,
        current: Option<&Current>,
    ) -> Result<Staged, DocumentsError> {
        let ts = self.clock.now().as_second();
        let mut etag = [0; 16];
        self.random.fill(&mut etag);
        let ttl = new.ttl(container)?;
        let indexed = new.is_indexed(&container.policy);
        let record = compose(container, new, number, &etag, ts, ttl, indexed)?;
        let text = ItemRecord::decode(&record)?.text;
        let item_key = keys::item(container.number, number);

        require_container(tx, container);
        let new_terms = terms_of(&container.policy, indexed, &new.value, ts)?;
        let composites = &container.composites;
        let new_entries = composite_entries(composites, indexed, &new.value, ts, number);
        let index_changes = match current {
            None => {
                for term in &new_terms {
                    tx.put(keys::index_entry(container.index, term, number), Bytes::new());
                }
                tx.put(
                    keys::id(container.number, place, new.id()),
                    number.to_be_bytes().to_vec(),
                );
                tx.put(
                    keys::partition_item(container.number, place, number),
                    Bytes::new(),
                );
                stage_unique_keys(tx, container, place, number, None, Some(&new.value))?;
                new_terms.len() + stage_composite_difference(tx, Vec::new(), new_entries)
            }
            Some(current) => {
                let old = current.record.parse()?;
                let before = &current.record;
                let old_terms = terms_of(&container.policy, before.indexed, &old, before.ts)?;
                require_item(tx, container, &item_key, current);
                stage_unique_keys(tx, container, place, number, Some(&old), Some(&new.value))?;
                let old_entries = composite_entries(composites, before.indexed, &old, before.ts, number);
                stage_index_difference(tx, container.index, number, &old_terms, &new_terms)
                    + stage_composite_difference(tx, old_entries, new_entries)
            }
        };
        if current.is_none_or(|current| current.version.is_some()) {
            tx.put_sequenced(
                keys::feed(container.number),
                ItemNumber::new(number).as_bytes().to_vec(),
                Bytes::new(),
            );
        }
        tx.put(item_key, record);
        let change = if current.is_some() {
            Change::Replace
        } else {
            Change::Create
        };
        versions::stage(tx, container, change, ts, current, &text);
        log(
            tx,
            container,
            if current.is_some() { "replace" } else { "create" },
            new.id(),
            key,
        )?;
        Ok(Staged {
            etag: etag_text(&etag),
            text,
            index_changes,
        })
    }

    /// Stages a removal; answers how many index entries go.
    pub(crate) fn delete_in(
        &self,
        tx: &mut Transaction,
        container: &Container,
        key: &PartitionKey,
        id: &str,
        current: &Current,
    ) -> Result<usize, DocumentsError> {
        let place = container.place(key);
        let number = current.number;
        let item_key = keys::item(container.number, number);
        let old = current.record.parse()?;
        let before = &current.record;
        let terms = terms_of(&container.policy, before.indexed, &old, before.ts)?;
        let composites = &container.composites;
        let entries = composite_entries(composites, before.indexed, &old, before.ts, number);
        require_container(tx, container);
        require_item(tx, container, &item_key, current);
        stage_unique_keys(tx, container, &place, number, Some(&old), None)?;
        for term in &terms {
            tx.delete(keys::index_entry(container.index, term, number));
        }
        let index_changes = terms.len() + stage_composite_difference(tx, entries, Vec::new());
        tx.delete(keys::id(container.number, &place, id));
        tx.delete(keys::partition_item(container.number, &place, number));
        tx.delete(item_key);
        versions::stage_removal(tx, container, self.clock.now().as_second(), current);
        log(tx, container, "delete", id, key)?;
        Ok(index_changes)
    }

    /// Makes a container that the caller may have held for long current again.
    pub(crate) async fn latest(&self, container: &Container) -> Result<Arc<Container>, DocumentsError> {
        let latest = self
            .container(&container.account, &container.database, &container.id)
            .await?;
        if latest.number != container.number {
            return Err(DocumentsError::OwnerNotFound(format!(
                "Container {} was deleted and another one of its name created.",
                container.id
            )));
        }
        Ok(latest)
    }
}

/// The record of a document: head, the client's text, system properties.
fn compose(
    container: &Container,
    new: &NewDocument,
    number: u64,
    etag: &[u8; 16],
    ts: i64,
    ttl: Option<i64>,
    indexed: bool,
) -> Result<Bytes, DocumentsError> {
    let rid = container.item_rid(number);
    let etag_name = uuid::Uuid::from_bytes(*etag).hyphenated();
    let system = format!(
        "\"_rid\":\"{rid}\",\"_self\":\"{}docs/{rid}/\",\"_etag\":\"\\\"{etag_name}\\\"\",\"_attachments\":\"attachments/\",\"_ts\":{ts}}}",
        container.self_link()
    );
    let written;
    let text: &[u8] = match &new.text {
        Some(text) => text,
        None => {
            written = super::records::encode(&new.value)?;
            check_size(written.len())?;
            &written
        }
    };
    // An object with at least its id: what ends it is `}`, and a comma belongs in its place.
    let body = text
        .trim_ascii()
        .strip_suffix(b"}")
        .unwrap_or(text)
        .trim_ascii_end();
    let mut record = ItemRecord::begin(etag, ts, ttl, indexed, body.len() + 1 + system.len());
    record.extend_from_slice(body);
    record.push(b',');
    record.extend_from_slice(system.as_bytes());
    Ok(record.into())
}

pub(crate) fn read_number(pointer: &[u8]) -> Result<u64, DocumentsError> {
    let bytes: [u8; 8] = pointer
        .try_into()
        .map_err(|_| DocumentsError::Damaged(format!("an item's number has {} bytes", pointer.len())))?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn require_container(tx: &mut Transaction, container: &Container) {
    if !tx
        .preconditions()
        .iter()
        .any(|precondition| precondition.key == container.key)
    {
        tx.require_version(container.key.clone(), Some(container.version));
    }
}

fn require_item(tx: &mut Transaction, container: &Container, item_key: &Key, current: &Current) {
    if let Some(version) = current.version {
        tx.require_version(item_key.clone(), Some(version));
        tx.delete(keys::feed_entry(container.number, version, current.number));
    }
}

fn log(
    tx: &mut Transaction,
    container: &Container,
    op: &str,
    id: &str,
    key: &PartitionKey,
) -> Result<(), DocumentsError> {
    let payload = super::records::encode(&ItemLog {
        op,
        account: &container.account,
        database: &container.database,
        container: &container.id,
        id,
        partition_key: key.to_json(),
    })?;
    tx.record(LogRecord {
        keyspace: Keyspace::Documents,
        kind: LOG_KIND_ITEM,
        payload: payload.into(),
    });
    Ok(())
}

fn check_etag(current: &Current, expected: Option<&str>) -> Result<(), DocumentsError> {
    match expected {
        Some(expected) if expected.trim_matches('"') != current.record.etag_text().trim_matches('"') => {
            Err(etag_mismatch())
        }
        _ => Ok(()),
    }
}

pub(crate) fn etag_mismatch() -> DocumentsError {
    DocumentsError::PreconditionFailed("The item's etag is another one; read the item again.".to_owned())
}

pub(crate) fn not_found(id: &str) -> DocumentsError {
    DocumentsError::NotFound(format!("No item {} under this partition key.", json!(id)))
}

pub(crate) fn id_conflict() -> DocumentsError {
    DocumentsError::Conflict(
        "Entity with the specified id already exists in the system, under the same partition key.".to_owned(),
    )
}

pub(crate) fn unique_conflict() -> DocumentsError {
    DocumentsError::Conflict(
        "Unique index constraint violation: another item of the same partition key has these values."
            .to_owned(),
    )
}
