//! Undelete Blob: everything of a blob that was deleted and is kept still comes back: versions and snapshots as
//! what they were, and the blob, if there is none and it wasn't a version. No version becomes the blob: that
//! is a copy's to do.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::look_up_in;
use crate::operations::demands::overtaken;
use crate::service::Call;
use crate::store::blobs::Blob;
use crate::store::steps;
use crate::wire::render;

pub(crate) async fn undelete(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let mut attempt = 1;
    loop {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let name = call.blob()?;
        let (states, mut complete) = blobs
            .states(snapshot.as_ref(), &container, (name, None), true)
            .await?;
        let (newest, has_version) = match blob {
            Some(_) => (None, false),
            None => (
                blobs.newest_deleted(snapshot.as_ref(), &container, name).await?,
                blobs.has_version(snapshot.as_ref(), &container, name).await?,
            ),
        };
        if states.is_empty() {
            return match blob.is_some() || has_version {
                true => Ok(render::empty(StatusCode::OK)),
                false => Err(ErrorCode::BlobNotFound.into()),
            };
        }
        // Where versions are what a blob leaves behind, a snapshot isn't what it was last.
        let versioned = has_version || blobs.makes_versions(&call.target.account);
        let was_current = |found: &Blob| found.record.deleted.as_ref().is_some_and(|it| it.was_current);
        let becomes = newest.filter(|newest| was_current(newest) || !versioned);
        let mut tx = Transaction::new();
        // Snapshots have a blob in every commit: the newest state becomes it first of all.
        if let Some(blob) = &blob {
            blobs.stage_anew(&mut tx, &container, blob)?;
        }
        if let Some(newest) = &becomes {
            blobs
                .stage_return(&mut tx, snapshot.as_ref(), &container, newest, true)
                .await?;
        }
        for found in &states {
            let at = found.record.below();
            if becomes
                .as_ref()
                .is_some_and(|becomes| becomes.record.below() == at)
            {
                continue;
            }
            if steps::is_full(&tx) {
                complete = false;
                break;
            }
            blobs
                .stage_return(&mut tx, snapshot.as_ref(), &container, found, false)
                .await?;
        }
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => attempt += 1,
            Err(error) => return Err(error.into()),
            Ok(_) if complete => return Ok(render::empty(StatusCode::OK)),
            Ok(_) => {}
        }
    }
}
