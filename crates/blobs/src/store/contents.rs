//! Where bytes go and come from: as they are, or encrypted under the account's key. A record says which
//! beside the id, so both lie side by side, and whoever copies a record copies that.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use content::{ContentError, ContentReader, ContentStore, ContentWriter};
use encryption::{AccountKey, EncryptedContent, KeyNumber, Keyring, plain_bytes};

use crate::store::records::StoredId;

/// The content store, and the keys if what is new is encrypted.
#[derive(Clone)]
pub(crate) struct Contents {
    store: Arc<dyn ContentStore>,
    keyring: Option<Arc<Keyring>>,
}

/// A content on its way in.
pub(crate) struct Writing {
    writer: Box<dyn ContentWriter>,
    key: Option<KeyNumber>,
}

impl Writing {
    pub(crate) async fn write(&mut self, piece: Bytes) -> Result<(), ContentError> {
        self.writer.write(piece).await
    }

    pub(crate) async fn finish(self) -> Result<StoredId, ContentError> {
        let info = self.writer.finish().await?;
        Ok(StoredId::new(info.id, self.key))
    }
}

/// Bytes for the ledger. They stay plain in memory, as pages are cut before they are encrypted.
#[derive(Clone)]
pub(crate) struct Small {
    bytes: Bytes,
    key: Option<Arc<AccountKey>>,
}

impl std::fmt::Debug for Small {
    /// Without the bytes: they are somebody's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Small")
            .field("length", &self.len())
            .field("key", &self.key.as_ref().map(|key| key.number()))
            .finish()
    }
}

impl Small {
    /// Bytes that aren't encrypted.
    #[cfg(test)]
    pub(crate) fn plain(bytes: Bytes) -> Self {
        Self { bytes, key: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A part of it, as it goes into the ledger, and how it is encrypted if it is.
    pub(crate) fn stored(&self, part: Range<usize>) -> Result<(Bytes, Option<StoredId>), ContentError> {
        let part = self.bytes.slice(part);
        match &self.key {
            None => Ok((part, None)),
            Some(key) => {
                let (id, encrypted) = key.encrypt_small(&part)?;
                Ok((encrypted, Some(StoredId::new(id, Some(key.number())))))
            }
        }
    }
}

impl Contents {
    pub(crate) fn new(store: Arc<dyn ContentStore>, keyring: Option<Arc<Keyring>>) -> Self {
        Self { store, keyring }
    }

    /// Whether what is new is encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.keyring.is_some()
    }

    fn newest(&self, account: &str) -> Result<Option<Arc<AccountKey>>, ContentError> {
        let newest = self.keyring.as_ref().map(|keyring| keyring.newest(account));
        newest.transpose()
    }

    async fn key(&self, number: KeyNumber) -> Result<Arc<AccountKey>, ContentError> {
        match &self.keyring {
            Some(keyring) => keyring.key(number).await,
            None => Err(ContentError::Io(format!(
                "content is encrypted under account key {number}, and no key-encryption key is configured"
            ))),
        }
    }

    /// Begins a new content of an account.
    pub(crate) async fn writer(&self, account: &str) -> Result<Writing, ContentError> {
        Ok(match self.newest(account)? {
            None => Writing {
                writer: self.store.writer().await?,
                key: None,
            },
            Some(key) => {
                let number = key.number();
                let store = EncryptedContent::new(self.store.clone(), key);
                Writing {
                    writer: store.writer().await?,
                    key: Some(number),
                }
            }
        })
    }

    /// Opens a range of a content.
    pub(crate) async fn reader(
        &self,
        stored: StoredId,
        range: Range<u64>,
    ) -> Result<Box<dyn ContentReader>, ContentError> {
        match stored.key() {
            None => self.store.reader(stored.id(), range).await,
            Some(number) => {
                let key = self.key(number).await?;
                let store = EncryptedContent::new(self.store.clone(), key);
                store.reader(stored.id(), range).await
            }
        }
    }

    /// Bytes of an account that go into the ledger.
    pub(crate) fn small(&self, account: &str, bytes: Bytes) -> Result<Small, ContentError> {
        let key = self.newest(account)?;
        Ok(Small { bytes, key })
    }

    /// Bytes that lay in the ledger, as they were before.
    pub(crate) async fn open_small(
        &self,
        stored: Option<StoredId>,
        bytes: Bytes,
    ) -> Result<Bytes, ContentError> {
        let encrypted = stored.and_then(|stored| Some((stored.id(), stored.key()?)));
        match encrypted {
            None => Ok(bytes),
            Some((id, number)) => self.key(number).await?.decrypt_small(id, bytes),
        }
    }
}

/// How long what is stored is without encryption; `None` if nothing becomes as long as that.
pub(crate) fn plain_length(stored: Option<StoredId>, length: u64) -> Option<u64> {
    match stored.and_then(StoredId::key) {
        None => Some(length),
        Some(_) => plain_bytes(length),
    }
}
