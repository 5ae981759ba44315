//! Aggregates and the groups they are kept for.
//!
//! Semantics: COUNT counts defined values; SUM and AVG skip undefined, and one value that is no
//! number makes them undefined; MIN and MAX go by the total order of scalars, and one array or
//! object makes them undefined. Without GROUP BY there is always exactly one group.

use std::collections::HashMap;

use serde_json::Value;

use crate::distinct::DistinctSet;
use crate::error::ExecError;
use crate::eval::{Env, Runtime, eval};
use crate::hash::row_hash;
use crate::number::Num;
use crate::program::Grouping;
use crate::value::{compare_values, deep_equal, value_bytes};

/// The aggregate functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateKind {
    Average,
    Count,
    CountIf,
    Max,
    Min,
    Sum,
    MakeList,
    MakeSet,
}

impl AggregateKind {
    const NAMES: [(&str, Self); 8] = [
        ("AVG", Self::Average),
        ("COUNT", Self::Count),
        ("COUNTIF", Self::CountIf),
        ("MAX", Self::Max),
        ("MIN", Self::Min),
        ("SUM", Self::Sum),
        ("MAKELIST", Self::MakeList),
        ("MAKESET", Self::MakeSet),
    ];

    /// All names.
    pub(crate) fn names() -> [&'static str; 8] {
        Self::NAMES.map(|(name, _)| name)
    }

    /// By the name in a query, in any case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, kind)| *kind)
    }
}

/// A running aggregate.
#[derive(Debug)]
enum Accumulator {
    Count(u64),
    CountIf(u64),
    /// `None` once something was no number.
    Sum(Option<Num>),
    Average(Option<(Num, u64)>),
    /// `None` outside: an array or object was met. `None` inside: nothing yet.
    Extreme {
        best: Option<Option<Value>>,
        largest: bool,
    },
    List(Vec<Value>),
    Set(DistinctSet, Vec<Value>),
}

impl Accumulator {
    fn new(kind: AggregateKind) -> Self {
        match kind {
            AggregateKind::Average => Self::Average(Some((Num::Int(0), 0))),
            AggregateKind::Count => Self::Count(0),
            AggregateKind::CountIf => Self::CountIf(0),
            AggregateKind::Max => Self::Extreme {
                best: Some(None),
                largest: true,
            },
            AggregateKind::Min => Self::Extreme {
                best: Some(None),
                largest: false,
            },
            AggregateKind::Sum => Self::Sum(Some(Num::Int(0))),
            AggregateKind::MakeList => Self::List(Vec::new()),
            AggregateKind::MakeSet => Self::Set(DistinctSet::default(), Vec::new()),
        }
    }

    /// Takes in a defined value; gives the bytes it now keeps in addition.
    fn add(&mut self, value: &Value) -> usize {
        match self {
            Self::Count(count) => *count += 1,
            Self::CountIf(count) => *count += u64::from(value == &Value::Bool(true)),
            Self::Sum(sum) => *sum = sum.and_then(|sum| Num::of(value).map(|n| sum.add(n))),
            Self::Average(state) => {
                *state = state.and_then(|(sum, count)| Num::of(value).map(|n| (sum.add(n), count + 1)));
            }
            Self::Extreme { best, largest } => {
                if value.is_array() || value.is_object() {
                    *best = None;
                } else if let Some(known) = best {
                    let order = known
                        .as_ref()
                        .map(|known| compare_values(Some(value), Some(known)));
                    let better =
                        order.is_none_or(|order| if *largest { order.is_gt() } else { order.is_lt() });
                    if better {
                        *known = Some(value.clone());
                    }
                }
            }
            Self::List(values) => {
                values.push(value.clone());
                return value_bytes(value);
            }
            Self::Set(seen, values) => {
                if let Some(bytes) = seen.insert(value) {
                    values.push(value.clone());
                    return bytes + value_bytes(value);
                }
            }
        }
        0
    }

    fn finish(self) -> Option<Value> {
        match self {
            Self::Count(count) | Self::CountIf(count) => Some(Value::from(count)),
            Self::Sum(sum) => sum.and_then(Num::to_value),
            Self::Average(state) => {
                let (sum, count) = state?;
                let count = Num::Int(i64::try_from(count).ok()?);
                sum.divide(count).to_value()
            }
            Self::Extreme { best, .. } => best.flatten(),
            Self::List(values) | Self::Set(_, values) => Some(Value::Array(values)),
        }
    }
}

