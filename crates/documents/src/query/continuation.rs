//! Continuation tokens: opaque to clients, versioned, and bound to the query they came from.
//!
//! A token says where to go on in keys and numbers, not in page numbers, so it stays good while
//! items come and go. The exception are rows that can only be had by starting over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::DocumentsError;
use crate::limits::CONTINUATION_BYTES_MAX;

const FORMAT: u8 = 1;

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FeedToken {
    /// At item `number`, of which `rows` rows are out.
    ByNumber {
        /// The item's number.
        number: u64,
        /// Rows of it already given.
        rows: u32,
    },
    /// In the index that gives the order.
    Ordered {
        /// The number of a composite index; `None` is the index of the ORDER BY path.
        composite: Option<u32>,
        /// Whether the items without the property are being read.
        undefined: bool,
        /// The index position: encoded values and number, or what a group of entries begins with.
        position: Vec<u8>,
        /// Items of the group that are done.
        entries: u32,
        /// The item there.
        number: u64,
        /// Rows of it already given.
        rows: u32,
    },
    /// Run again and leave away this many rows.
    Restart {
        /// Rows already given.
        rows: u64,
        /// Whether an index gives the order.
        ordered: bool,
    },
    /// Behind this name, in a list of resources.
    AfterName(String),
}

impl FeedToken {
    /// The token's text; `hash` is of the query it belongs to.
    pub(crate) fn encode(&self, hash: u64) -> String {
        let mut out = vec![FORMAT];
        out.extend_from_slice(&hash.to_be_bytes());
        match self {
            Self::ByNumber { number, rows } => {
                out.push(1);
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&rows.to_be_bytes());
            }
            Self::Ordered {
                composite,
                undefined,
                position,
                entries,
                number,
                rows,
            } => {
                match composite {
                    None => out.push(2),
                    Some(index) => {
                        out.push(5);
                        out.extend_from_slice(&index.to_be_bytes());
                    }
                }
                out.push(u8::from(*undefined));
                out.extend_from_slice(&entries.to_be_bytes());
                out.extend_from_slice(&number.to_be_bytes());
                out.extend_from_slice(&rows.to_be_bytes());
                out.extend_from_slice(position);
            }
            Self::Restart { rows, ordered } => {
                out.push(3);
                out.push(u8::from(*ordered));
                out.extend_from_slice(&rows.to_be_bytes());
            }
            Self::AfterName(name) => {
                out.push(4);
                out.extend_from_slice(name.as_bytes());
            }
        }
        URL_SAFE_NO_PAD.encode(out)
    }

    /// The name behind which a list of resources goes on.
    ///
    /// # Errors
    /// As [`FeedToken::decode`].
    pub(crate) fn decode_name(text: Option<&str>, hash: u64) -> Result<Option<String>, DocumentsError> {
        match text.map(|text| Self::decode(text, hash)).transpose()? {
            None => Ok(None),
            Some(Self::AfterName(name)) => Ok(Some(name)),
            Some(_) => Err(DocumentsError::bad_request(
                "Invalid Continuation Token: it is of another kind.",
            )),
        }
    }

    /// Reads a token that must belong to the query with this hash.
    ///
    /// # Errors
    /// 400 if it isn't a token of ours, or another query's.
    pub(crate) fn decode(text: &str, hash: u64) -> Result<Self, DocumentsError> {
        let bad =
            || DocumentsError::bad_request("Invalid Continuation Token: it is damaged or of another query.");
        if text.len() > CONTINUATION_BYTES_MAX {
            return Err(bad());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| bad())?;
        let mut reader = Reader(&bytes);
        if reader.u8() != Some(FORMAT) || reader.u64() != Some(hash) {
            return Err(bad());
        }
        reader.token().ok_or_else(bad)
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    fn token(&mut self) -> Option<FeedToken> {
        let token = match self.u8()? {
            1 => FeedToken::ByNumber {
                number: self.u64()?,
                rows: self.u32()?,
            },
            kind @ (2 | 5) => FeedToken::Ordered {
                composite: if kind == 5 { Some(self.u32()?) } else { None },
                undefined: self.u8()? != 0,
                entries: self.u32()?,
                number: self.u64()?,
                rows: self.u32()?,
                position: std::mem::take(&mut self.0).to_vec(),
            },
            3 => FeedToken::Restart {
                ordered: self.u8()? != 0,
                rows: self.u64()?,
            },
            4 => FeedToken::AfterName(String::from_utf8(std::mem::take(&mut self.0).to_vec()).ok()?),
            _ => return None,
        };
        self.0.is_empty().then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_belong_to_their_query() {
        for token in [
            FeedToken::ByNumber { number: 7, rows: 2 },
            FeedToken::Ordered {
                composite: None,
                undefined: true,
                position: vec![1, 2],
                entries: 3,
                number: 4,
                rows: 5,
            },
            FeedToken::Ordered {
                composite: Some(9),
                undefined: false,
                position: Vec::new(),
                entries: 3,
                number: 4,
                rows: 5,
            },
            FeedToken::Restart {
                rows: 100,
                ordered: true,
            },
            FeedToken::AfterName("æ".to_owned()),
        ] {
            let text = token.encode(42);
            assert_eq!(FeedToken::decode(&text, 42).unwrap(), token);
            assert!(FeedToken::decode(&text, 43).is_err());
            assert!(FeedToken::decode(&text[..text.len() / 2], 42).is_err());
        }
        for bad in ["", "x", "AAAA", "!!", &"A".repeat(9_000)] {
            assert!(FeedToken::decode(bad, 42).is_err(), "{bad}");
        }
    }
}
