//! Indexing policies: which paths of a document the index holds.
//!
//! Invariant: of the rules that match a path the deepest wins, then `/?` over `/*`; `id` and
//! `_ts` are always in, the other system properties never.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::error::DocumentsError;
use crate::limits::INDEX_PATHS_MAX;

/// A policy ready to be asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IndexPolicy {
    /// Whether there is an index at all (`indexingMode` consistent).
    pub enabled: bool,
    /// Whether items are indexed unless their request says otherwise (`automatic`).
    pub automatic: bool,
    root: PolicyNode,
}

/// Whether a request wants its item indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexingDirective {
    /// As the policy's `automatic` says.
    Default,
    /// Yes.
    Include,
    /// No.
    Exclude,
}

impl IndexingDirective {
    /// Reads what clients send: a name, or its number in Python.
    ///
    /// # Errors
    /// 400 for anything else.
    pub fn parse(text: &str) -> Result<Self, DocumentsError> {
        for (name, number, directive) in [
            ("default", "0", Self::Default),
            ("exclude", "1", Self::Exclude),
            ("include", "2", Self::Include),
        ] {
            if text.eq_ignore_ascii_case(name) || text == number {
                return Ok(directive);
            }
        }
        Err(DocumentsError::bad_request(
            "x-ms-indexing-directive is none of Default, Include, Exclude.",
        ))
    }
}

/// The rules at and below one path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyNode {
    names: HashMap<String, PolicyNode>,
    element: Option<Box<PolicyNode>>,
    /// `/?` here: included or excluded.
    scalar: Option<bool>,
    /// `/*` here: included or excluded.
    subtree: Option<bool>,
}

/// Where a walk through a document stands in the policy.
#[derive(Debug, Clone, Copy)]
pub struct PolicyPlace<'p> {
    node: Option<&'p PolicyNode>,
    inherited: bool,
}

/// One step of a rule's path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Element,
}

/// The properties that the service adds and never indexes.
pub const NEVER_INDEXED: [&str; 4] = ["_rid", "_self", "_etag", "_attachments"];

/// The default policy: every path.
#[must_use]
pub fn default_policy() -> Value {
    json!({
        "indexingMode": "consistent",
        "automatic": true,
        "includedPaths": [{"path": "/*"}],
        "excludedPaths": [{"path": "/\"_etag\"/?"}],
    })
}

/// Completes a policy as the service shows it: defaults filled in, everything else kept.
///
/// # Errors
/// 400 for an unknown mode, a bad path, a path in both lists, or `/*` in neither.
pub fn normalise(policy: Option<&Value>) -> Result<Value, DocumentsError> {
    let Some(policy) = policy.filter(|policy| !policy.is_null()) else {
        return Ok(default_policy());
    };
    let given = policy
        .as_object()
        .ok_or_else(|| bad("indexingPolicy must be an object"))?;
    let mut object = Map::new();
    let mode = match given.get("indexingMode").and_then(Value::as_str) {
        None => "consistent",
        Some(mode) if mode.eq_ignore_ascii_case("consistent") => "consistent",
        Some(mode) if mode.eq_ignore_ascii_case("none") => "none",
        Some(mode) => {
            return Err(bad(&format!(
                "indexingMode {mode} is not supported; use consistent or none"
            )));
        }
    };
    object.insert("indexingMode".to_owned(), json!(mode));
    let automatic = given
        .get("automatic")
        .cloned()
        .unwrap_or_else(|| json!(mode == "consistent"));
    if !automatic.is_boolean() {
        return Err(bad("automatic must be true or false"));
    }
    object.insert("automatic".to_owned(), automatic);
    let list = |name: &str| given.get(name).cloned().unwrap_or_else(|| json!([]));
    let (mut included, mut excluded) = (list("includedPaths"), list("excludedPaths"));
    if mode == "consistent" {
        let mentions = |list: &Value, path: &str| {
            list.as_array()
                .is_some_and(|list| list.iter().any(|entry| path_of(entry) == Some(path)))
        };
        if included.as_array().is_some_and(Vec::is_empty) && !mentions(&excluded, "/*") {
            included = json!([{"path": "/*"}]);
        }
        if !mentions(&included, "/*") && !mentions(&excluded, "/*") {
            return Err(bad(
                "the special mandatory indexing path \"/*\" is in neither includedPaths nor excludedPaths",
            ));
        }
        if let Some(list) = excluded.as_array_mut()
            && !list
                .iter()
                .any(|entry| path_of(entry).is_some_and(|path| path.contains("_etag")))
        {
            list.push(json!({"path": "/\"_etag\"/?"}));
        }
    }
    object.insert("includedPaths".to_owned(), included);
    object.insert("excludedPaths".to_owned(), excluded);
    for (name, value) in given {
        if !object.contains_key(name) {
            object.insert(name.clone(), value.clone());
        }
    }
    let whole = Value::Object(object);
    IndexPolicy::from_value(&whole)?;
    Ok(whole)
}

