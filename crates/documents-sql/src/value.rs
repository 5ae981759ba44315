//! Order and equality of JSON values as the query language has them; undefined is `None`.
//!
//! One total order serves ORDER BY, MIN, MAX, index and resume:
//! undefined < null < false < true < number < string < array < object. Strings go by UTF-16
//! unit, arrays and objects by their structural hash, as the service does. `Equal` means deep
//! equality: number 1 is 1.0, key order is ignored.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::hash::structural_hash;
use crate::number::compare_numbers;

/// A value in evaluation: `None` is undefined; borrowed as long as possible, so that documents
/// are not copied to be looked at.
pub(crate) type Datum<'a> = Option<Cow<'a, Value>>;

fn rank(value: Option<&Value>) -> u8 {
    match value {
        None => 0,
        Some(Value::Null) => 1,
        Some(Value::Bool(false)) => 2,
        Some(Value::Bool(true)) => 3,
        Some(Value::Number(_)) => 4,
        Some(Value::String(_)) => 5,
        Some(Value::Array(_)) => 6,
        Some(Value::Object(_)) => 7,
    }
}

/// The total order of values; `None` is undefined and sorts first.
#[must_use]
pub fn compare_values(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => compare_numbers(a, b),
        (Some(Value::String(a)), Some(Value::String(b))) => compare_strings(a, b),
        (Some(a @ (Value::Array(_) | Value::Object(_))), Some(b @ (Value::Array(_) | Value::Object(_))))
            if rank(Some(a)) == rank(Some(b)) =>
        {
            structural_hash(a)
                .cmp(&structural_hash(b))
                .then_with(|| compare_structures(a, b))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// Strings by UTF-16 code unit: differs from UTF-8 order only where a surrogate pair meets
/// U+E000 and above.
#[must_use]
pub fn compare_strings(a: &str, b: &str) -> Ordering {
    let differing = a.bytes().zip(b.bytes()).position(|(x, y)| x != y);
    match differing {
        None => a.len().cmp(&b.len()),
        Some(at) => {
            // Only lead bytes EE, EF (U+E000..U+FFFF) against F0..F4 (beyond U+FFFF) turn round.
            let (x, y) = (a.as_bytes().get(at).copied(), b.as_bytes().get(at).copied());
            match (x, y) {
                (Some(0xEE | 0xEF), Some(0xF0..)) => Ordering::Greater,
                (Some(0xF0..), Some(0xEE | 0xEF)) => Ordering::Less,
                _ => x.cmp(&y),
            }
        }
    }
}

/// Breaks ties of the structural hash: 2^53 and 2^53 + 1 hash alike, and hashes can collide.
fn compare_structures(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            let differing = a
                .iter()
                .zip(b)
                .map(|(x, y)| compare_inside(x, y))
                .find(|o| o.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let (a, b) = (sorted_entries(a), sorted_entries(b));
            let differing = a
                .iter()
                .zip(&b)
                .map(|((ka, va), (kb, vb))| ka.cmp(kb).then_with(|| compare_inside(va, vb)))
                .find(|o| o.is_ne());
            differing.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(Some(a)).cmp(&rank(Some(b))),
    }
}

/// Inside a structure plain structural order is enough, and spares hashing each level again.
fn compare_inside(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => compare_structures(a, b),
        _ => compare_values(Some(a), Some(b)),
    }
}

fn sorted_entries(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|entry| entry.0);
    entries
}

/// `=` of two defined values of one type; values of different types are not equal.
#[must_use]
pub fn deep_equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b).is_eq(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| deep_equal(x, y))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, x)| b.get(key).is_some_and(|y| deep_equal(x, y)))
        }
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Null, Value::Null) => true,
        _ => false,
    }
}

/// Whether `<` and its kin are defined between the two: values of one type.
pub(crate) fn same_type(a: &Value, b: &Value) -> bool {
    matches!(
        (a, b),
        (Value::Null, Value::Null)
            | (Value::Bool(_), Value::Bool(_))
            | (Value::Number(_), Value::Number(_))
            | (Value::String(_), Value::String(_))
            | (Value::Array(_), Value::Array(_))
            | (Value::Object(_), Value::Object(_))
    )
}

/// Roughly what a value occupies in memory, in bytes.
pub(crate) fn value_bytes(value: &Value) -> usize {
    const NODE_BYTES: usize = 40;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => NODE_BYTES,
        Value::String(text) => NODE_BYTES + text.len(),
        Value::Array(items) => NODE_BYTES + items.iter().map(value_bytes).sum::<usize>(),
        Value::Object(map) => {
            NODE_BYTES
                + map
                    .iter()
                    .map(|(key, value)| NODE_BYTES + key.len() + value_bytes(value))
                    .sum::<usize>()
        }
    }
}
