//! Containers: create, find (from memory where possible), list, replace, delete.
//!
//! Invariant: memory never decides a write. A write demands the version of the container's record
//! that it was prepared with; if that fails, the container is read again.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use ledger::{Committed, Direction, KeyRange, LedgerError, Scan, Snapshot, Transaction};
use parking_lot::RwLock;
use serde_json::{Map, Value, json};

use super::catalog_log::log_container;
use super::container::{Container, retention_seconds};
use super::databases::{Database, exists, stage_container_removal};
use super::keys;
use super::numbers::{Numbers, reserve};
use super::records::{
    ContainerRecord, Indexes, NumberRecord, PurgeRecord, Throughput, decode, encode, etag_text,
};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, CONTAINERS_PER_DATABASE_MAX};
use crate::rules::order_rules::OrderRules;
use crate::rules::{index_policy, names, query_schema};

/// What [`Documents::ensure_container`] makes if it is missing.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// The account's name.
    pub account: String,
    /// The database's id.
    pub database: String,
    /// The container's id.
    pub container: String,
    /// Partition key paths, like `/instanceOwner/partyId`; several make a hierarchical key.
    pub partition_key_paths: Vec<String>,
    /// `defaultTtl`, seconds; -1 for "only items that say so".
    pub default_ttl: Option<i64>,
    /// `indexingPolicy`; `None` for every path.
    pub indexing_policy: Option<Value>,
}

/// Containers in memory.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    inner: RwLock<CatalogInner>,
}

#[derive(Debug, Default)]
struct CatalogInner {
    containers: HashMap<String, Arc<Container>>,
    numbers: HashMap<u32, Arc<Numbers>>,
    /// Counts removals: what was read before one isn't kept after it.
    generation: u64,
}

fn name(account: &str, database: &str, container: &str) -> String {
    let mut name = String::with_capacity(account.len() + database.len() + container.len() + 2);
    for part in [account, "\0", database, "\0", container] {
        name.push_str(part);
    }
    name
}

impl Catalog {
    fn get(&self, name: &str) -> Option<Arc<Container>> {
        self.inner.read().containers.get(name).cloned()
    }

    fn generation(&self) -> u64 {
        self.inner.read().generation
    }

    fn numbers(&self, container: u32) -> Arc<Numbers> {
        let mut inner = self.inner.write();
        inner
            .numbers
            .entry(container)
            .or_insert_with(|| Arc::new(Numbers::new(container)))
            .clone()
    }

    fn keep(&self, container: &Arc<Container>, generation: u64) {
        let mut inner = self.inner.write();
        if inner.generation == generation {
            let name = name(&container.account, &container.database, &container.id);
            inner.containers.insert(name, container.clone());
        }
    }

    /// Forgets a container: the next use reads it.
    pub(crate) fn forget(&self, container: &Container) {
        let mut inner = self.inner.write();
        inner.generation += 1;
        inner
            .containers
            .remove(&name(&container.account, &container.database, &container.id));
    }

    /// Forgets every container: others may have changed some.
    pub(super) fn forget_all(&self) {
        let mut inner = self.inner.write();
        inner.generation += 1;
        inner.containers.clear();
    }

    pub(super) fn forget_database(&self, account: &str, database: &str) {
        let mut inner = self.inner.write();
        inner.generation += 1;
        inner
            .containers
            .retain(|_, container| container.account != account || container.database != database);
    }
}

