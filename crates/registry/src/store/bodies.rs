//! Bodies of blobs: pieces in the content store or, if small, in the ledger. Taken in piece by piece with
//! bounded memory, given out the same way.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use content::{ContentError, ContentReader, ContentStore, ContentWriter};
use futures::stream;
use http_semantics::{Body, BodyError};
use ledger::{Direction, Key, KeyRange, Ledger, LedgerError, ScanLimit, Transaction};
use uuid::Uuid;

use crate::RegistryService;
use crate::error::RegistryError;
use crate::limits::{INLINE_BYTES_MAX, PIECES_PAGE};
use crate::rules::digest::{Algorithm, Digest, Hasher};
use crate::store::keys;
use crate::store::records::{BlobRecord, Piece, decode, encode};

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

/// Why a body can't be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Content(#[from] ContentError),
}

impl ReadError {
    /// Whether the bytes are at fault, and not the moment: reading again gives the same.
    fn is_damage(&self) -> bool {
        match self {
            Self::Ledger(error) => matches!(error, LedgerError::Corrupt(_)),
            Self::Content(error) => matches!(
                error,
                ContentError::NotFound(_) | ContentError::Corrupt { .. } | ContentError::Io(_)
            ),
        }
    }
}

impl From<ReadError> for RegistryError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Ledger(error) => error.into(),
            ReadError::Content(error) => error.into(),
        }
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
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
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

    async fn next_piece(&mut self) -> Result<Option<(u64, Piece)>, ReadError> {
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
    async fn reading(&self, body: Uuid, range: Range<u64>) -> Result<Reading, ReadError> {
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

    /// `range` of the body of a blob. The first bytes are fetched now, so that what is missing, damaged or out of reach
    /// has an answer of its own instead of a broken connection. What is found to be damaged is noted: see
    /// [`note_damage`].
    pub(crate) async fn open_body(
        &self,
        digest: &Digest,
        body: Uuid,
        range: Range<u64>,
    ) -> Result<Body, RegistryError> {
        let mut reading = self.reading(body, range).await?;
        let first = match reading.next().await {
            Ok(Some(first)) => first,
            Ok(None) => return Ok(Body::empty()),
            Err(error) => {
                note_damage(self.ledger.as_ref(), digest, body, &error).await;
                return Err(error.into());
            }
        };
        if reading.rest.is_empty() {
            return Ok(Body::full(first));
        }
        let begun = (Some(first), reading, digest.clone());
        Ok(Body::stream(stream::try_unfold(
            begun,
            move |(first, mut reading, digest)| async move {
                if let Some(first) = first {
                    return Ok(Some((first, (None, reading, digest))));
                }
                match reading.next().await {
                    Ok(bytes) => Ok(bytes.map(|bytes| (bytes, (None, reading, digest)))),
                    Err(error) => {
                        tracing::error!(%body, %error, "a blob can't be read to its end");
                        note_damage(reading.ledger.as_ref(), &digest, body, &error).await;
                        Err(BodyError::Source(error.to_string()))
                    }
                }
            },
        )))
    }

    async fn read_through(&self, body: Uuid, size: u64) -> Result<(), ReadError> {
        let mut reading = self.reading(body, 0..size).await?;
        while reading.next().await?.is_some() {}
        Ok(())
    }

    /// Whether a body can be read from end to end: each frame is compared with its checksum.
    ///
    /// # Errors
    /// Where that can't be said for now.
    pub(crate) async fn is_sound(&self, body: Uuid, size: u64) -> Result<bool, RegistryError> {
        match self.read_through(body, size).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_damage() => {
                tracing::warn!(%body, %error, "the stored copy of a blob is damaged");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
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

/// Notes that a blob's body is damaged, if that is what an error says: who may push is told from then on that the blob
/// isn't there, and pushes it again. If it can't be noted, the next reader does it.
async fn note_damage(ledger: &dyn Ledger, digest: &Digest, body: Uuid, error: &ReadError) {
    if !error.is_damage() {
        return;
    }
    match commit_damage(ledger, digest, body).await {
        Ok(true) => tracing::error!(%digest, "a blob is damaged; a push of it replaces it"),
        Ok(false) => {}
        Err(error) => tracing::debug!(%digest, %error, "it can't be noted that a blob is damaged"),
    }
}

/// Notes it, unless that was done, or the blob has another body by now; whether it did.
async fn commit_damage(ledger: &dyn Ledger, digest: &Digest, body: Uuid) -> Result<bool, LedgerError> {
    let key = keys::blob(digest);
    let Some(found) = ledger.snapshot().await?.get(&key).await? else {
        return Ok(false);
    };
    let record: BlobRecord = decode(&found)?;
    if record.body != body || record.damaged {
        return Ok(false);
    }
    let damaged = BlobRecord {
        damaged: true,
        ..record
    };
    let mut tx = Transaction::new();
    tx.require_version(key.clone(), Some(found.version));
    tx.put(key, encode(&damaged)?);
    ledger.commit(tx).await?;
    Ok(true)
}
