//! Permissions of a user: what a resource token lets its holder do.

use http_semantics::etag::TagList;
use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::databases::exists;
use super::keys;
use super::numbers::reserve;
use super::records::{ItemRecord, decode, encode, etag_text};
use super::users::{User, check_etag};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::COMMIT_ATTEMPTS_MAX;
use crate::rules::partition_key::PartitionKey;
use crate::rules::{names, resource_id};

/// What is stored of a permission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PermissionRecord {
    pub(crate) id: String,
    pub(crate) number: u32,
    /// All; otherwise Read.
    pub(crate) all: bool,
    /// The link, as it was given.
    pub(crate) resource: String,
    /// The container that the link means. Another one of its name isn't meant.
    pub(crate) container: u32,
    /// The item that the link means, by id; `None` for all of the container's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) item: Option<String>,
    /// The partition that it is confined to, as clients write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition_key: Option<Value>,
    pub(crate) etag: String,
    /// Seconds.
    pub(crate) ts: i64,
}

/// A permission as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Permission {
    pub(crate) record: PermissionRecord,
    pub(crate) version: ledger::Sequence,
}

impl Permission {
    pub(crate) fn rid(&self, user: &User) -> String {
        resource_id::permission(user.database, user.record.number, self.record.number)
    }

    /// The resource, without its token.
    pub(crate) fn to_resource(&self, user: &User) -> Value {
        let record = &self.record;
        let rid = self.rid(user);
        let mut resource = json!({
            "id": record.id,
            "permissionMode": if record.all { "All" } else { "Read" },
            "resource": record.resource,
            "_rid": rid,
            "_self": format!("{}permissions/{rid}/", user.self_link()),
            "_etag": record.etag,
            "_ts": record.ts,
        });
        if let (Value::Object(object), Some(key)) = (&mut resource, &record.partition_key) {
            object.insert("resourcePartitionKey".to_owned(), key.clone());
        }
        resource
    }
}

fn no_permission(id: &str) -> DocumentsError {
    DocumentsError::NotFound(format!("No permission {}.", json!(id)))
}

impl Documents {
    /// Reads a permission's body. The record's number, etag and time are left to the caller.
    async fn read_permission(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        database: &str,
        body: &Value,
    ) -> Result<PermissionRecord, DocumentsError> {
        let text = |name: &str| {
            body.get(name).and_then(Value::as_str).ok_or_else(|| {
                DocumentsError::bad_request(format!("The permission needs the string {}.", json!(name)))
            })
        };
        let id = text("id")?;
        names::check_resource_id(id)?;
        let mode = text("permissionMode")?;
        let all = mode.eq_ignore_ascii_case("All");
        if !all && !mode.eq_ignore_ascii_case("Read") {
            return Err(DocumentsError::bad_request("permissionMode must be Read or All."));
        }
        let resource = text("resource")?;
        let (container, item) = self.target(snapshot, account, database, resource).await?;
        let partition_key = body
            .get("resourcePartitionKey")
            .filter(|key| !key.is_null())
            .cloned();
        if let Some(key) = &partition_key {
            // Checked here; kept as it was written. One without values would cover everything.
            let key = PartitionKey::from_header(&key.to_string())?;
            if key.components().is_empty() {
                return Err(DocumentsError::bad_request(
                    "resourcePartitionKey must be an array with the values of a partition key.",
                ));
            }
        }
        Ok(PermissionRecord {
            id: id.to_owned(),
            number: 0,
            all,
            resource: resource.to_owned(),
            container,
            item,
            partition_key,
            etag: etag_text(self.random.uuid().as_bytes()),
            ts: self.clock.now().as_second(),
        })
    }

    /// The container, and the item if there is one, that a permission's link means.
    async fn target(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        database: &str,
        link: &str,
    ) -> Result<(u32, Option<String>), DocumentsError> {
        let segments: Vec<&str> = link.split('/').filter(|segment| !segment.is_empty()).collect();
        let (owner, container, item) = match segments.as_slice() {
            ["dbs", owner, "colls", container] => (*owner, *container, None),
            ["dbs", owner, "colls", container, "docs", item] => (*owner, *container, Some(*item)),
            _ => {
                return Err(DocumentsError::bad_request(
                    "The permission's resource must be the link of a container or of an item in it, like dbs/d/colls/c.",
                ));
            }
        };
        let of_user = self.owner_database(snapshot, account, database).await?.record;
        if owner != of_user.id && resource_id::parse_database(owner) != Some(of_user.number) {
            return Err(DocumentsError::bad_request(
                "The permission's resource must be in the user's own database.",
            ));
        }
        let id = match resource_id::parse_container(container) {
            Some((_, number)) => self.container_id_of(snapshot, of_user.number, number).await?,
            None => None,
        };
        let id = id.unwrap_or_else(|| container.to_owned());
        let container = self.container(account, database, &id).await?;
        let item = match item {
            Some(rid) => Some(
                self.item_id_of(snapshot, container.number, rid)
                    .await?
                    .unwrap_or_else(|| rid.to_owned()),
            ),
            None => None,
        };
        Ok((container.number, item))
    }

