//! What to read for a query: conditions as ranges of index keys.

use documents_sql::{Access, CompareOp, Path, PathStep, Predicate};
use ledger::{Key, KeyRange};
use serde_json::Value;

use super::composite;
use crate::error::DocumentsError;
use crate::rules::index_terms::{PathHash, path_included};
use crate::rules::index_value;
use crate::rules::partition_key::{Component, PartitionKey};
use crate::store::Container;
use crate::store::keys;

/// Which partitions a query or feed covers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scope {
    /// All.
    Whole,
    /// One partition key.
    Key(PartitionKey),
    /// Those under a prefix of a hierarchical key.
    Prefix(PartitionKey),
    /// A range of effective partition keys: start, and end exclusive.
    Effective(Vec<u8>, Vec<u8>),
}

impl Scope {
    pub(crate) fn new(container: &Container, key: Option<&PartitionKey>) -> Result<Self, DocumentsError> {
        let Some(key) = key else { return Ok(Self::Whole) };
        let paths = container.partition_key.paths.len();
        match key.components().len() {
            // What clients send for "across partitions".
            0 => Ok(Self::Whole),
            count if count == paths => Ok(Self::Key(key.clone())),
            count if count < paths => Ok(Self::Prefix(key.clone())),
            count => Err(DocumentsError::bad_request(format!(
                "Partition key provided has {count} components, the collection's definition {paths}."
            ))),
        }
    }

    /// Whether a document belongs.
    pub(crate) fn admits(&self, container: &Container, document: &Value) -> Result<bool, DocumentsError> {
        let key = || container.partition_key.extract(document);
        Ok(match self {
            Self::Whole => true,
            Self::Key(wanted) => key()? == *wanted,
            Self::Prefix(wanted) => wanted.is_prefix_of(&key()?),
            Self::Effective(start, end) => {
                let effective = container.partition_key.effective(&key()?);
                effective >= *start && effective < *end
            }
        })
    }

    /// Whether all its documents have a value at a path, as a partition key says so.
    fn has(&self, container: &Container, path: &[PathStep]) -> bool {
        let (Self::Key(key) | Self::Prefix(key)) = self else {
            return false;
        };
        let mut levels = container.partition_key.paths.iter().zip(key.components());
        levels.any(|(level, component)| {
            let is_of =
                |(name, step): (&String, &PathStep)| matches!(step, PathStep::Name(step) if step == name);
            *component != Component::Undefined
                && level.len() >= path.len()
                && level.iter().zip(path).all(is_of)
        })
    }

    fn condition(&self, container: &Container) -> Option<Condition> {
        match self {
            Self::Whole => None,
            Self::Key(key) => Some(Condition::point(&keys::partition(
                container.number,
                &container.place(key),
            ))),
            Self::Prefix(key) => {
                let start = container.partition_key.effective(key);
                // Each level's first byte is at most 3F.
                let end = [start.as_slice(), &[0xFF]].concat();
                Some(Condition::range(keys::partition_range(
                    container.number,
                    &start,
                    &end,
                )))
            }
            Self::Effective(start, end) => Some(Condition::range(keys::partition_range(
                container.number,
                start,
                end,
            ))),
        }
    }
}

/// A necessary condition as index keys: matching items are in one of the ranges.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) ranges: Vec<KeyRange>,
    /// Whether the keys of each range are in the order of item numbers: one value per range.
    pub(super) by_number: bool,
    /// The path, if the condition speaks of just one and it has no array in it.
    pub(super) path: Option<Path>,
    /// Which of the query's conjuncts it is made of.
    pub(super) conjuncts: Vec<usize>,
    /// The place of the composite index that it is of, among the container's.
    pub(super) composite: Option<usize>,
}

impl Condition {
    fn point(prefix: &Key) -> Self {
        Self {
            ranges: vec![KeyRange::prefix(prefix)],
            by_number: true,
            path: None,
            conjuncts: Vec::new(),
            composite: None,
        }
    }

    fn range(range: KeyRange) -> Self {
        Self {
            ranges: vec![range],
            by_number: false,
            path: None,
            conjuncts: Vec::new(),
            composite: None,
        }
    }
}

/// What narrows a query.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Narrowing {
    pub(super) conditions: Vec<Condition>,
    /// Set if some condition can't be met at all.
    pub(super) nothing: bool,
}

