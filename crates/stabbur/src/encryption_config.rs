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

/// An encryption scope of an account of blobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScopeConfig {
    pub(crate) name: String,
    /// Whether it is used; what is under one that isn't is neither read nor written.
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    /// A larger number than before makes a new key, which new content is encrypted with.
    #[serde(default)]
    pub(crate) generation: u32,
}

fn yes() -> bool {
    true
}

/// Whether a scope may be called so ("Encryption Scopes - Put": 3 to 63 of lower-case letters, digits and hyphens,
/// each hyphen between two of the others).
fn is_scope_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(is_inner))
}

/// The scopes of an account, as its blobs have them.
///
/// # Errors
/// If a name isn't one, or comes twice.
pub(crate) fn scopes(account: &Account) -> Result<Vec<blobs::EncryptionScope>> {
    let mut scopes: Vec<blobs::EncryptionScope> = Vec::new();
    for scope in &account.encryption_scopes {
        ensure!(
            is_scope_name(&scope.name),
            "account {}: encryption_scopes: {:?} is no name of a scope: 3 to 63 lower-case letters, digits and single \
             hyphens between them",
            account.name,
            scope.name
        );
        ensure!(
            scopes.iter().all(|known| known.name != scope.name),
            "account {}: encryption_scopes names {} twice",
            account.name,
            scope.name
        );
        scopes.push(blobs::EncryptionScope {
            name: scope.name.clone(),
            enabled: scope.enabled,
        });
    }
    Ok(scopes)
}

/// What the accounts' settings say of their keys and of those of their scopes. `other` may be an account that has no
/// settings.
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
        ensure!(
            config.is_some() || account.encryption_scopes.is_empty(),
            "account {}: encryption_scopes have keys; name in [encryption] the key files that wrap them",
            account.name
        );
        Ok(AccountGeneration {
            account: account.name.clone(),
            scope: None,
            generation: account.encryption_generation.unwrap_or_default(),
        })
    };
    let mut generations = accounts.iter().map(generation).collect::<Result<Vec<_>>>()?;
    for account in accounts {
        generations.extend(account.encryption_scopes.iter().map(|scope| AccountGeneration {
            account: account.name.clone(),
            scope: Some(scope.name.clone()),
            generation: scope.generation,
        }));
    }
    if let Some(other) = other
        && generations.iter().all(|known| known.account != *other)
    {
        generations.push(AccountGeneration {
            account: other.clone(),
            scope: None,
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
    fn scopes_are_named_and_have_keys() {
        let config = EncryptionConfig {
            key_files: vec!["kek".into()],
        };
        let two = accounts(
            "encryption_scopes = [{ name = \"one\" }, { name = \"two-2\", enabled = false, generation = 3 }]",
        );
        let found = generations(&two, None, Some(&config)).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.scope.as_deref(), found.generation))
            .collect();
        assert_eq!(found, [(None, 0), (Some("one"), 0), (Some("two-2"), 3)]);
        let made = scopes(&two[0]).unwrap();
        assert!(made[0].enabled && !made[1].enabled && made[1].name == "two-2");
        let error = generations(&two, None, None).unwrap_err();
        assert!(error.to_string().contains("[encryption]"), "{error}");
        for bad in [
            "ab",
            "Upper",
            "a--b",
            "-ab",
            "ab-",
            "a_b",
            "one\" }, { name = \"one",
        ] {
            let settings = format!("encryption_scopes = [{{ name = \"{bad}\" }}]");
            assert!(scopes(&accounts(&settings)[0]).is_err(), "{bad}");
        }
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
