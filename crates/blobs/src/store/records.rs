//! Records as they are stored: JSON, because what is in them grows with the protocol. Content is
//! never in them, so a listing reads little.
//!
//! A field that came later has a default and is left out while it has it, so records from before
//! are read as they are.

use std::collections::BTreeMap;

use content::ContentId;
use encryption::{KeyDigest, KeyName, KeyNumber};
use jiff::Timestamp;
use ledger::{LedgerError, Versioned};
use serde::{Deserialize, Serialize};

use crate::rules::access_policy::{Policy, PublicAccess};
use crate::rules::immutability::Protection;
use crate::rules::lease::Lease;
use crate::rules::tags::Tags;
use crate::rules::tier::Tier;
use crate::store::keys::{Generation, MapId};

/// A container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContainerRecord {
    pub(crate) name: String,
    pub(crate) generation: Generation,
    pub(crate) etag: String,
    pub(crate) last_modified: Timestamp,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<Lease>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) public_access: Option<PublicAccess>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) policies: Vec<Policy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<EncryptionPolicy>,
}

/// Properties of a blob that a client sets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobHeaders {
    /// `x-ms-blob-content-type`. `None` if none was ever given, which is shown as `application/octet-stream`; empty
    /// if it was cleared, which isn't shown.
    pub content_type: Option<String>,
    /// `x-ms-blob-content-encoding`.
    pub content_encoding: Option<String>,
    /// `x-ms-blob-content-language`.
    pub content_language: Option<String>,
    /// `x-ms-blob-content-disposition`.
    pub content_disposition: Option<String>,
    /// `x-ms-blob-cache-control`.
    pub cache_control: Option<String>,
    /// `x-ms-blob-content-md5`, base64.
    pub content_md5: Option<String>,
}

/// A committed part of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredExtent", try_from = "StoredExtent")]
pub(crate) struct Extent {
    /// The block's id; empty for a blob that was put whole or appended to.
    pub(crate) block: String,
    pub(crate) length: u64,
    /// Where its bytes are; `None`: under the blob's inline key.
    pub(crate) content: Option<StoredId>,
    /// How they are encrypted there; `None`: not at all, or they aren't there.
    pub(crate) inline: Option<StoredId>,
}

/// An extent as it is stored. How inline bytes are encrypted stands where the content's id would: a release that
/// doesn't know it refuses the record then, rather than take the bytes for plain.
#[derive(Serialize, Deserialize)]
struct StoredExtent {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    block: String,
    length: u64,
    content: Option<String>,
}

/// Behind the id and the key of inline bytes.
const INLINE: &str = ".inline";

impl From<Extent> for StoredExtent {
    fn from(extent: Extent) -> Self {
        let inline = |stored: StoredId| format!("{}{INLINE}", String::from(stored));
        Self {
            block: extent.block,
            length: extent.length,
            content: extent
                .content
                .map(String::from)
                .or_else(|| extent.inline.map(inline)),
        }
    }
}

impl TryFrom<StoredExtent> for Extent {
    type Error = String;

    fn try_from(stored: StoredExtent) -> Result<Self, String> {
        let (content, inline) = match stored.content {
            None => (None, None),
            Some(text) => match text.strip_suffix(INLINE) {
                Some(text) => (None, Some(StoredId::try_from(text.to_owned())?)),
                None => (Some(StoredId::try_from(text)?), None),
            },
        };
        Ok(Self {
            block: stored.block,
            length: stored.length,
            content,
            inline,
        })
    }
}

impl Extent {
    fn is_encrypted(&self) -> bool {
        let stored = self.content.or(self.inline);
        stored.is_some_and(|stored| stored.key().is_some())
    }

    /// A part of a blob in the content store.
    pub(crate) fn stored(block: String, length: u64, content: StoredId) -> Self {
        Self {
            block,
            length,
            content: Some(content),
            inline: None,
        }
    }
}

/// What a content is encrypted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum StoredKey {
    /// A key that lies wrapped in the ledger.
    Kept(KeyNumber),
    /// The customer's key whose SHA-256 the blob's record has.
    Customer,
}

