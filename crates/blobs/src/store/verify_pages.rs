//! Checks the pages of page blobs: each version of a segment is readable, its pieces and contents are there
//! and long enough, and its map is somebody's or waits for the sweep; each piece is some version's, and each
//! owner is there.

use std::collections::BTreeSet;

use ledger::{Direction, LedgerError, Scan, Snapshot, VerifyReport};
use serde::Deserialize;

use crate::Blobs;
use crate::limits::{SEGMENT_PAGES, VERIFY_ENTRIES_MAX};
use crate::store::contents::plain_length;
use crate::store::keys::{self, MapId};
use crate::store::page_maps::is_being_copied;
use crate::store::pages::{Found, span_range};
use crate::store::records::{PagesRecord, decode};
use crate::store::segment::Place;

/// What of a record tells which pages it has; the rest isn't built.
#[derive(Deserialize)]
struct OfPages {
    #[serde(default)]
    pages: Option<PagesRecord>,
}

impl Blobs {
    pub(crate) async fn verify_pages(
        &self,
        snapshot: &dyn Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut scan = Scan::new(snapshot, keys::all_segments(), Direction::Forward);
        let mut owned: Option<MapId> = None;
        while let Some(entry) = scan.next().await? {
            let Some((map, ..)) = keys::segment_version(&entry.key) else {
                report.fault("pages: the key of a segment isn't one");
                continue;
            };
            let found = Found::read(entry)?;
            let place = format!(
                "pages {}, segment {} at {}",
                uuid::Uuid::from_bytes(map),
                found.number,
                found.epoch
            );
            if owned != Some(map) {
                let mut owners = Scan::new(snapshot, keys::map_owners(&map, 0..u64::MAX), Direction::Forward);
                let mut waits = owners.next().await?.is_some();
                for key in [keys::map_sweep(&map), keys::map_release(&map)] {
                    waits |= snapshot.get(&key).await?.is_some();
                }
                if !waits && !is_being_copied(snapshot, &map).await? {
                    report.fault(format!(
                        "{place}: nobody has them, and they would be kept for ever"
                    ));
                }
                owned = Some(map);
            }
            self.verify_segment(snapshot, &map, &found, &place, report)
                .await?;
            report.records += 1;
        }
        self.verify_pieces(snapshot, report).await?;
        self.verify_owners(snapshot, report).await
    }

    /// Looks for pieces that no version of their segment has: nothing would ever remove them.
    async fn verify_pieces(
        &self,
        snapshot: &dyn Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut scan = Scan::new(snapshot, keys::all_pieces(), Direction::Forward);
        let mut ahead = scan.next().await?;
        while let Some(entry) = ahead.take() {
            let Some((map, segment, first)) = keys::piece_number(&entry.key) else {
                report.fault("pages: the key of a piece isn't one");
                ahead = scan.next().await?;
                continue;
            };
            let mut pieces = BTreeSet::from([first]);
            loop {
                ahead = scan.next().await?;
                let next = ahead.as_ref().and_then(|next| keys::piece_number(&next.key));
                match next {
                    Some((same_map, same_segment, number))
                        if (same_map, same_segment) == (map, segment)
                            && pieces.len() < VERIFY_ENTRIES_MAX =>
                    {
                        pieces.insert(number);
                    }
                    _ => break,
                }
            }
            let versions = keys::segment_versions(&map, segment, u64::MAX);
            let mut versions = Scan::new(snapshot, versions, Direction::Forward);
            while !pieces.is_empty()
                && let Some(version) = versions.next().await?
            {
                for place in Found::read(version)?.segment.places() {
                    if let Some(number) = place.piece() {
                        pieces.remove(&number);
                    }
                }
            }
            for number in pieces {
                let map = uuid::Uuid::from_bytes(map);
                report.fault(format!(
                    "pages {map}, segment {segment}: nothing refers to its piece {number}, which would be kept for ever"
                ));
            }
        }
        Ok(())
    }

    /// Looks for owners of maps that aren't there, or have other pages: they would keep the map's for ever.
    async fn verify_owners(
        &self,
        snapshot: &dyn Snapshot,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut scan = Scan::new(snapshot, keys::all_map_owners(), Direction::Forward);
        loop {
            let mut owners = BTreeSet::new();
            while owners.len() < VERIFY_ENTRIES_MAX
                && let Some(entry) = scan.next().await?
            {
                owners.insert(entry.key);
            }
            if owners.is_empty() {
                return Ok(());
            }
            for range in keys::all_states() {
                let mut states = Scan::new(snapshot, range, Direction::Forward);
                while !owners.is_empty()
                    && let Some(state) = states.next().await?
                {
                    if let Some(pages) = decode::<OfPages>(&state.versioned)?.pages {
                        owners.remove(&keys::map_owner(&pages, &state.key));
                    }
                }
            }
            for owner in owners {
                let map = keys::owned_map(&owner)
                    .map(uuid::Uuid::from_bytes)
                    .unwrap_or_default();
                let epoch = keys::owned_epoch(&owner).unwrap_or_default();
                report.fault(format!(
                    "pages {map} at {epoch}: their owner isn't there, and they would be kept for ever"
                ));
            }
        }
    }

    async fn verify_segment(
        &self,
        snapshot: &dyn Snapshot,
        map: &MapId,
        found: &Found,
        place: &str,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut end = 0;
        for span in &found.segment.spans {
            if span.first < end || span.end() > SEGMENT_PAGES || span.epoch > found.epoch {
                report.fault(format!("{place}: its spans are in disorder"));
            }
            end = span.end();
            let needed = span_range(span, 0..span.pages).end;
            let length = match span.place {
                Place::Piece(number) | Place::EncryptedPiece(number, _) => {
                    let key = keys::piece(map, found.number, number);
                    snapshot.get(&key).await?.map(|stored| stored.value.len() as u64)
                }
                Place::Content(content) => {
                    let owner = keys::segment(map, found.number);
                    let reference = keys::reference(content.id(), &owner);
                    if snapshot.get(&reference).await?.is_none() {
                        report.fault(format!("{place}: its reference to {} is missing", content.id()));
                    }
                    let info = self.content.info(content.id()).await.ok();
                    info.map(|info| info.length_bytes)
                }
            };
            let length = length.and_then(|length| plain_length(span.place.stored(), length));
            if length.is_none_or(|length| length < needed) {
                report.fault(format!("{place}: bytes up to {needed}, found {length:?}"));
            }
        }
        Ok(())
    }
}
