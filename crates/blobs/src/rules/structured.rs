//! Structured messages: content between checksums (`x-ms-structured-body: XSM/1.0; properties=crc64`).
//!
//! Little-endian throughout: version (1 byte, 1), length of the message (8), flags (2, 1 for CRC64),
//! number of segments (2); then each segment's number (2, from 1), length of its data (8), data and
//! CRC64; at the end the CRC64 of all data. Source: the Azure SDKs' `structured_message` modules.
//!
//! Invariant: nothing is buffered but headers and checksums of a few bytes, whatever a message says of
//! its lengths.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

/// The only form there is, as the header names it.
pub const FORM: &str = "XSM/1.0; properties=crc64";

/// Data of each segment but the last of what is sent, in bytes; more where the number of segments
/// would not fit otherwise.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

const VERSION: u8 = 1;
const FLAG_CRC64: u16 = 1;
const HEADER_BYTES: usize = 13;
const SEGMENT_HEADER_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 8;

/// The protocol's CRC64: polynomial 0xAD93D23594C93659, reflected, initial value and final XOR all ones.
#[must_use]
pub fn crc64() -> Digest {
    Digest::new(CrcAlgorithm::Crc64Nvme)
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It isn't built as a message is.
    #[error("{0}")]
    Form(&'static str),
    /// A segment's data, or all of it, isn't what its sender meant.
    #[error("a checksum in the structured message doesn't match its data")]
    Checksum,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Header,
    SegmentHeader,
    Data { left: u64 },
    SegmentChecksum,
    Checksum,
    Nothing,
}

/// Takes a message apart, piece by piece.
#[derive(Debug)]
pub struct Decoder {
    next: Next,
    /// The beginning of a header or checksum, whose rest comes with the next piece.
    pending: BytesMut,
    /// Bytes of the message so far, and what its header says.
    seen_bytes: u64,
    length_bytes: u64,
    segments: u16,
    segment: u16,
    segment_digest: Digest,
    digest: Digest,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            next: Next::Header,
            pending: BytesMut::new(),
            seen_bytes: 0,
            length_bytes: 0,
            segments: 0,
            segment: 0,
            segment_digest: crc64(),
            digest: crc64(),
        }
    }
}

impl Decoder {
    /// Takes the next piece of the message; adds the data in it to `data`.
    ///
    /// # Errors
    /// As soon as anything is wrong. Data that was given before must not be used then.
    pub fn push(&mut self, mut piece: Bytes, data: &mut Vec<Bytes>) -> Result<(), Malformed> {
        self.seen_bytes = self.seen_bytes.saturating_add(piece.len() as u64);
        loop {
            if let Next::Data { left } = self.next {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
                if taken > 0 {
                    let taken = piece.split_to(taken);
                    self.segment_digest.update(&taken);
                    self.digest.update(&taken);
                    self.next = Next::Data {
                        left: left - taken.len() as u64,
                    };
                    data.push(taken);
                }
                if !matches!(self.next, Next::Data { left: 0 }) {
                    return Ok(());
                }
                self.next = Next::SegmentChecksum;
            }
            let wanted = match self.next {
                Next::Header => HEADER_BYTES,
                Next::SegmentHeader => SEGMENT_HEADER_BYTES,
                Next::SegmentChecksum | Next::Checksum => CHECKSUM_BYTES,
                Next::Data { .. } | Next::Nothing => 0,
            };
            if self.next == Next::Nothing {
                return if piece.is_empty() {
                    Ok(())
                } else {
                    Err(Malformed::Form("the structured message goes on behind its end"))
                };
            }
            let missing = wanted.saturating_sub(self.pending.len()).min(piece.len());
            self.pending.extend_from_slice(&piece.split_to(missing));
            if self.pending.len() < wanted {
                return Ok(());
            }
            let fields = self.pending.split();
            self.next = self.read(fields)?;
        }
    }

