//! Data elements without their content: listing, changing, locking.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde_json::json;

use super::data::{element_of, render};
use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::error::PlatformError;
use crate::model::{DataElement, Moment};
use crate::rules::process_actions::{self, Question};
use crate::rules::versions::Versions;
use crate::service::Call;
use crate::store::{Attempts, log};
use crate::wire::answer;

/// GET dataelements.
pub(crate) async fn list(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::NotFound, caller, "read")
        .await?;
    let sees_deleted = caller.is_owner(&stored.value.org);
    let filled = platform.fill_elements(&view, &stored.value, sees_deleted).await?;
    let elements = call.links.instance(filled).data.unwrap_or_default();
    let response = answer::json(StatusCode::OK, &json!({ "dataElements": elements }))?;
    Ok(answer::with_versions(response, Versions::of(&stored.value)))
}

/// PUT dataelements/{id}: what may be changed of it without its content.
pub(crate) async fn put(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    id: &str,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let sent: DataElement = answer::read_json(body).await?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform
            .find_permitted(&view, path, Unknown::Forbidden, caller, "write")
            .await?;
        let same = |text: &str, guid: &str| text.eq_ignore_ascii_case(guid);
        if !same(&sent.id, id) || !same(&sent.instance_guid, &path.guid.to_string()) {
            return Err(PlatformError::bad_request(
                "The body's id and instanceGuid must be those of the path.",
            ));
        }
        let before = element_of(platform, &view, path, id).await?;
        let app = platform.application_of(&view, &stored.value.app_id).await?;
        // By the data type that the element has, not by the one that the body claims.
        let action = app.as_ref().and_then(|app| {
            app.data_type(&before.value.data_type)?
                .action_required_to_write
                .as_deref()
        });
        platform.require_asked(caller, action, &stored.value).await?;
        call.guard_write(&stored.value)?;
        let now = Moment::after(platform.clock.now(), before.value.last_changed);
        let element = DataElement {
            locked: sent.locked,
            refs: sent.refs.clone(),
            references: sent.references.clone(),
            tags: sent.tags.clone(),
            user_defined_metadata: sent.user_defined_metadata.clone(),
            metadata: sent.metadata.clone(),
            delete_status: sent.delete_status.clone(),
            last_changed: sent.last_changed.or(Some(now)),
            last_changed_by: sent
                .last_changed_by
                .clone()
                .or_else(|| Some(caller.performed_by())),
            ..before.value.clone()
        };
        let mut instance = stored.value.clone();
        instance.count_change();
        let mut tx = Transaction::new();
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        platform
            .stage_element(&mut tx, &view, &instance, &before, &element)
            .await?;
        log(
            &mut tx,
            "putDataElement",
            &format!("{}/data/{id}", path.id()),
            caller,
        );
        if platform.commit(tx, &mut attempts).await? {
            return render(call, &instance, element, StatusCode::OK);
        }
    }
}

/// PUT and DELETE data/{id}/lock.
pub(crate) async fn lock(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    id: &str,
    locked: bool,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        let question = if locked {
            process_actions::for_task(&stored.value)
        } else {
            Question {
                actions: ["write", "unlock", "reject"].map(str::to_owned).to_vec(),
                task: None,
            }
        };
        platform.require_any(caller, &question, &stored.value).await?;
        call.guard_write(&stored.value)?;
        let before = element_of(platform, &view, path, id).await?;
        if before.value.locked == locked {
            return render(call, &stored.value, before.value, StatusCode::OK);
        }
        let element = DataElement {
            locked,
            ..before.value.clone()
        };
        let mut tx = Transaction::new();
        // No change of the instance, but what was decided by it must hold when the lock does.
        platform
            .stage_instance(&mut tx, &view, &stored, &stored.value)
            .await?;
        platform
            .stage_element(&mut tx, &view, &stored.value, &before, &element)
            .await?;
        let operation = if locked { "lockData" } else { "unlockData" };
        log(&mut tx, operation, &format!("{}/data/{id}", path.id()), caller);
        if platform.commit(tx, &mut attempts).await? {
            let status = if locked {
                StatusCode::CREATED
            } else {
                StatusCode::OK
            };
            return render(call, &stored.value, element, status);
        }
    }
}
