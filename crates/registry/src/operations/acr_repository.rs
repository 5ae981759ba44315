//! Azure Container Registry's view of a repository: `/acr/v1/NAME`.

use http::{Response, StatusCode};
use http_semantics::Body;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::RegistryService;
use crate::error::RegistryError;
use crate::limits::FORM_BYTES_MAX;
use crate::rules::digest::Digest;
use crate::rules::grants::Action;
use crate::service::Call;
use crate::store::keys::Place;
use crate::store::{counts, repositories};
use crate::wire::render;

/// As the original writes times: seven digits of a second.
pub(crate) fn time(at: Timestamp) -> String {
    format!(
        "{}.{:07}Z",
        at.strftime("%Y-%m-%dT%H:%M:%S"),
        at.subsec_nanosecond() / 100
    )
}

/// A PATCH's switches.
pub(crate) async fn patch_of(body: Body) -> Result<Value, RegistryError> {
    let bytes = body.read_bounded(FORM_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|_| repositories::unknown_attribute())
}

async fn render(
    service: &RegistryService,
    call: &Call<'_>,
    place: Place<'_>,
) -> Result<Response<Body>, RegistryError> {
    let snapshot = service.ledger.snapshot().await?;
    let snapshot = snapshot.as_ref();
    let found = repositories::existing(snapshot, place).await?;
    let updated = repositories::updated(snapshot, place).await?;
    let counts = counts::read(snapshot, place).await?;
    Ok(render::json(
        StatusCode::OK,
        &json!({
            "registry": call.realm.host,
            "imageName": place.repository,
            "createdTime": time(found.record.created),
            "lastUpdateTime": time(updated.unwrap_or(found.record.created)),
            "manifestCount": counts.manifests,
            "tagCount": counts.tags,
            "changeableAttributes": found.record.attributes.as_json(),
        }),
    ))
}

pub(crate) async fn get(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataRead])?;
    render(service, call, place).await
}

pub(crate) async fn patch(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataWrite])?;
    let patch = patch_of(body).await?;
    service
        .lock_repository(place, &|attributes| attributes.changed(&patch))
        .await?;
    render(service, call, place).await
}

pub(crate) async fn delete(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Delete])?;
    let removed = service.delete_repository(place, &call.origin()).await?;
    let digests: Vec<&str> = removed.manifests.iter().map(Digest::as_str).collect();
    let answer = json!({"manifestsDeleted": digests, "tagsDeleted": removed.tags});
    Ok(render::json(StatusCode::ACCEPTED, &answer))
}
