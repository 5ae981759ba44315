//! Partition keys: the container's definition, values in headers, values in documents.

use serde_json::{Value, json};

use crate::error::DocumentsError;
use crate::limits::{PARTITION_KEY_BYTES_MAX, PARTITION_KEY_PATHS_MAX};
use crate::rules::effective_partition_key;

/// One level of a partition key's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Component {
    /// The document lacks the property (`{}` in the header).
    Undefined,
    /// JSON null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number: keys compare numbers as doubles.
    Number(f64),
    /// A string.
    String(String),
}

impl Component {
    /// Takes a scalar; `None` for arrays and for objects that aren't empty.
    #[must_use]
    pub fn from_value(value: Option<&Value>) -> Option<Self> {
        Some(match value {
            None => Self::Undefined,
            Some(Value::Null) => Self::Null,
            Some(Value::Bool(value)) => Self::Bool(*value),
            // Minus zero is zero.
            Some(Value::Number(number)) => Self::Number(number.as_f64()? + 0.0),
            Some(Value::String(text)) => Self::String(text.clone()),
            Some(Value::Object(object)) if object.is_empty() => Self::Undefined,
            Some(Value::Array(_) | Value::Object(_)) => return None,
        })
    }

    /// As the header writes it.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Undefined => json!({}),
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => number_value(*number),
            Self::String(text) => Value::String(text.clone()),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
fn number_value(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        Value::from(number as i64)
    } else {
        json!(number)
    }
}

/// A partition key's value: one component per path of the definition, or fewer (a prefix) where
/// a query may narrow by the first levels.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionKey(Vec<Component>);

impl PartitionKey {
    /// From components, first path first.
    #[must_use]
    pub fn new(components: Vec<Component>) -> Self {
        Self(components)
    }

    /// A key of one string.
    #[must_use]
    pub fn string(text: impl Into<String>) -> Self {
        Self(vec![Component::String(text.into())])
    }

    /// The components.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.0
    }

    /// Reads the header `x-ms-documentdb-partitionkey`: a JSON array.
    ///
    /// # Errors
    /// 400 if it isn't one, or holds arrays or objects.
    pub fn from_header(text: &str) -> Result<Self, DocumentsError> {
        let bad = || {
            DocumentsError::bad_request(format!(
                "Partition key {text} is invalid: it must be a JSON array of strings, numbers, booleans, null or {{}}."
            ))
        };
        if text.len() > PARTITION_KEY_BYTES_MAX * 8 {
            return Err(bad());
        }
        let Ok(Value::Array(values)) = serde_json::from_str::<Value>(text) else {
            return Err(bad());
        };
        if values.len() > PARTITION_KEY_PATHS_MAX {
            return Err(bad());
        }
        // An empty array is what clients send for "no partition key" of old containers.
        let components: Option<Vec<_>> = values
            .iter()
            .map(|value| Component::from_value(Some(value)))
            .collect();
        let key = Self(components.ok_or_else(bad)?);
        key.check_length()?;
        Ok(key)
    }

    fn check_length(&self) -> Result<(), DocumentsError> {
        for component in &self.0 {
            if let Component::String(text) = component
                && text.len() > PARTITION_KEY_BYTES_MAX
            {
                return Err(DocumentsError::bad_request(format!(
                    "The partition key value has {} bytes, at most {PARTITION_KEY_BYTES_MAX} are allowed.",
                    text.len()
                )));
            }
        }
        Ok(())
    }

    /// The header's form.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Array(self.0.iter().map(Component::to_value).collect())
    }

    /// Whether this key is `other` or a prefix of it.
    #[must_use]
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl From<&str> for PartitionKey {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

/// How a container hashes its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartitionKeyKind {
    /// One path.
    Hash,
    /// Up to three levels.
    MultiHash,
}

/// A container's `partitionKey`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionKeyDefinition {
    /// Each path as its property names.
    pub paths: Vec<Vec<String>>,
    /// Hash or MultiHash.
    pub kind: PartitionKeyKind,
    /// 1 or 2.
    pub version: u8,
}