fn bad(why: &str) -> DocumentsError {
    DocumentsError::bad_request(format!("The indexing policy is invalid: {why}."))
}

fn path_of(entry: &Value) -> Option<&str> {
    entry.get("path").and_then(Value::as_str)
}

impl IndexPolicy {
    /// Reads a normalised policy.
    ///
    /// # Errors
    /// As [`normalise`].
    pub fn from_value(policy: &Value) -> Result<Self, DocumentsError> {
        let enabled = policy.get("indexingMode").and_then(Value::as_str) != Some("none");
        let automatic = policy.get("automatic") != Some(&Value::Bool(false));
        let mut root = PolicyNode::default();
        for (list, include) in [("includedPaths", true), ("excludedPaths", false)] {
            let Some(entries) = policy.get(list) else { continue };
            let entries = entries
                .as_array()
                .ok_or_else(|| bad(&format!("{list} must be an array")))?;
            if entries.len() > INDEX_PATHS_MAX {
                return Err(bad(&format!(
                    "{list} has {} paths, at most {INDEX_PATHS_MAX}",
                    entries.len()
                )));
            }
            for entry in entries {
                let path = path_of(entry).ok_or_else(|| bad(&format!("an entry of {list} has no path")))?;
                for (steps, scalar) in
                    parse_rule(path).ok_or_else(|| bad(&format!("the path {path} can't be read")))?
                {
                    let node = steps.into_iter().fold(&mut root, PolicyNode::descend);
                    let place = if scalar {
                        &mut node.scalar
                    } else {
                        &mut node.subtree
                    };
                    if place.is_some_and(|earlier| earlier != include) {
                        return Err(bad(&format!("the path {path} is both included and excluded")));
                    }
                    *place = Some(include);
                }
            }
        }
        Ok(Self {
            enabled,
            automatic,
            root,
        })
    }

    /// The place of a document's root.
    #[must_use]
    pub fn root(&self) -> PolicyPlace<'_> {
        PolicyPlace {
            node: Some(&self.root),
            inherited: self.root.subtree.unwrap_or(false),
        }
    }
}

impl PolicyNode {
    fn descend(&mut self, step: Step) -> &mut Self {
        match step {
            Step::Name(name) => self.names.entry(name).or_default(),
            Step::Element => self.element.get_or_insert_default(),
        }
    }
}

impl<'p> PolicyPlace<'p> {
    /// The place of a property.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.below(self.node.and_then(|node| node.names.get(name)))
    }

    /// The place of any element of an array.
    #[must_use]
    pub fn element(self) -> Self {
        self.below(self.node.and_then(|node| node.element.as_deref()))
    }

    fn below(self, node: Option<&'p PolicyNode>) -> Self {
        Self {
            node,
            inherited: node.and_then(|node| node.subtree).unwrap_or(self.inherited),
        }
    }

    /// Whether a value here is in the index.
    #[must_use]
    pub fn included(self) -> bool {
        self.node.and_then(|node| node.scalar).unwrap_or(self.inherited)
    }

    /// Whether nothing at or below here is in the index, so the walk may stop.
    #[must_use]
    pub fn nothing_below(self) -> bool {
        self.node.is_none() && !self.inherited
    }
}

/// A rule's path as steps, and whether it ends in `/?`. A tuple `/a/[]/{b,c}/?` gives several;
/// a path without an end is read as `/*` below it, as old clients wrote.
fn parse_rule(path: &str) -> Option<Vec<(Vec<Step>, bool)>> {
    let mut rest = path.strip_prefix('/')?;
    let mut rules: Vec<Vec<Step>> = vec![Vec::new()];
    loop {
        if rest == "*" || rest.is_empty() {
            return Some(rules.into_iter().map(|steps| (steps, false)).collect());
        }
        if rest == "?" {
            return Some(rules.into_iter().map(|steps| (steps, true)).collect());
        }
        let (steps, after) = parse_step(rest)?;
        let mut grown = Vec::with_capacity(rules.len() * steps.len());
        for rule in &rules {
            for alternative in &steps {
                grown.push(rule.iter().chain(alternative).cloned().collect());
            }
        }
        if grown.len() > INDEX_PATHS_MAX {
            return None;
        }
        rules = grown;
        rest = match after.strip_prefix('/') {
            Some(next) => next,
            None if after.is_empty() => "",
            None => return None,
        };
    }
}

