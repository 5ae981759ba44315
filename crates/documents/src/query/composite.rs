//! What a composite index can do for a query: conditions that bind its first columns by equality, and
//! perhaps the next one by a range, are one range of its keys; ORDER BY of its columns, or of those
//! behind columns that are bound by equality, is a walk through it.
//!
//! The service documents a composite index for ORDER BY of exactly its paths, and for filters that
//! name them all. Part of them is enough here, as the answer is the same.

use std::cmp::Reverse;
use std::collections::HashSet;

use documents_sql::{Access, CompareOp, Path, PathStep, Predicate};
use ledger::{Key, KeyRange, KeyWriter};
use serde_json::Value;

use super::plan::{Condition, intersect};
use crate::limits::COMPOSITE_INDEX_PATHS_MAX;
use crate::rules::index_columns::{IndexColumn, IndexColumns, invert};
use crate::rules::index_terms::path_included;
use crate::rules::index_value;
use crate::store::Container;
use crate::store::keys;

/// Composite indexes that are told to be missing; a header has no room for more.
const MISSING_MAX: usize = 100;

/// How a query's conjuncts bind the columns of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bound {
    /// For each of the first columns the conjunct that says what it equals.
    equal: Vec<usize>,
    /// The conjuncts that are ranges of the column behind these.
    ranges: Vec<usize>,
}

impl Bound {
    pub(super) fn new(columns: &IndexColumns, access: &Access) -> Self {
        let mut bound = Self::default();
        for column in columns.as_slice() {
            match equality(column, access) {
                Some((at, _)) => bound.equal.push(at),
                None => {
                    let ranges = access.conjuncts.iter().enumerate();
                    let ranges = ranges.filter(|(_, predicate)| edges(columns, column, predicate).is_some());
                    bound.ranges.extend(ranges.map(|(at, _)| at));
                    break;
                }
            }
        }
        bound
    }

    /// Which conjuncts.
    pub(super) fn conjuncts(&self) -> impl Iterator<Item = usize> {
        self.equal.iter().chain(&self.ranges).copied()
    }

    /// How many columns.
    fn columns(&self) -> usize {
        self.equal.len() + usize::from(!self.ranges.is_empty())
    }

    /// Whether it covers all conjuncts of a condition that are known.
    pub(super) fn covers(&self, condition: &Condition) -> bool {
        let mut conjuncts = condition.conjuncts.iter();
        !condition.conjuncts.is_empty() && conjuncts.all(|at| self.conjuncts().any(|own| own == *at))
    }

    /// Whether it narrows more than the index of single paths could: two columns, or one that isn't in
    /// that.
    fn narrows(&self, container: &Container, columns: &IndexColumns) -> bool {
        let mut bound = columns.as_slice().iter().take(self.columns());
        self.columns() > 1 || bound.any(|column| !path_included(&container.policy, &column.to_path()))
    }

    /// The keys of the entries that meet the conjuncts.
    pub(super) fn range(&self, index: u32, columns: &IndexColumns, access: &Access) -> KeyRange {
        let mut term = Vec::new();
        let mut rest = columns.as_slice().iter();
        for column in rest.by_ref().take(self.equal.len()) {
            if let Some((_, value)) = equality(column, access) {
                columns.write(&mut term, column, Some(value));
            }
        }
        let prefix = keys::index_term(index, &term);
        let mut range = KeyRange::prefix(&prefix);
        if let Some(column) = rest.next() {
            for predicate in self.ranges.iter().filter_map(|at| access.conjuncts.get(*at)) {
                if let Some((low, high)) = edges(columns, column, predicate) {
                    range = intersect(&range, &KeyRange::between(low.key(&prefix), high.key(&prefix)));
                }
            }
        }
        range
    }
}

