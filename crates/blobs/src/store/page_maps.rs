//! Maps of pages as wholes: their copies, and the removal of what nobody has any more.
//!
//! Invariant: a version of a segment is removed only when no state has the map at an epoch at which it would
//! be read. A map whose copy isn't finished has no state yet; until its time is over it is left alone.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, Entry, LedgerError, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SEGMENT_BYTES, SWEEP_STEP_ENTRIES_MAX, SWEEP_STEPS_MAX, UNFINISHED_COPY_SECONDS};
use crate::store::keys::{self, MapId};
use crate::store::pages::{Found, Walk, piece, stage_place_removal};
use crate::store::records::{PagesRecord, decode, encode};
use crate::store::segment::{Place, Segment, Span};
use crate::store::steps;

/// The epoch that a map begins with.
const FIRST_EPOCH: u64 = 1;

/// How far the sweep of a map is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MapSweep {
    /// When it may begin; `None`: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due: Option<Timestamp>,
    /// The first segment that is left.
    #[serde(default)]
    from: u64,
}

impl MapSweep {
    fn read(entry: &Entry) -> Result<Self, LedgerError> {
        match entry.versioned.value.is_empty() {
            true => Ok(Self::default()),
            false => decode(&entry.versioned),
        }
    }
}

impl Blobs {
    /// The pages of a blob that nothing was written to yet.
    pub(crate) fn new_pages(&self) -> PagesRecord {
        PagesRecord {
            map: *self.random.uuid().as_bytes(),
            epoch: FIRST_EPOCH,
        }
    }

    /// Copies a state's pages into a map of their own, in steps; stored content is shared. Whoever then takes
    /// the map stages [`Self::stage_copied_pages`] beside it.
    ///
    /// # Errors
    /// The ledger's; a conflict if the source is written to meanwhile.
    pub(crate) async fn copy_pages(
        &self,
        snapshot: &dyn Snapshot,
        from: &PagesRecord,
        length: u64,
    ) -> Result<PagesRecord, LedgerError> {
        let pages = self.new_pages();
        let wait = SignedDuration::from_secs(UNFINISHED_COPY_SECONDS);
        let unfinished = encode(&MapSweep {
            due: self.clock.now().checked_add(wait).ok(),
            from: 0,
        })?;
        let mut walk = Walk::new(snapshot, from, 0, length.div_ceil(SEGMENT_BYTES));
        loop {
            let mut tx = Transaction::new();
            tx.put(keys::map_sweep(&pages.map), unfinished.clone());
            let mut complete = true;
            while let Some(found) = walk.next().await? {
                stage_copy(&mut tx, snapshot, &from.map, &pages, &found).await?;
                if steps::is_full(&tx) {
                    complete = false;
                    break;
                }
            }
            self.ledger.commit(tx).await?;
            if complete {
                return Ok(pages);
            }
        }
    }

    /// Stages that a copied map has a state now.
    pub(crate) fn stage_copied_pages(tx: &mut Transaction, pages: &PagesRecord) {
        let unfinished = keys::map_sweep(&pages.map);
        tx.require_present(unfinished.clone());
        tx.delete(unfinished);
    }

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
                match self.sweep_map_step(&map).await {
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

    /// One step, one commit: how many versions went, and whether there is nothing left to do now.
    async fn sweep_map_step(&self, map: &MapId) -> Result<(u64, bool), BlobsError> {
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
        let mut epochs = Vec::new();
        let mut owners = Scan::new(
            snapshot.as_ref(),
            keys::map_owners(map, 0..u64::MAX),
            Direction::Forward,
        );
        while let Some(owner) = owners.next().await? {
            epochs.extend(keys::owned_epoch(&owner.key));
        }
        let mut tx = Transaction::new();
        tx.require_version(queued.key.clone(), Some(queued.versioned.version));
        let mut scan = Scan::new(
            snapshot.as_ref(),
            keys::segments(map, state.from),
            Direction::Forward,
        );
        let (mut looked_at, mut removed) = (0, 0);
        let mut versions: Vec<Found> = Vec::new();
        let mut next = None;
        loop {
            let entry = scan.next().await?.map(Found::read).transpose()?;
            let ends = match (&entry, versions.last()) {
                (Some(entry), Some(last)) => entry.number != last.number,
                (None, _) => true,
                (Some(_), None) => false,
            };
            if ends {
                looked_at += versions.len();
                removed += stage_version_removal(&mut tx, map, &epochs, &std::mem::take(&mut versions));
            }
            let Some(entry) = entry else { break };
            if ends && (looked_at >= SWEEP_STEP_ENTRIES_MAX || steps::is_full(&tx)) {
                next = Some(entry.number);
                break;
            }
            versions.push(entry);
        }
        match next {
            Some(from) => tx.put(queued.key, encode(&MapSweep { due: None, from })?),
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

/// Stages one segment of a copy.
async fn stage_copy(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    from: &MapId,
    pages: &PagesRecord,
    found: &Found,
) -> Result<(), LedgerError> {
    let owner = keys::segment(&pages.map, found.number);
    // The source's own entries keep the contents until this commit has made the copy's.
    tx.require_version(found.entry.key.clone(), Some(found.entry.versioned.version));
    for place in found.segment.places() {
        match place {
            Place::Content(content) => tx.put(keys::reference(content.id(), &owner), Vec::new()),
            Place::Piece(number) => {
                let bytes = piece(snapshot, (from, found.number), number, 0).await?;
                tx.put(keys::piece(&pages.map, found.number, number), bytes);
            }
        }
    }
    if found.segment.spans.is_empty() {
        return Ok(());
    }
    let spans = found.segment.spans.iter().map(|span| Span {
        epoch: pages.epoch,
        ..*span
    });
    let copy = Segment {
        next_piece: found.segment.next_piece,
        spans: spans.collect(),
    };
    tx.put(
        keys::segment_at(&pages.map, found.number, pages.epoch),
        encode(&copy)?,
    );
    Ok(())
}

/// Removes those of a segment's versions, oldest first, that are read at none of the epochs, which rise.
fn stage_version_removal(tx: &mut Transaction, map: &MapId, epochs: &[u64], versions: &[Found]) -> u64 {
    let newer = versions.iter().skip(1).map(|found| found.epoch);
    let ends = newer.chain(std::iter::once(u64::MAX));
    let (mut kept, mut dead): (Vec<&Found>, Vec<&Found>) = (Vec::new(), Vec::new());
    for (found, end) in versions.iter().zip(ends) {
        let at = epochs.partition_point(|epoch| *epoch < found.epoch);
        let read = epochs.get(at).is_some_and(|epoch| *epoch < end);
        // Zeros with nothing below them are what there is without them.
        if read && !(kept.is_empty() && found.segment.spans.is_empty()) {
            kept.push(found);
        } else {
            dead.push(found);
        }
    }
    if dead.is_empty() {
        return 0;
    }
    let left: HashSet<Place> = kept.iter().flat_map(|found| found.segment.places()).collect();
    for found in &kept {
        tx.require_version(found.entry.key.clone(), Some(found.entry.versioned.version));
    }
    for found in &dead {
        tx.require_version(found.entry.key.clone(), Some(found.entry.versioned.version));
        tx.delete(found.entry.key.clone());
        for place in found.segment.places().difference(&left) {
            stage_place_removal(tx, map, found.number, *place);
        }
    }
    dead.len() as u64
}
