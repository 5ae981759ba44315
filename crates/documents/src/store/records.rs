//! What is stored under the keys: databases, containers, items.
//!
//! An item's record is a short fixed head and the JSON text exactly as clients read it, system
//! properties included, so a point read hands out stored bytes:
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | format: 1, or 2 for an item that isn't indexed |
//! | 16 | etag |
//! | 8 | `_ts`, seconds, big-endian |
//! | 8 | `ttl` of the item, seconds; -1 never; minimum: not given |
//! | rest | JSON text |

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::DocumentsError;
use crate::rules::index_columns::IndexColumns;
use crate::rules::partial_json;

const ITEM_FORMAT: u8 = 1;
const UNINDEXED_ITEM_FORMAT: u8 = 2;
const HEAD_BYTES: usize = 33;
const TTL_NOT_GIVEN: i64 = i64::MIN;

/// A database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DatabaseRecord {
    pub(crate) id: String,
    pub(crate) number: u32,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    /// Set if throughput was asked for at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) throughput: Option<Throughput>,
}

/// Provisioned throughput: what an offer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Throughput {
    /// RU/s.
    pub(crate) rus: i64,
    /// RU/s up to which it scales by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) autoscale_rus_max: Option<i64>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) number: u32,
    pub(crate) etag: String,
    pub(crate) ts: i64,
    /// The indexes that writes maintain.
    pub(crate) index: Indexes,
    /// Whether the index of single paths holds every item. Until then queries don't use it.
    pub(crate) index_complete: bool,
    /// Whether its indexes are of numbers as their texts say them. Releases of before read some texts as
    /// the double beside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) exact_numbers: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) throughput: Option<Throughput>,
    /// The number of the versions that writes keep, if the change feed policy asks for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) versions: Option<u32>,
    /// The resource as clients see it, without system properties; `id` inside.
    pub(crate) resource: Value,
}

/// A container's indexes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredIndexes", into = "StoredIndexes")]
pub(crate) struct Indexes {
    /// The number of the index of single paths.
    pub(crate) single: u32,
    pub(crate) composites: Vec<CompositeIndex>,
}

/// A composite index that writes maintain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CompositeIndex {
    pub(crate) index: u32,
    /// Whether it holds every item. Until then queries don't use it.
    pub(crate) complete: bool,
    pub(crate) columns: IndexColumns,
}

/// Just the number, or that and the composite indexes. A release that knows only the first form
/// refuses the second, and so writes no item without its entries.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredIndexes {
    Single(u32),
    WithComposites(u32, Vec<CompositeIndex>),
}

impl From<StoredIndexes> for Indexes {
    fn from(stored: StoredIndexes) -> Self {
        let (single, composites) = match stored {
            StoredIndexes::Single(single) => (single, Vec::new()),
            StoredIndexes::WithComposites(single, composites) => (single, composites),
        };
        Self { single, composites }
    }
}

impl From<Indexes> for StoredIndexes {
    fn from(indexes: Indexes) -> Self {
        if indexes.composites.is_empty() {
            Self::Single(indexes.single)
        } else {
            Self::WithComposites(indexes.single, indexes.composites)
        }
    }
}

/// Where a number leads back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NumberRecord {
    /// The owner: an account's name, or a database's number as text.
    pub(crate) owner: String,
    pub(crate) id: String,
}

/// What a sweep still has to remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PurgeRecord {
    /// Everything of a deleted container and the index it had.
    Container {
        /// Its index's number.
        index: u32,
        /// Its versions' number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        versions: Option<u32>,
    },
    /// An index that another one replaced.
    Index,
    /// Versions that a container keeps no longer.
    Versions,
    /// The permissions of a deleted user, whose number the key has.
    Permissions {
        /// Its database's number.
        database: u32,
    },
    /// The users of a deleted database and their permissions.
    Users {
        /// Its number.
        database: u32,
    },
}

pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, DocumentsError> {
    serde_json::to_vec(record).map_err(|error| DocumentsError::Damaged(error.to_string()))
}

pub(crate) fn decode<'b, T: Deserialize<'b>>(bytes: &'b [u8], what: &str) -> Result<T, DocumentsError> {
    serde_json::from_slice(bytes).map_err(|error| DocumentsError::Damaged(format!("{what}: {error}")))
}

/// An item as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ItemRecord {
    pub(crate) etag: [u8; 16],
    /// Seconds.
    pub(crate) ts: i64,
    /// Seconds; -1 never; `None` not given.
    pub(crate) ttl: Option<i64>,
    /// Whether the index has it: all that its policy says, else only its id.
    pub(crate) indexed: bool,
    /// JSON text.
    pub(crate) text: Bytes,
}

