//! Maps of pages as wholes: new ones, and copies.
//!
//! A copy goes in steps, each one commit, which says where the next one begins: whoever asks for the same copy
//! once more, after a crash as well, goes on there, as long as the source is what it was.
//!
//! Invariant: a map whose copy isn't finished has no state yet; its entry keeps it until its time is over. Who
//! takes the map removes the entry as it was last written, so it isn't one that was given up meanwhile.

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, Key, LedgerError, Scan, Sequence, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use crate::Blobs;
use crate::limits::{SEGMENT_BYTES, SWEEP_STEP_ENTRIES_MAX, UNFINISHED_COPY_SECONDS, WALK_ENTRIES_MAX};
use crate::store::blobs::Blob;
use crate::store::keys::{self, MapId};
use crate::store::pages::{Found, Walk, piece};
use crate::store::records::{PagesRecord, decode, encode};
use crate::store::segment::{Place, Segment, Span};
use crate::store::steps;

/// The epoch that a map begins with.
const FIRST_EPOCH: u64 = 1;

/// A copy that isn't finished.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct MapCopy {
    pages: PagesRecord,
    /// The source's ETag: leases, tags and snapshots of the source leave its pages as they are.
    source: String,
    /// The first segment that isn't copied yet.
    from: u64,
    /// When it is given up.
    due: Timestamp,
}

/// Pages that were copied and have no state yet.
#[derive(Debug, Clone)]
pub(crate) struct CopiedPages {
    pub(crate) pages: PagesRecord,
    entry: (Key, Sequence),
}

impl CopiedPages {
    /// Stages that a state has them now.
    pub(crate) fn stage(&self, tx: &mut Transaction) {
        let (key, version) = &self.entry;
        tx.require_version(key.clone(), Some(*version));
        tx.delete(key.clone());
    }

    /// Whether an error says that somebody else took them, or gave them up.
    pub(crate) fn are_gone(&self, error: &LedgerError) -> bool {
        error
            .conflict()
            .is_some_and(|conflict| conflict.key == self.entry.0)
    }
}

impl Blobs {
    /// The pages of a blob that nothing was written to yet.
    pub(crate) fn new_pages(&self) -> PagesRecord {
        PagesRecord {
            map: *self.random.uuid().as_bytes(),
            epoch: FIRST_EPOCH,
            encrypted: self.contents.encrypts(),
        }
    }

    /// Copies a state's pages into a map of their own for the blob `to`, in steps; stored content is shared.
    /// `from` is the state's key. Whoever then takes the map stages the copy's end beside it.
    ///
    /// # Errors
    /// The ledger's; a conflict if the source is written to meanwhile, or somebody else makes the same copy.
    pub(crate) async fn copy_pages(
        &self,
        (from, source): (&Key, &Blob),
        pages: &PagesRecord,
        to: &Key,
    ) -> Result<CopiedPages, LedgerError> {
        let key = keys::map_copy(to, from);
        let end = source.record.length.div_ceil(SEGMENT_BYTES);
        let new_pages = || {
            let new = self.new_pages();
            // What is written to the copy later is under the same customer's key.
            let encrypts = new.encrypted || source.record.encryption.is_some();
            let encrypted = encrypts && pages.encrypted;
            PagesRecord { encrypted, ..new }
        };
        let wait = SignedDuration::from_secs(UNFINISHED_COPY_SECONDS);
        loop {
            let snapshot = self.ledger.snapshot().await?;
            let mut tx = Transaction::new();
            tx.require_version(from.clone(), Some(source.version));
            let found = snapshot.get(&key).await?;
            let entry_version = found.as_ref().map(|found| found.version);
            tx.require_version(key.clone(), entry_version);
            let found: Option<MapCopy> = found.map(|found| decode(&found)).transpose()?;
            let (own, mut next) = match (found, entry_version) {
                // Somebody has finished it, and didn't take it.
                (Some(found), Some(version)) if found.source == source.record.etag && found.from >= end => {
                    return Ok(CopiedPages {
                        pages: found.pages,
                        entry: (key, version),
                    });
                }
                (Some(found), _) if found.source == source.record.etag => (found.pages, found.from),
                // Of a source that isn't there any more.
                (Some(found), _) => {
                    tx.put(keys::map_release(&found.pages.map), Vec::new());
                    (new_pages(), 0)
                }
                (None, _) => (new_pages(), 0),
            };
            let mut walk = Walk::new(snapshot.as_ref(), pages, next..end, WALK_ENTRIES_MAX);
            let mut full = None;
            while let Some(found) = walk.next().await? {
                stage_copy(&mut tx, snapshot.as_ref(), &pages.map, &own, &found).await?;
                if steps::is_full(&tx) {
                    full = Some(found.number + 1);
                    break;
                }
            }
            next = full.or(walk.stopped()).unwrap_or(end);
            let now = self.clock.now();
            let copy = MapCopy {
                pages: own,
                source: source.record.etag.clone(),
                from: next,
                due: now.saturating_add(wait).unwrap_or(now),
            };
            tx.put(key.clone(), encode(&copy)?);
            let committed = self.ledger.commit(tx).await?;
            if next >= end {
                return Ok(CopiedPages {
                    pages: copy.pages,
                    entry: (key, committed.sequence),
                });
            }
        }
    }

    /// Gives up copies whose time is over, in one commit; their maps are swept.
    pub(crate) async fn sweep_copies(&self) -> Result<(), LedgerError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), keys::all_map_copies(), Direction::Forward);
        let mut tx = Transaction::new();
        let mut given_up = 0;
        while given_up < SWEEP_STEP_ENTRIES_MAX
            && let Some(entry) = scan.next().await?
        {
            let copy: MapCopy = match decode(&entry.versioned) {
                Ok(copy) => copy,
                Err(error) => {
                    tracing::error!(key = ?entry.key, %error, "a copy that isn't finished can't be read; it stays");
                    continue;
                }
            };
            if copy.due > self.clock.now() {
                continue;
            }
            given_up += 1;
            tx.require_version(entry.key.clone(), Some(entry.versioned.version));
            tx.put(keys::map_release(&copy.pages.map), Vec::new());
            tx.delete(entry.key);
        }
        if tx.is_empty() {
            return Ok(());
        }
        match self.ledger.commit(tx).await {
            // One went on meanwhile: the next round looks again.
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a map is that of a copy that isn't finished.
pub(crate) async fn is_being_copied(snapshot: &dyn Snapshot, map: &MapId) -> Result<bool, LedgerError> {
    let mut scan = Scan::new(snapshot, keys::all_map_copies(), Direction::Forward);
    while let Some(entry) = scan.next().await? {
        if decode::<MapCopy>(&entry.versioned)?.pages.map == *map {
            return Ok(true);
        }
    }
    Ok(false)
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
    // Its own entries keep the contents until this commit has made the copy's.
    tx.require_version(found.entry.key.clone(), Some(found.entry.versioned.version));
    for place in found.segment.places() {
        match place {
            Place::Content(content) => tx.put(keys::reference(content.id(), &owner), Vec::new()),
            // As it is stored: its place says how it is encrypted, if it is.
            Place::Piece(number) | Place::EncryptedPiece(number, _) => {
                let bytes = piece(snapshot, (from, found.number), number).await?;
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
