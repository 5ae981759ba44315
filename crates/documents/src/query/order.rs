//! Which index gives a query's order, and whether walking it beats sorting what the conditions leave.

use documents_sql::{Access, Path};
use ledger::{KeyRange, Sequence, Snapshot};

use super::composite::{self, Bound};
use super::continuation::FeedToken;
use super::cursor::Numbers;
use super::intersection::Intersection;
use super::lacking_memory::LackingMemory;
use super::opening::open_conditions;
use super::ordered::{OrderedSource, Position, Walk};
use super::page::Counters;
use super::plan::{Condition, Narrowing, Scope, index_order_path, order_range};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::SORT_MATCHES_MAX;
use crate::rules::index_columns::IndexColumns;
use crate::rules::index_terms::PathHash;
use crate::store::Container;
use crate::store::keys;

/// Conditions that each entry is looked up in.
const CONDITIONS_BESIDE_MAX: usize = 4;

/// An index that gives the order.
pub(super) struct IndexOrder<'a> {
    descending: bool,
    of: Of<'a>,
}

enum Of<'a> {
    /// The index of single paths, at the one path of ORDER BY.
    Path(&'a Path),
    /// The composite index at that place of the container's.
    Composite { at: usize, bound: Bound },
}

impl<'a> IndexOrder<'a> {
    /// The index to use: the one that a token comes from, or the one that binds most.
    pub(super) fn choose(
        container: &Container,
        access: &'a Access,
        token: Option<&FeedToken>,
    ) -> Option<Self> {
        let path = || {
            let (path, descending) = index_order_path(container, access)?;
            Some(Self {
                descending,
                of: Of::Path(path),
            })
        };
        let composite = |wanted: Option<u32>| {
            let complete = container.composites.iter().enumerate().filter(|(_, composite)| {
                composite.complete && wanted.is_none_or(|wanted| wanted == composite.index)
            });
            let fitting = complete.filter_map(|(at, composite)| {
                let descending = composite::order(&composite.columns, access)?;
                let bound = Bound::new(&composite.columns, access);
                Some((descending, at, bound))
            });
            let (descending, at, bound) = fitting.max_by_key(|(_, _, bound)| bound.conjuncts().count())?;
            Some(Self {
                descending,
                of: Of::Composite { at, bound },
            })
        };
        match token {
            Some(FeedToken::Ordered { composite: None, .. }) => path(),
            Some(FeedToken::Ordered {
                composite: Some(index),
                ..
            }) => composite(Some(*index)),
            _ => composite(None).or_else(path),
        }
    }

    /// Whether the range that is walked is all that meets a condition.
    fn covers(&self, condition: &Condition) -> bool {
        match &self.of {
            Of::Path(path) => condition.path.as_ref() == Some(path),
            Of::Composite { bound, .. } => bound.covers(condition),
        }
    }

    /// Notes what the walk uses.
    pub(super) fn note(&self, narrowing: &Narrowing, counters: &mut Counters) {
        counters.conjuncts_used.clear();
        counters.composites_used.clear();
        match &self.of {
            Of::Path(_) => {
                let covered = narrowing.conditions.iter();
                let covered = covered.filter(|condition| self.covers(condition));
                let conjuncts = covered.flat_map(|condition| condition.conjuncts.iter().copied());
                counters.conjuncts_used.extend(conjuncts);
                counters.ordered_by_path = true;
            }
            Of::Composite { at, .. } => counters.composites_used.push(*at),
        }
    }

    /// What else an item must meet, where its entry of a composite index can be asked for: the scope and
    /// single values. Documents of other partitions aren't read then.
    pub(super) async fn beside(
        &self,
        snapshot: &dyn Snapshot,
        narrowing: &Narrowing,
        counters: &mut Counters,
    ) -> Result<Vec<Numbers>, DocumentsError> {
        let mut beside = Vec::new();
        if let Of::Path(_) = self.of {
            return Ok(beside);
        }
        let conditions = narrowing.conditions.iter();
        // One key for each, not one for each value of a list.
        let conditions = conditions.filter(|condition| {
            condition.by_number && condition.ranges.len() == 1 && !self.covers(condition)
        });
        for condition in conditions.take(CONDITIONS_BESIDE_MAX) {
            beside.extend(Numbers::open(snapshot, condition, 0, &mut counters.index_keys).await?);
        }
        Ok(beside)
    }

    /// The walk, from a place on, for so many items.
    pub(super) fn source<'c>(
        &self,
        (container, scope): (&'c Container, &Scope),
        access: &Access,
        narrowing: &Narrowing,
        resume: (Option<&Position>, u64),
        memory: (Option<&'c LackingMemory>, Sequence),
    ) -> Option<OrderedSource<'c>> {
        let walk = match &self.of {
            Of::Path(path) => {
                let (range, undefined_too) = order_range(container, scope, access, path, narrowing);
                Walk {
                    prefix: keys::index_term(container.index, &PathHash::of(path).to_bytes()),
                    columns: IndexColumns::of_path(path)?,
                    composite: None,
                    range,
                    undefined_too,
                }
            }
            Of::Composite { at, bound } => {
                let composite = container.composites.get(*at)?;
                let range: KeyRange = bound.range(composite.index, &composite.columns, access);
                Walk {
                    prefix: keys::index(composite.index),
                    columns: composite.columns.clone(),
                    composite: Some(composite.index),
                    range,
                    undefined_too: false,
                }
            }
        };
        Some(OrderedSource::new(
            container,
            walk,
            self.descending,
            resume,
            memory,
        ))
    }
}

impl Documents {
    /// Whether walking the index beats sorting what the conditions leave: when it narrows by all of
    /// them, or when they leave much.
    pub(super) async fn prefers_index_order(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        narrowing: &Narrowing,
        order: &IndexOrder<'_>,
        counters: &mut Counters,
    ) -> Result<bool, DocumentsError> {
        let mut conditions = narrowing.conditions.iter();
        let beside = conditions.any(|condition| !order.covers(condition));
        let exact = narrowing.conditions.iter().any(|condition| condition.by_number);
        // One value of the only path: all are ties, and a sort of few is in the order of numbers.
        let one_value = exact && matches!(order.of, Of::Path(_));
        if !beside && !one_value {
            return Ok(true);
        }
        let conditions = open_conditions(snapshot, narrowing, counters).await?;
        if conditions.is_empty() {
            return Ok(true);
        }
        let matches = Intersection::new(conditions, 0)
            .next(snapshot, SORT_MATCHES_MAX + 1, &mut counters.index_keys)
            .await?;
        let many = matches.len() > SORT_MATCHES_MAX;
        if many {
            tracing::debug!(container = container.id, "many matches, so the index orders them");
        }
        Ok(many)
    }
}
