//! How keys are encoded: an order-preserving tuple of a keyspace byte and typed elements.
//!
//! Invariant: comparing two encoded keys as bytes gives the same answer as comparing their tuples
//! element by element, and no encoded tuple is a prefix of another one with the same number of
//! elements. Strings and byte strings end in `00 01`, with `00` inside written as `00 FF`; numbers
//! are big-endian, signed ones with the sign bit turned.

use std::fmt;

use bytes::Bytes;

/// Which service a key belongs to: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Keyspace {
    /// The ledger's own: followers, leases.
    System = 0x08,
    /// Principals, keys, audit.
    Identity = 0x10,
    /// Documents (Cosmos DB for NoSQL).
    Documents = 0x20,
    /// Blobs (Azure Blob Storage).
    Blobs = 0x30,
    /// Altinn Platform Storage's own records.
    Platform = 0x40,
    /// Container registries (OCI distribution, Azure Container Registry).
    Registry = 0x50,
    /// The vault: sealed secrets and keys, and the audit of who asked for them.
    Vault = 0x60,
}

impl Keyspace {
    /// Every keyspace.
    pub const ALL: [Self; 7] = [
        Self::System,
        Self::Identity,
        Self::Documents,
        Self::Blobs,
        Self::Platform,
        Self::Registry,
        Self::Vault,
    ];

    /// The keyspace of a first byte.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|keyspace| *keyspace as u8 == byte)
    }
}

/// An encoded key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// A key from encoded bytes, as an engine reads them back.
    #[must_use]
    pub fn from_encoded(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded bytes, shared.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The keyspace of the first byte, if it is one of ours.
    #[must_use]
    pub fn keyspace(&self) -> Option<Keyspace> {
        self.0.first().copied().and_then(Keyspace::from_byte)
    }

    /// The smallest key above this one.
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1);
        bytes.extend_from_slice(&self.0);
        bytes.push(0);
        Self(bytes.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// Writes the elements of a key, one after the other.
#[derive(Debug, Clone)]
pub struct KeyWriter(Vec<u8>);

impl KeyWriter {
    /// Begins a key in `keyspace`.
    #[must_use]
    pub fn new(keyspace: Keyspace) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(keyspace as u8);
        Self(bytes)
    }

    /// Goes on from an encoded prefix.
    #[must_use]
    pub fn after(prefix: &Key) -> Self {
        let mut bytes = Vec::with_capacity(prefix.0.len() + 32);
        bytes.extend_from_slice(&prefix.0);
        Self(bytes)
    }

    /// A one-byte element: a tag that tells kinds of keys apart.
    #[must_use]
    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    /// An unsigned 32-bit element.
    #[must_use]
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// An unsigned 64-bit element.
    #[must_use]
    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A signed 64-bit element.
    #[must_use]
    pub fn i64(self, value: i64) -> Self {
        self.u64(value.cast_unsigned() ^ (1 << 63))
    }

    /// A string element, compared by its UTF-8 bytes.
    #[must_use]
    pub fn str(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// A string element that may be longer than a key allows: past `bytes_max` encoded bytes it
    /// is cut and its BLAKE3 hash takes the rest's place. Strings that agree up to the cut are
    /// ordered by hash, so keep the original in the value.
    #[must_use]
    pub fn str_bounded(mut self, value: &str, bytes_max: usize) -> Self {
        let start = self.0.len();
        self = self.bytes(value.as_bytes());
        if self.0.len() - start > bytes_max {
            self.0.truncate(start + bytes_max);
            // An escape must not be cut in two: the marker below begins with 00.
            if self.0.last() == Some(&0) {
                self.0.pop();
            }
            self.0.extend_from_slice(&[0, 0xFE]);
            self.0
                .extend_from_slice(&blake3::hash(value.as_bytes()).as_bytes()[..16]);
        }
        self
    }

    /// A byte-string element.
    #[must_use]
    pub fn bytes(mut self, value: &[u8]) -> Self {
        for &byte in value {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(0xFF);
            }
        }
        self.0.extend_from_slice(&[0, 1]);
        self
    }

    /// Bytes of a fixed length (an id, a hash) or already order-preserving: written as they are.
    #[must_use]
    pub fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }

    /// The encoded key.
    #[must_use]
    pub fn finish(self) -> Key {
        Key(self.0.into())
    }
}

/// Reads the elements of a key back. Every reader answers `None` at bytes it can't have written.
#[derive(Debug, Clone)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    /// Reads behind the keyspace byte; `None` if the key is of another keyspace.
    #[must_use]
    pub fn new(key: &'a Key, keyspace: Keyspace) -> Option<Self> {
        let (first, rest) = key.as_bytes().split_first()?;
        (*first == keyspace as u8).then_some(Self(rest))
    }

    /// Reads behind an encoded prefix; `None` if the key doesn't begin with it.
    #[must_use]
    pub fn after(key: &'a Key, prefix: &Key) -> Option<Self> {
        key.as_bytes().strip_prefix(prefix.as_bytes()).map(Self)
    }

    /// A one-byte element.
    pub fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An unsigned 32-bit element.
    pub fn u32(&mut self) -> Option<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*head))
    }

    /// An unsigned 64-bit element.
    pub fn u64(&mut self) -> Option<u64> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*head))
    }

    /// A signed 64-bit element.
    pub fn i64(&mut self) -> Option<i64> {
        self.u64().map(|value| (value ^ (1 << 63)).cast_signed())
    }

    /// A string element.
    pub fn str(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?).ok()
    }

    /// A byte-string element.
    pub fn bytes(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match self.u8()? {
                0 => match self.u8()? {
                    1 => return Some(out),
                    0xFF => out.push(0),
                    _ => return None,
                },
                byte => out.push(byte),
            }
        }
    }

    /// `length` bytes as they are.
    pub fn raw(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    /// What is left.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// A range of keys: from `start`, up to but without `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Key,
    /// The key behind the last one; `None` means no end.
    pub end: Option<Key>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self {
            start: Key(Bytes::new()),
            end: None,
        }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &Key) -> Self {
        Self {
            start: prefix.clone(),
            end: prefix_end(prefix.as_bytes()),
        }
    }

    /// Every key that begins with `prefix`, from `start` on.
    #[must_use]
    pub fn prefix_from(prefix: &Key, start: Key) -> Self {
        Self {
            start: start.max(prefix.clone()),
            end: prefix_end(prefix.as_bytes()),
        }
    }

    /// From `start`, up to but without `end`.
    #[must_use]
    pub fn between(start: Key, end: Key) -> Self {
        Self {
            start,
            end: Some(end),
        }
    }

    /// Whether `key` lies inside.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        *key >= self.start && self.end.as_ref().is_none_or(|end| key < end)
    }

    /// Whether no key can lie inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// The smallest key above all that begin with `prefix`; `None` if there is none.
fn prefix_end(prefix: &[u8]) -> Option<Key> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(Key(end.into()))
}
