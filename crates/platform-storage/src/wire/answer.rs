//! Bodies in and out.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_semantics::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::PlatformError;
use crate::limits::JSON_BYTES_MAX;
use crate::model::{DataElement, relaxed};
use crate::rules::content_version;
use crate::rules::versions::{self, Versions};

/// Reads a JSON body, names of fields in any case.
///
/// # Errors
/// 400 if it isn't what is expected, and why; 413.
pub(crate) async fn read_json<T: DeserializeOwned>(body: Body) -> Result<T, PlatformError> {
    let text = body.read_bounded(JSON_BYTES_MAX).await?;
    relaxed::from_slice(&text).map_err(|error| malformed(&error))
}

/// Reads a JSON body as it is.
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_value(body: Body) -> Result<Value, PlatformError> {
    let text = body.read_bounded(JSON_BYTES_MAX).await?;
    serde_json::from_slice(&text).map_err(|error| malformed(&error))
}

fn malformed(error: &serde_json::Error) -> PlatformError {
    PlatformError::bad_request(format!("The body can't be understood: {error}."))
}

/// An answer in JSON.
///
/// # Errors
/// 500 if it can't be written.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, PlatformError> {
    let text = serde_json::to_vec(value).map_err(|error| PlatformError::Internal(error.to_string()))?;
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    Ok(response)
}

/// An answer in plain text.
pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Body::full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Adds an instance's versions.
pub(crate) fn with_versions(mut response: Response<Body>, versions: Versions) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(versions::INSTANCE_VERSION, HeaderValue::from(versions.instance));
    headers.insert(
        versions::PROCESS_STATE_VERSION,
        HeaderValue::from(versions.process_state),
    );
    response
}

/// Adds the entity tag of an element's content, if it has a version.
pub(crate) fn with_entity_tag(mut response: Response<Body>, element: &DataElement) -> Response<Body> {
    let tag = element
        .blob_version_id
        .as_deref()
        .map(content_version::entity_tag);
    if let Some(value) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(http::header::ETAG, value);
    }
    response
}

/// Adds a `Location`, if it can be a header.
pub(crate) fn with_location(mut response: Response<Body>, location: Option<&String>) -> Response<Body> {
    if let Some(value) = location.and_then(|location| HeaderValue::from_str(location).ok()) {
        response.headers_mut().insert(http::header::LOCATION, value);
    }
    response
}
