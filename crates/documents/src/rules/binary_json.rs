//! The binary form in which the Rust client sends documents (first byte `80`), turned into text.
//!
//! Only the markers that this client writes are read; every other one is refused by name. Lengths
//! are checked against what is there, depth against [`DOCUMENT_DEPTH_MAX`].

use crate::error::DocumentsError;
use crate::limits::DOCUMENT_DEPTH_MAX;

/// The first byte of a binary body.
pub const FIRST_BYTE: u8 = 0x80;

/// Reads a binary body into JSON text. Repeated names stay, for the text's reader to notice.
///
/// # Errors
/// 400 with the offset of what can't be read.
pub fn to_text(bytes: &[u8]) -> Result<Vec<u8>, DocumentsError> {
    let mut reader = Reader { bytes, at: 1 };
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
    if bytes.first() != Some(&FIRST_BYTE) {
        return Err(reader.bad("it doesn't begin with 80"));
    }
    reader.value(&mut out, 0)?;
    if reader.at != bytes.len() {
        return Err(reader.bad("bytes follow the value"));
    }
    Ok(out)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bad(&self, why: &str) -> DocumentsError {
        DocumentsError::bad_request(format!(
            "The binary JSON body is invalid at offset {}: {why}. Send JSON text instead.",
            self.at
        ))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DocumentsError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.bad("the body ends early"))?;
        self.at += length;
        Ok(taken)
    }

    fn unsigned(&mut self, length: usize) -> Result<u64, DocumentsError> {
        let bytes = self.take(length)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, DocumentsError> {
        let length = self.unsigned(bytes)?;
        usize::try_from(length).map_err(|_| self.bad("a length is too large"))
    }

    fn string(&mut self, length: usize, out: &mut Vec<u8>) -> Result<(), DocumentsError> {
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.bad("a string isn't UTF-8"))?;
        serde_json::to_writer(out, text).map_err(|_| self.bad("a string can't be written"))
    }

    fn string_marker(&mut self, marker: u8, out: &mut Vec<u8>) -> Result<(), DocumentsError> {
        let length = match marker {
            0x80..=0xBF => usize::from(marker & 0x7F),
            0xC0 => self.length(1)?,
            0xC1 => self.length(2)?,
            0xC2 => self.length(4)?,
            _ => return Err(self.bad("a property name must be a string")),
        };
        self.string(length, out)
    }

    fn marker(&mut self) -> Result<u8, DocumentsError> {
        self.take(1).map(|byte| byte.first().copied().unwrap_or_default())
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), DocumentsError> {
        let marker = self.marker()?;
        match marker {
            0x00..=0x1F => out.extend_from_slice(marker.to_string().as_bytes()),
            0x80..=0xC2 => self.string_marker(marker, out)?,
            0xC7 => {
                let number = self.unsigned(8)?;
                out.extend_from_slice(number.to_string().as_bytes());
            }
            0xCB => {
                let number = self.unsigned(8)?.cast_signed();
                out.extend_from_slice(number.to_string().as_bytes());
            }
            0xCC => {
                let number = f64::from_bits(self.unsigned(8)?);
                if !number.is_finite() {
                    return Err(self.bad("a number is not finite"));
                }
                serde_json::to_writer(&mut *out, &number)
                    .map_err(|_| self.bad("a number can't be written"))?;
            }
            0xD0 => out.extend_from_slice(b"null"),
            0xD1 => out.extend_from_slice(b"false"),
            0xD2 => out.extend_from_slice(b"true"),
            0xE5..=0xE7 => self.container(1 << (marker - 0xE5), false, out, depth)?,
            0xED..=0xEF => self.container(1 << (marker - 0xED), true, out, depth)?,
            other => return Err(self.bad(&format!("the marker {other:02X} is not supported"))),
        }
        Ok(())
    }

    /// An array or object whose byte length and count have `width` bytes each.
    fn container(
        &mut self,
        width: usize,
        object: bool,
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), DocumentsError> {
        if depth >= DOCUMENT_DEPTH_MAX {
            return Err(self.bad("it is nested too deep"));
        }
        let length = self.length(width)?;
        let count = self.length(width)?;
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.bad("a length points behind the body"))?;
        out.push(if object { b'{' } else { b'[' });
        // Each value takes at least a byte, so a false count ends with the body.
        for place in 0..count {
            if place > 0 {
                out.push(b',');
            }
            if object {
                let marker = self.marker()?;
                self.string_marker(marker, out)?;
                out.push(b':');
            }
            self.value(out, depth + 1)?;
        }
        out.push(if object { b'}' } else { b']' });
        if self.at != end {
            return Err(self.bad("a length doesn't fit what it counts"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Result<String, DocumentsError> {
        to_text(bytes).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn every_marker() {
        let mut object = vec![0x80, 0xED, 0, 5];
        object.extend_from_slice(b"\x82id\x811");
        object.extend_from_slice(b"\x81n\x05");
        object.extend_from_slice(b"\x81f\xCC");
        object.extend_from_slice(&1.5f64.to_le_bytes());
        object.extend_from_slice(b"\x81i\xCB");
        object.extend_from_slice(&(-7i64).to_le_bytes());
        object.extend_from_slice(b"\x81a\xE5\x03\x03\xD0\xD1\xD2");
        object[2] = u8::try_from(object.len() - 4).unwrap();
        assert_eq!(
            text(&object).unwrap(),
            r#"{"id":"1","n":5,"f":1.5,"i":-7,"a":[null,false,true]}"#
        );

        let long = "x".repeat(300);
        let mut body = vec![0x80, 0xC1, 0x2C, 0x01];
        body.extend_from_slice(long.as_bytes());
        assert_eq!(text(&body).unwrap(), format!("\"{long}\""));
        let mut body = vec![0x80, 0xC7];
        body.extend_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(text(&body).unwrap(), u64::MAX.to_string());
    }

    #[test]
    fn refusals() {
        let mut deep = vec![0x80];
        for level in (0u32..10_000).rev() {
            deep.push(0xE7);
            deep.extend_from_slice(&(level * 9 + 1).to_le_bytes());
            deep.extend_from_slice(&1u32.to_le_bytes());
        }
        deep.push(0);
        for bad in [
            &b""[..],
            b"\x81",
            b"\x80",
            b"\x80\x00\x00",
            b"\x80\x40",
            b"\x80\xC0\x05ab",
            b"\x80\x81\xFF",
            b"\x80\xE5\x09\x01\x00",
            b"\x80\xE5\x02\x01\x00\x00",
            b"\x80\xED\x02\x01\x05\x05",
            b"\x80\xE7\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
            b"\x80\xCC\x00\x00\x00\x00\x00\x00\xF0\x7F",
            &deep,
        ] {
            assert!(text(bad).is_err(), "{bad:02X?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            bytes.insert(0, FIRST_BYTE);
            if let Ok(text) = to_text(&bytes) {
                let _: serde_json::Value = serde_json::from_slice(&text).unwrap();
            }
        }
    }
}
