//! Delete Blob: a blob, its snapshots, or both; or one snapshot or version.

use http::{Response, StatusCode};
use http_semantics::Body;
use jiff::Timestamp;
use ledger::{Snapshot, Transaction};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::look_up_in;
use crate::operations::demands::{Demands, overtaken};
use crate::rules::deletion::{Scope, scope};
use crate::service::Call;
use crate::store::states::Which;
use crate::store::{keys, steps};
use crate::wire::{headers, render};

pub(crate) async fn delete(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let demands = Demands::parse(&call.headers);
    delete_with(blobs, &call, demands).await
}

/// The same, by demands that a client couldn't make.
pub(crate) async fn delete_if(
    blobs: &Blobs,
    call: &Call,
    demands: Demands,
) -> Result<Response<Body>, BlobsError> {
    delete_with(blobs, call, Ok(demands)).await
}

async fn delete_with(
    blobs: &Blobs,
    call: &Call,
    demands: Result<Demands, BlobsError>,
) -> Result<Response<Body>, BlobsError> {
    let which = call.which()?;
    let scope = scope(
        call.parameter("deletetype"),
        headers::text(&call.headers, "x-ms-delete-snapshots"),
        which != Which::Blob,
    );
    // Who may delete a blob may not delete what is kept of it.
    let permission = match (&scope, which) {
        (Ok(Scope::DeletedState), _) => "y",
        (_, Which::Version(_)) => "x",
        _ => "d",
    };
    call.permit('o', permission)?;
    let demands = demands?;
    match scope? {
        Scope::State => state(blobs, call, &demands, false).await,
        Scope::DeletedState => state(blobs, call, &demands, true).await,
        scope => blob(blobs, call, &demands, scope).await,
    }
}

/// What the account keeps is kept (`kept`), so it isn't gone for good.
fn answer(kept: bool) -> Response<Body> {
    let mut response = render::empty(StatusCode::ACCEPTED);
    let permanent = if kept { "false" } else { "true" };
    render::set(response.headers_mut(), "x-ms-delete-type-permanent", permanent);
    response
}

/// Deletes a snapshot or a previous version; `deleted` ones go at once.
async fn state(
    blobs: &Blobs,
    call: &Call,
    demands: &Demands,
    deleted: bool,
) -> Result<Response<Body>, BlobsError> {
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let container = blobs
            .container(snapshot.as_ref(), &call.target.account, call.container()?)
            .await?;
        let mut tx = Transaction::new();
        if deleted {
            permit_permanent(blobs, snapshot.as_ref(), &call.target.account, &mut tx).await?;
        }
        let found = blobs
            .state_at(snapshot.as_ref(), &container, call.blob()?, call.which()?)
            .await?;
        let found = found.filter(|found| deleted || found.record.deleted.is_none());
        let found = found.ok_or(ErrorCode::BlobNotFound)?;
        if found.record.below().is_none() {
            return Err(ErrorCode::OperationNotAllowedOnRootBlob.into());
        }
        if deleted && found.record.deleted.is_none() {
            return Err(ErrorCode::BlobSnapshotNotSoftDeleted.into());
        }
        demands.write(Some(&found.record), blobs.clock.now())?;
        let mut kept = false;
        if deleted {
            blobs.stage_deleted_removal(&mut tx, &container, &found)?;
        } else {
            kept = blobs
                .stage_state_deletion(&mut tx, snapshot.as_ref(), &container, &found)
                .await?;
        }
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(answer(kept)),
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

/// What goes for good goes under the setting that lets it.
async fn permit_permanent(
    blobs: &Blobs,
    snapshot: &dyn Snapshot,
    account: &str,
    tx: &mut Transaction,
) -> Result<(), BlobsError> {
    let (record, version) = blobs.service_record(snapshot, account).await?;
    tx.require_version(keys::service(account), version);
    if record.allows_permanent_delete {
        return Ok(());
    }
    let text = "The account doesn't let anything go at once; see AllowPermanentDelete of Set Blob Service Properties.";
    Err(BlobsError::with(ErrorCode::InvalidOperation, text))
}

/// Deletes a blob, its snapshots, or both.
async fn blob(
    blobs: &Blobs,
    call: &Call,
    demands: &Demands,
    scope: Scope,
) -> Result<Response<Body>, BlobsError> {
    let mut attempt = 1;
    // The newest snapshot that went: those up to it aren't read again, however many there are.
    let mut gone: Option<Timestamp> = None;
    let mut kept = false;
    loop {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        demands.write(Some(&blob.record), blobs.clock.now())?;
        if scope != Scope::Snapshots {
            blob.record.protection.deletion(blobs.clock.now())?;
        }
        let mut tx = Transaction::new();
        let mut complete = true;
        let name = &blob.record.name;
        let mut taken = Vec::new();
        if scope == Scope::Blob {
            if blobs.has_snapshot(snapshot.as_ref(), &container, name).await? {
                return Err(ErrorCode::SnapshotsPresent.into());
            }
        } else {
            // Nothing goes where something stays.
            if gone.is_none() {
                blobs.check_snapshots(snapshot.as_ref(), &container, name).await?;
            }
            (taken, complete) = blobs
                .states(snapshot.as_ref(), &container, (name, gone), false)
                .await?;
            // Older ones may have come back meanwhile, so the blob goes in a commit that looked at all.
            if gone.is_some() && complete {
                match taken.is_empty() {
                    false => complete = false,
                    true if blobs.has_snapshot(snapshot.as_ref(), &container, name).await? => {
                        gone = None;
                        continue;
                    }
                    true => {}
                }
            }
        }
        let mut through = gone;
        // Many go in several commits, oldest first; the blob goes in the last one.
        for found in &taken {
            if steps::is_full(&tx) {
                complete = false;
                break;
            }
            kept = blobs
                .stage_state_deletion(&mut tx, snapshot.as_ref(), &container, found)
                .await?;
            through = found.record.below();
        }
        complete &= !steps::is_full(&tx) || scope == Scope::Snapshots;
        if complete && scope != Scope::Snapshots {
            kept = blobs
                .stage_leaving(&mut tx, snapshot.as_ref(), &container, &blob)
                .await?;
            blobs.stage_blob_removal(&mut tx, &container, &blob)?;
        }
        if !tx.is_empty() {
            match call.commit(blobs, tx).await {
                Err(error) if overtaken(&error, attempt) => {
                    attempt += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
                Ok(_) => gone = through,
            }
        }
        if complete {
            return Ok(answer(kept));
        }
    }
}