    /// Reads a header or checksum that is whole; says what comes next.
    fn read(&mut self, mut fields: BytesMut) -> Result<Next, Malformed> {
        let behind_segment = |decoder: &Self| {
            if decoder.segment == decoder.segments {
                Next::Checksum
            } else {
                Next::SegmentHeader
            }
        };
        match self.next {
            Next::Header => {
                if fields.get_u8() != VERSION {
                    return Err(Malformed::Form("the structured message's version isn't 1"));
                }
                self.length_bytes = fields.get_u64_le();
                if fields.get_u16_le() != FLAG_CRC64 {
                    return Err(Malformed::Form("the structured message's flags don't say CRC64"));
                }
                self.segments = fields.get_u16_le();
                Ok(behind_segment(self))
            }
            Next::SegmentHeader => {
                self.segment += 1;
                if fields.get_u16_le() != self.segment {
                    return Err(Malformed::Form(
                        "the structured message's segments aren't in order",
                    ));
                }
                self.segment_digest = crc64();
                Ok(Next::Data {
                    left: fields.get_u64_le(),
                })
            }
            Next::SegmentChecksum => {
                if fields.get_u64_le() != self.segment_digest.finalize() {
                    return Err(Malformed::Checksum);
                }
                Ok(behind_segment(self))
            }
            Next::Checksum => {
                if fields.get_u64_le() != self.digest.finalize() {
                    return Err(Malformed::Checksum);
                }
                Ok(Next::Nothing)
            }
            other @ (Next::Data { .. } | Next::Nothing) => Ok(other),
        }
    }

    /// The message has ended.
    ///
    /// # Errors
    /// It wasn't whole, or is of another length than its header says.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.next != Next::Nothing {
            return Err(Malformed::Form("the structured message ends early"));
        }
        if self.seen_bytes != self.length_bytes {
            return Err(Malformed::Form(
                "the structured message is of another length than it says",
            ));
        }
        Ok(())
    }
}

/// Puts a message together around data whose length is known.
#[derive(Debug)]
pub struct Encoder {
    data_bytes: u64,
    segment_bytes: u64,
    segments: u16,
    segment: u16,
    /// Data that is still to come: of this segment, and in all.
    left_in_segment: u64,
    left: u64,
    segment_digest: Digest,
    digest: Digest,
}

impl Encoder {
    /// A message around `data_bytes` bytes.
    #[must_use]
    pub fn new(data_bytes: u64) -> Self {
        let segment_bytes = SEGMENT_BYTES.max(data_bytes.div_ceil(u64::from(u16::MAX)));
        Self {
            data_bytes,
            segment_bytes,
            segments: u16::try_from(data_bytes.div_ceil(segment_bytes)).unwrap_or(u16::MAX),
            segment: 0,
            left_in_segment: 0,
            left: data_bytes,
            segment_digest: crc64(),
            digest: crc64(),
        }
    }

    /// Length of the whole message.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        let around = u64::from(self.segments) * (SEGMENT_HEADER_BYTES + CHECKSUM_BYTES) as u64;
        self.data_bytes + (HEADER_BYTES + CHECKSUM_BYTES) as u64 + around
    }

    /// How the message begins.
    #[must_use]
    pub fn begin(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(HEADER_BYTES);
        out.put_u8(VERSION);
        out.put_u64_le(self.length_bytes());
        out.put_u16_le(FLAG_CRC64);
        out.put_u16_le(self.segments);
        out.freeze()
    }

    /// The next piece of data with what belongs around it. What is more than was announced is left out.
    pub fn push(&mut self, mut piece: Bytes, out: &mut Vec<Bytes>) {
        while !piece.is_empty() && self.left > 0 {
            if self.left_in_segment == 0 {
                self.segment += 1;
                self.left_in_segment = self.left.min(self.segment_bytes);
                self.segment_digest = crc64();
                let mut header = BytesMut::with_capacity(SEGMENT_HEADER_BYTES);
                header.put_u16_le(self.segment);
                header.put_u64_le(self.left_in_segment);
                out.push(header.freeze());
            }
            let taken = usize::try_from(self.left_in_segment)
                .unwrap_or(usize::MAX)
                .min(piece.len());
            let taken = piece.split_to(taken);
            self.segment_digest.update(&taken);
            self.digest.update(&taken);
            self.left_in_segment -= taken.len() as u64;
            self.left -= taken.len() as u64;
            out.push(taken);
            if self.left_in_segment == 0 {
                out.push(checksum(&self.segment_digest));
            }
        }
    }

    /// How the message ends.
    #[must_use]
    pub fn end(&self) -> Bytes {
        checksum(&self.digest)
    }
}

