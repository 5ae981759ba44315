//! What the configuration says of container registries, and the registry of `dev`.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use gateway::ListenerLimits;
use identity::{PasswordHash, TokenIssuer, Trust, TrustedIssuer};
use ledger::SystemRandom;
use platform_storage::development::storage;
use registry::limits::{RETENTION_DAYS_MAX, SOFT_DELETE_DAYS_MAX};
use registry::rules::grants::{Action, Grant, Pattern, Role};
use registry::{Assignee, Assignment, Bearer, Front, Password, Registry, Settings, User};
use serde::Deserialize;

use crate::config::TlsFiles;
use crate::node::Stores;
use crate::registry_remote::upstream::{self, CacheConfig};
use crate::registry_webhooks::{self, WebhookConfig};

/// User of the development registry; the password is the same.
const DEVELOPMENT_USER: &str = "dev";

/// The password's hash: making it at each start would take a tenth of a second.
const DEVELOPMENT_PASSWORD_HASH: &str =
    "pbkdf2-sha256$600000$c3RhYmJ1ci1kZXYtc2FsdA$AJV8NYyxxfs6bdaAadVnsyzid/bfynJ8RQB/wmEVAoU";

/// `[registry]`: container registries.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistryConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    /// What comes behind `{registry}.` in host names.
    #[serde(default)]
    host_suffixes: Vec<String>,
    registries: Vec<OneConfig>,
}

/// One registry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneConfig {
    name: String,
    /// Other hosts of its own.
    #[serde(default)]
    hosts: Vec<String>,
    /// Whether who doesn't log in may pull.
    #[serde(default)]
    anonymous_pull: bool,
    /// Most bytes that it holds; 100 GiB without it, 0: as many as there is space for.
    quota_bytes: Option<u64>,
    /// Days after which a manifest without a tag is deleted; never without it.
    retention_days: Option<u32>,
    /// Days that what is deleted can be restored; it can't without it.
    soft_delete_days: Option<u32>,
    /// What is fetched from elsewhere as it is pulled.
    #[serde(default)]
    cache: Vec<CacheConfig>,
    /// Who is told of what happens.
    #[serde(default)]
    webhooks: Vec<WebhookConfig>,
    #[serde(default)]
    users: Vec<UserConfig>,
    #[serde(default)]
    roles: Vec<RoleConfig>,
}

/// Somebody with a password.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserConfig {
    name: String,
    /// One or two files, each with what `stabbur registry hash-password` printed and, behind a blank, the time from
    /// which the password is good no more, if there is one.
    password_files: Vec<PathBuf>,
    /// Roles, or single actions.
    roles: Vec<String>,
    /// Which repositories; all without it.
    repositories: Option<Vec<String>>,
}

/// A role of a principal with a token of [bearer]'s issuers; one of the three says who has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleConfig {
    role: String,
    principal: Option<String>,
    group: Option<String>,
    app_role: Option<String>,
    /// Which repositories; all without it.
    repositories: Option<Vec<String>>,
}

impl RegistryConfig {
    /// The service's settings; `bearer` is what blobs take.
    pub(crate) fn settings(&self, bearer: Option<&blobs::Bearer>) -> Result<Settings> {
        ensure!(!self.registries.is_empty(), "[registry]: registries names none");
        let registries = self.registries.iter().map(OneConfig::registry);
        let registries = registries.collect::<Result<Vec<_>>>()?;
        let suffixes = self.host_suffixes.iter();
        let host_suffixes: Vec<String> = suffixes.map(|suffix| suffix.to_ascii_lowercase()).collect();
        let (mut names, mut owners) = (HashSet::new(), HashMap::new());
        for registry in &registries {
            ensure!(
                names.insert(&registry.name),
                "registry {}: its name is another one's, too",
                registry.name
            );
            // Those below the suffixes as well: the first that a host fits would answer, with its users and its content.
            let below = host_suffixes
                .iter()
                .map(|suffix| format!("{}.{suffix}", registry.name));
            for host in registry.hosts.iter().cloned().chain(below) {
                if let Some(other) = owners.insert(host.clone(), &registry.name) {
                    ensure!(
                        *other == registry.name,
                        "registry {}: its host {host} is another one's, too: {other}",
                        registry.name
                    );
                }
            }
            ensure!(
                bearer.is_some() || registry.assignments.is_empty(),
                "registry {}: roles are for principals with bearer tokens; say in [bearer] whose tokens are taken",
                registry.name
            );
        }
        Ok(Settings {
            registries,
            host_suffixes,
            default_registry: None,
            bearer: bearer.map(|bearer| Bearer {
                trust: bearer.trust.clone(),
                tenant: bearer.tenant.clone(),
                audiences: bearer.audiences.clone(),
            }),
        })
    }
}

