//! The sweep of maps of pages: removes versions of segments that nobody reads, with the places that no version
//! left has.
//!
//! It goes in steps, each one commit, and a step may end between two versions of a segment. What tells whether
//! a place goes with a version is then near it: a version is made from the one before it, and a place's number
//! or id is never given twice, so the versions that have a place follow each other. Beside the version that
//! goes, those that count are the last one before it that stays and the first one behind it.
//!
//! A pass goes through the whole map once. Who lets go of a map while it is swept asks for another pass and
//! leaves this one alone: begun anew each time it would never reach the end of a large map.
//!
//! Invariant: a version is removed only when no state has the map at an epoch at which it would be read.

use std::ops::Range;

use ledger::{Direction, Key, LedgerError, Scan, ScanLimit, Snapshot, Transaction, Versioned};
use serde::{Deserialize, Serialize};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SWEEP_BUSY_MAX, SWEEP_STEP_ENTRIES_MAX, SWEEP_STEPS_MAX};
use crate::store::keys::{self, MapId};
use crate::store::pages::{Found, segment, stage_place_removal};
use crate::store::records::{PagesRecord, decode, encode};
use crate::store::steps;

/// How far a pass is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct MapSweep {
    /// The first segment that is left.
    #[serde(default)]
    from: u64,
    /// The first of its versions that is left. Those before it stay, as far as this pass is concerned.
    #[serde(default, skip_serializing_if = "is_zero")]
    epoch: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the encoder asks by reference")]
fn is_zero(epoch: &u64) -> bool {
    *epoch == 0
}

impl MapSweep {
    fn read(stored: &Versioned) -> Result<Self, LedgerError> {
        match stored.value.is_empty() {
            true => Ok(Self::default()),
            false => decode(stored),
        }
    }
}

/// What a step did.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// So many versions went, and there is nothing left to do now.
    Last(u64),
    /// So many went, and there is more.
    More(u64),
    /// Nothing went: this version was written meanwhile.
    Overtaken(Key),
}

/// Who reads a map, by the epochs at which its owners have it. However many there are, one is looked up at a
/// time; the answer holds for all versions between the one that was asked about and the owner that was found.
struct Readers<'a> {
    snapshot: &'a dyn Snapshot,
    map: &'a MapId,
    known: Option<(u64, Option<u64>)>,
}

impl Readers<'_> {
    /// Whether somebody has the map at one of these epochs.
    async fn any(&mut self, epochs: Range<u64>) -> Result<bool, LedgerError> {
        let first = match self.known {
            Some((from, first))
                if from <= epochs.start && first.is_none_or(|first| epochs.start <= first) =>
            {
                first
            }
            _ => {
                let owners = keys::map_owners(self.map, epochs.start..u64::MAX);
                let limit = ScanLimit {
                    entries_max: 1,
                    bytes_max: 1,
                };
                let page = self
                    .snapshot
                    .scan_page(&owners, Direction::Forward, limit)
                    .await?;
                let owner = page.entries.first();
                let first = owner.and_then(|owner| keys::owned_epoch(&owner.key));
                self.known = Some((epochs.start, first));
                first
            }
        };
        Ok(first.is_some_and(|first| first < epochs.end))
    }
}

