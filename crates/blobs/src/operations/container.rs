//! Create Container, Get Container Properties, Get and Set Container Metadata, Delete and Restore Container.

use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_semantics::Body;
use jiff::Timestamp;

use crate::Blobs;
use crate::auth::{Access, Needs};
use crate::error::{BlobsError, ErrorCode};
use crate::operations::acl::public_access;
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::default_encryption;
use crate::rules::lease::Use;
use crate::service::Call;
use crate::store::containers::Container;
use crate::store::deleted_containers::DeletedVersion;
use crate::store::records::ContainerRecord;
use crate::wire::target::Target;
use crate::wire::{headers, render};

pub(crate) async fn create(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('c', "cw")?;
    let access = public_access(blobs, &call.target.account, &call.headers)?;
    let metadata = headers::metadata(&call.headers)?;
    let encryption = blobs.encryption_policy(&call)?;
    let record = blobs
        .create_container(
            &call.target.account,
            call.container()?,
            metadata,
            access,
            encryption,
        )
        .await?;
    let mut response = render::empty(StatusCode::CREATED);
    render::set_state(response.headers_mut(), &record.etag, record.last_modified);
    Ok(response)
}

pub(crate) async fn properties(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('c', "r")?;
    let snapshot = blobs.ledger.snapshot().await?;
    let container = blobs
        .container(snapshot.as_ref(), &call.target.account, call.container()?)
        .await?;
    let now = blobs.clock.now();
    let sent = Demands::parse(&call.headers)?;
    sent.container_lease(&container.record, Use::Reads, now)?;
    let mut response = render::empty(StatusCode::OK);
    let out = response.headers_mut();
    render::set_state(out, &container.record.etag, container.record.last_modified);
    for (name, value) in &container.record.metadata {
        let name = HeaderName::from_bytes(format!("x-ms-meta-{name}").as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            out.insert(name, value);
        }
    }
    if call.parameter("comp").is_none() {
        render::set_lease(out, container.record.lease.as_ref(), now);
        if let Some(access) = container.record.public_access {
            render::set(out, "x-ms-blob-public-access", access.name());
        }
        let (scope, deny_override) = default_encryption(&container.record);
        render::set(out, "x-ms-default-encryption-scope", scope);
        render::set(
            out,
            "x-ms-deny-encryption-scope-override",
            render::flag(deny_override),
        );
        render::set(out, "x-ms-has-immutability-policy", "false");
        render::set(out, "x-ms-has-legal-hold", "false");
        let enabled = blobs.has_immutable_storage(&container.account, &container.record.name);
        render::set(
            out,
            "x-ms-immutable-storage-with-versioning-enabled",
            enabled.to_string(),
        );
    }
    Ok(response)
}

pub(crate) async fn set_metadata(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('c', "w")?;
    let metadata = headers::metadata(&call.headers)?;
    let demands = Demands::parse(&call.headers)?;
    let (record, ()) = change(blobs, &call, &demands, "setContainerMetadata", |record, now| {
        record.metadata.clone_from(&metadata);
        record.etag = blobs.new_etag();
        record.last_modified = now;
        Ok(())
    })
    .await?;
    let mut response = render::empty(StatusCode::OK);
    render::set_state(response.headers_mut(), &record.etag, record.last_modified);
    Ok(response)
}

/// Has `edit` change the container's record, again if another writer comes first; what became of it,
/// and what the last `edit` gave.
pub(crate) async fn change<T>(
    blobs: &Blobs,
    call: &Call,
    demands: &Demands,
    op: &str,
    edit: impl Fn(&mut ContainerRecord, Timestamp) -> Result<T, BlobsError>,
) -> Result<(ContainerRecord, T), BlobsError> {
    for attempt in 1.. {
        let container = look_up(blobs, call, demands, Use::Reads).await?;
        let mut record = container.record.clone();
        let edited = edit(&mut record, blobs.clock.now())?;
        match blobs.replace_container(&container, &record, op).await? {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok((record, edited)),
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

pub(crate) async fn delete(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('c', "d")?;
    let demands = Demands::parse(&call.headers)?;
    for attempt in 1.. {
        let container = look_up(blobs, &call, &demands, Use::Writes).await?;
        match blobs.delete_container(&container).await? {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(render::empty(StatusCode::ACCEPTED)),
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

/// Restore Container: the content and the properties of a deleted one, under the name that is asked for.
pub(crate) async fn restore(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    // The original's page names no letter: who may only create doesn't bring content and policies back.
    call.permit_signed('c', "w")?;
    let name = headers::required(&call.headers, "x-ms-deleted-container-name")?;
    // A role in the one container isn't one in what comes back under its name.
    if let Access::Bearer(principal, _) = &call.access {
        let deleted = Target {
            container: Some(name.to_owned()),
            ..call.target.clone()
        };
        let there = blobs.access_of(principal.clone(), &deleted);
        there.permit_signed(Needs::new('c', "w"))?;
    }
    let version = headers::required(&call.headers, "x-ms-deleted-container-version")?;
    let version = DeletedVersion::parse(version).ok_or_else(|| {
        let text = "x-ms-deleted-container-version is one that List Containers gives.";
        BlobsError::with(ErrorCode::InvalidHeaderValue, text)
    })?;
    blobs
        .restore_container(&call.target.account, (name, version), call.container()?)
        .await?;
    Ok(render::empty(StatusCode::CREATED))
}

/// The container as it is now, if the conditions hold of it.
async fn look_up(blobs: &Blobs, call: &Call, demands: &Demands, what: Use) -> Result<Container, BlobsError> {
    let snapshot = blobs.ledger.snapshot().await?;
    let container = blobs
        .container(snapshot.as_ref(), &call.target.account, call.container()?)
        .await?;
    demands.container(&container.record, what, blobs.clock.now())?;
    Ok(container)
}
