//! What the configuration says of bearer tokens and roles, and the accounts that it makes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use blobs::Bearer;
use blobs::rules::firewall::Network;
use blobs::rules::roles::{Assignee, Assignment, Role};
use identity::remote_keys::Address;
use identity::{FileKeys, KeySource, RemoteKeys, Trust, TrustedIssuer};
use ledger::Clock;
use serde::Deserialize;

use crate::config::Account;
use crate::encryption_config::scopes;
use crate::key_fetch::{self, KeyFetch};

/// How far issuers' clocks may differ where nothing is said.
const SKEW_SECONDS_DEFAULT: u32 = 300;

/// Largest difference that can be set: a token that expired an hour ago is no mistake of clocks.
const SKEW_SECONDS_MAX: u32 = 900;

/// `[bearer]`: whose bearer tokens are taken.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BearerConfig {
    /// The tenant of all principals (`tid`).
    pub(crate) tenant: String,
    /// Where clients are told to get tokens.
    pub(crate) authorization_uri: String,
    pub(crate) issuers: Vec<IssuerConfig>,
    /// Audiences besides those that Azure Storage has.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// How far issuers' clocks may differ.
    pub(crate) skew_seconds: Option<u32>,
}

/// An issuer; one of the three says what its keys are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerConfig {
    /// What its tokens call it (`iss`), exactly.
    pub(crate) issuer: String,
    /// Its OpenID metadata.
    pub(crate) metadata_url: Option<String>,
    /// Its key set.
    pub(crate) keys_url: Option<String>,
    /// Its key set, read again when the file changes.
    pub(crate) keys_file: Option<PathBuf>,
    /// Certificates (PEM) besides the system's that its addresses may have.
    pub(crate) authorities: Option<PathBuf>,
}

/// A role of an account; one of the three says who has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleConfig {
    /// The role's name or id.
    pub(crate) role: String,
    /// An object id (`oid`).
    pub(crate) principal: Option<String>,
    /// A group's object id (`groups`).
    pub(crate) group: Option<String>,
    /// An app role (`roles`).
    pub(crate) app_role: Option<String>,
    /// The container that it is for; without it, all of the account.
    pub(crate) container: Option<String>,
}

impl BearerConfig {
    /// Reads files and addresses; no issuer is asked yet.
    pub(crate) fn bearer(&self, clock: &Arc<dyn Clock>) -> Result<Bearer> {
        let skew_seconds = self.skew_seconds.unwrap_or(SKEW_SECONDS_DEFAULT);
        ensure!(
            skew_seconds <= SKEW_SECONDS_MAX,
            "[bearer]: skew_seconds is {skew_seconds}; at most {SKEW_SECONDS_MAX}"
        );
        ensure!(!self.tenant.is_empty(), "[bearer]: tenant is empty");
        ensure!(
            self.authorization_uri.starts_with("https://")
                && !self.authorization_uri.contains([' ', ',', '"']),
            "[bearer]: authorization_uri is an https address, such as https://login.example.org/TENANT/oauth2/authorize"
        );
        ensure!(!self.issuers.is_empty(), "[bearer]: issuers names none");
        let issuers = self
            .issuers
            .iter()
            .map(|issuer| {
                let keys = issuer.keys(clock);
                keys.with_context(|| format!("[bearer]: issuer {:?}", issuer.issuer))
            })
            .collect::<Result<_>>()?;
        let without_slash = |audience: &String| audience.trim_end_matches('/').to_owned();
        Ok(Bearer {
            trust: Trust::new(issuers, clock, skew_seconds),
            tenant: self.tenant.clone(),
            authorization_uri: self.authorization_uri.clone(),
            audiences: self.audiences.iter().map(without_slash).collect(),
        })
    }
}

impl IssuerConfig {
    fn keys(&self, clock: &Arc<dyn Clock>) -> Result<TrustedIssuer> {
        ensure!(!self.issuer.is_empty(), "its name is empty");
        let remote = |address: Address| -> Result<Arc<dyn KeySource>> {
            let fetch = KeyFetch::new(self.authorities.as_deref())?;
            Ok(Arc::new(RemoteKeys::new(address, Arc::new(fetch), clock.clone())))
        };
        let keys: Arc<dyn KeySource> = match (&self.metadata_url, &self.keys_url, &self.keys_file) {
            (Some(url), None, None) => {
                key_fetch::check(url)?;
                remote(Address::Metadata {
                    url: url.clone(),
                    issuer: self.issuer.clone(),
                })?
            }
            (None, Some(url), None) => {
                key_fetch::check(url)?;
                remote(Address::Keys { url: url.clone() })?
            }
            (None, None, Some(path)) => file_keys(path)?,
            _ => bail!("give one of metadata_url, keys_url and keys_file"),
        };
        Ok(TrustedIssuer {
            issuer: self.issuer.clone(),
            keys,
        })
    }
}

