//! The pages of page blobs in the ledger: a map of segments, each of which is a record by the epoch at
//! which it was written last.
//!
//! A snapshot takes the blob's epoch, and the blob goes on with the next one: what it writes from then on is
//! a new version of the segment, and the old one stays as it is. Reading at an epoch takes the newest
//! version that isn't newer.
//!
//! Invariant: only the blob itself writes to its map, at its own epoch, and each write goes with a new
//! version of the blob's record. A place's bytes are never changed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use content::ContentError;
use encryption::DataKey;
use futures::lock::{Mutex, MutexGuard};
use ledger::{Direction, Entry, Key, LedgerError, Scan, ScanLimit, Sequence, Snapshot, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{
    CLEAR_SEGMENTS_MAX, PAGE_BYTES, PAGE_QUEUES, SEGMENT_BYTES, SEGMENT_PAGES, SEGMENT_PLACES_MAX,
    WALK_ENTRIES_MAX, WALK_VERSIONS_MAX,
};
use crate::store::contents::Contents;
use crate::store::keys::{self, MapId};
use crate::store::records::{PagesRecord, StoredId, decode, encode};
use crate::store::segment::{Place, Segment, Span};
use crate::store::staging::Place as Staged;

/// Where writes of one page blob wait for each other. They are decided by the ledger's preconditions; the
/// queues save those of this process from overtaking each other again and again.
#[derive(Default)]
pub(crate) struct Queues([Mutex<()>; PAGE_QUEUES]);

impl Queues {
    /// Waits for a turn, which lasts until the guard is dropped.
    pub(crate) async fn turn(&self, blob: &Key) -> Option<MutexGuard<'_, ()>> {
        let hash = blake3::hash(blob.as_bytes());
        let first = hash.as_bytes().first().copied().unwrap_or_default();
        let queue = self.0.get(usize::from(first) % PAGE_QUEUES)?;
        Some(queue.lock().await)
    }
}

/// A version of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) entry: Entry,
    pub(crate) segment: Segment,
}

fn corrupt(cause: impl Into<String>) -> LedgerError {
    LedgerError::Corrupt(cause.into())
}

impl Found {
    pub(crate) fn read(entry: Entry) -> Result<Self, LedgerError> {
        let (number, epoch) = version(&entry)?;
        let segment = decode(&entry.versioned)?;
        Ok(Self {
            number,
            epoch,
            entry,
            segment,
        })
    }

    /// Demands that it is still as it was read.
    pub(crate) fn require(&self, tx: &mut Transaction) {
        let version: Sequence = self.entry.versioned.version;
        tx.require_version(self.entry.key.clone(), Some(version));
    }
}

/// The segments that a state has, one after the other. Those that were never written aren't read, and of one
/// that was written at many epochs only some versions are: the rest is jumped over.
pub(crate) struct Walk<'a> {
    snapshot: &'a dyn Snapshot,
    pages: &'a PagesRecord,
    scan: Scan<'a, dyn Snapshot + 'a>,
    ahead: Option<Entry>,
    /// The first number that isn't walked to.
    end: u64,
    /// Entries that may be read still.
    left: usize,
    stopped: Option<u64>,
}

impl<'a> Walk<'a> {
    /// A walk that reads about at most so many entries, at least those of one segment.
    pub(crate) fn new(
        snapshot: &'a dyn Snapshot,
        pages: &'a PagesRecord,
        numbers: std::ops::Range<u64>,
        entries_max: usize,
    ) -> Self {
        Self {
            snapshot,
            pages,
            scan: Scan::new(
                snapshot,
                keys::segments(&pages.map, numbers.start),
                Direction::Forward,
            ),
            ahead: None,
            end: numbers.end,
            left: entries_max,
            stopped: None,
        }
    }

    /// The next segment; `None` at the end, or where the walk stops before.
    pub(crate) async fn next(&mut self) -> Result<Option<Found>, LedgerError> {
        loop {
            let entry = match self.ahead.take() {
                Some(entry) => Some(entry),
                None => self.scan.next().await?,
            };
            let Some(entry) = entry else { return Ok(None) };
            let (number, _) = version(&entry)?;
            if number >= self.end || self.left == 0 {
                self.stopped = (number < self.end).then_some(number);
                self.ahead = Some(entry);
                return Ok(None);
            }
            if let Some(found) = self.newest(entry).await? {
                return Found::read(found).map(Some);
            }
        }
    }

    /// The first segment that a walk which ended didn't get to; `None` if it got to all of them.
    pub(crate) fn stopped(&self) -> Option<u64> {
        self.stopped
    }

