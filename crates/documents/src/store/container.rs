//! A container as it is kept in memory: its record and what was worked out from it.

use std::sync::Arc;

use documents_sql::Schema;
use ledger::{Key, Sequence};
use serde_json::{Value, json};

use super::keys::{self, PartitionPlace};
use super::numbers::Numbers;
use super::records::{CompositeIndex, ContainerRecord, Indexes, Throughput};
use crate::error::DocumentsError;
use crate::limits::{CHANGE_FEED_RETENTION_MINUTES_MAX, UNIQUE_KEY_PATHS_MAX, UNIQUE_KEYS_MAX};
use crate::rules::index_policy::IndexPolicy;
use crate::rules::order_rules::OrderRules;
use crate::rules::partition_key::{PartitionKey, PartitionKeyDefinition, parse_path};
use crate::rules::{query_schema, resource_id};

/// That a container keeps every version of its items, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptVersions {
    /// In their keys. Another one each time that a container begins to keep them.
    pub(crate) number: u32,
    /// How long.
    pub(crate) seconds: i64,
}

/// A container. What was read at one version of its record; writes demand that version, so a
/// container that was changed or deleted meanwhile is noticed at commit.
#[derive(Debug)]
pub struct Container {
    pub(crate) account: String,
    pub(crate) database: String,
    pub(crate) id: String,
    pub(crate) database_number: u32,
    pub(crate) number: u32,
    pub(crate) rid: String,
    pub(crate) key: Key,
    pub(crate) version: Sequence,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    pub(crate) index: u32,
    pub(crate) index_complete: bool,
    /// As its record says it.
    pub(crate) exact_numbers: bool,
    /// Those that writes maintain; what the policy asks for is in `order_rules`.
    pub(crate) composites: Vec<CompositeIndex>,
    pub(crate) throughput: Option<Throughput>,
    pub(crate) resource: Value,
    pub(crate) partition_key: PartitionKeyDefinition,
    pub(crate) policy: IndexPolicy,
    pub(crate) default_ttl: Option<i64>,
    /// Each unique key's paths.
    pub(crate) unique_keys: Vec<Vec<Vec<String>>>,
    /// The versions it keeps, if it was asked to.
    pub(crate) versions: Option<KeptVersions>,
    pub(crate) numbers: Arc<Numbers>,
    /// What queries depend on.
    pub(crate) schema: Schema,
    pub(crate) order_rules: OrderRules,
}

impl Container {
    pub(crate) fn new(
        account: &str,
        database: &str,
        database_number: u32,
        record: ContainerRecord,
        version: Sequence,
        numbers: Arc<Numbers>,
    ) -> Result<Self, DocumentsError> {
        let resource = record.resource;
        let id = resource
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            account: account.to_owned(),
            database: database.to_owned(),
            database_number,
            number: record.number,
            rid: resource_id::container(database_number, record.number),
            key: keys::container(database_number, &id),
            version,
            etag: record.etag,
            ts: record.ts,
            index: record.index.single,
            index_complete: record.index_complete,
            exact_numbers: record.exact_numbers,
            composites: record.index.composites,
            throughput: record.throughput,
            partition_key: PartitionKeyDefinition::from_value(resource.get("partitionKey"))?,
            policy: IndexPolicy::from_value(resource.get("indexingPolicy").unwrap_or(&Value::Null))?,
            default_ttl: default_ttl(&resource)?,
            unique_keys: unique_keys(&resource)?,
            versions: retention_seconds(&resource)?
                .zip(record.versions)
                .map(|(seconds, number)| KeptVersions { number, seconds }),
            // Checked where containers are created and replaced; one from before then still opens.
            order_rules: OrderRules::from_policy(resource.get("indexingPolicy")).unwrap_or_default(),
            schema: query_schema::from_resource(&resource).unwrap_or_default(),
            resource,
            id,
            numbers,
        })
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The id of its database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The account it belongs to.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// Its resource id.
    #[must_use]
    pub fn rid(&self) -> &str {
        &self.rid
    }

    /// Its partition key's definition.
    #[must_use]
    pub fn partition_key(&self) -> &PartitionKeyDefinition {
        &self.partition_key
    }

    /// `defaultTtl`: seconds, -1 for "only items that say so", `None` for off.
    #[must_use]
    pub fn default_ttl(&self) -> Option<i64> {
        self.default_ttl
    }

    /// Whether every index holds every item.
    pub(crate) fn all_indexes_complete(&self) -> bool {
        self.index_complete && self.composites.iter().all(|composite| composite.complete)
    }

    pub(crate) fn record(&self) -> ContainerRecord {
        ContainerRecord {
            number: self.number,
            etag: self.etag.clone(),
            ts: self.ts,
            index: Indexes {
                single: self.index,
                composites: self.composites.clone(),
            },
            index_complete: self.index_complete,
            exact_numbers: self.exact_numbers,
            throughput: self.throughput,
            versions: self.versions.map(|versions| versions.number),
            resource: self.resource.clone(),
        }
    }

    pub(crate) fn place(&self, key: &PartitionKey) -> PartitionPlace {
        PartitionPlace::new(&self.partition_key, key)
    }

    /// The path by ids, as links and headers show it.
    pub(crate) fn name_path(&self) -> String {
        format!("{}/colls/{}", self.database_path(), self.id)
    }

    pub(crate) fn database_path(&self) -> String {
        format!("dbs/{}", self.database)
    }

    pub(crate) fn database_rid(&self) -> String {
        resource_id::database(self.database_number)
    }

    pub(crate) fn self_link(&self) -> String {
        format!("dbs/{}/colls/{}/", self.database_rid(), self.rid)
    }

    pub(crate) fn item_rid(&self, number: u64) -> String {
        resource_id::child(
            self.database_number,
            self.number,
            resource_id::Kind::Document,
            number,
        )
    }

    /// The resource as clients see it.
    pub(crate) fn to_resource(&self) -> Value {
        let mut resource = self.resource.clone();
        if let Value::Object(object) = &mut resource {
            object.insert("_rid".to_owned(), json!(self.rid));
            object.insert("_self".to_owned(), json!(self.self_link()));
            object.insert("_etag".to_owned(), json!(self.etag));
            object.insert("_ts".to_owned(), json!(self.ts));
            for (name, path) in [
                ("_docs", "docs/"),
                ("_sprocs", "sprocs/"),
                ("_triggers", "triggers/"),
                ("_udfs", "udfs/"),
                ("_conflicts", "conflicts/"),
            ] {
                object.insert(name.to_owned(), json!(path));
            }
        }
        resource
    }
}