impl Documents {
    /// Commits; `None` if a precondition failed.
    pub(crate) async fn commit_or_conflict(
        &self,
        tx: Transaction,
    ) -> Result<Option<Committed>, DocumentsError> {
        match self.ledger.commit(tx).await {
            Ok(committed) => Ok(Some(committed)),
            Err(LedgerError::Conflict(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Finds a container, and makes it and its database if they are missing.
    ///
    /// # Errors
    /// 400 if the specification is invalid; 409 if a container of that name has another partition
    /// key.
    pub async fn ensure_container(&self, spec: &ContainerSpec) -> Result<Arc<Container>, DocumentsError> {
        // Services above call this with each request: what is there already costs one look.
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            match self
                .container(&spec.account, &spec.database, &spec.container)
                .await
            {
                Ok(found) if has_paths(&found, &spec.partition_key_paths) => return Ok(found),
                Ok(_) => return Err(exists("Container", &spec.container)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            let snapshot = self.ledger.snapshot().await?;
            if self
                .database(snapshot.as_ref(), &spec.account, &spec.database)
                .await?
                .is_none()
            {
                match self.create_database(&spec.account, &spec.database, None).await {
                    Ok(_) | Err(DocumentsError::Conflict(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            match self
                .create_container(&spec.account, &spec.database, &resource_of(spec), None)
                .await
            {
                Ok(container) => return Ok(container),
                Err(DocumentsError::Conflict(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(DocumentsError::RetryWith)
    }

    pub(crate) async fn create_container(
        &self,
        account: &str,
        database: &str,
        resource: &Value,
        throughput: Option<Throughput>,
    ) -> Result<Arc<Container>, DocumentsError> {
        let resource = complete_resource(resource)?;
        let id = resource
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let keeps_versions = retention_seconds(&resource)?.is_some();
        let count = 2 + u64::from(keeps_versions);
        let range = reserve(self.ledger.as_ref(), &keys::numbers_counter(), count).await?;
        let number = small(range.start)?;
        let versions = keeps_versions.then(|| small(range.start + 2)).transpose()?;
        // There are no items, so they hold every one.
        let composites = self.composites_of(&resource, &[], true).await?;
        let record = ContainerRecord {
            number,
            etag: etag_text(self.random.uuid().as_bytes()),
            ts: self.clock.now().as_second(),
            index: Indexes {
                single: small(range.start + 1)?,
                composites,
            },
            index_complete: true,
            exact_numbers: true,
            throughput,
            versions,
            resource,
        };
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let generation = self.catalog.generation();
            let snapshot = self.ledger.snapshot().await?;
            let owner = self
                .database(snapshot.as_ref(), account, database)
                .await?
                .ok_or_else(|| no_database(database))?;
            let numbers = self.catalog.numbers(number);
            // Works everything out, and so checks it, before anything is stored.
            let container =
                Container::new(account, database, owner.record.number, record.clone(), 0, numbers)?;
            if snapshot.get(&container.key).await?.is_some() {
                return Err(exists("Container", &id));
            }
            let (present, more) = self
                .list_containers(
                    snapshot.as_ref(),
                    account,
                    &owner,
                    None,
                    CONTAINERS_PER_DATABASE_MAX - 1,
                )
                .await?;
            if more {
                return Err(DocumentsError::Forbidden(format!(
                    "The database has {} containers, the most it can have.",
                    present.len() + 1
                )));
            }
            let back = NumberRecord {
                owner: owner.record.number.to_string(),
                id: id.clone(),
            };
            let database_key = keys::database(account, database);
            let mut tx = Transaction::new();
            tx.require_absent(container.key.clone());
            tx.require_version(database_key.clone(), Some(owner.version));
            tx.put(database_key, encode(&owner.record)?);
            tx.put(container.key.clone(), encode(&record)?);
            tx.put(keys::container_number(number), encode(&back)?);
            if let Some(kept) = container.versions {
                // Nothing before this commit is this container's: a position from before is refused.
                tx.put(keys::versions_beginning(kept.number), Bytes::new());
            }
            log_container(&mut tx, "createContainer", &container);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                let container = Arc::new(Container {
                    version: committed.sequence,
                    ..container
                });
                self.catalog.keep(&container, generation);
                return Ok(container);
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Finds a container by ids.
    pub(crate) async fn container(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<Arc<Container>, DocumentsError> {
        if let Some(container) = self.catalog.get(&name(account, database, id)) {
            return Ok(container);
        }
        let generation = self.catalog.generation();
        let snapshot = self.ledger.snapshot().await?;
        let owner = self
            .database(snapshot.as_ref(), account, database)
            .await?
            .ok_or_else(|| no_database(database))?;
        let container = self
            .read_container(snapshot.as_ref(), account, &owner, id)
            .await?
            .ok_or_else(|| {
                DocumentsError::OwnerNotFound(format!(
                    "No container {} in database {}.",
                    json!(id),
                    json!(database)
                ))
            })?;
        self.catalog.keep(&container, generation);
        Ok(container)
    }

    async fn read_container(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        owner: &Database,
        id: &str,
    ) -> Result<Option<Arc<Container>>, DocumentsError> {
        let found = snapshot.get(&keys::container(owner.record.number, id)).await?;
        found
            .map(|found| self.decode_container(account, owner, &found))
            .transpose()
    }

    fn decode_container(
        &self,
        account: &str,
        owner: &Database,
        found: &ledger::Versioned,
    ) -> Result<Arc<Container>, DocumentsError> {
        let record: ContainerRecord = decode(&found.value, "a container's record")?;
        let numbers = self.catalog.numbers(record.number);
        let owner = &owner.record;
        Ok(Arc::new(Container::new(
            account,
            &owner.id,
            owner.number,
            record,
            found.version,
            numbers,
        )?))
    }

    /// The id of the container with this number, if it is in database `database`.
    pub(crate) async fn container_id_of(
        &self,
        snapshot: &dyn Snapshot,
        database: u32,
        number: u32,
    ) -> Result<Option<String>, DocumentsError> {
        let Some(found) = snapshot.get(&keys::container_number(number)).await? else {
            return Ok(None);
        };
        let record: NumberRecord = decode(&found.value, "a container's number")?;
        Ok((record.owner == database.to_string()).then_some(record.id))
    }

    /// Containers after `after`, in the order of their ids, at most `items_max`, and whether more
    /// follow.
    pub(crate) async fn list_containers(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        owner: &Database,
        after: Option<&str>,
        items_max: usize,
    ) -> Result<(Vec<Arc<Container>>, bool), DocumentsError> {
        let prefix = keys::containers(owner.record.number);
        let range = match after {
            None => KeyRange::prefix(&prefix),
            Some(after) => {
                KeyRange::prefix_from(&prefix, keys::container(owner.record.number, after).successor())
            }
        };
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let mut found = Vec::new();
        while let Some(entry) = scan.next().await? {
            if found.len() >= items_max {
                return Ok((found, true));
            }
            found.push(self.decode_container(account, owner, &entry.versioned)?);
        }
        Ok((found, false))
    }

    /// Replaces what may change of a container: indexing policy, time to live, further
    /// properties. A changed indexing policy begins a new index.
    pub(crate) async fn replace_container(
        &self,
        account: &str,
        database: &str,
        id: &str,
        resource: &Value,
        expected: Option<&http_semantics::etag::TagList>,
    ) -> Result<Arc<Container>, DocumentsError> {
        let resource = complete_resource(resource)?;
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let current = self.container(account, database, id).await?;
            if expected.is_some_and(|expected| !expected.matches(&current.etag)) {
                return Err(DocumentsError::PreconditionFailed(
                    "The container's etag is another one.".to_owned(),
                ));
            }
            check_replacement(&current.resource, &resource)?;
            let mut record = current.record();
            record.resource = resource.clone();
            record.etag = etag_text(self.random.uuid().as_bytes());
            record.ts = self.clock.now().as_second();
            let mut tx = Transaction::new();
            tx.require_version(current.key.clone(), Some(current.version));
            self.stage_index_change(&mut tx, &current, &resource, &mut record)
                .await?;
            let keeps_versions = retention_seconds(&resource)?.is_some();
            match current.versions {
                None if keeps_versions => {
                    let range = reserve(self.ledger.as_ref(), &keys::numbers_counter(), 1).await?;
                    let number = small(range.start)?;
                    record.versions = Some(number);
                    // What was written before this commit isn't kept.
                    tx.put(keys::versions_beginning(number), Bytes::new());
                }
                Some(versions) if !keeps_versions => {
                    tx.put(keys::purge(versions.number), encode(&PurgeRecord::Versions)?);
                    record.versions = None;
                }
                _ => {}
            }
            // Checked before it is stored.
            Container::new(
                account,
                database,
                current.database_number,
                record.clone(),
                0,
                current.numbers.clone(),
            )?;
            tx.put(current.key.clone(), encode(&record)?);
            log_container(&mut tx, "replaceContainer", &current);
            let committed = self.commit_or_conflict(tx).await?;
            self.catalog.forget(&current);
            if committed.is_some() {
                let replaced = self.container(account, database, id).await?;
                if !replaced.all_indexes_complete() {
                    self.build_indexes(&replaced, std::time::Duration::from_secs(5))
                        .await?;
                }
                return self.container(account, database, id).await;
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Stores another throughput for a container.
    pub(crate) async fn set_throughput(
        &self,
        container: &Container,
        throughput: Throughput,
    ) -> Result<Arc<Container>, DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let current = self.latest(container).await?;
            let mut record = current.record();
            record.throughput = Some(throughput);
            let mut tx = Transaction::new();
            tx.require_version(current.key.clone(), Some(current.version));
            tx.put(current.key.clone(), encode(&record)?);
            log_container(&mut tx, "replaceOffer", &current);
            let committed = self.commit_or_conflict(tx).await?;
            self.catalog.forget(&current);
            if committed.is_some() {
                return self.latest(container).await;
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Deletes a container in one commit; its items are swept later.
    pub(crate) async fn delete_container(
        &self,
        account: &str,
        database: &str,
        id: &str,
        expected: Option<&http_semantics::etag::TagList>,
    ) -> Result<(), DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let current = self.container(account, database, id).await?;
            if expected.is_some_and(|expected| !expected.matches(&current.etag)) {
                return Err(DocumentsError::PreconditionFailed(
                    "The container's etag is another one.".to_owned(),
                ));
            }
            let mut tx = Transaction::new();
            tx.require_version(current.key.clone(), Some(current.version));
            stage_container_removal(&mut tx, &current)?;
            log_container(&mut tx, "deleteContainer", &current);
            let committed = self.commit_or_conflict(tx).await?;
            self.catalog.forget(&current);
            if committed.is_some() {
                return Ok(());
            }
        }
        Err(DocumentsError::RetryWith)
    }
}

/// Whether a container is partitioned by these paths.
fn has_paths(container: &Container, paths: &[String]) -> bool {
    let kept = container.resource.pointer("/partitionKey/paths");
    kept.and_then(Value::as_array).is_some_and(|kept| {
        kept.iter()
            .map(Value::as_str)
            .eq(paths.iter().map(|path| Some(path.as_str())))
    })
}

/// The resource that a specification asks for.
fn resource_of(spec: &ContainerSpec) -> Value {
    let mut resource = Map::new();
    resource.insert("id".to_owned(), json!(spec.container));
    let kind = if spec.partition_key_paths.len() > 1 {
        "MultiHash"
    } else {
        "Hash"
    };
    resource.insert(
        "partitionKey".to_owned(),
        json!({"paths": spec.partition_key_paths, "kind": kind, "version": 2}),
    );
    if let Some(ttl) = spec.default_ttl {
        resource.insert("defaultTtl".to_owned(), json!(ttl));
    }
    if let Some(policy) = &spec.indexing_policy {
        resource.insert("indexingPolicy".to_owned(), policy.clone());
    }
    Value::Object(resource)
}

pub(super) fn small(number: u64) -> Result<u32, DocumentsError> {
    u32::try_from(number)
        .ok()
        .filter(|number| number >> 31 == 0)
        .ok_or_else(|| {
            DocumentsError::Forbidden("Every number for containers and indexes has been used.".to_owned())
        })
}

fn no_database(id: &str) -> DocumentsError {
    DocumentsError::OwnerNotFound(format!("No database {}.", json!(id)))
}

/// The resource with defaults filled in and system properties gone.
fn complete_resource(resource: &Value) -> Result<Value, DocumentsError> {
    let given = resource
        .as_object()
        .ok_or_else(|| DocumentsError::bad_request("The container must be a JSON object."))?;
    let id = given
        .get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| DocumentsError::bad_request("The container has no id."))?;
    names::check_resource_id(id)?;
    let mut object: Map<String, Value> = given
        .iter()
        .filter(|(name, value)| !name.starts_with('_') && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    object.insert(
        "indexingPolicy".to_owned(),
        index_policy::normalise(given.get("indexingPolicy"))?,
    );
    if let Some(Value::Object(key)) = object.get_mut("partitionKey") {
        key.entry("kind").or_insert_with(|| json!("Hash"));
        // The Java client sends the version's name in place of its number.
        if let Some(version) = key.get_mut("version") {
            match version.as_str() {
                Some("V1") => *version = json!(1),
                Some("V2") => *version = json!(2),
                _ => {}
            }
        }
    }
    object
        .entry("uniqueKeyPolicy")
        .or_insert_with(|| json!({"uniqueKeys": []}));
    object.entry("conflictResolutionPolicy").or_insert_with(|| {
        json!({"mode": "LastWriterWins", "conflictResolutionPath": "/_ts", "conflictResolutionProcedure": ""})
    });
    object
        .entry("geospatialConfig")
        .or_insert_with(|| json!({"type": "Geography"}));
    let resource = Value::Object(object);
    query_schema::from_resource(&resource)?;
    OrderRules::from_policy(resource.get("indexingPolicy"))?;
    Ok(resource)
}

fn check_replacement(current: &Value, next: &Value) -> Result<(), DocumentsError> {
    if current.get("id") != next.get("id") {
        return Err(DocumentsError::bad_request(
            "Replacing a container can't change its id.",
        ));
    }
    let parts = [
        ("/partitionKey/paths", Value::Null),
        ("/partitionKey/kind", Value::Null),
        ("/partitionKey/version", json!(1)),
        ("/uniqueKeyPolicy/uniqueKeys", json!([])),
    ];
    for (part, default) in parts {
        if current.pointer(part).unwrap_or(&default) != next.pointer(part).unwrap_or(&default) {
            return Err(DocumentsError::bad_request(format!(
                "Replacing a container can't change {}; create another container.",
                part.trim_start_matches('/').replace('/', ".")
            )));
        }
    }
    Ok(())
}
