//! POST mutations: several changes of one instance, made together or not at all, once for each idempotency key.
//!
//! Invariant: contents are taken in first and refer to nothing; all that the mutation asks for is then one commit
//! under the instance's version, decided anew if others were quicker.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::instance_path::{InstancePath, Unknown};
use super::instances::check_retention;
use super::mutation_work::{Taken, Work, check_elements};
use super::process;
use super::sign::hexadecimal;
use crate::Platform;
use crate::auth::Caller;
use crate::decision::Resource;
use crate::error::PlatformError;
use crate::limits::{DATA_BYTES_MAX, MUTATION_BYTES_MAX};
use crate::model::{Application, Instance, Moment};
use crate::rules::multipart::{self, Parts};
use crate::rules::mutation::{MUTATION_PART, Mutation};
use crate::rules::versions::{self, Versions};
use crate::rules::{content_disposition, process_actions};
use crate::service::Call;
use crate::store::{Attempts, Done, StoredElement, View, log};
use crate::wire::answer;

/// Names a mutation, so that it isn't made twice.
const KEY_HEADER: &str = "idempotency-key";

pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let key = idempotency_key(call)?;
    let (mutation, asked, parts) = read(call, body).await?;
    mutation.check().map_err(PlatformError::BadRequest)?;
    if parts.is_none() && !mutation.parts().is_empty() {
        return Err(PlatformError::bad_request(
            "Contents come in a multipart/form-data body.",
        ));
    }
    // Asked before the contents are taken in, and again before the commit.
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::Forbidden, caller, "write")
        .await?;
    if let Some(response) = replay(platform, call, &view, &stored.value, key, &asked).await? {
        return Ok(response);
    }
    check_state(call, &mutation, &stored.value)?;
    let elements = platform.stored_elements(&view, &path.guid).await?;
    let mut app = decide(platform, caller, &view, &mutation, &stored.value, &elements).await?;
    let mut decided_by = stored.etag.clone();
    check_elements(&mutation, &app, &elements)?;
    let org = stored.value.org.clone();
    drop((view, stored, elements));
    let taken = match parts {
        Some(parts) => take_in(platform, &mutation, parts).await?,
        None => BTreeMap::new(),
    };
    platform.ensure_content_container(&org).await?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        if let Some(response) = replay(platform, call, &view, &stored.value, key, &asked).await? {
            return Ok(response);
        }
        check_state(call, &mutation, &stored.value)?;
        let elements = platform.stored_elements(&view, &path.guid).await?;
        if stored.etag != decided_by {
            // What was permitted of the instance as it was needn't be of what others have made of it since.
            let resource = Resource::instance(&stored.value);
            platform.require(caller, "write", &resource).await?;
            app = decide(platform, caller, &view, &mutation, &stored.value, &elements).await?;
            decided_by.clone_from(&stored.etag);
        }
        let mut work = Work {
            platform,
            caller,
            view: &view,
            elements: &elements,
            path,
            app: &app,
            taken: &taken,
            tx: Transaction::new(),
            instance: stored.value.clone(),
            events: Vec::new(),
            created: Vec::new(),
            changed: BTreeMap::new(),
            leaves_less: false,
        };
        work.apply(&mutation).await?;
        let Work {
            mut tx,
            instance,
            events,
            created,
            ..
        } = work;
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        for event in &events {
            process::refuse_known(platform, &view, path, event).await?;
            platform.stage_event(&mut tx, &view, &instance, event).await?;
        }
        if let Some(key) = &key {
            let done = Done {
                instance: path.guid,
                previous: Versions::of(&stored.value).instance,
                produced: Versions::of(&instance).instance,
                created: created.clone(),
                asked: Some(asked.clone()),
                performed_by: Some(caller.performed_by()),
            };
            platform.stage_mutation(&mut tx, key, &done)?;
        }
        log(&mut tx, "mutation", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            let view = platform.view().await?;
            return render(platform, call, &view, &instance, &created, false).await;
        }
    }
}

fn idempotency_key(call: &Call) -> Result<Option<Uuid>, PlatformError> {
    let Some(value) = call.headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let key =
        Uuid::parse_str(text).map_err(|_| PlatformError::bad_request("Idempotency-Key must be a guid."))?;
    if call.preconditions()?.instance.is_none() {
        return Err(PlatformError::bad_request(
            "Idempotency-Key needs If-Instance-Version-Match beside it.",
        ));
    }
    Ok(Some(key))
}

