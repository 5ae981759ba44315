//! A decision point elsewhere, asked in the JSON profile of XACML 3.0 (version 1.1): Altinn's Authorization, or
//! whatever speaks as it does.
//!
//! Invariant: without an answer that is understood there is no decision. What was decided is believed for
//! [`DECISION_SECONDS`], for the very same question alone: the caller's claims are a part of it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ledger::Clock;
use quick_cache::sync::Cache;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::attributes::{Attributes, Category};
use super::policy::Obligations;
use super::{DecisionPoint, Question, Resource};
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::{DECISION_SECONDS, DECISIONS_CACHED_MAX, DECISIONS_PER_REQUEST_MAX};
use crate::model::relaxed;

const ACTION_ID: &str = "urn:oasis:names:tc:xacml:1.0:action:action-id";
const INSTANCE_ID: &str = "urn:altinn:instance-id";

/// Carries a request (JSON) to the decision point, and gives up in bounded time.
#[async_trait]
pub trait Ask: Send + Sync + 'static {
    /// The body of a successful answer.
    ///
    /// # Errors
    /// Why there is none, for people.
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String>;
}

type CacheKey = [u8; 32];

/// Decides by asking.
pub struct RemoteDecisionPoint {
    ask: Arc<dyn Ask>,
    clock: Arc<dyn Clock>,
    kept: Cache<CacheKey, (Duration, bool)>,
}

impl std::fmt::Debug for RemoteDecisionPoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteDecisionPoint").finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    response: Vec<Decided>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Decided {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    decision: String,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    obligations: Vec<Obligation>,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    category: Vec<AnsweredCategory>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Obligation {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    attribute_assignment: Vec<Assignment>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Assignment {
    category: Option<String>,
    value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AnsweredCategory {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    attribute: Vec<AnsweredAttribute>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnsweredAttribute {
    attribute_id: Option<String>,
    value: Option<String>,
}

impl Decided {
    /// Whether it is a yes to `caller`, its obligations being met; `None` if nothing was decided.
    fn permits(&self, caller: &Caller) -> Result<Option<bool>, PlatformError> {
        match self.decision.as_str() {
            "Permit" => {}
            "Deny" | "NotApplicable" => return Ok(Some(false)),
            _ => return Ok(None),
        }
        let assignments = self
            .obligations
            .iter()
            .flat_map(|obligation| &obligation.attribute_assignment);
        let levels = assignments
            .filter_map(|one| Some((one.category.as_deref()?, one.value.as_deref().unwrap_or(""))));
        let obligations = Obligations::of_assignments(levels)
            .ok_or_else(|| fault("it demands an authentication level that is no number"))?;
        let are_met = obligations.are_met(caller.authentication_level, caller.org.is_some());
        Ok(Some(are_met))
    }

    /// The value of an attribute that was to be given back.
    fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.category.iter().flat_map(|category| &category.attribute);
        let found = attributes.find(|attribute| attribute.attribute_id.as_deref() == Some(name))?;
        found.value.as_deref()
    }
}

fn fault(cause: &str) -> PlatformError {
    PlatformError::Internal(format!("the decision point: {cause}"))
}

/// The attributes of a category as they are sent.
fn category(attributes: &Attributes, of: Category, id: Option<String>) -> Value {
    let attributes: Vec<Value> = attributes
        .all(of)
        // An app is named by its org and app; as a resource of the register it would have another policy.
        .filter(|(name, _)| *name != "urn:altinn:resource")
        .map(|(name, value)| {
            json!({
                "AttributeId": name, "Value": value, "DataType": "http://www.w3.org/2001/XMLSchema#string",
                "IncludeInResult": name == ACTION_ID || name == INSTANCE_ID,
            })
        })
        .collect();
    match id {
        Some(id) => json!({"Id": id, "Attribute": attributes}),
        None => json!({ "Attribute": attributes }),
    }
}

fn attributes(caller: &Caller, question: &Question) -> Attributes {
    // Roles are the decision point's to know.
    Attributes::of(caller, &[], &question.action, &question.resource)
}

/// One question as a request.
fn single(caller: &Caller, question: &Question) -> Value {
    let all = attributes(caller, question);
    json!({"Request": {
        "ReturnPolicyIdList": false,
        "AccessSubject": [category(&all, Category::Subject, None)],
        "Action": [category(&all, Category::Action, None)],
        "Resource": [category(&all, Category::Resource, None)],
    }})
}

