//! Root keys: from a file, or from a passphrase.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::{Key, KeyWriter, Keyspace, Ledger, LedgerError, Random, Transaction};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::SealError;
use super::aead::{ID_BYTES, KEY_BYTES, KeyBytes, decrypt, derive, encrypt};
use crate::limits::{
    ARGON2_LANES, ARGON2_MEMORY_KIB, ARGON2_PASSES, PASSPHRASE_BYTES_MAX, PASSPHRASE_BYTES_MIN,
};
use crate::store::keys::SALT_TAG;

const WRAPPING: &str = "stabbur vault data key";
const NAMING: &str = "stabbur vault root key name";

/// Why there is no root key. Never holds anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file with the key.
    #[error(transparent)]
    File(#[from] encryption::KeyError),
    /// The file with a passphrase, or where a key file is to be made: which one, and what to do.
    #[error("{0}")]
    Passphrase(String),
    /// The salt couldn't be read or kept.
    #[error("the passphrase's salt: {0}")]
    Ledger(#[from] LedgerError),
    /// The library.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A key that wraps data keys.
pub struct RootKey {
    bytes: KeyBytes,
    name: String,
    origin: String,
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RootKey")
            .field("name", &self.name)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// A data key as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrappedDataKey {
    /// The name of the root key.
    pub(crate) wrapped_by: String,
    /// Of this wrapping, base64.
    id: String,
    /// The encrypted key and its tag, base64.
    wrapped: String,
}

/// The salt of a passphrase, and what Argon2id was told, as they were when the first key was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stretching {
    salt: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl RootKey {
    pub(crate) fn of(bytes: KeyBytes, origin: String) -> Result<Self, SealError> {
        let mut name = [0; 8];
        derive(&bytes, NAMING, &[], &mut name)?;
        let name = format!("{:016x}", u64::from_be_bytes(name));
        Ok(Self { bytes, name, origin })
    }

    /// Reads a key from a file, which its owner alone may read: 32 bytes in hexadecimal digits or base64.
    ///
    /// # Errors
    /// [`RootKeyError::File`].
    pub fn from_file(path: &Path) -> Result<Self, RootKeyError> {
        let bytes = encryption::read_key_file(path)?;
        Ok(Self::of(bytes, path.display().to_string())?)
    }

    /// Makes a key file that its owner alone may read, for development.
    ///
    /// # Errors
    /// [`RootKeyError::Passphrase`] if it is there already, or can't be written.
    pub fn make_file(path: &Path, random: &dyn Random) -> Result<(), RootKeyError> {
        let mut bytes: KeyBytes = Zeroizing::new([0; KEY_BYTES]);
        random.fill(bytes.as_mut_slice());
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
        for byte in bytes.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        let failed = |error: std::io::Error| RootKeyError::Passphrase(format!("{}: {error}", path.display()));
        // Whole and on disk before it has its name: a file that a power cut left empty would stand in the way of
        // every later start. A link, unlike a renaming, replaces nothing.
        let mut id = [0; 8];
        random.fill(&mut id);
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}", u64::from_be_bytes(id)));
        let temporary = path.with_file_name(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                fs::hard_link(&temporary, path)
            });
        let removed = fs::remove_file(&temporary);
        written.map_err(failed)?;
        removed.map_err(failed)?;
        // Nothing may be sealed under a key that a power cut takes away.
        let folder = path.parent().map(File::open);
        folder.map_or(Ok(()), |folder| {
            folder.and_then(|folder| folder.sync_all()).map_err(failed)
        })
    }

    /// Makes a key of the passphrase in a file, which its owner alone may read, by Argon2id (RFC 9106). Its
    /// salt is kept in the ledger; the first call makes it.
    ///
    /// # Errors
    /// [`RootKeyError::Passphrase`], [`RootKeyError::Ledger`].
    pub async fn from_passphrase_file(
        path: &Path,
        ledger: &dyn Ledger,
        random: &dyn Random,
    ) -> Result<Self, RootKeyError> {
        let passphrase = read_passphrase(path).map_err(RootKeyError::Passphrase)?;
        let stretching = stretching(ledger, random).await?;
        let origin = path.display().to_string();
        let made = tokio::task::spawn_blocking(move || stretch(&passphrase, &stretching)).await;
        let bytes = made.map_err(|_| SealError::Library("stretching a passphrase"))??;
        Ok(Self::of(bytes, origin)?)
    }

    /// What it is called: 16 hexadecimal digits that are computed from the key, and tell nothing of it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn wrap(
        &self,
        owner: &[u8],
        key: &[u8; KEY_BYTES],
        random: &dyn Random,
    ) -> Result<WrappedDataKey, SealError> {
        let mut id = [0; ID_BYTES];
        random.fill(&mut id);
        let mut wrapped = key.to_vec();
        encrypt(&self.bytes, WRAPPING, &id, owner, &mut wrapped)?;
        Ok(WrappedDataKey {
            wrapped_by: self.name.clone(),
            id: STANDARD.encode(id),
            wrapped: STANDARD.encode(&wrapped),
        })
    }

    pub(crate) fn unwrap(&self, owner: &[u8], wrapped: &WrappedDataKey) -> Result<KeyBytes, SealError> {
        let read = |text: &str| STANDARD.decode(text).map_err(|_| SealError::Damaged);
        let id: [u8; ID_BYTES] = read(&wrapped.id)?.try_into().map_err(|_| SealError::Damaged)?;
        let mut bytes = Zeroizing::new(read(&wrapped.wrapped)?);
        decrypt(&self.bytes, WRAPPING, &id, owner, &mut bytes)?;
        let key = bytes.first_chunk::<KEY_BYTES>().ok_or(SealError::Damaged)?;
        Ok(Zeroizing::new(*key))
    }
}

