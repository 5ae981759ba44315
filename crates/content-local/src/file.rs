//! How a content lies in its file: header, frames with their checksums, footer.
//!
//! ```text
//! header  "STBCONT1" (8)  id (16)
//! frame   up to 65,536 bytes, CRC-32C over id, frame number and bytes (4)
//! footer  length (8, LE)  finished, microseconds since 1970 (8, LE)  CRC-32C of id and both (4)
//! ```
//!
//! Invariant: no byte leaves this module before its frame's checksum was compared.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use content::frame::{CHECKSUM_BYTES, FRAME_BYTES, checksum};
use content::{ContentError, ContentId, ContentInfo};
use rustix::buffer::spare_capacity;

use crate::pool::{Pool, STEP_FRAMES};

pub(crate) const MAGIC: &[u8; 8] = b"STBCONT1";
pub(crate) const HEADER_BYTES: u64 = 8 + 16;
const FOOTER_BYTES: usize = 8 + 8 + 4;
/// The frame number that the footer's checksum is taken with: no frame has it.
const FOOTER_FRAME: u64 = u64::MAX;

/// An open content file whose footer was checked.
#[derive(Debug)]
pub(crate) struct ContentFile {
    file: File,
    pub(crate) info: ContentInfo,
}

/// The header of content `id`.
pub(crate) fn header(id: ContentId) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(id.as_bytes());
    bytes
}

/// The footer of a finished content.
pub(crate) fn footer(info: &ContentInfo) -> Vec<u8> {
    let mut bytes = info.length_bytes.to_le_bytes().to_vec();
    bytes.extend_from_slice(&info.finished.as_microsecond().to_le_bytes());
    let crc = checksum(info.id.as_bytes(), FOOTER_FRAME, &bytes);
    bytes.extend_from_slice(&crc);
    bytes
}

/// Where frame `index` begins.
fn frame_offset(index: u64) -> u64 {
    HEADER_BYTES + index * (FRAME_BYTES + CHECKSUM_BYTES) as u64
}

/// How long the file of a content of `length` bytes is.
pub(crate) fn file_bytes(length: u64) -> u64 {
    let frames = length.div_ceil(FRAME_BYTES as u64);
    HEADER_BYTES + length + frames * CHECKSUM_BYTES as u64 + FOOTER_BYTES as u64
}

/// Sorts an I/O error.
pub(crate) fn failed(error: &io::Error) -> ContentError {
    if matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    ) {
        ContentError::Full
    } else {
        ContentError::Io(error.to_string())
    }
}

impl ContentFile {
    /// Opens the file of content `id` and checks header, length and footer.
    pub(crate) fn open(path: &Path, id: ContentId) -> Result<Self, ContentError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ContentError::NotFound(id)),
            Err(error) => return Err(failed(&error)),
        };
        let corrupt = |cause: &str| ContentError::Corrupt {
            id,
            cause: cause.to_owned(),
        };
        let on_disk = file.metadata().map_err(|error| failed(&error))?.len();
        let footer_at = on_disk
            .checked_sub(FOOTER_BYTES as u64)
            .filter(|at| *at >= HEADER_BYTES)
            .ok_or_else(|| corrupt("the file is cut short"))?;
        let mut head = [0; 24];
        let mut foot = [0; FOOTER_BYTES];
        file.read_exact_at(&mut head, 0).map_err(|error| failed(&error))?;
        file.read_exact_at(&mut foot, footer_at)
            .map_err(|error| failed(&error))?;
        if head.as_slice() != header(id) {
            return Err(corrupt("the header isn't this content's"));
        }
        let info = read_footer(id, &foot).ok_or_else(|| corrupt("the footer's checksum doesn't match"))?;
        if file_bytes(info.length_bytes) != on_disk {
            return Err(corrupt("the file's length isn't what its footer says"));
        }
        Ok(Self { file, info })
    }

    /// The part of `range` that lies in the [`STEP_FRAMES`] frames from where it begins on, a piece for each
    /// frame, checked. Where one is damaged, those before it are given, and the next call fails.
    pub(crate) fn read(&self, range: &Range<u64>, pool: &Arc<Pool>) -> Result<Vec<Bytes>, ContentError> {
        let frame_bytes = FRAME_BYTES as u64;
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let first = range.start / frame_bytes;
        let end = range.end.min(self.info.length_bytes);
        let frames = size(end.div_ceil(frame_bytes) - first).min(STEP_FRAMES);
        let stored = self.read_frames(first, frames, pool)?;
        let mut pieces = Vec::with_capacity(frames);
        let mut at = 0;
        for index in first..first + frames as u64 {
            let begins = index * frame_bytes;
            let length = size((self.info.length_bytes - begins).min(frame_bytes));
            let frame = stored.slice(at..at + length);
            let found = stored.slice(at + length..at + length + CHECKSUM_BYTES);
            at += length + CHECKSUM_BYTES;
            let id = self.info.id;
            if checksum(id.as_bytes(), index, &frame).as_slice() != found {
                if pieces.is_empty() {
                    let cause = format!("frame {index}: the checksum doesn't match");
                    return Err(ContentError::Corrupt { id, cause });
                }
                break;
            }
            let from = size(range.start.saturating_sub(begins));
            let to = size((end - begins).min(frame_bytes));
            pieces.push(frame.slice(from..to));
        }
        Ok(pieces)
    }

    /// Frames as they are stored, each with its checksum behind it.
    fn read_frames(&self, first: u64, frames: usize, pool: &Arc<Pool>) -> Result<Bytes, ContentError> {
        let stored_bytes = frame_offset(first + frames as u64) - frame_offset(first);
        let behind = file_bytes(self.info.length_bytes) - FOOTER_BYTES as u64;
        let wanted = stored_bytes.min(behind - frame_offset(first));
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let mut buffer = pool.take(wanted);
        let stored = &mut buffer.bytes;
        while stored.len() < wanted {
            let at = frame_offset(first) + stored.len() as u64;
            let read = rustix::io::pread(&self.file, spare_capacity(stored), at);
            match read {
                Ok(0) => return Err(failed(&io::ErrorKind::UnexpectedEof.into())),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(&error.into())),
            }
        }
        // There may be more room than was asked for.
        stored.truncate(wanted);
        Ok(Bytes::from_owner(buffer))
    }
}

fn read_footer(id: ContentId, foot: &[u8; FOOTER_BYTES]) -> Option<ContentInfo> {
    let (content, crc) = foot.split_last_chunk::<CHECKSUM_BYTES>()?;
    if checksum(id.as_bytes(), FOOTER_FRAME, content) != *crc {
        return None;
    }
    let (length, rest) = content.split_first_chunk::<8>()?;
    let finished = i64::from_le_bytes(*rest.first_chunk::<8>()?);
    Some(ContentInfo {
        id,
        length_bytes: u64::from_le_bytes(*length),
        finished: jiff::Timestamp::from_microsecond(finished).ok()?,
    })
}
