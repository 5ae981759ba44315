//! A mutation: several changes of one instance that are made together or not at all. What it asks for, and whether
//! that makes sense before anything is looked up.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use uuid::Uuid;

use super::content_version;
use super::versions;
use crate::limits::{
    EVENTS_PER_CHANGE_MAX, MUTATION_ELEMENTS_MAX, MUTATION_PARTS_MAX, REPEATED_PARAMETERS_MAX,
};
use crate::model::{InstanceEvent, KeyValueEntry, ProcessState, Reference};

/// What is said of an element besides its content. What isn't said stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElementChange {
    /// Its data type; for a new one.
    pub data_type: Option<String>,
    /// Which one; for one that is there.
    pub data_element_id: Option<Uuid>,
    /// The part of the body with its content.
    pub content_part_name: Option<String>,
    /// The content that must be there.
    pub expected_current_blob_version: Option<String>,
    /// Media type.
    pub content_type: Option<String>,
    /// The file's name.
    pub filename: Option<String>,
    /// Other elements it belongs to.
    pub refs: Option<Vec<Uuid>>,
    /// The task it is generated from.
    pub generated_from_task: Option<String>,
    /// The app's pairs.
    pub metadata: Option<Vec<KeyValueEntry>>,
    /// The user's pairs.
    pub user_defined_metadata: Option<Vec<KeyValueEntry>>,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Whether its content may not be replaced.
    pub locked: Option<bool>,
}

impl ElementChange {
    /// The part with its content, if there is one.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        self.content_part_name
            .as_deref()
            .filter(|name| !name.trim().is_empty())
    }

    /// What it is generated from, if that is said.
    #[must_use]
    pub fn references(&self) -> Option<Vec<Reference>> {
        let task = self
            .generated_from_task
            .as_deref()
            .filter(|task| !task.is_empty())?;
        Some(vec![Reference::generated_from_task(task)])
    }

    fn changes_anything(&self) -> bool {
        self.part().is_some()
            || self.content_type.is_some()
            || self.filename.is_some()
            || self.refs.is_some()
            || self.generated_from_task.is_some()
            || self.metadata.is_some()
            || self.user_defined_metadata.is_some()
            || self.tags.is_some()
            || self.locked.is_some()
    }
}

/// An element that goes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ElementRemoval {
    /// Which one.
    pub data_element_id: Option<Uuid>,
    /// Whether it goes though it is locked.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub ignore_lock: bool,
}

/// A new state of the process, with its events.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessChange {
    /// The state.
    pub state: Option<ProcessState>,
    /// The events.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub events: Vec<InstanceEvent>,
}

/// That the instance goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceRemoval {
    /// For good; the only way there is here.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub hard: bool,
}

/// A dictionary's changes: empty values remove their keys.
pub type TextChanges = BTreeMap<String, Option<String>>;

/// A mutation as it is sent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mutation {
    /// The status that the process must be in; `idle` if none is said.
    pub expected_process_status: Option<String>,
    /// New elements.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub create_data_elements: Vec<ElementChange>,
    /// Changed ones.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub update_data_elements: Vec<ElementChange>,
    /// Those that go.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub delete_data_elements: Vec<ElementRemoval>,
    /// That the instance goes.
    pub delete_instance: Option<InstanceRemoval>,
    /// Values for machines.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub data_values: TextChanges,
    /// Texts shown in lists.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub presentation_texts: TextChanges,
    /// That the org has taken what it needs.
    #[serde(deserialize_with = "crate::model::null_is_default")]
    pub add_complete_confirmation: bool,
    /// Where the process goes.
    pub process_state: Option<ProcessChange>,
}

impl Mutation {
    /// The state that the process goes to.
    #[must_use]
    pub fn state(&self) -> Option<&ProcessState> {
        self.process_state.as_ref()?.state.as_ref()
    }

    /// The events that come with it.
    #[must_use]
    pub fn events(&self) -> &[InstanceEvent] {
        self.process_state.as_ref().map_or(&[], |change| &change.events)
    }

    /// Whether something changes that the stamp of the last change tells of.
    #[must_use]
    pub fn stamps(&self) -> bool {
        !self.create_data_elements.is_empty()
            || !self.update_data_elements.is_empty()
            || !self.delete_data_elements.is_empty()
            || self.delete_instance.is_some()
            || self.add_complete_confirmation
            || self.state().is_some()
    }

    /// The parts that its contents come in.
    #[must_use]
    pub fn parts(&self) -> BTreeSet<&str> {
        let changes = self.create_data_elements.iter().chain(&self.update_data_elements);
        changes.filter_map(ElementChange::part).collect()
    }

    /// Whether it makes sense by itself.
    ///
    /// # Errors
    /// What doesn't, for the client (400).
    pub fn check(&self) -> Result<(), String> {
        let changes = self.create_data_elements.len() + self.update_data_elements.len();
        if changes + self.delete_data_elements.len() > MUTATION_ELEMENTS_MAX {
            return Err(format!(
                "At most {MUTATION_ELEMENTS_MAX} data elements are changed at once."
            ));
        }
        if !self.stamps()
            && self.data_values.is_empty()
            && self.presentation_texts.is_empty()
            && self.events().is_empty()
        {
            return Err("The mutation changes nothing.".to_owned());
        }
        if self.events().len() > EVENTS_PER_CHANGE_MAX {
            return Err(format!(
                "At most {EVENTS_PER_CHANGE_MAX} events are taken at once."
            ));
        }
        let statuses = [
            self.expected_process_status.as_deref(),
            self.state().and_then(|state| state.status.as_deref()),
        ];
        if let Some(unknown) = statuses
            .into_iter()
            .flatten()
            .find(|status| !versions::is_status(status))
        {
            return Err(format!(
                "{unknown:?} is no status of a process; there are idle and processing."
            ));
        }
        self.check_elements()?;
        self.check_removal()
    }