/// Keys in a file, which must be there at the start: a wrong path would be found by the first client.
fn file_keys(path: &Path) -> Result<Arc<dyn KeySource>> {
    std::fs::metadata(path).with_context(|| format!("keys_file {}", path.display()))?;
    Ok(Arc::new(FileKeys::new(path.to_owned())))
}

impl RoleConfig {
    fn assignment(&self, account: &str) -> Result<Assignment> {
        let Some(role) = Role::parse(&self.role) else {
            let names = Role::ALL.map(Role::name).join(", ");
            bail!("account {account}: {:?} is no role; there are {names}", self.role);
        };
        let assignee = match (&self.principal, &self.group, &self.app_role) {
            (Some(id), None, None) => Assignee::Principal(id.clone()),
            (None, Some(id), None) => Assignee::Group(id.clone()),
            (None, None, Some(name)) => Assignee::AppRole(name.clone()),
            _ => bail!("account {account}: a role is for one of principal, group and app_role"),
        };
        let (Assignee::Principal(id) | Assignee::Group(id) | Assignee::AppRole(id)) = &assignee;
        ensure!(
            !id.is_empty(),
            "account {account}: a role is for nobody: its id is empty"
        );
        Ok(Assignment {
            role,
            assignee,
            container: self.container.clone(),
        })
    }
}

impl Account {
    /// The account as blobs have it.
    pub(crate) fn of_blobs(&self) -> Result<blobs::Account> {
        ensure!(
            self.read_only_key_files.is_empty(),
            "account {}: read_only_key_files are for documents; blobs have shared access signatures",
            self.name
        );
        ensure!(
            self.versioning || !self.immutable_storage && self.immutable_containers.is_empty(),
            "account {}: immutable_storage and immutable_containers need versioning = true",
            self.name
        );
        let network = |text: &String| {
            Network::parse(text).with_context(|| {
                format!(
                    "account {}: allowed_networks: {text:?} is no address and no network such as 10.0.0.0/8",
                    self.name
                )
            })
        };
        Ok(blobs::Account {
            allows_shared_key: self.allow_shared_key_access.unwrap_or(true),
            allows_public_access: self.allow_blob_public_access,
            versioning: self.versioning,
            immutable_storage: self.immutable_storage,
            immutable_containers: self.immutable_containers.clone(),
            https_only: self.https_only,
            networks: self.allowed_networks.iter().map(network).collect::<Result<_>>()?,
            roles: self
                .roles
                .iter()
                .map(|role| role.assignment(&self.name))
                .collect::<Result<_>>()?,
            change_feed: self.change_feed()?,
            last_access_time_tracking: self.last_access_time_tracking,
            lifecycle: self.lifecycle()?,
            delegation_generation: self.delegation_generation,
            encryption_scopes: scopes(self)?,
            ..blobs::Account::new(self.name.clone(), self.keys()?)
        })
    }