impl OneConfig {
    fn registry(&self) -> Result<Registry> {
        let name = &self.name;
        let is_label = !name.is_empty()
            && name.len() <= 63
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        ensure!(
            is_label,
            "registry {name:?}: a name is a part of a host: a-z, 0-9, -"
        );
        let mut registry = Registry::new(name);
        registry.hosts = self.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        registry.anonymous_pull = self.anonymous_pull;
        registry.quota_bytes = match self.quota_bytes {
            Some(0) => None,
            Some(bytes) => Some(bytes),
            None => registry.quota_bytes,
        };
        (registry.retention_days, registry.soft_delete_days) = (self.retention_days, self.soft_delete_days);
        check_policies(&registry)?;
        registry.webhooks =
            registry_webhooks::webhooks(&self.webhooks).with_context(|| format!("registry {name}"))?;
        registry.cache = upstream::rules(&self.cache).with_context(|| format!("registry {name}"))?;
        let mut names = HashSet::new();
        for user in &self.users {
            // Only the first would be looked up.
            ensure!(
                names.insert(&user.name),
                "registry {name}: user {:?} is there twice",
                user.name
            );
            registry.users.push(
                user.user()
                    .with_context(|| format!("registry {name}: user {:?}", user.name))?,
            );
        }
        for role in &self.roles {
            let assignments = role
                .assignments()
                .with_context(|| format!("registry {name}: roles"))?;
            registry.assignments.extend(assignments);
        }
        Ok(registry)
    }
}

/// Refuses policies that the original refuses as well.
fn check_policies(registry: &Registry) -> Result<()> {
    let Registry {
        name,
        retention_days,
        soft_delete_days,
        ..
    } = registry;
    ensure!(
        retention_days.is_none() || soft_delete_days.is_none(),
        "registry {name}: retention_days and soft_delete_days exclude each other"
    );
    ensure!(
        retention_days.is_none_or(|days| days <= RETENTION_DAYS_MAX),
        "registry {name}: retention_days is at most {RETENTION_DAYS_MAX}"
    );
    ensure!(
        soft_delete_days.is_none_or(|days| (1..=SOFT_DELETE_DAYS_MAX).contains(&days)),
        "registry {name}: soft_delete_days is 1 to {SOFT_DELETE_DAYS_MAX}"
    );
    Ok(())
}

impl UserConfig {
    fn user(&self) -> Result<User> {
        ensure!(
            !self.name.is_empty() && !self.name.contains(':'),
            "a name isn't empty and has no colon"
        );
        ensure!(
            (1..=2).contains(&self.password_files.len()),
            "password_files names {} files; give one or two",
            self.password_files.len()
        );
        let mut actions = Vec::new();
        for role in &self.roles {
            actions.extend(actions_of(role)?);
        }
        Ok(User {
            name: self.name.clone(),
            passwords: self
                .password_files
                .iter()
                .map(|path| password(path))
                .collect::<Result<_>>()?,
            grants: grants(&actions, self.repositories.as_ref())?,
        })
    }
}

impl RoleConfig {
    fn assignments(&self) -> Result<Vec<Assignment>> {
        let assignee = match (&self.principal, &self.group, &self.app_role) {
            (Some(id), None, None) => Assignee::Principal(id.clone()),
            (None, Some(id), None) => Assignee::Group(id.clone()),
            (None, None, Some(name)) => Assignee::AppRole(name.clone()),
            _ => bail!("a role is for one of principal, group and app_role"),
        };
        let grants = grants(&actions_of(&self.role)?, self.repositories.as_ref())?;
        Ok(grants
            .into_iter()
            .map(|grant| Assignment {
                assignee: assignee.clone(),
                grant,
            })
            .collect())
    }
}

/// A role's actions, or a single action by its name.
fn actions_of(name: &str) -> Result<Vec<Action>> {
    if let Some(role) = Role::parse(name) {
        return Ok(role.actions());
    }
    if let Some(action) = Action::parse(name) {
        return Ok(vec![action]);
    }
    let roles = Role::NAMES.map(|(name, _)| name).join(", ");
    let actions = Action::ALL.map(Action::name).join(", ");
    bail!("{name:?} is no role ({roles}) and no action ({actions})")
}

fn grants(actions: &[Action], repositories: Option<&Vec<String>>) -> Result<Vec<Grant>> {
    let all = vec!["*".to_owned()];
    let repositories = repositories.unwrap_or(&all);
    let grant = |text: &String| {
        let repositories = Pattern::parse(text)
            .with_context(|| format!("{text:?} is no name of a repository, and none with * at its end"))?;
        Ok(Grant {
            repositories,
            actions: actions.to_vec(),
        })
    };
    repositories.iter().map(grant).collect()
}

