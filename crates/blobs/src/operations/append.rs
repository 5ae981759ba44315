//! Put Blob of an append blob, Append Block, Append Blob Seal. What was appended before is never
//! written again: a block is content of its own, which the blob's record refers to.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::APPEND_BLOCK_BYTES_MAX;
use crate::operations::blob::look_up;
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::{Chosen, KeyUse};
use crate::rules::append::{self, Demand, Target};
use crate::rules::lease;
use crate::service::Call;
use crate::store::records::{BlobKind, BlobRecord, Extent};
use crate::store::staging::{Place, StagedContent};
use crate::wire::transfer::{self, Transfer};
use crate::wire::{headers, render};

fn target(record: &BlobRecord) -> Target {
    Target {
        appendable: record.kind == BlobKind::Append,
        sealed: record.sealed,
        length_bytes: record.length,
        blocks: record.extents.len(),
    }
}

fn demand(call: &Call) -> Result<Demand, BlobsError> {
    let number = |name: &'static str| {
        headers::text(&call.headers, name)
            .map(|text| {
                text.parse().map_err(|_| {
                    BlobsError::with(
                        ErrorCode::InvalidHeaderValue,
                        format!("{name} is not a number of bytes."),
                    )
                })
            })
            .transpose()
    };
    Ok(Demand {
        position_bytes: number("x-ms-blob-condition-appendpos")?,
        length_bytes_max: number("x-ms-blob-condition-maxsize")?,
    })
}

pub(crate) async fn block(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "aw")?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let transfer = Transfer::parse(&call.headers)?;
    let length = transfer.length;
    if length == 0 {
        let text = "An appended block has at least one byte.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    if length > APPEND_BLOCK_BYTES_MAX {
        return Err(ErrorCode::RequestBodyTooLarge.into());
    }
    let demands = Demands::parse(&call.headers)?;
    let demand = demand(&call)?;
    // Refused before the body is taken, if it is clear already.
    let (_, blob) = look_up(blobs, &call).await?;
    let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
    demands.write(Some(&blob.record), blobs.clock.now())?;
    blob.record.protection.change()?;
    append::append(target(&blob.record), demand, length)?;
    let chosen = blobs.choose_for(&call.target.account, &blob.record, &asked)?;
    let expected = transfer.expected_part(&call.headers, APPEND_BLOCK_BYTES_MAX, false);
    let content = blobs
        .take_in(chosen.key.clone(), call.take_body(), expected)
        .await?;
    add(blobs, &call, &demands, demand, (&content, &chosen)).await
}

/// Adds content that was taken in to the end of the blob that the request is about.
pub(crate) async fn add_to(
    blobs: &Blobs,
    call: &Call,
    content: &StagedContent,
    chosen: &Chosen,
) -> Result<Response<Body>, BlobsError> {
    let demands = Demands::parse(&call.headers)?;
    add(blobs, call, &demands, demand(call)?, (content, chosen)).await
}

/// Adds content that was taken in to the blob's end.
async fn add(
    blobs: &Blobs,
    call: &Call,
    demands: &Demands,
    demand: Demand,
    (content, chosen): (&StagedContent, &Chosen),
) -> Result<Response<Body>, BlobsError> {
    let Place::Stored(stored) = content.place else {
        return Err(ErrorCode::InternalError.into());
    };
    for attempt in 1.. {
        let (container, blob) = look_up(blobs, call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        let now = blobs.clock.now();
        demands.write(Some(&blob.record), now)?;
        blob.record.protection.change()?;
        append::append(target(&blob.record), demand, content.length_bytes)?;
        chosen.check(&blob.record)?;
        let mut record = blob.record.clone();
        let offset = record.length;
        let extent = Extent::stored(String::new(), content.length_bytes, stored);
        record.extents.push(extent);
        record.length += content.length_bytes;
        record.etag = blobs.new_etag();
        record.last_modified = now;
        record.lease = lease::after_write(record.lease.as_ref(), now);
        let mut tx = Transaction::new();
        blobs.stage_blob(&mut tx, &container, Some(&blob), &record, None, "appendBlock")?;
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::CREATED);
                let out = response.headers_mut();
                render::set_state(out, &record.etag, record.last_modified);
                transfer::answer(out, &call.headers, content);
                render::set(out, "x-ms-blob-append-offset", offset.to_string());
                render::set(
                    out,
                    "x-ms-blob-committed-block-count",
                    record.extents.len().to_string(),
                );
                chosen.answer(out);
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

pub(crate) async fn seal(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let demands = Demands::parse(&call.headers)?;
    let demand = demand(&call)?;
    for attempt in 1.. {
        let (container, blob) = look_up(blobs, &call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        let now = blobs.clock.now();
        demands.write(Some(&blob.record), now)?;
        blob.record.protection.change()?;
        append::seal(target(&blob.record), demand)?;
        let mut record = blob.record.clone();
        let sealed_before = std::mem::replace(&mut record.sealed, true);
        if !sealed_before {
            record.etag = blobs.new_etag();
            record.last_modified = now;
            record.lease = lease::after_write(record.lease.as_ref(), now);
            let mut tx = Transaction::new();
            blobs.stage_blob(&mut tx, &container, Some(&blob), &record, None, "seal")?;
            match blobs.ledger.commit(tx).await {
                Err(error) if overtaken(&error, attempt) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
        let mut response = render::empty(StatusCode::OK);
        let out = response.headers_mut();
        render::set_state(out, &record.etag, record.last_modified);
        render::set(out, "x-ms-blob-sealed", "true");
        return Ok(response);
    }
    Err(ErrorCode::ServerBusy.into())
}
