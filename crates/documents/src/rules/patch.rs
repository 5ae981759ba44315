//! Partial updates of a document: `add`, `set`, `replace`, `remove`, `incr`, `move`.
//!
//! Invariant: a patch is applied to a copy and counts as a whole, or not at all; `id`, the
//! partition key and system properties stay as they are.

use serde_json::{Map, Number, Value};

use crate::error::DocumentsError;
use crate::limits::PATCH_OPERATIONS_MAX;

/// A patch as it was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// `from c where ..`: what must hold of the item.
    pub condition: Option<String>,
    /// In order.
    pub operations: Vec<PatchOperation>,
}

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum PatchOperation {
    /// Adds a property or inserts into an array.
    Add(Pointer, Value),
    /// Sets a property or overwrites an element.
    Set(Pointer, Value),
    /// Sets what must exist.
    Replace(Pointer, Value),
    /// Removes what must exist.
    Remove(Pointer),
    /// Adds to a number; a missing one is created.
    Increment(Pointer, Number),
    /// Moves from the first place to the second.
    Move(Pointer, Pointer),
}

/// A place: its steps, unescaped.
pub type Pointer = Vec<String>;

const FORBIDDEN: [&str; 6] = ["id", "_rid", "_self", "_etag", "_attachments", "_ts"];

fn bad(why: impl std::fmt::Display) -> DocumentsError {
    DocumentsError::bad_request(format!("The patch is invalid: {why}."))
}

fn pointer(value: Option<&Value>, what: &str) -> Result<Pointer, DocumentsError> {
    let text = value
        .and_then(Value::as_str)
        .ok_or_else(|| bad(format!("an operation has no {what}")))?;
    let rest = text.strip_prefix('/').filter(|rest| !rest.is_empty());
    let rest = rest.ok_or_else(|| bad(format!("the {what} {text} must begin with / and name a property")))?;
    Ok(rest
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"))
        .collect())
}

/// Reads a patch body: an object with `operations`, or the bare array.
///
/// # Errors
/// 400 if it is malformed, empty, too long, or touches what no patch may touch.
pub fn parse(body: &Value, partition_key_paths: &[Vec<String>]) -> Result<Patch, DocumentsError> {
    let (condition, operations) = match body {
        Value::Array(operations) => (None, operations),
        Value::Object(object) => {
            let condition = match object.get("condition") {
                None | Some(Value::Null) => None,
                Some(Value::String(condition)) => Some(condition.clone()),
                Some(_) => return Err(bad("the condition must be a string")),
            };
            let operations = object.get("operations").and_then(Value::as_array);
            (condition, operations.ok_or_else(|| bad("operations is missing"))?)
        }
        _ => return Err(bad("the body must be an object with operations")),
    };
    if operations.is_empty() || operations.len() > PATCH_OPERATIONS_MAX {
        return Err(bad(format!(
            "{} operations, 1 to {PATCH_OPERATIONS_MAX} are allowed",
            operations.len()
        )));
    }
    let operations: Result<Vec<_>, _> = operations.iter().map(operation).collect();
    let operations = operations?;
    for operation in &operations {
        let touched: &[&Pointer] = match operation {
            PatchOperation::Add(path, _)
            | PatchOperation::Set(path, _)
            | PatchOperation::Replace(path, _)
            | PatchOperation::Remove(path)
            | PatchOperation::Increment(path, _) => &[path],
            PatchOperation::Move(from, path) => &[from, path],
        };
        for path in touched {
            check_allowed(path, partition_key_paths)?;
        }
    }
    Ok(Patch {
        condition,
        operations,
    })
}

fn check_allowed(path: &Pointer, partition_key_paths: &[Vec<String>]) -> Result<(), DocumentsError> {
    let first = path.first().map(String::as_str).unwrap_or_default();
    if FORBIDDEN.contains(&first) {
        return Err(bad(format!("/{first} can't be changed by a patch")));
    }
    for key in partition_key_paths {
        if key.starts_with(path) || path.starts_with(key) {
            return Err(bad(format!(
                "/{} is the partition key and can't be changed",
                key.join("/")
            )));
        }
    }
    Ok(())
}

fn operation(value: &Value) -> Result<PatchOperation, DocumentsError> {
    let op = value
        .get("op")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("an operation has no op"))?;
    let path = pointer(value.get("path"), "path")?;
    let given = || {
        value
            .get("value")
            .cloned()
            .ok_or_else(|| bad(format!("{op} has no value")))
    };
    Ok(match op.to_ascii_lowercase().as_str() {
        "add" => PatchOperation::Add(path, given()?),
        "set" => PatchOperation::Set(path, given()?),
        "replace" => PatchOperation::Replace(path, given()?),
        "remove" => PatchOperation::Remove(path),
        "incr" | "increment" => match given()? {
            Value::Number(number) => PatchOperation::Increment(path, number),
            _ => return Err(bad("incr needs a number")),
        },
        "move" => {
            let from = pointer(value.get("from"), "from")?;
            if path.starts_with(&from) && path != from {
                return Err(bad("a value can't be moved into itself"));
            }
            PatchOperation::Move(from, path)
        }
        other => {
            return Err(bad(format!(
                "the op {other} is unknown; use add, set, replace, remove, incr or move"
            )));
        }
    })
}