/// Several questions about instances as one request: each action and each instance once.
fn multiple(caller: &Caller, questions: &[&Question]) -> Value {
    let (mut subjects, mut actions, mut resources) = (Vec::new(), Vec::new(), Vec::new());
    let (mut named_actions, mut named_resources) = (Vec::<&str>::new(), Vec::<&Resource>::new());
    let mut references = Vec::new();
    for question in questions {
        let all = attributes(caller, question);
        if subjects.is_empty() {
            subjects.push(category(&all, Category::Subject, Some("s1".to_owned())));
        }
        let known = named_actions.iter().position(|name| *name == question.action);
        let action = known.unwrap_or_else(|| {
            named_actions.push(&question.action);
            actions.push(category(
                &all,
                Category::Action,
                Some(format!("a{}", named_actions.len())),
            ));
            named_actions.len() - 1
        });
        // Questions about an instance stand beside each other.
        let known = named_resources
            .iter()
            .rposition(|resource| *resource == &question.resource);
        let resource = known.unwrap_or_else(|| {
            named_resources.push(&question.resource);
            let id = format!("r{}", named_resources.len());
            resources.push(category(&all, Category::Resource, Some(id)));
            named_resources.len() - 1
        });
        references
            .push(json!({"ReferenceId": ["s1", format!("a{}", action + 1), format!("r{}", resource + 1)]}));
    }
    json!({"Request": {
        "ReturnPolicyIdList": false, "AccessSubject": subjects, "Action": actions, "Resource": resources,
        "MultiRequests": {"RequestReference": references},
    }})
}

/// What results of several questions are joined by; `None` for one that isn't about an instance.
fn joined_by(question: &Question) -> Option<(String, &str)> {
    let resource = &question.resource;
    let instance = format!("{}/{}", resource.party.as_ref()?, resource.instance.as_ref()?);
    Some((instance, question.action.as_str()))
}

impl RemoteDecisionPoint {
    /// Asks by `ask`, and forgets by `clock`.
    #[must_use]
    pub fn new(ask: Arc<dyn Ask>, clock: Arc<dyn Clock>) -> Self {
        Self {
            ask,
            clock,
            kept: Cache::new(DECISIONS_CACHED_MAX),
        }
    }

    async fn put(&self, request: &Value) -> Result<Vec<Decided>, PlatformError> {
        let answer = self.ask.ask(request.to_string().into_bytes()).await;
        let answer = answer.map_err(|cause| fault(&cause))?;
        let answer: Answer = relaxed::from_slice(&answer)
            .map_err(|error| fault(&format!("its answer can't be understood: {error}")))?;
        Ok(answer.response)
    }

    async fn ask_one(&self, caller: &Caller, question: &Question) -> Result<bool, PlatformError> {
        let decided = self.put(&single(caller, question)).await?;
        match decided.as_slice() {
            [one] => one
                .permits(caller)?
                .ok_or_else(|| fault(&format!("it answered {:?}", one.decision))),
            _ => Err(fault(&format!("{} results for one question", decided.len()))),
        }
    }

    /// Asks several questions about instances; `None` where nothing was decided.
    async fn ask_several(
        &self,
        caller: &Caller,
        questions: &[&Question],
    ) -> Result<Vec<Option<bool>>, PlatformError> {
        if let [question] = questions {
            return Ok(vec![Some(self.ask_one(caller, question).await?)]);
        }
        let decided = self.put(&multiple(caller, questions)).await?;
        let mut found = std::collections::HashMap::new();
        for one in &decided {
            if let (Some(instance), Some(action)) = (one.attribute(INSTANCE_ID), one.attribute(ACTION_ID)) {
                // Several results for one question: it takes all of them to be a yes, and each to be a decision.
                let permits = one.permits(caller)?;
                let before: &mut Option<bool> = found.entry((instance, action)).or_insert(Some(true));
                *before = before.zip(permits).map(|(before, permits)| before && permits);
            }
        }
        Ok(questions
            .iter()
            .map(|question| {
                let (instance, action) = joined_by(question)?;
                found.get(&(instance.as_str(), action)).copied().flatten()
            })
            .collect())
    }

