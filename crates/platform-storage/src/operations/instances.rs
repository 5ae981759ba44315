//! Instances: read, create, delete, undelete.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use super::instance_path::{InstancePath, Unknown};
use super::process;
use crate::Platform;
use crate::decision::Resource;
use crate::error::PlatformError;
use crate::model::event::kind;
use crate::model::{Instance, Moment};
use crate::rules::names::AppId;
use crate::rules::versions::{self, Versions};
use crate::service::Call;
use crate::store::{Attempts, Stored, View, log};
use crate::wire::answer;

/// The answer with an instance as the caller sees it.
pub(crate) async fn render(
    platform: &Platform,
    call: &Call,
    view: &View,
    instance: &Instance,
    status: StatusCode,
) -> Result<Response<Body>, PlatformError> {
    let sees_deleted = call.caller()?.is_owner(&instance.org);
    let filled = platform.fill_elements(view, instance, sees_deleted).await?;
    let response = answer::json(status, &call.links.instance(filled))?;
    Ok(answer::with_versions(response, Versions::of(instance)))
}

pub(crate) async fn get(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::NotFound, call.caller()?, "read")
        .await?;
    render(platform, call, &view, &stored.value, StatusCode::OK).await
}

/// GET by the guid alone.
pub(crate) async fn get_by_guid(
    platform: &Platform,
    call: &Call,
    guid: &str,
) -> Result<Response<Body>, PlatformError> {
    let unknown = || PlatformError::not_found(format!("There is no instance {guid}."));
    let guid = uuid::Uuid::parse_str(guid).map_err(|_| unknown())?;
    let view = platform.view().await?;
    let party = platform.party_of(&view, &guid).await?.ok_or_else(unknown)?;
    let path = InstancePath { party, guid };
    let stored = platform
        .find_permitted(&view, &path, Unknown::NotFound, call.caller()?, "read")
        .await?;
    render(platform, call, &view, &stored.value, StatusCode::OK).await
}

pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let sent: Instance = answer::read_json(body).await?;
    let app_id = match call.query.get("appId") {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => sent.app_id.clone(),
    };
    let party = sent.party().to_owned();
    if party.parse::<i32>().is_err() {
        return Err(PlatformError::bad_request(
            "instanceOwner.partyId must be a party's number.",
        ));
    }
    if let Some(process) = &sent.process {
        process::check_status(process)?;
    }
    if versions::is_processing(&sent) {
        return Err(PlatformError::bad_request(
            "A new instance's process can't be processing: nobody drives it yet.",
        ));
    }
    let view = platform.view().await?;
    let no_app = || PlatformError::not_found(format!("There is no application {app_id}."));
    let app = AppId::parse(&app_id).ok_or_else(no_app)?;
    platform
        .application_of(&view, &app_id)
        .await?
        .ok_or_else(no_app)?;
    platform
        .require(
            caller,
            "instantiate",
            &Resource::app(&app.org, &app.app, Some(&party)),
        )
        .await?;
    let who = caller.performed_by();
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let now = Moment::stamped(platform.clock.now());
        let instance = Instance {
            id: platform.random.uuid().to_string(),
            instance_owner: sent.instance_owner.clone(),
            app_id: app_id.clone(),
            org: app.org.clone(),
            due_before: sent.due_before,
            visible_after: Some(sent.visible_after.unwrap_or(now)),
            process: sent.process.clone(),
            status: sent.status.clone(),
            data_values: sent.data_values.clone(),
            created: Some(now),
            created_by: Some(who.clone()),
            last_changed: Some(now),
            last_changed_by: Some(who.clone()),
            ..Instance::default()
        };
        let mut tx = Transaction::new();
        platform
            .stage_instance_creation(&mut tx, &view, &instance)
            .await?;
        let event = platform.event(kind::CREATED, &instance, None, caller);
        platform.stage_event(&mut tx, &view, &instance, &event).await?;
        log(
            &mut tx,
            "createInstance",
            &format!("{party}/{}", instance.id),
            caller,
        );
        if platform.commit(tx, &mut attempts).await? {
            let versions = Versions::of(&instance);
            let made = call.links.instance(Instance {
                data: Some(Vec::new()),
                ..instance
            });
            let location = made.self_links.as_ref().and_then(|links| links.platform.clone());
            let response = answer::json(StatusCode::CREATED, &made)?;
            let response = answer::with_versions(response, versions);
            return Ok(answer::with_location(response, location.as_ref()));
        }
    }
}

