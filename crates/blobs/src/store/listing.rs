//! Listings, page by page. With a delimiter, what lies behind a common prefix is jumped over, not
//! read. Snapshots and versions come from a range of their own and are merged in before their blob, names that
//! have staged blocks and no blob from a third one.
//!
//! A name that has versions but no blob is told by its last state: when another name comes next, nothing took the
//! place. So a page that ends before it says in its marker which version it saw.

use jiff::Timestamp;
use ledger::{Direction, Entry, Key, KeyRange, LedgerError, Scan, Snapshot};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::LIST_ENTRIES_MAX;
use crate::store::change_feed;
use crate::store::containers::Container;
use crate::store::deleted_containers::{DeletedContainer, DeletedVersion};
use crate::store::keys::{self, Generation};
use crate::store::records::{BlobRecord, ContainerRecord, UploadRecord, decode};

/// One line of a listing.
#[derive(Debug)]
pub(crate) enum Line {
    /// A record without its extents, but for the one that tells whether it is encrypted.
    Blob(Box<BlobRecord>),
    /// A name that has no blob: the newest of its versions.
    VersionsOnly(Box<BlobRecord>),
    /// A name that has staged blocks, but no blob.
    Uncommitted(String),
    Prefix(String),
}

/// A container of a listing.
#[derive(Debug)]
pub(crate) enum ListedContainer {
    Live(ContainerRecord),
    Deleted(DeletedContainer),
}

/// Where a page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct From {
    /// The first name that may be given.
    pub(crate) name: String,
    /// Its first state below, or deleted container, that may be given; `None`: the blob or the container itself.
    pub(crate) below: Option<Timestamp>,
    /// The newest of its versions that pages before saw, where names that have versions alone are given.
    pub(crate) version: Option<Timestamp>,
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
    /// Previous versions; with `deleted`, deleted ones as well.
    pub(crate) versions: bool,
    /// Names that have versions, deleted ones as well, but no blob.
    pub(crate) versions_only: bool,
    /// For containers: those that the service keeps.
    pub(crate) system: bool,
    /// Names that have staged blocks, but no blob.
    pub(crate) uncommitted: bool,
}

impl States {
    /// Whether anything that lies below names is asked for.
    fn below(self) -> bool {
        let uncommitted = Self {
            uncommitted: self.uncommitted,
            ..Self::default()
        };
        self != uncommitted
    }

    fn take(self, record: &BlobRecord) -> bool {
        match (&record.deleted, record.snapshot) {
            _ if record.previous => self.versions && (self.deleted || record.deleted.is_none()),
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

/// Of which range something comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Below,
    Uncommitted,
    Blob,
}

/// Whether a state below a name comes before a blob: those of the same name do.
fn comes_first(state: &Entry, blob: &Entry) -> bool {
    let (state, blob) = (
        keys::behind_generation(&state.key),
        keys::behind_generation(&blob.key),
    );
    state < blob || state.starts_with(blob)
}

/// Blobs, the states below their names, and names without a blob, in the order of a listing.
struct Merged<'a> {
    blobs: Ahead<'a>,
    below: Option<Ahead<'a>>,
    uploads: Option<Ahead<'a>>,
}

impl Merged<'_> {
    /// What comes next, and from where; `None` at the end.
    fn next(&self) -> Option<(Next, &Entry)> {
        let upload = self.uploads.as_ref().and_then(|ahead| ahead.head.as_ref());
        let named = match (upload, &self.blobs.head) {
            (Some(upload), Some(blob))
                if keys::behind_generation(&upload.key) >= keys::behind_generation(&blob.key) =>
            {
                Some((Next::Blob, blob))
            }
            (Some(upload), _) => Some((Next::Uncommitted, upload)),
            (None, Some(blob)) => Some((Next::Blob, blob)),
            (None, None) => None,
        };
        let state = self.below.as_ref().and_then(|ahead| ahead.head.as_ref());
        match (state, named) {
            (Some(state), Some((_, named))) if comes_first(state, named) => Some((Next::Below, state)),
            (Some(state), None) => Some((Next::Below, state)),
            (_, named) => named,
        }
    }

