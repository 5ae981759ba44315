//! Frames: how long content is cut for checksums.
//!
//! Each frame holds at most [`FRAME_BYTES`] bytes and is followed by the CRC-32C of its position
//! and its bytes, so a frame that was altered, moved or exchanged is noticed when it is read, and
//! a range read checks only the frames it touches.

/// Bytes in a frame, but for the last.
pub const FRAME_BYTES: usize = 64 * 1024;

/// Bytes of the checksum behind each frame.
pub const CHECKSUM_BYTES: usize = 4;

/// The checksum of frame number `index` of content `id`.
#[must_use]
pub fn checksum(id: &[u8; 16], index: u64, bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(id);
    digest.update(&index.to_le_bytes());
    digest.update(bytes);
    // The algorithm's width is 32 bits: the upper half is always zero.
    let [a, b, c, d, ..] = digest.finalize().to_le_bytes();
    [a, b, c, d]
}