impl PartitionKeyDefinition {
    /// Reads a container's `partitionKey` property.
    ///
    /// # Errors
    /// 400 if it is missing or malformed.
    pub fn from_value(value: Option<&Value>) -> Result<Self, DocumentsError> {
        let bad = |why: &str| {
            DocumentsError::bad_request(format!("The partition key definition is invalid: {why}."))
        };
        let definition = value
            .and_then(Value::as_object)
            .ok_or_else(|| bad("partitionKey is missing"))?;
        let paths = definition
            .get("paths")
            .and_then(Value::as_array)
            .ok_or_else(|| bad("paths is missing"))?;
        let kind = match definition.get("kind").and_then(Value::as_str) {
            None | Some("Hash") => PartitionKeyKind::Hash,
            Some("MultiHash") => PartitionKeyKind::MultiHash,
            Some(_) => return Err(bad("kind must be Hash or MultiHash")),
        };
        let version = match definition.get("version").map(Value::as_u64) {
            None => 1,
            Some(Some(1)) => 1,
            Some(Some(2)) => 2,
            Some(_) => return Err(bad("version must be 1 or 2")),
        };
        let allowed = if kind == PartitionKeyKind::Hash {
            1
        } else {
            PARTITION_KEY_PATHS_MAX
        };
        if paths.is_empty() || paths.len() > allowed {
            return Err(bad(&format!("{} paths, at most {allowed}", paths.len())));
        }
        let paths: Option<Vec<_>> = paths.iter().map(|path| parse_path(path.as_str()?)).collect();
        let paths = paths.ok_or_else(|| bad("a path must be like /name or /outer/inner"))?;
        Ok(Self { paths, kind, version })
    }

    /// The key of a document.
    ///
    /// # Errors
    /// 400 if a value is an array or object, or too long.
    pub fn extract(&self, document: &Value) -> Result<PartitionKey, DocumentsError> {
        let mut components = Vec::with_capacity(self.paths.len());
        for path in &self.paths {
            let value = path.iter().try_fold(document, |value, name| value.get(name));
            let component = Component::from_value(value).ok_or_else(|| {
                DocumentsError::bad_request(format!(
                    "The value at the partition key path /{} is an array or object; it must be a string, number, boolean or null.",
                    path.join("/")
                ))
            })?;
            components.push(component);
        }
        let key = PartitionKey(components);
        key.check_length()?;
        Ok(key)
    }

    /// Whether `key` has a component for each path.
    #[must_use]
    pub fn is_complete(&self, key: &PartitionKey) -> bool {
        key.0.len() == self.paths.len()
    }

    /// The effective partition key's bytes.
    #[must_use]
    pub fn effective(&self, key: &PartitionKey) -> Vec<u8> {
        effective_partition_key::effective_partition_key(self, key)
    }
}

/// Reads a path like `/a/b` or `/"odd name"/b` into its names; `None` if it isn't one.
#[must_use]
pub fn parse_path(path: &str) -> Option<Vec<String>> {
    let mut rest = path.strip_prefix('/')?;
    let mut names = Vec::new();
    loop {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            let (name, after) = quoted.split_once('"')?;
            (name, after)
        } else {
            let end = rest.find('/').unwrap_or(rest.len());
            rest.split_at_checked(end)?
        };
        if name.is_empty() || (after.is_empty() && matches!(name, "*" | "?")) {
            return None;
        }
        names.push(name.to_owned());
        match after.strip_prefix('/') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(names),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let parse = PartitionKey::from_header;
        assert_eq!(parse(r#"["a"]"#).unwrap(), PartitionKey::string("a"));
        assert_eq!(parse("[null]").unwrap(), PartitionKey::new(vec![Component::Null]));
        assert_eq!(
            parse("[{}]").unwrap(),
            PartitionKey::new(vec![Component::Undefined])
        );
        assert_eq!(parse("[5, true]").unwrap().to_json(), json!([5, true]));
        assert_eq!(parse("[-0.0]").unwrap(), parse("[0]").unwrap());
        for bad in ["", "a", "{}", "[[1]]", r#"[{"a":1}]"#, "[1,2,3,4]", "[1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("[\"{}\"]", "a".repeat(2_049))).is_err());
        assert!(
            parse(r#"["a"]"#)
                .unwrap()
                .is_prefix_of(&parse(r#"["a","b"]"#).unwrap())
        );
    }

    #[test]
    fn definitions_and_extraction() {
        let definition = PartitionKeyDefinition::from_value(Some(
            &json!({"paths": ["/a/b", "/\"c d\""], "kind": "MultiHash", "version": 2}),
        ))
        .unwrap();
        let key = definition.extract(&json!({"a": {"b": 1}, "c d": "x"})).unwrap();
        assert_eq!(key.to_json(), json!([1, "x"]));
        let key = definition.extract(&json!({"a": 7})).unwrap();
        assert_eq!(key.to_json(), json!([{}, {}]));
        assert!(definition.extract(&json!({"a": {"b": [1]}})).is_err());
        for bad in [
            json!(null),
            json!({}),
            json!({"paths": []}),
            json!({"paths": ["/a", "/b"]}),
            json!({"paths": ["a"]}),
            json!({"paths": ["/a/"]}),
            json!({"paths": ["/a/?"]}),
            json!({"paths": ["/a"], "kind": "Range"}),
            json!({"paths": ["/a"], "version": 3}),
        ] {
            assert!(PartitionKeyDefinition::from_value(Some(&bad)).is_err(), "{bad}");
        }
    }
}
