//! A key that keys of contents are computed of: an account's, unwrapped, or one that a customer gave.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use bytes::{Bytes, BytesMut};
use content::{ContentError, ContentId};
use ledger::Random;

use crate::KeyDigest;
use crate::frame::{FrameKey, KEY_BYTES, Purpose, TAG_BYTES};

/// The number of an account key; no two keys of a ledger have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyNumber(pub u64);

impl fmt::Display for KeyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Which key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyName {
    /// One that lies wrapped in the ledger.
    Kept(KeyNumber),
    /// One that a customer gives with each request, and that is kept nowhere.
    Customer(KeyDigest),
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(number) => fmt::Display::fmt(number, f),
            Self::Customer(_) => f.write_str("a customer's"),
        }
    }
}

/// A key that keys of contents are computed of.
pub struct DataKey {
    name: KeyName,
    secret: Prk,
    random: Arc<dyn Random>,
    damaged: Arc<AtomicU64>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataKey").field(&self.name).finish()
    }
}

/// What can't fail, as the keys and lengths are fixed.
pub(crate) fn library_failed(doing: &str) -> ContentError {
    ContentError::Io(format!("the cryptographic library failed while {doing}"))
}

impl DataKey {
    /// A key of the ledger, of these bytes; what doesn't decrypt under it is counted in `damaged`.
    pub(crate) fn new(
        number: KeyNumber,
        bytes: &[u8; KEY_BYTES],
        random: Arc<dyn Random>,
        damaged: Arc<AtomicU64>,
    ) -> Self {
        Self {
            name: KeyName::Kept(number),
            secret: Prk::new_less_safe(HKDF_SHA256, bytes),
            random,
            damaged,
        }
    }

    /// A customer's key.
    pub(crate) fn of_prk(
        digest: KeyDigest,
        secret: Prk,
        random: Arc<dyn Random>,
        damaged: Arc<AtomicU64>,
    ) -> Self {
        Self {
            name: KeyName::Customer(digest),
            secret,
            random,
            damaged,
        }
    }

    /// Which it is: records say it beside what is under it.
    #[must_use]
    pub fn name(&self) -> KeyName {
        self.name
    }

    pub(crate) fn content_key(&self, id: ContentId) -> Result<FrameKey, ContentError> {
        FrameKey::derive(&self.secret, Purpose::Content, id.as_bytes())
            .map_err(|_| library_failed("computing a content's key"))
    }

    fn small_key(&self, id: ContentId) -> Result<FrameKey, ContentError> {
        FrameKey::derive(&self.secret, Purpose::Small, id.as_bytes())
            .map_err(|_| library_failed("computing a content's key"))
    }

    /// Encrypts what lies in the ledger. The id is new with each call, and is needed to decrypt.
    ///
    /// # Errors
    /// [`ContentError::Io`] if the library fails.
    pub fn encrypt_small(&self, plain: &[u8]) -> Result<(ContentId, Bytes), ContentError> {
        let mut id = [0; 16];
        self.random.fill(&mut id);
        let id = ContentId::from_bytes(id);
        let mut frame = BytesMut::with_capacity(plain.len() + TAG_BYTES);
        frame.extend_from_slice(plain);
        self.small_key(id)?
            .encrypt((0, true), &[], &mut frame)
            .map_err(|_| library_failed("encrypting"))?;
        Ok((id, frame.freeze()))
    }

    /// Decrypts what [`Self::encrypt_small`] made.
    ///
    /// # Errors
    /// [`ContentError::Corrupt`] if it isn't that.
    pub fn decrypt_small(&self, id: ContentId, encrypted: Bytes) -> Result<Bytes, ContentError> {
        let mut frame = owned(encrypted);
        if self.small_key(id)?.decrypt((0, true), &[], &mut frame).is_err() {
            return Err(self.damage(id, "it doesn't decrypt".to_owned()));
        }
        Ok(frame.freeze())
    }

    /// Counts and logs damage.
    pub(crate) fn damage(&self, id: ContentId, cause: String) -> ContentError {
        self.damaged.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%id, key = %self.name, cause, "damaged content");
        ContentError::Corrupt { id, cause }
    }

    /// Frames that didn't decrypt since the start, under any key of the same keyring.
    pub(crate) fn damaged_frames(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }
}

/// The bytes to work on where they lie, if nobody else has them.
pub(crate) fn owned(bytes: Bytes) -> BytesMut {
    bytes
        .try_into_mut()
        .unwrap_or_else(|shared| BytesMut::from(shared.as_ref()))
}
