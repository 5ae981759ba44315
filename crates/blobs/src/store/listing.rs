//! Listings, page by page. With a delimiter, what lies behind a common prefix is jumped over, not
//! read. Snapshots come from a range of their own and are merged in before their blob.

use jiff::Timestamp;
use ledger::{Direction, Entry, Key, KeyRange, LedgerError, Scan, Snapshot};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::LIST_ENTRIES_MAX;
use crate::store::containers::Container;
use crate::store::deleted_containers::{DeletedContainer, DeletedVersion};
use crate::store::keys;
use crate::store::records::{BlobRecord, ContainerRecord, decode};

/// One line of a listing.
#[derive(Debug)]
pub(crate) enum Line {
    /// A record without its extents.
    Blob(Box<BlobRecord>),
    Prefix(String),
}

/// A container of a listing.
#[derive(Debug)]
pub(crate) enum ListedContainer {
    Live(ContainerRecord),
    Deleted(DeletedContainer),
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct From {
    /// The first name that may be given.
    pub(crate) name: String,
    /// Its first snapshot, or deleted container, that may be given; `None`: the blob or the container itself.
    pub(crate) snapshot: Option<Timestamp>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: Option<&'a str>,
    pub(crate) from: Option<&'a From>,
    pub(crate) entries_max: usize,
    pub(crate) states: States,
}

/// Which states beside the blobs themselves are given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct States {
    pub(crate) snapshots: bool,
    pub(crate) deleted: bool,
}

impl States {
    fn take(self, record: &BlobRecord) -> bool {
        match (&record.deleted, record.snapshot) {
            (Some(_), _) => self.deleted,
            (None, Some(_)) => self.snapshots,
            (None, None) => true,
        }
    }
}

/// A range, read one entry ahead.
struct Ahead<'a> {
    scan: Scan<'a, dyn Snapshot + 'a>,
    head: Option<Entry>,
}

impl<'a> Ahead<'a> {
    async fn new(snapshot: &'a dyn Snapshot, range: KeyRange) -> Result<Self, LedgerError> {
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let head = scan.next().await?;
        Ok(Self { scan, head })
    }

    async fn take(&mut self) -> Result<Option<Entry>, LedgerError> {
        match self.head.take() {
            Some(entry) => {
                self.head = self.scan.next().await?;
                Ok(Some(entry))
            }
            None => Ok(None),
        }
    }
}

/// Whether a snapshot comes before a blob: those of the same name do.
fn comes_first(snapshot: &Entry, blob: &Entry) -> bool {
    let (snapshot, blob) = (
        keys::behind_generation(&snapshot.key),
        keys::behind_generation(&blob.key),
    );
    snapshot < blob || snapshot.starts_with(blob)
}

