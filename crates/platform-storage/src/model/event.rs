//! Events of an instance.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Moment, ProcessState};

/// The names of events that the server itself writes (section "eventType" of the original's
/// models). Apps send these and others; any name is kept.
pub mod kind {
    #![allow(missing_docs, reason = "each says what happened to the instance or element")]
    pub const CREATED: &str = "Created";
    pub const SAVED: &str = "Saved";
    pub const DELETED: &str = "Deleted";
    pub const UNDELETED: &str = "Undeleted";
    pub const CONFIRMED_COMPLETE: &str = "ConfirmedComplete";
    pub const SUBSTATUS_UPDATED: &str = "SubstatusUpdated";
    pub const SIGNED: &str = "Signed";
    pub const SENT_TO_SIGN: &str = "SentToSign";
    pub const START_EVENT: &str = "process_StartEvent";
    pub const END_EVENT: &str = "process_EndEvent";
    pub const START_TASK: &str = "process_StartTask";
    pub const END_TASK: &str = "process_EndTask";
    pub const ABANDON_TASK: &str = "process_AbandonTask";
}

/// Who did it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformUser {
    /// A user's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    /// An org's code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org_id: Option<String>,
    /// How surely the user was identified.
    pub authentication_level: i64,
    /// An older kind of system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_user_system_id: Option<i64>,
    /// A person's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub national_identity_number: Option<String>,
    /// A system user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_user_id: Option<Uuid>,
    /// The organisation that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_user_owner_org_no: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_user_name: Option<String>,
}

impl PlatformUser {
    /// Whether it says who it is.
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        let has = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        self.user_id.is_some()
            || has(&self.org_id)
            || (self.system_user_id.is_some() && has(&self.system_user_owner_org_no))
    }
}

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceEvent {
    /// Its guid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// `{party}/{guid}` of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The data element it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_id: Option<String>,
    /// When it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Moment>,
    /// What happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// The instance's party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_owner_party_id: Option<String>,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<PlatformUser>,
    /// Whom it concerns as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related_user: Option<PlatformUser>,
    /// Where the process stood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_info: Option<ProcessState>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_info: Option<String>,
}
