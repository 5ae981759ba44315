//! Data: an element's content comes, is replaced, goes.
//!
//! Invariant: content is taken in before anything is decided by the store's state, and refers to
//! nothing until the one commit that writes element, blob, instance and event. A body that breaks
//! off, is empty or is refused changes nothing.

use blobs::StagedContent;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use uuid::Uuid;

use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::auth::Caller;
use crate::decision::Resource;
use crate::error::PlatformError;
use crate::limits::{DATA_BYTES_MAX, REPEATED_PARAMETERS_MAX};
use crate::model::event::kind;
use crate::model::{DataElement, DataType, DeleteStatus, FileScanResult, Instance, Moment, Reference};
use crate::rules::read_status::{self, Change};
use crate::rules::versions::Versions;
use crate::rules::{content_disposition, content_version, multipart, names};
use crate::service::Call;
use crate::store::{Attempts, Stored, View, log};
use crate::wire::answer;

/// What came with the content.
struct Upload {
    content_type: Option<String>,
    filename: Option<String>,
    content: StagedContent,
}

/// Takes the content in: the body, or the first part of a multipart body.
async fn take_in(platform: &Platform, headers: &HeaderMap, body: Body) -> Result<Upload, PlatformError> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let boundary = content_type.as_deref().and_then(multipart::boundary);
    let (content_type, disposition, body) = match boundary {
        Some(boundary) => {
            let (part, body) = multipart::first_part(body, &boundary)
                .await
                .map_err(|error| PlatformError::bad_request(format!("{error}.")))?;
            (part.content_type, part.content_disposition, body)
        }
        None => {
            let disposition = headers.get(CONTENT_DISPOSITION);
            (
                content_type,
                disposition.map(|value| value.as_bytes().to_vec()),
                body,
            )
        }
    };
    let content = platform
        .blobs
        .write_content(&platform.settings.blobs_account, body, DATA_BYTES_MAX)
        .await?;
    Ok(Upload {
        content_type,
        filename: disposition.and_then(|value| content_disposition::filename(&value)),
        content,
    })
}

/// The query's `refs`: guids, repeated or with commas.
fn refs(call: &Call) -> Result<Option<Vec<Uuid>>, PlatformError> {
    let mut refs = Vec::new();
    for text in call
        .query
        .all("refs")
        .into_iter()
        .flat_map(|text| text.split(','))
    {
        let guid = Uuid::parse_str(text.trim())
            .map_err(|_| PlatformError::bad_request("refs must be the guids of data elements."))?;
        refs.push(guid);
    }
    if refs.len() > REPEATED_PARAMETERS_MAX {
        return Err(PlatformError::bad_request(format!(
            "At most {REPEATED_PARAMETERS_MAX} refs are taken."
        )));
    }
    Ok((!refs.is_empty()).then_some(refs))
}

fn references(call: &Call) -> Option<Vec<Reference>> {
    let task = call
        .query
        .get("generatedFromTask")
        .filter(|task| !task.is_empty())?;
    Some(vec![Reference::generated_from_task(task)])
}

/// The app of an instance and its data type `id`.
pub(super) async fn data_type(
    platform: &Platform,
    view: &View,
    instance: &Instance,
    id: &str,
) -> Result<DataType, PlatformError> {
    let app = platform.application_of(view, &instance.app_id).await?;
    let app =
        app.ok_or_else(|| PlatformError::not_found(format!("There is no application {}.", instance.app_id)))?;
    app.data_type(id).cloned().ok_or_else(|| {
        PlatformError::bad_request(format!(
            "The application {} has no data type {id:?}.",
            instance.app_id
        ))
    })
}

impl Platform {
    /// What is known of new content before it is scanned. Nobody waits for a scan that nobody makes.
    pub(super) fn scan_result(&self, data_type: &DataType) -> FileScanResult {
        if data_type.enable_file_scan && self.settings.scans {
            FileScanResult::Pending
        } else {
            FileScanResult::NotApplicable
        }
    }

    /// A name for new content.
    pub(crate) fn content_version(&self) -> String {
        content_version::new(self.clock.now(), self.random.as_ref())
    }
}

/// Refuses the caller (403) unless it may write content of a data type to an instance as it is: what was permitted
/// before the content came needn't be of what others have made of the instance since.
async fn require_write(
    platform: &Platform,
    caller: &Caller,
    data_type: &DataType,
    instance: &Instance,
) -> Result<(), PlatformError> {
    platform
        .require(caller, "write", &Resource::instance(instance))
        .await?;
    let action = data_type.action_required_to_write.as_deref();
    platform.require_asked(caller, action, instance).await
}

/// Refuses a request (412) that demands other content than there is.
pub(super) fn require_content(demanded: Option<&str>, element: &DataElement) -> Result<(), PlatformError> {
    if demanded.is_none() || demanded == element.blob_version_id.as_deref() {
        return Ok(());
    }
    Err(PlatformError::PreconditionFailed(
        "The content isn't the one that If-Match names.".to_owned(),
    ))
}

