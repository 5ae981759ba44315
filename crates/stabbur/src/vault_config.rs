//! What the configuration says of vaults: their root key, who they are, who may what (docs/operate/vault.md).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use gateway::{Sample, StatsSource};
#[cfg(target_os = "linux")]
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::Deserialize;
use vault::limits::{AUDIT_DAYS_MIN, RECOVERABLE_DAYS_MAX, RECOVERABLE_DAYS_MIN};
use vault::rules::attributes::Recovery;
use vault::rules::names::{Kind, is_name};
use vault::rules::roles::{Assignee, Assignment, Role};
use vault::seal::{RootKey, RootKeyError, Seal};
use vault::{Vault, Vaults};

use crate::config::TlsFiles;
use crate::node::Stores;

/// The section `[vault]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultConfig {
    pub(crate) listen: SocketAddr,
    /// There is no vault without TLS.
    pub(crate) tls: TlsFiles,
    /// What comes behind `{vault}.` in host names.
    pub(crate) host_suffixes: Vec<String>,
    /// Where clients are told to get tokens: `https://{login}/{tenant}`.
    pub(crate) authorization: String,
    /// Ports that clients name besides the listener's own and 443, where something before it maps them.
    #[serde(default)]
    pub(crate) public_ports: Vec<u16>,
    /// Audiences besides the vaults' own.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    #[serde(flatten)]
    pub(crate) root: RootConfig,
    pub(crate) vaults: Vec<OneVaultConfig>,
}

/// Where the root key comes from; one of the two.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RootConfig {
    /// Files with a key each: the first wraps, all unwrap.
    #[serde(default)]
    pub(crate) root_key_files: Vec<PathBuf>,
    /// A file with a passphrase.
    pub(crate) root_passphrase_file: Option<PathBuf>,
}

/// One vault.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneVaultConfig {
    name: String,
    /// Days that what is deleted is kept.
    recoverable_days: Option<u32>,
    /// Whether nothing is purged before its time.
    #[serde(default)]
    purge_protection: bool,
    /// Days that rows of the audit are kept; for ever unless it is said.
    audit_days: Option<u32>,
    #[serde(default)]
    roles: Vec<VaultRoleConfig>,
}

/// A role; one of the three says who has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultRoleConfig {
    role: String,
    principal: Option<String>,
    group: Option<String>,
    app_role: Option<String>,
    /// The one object that it is for; without any, all of the vault.
    secret: Option<String>,
    key: Option<String>,
    certificate: Option<String>,
}

impl VaultRoleConfig {
    fn assignment(&self, vault: &str) -> Result<Assignment> {
        let Some(role) = Role::parse(&self.role) else {
            let names = Role::ALL.map(Role::name).join(", ");
            bail!("vault {vault}: {:?} is no role; there are {names}", self.role);
        };
        let assignee = match (&self.principal, &self.group, &self.app_role) {
            (Some(id), None, None) => Assignee::Principal(id.clone()),
            (None, Some(id), None) => Assignee::Group(id.clone()),
            (None, None, Some(name)) => Assignee::AppRole(name.clone()),
            _ => bail!("vault {vault}: a role is for one of principal, group and app_role"),
        };
        let (Assignee::Principal(id) | Assignee::Group(id) | Assignee::AppRole(id)) = &assignee;
        ensure!(
            !id.is_empty(),
            "vault {vault}: a role is for nobody: its id is empty"
        );
        let object = match (&self.secret, &self.key, &self.certificate) {
            (None, None, None) => None,
            (Some(name), None, None) => Some((Kind::Secret, name.clone())),
            (None, Some(name), None) => Some((Kind::Key, name.clone())),
            (None, None, Some(name)) => Some((Kind::Certificate, name.clone())),
            _ => bail!(
                "vault {vault}: a role is for one of secret, key and certificate, or for the whole vault"
            ),
        };
        if let Some((_, name)) = &object {
            ensure!(is_name(name), "vault {vault}: no object can be called {name:?}");
        }
        Ok(Assignment {
            role,
            assignee,
            object,
        })
    }
}

/// 3 to 24 letters, digits and dashes, as in the original.
fn is_vault_name(name: &str) -> bool {
    (3..=24).contains(&name.len()) && is_name(name)
}

