//! Stored procedures, triggers and user-defined functions of a container.
//!
//! Invariant: whatever is written here demands the container as it was read, so no script appears
//! in a container that is going, and the sweep that empties it finds them all.

use http_semantics::etag::TagList;
use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::container::Container;
use super::databases::exists;
use super::items::require_container;
use super::keys;
use super::records::{decode, encode, etag_text};
use super::users::check_etag;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{
    COMMIT_ATTEMPTS_MAX, SCRIPT_BYTES_MAX, STORED_PROCEDURES_MAX, TRIGGERS_MAX, USER_DEFINED_FUNCTIONS_MAX,
};
use crate::rules::{names, resource_id};

/// What a script is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptKind {
    /// It is executed by a request.
    StoredProcedure,
    /// It is run with the writes that name it.
    Trigger,
    /// Queries call it.
    UserDefinedFunction,
}

impl ScriptKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::StoredProcedure, Self::Trigger, Self::UserDefinedFunction];

    /// The kind below this segment of a path.
    pub(crate) fn of_segment(segment: &str) -> Option<Self> {
        match segment {
            "sprocs" => Some(Self::StoredProcedure),
            "triggers" => Some(Self::Trigger),
            "udfs" => Some(Self::UserDefinedFunction),
            _ => None,
        }
    }

    /// The segment of paths, such as `sprocs`.
    #[must_use]
    pub fn segment(self) -> &'static str {
        match self {
            Self::StoredProcedure => "sprocs",
            Self::Trigger => "triggers",
            Self::UserDefinedFunction => "udfs",
        }
    }

    /// The name of a feed's list, such as `StoredProcedures`.
    #[must_use]
    pub fn feed(self) -> &'static str {
        match self {
            Self::StoredProcedure => "StoredProcedures",
            Self::Trigger => "Triggers",
            Self::UserDefinedFunction => "UserDefinedFunctions",
        }
    }

    /// For people, such as `stored procedure`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StoredProcedure => "stored procedure",
            Self::Trigger => "trigger",
            Self::UserDefinedFunction => "user-defined function",
        }
    }

    fn rid_kind(self) -> resource_id::Kind {
        match self {
            Self::StoredProcedure => resource_id::Kind::StoredProcedure,
            Self::Trigger => resource_id::Kind::Trigger,
            Self::UserDefinedFunction => resource_id::Kind::UserDefinedFunction,
        }
    }

    /// How many of them a container may have.
    #[must_use]
    pub fn count_max(self) -> usize {
        match self {
            Self::StoredProcedure => STORED_PROCEDURES_MAX,
            Self::Trigger => TRIGGERS_MAX,
            Self::UserDefinedFunction => USER_DEFINED_FUNCTIONS_MAX,
        }
    }

    pub(crate) fn tag(self) -> u8 {
        self.rid_kind() as u8
    }
}

/// When a trigger runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TriggerType {
    Pre,
    Post,
}

/// Before or after which operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TriggerOperation {
    All,
    Create,
    Update,
    Delete,
    Replace,
    Upsert,
}

/// When a trigger runs, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TriggerRule {
    #[serde(rename = "triggerType")]
    pub(crate) kind: TriggerType,
    #[serde(rename = "triggerOperation")]
    pub(crate) operation: TriggerOperation,
}

/// What is stored of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScriptRecord {
    pub(crate) id: String,
    /// In the container's count of items.
    pub(crate) number: u64,
    pub(crate) etag: String,
    /// Seconds.
    pub(crate) ts: i64,
    pub(crate) body: String,
    /// Of triggers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<TriggerRule>,
}

/// A script as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) kind: ScriptKind,
    pub(crate) record: ScriptRecord,
    pub(crate) version: ledger::Sequence,
}

impl Script {
    pub(crate) fn rid(&self, container: &Container) -> String {
        let kind = self.kind.rid_kind();
        resource_id::child(
            container.database_number,
            container.number,
            kind,
            self.record.number,
        )
    }

