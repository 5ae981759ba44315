//! Reads every content that a blob refers to, whole, and says which blobs have a damaged one. What lies in the
//! ledger itself is checked by the ledger.

use std::collections::{BTreeMap, BTreeSet};

use content::{ContentError, ContentId};
use futures::{StreamExt as _, stream};
use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{SCRUB_CONTENTS_AT_ONCE, SCRUB_DAMAGED_MAX, SCRUB_FAILED_IN_A_ROW_MAX};
use crate::store::deleted_containers::DeletedContainer;
use crate::store::keys::{self, MapId};
use crate::store::pages::Found;
use crate::store::records::{BlobRecord, BlockRecord, ContainerRecord, decode};
use crate::store::segment::Place;
use crate::store::states::time_text;

/// Contents whose names are looked for in one walk.
const PAGE_CONTENTS: usize = 256;

/// A content that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Which.
    pub content: ContentId,
    /// What is wrong.
    pub cause: String,
    /// Who has it: `container/blob`, with the snapshot or the version, or that it is a staged block.
    pub owners: BTreeSet<String>,
}

/// What a scrub found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// Contents that were read.
    pub contents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those that can't be read, in the order of their ids; the first [`SCRUB_DAMAGED_MAX`] of them.
    pub damaged: Vec<Damage>,
    /// How many there are.
    pub damaged_count: u64,
    /// Why not all was read, if it wasn't.
    pub broke_off: Option<String>,
}

impl Blobs {
    /// Reads all content that is referred to. `progress` is told how many contents and bytes were read. What is
    /// deleted meanwhile is no damage.
    ///
    /// Where the content store can't be reached, or fails time and again, it breaks off and says what it found.
    ///
    /// # Errors
    /// As the ledger.
    pub async fn scrub(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<ScrubReport, BlobsError> {
        let mut report = ScrubReport::default();
        let (mut after, mut in_a_row) = (None, 0);
        'all: loop {
            let page = self.referenced(after).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            let mut reads = stream::iter(page)
                .map(|id| async move { (id, self.read_through(id).await) })
                .buffered(SCRUB_CONTENTS_AT_ONCE);
            while let Some((id, read)) = reads.next().await {
                let is_of_the_disk = matches!(read, Err(ContentError::Io(_)));
                in_a_row = if is_of_the_disk { in_a_row + 1 } else { 0 };
                report.contents += 1;
                match read {
                    Ok(bytes) => report.bytes += bytes,
                    Err(error) if is_of_the_store(&error) || in_a_row > SCRUB_FAILED_IN_A_ROW_MAX => {
                        report.broke_off = Some(error.to_string());
                        break 'all;
                    }
                    // Damaged, gone, or where the disk can't be read.
                    Err(error) => {
                        if !self.still_has(id).await? {
                            continue;
                        }
                        report.damaged_count += 1;
                        if report.damaged.len() < SCRUB_DAMAGED_MAX {
                            report.damaged.push(Damage {
                                content: id,
                                cause: error.to_string(),
                                owners: BTreeSet::new(),
                            });
                        }
                    }
                }
                progress(report.contents, report.bytes);
            }
        }
        if !report.damaged.is_empty() {
            self.name_owners(&mut report.damaged).await?;
        }
        Ok(report)
    }

    /// The next contents that somebody refers to, by id.
    async fn referenced(&self, after: Option<ContentId>) -> Result<Vec<ContentId>, LedgerError> {
        let all = keys::all_references();
        let behind = after.and_then(|after| keys::references(after).end);
        let range = KeyRange {
            start: behind.unwrap_or(all.start),
            end: all.end,
        };
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut found: Vec<ContentId> = Vec::new();
        while let Some(entry) = scan.next().await? {
            let Some(id) = keys::referenced_content(&entry.key) else {
                continue;
            };
            if found.last() == Some(&id) {
                continue;
            }
            if found.len() == PAGE_CONTENTS {
                break;
            }
            found.push(id);
        }
        Ok(found)
    }