    /// The id of the item with this resource id.
    pub(crate) async fn item_id_of(
        &self,
        snapshot: &dyn Snapshot,
        container: u32,
        rid: &str,
    ) -> Result<Option<String>, DocumentsError> {
        let number = match resource_id::parse_item(rid) {
            Some((_, owner, number)) if owner == container => number,
            _ => return Ok(None),
        };
        let Some(found) = snapshot.get(&keys::item(container, number)).await? else {
            return Ok(None);
        };
        let document = ItemRecord::decode(&found.value)?.parse()?;
        Ok(document.get("id").and_then(Value::as_str).map(str::to_owned))
    }

    pub(crate) async fn create_permission(
        &self,
        account: &str,
        database: &str,
        user: &str,
        body: &Value,
    ) -> Result<(User, Permission), DocumentsError> {
        let number = reserve(self.ledger.as_ref(), &keys::numbers_counter(), 1).await?;
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let owner = self.user(snapshot.as_ref(), account, database, user).await?;
            let mut record = self
                .read_permission(snapshot.as_ref(), account, database, body)
                .await?;
            record.number = super::catalog::small(number.start)?;
            let key = keys::permission(owner.database, owner.record.number, &record.id);
            if snapshot.get(&key).await?.is_some() {
                return Err(exists("Permission", &record.id));
            }
            let mut tx = Transaction::new();
            tx.require_version(keys::user(owner.database, user), Some(owner.version));
            tx.require_absent(key.clone());
            tx.put(key, encode(&record)?);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                let version = committed.sequence;
                return Ok((owner, Permission { record, version }));
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Finds a permission of a user.
    pub(crate) async fn permission(
        &self,
        snapshot: &dyn Snapshot,
        user: &User,
        id: &str,
    ) -> Result<Permission, DocumentsError> {
        let key = keys::permission(user.database, user.record.number, id);
        let found = snapshot.get(&key).await?.ok_or_else(|| no_permission(id))?;
        Ok(Permission {
            record: decode(&found.value, "a permission's record")?,
            version: found.version,
        })
    }

    /// Permissions after `after`, in the order of their ids, at most `items_max`, and whether more
    /// follow.
    pub(crate) async fn list_permissions(
        &self,
        snapshot: &dyn Snapshot,
        user: &User,
        after: Option<&str>,
        items_max: usize,
    ) -> Result<(Vec<Permission>, bool), DocumentsError> {
        let (database, number) = (user.database, user.record.number);
        let prefix = keys::permissions(database, number);
        let range = match after {
            None => KeyRange::prefix(&prefix),
            Some(after) => {
                KeyRange::prefix_from(&prefix, keys::permission(database, number, after).successor())
            }
        };
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let mut found = Vec::new();
        while let Some(entry) = scan.next().await? {
            if found.len() >= items_max {
                return Ok((found, true));
            }
            found.push(Permission {
                record: decode(&entry.versioned.value, "a permission's record")?,
                version: entry.versioned.version,
            });
        }
        Ok((found, false))
    }

    pub(crate) async fn replace_permission(
        &self,
        account: &str,
        database: &str,
        user: &str,
        id: &str,
        body: &Value,
        expected: Option<&TagList>,
    ) -> Result<(User, Permission), DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let owner = self.user(snapshot.as_ref(), account, database, user).await?;
            let current = self.permission(snapshot.as_ref(), &owner, id).await?;
            check_etag(expected, &current.record.etag, "permission")?;
            let mut record = self
                .read_permission(snapshot.as_ref(), account, database, body)
                .await?;
            record.number = current.record.number;
            let (user_number, of) = (owner.record.number, owner.database);
            let (old, new) = (
                keys::permission(of, user_number, id),
                keys::permission(of, user_number, &record.id),
            );
            let mut tx = Transaction::new();
            tx.require_version(keys::user(of, user), Some(owner.version));
            tx.require_version(old.clone(), Some(current.version));
            if record.id != id {
                if snapshot.get(&new).await?.is_some() {
                    return Err(exists("Permission", &record.id));
                }
                tx.require_absent(new.clone());
                tx.delete(old);
            }
            tx.put(new, encode(&record)?);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                let version = committed.sequence;
                return Ok((owner, Permission { record, version }));
            }
        }
        Err(DocumentsError::RetryWith)
    }

    pub(crate) async fn delete_permission(
        &self,
        account: &str,
        database: &str,
        user: &str,
        id: &str,
        expected: Option<&TagList>,
    ) -> Result<(), DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let owner = self.user(snapshot.as_ref(), account, database, user).await?;
            let current = self.permission(snapshot.as_ref(), &owner, id).await?;
            check_etag(expected, &current.record.etag, "permission")?;
            let key = keys::permission(owner.database, owner.record.number, id);
            let mut tx = Transaction::new();
            tx.require_version(key.clone(), Some(current.version));
            tx.delete(key);
            if self.commit_or_conflict(tx).await?.is_some() {
                return Ok(());
            }
        }
        Err(DocumentsError::RetryWith)
    }
}
