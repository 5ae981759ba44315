//! Databases: create, read, list, delete.
//!
//! Invariant: who adds a container to a database rewrites the database's record, and who deletes
//! a database demands its version, so no container appears in a database that is going.

use std::sync::Arc;

use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde_json::{Value, json};

use super::catalog_log::log_database;
use super::index_change;
use super::keys;
use super::numbers::reserve;
use super::records::{DatabaseRecord, NumberRecord, PurgeRecord, Throughput, decode, encode, etag_text};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, CONTAINERS_PER_DATABASE_MAX};
use crate::rules::{names, resource_id};

/// A database as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) record: DatabaseRecord,
    pub(crate) version: ledger::Sequence,
}

impl Database {
    pub(crate) fn to_resource(&self) -> Value {
        let rid = resource_id::database(self.record.number);
        json!({
            "id": self.record.id,
            "_rid": rid,
            "_self": format!("dbs/{rid}/"),
            "_etag": self.record.etag,
            "_colls": "colls/",
            "_users": "users/",
            "_ts": self.record.ts,
        })
    }
}

impl Documents {
    pub(crate) async fn create_database(
        &self,
        account: &str,
        id: &str,
        throughput: Option<Throughput>,
    ) -> Result<Database, DocumentsError> {
        names::check_resource_id(id)?;
        let key = keys::database(account, id);
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            if snapshot.get(&key).await?.is_some() {
                return Err(exists("Database", id));
            }
            let [a, b, c, d, ..] = self.random.u64().to_be_bytes();
            let record = DatabaseRecord {
                id: id.to_owned(),
                number: u32::from_be_bytes([a, b, c, d]),
                etag: etag_text(self.random.uuid().as_bytes()),
                ts: self.clock.now().as_second(),
                throughput,
            };
            let number = NumberRecord {
                owner: account.to_owned(),
                id: id.to_owned(),
            };
            let mut tx = Transaction::new();
            tx.require_absent(key.clone());
            tx.require_absent(keys::database_number(record.number));
            tx.put(key.clone(), encode(&record)?);
            tx.put(keys::database_number(record.number), encode(&number)?);
            log_database(&mut tx, "createDatabase", account, id);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                return Ok(Database {
                    record,
                    version: committed.sequence,
                });
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Finds a database by its id.
    pub(crate) async fn database(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        id: &str,
    ) -> Result<Option<Database>, DocumentsError> {
        let Some(found) = snapshot.get(&keys::database(account, id)).await? else {
            return Ok(None);
        };
        let record = decode(&found.value, "a database's record")?;
        Ok(Some(Database {
            record,
            version: found.version,
        }))
    }

    /// The id of the database with this number, if the account has it.
    pub(crate) async fn database_id_of(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        number: u32,
    ) -> Result<Option<String>, DocumentsError> {
        let Some(found) = snapshot.get(&keys::database_number(number)).await? else {
            return Ok(None);
        };
        let record: NumberRecord = decode(&found.value, "a database's number")?;
        Ok((record.owner == account).then_some(record.id))
    }

    /// Databases after `after`, in the order of their ids, at most `items_max` and whether more
    /// follow.
    pub(crate) async fn list_databases(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        after: Option<&str>,
        items_max: usize,
    ) -> Result<(Vec<Database>, bool), DocumentsError> {
        let prefix = keys::databases(account);
        let range = match after {
            None => KeyRange::prefix(&prefix),
            Some(after) => KeyRange::prefix_from(&prefix, keys::database(account, after).successor()),
        };
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let mut found = Vec::new();
        while let Some(entry) = scan.next().await? {
            if found.len() >= items_max {
                return Ok((found, true));
            }
            let record = decode(&entry.versioned.value, "a database's record")?;
            found.push(Database {
                record,
                version: entry.versioned.version,
            });
        }
        Ok((found, false))
    }

    /// Stores another throughput for a database.
    pub(crate) async fn set_database_throughput(
        &self,
        account: &str,
        id: &str,
        throughput: Throughput,
    ) -> Result<Database, DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let Some(database) = self.database(snapshot.as_ref(), account, id).await? else {
                return Err(DocumentsError::NotFound(format!("No database {}.", json!(id))));
            };
            let record = DatabaseRecord {
                throughput: Some(throughput),
                ..database.record
            };
            let key = keys::database(account, id);
            let mut tx = Transaction::new();
            tx.require_version(key.clone(), Some(database.version));
            tx.put(key, encode(&record)?);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                return Ok(Database {
                    record,
                    version: committed.sequence,
                });
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Deletes a database with its containers in one commit; their items are swept later.
    pub(crate) async fn delete_database(
        &self,
        account: &str,
        id: &str,
        expected: Option<&http_semantics::etag::TagList>,
    ) -> Result<(), DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let Some(database) = self.database(snapshot.as_ref(), account, id).await? else {
                return Err(DocumentsError::NotFound(format!("No database {}.", json!(id))));
            };
            if expected.is_some_and(|expected| !expected.matches(&database.record.etag)) {
                return Err(DocumentsError::PreconditionFailed(
                    "The database's etag is another one.".to_owned(),
                ));
            }
            let key = keys::database(account, id);
            let mut tx = Transaction::new();
            tx.require_version(key.clone(), Some(database.version));
            tx.delete(key);
            tx.delete(keys::database_number(database.record.number));
            log_database(&mut tx, "deleteDatabase", account, id);
            let containers = self.list_containers(
                snapshot.as_ref(),
                account,
                &database,
                None,
                CONTAINERS_PER_DATABASE_MAX,
            );
            let (containers, _) = containers.await?;
            if self.has_users(snapshot.as_ref(), database.record.number).await? {
                let range = reserve(self.ledger.as_ref(), &keys::numbers_counter(), 1).await?;
                let left = PurgeRecord::Users {
                    database: database.record.number,
                };
                tx.put(keys::purge(super::catalog::small(range.start)?), encode(&left)?);
            }
            for container in &containers {
                tx.require_version(container.key.clone(), Some(container.version));
                stage_container_removal(&mut tx, container)?;
            }
            if self.commit_or_conflict(tx).await?.is_some() {
                self.catalog.forget_database(account, id);
                return Ok(());
            }
        }
        Err(DocumentsError::RetryWith)
    }
}

/// Stages the removal of a container's record; who calls it demands its version.
pub(super) fn stage_container_removal(
    tx: &mut Transaction,
    container: &Arc<super::Container>,
) -> Result<(), DocumentsError> {
    tx.delete(container.key.clone());
    tx.delete(keys::container_number(container.number));
    index_change::stage_removal(tx, &container.composites)?;
    tx.put(
        keys::purge(container.number),
        encode(&PurgeRecord::Container {
            index: container.index,
            versions: container.versions.map(|versions| versions.number),
        })?,
    );
    Ok(())
}

pub(super) fn exists(what: &str, id: &str) -> DocumentsError {
    DocumentsError::Conflict(format!(
        "Resource with specified id, name, or unique index already exists: {what} {}.",
        json!(id)
    ))
}