/// The conjunct that says what a column equals.
fn equality<'a>(column: &IndexColumn, access: &'a Access) -> Option<(usize, &'a Value)> {
    let mut conjuncts = access.conjuncts.iter().enumerate();
    conjuncts.find_map(|(at, predicate)| match predicate {
        Predicate::Compare {
            path,
            op: CompareOp::Equal,
            value,
        } if column.is_of(path) => Some((at, value)),
        _ => None,
    })
}

/// Whether conjuncts say what a column equals, and the index tells that from other values: what shares
/// a cut string would all be read as one group.
fn is_one_value(string_bytes_max: usize, column: &IndexColumn, access: &Access) -> bool {
    equality(column, access).is_some_and(|(_, value)| {
        let mut encoded = Vec::new();
        index_value::write_within(&mut encoded, value, string_bytes_max);
        !index_value::is_cut(&encoded)
    })
}

/// A place among encoded values: before or behind all that begin so.
struct Edge {
    bytes: Vec<u8>,
    behind: bool,
}

impl Edge {
    fn before(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            behind: false,
        }
    }

    fn behind(bytes: &[u8]) -> Self {
        Self {
            behind: true,
            ..Self::before(bytes)
        }
    }

    /// The same place among inverted values.
    fn turned(mut self) -> Self {
        invert(&mut self.bytes);
        self.behind = !self.behind;
        self
    }

    fn key(&self, prefix: &Key) -> Key {
        let key = KeyWriter::after(prefix).raw(&self.bytes).finish();
        let behind = KeyRange::prefix(&key).end.filter(|_| self.behind);
        behind.unwrap_or(key)
    }
}

/// Between which values of a column a predicate's lie, in the order of the index; `None` if it is no
/// range of that column.
fn edges(columns: &IndexColumns, column: &IndexColumn, predicate: &Predicate) -> Option<(Edge, Edge)> {
    let string_bytes_max = columns.string_bytes_max();
    let (low, high) = match predicate {
        Predicate::Compare { path, op, value } if column.is_of(path) => {
            let mut encoded = Vec::new();
            index_value::write_within(&mut encoded, value, string_bytes_max);
            // Items that share a cut string may be on either side of the constant.
            let cut = index_value::is_cut(&encoded);
            let (first, behind) = index_value::type_bounds(value);
            let (first, behind) = (Edge::before(&[first]), Edge::before(&[behind]));
            match op {
                CompareOp::Equal => (Edge::before(&encoded), Edge::behind(&encoded)),
                CompareOp::Less if !cut => (first, Edge::before(&encoded)),
                CompareOp::Less | CompareOp::LessOrEqual => (first, Edge::behind(&encoded)),
                CompareOp::Greater if !cut => (Edge::behind(&encoded), behind),
                CompareOp::Greater | CompareOp::GreaterOrEqual => (Edge::before(&encoded), behind),
            }
        }
        Predicate::StartsWith { path, prefix } if column.is_of(path) => {
            let mut encoded = Vec::new();
            index_value::write_string_prefix(&mut encoded, prefix, string_bytes_max);
            (Edge::before(&encoded), Edge::behind(&encoded))
        }
        Predicate::Defined { path } if column.is_of(path) => {
            let (first, behind) = index_value::DEFINED_BOUNDS;
            (Edge::before(&[first]), Edge::before(&[behind]))
        }
        _ => return None,
    };
    Some(if column.is_inverted() {
        (high.turned(), low.turned())
    } else {
        (low, high)
    })
}

/// The conditions of a query that composite indexes meet as one: those that bind most columns first,
/// and none that adds nothing.
pub(super) fn conditions(container: &Container, access: &Access) -> Vec<Condition> {
    let complete = container.composites.iter().enumerate();
    let mut found: Vec<_> = complete
        .filter(|(_, composite)| composite.complete)
        .map(|(at, composite)| (at, composite, Bound::new(&composite.columns, access)))
        .filter(|(_, composite, bound)| bound.narrows(container, &composite.columns))
        .collect();
    found.sort_by_key(|(_, _, bound)| Reverse(bound.columns()));
    let mut conditions: Vec<Condition> = Vec::new();
    for (at, composite, bound) in found {
        let known = |conjunct: usize| {
            let mut conditions = conditions.iter();
            conditions.any(|condition| condition.conjuncts.contains(&conjunct))
        };
        if bound.conjuncts().all(known) {
            continue;
        }
        conditions.push(Condition {
            ranges: vec![bound.range(composite.index, &composite.columns, access)],
            by_number: bound.equal.len() == composite.columns.as_slice().len(),
            path: None,
            conjuncts: bound.conjuncts().collect(),
            composite: Some(at),
        });
    }
    conditions
}

