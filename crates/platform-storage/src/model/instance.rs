//! An instance: one filling-in of one application for one party.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{DataElement, Moment, ProcessState};

/// A dictionary of texts; its keys are the app's.
pub type Texts = BTreeMap<String, String>;

/// Whose instance it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceOwner {
    /// The party's number, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party_id: Option<String>,
    /// National identity number of a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person_number: Option<String>,
    /// Number of an organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation_number: Option<String>,
    /// User name of a self-identified user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Any other identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_identifier: Option<String>,
}

/// Whether someone has looked at the newest state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadStatus {
    /// Not looked at.
    #[default]
    Unread,
    /// Looked at.
    Read,
    /// Looked at, and changed by the owner since.
    UpdatedSinceLastReview,
}

impl ReadStatus {
    /// Reads a name in any case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Unread, Self::Read, Self::UpdatedSinceLastReview]
            .into_iter()
            .find(|status| format!("{status:?}").eq_ignore_ascii_case(text))
    }
}

/// What the owner says of the case's state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Substatus {
    /// A text resource's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A text resource's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    /// Its process has ended.
    pub is_archived: bool,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<Moment>,
    /// In the bin.
    pub is_soft_deleted: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_deleted: Option<Moment>,
    /// Deleted for good, but for the owner.
    pub is_hard_deleted: bool,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_deleted: Option<Moment>,
    /// Whether it was looked at.
    pub read_status: ReadStatus,
    /// The owner's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substatus: Option<Substatus>,
}

/// An owner's word that it has taken what it needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CompleteConfirmation {
    /// The org's code.
    pub stakeholder_id: String,
    /// When it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_on: Option<Moment>,
}

/// Where an instance is found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResourceLinks {
    /// In its app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apps: Option<String>,
    /// In Platform Storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// An instance. As a document it has the bare guid as id, and neither links nor data elements.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Instance {
    /// `{party}/{guid}` on the wire, `{guid}` in the document.
    pub id: String,
    /// Whose it is.
    pub instance_owner: InstanceOwner,
    /// `{org}/{app}`.
    pub app_id: String,
    /// The owner's code.
    pub org: String,
    /// Links, built for each answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_links: Option<ResourceLinks>,
    /// When it must be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_before: Option<Moment>,
    /// From when it is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_after: Option<Moment>,
    /// Where its process stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessState>,
    /// Where it is in its life.
    #[serde(deserialize_with = "super::null_is_default")]
    pub status: InstanceStatus,
    /// Who has confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_confirmations: Option<Vec<CompleteConfirmation>>,
    /// Its data elements, by creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Vec<DataElement>>,
    /// Texts shown in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presentation_texts: Option<Texts>,
    /// Values for machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_values: Option<Texts>,
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
    /// How often it changed, in the document alone: readers have it in a header. Absent: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_version: Option<i64>,
    /// How often its process changed, as above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_state_version: Option<i64>,
}

impl Instance {
    /// The bare guid, in the document's form and on the wire.
    #[must_use]
    pub fn guid(&self) -> Option<Uuid> {
        let text = self
            .id
            .rsplit_once('/')
            .map_or(self.id.as_str(), |(_, guid)| guid);
        Uuid::parse_str(text).ok()
    }

    /// The owner's party, empty if none.
    #[must_use]
    pub fn party(&self) -> &str {
        self.instance_owner.party_id.as_deref().unwrap_or_default()
    }

    /// The app's name without its org.
    #[must_use]
    pub fn app(&self) -> &str {
        self.app_id
            .split_once('/')
            .map_or(self.app_id.as_str(), |(_, app)| app)
    }

    /// The task it is in.
    #[must_use]
    pub fn current_task(&self) -> Option<&super::ProcessElement> {
        self.process.as_ref()?.current_task.as_ref()
    }

    /// When `org` confirmed it.
    #[must_use]
    pub fn confirmed_by(&self, org: &str) -> Option<&CompleteConfirmation> {
        self.complete_confirmations
            .iter()
            .flatten()
            .find(|confirmation| confirmation.stakeholder_id == org)
    }

    /// Stamps a change by `who`, and counts it; the stamp is above the one before.
    pub fn touch(&mut self, now: jiff::Timestamp, who: &str) {
        self.last_changed = Some(Moment::after(now, self.last_changed));
        self.last_changed_by = Some(who.to_owned());
        self.count_change();
    }

    /// Counts a change without a stamp.
    pub fn count_change(&mut self) {
        self.instance_version = Some(self.instance_version.unwrap_or(1).saturating_add(1));
    }

    /// Counts a change of the process.
    pub fn count_process_change(&mut self) {
        self.process_state_version = Some(self.process_state_version.unwrap_or(1).saturating_add(1));
    }
}
