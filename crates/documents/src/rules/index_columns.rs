//! The columns of an index that orders items by several paths: how an item's values become one key,
//! and in what order items with that key are.
//!
//! An index serves its order and the exact reverse, so what counts is each path's direction relative
//! to the first one's: `(a DESC, b ASC)` is kept as `(a ASC, b DESC)` and walked backward. As the
//! item's number ends the key, ties then come out in the direction of the first path, which is the
//! query language's rule. The bytes of a path that goes against the first one are inverted.
//!
//! Invariant: of two items, the byte order of what is written is their order, unless both share
//! everything up to and with a column whose value isn't whole there (see
//! [`IndexColumns::inexact`]); who walks reads those together and puts them in order.

use std::cmp::Ordering;

use documents_sql::{Path, PathStep, compare_values};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::index_value;
use crate::limits::{CONTINUATION_POSITION_BYTES_MAX, INDEX_STRING_BYTES_MAX, ITEM_NUMBER_BYTES_MAX};

/// What a string's encoding has beside its text: type, and end of a cut string.
const AROUND_TEXT_BYTES: usize = 3;

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexColumn {
    /// The path's names.
    path: Vec<String>,
    /// Whether it goes against the first column.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    inverted: bool,
}

/// A column of a term whose value isn't whole there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inexact<'t> {
    /// The term up to and with it.
    pub(crate) shared: &'t [u8],
    /// Its place among the columns.
    pub(crate) column: usize,
    /// Whether it is a cut string; else a structure, and one with that hash is most likely the same.
    pub(crate) cut: bool,
}

/// Columns in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct IndexColumns(Vec<IndexColumn>);

impl IndexColumn {
    /// Whether it holds the values of a path.
    pub(crate) fn is_of(&self, path: &[PathStep]) -> bool {
        self.path.len() == path.len()
            && self
                .path
                .iter()
                .zip(path)
                .all(|(name, step)| matches!(step, PathStep::Name(found) if found == name))
    }

    /// Its path.
    pub(crate) fn to_path(&self) -> Path {
        self.path.iter().cloned().map(PathStep::Name).collect()
    }

    /// Whether it goes against the first column.
    pub(crate) fn is_inverted(&self) -> bool {
        self.inverted
    }

    fn value<'d>(&self, document: &'d Value) -> Option<&'d Value> {
        self.path.iter().try_fold(document, |value, name| value.get(name))
    }
}

