//! Manifests: read, pushed, deleted (distribution-spec, end-3, end-7, end-9).

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_semantics::{Body, BodyError};
use ledger::Snapshot;

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{MANIFEST_BYTES_MAX, PUSH_TAGS_MAX};
use crate::rules::digest::{Algorithm, Digest};
use crate::rules::grants::Action;
use crate::rules::manifest::Manifest;
use crate::rules::name;
use crate::service::{Call, digest, not_modified};
use crate::store::cache::{Served, Wanted};
use crate::store::keys::Place;
use crate::store::manifests::{self, Push};
use crate::store::records::SetBy;
use crate::store::{repositories, tags};
use crate::wire::render;

/// A reference: a digest, or a tag.
enum Reference {
    Digest(Digest),
    Tag(String),
}

impl Reference {
    /// What is to be read or deleted: nothing is there by a name that nothing can have.
    fn existing(text: &str) -> Result<Self, RegistryError> {
        Self::parse(text).map_err(|_| ErrorCode::ManifestUnknown.into())
    }

    /// What a push names.
    fn parse(text: &str) -> Result<Self, RegistryError> {
        if text.contains(':') {
            return digest(text).map(Self::Digest);
        }
        match name::is_tag(text) {
            true => Ok(Self::Tag(text.to_owned())),
            false => Err(ErrorCode::TagInvalid.into()),
        }
    }
}

/// What a reference means now, if its locks let it be read.
async fn resolve(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    reference: Reference,
) -> Result<Digest, RegistryError> {
    match reference {
        Reference::Digest(digest) => Ok(digest),
        Reference::Tag(tag) => {
            let found = tags::find(snapshot, place, &tag).await?;
            let (record, _) = found.ok_or(ErrorCode::ManifestUnknown)?;
            match record.attributes.read {
                true => Ok(record.digest),
                false => Err(ErrorCode::OperationDisallowed.into()),
            }
        }
    }
}

pub(crate) async fn get(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    reference: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull])?;
    let reference = Reference::existing(reference)?;
    if let Some(source) = service.source_of(place) {
        let snapshot = service.ledger.snapshot().await?;
        repositories::check_readable(repositories::find(snapshot.as_ref(), place).await?.as_ref())?;
        let wanted = match &reference {
            Reference::Digest(digest) => Wanted::Digest(digest),
            Reference::Tag(tag) => Wanted::Tag(tag),
        };
        let served = service.refresh(place, &source, wanted, &call.origin()).await?;
        if let Served::Through {
            digest,
            media_type,
            bytes,
        } = served
        {
            let size = bytes.len() as u64;
            return Ok(found(call, (&digest, &media_type, size), bytes));
        }
    }
    let snapshot = service.ledger.snapshot().await?;
    let snapshot = snapshot.as_ref();
    repositories::check_readable(repositories::find(snapshot, place).await?.as_ref())?;
    let digest = resolve(snapshot, place, reference).await?;
    let stored = manifests::find(snapshot, place, &digest).await?;
    let (record, _) = stored.ok_or(ErrorCode::ManifestUnknown)?;
    if !record.attributes.read {
        return Err(ErrorCode::OperationDisallowed.into());
    }
    if call.is_head() && call.access.permits(repository, Action::Push) {
        // Who may push asks for what he refers to next.
        service.renew_untagged(place, &digest).await?;
    }
    let bytes = match call.is_head() {
        true => Bytes::new(),
        false => manifests::bytes(snapshot, place, &digest).await?,
    };
    Ok(found(call, (&digest, &record.media_type, record.size), bytes))
}

/// A manifest as an answer.
fn found(call: &Call<'_>, (digest, media_type, size): (&Digest, &str, u64), bytes: Bytes) -> Response<Body> {
    if let Some(response) = not_modified(call, digest) {
        return response;
    }
    let mut response = render::empty(StatusCode::OK);
    let headers = response.headers_mut();
    // Whatever the client says it accepts: it asked for this one, and nothing is converted.
    render::set(headers, CONTENT_TYPE, media_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    render::set_digest(headers, digest);
    if !call.is_head() {
        *response.body_mut() = Body::full(bytes);
    }
    response
}

pub(crate) async fn put(
    service: &RegistryService,
    call: &Call<'_>,
    (repository, reference): (&str, &str),
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Pull, Action::Push])?;
    service.check_pushable(place)?;
    let reference = Reference::parse(reference)?;
    let mut pushed_tags: Vec<String> = call.query.all("tag").map(str::to_owned).collect();
    if pushed_tags.len() > PUSH_TAGS_MAX {
        let text = format!("at most {PUSH_TAGS_MAX} tags at once");
        return Err(RegistryError::with(ErrorCode::TagInvalid, text).status(StatusCode::URI_TOO_LONG));
    }
    if let Some(bad) = pushed_tags.iter().find(|tag| !name::is_tag(tag)) {
        return Err(RegistryError::with(
            ErrorCode::TagInvalid,
            format!("{bad:?} is no tag"),
        ));
    }
    let accepted_tags = pushed_tags.clone();
    let bytes = body
        .read_bounded(MANIFEST_BYTES_MAX)
        .await
        .map_err(|error| match error {
            BodyError::TooLong { bytes_max } => {
                let text = format!("a manifest has at most {bytes_max} bytes");
                RegistryError::with(ErrorCode::ManifestInvalid, text).status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            other => other.into(),
        })?;
    let digest = match reference {
        Reference::Digest(named) => {
            if Digest::of(named.algorithm(), &bytes) != named {
                return Err(ErrorCode::DigestInvalid.into());
            }
            named
        }
        Reference::Tag(tag) => {
            pushed_tags.push(tag);
            Digest::of(Algorithm::Sha256, &bytes)
        }
    };
    pushed_tags.sort_unstable();
    pushed_tags.dedup();
    let manifest = Manifest::parse(call.header(CONTENT_TYPE), &bytes)
        .map_err(|malformed| RegistryError::with(ErrorCode::ManifestInvalid, malformed.to_string()))?;
    service.check_quota(call.registry, bytes.len() as u64).await?;
    service
        .push(Push {
            place,
            manifest: &manifest,
            digest: &digest,
            bytes: &bytes,
            tags: &pushed_tags,
            origin: &call.origin(),
            set_by: SetBy::Client,
        })
        .await?;
    let location = format!("/v2/{repository}/manifests/{digest}");
    let mut response = render::created(&location, &digest);
    let headers = response.headers_mut();
    if let Some(subject) = &manifest.subject {
        render::set(headers, HeaderName::from_static("oci-subject"), subject.as_str());
    }
    for tag in accepted_tags {
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.append(HeaderName::from_static("oci-tag"), tag);
        }
    }
    Ok(response)
}

pub(crate) async fn delete(
    service: &RegistryService,
    call: &Call<'_>,
    repository: &str,
    reference: &str,
) -> Result<Response<Body>, RegistryError> {
    let place = call.place(repository, &[Action::Delete])?;
    match Reference::existing(reference)? {
        Reference::Tag(tag) => service.untag(place, &tag, None).await?,
        Reference::Digest(digest) => service.delete_manifest(place, &digest, &call.origin()).await?,
    }
    Ok(render::empty(StatusCode::ACCEPTED))
}
