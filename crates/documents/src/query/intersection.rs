//! Item numbers that meet all of several conditions.
//!
//! Conditions that are about as rare as the rarest are intersected by leaping: whoever is behind
//! seeks to where the others are. Of a condition that is much more frequent, a walk would read
//! many entries for each number that the rarest one leaves; there each of those numbers is asked
//! for by its key instead.
//!
//! Invariant: either way gives the same numbers, so a wrong estimate costs time only.

use ledger::{LedgerError, Snapshot};

use super::cursor::{Numbers, Outlook};

/// What a lookup of one key costs, in entries of a scan.
const LOOKUP_ENTRIES: f64 = 8.0;

/// Numbers that are asked for at once: few at first, for who wants few rows.
const LOOKUPS_FIRST: usize = 32;
const LOOKUPS_MAX: usize = 128;

/// A lazy intersection.
#[derive(Debug)]
pub(super) struct Intersection {
    /// Intersected by leaping; before the first step all that are open.
    walked: Vec<Numbers>,
    /// Asked for each number that is left.
    looked_up: Vec<Numbers>,
    lookups: usize,
    next: u64,
    begun: bool,
    ended: bool,
}

impl Intersection {
    /// Of at least one condition, from number `from` on.
    pub(super) fn new(conditions: Vec<Numbers>, from: u64) -> Self {
        Self {
            walked: conditions,
            looked_up: Vec::new(),
            lookups: LOOKUPS_FIRST,
            next: from,
            begun: false,
            ended: false,
        }
    }

    /// Whether there are no conditions, so that every number would meet them.
    pub(super) fn is_of_nothing(&self) -> bool {
        self.walked.is_empty()
    }

    /// The next numbers, about `wanted` of them; none at the end.
    pub(super) async fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        wanted: usize,
        read: &mut u64,
    ) -> Result<Vec<u64>, LedgerError> {
        if !self.begun {
            self.begun = true;
            self.begin(snapshot, read).await?;
        }
        let mut found = Vec::new();
        while found.len() < wanted && !self.ended {
            let enough = if self.looked_up.is_empty() {
                wanted
            } else {
                self.lookups
            };
            self.lookups = (self.lookups * 2).min(LOOKUPS_MAX);
            let mut candidates = Vec::with_capacity(enough);
            while candidates.len() < enough {
                match leap(snapshot, &mut self.walked, self.next, read).await? {
                    Some(number) => {
                        candidates.push(number);
                        self.next = number.saturating_add(1);
                    }
                    None => {
                        self.ended = true;
                        break;
                    }
                }
            }
            for numbers in &self.looked_up {
                numbers.retain(snapshot, &mut candidates, read).await?;
            }
            found.append(&mut candidates);
        }
        Ok(found)
    }

    /// Reads the first page of each condition, and decides which are walked.
    async fn begin(&mut self, snapshot: &dyn Snapshot, read: &mut u64) -> Result<(), LedgerError> {
        // No number below the greatest of the firsts can be in all.
        let mut from = self.next;
        for numbers in &mut self.walked {
            match numbers.seek(snapshot, self.next, read).await? {
                Some(first) => from = from.max(first),
                None => {
                    self.ended = true;
                    return Ok(());
                }
            }
        }
        self.next = from;
        let rarest = self
            .walked
            .iter()
            .map(|numbers| numbers.outlook().density)
            .fold(f64::INFINITY, f64::min);
        let (looked_up, walked) = std::mem::take(&mut self.walked)
            .into_iter()
            .partition(|numbers| is_looked_up(numbers.outlook(), rarest));
        (self.looked_up, self.walked) = (looked_up, walked);
        Ok(())
    }
}

/// Whether lookups cost less than a walk, where the rarest condition is so dense. Never true of
/// the rarest one itself.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn is_looked_up(outlook: Outlook, rarest: f64) -> bool {
    !outlook.in_memory && outlook.density > rarest * LOOKUP_ENTRIES * outlook.ranges.max(1) as f64
}

/// The first number at or above `from` that all hold.
async fn leap(
    snapshot: &dyn Snapshot,
    conditions: &mut [Numbers],
    from: u64,
    read: &mut u64,
) -> Result<Option<u64>, LedgerError> {
    let mut candidate = from;
    'leap: loop {
        for numbers in conditions.iter_mut() {
            match numbers.seek(snapshot, candidate, read).await? {
                None => return Ok(None),
                Some(number) if number > candidate => {
                    candidate = number;
                    continue 'leap;
                }
                Some(_) => {}
            }
        }
        return Ok(Some(candidate));
    }
}
