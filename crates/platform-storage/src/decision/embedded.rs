//! The decision point inside: a folder of policies, a register of roles.
//!
//! `{folder}/{org}/{app}/policy.xml` is an app's policy, read again when it changes. For an app
//! without one the answer is no, or, in development, yes for the owner's party, those who hold a
//! role for it, and the app's org.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::attributes::Attributes;
use super::policy::{Outcome, Policy};
use super::register::{Register, RegisterSource};
use super::{DecisionPoint, Question, Resource};
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::{POLICIES_CACHED_MAX, POLICY_BYTES_MAX};
use crate::rules::names;

#[derive(Debug, Clone)]
struct Kept {
    modified: Option<SystemTime>,
    length_bytes: u64,
    policy: Arc<Policy>,
}

/// Decides by policies in a folder.
#[derive(Debug)]
pub struct EmbeddedDecisionPoint {
    folder: PathBuf,
    register: Arc<RegisterSource>,
    permissive: bool,
    kept: Mutex<HashMap<String, Kept>>,
    said: Mutex<HashSet<String>>,
}

impl EmbeddedDecisionPoint {
    /// A decision point over `folder`. `permissive`: apps without a policy are open to those whom
    /// they concern; for development only.
    #[must_use]
    pub fn new(folder: PathBuf, register: Arc<RegisterSource>, permissive: bool) -> Self {
        Self {
            folder,
            register,
            permissive,
            kept: Mutex::default(),
            said: Mutex::default(),
        }
    }

    /// The app's policy; `None` if it has none.
    fn policy(&self, org: &str, app: &str) -> Result<Option<Arc<Policy>>, PlatformError> {
        // What names a file must be a name.
        if !names::is_org(org) || !names::is_app(app) {
            return Ok(None);
        }
        let path = self.folder.join(org).join(app).join("policy.xml");
        let fault =
            |cause: &dyn std::fmt::Display| PlatformError::Internal(format!("{}: {cause}", path.display()));
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(&error)),
        };
        let name = format!("{org}/{app}");
        let (modified, length_bytes) = (metadata.modified().ok(), metadata.len());
        if let Some(kept) = self.kept.lock().get(&name)
            && kept.modified == modified
            && kept.length_bytes == length_bytes
        {
            return Ok(Some(kept.policy.clone()));
        }
        if length_bytes > POLICY_BYTES_MAX {
            return Err(fault(&format!("more than {POLICY_BYTES_MAX} bytes")));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| fault(&error))?;
        let policy = Arc::new(Policy::parse(&text, org, app).map_err(|error| fault(&error))?);
        let mut kept = self.kept.lock();
        if kept.len() >= POLICIES_CACHED_MAX {
            kept.clear();
        }
        kept.insert(
            name,
            Kept {
                modified,
                length_bytes,
                policy: policy.clone(),
            },
        );
        Ok(Some(policy))
    }

    fn without_policy(&self, caller: &Caller, register: &Register, resource: &Resource) -> bool {
        let name = format!("{}/{}", resource.org, resource.app);
        if !self.permissive {
            return false;
        }
        let mut said = self.said.lock();
        if said.len() < POLICIES_CACHED_MAX && said.insert(name.clone()) {
            tracing::info!(
                app = name,
                "no policy in {}: the owner's party, its role holders and the app's org may do everything",
                self.folder.display()
            );
        }
        drop(said);
        if caller.is_owner(&resource.org) {
            return true;
        }
        let Some(party) = resource.party.as_deref() else {
            return false;
        };
        let is_party = caller.user_id.is_some() && caller.party_id.as_deref() == Some(party);
        let holds_role = caller
            .user_id
            .is_some_and(|user| !register.roles(user, party).is_empty());
        let acts_for = caller
            .system_user
            .as_ref()
            .and_then(|user| register.party_by_number(user.owner_number.as_deref()?))
            .is_some_and(|owner| owner.party_id.to_string() == party);
        is_party || holds_role || acts_for
    }
}

impl EmbeddedDecisionPoint {
    /// The answer by what an app's policy says, if it has one.
    fn decide(
        &self,
        caller: &Caller,
        register: &Register,
        policy: Option<&Policy>,
        action: &str,
        resource: &Resource,
    ) -> bool {
        let Some(policy) = policy else {
            return self.without_policy(caller, register, resource);
        };
        let roles = match (caller.user_id, resource.party.as_deref()) {
            (Some(user), Some(party)) => register.roles(user, party),
            _ => &[],
        };
        let question = Attributes::of(caller, roles, action, resource);
        match policy.evaluate(&question) {
            Outcome::Permit(obligations) => {
                obligations.are_met(caller.authentication_level, caller.org.is_some())
            }
            Outcome::Deny | Outcome::NotApplicable => false,
        }
    }
}

#[async_trait]
impl DecisionPoint for EmbeddedDecisionPoint {
    // Small local files, stated once per call and app, and read when they change: not worth a thread.
    async fn permits(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Resource,
    ) -> Result<bool, PlatformError> {
        let register = self.register.current()?;
        let policy = self.policy(&resource.org, &resource.app)?;
        Ok(self.decide(caller, &register, policy.as_deref(), action, resource))
    }

    async fn permits_each(
        &self,
        caller: &Caller,
        questions: &[Question],
    ) -> Result<Vec<bool>, PlatformError> {
        let register = self.register.current()?;
        let mut policies = HashMap::new();
        let mut answers = Vec::with_capacity(questions.len());
        for Question { action, resource } in questions {
            let app = (resource.org.as_str(), resource.app.as_str());
            let policy = match policies.entry(app) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(open) => open.insert(self.policy(app.0, app.1)?),
            };
            answers.push(self.decide(caller, &register, policy.as_deref(), action, resource));
        }
        Ok(answers)
    }
}
