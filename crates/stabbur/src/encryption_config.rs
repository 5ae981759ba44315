//! Which keys content is encrypted with at rest (docs/adr/0018).

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use encryption::{AccountGeneration, KeyEncryptionKey, Keyring, has_account_keys};
use serde::Deserialize;

use crate::config::Account;
use crate::node::Stores;

/// The section `[encryption]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncryptionConfig {
    /// Files with a key-encryption key each: the first wraps, all unwrap.
    pub(crate) key_files: Vec<PathBuf>,
}

/// The files, none if content isn't encrypted.
///
/// # Errors
/// If the section is there, but names none.
pub(crate) fn key_files(config: Option<&EncryptionConfig>) -> Result<&[PathBuf]> {
    let Some(config) = config else { return Ok(&[]) };
    ensure!(
        !config.key_files.is_empty(),
        "[encryption]: key_files names no file; name one, or leave the section out if nothing was ever encrypted"
    );
    Ok(&config.key_files)
}

/// What the accounts' settings say of their keys. `other` may be an account that has no settings.
///
/// # Errors
/// If one says something, but nothing is encrypted.
pub(crate) fn generations(
    accounts: &[Account],
    other: Option<&String>,
    config: Option<&EncryptionConfig>,
) -> Result<Vec<AccountGeneration>> {
    let generation = |account: &Account| {
        ensure!(
            config.is_some() || account.encryption_generation.is_none(),
            "account {}: encryption_generation counts the account's keys; name in [encryption] the key files that wrap \
             them",
            account.name
        );
        Ok(AccountGeneration {
            account: account.name.clone(),
            generation: account.encryption_generation.unwrap_or_default(),
        })
    };
    let mut generations = accounts.iter().map(generation).collect::<Result<Vec<_>>>()?;
    if let Some(other) = other
        && generations.iter().all(|known| known.account != *other)
    {
        generations.push(AccountGeneration {
            account: other.clone(),
            generation: 0,
        });
    }
    Ok(generations)
}

/// Opens the account keys, if key files are named, and has the stores count what doesn't decrypt.
///
/// # Errors
/// Those of the key files and of the account keys; if none is named and the ledger has account keys.
pub(crate) async fn open_keyring(
    stores: &mut Stores,
    key_files: &[PathBuf],
    accounts: &[AccountGeneration],
) -> Result<Option<Arc<Keyring>>> {
    if key_files.is_empty() {
        ensure!(
            !has_account_keys(stores.ledger.as_ref()).await?,
            "content of this ledger is encrypted, and no key-encryption key is named; serve takes the files from \
             [encryption] key_files, dev from --encryption-key (docs/operate/encryption.md)"
        );
        return Ok(None);
    }
    let keys = key_files.iter().map(|path| KeyEncryptionKey::from_file(path));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    let keyring = Keyring::open(stores.ledger.clone(), stores.random.clone(), keys, accounts)
        .await
        .context("the account keys")?;
    stores.keyring = Some(keyring.clone());
    Ok(Some(keyring))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(rest: &str) -> Vec<Account> {
        let text = format!("name = \"acme\"\nkey_files = []\n{rest}");
        vec![toml::from_str(&text).unwrap()]
    }

    #[test]
    fn a_generation_is_for_what_is_encrypted() {
        let config = EncryptionConfig {
            key_files: vec!["kek".into()],
        };
        let found = generations(&accounts(""), None, Some(&config)).unwrap();
        assert_eq!((found[0].account.as_str(), found[0].generation), ("acme", 0));
        let third = "encryption_generation = 3";
        let (same, other) = ("acme".to_owned(), "other".to_owned());
        let found = generations(&accounts(third), Some(&same), Some(&config)).unwrap();
        assert_eq!((found.len(), found[0].generation), (1, 3));
        let found = generations(&accounts(third), Some(&other), Some(&config)).unwrap();
        assert_eq!((found.len(), found[1].account.as_str()), (2, "other"));
        assert!(generations(&accounts(""), None, None).is_ok());
        let error = generations(&accounts(third), None, None).unwrap_err();
        assert!(error.to_string().contains("[encryption]"), "{error}");
        assert_eq!(key_files(Some(&config)).unwrap().len(), 1);
        assert!(key_files(None).unwrap().is_empty());
        let none = EncryptionConfig {
            key_files: Vec::new(),
        };
        assert!(
            key_files(Some(&none))
                .unwrap_err()
                .to_string()
                .contains("names no file")
        );
    }
}
