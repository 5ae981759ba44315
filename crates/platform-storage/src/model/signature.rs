//! Requests to sign data elements, and what is kept of a signature.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Moment;

/// An element that is signed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataElementSignature {
    /// The element's guid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_element_id: Option<String>,
    /// SHA-256 of its content, in lower-case hexadecimal; set by the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256_hash: Option<String>,
    /// Whether it is signed, or only listed.
    pub signed: bool,
}

/// Who signs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Signee {
    /// A user's number, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// A system user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_user_id: Option<Uuid>,
    /// A person's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person_number: Option<String>,
    /// The organisation signed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organisation_number: Option<String>,
}

/// A request to sign.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignRequest {
    /// The data type that the signature is kept under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_document_data_type: Option<String>,
    /// The task it is made in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generated_from_task: Option<String>,
    /// What is signed.
    #[serde(deserialize_with = "super::null_is_default")]
    pub data_element_signatures: Vec<DataElementSignature>,
    /// Who signs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signee: Option<Signee>,
}

/// What is kept of a signature.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SignDocument {
    /// Its guid.
    pub id: String,
    /// The instance's guid.
    pub instance_guid: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_time: Option<Moment>,
    /// By whom.
    pub signee_info: Signee,
    /// What.
    pub data_element_signatures: Vec<DataElementSignature>,
}
