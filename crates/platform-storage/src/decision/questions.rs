//! How operations ask: by action, by the task an instance is in, before the process goes on.

use super::{Question as Asked, Resource};
use crate::Platform;
use crate::auth::{Caller, SCOPE_SYNC_ADAPTER};
use crate::error::PlatformError;
use crate::model::Instance;
use crate::rules::process_actions::Question;

/// Actions that the inbox's synchroniser needs no permit for.
const SYNC_ADAPTER_ACTIONS: [&str; 3] = ["read", "write", "delete"];

impl Platform {
    /// Whether the caller may do `action`.
    pub(crate) async fn permits(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Resource,
    ) -> Result<bool, PlatformError> {
        if SYNC_ADAPTER_ACTIONS.contains(&action) && caller.has_scope(SCOPE_SYNC_ADAPTER) {
            return Ok(true);
        }
        self.decision.permits(caller, action, resource).await
    }

    /// Which of `questions` the caller may do, in their order.
    pub(crate) async fn permits_each(
        &self,
        caller: &Caller,
        questions: &[Asked],
    ) -> Result<Vec<bool>, PlatformError> {
        let exempt = caller.has_scope(SCOPE_SYNC_ADAPTER);
        let is_free = |asked: &Asked| exempt && SYNC_ADAPTER_ACTIONS.contains(&asked.action.as_str());
        let rest: Vec<Asked> = questions
            .iter()
            .filter(|asked| !is_free(asked))
            .cloned()
            .collect();
        let mut answers = self.decision.permits_each(caller, &rest).await?.into_iter();
        Ok(questions
            .iter()
            .map(|asked| is_free(asked) || answers.next().unwrap_or(false))
            .collect())
    }

    /// Refuses the caller (403) unless it may do `action`.
    pub(crate) async fn require(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Resource,
    ) -> Result<(), PlatformError> {
        if self.permits(caller, action, resource).await? {
            return Ok(());
        }
        Err(denied(&[action], resource))
    }

    /// Refuses the caller (403) unless it may do the action that a data type asks for, if it asks
    /// for one.
    pub(crate) async fn require_asked(
        &self,
        caller: &Caller,
        action: Option<&str>,
        instance: &Instance,
    ) -> Result<(), PlatformError> {
        match action.filter(|action| !action.is_empty()) {
            Some(action) => self.require(caller, action, &Resource::instance(instance)).await,
            None => Ok(()),
        }
    }

    /// Refuses the caller (403) unless it may do any of a question's actions.
    pub(crate) async fn require_any(
        &self,
        caller: &Caller,
        question: &Question,
        instance: &Instance,
    ) -> Result<(), PlatformError> {
        let mut resource = Resource::instance(instance);
        if question.task.is_some() {
            resource.task.clone_from(&question.task);
            resource.end_event = None;
        }
        // Not this service's own `permits_each`: these actions are the process' own, whatever they are called.
        let asked = question
            .actions
            .iter()
            .map(|action| Asked::new(action, resource.clone()));
        let asked: Vec<Asked> = asked.collect();
        if self.decision.permits_each(caller, &asked).await?.contains(&true) {
            return Ok(());
        }
        let actions: Vec<&str> = question.actions.iter().map(String::as_str).collect();
        Err(denied(&actions, &resource))
    }
}

fn denied(actions: &[&str], resource: &Resource) -> PlatformError {
    PlatformError::Forbidden(format!(
        "The policy of {}/{} doesn't permit {} to this caller.",
        resource.org,
        resource.app,
        actions.join(" or ")
    ))
}
