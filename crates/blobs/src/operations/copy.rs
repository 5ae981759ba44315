//! Copy Blob, within an account: shares content by reference and finishes at once.

use http::{Response, StatusCode, Uri};
use http_semantics::Body;
use jiff::Timestamp;
use ledger::Transaction;

use crate::Blobs;
use crate::auth::Access;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::{Given, permit_write, refuse_unserved};
use crate::operations::demands::{Demands, overtaken};
use crate::rules::lease;
use crate::service::{Call, parse_query};
use crate::store::keys;
use crate::store::records::{BlobKind, CopyRecord};
use crate::store::snapshots::parse_time;
use crate::wire::target::Target;
use crate::wire::{headers, render};

pub(crate) async fn copy(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    refuse_unserved(&call)?;
    let source_url =
        headers::text(&call.headers, "x-ms-copy-source").ok_or(ErrorCode::MissingRequiredHeader)?;
    let (source, source_at) = parse_source(blobs, source_url)?;
    // A signature for the destination says nothing of the source.
    if source.account != call.target.account || !matches!(call.access, Access::Key) {
        let text = "Copies are served within an account and with its key.";
        return Err(BlobsError::with(ErrorCode::CannotVerifyCopySource, text));
    }
    let missing = || BlobsError::from(ErrorCode::CannotVerifyCopySource);
    let (source_container, source_blob) = (
        source.container.as_deref().ok_or_else(missing)?,
        source.blob.as_deref().ok_or_else(missing)?,
    );
    let metadata = headers::metadata(&call.headers)?;
    let given = Given::parse(&call, blobs.clock.now())?;
    let demands = Demands::parse(&call.headers)?;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let from = blobs
            .container(snapshot.as_ref(), &source.account, source_container)
            .await
            .map_err(|error| {
                if error.code == ErrorCode::ContainerNotFound {
                    missing()
                } else {
                    error
                }
            })?;
        let original = blobs
            .blob_at(snapshot.as_ref(), &from, source_blob, source_at)
            .await?
            .ok_or_else(missing)?;
        let container = blobs
            .container(snapshot.as_ref(), &call.target.account, call.container()?)
            .await?;
        let before = blobs.blob(snapshot.as_ref(), &container, call.blob()?).await?;
        demands.write(before.as_ref().map(|before| &before.record), blobs.clock.now())?;
        permit_write(&call, before.is_some())?;
        if before
            .as_ref()
            .is_some_and(|before| before.record.kind != original.record.kind)
        {
            return Err(ErrorCode::InvalidBlobType.into());
        }
        if original.record.is_archived() {
            return Err(ErrorCode::BlobArchived.into());
        }
        let now = blobs.clock.now();
        let mut record = original.record.clone();
        record.sealed = record.kind == BlobKind::Append && headers::flag(&call.headers, "x-ms-seal-blob");
        given.apply(&mut record)?;
        record.snapshot = None;
        record.name = call.blob()?.to_owned();
        record.etag = blobs.new_etag();
        record.created = before.as_ref().map_or(now, |before| before.record.created);
        record.last_modified = now;
        let held = before.as_ref().and_then(|before| before.record.lease.as_ref());
        record.lease = lease::after_write(held, now);
        if !metadata.is_empty() {
            record.metadata = metadata.clone();
        }
        let stripped = source_url.split('?').next().unwrap_or(source_url).to_owned();
        let id = blobs.random.uuid().to_string();
        record.copy = Some(CopyRecord {
            id: id.clone(),
            source: stripped,
            completed: now,
        });
        let inline_key = keys::inline(
            &from.record.generation,
            &original.record.name,
            original.record.snapshot,
        );
        let inline = snapshot.get(&inline_key).await?.map(|stored| stored.value);
        let mut tx = Transaction::new();
        from.require(&mut tx);
        tx.require_version(
            keys::state(&from.record.generation, &original.record),
            Some(original.version),
        );
        blobs.stage_blob(&mut tx, &container, before.as_ref(), &record, inline, "copy")?;
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::ACCEPTED);
                let out = response.headers_mut();
                render::set_state(out, &record.etag, record.last_modified);
                render::set(out, "x-ms-copy-id", id);
                render::set(out, "x-ms-copy-status", "success");
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

/// Whose blob an address names, and which of its snapshots.
fn parse_source(blobs: &Blobs, url: &str) -> Result<(Target, Option<Timestamp>), BlobsError> {
    let uri: Uri = url.parse().map_err(|_| ErrorCode::InvalidHeaderValue)?;
    let query = parse_query(uri.query().unwrap_or_default())?;
    if query.iter().any(|(name, _)| name == "versionid") {
        return Err(ErrorCode::NotImplemented.into());
    }
    let at = query
        .iter()
        .find(|(name, _)| name == "snapshot")
        .map(|(_, value)| parse_time(value))
        .transpose()?;
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    let target = Target::parse(&host, uri.path(), &blobs.settings.host_suffixes)
        .map_err(|_| ErrorCode::CannotVerifyCopySource)?;
    Ok((target, at))
}