    /// What was decided about a question a short while ago.
    fn known(&self, key: &CacheKey) -> Option<bool> {
        let (at, permits) = self.kept.get(key)?;
        let age = self.clock.monotonic().saturating_sub(at);
        (age < Duration::from_secs(DECISION_SECONDS)).then_some(permits)
    }
}

fn cache_key(caller: &Caller, question: &Question) -> CacheKey {
    Sha256::digest(single(caller, question).to_string()).into()
}

#[async_trait]
impl DecisionPoint for RemoteDecisionPoint {
    async fn permits(
        &self,
        caller: &Caller,
        action: &str,
        resource: &Resource,
    ) -> Result<bool, PlatformError> {
        let answers = self
            .permits_each(caller, &[Question::new(action, resource.clone())])
            .await?;
        Ok(answers == [true])
    }

    async fn permits_each(
        &self,
        caller: &Caller,
        questions: &[Question],
    ) -> Result<Vec<bool>, PlatformError> {
        let keys: Vec<CacheKey> = questions
            .iter()
            .map(|question| cache_key(caller, question))
            .collect();
        let mut answers: Vec<Option<bool>> = keys.iter().map(|key| self.known(key)).collect();
        let open: Vec<usize> = (0..questions.len())
            .filter(|number| answers.get(*number) == Some(&None))
            .collect();
        let (instances, others): (Vec<usize>, Vec<usize>) = open.into_iter().partition(|number| {
            questions
                .get(*number)
                .is_some_and(|question| joined_by(question).is_some())
        });
        let mut decided: Vec<(usize, Option<bool>)> = Vec::new();
        for number in others {
            if let Some(question) = questions.get(number) {
                decided.push((number, Some(self.ask_one(caller, question).await?)));
            }
        }
        for some in instances.chunks(DECISIONS_PER_REQUEST_MAX) {
            let asked: Vec<&Question> = some.iter().filter_map(|number| questions.get(*number)).collect();
            let found = self.ask_several(caller, &asked).await?;
            decided.extend(some.iter().copied().zip(found));
        }
        let now = self.clock.monotonic();
        for (number, permits) in decided {
            // What wasn't decided is no permission, and no decision to remember.
            if let (Some(answer), Some(key), Some(permits)) =
                (answers.get_mut(number), keys.get(number), permits)
            {
                *answer = Some(permits);
                self.kept.insert(*key, (now, permits));
            }
        }
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or(false))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use ledger::AdjustableClock;
    use parking_lot::Mutex;
    use uuid::Uuid;

    use super::*;

    /// Answers what it is told to, and keeps what it was asked.
    #[derive(Default)]
    struct Script {
        answers: Mutex<Vec<Result<Value, String>>>,
        asked: Mutex<Vec<Value>>,
    }

