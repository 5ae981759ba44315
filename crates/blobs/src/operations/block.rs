//! Put Block, Put Block List, Get Block List.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_ID_BYTES_MAX, BLOCK_LIST_BYTES_MAX};
use crate::operations::blob::{Given, look_up, look_up_in, permit_write};
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::{Chosen, KeyUse, mismatch};
use crate::rules::block_list::merge;
use crate::rules::lease::{self, Lease, Use};
use crate::service::Call;
use crate::store::blobs::Blob;
use crate::store::blocks::Staged;
use crate::store::records::{BlobKind, BlobRecord, BlockRecord, Extent};
use crate::store::staging::StagedContent;
use crate::store::states::Which;
use crate::wire::transfer::{self, Transfer};
use crate::wire::{headers, render, xml};

/// The prefix of ids that a blob that was put whole gives its content when blocks join it.
const WHOLE_BLOCK: &str = "";

/// The block's id, which the address names.
pub(crate) fn id(call: &Call) -> Result<String, BlobsError> {
    let id = call
        .parameter("blockid")
        .ok_or_else(|| BlobsError::with(ErrorCode::MissingRequiredQueryParameter, "blockid is required."))?;
    let decoded = STANDARD.decode(id).map_err(|_| ErrorCode::InvalidBlockId)?;
    if decoded.is_empty() || decoded.len() > BLOCK_ID_BYTES_MAX {
        return Err(ErrorCode::InvalidBlockId.into());
    }
    Ok(id.to_owned())
}

/// Refuses a block before its content is taken in, if that is clear already; what it is to be encrypted under.
pub(crate) async fn check(blobs: &Blobs, call: &Call, id: &str) -> Result<Chosen, BlobsError> {
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let demands = Demands::parse(&call.headers)?;
    let snapshot = blobs.ledger.snapshot().await?;
    let (container, blob) = look_up_in(blobs, snapshot.as_ref(), call).await?;
    permit_write(call, blob.is_some())?;
    demands.lease(leased(blob.as_ref()), Use::Writes, blobs.clock.now())?;
    refuse_other_kinds(blob.as_ref())?;
    let staged = blobs
        .a_staged_block(snapshot.as_ref(), &container, call.blob()?)
        .await?;
    // As long as they are before they are encoded, of which the padding tells.
    let length = |id: &str| id.trim_end_matches('=').len();
    if staged.is_some_and(|staged| length(&staged.id) != length(id)) {
        return Err(ErrorCode::InvalidBlobOrBlock.into());
    }
    blobs.choose(&container, &asked)
}

pub(crate) async fn put(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    let id = id(&call)?;
    let transfer = Transfer::parse(&call.headers)?;
    if transfer.length == 0 {
        return Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "A block has at least one byte.",
        ));
    }
    if transfer.length > BLOCK_BYTES_MAX {
        return Err(ErrorCode::RequestBodyTooLarge.into());
    }
    let chosen = check(blobs, &call, &id).await?;
    let expected = transfer.expected_part(&call.headers, BLOCK_BYTES_MAX, false);
    let content = blobs
        .take_in(chosen.key.clone(), call.take_body(), expected)
        .await?;
    stage(blobs, &call, (&id, &chosen), &content).await
}

