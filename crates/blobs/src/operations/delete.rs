//! Delete Blob: a blob, its snapshots, or both; or one snapshot.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::SNAPSHOTS_STEP_MAX;
use crate::operations::blob::look_up_in;
use crate::operations::demands::{Demands, overtaken};
use crate::rules::deletion::{Scope, scope};
use crate::service::Call;
use crate::wire::{headers, render};

pub(crate) async fn delete(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "d")?;
    if call.parameter("deletetype").is_some() {
        return Err(ErrorCode::NotImplemented.into());
    }
    let demands = Demands::parse(&call.headers)?;
    let scope = scope(
        headers::text(&call.headers, "x-ms-delete-snapshots"),
        call.parameter("snapshot").is_some(),
    )?;
    let mut attempt = 1;
    loop {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        demands.write(Some(&blob.record), blobs.clock.now())?;
        let mut tx = Transaction::new();
        let mut complete = true;
        let mut kept = false;
        if scope == Scope::Snapshot {
            kept = blobs
                .stage_snapshot_deletion(&mut tx, snapshot.as_ref(), &container, &blob)
                .await?;
        } else {
            let taken = blobs
                .snapshots(snapshot.as_ref(), &container, &blob.record.name)
                .await?;
            if scope == Scope::Blob && !taken.is_empty() {
                return Err(ErrorCode::SnapshotsPresent.into());
            }
            // Many go in several commits, oldest first; the blob goes in the last one.
            complete = taken.len() < SNAPSHOTS_STEP_MAX;
            for found in &taken {
                kept = blobs
                    .stage_snapshot_deletion(&mut tx, snapshot.as_ref(), &container, found)
                    .await?;
            }
            if complete && scope != Scope::Snapshots {
                kept = blobs
                    .stage_keeping(&mut tx, snapshot.as_ref(), &container, &blob, true)
                    .await?;
                blobs.stage_blob_removal(&mut tx, &container, &blob);
            }
        }
        if !tx.is_empty() {
            match blobs.ledger.commit(tx).await {
                Err(error) if overtaken(&error, attempt) => {
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
        if complete {
            let mut response = render::empty(StatusCode::ACCEPTED);
            let permanent = if kept { "false" } else { "true" };
            render::set(response.headers_mut(), "x-ms-delete-type-permanent", permanent);
            return Ok(response);
        }
    }
}