    /// Refuses what is said of an account of documents, but is for blobs.
    pub(crate) fn check_documents(&self) -> Result<()> {
        let of_blobs = [
            ("allow_blob_public_access", self.allow_blob_public_access),
            ("versioning", self.versioning),
            ("immutable_storage", self.immutable_storage),
            ("immutable_containers", !self.immutable_containers.is_empty()),
            ("allow_shared_key_access", self.allow_shared_key_access.is_some()),
            ("https_only", self.https_only),
            ("allowed_networks", !self.allowed_networks.is_empty()),
            ("roles", !self.roles.is_empty()),
            ("change_feed", self.change_feed.is_some()),
            ("last_access_time_tracking", self.last_access_time_tracking),
            ("lifecycle", self.lifecycle.is_some()),
            ("delegation_generation", self.delegation_generation != 0),
            ("encryption_generation", self.encryption_generation.is_some()),
            ("encryption_scopes", !self.encryption_scopes.is_empty()),
        ];
        for (name, is_said) in of_blobs {
            ensure!(
                !is_said,
                "[documents] account {}: {name} belongs to an account of [blobs]; remove it here",
                self.name
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ledger::SystemClock;

    use super::*;

    fn account(settings: &str) -> Result<blobs::Account> {
        let text = format!("name = \"acme\"\n{settings}");
        let account: Account = toml::from_str(&text)?;
        account.of_blobs()
    }

    #[test]
    fn an_account_has_its_roles_and_bounds() {
        let without_keys = "allow_shared_key_access = false\n";
        let made = account(&format!(
            "{without_keys}https_only = true\nallowed_networks = [\"10.0.0.0/8\"]\ndelegation_generation = 2\n\
             roles = [{{ role = \"Storage Blob Data Reader\", principal = \"a\" }}, \
             {{ role = \"b7e6dc6d-f1e8-4753-8033-0f276bb0955b\", group = \"g\", container = \"box\" }}]"
        ))
        .unwrap();
        assert!(made.keys.is_empty() && !made.allows_shared_key && made.https_only);
        assert_eq!((made.networks.len(), made.delegation_generation), (1, 2));
        let owner = Assignment {
            role: Role::Owner,
            assignee: Assignee::Group("g".to_owned()),
            container: Some("box".to_owned()),
        };
        assert_eq!(made.roles[1], owner);
        let immutable = "versioning = true\nimmutable_storage = true\nimmutable_containers = [\"a\"]";
        let made = account(&format!("{without_keys}{immutable}")).unwrap();
        assert!(made.immutable_storage && made.immutable_containers == ["a"]);
        for (settings, cause) in [
            ("", "give one or two"),
            ("immutable_storage = true", "need versioning"),
            ("immutable_containers = [\"a\"]", "need versioning"),
            ("allow_shared_key_access = true", "give one or two"),
            (
                "allow_shared_key_access = false\nallowed_networks = [\"10.0.0.1/8\"]",
                "10.0.0.1/8",
            ),
            (
                "allow_shared_key_access = false\nroles = [{ role = \"Owner\", principal = \"a\" }]",
                "Storage Blob Data Owner",
            ),
            (
                "allow_shared_key_access = false\nroles = [{ role = \"Storage Blob Delegator\" }]",
                "one of principal",
            ),
            (
                "allow_shared_key_access = false\nroles = [{ role = \"Storage Blob Delegator\", principal = \"\" }]",
                "for nobody",
            ),
        ] {
            let error = format!("{:#}", account(settings).unwrap_err());
            assert!(error.contains(cause), "{settings}: {error}");
        }
    }

    #[test]
    fn issuers_have_one_place_for_their_keys() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bearer = |settings: &str| -> Result<Bearer> {
            let text = format!(
                "tenant = \"t\"\nauthorization_uri = \"https://login.example.org/t/oauth2/authorize\"\n{settings}"
            );
            let config: BearerConfig = toml::from_str(&text)?;
            config.bearer(&clock)
        };
        let good = "issuers = [{ issuer = \"https://i/\", metadata_url = \"https://i/m\" }]";
        let made = bearer(&format!("{good}\naudiences = [\"https://a/\"]")).unwrap();
        assert_eq!(made.audiences, ["https://a"]);
        for (settings, cause) in [
            ("issuers = []", "names none"),
            ("issuers = [{ issuer = \"https://i/\" }]", "one of metadata_url"),
            (
                "issuers = [{ issuer = \"\", keys_url = \"https://i/k\" }]",
                "empty",
            ),
            (
                "issuers = [{ issuer = \"https://i/\", keys_url = \"https://i/k\", metadata_url = \"https://i/m\" }]",
                "one of metadata_url",
            ),
            (
                "issuers = [{ issuer = \"https://i/\", keys_url = \"http://i/k\" }]",
                "https",
            ),
            (
                "issuers = [{ issuer = \"https://i/\", keys_file = \"/nonexistent/k\" }]",
                "/nonexistent/k",
            ),
            (&format!("{good}\nskew_seconds = 901"), "at most 900"),
        ] {
            let error = format!("{:#}", bearer(settings).unwrap_err());
            assert!(error.contains(cause), "{settings}: {error}");
        }
    }
}