impl From<KeyName> for StoredKey {
    fn from(name: KeyName) -> Self {
        match name {
            KeyName::Kept(number) => Self::Kept(number),
            KeyName::Customer(_) => Self::Customer,
        }
    }
}

/// Stands for a customer's key.
const CUSTOMER: &str = "c";

/// A content id in a record: its 32 digits, half of what a list of numbers would take. Behind a point, the
/// number of the key that it is encrypted under, or a letter where that is a customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct StoredId {
    id: ContentId,
    key: Option<StoredKey>,
}

impl StoredId {
    pub(crate) fn new(id: ContentId, key: Option<StoredKey>) -> Self {
        Self { id, key }
    }

    pub(crate) fn id(self) -> ContentId {
        self.id
    }

    /// The key that it is encrypted under; `None`: it isn't.
    pub(crate) fn key(self) -> Option<StoredKey> {
        self.key
    }
}

impl From<StoredId> for String {
    fn from(stored: StoredId) -> Self {
        match stored.key {
            None => stored.id.to_string(),
            Some(StoredKey::Kept(key)) => format!("{}.{key}", stored.id),
            Some(StoredKey::Customer) => format!("{}.{CUSTOMER}", stored.id),
        }
    }
}

impl TryFrom<String> for StoredId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (id, key) = match text.split_once('.') {
            None => (text.as_str(), Ok(None)),
            Some((id, CUSTOMER)) => (id, Ok(Some(StoredKey::Customer))),
            Some((id, key)) => (id, key.parse().map(KeyNumber).map(StoredKey::Kept).map(Some)),
        };
        match (ContentId::parse(id), key) {
            (Some(id), Ok(key)) => Ok(Self { id, key }),
            _ => Err(format!("not a content id: {text}")),
        }
    }
}

/// How a blob is encrypted, if it isn't under its account's own key. All of its content is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlobEncryption {
    /// Under a key that the customer gives with each request: the key's SHA-256.
    Customer(KeyDigest),
    /// Under the key of one of the account's encryption scopes.
    Scope(String),
}

/// How blobs of a container are encrypted whose writers don't say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EncryptionPolicy {
    /// The account's encryption scope; `None`: under the account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// Whether nobody may say otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deny_override: bool,
}

/// How a blob came from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CopyRecord {
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) completed: Timestamp,
}

/// `x-ms-blob-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum BlobKind {
    #[default]
    Block,
    Append,
    Page,
}

impl BlobKind {
    /// As headers and listings have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Block => "BlockBlob",
            Self::Append => "AppendBlob",
            Self::Page => "PageBlob",
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the encoder asks by reference")]
    fn is_block(&self) -> bool {
        *self == Self::Block
    }
}

/// How a state was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    pub(crate) at: Timestamp,
    /// When it goes.
    pub(crate) until: Timestamp,
    /// Whether it was the blob: not a snapshot, and not overwritten.
    pub(crate) was_current: bool,
}

/// Which pages a state of a page blob has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PagesRecord {
    pub(crate) map: MapId,
    /// Which of the map's versions: the newest of each segment that isn't newer than this.
    pub(crate) epoch: u64,
    /// Whether all that was ever written to the map is encrypted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) encrypted: bool,
}

impl PagesRecord {
    /// The pages of a map at an epoch, for whoever reads them.
    pub(crate) fn at(map: MapId, epoch: u64) -> Self {
        Self {
            map,
            epoch,
            encrypted: false,
        }
    }
}

/// What an incremental copy was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IncrementalRecord {
    /// The source's address without its query.
    pub(crate) source: String,
    /// The source's snapshot.
    pub(crate) source_snapshot: Timestamp,
    /// The snapshot of the copy that holds it.
    pub(crate) snapshot: Timestamp,
}

/// The access tier that a blob was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TierRecord {
    pub(crate) tier: Tier,
    pub(crate) changed: Timestamp,
}