    /// The name of what comes next, as keys have it, unless it is a name without a blob.
    fn next_name(&self) -> Option<&[u8]> {
        match self.next()? {
            (Next::Below, state) => Some(keys::name_of_state(&state.key)),
            (Next::Blob, blob) => Some(keys::behind_generation(&blob.key)),
            (Next::Uncommitted, _) => None,
        }
    }

    async fn take(&mut self) -> Result<Option<(Next, Entry)>, LedgerError> {
        let Some((next, _)) = self.next() else {
            return Ok(None);
        };
        let ahead = match next {
            Next::Below => self.below.as_mut(),
            Next::Uncommitted => self.uploads.as_mut(),
            Next::Blob => Some(&mut self.blobs),
        };
        let Some(ahead) = ahead else { return Ok(None) };
        let Some(entry) = ahead.take().await? else {
            return Ok(None);
        };
        if next == Next::Blob {
            self.pass_uploads(&entry).await?;
        }
        Ok(Some((next, entry)))
    }

    /// A name that has a blob isn't one without.
    async fn pass_uploads(&mut self, blob: &Entry) -> Result<(), LedgerError> {
        let Some(uploads) = &mut self.uploads else {
            return Ok(());
        };
        let is_same =
            |upload: &Entry| keys::behind_generation(&upload.key) == keys::behind_generation(&blob.key);
        if uploads.head.as_ref().is_some_and(is_same) {
            uploads.take().await?;
        }
        Ok(())
    }
}

/// A version that was seen of a name, and the name as keys have it.
struct Seen {
    name: Vec<u8>,
    record: BlobRecord,
}

/// A line that is due, and where a page begins that doesn't give it any more.
enum Due {
    Line(Line, From),
    /// What comes next isn't asked for.
    Skipped(From),
    End,
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
        let whole = (
            keys::blobs(generation, wanted.prefix),
            keys::snapshots(generation, wanted.prefix),
            keys::uploads(generation, wanted.prefix),
        );
        let mut begins = (
            wanted.from.map(|from| keys::blob(generation, &from.name)),
            wanted.from.and_then(|from| match from.below {
                Some(at) => Some(keys::snapshot(generation, &from.name, at)),
                None => keys::snapshots_of(generation, &from.name).end,
            }),
            wanted.from.map(|from| keys::upload(generation, &from.name)),
        );
        let mut seen = match wanted.from {
            Some(from) if wanted.states.versions_only => seen(snapshot, generation, from).await?,
            _ => None,
        };
        let (mut lines, mut skipped) = (Vec::new(), 0);
        loop {
            let below = match wanted.states.below() {
                true => Some(Ahead::new(snapshot, begin(whole.1.clone(), begins.1)).await?),
                false => None,
            };
            let uploads = match wanted.states.uncommitted {
                true => Some(Ahead::new(snapshot, begin(whole.2.clone(), begins.2)).await?),
                false => None,
            };
            let mut merged = Merged {
                blobs: Ahead::new(snapshot, begin(whole.0.clone(), begins.0)).await?,
                below,
                uploads,
            };
            let jump = loop {
                let (line, own) = match due(&mut merged, &mut seen, wanted.states).await? {
                    Due::End => return Ok((lines, None)),
                    // A page that skips as much as one may hold ends, however short it is.
                    Due::Skipped(own) if skipped >= LIST_ENTRIES_MAX => return Ok((lines, Some(own))),
                    Due::Skipped(_) => {
                        skipped += 1;
                        continue;
                    }
                    Due::Line(line, own) => (line, own),
                };
                let common = wanted
                    .delimiter
                    .and_then(|delimiter| common(&own.name, wanted.prefix, delimiter));
                if lines.len() >= wanted.entries_max {
                    let next = match common {
                        // From the prefix's very begin: its first state may have a later name.
                        Some(name) => From {
                            name,
                            below: Some(Timestamp::MIN),
                            version: None,
                        },
                        None => own,
                    };
                    return Ok((lines, Some(next)));
                }
                match common {
                    None => lines.push(line),
                    Some(common) => {
                        let behind = (
                            keys::blobs(generation, &common).end,
                            keys::snapshots(generation, &common).end,
                            keys::uploads(generation, &common).end,
                        );
                        lines.push(Line::Prefix(common));
                        break behind;
                    }
                }
            };
            seen = None;
            let (Some(blob), Some(below), Some(upload)) = jump else {
                return Ok((lines, None));
            };
            begins = (Some(blob), Some(below), Some(upload));
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
            let version = from.below.map_or(DeletedVersion(u64::MAX), DeletedVersion::at);
            keys::deleted_container(account, &from.name, version)
        });
        let mut deleted = Scan::new(snapshot, begin(deleted, from), Direction::Forward);
        let mut next_live = next_container(&mut scan, wanted.states.system).await?;
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
                    ..From::default()
                });
                let deleted = next_deleted.filter(|_| deleted_first).map(|deleted| From {
                    name: deleted.container.name,
                    below: Some(deleted.version.time()),
                    version: None,
                });
                return Ok((listed, deleted.or(live)));
            }
            if deleted_first {
                listed.extend(next_deleted.take().map(ListedContainer::Deleted));
                next_deleted = read(deleted.next().await?)?;
            } else {
                listed.extend(next_live.take().map(ListedContainer::Live));
                next_live = next_container(&mut scan, wanted.states.system).await?;
            }
        }
    }
}