pub(super) fn size(content: &StagedContent) -> i64 {
    i64::try_from(content.length_bytes).unwrap_or(i64::MAX)
}

/// POST data: a new element.
pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::Forbidden, caller, "write")
        .await?;
    call.guard_write(&stored.value)?;
    let wanted = match call.query.get("dataType") {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => return Err(PlatformError::bad_request("dataType is required.")),
    };
    let data_type = data_type(platform, &view, &stored.value, &wanted).await?;
    platform
        .require_asked(
            caller,
            data_type.action_required_to_write.as_deref(),
            &stored.value,
        )
        .await?;
    let (refs, references) = (refs(call)?, references(call));
    let org = stored.value.org.clone();
    let mut decided_by = stored.etag.clone();
    drop((view, stored));
    let upload = take_in(platform, &call.headers, body).await?;
    if upload.content.length_bytes == 0 {
        return Err(PlatformError::bad_request("The content is empty."));
    }
    platform.ensure_content_container(&org).await?;
    let who = caller.performed_by();
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        if stored.etag != decided_by {
            require_write(platform, caller, &data_type, &stored.value).await?;
            decided_by.clone_from(&stored.etag);
        }
        call.guard_write(&stored.value)?;
        let is_owner = caller.is_owner(&stored.value.org);
        let mut instance = stored.value.clone();
        instance.touch(platform.clock.now(), &who);
        let id = platform.random.uuid().to_string();
        let element = DataElement {
            blob_storage_path: Some(names::blob(&instance.app_id, &path.guid.to_string(), &id)),
            id,
            instance_guid: path.guid.to_string(),
            data_type: wanted.clone(),
            filename: upload.filename.clone(),
            content_type: upload.content_type.clone(),
            size: size(&upload.content),
            refs: refs.clone(),
            references: references.clone(),
            is_read: !is_owner,
            file_scan_result: platform.scan_result(&data_type),
            blob_version_id: Some(platform.content_version()),
            created: instance.last_changed,
            created_by: Some(who.clone()),
            last_changed: instance.last_changed,
            last_changed_by: Some(who.clone()),
            ..DataElement::default()
        };
        if is_owner {
            read_status::apply(&mut instance, Change::OwnerAdded, &[]);
        }
        let mut tx = Transaction::new();
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        platform
            .stage_element_creation(&mut tx, &view, &instance, &element, &upload.content)
            .await?;
        let event = platform.event(kind::CREATED, &instance, Some(&element), caller);
        platform.stage_event(&mut tx, &view, &instance, &event).await?;
        log(
            &mut tx,
            "postData",
            &format!("{}/data/{}", path.id(), element.id),
            caller,
        );
        if platform.commit(tx, &mut attempts).await? {
            return render(call, &instance, element, StatusCode::CREATED);
        }
    }
}

/// The answer with an element.
pub(super) fn render(
    call: &Call,
    instance: &Instance,
    element: DataElement,
    status: StatusCode,
) -> Result<Response<Body>, PlatformError> {
    let element = call.links.element(instance, element);
    let location = element
        .self_links
        .as_ref()
        .and_then(|links| links.platform.clone());
    let response = answer::with_entity_tag(answer::json(status, &element)?, &element);
    let response = answer::with_versions(response, Versions::of(instance));
    Ok(answer::with_location(response, location.as_ref()))
}

/// The element of a path.
pub(super) async fn element_of(
    platform: &Platform,
    view: &View,
    path: &InstancePath,
    id: &str,
) -> Result<Stored<DataElement>, PlatformError> {
    let unknown = || PlatformError::not_found(format!("The instance has no data element {id}."));
    let guid = Uuid::parse_str(id).map_err(|_| unknown())?;
    platform
        .stored_element(view, &path.guid, &guid)
        .await?
        .ok_or_else(unknown)
}

pub(super) fn refuse_locked(element: &DataElement) -> Result<(), PlatformError> {
    if element.locked {
        return Err(PlatformError::Conflict("The data element is locked.".to_owned()));
    }
    Ok(())
}