    fn check_elements(&self) -> Result<(), String> {
        for create in &self.create_data_elements {
            if create.data_type.as_deref().is_none_or(str::is_empty) || create.part().is_none() {
                return Err("createDataElements need a dataType and a contentPartName.".to_owned());
            }
        }
        for update in &self.update_data_elements {
            if !update.changes_anything() {
                return Err("Each of updateDataElements must change something.".to_owned());
            }
            let version = update.expected_current_blob_version.as_deref();
            if version.is_some_and(|version| !content_version::is_version(version)) {
                return Err("expectedCurrentBlobVersion isn't a content's version.".to_owned());
            }
        }
        let changes = self.create_data_elements.iter().chain(&self.update_data_elements);
        let named: Vec<&str> = changes.clone().filter_map(ElementChange::part).collect();
        if named.len() > MUTATION_PARTS_MAX {
            return Err(format!(
                "At most {MUTATION_PARTS_MAX} contents are taken at once."
            ));
        }
        if named.len() != self.parts().len() || named.contains(&MUTATION_PART) {
            return Err("Each contentPartName must be one change's own.".to_owned());
        }
        for change in changes {
            if change
                .refs
                .as_ref()
                .is_some_and(|refs| refs.len() > REPEATED_PARAMETERS_MAX)
            {
                return Err(format!("At most {REPEATED_PARAMETERS_MAX} refs are taken."));
            }
        }
        let updated = self
            .update_data_elements
            .iter()
            .map(|update| update.data_element_id);
        let removed = self
            .delete_data_elements
            .iter()
            .map(|removal| removal.data_element_id);
        let mut seen = BTreeSet::new();
        for id in updated.chain(removed) {
            let id = id.filter(|id| !id.is_nil()).ok_or("dataElementId is required.")?;
            if !seen.insert(id) {
                return Err(format!("The data element {id} is named twice."));
            }
        }
        Ok(())
    }

    /// An instance is deleted by itself, or when its process ends.
    fn check_removal(&self) -> Result<(), String> {
        let Some(removal) = &self.delete_instance else {
            return Ok(());
        };
        if !removal.hard {
            return Err("deleteInstance.hard must be true.".to_owned());
        }
        let ends = self.state().is_some_and(|state| state.ended.is_some());
        let mixes = !self.create_data_elements.is_empty()
            || !self.update_data_elements.is_empty()
            || !self.data_values.is_empty()
            || !self.presentation_texts.is_empty()
            || self.add_complete_confirmation
            || !ends
                && (!self.delete_data_elements.is_empty()
                    || self.state().is_some()
                    || !self.events().is_empty());
        if mixes {
            return Err("deleteInstance goes with no other change but the end of the process.".to_owned());
        }
        Ok(())
    }
}

/// The part of a multipart body that holds the mutation itself; the first.
pub const MUTATION_PART: &str = "mutation";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_makes_sense() {
        let id = "a0a0a0a0-0000-4000-8000-000000000001";
        let create = json!({"dataType": "m", "contentPartName": "a"});
        let update = json!({"dataElementId": id, "tags": ["x"]});
        let ended = json!({"state": {"ended": "2027-01-01T00:00:00Z"}});
        for good in [
            json!({"createDataElements": [create]}),
            json!({"updateDataElements": [update]}),
            json!({"deleteDataElements": [{"dataElementId": id}]}),
            json!({"dataValues": {"a": null}}),
            json!({"processState": {"state": {"status": "Processing"}}, "expectedProcessStatus": "idle"}),
            json!({"deleteInstance": {"hard": true}}),
            json!({"deleteInstance": {"hard": true}, "processState": ended, "deleteDataElements": [{"dataElementId": id}]}),
            json!({"addCompleteConfirmation": true}),
        ] {
            let mutation: Mutation = crate::model::relaxed::from_value(good.clone()).unwrap();
            assert_eq!(mutation.check(), Ok(()), "{good}");
        }
        for bad in [
            json!({}),
            json!({"createDataElements": [{"dataType": "m"}]}),
            json!({"createDataElements": [{"contentPartName": "a"}]}),
            json!({"createDataElements": [create, create]}),
            json!({"createDataElements": [{"dataType": "m", "contentPartName": "mutation"}]}),
            json!({"updateDataElements": [{"dataElementId": id}]}),
            json!({"updateDataElements": [{"tags": []}]}),
            json!({"updateDataElements": [update, update]}),
            json!({"updateDataElements": [update], "deleteDataElements": [{"dataElementId": id}]}),
            json!({"updateDataElements": [{"dataElementId": id, "tags": [], "expectedCurrentBlobVersion": "x"}]}),
            json!({"deleteDataElements": [{}]}),
            json!({"deleteInstance": {"hard": false}}),
            json!({"deleteInstance": {"hard": true}, "dataValues": {"a": "b"}}),
            json!({"deleteInstance": {"hard": true}, "processState": {"state": {}}}),
            json!({"dataValues": {"a": "b"}, "expectedProcessStatus": "asleep"}),
        ] {
            let mutation: Mutation = crate::model::relaxed::from_value(bad.clone()).unwrap();
            assert!(mutation.check().is_err(), "{bad}");
        }
    }
}