    async fn still_has(&self, id: ContentId) -> Result<bool, LedgerError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), keys::references(id), Direction::Forward);
        Ok(scan.next().await?.is_some())
    }

    async fn read_through(&self, id: ContentId) -> Result<u64, ContentError> {
        let mut reader = self.content.reader(id, 0..u64::MAX).await?;
        let mut bytes = 0;
        while let Some(piece) = reader.next().await? {
            bytes += piece.len() as u64;
        }
        let stored = self.content.info(id).await?.length_bytes;
        if bytes == stored {
            return Ok(bytes);
        }
        let cause = format!("{bytes} of {stored} bytes");
        Err(ContentError::Corrupt { id, cause })
    }

    /// References don't say whose they are: looks at every record once.
    async fn name_owners(&self, damaged: &mut [Damage]) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let snapshot = snapshot.as_ref();
        let mut of_content: BTreeMap<ContentId, BTreeSet<String>> = damaged
            .iter()
            .map(|damage| (damage.content, BTreeSet::new()))
            .collect();
        let of_maps = maps_with(snapshot, &of_content).await?;
        let mut containers: Vec<ContainerRecord> = Vec::new();
        let mut scan = Scan::new(snapshot, keys::all_containers(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            containers.push(decode(&entry.versioned)?);
        }
        let mut scan = Scan::new(snapshot, keys::all_deleted_containers(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            containers.push(decode::<DeletedContainer>(&entry.versioned)?.container);
        }
        for container in containers {
            let [blobs, states, _, blocks, ..] = keys::generation(&container.generation);
            for range in [blobs, states] {
                let mut scan = Scan::new(snapshot, range, Direction::Forward);
                while let Some(entry) = scan.next().await? {
                    let record: BlobRecord = decode(&entry.versioned)?;
                    let pages = record.pages.as_ref();
                    let of_pages = pages
                        .and_then(|pages| of_maps.get(&pages.map))
                        .into_iter()
                        .flatten();
                    for id in record.contents().chain(of_pages.copied()) {
                        if let Some(owners) = of_content.get_mut(&id) {
                            owners.insert(name_of(&container, &record));
                        }
                    }
                }
            }
            let mut scan = Scan::new(snapshot, blocks, Direction::Forward);
            while let Some(entry) = scan.next().await? {
                let block: BlockRecord = decode(&entry.versioned)?;
                if let Some(owners) = of_content.get_mut(&block.content.id()) {
                    owners.insert(format!(
                        "{}, block {} that isn't committed",
                        container.name, block.id
                    ));
                }
            }
        }
        for damage in damaged {
            damage.owners = of_content.remove(&damage.content).unwrap_or_default();
        }
        Ok(())
    }
}

/// Whether it says nothing of the content.
fn is_of_the_store(error: &ContentError) -> bool {
    matches!(error, ContentError::Unavailable(_) | ContentError::Full)
}

/// The maps of pages that have one of these contents, and which of them.
async fn maps_with(
    snapshot: &dyn Snapshot,
    wanted: &BTreeMap<ContentId, BTreeSet<String>>,
) -> Result<BTreeMap<MapId, BTreeSet<ContentId>>, LedgerError> {
    let mut found: BTreeMap<MapId, BTreeSet<ContentId>> = BTreeMap::new();
    let mut scan = Scan::new(snapshot, keys::all_segments(), Direction::Forward);
    while let Some(entry) = scan.next().await? {
        let Some((map, ..)) = keys::segment_version(&entry.key) else {
            continue;
        };
        for place in Found::read(entry)?.segment.places() {
            if let Place::Content(content) = place
                && wanted.contains_key(&content.id())
            {
                found.entry(map).or_default().insert(content.id());
            }
        }
    }
    Ok(found)
}

fn name_of(container: &ContainerRecord, record: &BlobRecord) -> String {
    let name = format!("{}/{}", container.name, record.name);
    match record.below() {
        None => name,
        Some(at) if record.previous => format!("{name}, version {}", time_text(at)),
        Some(at) => format!("{name}, snapshot {}", time_text(at)),
    }
}
