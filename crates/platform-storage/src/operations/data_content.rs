//! GET data/{id}: an element's content.

use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response};
use http_semantics::Body;
use ledger::Transaction;

use super::data::{element_of, require_content};
use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::error::PlatformError;
use crate::model::FileScanResult;
use crate::rules::versions::Versions;
use crate::rules::{content_disposition, content_version};
use crate::service::Call;
use crate::store::Attempts;
use crate::wire::answer;

pub(crate) async fn get(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    id: &str,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let demanded = content_version::demanded(&call.headers).map_err(PlatformError::BadRequest)?;
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::NotFound, caller, "read")
        .await?;
    let instance = &stored.value;
    let element = element_of(platform, &view, path, id).await?.value;
    let is_owner = caller.is_owner(&instance.org);
    if element.is_hard_deleted() && !is_owner {
        return Err(PlatformError::not_found(format!(
            "The instance has no data element {id}."
        )));
    }
    let app = platform.application_of(&view, &instance.app_id).await?;
    let action = app.as_ref().and_then(|app| {
        app.data_type(&element.data_type)?
            .action_required_to_read
            .as_deref()
    });
    platform.require_asked(caller, action, instance).await?;
    call.require_versions(instance)?;
    require_content(demanded.as_deref(), &element)?;
    if platform.settings.refuse_infected && element.file_scan_result == FileScanResult::Infected {
        return Err(PlatformError::forbidden(
            "Malware was found in the content; this server doesn't give it out.",
        ));
    }
    let content = platform.open_content(&view, instance, &element).await?;
    if !is_owner
        && !element.is_read
        && let Err(error) = mark_read(platform, path, id).await
    {
        // Whoever reads gets the content all the same; the mark is made at the next reading.
        tracing::debug!(%error, "a data element couldn't be marked as read");
    }
    let mut response = Response::new(content.body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(content.length_bytes));
    let kind = element
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    set(headers, CONTENT_TYPE, kind);
    if let Some(filename) = &element.filename {
        set(
            headers,
            CONTENT_DISPOSITION,
            &content_disposition::attachment(filename),
        );
    }
    // What users upload must not be taken for a page of ours.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    let response = answer::with_entity_tag(response, &element);
    Ok(answer::with_versions(response, Versions::of(instance)))
}

fn set(headers: &mut http::HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Someone but the owner has seen it: no change of the instance, so its stamp stays.
async fn mark_read(platform: &Platform, path: &InstancePath, id: &str) -> Result<(), PlatformError> {
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        let before = element_of(platform, &view, path, id).await?;
        let mut element = before.value.clone();
        element.is_read = true;
        let mut tx = Transaction::new();
        platform
            .stage_element(&mut tx, &view, &stored.value, &before, &element)
            .await?;
        if platform.commit(tx, &mut attempts).await? {
            return Ok(());
        }
    }
}
