//! May this caller do that? Questions, answers, and who answers.

mod attributes;
mod embedded;
mod policy;
mod policy_xml;
mod questions;
mod register;
mod remote;

use async_trait::async_trait;
use uuid::Uuid;

pub use attributes::{Attributes, Category};
pub use embedded::EmbeddedDecisionPoint;
pub use policy::{Obligations, Outcome, Policy, PolicyError};
pub use register::{Party, Register, RegisterSource, User};
pub use remote::{Ask, RemoteDecisionPoint};

use crate::auth::Caller;
use crate::error::PlatformError;
use crate::model::Instance;

/// What is to be acted upon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// The owner's code.
    pub org: String,
    /// The app's name.
    pub app: String,
    /// The party whose it is.
    pub party: Option<String>,
    /// The instance.
    pub instance: Option<Uuid>,
    /// The task it is in.
    pub task: Option<String>,
    /// The event that its process ended with.
    pub end_event: Option<String>,
}

impl Resource {
    /// An app, for a party's instances or for all.
    #[must_use]
    pub fn app(org: &str, app: &str, party: Option<&str>) -> Self {
        Self {
            org: org.to_owned(),
            app: app.to_owned(),
            party: party.map(str::to_owned),
            ..Self::default()
        }
    }

    /// A stored instance, in the task it is in.
    #[must_use]
    pub fn instance(instance: &Instance) -> Self {
        let task = instance.current_task().and_then(|task| task.element_id.clone());
        let end_event = match &task {
            Some(_) => None,
            None => instance
                .process
                .as_ref()
                .and_then(|process| process.end_event.clone()),
        };
        Self {
            org: instance.org.clone(),
            app: instance.app().to_owned(),
            party: instance.instance_owner.party_id.clone(),
            instance: instance.guid(),
            task,
            end_event,
        }
    }
}

/// One of several things that are asked at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is to be done.
    pub action: String,
    /// To what.
    pub resource: Resource,
}

impl Question {
    /// May `action` be done to `resource`?
    #[must_use]
    pub fn new(action: &str, resource: Resource) -> Self {
        Self {
            action: action.to_owned(),
            resource,
        }
    }
}

/// Decides. `Ok(false)` is a no; an error is no decision at all, which callers must not take for
/// a yes.
#[async_trait]
pub trait DecisionPoint: Send + Sync + 'static {
    /// Whether `caller` may do `action` to `resource`.
    ///
    /// # Errors
    /// [`PlatformError::Internal`] if nothing can be decided.
    async fn permits(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Resource,
    ) -> Result<bool, PlatformError>;

    /// The answers to several questions, in their order. A decision point elsewhere takes them in one go.
    ///
    /// # Errors
    /// As [`DecisionPoint::permits`]: one question without a decision leaves them all without.
    async fn permits_each(
        &self,
        caller: &Caller,
        questions: &[Question],
    ) -> Result<Vec<bool>, PlatformError> {
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            answers.push(self.permits(caller, &question.action, &question.resource).await?);
        }
        Ok(answers)
    }
}