/// The mutation, the SHA-256 of its JSON, and the parts behind it if the body has parts.
async fn read(call: &Call, body: Body) -> Result<(Mutation, String, Option<Parts>), PlatformError> {
    let kind = call
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default();
    let (text, parts) = if let Some(boundary) = multipart::boundary(kind) {
        let mut parts = Parts::new(body, &boundary);
        let first = parts.next().await.map_err(malformed)?;
        let named =
            |disposition: &Option<Vec<u8>>| disposition.as_deref().and_then(content_disposition::field);
        match first {
            Some((headers, content))
                if named(&headers.content_disposition).as_deref() == Some(MUTATION_PART) =>
            {
                (content.read_bounded(MUTATION_BYTES_MAX).await?, Some(parts))
            }
            _ => {
                return Err(PlatformError::bad_request(
                    "The first part must be called mutation, and be the mutation in JSON.",
                ));
            }
        }
    } else if kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
    {
        (body.read_bounded(MUTATION_BYTES_MAX).await?, None)
    } else {
        return Err(PlatformError::bad_request(
            "A mutation is application/json, or multipart/form-data.",
        ));
    };
    let mutation = crate::model::relaxed::from_slice(&text)
        .map_err(|error| PlatformError::bad_request(format!("The mutation can't be understood: {error}.")))?;
    Ok((mutation, hexadecimal(&Sha256::digest(&text)), parts))
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn malformed(error: multipart::MultipartError) -> PlatformError {
    PlatformError::bad_request(format!("{error}."))
}

/// The answer to a mutation that was made before with the same key, if it was.
async fn replay(
    platform: &Platform,
    call: &Call,
    view: &View,
    instance: &Instance,
    key: Option<Uuid>,
    asked: &str,
) -> Result<Option<Response<Body>>, PlatformError> {
    let Some(key) = key else { return Ok(None) };
    let Some(done) = platform.stored_mutation(view, &key).await? else {
        return Ok(None);
    };
    if Some(done.instance) != instance.guid() {
        return Err(PlatformError::Conflict(
            "The idempotency key was used for another instance.".to_owned(),
        ));
    }
    let caller = call.caller()?;
    let is_same = |kept: &Option<String>, now: &str| kept.as_deref().is_none_or(|kept| kept == now);
    if !is_same(&done.asked, asked) || !is_same(&done.performed_by, &caller.performed_by()) {
        return Err(PlatformError::Conflict(
            "The idempotency key was used for another mutation, or by another caller.".to_owned(),
        ));
    }
    // Whoever made it saw it then, and may have lost the right since.
    platform
        .require(caller, "read", &Resource::instance(instance))
        .await?;
    let current = Versions::of(instance);
    let is_same = call.preconditions()?.instance == Some(done.previous);
    if !is_same || current.instance != done.produced {
        // Of another version, or others have changed the instance since: there is no answer to repeat.
        return Err(PlatformError::VersionMismatch(
            versions::Differs::Instance,
            current,
        ));
    }
    render(platform, call, view, instance, &done.created, true)
        .await
        .map(Some)
}

/// Versions, the process' status, and whether there is anything left to change.
fn check_state(call: &Call, mutation: &Mutation, instance: &Instance) -> Result<(), PlatformError> {
    call.require_versions(instance)?;
    if instance.status.is_hard_deleted {
        return Err(PlatformError::not_found("The instance is deleted for good."));
    }
    let is = versions::status(instance);
    let expected = mutation.expected_process_status.as_deref().unwrap_or("idle");
    if !is.eq_ignore_ascii_case(expected) {
        return Err(PlatformError::ProcessStatus(is.to_owned()));
    }
    Ok(())
}

/// The instance's app, if the caller may do all of the mutation to the instance as it is.
async fn decide(
    platform: &Platform,
    caller: &Caller,
    view: &View,
    mutation: &Mutation,
    instance: &Instance,
    elements: &[StoredElement],
) -> Result<Arc<Application>, PlatformError> {
    let app = platform.application_of(view, &instance.app_id).await?;
    let no_app = || PlatformError::not_found(format!("There is no application {}.", instance.app_id));
    let app = app.ok_or_else(no_app)?;
    require_all(platform, caller, mutation, instance, &app, elements).await?;
    if mutation.delete_instance.is_some() {
        let now = Moment::stamped(platform.clock.now());
        check_retention(platform, view, instance, now).await?;
    }
    Ok(app)
}

/// Refuses the caller (403) unless it may do all of the mutation.
async fn require_all(
    platform: &Platform,
    caller: &Caller,
    mutation: &Mutation,
    instance: &Instance,
    app: &Application,
    elements: &[StoredElement],
) -> Result<(), PlatformError> {
    let resource = Resource::instance(instance);
    if mutation.delete_instance.is_some() {
        platform.require(caller, "delete", &resource).await?;
    }
    if mutation.add_complete_confirmation {
        platform.require(caller, "complete", &resource).await?;
        if caller.org.is_none() {
            return Err(PlatformError::forbidden(
                "Only an org confirms that an instance is complete.",
            ));
        }
    }
    if let Some(state) = mutation.state() {
        let question = process_actions::for_next(instance, state).ok_or_else(|| {
            PlatformError::forbidden("The instance is in no task, so its process can't go on.")
        })?;
        platform.require_any(caller, &question, instance).await?;
    }
    if !mutation.presentation_texts.is_empty() || !mutation.data_values.is_empty() {
        let question = process_actions::for_task(instance);
        platform.require_any(caller, &question, instance).await?;
    }
    let type_of = |id: Option<Uuid>| {
        let element = elements.iter().find(|element| element.value.guid() == id)?;
        Some(element.value.data_type.clone())
    };
    let created = mutation
        .create_data_elements
        .iter()
        .map(|create| create.data_type.clone());
    let updated = mutation
        .update_data_elements
        .iter()
        .map(|update| type_of(update.data_element_id));
    let removed = mutation
        .delete_data_elements
        .iter()
        .map(|removal| type_of(removal.data_element_id));
    let types: std::collections::BTreeSet<String> = created.chain(updated).chain(removed).flatten().collect();
    for data_type in types {
        let action = app
            .data_type(&data_type)
            .and_then(|data_type| data_type.action_required_to_write.as_deref());
        platform.require_asked(caller, action, instance).await?;
    }
    Ok(())
}

/// Takes the contents in: each part that is asked for, once, and no other.
async fn take_in(
    platform: &Platform,
    mutation: &Mutation,
    mut parts: Parts,
) -> Result<BTreeMap<String, Taken>, PlatformError> {
    let wanted = mutation.parts();
    let mut taken = BTreeMap::new();
    let mut left = DATA_BYTES_MAX;
    while let Some((headers, content)) = parts.next().await.map_err(malformed)? {
        let disposition = headers.content_disposition.unwrap_or_default();
        let name = content_disposition::field(&disposition)
            .ok_or_else(|| PlatformError::bad_request("A part has no name."))?;
        if !wanted.contains(name.as_str()) || taken.contains_key(&name) {
            return Err(PlatformError::bad_request(format!(
                "The part {name:?} isn't asked for by the mutation, or comes twice."
            )));
        }
        let content = platform
            .blobs
            .write_content(&platform.settings.blobs_account, content, left)
            .await?;
        if content.length_bytes == 0 {
            return Err(PlatformError::bad_request(format!("The part {name:?} is empty.")));
        }
        left = left.saturating_sub(content.length_bytes);
        let part = Taken {
            content_type: headers.content_type,
            filename: content_disposition::filename(&disposition),
            content,
        };
        taken.insert(name, part);
    }
    match wanted.into_iter().find(|name| !taken.contains_key(*name)) {
        Some(missing) => Err(PlatformError::bad_request(format!(
            "The part {missing:?} is missing."
        ))),
        None => Ok(taken),
    }
}

async fn render(
    platform: &Platform,
    call: &Call,
    view: &View,
    instance: &Instance,
    created: &[String],
    replayed: bool,
) -> Result<Response<Body>, PlatformError> {
    let sees_deleted = call.caller()?.is_owner(&instance.org);
    let filled = platform.fill_elements(view, instance, sees_deleted).await?;
    let body = json!({
        "instance": call.links.instance(filled), "createdDataElementIds": created, "replayed": replayed,
    });
    let response = answer::json(StatusCode::OK, &body)?;
    Ok(answer::with_versions(response, Versions::of(instance)))
}
