//! A content store whose contents are encrypted under one account key, over another store.
//!
//! Each frame with its tag is one frame of the store below, which keeps its checksum and knows no key. A
//! range read takes the frames that it touches and decrypts each where it lies.
//!
//! Invariant: no byte is given before its frame's tag was compared, and no range is taken to end with the
//! content before the last frame said that it is the last.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use content::frame::FRAME_BYTES;
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};

use crate::DataKey;
use crate::data_key::{library_failed, owned};
use crate::frame::{FrameKey, PLAIN_FRAME_BYTES, encrypted_bytes, plain_bytes};

const FRAME: u64 = FRAME_BYTES as u64;
const PLAIN_FRAME: u64 = PLAIN_FRAME_BYTES as u64;

/// Contents under one account key. Whoever has contents under several has one of these for each.
#[derive(Clone)]
pub struct EncryptedContent {
    inner: Arc<dyn ContentStore>,
    key: Arc<DataKey>,
}

impl std::fmt::Debug for EncryptedContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EncryptedContent")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl EncryptedContent {
    /// Over `inner`, under `key`.
    #[must_use]
    pub fn new(inner: Arc<dyn ContentStore>, key: Arc<DataKey>) -> Self {
        Self { inner, key }
    }

    fn plain_info(&self, info: ContentInfo) -> Result<ContentInfo, ContentError> {
        let length_bytes = plain_bytes(info.length_bytes).ok_or_else(|| self.wrong_length(info.id))?;
        Ok(ContentInfo { length_bytes, ..info })
    }

    fn wrong_length(&self, id: ContentId) -> ContentError {
        self.key
            .damage(id, "no encrypted content is as long as this".to_owned())
    }
}

struct EncryptedWriter {
    inner: Box<dyn ContentWriter>,
    key: FrameKey,
    filling: BytesMut,
    /// The number of the frame that fills. It grows before a frame is given away, so it never comes again.
    number: u64,
    length_bytes: u64,
}

impl EncryptedWriter {
    /// The frame that fills, with `part` behind it.
    fn fill(&mut self, part: &[u8]) {
        if self.filling.capacity() == 0 {
            self.filling.reserve(FRAME_BYTES);
        }
        self.filling.extend_from_slice(part);
    }

    async fn end_frame(&mut self, is_last: bool) -> Result<(), ContentError> {
        let mut frame = std::mem::take(&mut self.filling);
        let number = self.number;
        self.number += 1;
        self.key
            .encrypt((number, is_last), &[], &mut frame)
            .map_err(|_| library_failed("encrypting"))?;
        self.inner.write(frame.freeze()).await
    }
}

#[async_trait]
impl ContentWriter for EncryptedWriter {
    fn id(&self) -> ContentId {
        self.inner.id()
    }

    async fn write(&mut self, mut piece: Bytes) -> Result<(), ContentError> {
        self.length_bytes += piece.len() as u64;
        // A frame that is full waits: it may be the last.
        while self.filling.len() + piece.len() > PLAIN_FRAME_BYTES {
            let part = piece.split_to(PLAIN_FRAME_BYTES - self.filling.len());
            self.fill(&part);
            self.end_frame(false).await?;
        }
        self.fill(&piece);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ContentInfo, ContentError> {
        self.end_frame(true).await?;
        let info = self.inner.finish().await?;
        Ok(ContentInfo {
            length_bytes: self.length_bytes,
            ..info
        })
    }
}

struct EncryptedReader {
    inner: Box<dyn ContentReader>,
    data_key: Arc<DataKey>,
    key: FrameKey,
    id: ContentId,
    /// Length of the content, as far as its stored length says.
    length_bytes: u64,
    /// The frame that comes next.
    number: u64,
    /// What came with the frame before, of this one.
    ahead: Bytes,
    rest: Range<u64>,
}

impl EncryptedReader {
    fn last(&self) -> u64 {
        self.length_bytes.div_ceil(PLAIN_FRAME).max(1) - 1
    }

    /// The next frame as it is stored.
    async fn stored_frame(&mut self) -> Result<BytesMut, ContentError> {
        let begins = self.number * FRAME;
        let length = (encrypted_bytes(self.length_bytes) - begins).min(FRAME);
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let mut frame = BytesMut::new();
        while frame.len() < wanted {
            let mut piece = std::mem::take(&mut self.ahead);
            if piece.is_empty() {
                piece = match self.inner.next().await? {
                    Some(piece) => piece,
                    None => return Err(self.damage("is cut short")),
                };
            }
            let part = piece.split_to(piece.len().min(wanted - frame.len()));
            self.ahead = piece;
            if frame.is_empty() {
                frame = owned(part);
            } else {
                frame.extend_from_slice(&part);
            }
        }
        Ok(frame)
    }

    /// The next frame, decrypted.
    async fn frame(&mut self) -> Result<Bytes, ContentError> {
        let mut frame = self.stored_frame().await?;
        let place = (self.number, self.number == self.last());
        if self.key.decrypt(place, &[], &mut frame).is_err() {
            return Err(self.damage("doesn't decrypt"));
        }
        self.number += 1;
        Ok(frame.freeze())
    }

    fn damage(&self, what: &str) -> ContentError {
        let cause = format!("frame {} {what}", self.number);
        self.data_key.damage(self.id, cause)
    }
}

#[async_trait]
impl ContentReader for EncryptedReader {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let begins = self.number * PLAIN_FRAME;
        let frame = self.frame().await?;
        let place = |at: u64| {
            usize::try_from(at - begins)
                .unwrap_or(usize::MAX)
                .min(frame.len())
        };
        let piece = frame.slice(place(self.rest.start)..place(self.rest.end));
        self.rest.start += piece.len() as u64;
        Ok(Some(piece))
    }
}

#[async_trait]
impl ContentStore for EncryptedContent {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        let inner = self.inner.writer().await?;
        Ok(Box::new(EncryptedWriter {
            key: self.key.content_key(inner.id())?,
            inner,
            filling: BytesMut::new(),
            number: 0,
            length_bytes: 0,
        }))
    }

    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        let first = range.start / PLAIN_FRAME;
        let end = match range.is_empty() {
            true => first,
            false => range.end.div_ceil(PLAIN_FRAME),
        };
        let stored = first.saturating_mul(FRAME)..end.saturating_mul(FRAME);
        let inner = self.inner.reader(id, stored).await?;
        let length_bytes = plain_bytes(inner.length_bytes()).ok_or_else(|| self.wrong_length(id))?;
        let mut reader = EncryptedReader {
            inner,
            data_key: self.key.clone(),
            key: self.key.content_key(id)?,
            id,
            length_bytes,
            number: first,
            ahead: Bytes::new(),
            rest: range.start.min(length_bytes)..range.end.min(length_bytes),
        };
        if !range.is_empty() && range.start >= length_bytes {
            // Nothing of the range is there, if the last frame says so, too.
            let last = reader.last();
            reader.number = last;
            reader.inner = self.inner.reader(id, last * FRAME..u64::MAX).await?;
            reader.frame().await?;
        }
        Ok(Box::new(reader))
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.plain_info(self.inner.info(id).await?)
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.inner.delete(id).await
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        let listed = self.inner.list(after, entries_max).await?;
        listed.into_iter().map(|info| self.plain_info(info)).collect()
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        let stats = self.inner.stats().await?;
        Ok(ContentStats {
            corrupt_frames: stats.corrupt_frames + self.key.damaged_frames(),
            ..stats
        })
    }
}

#[cfg(test)]
mod tests;
