//! Arrays as sets: deep equality, each value once, in the order of first appearance.

use serde_json::Value;

use super::{Args, FunctionSpec, strict};
use crate::distinct::DistinctSet;

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("SETUNION", 2, 2, |args| {
        Some(distinct(args.array(0)?.iter().chain(args.array(1)?), |_| true))
    }),
    strict("SETINTERSECT", 2, 2, |args| {
        let second = set_of(args, 1)?;
        Some(distinct(args.array(0)?.iter(), |value| second.contains(value)))
    }),
    strict("SETDIFFERENCE", 2, 2, |args| {
        let second = set_of(args, 1)?;
        Some(distinct(args.array(0)?.iter(), |value| !second.contains(value)))
    }),
    strict("SETEQUAL", 2, 2, |args| {
        let (first, second) = (set_of(args, 0)?, set_of(args, 1)?);
        let same = args.array(0)?.iter().all(|value| second.contains(value))
            && args.array(1)?.iter().all(|value| first.contains(value));
        Some(Value::Bool(same))
    }),
];

fn set_of(args: &Args<'_>, index: usize) -> Option<DistinctSet> {
    let mut set = DistinctSet::default();
    for value in args.array(index)? {
        set.insert(value);
    }
    Some(set)
}

fn distinct<'v>(values: impl Iterator<Item = &'v Value>, keep: impl Fn(&Value) -> bool) -> Value {
    let mut seen = DistinctSet::default();
    Value::Array(
        values
            .filter(|value| keep(value) && seen.insert(value).is_some())
            .cloned()
            .collect(),
    )
}