impl IndexColumns {
    /// Of paths and whether each goes down.
    pub(crate) fn new<'p>(paths: impl IntoIterator<Item = (&'p Vec<String>, bool)>) -> Self {
        let mut first = None;
        let columns = paths.into_iter().map(|(path, descending)| IndexColumn {
            path: path.clone(),
            inverted: *first.get_or_insert(descending) != descending,
        });
        Self(columns.collect())
    }

    /// Of one path; `None` if there is an array in it.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        let names: Option<Vec<String>> = path
            .iter()
            .map(|step| match step {
                PathStep::Name(name) => Some(name.clone()),
                PathStep::Element => None,
            })
            .collect();
        Some(Self::new([(&names?, false)]))
    }

    pub(crate) fn as_slice(&self) -> &[IndexColumn] {
        &self.0
    }

    /// Bytes of a string that are written: the whole key fits a continuation token.
    pub(crate) fn string_bytes_max(&self) -> usize {
        let each = (CONTINUATION_POSITION_BYTES_MAX - ITEM_NUMBER_BYTES_MAX) / self.0.len().max(1);
        each.saturating_sub(AROUND_TEXT_BYTES).min(INDEX_STRING_BYTES_MAX)
    }

    /// What is written of an item; `ts` is its `_ts`, which a document on its way in hasn't got yet.
    pub(crate) fn term(&self, document: &Value, ts: i64) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 * self.0.len());
        for column in &self.0 {
            if matches!(column.path.as_slice(), [name] if name == "_ts") {
                self.write(&mut out, column, Some(&Value::from(ts)));
            } else {
                self.write(&mut out, column, column.value(document));
            }
        }
        out
    }

    /// The names of the first column's path.
    pub(crate) fn first_path(&self) -> &[String] {
        self.0.first().map_or(&[], |column| &column.path)
    }

    /// The names that the columns' paths begin with.
    pub(crate) fn top_level(&self) -> impl Iterator<Item = &str> {
        let firsts = self.0.iter().filter_map(|column| column.path.first());
        firsts.map(String::as_str)
    }

    /// Whether a document has nothing at the first column's path.
    pub(crate) fn lacks_first(&self, document: &Value) -> bool {
        let first = self.0.first();
        first.is_none_or(|column| column.value(document).is_none())
    }

    /// Appends a column's value.
    pub(crate) fn write(&self, out: &mut Vec<u8>, column: &IndexColumn, value: Option<&Value>) {
        let start = out.len();
        match value {
            None => out.push(index_value::UNDEFINED),
            Some(value) => index_value::write_within(out, value, self.string_bytes_max()),
        }
        if column.inverted {
            invert(out.get_mut(start..).unwrap_or_default());
        }
    }

    /// The columns of a term that items may share though their values differ, the first one first.
    pub(crate) fn inexact<'t>(&'t self, term: &'t [u8]) -> impl Iterator<Item = Inexact<'t>> {
        let mut done = 0;
        let columns = self.0.iter().enumerate().map_while(move |(at, column)| {
            let flip = if column.inverted { 0xFF } else { 0 };
            let rest = term.get(done..)?.iter().map(|byte| byte ^ flip);
            let cut = rest.clone().next().is_some_and(index_value::begins_string);
            let (length, exact) = index_value::extent(rest)?;
            done += length;
            let shared = term.get(..done)?;
            Some((!exact).then_some(Inexact {
                shared,
                column: at,
                cut,
            }))
        });
        columns.flatten()
    }

    /// The columns' values of a document.
    pub(crate) fn values(&self, document: &Value) -> Vec<Option<Value>> {
        let values = self.0.iter().map(|column| column.value(document).cloned());
        values.collect()
    }

    /// The order of two items' values.
    pub(crate) fn compare(&self, a: &[Option<Value>], b: &[Option<Value>]) -> Ordering {
        let mut orders = self.0.iter().zip(a.iter().zip(b)).map(|(column, (a, b))| {
            let order = compare_values(a.as_ref(), b.as_ref());
            if column.inverted { order.reverse() } else { order }
        });
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Turns the order of what begins with these bytes.
pub(crate) fn invert(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = !*byte;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn columns(directions: &[bool]) -> IndexColumns {
        let paths: Vec<Vec<String>> = (0..directions.len()).map(|at| vec![format!("p{at}")]).collect();
        IndexColumns::new(paths.iter().zip(directions.iter().copied()))
    }

    fn value() -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            2 => Just(None),
            1 => Just(Some(Value::Null)),
            1 => any::<bool>().prop_map(|value| Some(value.into())),
            3 => (-2i64..3).prop_map(|value| Some(value.into())),
            1 => any::<i64>().prop_map(|value| Some(value.into())),
            1 => prop::sample::select(vec![9_007_199_254_740_992_i64, 9_007_199_254_740_993]).prop_map(|value| Some(value.into())),
            3 => "[a\u{0}\u{1}\u{e000}\u{10000}]{0,3}".prop_map(|value| Some(value.into())),
            2 => "[ab]".prop_map(|end| Some(format!("{}{end}", "x".repeat(300)).into())),
            1 => (0i64..3).prop_map(|value| Some(json!([value]))),
            1 => (0i64..2).prop_map(|value| Some(json!({"a": 9_007_199_254_740_992_i64 + value}))),
        ]
    }

    fn document(values: Vec<Option<Value>>) -> Value {
        let values = values.into_iter().enumerate();
        let members = values.filter_map(|(at, value)| Some((format!("p{at}"), value?)));
        Value::Object(members.collect())
    }

    proptest! {
        #[test]
        fn byte_order_is_the_order_of_items(
            directions in prop::collection::vec(any::<bool>(), 1..5),
            a in prop::collection::vec(value(), 4),
            b in prop::collection::vec(value(), 4),
        ) {
            let columns = columns(&directions);
            let (a, b) = (document(a), document(b));
            let (x, y) = (columns.term(&a, 0), columns.term(&b, 0));
            // As ORDER BY says it: each column in its direction, or all of them turned.
            let mut wanted = Ordering::Equal;
            for (at, descending) in directions.iter().enumerate() {
                let name = format!("p{at}");
                let order = compare_values(a.get(&name), b.get(&name));
                wanted = wanted.then(if *descending == directions[0] { order } else { order.reverse() });
            }
            prop_assert_eq!(columns.compare(&columns.values(&a), &columns.values(&b)), wanted);
            let shared = |term| columns.inexact(term).next().map(|inexact| inexact.shared.to_vec());
            match (shared(&x), shared(&y)) {
                (Some(shared), Some(other)) if shared == other => {}
                _ => prop_assert_eq!(x.cmp(&y), wanted, "{} {}", a, b),
            }
            prop_assert!(x == y || !x.starts_with(&y));
        }
    }

    #[test]
    fn a_key_fits_a_token() {
        for count in 1..=crate::limits::COMPOSITE_INDEX_PATHS_MAX {
            let columns = columns(&vec![false; count]);
            let long = document(vec![Some(json!("\0".repeat(500))); count]);
            let length = columns.term(&long, 0).len() + ITEM_NUMBER_BYTES_MAX;
            assert!(length <= CONTINUATION_POSITION_BYTES_MAX, "{count}: {length}");
            assert!(columns.string_bytes_max() >= 40, "an id or a date is whole");
        }
    }

    #[test]
    fn turning_all_directions_is_the_same_index() {
        assert_eq!(columns(&[false, true]), columns(&[true, false]));
        assert_ne!(columns(&[false, true]), columns(&[false, false]));
        let text = serde_json::to_string(&columns(&[true, false])).unwrap();
        assert_eq!(text, r#"[{"path":["p0"]},{"path":["p1"],"inverted":true}]"#);
        assert_eq!(
            serde_json::from_str::<IndexColumns>(&text).unwrap(),
            columns(&[true, false])
        );
    }

    #[test]
    fn the_time_of_writing_is_a_column_too() {
        let columns = IndexColumns::new([(&vec!["a".to_owned()], false), (&vec!["_ts".to_owned()], false)]);
        let stored = json!({"a": 1, "_ts": 7});
        assert_eq!(columns.term(&json!({"a": 1}), 7), columns.term(&stored, 7));
        assert_ne!(columns.term(&json!({"a": 1}), 7), columns.term(&stored, 8));
    }
}