impl OneVaultConfig {
    fn vault(&self) -> Result<Vault> {
        let name = &self.name;
        ensure!(
            is_vault_name(name),
            "vault {name:?}: its name has 3 to 24 letters, digits and dashes"
        );
        let days = self.recoverable_days.unwrap_or(RECOVERABLE_DAYS_MAX);
        ensure!(
            (RECOVERABLE_DAYS_MIN..=RECOVERABLE_DAYS_MAX).contains(&days),
            "vault {name}: recoverable_days is {days}; {RECOVERABLE_DAYS_MIN} to {RECOVERABLE_DAYS_MAX}"
        );
        ensure!(
            self.audit_days.is_none_or(|days| days >= AUDIT_DAYS_MIN),
            "vault {name}: audit_days is at least {AUDIT_DAYS_MIN}; without it the audit is kept for ever"
        );
        Ok(Vault {
            name: name.to_ascii_lowercase(),
            audit_days: self.audit_days,
            recovery: Recovery {
                days,
                purge_protection: self.purge_protection,
            },
            assignments: self
                .roles
                .iter()
                .map(|role| role.assignment(name))
                .collect::<Result<_>>()?,
        })
    }
}

impl VaultConfig {
    /// The service's settings; `bearer` is what blobs have of `[bearer]`.
    pub(crate) fn settings(&self, bearer: Option<&blobs::Bearer>) -> Result<vault::Settings> {
        let bearer =
            bearer.context("[vault]: say in [bearer] whose tokens are taken; without them nobody gets in")?;
        ensure!(
            !self.host_suffixes.is_empty(),
            "[vault]: host_suffixes names none"
        );
        ensure!(
            self.root.root_passphrase_file.is_none() || self.root.root_key_files.is_empty(),
            "[vault]: root_key_files and root_passphrase_file are both given; which of them wraps would be a guess. Go from              one to the other with `stabbur vault rekey`"
        );
        let authorization = &self.authorization;
        let tenant = authorization
            .strip_prefix("https://")
            .and_then(|rest| rest.split_once('/'))
            .map_or("", |(_, tenant)| tenant);
        ensure!(
            !tenant.is_empty() && !tenant.contains('/') && !authorization.contains([' ', ',', '"', '=']),
            "[vault]: authorization is https://LOGIN/TENANT, with nothing behind: clients take the whole path for the \
             tenant"
        );
        let vaults = self
            .vaults
            .iter()
            .map(OneVaultConfig::vault)
            .collect::<Result<Vec<_>>>()?;
        let mut names = HashSet::new();
        for vault in &vaults {
            ensure!(
                names.insert(&vault.name),
                "[vault]: {} is named twice",
                vault.name
            );
        }
        let without_slash = |audience: &String| audience.trim_end_matches('/').to_owned();
        Ok(vault::Settings {
            host_suffixes: self.host_suffixes.clone(),
            // A port that is chosen at the start is known to whoever starts it for a test.
            ports: (self.listen.port() != 0).then(|| {
                let public = self.public_ports.iter().copied();
                public.chain([self.listen.port()]).collect()
            }),
            loopback_vault: None,
            bearer: Some(vault::Bearer {
                trust: bearer.trust.clone(),
                tenant: bearer.tenant.clone(),
                authorization: authorization.clone(),
                audiences: self.audiences.iter().map(without_slash).collect(),
            }),
            vaults,
        })
    }
}

impl RootConfig {
    /// Reads the root keys: the first one wraps.
    pub(crate) async fn read(&self, stores: &Stores) -> Result<Vec<RootKey>, RootKeyError> {
        forbid_core_dumps();
        let mut roots = Vec::new();
        if let Some(path) = &self.root_passphrase_file {
            let (ledger, random) = (stores.ledger.as_ref(), stores.random.as_ref());
            roots.push(RootKey::from_passphrase_file(path, ledger, random).await?);
        }
        for path in &self.root_key_files {
            roots.push(RootKey::from_file(path)?);
        }
        Ok(roots)
    }
}

/// Forbids that the process is dumped or looked into, before any key is read: a dump would hold whatever of the
/// vaults is in memory. A limit of no bytes isn't enough: it doesn't hold for a `core_pattern` that is a pipe.
fn forbid_core_dumps() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps can't be turned off; turn them off for the service");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process stays dumpable; turn core dumps off for the service");
    }
}

/// Opens the data keys. Without a root key, or with one that doesn't fit, the vaults are sealed: they answer
/// 503, and the rest of the node serves.
pub(crate) async fn open_seal(stores: &Stores, root: &RootConfig, vaults: &[Vault]) -> Result<Arc<Seal>> {
    let names: Vec<String> = vaults.iter().map(|vault| vault.name.clone()).collect();
    let seal = match root.read(stores).await {
        Ok(roots) => {
            let random = stores.random.as_ref();
            Seal::open(stores.ledger.clone(), random, roots, &names)
                .await
                .context("the vaults' data keys")?
        }
        Err(error) => Arc::new(Seal::sealed(stores.ledger.clone(), error.to_string())),
    };
    for cause in seal.causes() {
        tracing::error!(
            cause,
            "vaults are sealed and answer 503; mend it and start again (docs/operate/vault.md)"
        );
    }
    Ok(seal)
}

