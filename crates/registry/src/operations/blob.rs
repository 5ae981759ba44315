//! Blobs: read whole or in part (distribution-spec, end-2), deleted (end-10).

use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Response, StatusCode};
use http_semantics::Body;

use crate::RegistryService;
use crate::error::RegistryError;
use crate::rules::grants::Action;
use crate::rules::range::{self, Asked};
use crate::service::{Call, accept_ranges, digest, not_modified};
use crate::store::repositories;
use crate::wire::render;

pub(crate) async fn get(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    named: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull])?;
    let digest = digest(named)?;
    let snapshot = service.ledger.snapshot().await?;
    repositories::check_readable(repositories::find(snapshot.as_ref(), place).await?.as_ref())?;
    if let Some(source) = service.source_of(place) {
        service.fetch_blob(place, &source, &digest).await?;
    }
    // Who may push asks in order to leave a blob away that is there: it must stay until the manifest comes.
    let renews = call.is_head() && call.access.permits(repository, Action::Push);
    let blob = service.find_blob(place, &digest, renews).await?;
    if let Some(response) = not_modified(call, &digest) {
        return Ok(response);
    }
    let asked = range::decide(call.header(RANGE), blob.size);
    let range = match &asked {
        Asked::Unsatisfiable => return Err(RegistryError::unsatisfiable(blob.size)),
        Asked::Whole => 0..blob.size,
        Asked::Part(range) => range.clone(),
    };
    let mut response = render::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    render::set_digest(headers, &digest);
    if let Asked::Part(range) = asked {
        let text = format!("bytes {}-{}/{}", range.start, range.end - 1, blob.size);
        render::set(headers, CONTENT_RANGE, &text);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    accept_ranges(&mut response);
    if !call.is_head() {
        *response.body_mut() = service.open_body(&digest, blob.body, range).await?;
    }
    Ok(response)
}

pub(crate) async fn delete(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    named: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Delete])?;
    let digest = digest(named)?;
    let snapshot = service.ledger.snapshot().await?;
    repositories::check_writable(repositories::find(snapshot.as_ref(), place).await?.as_ref())?;
    service.unlink(place, &digest).await?;
    Ok(render::empty(StatusCode::ACCEPTED))
}
