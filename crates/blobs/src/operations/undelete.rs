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
use crate::wire::render;

pub(crate) async fn undelete(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let mut attempt = 1;
    loop {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let (states, complete) = blobs
            .deleted_states(snapshot.as_ref(), &container, call.blob()?)
            .await?;
        if states.is_empty() {
            return match blob {
                Some(_) => Ok(render::empty(StatusCode::OK)),
                None => Err(ErrorCode::BlobNotFound.into()),
            };
        }
        let mut tx = Transaction::new();
        let newest = states.len() - 1;
        for (at, found) in states.iter().enumerate() {
            let was_current = found
                .record
                .deleted
                .as_ref()
                .is_some_and(|deleted| deleted.was_current);
            // The last state that was deleted is the blob's, if there is none now.
            let as_current = complete && at == newest && was_current && blob.is_none();
            blobs
                .stage_return(&mut tx, snapshot.as_ref(), &container, found, as_current)
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
