//! What an index row holds of an instance: enough to filter a list without reading documents.

use serde::{Deserialize, Serialize};

use crate::model::Instance;

/// A row, the same in every index. Times are microseconds since 1970. Names are short because a
/// row is stored several times per instance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Row {
    /// The owner's party.
    #[serde(rename = "p")]
    pub party: String,
    /// The app's id.
    #[serde(rename = "a")]
    pub app_id: String,
    /// Created.
    #[serde(rename = "c")]
    pub created: Option<i64>,
    /// To be done before.
    #[serde(rename = "d", skip_serializing_if = "Option::is_none")]
    pub due_before: Option<i64>,
    /// Shown after.
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    pub visible_after: Option<i64>,
    /// The current task's id.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The end event.
    #[serde(rename = "x", skip_serializing_if = "Option::is_none")]
    pub end_event: Option<String>,
    /// When the process ended.
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub ended: Option<i64>,
    /// Archived.
    #[serde(rename = "ia", skip_serializing_if = "std::ops::Not::not")]
    pub is_archived: bool,
    /// In the bin.
    #[serde(rename = "is", skip_serializing_if = "std::ops::Not::not")]
    pub is_soft_deleted: bool,
    /// Deleted for good.
    #[serde(rename = "ih", skip_serializing_if = "std::ops::Not::not")]
    pub is_hard_deleted: bool,
    /// Orgs that have confirmed it.
    #[serde(rename = "o", skip_serializing_if = "Vec::is_empty")]
    pub confirmed_by: Vec<String>,
    /// The reference of an archived instance of Altinn 2 that it came from.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub archive_reference: Option<String>,
}

/// The data value that [`Row::archive_reference`] is.
pub const ARCHIVE_REFERENCE: &str = "A2ArchRef";

impl Row {
    /// The row of an instance.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        let process = instance.process.as_ref();
        let time = |moment: Option<crate::model::Moment>| moment.map(crate::model::Moment::microseconds);
        Self {
            party: instance.party().to_owned(),
            app_id: instance.app_id.clone(),
            created: time(instance.created),
            due_before: time(instance.due_before),
            visible_after: time(instance.visible_after),
            task: instance.current_task().and_then(|task| task.element_id.clone()),
            end_event: process.and_then(|process| process.end_event.clone()),
            ended: time(process.and_then(|process| process.ended)),
            is_archived: instance.status.is_archived,
            is_soft_deleted: instance.status.is_soft_deleted,
            is_hard_deleted: instance.status.is_hard_deleted,
            confirmed_by: instance
                .complete_confirmations
                .iter()
                .flatten()
                .map(|confirmation| confirmation.stakeholder_id.clone())
                .collect(),
            archive_reference: instance
                .data_values
                .as_ref()
                .and_then(|values| values.get(ARCHIVE_REFERENCE).cloned()),
        }
    }

    /// The owner's code.
    #[must_use]
    pub fn org(&self) -> &str {
        self.app_id.split_once('/').map_or("", |(org, _)| org)
    }

    /// Whether the owner has confirmed it.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.confirmed_by.iter().any(|org| org == self.org())
    }
}