fn password(path: &Path) -> Result<Password> {
    let text = std::fs::read_to_string(path).with_context(|| format!("password file {}", path.display()))?;
    let mut words = text.split_ascii_whitespace();
    let hash = words.next().and_then(PasswordHash::parse).with_context(|| {
        format!(
            "{}: holds no password's hash; make one with `stabbur registry hash-password`",
            path.display()
        )
    })?;
    let expires = words
        .next()
        .map(|word| {
            word.parse().with_context(|| {
                format!(
                    "{}: {word:?} is no time such as 2027-01-31T00:00:00Z",
                    path.display()
                )
            })
        })
        .transpose()?;
    Ok(Password { hash, expires })
}

/// Prints a password's hash.
#[allow(clippy::print_stdout, reason = "this command prints its answer")]
pub(crate) fn hash_password() -> Result<()> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .context("reading the password")?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(
        password.len() >= 12,
        "a password has at least 12 bytes; `openssl rand -base64 32` makes one"
    );
    println!("{}", PasswordHash::make(password.as_bytes(), &SystemRandom));
    Ok(())
}

/// Limits of the registries' listener: a layer may be larger than any other body, and take longer.
pub(crate) fn limits() -> ListenerLimits {
    ListenerLimits {
        body_bytes_max: registry::limits::BLOB_BYTES_MAX,
        body_total_max: std::time::Duration::from_secs(6 * 3_600),
        ..ListenerLimits::default()
    }
}

/// How the registry of `dev` is set up.
#[derive(Debug, Clone)]
pub(crate) struct DevelopmentRegistry {
    pub(crate) needs_login: bool,
    pub(crate) anonymous_pull: bool,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) retention_days: Option<u32>,
    pub(crate) soft_delete_days: Option<u32>,
    /// Where what happens is posted to.
    pub(crate) webhook: Option<String>,
    /// What is fetched from elsewhere: `TARGET=SOURCE`.
    pub(crate) cache: Vec<String>,
}