/// Whether the index gives the query's order, and then whether it is walked backward.
pub(super) fn order(columns: &IndexColumns, access: &Access) -> Option<bool> {
    let terms = access.order_by.as_deref()?;
    // Ties are in the first term's direction, and numbers in the walk's.
    let (_, descending) = terms.first()?;
    let string_bytes_max = columns.string_bytes_max();
    let columns = columns.as_slice();
    let (bound, ordering) = columns.split_at_checked(columns.len().checked_sub(terms.len())?)?;
    let fits = ordering
        .iter()
        .zip(terms)
        .all(|(column, (path, down))| column.is_of(path) && (column.is_inverted() != *descending) == *down);
    (fits
        && bound
            .iter()
            .all(|column| is_one_value(string_bytes_max, column, access)))
    .then_some(*descending)
}

/// Whether composite indexes of the container's policy, complete or not, could serve a condition or
/// the order.
pub(super) fn could_serve(container: &Container, access: &Access) -> bool {
    container.order_rules.indexes().iter().any(|columns| {
        Bound::new(columns, access).narrows(container, columns) || order(columns, access).is_some()
    })
}

/// The composite indexes that a container's policy hasn't got and that would meet a query's conditions
/// as one: the paths that equal something, then one of those that have a range.
pub(super) fn missing<'a>(container: &Container, access: &'a Access) -> Vec<Vec<&'a Path>> {
    let (mut equal, mut ranges): (Vec<&Path>, Vec<&Path>) = (Vec::new(), Vec::new());
    let (mut equal_seen, mut ranges_seen) = (HashSet::new(), HashSet::new());
    for predicate in &access.conjuncts {
        let (list, seen, path) = match predicate {
            Predicate::Compare {
                path,
                op: CompareOp::Equal,
                ..
            } => (&mut equal, &mut equal_seen, path),
            Predicate::Compare { path, .. } | Predicate::StartsWith { path, .. } => {
                (&mut ranges, &mut ranges_seen, path)
            }
            _ => continue,
        };
        if !path.contains(&PathStep::Element) && seen.insert(path) {
            list.push(path);
        }
        // A query may have any number of conditions; no index has that many paths.
        if equal.len() > COMPOSITE_INDEX_PATHS_MAX {
            return Vec::new();
        }
    }
    ranges.retain(|path| !equal_seen.contains(path));
    ranges.truncate(MISSING_MAX);
    let mut wanted: Vec<Vec<&Path>> = ranges
        .into_iter()
        .map(|range| equal.iter().copied().chain([range]).collect())
        .collect();
    if wanted.is_empty() {
        wanted.push(equal);
    }
    let indexes = container.order_rules.indexes().iter();
    let bound: Vec<&[IndexColumn]> = indexes
        .filter_map(|columns| {
            let bound = Bound::new(columns, access).columns();
            columns.as_slice().get(..bound)
        })
        .collect();
    let sizes = 2..=COMPOSITE_INDEX_PATHS_MAX;
    wanted.retain(|paths| sizes.contains(&paths.len()) && !bound.iter().any(|columns| have(columns, paths)));
    wanted
}

/// Whether all these paths are among columns.
fn have(columns: &[IndexColumn], paths: &[&Path]) -> bool {
    paths
        .iter()
        .all(|path| columns.iter().any(|column| column.is_of(path)))
}
