//! What of a document goes into the index: pairs of a path and a value.
//!
//! A path is a 32-bit hash of its steps, an array's elements being one step. Two paths may
//! share a hash: that makes the index find too much, never too little, and everything found is
//! checked against the document. In return there is no table of paths to keep, cache and agree on
//! between processes, and no limit on how many paths documents have.

use documents_sql::PathStep;
use serde_json::Value;

use super::effective_partition_key::murmur3_128;
use super::index_policy::{IndexPolicy, NEVER_INDEXED, PolicyPlace};
use super::index_value;
use crate::error::DocumentsError;
use crate::limits::INDEX_ENTRIES_PER_ITEM_MAX;

/// A path's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathHash(u64);

impl PathHash {
    /// The document's root.
    pub const ROOT: Self = Self(0x5374_6162_6275_7201);

    /// A property below this path.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        Self(murmur3_128(name.as_bytes(), self.0).0)
    }

    /// The elements of the array at this path.
    #[must_use]
    pub fn element(self) -> Self {
        // No property name has this hash's other half by design, only by chance: see above.
        Self(murmur3_128(&[0xFF], self.0).1)
    }

    /// A whole path.
    #[must_use]
    pub fn of(path: &[PathStep]) -> Self {
        path.iter().fold(Self::ROOT, |hash, step| match step {
            PathStep::Name(name) => hash.name(name),
            PathStep::Element => hash.element(),
        })
    }

    /// As it stands in keys: the first half. Containers have some hundred paths, rarely thousands,
    /// and short keys are what makes writes cheap.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0.to_be_bytes();
        [a, b, c, d]
    }
}

/// Whether the index holds every value that documents have at `path`.
#[must_use]
pub fn path_included(policy: &IndexPolicy, path: &[PathStep]) -> bool {
    if !policy.enabled {
        return false;
    }
    let mut place = policy.root();
    for (depth, step) in path.iter().enumerate() {
        place = match step {
            PathStep::Name(name) => {
                if depth == 0 && NEVER_INDEXED.contains(&name.as_str()) {
                    return false;
                }
                if depth == 0 && path.len() == 1 && always(name) {
                    return true;
                }
                place.name(name)
            }
            PathStep::Element => place.element(),
        };
    }
    !path.is_empty() && place.included()
}

fn always(name: &str) -> bool {
    matches!(name, "id" | "_ts")
}

/// The index terms of a document, each once, in order: path hash, then encoded value. `system`
/// adds `_ts`, which isn't in `document` yet.
///
/// # Errors
/// 400 if there are more than [`INDEX_ENTRIES_PER_ITEM_MAX`].
pub fn terms(policy: &IndexPolicy, document: &Value, ts: i64) -> Result<Vec<Vec<u8>>, DocumentsError> {
    if !policy.enabled {
        return Ok(Vec::new());
    }
    let mut walk = Walk {
        terms: Vec::with_capacity(32),
        has_elements: false,
    };
    let root = policy.root();
    if let Value::Object(object) = document {
        for (name, value) in object {
            if NEVER_INDEXED.contains(&name.as_str()) || name == "_ts" {
                continue;
            }
            let place = root.name(name);
            let hash = PathHash::ROOT.name(name);
            if name == "id" {
                walk.emit(hash, value)?;
            } else {
                walk.visit(place, hash, value)?;
            }
        }
    }
    walk.emit(PathHash::ROOT.name("_ts"), &Value::from(ts))?;
    walk.terms.sort_unstable();
    if walk.has_elements {
        walk.terms.dedup();
    }
    Ok(walk.terms)
}

/// The index terms of an item that was kept out of the index: its id's, so that queries by id find
/// it ("When indexing is turned off, documents can be accessed only through their self-links or by
/// queries using ID", the service's page on indexing policies).
///
/// # Errors
/// As [`terms`].
pub fn terms_of_unindexed(policy: &IndexPolicy, document: &Value) -> Result<Vec<Vec<u8>>, DocumentsError> {
    let mut walk = Walk {
        terms: Vec::with_capacity(1),
        has_elements: false,
    };
    if policy.enabled
        && let Some(id) = document.get("id")
    {
        walk.emit(PathHash::ROOT.name("id"), id)?;
    }
    Ok(walk.terms)
}

