//! Which of a query's conditions are opened: read of their index before any item is.

use std::collections::HashSet;

use ledger::Snapshot;

use super::cursor::Numbers;
use super::page::Counters;
use super::plan::{Condition, Narrowing};
use crate::error::DocumentsError;
use crate::limits::{COMPOSITE_RANGE_NUMBERS_MAX, RANGE_NUMBERS_BESIDE_MAX, RANGE_NUMBERS_MAX};

/// Opens the conditions: first what is read bit by bit, of composite indexes and then of others that no
/// composite index meets; then ranges, which are gathered, of composite indexes first. Ranges that cover
/// too much are left away: the whole query is checked on every document anyway.
pub(super) async fn open_conditions(
    snapshot: &dyn Snapshot,
    narrowing: &Narrowing,
    counters: &mut Counters,
) -> Result<Vec<Numbers>, DocumentsError> {
    if narrowing.nothing {
        return Ok(Vec::new());
    }
    let (composites, others): (Vec<_>, Vec<_>) = narrowing
        .conditions
        .iter()
        .partition(|condition| condition.composite.is_some());
    let (streams, gathered): (Vec<_>, Vec<_>) =
        composites.into_iter().partition(|condition| condition.by_number);
    let by_composites: HashSet<usize> = gathered
        .iter()
        .flat_map(|condition| condition.conjuncts.iter().copied())
        .collect();
    let (exact, ranges): (Vec<_>, Vec<_>) = others.into_iter().partition(|condition| condition.by_number);
    // Those that a composite index may meet wait for it.
    let may_be_met = |condition: &&Condition| {
        let mut conjuncts = condition.conjuncts.iter();
        !condition.conjuncts.is_empty() && conjuncts.all(|at| by_composites.contains(at))
    };
    let (waiting, alone): (Vec<_>, Vec<_>) = exact.into_iter().partition(may_be_met);
    let mut opening = Opening {
        snapshot,
        counters,
        opened: Vec::new(),
        covered: Vec::new(),
    };
    for condition in streams.into_iter().chain(alone) {
        opening.open(condition, RANGE_NUMBERS_MAX).await?;
    }
    for condition in &gathered {
        opening.open(condition, COMPOSITE_RANGE_NUMBERS_MAX).await?;
    }
    for condition in waiting {
        opening.open(condition, RANGE_NUMBERS_MAX).await?;
    }
    // What no single value narrows, a composite index may do with more.
    if opening.opened.is_empty() {
        for condition in &gathered {
            opening.open(condition, RANGE_NUMBERS_MAX).await?;
        }
    }
    // What a composite index has too much of, one path alone has still more of.
    for condition in ranges.into_iter().filter(|range| !may_be_met(range)) {
        opening.open(condition, RANGE_NUMBERS_MAX).await?;
    }
    Ok(opening.opened)
}

/// Conditions that are being opened.
struct Opening<'a> {
    snapshot: &'a dyn Snapshot,
    counters: &'a mut Counters,
    opened: Vec<Numbers>,
    /// The conjuncts that a composite index narrows with.
    covered: Vec<usize>,
}

impl Opening<'_> {
    /// Opens a condition, unless a composite index meets it already or its range is too large: beside
    /// others, more isn't worth the reading.
    async fn open(&mut self, condition: &Condition, gathered_max: usize) -> Result<(), DocumentsError> {
        let mut conjuncts = condition.conjuncts.iter();
        if !condition.conjuncts.is_empty() && conjuncts.all(|at| self.covered.contains(at)) {
            return Ok(());
        }
        let gathered_max = if self.opened.is_empty() {
            gathered_max
        } else {
            gathered_max.min(RANGE_NUMBERS_BESIDE_MAX)
        };
        let begun = self.counters.timings.now();
        let read = &mut self.counters.index_keys;
        let numbers = Numbers::open(self.snapshot, condition, gathered_max, read).await?;
        if let Some(numbers) = numbers {
            self.opened.push(numbers);
            match condition.composite {
                Some(at) => {
                    self.counters.composites_used.push(at);
                    self.covered.extend(&condition.conjuncts);
                }
                None => self.counters.conjuncts_used.extend(&condition.conjuncts),
            }
        }
        self.counters.timings.index += self.counters.timings.since(begun);
        Ok(())
    }
}
