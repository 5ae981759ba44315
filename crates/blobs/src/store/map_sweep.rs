//! The sweep of maps of pages: removes versions of segments that nobody reads, with the places that no version
//! left has.
//!
//! It goes in steps, each one commit, and a step may end between two versions of a segment. What tells whether
//! a place goes with a version is then near it: a version is made from the one before it, and a place's number
//! or id is never given twice, so the versions that have a place follow each other. Beside the version that
//! goes, those that count are the last one before it that stays and the first one behind it.
//!
//! Invariant: a version is removed only when no state has the map at an epoch at which it would be read.

use std::ops::Range;

use jiff::Timestamp;
use ledger::{Direction, Entry, LedgerError, Scan, ScanLimit, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SWEEP_STEP_ENTRIES_MAX, SWEEP_STEPS_MAX};
use crate::store::keys::{self, MapId};
use crate::store::pages::{Found, segment, stage_place_removal};
use crate::store::records::{PagesRecord, decode, encode};
use crate::store::steps;

/// How far the sweep of a map is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MapSweep {
    /// When it may begin; `None`: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<Timestamp>,
    /// The first segment that is left.
    #[serde(default)]
    pub(crate) from: u64,
    /// The first of its versions that is left. Those before it stay, as far as this pass is concerned.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) epoch: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the encoder asks by reference")]
fn is_zero(epoch: &u64) -> bool {
    *epoch == 0
}

impl MapSweep {
    fn read(entry: &Entry) -> Result<Self, LedgerError> {
        match entry.versioned.value.is_empty() {
            true => Ok(Self::default()),
            false => decode(&entry.versioned),
        }
    }
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
        let mut scan = Scan::new(snapshot.as_ref(), keys::all_map_sweeps(), Direction::Forward);
        let (mut removed, mut more) = (0, SWEEP_STEPS_MAX);
        while let Some(entry) = scan.next().await? {
            let Some(map) = keys::swept_map(&entry.key) else {
                continue;
            };
            // Each has a step at least, however much the first ones have to remove.
            loop {
                match self.sweep_map_step(&map, SWEEP_STEP_ENTRIES_MAX).await {
                    Ok((versions, complete)) => {
                        removed += versions;
                        if complete || more == 0 {
                            break;
                        }
                        more -= 1;
                    }
                    Err(error) => {
                        tracing::error!(
                            map = %uuid::Uuid::from_bytes(map),
                            %error,
                            "pages that nobody has couldn't be removed; the next round tries again"
                        );
                        break;
                    }
                }
            }
        }
        Ok(removed)
    }

    /// One step, one commit, about at most so many versions: how many went, and whether there is nothing left
    /// to do now.
    async fn sweep_map_step(&self, map: &MapId, versions_max: usize) -> Result<(u64, bool), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let key = keys::map_sweep(map);
        let Some(stored) = snapshot.get(&key).await? else {
            return Ok((0, true));
        };
        let queued = Entry {
            key,
            versioned: stored,
        };
        let state = MapSweep::read(&queued)?;
        if state.due.is_some_and(|due| due > self.clock.now()) {
            return Ok((0, true));
        }
        let mut readers = Readers {
            snapshot: snapshot.as_ref(),
            map,
            known: None,
        };
        let mut tx = Transaction::new();
        tx.require_version(queued.key.clone(), Some(queued.versioned.version));
        let left = keys::segments_from(map, state.from, state.epoch);
        let mut scan = Scan::new(snapshot.as_ref(), left, Direction::Forward);
        let mut ahead = scan.next().await?.map(Found::read).transpose()?;
        // The step before ended behind this one.
        let mut kept = match state.epoch.checked_sub(1) {
            None => None,
            Some(epoch) => segment(snapshot.as_ref(), &PagesRecord { map: *map, epoch }, state.from).await?,
        };
        let (mut looked_at, mut removed) = (0, 0);
        let mut next = None;
        while let Some(found) = ahead.take() {
            let following = scan.next().await?.map(Found::read).transpose()?;
            let newer = following.as_ref().filter(|newer| newer.number == found.number);
            kept = kept.filter(|kept| kept.number == found.number);
            let end = newer.map_or(u64::MAX, |newer| newer.epoch);
            let read = readers.any(found.epoch..end).await?;
            // Zeros with nothing below them are what there is without them.
            if read && !(kept.is_none() && found.segment.spans.is_empty()) {
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
                    due: None,
                    from: next.number,
                    epoch: next.epoch,
                };
                tx.put(queued.key, encode(&state)?);
            }
            None => tx.delete(queued.key),
        }
        match self.ledger.commit(tx).await {
            Ok(_) => Ok((removed, next.is_none())),
            // The blob was written to, or a state more went: the next round looks again.
            Err(LedgerError::Conflict(_)) => Ok((0, true)),
            Err(error) => Err(error.into()),
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
