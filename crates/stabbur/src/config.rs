//! The configuration of `stabbur serve`, and what it may not say.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use identity::SharedKey;
use serde::Deserialize;

use crate::bearer_config::{BearerConfig, RoleConfig};
use crate::blob_jobs_config::{ChangeFeedConfig, LifecycleConfig};
use crate::dev;
use crate::encryption_config::{EncryptionConfig, ScopeConfig};
use crate::places::{ContentConfig, ContentPlace, LedgerConfig, LedgerPlace, Places};
use crate::platform_config::{PdpConfig, PlatformIssuerConfig, SinkConfig};
use crate::registry_config::RegistryConfig;
use crate::vault_config::VaultConfig;

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything is kept.
    pub(crate) data_dir: PathBuf,
    /// Where the ledger is; without it, in the data folder.
    pub(crate) ledger: Option<LedgerConfig>,
    /// Where content is; without it, in the data folder.
    pub(crate) content: Option<ContentConfig>,
    /// What wraps the keys that content is encrypted with; without it content isn't encrypted.
    pub(crate) encryption: Option<EncryptionConfig>,
    pub(crate) blobs: Service,
    /// Whose bearer tokens blobs take; without it none.
    pub(crate) bearer: Option<BearerConfig>,
    pub(crate) documents: Service,
    pub(crate) platform: Option<PlatformConfig>,
    /// Container registries; without it none is served.
    pub(crate) registry: Option<RegistryConfig>,
    /// Vaults; without it there are none.
    pub(crate) vault: Option<VaultConfig>,
    pub(crate) admin: Admin,
}

/// Altinn's Platform Storage.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlatformConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    /// The environment's name, a part of the containers' names.
    pub(crate) environment: String,
    /// The documents' account that holds the database `Storage`.
    pub(crate) documents_account: String,
    /// The blobs' account that holds the orgs' containers.
    pub(crate) blobs_account: String,
    /// The keys that verify tokens (a JSON Web Key Set), read again when the file changes.
    pub(crate) token_keys: PathBuf,
    /// `{org}/{app}/policy.xml` each.
    pub(crate) policies: PathBuf,
    /// Who is who and holds which roles.
    pub(crate) register: PathBuf,
    /// Where clients reach the platform, `https://platform.example.org`.
    pub(crate) platform_url: Option<String>,
    /// Where clients reach apps, `https://{org}.apps.example.org`.
    pub(crate) apps_url: Option<String>,
    /// A decision point elsewhere; without it policies are in the folder above.
    pub(crate) pdp: Option<PdpConfig>,
    /// Whose tokens are taken in `PlatformAccessToken`.
    #[serde(default)]
    pub(crate) access_tokens: Vec<PlatformIssuerConfig>,
    /// Who scans contents for malware; without it none waits for its scan.
    pub(crate) scan: Option<SinkConfig>,
    /// Whether content in which malware was found is refused to readers.
    #[serde(default)]
    pub(crate) refuse_infected: bool,
    /// Who is told what the portal shows; without it nobody is.
    pub(crate) portal: Option<SinkConfig>,
}

/// A protocol's listener and accounts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    /// What comes behind `{account}.` in host names.
    #[serde(default)]
    pub(crate) host_suffixes: Vec<String>,
    /// What comes behind `{account}.` in host names of static websites; for blobs.
    #[serde(default)]
    pub(crate) web_host_suffixes: Vec<String>,
    pub(crate) accounts: Vec<Account>,
    /// Whether requests beyond the provisioned throughput are refused; for documents.
    #[serde(default)]
    pub(crate) enforce_throughput: bool,
    /// Whether stored procedures are run, if said; for documents, which run them unless it says no.
    pub(crate) run_scripts: Option<bool>,
}

/// The admin listener.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
}

/// Certificate chain and key, both PEM.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// An account; its keys are in files of their own, so that this file holds no secret.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    pub(crate) name: String,
    /// One or two files, each with one base64 key; none where keys don't count.
    #[serde(default)]
    pub(crate) key_files: Vec<PathBuf>,
    /// None to two files, each with one base64 key that only reads; for documents.
    #[serde(default)]
    pub(crate) read_only_key_files: Vec<PathBuf>,
    /// For blobs: whether containers may be opened to anonymous reads.
    #[serde(default)]
    pub(crate) allow_blob_public_access: bool,
    /// For blobs: whether writes make versions.
    #[serde(default)]
    pub(crate) versioning: bool,
    /// For blobs: whether immutability policies and legal holds are taken in all containers.
    #[serde(default)]
    pub(crate) immutable_storage: bool,
    /// For blobs: containers that take them where others don't.
    #[serde(default)]
    pub(crate) immutable_containers: Vec<String>,
    /// For blobs, as what follows: whether what is signed with the keys counts, if said; it does unless
    /// this says no.
    pub(crate) allow_shared_key_access: Option<bool>,
    /// Whether requests without TLS are refused.
    #[serde(default)]
    pub(crate) https_only: bool,
    /// Addresses and networks from which the account is reached; without any it is from everywhere.
    #[serde(default)]
    pub(crate) allowed_networks: Vec<String>,
    /// Who has which roles.
    #[serde(default)]
    pub(crate) roles: Vec<RoleConfig>,
    /// Whether changes of blobs go into a feed, and how.
    pub(crate) change_feed: Option<ChangeFeedConfig>,
    /// Whether it is kept when blobs were read last.
    #[serde(default)]
    pub(crate) last_access_time_tracking: bool,
    /// What happens to blobs as they grow old.
    pub(crate) lifecycle: Option<LifecycleConfig>,
    /// Another number ends all user delegation keys that were given out.
    #[serde(default)]
    pub(crate) delegation_generation: u32,
    /// A larger number than before makes a new key, which new content is encrypted with.
    pub(crate) encryption_generation: Option<u32>,
    /// Parts of the account that have keys of their own.
    #[serde(default)]
    pub(crate) encryption_scopes: Vec<ScopeConfig>,
}