/// A blob.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct BlobRecord {
    pub(crate) name: String,
    pub(crate) etag: String,
    pub(crate) created: Timestamp,
    pub(crate) last_modified: Timestamp,
    pub(crate) length: u64,
    pub(crate) headers: BlobHeaders,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) extents: Vec<Extent>,
    #[serde(default)]
    pub(crate) copy: Option<CopyRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lease: Option<Lease>,
    #[serde(default, skip_serializing_if = "BlobKind::is_block")]
    pub(crate) kind: BlobKind,
    /// Whether an append blob takes no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) sealed: bool,
    /// When it was taken, for a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<Timestamp>,
    /// The version that it is: later states of the blob have later ones. `None`: it was made while the account
    /// had no versioning, or is a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<Timestamp>,
    /// Whether it is a previous version, which isn't the blob any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) previous: bool,
    /// When and how it was deleted, for a state that is kept for a while; it lies below the blob's name, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<Deleted>,
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub(crate) tags: Tags,
    /// The tier that somebody gave it; `None`: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tier: Option<TierRecord>,
    /// The pages of a page blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pages: Option<PagesRecord>,
    /// A page blob's sequence number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) sequence_number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) incremental: Option<IncrementalRecord>,
    /// Immutability policy and legal hold.
    #[serde(default, skip_serializing_if = "Protection::is_none")]
    pub(crate) protection: Protection,
    /// When it was read last, to a day, if the account keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_access: Option<Timestamp>,
    /// `None`: under the account's key, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<BlobEncryption>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the encoder asks by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl BlobRecord {
    /// The time by which a state that isn't the blob itself lies below the blob's name. A blob's snapshots and
    /// previous versions share no time.
    pub(crate) fn below(&self) -> Option<Timestamp> {
        if self.previous {
            self.version
        } else {
            self.snapshot
        }
    }

    pub(crate) fn is_archived(&self) -> bool {
        self.tier
            .as_ref()
            .is_some_and(|given| given.tier == Tier::Archive)
    }

    /// Whether all of its content is encrypted; `by_default` where it has none.
    pub(crate) fn is_encrypted(&self, by_default: bool) -> bool {
        if let Some(pages) = &self.pages {
            return pages.encrypted;
        }
        match self.extents.is_empty() {
            true => by_default || self.encryption.is_some(),
            false => self.extents.iter().all(Extent::is_encrypted),
        }
    }

    /// Drops all extents but the one that [`Self::is_encrypted`] is decided by.
    pub(crate) fn drop_extents(&mut self) {
        let plain = self.extents.iter().position(|extent| !extent.is_encrypted());
        let telling = plain.unwrap_or_default();
        self.extents = self.extents.drain(..).skip(telling).take(1).collect();
    }

    pub(crate) fn contents(&self) -> impl Iterator<Item = ContentId> + '_ {
        self.extents
            .iter()
            .filter_map(|extent| extent.content.map(StoredId::id))
    }
}

/// A staged block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockRecord {
    pub(crate) id: String,
    pub(crate) length: u64,
    pub(crate) content: StoredId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<BlobEncryption>,
}

/// A name that has staged blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    pub(crate) name: String,
    /// When a block was staged for it last, to an hour.
    pub(crate) at: Timestamp,
}

/// The stored form.
pub(crate) fn encode<R: Serialize>(record: &R) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(record).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

