//! Names and passwords (RFC 7617).
//!
//! Invariant: a wrong name costs as much time as a wrong password, and only so many are compared at once. A
//! login that was good is remembered by a keyed hash until the process ends, so that each request of a client
//! that shows its password doesn't cost a tenth of a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::PasswordHash;
use identity::password::PASSWORD_BYTES_MAX;
use ledger::Random;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::RegistryService;
use crate::auth::tokens::{self, Use};
use crate::auth::{Access, Shown};
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{LOGINS_REMEMBERED_MAX, PASSWORD_WAIT_SECONDS_MAX};
use crate::rules::grants::{Action, Grant};
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
    let everywhere = |action| grants.iter().any(|grant| grant.permits_all(action));
    let lists_catalog = everywhere(Action::MetadataRead);
    let lists_deleted = everywhere(Action::DeletedRead);
    Access {
        name: Some(name.to_owned()),
        grants,
        shown: Shown::Good,
        expires: None,
        lists_catalog,
        lists_deleted,
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

/// What a password is compared with: as many hashes for each name, known or not, so that a refusal's time tells no
/// names.
fn hashes(registry: &Registry, passwords: &[&Password]) -> Vec<PasswordHash> {
    let most = registry.users.iter().map(|user| user.passwords.len()).max();
    let mut hashes: Vec<PasswordHash> = passwords.iter().map(|kept| kept.hash.clone()).collect();
    hashes.resize_with(most.unwrap_or(1).max(1), PasswordHash::nobody);
    hashes
}

impl RegistryService {
    /// Who has this name and password; `None` if nobody has.
    ///
    /// # Errors
    /// `TOOMANYREQUESTS` where too many others wait to be compared.
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
        let mark = |kept: &Password| {
            let hash = kept.hash.to_string();
            self.logins.mark(&[&registry.name, user, password, &hash])
        };
        let is_known = passwords.iter().any(|kept| self.logins.is_known(&mark(kept)));
        let is_right = match is_known {
            true => true,
            false => match self.compare(hashes(registry, &passwords), password).await? {
                Some(place) => {
                    if let Some(kept) = passwords.get(place) {
                        self.logins.remember(mark(kept));
                    }
                    place < passwords.len()
                }
                None => false,
            },
        };
        Ok(found
            .filter(|_| is_right)
            .map(|found| access(&found.name, found.grants.clone())))
    }

    /// Which of the hashes is the password's.
    async fn compare(
        &self,
        hashes: Vec<PasswordHash>,
        password: &str,
    ) -> Result<Option<usize>, RegistryError> {
        let wait = Duration::from_secs(PASSWORD_WAIT_SECONDS_MAX);
        let Ok(Ok(_place)) = tokio::time::timeout(wait, self.password_checks.acquire()).await else {
            let text = "too many logins at once";
            return Err(RegistryError::with(ErrorCode::TooManyRequests, text));
        };
        let given = Arc::<str>::from(password);
        let compared =
            tokio::task::spawn_blocking(move || hashes.iter().position(|hash| hash.verify(given.as_bytes())));
        Ok(compared.await.map_err(|_| ErrorCode::Unknown)?)
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

#[cfg(test)]
mod tests {
    use content::ContentId;
    use content::memory::MemoryContent;
    use ledger::AdjustableClock;
    use ledger::memory::MemoryLedger;
    use ledger::random::SeededRandom;

    use super::*;
    use crate::limits::PASSWORD_CHECKS_MAX;
    use crate::settings::{Settings, User};

    fn service() -> Arc<RegistryService> {
        let random = Arc::new(SeededRandom::new(1));
        let password = |text: &str| Password {
            hash: PasswordHash::make(text.as_bytes(), random.as_ref()),
            expires: None,
        };
        let user = |name: &str, passwords| User {
            name: name.to_owned(),
            passwords,
            grants: Vec::new(),
        };
        let mut registry = Registry::new("ttd");
        registry.users = vec![
            user("two", vec![password("old"), password("new")]),
            user("one", vec![password("own")]),
            user("none", Vec::new()),
        ];
        let settings = Settings {
            registries: vec![registry],
            ..Settings::default()
        };
        let clock = Arc::new(AdjustableClock::standing_at(jiff::Timestamp::UNIX_EPOCH));
        let content = MemoryContent::new(Arc::new(|| {
            (ContentId::from_bytes([1; 16]), jiff::Timestamp::UNIX_EPOCH)
        }));
        let ledger = Arc::new(MemoryLedger::new(clock.clone()));
        RegistryService::new(ledger, Arc::new(content), clock, random, settings)
    }

    async fn log_in(service: &RegistryService, user: &str, password: &str) -> Result<bool, ErrorCode> {
        let found = service
            .log_in(&service.settings.registries[0], user, password)
            .await;
        found.map(|found| found.is_some()).map_err(|error| error.code)
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_was_good_waits_for_nobody() {
        let service = service();
        assert_eq!(log_in(&service, "two", "new").await, Ok(true));
        let all = service.password_checks.acquire_many(4).await.unwrap();
        assert_eq!(PASSWORD_CHECKS_MAX, 4, "all places are taken");
        assert_eq!(log_in(&service, "two", "new").await, Ok(true));
        assert_eq!(
            log_in(&service, "two", "old").await,
            Err(ErrorCode::TooManyRequests)
        );
        // Who comes while others are compared waits.
        let release = async {
            tokio::time::sleep(Duration::from_secs(PASSWORD_WAIT_SECONDS_MAX - 1)).await;
            drop(all);
        };
        let (found, ()) = tokio::join!(log_in(&service, "two", "old"), release);
        assert_eq!(found, Ok(true));
        for (user, password) in [("one", "new"), ("none", ""), ("nobody", "own"), ("", "")] {
            assert_eq!(log_in(&service, user, password).await, Ok(false), "{user}");
        }
    }

    #[test]
    fn each_name_costs_the_same() {
        let service = service();
        let registry = &service.settings.registries[0];
        for user in &registry.users {
            let passwords: Vec<&Password> = user.passwords.iter().collect();
            assert_eq!(hashes(registry, &passwords).len(), 2, "{}", user.name);
        }
        assert_eq!(hashes(registry, &[]).len(), 2);
        assert_eq!(hashes(&Registry::new("x"), &[]).len(), 1);
    }
}
