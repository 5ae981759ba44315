//! Undelete Blob: everything of a blob that was deleted and is kept still comes back, as a blob where
//! there is none, else as snapshots.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::look_up_in;
use crate::operations::demands::overtaken;
use crate::service::Call;
use crate::store::steps;
use crate::wire::render;

pub(crate) async fn undelete(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let mut attempt = 1;
    loop {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let newest = blobs
            .newest_deleted(snapshot.as_ref(), &container, call.blob()?)
            .await?;
        let Some(newest) = newest else {
            return match blob {
                Some(_) => Ok(render::empty(StatusCode::OK)),
                None => Err(ErrorCode::BlobNotFound.into()),
            };
        };
        let (states, mut complete) = blobs
            .states(snapshot.as_ref(), &container, call.blob()?, true)
            .await?;
        let mut tx = Transaction::new();
        // Snapshots have a blob in every commit: the newest state becomes it first of all.
        match &blob {
            Some(blob) => blobs.stage_anew(&mut tx, &container, blob)?,
            None => {
                blobs
                    .stage_return(&mut tx, snapshot.as_ref(), &container, &newest, true)
                    .await?;
            }
        }
        for found in &states {
            if blob.is_none() && found.record.snapshot == newest.record.snapshot {
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
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => attempt += 1,
            Err(error) => return Err(error.into()),
            Ok(_) if complete => return Ok(render::empty(StatusCode::OK)),
            Ok(_) => {}
        }
    }
}
