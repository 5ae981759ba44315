//! `POST /authorization/api/v1/decision` in development: the decision point inside, for apps that ask it themselves. It
//! answers also where Storage itself is set up to ask another one.
//! Understands the JSON profile of XACML as Altinn's clients write it, one question or several.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use http_semantics::Body;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::Platform;
use crate::auth::Caller;
use crate::decision::{DecisionPoint, Question, Resource};
use crate::error::PlatformError;
use crate::limits::DECISIONS_PER_REQUEST_MAX;
use crate::model::relaxed;
use crate::store::View;
use crate::wire::answer;

const ACTION_ID: &str = "urn:oasis:names:tc:xacml:1.0:action:action-id";

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Root {
    request: Request,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Request {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    access_subject: Vec<Part>,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    action: Vec<Part>,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    resource: Vec<Part>,
    multi_requests: Option<MultiRequests>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Part {
    id: Option<String>,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    attribute: Vec<Attribute>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Attribute {
    attribute_id: String,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    value: String,
    #[serde(deserialize_with = "crate::model::null_is_default")]
    include_in_result: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MultiRequests {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    request_reference: Vec<Reference>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reference {
    #[serde(deserialize_with = "crate::model::null_is_default")]
    reference_id: Vec<String>,
}

/// The parts of one question.
struct Asked<'a> {
    subject: Option<&'a Part>,
    action: Option<&'a Part>,
    resource: Option<&'a Part>,
}

/// The answer to a request.
pub(super) async fn answer(
    platform: &Platform,
    point: &dyn DecisionPoint,
    text: &[u8],
) -> Result<Response<Body>, PlatformError> {
    let root: Root = relaxed::from_slice(text)
        .map_err(|error| PlatformError::bad_request(format!("The request can't be understood: {error}.")))?;
    let request = &root.request;
    let references = request
        .multi_requests
        .iter()
        .flat_map(|multi| &multi.request_reference);
    let references: Vec<&Reference> = references.collect();
    if references.len() > DECISIONS_PER_REQUEST_MAX {
        return Err(PlatformError::bad_request(format!(
            "At most {DECISIONS_PER_REQUEST_MAX} questions are answered at once."
        )));
    }
    let asked: Vec<Asked<'_>> = if references.is_empty() {
        vec![Asked {
            subject: request.access_subject.first(),
            action: request.action.first(),
            resource: request.resource.first(),
        }]
    } else {
        let named = |parts: &'_ [Part], ids: &[String]| {
            parts
                .iter()
                .position(|part| part.id.as_ref().is_some_and(|id| ids.contains(id)))
        };
        references
            .into_iter()
            .map(|reference| {
                let ids = &reference.reference_id;
                let of = |parts| named(parts, ids);
                Asked {
                    subject: of(&request.access_subject).and_then(|at| request.access_subject.get(at)),
                    action: of(&request.action).and_then(|at| request.action.get(at)),
                    resource: of(&request.resource).and_then(|at| request.resource.get(at)),
                }
            })
            .collect()
    };
    let view = platform.view().await?;
    let mut results = Vec::with_capacity(asked.len());
    for question in &asked {
        results.push(result(platform, point, &view, question).await?);
    }
    answer::json(StatusCode::OK, &json!({ "response": results }))
}

fn value<'a>(part: Option<&'a Part>, name: &str) -> Option<&'a str> {
    let found = part?
        .attribute
        .iter()
        .find(|attribute| attribute.attribute_id == name);
    found.map(|attribute| attribute.value.as_str())
}

async fn result(
    platform: &Platform,
    point: &dyn DecisionPoint,
    view: &View,
    question: &Asked<'_>,
) -> Result<Value, PlatformError> {
    let caller = caller(question.subject);
    let resource = resource(platform, view, question.resource).await?;
    let permits = match (value(question.action, ACTION_ID), resource) {
        (Some(action), Some(resource)) => {
            let question = [Question::new(action, resource)];
            point.permits_each(&caller, &question).await? == [true]
        }
        _ => false,
    };
    let back = |part: Option<&Part>, category: &str| {
        let attributes: Vec<Value> = part
            .iter()
            .flat_map(|part| &part.attribute)
            .filter(|attribute| attribute.include_in_result)
            .map(|attribute| json!({"attributeId": attribute.attribute_id, "value": attribute.value}))
            .collect();
        json!({"categoryId": category, "attribute": attributes})
    };
    Ok(json!({
        // Levels that a policy demands were looked at already.
        "decision": if permits { "Permit" } else { "NotApplicable" },
        "status": {"statusCode": {"value": "urn:oasis:names:tc:xacml:1.0:status:ok"}},
        "obligations": null,
        "category": [
            back(question.action, "urn:oasis:names:tc:xacml:3.0:attribute-category:action"),
            back(question.resource, "urn:oasis:names:tc:xacml:3.0:attribute-category:resource"),
        ],
    }))
}

/// The caller whose claims the subject's attributes are.
fn caller(subject: Option<&Part>) -> Caller {
    let mut claims: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for attribute in subject.iter().flat_map(|subject| &subject.attribute) {
        claims
            .entry(&attribute.attribute_id)
            .or_default()
            .push(&attribute.value);
    }
    let claims: Map<String, Value> = claims
        .into_iter()
        .map(|(name, values)| match values.as_slice() {
            [one] => (name.to_owned(), json!(one)),
            _ => (name.to_owned(), json!(values)),
        })
        .collect();
    Caller::new(&identity::Claims::new(claims))
}

/// The resource, with the task that a stored instance is in.
async fn resource(
    platform: &Platform,
    view: &View,
    part: Option<&Part>,
) -> Result<Option<Resource>, PlatformError> {
    let text = |name: &str| value(part, name).map(str::to_owned);
    if let Some(id) = text("urn:altinn:instance-id") {
        let guid = id.rsplit_once('/').map_or(id.as_str(), |(_, guid)| guid);
        let Ok(guid) = Uuid::parse_str(guid) else {
            return Ok(None);
        };
        let Some(party) = platform.party_of(view, &guid).await? else {
            return Ok(None);
        };
        let stored = platform.stored_instance(view, &party, &guid).await?;
        let Some(stored) = stored else { return Ok(None) };
        let mut resource = Resource::instance(&stored.value);
        if let Some(task) = text("urn:altinn:task") {
            resource.task = Some(task);
            resource.end_event = None;
        }
        return Ok(Some(resource));
    }
    let (Some(org), Some(app)) = (text("urn:altinn:org"), text("urn:altinn:app")) else {
        return Ok(None);
    };
    Ok(Some(Resource {
        task: text("urn:altinn:task"),
        end_event: text("urn:altinn:end-event"),
        ..Resource::app(&org, &app, text("urn:altinn:partyid").as_deref())
    }))
}
