//! Reading pages: a blob's bytes on their way out, and which pages are written.
//!
//! Invariant: holes are never in memory, and neither is more of what is written than a window of some
//! segments. A window is read from one snapshot of the ledger; if the blob was changed before the next one,
//! the body breaks off, as a mix of both would be neither.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use content::ContentReader;
use futures::stream;
use http_semantics::{Body, BodyError};
use ledger::{Key, Ledger, LedgerError, Snapshot};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::{BODY_PIECES_BYTES_MAX, BODY_SEGMENTS_MAX, PAGE_BYTES, SEGMENT_BYTES, WALK_ENTRIES_MAX};
use crate::store::containers::Container;
use crate::store::contents::Contents;
use crate::store::keys;
use crate::store::pages::{Found, Walk, open_piece, pages_within, segment, span_range};
use crate::store::records::{BlobRecord, PagesRecord, StoredId, decode};
use crate::store::segment::{Fate, Place, Segment, changed, written};

/// What holes are made of.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A part of a body.
#[derive(Debug)]
enum Part {
    Zeros(u64),
    Bytes(Bytes),
    Stored(StoredId, Range<u64>),
}

/// A body as it is being read.
struct Reading {
    ledger: Arc<dyn Ledger>,
    contents: Contents,
    /// The state's record, and its entity tag when the reading began. Snapshots don't change, but go.
    unchanged: (Key, String),
    pages: PagesRecord,
    window: VecDeque<Part>,
    /// What is left behind the window.
    rest: Range<u64>,
    open: Option<Box<dyn ContentReader>>,
    /// Entries of the ledger that are read for a window.
    entries_max: usize,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobsError> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(bytes) = open.next().await? {
                    return Ok(Some(bytes));
                }
                self.open = None;
            }
            match self.window.pop_front() {
                Some(Part::Bytes(bytes)) => return Ok(Some(bytes)),
                Some(Part::Zeros(length)) => {
                    let now = length.min(ZEROS.len() as u64);
                    if now < length {
                        self.window.push_front(Part::Zeros(length - now));
                    }
                    let now = usize::try_from(now).unwrap_or(ZEROS.len());
                    return Ok(Some(Bytes::from_static(&ZEROS).slice(..now)));
                }
                Some(Part::Stored(id, range)) => self.open = Some(self.contents.reader(id, range).await?),
                None if self.rest.is_empty() => return Ok(None),
                None => {
                    let snapshot = self.ledger.snapshot().await?;
                    let (key, etag) = &self.unchanged;
                    let now = snapshot.get(key).await?;
                    let now: Option<BlobRecord> = now.map(|now| decode(&now)).transpose()?;
                    if now.is_none_or(|now| now.etag != *etag) {
                        let cause = "a page blob was changed while it was read";
                        return Err(LedgerError::Unavailable(cause.to_owned()).into());
                    }
                    self.read_window(snapshot.as_ref()).await?;
                }
            }
        }
    }

    /// Reads where the next bytes are.
    async fn read_window(&mut self, snapshot: &dyn Snapshot) -> Result<(), BlobsError> {
        let (first, end) = (
            self.rest.start / SEGMENT_BYTES,
            self.rest.end.div_ceil(SEGMENT_BYTES),
        );
        // Within a segment or two, as most reads are, what lies before them in time isn't looked at.
        if end - first <= 2 {
            for number in first..end {
                if let Some(found) = segment(snapshot, &self.pages, number).await? {
                    self.add(snapshot, &found).await?;
                }
            }
        } else {
            let pages = self.pages.clone();
            let mut walk = Walk::new(snapshot, &pages, first..end, self.entries_max);
            let (mut segments, mut bytes) = (0, 0);
            while let Some(found) = walk.next().await? {
                bytes += self.add(snapshot, &found).await?;
                segments += 1;
                if segments >= BODY_SEGMENTS_MAX || bytes >= BODY_PIECES_BYTES_MAX {
                    // The segment is done with, also if nothing is written in it: the next window
                    // must begin behind it.
                    let behind = (found.number + 1) * SEGMENT_BYTES;
                    self.add_zeros(behind.min(self.rest.end));
                    return Ok(());
                }
            }
            if let Some(number) = walk.stopped() {
                self.add_zeros((number * SEGMENT_BYTES).min(self.rest.end));
                return Ok(());
            }
        }
        self.add_zeros(self.rest.end);
        Ok(())
    }

    fn add_zeros(&mut self, to: u64) {
        if to > self.rest.start {
            self.window.push_back(Part::Zeros(to - self.rest.start));
            self.rest.start = to;
        }
    }

    /// Adds a segment's parts; how many bytes of them are in memory.
    async fn add(&mut self, snapshot: &dyn Snapshot, found: &Found) -> Result<usize, BlobsError> {
        let wanted = pages_within(found.number, &self.rest);
        let begins = found.number * SEGMENT_BYTES;
        let mut read = 0;
        for span in &found.segment.spans {
            let (from, to) = (span.first.max(wanted.start), span.end().min(wanted.end));
            if from >= to {
                continue;
            }
            // A request may begin or end within a page.
            let start = (begins + u64::from(from) * PAGE_BYTES).max(self.rest.start);
            let end = (begins + u64::from(to) * PAGE_BYTES).min(self.rest.end);
            self.add_zeros(start);
            let place = span_range(span, 0..span.pages);
            let offset = begins + u64::from(span.first) * PAGE_BYTES;
            let range = place.start + (start - offset)..place.start + (end - offset);
            self.window.push_back(match span.place {
                Place::Content(content) => Part::Stored(content, range),
                Place::Piece(number) | Place::EncryptedPiece(number, _) => {
                    let at = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
                    let owner = (&self.pages.map, found.number);
                    let own = (number, span.place.stored());
                    let bytes = open_piece(&self.contents, snapshot, owner, own, at(range.end)).await?;
                    read += bytes.len();
                    Part::Bytes(bytes.slice(at(range.start)..at(range.end)))
                }
            });
            self.rest.start = end;
        }
        Ok(read)
    }
}

