//! Key-encryption keys, and account keys as they are wrapped in the ledger.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use content::ContentId;
use ledger::Random;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::frame::{FrameKey, KEY_BYTES, Purpose, TAG_BYTES, derive};
use crate::{KeyError, KeyNumber, key_file};

/// Bytes of a key-encryption key's name.
const NAME_BYTES: usize = 8;

/// A key that wraps account keys.
pub struct KeyEncryptionKey {
    secret: Prk,
    name: String,
    file: PathBuf,
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEncryptionKey")
            .field("name", &self.name)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl KeyEncryptionKey {
    /// Reads a key from a file, which its owner alone may read.
    ///
    /// # Errors
    /// [`KeyError::File`].
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let bytes = key_file::read(path)?;
        Self::of(&bytes, path.to_owned())
    }

    pub(crate) fn of(bytes: &[u8; KEY_BYTES], file: PathBuf) -> Result<Self, KeyError> {
        let secret = Prk::new_less_safe(HKDF_SHA256, bytes);
        let mut name = [0; NAME_BYTES];
        derive(&secret, Purpose::Name, &[], &mut name)
            .map_err(|_| KeyError::Library("naming a key-encryption key"))?;
        let name = format!("{:016x}", u64::from_be_bytes(name));
        Ok(Self { secret, name, file })
    }

    /// What it is called: 16 hexadecimal digits that are computed from the key, and tell nothing of it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that it came from.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Wraps an account key. A key of its own, by a random id, encrypts each wrapping.
    pub(crate) fn wrap(
        &self,
        owner: &Owner<'_>,
        bytes: &[u8; KEY_BYTES],
        random: &dyn Random,
    ) -> Result<WrappedKey, KeyError> {
        let mut id = [0; 16];
        random.fill(&mut id);
        let mut frame = BytesMut::with_capacity(KEY_BYTES + TAG_BYTES);
        frame.extend_from_slice(bytes);
        let encrypted = FrameKey::derive(&self.secret, Purpose::Wrapping, &id)
            .and_then(|key| key.encrypt((0, true), &owner.bound(), &mut frame));
        if encrypted.is_err() {
            frame.as_mut().zeroize();
            return Err(KeyError::Library("wrapping an account key"));
        }
        Ok(WrappedKey {
            account: owner.account.to_owned(),
            scope: owner.scope.map(str::to_owned),
            generation: owner.generation,
            wrapped_by: self.name.clone(),
            id: ContentId::from_bytes(id).to_string(),
            wrapped: STANDARD.encode(&frame),
        })
    }

    /// The account key that was wrapped; `None` if it isn't what [`Self::wrap`] made for this owner.
    pub(crate) fn unwrap(
        &self,
        number: KeyNumber,
        wrapped: &WrappedKey,
    ) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let id = ContentId::parse(&wrapped.id)?;
        let mut frame = BytesMut::from(STANDARD.decode(&wrapped.wrapped).ok()?.as_slice());
        let owner = wrapped.owner(number);
        FrameKey::derive(&self.secret, Purpose::Wrapping, id.as_bytes())
            .and_then(|key| key.decrypt((0, true), &owner.bound(), &mut frame))
            .ok()?;
        let is_key = frame.len() == KEY_BYTES;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        if is_key {
            bytes.copy_from_slice(&frame);
        }
        frame.as_mut().zeroize();
        is_key.then_some(bytes)
    }
}

/// Whose an account key is; a wrapped key is bound to it.
pub(crate) struct Owner<'a> {
    pub(crate) number: KeyNumber,
    pub(crate) account: &'a str,
    /// The account's encryption scope; `None`: the account itself.
    pub(crate) scope: Option<&'a str>,
    pub(crate) generation: u32,
}

impl Owner<'_> {
    fn bound(&self) -> Vec<u8> {
        let mut bound = self.number.0.to_be_bytes().to_vec();
        bound.extend_from_slice(&self.generation.to_be_bytes());
        bound.extend_from_slice(self.account.as_bytes());
        if let Some(scope) = self.scope {
            // No account's name has such a byte.
            bound.push(0);
            bound.extend_from_slice(scope.as_bytes());
        }
        bound
    }
}

/// An account key as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrappedKey {
    pub(crate) account: String,
    /// The account's encryption scope whose it is; `None`: the account's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scope: Option<String>,
    /// The setting that it was made for.
    pub(crate) generation: u32,
    /// The name of the key-encryption key.
    pub(crate) wrapped_by: String,
    /// Of this wrapping, by which its key is computed: 32 hexadecimal digits.
    id: String,
    /// The encrypted key and its tag, base64.
    wrapped: String,
}

impl WrappedKey {
    pub(crate) fn owner(&self, number: KeyNumber) -> Owner<'_> {
        Owner {
            number,
            account: &self.account,
            scope: self.scope.as_deref(),
            generation: self.generation,
        }
    }
}

#[cfg(test)]
mod tests {
    use ledger::random::SeededRandom;

    use super::*;

    fn kek(byte: u8) -> KeyEncryptionKey {
        KeyEncryptionKey::of(&[byte; KEY_BYTES], "kek".into()).unwrap()
    }

    #[test]
    fn a_wrapped_key_is_its_owners_alone() {
        let random = SeededRandom::new(1);
        let owner = Owner {
            number: KeyNumber(3),
            account: "acme",
            scope: None,
            generation: 1,
        };
        let wrapped = kek(1).wrap(&owner, &[9; KEY_BYTES], &random).unwrap();
        assert_eq!(*kek(1).unwrap(KeyNumber(3), &wrapped).unwrap(), [9; KEY_BYTES]);
        assert!(kek(2).unwrap(KeyNumber(3), &wrapped).is_none());
        assert!(kek(1).unwrap(KeyNumber(4), &wrapped).is_none());
        let changed = |change: fn(&mut WrappedKey)| {
            let mut other = wrapped.clone();
            change(&mut other);
            kek(1).unwrap(KeyNumber(3), &other)
        };
        assert!(changed(|key| key.account = "acmf".to_owned()).is_none());
        assert!(changed(|key| key.generation = 2).is_none());
        assert!(changed(|key| key.scope = Some(String::new())).is_none());
        assert!(changed(|key| key.id = "0".repeat(32)).is_none());
        assert!(changed(|key| key.id = "x".to_owned()).is_none());
        assert!(changed(|key| key.wrapped = "AAAA".to_owned()).is_none());
        assert!(changed(|key| key.wrapped.clear()).is_none());
        // Wrapped again it is another text.
        assert_ne!(kek(1).wrap(&owner, &[9; KEY_BYTES], &random).unwrap(), wrapped);
    }

    #[test]
    fn names_differ_and_keys_are_never_printed() {
        assert_ne!(kek(1).name(), kek(2).name());
        assert_eq!(kek(1).name().len(), 16);
        let printed = format!("{:?}", kek(1));
        assert!(
            printed.contains(kek(1).name()) && !printed.contains("secret"),
            "{printed}"
        );
    }
}