/// PUT data/{id}: other content in the place of what is there.
pub(crate) async fn put(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    id: &str,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let demanded = content_version::demanded(&call.headers).map_err(PlatformError::BadRequest)?;
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::Forbidden, caller, "write")
        .await?;
    call.guard_write(&stored.value)?;
    let before = element_of(platform, &view, path, id).await?;
    refuse_locked(&before.value)?;
    require_content(demanded.as_deref(), &before.value)?;
    let data_type = data_type(platform, &view, &stored.value, &before.value.data_type).await?;
    platform
        .require_asked(
            caller,
            data_type.action_required_to_write.as_deref(),
            &stored.value,
        )
        .await?;
    let (refs, references) = (refs(call)?, references(call));
    let org = stored.value.org.clone();
    let mut decided_by = stored.etag.clone();
    drop((view, stored, before));
    let upload = take_in(platform, &call.headers, body).await?;
    if upload.content.length_bytes == 0 {
        return Err(PlatformError::Unprocessable(
            "The content is empty; what was there is kept.".to_owned(),
        ));
    }
    platform.ensure_content_container(&org).await?;
    let who = caller.performed_by();
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        if stored.etag != decided_by {
            require_write(platform, caller, &data_type, &stored.value).await?;
            decided_by.clone_from(&stored.etag);
        }
        call.guard_write(&stored.value)?;
        let before = element_of(platform, &view, path, id).await?;
        refuse_locked(&before.value)?;
        require_content(demanded.as_deref(), &before.value)?;
        let is_owner = caller.is_owner(&stored.value.org);
        let mut instance = stored.value.clone();
        instance.touch(platform.clock.now(), &who);
        let element = DataElement {
            filename: upload.filename.clone(),
            content_type: upload.content_type.clone(),
            size: size(&upload.content),
            refs: refs.clone(),
            references: references.clone(),
            is_read: !is_owner,
            file_scan_result: platform.scan_result(&data_type),
            blob_version_id: Some(platform.content_version()),
            content_replaced: true,
            last_changed: instance.last_changed,
            last_changed_by: Some(who.clone()),
            ..before.value.clone()
        };
        if is_owner {
            let left = elements_with(platform, &view, path, Some(&element), &element.id).await?;
            read_status::apply(&mut instance, Change::ReplacedOrDeleted, &left);
        }
        let mut tx = Transaction::new();
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        platform
            .stage_element(&mut tx, &view, &instance, &before, &element)
            .await?;
        platform
            .stage_content(&mut tx, &view, &instance, &element, &upload.content)
            .await?;
        let event = platform.event(kind::SAVED, &instance, Some(&element), caller);
        platform.stage_event(&mut tx, &view, &instance, &event).await?;
        log(&mut tx, "putData", &format!("{}/data/{id}", path.id()), caller);
        if platform.commit(tx, &mut attempts).await? {
            return render(call, &instance, element, StatusCode::OK);
        }
    }
}

/// The instance's elements as they will be: `changed` in the place of the one called `id`.
async fn elements_with(
    platform: &Platform,
    view: &View,
    path: &InstancePath,
    changed: Option<&DataElement>,
    id: &str,
) -> Result<Vec<DataElement>, PlatformError> {
    let elements = platform.stored_elements(view, &path.guid).await?;
    let others = elements
        .into_iter()
        .map(|element| element.value)
        .filter(|element| element.id != id);
    Ok(others.chain(changed.cloned()).collect())
}

/// DELETE data/{id}: at once, or marked for later.
pub(crate) async fn delete(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    id: &str,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let delay = call.boolean("delay")?.unwrap_or(false);
    let who = caller.performed_by();
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform
            .find_permitted(&view, path, Unknown::Forbidden, caller, "write")
            .await?;
        call.guard_write(&stored.value)?;
        let before = element_of(platform, &view, path, id).await?;
        let mut instance = stored.value.clone();
        instance.touch(platform.clock.now(), &who);
        let mut element = before.value.clone();
        let mut tx = Transaction::new();
        if delay {
            let app = platform.application_of(&view, &instance.app_id).await?;
            let data_type = app.as_ref().and_then(|app| app.data_type(&element.data_type));
            let allowed = data_type
                .and_then(|data_type| data_type.app_logic.as_ref())
                .is_some_and(|logic| logic.auto_delete_on_process_end);
            if !allowed {
                return Err(PlatformError::bad_request(format!(
                    "Only elements whose data type has autoDeleteOnProcessEnd are deleted with a delay; {:?} hasn't.",
                    element.data_type
                )));
            }
            element.delete_status = Some(DeleteStatus {
                is_hard_deleted: true,
                hard_deleted: Some(Moment::stamped(platform.clock.now())),
            });
            element.last_changed = instance.last_changed;
            element.last_changed_by = Some(who.clone());
            platform
                .stage_element(&mut tx, &view, &instance, &before, &element)
                .await?;
        } else {
            platform
                .stage_element_removal(&mut tx, &view, &instance, &before)
                .await?;
        }
        let changed = delay.then_some(&element);
        let left = elements_with(platform, &view, path, changed, &element.id).await?;
        read_status::apply(&mut instance, Change::ReplacedOrDeleted, &left);
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        let event = platform.event(kind::DELETED, &instance, Some(&element), caller);
        platform.stage_event(&mut tx, &view, &instance, &event).await?;
        log(&mut tx, "deleteData", &format!("{}/data/{id}", path.id()), caller);
        if platform.commit(tx, &mut attempts).await? {
            return render(call, &instance, element, StatusCode::OK);
        }
    }
}
