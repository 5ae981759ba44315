//! A document on its way in: checked, and without what the service sets itself.

use bytes::Bytes;
use serde_json::Value;

use super::container::Container;
use crate::error::DocumentsError;
use crate::limits::{DOCUMENT_DEPTH_MAX, ITEM_BYTES_MAX};
use crate::rules::index_policy::{IndexPolicy, IndexingDirective};
use crate::rules::{json as json_rules, names};

/// Properties that the service sets; what a client sends for them is dropped.
const SYSTEM_PROPERTIES: [&str; 5] = ["_rid", "_self", "_etag", "_attachments", "_ts"];

/// A document on its way in: an object with a good id and without system properties.
#[derive(Debug, Clone)]
pub(crate) struct NewDocument {
    pub(super) value: Value,
    /// The text it came as, if that may be stored as it is.
    pub(super) text: Option<Bytes>,
    directive: IndexingDirective,
}

impl NewDocument {
    pub(crate) fn from_text(text: Bytes) -> Result<Self, DocumentsError> {
        let parsed = json_rules::parse(&text)?;
        let has_system = SYSTEM_PROPERTIES
            .iter()
            .any(|name| parsed.value.get(name).is_some());
        let mut new = Self::from_value(parsed.value)?;
        if !parsed.repeated_names && !has_system {
            check_size(text.len())?;
            new.text = Some(text);
        }
        Ok(new)
    }

    pub(crate) fn from_value(mut value: Value) -> Result<Self, DocumentsError> {
        let object = value
            .as_object_mut()
            .ok_or_else(|| DocumentsError::bad_request("The item must be a JSON object."))?;
        match object.get("id") {
            Some(Value::String(id)) => names::check_item_id(id)?,
            Some(_) => {
                return Err(DocumentsError::bad_request(
                    "The input content is invalid because the required property 'id' is not a string.",
                ));
            }
            None => {
                return Err(DocumentsError::bad_request(
                    "The input content is invalid because the required properties - 'id; ' - are missing.",
                ));
            }
        }
        if SYSTEM_PROPERTIES.iter().any(|name| object.contains_key(*name)) {
            object.retain(|name, _| !SYSTEM_PROPERTIES.contains(&name.as_str()));
        }
        check_depth(&value, DOCUMENT_DEPTH_MAX)?;
        Ok(Self {
            value,
            text: None,
            directive: IndexingDirective::Default,
        })
    }

    /// The same, indexed as asked for.
    pub(crate) fn directed(mut self, directive: IndexingDirective) -> Self {
        self.directive = directive;
        self
    }

    pub(super) fn is_indexed(&self, policy: &IndexPolicy) -> bool {
        match self.directive {
            // Where there is no index, nobody has asked to keep an item out of the one that comes later: the
            // service's page on indexing policies has bulk loads run without one, and index all afterwards.
            IndexingDirective::Default => policy.automatic || !policy.enabled,
            IndexingDirective::Include => true,
            IndexingDirective::Exclude => false,
        }
    }

    pub(crate) fn id(&self) -> &str {
        self.value.get("id").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    pub(super) fn ttl(&self, container: &Container) -> Result<Option<i64>, DocumentsError> {
        let Some(ttl) = self.value.get("ttl") else {
            return Ok(None);
        };
        let valid = ttl
            .as_i64()
            .filter(|seconds| *seconds == -1 || (1..=i64::from(i32::MAX)).contains(seconds));
        if valid.is_none() && container.default_ttl.is_some() {
            return Err(DocumentsError::bad_request(
                "The ttl must be -1 or a number of seconds from 1 to 2147483647.",
            ));
        }
        Ok(valid)
    }
}

/// What is stored must be readable again: patches and callers can nest deeper than texts.
pub(super) fn check_depth(value: &Value, levels: usize) -> Result<(), DocumentsError> {
    let Some(levels) = levels.checked_sub(1) else {
        return Err(DocumentsError::bad_request(format!(
            "The item is nested deeper than {DOCUMENT_DEPTH_MAX} levels."
        )));
    };
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_depth(item, levels)),
        Value::Object(object) => object.values().try_for_each(|member| check_depth(member, levels)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

pub(super) fn check_size(bytes: usize) -> Result<(), DocumentsError> {
    if bytes > ITEM_BYTES_MAX {
        return Err(DocumentsError::TooLarge(format!(
            "Request size is too large: the item has {bytes} bytes, at most {ITEM_BYTES_MAX} are allowed."
        )));
    }
    Ok(())
}
