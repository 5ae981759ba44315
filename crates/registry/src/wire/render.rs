//! Answers.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, LINK, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_semantics::Body;
use serde_json::Value;

use crate::rules::digest::Digest;

/// Sets a header; a value that HTTP can't hold is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED {
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    typed(status, "application/json; charset=utf-8", value)
}

/// A JSON answer of a type of its own.
pub(crate) fn typed(status: StatusCode, content_type: &'static str, value: &Value) -> Response<Body> {
    let text = value.to_string();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len()));
    *response.body_mut() = Body::full(text);
    response
}

/// `Docker-Content-Digest` and the entity tag, which is the same.
pub(crate) fn set_digest(headers: &mut HeaderMap, digest: &Digest) {
    set(
        headers,
        HeaderName::from_static("docker-content-digest"),
        digest.as_str(),
    );
    set(headers, ETAG, &format!("\"{digest}\""));
}

/// 201 with where it is.
pub(crate) fn created(location: &str, digest: &Digest) -> Response<Body> {
    let mut response = empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    set(headers, LOCATION, location);
    set_digest(headers, digest);
    response
}

/// Where a list goes on. Relative, as Azure's registries have it.
pub(crate) fn set_next(headers: &mut HeaderMap, path_and_query: &str) {
    set(headers, LINK, &format!("<{path_and_query}>; rel=\"next\""));
}
