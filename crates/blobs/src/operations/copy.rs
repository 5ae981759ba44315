//! Copy Blob: shares content by reference and finishes at once. Abort Copy Blob.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::{Given, look_up, permit_write, refuse_unserved};
use crate::operations::demands::{Demands, overtaken};
use crate::operations::source::Source;
use crate::rules::lease;
use crate::service::Call;
use crate::store::keys;
use crate::store::records::{BlobKind, CopyRecord};
use crate::wire::{headers, render};

pub(crate) async fn copy(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    refuse_unserved(&call)?;
    let source = Source::parse(blobs, &call).await?;
    let metadata = headers::metadata(&call.headers)?;
    let given = Given::parse(&call, blobs.clock.now())?;
    let demands = Demands::parse(&call.headers)?;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let original = source.read(blobs, snapshot.as_ref(), &call).await?;
        let container = blobs
            .container(snapshot.as_ref(), &call.target.account, call.container()?)
            .await?;
        let before = blobs.blob(snapshot.as_ref(), &container, call.blob()?).await?;
        demands.write(before.as_ref().map(|before| &before.record), blobs.clock.now())?;
        permit_write(&call, before.is_some())?;
        if before
            .as_ref()
            .is_some_and(|before| before.record.kind != original.blob.record.kind)
        {
            return Err(ErrorCode::InvalidBlobType.into());
        }
        let md5 = original.check_md5(blobs, snapshot.as_ref(), &call).await?;
        let now = blobs.clock.now();
        let mut record = original.blob.record.clone();
        record.sealed = record.kind == BlobKind::Append && headers::flag(&call.headers, "x-ms-seal-blob");
        given.apply(&mut record)?;
        record.snapshot = None;
        record.deleted = None;
        record.name = call.blob()?.to_owned();
        record.etag = blobs.new_etag();
        record.created = before.as_ref().map_or(now, |before| before.record.created);
        record.last_modified = now;
        let held = before.as_ref().and_then(|before| before.record.lease.as_ref());
        record.lease = lease::after_write(held, now);
        if !metadata.is_empty() {
            record.metadata = metadata.clone();
        }
        let id = blobs.random.uuid().to_string();
        record.copy = Some(CopyRecord {
            id: id.clone(),
            source: source.stripped.clone(),
            completed: now,
        });
        let inline_key = keys::inline(
            &original.container.record.generation,
            &original.blob.record.name,
            original.blob.record.snapshot,
        );
        let inline = snapshot.get(&inline_key).await?.map(|stored| stored.value);
        let mut tx = Transaction::new();
        original.require(&mut tx);
        if let Some(before) = &before {
            blobs
                .stage_keeping(&mut tx, snapshot.as_ref(), &container, before, false)
                .await?;
        }
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
                if let Some(md5) = md5 {
                    render::set(out, "content-md5", STANDARD.encode(md5));
                }
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

/// Abort Copy Blob: copies finish at once, so there is never one to abort.
pub(crate) async fn abort(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let action = headers::text(&call.headers, "x-ms-copy-action");
    if action.is_none_or(|action| !action.eq_ignore_ascii_case("abort")) {
        let text = "x-ms-copy-action is abort.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    let (_, blob) = look_up(blobs, &call).await?;
    blob.ok_or(ErrorCode::BlobNotFound)?;
    Err(ErrorCode::NoPendingCopyOperation.into())
}