    #[async_trait]
    impl Ask for Script {
        async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
            self.asked.lock().push(serde_json::from_slice(&request).unwrap());
            self.answers
                .lock()
                .remove(0)
                .map(|answer| answer.to_string().into_bytes())
        }
    }

    fn bench(
        answers: Vec<Result<Value, String>>,
    ) -> (Arc<Script>, Arc<AdjustableClock>, RemoteDecisionPoint) {
        let script = Arc::new(Script {
            answers: Mutex::new(answers),
            ..Script::default()
        });
        let clock = Arc::new(AdjustableClock::standing_at(
            jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        ));
        let point = RemoteDecisionPoint::new(script.clone(), clock.clone());
        (script, clock, point)
    }

    fn caller(level: i64) -> Caller {
        Caller {
            user_id: Some(1337),
            authentication_level: level,
            attributes: vec![("urn:altinn:userid".to_owned(), "1337".to_owned())],
            ..Caller::default()
        }
    }

    fn instance(number: u128) -> Resource {
        Resource {
            party: Some("50".to_owned()),
            instance: Some(Uuid::from_u128(number)),
            ..Resource::app("ttd", "a", None)
        }
    }

    fn result(decision: &str, number: u128, action: &str) -> Value {
        json!({"decision": decision, "category": [
            {"attribute": [{"attributeId": INSTANCE_ID, "value": format!("50/{}", Uuid::from_u128(number))}]},
            {"attribute": [{"attributeId": ACTION_ID, "value": action}]}]})
    }

    #[tokio::test]
    async fn one_question_has_one_answer_and_anything_else_is_no_decision() {
        let permit = json!({"response": [{"decision": "Permit"}]});
        let (script, clock, point) = bench(vec![
            Ok(permit.clone()),
            Ok(json!({"Response": [{"Decision": "NotApplicable"}]})),
            Ok(json!({"response": []})),
            Ok(json!({"response": [{"decision": "Permit"}, {"decision": "Permit"}]})),
            Ok(json!("nonsense")),
            Err("it is away".to_owned()),
            Ok(permit),
        ]);
        let asks = async |action: &str| point.permits(&caller(2), action, &instance(1)).await;
        assert_eq!(asks("read").await, Ok(true));
        assert_eq!(asks("read").await, Ok(true), "known");
        assert_eq!(asks("write").await, Ok(false));
        for _ in 0..4 {
            assert!(
                asks("delete").await.is_err(),
                "no decision is neither kept nor a yes"
            );
        }
        assert_eq!(script.asked.lock().len(), 6);
        assert_eq!(
            script.asked.lock()[0]["Request"]["AccessSubject"][0]["Attribute"][0]["Value"],
            "1337"
        );
        clock.advance_seconds(i64::try_from(DECISION_SECONDS).unwrap());
        assert_eq!(asks("read").await, Ok(true));
        assert_eq!(script.asked.lock().len(), 7, "asked again when it was old");
    }

    #[tokio::test]
    async fn several_are_joined_by_instance_and_action() {
        let answer = json!({"response": [
            result("Deny", 2, "read"), result("Permit", 1, "delete"), result("Permit", 1, "read")]});
        let (script, _, point) = bench(vec![Ok(answer)]);
        let questions: Vec<Question> = [(1, "read"), (1, "delete"), (2, "read"), (2, "delete")]
            .map(|(number, action)| Question::new(action, instance(number)))
            .into();
        let answers = point.permits_each(&caller(2), &questions).await.unwrap();
        assert_eq!(
            answers,
            [true, true, false, false],
            "what isn't answered is denied"
        );
        let asked = script.asked.lock()[0]["Request"].clone();
        let count = |name: &str| asked[name].as_array().unwrap().len();
        assert_eq!(
            (count("AccessSubject"), count("Action"), count("Resource")),
            (1, 2, 2)
        );
        let references = asked["MultiRequests"]["RequestReference"].as_array().unwrap();
        assert_eq!(references[2]["ReferenceId"], json!(["s1", "a1", "r2"]));
    }

    #[tokio::test]
    async fn what_was_not_decided_is_not_remembered() {
        let undecided = json!({"response": [{"decision": "Indeterminate"}]});
        let some = json!({"response": [result("Permit", 1, "read"), result("Indeterminate", 2, "read")]});
        let all = json!({"response": [result("Permit", 2, "read"), result("Permit", 3, "read")]});
        let (script, _, point) = bench(vec![Ok(undecided), Ok(some), Ok(all)]);
        assert!(point.permits(&caller(2), "read", &instance(1)).await.is_err());
        let questions = [1, 2, 3].map(|number| Question::new("read", instance(number)));
        for expected in [[true, false, false], [true, true, true]] {
            let answers = point.permits_each(&caller(2), &questions).await;
            assert_eq!(answers, Ok(expected.to_vec()));
        }
        assert_eq!(script.asked.lock().len(), 3);
    }

    #[tokio::test]
    async fn obligations_ask_for_a_level() {
        let with = |category: &str, value: &str| {
            Ok(
                json!({"response": [{"decision": "Permit", "obligations": [{"id": "o", "attributeAssignment": [
                {"category": category, "value": value}]}]}]}),
            )
        };
        let minimum = "urn:altinn:minimum-authenticationlevel";
        let (_, _, point) = bench(vec![
            with(minimum, "3"),
            with(minimum, "2"),
            with(minimum, "high"),
        ]);
        let asks = async |action: &str| point.permits(&caller(2), action, &instance(1)).await;
        assert_eq!(asks("read").await, Ok(false));
        assert_eq!(asks("write").await, Ok(true));
        assert!(asks("sign").await.is_err());
    }
}