/// Works out the conditions of a query.
pub(super) fn narrowing(container: &Container, scope: &Scope, access: &Access) -> Narrowing {
    let mut conditions: Vec<Condition> = scope.condition(container).into_iter().collect();
    if container.index_complete {
        for (at, predicate) in access.conjuncts.iter().enumerate() {
            if let Some(mut condition) = condition(container, predicate) {
                condition.conjuncts.push(at);
                merge(&mut conditions, condition);
            }
        }
    }
    conditions.extend(composite::conditions(container, access));
    let nothing = conditions
        .iter()
        .any(|condition| condition.ranges.iter().all(KeyRange::is_empty));
    Narrowing { conditions, nothing }
}

/// Whether items that were kept out of the index are found: unless an index could serve a condition
/// or the order, by anything but ids. Which one does depends on what else there is, and the answer
/// mustn't.
pub(super) fn finds_unindexed(container: &Container, access: &Access) -> bool {
    let by_id = |path: &Path| matches!(path.as_slice(), [PathStep::Name(name)] if name == "id");
    let served = access
        .conjuncts
        .iter()
        .any(|predicate| !speaks_of(predicate, &by_id) && condition(container, predicate).is_some());
    let ordered = access.order_by.iter().flatten();
    let mut ordered = ordered.filter(|(path, _)| path_included(&container.policy, path) && !by_id(path));
    !served && ordered.next().is_none() && !composite::could_serve(container, access)
}

fn speaks_of(predicate: &Predicate, which: &impl Fn(&Path) -> bool) -> bool {
    match predicate {
        Predicate::Compare { path, .. }
        | Predicate::In { path, .. }
        | Predicate::StartsWith { path, .. }
        | Predicate::Defined { path }
        | Predicate::ArrayContains { path, .. } => which(path),
        Predicate::Or(branches) => branches
            .iter()
            .flatten()
            .all(|predicate| speaks_of(predicate, which)),
    }
}

/// Adds a condition; two ranges over the same path become their intersection.
fn merge(conditions: &mut Vec<Condition>, condition: Condition) {
    if !condition.by_number
        && condition.path.is_some()
        && let [range] = condition.ranges.as_slice()
        && let Some(earlier) = conditions
            .iter_mut()
            .find(|earlier| !earlier.by_number && earlier.path == condition.path)
        && let [one] = earlier.ranges.as_mut_slice()
    {
        *one = intersect(one, range);
        earlier.conjuncts.extend(&condition.conjuncts);
    } else {
        conditions.push(condition);
    }
}

/// What both ranges cover.
pub(super) fn intersect(a: &KeyRange, b: &KeyRange) -> KeyRange {
    let end = match (&a.end, &b.end) {
        (None, end) | (end, None) => end.clone(),
        (Some(a), Some(b)) => Some(a.min(b).clone()),
    };
    KeyRange {
        start: a.start.clone().max(b.start.clone()),
        end,
    }
}

fn condition(container: &Container, predicate: &Predicate) -> Option<Condition> {
    match predicate {
        Predicate::Compare { path, op, value } => {
            let range = compare_range(container, path, *op, value)?;
            Some(Condition {
                ranges: vec![range],
                by_number: *op == CompareOp::Equal,
                path: scalar_path(path),
                conjuncts: Vec::new(),
                composite: None,
            })
        }
        Predicate::In { path, values } => {
            let ranges: Option<Vec<_>> = values
                .iter()
                .map(|value| compare_range(container, path, CompareOp::Equal, value))
                .collect();
            let mut ranges = ranges?;
            ranges.sort_by(|a, b| a.start.cmp(&b.start));
            ranges.dedup();
            // An IN of nothing still needs its path to be indexed to say so.
            path_included(&container.policy, path).then_some(Condition {
                ranges,
                by_number: true,
                path: None,
                conjuncts: Vec::new(),
                composite: None,
            })
        }
        Predicate::StartsWith { path, prefix } => {
            let term = term(container, path, &index_value::encode_string_prefix(prefix))?;
            Some(Condition {
                ranges: vec![KeyRange::prefix(&term)],
                by_number: false,
                path: scalar_path(path),
                conjuncts: Vec::new(),
                composite: None,
            })
        }
        Predicate::Defined { path } => {
            let term = term(container, path, &[])?;
            Some(Condition {
                ranges: vec![KeyRange::prefix(&term)],
                by_number: false,
                path: scalar_path(path),
                conjuncts: Vec::new(),
                composite: None,
            })
        }
        Predicate::ArrayContains { path, value } => {
            let mut path = path.clone();
            path.push(PathStep::Element);
            let range = compare_range(container, &path, CompareOp::Equal, value)?;
            Some(Condition {
                ranges: vec![range],
                by_number: true,
                path: None,
                conjuncts: Vec::new(),
                composite: None,
            })
        }
        Predicate::Or(branches) => {
            let mut ranges = Vec::new();
            let mut by_number = true;
            for branch in branches {
                let best = branch
                    .iter()
                    .filter_map(|predicate| condition(container, predicate))
                    .min_by_key(|condition| (!condition.by_number, condition.ranges.len()))?;
                by_number &= best.by_number;
                ranges.extend(best.ranges);
            }
            ranges.sort_by(|a, b| a.start.cmp(&b.start));
            ranges.dedup();
            Some(Condition {
                ranges,
                by_number,
                path: None,
                conjuncts: Vec::new(),
                composite: None,
            })
        }
    }
}

