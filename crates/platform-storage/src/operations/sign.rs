//! POST sign: a signature over data elements, kept as a locked element of its own.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use sha2::{Digest as _, Sha256};

use super::data::element_of;
use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::decision::Resource;
use crate::error::PlatformError;
use crate::limits::{DATA_BYTES_MAX, ELEMENTS_PER_INSTANCE_MAX};
use crate::model::event::kind;
use crate::model::{
    DataElement, DataElementSignature, Instance, Moment, Reference, SignDocument, SignRequest, Signee,
};
use crate::rules::names;
use crate::rules::versions::Versions;
use crate::service::Call;
use crate::store::{Attempts, Stored, View, log};
use crate::wire::answer;

/// Largest signature document that is read back to see whose it is.
const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let request: SignRequest = answer::read_json(body).await?;
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::Forbidden, caller, "sign")
        .await?;
    let signee = request.signee.clone().unwrap_or_default();
    if signee.user_id.as_deref().is_none_or(str::is_empty) && signee.system_user_id.is_none() {
        return Err(PlatformError::bad_request(
            "signee needs a userId or a systemUserId.",
        ));
    }
    if request.data_element_signatures.len() > ELEMENTS_PER_INSTANCE_MAX {
        return Err(PlatformError::bad_request(
            "More elements than an instance can have.",
        ));
    }
    let data_type = request.signature_document_data_type.clone().unwrap_or_default();
    let app = platform.application_of(&view, &stored.value.app_id).await?;
    if app.is_none_or(|app| app.data_type(&data_type).is_none()) {
        return Err(PlatformError::MethodNotAllowed);
    }
    platform.ensure_content_container(&stored.value.org).await?;
    let mut decided_by = stored.etag.clone();
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        if stored.etag != decided_by {
            // Others have changed the instance since: what was permitted of it as it was needn't be now.
            let resource = Resource::instance(&stored.value);
            platform.require(caller, "sign", &resource).await?;
            decided_by.clone_from(&stored.etag);
        }
        call.guard_write(&stored.value)?;
        let mut tx = Transaction::new();
        let mut signatures = Vec::with_capacity(request.data_element_signatures.len());
        for wanted in &request.data_element_signatures {
            let id = wanted.data_element_id.as_deref().unwrap_or_default();
            let element = element_of(platform, &view, path, id).await?;
            signatures.push(DataElementSignature {
                data_element_id: Some(element.value.id.clone()),
                sha256_hash: Some(sha256(platform, &view, &stored.value, &element.value).await?),
                signed: wanted.signed,
            });
            // What was hashed must be what is there when the signature is.
            platform
                .stage_element(&mut tx, &view, &stored.value, &element, &element.value)
                .await?;
        }
        remove_earlier(platform, &mut tx, &view, &stored, &data_type, &signee).await?;
        let mut instance = stored.value.clone();
        instance.touch(platform.clock.now(), &caller.performed_by());
        let id = platform.random.uuid().to_string();
        let document = SignDocument {
            id: id.clone(),
            instance_guid: path.guid.to_string(),
            signed_time: Some(Moment::stamped(platform.clock.now())),
            signee_info: signee.clone(),
            data_element_signatures: signatures,
        };
        let text =
            serde_json::to_vec(&document).map_err(|error| PlatformError::Internal(error.to_string()))?;
        let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
        let content = platform
            .blobs
            .write_content(&platform.settings.blobs_account, Body::full(text), DATA_BYTES_MAX)
            .await?;
        let task = request
            .generated_from_task
            .as_deref()
            .filter(|task| !task.is_empty());
        let element = DataElement {
            blob_storage_path: Some(names::blob(&instance.app_id, &path.guid.to_string(), &id)),
            id,
            instance_guid: path.guid.to_string(),
            data_type: data_type.clone(),
            filename: Some(format!("{data_type}.json")),
            content_type: Some("application/json".to_owned()),
            size,
            locked: true,
            blob_version_id: Some(platform.content_version()),
            references: task.map(|task| vec![Reference::generated_from_task(task)]),
            created: instance.last_changed,
            created_by: Some(caller.performed_by()),
            last_changed: instance.last_changed,
            last_changed_by: Some(caller.performed_by()),
            ..DataElement::default()
        };
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        platform
            .stage_element_creation(&mut tx, &view, &instance, &element, &content)
            .await?;
        let event = platform.event(kind::SIGNED, &instance, None, caller);
        platform.stage_event(&mut tx, &view, &instance, &event).await?;
        log(&mut tx, "sign", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            let response = answer::text(StatusCode::CREATED, "SignDocument is created");
            return Ok(answer::with_versions(response, Versions::of(&instance)));
        }
    }
}

/// SHA-256 of an element's content, in lower-case hexadecimal.
async fn sha256(
    platform: &Platform,
    view: &View,
    instance: &Instance,
    element: &DataElement,
) -> Result<String, PlatformError> {
    let mut content = platform.open_content(view, instance, element).await?;
    let mut hash = Sha256::new();
    while let Some(piece) = content.body.next_piece().await? {
        hash.update(&piece);
    }
    Ok(hexadecimal(&hash.finalize()))
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// An earlier signature of the same signee goes.
async fn remove_earlier(
    platform: &Platform,
    tx: &mut Transaction,
    view: &View,
    stored: &Stored<Instance>,
    data_type: &str,
    signee: &Signee,
) -> Result<(), PlatformError> {
    let guid = stored.value.guid().unwrap_or_default();
    for element in platform.stored_elements(view, &guid).await? {
        if element.value.data_type != data_type {
            continue;
        }
        let content = platform.open_content(view, &stored.value, &element.value).await?;
        let text = content.body.read_bounded(DOCUMENT_BYTES_MAX).await?;
        let earlier: Option<SignDocument> = serde_json::from_slice(&text).ok();
        if earlier.is_some_and(|earlier| is_same(&earlier.signee_info, signee)) {
            platform
                .stage_element_removal(tx, view, &stored.value, &element)
                .await?;
        }
    }
    Ok(())
}

fn is_same(one: &Signee, other: &Signee) -> bool {
    match (&one.user_id, &other.user_id) {
        (Some(one), Some(other)) => one == other,
        _ => one.system_user_id.is_some() && one.system_user_id == other.system_user_id,
    }
}
