//! Azure Container Registry's view of what is soft-deleted: `/acr/v1/_deleted`.

use http::{Response, StatusCode};
use http_semantics::Body;
use serde_json::{Value, json};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::FORM_BYTES_MAX;
use crate::operations::acr_manifests;
use crate::operations::acr_repository::time;
use crate::rules::grants::Action;
use crate::rules::name;
use crate::service::{Call, digest};
use crate::store::deleted::{self, Restore};
use crate::store::keys::Place;
use crate::store::repositories::{self, Page};
use crate::wire::{query, render};

fn page<'a>(call: &'a Call<'_>) -> Result<Page<'a>, RegistryError> {
    Ok(Page {
        last: call.query.last(),
        entries: call.query.entries()?,
    })
}

/// `NAME_UNKNOWN` for a repository that is not there and has left nothing.
async fn check_known(snapshot: &dyn ledger::Snapshot, place: Place<'_>) -> Result<(), RegistryError> {
    if repositories::find(snapshot, place).await?.is_some() || deleted::is_any(snapshot, place).await? {
        return Ok(());
    }
    Err(ErrorCode::NameUnknown.into())
}

pub(crate) async fn catalog(
    service: &RegistryService,
    call: &Call<'_>,
) -> Result<Response<Body>, RegistryError> {
    if !call.access.lists_deleted {
        return Err(call.realm.refuse_catalog(&call.access, "deleted_catalog"));
    }
    let page = page(call)?;
    let (names, more) = service.deleted_repositories(&call.registry.name, page).await?;
    let mut response = render::json(StatusCode::OK, &json!({"repositories": names}));
    if let (true, Some(last)) = (more, names.last()) {
        let last = query::encoded(last);
        let next = format!(
            "/acr/v1/_deleted/_catalog?last={last}&n={}&orderby=",
            page.entries
        );
        call.set_next(response.headers_mut(), &next);
    }
    Ok(response)
}

pub(crate) async fn manifests(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::DeletedRead])?;
    let page = page(call)?;
    let snapshot = service.ledger.snapshot().await?;
    check_known(snapshot.as_ref(), place).await?;
    let (found, more) = deleted::page(snapshot.as_ref(), place, page).await?;
    let entries = found.iter().map(|(digest, record)| {
        let mut fields = acr_manifests::fields(digest, &record.manifest);
        fields.insert("deletedAt".to_owned(), json!(time(record.deleted)));
        Value::Object(fields)
    });
    let entries: Vec<Value> = entries.collect();
    let answer = json!({"registry": call.realm.host, "imageName": repository, "manifests": entries});
    let mut response = render::json(StatusCode::OK, &answer);
    if let (true, Some((last, _))) = (more, found.last()) {
        let last = query::encoded(last.as_str());
        let path = format!("/acr/v1/_deleted/{repository}/_manifests");
        let next = format!("{path}?last={last}&n={}&orderby=", page.entries);
        call.set_next(response.headers_mut(), &next);
    }
    Ok(response)
}

pub(crate) async fn tags(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::DeletedRead])?;
    let page = page(call)?;
    let snapshot = service.ledger.snapshot().await?;
    check_known(snapshot.as_ref(), place).await?;
    let (found, more) = deleted::tags_page(snapshot.as_ref(), place, page).await?;
    let entries = found.iter().map(
        |found| json!({"tag": found.tag, "digest": found.digest.as_str(), "deletedAt": time(found.deleted)}),
    );
    let entries: Vec<Value> = entries.collect();
    let answer = json!({"registry": call.realm.host, "imageName": repository, "tags": entries});
    let mut response = render::json(StatusCode::OK, &answer);
    if let (true, Some(last)) = (more, found.last()) {
        let last = query::encoded(&last.cursor());
        let path = format!("/acr/v1/_deleted/{repository}/_tags");
        let next = format!("{path}?last={last}&n={}&orderby=", page.entries);
        call.set_next(response.headers_mut(), &next);
    }
    Ok(response)
}

/// The tag that a restore names, if it names one.
async fn tag_of(body: Body) -> Result<Option<String>, RegistryError> {
    let bytes = body.read_bounded(FORM_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let malformed = || {
        let text = "the body is JSON with a tag, or empty";
        RegistryError::with(ErrorCode::TagInvalid, text)
    };
    let body: Value = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
    let fields = body.as_object().ok_or_else(malformed)?;
    match fields.get("tag") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(tag)) if tag.is_empty() => Ok(None),
        Some(Value::String(tag)) if name::is_tag(tag) => Ok(Some(tag.clone())),
        Some(_) => Err(malformed()),
    }
}

pub(crate) async fn restore(
    service: &RegistryService,
    call: &Call<'_>,
    (repository, named): (&str, &str),
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::DeletedRestore])?;
    let digest = digest(named)?;
    let tag = tag_of(body).await?;
    let force = call.query.get("force");
    service
        .restore(Restore {
            place,
            digest: &digest,
            tag: tag.as_deref(),
            force: force.is_some_and(|force| force.eq_ignore_ascii_case("true")),
        })
        .await?;
    let snapshot = service.ledger.snapshot().await?;
    acr_manifests::render(snapshot.as_ref(), call, place, &digest).await
}
