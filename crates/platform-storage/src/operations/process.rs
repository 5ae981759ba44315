//! The process of an instance: where it stands, how it goes on, what it was.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde::Deserialize;
use serde_json::json;

use super::instance_path::{InstancePath, Unknown};
use super::instances::render;
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::EVENTS_PER_CHANGE_MAX;
use crate::model::event::kind;
use crate::model::{Instance, InstanceEvent, Moment, ProcessState};
use crate::rules::{history, process_actions, versions};
use crate::service::Call;
use crate::store::{Attempts, Stored, View, log};
use crate::wire::answer;

/// The type of a task whose entering is an event of its own.
const SIGNING: &str = "signing";

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StateAndEvents {
    state: Option<ProcessState>,
    events: Option<Vec<InstanceEvent>>,
}

/// PUT process.
pub(crate) async fn put(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let state: ProcessState = answer::read_json(body).await?;
    go_on(platform, call, path, &state, Vec::new(), false).await
}

/// PUT process/instanceandevents: the state and its events, one commit.
pub(crate) async fn put_with_events(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let sent: StateAndEvents = answer::read_json(body).await?;
    let state = sent
        .state
        .ok_or_else(|| PlatformError::bad_request("state is required."))?;
    let events = sent.events.unwrap_or_default();
    if events.len() > EVENTS_PER_CHANGE_MAX {
        return Err(PlatformError::bad_request(format!(
            "At most {EVENTS_PER_CHANGE_MAX} events are taken at once."
        )));
    }
    let removes_generated = call.boolean("deleteGeneratedElements")?.unwrap_or(true);
    go_on(platform, call, path, &state, events, removes_generated).await
}

async fn go_on(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    state: &ProcessState,
    mut events: Vec<InstanceEvent>,
    removes_generated: bool,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    check_status(state)?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        let question = process_actions::for_next(&stored.value, state).ok_or_else(|| {
            PlatformError::forbidden("The instance is in no task, so its process can't go on.")
        })?;
        platform.require_any(caller, &question, &stored.value).await?;
        call.guard_write(&stored.value)?;
        for event in &mut events {
            check(platform, event, path)?;
        }
        let mut instance = stored.value.clone();
        apply(&mut instance, state);
        instance.touch(platform.clock.now(), &caller.performed_by());
        instance.count_process_change();
        let mut tx = Transaction::new();
        if removes_generated {
            remove_generated(platform, &mut tx, &view, &stored, state).await?;
        }
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        for event in &events {
            refuse_known(platform, &view, path, event).await?;
            platform.stage_event(&mut tx, &view, &instance, event).await?;
        }
        if enters_signing(state) {
            let event = platform.event(kind::SENT_TO_SIGN, &instance, None, caller);
            platform.stage_event(&mut tx, &view, &instance, &event).await?;
        }
        log(&mut tx, "process", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            // What was removed with it must not be in the answer: a new view.
            let view = platform.view().await?;
            return render(platform, call, &view, &instance, StatusCode::OK).await;
        }
    }
}

/// Refuses a state whose status is none (400): whoever reads it would wait for what never comes.
pub(super) fn check_status(state: &ProcessState) -> Result<(), PlatformError> {
    match state.status.as_deref() {
        Some(status) if !versions::is_status(status) => Err(PlatformError::bad_request(format!(
            "{status:?} is no status of a process; there are idle and processing."
        ))),
        _ => Ok(()),
    }
}

/// The instance behind the change. The first end of its process archives it.
pub(super) fn apply(instance: &mut Instance, state: &ProcessState) {
    instance.process = Some(state.clone());
    if let Some(ended) = state.ended
        && !instance.status.is_archived
    {
        instance.status.is_archived = true;
        instance.status.archived = Some(ended);
    }
}

/// Whether a state is that of a task that is signed.
pub(super) fn enters_signing(state: &ProcessState) -> bool {
    let task = state.current_task.as_ref();
    task.is_some_and(|task| task.altinn_task_type.as_deref() == Some(SIGNING))
}

/// An event that comes with a change must say who did it, and be about this instance. What it
/// leaves out is filled in.
pub(super) fn check(
    platform: &Platform,
    event: &mut InstanceEvent,
    path: &InstancePath,
) -> Result<(), PlatformError> {
    if !event
        .user
        .as_ref()
        .is_some_and(crate::model::PlatformUser::is_somebody)
    {
        return Err(PlatformError::bad_request(
            "Each event needs a user: userId, orgId, or systemUserId with its owner's number.",
        ));
    }
    if event.instance_id.as_deref() != Some(path.id().as_str()) {
        return Err(PlatformError::bad_request(format!(
            "Each event's instanceId must be {}.",
            path.id()
        )));
    }
    event.id = event
        .id
        .filter(|id| !id.is_nil())
        .or_else(|| Some(platform.random.uuid()));
    event.created = event
        .created
        .or_else(|| Some(Moment::stamped(platform.clock.now())));
    if event.instance_owner_party_id.is_none() {
        event.instance_owner_party_id = Some(path.party.clone());
    }
    Ok(())
}

/// An event that is there already isn't written twice, nor over.
pub(crate) async fn refuse_known(
    platform: &Platform,
    view: &View,
    path: &InstancePath,
    event: &InstanceEvent,
) -> Result<(), PlatformError> {
    let id = event.id.unwrap_or_default();
    match platform.stored_event(view, &path.id(), &id).await? {
        Some(_) => Err(PlatformError::Conflict(format!(
            "The instance has an event {id} already."
        ))),
        None => Ok(()),
    }
}

/// Elements that were generated from the task that is entered anew go.
async fn remove_generated(
    platform: &Platform,
    tx: &mut Transaction,
    view: &View,
    stored: &Stored<Instance>,
    state: &ProcessState,
) -> Result<(), PlatformError> {
    let entered = state
        .current_task
        .as_ref()
        .and_then(|task| task.element_id.as_deref());
    let (Some(task), Some(guid)) = (entered, stored.value.guid()) else {
        return Ok(());
    };
    for element in platform.stored_elements(view, &guid).await? {
        if element.value.is_generated_from(task) {
            platform
                .stage_element_removal(tx, view, &stored.value, &element)
                .await?;
        }
    }
    Ok(())
}

/// GET process/history.
pub(crate) async fn get_history(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    platform
        .find_permitted(&view, path, Unknown::Forbidden, call.caller()?, "read")
        .await?;
    let events = platform.stored_events(&view, &path.id()).await?;
    let events: Vec<InstanceEvent> = events.into_iter().map(|event| event.value).collect();
    answer::json(
        StatusCode::OK,
        &json!({ "processHistory": history::fold(&events) }),
    )
}

/// GET process/authinfo, on the internal listener.
pub(crate) async fn authinfo(
    platform: &Platform,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    let stored = platform.find(&view, path, Unknown::NotFound).await?;
    let info = json!({"appId": stored.value.app_id, "process": stored.value.process});
    answer::json(StatusCode::OK, &info)
}
