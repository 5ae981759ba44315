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

use bytes::Bytes;
use content::frame::{CHECKSUM_BYTES, FRAME_BYTES, checksum};
use content::{ContentError, ContentId, ContentInfo};

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

    /// The part of `range` that lies in the frame where `range` begins, checked.
    pub(crate) fn read(&self, range: &Range<u64>) -> Result<Bytes, ContentError> {
        let frame_bytes = FRAME_BYTES as u64;
        let index = range.start / frame_bytes;
        let begins = index * frame_bytes;
        let length = (self.info.length_bytes - begins).min(frame_bytes);
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let mut frame = vec![0; size(length) + CHECKSUM_BYTES];
        self.file
            .read_exact_at(&mut frame, frame_offset(index))
            .map_err(|error| failed(&error))?;
        let stored = frame.split_off(size(length));
        let id = self.info.id;
        if checksum(id.as_bytes(), index, &frame).as_slice() != stored {
            return Err(ContentError::Corrupt {
                id,
                cause: format!("frame {index}: the checksum doesn't match"),
            });
        }
        let from = size(range.start - begins);
        let to = size((range.end - begins).min(length));
        Ok(Bytes::from(frame).slice(from..to.max(from)))
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
