//! An application's texts in one language.

use serde::{Deserialize, Serialize};

/// A value that is put into a text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TextResourceVariable {
    /// Where in the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Which source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_source: Option<String>,
    /// What if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_value: Option<String>,
}

/// A text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TextResourceElement {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its wording.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is put into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<TextResourceVariable>>,
}

/// Texts in one language.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TextResource {
    /// `{org}-{app}-{language}`.
    pub id: String,
    /// The owner's code.
    pub org: String,
    /// Two letters.
    pub language: String,
    /// The texts.
    #[serde(deserialize_with = "super::null_is_default")]
    pub resources: Vec<TextResourceElement>,
}
