//! Events of an instance.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde_json::json;
use uuid::Uuid;

use super::instance_path::{InstancePath, Unknown};
use super::process::refuse_known;
use crate::Platform;
use crate::error::PlatformError;
use crate::model::{InstanceEvent, Moment};
use crate::service::Call;
use crate::store::{Attempts, log};
use crate::wire::answer;

/// POST events. Its instance is the path's, whatever the body says.
pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let sent: InstanceEvent = answer::read_json(body).await?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform
            .find_permitted(&view, path, Unknown::Forbidden, caller, "read")
            .await?;
        let mut event = sent.clone();
        event.id = event
            .id
            .filter(|id| !id.is_nil())
            .or_else(|| Some(platform.random.uuid()));
        event.created = event
            .created
            .or_else(|| Some(Moment::stamped(platform.clock.now())));
        event.instance_id = Some(path.id());
        event
            .instance_owner_party_id
            .clone_from(&stored.value.instance_owner.party_id);
        refuse_known(platform, &view, path, &event).await?;
        let mut tx = Transaction::new();
        platform
            .stage_event(&mut tx, &view, &stored.value, &event)
            .await?;
        // Whoever removes the instance with its events must not leave this one behind.
        tx.require_present(crate::store::keys::instance(&path.guid));
        log(&mut tx, "postEvent", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            return answer::json(StatusCode::CREATED, &event);
        }
    }
}

/// GET events, by type and time.
pub(crate) async fn list(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    platform
        .find_permitted(&view, path, Unknown::Forbidden, call.caller()?, "read")
        .await?;
    let time = |name: &str| match call.query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => Moment::parse(text)
            .map(Some)
            .ok_or_else(|| PlatformError::bad_request(format!("{name} must be a date and time."))),
    };
    let span = match (time("from")?, time("to")?) {
        (Some(from), Some(to)) => Some((from, to)),
        (None, None) => None,
        _ => return Err(PlatformError::bad_request("from and to come together.")),
    };
    let kinds: Vec<&str> = call
        .query
        .all("eventTypes")
        .into_iter()
        .flat_map(|kinds| kinds.split(','))
        .collect();
    let mut events = platform.stored_events(&view, &path.id()).await?;
    events.retain(|event| {
        let kind = event.value.event_type.as_deref().unwrap_or_default();
        let wanted = kinds.is_empty() || kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind));
        let created = event.value.created;
        wanted && span.is_none_or(|(from, to)| created.is_some_and(|at| from <= at && at <= to))
    });
    let events: Vec<InstanceEvent> = events.into_iter().map(|event| event.value).collect();
    answer::json(StatusCode::OK, &json!({ "instanceEvents": events }))
}

/// GET events/{id}.
pub(crate) async fn get(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    id: &str,
) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    platform
        .find_permitted(&view, path, Unknown::Forbidden, call.caller()?, "read")
        .await?;
    let unknown = || PlatformError::not_found(format!("The instance has no event {id}."));
    let guid = Uuid::parse_str(id).map_err(|_| unknown())?;
    let event = platform
        .stored_event(&view, &path.id(), &guid)
        .await?
        .ok_or_else(unknown)?;
    answer::json(StatusCode::OK, &event)
}