/// DELETE: soft, or hard. Also for instances that are deleted already.
pub(crate) async fn delete(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let hard = call.boolean("hard")?.unwrap_or(false);
    let caller = call.caller()?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform
            .find_permitted(&view, path, Unknown::Forbidden, caller, "delete")
            .await?;
        call.guard_write(&stored.value)?;
        let now = Moment::stamped(platform.clock.now());
        check_retention(platform, &view, &stored.value, now).await?;
        let mut instance = stored.value.clone();
        let status = &mut instance.status;
        status.is_soft_deleted = true;
        status.soft_deleted = status.soft_deleted.or(Some(now));
        if hard {
            status.is_hard_deleted = true;
            status.hard_deleted = status.hard_deleted.or(Some(now));
        }
        if change(
            platform,
            call,
            &view,
            &stored,
            &mut instance,
            kind::DELETED,
            "deleteInstance",
            &mut attempts,
        )
        .await?
        {
            return render(platform, call, &view, &instance, StatusCode::OK).await;
        }
    }
}

/// An app may keep what is archived for some days.
pub(super) async fn check_retention(
    platform: &Platform,
    view: &View,
    instance: &Instance,
    now: Moment,
) -> Result<(), PlatformError> {
    let app = platform.application_of(view, &instance.app_id).await?;
    let days = app.and_then(|app| app.prevent_instance_deletion_for_days);
    match (days, instance.status.archived) {
        (Some(days), Some(archived)) if now < archived.plus_days(days) => {
            Err(PlatformError::Forbidden(format!(
                "The instance can be deleted from {} on: the application keeps it for {days} days.",
                archived.plus_days(days)
            )))
        }
        _ => Ok(()),
    }
}

/// PUT /sbl/../undelete. What is hard-deleted can't come back.
pub(crate) async fn undelete(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform
            .find_permitted(&view, path, Unknown::Forbidden, caller, "delete")
            .await?;
        if stored.value.status.is_hard_deleted {
            return Err(PlatformError::not_found("The instance is deleted for good."));
        }
        if !stored.value.status.is_soft_deleted {
            return answer::json(StatusCode::OK, &true);
        }
        call.guard_write(&stored.value)?;
        let mut instance = stored.value.clone();
        instance.status.is_soft_deleted = false;
        instance.status.soft_deleted = None;
        if change(
            platform,
            call,
            &view,
            &stored,
            &mut instance,
            kind::UNDELETED,
            "undeleteInstance",
            &mut attempts,
        )
        .await?
        {
            return answer::json(StatusCode::OK, &true);
        }
    }
}

/// DELETE /sbl/..: as [`delete`], answered with `true`.
pub(crate) async fn delete_from_box(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    delete(platform, call, path).await?;
    answer::json(StatusCode::OK, &true)
}

/// Stamps and commits a changed instance with an event; false if others were quicker.
#[allow(
    clippy::too_many_arguments,
    reason = "what a change is made of, named at each call"
)]
pub(crate) async fn change(
    platform: &Platform,
    call: &Call,
    view: &View,
    before: &Stored<Instance>,
    instance: &mut Instance,
    event: &str,
    operation: &str,
    attempts: &mut Attempts,
) -> Result<bool, PlatformError> {
    let caller = call.caller()?;
    instance.touch(platform.clock.now(), &caller.performed_by());
    let mut tx = Transaction::new();
    platform.stage_instance(&mut tx, view, before, instance).await?;
    let event = platform.event(event, instance, None, caller);
    platform.stage_event(&mut tx, view, instance, &event).await?;
    log(
        &mut tx,
        operation,
        event.instance_id.as_deref().unwrap_or_default(),
        caller,
    );
    platform.commit(tx, attempts).await
}