/// Applies operations in order.
///
/// # Errors
/// 400 if one doesn't fit the document, which may then be half changed.
pub fn apply(document: &mut Value, operations: &[PatchOperation]) -> Result<(), DocumentsError> {
    for operation in operations {
        match operation {
            PatchOperation::Add(path, value) => add(document, path, value.clone())?,
            PatchOperation::Set(path, value) => set(document, path, value.clone())?,
            PatchOperation::Replace(path, value) => {
                *find(document, path)? = value.clone();
            }
            PatchOperation::Remove(path) => {
                remove(document, path)?;
            }
            PatchOperation::Increment(path, by) => increment(document, path, by)?,
            PatchOperation::Move(from, path) => {
                let value = remove(document, from)?;
                add(document, path, value)?;
            }
        }
    }
    Ok(())
}

fn missing(path: &[String]) -> DocumentsError {
    bad(format!("there is nothing at /{}", path.join("/")))
}

fn step<'d>(value: &'d mut Value, name: &str) -> Option<&'d mut Value> {
    match value {
        Value::Object(object) => object.get_mut(name),
        Value::Array(items) => items.get_mut(index(name)?),
        _ => None,
    }
}

fn find<'d>(document: &'d mut Value, path: &[String]) -> Result<&'d mut Value, DocumentsError> {
    path.iter()
        .try_fold(document, |value, name| step(value, name))
        .ok_or_else(|| missing(path))
}

/// The object or array that holds the last step, and the last step.
fn parent<'d, 'p>(
    document: &'d mut Value,
    path: &'p [String],
) -> Result<(&'d mut Value, &'p str), DocumentsError> {
    let (last, before) = path.split_last().ok_or_else(|| missing(path))?;
    let parent = find(document, before)?;
    Ok((parent, last))
}

/// An array index: digits without leading zeros.
fn index(name: &str) -> Option<usize> {
    let plain = name == "0" || !name.starts_with('0');
    (plain && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| name.parse().ok())?
}

