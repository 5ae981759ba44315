//! Put Blob from URL, Put Block from URL, Append Block from URL: writes whose content is another
//! blob's. A whole blob shares its source's content; a block is a copy of the part that it names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{APPEND_BLOCK_BYTES_MAX, BLOCK_BYTES_MAX, PUT_BLOB_BYTES_MAX};
use crate::operations::blob::{Given, look_up_in, permit_write, refuse_unserved};
use crate::operations::demands::{Demands, overtaken};
use crate::operations::source::Source;
use crate::operations::{append, block};
use crate::rules::lease;
use crate::service::Call;
use crate::store::keys;
use crate::store::records::{BlobRecord, Extent};
use crate::store::staging::{Expected, StagedContent};
use crate::wire::{headers, render};

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

/// Takes in the part of the source that the request names.
async fn take_in(blobs: &Blobs, call: &Call, bytes_max: u64) -> Result<StagedContent, BlobsError> {
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
        md5: headers::md5(&call.headers, "x-ms-source-content-md5")?,
        bytes_max,
        inline: false,
    };
    blobs.take_in(body, expected).await
}

pub(crate) async fn put_block(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    refuse_unserved(&call)?;
    let id = block::id(&call)?;
    block::check(blobs, &call, &id).await?;
    let content = take_in(blobs, &call, BLOCK_BYTES_MAX).await?;
    block::stage(blobs, &call, &id, &content).await
}

pub(crate) async fn append_block(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "aw")?;
    refuse_unserved(&call)?;
    let content = take_in(blobs, &call, APPEND_BLOCK_BYTES_MAX).await?;
    append::add_to(blobs, &call, &content).await
}

pub(crate) async fn put_blob(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    refuse_unserved(&call)?;
    refuse_body(&call)?;
    if headers::text(&call.headers, "x-ms-blob-type") != Some("BlockBlob") {
        let text = "x-ms-blob-type is BlockBlob: other kinds are not put from an address.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    let source = Source::parse(blobs, &call).await?;
    let demands = Demands::parse(&call.headers)?;
    let mut given = Given::parse(&call, blobs.clock.now())?;
    let copies_tags = headers::text(&call.headers, "x-ms-copy-source-tag-option")
        .is_some_and(|option| option.eq_ignore_ascii_case("COPY"));
    if copies_tags {
        source.permit_tags()?;
        call.permit_signed('o', "t")?;
    }
    let copies_properties = headers::text(&call.headers, "x-ms-copy-source-blob-properties")
        .is_none_or(|value| value.eq_ignore_ascii_case("true"));
    let properties = headers::blob_headers(&call.headers)?;
    let metadata = headers::metadata(&call.headers)?;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let original = source.read(blobs, snapshot.as_ref(), &call).await?;
        let (container, before) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let now = blobs.clock.now();
        demands.write(before.as_ref().map(|before| &before.record), now)?;
        permit_write(&call, before.is_some())?;
        let from = &original.blob.record;
        if from.length > PUT_BLOB_BYTES_MAX {
            return Err(ErrorCode::RequestBodyTooLarge.into());
        }
        let md5 = original.check_md5(blobs, snapshot.as_ref(), &call).await?;
        let held = before.as_ref().and_then(|before| before.record.lease.as_ref());
        let mut record = BlobRecord {
            name: call.blob()?.to_owned(),
            etag: blobs.new_etag(),
            created: before.as_ref().map_or(now, |before| before.record.created),
            last_modified: now,
            length: from.length,
            headers: if copies_properties {
                from.headers.clone()
            } else {
                properties.clone()
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
            lease: lease::after_write(held, now),
            ..BlobRecord::default()
        };
        record.headers.content_md5 = md5
            .map(|md5| STANDARD.encode(md5))
            .or_else(|| from.headers.content_md5.clone());
        record.metadata = match metadata.is_empty() && copies_properties {
            true => from.metadata.clone(),
            false => metadata.clone(),
        };
        if copies_tags {
            given.tags.clone_from(&from.tags);
        }
        given.apply(&mut record)?;
        let inline_key = keys::inline(&original.container.record.generation, &from.name, from.snapshot);
        let inline = snapshot.get(&inline_key).await?.map(|stored| stored.value);
        let mut tx = Transaction::new();
        original.require(&mut tx);
        if let Some(before) = &before {
            blobs
                .stage_keeping(&mut tx, snapshot.as_ref(), &container, before, false)
                .await?;
        }
        blobs.stage_blob(&mut tx, &container, before.as_ref(), &record, inline, "put")?;
        let dropped_blocks = blobs
            .staged_blocks(snapshot.as_ref(), &container, &record.name)
            .await?;
        blobs.stage_block_removal(&mut tx, &dropped_blocks)?;
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::CREATED);
                let out = response.headers_mut();
                render::set_state(out, &record.etag, record.last_modified);
                if let Some(md5) = &record.headers.content_md5 {
                    render::set(out, "content-md5", md5);
                }
                render::set(out, "x-ms-request-server-encrypted", "false");
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}
