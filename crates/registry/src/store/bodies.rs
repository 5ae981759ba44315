//! Bodies of blobs: pieces in the content store or, if small, in the ledger. Taken in piece by piece with
//! bounded memory, given out the same way.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use content::{ContentReader, ContentStore, ContentWriter};
use futures::stream;
use http_semantics::{Body, BodyError};
use ledger::{Direction, Key, KeyRange, Ledger, LedgerError, ScanLimit};
use uuid::Uuid;

use crate::RegistryService;
use crate::error::RegistryError;
use crate::limits::{INLINE_BYTES_MAX, PIECES_PAGE};
use crate::rules::digest::{Algorithm, Hasher};
use crate::store::keys;
use crate::store::records::Piece;

/// A piece on its way in: in memory while it is small, then in the content store.
pub(crate) struct Filling {
    store: Arc<dyn ContentStore>,
    small: BytesMut,
    writer: Option<Box<dyn ContentWriter>>,
    length: u64,
}

impl Filling {
    pub(crate) fn new(store: Arc<dyn ContentStore>) -> Self {
        Self {
            store,
            small: BytesMut::new(),
            writer: None,
            length: 0,
        }
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) async fn write(&mut self, bytes: Bytes) -> Result<(), RegistryError> {
        self.length += bytes.len() as u64;
        if self.writer.is_none() {
            if self.small.len() + bytes.len() <= INLINE_BYTES_MAX {
                self.small.extend_from_slice(&bytes);
                return Ok(());
            }
            let mut writer = self.store.writer().await?;
            if !self.small.is_empty() {
                writer.write(self.small.split().freeze()).await?;
            }
            self.writer = Some(writer);
        }
        if let Some(writer) = &mut self.writer {
            writer.write(bytes).await?;
        }
        Ok(())
    }

    /// The piece, on disk unless it goes into the ledger; `None` if nothing came.
    pub(crate) async fn finish(self) -> Result<Option<Piece>, RegistryError> {
        Ok(match self.writer {
            _ if self.length == 0 => None,
            None => Some(Piece::Inline(self.small.freeze())),
            Some(writer) => {
                let info = writer.finish().await?;
                Some(Piece::Stored {
                    content: info.id,
                    length: self.length,
                })
            }
        })
    }
}

/// A body that is read.
struct Reading {
    ledger: Arc<dyn Ledger>,
    content: Arc<dyn ContentStore>,
    /// Rows that weren't read yet.
    rows: Option<KeyRange>,
    pieces: VecDeque<(u64, Piece)>,
    reader: Option<Box<dyn ContentReader>>,
    /// What is still to be given.
    rest: Range<u64>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            if let Some(reader) = &mut self.reader {
                if let Some(bytes) = reader.next().await? {
                    self.rest.start += bytes.len() as u64;
                    return Ok(Some(bytes));
                }
                self.reader = None;
                continue;
            }
            let Some((begins, piece)) = self.next_piece().await? else {
                return Err(damaged("ends early").into());
            };
            let ends = begins + piece.length();
            if begins > self.rest.start || ends <= self.rest.start {
                return Err(damaged("has a hole").into());
            }
            let within = self.rest.start - begins..ends.min(self.rest.end) - begins;
            match piece {
                Piece::Inline(bytes) => {
                    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
                    let part = bytes.slice(at(within.start)..at(within.end));
                    self.rest.start += part.len() as u64;
                    return Ok(Some(part));
                }
                Piece::Stored { content, .. } => {
                    self.reader = Some(self.content.reader(content, within).await?);
                }
            }
        }
    }

    async fn next_piece(&mut self) -> Result<Option<(u64, Piece)>, RegistryError> {
        if self.pieces.is_empty()
            && let Some(rows) = self.rows.take()
        {
            let limit = ScanLimit {
                entries_max: PIECES_PAGE,
                bytes_max: INLINE_BYTES_MAX * PIECES_PAGE,
            };
            let snapshot = self.ledger.snapshot().await?;
            let page = snapshot.scan_page(&rows, Direction::Forward, limit).await?;
            for entry in page.entries {
                self.pieces.push_back(row(&entry.key, &entry.versioned.value)?);
            }
            self.rows = page.rest;
        }
        Ok(self.pieces.pop_front())
    }
}

fn damaged(what: &str) -> LedgerError {
    LedgerError::Corrupt(format!("the body of a blob {what}"))
}

fn row(key: &Key, value: &Bytes) -> Result<(u64, Piece), LedgerError> {
    let offset = keys::piece_offset(key).ok_or_else(|| damaged("has a piece without a place"))?;
    Ok((offset, Piece::decode(value)?))
}

impl RegistryService {
    async fn reading(&self, body: Uuid, range: Range<u64>) -> Result<Reading, RegistryError> {
        // The piece that the range begins in begins at it, or before.
        let snapshot = self.ledger.snapshot().await?;
        let before = KeyRange::between(keys::piece(body, 0), keys::piece(body, range.start).successor());
        let one = ScanLimit {
            entries_max: 1,
            bytes_max: 1,
        };
        let found = snapshot.scan_page(&before, Direction::Backward, one).await?;
        let all = keys::pieces(body);
        let rows = match found.entries.into_iter().next() {
            Some(entry) => KeyRange {
                start: entry.key,
                end: all.end,
            },
            None => all,
        };
        Ok(Reading {
            ledger: self.ledger.clone(),
            content: self.content.clone(),
            rows: Some(rows),
            pieces: VecDeque::new(),
            reader: None,
            rest: range,
        })
    }

    /// `range` of a body. The first bytes are fetched now, so that what is missing, damaged or out of reach
    /// has an answer of its own instead of a broken connection.
    pub(crate) async fn open_body(&self, body: Uuid, range: Range<u64>) -> Result<Body, RegistryError> {
        let mut reading = self.reading(body, range).await?;
        let Some(first) = reading.next().await? else {
            return Ok(Body::empty());
        };
        if reading.rest.is_empty() {
            return Ok(Body::full(first));
        }
        let begun = (Some(first), reading);
        Ok(Body::stream(stream::try_unfold(
            begun,
            move |(first, mut reading)| async move {
                if let Some(first) = first {
                    return Ok(Some((first, (None, reading))));
                }
                match reading.next().await {
                    Ok(bytes) => Ok(bytes.map(|bytes| (bytes, (None, reading)))),
                    Err(error) => {
                        tracing::error!(%body, %error, "a blob can't be read to its end");
                        Err(BodyError::Source(error.to_string()))
                    }
                }
            },
        )))
    }

    /// A small body, whole.
    pub(crate) async fn small_body(&self, body: Uuid, size: u64) -> Result<Bytes, RegistryError> {
        let mut reading = self.reading(body, 0..size).await?;
        let mut out = BytesMut::new();
        while let Some(bytes) = reading.next().await? {
            out.extend_from_slice(&bytes);
        }
        Ok(out.freeze())
    }

    /// Hashes what a body has so far: for an upload whose digest turns out to be of another algorithm.
    pub(crate) async fn rehash(
        &self,
        body: Uuid,
        size: u64,
        algorithm: Algorithm,
    ) -> Result<Hasher, RegistryError> {
        let mut hasher = Hasher::new(algorithm);
        let mut reading = self.reading(body, 0..size).await?;
        while let Some(bytes) = reading.next().await? {
            hasher.update(&bytes);
        }
        Ok(hasher)
    }
}