/// Stages a block whose content was taken in.
pub(crate) async fn stage(
    blobs: &Blobs,
    call: &Call,
    (id, chosen): (&str, &Chosen),
    content: &StagedContent,
) -> Result<Response<Body>, BlobsError> {
    let demands = Demands::parse(&call.headers)?;
    for attempt in 1.. {
        // Read anew: the container may have been changed while the content came in.
        let (container, blob) = look_up(blobs, call).await?;
        permit_write(call, blob.is_some())?;
        demands.lease(leased(blob.as_ref()), Use::Writes, blobs.clock.now())?;
        refuse_other_kinds(blob.as_ref())?;
        let block = (id, chosen.kept.clone());
        match blobs.put_block(&container, call.blob()?, block, content).await? {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let mut response = render::empty(StatusCode::CREATED);
    transfer::answer(response.headers_mut(), &call.headers, content);
    chosen.answer(response.headers_mut());
    Ok(response)
}

/// Blocks are staged for block blobs alone.
fn refuse_other_kinds(blob: Option<&Blob>) -> Result<(), BlobsError> {
    match blob {
        Some(blob) if blob.record.kind != BlobKind::Block => Err(ErrorCode::InvalidBlobType.into()),
        _ => Ok(()),
    }
}

fn leased(blob: Option<&Blob>) -> Option<&Lease> {
    blob.and_then(|blob| blob.record.lease.as_ref())
}

/// A blob's committed blocks by id. A blob that was put whole has none that a list could name.
fn committed(record: &BlobRecord) -> HashMap<String, BlockRecord> {
    record
        .extents
        .iter()
        .filter(|extent| extent.block != WHOLE_BLOCK)
        .filter_map(|extent| {
            let content = extent.content?;
            let block = BlockRecord {
                id: extent.block.clone(),
                length: extent.length,
                content,
                encryption: record.encryption.clone(),
            };
            Some((extent.block.clone(), block))
        })
        .collect()
}

pub(crate) async fn put_list(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let demands = Demands::parse(&call.headers)?;
    let properties = headers::blob_headers(&call.headers)?;
    let metadata = headers::metadata(&call.headers)?;
    let given = Given::parse(&call, blobs.clock.now())?;
    let body = call.take_body().read_bounded(BLOCK_LIST_BYTES_MAX).await?;
    transfer::check(&call.headers, &body)?;
    let list = xml::block_list(&body)?;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let container = blobs
            .container(snapshot.as_ref(), &call.target.account, call.container()?)
            .await?;
        let before = blobs.blob(snapshot.as_ref(), &container, call.blob()?).await?;
        demands.write(before.as_ref().map(|before| &before.record), blobs.clock.now())?;
        permit_write(&call, before.is_some())?;
        given.check(blobs, &container, true)?;
        let chosen = blobs.choose(&container, &asked)?;
        refuse_other_kinds(before.as_ref())?;
        let staged = blobs
            .staged_blocks(snapshot.as_ref(), &container, call.blob()?)
            .await?;
        let old = before
            .as_ref()
            .map(|before| committed(&before.record))
            .unwrap_or_default();
        let picked = merge(&list, &old, &staged.blocks)?;
        // A blob is all under one key.
        let other = picked
            .iter()
            .find_map(|(_, block)| mismatch(block.encryption.as_ref(), chosen.kept.as_ref()));
        if let Some(code) = other {
            return Err(code.into());
        }
        let extents: Vec<Extent> = picked
            .into_iter()
            .map(|(block, record)| Extent::stored(block, record.length, record.content))
            .collect();
        let now = blobs.clock.now();
        let mut record = BlobRecord {
            name: call.blob()?.to_owned(),
            etag: blobs.new_etag(),
            created: before.as_ref().map_or(now, |before| before.record.created),
            last_modified: now,
            length: extents.iter().map(|extent| extent.length).sum(),
            headers: properties.clone(),
            metadata: metadata.clone(),
            extents,
            encryption: chosen.kept.clone(),
            lease: lease::after_write(leased(before.as_ref()), now),
            ..BlobRecord::default()
        };
        given.apply(&mut record)?;
        let mut tx = Transaction::new();
        blobs
            .stage_replacing(
                &mut tx,
                snapshot.as_ref(),
                &container,
                before.as_ref(),
                &mut record,
            )
            .await?;
        blobs.stage_blob(
            &mut tx,
            &container,
            before.as_ref(),
            &record,
            None,
            "putBlockList",
        )?;
        blobs.stage_block_removal(&mut tx, &staged)?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::CREATED);
                let out = response.headers_mut();
                render::set_state(out, &record.etag, record.last_modified);
                render::set_version(out, record.version);
                chosen.answer(out);
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

pub(crate) async fn get_list(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "r")?;
    let (want_committed, want_staged) = match call.parameter("blocklisttype").unwrap_or("committed") {
        "committed" => (true, false),
        "uncommitted" => (false, true),
        "all" => (true, true),
        _ => return Err(ErrorCode::InvalidQueryParameterValue.into()),
    };
    // Anybody may see what a public blob is made of, not what its writer is about to do.
    if want_staged {
        call.permit_signed('o', "r")?;
    }
    let demands = Demands::parse(&call.headers)?;
    let snapshot = blobs.ledger.snapshot().await?;
    let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
    demands.lease(leased(blob.as_ref()), Use::Reads, blobs.clock.now())?;
    refuse_other_kinds(blob.as_ref())?;
    // Blocks are staged for the blob; its other states were made of what was committed.
    let staged = match call.which()? {
        Which::Blob => {
            blobs
                .staged_blocks(snapshot.as_ref(), &container, call.blob()?)
                .await?
        }
        Which::Snapshot(_) | Which::Version(_) => Staged::default(),
    };
    if blob.is_none() && staged.entries.is_empty() {
        return Err(ErrorCode::BlobNotFound.into());
    }
    demands.tags(blob.as_ref().map(|blob| &blob.record))?;
    let block =
        |id: &str, length: u64| format!("<Block>{}<Size>{length}</Size></Block>", xml::element("Name", id));
    let mut out = format!("{}<BlockList>", xml::DECLARATION);
    if want_committed {
        let extents = blob.iter().flat_map(|blob| &blob.record.extents);
        let blocks: String = extents
            .filter(|extent| extent.block != WHOLE_BLOCK)
            .map(|extent| block(&extent.block, extent.length))
            .collect();
        out.push_str(&format!("<CommittedBlocks>{blocks}</CommittedBlocks>"));
    }
    if want_staged {
        let mut sorted: Vec<&BlockRecord> = staged.blocks.values().collect();
        sorted.sort_by(|a, b| a.id.cmp(&b.id));
        let blocks: String = sorted
            .into_iter()
            .map(|record| block(&record.id, record.length))
            .collect();
        out.push_str(&format!("<UncommittedBlocks>{blocks}</UncommittedBlocks>"));
    }
    out.push_str("</BlockList>");
    let mut response = render::document(out);
    if let Some(blob) = blob {
        render::set_state(
            response.headers_mut(),
            &blob.record.etag,
            blob.record.last_modified,
        );
        render::set(
            response.headers_mut(),
            "x-ms-blob-content-length",
            blob.record.length.to_string(),
        );
    }
    Ok(response)
}