type Keys = Vec<Option<Value>>;

/// All groups of a query so far, in the order of their first rows.
#[derive(Debug)]
pub(crate) struct Groups<'g> {
    grouping: &'g Grouping,
    state: GroupState,
}

/// The groups without their definition, so that an execution can own both.
#[derive(Debug, Default)]
pub(crate) struct GroupState {
    by_hash: HashMap<u128, Vec<usize>>,
    groups: Vec<(Keys, Vec<Accumulator>)>,
    bytes: usize,
}

impl<'g> Groups<'g> {
    pub(crate) fn new(grouping: &'g Grouping) -> Self {
        Self {
            grouping,
            state: GroupState::default(),
        }
    }

    /// Takes in a row; gives the bytes kept in all.
    pub(crate) fn add(&mut self, env: &Env<'_>, runtime: &Runtime) -> Result<usize, ExecError> {
        self.state.add(self.grouping, env, runtime)
    }

    pub(crate) fn finish(self) -> Vec<(Keys, Vec<Option<Value>>)> {
        self.state.finish(self.grouping)
    }
}

impl GroupState {
    /// Takes in a row; gives the bytes kept in all.
    pub(crate) fn add(
        &mut self,
        grouping: &Grouping,
        env: &Env<'_>,
        runtime: &Runtime,
    ) -> Result<usize, ExecError> {
        let keys = grouping
            .keys
            .iter()
            .map(|key| Ok(eval(key, env, runtime)?.map(std::borrow::Cow::into_owned)))
            .collect::<Result<Keys, ExecError>>()?;
        let group = self.group(grouping, keys);
        let Some((_, accumulators)) = self.groups.get_mut(group) else {
            return Ok(self.bytes);
        };
        for (accumulator, aggregate) in accumulators.iter_mut().zip(&grouping.aggregates) {
            if let Some(value) = eval(&aggregate.argument, env, runtime)? {
                self.bytes += accumulator.add(&value);
            }
        }
        Ok(self.bytes)
    }

    /// Takes in so many rows of which nothing but that they are there counts.
    pub(crate) fn count(&mut self, grouping: &Grouping, rows: u64) {
        let group = self.group(grouping, Vec::new());
        for (_, accumulators) in self.groups.get_mut(group).into_iter() {
            for accumulator in accumulators {
                if let Accumulator::Count(count) = accumulator {
                    *count += rows;
                }
            }
        }
    }

    fn group(&mut self, grouping: &Grouping, keys: Keys) -> usize {
        const GROUP_BYTES: usize = 160;
        let same_hash = self
            .by_hash
            .entry(row_hash(keys.iter().map(Option::as_ref)))
            .or_default();
        let groups = &mut self.groups;
        let known = same_hash.iter().copied().find(|group| {
            groups.get(*group).is_some_and(|(known, _)| {
                known.iter().zip(&keys).all(|(a, b)| match (a, b) {
                    (Some(a), Some(b)) => deep_equal(a, b),
                    (None, None) => true,
                    _ => false,
                })
            })
        });
        known.unwrap_or_else(|| {
            let group = groups.len();
            same_hash.push(group);
            self.bytes += GROUP_BYTES * (1 + grouping.aggregates.len());
            self.bytes += keys.iter().flatten().map(value_bytes).sum::<usize>();
            let accumulators = grouping
                .aggregates
                .iter()
                .map(|a| Accumulator::new(a.kind))
                .collect();
            groups.push((keys, accumulators));
            group
        })
    }

    /// Bytes kept in all.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The keys and results of each group.
    pub(crate) fn finish(mut self, grouping: &Grouping) -> Vec<(Keys, Vec<Option<Value>>)> {
        if self.groups.is_empty() && grouping.keys.is_empty() {
            self.group(grouping, Vec::new());
        }
        self.groups
            .into_iter()
            .map(|(keys, accumulators)| (keys, accumulators.into_iter().map(Accumulator::finish).collect()))
            .collect()
    }
}
