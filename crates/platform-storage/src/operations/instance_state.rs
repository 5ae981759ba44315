//! What is said of an instance: complete, read status, substatus, presentation texts, data values.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde::Deserialize;

use super::instance_path::{InstancePath, Unknown};
use super::instances::{change, render};
use crate::Platform;
use crate::auth::SCOPE_SYNC_ADAPTER;
use crate::error::PlatformError;
use crate::limits::TEXTS_MAX;
use crate::model::event::kind;
use crate::model::{CompleteConfirmation, Instance, Moment, ReadStatus, Substatus};
use crate::rules::{process_actions, texts};
use crate::service::Call;
use crate::store::{Attempts, log};
use crate::wire::answer;

/// POST complete: the owner has taken what it needs. Repeating it changes nothing.
pub(crate) async fn complete(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform
            .find_permitted(&view, path, Unknown::Forbidden, caller, "complete")
            .await?;
        let Some(org) = &caller.org else {
            return Err(PlatformError::forbidden(
                "Only an org confirms that an instance is complete.",
            ));
        };
        let mut instance = stored.value.clone();
        if instance.confirmed_by(org).is_some() {
            return render(platform, call, &view, &instance, StatusCode::OK).await;
        }
        call.guard_write(&stored.value)?;
        instance
            .complete_confirmations
            .get_or_insert_default()
            .push(CompleteConfirmation {
                stakeholder_id: org.clone(),
                confirmed_on: Some(Moment::stamped(platform.clock.now())),
            });
        if change(
            platform,
            call,
            &view,
            &stored,
            &mut instance,
            kind::CONFIRMED_COMPLETE,
            "complete",
            &mut attempts,
        )
        .await?
        {
            return render(platform, call, &view, &instance, StatusCode::OK).await;
        }
    }
}

/// PUT readstatus: not a change of the instance, so its stamp stays.
pub(crate) async fn read_status(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform
            .find_permitted(&view, path, Unknown::Forbidden, caller, "read")
            .await?;
        call.require_versions(&stored.value)?;
        let wanted = call.query.get("status").unwrap_or_default();
        let wanted = ReadStatus::parse(wanted).ok_or_else(|| {
            PlatformError::bad_request("status must be Unread, Read or UpdatedSinceLastReview.")
        })?;
        let mut instance = stored.value.clone();
        instance.status.read_status = wanted;
        let mut tx = Transaction::new();
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        log(&mut tx, "readStatus", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            return render(platform, call, &view, &instance, StatusCode::OK).await;
        }
    }
}

/// PUT substatus: the owner's word.
pub(crate) async fn substatus(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let substatus: Substatus = answer::read_json(body).await?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        if !call.caller()?.is_owner(&stored.value.org) {
            return Err(PlatformError::forbidden("Only the owner sets the substatus."));
        }
        if substatus.label.as_deref().is_none_or(str::is_empty) {
            return Err(PlatformError::bad_request("label is required."));
        }
        call.guard_write(&stored.value)?;
        let mut instance = stored.value.clone();
        instance.status.substatus = Some(substatus.clone());
        if change(
            platform,
            call,
            &view,
            &stored,
            &mut instance,
            kind::SUBSTATUS_UPDATED,
            "substatus",
            &mut attempts,
        )
        .await?
        {
            return render(platform, call, &view, &instance, StatusCode::OK).await;
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PresentationTexts {
    texts: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DataValues {
    values: Option<BTreeMap<String, Option<String>>>,
}

pub(crate) async fn presentation_texts(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let sent: PresentationTexts = answer::read_json(body).await?;
    let changes = sent
        .texts
        .ok_or_else(|| PlatformError::bad_request("texts is required."))?;
    merge(
        platform,
        call,
        path,
        &changes,
        |instance| &mut instance.presentation_texts,
        "presentationTexts",
    )
    .await
}

pub(crate) async fn data_values(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let sent: DataValues = answer::read_json(body).await?;
    let changes = sent
        .values
        .ok_or_else(|| PlatformError::bad_request("values is required."))?;
    merge(
        platform,
        call,
        path,
        &changes,
        |instance| &mut instance.data_values,
        "dataValues",
    )
    .await
}

async fn merge(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    changes: &BTreeMap<String, Option<String>>,
    of: fn(&mut Instance) -> &mut Option<crate::model::Texts>,
    operation: &str,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        if operation != "dataValues" || !caller.has_scope(SCOPE_SYNC_ADAPTER) {
            let question = process_actions::for_task(&stored.value);
            platform.require_any(caller, &question, &stored.value).await?;
        }
        let mut instance = stored.value.clone();
        // Data values are also written by those who don't take part in the process, and count as no change.
        if operation == "dataValues" {
            call.require_versions(&stored.value)?;
        } else {
            call.guard_write(&stored.value)?;
            instance.count_change();
        }
        if !texts::merge(of(&mut instance), changes.clone()) {
            return Err(PlatformError::bad_request(format!(
                "At most {TEXTS_MAX} entries are kept."
            )));
        }
        let mut tx = Transaction::new();
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        log(&mut tx, operation, &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            return render(platform, call, &view, &instance, StatusCode::OK).await;
        }
    }
}
