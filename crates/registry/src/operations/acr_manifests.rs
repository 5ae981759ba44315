//! Azure Container Registry's view of manifests: `/acr/v1/NAME/_manifests`.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Snapshot;
use serde_json::{Map, Value, json};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::operations::acr_repository::{patch_of, time};
use crate::operations::acr_tags::order;
use crate::rules::digest::Digest;
use crate::rules::grants::Action;
use crate::rules::manifest::{Kind, Manifest};
use crate::service::{Call, digest};
use crate::store::keys::Place;
use crate::store::manifests::{self, Wanted};
use crate::store::records::ManifestRecord;
use crate::store::repositories;
use crate::store::tags::{self, Order};
use crate::wire::{query, render};

/// What a manifest's record says, as clients see it.
pub(crate) fn fields(digest: &Digest, record: &ManifestRecord) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("digest", json!(digest.as_str()));
    set("imageSize", json!(record.image_size));
    set("createdTime", json!(time(record.created)));
    set("lastUpdateTime", json!(time(record.updated)));
    for (name, value) in [
        ("architecture", &record.architecture),
        ("os", &record.os),
        ("configMediaType", &record.config_media_type),
    ] {
        if let Some(value) = value {
            set(name, json!(value));
        }
    }
    set("mediaType", json!(record.media_type));
    set("changeableAttributes", record.attributes.as_json());
    fields
}

async fn entry(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    record: &ManifestRecord,
) -> Result<Map<String, Value>, RegistryError> {
    let mut fields = fields(digest, record);
    let tags = tags::of(snapshot, place, digest).await?;
    if !tags.is_empty() {
        fields.insert("tags".to_owned(), json!(tags));
    }
    Ok(fields)
}

/// Manifests that an index refers to, with their platforms as it names them.
async fn references(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    record: &ManifestRecord,
) -> Result<Option<Value>, RegistryError> {
    let bytes = manifests::bytes(snapshot, place, digest).await?;
    let is_index =
        Manifest::parse(Some(&record.media_type), &bytes).is_ok_and(|manifest| manifest.kind == Kind::Index);
    if !is_index {
        return Ok(None);
    }
    let index: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let children = index.get("manifests").and_then(Value::as_array);
    let references = children.into_iter().flatten().map(|child| {
        let platform = |name: &str| child.get("platform").and_then(|platform| platform.get(name));
        json!({
            "digest": child.get("digest"), "architecture": platform("architecture"), "os": platform("os"),
        })
    });
    Ok(Some(references.collect()))
}

pub(crate) async fn list(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataRead])?;
    let wanted = Wanted {
        last: call.query.last(),
        entries: call.query.entries()?,
        order: order(call)?,
    };
    let snapshot = service.ledger.snapshot().await?;
    let snapshot = snapshot.as_ref();
    repositories::existing(snapshot, place).await?;
    let (found, more) = manifests::page(snapshot, place, wanted).await?;
    let mut entries = Vec::with_capacity(found.len());
    for (digest, record) in &found {
        entries.push(Value::Object(entry(snapshot, place, digest, record).await?));
    }
    let mut answer = json!({"registry": call.realm.host, "imageName": repository});
    if let (Some(fields), false) = (answer.as_object_mut(), entries.is_empty()) {
        fields.insert("manifests".to_owned(), Value::Array(entries));
    }
    let mut response = render::json(StatusCode::OK, &answer);
    if let (true, Some((last, record))) = (more, found.last()) {
        let last = match wanted.order {
            Order::Name => last.to_string(),
            Order::Oldest | Order::Newest => tags::time_cursor(record.updated, last.as_str()),
        };
        let orderby = call.query.get("orderby").unwrap_or_default();
        let next = format!(
            "/acr/v1/{repository}/_manifests?last={}&n={}&orderby={orderby}",
            query::encoded(&last),
            wanted.entries
        );
        call.set_next(response.headers_mut(), &next);
    }
    Ok(response)
}

pub(crate) async fn render(
    snapshot: &dyn Snapshot,
    call: &Call<'_>,
    place: Place<'_>,
    digest: &Digest,
) -> Result<Response<Body>, RegistryError> {
    let found = manifests::find(snapshot, place, digest).await?;
    let (record, _) = found.ok_or(ErrorCode::ManifestUnknown)?;
    let mut fields = entry(snapshot, place, digest, &record).await?;
    if let Some(references) = references(snapshot, place, digest, &record).await? {
        fields.insert("references".to_owned(), references);
    }
    let answer = json!({
        "registry": call.realm.host, "imageName": place.repository, "manifest": fields,
    });
    Ok(render::json(StatusCode::OK, &answer))
}

pub(crate) async fn get(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    named: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataRead])?;
    let digest = digest(named)?;
    let snapshot = service.ledger.snapshot().await?;
    render(snapshot.as_ref(), call, place, &digest).await
}

pub(crate) async fn patch(
    service: &RegistryService,
    call: &Call<'_>,
    (repository, named): (&str, &str),
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataWrite])?;
    let digest = digest(named)?;
    let patch = patch_of(body).await?;
    service
        .lock_manifest(place, &digest, &|attributes| attributes.changed(&patch))
        .await?;
    let snapshot = service.ledger.snapshot().await?;
    render(snapshot.as_ref(), call, place, &digest).await
}

pub(crate) async fn delete(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    named: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Delete])?;
    let digest = digest(named)?;
    service.delete_manifest(place, &digest, &call.origin()).await?;
    Ok(render::empty(StatusCode::ACCEPTED))
}