    /// The state's version of the segment whose first version this is; the scan is behind the segment then.
    async fn newest(&mut self, first: Entry) -> Result<Option<Entry>, LedgerError> {
        let (number, _) = version(&first)?;
        let mut newest = None;
        let mut entry = first;
        for _ in 0..WALK_VERSIONS_MAX {
            self.left = self.left.saturating_sub(1);
            if version(&entry)?.1 <= self.pages.epoch {
                newest = Some(entry);
            }
            match self.scan.next().await? {
                None => return Ok(newest),
                Some(next) if version(&next)?.0 != number => {
                    self.ahead = Some(next);
                    return Ok(newest);
                }
                Some(next) => entry = next,
            }
        }
        self.left = self.left.saturating_sub(WALK_VERSIONS_MAX);
        let behind = keys::segments(&self.pages.map, number + 1);
        self.scan = Scan::new(self.snapshot, behind, Direction::Forward);
        newest_version(self.snapshot, self.pages, number).await
    }
}

/// Number and epoch of a version.
fn version(entry: &Entry) -> Result<(u64, u64), LedgerError> {
    let version = keys::segment_version(&entry.key);
    version
        .map(|(_, number, epoch)| (number, epoch))
        .ok_or_else(|| corrupt("the key of a segment of pages"))
}

/// What pages are filled with.
#[derive(Debug, Clone)]
pub(crate) enum Fill<'a> {
    Zeros,
    /// What was taken in.
    Content(&'a Staged),
    /// The same pages, gathered in one place.
    Gathered(StoredId),
}

/// The part of `range` (bytes) that lies in a segment, in pages from its begin; pages that it has a part of
/// are whole.
pub(crate) fn pages_within(number: u64, range: &std::ops::Range<u64>) -> std::ops::Range<u32> {
    let begins = number * SEGMENT_BYTES;
    let page = |page: u64| u32::try_from(page).unwrap_or(SEGMENT_PAGES).min(SEGMENT_PAGES);
    let start = range.start.saturating_sub(begins) / PAGE_BYTES;
    page(start)..page(range.end.saturating_sub(begins).div_ceil(PAGE_BYTES))
}

/// The newest versions of a segment that a state has or had, the newest one first.
async fn segment_versions(
    snapshot: &dyn Snapshot,
    pages: &PagesRecord,
    number: u64,
    entries_max: usize,
) -> Result<Vec<Found>, LedgerError> {
    let range = keys::segment_versions(&pages.map, number, pages.epoch);
    let mut scan = Scan::new(snapshot, range, Direction::Backward);
    let mut found = Vec::new();
    while found.len() < entries_max
        && let Some(entry) = scan.next().await?
    {
        found.push(Found::read(entry)?);
    }
    Ok(found)
}

/// A segment as a state has it.
pub(crate) async fn segment(
    snapshot: &dyn Snapshot,
    pages: &PagesRecord,
    number: u64,
) -> Result<Option<Found>, LedgerError> {
    let newest = newest_version(snapshot, pages, number).await?;
    newest.map(Found::read).transpose()
}

async fn newest_version(
    snapshot: &dyn Snapshot,
    pages: &PagesRecord,
    number: u64,
) -> Result<Option<Entry>, LedgerError> {
    let range = keys::segment_versions(&pages.map, number, pages.epoch);
    let limit = ScanLimit {
        entries_max: 1,
        bytes_max: 1,
    };
    let page = snapshot.scan_page(&range, Direction::Backward, limit).await?;
    Ok(page.entries.into_iter().next())
}

/// A piece as it is stored.
pub(crate) async fn piece(
    snapshot: &dyn Snapshot,
    (map, segment): (&MapId, u64),
    number: u64,
) -> Result<Bytes, LedgerError> {
    let stored = snapshot.get(&keys::piece(map, segment, number)).await?;
    let stored = stored.ok_or_else(|| corrupt("a piece of a page blob is missing"))?;
    Ok(stored.value)
}

/// A piece as it was written, at least so long.
pub(crate) async fn open_piece(
    contents: &Contents,
    snapshot: &dyn Snapshot,
    owner: (&MapId, u64),
    (number, stored): (u64, Option<StoredId>),
    length: usize,
) -> Result<Bytes, BlobsError> {
    let bytes = piece(snapshot, owner, number).await?;
    let bytes = contents.open_small(stored, bytes).await?;
    if bytes.len() < length {
        return Err(corrupt("a piece of a page blob is short").into());
    }
    Ok(bytes)
}

