//! How a content lies in its object: header, frames with their checksums, footer.
//!
//! ```text
//! header  "STBCONT1" (8)  id (16)
//! frame   up to 65,536 bytes, CRC-32C over id, frame number and bytes (4)
//! footer  length (8, LE)  finished, microseconds since 1970 (8, LE)  CRC-32C of id and both (4)
//! ```
//!
//! These are the bytes that a content file has, so that content can move between backends as it is.

use bytes::Bytes;
use content::frame::{CHECKSUM_BYTES, FRAME_BYTES, checksum};
use content::{ContentId, ContentInfo};

const MAGIC: &[u8; 8] = b"STBCONT1";
pub(crate) const HEADER_BYTES: u64 = 8 + 16;
pub(crate) const FOOTER_BYTES: u64 = 8 + 8 + 4;
/// The frame number that the footer's checksum is taken with: no frame has it.
const FOOTER_FRAME: u64 = u64::MAX;
/// A full frame with its checksum.
pub(crate) const STORED_FRAME_BYTES: u64 = (FRAME_BYTES + CHECKSUM_BYTES) as u64;

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

/// What a footer says, if it is content `id`'s and whole.
pub(crate) fn read_footer(id: ContentId, footer: &[u8]) -> Option<ContentInfo> {
    let (said, crc) = footer.split_last_chunk::<CHECKSUM_BYTES>()?;
    if checksum(id.as_bytes(), FOOTER_FRAME, said) != *crc {
        return None;
    }
    let (length, rest) = said.split_first_chunk::<8>()?;
    let (finished, rest) = rest.split_first_chunk::<8>()?;
    rest.is_empty().then_some(())?;
    Some(ContentInfo {
        id,
        length_bytes: u64::from_le_bytes(*length),
        finished: jiff::Timestamp::from_microsecond(i64::from_le_bytes(*finished)).ok()?,
    })
}

/// The bytes of frame `index` without its checksum, if that is right.
pub(crate) fn check_frame(id: ContentId, index: u64, stored: &Bytes) -> Option<Bytes> {
    let (bytes, crc) = stored.split_last_chunk::<CHECKSUM_BYTES>()?;
    (checksum(id.as_bytes(), index, bytes) == *crc).then(|| stored.slice(..bytes.len()))
}

/// Where frame `index` begins.
pub(crate) fn frame_offset(index: u64) -> u64 {
    HEADER_BYTES.saturating_add(index.saturating_mul(STORED_FRAME_BYTES))
}

/// How long the object of a content of `length` bytes is.
pub(crate) fn object_bytes(length: u64) -> u64 {
    let frames = length.div_ceil(FRAME_BYTES as u64);
    HEADER_BYTES + length + frames * CHECKSUM_BYTES as u64 + FOOTER_BYTES
}

/// How long the content of an object of `bytes` is; `None` if no content's object is that long.
pub(crate) fn content_bytes(bytes: u64) -> Option<u64> {
    let frames = bytes.checked_sub(HEADER_BYTES + FOOTER_BYTES)?;
    let length = frames.checked_sub(frames.div_ceil(STORED_FRAME_BYTES) * CHECKSUM_BYTES as u64)?;
    (object_bytes(length) == bytes).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_contents_and_objects_belong_together() {
        let frame = FRAME_BYTES as u64;
        for length in (0..70)
            .chain(frame - 9..frame + 9)
            .chain(7 * frame - 3..7 * frame + 3)
        {
            assert_eq!(content_bytes(object_bytes(length)), Some(length));
        }
        // A frame of nothing but a checksum, and what is shorter than header and footer.
        for none in [0, 43, 45, 48, 44 + STORED_FRAME_BYTES + 4] {
            assert_eq!(content_bytes(none), None, "{none}");
        }
        assert_eq!(content_bytes(44), Some(0));
    }

    #[test]
    fn a_footer_is_its_contents_alone() {
        let info = ContentInfo {
            id: ContentId::from_bytes([7; 16]),
            length_bytes: 123_456,
            finished: jiff::Timestamp::from_microsecond(1_700_000_000_123_456).unwrap(),
        };
        let bytes = footer(&info);
        assert_eq!(read_footer(info.id, &bytes), Some(info));
        assert_eq!(read_footer(ContentId::from_bytes([8; 16]), &bytes), None);
        assert_eq!(read_footer(info.id, &bytes[1..]), None);
    }
}