/// The version that the pages before saw, if it is still there.
async fn seen(
    snapshot: &dyn Snapshot,
    generation: &Generation,
    from: &From,
) -> Result<Option<Seen>, LedgerError> {
    let Some(version) = from.version else {
        return Ok(None);
    };
    let key = keys::snapshot(generation, &from.name, version);
    let Some(stored) = snapshot.get(&key).await? else {
        return Ok(None);
    };
    Ok(Some(Seen {
        name: keys::name_of_state(&key).to_vec(),
        record: decode(&stored)?,
    }))
}

/// What comes next.
async fn due(merged: &mut Merged<'_>, seen: &mut Option<Seen>, states: States) -> Result<Due, LedgerError> {
    if let Some(last) = seen.take_if(|last| merged.next_name() != Some(last.name.as_slice())) {
        let own = From {
            name: last.record.name.clone(),
            below: None,
            version: last.record.version,
        };
        return Ok(Due::Line(Line::VersionsOnly(Box::new(last.record)), own));
    }
    let Some((next, entry)) = merged.take().await? else {
        return Ok(Due::End);
    };
    if next == Next::Uncommitted {
        let record: UploadRecord = decode(&entry.versioned)?;
        let own = From {
            name: record.name.clone(),
            ..From::default()
        };
        return Ok(Due::Line(Line::Uncommitted(record.name), own));
    }
    let mut record: BlobRecord = decode(&entry.versioned)?;
    let own = From {
        name: record.name.clone(),
        below: record.below(),
        version: seen.as_ref().and_then(|seen| seen.record.version),
    };
    // A page's records together would be gigabytes with the parts of each.
    record.drop_extents();
    if record.below().is_none() {
        *seen = None;
    }
    if record.previous && states.versions_only {
        *seen = Some(Seen {
            name: keys::name_of_state(&entry.key).to_vec(),
            record: record.clone(),
        });
    }
    if !states.take(&record) {
        return Ok(Due::Skipped(own));
    }
    // A blob that was deleted is given as one if nothing took its place.
    let was_current = record.deleted.as_ref().is_some_and(|deleted| deleted.was_current);
    if was_current && merged.next_name() != Some(keys::name_of_state(&entry.key)) {
        record.snapshot = None;
    }
    Ok(Due::Line(Line::Blob(Box::new(record)), own))
}

/// The next container; those that the service keeps are passed over unless they are asked for.
async fn next_container(
    scan: &mut Scan<'_, dyn Snapshot + '_>,
    system: bool,
) -> Result<Option<ContainerRecord>, LedgerError> {
    loop {
        let next: Option<ContainerRecord> = read(scan.next().await?)?;
        match next {
            Some(next) if !system && next.name == change_feed::CONTAINER => {}
            next => return Ok(next),
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
                inline: None,
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
                    ..States::default()
                },
            };
            let (lines, next) = blobs
                .list_blobs(snapshot.as_ref(), &container, wanted)
                .await
                .unwrap();
            for line in &lines {
                assert!(matches!(line, Line::Blob(record) if record.extents.len() == 1));
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
