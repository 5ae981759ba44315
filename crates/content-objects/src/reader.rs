//! A range of a content: fetched in windows of whole frames, each frame checked.
//!
//! Invariants: no byte is given out before its frame's checksum was compared; the end of a content
//! is what its checked footer says, so an object that was cut is never taken for a short content.
//! A window is collected before its first frame is given out, so that a slow client doesn't hold a
//! request open until it is cut.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use content::frame::FRAME_BYTES;
use content::{ContentError, ContentId, ContentInfo, ContentReader};
use object_store::{GetOptions, GetRange, ObjectStoreExt as _};

use crate::limits::WINDOW_FRAMES;
use crate::object::{
    FOOTER_BYTES, HEADER_BYTES, STORED_FRAME_BYTES, check_frame, content_bytes, frame_offset, header,
    read_footer,
};
use crate::store::Shared;

const FRAME: u64 = FRAME_BYTES as u64;

/// Frames as they are stored, behind one another.
struct Window {
    first: u64,
    stored: Bytes,
}

pub(crate) struct ObjectReader {
    shared: Arc<Shared>,
    info: ContentInfo,
    rest: Range<u64>,
    window: Window,
}

/// What is known of content `id`.
pub(crate) async fn info(shared: &Arc<Shared>, id: ContentId) -> Result<ContentInfo, ContentError> {
    Ok(open(shared, id, 0..0).await?.info)
}

/// Opens `range`; checks header, length and footer.
pub(crate) async fn open(
    shared: &Arc<Shared>,
    id: ContentId,
    range: Range<u64>,
) -> Result<ObjectReader, ContentError> {
    let outcome = try_open(shared, id, range).await;
    shared.note(outcome)
}

async fn try_open(
    shared: &Arc<Shared>,
    id: ContentId,
    range: Range<u64>,
) -> Result<ObjectReader, ContentError> {
    let corrupt = |cause: &str| ContentError::Corrupt {
        id,
        cause: cause.to_owned(),
    };
    // Whoever reads from the begin gets the first window with the header: small content is one
    // request.
    let from_begin = range.start < FRAME && range.start < range.end;
    let until = if from_begin {
        let frames = range.end.div_ceil(FRAME).min(WINDOW_FRAMES);
        frame_offset(frames) + FOOTER_BYTES
    } else {
        HEADER_BYTES
    };
    let (head, size) = match fetch(shared, id, 0..until).await {
        Err(error @ ContentError::Io(_)) => {
            // A range of an object that is too short for it is an error of its own.
            return match shared.store.head(&shared.path(id)).await {
                Ok(meta) if meta.size < HEADER_BYTES + FOOTER_BYTES => {
                    Err(corrupt("the object is cut short"))
                }
                _ => Err(error),
            };
        }
        fetched => fetched?,
    };
    let length_bytes =
        content_bytes(size).ok_or_else(|| corrupt("no content's object is as long as this"))?;
    let header_end = usize::try_from(HEADER_BYTES).unwrap_or(usize::MAX);
    if head.get(..header_end) != Some(header(id).as_slice()) {
        return Err(corrupt("the header isn't this content's"));
    }
    let footer_at = size - FOOTER_BYTES;
    let footer = if head.len() as u64 == size {
        head.slice(
            head.len()
                .saturating_sub(usize::try_from(FOOTER_BYTES).unwrap_or(usize::MAX))..,
        )
    } else {
        fetch(shared, id, footer_at..size).await?.0
    };
    let info = read_footer(id, &footer).ok_or_else(|| corrupt("the footer's checksum doesn't match"))?;
    if info.length_bytes != length_bytes {
        return Err(corrupt("the object's length isn't what its footer says"));
    }
    Ok(ObjectReader {
        shared: shared.clone(),
        info,
        rest: range.start.min(length_bytes)..range.end.min(length_bytes),
        window: Window {
            first: 0,
            stored: head.slice(header_end..),
        },
    })
}

