//! Set Blob Tier. Entity tag and time stay as they are; a blob leaves the archive at once.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::look_up;
use crate::operations::demands::{Demands, overtaken};
use crate::rules::lease::Use;
use crate::rules::tier::Tier;
use crate::service::Call;
use crate::store::records::{BlobKind, TierRecord};
use crate::wire::{headers, render};

pub(crate) async fn set(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let demands = Demands::parse(&call.headers)?;
    let asked = headers::tier(&call.headers)?
        .ok_or_else(|| BlobsError::with(ErrorCode::MissingRequiredHeader, "x-ms-access-tier is required."))?;
    for attempt in 1.. {
        let (container, blob) = look_up(blobs, &call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        let now = blobs.clock.now();
        demands.tags(Some(&blob.record))?;
        demands.lease(blob.record.lease.as_ref(), Use::Reads, now)?;
        let tier = asked.of_blob(blob.record.kind == BlobKind::Block)?;
        let mut record = blob.record.clone();
        record.tier = Some(TierRecord { tier, changed: now });
        let mut tx = Transaction::new();
        blobs.stage_change(&mut tx, &container, &blob, &record, "setTier")?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let rehydrated = blob.record.is_archived() && tier != Tier::Archive;
                return Ok(render::empty(if rehydrated {
                    StatusCode::ACCEPTED
                } else {
                    StatusCode::OK
                }));
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}
