//! Studio's view of an app's instances: thin lists and items without what people have filled in.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::applications::app_id;
use super::instances::check_retention;
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::STUDIO_SIZE_DEFAULT;
use crate::model::event::kind;
use crate::model::{DataElement, FileScanResult, Instance, Moment, PlatformUser, ReadStatus};
use crate::rules::list_query::ListQuery;
use crate::rules::names::AppId;
use crate::service::Call;
use crate::store::{Attempts, Candidates, Stored, View, log};
use crate::wire::answer;

/// Why Studio's deletions are in an instance's events.
const DELETED_BY_STUDIO: &str = "Deleted by the app's owner in Altinn Studio.";

/// An instance as Studio sees it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinInstance<'a> {
    id: String,
    org: &'a str,
    app: &'a str,
    is_read: bool,
    current_task_id: Option<&'a str>,
    current_task_name: Option<&'a str>,
    completed_at: Option<Moment>,
    archived_at: Option<Moment>,
    soft_deleted_at: Option<Moment>,
    hard_deleted_at: Option<Moment>,
    confirmed_at: Option<Moment>,
    created_at: Option<Moment>,
    last_changed_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Vec<ThinElement<'a>>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ThinElement<'a> {
    id: &'a str,
    data_type: &'a str,
    content_type: Option<&'a str>,
    size: i64,
    locked: bool,
    is_read: bool,
    file_scan_result: FileScanResult,
    hard_deleted_at: Option<Moment>,
    created_at: Option<Moment>,
    last_changed_at: Option<Moment>,
}

impl<'a> ThinInstance<'a> {
    fn new(instance: &'a Instance, data: Option<Vec<ThinElement<'a>>>) -> Self {
        let (status, task) = (&instance.status, instance.current_task());
        Self {
            id: instance.guid().map(|guid| guid.to_string()).unwrap_or_default(),
            org: &instance.org,
            app: instance.app(),
            is_read: status.read_status != ReadStatus::Unread,
            current_task_id: task.and_then(|task| task.element_id.as_deref()),
            current_task_name: task.and_then(|task| task.name.as_deref()),
            completed_at: instance.process.as_ref().and_then(|process| process.ended),
            archived_at: status.archived,
            soft_deleted_at: status.soft_deleted,
            hard_deleted_at: status.hard_deleted,
            confirmed_at: instance
                .complete_confirmations
                .iter()
                .flatten()
                .filter_map(|confirmation| confirmation.confirmed_on)
                .min(),
            created_at: instance.created,
            last_changed_at: instance.last_changed,
            data,
        }
    }
}

fn thin(element: &DataElement) -> ThinElement<'_> {
    ThinElement {
        id: &element.id,
        data_type: &element.data_type,
        content_type: element.content_type.as_deref(),
        size: element.size,
        locked: element.locked,
        is_read: element.is_read,
        file_scan_result: element.file_scan_result,
        hard_deleted_at: element
            .delete_status
            .as_ref()
            .and_then(|status| status.hard_deleted),
        created_at: element.created,
        last_changed_at: element.last_changed,
    }
}

/// GET /studio/instances/{org}/{app}: by last change, `next` the bare token of the next page.
pub(crate) async fn list(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    let app = app_id(org, app)?;
    let mut query = ListQuery::parse(&call.query).map_err(PlatformError::BadRequest)?;
    if call.query.get("size").is_none_or(str::is_empty) {
        query.size = STUDIO_SIZE_DEFAULT;
    }
    query.org = None;
    query.app_id = Some(app.to_string());
    // Studio sees no more than metadata, so it can't ask who has what filled in: the answers would tell.
    query.party = None;
    query.search = None;
    query.archive_reference = None;
    let reference = call.query.get("archiveReference").map(str::to_lowercase);
    query.reference = reference.filter(|text| !text.is_empty()).or(query.reference);
    let view = platform.view().await?;
    let lists = Candidates::of_org(&app.org, &query);
    let page = platform.list_page(&view, &lists, &query).await?;
    let next = page.next.map(|at| crate::wire::query::encode(&at.write()));
    let instances: Vec<ThinInstance<'_>> = page
        .instances
        .iter()
        .map(|instance| ThinInstance::new(instance, None))
        .collect();
    let body = json!({"count": instances.len(), "self": null, "next": next, "instances": instances});
    answer::json(StatusCode::OK, &body)
}

/// The app's instance of that guid; 404 if there is none.
async fn find(
    platform: &Platform,
    view: &View,
    app: &AppId,
    guid: &str,
) -> Result<Stored<Instance>, PlatformError> {
    let unknown = || PlatformError::not_found(format!("{app} has no instance {guid}."));
    let guid = Uuid::parse_str(guid).map_err(|_| unknown())?;
    let party = platform.party_of(view, &guid).await?.ok_or_else(unknown)?;
    let stored = platform.stored_instance(view, &party, &guid).await?;
    stored
        .filter(|stored| stored.value.app_id == app.to_string())
        .ok_or_else(unknown)
}

/// GET /studio/instances/{org}/{app}/{guid}.
pub(crate) async fn get(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
    guid: &str,
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    let app = app_id(org, app)?;
    let view = platform.view().await?;
    let stored = find(platform, &view, &app, guid).await?;
    let filled = platform.fill_elements(&view, &stored.value, true).await?;
    let data = filled.data.iter().flatten().map(thin).collect();
    answer::json(StatusCode::OK, &ThinInstance::new(&stored.value, Some(data)))
}

/// DELETE /studio/instances/{org}/{app}/{guid}: into the bin. Repeating it changes nothing.
pub(crate) async fn delete(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
    guid: &str,
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    let app = app_id(org, app)?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = find(platform, &view, &app, guid).await?;
        let now = Moment::stamped(platform.clock.now());
        check_retention(platform, &view, &stored.value, now).await?;
        if stored.value.status.is_soft_deleted {
            return Ok(answer::empty(StatusCode::NO_CONTENT));
        }
        call.guard_write(&stored.value)?;
        let mut instance = stored.value.clone();
        instance.status.is_soft_deleted = true;
        instance.status.soft_deleted = Some(now);
        // Studio's tokens name no person, and Studio acts for the owner.
        instance.touch(platform.clock.now(), &app.org);
        let mut tx = Transaction::new();
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        let mut event = platform.event(kind::DELETED, &instance, None, &Caller::default());
        event.user = Some(PlatformUser {
            org_id: Some(app.org.clone()),
            ..PlatformUser::default()
        });
        event.additional_info = Some(DELETED_BY_STUDIO.to_owned());
        platform.stage_event(&mut tx, &view, &instance, &event).await?;
        let subject = event.instance_id.clone().unwrap_or_default();
        log(&mut tx, "deleteInstanceInStudio", &subject, call.caller()?);
        if platform.commit(tx, &mut attempts).await? {
            return Ok(answer::empty(StatusCode::NO_CONTENT));
        }
    }
}