impl ItemRecord {
    /// Begins a record's bytes; the text follows.
    pub(crate) fn begin(
        etag: &[u8; 16],
        ts: i64,
        ttl: Option<i64>,
        indexed: bool,
        text_bytes: usize,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + text_bytes);
        out.push(if indexed {
            ITEM_FORMAT
        } else {
            UNINDEXED_ITEM_FORMAT
        });
        out.extend_from_slice(etag);
        out.extend_from_slice(&ts.to_be_bytes());
        out.extend_from_slice(&ttl.unwrap_or(TTL_NOT_GIVEN).to_be_bytes());
        out
    }

    /// Reads a record; the text shares the bytes.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, DocumentsError> {
        let read = || {
            let (format, rest) = bytes.split_first()?;
            let (etag, rest) = rest.split_first_chunk::<16>()?;
            let (ts, rest) = rest.split_first_chunk::<8>()?;
            let (ttl, _) = rest.split_first_chunk::<8>()?;
            let indexed = match *format {
                ITEM_FORMAT => true,
                UNINDEXED_ITEM_FORMAT => false,
                _ => return None,
            };
            let ttl = i64::from_be_bytes(*ttl);
            Some(Self {
                etag: *etag,
                ts: i64::from_be_bytes(*ts),
                ttl: (ttl != TTL_NOT_GIVEN).then_some(ttl),
                indexed,
                text: bytes.slice(HEAD_BYTES..),
            })
        };
        read().ok_or_else(|| DocumentsError::Damaged("an item's record has an unknown form".to_owned()))
    }

    /// The document, system properties included.
    pub(crate) fn parse(&self) -> Result<Value, DocumentsError> {
        decode(&self.text, "an item's text")
    }

    /// The document cut down to these properties of its top level; all of it for `None`.
    pub(crate) fn parse_properties(&self, names: Option<&[String]>) -> Result<Value, DocumentsError> {
        match names {
            None => self.parse(),
            Some(names) => partial_json::parse(&self.text, names)
                .map_err(|error| DocumentsError::Damaged(format!("an item's text: {error}"))),
        }
    }

    /// The etag as clients see it, quotes included.
    pub(crate) fn etag_text(&self) -> String {
        etag_text(&self.etag)
    }

    /// Whether time to live has run out at `now` (seconds) in a container of this default.
    pub(crate) fn is_expired(&self, default_ttl: Option<i64>, now: i64) -> bool {
        let Some(default_ttl) = default_ttl else {
            return false;
        };
        let ttl = self.ttl.unwrap_or(default_ttl);
        ttl > 0 && self.ts.saturating_add(ttl) <= now
    }
}

/// An etag's text: a quoted GUID, as the service's are.
pub(crate) fn etag_text(etag: &[u8; 16]) -> String {
    format!("\"{}\"", uuid::Uuid::from_bytes(*etag).hyphenated())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_records_round_trip() {
        for (ttl, indexed) in [(None, true), (Some(-1), false), (Some(5), true)] {
            let mut bytes = ItemRecord::begin(&[7; 16], 99, ttl, indexed, 2);
            bytes.extend_from_slice(b"{}");
            let record = ItemRecord::decode(&bytes.into()).unwrap();
            assert_eq!(
                record,
                ItemRecord {
                    etag: [7; 16],
                    ts: 99,
                    ttl,
                    indexed,
                    text: Bytes::from_static(b"{}")
                }
            );
        }
        assert!(ItemRecord::decode(&Bytes::from_static(b"\x01short")).is_err());
        assert!(ItemRecord::decode(&Bytes::from(vec![9; 40])).is_err());
    }

    #[test]
    fn indexes_are_stored_as_before_unless_there_are_composite_ones() {
        let single = Indexes {
            single: 5,
            composites: Vec::new(),
        };
        assert_eq!(serde_json::to_string(&single).unwrap(), "5");
        let several = Indexes {
            composites: vec![CompositeIndex {
                index: 6,
                complete: true,
                columns: IndexColumns::new([(&vec!["a".to_owned()], false), (&vec!["b".to_owned()], true)]),
            }],
            ..single.clone()
        };
        let text =
            r#"[5,[{"index":6,"complete":true,"columns":[{"path":["a"]},{"path":["b"],"inverted":true}]}]]"#;
        assert_eq!(serde_json::to_string(&several).unwrap(), text);
        for (text, wanted) in [("5", single), (text, several)] {
            assert_eq!(serde_json::from_str::<Indexes>(text).unwrap(), wanted);
        }
    }

    #[test]
    fn expiry() {
        let record = |ttl| ItemRecord {
            etag: [0; 16],
            ts: 100,
            ttl,
            indexed: true,
            text: Bytes::new(),
        };
        let table = [
            (None, None, 1_000, false),
            (Some(5), None, 1_000, false),
            (None, Some(-1), 1_000, false),
            (Some(5), Some(-1), 104, false),
            (Some(5), Some(-1), 105, true),
            (None, Some(10), 110, true),
            (Some(-1), Some(10), 1_000, false),
        ];
        for (ttl, default, now, expired) in table {
            assert_eq!(
                record(ttl).is_expired(default, now),
                expired,
                "{ttl:?} {default:?} {now}"
            );
        }
    }
}
