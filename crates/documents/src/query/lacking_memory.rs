//! Which items lack an ORDER BY property, remembered: they aren't in the property's index, and to find
//! them anew for each page, a page would read all items of the container.
//!
//! What is remembered is a hint. Whoever uses it reads each item from the very snapshot that it answers
//! from, and takes only those without the property, so too many numbers cost time and too few would be
//! a fault. What keeps them from being too few:
//!
//! - The feed has each item once, at the commit that last wrote it. What isn't known yet at a snapshot is
//!   what the feed there has behind the commit up to which all is known; so it doesn't matter which
//!   node wrote, and nothing needs to be told.
//! - Where nobody looked at an item's number yet, all items are read. What a query saw there is taken in
//!   step by step: who comes next, and the same client's next page, go on behind it.
//! - What was learnt from a snapshot isn't used for an earlier one, whose items may have lacked then what
//!   they have now. A few earlier states are kept for those.
//!
//! The property is the documents', not an index's: another policy changes nothing. A container that
//! is made anew has another number. Keys alone (numbers without an entry at the property's path)
//! would be quicker to read than documents, but paths share hashes: an item that lacks the property and
//! has one whose path has the same hash would be missed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ledger::Sequence;
use parking_lot::Mutex;

use super::number_set::NumberSet;
use crate::limits::{LACKING_BYTES_MAX, LACKING_PATH_BYTES_MAX, LACKING_PATHS_MAX};

/// Stretches of numbers apart from each other that are known of a path. A walk makes one grow; pages of one
/// walk on several nodes leave some.
const STRETCHES_MAX: usize = 16;

/// States of a path that are kept, and for how long the newest one but one is at least what an earlier
/// snapshot gets.
const GENERATIONS: usize = 3;
const GENERATION_TIME: Duration = Duration::from_secs(2);

/// A container's number and a path's names.
pub(super) type Place = (u32, Vec<String>);

/// What is known of a path.
///
/// Invariant: in every snapshot from `usable_from` on, each item whose number was looked at, that lacks the
/// property and was last written by a commit up to `through` is among `numbers`.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Whatever was written behind this commit and up to `through` is among `numbers` if it lacks the
    /// property, whether its number was looked at or not.
    since: Sequence,
    usable_from: Sequence,
    through: Sequence,
    /// In order and apart from each other.
    looked_at: Vec<Range<u64>>,
    numbers: NumberSet,
}

/// What a query saw in its snapshot.
#[derive(Debug)]
pub(super) enum Learnt {
    /// What the feed has behind one commit and up to another, and whether each of these lacks the property.
    Changes {
        after: Sequence,
        through: Sequence,
        items: Vec<(u64, bool)>,
    },
    /// All items with these numbers, and which of them lack the property.
    Looked { at: Range<u64>, lacking: Vec<u64> },
    /// Some that were thought to lack it don't, or are gone.
    Dropped(Vec<u64>),
}

/// What a number is to a walk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stretch {
    /// In these, only what is remembered matters.
    Remembered(Range<u64>),
    /// Nobody looked at these.
    Unknown(Range<u64>),
}

impl Known {
    /// Nothing.
    fn blank(at: Sequence) -> Self {
        Self {
            since: at,
            usable_from: at,
            through: at,
            looked_at: Vec::new(),
            numbers: NumberSet::default(),
        }
    }

    fn is_blank(&self) -> bool {
        self.looked_at.is_empty()
    }

    /// The commit up to which changes are known.
    pub(super) fn through(&self) -> Sequence {
        self.through
    }

    pub(super) fn numbers(&self) -> &NumberSet {
        &self.numbers
    }

    /// The first part of a range of numbers, or the last one if it is walked down.
    pub(super) fn stretch(&self, range: &Range<u64>, descending: bool) -> Stretch {
        let Range { start, end } = *range;
        let at = if descending { end.saturating_sub(1) } else { start };
        let before = self.looked_at.partition_point(|known| known.end <= at);
        let known = self.looked_at.get(before);
        match known.filter(|known| known.contains(&at)) {
            Some(known) if descending => Stretch::Remembered(start.max(known.start)..end),
            Some(known) => Stretch::Remembered(start..end.min(known.end)),
            None if descending => {
                let below = before.checked_sub(1).and_then(|below| self.looked_at.get(below));
                Stretch::Unknown(start.max(below.map_or(0, |below| below.end))..end)
            }
            None => Stretch::Unknown(start..end.min(known.map_or(u64::MAX, |known| known.start))),
        }
    }

