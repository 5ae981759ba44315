//! Delete Blob: a blob, its snapshots, or both; or one snapshot.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::look_up_in;
use crate::operations::demands::{Demands, overtaken};
use crate::rules::deletion::{Scope, scope};
use crate::service::Call;
use crate::store::steps;
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
            let name = &blob.record.name;
            let mut taken = Vec::new();
            if scope == Scope::Blob {
                if blobs.has_snapshot(snapshot.as_ref(), &container, name).await? {
                    return Err(ErrorCode::SnapshotsPresent.into());
                }
            } else {
                (taken, complete) = blobs.states(snapshot.as_ref(), &container, name, false).await?;
            }
            // Many go in several commits, oldest first; the blob goes in the last one.
            for found in &taken {
                if steps::is_full(&tx) {
                    complete = false;
                    break;
                }
                kept = blobs
                    .stage_snapshot_deletion(&mut tx, snapshot.as_ref(), &container, found)
                    .await?;
            }
            complete &= !steps::is_full(&tx) || scope == Scope::Snapshots;
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
