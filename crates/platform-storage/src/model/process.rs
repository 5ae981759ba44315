//! Where a process stands, and its history.

use serde::{Deserialize, Serialize};

use super::Moment;

/// What an app found when it checked a task's data.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ValidationStatus {
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Moment>,
    /// Whether the task may end.
    pub can_complete_task: bool,
}

/// A task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessElement {
    /// Counts the elements that were entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<i64>,
    /// When it was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    /// Its id in the process definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_id: Option<String>,
    /// Its name there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// data, confirmation, signing, payment, feedback, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub altinn_task_type: Option<String>,
    /// When it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    /// What the app's validation said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validated: Option<ValidationStatus>,
    /// How it was entered: `CompleteCurrentMoveToNext`, `AbandonCurrentMoveToNext`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_type: Option<String>,
}

/// Where a process stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessState {
    /// When it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    /// The event it started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_event: Option<String>,
    /// The task it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_task: Option<ProcessElement>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    /// The event it ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_event: Option<String>,
    /// Kept for newer apps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// One line of a process' history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessHistoryItem {
    /// What happened; absent on a task, which has a beginning and an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// To which element of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element_id: Option<String>,
    /// When, for what happens at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occured: Option<Moment>,
    /// When it was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Moment>,
    /// When it was left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Moment>,
    /// Who left it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performed_by: Option<String>,
}