/// The registry of `dev`: open to this machine, unless a login is asked for; tokens of the development issuer are
/// exchanged.
pub(crate) fn development(
    stores: &Stores,
    wanted: &DevelopmentRegistry,
    keys: Arc<TokenIssuer>,
) -> Result<Front> {
    let mut registry = Registry::new("dev");
    registry.open = !wanted.needs_login;
    registry.anonymous_pull = wanted.anonymous_pull;
    registry.quota_bytes = wanted.quota_bytes;
    (registry.retention_days, registry.soft_delete_days) = (wanted.retention_days, wanted.soft_delete_days);
    check_policies(&registry)?;
    let cache = wanted.cache.iter().map(|text| CacheConfig::plain(text));
    registry.cache = upstream::rules(&cache.collect::<Result<Vec<_>>>()?)?;
    let webhook = wanted.webhook.clone().map(WebhookConfig::plain);
    registry.webhooks = registry_webhooks::webhooks(webhook.as_slice())?;
    registry.users = vec![User {
        name: DEVELOPMENT_USER.to_owned(),
        passwords: PasswordHash::parse(DEVELOPMENT_PASSWORD_HASH)
            .map(|hash| Password { hash, expires: None })
            .into_iter()
            .collect(),
        grants: vec![Grant::all()],
    }];
    let roles = [
        ("00000000-0000-4000-8000-000000000001", vec![Role::Owner]),
        (
            "00000000-0000-4000-8000-000000000002",
            vec![Role::Push, Role::Delete],
        ),
        ("00000000-0000-4000-8000-000000000003", vec![Role::Pull]),
    ];
    for (id, roles) in roles {
        let actions = roles.into_iter().flat_map(Role::actions).collect();
        registry.assignments.push(Assignment {
            assignee: Assignee::Principal(id.to_owned()),
            grant: Grant {
                repositories: Pattern::All,
                actions,
            },
        });
    }
    let issuer = storage::ISSUER.to_owned();
    let settings = Settings {
        registries: vec![registry],
        host_suffixes: vec!["cr.localhost".to_owned()],
        default_registry: Some("dev".to_owned()),
        bearer: Some(Bearer {
            trust: Trust::new(vec![TrustedIssuer { issuer, keys }], &stores.clock, 0),
            tenant: storage::TENANT.to_owned(),
            audiences: Vec::new(),
        }),
    };
    Ok(Front::new(
        stores.ledger.clone(),
        stores.content.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        settings,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_development_password_is_the_user_s_name() {
        let hash = PasswordHash::parse(DEVELOPMENT_PASSWORD_HASH).unwrap();
        assert!(hash.verify(DEVELOPMENT_USER.as_bytes()));
    }

    fn config(registries: &str) -> Result<Settings> {
        let text = format!("listen = \"127.0.0.1:0\"\nhost_suffixes = [\"CR.example.org\"]\n{registries}");
        toml::from_str::<RegistryConfig>(&text)?.settings(None)
    }

    #[test]
    fn registries_are_read() {
        let folder = std::env::temp_dir().join(format!("stabbur-registry-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("ci");
        std::fs::write(
            &file,
            format!("{DEVELOPMENT_PASSWORD_HASH} 2027-01-31T00:00:00Z\n"),
        )
        .unwrap();
        let settings = config(&format!(
            "[[registries]]\nname = \"ttd\"\nhosts = [\"TTDaltinnregistry01.azurecr.io\"]\nquota_bytes = 0\n\
             users = [{{ name = \"ci\", password_files = [{file:?}], roles = [\"AcrPush\", \"delete\"], \
             repositories = [\"ttd-*\"] }}]\n"
        ))
        .unwrap();
        let registry = &settings.registries[0];
        assert_eq!(registry.hosts, ["ttdaltinnregistry01.azurecr.io"]);
        assert_eq!((registry.quota_bytes, registry.open), (None, false));
        assert!(registry.users[0].passwords[0].expires.is_some());
        let grant = &registry.users[0].grants[0];
        assert!(grant.permits("ttd-app", Action::Delete) && !grant.permits("skd-app", Action::Pull));
        let sound = folder.join("sound");
        std::fs::copy(&file, &sound).unwrap();
        std::fs::write(&file, "a plain password\n").unwrap();
        let user =
            |rest: &str| format!("[[registries]]\nname = \"a\"\nusers = [{{ name = \"ci\", {rest} }}]");
        let webhook = |rest: &str| {
            format!(
                "[[registries]]\nname = \"a\"\nwebhooks = [{{ name = \"x\", url = \"https://h/\", {rest} }}]"
            )
        };
        let twice = format!(
            "[[registries]]\nname = \"a\"\nusers = [{0}, {0}]",
            format_args!("{{ name = \"ci\", password_files = [{sound:?}], roles = [] }}")
        );
        let plain = user(&format!("password_files = [{file:?}], roles = []"));
        for (bad, expected) in [
            ("registries = []".to_owned(), "names none"),
            ("[[registries]]\nname = \"A\"".to_owned(), "a part of a host"),
            (
                "[[registries]]\nname = \"a\"\n[[registries]]\nname = \"a\"".to_owned(),
                "another one's",
            ),
            (
                "[[registries]]\nname = \"a\"\nhosts = [\"B.cr.example.org\"]\n[[registries]]\nname = \"b\"".to_owned(),
                "host b.cr.example.org",
            ),
            (
                "[[registries]]\nname = \"a\"\nhosts = [\"x\"]\n[[registries]]\nname = \"b\"\nhosts = [\"X\"]".to_owned(),
                "host x",
            ),
            (twice, "is there twice"),
            (
                "[[registries]]\nname = \"a\"\nretention_days = 7\nsoft_delete_days = 7".to_owned(),
                "exclude each other",
            ),
            ("[[registries]]\nname = \"a\"\nretention_days = 366".to_owned(), "at most 365"),
            ("[[registries]]\nname = \"a\"\nsoft_delete_days = 0".to_owned(), "1 to 90"),
            (
                webhook("scope = \"A\""),
                "no scope",
            ),
            (webhook("actions = [\"ping\"]"), "neither push nor delete"),
            (
                webhook("headers = [{ name = \"a b\", value_file = \"x\" }]"),
                "no name of a header",
            ),
            (
                "[[registries]]\nname = \"a\"\nwebhooks = [{ name = \"x\", url = \"http://h/\" }]".to_owned(),
                "only https",
            ),
            (user("password_files = [], roles = []"), "0 files"),
            (plain, "hash-password"),
            (
                "[[registries]]\nname = \"a\"\nroles = [{ role = \"AcrPull\", principal = \"x\" }]"
                    .to_owned(),
                "[bearer]",
            ),
            (
                "[[registries]]\nname = \"a\"\nroles = [{ role = \"x\", group = \"x\" }]".to_owned(),
                "no role",
            ),
            (
                "[[registries]]\nname = \"a\"\nroles = [{ role = \"AcrPull\" }]".to_owned(),
                "one of principal",
            ),
        ] {
            let error = format!("{:#}", config(&bad).unwrap_err());
            assert!(error.contains(expected), "{bad}: {error}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