/// Reads the stored form.
pub(crate) fn decode<R: for<'de> Deserialize<'de>>(stored: &Versioned) -> Result<R, LedgerError> {
    serde_json::from_slice(&stored.value)
        .map_err(|error| LedgerError::Corrupt(format!("a record of the blob service: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_from_before_versions_is_read_and_written_as_it_is() {
        let text = concat!(
            r#"{"name":"x","etag":"0x8D1","created":"2023-11-14T22:13:20Z","last_modified":"2023-11-14T22:13:21Z","#,
            r#""length":1,"headers":{"content_type":null,"content_encoding":null,"content_language":null,"#,
            r#""content_disposition":null,"cache_control":null,"content_md5":null},"metadata":{},"#,
            r#""extents":[{"length":1,"content":null}],"copy":null,"snapshot":"2023-11-14T22:13:22Z"}"#
        );
        let stored = Versioned {
            version: 1,
            value: text.into(),
        };
        let record: BlobRecord = decode(&stored).unwrap();
        assert_eq!((record.version, record.previous), (None, false));
        assert!(record.protection.is_none());
        assert_eq!(record.below(), record.snapshot);
        assert_eq!(String::from_utf8(encode(&record).unwrap()).unwrap(), text);
    }

    #[test]
    fn an_id_says_which_key_its_content_is_under() {
        let digits = "00112233445566778899aabbccddeeff";
        for (text, key) in [
            (digits.to_owned(), None),
            (format!("{digits}.7"), Some(StoredKey::Kept(KeyNumber(7)))),
            (
                format!("{digits}.{}", u64::MAX),
                Some(StoredKey::Kept(KeyNumber(u64::MAX))),
            ),
            (format!("{digits}.c"), Some(StoredKey::Customer)),
        ] {
            let stored = StoredId::try_from(text.clone()).unwrap();
            assert_eq!((stored.id().to_string().as_str(), stored.key()), (digits, key));
            assert_eq!(String::from(stored), text);
        }
        for bad in [
            "",
            ".7",
            "7",
            &format!("{digits}."),
            &format!("{digits}.x"),
            &format!("{digits}.C"),
            &format!("{digits}.c.7"),
            &format!("{digits}.7.8"),
        ] {
            assert!(StoredId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_does_not_know_encrypted_inline_bytes_refuses_their_record() {
        let stored = StoredId::new(
            ContentId::from_bytes([1; 16]),
            Some(StoredKey::Kept(KeyNumber(7))),
        );
        let digits = "01".repeat(16);
        for (content, inline, text) in [
            (None, None, r#"{"length":3,"content":null}"#.to_owned()),
            (
                Some(stored),
                None,
                format!(r#"{{"length":3,"content":"{digits}.7"}}"#),
            ),
            (
                None,
                Some(stored),
                format!(r#"{{"length":3,"content":"{digits}.7.inline"}}"#),
            ),
        ] {
            let extent = Extent {
                block: String::new(),
                length: 3,
                content,
                inline,
            };
            assert_eq!(serde_json::to_string(&extent).unwrap(), text);
            assert_eq!(serde_json::from_str::<Extent>(&text).unwrap(), extent);
        }
        // Releases of before read nothing but an id there.
        assert!(StoredId::try_from(format!("{digits}.7.inline")).is_err());
    }

    #[test]
    fn a_blob_is_encrypted_when_all_of_it_is() {
        let kept = |key: u64| StoredKey::Kept(KeyNumber(key));
        let stored = |key: Option<u64>| StoredId::new(ContentId::from_bytes([1; 16]), key.map(kept));
        let in_store = |key| Extent::stored(String::new(), 1, stored(key));
        let inline = |key: Option<u64>| Extent {
            content: None,
            inline: key.map(|key| stored(Some(key))),
            ..in_store(None)
        };
        let of = |extents: &[Extent]| BlobRecord {
            extents: extents.to_vec(),
            ..BlobRecord::default()
        };
        for (extents, wanted) in [
            (vec![in_store(Some(1))], true),
            (vec![in_store(None)], false),
            (vec![in_store(Some(1)), in_store(Some(2))], true),
            (vec![in_store(Some(1)), in_store(None)], false),
            (vec![inline(Some(1))], true),
            (vec![inline(None)], false),
        ] {
            let mut record = of(&extents);
            assert_eq!(record.is_encrypted(!wanted), wanted, "{extents:?}");
            record.drop_extents();
            assert_eq!(
                (record.extents.len(), record.is_encrypted(!wanted)),
                (1, wanted),
                "{extents:?}"
            );
        }
        assert!(of(&[]).is_encrypted(true) && !of(&[]).is_encrypted(false));
    }
}
