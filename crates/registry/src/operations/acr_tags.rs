//! Azure Container Registry's view of tags: `/acr/v1/NAME/_tags`.

use http::{Response, StatusCode};
use http_semantics::Body;
use http_semantics::etag::TagList;
use ledger::Snapshot;
use serde_json::{Value, json};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::operations::acr_repository::{patch_of, time};
use crate::rules::grants::Action;
use crate::service::{Call, digest};
use crate::store::keys::Place;
use crate::store::records::TagRecord;
use crate::store::repositories;
use crate::store::tags::{self, Order, Wanted};
use crate::wire::{query, render};

/// `orderby` of a list.
pub(crate) fn order(call: &Call<'_>) -> Result<Order, RegistryError> {
    Order::parse(call.query.get("orderby")).ok_or_else(|| {
        let text = "orderby is none, timeasc or timedesc";
        RegistryError::with(ErrorCode::PaginationNumberInvalid, text)
    })
}

fn entry(name: &str, record: &TagRecord) -> Value {
    json!({
        "name": name,
        "digest": record.digest.as_str(),
        "createdTime": time(record.created),
        "lastUpdateTime": time(record.updated),
        "signed": false,
        "changeableAttributes": record.attributes.as_json(),
    })
}

pub(crate) async fn list(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataRead])?;
    let wanted_digest = call.query.get("digest").filter(|text| !text.is_empty());
    let wanted_digest = wanted_digest.map(digest).transpose()?;
    let wanted = Wanted {
        last: call.query.last(),
        entries: call.query.entries()?,
        order: order(call)?,
        digest: wanted_digest.as_ref(),
    };
    let snapshot = service.ledger.snapshot().await?;
    repositories::existing(snapshot.as_ref(), place).await?;
    let (found, more) = tags::page(snapshot.as_ref(), place, wanted).await?;
    let entries: Vec<Value> = found.iter().map(|(name, record)| entry(name, record)).collect();
    let mut answer = json!({"registry": call.realm.host, "imageName": repository});
    if let (Some(fields), false) = (answer.as_object_mut(), entries.is_empty()) {
        fields.insert("tags".to_owned(), Value::Array(entries));
    }
    let mut response = render::json(StatusCode::OK, &answer);
    if let (true, Some((last, record))) = (more, found.last()) {
        let last = match wanted.order {
            Order::Name => last.clone(),
            Order::Oldest | Order::Newest => tags::time_cursor(record.updated, last),
        };
        let orderby = call.query.get("orderby").unwrap_or_default();
        let mut next = format!(
            "/acr/v1/{repository}/_tags?last={}&n={}&orderby={orderby}",
            query::encoded(&last),
            wanted.entries
        );
        if let Some(digest) = &wanted_digest {
            next.push_str(&format!("&digest={digest}"));
        }
        call.set_next(response.headers_mut(), &next);
    }
    Ok(response)
}

async fn render(
    snapshot: &dyn Snapshot,
    call: &Call<'_>,
    place: Place<'_>,
    tag: &str,
) -> Result<Response<Body>, RegistryError> {
    let found = tags::find(snapshot, place, tag).await?;
    let (record, _) = found.ok_or(ErrorCode::TagUnknown)?;
    let answer = json!({
        "registry": call.realm.host, "imageName": place.repository, "tag": entry(tag, &record),
    });
    let mut response = render::json(StatusCode::OK, &answer);
    let entity_tag = format!("\"{}\"", tags::entity_tag(&record));
    render::set(response.headers_mut(), http::header::ETAG, &entity_tag);
    Ok(response)
}

pub(crate) async fn get(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    tag: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataRead])?;
    let snapshot = service.ledger.snapshot().await?;
    render(snapshot.as_ref(), call, place, tag).await
}

pub(crate) async fn patch(
    service: &RegistryService,
    call: &Call<'_>,
    (repository, tag): (&str, &str),
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::MetadataWrite])?;
    let patch = patch_of(body).await?;
    service
        .lock_tag(place, tag, &|attributes| attributes.changed(&patch))
        .await?;
    let snapshot = service.ledger.snapshot().await?;
    render(snapshot.as_ref(), call, place, tag).await
}

pub(crate) async fn delete(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    tag: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Delete])?;
    let if_match = call.header(http::header::IF_MATCH).map(TagList::parse);
    service
        .untag(place, tag, if_match.as_ref())
        .await
        .map_err(|error| match error.code {
            ErrorCode::ManifestUnknown => ErrorCode::TagUnknown.into(),
            _ => error,
        })?;
    Ok(render::empty(StatusCode::ACCEPTED))
}