impl Blobs {
    /// Stages pages that were taken in. The blob's record must go with it.
    pub(crate) async fn stage_pages(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        pages: &PagesRecord,
        range: &std::ops::Range<u64>,
        content: &Staged,
    ) -> Result<(), BlobsError> {
        let last = range.end.saturating_sub(1) / SEGMENT_BYTES;
        for number in range.start / SEGMENT_BYTES..=last {
            self.stage_segment(tx, snapshot, pages, number, range, &Fill::Content(content))
                .await?;
        }
        Ok(())
    }

    /// Stages that pages are zeros, in as many segments as one commit takes; where to go on.
    pub(crate) async fn stage_clear(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        pages: &PagesRecord,
        range: &std::ops::Range<u64>,
    ) -> Result<Option<u64>, BlobsError> {
        let end = range.end.div_ceil(SEGMENT_BYTES);
        let numbers = range.start / SEGMENT_BYTES..end;
        let mut walk = Walk::new(snapshot, pages, numbers, WALK_ENTRIES_MAX);
        let mut cleared = 0;
        while let Some(found) = walk.next().await? {
            if cleared >= CLEAR_SEGMENTS_MAX || crate::store::steps::is_full(tx) {
                return Ok(Some(range.start.max(found.number * SEGMENT_BYTES)));
            }
            cleared += 1;
            self.stage_segment(tx, snapshot, pages, found.number, range, &Fill::Zeros)
                .await?;
        }
        Ok(walk
            .stopped()
            .map(|number| range.start.max(number * SEGMENT_BYTES)))
    }

    /// Stages one segment's new version; what no version has any more goes.
    async fn stage_segment(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        pages: &PagesRecord,
        number: u64,
        range: &std::ops::Range<u64>,
        fill: &Fill<'_>,
    ) -> Result<(), BlobsError> {
        let map = &pages.map;
        let owner = keys::segment(map, number);
        let mut versions = segment_versions(snapshot, pages, number, 2).await?.into_iter();
        let (newest, previous) = (versions.next(), versions.next());
        let before = newest
            .as_ref()
            .map(|found| found.segment.clone())
            .unwrap_or_default();
        let within = pages_within(number, range);
        let after = fill_segment(
            tx,
            (map, number, pages.epoch),
            before.clone(),
            within,
            range,
            fill,
        )?;
        if after == before {
            return Ok(());
        }
        for found in newest.iter().chain(&previous) {
            found.require(tx);
        }
        let own = keys::segment_at(map, number, pages.epoch);
        // A version that some snapshot has stays; otherwise this one takes its place.
        let kept = match &newest {
            Some(found) if found.epoch < pages.epoch => {
                let owners = keys::map_owners(map, found.epoch..pages.epoch);
                Scan::new(snapshot, owners, Direction::Forward)
                    .next()
                    .await?
                    .is_some()
            }
            _ => false,
        };
        let old = before.places();
        let new = after.places();
        for place in new.difference(&old) {
            if let Place::Content(content) = place {
                tx.put(keys::reference(content.id(), &owner), Vec::new());
            }
        }
        if !kept {
            let older = previous.as_ref().map(|found| found.segment.places());
            let older = older.unwrap_or_default();
            for place in old
                .iter()
                .filter(|place| !new.contains(place) && !older.contains(place))
            {
                stage_place_removal(tx, map, number, *place);
            }
            if let Some(found) = &newest {
                tx.delete(found.entry.key.clone());
            }
        }
        // Zeros need no record where there is none below.
        if after.spans.is_empty() && previous.is_none() && !kept {
            tx.delete(own);
        } else {
            tx.put(own, encode(&after)?);
        }
        Ok(())
    }

