//! How the service is set up: registries, who may what in each, whose tokens are taken.

use std::sync::Arc;

use identity::{PasswordHash, Trust};
use jiff::Timestamp;

use crate::rules::cache::CacheNames;
use crate::rules::grants::Grant;
use crate::rules::webhook::{WebhookAction, WebhookScope};
use crate::store::{Receiver, Upstream};

/// A password of a user, as its hash.
#[derive(Debug, Clone)]
pub struct Password {
    /// What is kept of it.
    pub hash: PasswordHash,
    /// When it is good no more.
    pub expires: Option<Timestamp>,
}

/// Somebody who logs in with a name and a password: what Azure calls a token with a scope map.
#[derive(Debug, Clone)]
pub struct User {
    /// The name.
    pub name: String,
    /// Two while one is being replaced.
    pub passwords: Vec<Password>,
    /// What the user may.
    pub grants: Vec<Grant>,
}

/// Whom of the trusted issuers' principals an assignment is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignee {
    /// An object id (`oid`).
    Principal(String),
    /// A group's object id (`groups`).
    Group(String),
    /// An app role (`roles`).
    AppRole(String),
}

/// What a principal of a trusted issuer may.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// For whom.
    pub assignee: Assignee,
    /// What.
    pub grant: Grant,
}

/// Who is told of what happens in a registry.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Its name, one of its own within the registry.
    pub name: String,
    /// What it is told of.
    pub actions: Vec<WebhookAction>,
    /// Of which repositories and tags.
    pub scope: WebhookScope,
    /// Who takes its messages.
    pub receiver: Arc<dyn Receiver>,
}

/// Repositories that are fetched from elsewhere as they are pulled.
#[derive(Debug, Clone)]
pub struct CacheRule {
    /// Which, and what they are called there.
    pub names: CacheNames,
    /// The registry that has them.
    pub upstream: Arc<dyn Upstream>,
}

/// A registry: an organisation's.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Its name: `{name}.{suffix}` are its hosts, and it is a part of all its keys.
    pub name: String,
    /// Other hosts of its own, lower case, without a port.
    pub hosts: Vec<String>,
    /// Whether who doesn't log in may pull.
    pub anonymous_pull: bool,
    /// Whether who doesn't log in may do anything: for development.
    pub open: bool,
    /// Bytes that it may hold; `None`: as many as there is space for.
    pub quota_bytes: Option<u64>,
    /// Days after which a manifest without a tag is deleted; `None`: never. Not beside `soft_delete_days`.
    pub retention_days: Option<u32>,
    /// Days that what is deleted can be restored; `None`: it can't.
    pub soft_delete_days: Option<u32>,
    /// Who is told of what happens.
    pub webhooks: Vec<Webhook>,
    /// What is fetched from elsewhere; no two rules are about the same repository.
    pub cache: Vec<CacheRule>,
    /// Who logs in with a password.
    pub users: Vec<User>,
    /// What principals of trusted issuers may.
    pub assignments: Vec<Assignment>,
}

impl Registry {
    /// A registry that nobody may use yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            hosts: Vec::new(),
            anonymous_pull: false,
            open: false,
            quota_bytes: Some(crate::limits::QUOTA_BYTES_DEFAULT),
            retention_days: None,
            soft_delete_days: None,
            webhooks: Vec::new(),
            cache: Vec::new(),
            users: Vec::new(),
            assignments: Vec::new(),
        }
    }
}

/// Whose tokens are exchanged for the registry's own.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The issuers.
    pub trust: Trust,
    /// The tenant of all principals (`tid`).
    pub tenant: String,
    /// Audiences besides Azure's own for registries and for its management.
    pub audiences: Vec<String>,
}

/// How the service is set up.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The registries.
    pub registries: Vec<Registry>,
    /// Host suffixes that come behind `{registry}.`.
    pub host_suffixes: Vec<String>,
    /// The registry of hosts that name none, if there is one: for development.
    pub default_registry: Option<String>,
    /// Whose tokens are exchanged; `None`: nobody's.
    pub bearer: Option<Bearer>,
}

impl Settings {
    /// A registry by its name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&Registry> {
        self.registries.iter().find(|registry| registry.name == name)
    }

    /// The registry that a host names: lower case, without its port.
    pub(crate) fn named_by(&self, host: &str) -> Option<&Registry> {
        let own = |registry: &&Registry| {
            registry.hosts.iter().any(|own| own == host)
                || self.host_suffixes.iter().any(|suffix| {
                    host.strip_suffix(suffix.as_str())
                        .and_then(|rest| rest.strip_suffix('.'))
                        .is_some_and(|name| name == registry.name)
                })
        };
        self.registries.iter().find(own)
    }

    /// The registry of a request's host.
    pub(crate) fn registry(&self, host: &str) -> Option<&Registry> {
        let below_suffix = || {
            self.host_suffixes
                .iter()
                .any(|suffix| host.ends_with(&format!(".{suffix}")))
        };
        self.named_by(host).or_else(|| {
            let default = self.default_registry.as_ref().filter(|_| !below_suffix())?;
            self.registries.iter().find(|registry| registry.name == *default)
        })
    }
}

/// A host header's host: lower case, without its port.
pub(crate) fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_names_a_registry() {
        let mut settings = Settings {
            registries: vec![Registry::new("ttd"), Registry::new("skd")],
            host_suffixes: vec!["cr.example.org".to_owned()],
            ..Settings::default()
        };
        settings.registries[1].hosts = vec!["skdaltinnregistry01.azurecr.io".to_owned()];
        let name = |settings: &Settings, host: &str| {
            settings
                .registry(&host_name(host))
                .map(|registry| registry.name.clone())
        };
        assert_eq!(name(&settings, "TTD.cr.example.org:443").as_deref(), Some("ttd"));
        assert_eq!(name(&settings, "ttd.cr.example.org.").as_deref(), Some("ttd"));
        assert_eq!(
            name(&settings, "skdaltinnregistry01.azurecr.io").as_deref(),
            Some("skd")
        );
        for other in [
            "",
            "localhost",
            "xttd.cr.example.org",
            "a.ttd.cr.example.org",
            "ttd",
            "cr.example.org",
        ] {
            assert_eq!(name(&settings, other), None, "{other}");
        }
        settings.default_registry = Some("ttd".to_owned());
        for local in ["localhost:5000", "127.0.0.1:5000", "[::1]:5000", ""] {
            assert_eq!(name(&settings, local).as_deref(), Some("ttd"), "{local}");
        }
        assert_eq!(name(&settings, "none.cr.example.org"), None);
    }
}
