//! A data element: one file of an instance.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Moment, ResourceLinks};

/// What a scan for malware found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileScanResult {
    /// Not to be scanned.
    #[default]
    NotApplicable,
    /// Not yet scanned.
    Pending,
    /// Nothing found.
    Clean,
    /// Malware found.
    Infected,
}

/// What a generated element was generated from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reference {
    /// A task's or data element's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `GeneratedFrom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// `Task` or `DataElement`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_type: Option<String>,
}

impl Reference {
    /// "Generated from task `task`".
    #[must_use]
    pub fn generated_from_task(task: &str) -> Self {
        Self {
            value: Some(task.to_owned()),
            relation: Some("GeneratedFrom".to_owned()),
            value_type: Some("Task".to_owned()),
        }
    }
}

/// A pair of the app's or the user's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyValueEntry {
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// Whether an element waits for its removal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteStatus {
    /// It does.
    pub is_hard_deleted: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_deleted: Option<Moment>,
}

/// A data element, in its document and, with links, on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataElement {
    /// Its guid.
    pub id: String,
    /// Its instance's guid.
    pub instance_guid: String,
    /// Id of a data type of the application.
    pub data_type: String,
    /// Name of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
    /// Media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Name of the blob that holds the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_storage_path: Option<String>,
    /// Links, built for each answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_links: Option<ResourceLinks>,
    /// Length of the content in bytes.
    pub size: i64,
    /// Kept if it comes; never set, as in the original.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Its content must not be replaced.
    pub locked: bool,
    /// Other elements it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refs: Option<Vec<Uuid>>,
    /// Whether someone but the owner has seen it.
    pub is_read: bool,
    /// Tags.
    #[serde(deserialize_with = "super::null_is_default")]
    pub tags: Vec<String>,
    /// The user's pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_defined_metadata: Option<Vec<KeyValueEntry>>,
    /// The app's pairs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Vec<KeyValueEntry>>,
    /// Whether it waits for removal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_status: Option<DeleteStatus>,
    /// What the scan found.
    pub file_scan_result: FileScanResult,
    /// What it was generated from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<Vec<Reference>>,
    /// Which content it has; absent if it was written before contents had versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_version_id: Option<String>,
    /// Whether it had other content before, in the document alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub content_replaced: bool,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Moment>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_changed: Option<Moment>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_changed_by: Option<String>,
}

impl Default for DataElement {
    fn default() -> Self {
        Self {
            id: String::new(),
            instance_guid: String::new(),
            data_type: String::new(),
            filename: None,
            content_type: None,
            blob_storage_path: None,
            self_links: None,
            size: 0,
            content_hash: None,
            locked: false,
            refs: None,
            is_read: true,
            tags: Vec::new(),
            user_defined_metadata: None,
            metadata: None,
            delete_status: None,
            file_scan_result: FileScanResult::NotApplicable,
            references: None,
            blob_version_id: None,
            content_replaced: false,
            created: None,
            created_by: None,
            last_changed: None,
            last_changed_by: None,
        }
    }
}

impl DataElement {
    /// Its guid.
    #[must_use]
    pub fn guid(&self) -> Option<Uuid> {
        Uuid::parse_str(&self.id).ok()
    }

    /// Whether it waits for its removal.
    #[must_use]
    pub fn is_hard_deleted(&self) -> bool {
        self.delete_status
            .as_ref()
            .is_some_and(|status| status.is_hard_deleted)
    }

    /// Whether it was generated from task `task`.
    #[must_use]
    pub fn is_generated_from(&self, task: &str) -> bool {
        self.references.iter().flatten().any(|reference| {
            let says = |field: &Option<String>, wanted: &str| {
                field
                    .as_deref()
                    .is_some_and(|text| text.eq_ignore_ascii_case(wanted))
            };
            says(&reference.relation, "GeneratedFrom")
                && says(&reference.value_type, "Task")
                && reference.value.as_deref() == Some(task)
        })
    }
}