impl Blobs {
    /// A page of blobs, and where the next page begins.
    pub(crate) async fn list_blobs(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        wanted: Wanted<'_>,
    ) -> Result<(Vec<Line>, Option<From>), BlobsError> {
        let generation = &container.record.generation;
        let whole = keys::blobs(generation, wanted.prefix);
        let whole_snapshots = keys::snapshots(generation, wanted.prefix);
        let mut range = begin(
            whole.clone(),
            wanted.from.map(|from| keys::blob(generation, &from.name)),
        );
        let mut snapshots_range = begin(
            whole_snapshots.clone(),
            wanted.from.and_then(|from| match from.snapshot {
                Some(at) => Some(keys::snapshot(generation, &from.name, at)),
                None => keys::snapshots_of(generation, &from.name).end,
            }),
        );
        let (mut lines, mut skipped) = (Vec::new(), 0);
        loop {
            let mut blobs = Ahead::new(snapshot, range).await?;
            let mut snapshots = match wanted.states != States::default() {
                true => Some(Ahead::new(snapshot, snapshots_range).await?),
                false => None,
            };
            let mut jump = None;
            loop {
                let first = match (
                    snapshots.as_ref().and_then(|ahead| ahead.head.as_ref()),
                    &blobs.head,
                ) {
                    (Some(snapshot), Some(blob)) => comes_first(snapshot, blob),
                    (snapshot, _) => snapshot.is_some(),
                };
                let source = snapshots.as_mut().filter(|_| first).unwrap_or(&mut blobs);
                let Some(entry) = source.take().await? else { break };
                let mut record: BlobRecord = decode(&entry.versioned)?;
                if !wanted.states.take(&record) {
                    // A page that skips as much as one may hold ends, however short it is.
                    if skipped >= LIST_ENTRIES_MAX {
                        let next = From {
                            name: record.name,
                            snapshot: record.snapshot,
                        };
                        return Ok((lines, Some(next)));
                    }
                    skipped += 1;
                    continue;
                }
                let common = wanted
                    .delimiter
                    .and_then(|delimiter| common(&record.name, wanted.prefix, delimiter));
                if lines.len() >= wanted.entries_max {
                    let next = match common {
                        // From the prefix's very begin: its first snapshot may have a later name.
                        Some(name) => From {
                            name,
                            snapshot: Some(Timestamp::MIN),
                        },
                        None => From {
                            name: record.name,
                            snapshot: record.snapshot,
                        },
                    };
                    return Ok((lines, Some(next)));
                }
                if let Some(common) = common {
                    jump = Some((
                        keys::blobs(generation, &common).end,
                        keys::snapshots(generation, &common).end,
                    ));
                    lines.push(Line::Prefix(common));
                    break;
                }
                // A blob that was deleted is given as one if nothing took its place.
                if record.deleted.as_ref().is_some_and(|deleted| deleted.was_current) {
                    let name = keys::name_of_state(&entry.key);
                    let next = snapshots.as_ref().and_then(|ahead| ahead.head.as_ref());
                    let another = next.is_some_and(|next| keys::name_of_state(&next.key) == name);
                    let current = blobs.head.as_ref();
                    let current = current.is_some_and(|blob| keys::behind_generation(&blob.key) == name);
                    if !another && !current {
                        record.snapshot = None;
                    }
                }
                // A page's records together would be gigabytes with the parts of each.
                record.extents = Vec::new();
                lines.push(Line::Blob(Box::new(record)));
            }
            match jump {
                Some((Some(next), Some(next_snapshot))) => {
                    range = begin(whole.clone(), Some(next));
                    snapshots_range = begin(whole_snapshots.clone(), Some(next_snapshot));
                }
                _ => return Ok((lines, None)),
            }
        }
    }

    /// A page of containers, each name's deleted ones before it, if they are asked for; and where the next page begins.
    pub(crate) async fn list_containers(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        wanted: Wanted<'_>,
    ) -> Result<(Vec<ListedContainer>, Option<From>), BlobsError> {
        let from = wanted.from.map(|from| keys::container(account, &from.name));
        let whole = begin(keys::containers(account, wanted.prefix), from);
        let mut scan = Scan::new(snapshot, whole, Direction::Forward);
        let deleted = keys::deleted_containers(account, wanted.prefix);
        let from = wanted.from.map(|from| {
            let version = from.snapshot.map_or(DeletedVersion(u64::MAX), DeletedVersion::at);
            keys::deleted_container(account, &from.name, version)
        });
        let mut deleted = Scan::new(snapshot, begin(deleted, from), Direction::Forward);
        let mut next_live: Option<ContainerRecord> = read(scan.next().await?)?;
        let mut next_deleted: Option<DeletedContainer> = None;
        if wanted.states.deleted {
            next_deleted = read(deleted.next().await?)?;
        }
        let mut listed = Vec::new();
        loop {
            let deleted_first = match (&next_live, &next_deleted) {
                (None, None) => return Ok((listed, None)),
                (Some(live), Some(deleted)) => deleted.container.name <= live.name,
                (live, _) => live.is_none(),
            };
            if listed.len() >= wanted.entries_max {
                let live = next_live.map(|live| From {
                    name: live.name,
                    snapshot: None,
                });
                let deleted = next_deleted.filter(|_| deleted_first).map(|deleted| From {
                    name: deleted.container.name,
                    snapshot: Some(deleted.version.time()),
                });
                return Ok((listed, deleted.or(live)));
            }
            if deleted_first {
                listed.extend(next_deleted.take().map(ListedContainer::Deleted));
                next_deleted = read(deleted.next().await?)?;
            } else {
                listed.extend(next_live.take().map(ListedContainer::Live));
                next_live = read(scan.next().await?)?;
            }
        }
    }
}

