//! Snapshot Blob: the blob as it is, kept under a time. Content is shared, not copied.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::look_up_in;
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::KeyUse;
use crate::operations::pages::refuse_incremental;
use crate::rules::lease::Use;
use crate::service::Call;
use crate::store::states::time_text;
use crate::wire::{headers, render};

pub(crate) async fn take(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let demands = Demands::parse(&call.headers)?;
    let metadata = headers::metadata(&call.headers)?;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        demands.state(&blob.record)?;
        demands.lease(blob.record.lease.as_ref(), Use::Reads, blobs.clock.now())?;
        let chosen = blobs.choose_for(&call.target.account, &blob.record, &asked)?;
        refuse_incremental(&blob.record)?;
        if blob.record.is_archived() {
            return Err(ErrorCode::BlobArchived.into());
        }
        let mut record = blob.record.clone();
        if !metadata.is_empty() {
            record.metadata.clone_from(&metadata);
            record.etag = blobs.new_etag();
            record.last_modified = blobs.clock.now();
        }
        let mut tx = Transaction::new();
        let (etag, last_modified) = (record.etag.clone(), record.last_modified);
        let (at, version) = blobs
            .stage_snapshot_of(&mut tx, snapshot.as_ref(), &container, &blob, record)
            .await?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::CREATED);
                let out = response.headers_mut();
                render::set_state(out, &etag, last_modified);
                render::set_version(out, version);
                render::set(out, "x-ms-snapshot", time_text(at));
                chosen.answer(out);
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}