    pub(crate) fn to_resource(&self, container: &Container) -> Value {
        let record = &self.record;
        let rid = self.rid(container);
        let mut resource = json!({
            "id": record.id,
            "body": record.body,
            "_rid": rid,
            "_self": format!("{}{}/{rid}/", container.self_link(), self.kind.segment()),
            "_etag": record.etag,
            "_ts": record.ts,
        });
        if let (Value::Object(object), Some(rule)) = (&mut resource, &record.trigger) {
            object.insert("triggerType".to_owned(), json!(rule.kind));
            object.insert("triggerOperation".to_owned(), json!(rule.operation));
        }
        resource
    }
}

/// A script on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewScript {
    pub(crate) id: String,
    pub(crate) body: String,
    trigger: Option<TriggerRule>,
}

impl NewScript {
    /// Reads what a client sent.
    ///
    /// # Errors
    /// 400 for one without id or body, with a bad id, or a trigger that doesn't say when it runs;
    /// 413 for one that is too long.
    pub fn from_value(kind: ScriptKind, value: &Value) -> Result<Self, DocumentsError> {
        let text = |name: &str| {
            value.get(name).and_then(Value::as_str).ok_or_else(|| {
                DocumentsError::bad_request(format!(
                    "The {} has no {name}, which must be a string.",
                    kind.name()
                ))
            })
        };
        let (id, body) = (text("id")?, text("body")?);
        names::check_resource_id(id)?;
        if body.len() > SCRIPT_BYTES_MAX {
            return Err(DocumentsError::TooLarge(format!(
                "The {} has {} bytes, at most {SCRIPT_BYTES_MAX} are allowed.",
                kind.name(),
                body.len()
            )));
        }
        let trigger = match kind {
            ScriptKind::Trigger => Some(trigger_rule(value)?),
            ScriptKind::StoredProcedure | ScriptKind::UserDefinedFunction => None,
        };
        Ok(Self {
            id: id.to_owned(),
            body: body.to_owned(),
            trigger,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl From<ScriptRecord> for NewScript {
    fn from(record: ScriptRecord) -> Self {
        Self {
            id: record.id,
            body: record.body,
            trigger: record.trigger,
        }
    }
}

fn trigger_rule(value: &Value) -> Result<TriggerRule, DocumentsError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = match text("triggerType").to_ascii_lowercase().as_str() {
        "pre" => TriggerType::Pre,
        "post" => TriggerType::Post,
        _ => return Err(DocumentsError::bad_request("triggerType must be Pre or Post.")),
    };
    let operation = match text("triggerOperation").to_ascii_lowercase().as_str() {
        "all" => TriggerOperation::All,
        "create" => TriggerOperation::Create,
        "update" => TriggerOperation::Update,
        "delete" => TriggerOperation::Delete,
        "replace" => TriggerOperation::Replace,
        "upsert" => TriggerOperation::Upsert,
        _ => {
            return Err(DocumentsError::bad_request(
                "triggerOperation must be All, Create, Update, Delete, Replace or Upsert.",
            ));
        }
    };
    Ok(TriggerRule { kind, operation })
}

pub(crate) fn no_script(kind: ScriptKind, id: &str) -> DocumentsError {
    DocumentsError::NotFound(format!("No {} {}.", kind.name(), json!(id)))
}

impl Documents {
    pub(crate) async fn create_script(
        &self,
        container: &Container,
        kind: ScriptKind,
        new: &NewScript,
    ) -> Result<Script, DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let container = self.latest(container).await?;
            let snapshot = self.ledger.snapshot().await?;
            let key = keys::script(container.number, kind.tag(), &new.id);
            if snapshot.get(&key).await?.is_some() {
                return Err(exists(kind.name(), &new.id));
            }
            let (present, _) = self
                .list_scripts(
                    snapshot.as_ref(),
                    &container,
                    kind,
                    None,
                    (kind.count_max(), usize::MAX),
                )
                .await?;
            if present.len() >= kind.count_max() {
                return Err(DocumentsError::Forbidden(format!(
                    "The container has {} of the kind {}, the most it can have.",
                    present.len(),
                    kind.name()
                )));
            }
            let number = container.numbers.next(self.ledger.as_ref()).await?;
            let record = self.script_record(new, number);
            let mut tx = Transaction::new();
            require_container(&mut tx, &container);
            tx.require_absent(key.clone());
            tx.put(key, encode(&record)?);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                return Ok(Script {
                    kind,
                    record,
                    version: committed.sequence,
                });
            }
            self.catalog.forget(&container);
        }
        Err(DocumentsError::RetryWith)
    }