    /// Whether there is room to keep that a range was looked at, and something new in it.
    fn look_at(&mut self, range: &Range<u64>) -> bool {
        let touches = |known: &Range<u64>| known.start <= range.end && range.start <= known.end;
        let from = self.looked_at.partition_point(|known| known.end < range.start);
        let count = self
            .looked_at
            .iter()
            .skip(from)
            .take_while(|known| touches(known))
            .count();
        let touched = self.looked_at.get(from..from + count).unwrap_or_default();
        let covers = |known: &Range<u64>| known.start <= range.start && range.end <= known.end;
        if touched.iter().any(covers) || count == 0 && self.looked_at.len() >= STRETCHES_MAX {
            return false;
        }
        let start = touched
            .first()
            .map_or(range.start, |first| first.start.min(range.start));
        let end = touched.last().map_or(range.end, |last| last.end.max(range.end));
        self.looked_at
            .splice(from..from + count, std::iter::once(start..end));
        true
    }

    /// Takes in what was seen in the snapshot of a commit; whether it fits what is known.
    pub(super) fn learn(&mut self, at: Sequence, learnt: &Learnt) -> bool {
        match learnt {
            Learnt::Changes {
                after,
                through,
                items,
            } => {
                if *after > self.through || *through < self.through {
                    return false;
                }
                for (number, lacks) in items {
                    if *lacks {
                        self.numbers.insert(*number);
                    } else {
                        self.numbers.remove(*number);
                    }
                }
                self.through = *through;
            }
            Learnt::Looked { at: range, lacking } => {
                // What was written since, and isn't in that snapshot, must be known.
                if at < self.since || !self.look_at(range) {
                    return false;
                }
                for number in lacking {
                    self.numbers.insert(*number);
                }
            }
            Learnt::Dropped(numbers) => {
                // They may have lost it again.
                if at < self.through {
                    return false;
                }
                for number in numbers {
                    self.numbers.remove(*number);
                }
            }
        }
        self.usable_from = self.usable_from.max(at);
        true
    }
}

/// The paths of all containers, bounded by their number and by bytes; what wasn't used for longest
/// goes.
#[derive(Debug, Default)]
pub(crate) struct LackingMemory(Mutex<Paths>);

#[derive(Debug, Default)]
struct Paths {
    by_place: HashMap<Place, Remembered>,
    uses: u64,
}

#[derive(Debug)]
struct Remembered {
    used: u64,
    /// The newest one last; none if they would be too large.
    generations: Vec<Generation>,
    /// Who has it looks at items.
    turn: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Generation {
    begun: Duration,
    known: Arc<Known>,
}

impl Remembered {
    fn bytes(&self, place: &Place) -> usize {
        const PATH_BYTES: usize = 256;
        let names: usize = place.1.iter().map(|name| name.len() + size_of::<String>()).sum();
        let known = self
            .generations
            .iter()
            .map(|generation| generation.known.numbers.bytes());
        PATH_BYTES + names + known.sum::<usize>()
    }

    fn usable(&self, at: Sequence) -> Option<Arc<Known>> {
        let mut generations = self.generations.iter().rev();
        let usable = generations.find(|generation| generation.known.usable_from <= at);
        usable.map(|generation| generation.known.clone())
    }