fn read_passphrase(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let refused = |cause: &dyn fmt::Display| format!("{}: {cause}", path.display());
    let file = File::open(path).map_err(|error| refused(&error))?;
    let metadata = file.metadata().map_err(|error| refused(&error))?;
    if !metadata.is_file() {
        return Err(refused(&"not a file; it holds a passphrase on one line"));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(refused(&format!(
            "its mode {mode:03o} lets others than its owner at it; `chmod 600` it, and take it for known if it was so \
             for long"
        )));
    }
    let size = usize::try_from(PASSPHRASE_BYTES_MAX).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(size));
    file.take(PASSPHRASE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| refused(&error))?;
    let trimmed = Zeroizing::new(text.trim_ascii().to_vec());
    if text.len() > size - 1 || trimmed.len() < PASSPHRASE_BYTES_MIN {
        return Err(refused(&format!(
            "a passphrase has {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} bytes"
        )));
    }
    Ok(trimmed)
}

fn salt_key() -> Key {
    KeyWriter::new(Keyspace::Vault).u8(SALT_TAG).finish()
}

async fn stretching(ledger: &dyn Ledger, random: &dyn Random) -> Result<Stretching, LedgerError> {
    let corrupt = |error: serde_json::Error| LedgerError::Corrupt(format!("a passphrase's salt: {error}"));
    let mut made = false;
    loop {
        if let Some(found) = ledger.snapshot().await?.get(&salt_key()).await? {
            return serde_json::from_slice(&found.value).map_err(corrupt);
        }
        let mut salt = [0; 16];
        random.fill(&mut salt);
        let stretching = Stretching {
            salt: STANDARD.encode(salt),
            memory_kib: ARGON2_MEMORY_KIB,
            passes: ARGON2_PASSES,
            lanes: ARGON2_LANES,
        };
        let mut tx = Transaction::new();
        tx.require_absent(salt_key());
        tx.put(salt_key(), serde_json::to_vec(&stretching).map_err(corrupt)?);
        match ledger.commit(tx).await {
            Ok(_) => return Ok(stretching),
            // Another node was quicker: its salt counts.
            Err(LedgerError::Conflict(_)) if !made => made = true,
            Err(error) => return Err(error),
        }
    }
}

fn stretch(passphrase: &[u8], stretching: &Stretching) -> Result<KeyBytes, SealError> {
    let failed = SealError::Library("stretching a passphrase");
    let salt = STANDARD.decode(&stretching.salt).map_err(|_| failed.clone())?;
    let params = Params::new(
        stretching.memory_kib,
        stretching.passes,
        stretching.lanes,
        Some(KEY_BYTES),
    )
    .map_err(|_| failed.clone())?;
    let mut key: KeyBytes = Zeroizing::new([0; KEY_BYTES]);
    // What is in there tells the key, and the library doesn't wipe it.
    let mut memory = vec![Block::default(); params.block_count()];
    let made = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
        passphrase,
        &salt,
        key.as_mut_slice(),
        &mut memory,
    );
    memory.zeroize();
    made.map_err(|_| failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use ledger::SystemClock;
    use ledger::memory::MemoryLedger;
    use ledger::random::SeededRandom;

    use super::*;

    fn root(byte: u8) -> RootKey {
        RootKey::of(Zeroizing::new([byte; KEY_BYTES]), "file".to_owned()).unwrap()
    }

    #[test]
    fn a_wrapped_key_is_its_owners_alone() {
        let random = SeededRandom::new(1);
        let wrapped = root(1).wrap(b"acme", &[9; KEY_BYTES], &random).unwrap();
        assert_eq!(*root(1).unwrap(b"acme", &wrapped).unwrap(), [9; KEY_BYTES]);
        assert_eq!(root(2).unwrap(b"acme", &wrapped), Err(SealError::Damaged));
        assert_eq!(root(1).unwrap(b"acmf", &wrapped), Err(SealError::Damaged));
        assert_ne!(root(1).wrap(b"acme", &[9; KEY_BYTES], &random).unwrap(), wrapped);
        assert_ne!(root(1).name(), root(2).name());
        let printed = format!("{:?}", root(1));
        assert!(!printed.contains("bytes") && printed.contains(root(1).name()));
    }

    #[test]
    fn a_made_file_is_its_owners_alone_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        RootKey::make_file(&path, &SeededRandom::new(5)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let name = RootKey::from_file(&path).unwrap().name;
        assert!(RootKey::make_file(&path, &SeededRandom::new(6)).is_err());
        assert_eq!(RootKey::from_file(&path).unwrap().name, name);
        // Nothing else is left, so it can't be taken for a key.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(RootKey::from_file(&path).is_err());
    }

    #[tokio::test]
    async fn a_passphrase_gives_the_same_key_over_the_same_ledger_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        let random = SeededRandom::new(1);
        let ledger = || MemoryLedger::new(Arc::new(SystemClock));
        let (here, there) = (ledger(), ledger());
        write("correct horse battery\n", 0o600);
        let name = async |ledger| {
            let made = RootKey::from_passphrase_file(&path, ledger, &random).await;
            made.map(|key| key.name).map_err(|error| error.to_string())
        };
        let first = name(&here).await.unwrap();
        assert_eq!(name(&here).await.unwrap(), first);
        assert_ne!(name(&there).await.unwrap(), first);
        for (text, mode, cause) in [
            ("too short", 0o600, "16 to 1024"),
            ("correct horse battery", 0o604, "chmod 600"),
            (&"x".repeat(2_000), 0o600, "16 to 1024"),
        ] {
            write(text, mode);
            let error = name(&here).await.unwrap_err();
            assert!(error.contains(cause) && !error.contains(text), "{error}");
        }
    }
}
