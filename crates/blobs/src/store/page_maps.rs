//! Maps of pages as wholes: new ones, and copies.
//!
//! Invariant: a map whose copy isn't finished has no state yet; until its time is over the sweep leaves it alone.

use jiff::SignedDuration;
use ledger::{LedgerError, Snapshot, Transaction};

use crate::Blobs;
use crate::limits::{SEGMENT_BYTES, UNFINISHED_COPY_SECONDS, WALK_ENTRIES_MAX};
use crate::store::keys::{self, MapId};
use crate::store::map_sweep::MapSweep;
use crate::store::pages::{Found, Walk, piece};
use crate::store::records::{PagesRecord, encode};
use crate::store::segment::{Place, Segment, Span};
use crate::store::steps;

/// The epoch that a map begins with.
const FIRST_EPOCH: u64 = 1;

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
            ..MapSweep::default()
        })?;
        let end = length.div_ceil(SEGMENT_BYTES);
        let mut next = 0;
        loop {
            let mut tx = Transaction::new();
            tx.put(keys::map_sweep(&pages.map), unfinished.clone());
            let mut walk = Walk::new(snapshot, from, next..end, WALK_ENTRIES_MAX);
            let mut full = None;
            while let Some(found) = walk.next().await? {
                stage_copy(&mut tx, snapshot, &from.map, &pages, &found).await?;
                if steps::is_full(&tx) {
                    full = Some(found.number + 1);
                    break;
                }
            }
            self.ledger.commit(tx).await?;
            match full.or(walk.stopped()) {
                Some(number) => next = number,
                None => return Ok(pages),
            }
        }
    }

    /// Stages that a copied map has a state now.
    pub(crate) fn stage_copied_pages(tx: &mut Transaction, pages: &PagesRecord) {
        let unfinished = keys::map_sweep(&pages.map);
        tx.require_present(unfinished.clone());
        tx.delete(unfinished);
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