impl Config {
    /// Where ledger and content are.
    pub(crate) fn places(&mut self) -> Places {
        Places {
            ledger: self
                .ledger
                .as_ref()
                .map_or(LedgerPlace::Embedded, LedgerConfig::place),
            content: self
                .content
                .take()
                .map_or(ContentPlace::Folder, ContentConfig::place),
        }
    }

    /// Reads the file. Errors name file, place and next step.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        // The library's message holds line, column and key.
        toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
    }
}

impl Account {
    /// Reads the account's keys.
    pub(crate) fn keys(&self) -> Result<Vec<SharedKey>> {
        if self.key_files.is_empty() && self.allow_shared_key_access == Some(false) {
            return Ok(Vec::new());
        }
        if !(1..=2).contains(&self.key_files.len()) {
            bail!(
                "account {}: key_files names {} files; give one or two",
                self.name,
                self.key_files.len()
            );
        }
        self.key_files
            .iter()
            .map(|path| read_key(&self.name, path))
            .collect()
    }

    /// Reads the account's read-only keys.
    pub(crate) fn read_only_keys(&self) -> Result<Vec<SharedKey>> {
        if self.read_only_key_files.len() > 2 {
            bail!(
                "account {}: read_only_key_files names {} files; give at most two",
                self.name,
                self.read_only_key_files.len()
            );
        }
        let writing = self.keys()?;
        let mut keys = Vec::new();
        for path in &self.read_only_key_files {
            let key = read_key(&self.name, path)?;
            if writing.iter().any(|writing| writing.same_as(&key)) {
                bail!(
                    "account {}: {} holds a key that key_files has as well, so it would write; make \
                     another one with `openssl rand -base64 64`",
                    self.name,
                    path.display()
                );
            }
            keys.push(key);
        }
        Ok(keys)
    }
}

fn read_key(account: &str, path: &Path) -> Result<SharedKey> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("account {account}: key file {}", path.display()))?;
    let Some(key) = SharedKey::from_base64(&text) else {
        bail!(
            "account {account}: {} holds no base64 key; make one with `openssl rand -base64 64`",
            path.display()
        );
    };
    for known in [dev::BLOBS_KEY, dev::DOCUMENTS_KEY] {
        if SharedKey::from_base64(known).is_some_and(|known| known.same_as(&key)) {
            bail!(
                "account {account}: {} holds an emulator's key, which everybody knows; make one with \
                 `openssl rand -base64 64`",
                path.display()
            );
        }
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: &str) -> (tempfile::TempDir, Account) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, key).unwrap();
        (
            folder,
            Account {
                name: "acme".to_owned(),
                key_files: vec![path],
                read_only_key_files: Vec::new(),
                allow_blob_public_access: false,
                versioning: false,
                immutable_storage: false,
                immutable_containers: Vec::new(),
                allow_shared_key_access: None,
                https_only: false,
                allowed_networks: Vec::new(),
                roles: Vec::new(),
                change_feed: None,
                last_access_time_tracking: false,
                lifecycle: None,
                delegation_generation: 0,
                encryption_generation: None,
                encryption_scopes: Vec::new(),
            },
        )
    }

    #[test]
    fn well_known_and_malformed_keys_are_refused() {
        for known in [dev::BLOBS_KEY, dev::DOCUMENTS_KEY] {
            let (_folder, account) = account(&format!("{known}\n"));
            let error = account.keys().unwrap_err().to_string();
            assert!(
                error.contains("everybody knows") && !error.contains(known),
                "{error}"
            );
        }
        let (_folder, bad) = account("not base64!");
        assert!(bad.keys().unwrap_err().to_string().contains("openssl rand"));
        let (_folder, good) = account("c2VjcmV0LWtleQ==");
        assert_eq!(good.keys().unwrap().len(), 1);
    }

    #[test]
    fn read_only_keys_are_others() {
        let (folder, mut account) = account("c2VjcmV0LWtleQ==");
        assert!(account.read_only_keys().unwrap().is_empty());
        let other = folder.path().join("read");
        std::fs::write(&other, "cmVhZA==").unwrap();
        account.read_only_key_files = vec![other.clone()];
        assert_eq!(account.read_only_keys().unwrap().len(), 1);
        account.read_only_key_files = account.key_files.clone();
        assert!(
            account
                .read_only_keys()
                .unwrap_err()
                .to_string()
                .contains("would write")
        );
        account.read_only_key_files = vec![other.clone(), other.clone(), other];
        assert!(
            account
                .read_only_keys()
                .unwrap_err()
                .to_string()
                .contains("at most two")
        );
    }

    #[test]
    fn versioning_is_off_unless_an_account_says_so() {
        let read = |rest: &str| -> Account {
            toml::from_str(&format!("name = \"acme\"\nkey_files = []\n{rest}")).unwrap()
        };
        assert!(!read("").versioning);
        assert!(read("versioning = true").versioning);
        assert!(!read("versioning = true").immutable_storage);
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stabbur.toml");
        std::fs::write(&path, "data_dir = \"/x\"\nunknown = 1\n").unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("stabbur.toml") && error.contains("line 2") && error.contains("unknown"),
            "{error}"
        );
    }
}