fn checksum(digest: &Digest) -> Bytes {
    Bytes::copy_from_slice(&digest.finalize().to_le_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(data: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(data.len() as u64);
        let mut out = vec![encoder.begin()];
        for piece in data.chunks(1_000_000) {
            encoder.push(Bytes::copy_from_slice(piece), &mut out);
        }
        out.push(encoder.end());
        let message = out.concat();
        assert_eq!(message.len() as u64, encoder.length_bytes());
        message
    }

    fn decode(message: &[u8], piece_bytes: usize) -> Result<Vec<u8>, Malformed> {
        let (mut decoder, mut data) = (Decoder::default(), Vec::new());
        for piece in message.chunks(piece_bytes) {
            decoder.push(Bytes::copy_from_slice(piece), &mut data)?;
        }
        decoder.finish()?;
        Ok(data.concat())
    }

    #[test]
    fn the_checksum_is_the_protocols() {
        let mut digest = crc64();
        digest.update(b"123456789");
        assert_eq!(digest.finalize(), 0xAE8B_1486_0A79_9888);
    }

    #[test]
    fn a_message_is_built_as_the_protocol_says() {
        let crc = [0x88, 0x98, 0x79, 0x0A, 0x86, 0x14, 0x8B, 0xAE];
        let mut wanted = vec![1, 48, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0];
        wanted.extend([1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        wanted.extend(b"123456789");
        wanted.extend(crc);
        wanted.extend(crc);
        assert_eq!(encode(b"123456789"), wanted);
        assert_eq!(decode(&wanted, 1).unwrap(), b"123456789");
    }

    #[test]
    fn long_data_is_split_and_no_data_has_no_segment_or_an_empty_one() {
        let data: Vec<u8> = (0..9_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let message = encode(&data);
        assert_eq!(message.get(11..13), Some([3, 0].as_slice()));
        assert!(decode(&message, 65_536).unwrap() == data);
        assert_eq!(decode(&encode(b""), 7).unwrap(), b"");
        let mut empty_segment = vec![1, 39, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0];
        empty_segment.extend([0; 8 + 8 + 8]);
        assert_eq!(decode(&empty_segment, 5).unwrap(), b"");
    }

    #[test]
    fn what_is_wrong_is_found() {
        let message = encode(b"123456789");
        let changed = |at: usize, byte: u8| {
            let mut message = message.clone();
            message[at] = byte;
            decode(&message, 4)
        };
        assert!(matches!(changed(0, 2), Err(Malformed::Form(_))), "version");
        assert!(matches!(changed(1, 49), Err(Malformed::Form(_))), "length");
        assert!(matches!(changed(9, 0), Err(Malformed::Form(_))), "flags");
        assert!(matches!(changed(11, 2), Err(Malformed::Form(_))), "segments");
        assert!(matches!(changed(13, 2), Err(Malformed::Form(_))), "number");
        assert_eq!(changed(23, b'x'), Err(Malformed::Checksum));
        assert_eq!(changed(32, 0), Err(Malformed::Checksum), "a segment's checksum");
        assert_eq!(changed(40, 0), Err(Malformed::Checksum), "the last checksum");
        for cut in 0..message.len() {
            assert!(
                matches!(decode(&message[..cut], 4), Err(Malformed::Form(_))),
                "{cut}"
            );
        }
        let longer = [message.as_slice(), b"x"].concat();
        assert!(matches!(decode(&longer, 4), Err(Malformed::Form(_))));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(data in prop::collection::vec(any::<u8>(), 0..3_000), piece in 1_usize..500) {
            prop_assert_eq!(decode(&encode(&data), piece).unwrap(), data);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..50) {
            let mut message = vec![1];
            message.extend(bytes);
            let _ = decode(&message, piece);
        }
    }
}