fn scalar_path(path: &Path) -> Option<Path> {
    path.iter()
        .all(|step| matches!(step, PathStep::Name(_)))
        .then(|| path.clone())
}

/// The key prefix of a path's entries whose encoded values begin with `value`; `None` if the
/// index doesn't hold the path.
fn term(container: &Container, path: &[PathStep], value: &[u8]) -> Option<Key> {
    path_included(&container.policy, path)
        .then(|| keys::index_term(container.index, &[&PathHash::of(path).to_bytes(), value].concat()))
}

fn compare_range(container: &Container, path: &[PathStep], op: CompareOp, value: &Value) -> Option<KeyRange> {
    let encoded = index_value::encode(value);
    // Documents that share a cut string may be on either side of the constant.
    let cut = index_value::is_cut(&encoded);
    let (low, high) = index_value::type_bounds(value);
    let exactly = KeyRange::prefix(&term(container, path, &encoded)?);
    let low = term(container, path, &[low])?;
    let high = term(container, path, &[high])?;
    let behind = exactly.end.clone()?;
    Some(match op {
        CompareOp::Equal => exactly,
        CompareOp::Less if cut => KeyRange::between(low, behind),
        CompareOp::Less => KeyRange::between(low, exactly.start),
        CompareOp::LessOrEqual => KeyRange::between(low, behind),
        CompareOp::Greater if cut => KeyRange::between(exactly.start, high),
        CompareOp::Greater => KeyRange::between(behind, high),
        CompareOp::GreaterOrEqual => KeyRange::between(exactly.start, high),
    })
}

/// The ORDER BY path that the index of single paths could serve, and whether it goes down.
pub(super) fn index_order_path<'a>(container: &Container, access: &'a Access) -> Option<(&'a Path, bool)> {
    match access.order_by.as_deref() {
        Some([(path, descending)])
            if container.index_complete
                && path_included(&container.policy, path)
                && scalar_path(path).is_some() =>
        {
            Some((path, *descending))
        }
        _ => None,
    }
}

/// The part of a path's index that meets the conditions on that path, and whether items without
/// the property may match too.
pub(super) fn order_range(
    container: &Container,
    scope: &Scope,
    access: &Access,
    path: &Path,
    narrowing: &Narrowing,
) -> (KeyRange, bool) {
    let mut range = KeyRange::prefix(&keys::index_term(container.index, &PathHash::of(path).to_bytes()));
    let mut undefined_too = !is_always_there(path)
        && !scope.has(container, path)
        && !access.defined.iter().any(|defined| defined.starts_with(path));
    for condition in &narrowing.conditions {
        if condition.path.as_ref() == Some(path)
            && let [only] = condition.ranges.as_slice()
        {
            range = intersect(&range, only);
            undefined_too = false;
        }
    }
    (range, undefined_too)
}

/// Whether every item has a value there: of the properties that the service sees to, the index holds
/// these.
fn is_always_there(path: &[PathStep]) -> bool {
    matches!(path, [PathStep::Name(name)] if name == "id" || name == "_ts")
}
