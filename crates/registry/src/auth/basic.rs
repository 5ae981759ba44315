//! Names and passwords (RFC 7617).
//!
//! Invariant: a wrong name costs as much time as a wrong password, and only so many are compared at once. A
//! login that was good is remembered by a keyed hash until the process ends, so that each request of a client
//! that shows its password doesn't cost a tenth of a second.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::PasswordHash;
use identity::password::PASSWORD_BYTES_MAX;
use ledger::Random;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::RegistryService;
use crate::auth::Access;
use crate::auth::tokens::{self, Use};
use crate::error::{ErrorCode, RegistryError};
use crate::limits::LOGINS_REMEMBERED_MAX;
use crate::rules::grants::Grant;
use crate::settings::{Password, Registry};

/// The user whose password is a token (Azure Container Registry, "Authenticate with a token").
pub(crate) const TOKEN_USER: &str = "00000000-0000-0000-0000-000000000000";

/// A principal of a trusted issuer, with what of its groups and roles is of use here: whom a refresh token is given.
/// Users with a password get none. Clients keep it in the password's place, and would be out when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) groups: Vec<String>,
    pub(crate) roles: Vec<String>,
}

impl Identity {
    /// As a refresh token holds it.
    pub(crate) fn claim(&self) -> Value {
        json!({"oid": self.id, "groups": self.groups, "roles": self.roles})
    }

    /// Reads that.
    pub(crate) fn of_claim(claim: &Value) -> Option<Self> {
        let texts = |name: &str| -> Vec<String> {
            let list = claim.get(name).and_then(Value::as_array);
            let texts = list.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        Some(Self {
            id: claim.get("oid")?.as_str()?.to_owned(),
            groups: texts("groups"),
            roles: texts("roles"),
        })
    }

    /// What it may by the settings as they are now.
    pub(crate) fn grants(&self, registry: &Registry) -> Vec<Grant> {
        use crate::settings::Assignee;
        registry
            .assignments
            .iter()
            .filter(|assignment| match &assignment.assignee {
                Assignee::Principal(assigned) => *assigned == self.id,
                Assignee::Group(group) => self.groups.contains(group),
                Assignee::AppRole(role) => self.roles.contains(role),
            })
            .map(|assignment| assignment.grant.clone())
            .collect()
    }
}

/// What somebody may who logged in.
fn access(name: &str, grants: Vec<Grant>) -> Access {
    let lists_catalog = grants.iter().any(|grant| {
        !grant.actions.is_empty() && grant.permits_all(crate::rules::grants::Action::MetadataRead)
    });
    Access {
        name: Some(name.to_owned()),
        grants,
        is_known: true,
        expires: None,
        lists_catalog,
    }
}

/// `user:password` of a header's base64.
pub(crate) fn decode(text: &str) -> Option<(String, String)> {
    if text.len() > PASSWORD_BYTES_MAX * 2 {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Logins that were good.
pub(crate) struct Logins {
    key: [u8; 32],
    /// By a keyed hash of all that was compared, so a changed setting isn't met by an old login.
    known: Mutex<HashMap<[u8; 32], ()>>,
}

impl Logins {
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut key = [0; 32];
        random.fill(&mut key);
        Self {
            key,
            known: Mutex::default(),
        }
    }

    fn mark(&self, parts: &[&str]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    fn is_known(&self, mark: &[u8; 32]) -> bool {
        self.known.lock().contains_key(mark)
    }

    fn remember(&self, mark: [u8; 32]) {
        let mut known = self.known.lock();
        if known.len() >= LOGINS_REMEMBERED_MAX {
            known.clear();
        }
        known.insert(mark, ());
    }
}

impl RegistryService {
    /// Who has this name and password; `None` if nobody has.
    ///
    /// # Errors
    /// `TOOMANYREQUESTS` while others are compared.
    pub(crate) async fn log_in(
        &self,
        registry: &Registry,
        user: &str,
        password: &str,
    ) -> Result<Option<Access>, RegistryError> {
        if user == TOKEN_USER {
            if let Some((identity, expires)) = self.identity_of_refresh_token(registry, password).await? {
                let grants = identity.grants(registry);
                return Ok(Some(Access {
                    expires,
                    ..access(&identity.id, grants)
                }));
            }
            return self.access_of_token(registry, password).await;
        }
        let found = registry.users.iter().find(|found| found.name == user);
        let now = self.clock.now();
        let passwords: Vec<&Password> = found
            .iter()
            .flat_map(|found| &found.passwords)
            .filter(|password| password.expires.is_none_or(|expires| now < expires))
            .collect();
        let mut is_right = false;
        for kept in &passwords {
            is_right = is_right || self.is_password(registry, user, password, &kept.hash).await?;
        }
        if passwords.is_empty() {
            self.is_password(registry, user, password, &PasswordHash::nobody())
                .await?;
        }
        Ok(found
            .filter(|_| is_right)
            .map(|found| access(&found.name, found.grants.clone())))
    }

    async fn is_password(
        &self,
        registry: &Registry,
        user: &str,
        password: &str,
        hash: &PasswordHash,
    ) -> Result<bool, RegistryError> {
        let mark = self
            .logins
            .mark(&[&registry.name, user, password, &hash.to_string()]);
        if self.logins.is_known(&mark) {
            return Ok(true);
        }
        let _place = self
            .password_checks
            .try_acquire()
            .map_err(|_| RegistryError::with(ErrorCode::TooManyRequests, "too many logins at once"))?;
        let (hash, given) = (hash.clone(), Arc::<str>::from(password));
        let is_right = tokio::task::spawn_blocking(move || hash.verify(given.as_bytes())).await;
        let is_right = is_right.map_err(|_| ErrorCode::Unknown)?;
        if is_right {
            self.logins.remember(mark);
        }
        Ok(is_right)
    }

    /// Whose refresh token this is, and when it ends.
    async fn identity_of_refresh_token(
        &self,
        registry: &Registry,
        token: &str,
    ) -> Result<Option<(Identity, Option<i64>)>, RegistryError> {
        let claims = self.verify(registry, token, Use::Refresh).await?;
        Ok(claims.and_then(|claims| {
            let identity = claims.get(tokens::IDENTITY).and_then(Identity::of_claim)?;
            Some((identity, claims.integer("exp")))
        }))
    }
}