fn add(document: &mut Value, path: &[String], value: Value) -> Result<(), DocumentsError> {
    match parent(document, path)? {
        (Value::Object(object), name) => {
            object.insert(name.to_owned(), value);
        }
        (Value::Array(items), "-") => items.push(value),
        (Value::Array(items), name) => match index(name) {
            Some(at) if at <= items.len() => items.insert(at, value),
            _ => return Err(missing(path)),
        },
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn set(document: &mut Value, path: &[String], value: Value) -> Result<(), DocumentsError> {
    match parent(document, path)? {
        (Value::Object(object), name) => {
            object.insert(name.to_owned(), value);
        }
        (Value::Array(items), "-") => items.push(value),
        (Value::Array(items), name) => {
            let item = index(name)
                .and_then(|at| items.get_mut(at))
                .ok_or_else(|| missing(path))?;
            *item = value;
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &[String]) -> Result<Value, DocumentsError> {
    let removed = match parent(document, path)? {
        (Value::Object(object), name) => remove_member(object, name),
        (Value::Array(items), name) => index(name)
            .filter(|at| *at < items.len())
            .map(|at| items.remove(at)),
        _ => None,
    };
    removed.ok_or_else(|| missing(path))
}

fn remove_member(object: &mut Map<String, Value>, name: &str) -> Option<Value> {
    // Keeps the order of the other members.
    object.shift_remove(name)
}

fn increment(document: &mut Value, path: &[String], by: &Number) -> Result<(), DocumentsError> {
    let (parent_value, name) = parent(document, path)?;
    if step(parent_value, name).is_none() {
        return set(document, path, Value::Number(by.clone()));
    }
    let present = find(document, path)?;
    let Value::Number(number) = &*present else {
        return Err(bad(format!("the value at /{} is not a number", path.join("/"))));
    };
    let exact = number
        .as_i64()
        .zip(by.as_i64())
        .and_then(|(a, b)| a.checked_add(b))
        .map(Number::from);
    let sum = exact.or_else(|| {
        let sum = number.as_f64().zip(by.as_f64()).map(|(a, b)| a + b)?;
        Number::from_f64(sum)
    });
    *present = Value::Number(sum.ok_or_else(|| bad("incr leaves the range of numbers"))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn run(document: Value, operations: &Value) -> Result<Value, DocumentsError> {
        let patch = parse(&json!({"operations": operations}), &[vec!["pk".to_owned()]])?;
        let mut document = document;
        apply(&mut document, &patch.operations)?;
        Ok(document)
    }

    #[test]
    fn each_operation() {
        let table = [
            (
                json!({}),
                json!([{"op": "add", "path": "/a", "value": 1}]),
                json!({"a": 1}),
            ),
            (
                json!({"a": [1, 3]}),
                json!([{"op": "add", "path": "/a/1", "value": 2}]),
                json!({"a": [1, 2, 3]}),
            ),
            (
                json!({"a": [1]}),
                json!([{"op": "add", "path": "/a/-", "value": 2}]),
                json!({"a": [1, 2]}),
            ),
            (
                json!({"a": [1, 3]}),
                json!([{"op": "set", "path": "/a/1", "value": 2}]),
                json!({"a": [1, 2]}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "set", "path": "/b", "value": 2}]),
                json!({"a": 1, "b": 2}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "replace", "path": "/a", "value": null}]),
                json!({"a": null}),
            ),
            (
                json!({"a": 1, "b": 2, "c": 3}),
                json!([{"op": "remove", "path": "/a"}]),
                json!({"b": 2, "c": 3}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "remove", "path": "/a/0"}]),
                json!({"a": [2]}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "incr", "path": "/a", "value": 2}]),
                json!({"a": 3}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "incr", "path": "/a", "value": 0.5}]),
                json!({"a": 1.5}),
            ),
            (
                json!({}),
                json!([{"op": "incr", "path": "/a", "value": -1}]),
                json!({"a": -1}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "move", "from": "/a", "path": "/b"}]),
                json!({"b": 1}),
            ),
            (
                json!({"a/b": 1}),
                json!([{"op": "set", "path": "/a~1b", "value": 2}]),
                json!({"a/b": 2}),
            ),
        ];
        for (document, operations, wanted) in table {
            assert_eq!(run(document, &operations).unwrap(), wanted, "{operations}");
        }
    }

    #[test]
    fn refusals() {
        let document = json!({"id": "1", "pk": "x", "a": 1, "l": [1], "s": "x"});
        for operations in [
            json!([]),
            json!([{"op": "add", "path": "/a"}]),
            json!([{"op": "add", "path": "a", "value": 1}]),
            json!([{"op": "add", "path": "/", "value": 1}]),
            json!([{"op": "add", "path": "/x/y", "value": 1}]),
            json!([{"op": "add", "path": "/l/3", "value": 1}]),
            json!([{"op": "add", "path": "/l/01", "value": 1}]),
            json!([{"op": "set", "path": "/l/1", "value": 1}]),
            json!([{"op": "replace", "path": "/x", "value": 1}]),
            json!([{"op": "remove", "path": "/x"}]),
            json!([{"op": "incr", "path": "/s", "value": 1}]),
            json!([{"op": "incr", "path": "/a", "value": "1"}]),
            json!([{"op": "move", "from": "/x", "path": "/y"}]),
            json!([{"op": "move", "from": "/a", "path": "/a/b"}]),
            json!([{"op": "copy", "path": "/a", "value": 1}]),
            json!([{"op": "set", "path": "/id", "value": 1}]),
            json!([{"op": "set", "path": "/pk", "value": 1}]),
            json!([{"op": "set", "path": "/_ts", "value": 1}]),
            Value::Array(vec![json!({"op": "set", "path": "/a", "value": 1}); 11]),
        ] {
            assert!(run(document.clone(), &operations).is_err(), "{operations}");
        }
    }

    proptest! {
        // A model: a flat object as a map.
        #[test]
        fn flat_patches_do_what_a_map_does(steps in prop::collection::vec((0usize..4, "[abc]", 0i64..9), 1..10)) {
            let mut model = std::collections::BTreeMap::<String, i64>::new();
            let mut document = json!({});
            for (op, name, value) in steps {
                let path = format!("/{name}");
                let (operation, allowed) = match op {
                    0 => { (json!({"op": "set", "path": path, "value": value}), true) }
                    1 => { (json!({"op": "replace", "path": path, "value": value}), model.contains_key(&name)) }
                    2 => { (json!({"op": "remove", "path": path}), model.contains_key(&name)) }
                    _ => { (json!({"op": "incr", "path": path, "value": value}), true) }
                };
                let patched = run(document.clone(), &json!([operation]));
                prop_assert_eq!(patched.is_ok(), allowed);
                if let Ok(patched) = patched {
                    match op {
                        2 => { model.remove(&name); }
                        3 => { *model.entry(name).or_default() += value; }
                        _ => { model.insert(name, value); }
                    }
                    document = patched;
                }
                let as_map: std::collections::BTreeMap<String, i64> = serde_json::from_value(document.clone()).unwrap();
                prop_assert_eq!(&as_map, &model);
            }
        }
    }
}
