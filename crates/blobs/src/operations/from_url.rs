//! Put Blob from URL, Put Block from URL, Append Block from URL: writes whose content is another
//! blob's. A whole blob shares its source's content, but for a page blob's, which is read and written as a block
//! blob's; a block is a copy of the part that it names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use http_semantics::Body;
use jiff::Timestamp;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{APPEND_BLOCK_BYTES_MAX, BLOCK_BYTES_MAX, PUT_BLOB_BYTES_MAX};
use crate::operations::blob::look_up;
use crate::operations::copy::{Becomes, stage_from};
use crate::operations::encryption::{Chosen, KeyUse};
use crate::operations::pages::refuse_incremental;
use crate::operations::source::Source;
use crate::operations::{append, block};
use crate::service::Call;
use crate::store::records::{BlobHeaders, BlobRecord, Extent};
use crate::store::staging::{Expected, StagedContent};
use crate::wire::transfer::Announced;
use crate::wire::{headers, render, transfer};

/// A body would be lost silently.
fn refuse_body(call: &Call) -> Result<(), BlobsError> {
    match headers::content_length(&call.headers)? {
        None | Some(0) => Ok(()),
        Some(_) => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "Content-Length is 0: the content is the source's.",
        )),
    }
}

/// Takes in the part of the source that the request names, encrypted as it was `chosen`; `inline` as in [`Expected`].
pub(crate) async fn take_in(
    blobs: &Blobs,
    call: &Call,
    chosen: &Chosen,
    (bytes_max, inline): (u64, bool),
) -> Result<StagedContent, BlobsError> {
    refuse_body(call)?;
    let source = Source::parse(blobs, call).await?;
    let snapshot = blobs.ledger.snapshot().await?;
    let original = source.read(blobs, snapshot.as_ref(), call).await?;
    let (body, length) = original.body(blobs, snapshot.as_ref(), call).await?;
    if length > bytes_max {
        return Err(ErrorCode::RequestBodyTooLarge.into());
    }
    if length == 0 {
        let text = "A block has at least one byte.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    let expected = Expected {
        length: Some(length),
        digest: Announced::of_source(&call.headers)?,
        is_structured: false,
        bytes_max,
        md5: transfer::answers_md5(&call.headers),
        inline,
    };
    match blobs.take_in(chosen.key.clone(), body, expected).await {
        // It may come again: what was read isn't there any more.
        Err(_) if original.is_changed(blobs).await? => Err(ErrorCode::ServerBusy.into()),
        other => other,
    }
}

pub(crate) async fn put_block(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    let id = block::id(&call)?;
    let chosen = block::check(blobs, &call, &id).await?;
    let content = take_in(blobs, &call, &chosen, (BLOCK_BYTES_MAX, false)).await?;
    block::stage(blobs, &call, (&id, &chosen), &content).await
}

pub(crate) async fn append_block(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "aw")?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let (_, blob) = look_up(blobs, &call).await?;
    let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
    let chosen = blobs.choose_for(&call.target.account, &blob.record, &asked)?;
    let content = take_in(blobs, &call, &chosen, (APPEND_BLOCK_BYTES_MAX, false)).await?;
    append::add_to(blobs, &call, &content, &chosen).await
}

pub(crate) async fn put_blob(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    refuse_body(&call)?;
    if headers::text(&call.headers, "x-ms-blob-type") != Some("BlockBlob") {
        let text = "x-ms-blob-type is BlockBlob: other kinds are not put from an address.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    let source = Source::parse(blobs, &call).await?;
    let copies_properties = headers::text(&call.headers, "x-ms-copy-source-blob-properties")
        .is_none_or(|value| value.eq_ignore_ascii_case("true"));
    let properties = headers::blob_headers(&call.headers)?;
    let metadata = headers::metadata(&call.headers)?;
    let check = |from: &BlobRecord, _: Option<&BlobRecord>| {
        refuse_incremental(from)?;
        match from.length > PUT_BLOB_BYTES_MAX {
            true => Err(ErrorCode::RequestBodyTooLarge.into()),
            false => Ok(()),
        }
    };
    let make = |from: &BlobRecord, md5: Option<[u8; 16]>, _: Timestamp| {
        let kept = if copies_properties {
            &from.headers
        } else {
            &properties
        };
        BlobRecord {
            length: from.length,
            headers: BlobHeaders {
                content_md5: md5
                    .map(|md5| STANDARD.encode(md5))
                    .or_else(|| from.headers.content_md5.clone()),
                ..kept.clone()
            },
            metadata: match metadata.is_empty() && copies_properties {
                true => from.metadata.clone(),
                false => metadata.clone(),
            },
            // The blob is put whole: a list of blocks could name none of them.
            extents: from
                .extents
                .iter()
                .map(|extent| Extent {
                    block: String::new(),
                    ..extent.clone()
                })
                .collect(),
            ..BlobRecord::default()
        }
    };
    let becomes = ("put", Becomes::BlockBlob);
    let (record, _, chosen) = stage_from(blobs, &call, (&source, &asked), becomes, check, make).await?;
    let mut response = render::empty(StatusCode::CREATED);
    let out = response.headers_mut();
    render::set_state(out, &record.etag, record.last_modified);
    render::set_version(out, record.version);
    if let Some(md5) = &record.headers.content_md5 {
        render::set(out, "content-md5", md5);
    }
    chosen.answer(out);
    Ok(response)
}
