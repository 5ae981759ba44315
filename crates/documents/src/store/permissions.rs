//! Permissions of a user: what a resource token lets its holder do.

use std::sync::Arc;

use http_semantics::etag::TagList;
use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::container::Container;
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

/// What a permission's link means.
struct Target {
    container: Arc<Container>,
    /// The item, by id; `None` for all of the container's.
    item: Option<String>,
    /// The item's partition key, if the link tells it: a resource id means one item.
    own_key: Option<PartitionKey>,
}

impl Target {
    /// The partition that a permission is confined to, with what the client gave for it. An id
    /// means an item in one partition only, so an item's permission always has all of its key.
    fn confined_to(&self, given: Option<&Value>) -> Result<Option<Value>, DocumentsError> {
        let key = given
            .map(|given| PartitionKey::from_header(&given.to_string()))
            .transpose()?;
        // One without values would cover everything.
        if key.as_ref().is_some_and(|key| key.components().is_empty()) {
            return Err(DocumentsError::bad_request(
                "resourcePartitionKey must be an array with the values of a partition key.",
            ));
        }
        if let Some(own) = &self.own_key {
            if key.is_some_and(|key| !key.is_prefix_of(own)) {
                return Err(DocumentsError::bad_request(
                    "resourcePartitionKey is another one than that of the item that the permission's resource means.",
                ));
            }
            return Ok(Some(own.to_json()));
        }
        let complete = key.is_some_and(|key| self.container.partition_key.is_complete(&key));
        if self.item.is_some() && !complete {
            return Err(DocumentsError::bad_request(
                "A permission for an item by its name needs resourcePartitionKey, an array with all values of the item's partition key: other partitions may have an item of that name.",
            ));
        }
        // Kept as it was written.
        Ok(given.cloned())
    }
}

fn id_of(document: &Value) -> Option<&str> {
    document.get("id").and_then(Value::as_str)
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
        let target = self.target(snapshot, account, database, resource).await?;
        let given = body.get("resourcePartitionKey").filter(|key| !key.is_null());
        let partition_key = target.confined_to(given)?;
        Ok(PermissionRecord {
            id: id.to_owned(),
            number: 0,
            all,
            resource: resource.to_owned(),
            container: target.container.number,
            item: target.item,
            partition_key,
            etag: etag_text(self.random.uuid().as_bytes()),
            ts: self.clock.now().as_second(),
        })
    }

    /// What a permission's link means.
    async fn target(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        database: &str,
        link: &str,
    ) -> Result<Target, DocumentsError> {
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
        let Some(name) = item else {
            return Ok(Target {
                container,
                item: None,
                own_key: None,
            });
        };
        let document = self.item_with_rid(snapshot, container.number, name).await?;
        let own_key = document
            .as_ref()
            .map(|document| container.partition_key.extract(document))
            .transpose()?;
        let item = document.as_ref().and_then(id_of).unwrap_or(name).to_owned();
        Ok(Target {
            container,
            item: Some(item),
            own_key,
        })
    }

    /// The id of the item with this resource id.
    pub(crate) async fn item_id_of(
        &self,
        snapshot: &dyn Snapshot,
        container: u32,
        rid: &str,
    ) -> Result<Option<String>, DocumentsError> {
        let document = self.item_with_rid(snapshot, container, rid).await?;
        Ok(document.as_ref().and_then(id_of).map(str::to_owned))
    }

    async fn item_with_rid(
        &self,
        snapshot: &dyn Snapshot,
        container: u32,
        rid: &str,
    ) -> Result<Option<Value>, DocumentsError> {
        let number = match resource_id::parse_item(rid) {
            Some((_, owner, number)) if owner == container => number,
            _ => return Ok(None),
        };
        let found = snapshot.get(&keys::item(container, number)).await?;
        found
            .map(|found| ItemRecord::decode(&found.value)?.parse())
            .transpose()
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
