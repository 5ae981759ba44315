//! Frames on the line between a server and its script workers: a length (four bytes, little-endian)
//! and so many bytes.
//!
//! Invariant: what is kept is at most one frame of the allowed size and what was read with it, whatever
//! the other end says.

/// What came over the line isn't what the two ends agreed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A frame announces more than is allowed.
    #[error("a frame of {bytes} bytes, at most {bytes_max} are allowed")]
    FrameTooLarge {
        /// Announced.
        bytes: usize,
        /// Allowed.
        bytes_max: usize,
    },
    /// A frame doesn't hold what it must.
    #[error("a frame that is no message: {0}")]
    Malformed(&'static str),
}

const HEADER_BYTES: usize = 4;

/// Puts frames together from what is read, in whatever pieces.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    bytes_max: usize,
}

impl Frames {
    /// Takes frames of at most so many bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            buffer: Vec::new(),
            bytes_max,
        }
    }

    /// Adds what was read. Take the whole frames out before more is read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The oldest whole frame, without its length.
    ///
    /// # Errors
    /// [`LineError::FrameTooLarge`], as soon as its length is known.
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let Some((header, rest)) = self.buffer.split_first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let bytes = usize::try_from(u32::from_le_bytes(*header)).unwrap_or(usize::MAX);
        if bytes > self.bytes_max {
            return Err(LineError::FrameTooLarge {
                bytes,
                bytes_max: self.bytes_max,
            });
        }
        let Some(frame) = rest.get(..bytes) else {
            return Ok(None);
        };
        let frame = frame.to_vec();
        self.buffer.drain(..HEADER_BYTES + bytes);
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = Vec::new();
        }
        Ok(Some(frame))
    }

    /// Whether nothing is left of what was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Memory that is kept for the next frame.
const KEPT_BYTES: usize = 128 * 1024;

/// Writes one frame.
#[derive(Debug)]
pub(crate) struct FrameWriter(Vec<u8>);

impl FrameWriter {
    pub(crate) fn new(tag: u8) -> Self {
        Self(vec![0, 0, 0, 0, tag])
    }

    pub(crate) fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value.as_bytes());
        self
    }

    pub(crate) fn optional(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            None => self.byte(0),
            Some(value) => self.byte(1).text(value),
        }
    }

    /// The frame with its length; one too long for its length's bytes becomes one that no end takes.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut frame = std::mem::take(&mut self.0);
        let bytes = u32::try_from(frame.len().saturating_sub(HEADER_BYTES)).unwrap_or(u32::MAX);
        for (place, byte) in frame.iter_mut().zip(bytes.to_le_bytes()) {
            *place = byte;
        }
        frame
    }
}

/// Reads one frame, without trust.
pub(crate) struct FrameReader<'a>(&'a [u8]);

impl<'a> FrameReader<'a> {
    pub(crate) fn new(frame: &'a [u8]) -> Self {
        Self(frame)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, LineError> {
        let (first, rest) = self
            .0
            .split_first()
            .ok_or(LineError::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, LineError> {
        let (first, rest) = self
            .0
            .split_first_chunk()
            .ok_or(LineError::Malformed("it ends early"))?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*first))
    }

    pub(crate) fn size(&mut self) -> Result<usize, LineError> {
        usize::try_from(self.number()?).map_err(|_| LineError::Malformed("a size is none"))
    }

    /// A text of at most so many bytes.
    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<String, LineError> {
        let bytes = self.size()?;
        if bytes > bytes_max {
            return Err(LineError::Malformed("a text is too long"));
        }
        let (text, rest) = self
            .0
            .split_at_checked(bytes)
            .ok_or(LineError::Malformed("it ends early"))?;
        self.0 = rest;
        let text = std::str::from_utf8(text).map_err(|_| LineError::Malformed("a text is not UTF-8"))?;
        Ok(text.to_owned())
    }

    pub(crate) fn optional(&mut self, bytes_max: usize) -> Result<Option<String>, LineError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text(bytes_max).map(Some),
            _ => Err(LineError::Malformed("neither there nor not")),
        }
    }

    pub(crate) fn finish(self) -> Result<(), LineError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(LineError::Malformed("it has more than its parts"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_pieces_and_are_bounded() {
        let frame = FrameWriter::new(7).text("abc").finish();
        let mut frames = Frames::new(12);
        for byte in &frame {
            assert_eq!(frames.take(), Ok(None));
            frames.push(&[*byte]);
        }
        frames.push(&frame);
        assert_eq!(frames.take().unwrap().unwrap(), frame[4..]);
        assert!(!frames.is_empty());
        assert_eq!(frames.take().unwrap().unwrap(), frame[4..]);
        assert!(frames.is_empty());
        frames.push(&13_u32.to_le_bytes());
        let refused = frames.take();
        assert_eq!(
            refused,
            Err(LineError::FrameTooLarge {
                bytes: 13,
                bytes_max: 12
            }),
            "before any of it has come"
        );
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        let frame = FrameWriter::new(1).number(u64::MAX).finish();
        let mut reader = FrameReader::new(&frame[5..]);
        assert_eq!(
            reader.text(usize::MAX),
            Err(LineError::Malformed("it ends early"))
        );
        let mut reader = FrameReader::new(&frame[5..]);
        assert_eq!(reader.text(10), Err(LineError::Malformed("a text is too long")));
    }
}