fn read<R: for<'de> serde::Deserialize<'de>>(entry: Option<Entry>) -> Result<Option<R>, LedgerError> {
    entry.map(|entry| decode(&entry.versioned)).transpose()
}

fn begin(range: KeyRange, from: Option<Key>) -> KeyRange {
    match from {
        Some(from) if from > range.start => KeyRange {
            start: from,
            end: range.end,
        },
        _ => range,
    }
}

/// The name up to and with the first delimiter behind the prefix.
fn common(name: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let rest = name.strip_prefix(prefix)?;
    let at = rest.find(delimiter)?;
    let end = prefix.len() + at + delimiter.len();
    name.get(..end).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use content::ContentId;
    use content::memory::MemoryContent;
    use ledger::memory::MemoryLedger;
    use ledger::random::SeededRandom;
    use ledger::{AdjustableClock, Ledger, Transaction};

    use super::*;
    use crate::Settings;
    use crate::store::records::{Deleted, Extent, encode};

    #[tokio::test]
    async fn a_page_is_bounded_in_what_it_holds_and_what_it_skips() {
        let begin = Timestamp::from_second(1_700_000_000).unwrap();
        let clock = Arc::new(AdjustableClock::standing_at(begin));
        let ledger = Arc::new(MemoryLedger::new(clock.clone()));
        let content = MemoryContent::new(Arc::new(move || (ContentId::from_bytes([1; 16]), begin)));
        let settings = Settings::default();
        let random = Arc::new(SeededRandom::new(1));
        let blobs = Blobs::new(ledger.clone(), Arc::new(content), clock, random, settings);
        blobs.ensure_container("dev", "box").await.unwrap();
        let snapshot = ledger.snapshot().await.unwrap();
        let container = blobs.container(snapshot.as_ref(), "dev", "box").await.unwrap();
        let mut tx = Transaction::new();
        let mut record = BlobRecord {
            name: "x".to_owned(),
            extents: vec![Extent {
                block: String::new(),
                length: 1,
                content: None,
            }],
            ..BlobRecord::default()
        };
        let generation = &container.record.generation;
        tx.put(keys::blob(generation, "x"), encode(&record).unwrap());
        record.deleted = Some(Deleted {
            at: begin,
            until: begin,
            was_current: false,
        });
        for at in 0..2 * LIST_ENTRIES_MAX + 1 {
            let at = Timestamp::from_second(i64::try_from(at).unwrap()).unwrap();
            record.snapshot = Some(at);
            tx.put(keys::snapshot(generation, "x", at), encode(&record).unwrap());
        }
        ledger.commit(tx).await.unwrap();
        let snapshot = ledger.snapshot().await.unwrap();
        let mut from = None;
        let mut pages = Vec::new();
        loop {
            let wanted = Wanted {
                prefix: "",
                delimiter: None,
                from: from.as_ref(),
                entries_max: 1,
                states: States {
                    snapshots: true,
                    deleted: false,
                },
            };
            let (lines, next) = blobs
                .list_blobs(snapshot.as_ref(), &container, wanted)
                .await
                .unwrap();
            for line in &lines {
                assert!(matches!(line, Line::Blob(record) if record.extents.is_empty()));
            }
            pages.push(lines.len());
            from = next;
            if from.is_none() {
                break;
            }
        }
        assert_eq!(pages, [0, 0, 1]);
    }
}
