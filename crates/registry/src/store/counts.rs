//! How many manifests and tags a repository has. What comes and goes is a row each, as with bytes (see `usage`); the
//! background work folds them a minute later, so that a reader adds up what a minute brought and no more.
//!
//! A repository of a release from before has no row; it is counted then, until the first change has one made.

use jiff::Timestamp;
use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot, Transaction};

use crate::limits::{COUNTS_FOLD_ROWS_MAX, COUNTS_FOLD_SECONDS};
use crate::store::keys::Place;
use crate::store::links::stage_due;
use crate::store::records::Target;
use crate::store::repositories;

/// Manifests and tags; as a change what came, or went if it is negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) manifests: i64,
    pub(crate) tags: i64,
}

impl Counts {
    /// What goes with so many manifests and tags.
    pub(crate) fn gone(manifests: usize, tags: usize) -> Self {
        let number = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        Self {
            manifests: -number(manifests),
            tags: -number(tags),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            manifests: self.manifests.saturating_add(other.manifests),
            tags: self.tags.saturating_add(other.tags),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            manifests: self.manifests.saturating_sub(other.manifests),
            tags: self.tags.saturating_sub(other.tags),
        }
    }

    fn encode(self) -> Vec<u8> {
        [self.manifests.to_be_bytes(), self.tags.to_be_bytes()].concat()
    }

    fn decode(value: &[u8]) -> Result<Self, LedgerError> {
        let damaged = || LedgerError::Corrupt("a number of manifests and tags can't be read".to_owned());
        let (manifests, tags) = value.split_first_chunk::<8>().ok_or_else(damaged)?;
        let tags = tags.try_into().map_err(|_| damaged())?;
        Ok(Self {
            manifests: i64::from_be_bytes(*manifests),
            tags: i64::from_be_bytes(tags),
        })
    }
}

fn target(place: Place<'_>) -> Target {
    Target::Counts {
        registry: place.registry.to_owned(),
        repository: place.repository.to_owned(),
    }
}

/// The end of the minute: changes of one have one row between them that says when they are folded.
fn fold_time(now: Timestamp) -> Timestamp {
    let seconds = now.as_second();
    let slot = seconds - seconds.rem_euclid(COUNTS_FOLD_SECONDS) + COUNTS_FOLD_SECONDS;
    Timestamp::from_second(slot).unwrap_or(now)
}

/// Notes what came and went; once a commit.
pub(crate) fn stage(
    tx: &mut Transaction,
    place: Place<'_>,
    change: Counts,
    now: Timestamp,
) -> Result<(), LedgerError> {
    if change == Counts::default() {
        return Ok(());
    }
    tx.put_sequenced(place.counts_deltas(), Vec::new(), change.encode());
    stage_due(tx, fold_time(now), &target(place))
}

/// Begins to count a repository that is new.
pub(crate) fn stage_new(tx: &mut Transaction, place: Place<'_>) {
    tx.put(place.counts(), Counts::default().encode());
}

/// How many there are.
pub(crate) async fn read(snapshot: &dyn Snapshot, place: Place<'_>) -> Result<Counts, LedgerError> {
    match snapshot.get(&place.counts()).await? {
        Some(found) => Ok(Counts::decode(&found.value)?.plus(deltas(snapshot, place).await?)),
        None => counted(snapshot, place).await,
    }
}

/// The sum of what isn't folded yet.
async fn deltas(snapshot: &dyn Snapshot, place: Place<'_>) -> Result<Counts, LedgerError> {
    let range = KeyRange::prefix(&place.counts_deltas());
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let mut sum = Counts::default();
    while let Some(entry) = scan.next().await? {
        sum = sum.plus(Counts::decode(&entry.versioned.value)?);
    }
    Ok(sum)
}

/// How many there are, one by one.
pub(crate) async fn counted(snapshot: &dyn Snapshot, place: Place<'_>) -> Result<Counts, LedgerError> {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Ok(Counts {
        manifests: number(repositories::count(snapshot, place.manifests()).await?),
        tags: number(repositories::count(snapshot, place.tags()).await?),
    })
}

/// Removes some rows of deltas: their sum, and whether some are left.
async fn stage_taken(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
) -> Result<(Counts, bool), LedgerError> {
    let range = KeyRange::prefix(&place.counts_deltas());
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let (mut sum, mut rows) = (Counts::default(), 0);
    while let Some(entry) = scan.next().await? {
        if rows == COUNTS_FOLD_ROWS_MAX {
            return Ok((sum, true));
        }
        sum = sum.plus(Counts::decode(&entry.versioned.value)?);
        tx.delete(entry.key);
        rows += 1;
    }
    Ok((sum, false))
}

/// Folds rows into one, or removes what a repository that is gone has left; whether some are left.
pub(crate) async fn stage_fold(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let repository = repositories::find(snapshot, place).await?;
    let base = snapshot.get(&place.counts()).await?;
    tx.require_version(place.counts(), base.as_ref().map(|found| found.version));
    let before = match (&base, &repository) {
        (Some(found), _) => Counts::decode(&found.value)?,
        (None, Some(_)) => counted(snapshot, place)
            .await?
            .minus(deltas(snapshot, place).await?),
        (None, None) => Counts::default(),
    };
    let (taken, more) = stage_taken(tx, snapshot, place).await?;
    if repository.is_some() {
        tx.put(place.counts(), before.plus(taken).encode());
    } else {
        tx.require_absent(place.repository());
        tx.delete(place.counts());
    }
    if more {
        stage_due(tx, now, &target(place))?;
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_come_back(manifests in any::<i64>(), tags in any::<i64>()) {
            let counts = Counts { manifests, tags };
            prop_assert_eq!(Counts::decode(&counts.encode()).unwrap(), counts);
        }

        #[test]
        fn a_change_is_folded_within_two_minutes(micros in 0_i64..4_000_000_000_000_000) {
            let now = Timestamp::from_microsecond(micros).unwrap();
            let wait = fold_time(now).duration_since(now).as_secs_f64();
            prop_assert!(wait > 0.0 && wait <= 60.0);
        }
    }
}
