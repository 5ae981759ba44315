//! What is stored of an object: a header, and its versions.
//!
//! A version is sealed whole: the length of what is said of it (4, BE), that (JSON), then the value. So
//! nothing of attributes or tags can be changed on disk either, and no record shows what it is about.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::rules::names::{Kind, Version};
use crate::rules::rotation::Policy;
use crate::seal::SealError;

/// An object, apart from its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// As it was first written.
    pub(crate) name: String,
    /// Another one than that of an object of the same name that was purged before.
    #[serde(with = "hex16")]
    pub(crate) incarnation: [u8; 16],
    /// The newest version.
    #[serde(with = "hex_version")]
    pub(crate) current: Version,
    /// Since when it is deleted, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<Deleted>,
    /// When a key is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<Policy>,
    /// When it is rotated next, Unix seconds; an index entry stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rotates_at: Option<i64>,
}

/// That an object is deleted. Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    pub(crate) at: i64,
    pub(crate) purge_at: i64,
}

/// What is said of a version. Times are Unix seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) created: i64,
    pub(crate) updated: i64,
    pub(crate) enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nbf: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) tags: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<KeyFacts>,
}

/// What everybody may know of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyFacts {
    /// `RSA` or `EC`.
    pub(crate) kty: String,
    /// The curve of an EC key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) crv: Option<String>,
    /// Bits of an RSA key's modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bits: Option<u32>,
    /// What it may be used for.
    pub(crate) ops: Vec<String>,
    /// The public half: `n` and `e`, or `x` and `y`, base64url.
    pub(crate) public: Vec<(String, String)>,
}

/// A version as it was read.
pub(crate) struct Opened {
    pub(crate) version: Version,
    pub(crate) meta: Meta,
    /// The secret's value, or a private key (PKCS#8).
    pub(crate) value: Zeroizing<Vec<u8>>,
    /// The commit that wrote it.
    pub(crate) written: ledger::Sequence,
}

/// What a sealed version is bound to.
pub(crate) fn bound(vault: &str, kind: Kind, header: &Header, version: Version) -> Vec<u8> {
    let mut bound = Vec::with_capacity(64 + vault.len() + header.name.len());
    bound.extend_from_slice(vault.as_bytes());
    bound.extend_from_slice(&[0, kind as u8]);
    bound.extend_from_slice(header.name.to_ascii_lowercase().as_bytes());
    bound.push(0);
    bound.extend_from_slice(&header.incarnation);
    bound.extend_from_slice(&version.0);
    bound
}

/// The first part of what is sealed: everything but the value.
pub(crate) fn encode_meta(meta: &Meta) -> Result<Vec<u8>, VaultError> {
    let text = serde_json::to_vec(meta).map_err(|_| SealError::Library("writing a record"))?;
    let length = u32::try_from(text.len()).map_err(|_| SealError::Library("writing a record"))?;
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(&text);
    Ok(out)
}

/// Takes apart what was sealed.
pub(crate) fn decode(plain: &[u8]) -> Result<(Meta, Zeroizing<Vec<u8>>), SealError> {
    let (length, rest) = plain.split_first_chunk::<4>().ok_or(SealError::Damaged)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| SealError::Damaged)?;
    let (meta, value) = rest.split_at_checked(length).ok_or(SealError::Damaged)?;
    let meta = serde_json::from_slice(meta).map_err(|_| SealError::Damaged)?;
    Ok((meta, Zeroizing::new(value.to_vec())))
}

mod hex16 {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::rules::names::Version;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 16], out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&Version(*bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(input)?;
        let read =
            Version::parse(&text).ok_or_else(|| serde::de::Error::custom("not 32 hexadecimal digits"))?;
        Ok(read.0)
    }
}

mod hex_version {
    use serde::{Deserializer, Serializer};

    use crate::rules::names::Version;

    pub(super) fn serialize<S: Serializer>(version: &Version, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(version)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Version, D::Error> {
        super::hex16::deserialize(input).map(Version)
    }
}
