//! Checks the pages of page blobs: each version of a segment is readable, its pieces and contents are there
//! and long enough, and its map is somebody's or waits for the sweep.

use ledger::{Direction, LedgerError, Scan, Snapshot, VerifyReport};

use crate::Blobs;
use crate::limits::SEGMENT_PAGES;
use crate::store::keys::{self, MapId};
use crate::store::page_maps::is_being_copied;
use crate::store::pages::{Found, span_range};
use crate::store::segment::Place;

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
        Ok(())
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
                Place::Piece(number) => {
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
            if length.is_none_or(|length| length < needed) {
                report.fault(format!("{place}: bytes up to {needed}, found {length:?}"));
            }
        }
        Ok(())
    }
}