impl Blobs {
    /// Removes pages that nobody has any more, in a bounded number of steps.
    pub(crate) async fn sweep_maps(&self) -> Result<u64, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let (mut removed, mut more) = (0, SWEEP_STEPS_MAX);
        for range in [keys::all_map_sweeps(), keys::all_map_releases()] {
            let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
            while let Some(entry) = scan.next().await? {
                let Some(map) = keys::swept_map(&entry.key) else {
                    continue;
                };
                // Each has a step at least, however much the first ones have to remove.
                match self.sweep_map(&map, &mut more).await {
                    Ok(versions) => removed += versions,
                    Err(error) => tracing::error!(
                        map = %uuid::Uuid::from_bytes(map),
                        %error,
                        "pages that nobody has couldn't be removed; the next round tries again"
                    ),
                }
            }
        }
        Ok(removed)
    }

    /// Sweeps a map, at least a step and at most `more` further ones: how many versions went.
    async fn sweep_map(&self, map: &MapId, more: &mut usize) -> Result<u64, BlobsError> {
        let mut removed = 0;
        let mut busy = Vec::new();
        // An attempt learns of one busy version only: the more there are, the less it tries at once, down to
        // one, which goes or is left.
        let mut versions_max = SWEEP_STEP_ENTRIES_MAX;
        loop {
            match self.sweep_map_step(map, versions_max, &busy).await? {
                Step::Last(versions) => return Ok(removed + versions),
                Step::More(versions) => {
                    removed += versions;
                    busy.clear();
                    versions_max = (versions_max * 2).min(SWEEP_STEP_ENTRIES_MAX);
                }
                Step::Overtaken(_) if busy.len() >= SWEEP_BUSY_MAX => return Ok(removed),
                Step::Overtaken(version) => {
                    busy.push(version);
                    versions_max = (versions_max / 2).max(1);
                }
            }
            if *more == 0 {
                return Ok(removed);
            }
            *more -= 1;
        }
    }

    /// One step, one commit, about at most so many versions. `busy` are those that are written all the time:
    /// they stay, with the one before each, until another pass.
    async fn sweep_map_step(
        &self,
        map: &MapId,
        versions_max: usize,
        busy: &[Key],
    ) -> Result<Step, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let (key, release) = (keys::map_sweep(map), keys::map_release(map));
        let mut tx = Transaction::new();
        let begun = snapshot.get(&key).await?;
        let state = match &begun {
            Some(stored) => MapSweep::read(stored)?,
            None => {
                let Some(released) = snapshot.get(&release).await? else {
                    return Ok(Step::Last(0));
                };
                tx.require_version(release.clone(), Some(released.version));
                tx.delete(release.clone());
                MapSweep::default()
            }
        };
        tx.require_version(key.clone(), begun.as_ref().map(|begun| begun.version));
        let mut readers = Readers {
            snapshot: snapshot.as_ref(),
            map,
            known: None,
        };
        let left = keys::segments_from(map, state.from, state.epoch);
        let mut scan = Scan::new(snapshot.as_ref(), left, Direction::Forward);
        let mut ahead = scan.next().await?.map(Found::read).transpose()?;
        // The step before ended behind this one.
        let mut kept = match state.epoch.checked_sub(1) {
            None => None,
            Some(epoch) => segment(snapshot.as_ref(), &PagesRecord::at(*map, epoch), state.from).await?,
        };
        let (mut looked_at, mut removed) = (0, 0);
        let mut next = None;
        while let Some(found) = ahead.take() {
            let following = scan.next().await?.map(Found::read).transpose()?;
            let newer = following.as_ref().filter(|newer| newer.number == found.number);
            kept = kept.filter(|kept| kept.number == found.number);
            let end = newer.map_or(u64::MAX, |newer| newer.epoch);
            let read = readers.any(found.epoch..end).await?;
            let overtaken = [Some(&found), newer]
                .into_iter()
                .flatten()
                .any(|found| busy.contains(&found.entry.key));
            // Zeros with nothing below them are what there is without them.
            if overtaken {
                tx.put(release.clone(), Vec::new());
                kept = Some(found);
            } else if read && !(kept.is_none() && found.segment.spans.is_empty()) {
                kept = Some(found);
            } else {
                stage_version_removal(&mut tx, map, kept.as_ref(), &found, newer);
                removed += 1;
            }
            looked_at += 1;
            if looked_at >= versions_max || steps::is_full(&tx) {
                next = following;
                break;
            }
            ahead = following;
        }
        match &next {
            Some(next) => {
                let state = MapSweep {
                    from: next.number,
                    epoch: next.epoch,
                };
                tx.put(key.clone(), encode(&state)?);
            }
            None if begun.is_some() => tx.delete(key.clone()),
            None => {}
        }
        match (self.ledger.commit(tx).await, next) {
            (Ok(_), None) => Ok(Step::Last(removed)),
            (Ok(_), Some(_)) => Ok(Step::More(removed)),
            (Err(LedgerError::Conflict(conflict)), _) => Ok(match conflict.key {
                // Somebody else sweeps, or let go of it once more: the next round looks again.
                own if own == key || own == release => Step::Last(0),
                version => Step::Overtaken(version),
            }),
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// Stages that a version goes, with its places, but for those that the last version that stays before it has,
/// and those that the next version has, whether that one stays or goes later.
fn stage_version_removal(
    tx: &mut Transaction,
    map: &MapId,
    kept: Option<&Found>,
    dead: &Found,
    newer: Option<&Found>,
) {
    for found in kept.into_iter().chain([dead]).chain(newer) {
        found.require(tx);
    }
    tx.delete(dead.entry.key.clone());
    let mut places = dead.segment.places();
    for found in kept.into_iter().chain(newer) {
        for place in found.segment.places() {
            places.remove(&place);
        }
    }
    for place in places {
        stage_place_removal(tx, map, dead.number, place);
    }
}

#[cfg(test)]
mod tests;