/// A part of a blob whose pages are written, or differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PageRun {
    pub(crate) fate: Fate,
    /// Bytes.
    pub(crate) range: Range<u64>,
}

impl Blobs {
    /// `range` of a page blob's content.
    pub(crate) async fn page_body(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        (record, pages): (&BlobRecord, &PagesRecord),
        range: Range<u64>,
        contents: Contents,
    ) -> Result<Body, BlobsError> {
        let key = keys::state(&container.record.generation, record);
        let mut reading = Reading {
            ledger: self.ledger.clone(),
            contents,
            unchanged: (key, record.etag.clone()),
            pages: pages.clone(),
            window: VecDeque::new(),
            rest: range,
            open: None,
            entries_max: WALK_ENTRIES_MAX,
        };
        if !reading.rest.is_empty() {
            reading.read_window(snapshot).await?;
        }
        // The first piece is fetched now: content that is missing then has an answer of its own.
        let first = reading.next().await?;
        Ok(Body::stream(stream::try_unfold(
            (first, reading),
            |(first, mut reading)| async move {
                let piece = match first {
                    Some(first) => Some(first),
                    None => {
                        let next = reading.next().await;
                        next.map_err(|error| BodyError::Source(error.to_string()))?
                    }
                };
                Ok(piece.map(|piece| (piece, (None, reading))))
            },
        )))
    }

    /// Which pages within `range` are written; with `before`, which differ from what that state of the same
    /// map has. At most `runs_max` runs, about `entries_max` entries of the ledger read; and where to go on.
    pub(crate) async fn page_runs(
        &self,
        snapshot: &dyn Snapshot,
        pages: &PagesRecord,
        before: Option<&PagesRecord>,
        range: Range<u64>,
        (runs_max, entries_max): (usize, usize),
    ) -> Result<(Vec<PageRun>, Option<u64>), BlobsError> {
        let (first, end) = (range.start / SEGMENT_BYTES, range.end.div_ceil(SEGMENT_BYTES));
        let mut now = Walk::new(snapshot, pages, first..end, entries_max);
        let mut then = before.map(|before| Walk::new(snapshot, before, first..end, entries_max));
        let mut next_now = now.next().await?;
        let mut next_then = match &mut then {
            Some(then) => then.next().await?,
            None => None,
        };
        let mut runs: Vec<PageRun> = Vec::new();
        loop {
            let found = [&next_now, &next_then].into_iter().flatten();
            let number = found.map(|found| found.number).min();
            // What both states have is known up to where the first of the walks stopped.
            let walks = [Some(&now), then.as_ref()].into_iter().flatten();
            let stopped = walks.filter_map(Walk::stopped).min();
            let number = match (number, stopped) {
                (Some(number), None) => number,
                (Some(number), Some(stopped)) if number < stopped => number,
                (_, stopped) => return Ok((runs, stopped.map(|at| range.start.max(at * SEGMENT_BYTES)))),
            };
            let in_now = next_now.take_if(|found| found.number == number);
            let in_then = next_then.take_if(|found| found.number == number);
            let same = in_now.as_ref().map(|found| found.epoch) == in_then.as_ref().map(|found| found.epoch);
            let nothing = Segment::default();
            let now_segment = in_now.as_ref().map_or(&nothing, |found| &found.segment);
            let found = match before {
                None => written(now_segment),
                Some(_) if same => Vec::new(),
                Some(before) => {
                    let then_segment = in_then.as_ref().map_or(&nothing, |found| &found.segment);
                    changed(then_segment, before.epoch, now_segment)
                }
            };
            for (fate, part) in found {
                let at = |page: u32| number * SEGMENT_BYTES + u64::from(page) * PAGE_BYTES;
                let part = at(part.start).max(range.start)..at(part.end).min(range.end);
                if part.is_empty() {
                    continue;
                }
                let full = runs.len() >= runs_max;
                match runs.last_mut() {
                    Some(last) if last.fate == fate && last.range.end == part.start => {
                        last.range.end = part.end;
                    }
                    _ if full => return Ok((runs, Some(part.start))),
                    _ => runs.push(PageRun { fate, range: part }),
                }
            }
            if in_now.is_some() {
                next_now = now.next().await?;
            }
            if let Some(then) = &mut then
                && in_then.is_some()
            {
                next_then = then.next().await?;
            }
        }
    }
}

#[cfg(test)]
mod tests;