    /// Gathers the bytes of segments that lie in too many places, each in one of its own. What a write
    /// leaves behind is tidied so; the blob stays as it is. `blob` is the key of its record and its version:
    /// once it is another one, a newer version of the segment may have the places, too. What is gathered is
    /// encrypted under `key`, by which a customer's blob is read as well.
    ///
    /// # Errors
    /// As the ledger and the content store; nothing is lost then, and the next write tries again.
    pub(crate) async fn gather(
        &self,
        key: Option<Arc<DataKey>>,
        (blob, version): (&Key, Sequence),
        pages: &PagesRecord,
        range: &std::ops::Range<u64>,
    ) -> Result<(), BlobsError> {
        let contents = self.contents.under(key.clone());
        let last = range.end.saturating_sub(1) / SEGMENT_BYTES;
        for number in range.start / SEGMENT_BYTES..=last {
            let snapshot = self.ledger.snapshot().await?;
            let Some(found) = segment(snapshot.as_ref(), pages, number).await? else {
                continue;
            };
            // What an older version has is left to it: a gathered one is the blob's own.
            if found.epoch != pages.epoch || found.segment.places().len() <= SEGMENT_PLACES_MAX {
                continue;
            }
            let mut writer = contents.writer(key.as_ref()).await?;
            for span in &found.segment.spans {
                let owner = (&pages.map, number);
                let bytes = span_bytes(&contents, snapshot.as_ref(), owner, span).await?;
                writer.write(bytes).await?;
            }
            let gathered = Fill::Gathered(writer.finish().await?);
            let whole = number * SEGMENT_BYTES..(number + 1) * SEGMENT_BYTES;
            let mut tx = Transaction::new();
            tx.require_version(blob.clone(), Some(version));
            self.stage_segment(&mut tx, snapshot.as_ref(), pages, number, &whole, &gathered)
                .await?;
            match self.ledger.commit(tx).await {
                // Somebody wrote meanwhile, and gathers as well.
                Ok(_) | Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The bytes of a span.
pub(crate) async fn span_bytes(
    contents: &Contents,
    snapshot: &dyn Snapshot,
    (map, number): (&MapId, u64),
    span: &Span,
) -> Result<Bytes, BlobsError> {
    let range = span_range(span, 0..span.pages);
    match span.place {
        Place::Piece(_) | Place::EncryptedPiece(..) => {
            let at = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
            let end = at(range.end);
            let own = (span.place.piece().unwrap_or_default(), span.place.stored());
            let bytes = open_piece(contents, snapshot, (map, number), own, end).await?;
            Ok(bytes.slice(at(range.start)..end))
        }
        Place::Content(content) => {
            let mut reader = contents.reader(content, range).await?;
            let mut bytes = BytesMut::new();
            while let Some(piece) = reader.next().await? {
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        }
    }
}

/// The bytes of a place that some of a span's pages have; `pages` counts from the span's begin.
pub(crate) fn span_range(span: &Span, pages: std::ops::Range<u32>) -> std::ops::Range<u64> {
    let at = |page: u32| u64::from(span.skip + page) * PAGE_BYTES;
    at(pages.start)..at(pages.end)
}

fn fill_segment(
    tx: &mut Transaction,
    (map, number, epoch): (&MapId, u64, u64),
    mut segment: Segment,
    within: std::ops::Range<u32>,
    range: &std::ops::Range<u64>,
    fill: &Fill<'_>,
) -> Result<Segment, ContentError> {
    let span = |skip, place| Span {
        first: within.start,
        pages: within.end - within.start,
        epoch,
        skip,
        place,
    };
    // What of the content belongs to the segments before this one.
    let begins = (number * SEGMENT_BYTES).max(range.start) - range.start;
    match fill {
        Fill::Zeros => segment.clear(within),
        Fill::Gathered(content) => segment = segment.gathered(Place::Content(*content)),
        Fill::Content(Staged::Stored(content)) => {
            let skip = u32::try_from(begins / PAGE_BYTES).unwrap_or(u32::MAX);
            segment.put(span(skip, Place::Content(*content)));
        }
        Fill::Content(Staged::Inline(small)) => {
            let piece = segment.next_piece;
            segment.next_piece += 1;
            let start = usize::try_from(begins).unwrap_or(usize::MAX).min(small.len());
            let length = u64::from(within.end - within.start) * PAGE_BYTES;
            let end = start + usize::try_from(length).unwrap_or(usize::MAX);
            let (own, stored) = small.stored(start..end.min(small.len()))?;
            tx.put(keys::piece(map, number, piece), own);
            let place = stored.map_or(Place::Piece(piece), |stored| Place::EncryptedPiece(piece, stored));
            segment.put(span(0, place));
        }
    }
    Ok(segment)
}

/// Removes a place that no version of a segment has any more.
pub(crate) fn stage_place_removal(tx: &mut Transaction, map: &MapId, segment: u64, place: Place) {
    match place {
        Place::Piece(number) | Place::EncryptedPiece(number, _) => {
            tx.delete(keys::piece(map, segment, number));
        }
        Place::Content(content) => {
            let owner = keys::segment(map, segment);
            tx.delete(keys::reference(content.id(), &owner));
            tx.put(keys::dropped(content.id()), Vec::new());
        }
    }
}