/// One segment: the alternatives it stands for, each as steps, and what follows it.
fn parse_step(rest: &str) -> Option<(Vec<Vec<Step>>, &str)> {
    if let Some(quoted) = rest.strip_prefix('"') {
        let (name, after) = quoted.split_once('"')?;
        return Some((vec![vec![Step::Name(name.to_owned())]], after));
    }
    if let Some(tuple) = rest.strip_prefix('{') {
        let (names, after) = tuple.split_once('}')?;
        let alternatives = names
            .split(',')
            .map(|name| {
                name.trim()
                    .trim_matches('"')
                    .split('/')
                    .map(name_or_element)
                    .collect()
            })
            .collect();
        return Some((alternatives, after));
    }
    let end = rest.find('/').unwrap_or(rest.len());
    let (name, after) = rest.split_at_checked(end)?;
    (!name.is_empty()).then(|| (vec![vec![name_or_element(name)]], after))
}

fn name_or_element(name: &str) -> Step {
    if name == "[]" {
        Step::Element
    } else {
        Step::Name(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn included(policy: &IndexPolicy, path: &str) -> bool {
        let mut place = policy.root();
        for step in path.split('/').filter(|step| !step.is_empty()) {
            place = if step == "[]" {
                place.element()
            } else {
                place.name(step)
            };
        }
        place.included()
    }

    fn policy(included: &[&str], excluded: &[&str]) -> IndexPolicy {
        let list = |paths: &[&str]| paths.iter().map(|path| json!({"path": path})).collect::<Vec<_>>();
        let whole = json!({"includedPaths": list(included), "excludedPaths": list(excluded)});
        IndexPolicy::from_value(&normalise(Some(&whole)).unwrap()).unwrap()
    }

    #[test]
    fn deeper_wins_then_scalar() {
        let all = policy(&["/*"], &["/a/*", "/b/?"]);
        let table = [
            ("/x", true),
            ("/a", false),
            ("/a/b", false),
            ("/b", false),
            ("/b/c", true),
        ];
        for (path, wanted) in table {
            assert_eq!(included(&all, path), wanted, "{path}");
        }
        let some = policy(
            &["/a/?", "/c/*", "/d/[]/{x,y/z}/?", "/\"odd name\"/?"],
            &["/*", "/c/secret/*"],
        );
        let table = [
            ("/x", false),
            ("/a", true),
            ("/a/b", false),
            ("/c/d/[]", true),
            ("/c/secret/e", false),
            ("/d/[]/x", true),
            ("/d/[]/y", false),
            ("/d/[]/y/z", true),
            ("/odd name", true),
        ];
        for (path, wanted) in table {
            assert_eq!(included(&some, path), wanted, "{path}");
        }
        assert!(!included(&policy(&["/*"], &[]), "/_etag"));
    }

    #[test]
    fn malformed_policies() {
        for bad in [
            json!([]),
            json!({"indexingMode": "lazy"}),
            json!({"includedPaths": [{"path": "/a/?"}]}),
            json!({"includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/*"}]}),
            json!({"includedPaths": [{"path": "a"}, {"path": "/*"}]}),
            json!({"includedPaths": [{}]}),
            json!({"includedPaths": "x"}),
            json!({"automatic": "no"}),
        ] {
            assert!(normalise(Some(&bad)).is_err(), "{bad}");
        }
        assert_eq!(normalise(None).unwrap(), default_policy());
        assert_eq!(normalise(Some(&default_policy())).unwrap(), default_policy());
        let none = normalise(Some(&json!({"indexingMode": "None"}))).unwrap();
        assert!(!IndexPolicy::from_value(&none).unwrap().enabled);
        let kept = normalise(Some(&json!({"compositeIndexes": [[]]}))).unwrap();
        assert_eq!(kept["compositeIndexes"], json!([[]]));
    }
}
