//! Where bytes go and come from: as they are, or encrypted under a key of the account's or of a customer. A record
//! says which beside the id, so all lie side by side, and whoever copies a record copies that.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use content::{ContentError, ContentReader, ContentStore, ContentWriter};
use encryption::{DataKey, EncryptedContent, KeyName, Keyring, plain_bytes};

use crate::store::records::{StoredId, StoredKey};

/// The content store, and the keys if what is new is encrypted.
#[derive(Clone)]
pub(crate) struct Contents {
    store: Arc<dyn ContentStore>,
    keyring: Option<Arc<Keyring>>,
    /// The key that the customer gave with the request, if there is one.
    customer: Option<Arc<DataKey>>,
    /// Where frames are counted that don't decrypt under a customer's key.
    damaged: Arc<AtomicU64>,
}

/// A content on its way in.
pub(crate) struct Writing {
    writer: Box<dyn ContentWriter>,
    key: Option<StoredKey>,
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
    key: Option<Arc<DataKey>>,
}

impl std::fmt::Debug for Small {
    /// Without the bytes: they are somebody's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Small")
            .field("length", &self.len())
            .field("key", &self.key)
            .finish()
    }
}

impl Small {
    /// Bytes that are encrypted under `key` where they are stored, if there is one.
    pub(crate) fn new(bytes: Bytes, key: Option<Arc<DataKey>>) -> Self {
        Self { bytes, key }
    }

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
                Ok((encrypted, Some(StoredId::new(id, Some(key.name().into())))))
            }
        }
    }
}

impl Contents {
    pub(crate) fn new(store: Arc<dyn ContentStore>, keyring: Option<Arc<Keyring>>) -> Self {
        Self {
            store,
            keyring,
            customer: None,
            damaged: Arc::default(),
        }
    }

    /// As it is for a request that came with a customer's key; another key changes nothing.
    pub(crate) fn under(&self, key: Option<Arc<DataKey>>) -> Self {
        let is_customers = |key: &Arc<DataKey>| matches!(key.name(), KeyName::Customer(_));
        Self {
            customer: key.filter(is_customers),
            ..self.clone()
        }
    }

    /// Where frames are counted that don't decrypt under a customer's key.
    pub(crate) fn damaged_counter(&self) -> Arc<AtomicU64> {
        self.damaged.clone()
    }

    /// Whether what is new is encrypted.
    pub(crate) fn encrypts(&self) -> bool {
        self.keyring.is_some()
    }

    /// The key of an account that what is new is encrypted under, if it is.
    pub(crate) fn account_key(&self, account: &str) -> Result<Option<Arc<DataKey>>, ContentError> {
        let newest = self.keyring.as_ref().map(|keyring| keyring.newest(account));
        newest.transpose()
    }

    /// The key of an account's encryption scope that what is new is encrypted under.
    pub(crate) fn scope_key(&self, account: &str, scope: &str) -> Result<Arc<DataKey>, ContentError> {
        match &self.keyring {
            Some(keyring) => keyring.newest_of_scope(account, scope),
            None => Err(ContentError::Io(format!(
                "encryption scope {scope} of account {account} has no key, as no key-encryption key is configured"
            ))),
        }
    }

    async fn key(&self, key: StoredKey) -> Result<Arc<DataKey>, ContentError> {
        match (key, &self.keyring, &self.customer) {
            (StoredKey::Kept(number), Some(keyring), _) => keyring.key(number).await,
            (StoredKey::Kept(number), None, _) => Err(ContentError::Io(format!(
                "content is encrypted under account key {number}, and no key-encryption key is configured"
            ))),
            (StoredKey::Customer, _, Some(customer)) => Ok(customer.clone()),
            (StoredKey::Customer, _, None) => {
                let text = "content is encrypted under a customer's key, which the request didn't bring";
                Err(ContentError::Io(text.to_owned()))
            }
        }
    }

    /// Begins a new content, encrypted under `key` if there is one.
    pub(crate) async fn writer(&self, key: Option<&Arc<DataKey>>) -> Result<Writing, ContentError> {
        Ok(match key {
            None => Writing {
                writer: self.store.writer().await?,
                key: None,
            },
            Some(key) => {
                let store = EncryptedContent::new(self.store.clone(), key.clone());
                Writing {
                    writer: store.writer().await?,
                    key: Some(key.name().into()),
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
            Some(key) => {
                let key = self.key(key).await?;
                let store = EncryptedContent::new(self.store.clone(), key);
                store.reader(stored.id(), range).await
            }
        }
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
            Some((id, key)) => self.key(key).await?.decrypt_small(id, bytes),
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