/// The bytes of `range` of content `id`'s object, as far as it goes, and its whole size.
async fn fetch(shared: &Shared, id: ContentId, range: Range<u64>) -> Result<(Bytes, u64), ContentError> {
    let sort = |error: object_store::Error| shared.failures.sort_missing("reading content", id, &error);
    let options = GetOptions {
        range: Some(GetRange::Bounded(range.clone())),
        ..GetOptions::default()
    };
    let answer = shared
        .store
        .get_opts(&shared.path(id), options)
        .await
        .map_err(sort)?;
    let (size, given) = (answer.meta.size, answer.range.clone());
    let bytes = answer.bytes().await.map_err(sort)?;
    let wanted = range.start..range.end.min(size);
    if given != wanted || bytes.len() as u64 != wanted.end.saturating_sub(wanted.start) {
        let length = bytes.len();
        return Err(ContentError::Unavailable(format!(
            "reading content {id}: {length} bytes came for {wanted:?}"
        )));
    }
    Ok((bytes, size))
}

impl ObjectReader {
    /// Length of frame `index` with its checksum; zero behind the last.
    fn stored_length(&self, index: u64) -> u64 {
        let frames_end = frame_offset(0) + self.frames_bytes();
        let begins = frame_offset(index).min(frames_end);
        (frames_end - begins).min(STORED_FRAME_BYTES)
    }

    fn frames_bytes(&self) -> u64 {
        crate::object::object_bytes(self.info.length_bytes) - HEADER_BYTES - FOOTER_BYTES
    }

    /// Frame `index` as it is stored, if the window has the whole of it.
    fn in_window(&self, index: u64) -> Option<Bytes> {
        let offset = index
            .checked_sub(self.window.first)?
            .checked_mul(STORED_FRAME_BYTES)?;
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(usize::try_from(self.stored_length(index)).ok()?)?;
        (end <= self.window.stored.len()).then(|| self.window.stored.slice(offset..end))
    }

    /// Fetches the window that begins with frame `index` and returns that frame.
    async fn fetch_window(&mut self, index: u64) -> Result<Bytes, ContentError> {
        let last = (self.rest.end.saturating_sub(1) / FRAME).min(index + WINDOW_FRAMES - 1);
        let end = frame_offset(last) + self.stored_length(last);
        let (stored, size) = fetch(&self.shared, self.info.id, frame_offset(index)..end).await?;
        self.window = Window { first: index, stored };
        match self.in_window(index) {
            Some(frame) if size == crate::object::object_bytes(self.info.length_bytes) => Ok(frame),
            _ => Err(self.corrupt("the object's length isn't what its footer says".to_owned())),
        }
    }

    fn corrupt(&self, cause: String) -> ContentError {
        ContentError::Corrupt {
            id: self.info.id,
            cause,
        }
    }

    /// Frame `index`, checked. Bytes that are wrong on arrival are fetched once more: they may have
    /// been damaged on their way.
    async fn frame(&mut self, index: u64) -> Result<Bytes, ContentError> {
        let id = self.info.id;
        let stored = match self.in_window(index) {
            Some(stored) => stored,
            None => self.fetch_window(index).await?,
        };
        if let Some(bytes) = check_frame(id, index, &stored) {
            return Ok(bytes);
        }
        let again = self.fetch_window(index).await?;
        check_frame(id, index, &again)
            .ok_or_else(|| self.corrupt(format!("frame {index}: the checksum doesn't match")))
    }
}

#[async_trait]
impl ContentReader for ObjectReader {
    fn length_bytes(&self) -> u64 {
        self.info.length_bytes
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let index = self.rest.start / FRAME;
        let frame = self.frame(index).await;
        let frame = self.shared.note(frame)?;
        let begins = index * FRAME;
        let place = |at: u64| {
            usize::try_from(at - begins)
                .unwrap_or(usize::MAX)
                .min(frame.len())
        };
        let piece = frame.slice(place(self.rest.start)..place(self.rest.end));
        if piece.is_empty() {
            let cause = format!("frame {index} is shorter than the content's length says");
            return self.shared.note(Err(self.corrupt(cause)));
        }
        self.rest.start += piece.len() as u64;
        Ok(Some(piece))
    }
}
