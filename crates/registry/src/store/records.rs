//! Records as they are stored: JSON, because what is in them grows with the protocol; pieces of bodies are
//! binary. A field that came later has a default and is left out while it has it.

use bytes::Bytes;
use content::ContentId;
use jiff::Timestamp;
use ledger::{LedgerError, Versioned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::rules::attributes::Attributes;
use crate::rules::digest::{Algorithm, Digest};

/// A repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RepositoryRecord {
    pub(crate) created: Timestamp,
    #[serde(default, skip_serializing_if = "Attributes::are_default")]
    pub(crate) attributes: Attributes,
}

/// A tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TagRecord {
    pub(crate) digest: Digest,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    #[serde(default, skip_serializing_if = "Attributes::are_default")]
    pub(crate) attributes: Attributes,
    #[serde(default, skip_serializing_if = "SetBy::is_client")]
    pub(crate) set_by: SetBy,
}

/// Who pointed a tag to its manifest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SetBy {
    /// Who pushed or restored it: it was acknowledged, and moves when he says so.
    #[default]
    Client,
    /// A cache, as its source had it; it moves as it moves there.
    Cache,
}

impl SetBy {
    fn is_client(&self) -> bool {
        *self == Self::Client
    }
}

/// A manifest, without its bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ManifestRecord {
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// Bytes of all that it refers to and its own.
    pub(crate) image_size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config_media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) architecture: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) os: Option<String>,
    #[serde(default, skip_serializing_if = "Attributes::are_default")]
    pub(crate) attributes: Attributes,
}

/// A repository has a blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LinkRecord {
    pub(crate) size: u64,
    /// Until when it stays though no manifest refers to it.
    pub(crate) lease: Timestamp,
}

/// A blob's bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BlobRecord {
    pub(crate) size: u64,
    #[serde(with = "id_text")]
    pub(crate) body: Uuid,
    /// Since when no registry has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tombstone: Option<Timestamp>,
    /// Whether a reader found that its bytes are damaged.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) damaged: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A manifest that has no tag.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UntaggedRecord {
    pub(crate) since: Timestamp,
    /// Until when it stays whatever the policy says: somebody may be about to refer to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<Timestamp>,
}

/// A manifest that is soft-deleted: its bytes and its references are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeletedRecord {
    pub(crate) manifest: ManifestRecord,
    pub(crate) deleted: Timestamp,
}

/// Since when a registry's policies are on, and how long they keep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PoliciesRecord {
    /// Since when untagged manifests are deleted: those untagged before stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention_since: Option<Timestamp>,
    /// How many days what is deleted was kept, when it last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) soft_delete_days: Option<u32>,
}

/// An upload under way. Its id is its body's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    pub(crate) repository: String,
    pub(crate) caller: String,
    pub(crate) algorithm: Algorithm,
    /// The hash over all that is there, base64.
    pub(crate) hash: String,
    /// How many bytes are there.
    pub(crate) offset: u64,
    pub(crate) pieces: u64,
    pub(crate) started: Timestamp,
    pub(crate) touched: Timestamp,
}

/// A part of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Inline(Bytes),
    Stored { content: ContentId, length: u64 },
}

impl Piece {
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Stored { length, .. } => *length,
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        match self {
            Self::Inline(bytes) => [&[1], bytes.as_ref()].concat().into(),
            Self::Stored { content, length } => [&[2], content.as_bytes().as_slice(), &length.to_be_bytes()]
                .concat()
                .into(),
        }
    }

    pub(crate) fn decode(value: &Bytes) -> Result<Self, LedgerError> {
        let damaged = || LedgerError::Corrupt("a piece of a registry's blob can't be read".to_owned());
        match value.split_first().ok_or_else(damaged)? {
            (1, _) => Ok(Self::Inline(value.slice(1..))),
            (2, rest) => {
                let (content, length) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
                let length = length.try_into().map_err(|_| damaged())?;
                Ok(Self::Stored {
                    content: ContentId::from_bytes(*content),
                    length: u64::from_be_bytes(length),
                })
            }
            _ => Err(damaged()),
        }
    }
}

/// What the collection is to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// A repository's link to a blob: whether anything still needs it.
    Link {
        registry: String,
        repository: String,
        digest: Digest,
    },
    /// A registry's hold on a blob: whether one of its repositories still has it.
    Holding { registry: String, digest: Digest },
    /// A blob: whether a registry still holds it.
    Blob { digest: Digest },
    /// A body that nothing refers to.
    Body {
        #[serde(with = "id_text")]
        id: Uuid,
    },
    /// A repository's rows of what came and went.
    Counts { registry: String, repository: String },
    /// An upload: whether it still goes on.
    Upload {
        registry: String,
        #[serde(with = "id_text")]
        id: Uuid,
    },
}

/// Ids as text.
mod id_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use uuid::Uuid;

    pub(super) fn serialize<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Uuid, D::Error> {
        let text = String::deserialize(deserializer)?;
        Uuid::try_parse(&text).map_err(D::Error::custom)
    }
}

/// Reads a record.
pub(crate) fn decode<T: DeserializeOwned>(found: &Versioned) -> Result<T, LedgerError> {
    serde_json::from_slice(&found.value)
        .map_err(|error| LedgerError::Corrupt(format!("a record of the registry can't be read: {error}")))
}

/// Writes one.
pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(record)
        .map_err(|error| LedgerError::Corrupt(format!("a record of the registry can't be written: {error}")))
}

/// A length in 8 bytes.
pub(crate) fn decode_number(value: &[u8]) -> Result<i64, LedgerError> {
    let bytes = value.try_into();
    bytes
        .map(i64::from_be_bytes)
        .map_err(|_| LedgerError::Corrupt("a number of the registry can't be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_come_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..50), id in any::<[u8; 16]>(), length in any::<u64>()
        ) {
            for piece in [
                Piece::Inline(bytes.into()),
                Piece::Stored { content: ContentId::from_bytes(id), length },
            ] {
                prop_assert_eq!(Piece::decode(&piece.encode()).unwrap(), piece);
            }
        }

        #[test]
        fn damaged_pieces_are_errors(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(piece) = Piece::decode(&bytes.clone().into()) {
                prop_assert_eq!(piece.encode(), Bytes::from(bytes));
            }
        }
    }
}