/// The root key of `dev`: a file of its own, made when nothing was ever sealed.
pub(crate) async fn development_root(stores: &Stores, data: &Path, named: &[PathBuf]) -> Result<RootConfig> {
    forbid_core_dumps();
    let file = data.join("vault-root.key");
    if named.is_empty() && !file.exists() && !Seal::was_used(stores.ledger.as_ref()).await? {
        RootKey::make_file(&file, stores.random.as_ref())?;
    }
    Ok(RootConfig {
        root_key_files: if named.is_empty() {
            vec![file]
        } else {
            named.to_vec()
        },
        root_passphrase_file: None,
    })
}

/// Whether the vaults are sealed, for `/metrics`.
pub(crate) struct VaultsState(pub(crate) Arc<Vaults>);

#[async_trait]
impl StatsSource for VaultsState {
    async fn samples(&self) -> Vec<Sample> {
        vec![
            Sample {
                name: "vaults_sealed".to_owned(),
                value: i64::from(self.0.sealed_because().is_some()),
            },
            Sample {
                name: "vaults_key_works".to_owned(),
                value: i64::try_from(self.0.key_works()).unwrap_or(i64::MAX),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use identity::Trust;
    use ledger::{Clock, SystemClock};

    use super::*;

    fn settings(change: impl FnOnce(String) -> String) -> Result<vault::Settings> {
        let text = "listen = \"127.0.0.1:0\"\ntls = { certificate = \"c\", key = \"k\" }\n\
                    host_suffixes = [\"vault.example.org\"]\nauthorization = \"https://login.example.org/t\"\n\
                    root_key_files = [\"root.key\"]\n\
                    [[vaults]]\nname = \"acme\"\n\
                    roles = [{ role = \"Key Vault Secrets User\", group = \"g\", secret = \"s\" }]\n";
        let config: VaultConfig = toml::from_str(&change(text.to_owned()))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bearer = blobs::Bearer {
            trust: Trust::new(Vec::new(), &clock, 0),
            tenant: "t".to_owned(),
            authorization_uri: String::new(),
            audiences: Vec::new(),
        };
        config.settings(Some(&bearer))
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_not_dumpable() {
        forbid_core_dumps();
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, DumpableBehavior::NotDumpable);
    }

    #[test]
    fn vaults_are_read_and_what_makes_no_sense_is_refused() {
        let good = settings(|text| text).unwrap();
        assert_eq!(good.vaults[0].recovery.days, 90);
        assert_eq!(good.ports, None);
        let ported = settings(|text| format!("public_ports = [9443]\n{}", text.replace("1:0", "1:8443")));
        assert_eq!(ported.unwrap().ports, Some(vec![9443, 8443]));
        assert_eq!(
            good.vaults[0].assignments[0].object,
            Some((Kind::Secret, "s".to_owned()))
        );
        for (from, to, cause) in [
            ("\"acme\"", "\"a\"", "3 to 24"),
            ("\"acme\"", "\"acme\"\nrecoverable_days = 6", "7 to 90"),
            ("\"acme\"", "\"acme\"\naudit_days = 29", "at least 30"),
            ("example.org/t\"", "example.org/t/\"", "with nothing behind"),
            ("example.org/t\"", "example.org\"", "with nothing behind"),
            ("Key Vault Secrets User", "Owner", "Key Vault Administrator"),
            ("secret = \"s\"", "secret = \"s\", key = \"s\"", "one of secret"),
            ("secret = \"s\"", "secret = \"s_\"", "no object"),
            ("group = \"g\"", "group = \"\"", "for nobody"),
            ("group = \"g\", ", "", "one of principal"),
            ("[\"vault.example.org\"]", "[]", "names none"),
            (
                "[\"root.key\"]",
                "[\"root.key\"]\nroot_passphrase_file = \"p\"",
                "both given",
            ),
        ] {
            let error = settings(|text| text.replace(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(cause), "{to}: {error:#}");
        }
        let twice = settings(|text| format!("{text}[[vaults]]\nname = \"ACME\"\n")).unwrap_err();
        assert!(twice.to_string().contains("twice"), "{twice}");
    }
}
