//! Listings, page by page. With a delimiter, what lies behind a common prefix is jumped over, not
//! read. Snapshots come from a range of their own and are merged in before their blob.

use jiff::Timestamp;
use ledger::{Direction, Entry, Key, KeyRange, LedgerError, Scan, Snapshot};

use crate::Blobs;
use crate::error::BlobsError;
use crate::store::containers::Container;
use crate::store::keys;
use crate::store::records::{BlobRecord, ContainerRecord, decode};

/// One line of a listing.
#[derive(Debug)]
pub(crate) enum Line {
    Blob(Box<BlobRecord>),
    Prefix(String),
}

/// Where a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct From {
    /// The first name that may be given.
    pub(crate) name: String,
    /// Its first snapshot that may be given; `None`: the blob itself.
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
        let mut lines = Vec::new();
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

    /// A page of containers, and the name that the next page begins with.
    pub(crate) async fn list_containers(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        wanted: Wanted<'_>,
    ) -> Result<(Vec<ContainerRecord>, Option<From>), BlobsError> {
        let from = wanted.from.map(|from| keys::container(account, &from.name));
        let mut scan = Scan::new(
            snapshot,
            begin(keys::containers(account, wanted.prefix), from),
            Direction::Forward,
        );
        let mut records = Vec::new();
        while let Some(entry) = scan.next().await? {
            let record: ContainerRecord = decode(&entry.versioned)?;
            if records.len() >= wanted.entries_max {
                let next = From {
                    name: record.name,
                    snapshot: None,
                };
                return Ok((records, Some(next)));
            }
            records.push(record);
        }
        Ok((records, None))
    }
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
