//! Objects in the ledger: found, opened, staged.
//!
//! Invariant: what an operation relies on goes into its transaction as a precondition: the header that it
//! read, and that no deleted object has the name.

use ledger::{Sequence, Snapshot, Transaction};
use zeroize::Zeroizing;

use super::keys::{self, State};
use super::records::{self, Header, Meta, Opened};
use crate::Vaults;
use crate::error::{ErrorCode, InnerCode, VaultError};
use crate::rules::names::{Kind, Version};
use crate::seal::SealError;

/// A header as it was read.
pub(crate) struct Found {
    pub(crate) header: Header,
    pub(crate) written: Sequence,
}

/// An object's place: its vault, its kind.
#[derive(Clone, Copy)]
pub(crate) struct Shelf<'a> {
    pub(crate) vaults: &'a Vaults,
    pub(crate) vault: &'a str,
    pub(crate) kind: Kind,
}

pub(crate) fn decode_header(value: &[u8]) -> Result<Header, VaultError> {
    Ok(serde_json::from_slice(value).map_err(|_| SealError::Damaged)?)
}

fn encode_header(header: &Header) -> Result<Vec<u8>, VaultError> {
    Ok(serde_json::to_vec(header).map_err(|_| SealError::Library("writing a record"))?)
}

/// Whether an error is a record's own, and not the ledger's or the seal's. A version that a header names and that
/// isn't there is damage, too.
pub(crate) fn is_damage(error: &VaultError) -> bool {
    matches!(
        error.code,
        ErrorCode::InternalError
            | ErrorCode::SecretNotFound
            | ErrorCode::KeyNotFound
            | ErrorCode::CertificateNotFound
    )
}

/// What is shown of a version that can't be opened: it is of no use to anybody.
pub(crate) fn unreadable() -> Meta {
    Meta::default()
}