struct Walk {
    terms: Vec<Vec<u8>>,
    has_elements: bool,
}

impl Walk {
    fn emit(&mut self, hash: PathHash, value: &Value) -> Result<(), DocumentsError> {
        if self.terms.len() >= INDEX_ENTRIES_PER_ITEM_MAX {
            return Err(DocumentsError::bad_request(format!(
                "The item has more than {INDEX_ENTRIES_PER_ITEM_MAX} indexed values; exclude paths in the container's indexing policy."
            )));
        }
        let mut term = Vec::with_capacity(32);
        term.extend_from_slice(&hash.to_bytes());
        index_value::write(&mut term, value);
        self.terms.push(term);
        Ok(())
    }

    // The depth is bounded by the parser (limits::DOCUMENT_DEPTH_MAX).
    fn visit(&mut self, place: PolicyPlace<'_>, hash: PathHash, value: &Value) -> Result<(), DocumentsError> {
        if place.nothing_below() {
            return Ok(());
        }
        if place.included() {
            self.emit(hash, value)?;
        }
        match value {
            Value::Object(object) => {
                for (name, member) in object {
                    self.visit(place.name(name), hash.name(name), member)?;
                }
            }
            Value::Array(items) => {
                self.has_elements = true;
                let (place, hash) = (place.element(), hash.element());
                for item in items {
                    self.visit(place, hash, item)?;
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rules::index_policy::{default_policy, normalise};

    fn term(path: &[PathStep], value: &Value) -> Vec<u8> {
        let mut out = PathHash::of(path).to_bytes().to_vec();
        index_value::write(&mut out, value);
        out
    }

    fn name(name: &str) -> PathStep {
        PathStep::Name(name.to_owned())
    }

    #[test]
    fn every_value_once_and_system_properties_never() {
        let policy = IndexPolicy::from_value(&default_policy()).unwrap();
        let document = json!({
            "id": "1", "a": {"b": 5}, "list": [1, 2, 1, {"c": "x"}],
            "_etag": "e", "_rid": "r", "_self": "s", "_attachments": "a", "_ts": 1,
        });
        let found = terms(&policy, &document, 77).unwrap();
        let list = |rest: &[PathStep]| [&[name("list"), PathStep::Element], rest].concat();
        let mut wanted = vec![
            term(&[name("id")], &json!("1")),
            term(&[name("a")], &json!({"b": 5})),
            term(&[name("a"), name("b")], &json!(5)),
            term(&[name("list")], &document["list"]),
            term(&list(&[]), &json!(1)),
            term(&list(&[]), &json!(2)),
            term(&list(&[]), &json!({"c": "x"})),
            term(&list(&[name("c")]), &json!("x")),
            term(&[name("_ts")], &json!(77)),
        ];
        wanted.sort();
        assert_eq!(found, wanted);
    }

    #[test]
    fn excluded_paths_are_not_walked() {
        let policy = normalise(Some(&json!({
            "includedPaths": [{"path": "/a/?"}], "excludedPaths": [{"path": "/*"}],
        })));
        let policy = IndexPolicy::from_value(&policy.unwrap()).unwrap();
        let found = terms(&policy, &json!({"id": "1", "a": 1, "b": {"c": 1}}), 5).unwrap();
        assert_eq!(found.len(), 3, "id, a, _ts");
        assert!(path_included(&policy, &[name("a")]));
        assert!(path_included(&policy, &[name("id")]));
        assert!(!path_included(&policy, &[name("b")]));
        let none =
            IndexPolicy::from_value(&normalise(Some(&json!({"indexingMode": "none"}))).unwrap()).unwrap();
        assert!(terms(&none, &json!({"id": "1"}), 5).unwrap().is_empty());
        assert!(!path_included(&none, &[name("id")]));
    }
}
