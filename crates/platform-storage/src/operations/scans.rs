//! What the platform's own components call: the result of a scan, and whether an element is there.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde::Deserialize;
use uuid::Uuid;

use super::data::element_of;
use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::model::{DataElement, FileScanResult};
use crate::rules::content_version;
use crate::rules::versions::Versions;
use crate::service::Call;
use crate::store::{Attempts, log};
use crate::wire::answer;

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ScanStatus {
    file_scan_result: Option<FileScanResult>,
    /// The content that was scanned, as the message named it.
    blob_version_id: Option<String>,
}

/// PUT filescanstatus: 200 without a body. A result for content that was replaced meanwhile changes nothing (409):
/// what is there now was not what was scanned.
pub(crate) async fn put_status(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    id: &str,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let sent: ScanStatus = answer::read_json(body).await?;
    let result = sent
        .file_scan_result
        .ok_or_else(|| PlatformError::bad_request("fileScanResult is required."))?;
    let demanded = content_version::demanded(&call.headers).map_err(PlatformError::BadRequest)?;
    let version = sent
        .blob_version_id
        .filter(|version| !version.is_empty())
        .or(demanded);
    if version
        .as_deref()
        .is_some_and(|version| !content_version::is_version(version))
    {
        return Err(PlatformError::bad_request(
            "blobVersionId isn't a content's version.",
        ));
    }
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        call.require_platform_or(&stored.value.org)?;
        let before = element_of(platform, &view, path, id).await?;
        refuse_stale(version.as_deref(), &before.value)?;
        let element = DataElement {
            file_scan_result: result,
            ..before.value.clone()
        };
        let mut tx = Transaction::new();
        platform
            .stage_element(&mut tx, &view, &stored.value, &before, &element)
            .await?;
        let subject = format!("{}/data/{id}", path.id());
        log(&mut tx, "fileScanStatus", &subject, &Caller::default());
        if platform.commit(tx, &mut attempts).await? {
            let versions = Versions::of(&stored.value);
            return Ok(answer::with_versions(answer::empty(StatusCode::OK), versions));
        }
    }
}

/// A result must be of the content that is there. One that doesn't say which it is of can only be of an element that
/// never had another: one that was written before contents had versions says so by its times alone.
fn refuse_stale(version: Option<&str>, element: &DataElement) -> Result<(), PlatformError> {
    let is_current = match version {
        Some(version) => element.blob_version_id.as_deref() == Some(version),
        None => {
            !element.content_replaced
                && (element.blob_version_id.is_some() || element.created == element.last_changed)
        }
    };
    if is_current {
        return Ok(());
    }
    Err(PlatformError::Conflict(match version {
        Some(_) => "The content that was scanned has been replaced since.".to_owned(),
        None => "The content has been replaced since it was first written: blobVersionId must say which was scanned."
            .to_owned(),
    }))
}

/// GET dataelementexists/{id}.
pub(crate) async fn exists(
    platform: &Platform,
    path: &InstancePath,
    id: &str,
) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    platform.find(&view, path, Unknown::NotFound).await?;
    let exists = match Uuid::parse_str(id) {
        Ok(guid) => platform.stored_element(&view, &path.guid, &guid).await?.is_some(),
        Err(_) => false,
    };
    answer::json(StatusCode::OK, &exists)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Moment;

    #[test]
    fn a_result_without_a_version_is_of_the_first_content_alone() {
        let at = |text: &str| Moment::parse(text);
        let (first, later) = (at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"));
        assert!(first.is_some() && first != later);
        for (version, replaced, changed, taken) in [
            (Some("a"), false, first, true),
            (Some("a"), false, later, true),
            (Some("a"), true, later, false),
            (None, false, first, true),
            (None, false, later, false),
            (None, true, first, false),
        ] {
            let element = DataElement {
                blob_version_id: version.map(str::to_owned),
                content_replaced: replaced,
                created: first,
                last_changed: changed,
                ..DataElement::default()
            };
            let is_taken = refuse_stale(None, &element).is_ok();
            assert_eq!(is_taken, taken, "{version:?} {replaced} {changed:?}");
        }
    }
}