impl Shelf<'_> {
    /// The header of an object, if there is one in that state.
    pub(crate) async fn find(
        &self,
        snapshot: &dyn Snapshot,
        state: State,
        name: &str,
    ) -> Result<Option<Found>, VaultError> {
        let found = snapshot
            .get(&keys::header(self.vault, self.kind, state, name))
            .await?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Found {
            header: decode_header(&found.value)?,
            written: found.version,
        }))
    }

    /// The header of an object that must be there.
    pub(crate) async fn get(
        &self,
        snapshot: &dyn Snapshot,
        state: State,
        name: &str,
    ) -> Result<Found, VaultError> {
        let found = self.find(snapshot, state, name).await?;
        found.ok_or_else(|| VaultError::not_found(self.kind, name))
    }

    /// A version, opened; `None`: the newest one.
    pub(crate) async fn open(
        &self,
        snapshot: &dyn Snapshot,
        header: &Header,
        version: Option<Version>,
    ) -> Result<Opened, VaultError> {
        let version = version.unwrap_or(header.current);
        let key = keys::version(self.vault, self.kind, &header.incarnation, version);
        let found = snapshot.get(&key).await?;
        let found = found.ok_or_else(|| {
            let name = format!("{}/{version}", header.name);
            VaultError::not_found(self.kind, &name)
        })?;
        self.opened(header, version, &found)
    }

    /// What is said of an object's newest version, or `None` if its record is damaged, as the log says then: such
    /// an object is still listed, deleted and recovered.
    pub(crate) async fn newest_meta(
        &self,
        snapshot: &dyn Snapshot,
        header: &Header,
    ) -> Result<Option<Meta>, VaultError> {
        match self.open(snapshot, header, None).await {
            Ok(opened) => Ok(Some(opened.meta)),
            Err(error) if is_damage(&error) => {
                let (vault, name) = (self.vault, &header.name);
                tracing::error!(vault, name, %error, "an object's newest version is damaged");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a version's record.
    pub(crate) fn opened(
        &self,
        header: &Header,
        version: Version,
        found: &ledger::Versioned,
    ) -> Result<Opened, VaultError> {
        let key = self.vaults.seal.key_for(self.vault, &found.value)?;
        let plain = key.open(
            &records::bound(self.vault, self.kind, header, version),
            &found.value,
        )?;
        let (meta, value) = records::decode(&plain)?;
        Ok(Opened {
            version,
            meta,
            value,
            written: found.version,
        })
    }

    /// Stages a version, sealed.
    pub(crate) fn put_version(
        &self,
        tx: &mut Transaction,
        header: &Header,
        version: Version,
        meta: &Meta,
        value: &[u8],
    ) -> Result<(), VaultError> {
        let bound = records::bound(self.vault, self.kind, header, version);
        let meta = records::encode_meta(meta)?;
        let key = self.vaults.seal.newest(self.vault)?;
        let sealed = key.seal(self.vaults.random.as_ref(), &bound, &[&meta, value])?;
        tx.put(
            keys::version(self.vault, self.kind, &header.incarnation, version),
            sealed,
        );
        Ok(())
    }

    /// Stages a version that replaces the one that was read, of an object that is as it was read.
    pub(crate) fn replace_version(
        &self,
        tx: &mut Transaction,
        found: &Found,
        opened: &Opened,
    ) -> Result<(), VaultError> {
        let header = &found.header;
        let key = keys::version(self.vault, self.kind, &header.incarnation, opened.version);
        tx.require_version(key, Some(opened.written));
        self.put_version(tx, header, opened.version, &opened.meta, &opened.value)?;
        // It may be a key's newest version, whose expiry says when it is rotated.
        let mut header = header.clone();
        if header.current == opened.version {
            self.schedule(tx, &mut header, &opened.meta);
        }
        self.put_header(tx, State::Live, &header, Some(found.written))
    }

    /// Stages a header that replaces `was`.
    pub(crate) fn put_header(
        &self,
        tx: &mut Transaction,
        state: State,
        header: &Header,
        was: Option<Sequence>,
    ) -> Result<(), VaultError> {
        let key = keys::header(self.vault, self.kind, state, &header.name);
        tx.require_version(key.clone(), was);
        tx.put(key, encode_header(header)?);
        Ok(())
    }

    /// Stages that a header which was read goes.
    pub(crate) fn remove_header(&self, tx: &mut Transaction, state: State, found: &Found) {
        let key = keys::header(self.vault, self.kind, state, &found.header.name);
        tx.require_version(key.clone(), Some(found.written));
        tx.delete(key);
    }

    /// Stages a new version, of a new object or of one that is there; nothing, if a deleted one has the name.
    pub(crate) async fn add_version(
        &self,
        snapshot: &dyn Snapshot,
        tx: &mut Transaction,
        name: &str,
        meta: &Meta,
        value: Zeroizing<Vec<u8>>,
    ) -> Result<(Header, Version), VaultError> {
        self.refuse_deleted(snapshot, tx, name).await?;
        let version = Version::random(self.vaults.random.as_ref());
        let found = self.find(snapshot, State::Live, name).await?;
        let was = found.as_ref().map(|found| found.written);
        let mut header = match found {
            Some(found) => found.header,
            None => Header {
                name: name.to_owned(),
                incarnation: Version::random(self.vaults.random.as_ref()).0,
                current: version,
                deleted: None,
                policy: None,
                rotates_at: None,
            },
        };
        header.current = version;
        self.schedule(tx, &mut header, meta);
        self.put_version(tx, &header, version, meta, &value)?;
        self.put_header(tx, State::Live, &header, was)?;
        Ok((header, version))
    }

    /// Refuses a name that a deleted object has.
    pub(crate) async fn refuse_deleted(
        &self,
        snapshot: &dyn Snapshot,
        tx: &mut Transaction,
        name: &str,
    ) -> Result<(), VaultError> {
        let noun = self.kind.noun();
        if self.find(snapshot, State::Deleted, name).await?.is_some() {
            return Err(VaultError::with(
                ErrorCode::Conflict,
                InnerCode::ObjectIsDeletedButRecoverable,
                format!(
                    "{noun} {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this \
                     state, the {} can only be recovered or purged.",
                    noun.to_ascii_lowercase()
                ),
            ));
        }
        tx.require_absent(keys::header(self.vault, self.kind, State::Deleted, name));
        Ok(())
    }

    /// Stages when a key is rotated next, by its policy and its newest version.
    pub(crate) fn schedule(&self, tx: &mut Transaction, header: &mut Header, newest: &Meta) {
        let policy = header.policy.as_ref().filter(|_| header.deleted.is_none());
        let next = policy.and_then(|policy| policy.rotates_at(newest.created, newest.exp));
        if let Some(was) = header.rotates_at {
            tx.delete(keys::rotation(was, self.vault, &header.name));
        }
        if let Some(next) = next {
            tx.put(keys::rotation(next, self.vault, &header.name), Vec::new());
        }
        header.rotates_at = next;
    }
}