    fn add(&mut self, known: Arc<Known>, now: Duration) {
        let lasted = |generation: &Generation| now.saturating_sub(generation.begun) >= GENERATION_TIME;
        let count = self.generations.len();
        let before_newest = count.checked_sub(2).and_then(|at| self.generations.get(at));
        // The newest one takes its place, unless the one before has been the last resort for long enough.
        if before_newest.is_some_and(|generation| !lasted(generation)) {
            self.generations.pop();
        } else if count >= GENERATIONS {
            self.generations.remove(0);
        }
        self.generations.push(Generation { begun: now, known });
    }
}

impl LackingMemory {
    /// What is known that a snapshot may use, if anything is.
    pub(super) fn peek(&self, place: &Place, at: Sequence) -> Option<Arc<Known>> {
        self.0.lock().by_place.get(place)?.usable(at)
    }

    /// What is known that a snapshot may use: nothing yet, if the path is new. `None` if all that is known
    /// is from later snapshots, or there is too much of it.
    pub(super) fn view(&self, place: &Place, at: Sequence, now: Duration) -> Option<Arc<Known>> {
        let mut paths = self.0.lock();
        paths.uses += 1;
        let uses = paths.uses;
        let blank = || Generation {
            begun: now,
            known: Arc::new(Known::blank(at)),
        };
        let remembered = paths.by_place.entry(place.clone()).or_insert_with(|| Remembered {
            used: uses,
            generations: vec![blank()],
            turn: Arc::default(),
        });
        remembered.used = uses;
        if let [only] = remembered.generations.as_mut_slice()
            && only.known.is_blank()
            && only.known.through < at
            && now.saturating_sub(only.begun) >= GENERATION_TIME
        {
            // To catch up with what was written since would be for nothing.
            *only = blank();
        }
        let usable = remembered.usable(at);
        paths.bound(place);
        usable
    }

    /// Forgets what is known of a path; what a snapshot may use then.
    pub(super) fn begin_anew(&self, place: &Place, at: Sequence, now: Duration) -> Arc<Known> {
        let known = Arc::new(Known::blank(at));
        if let Some(remembered) = self.0.lock().by_place.get_mut(place) {
            remembered.generations = vec![Generation {
                begun: now,
                known: known.clone(),
            }];
        }
        known
    }

    /// The turn to look at items that nobody has looked at.
    pub(super) fn turn(&self, place: &Place) -> Option<Arc<tokio::sync::Mutex<()>>> {
        Some(self.0.lock().by_place.get(place)?.turn.clone())
    }

    /// Takes in what was seen in the snapshot of a commit, in what its own query knows as well.
    pub(super) fn learn(
        &self,
        place: &Place,
        at: Sequence,
        learnt: &Learnt,
        view: &mut Arc<Known>,
        now: Duration,
    ) {
        let before = view.clone();
        let mut own = Known::clone(view);
        if own.learn(at, learnt) {
            *view = Arc::new(own);
        }
        let mut paths = self.0.lock();
        let Some(remembered) = paths.by_place.get_mut(place) else {
            return;
        };
        let Some(newest) = remembered.generations.last() else {
            return;
        };
        let known = if Arc::ptr_eq(&newest.known, &before) {
            view.clone()
        } else {
            // Others have learnt something since.
            let mut known = Known::clone(&newest.known);
            if !known.learn(at, learnt) {
                return;
            }
            Arc::new(known)
        };
        if known.numbers.bytes() > LACKING_PATH_BYTES_MAX {
            tracing::debug!(
                container = place.0,
                "too many items lack an ORDER BY property to be remembered"
            );
            remembered.generations.clear();
        } else {
            remembered.add(known, now);
        }
        paths.bound(place);
    }
}

impl Paths {
    /// Forgets paths until all fit, `kept` last.
    fn bound(&mut self, kept: &Place) {
        let bytes = |paths: &HashMap<Place, Remembered>| {
            let bytes = paths.iter().map(|(place, remembered)| remembered.bytes(place));
            bytes.sum::<usize>()
        };
        while self.by_place.len() > LACKING_PATHS_MAX || bytes(&self.by_place) > LACKING_BYTES_MAX {
            let others = self.by_place.iter().filter(|(place, _)| *place != kept);
            let oldest = others.min_by_key(|(_, remembered)| remembered.used);
            let oldest = oldest.map_or(kept, |(place, _)| place).clone();
            self.by_place.remove(&oldest);
            if self.by_place.is_empty() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