fn default_ttl(resource: &Value) -> Result<Option<i64>, DocumentsError> {
    match resource.get("defaultTtl") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(seconds) if seconds == -1 || (1..=i64::from(i32::MAX)).contains(&seconds) => {
                Ok(Some(seconds))
            }
            _ => Err(DocumentsError::bad_request(
                "defaultTtl must be -1 or a number of seconds from 1 to 2147483647.",
            )),
        },
    }
}

/// How long the change feed policy asks for all versions to be kept; `None` for not at all.
pub(super) fn retention_seconds(resource: &Value) -> Result<Option<i64>, DocumentsError> {
    match resource.pointer("/changeFeedPolicy/retentionDuration") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(0) => Ok(None),
            Some(minutes) if (1..=CHANGE_FEED_RETENTION_MINUTES_MAX).contains(&minutes) => {
                Ok(Some(minutes * 60))
            }
            _ => Err(DocumentsError::bad_request(format!(
                "changeFeedPolicy.retentionDuration must be a number of minutes from 0 (off) to {CHANGE_FEED_RETENTION_MINUTES_MAX}."
            ))),
        },
    }
}

fn unique_keys(resource: &Value) -> Result<Vec<Vec<Vec<String>>>, DocumentsError> {
    let bad = |why: &str| DocumentsError::bad_request(format!("The unique key policy is invalid: {why}."));
    let Some(policy) = resource.get("uniqueKeyPolicy").filter(|policy| !policy.is_null()) else {
        return Ok(Vec::new());
    };
    let Some(keys) = policy.get("uniqueKeys").filter(|keys| !keys.is_null()) else {
        return Ok(Vec::new());
    };
    let keys = keys
        .as_array()
        .ok_or_else(|| bad("uniqueKeys must be an array"))?;
    if keys.len() > UNIQUE_KEYS_MAX {
        return Err(bad(&format!(
            "{} unique keys, at most {UNIQUE_KEYS_MAX}",
            keys.len()
        )));
    }
    let mut read = Vec::with_capacity(keys.len());
    for key in keys {
        let paths = key
            .get("paths")
            .and_then(Value::as_array)
            .ok_or_else(|| bad("a key without paths"))?;
        if paths.is_empty() || paths.len() > UNIQUE_KEY_PATHS_MAX {
            return Err(bad(&format!("a key has 1 to {UNIQUE_KEY_PATHS_MAX} paths")));
        }
        let paths: Option<Vec<_>> = paths.iter().map(|path| parse_path(path.as_str()?)).collect();
        read.push(paths.ok_or_else(|| bad("a path must be like /name or /outer/inner"))?);
    }
    Ok(read)
}
