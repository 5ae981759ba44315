//! An application's metadata. Kept as it came, unknown fields included; known names are spelled
//! as they should be. What this server itself looks at is read into [`Application`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Moment;

/// What the server looks at in a data type.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataType {
    /// Its id.
    pub id: String,
    /// An action the PDP must permit as well to read it.
    pub action_required_to_read: Option<String>,
    /// An action the PDP must permit as well to write it.
    pub action_required_to_write: Option<String>,
    /// How the app uses it.
    pub app_logic: Option<AppLogic>,
    /// Whether its content is scanned for malware.
    #[serde(deserialize_with = "super::null_is_default")]
    pub enable_file_scan: bool,
}

/// What the server looks at in a data type's app logic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppLogic {
    /// Whether elements may be deleted with a delay.
    #[serde(deserialize_with = "super::null_is_default")]
    pub auto_delete_on_process_end: bool,
}

/// What the server looks at in an application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Application {
    /// `{org}/{app}`.
    pub id: String,
    /// The owner's code.
    pub org: String,
    /// Names by language.
    #[serde(deserialize_with = "super::null_is_default")]
    pub title: BTreeMap<String, Option<String>>,
    /// Kinds of data.
    #[serde(deserialize_with = "super::null_is_default")]
    pub data_types: Vec<DataType>,
    /// Instances are deleted when their process ends; their events go with them.
    #[serde(deserialize_with = "super::null_is_default")]
    pub auto_delete_on_process_end: bool,
    /// Days after archiving in which an instance can't be deleted.
    pub prevent_instance_deletion_for_days: Option<i64>,
    /// Since when it is valid.
    pub valid_from: Option<Moment>,
    /// When it was created.
    pub created: Option<Moment>,
    /// By whom.
    pub created_by: Option<String>,
    /// The owner's storage account, if it has several.
    pub storage_account_number: Option<i64>,
    /// How the message box shows its instances.
    pub message_box_config: Option<MessageBoxConfig>,
    /// Whether and how instances are copied.
    pub copy_instance_settings: Option<CopyInstanceSettings>,
}

/// What the server looks at of how the message box shows instances.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageBoxConfig {
    /// What it doesn't show.
    pub hide_settings: Option<HideSettings>,
}

/// Which instances the message box doesn't show.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HideSettings {
    /// None of them.
    #[serde(deserialize_with = "super::null_is_default")]
    pub hide_always: bool,
    /// Those in one of these tasks.
    #[serde(deserialize_with = "super::null_is_default")]
    pub hide_on_task: Vec<String>,
}

/// What the server looks at of how instances are copied.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CopyInstanceSettings {
    /// Whether archived instances may be copied.
    #[serde(deserialize_with = "super::null_is_default")]
    pub enabled: bool,
}

impl Application {
    /// Whether the message box leaves an instance that is in `task` out.
    #[must_use]
    pub fn hides(&self, task: Option<&str>) -> bool {
        let config = self.message_box_config.as_ref();
        let settings = config.and_then(|config| config.hide_settings.as_ref());
        settings.is_some_and(|settings| {
            settings.hide_always
                || task.is_some_and(|task| settings.hide_on_task.iter().any(|hidden| hidden == task))
        })
    }

    /// The data type `id`.
    #[must_use]
    pub fn data_type(&self, id: &str) -> Option<&DataType> {
        self.data_types.iter().find(|data_type| data_type.id == id)
    }
}

/// Every field name of an application and of what it contains, as the original spells them.
const NAMES: &[&str] = &[
    "id",
    "versionId",
    "org",
    "title",
    "validFrom",
    "validTo",
    "processId",
    "dataTypes",
    "partyTypesAllowed",
    "bankruptcyEstate",
    "organisation",
    "person",
    "subUnit",
    "autoDeleteOnProcessEnd",
    "preventInstanceDeletionForDays",
    "presentationFields",
    "dataFields",
    "path",
    "dataTypeId",
    "eFormidling",
    "serviceId",
    "dpfShipmentType",
    "receiver",
    "sendAfterTaskId",
    "process",
    "standard",
    "typeVersion",
    "type",
    "securityLevel",
    "onEntry",
    "show",
    "messageBoxConfig",
    "hideSettings",
    "hideAlways",
    "hideOnTask",
    "syncAdapterSettings",
    "copyInstanceSettings",
    "enabled",
    "excludedDataTypes",
    "excludedDataFields",
    "includeAttachments",
    "apiScopes",
    "users",
    "serviceOwners",
    "read",
    "write",
    "errorMessageTextResourceKey",
    "storageAccountNumber",
    "disallowUserInstantiation",
    "homepage",
    "keywords",
    "word",
    "language",
    "description",
    "access",
    "rightDescription",
    "delegable",
    "visible",
    "contactPoints",
    "category",
    "email",
    "telephone",
    "contactPage",
    "created",
    "createdBy",
    "lastChanged",
    "lastChangedBy",
    "allowedContentTypes",
    "allowedContributers",
    "allowedContributors",
    "actionRequiredToRead",
    "actionRequiredToWrite",
    "appLogic",
    "autoCreate",
    "classRef",
    "schemaRef",
    "allowAnonymousOnStateless",
    "disallowUserCreate",
    "disallowUserDelete",
    "shadowFields",
    "prefix",
    "saveToDataType",
    "taskId",
    "maxSize",
    "maxCount",
    "minCount",
    "grouping",
    "enablePdfCreation",
    "enableFileScan",
    "validationErrorOnPendingFileScan",
    "enabledFileAnalysers",
    "enabledFileValidators",
    "allowedKeysForUserDefinedMetadata",
];

/// Fields whose own keys are the app's: languages.
const DICTIONARIES: &[&str] = &["title", "description", "rightDescription"];

/// Spells the known names of an application's fields as they should be, drops nulls, and leaves
/// everything else as it is.
#[must_use]
pub fn with_proper_names(object: Map<String, Value>) -> Map<String, Value> {
    let mut out = Map::with_capacity(object.len());
    for (sent, value) in object {
        if value.is_null() {
            continue;
        }
        match NAMES.iter().find(|name| name.eq_ignore_ascii_case(&sent)) {
            Some(name) if DICTIONARIES.contains(name) => out.insert((*name).to_owned(), value),
            Some(name) => out.insert((*name).to_owned(), value_with_proper_names(value)),
            None => out.insert(sent, value),
        };
    }
    out
}

fn value_with_proper_names(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(with_proper_names(object)),
        Value::Array(items) => items.into_iter().map(value_with_proper_names).collect(),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn known_names_are_spelled_properly_and_the_unknown_is_kept() {
        let sent = json!({
            "ID": "ttd/a", "Title": {"NB": "x"}, "DATATYPES": [{"Id": "m", "APPLOGIC": {"CLASSREF": "C"}}],
            "somethingNew": {"ID": [1, 2]}, "homepage": null
        });
        let kept = with_proper_names(sent.as_object().cloned().unwrap());
        assert_eq!(
            Value::Object(kept),
            json!({
                "id": "ttd/a", "title": {"NB": "x"}, "dataTypes": [{"id": "m", "appLogic": {"classRef": "C"}}],
                "somethingNew": {"ID": [1, 2]}
            })
        );
    }
}