    fn script_record(&self, new: &NewScript, number: u64) -> ScriptRecord {
        ScriptRecord {
            id: new.id.clone(),
            number,
            etag: etag_text(self.random.uuid().as_bytes()),
            ts: self.clock.now().as_second(),
            body: new.body.clone(),
            trigger: new.trigger,
        }
    }

    /// Finds a script by its id.
    pub(crate) async fn script(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        kind: ScriptKind,
        id: &str,
    ) -> Result<Option<Script>, DocumentsError> {
        // A deleted container's scripts may wait for the sweep.
        if snapshot.get(&keys::purge(container.number)).await?.is_some() {
            return Ok(None);
        }
        let found = snapshot
            .get(&keys::script(container.number, kind.tag(), id))
            .await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Script {
            kind,
            record: decode(&found.value, "a script's record")?,
            version: found.version,
        }))
    }

    /// Scripts after `after`, in the order of their ids, at most `items_max`, and whether more
    /// follow.
    pub(crate) async fn list_scripts(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        kind: ScriptKind,
        after: Option<&str>,
        (items_max, bytes_max): (usize, usize),
    ) -> Result<(Vec<Script>, bool), DocumentsError> {
        let prefix = keys::scripts(container.number, kind.tag());
        let range = match after {
            None => KeyRange::prefix(&prefix),
            Some(after) => KeyRange::prefix_from(
                &prefix,
                keys::script(container.number, kind.tag(), after).successor(),
            ),
        };
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let mut found = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = scan.next().await? {
            if found.len() >= items_max || bytes >= bytes_max {
                return Ok((found, true));
            }
            bytes += entry.versioned.value.len();
            found.push(Script {
                kind,
                record: decode(&entry.versioned.value, "a script's record")?,
                version: entry.versioned.version,
            });
        }
        Ok((found, false))
    }

    /// Gives a script another text. Its id stays.
    pub(crate) async fn replace_script(
        &self,
        container: &Container,
        kind: ScriptKind,
        new: &NewScript,
        expected: Option<&TagList>,
    ) -> Result<Script, DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let container = self.latest(container).await?;
            let snapshot = self.ledger.snapshot().await?;
            let current = self.script(snapshot.as_ref(), &container, kind, &new.id).await?;
            let current = current.ok_or_else(|| no_script(kind, &new.id))?;
            check_etag(expected, &current.record.etag, kind.name())?;
            let record = self.script_record(new, current.record.number);
            let key = keys::script(container.number, kind.tag(), &new.id);
            let mut tx = Transaction::new();
            require_container(&mut tx, &container);
            tx.require_version(key.clone(), Some(current.version));
            tx.put(key, encode(&record)?);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                return Ok(Script {
                    kind,
                    record,
                    version: committed.sequence,
                });
            }
            self.catalog.forget(&container);
        }
        Err(DocumentsError::RetryWith)
    }

    pub(crate) async fn delete_script(
        &self,
        container: &Container,
        kind: ScriptKind,
        id: &str,
        expected: Option<&TagList>,
    ) -> Result<(), DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let container = self.latest(container).await?;
            let snapshot = self.ledger.snapshot().await?;
            let current = self.script(snapshot.as_ref(), &container, kind, id).await?;
            let current = current.ok_or_else(|| no_script(kind, id))?;
            check_etag(expected, &current.record.etag, kind.name())?;
            let key = keys::script(container.number, kind.tag(), id);
            let mut tx = Transaction::new();
            require_container(&mut tx, &container);
            tx.require_version(key.clone(), Some(current.version));
            tx.delete(key);
            if self.commit_or_conflict(tx).await?.is_some() {
                return Ok(());
            }
            self.catalog.forget(&container);
        }
        Err(DocumentsError::RetryWith)
    }
}
