//! Copy Blob: shares content by reference and finishes at once. Abort Copy Blob. What Put Blob from URL
//! shares with it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Response, StatusCode};
use http_semantics::Body;
use jiff::Timestamp;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{SWEEP_GRACE_SECONDS, WRITE_ATTEMPTS_MAX};
use crate::operations::blob::{Given, look_up, look_up_in, permit_write};
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::{Chosen, KeyAsked, KeyUse};
use crate::operations::source::{Rewritten, Source};
use crate::rules::lease;
use crate::rules::roles::Action;
use crate::service::Call;
use crate::store::keys;
use crate::store::page_maps::CopiedPages;
use crate::store::records::{BlobEncryption, BlobKind, BlobRecord, CopyRecord};
use crate::store::staging::StagedContent;
use crate::wire::{headers, render};

pub(crate) async fn copy(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    call.refuse_keys()?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let source = Source::parse(blobs, &call).await?;
    let metadata = headers::metadata(&call.headers)?;
    let seals = headers::flag(&call.headers, "x-ms-seal-blob");
    let id = blobs.random.uuid().to_string();
    let check = |from: &BlobRecord, before: Option<&BlobRecord>| match before {
        Some(before) if before.kind != from.kind => Err(ErrorCode::InvalidBlobType.into()),
        _ => Ok(()),
    };
    let make = |from: &BlobRecord, _: Option<[u8; 16]>, now: Timestamp| BlobRecord {
        sealed: from.kind == BlobKind::Append && seals,
        metadata: match metadata.is_empty() {
            true => from.metadata.clone(),
            false => metadata.clone(),
        },
        copy: Some(CopyRecord {
            id: id.clone(),
            source: source.shown.clone(),
            completed: now,
        }),
        ..from.clone()
    };
    let becomes = ("copy", Becomes::Same);
    let (record, md5, _) = stage_from(blobs, &call, (&source, &asked), becomes, check, make).await?;
    let mut response = render::empty(StatusCode::ACCEPTED);
    let out = response.headers_mut();
    render::set_state(out, &record.etag, record.last_modified);
    render::set_version(out, record.version);
    render::set(out, "x-ms-copy-id", id);
    render::set(out, "x-ms-copy-status", "success");
    render::set_encryption(out, record.encryption.as_ref());
    if let Some(md5) = md5 {
        render::set(out, "content-md5", STANDARD.encode(md5));
    }
    Ok(response)
}

/// What kind of blob a source becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Becomes {
    /// The same: it shares its content.
    Same,
    /// A block blob: pages are read and written once more, holes as zeros.
    BlockBlob,
}

/// What content that was written anew is of: the source's ETag, and what it was encrypted under. A container whose
/// policy changes meanwhile, or that another one replaced, wants another key.
type Basis = (String, Option<BlobEncryption>);

/// Refuses content that was written so long ago that a sweep might take it before it is referred to; it is left to
/// the sweep.
///
/// # Errors
/// `ServerBusy`.
fn refuse_old(blobs: &Blobs, began: Duration) -> Result<(), BlobsError> {
    let age = blobs.clock.monotonic().saturating_sub(began);
    match age.as_secs() < SWEEP_GRACE_SECONDS / 2 {
        true => Ok(()),
        false => Err(ErrorCode::ServerBusy.into()),
    }
}

/// Makes the blob that a request is about of its source, whose content it shares; what was there
/// before goes, with the blocks that were staged for it. `check` refuses a source for what may be
/// there already. `make` makes the record of the source's, of the content's MD5 if that was announced
/// and held, and of the time; what the request itself says of the blob comes on top.
///
/// Answers the record, the MD5, and what the content is encrypted under.
///
/// # Errors
/// Those of the source, of the request's demands, of `check`; `Md5Mismatch`; `ServerBusy` if others
/// overtake it too often.
pub(crate) async fn stage_from(
    blobs: &Blobs,
    call: &Call,
    (source, asked): (&Source, &KeyAsked),
    (op, becomes): (&str, Becomes),
    check: impl Fn(&BlobRecord, Option<&BlobRecord>) -> Result<(), BlobsError> + Send + Sync,
    make: impl Fn(&BlobRecord, Option<[u8; 16]>, Timestamp) -> BlobRecord + Send + Sync,
) -> Result<(BlobRecord, Option<[u8; 16]>, Chosen), BlobsError> {
    let demands = Demands::parse(&call.headers)?;
    let mut given = Given::parse(call, blobs.clock.now())?;
    let copies_tags = headers::text(&call.headers, "x-ms-copy-source-tag-option")
        .is_some_and(|option| option.eq_ignore_ascii_case("COPY"));
    if copies_tags && !given.tags.is_empty() {
        let text = "x-ms-tags goes with x-ms-copy-source-tag-option REPLACE alone.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    if copies_tags {
        source.permit_tags()?;
        call.permit_action('o', "t", Action::TagsWrite)?;
    }
    let began = blobs.clock.monotonic();
    // The source's content is read once, however often the write is overtaken: as long as its ETag is the
    // same, so is its content.
    let mut hashed: Option<(String, Option<[u8; 16]>)> = None;
    // So are its pages copied.
    let mut copied: Option<(String, CopiedPages)> = None;
    // Or written anew, block by block, under the key that was chosen for it.
    let mut rewritten: Option<(Basis, Rewritten)> = None;
    // Or taken in.
    let mut taken: Option<(Basis, StagedContent)> = None;
    for attempt in 1..=WRITE_ATTEMPTS_MAX {
        let snapshot = blobs.ledger.snapshot().await?;
        let original = source.read(blobs, snapshot.as_ref(), call).await?;
        let (container, before) = look_up_in(blobs, snapshot.as_ref(), call).await?;
        let now = blobs.clock.now();
        let replaced = before.as_ref().map(|before| &before.record);
        demands.write(replaced, now)?;
        permit_write(call, before.is_some())?;
        let from = &original.blob.record;
        check(from, replaced)?;
        let is_block = becomes == Becomes::BlockBlob || from.kind == BlobKind::Block;
        given.check(blobs, &container, is_block)?;
        let chosen = blobs.choose(&container, asked)?;
        // Content under another key is written anew, as pages are that become a block blob.
        let is_other = original.is_under_another(&container, &chosen);
        let basis: Basis = (from.etag.clone(), chosen.kept.clone());
        let takes_in = becomes == Becomes::BlockBlob && (from.pages.is_some() || is_other);
        if is_other && !takes_in && from.pages.is_some() {
            let text = "A page blob isn't copied into another encryption scope; write its pages there.";
            return Err(BlobsError::with(ErrorCode::InvalidOperation, text));
        }
        if is_other && !takes_in && rewritten.as_ref().is_none_or(|(of, _)| *of != basis) {
            match original.rewrite(blobs, snapshot.as_ref(), &chosen).await {
                Ok(written) => rewritten = Some((basis.clone(), written)),
                Err(_) if original.is_changed(blobs).await? => continue,
                Err(error) => return Err(error),
            }
        }
        if takes_in && taken.as_ref().is_none_or(|(of, _)| *of != basis) {
            match original.take_in(blobs, snapshot.as_ref(), call, &chosen).await {
                Ok(content) => taken = Some((basis, content)),
                Err(_) if original.is_changed(blobs).await? => continue,
                Err(error) => return Err(error),
            }
        }
        let content = taken.as_ref().filter(|_| takes_in).map(|(_, content)| content);
        let md5 = match (content, hashed) {
            (Some(content), _) => content.md5,
            (None, Some((etag, md5))) if etag == from.etag => md5,
            _ => original.check_digest(blobs, snapshot.as_ref(), call).await?,
        };
        hashed = Some((from.etag.clone(), md5));
        if let Some(pages) = from.pages.as_ref().filter(|_| !takes_in)
            && copied.as_ref().is_none_or(|(etag, _)| *etag != from.etag)
        {
            let source = (&original.key(), &original.blob);
            let to = keys::blob(&container.record.generation, call.blob()?);
            match blobs.copy_pages(source, pages, &to).await {
                Err(error) if overtaken(&error, attempt) => continue,
                Err(error) => return Err(error.into()),
                Ok(own) => copied = Some((from.etag.clone(), own)),
            }
        }
        let own = from
            .pages
            .as_ref()
            .and(copied.as_ref())
            .map(|(_, own)| own.clone());
        let mut record = BlobRecord {
            name: call.blob()?.to_owned(),
            etag: blobs.new_etag(),
            created: replaced.map_or(now, |before| before.created),
            last_modified: now,
            lease: lease::after_write(replaced.and_then(|before| before.lease.as_ref()), now),
            snapshot: None,
            deleted: None,
            pages: own.as_ref().map(|own| own.pages.clone()),
            incremental: None,
            encryption: chosen.kept.clone(),
            ..make(from, md5, now)
        };
        if copies_tags {
            given.tags.clone_from(&from.tags);
        }
        given.apply(&mut record)?;
        let anew = rewritten.as_ref().filter(|_| is_other && !takes_in);
        let inline = match (content, anew) {
            (None, Some((_, anew))) => {
                record.extents.clone_from(&anew.extents);
                anew.inline.clone()
            }
            (Some(content), _) => {
                let (extent, inline) = content.as_extent()?;
                record.extents = vec![extent];
                inline
            }
            (None, None) => {
                let generation = &original.container.record.generation;
                let key = keys::inline(generation, &from.name, from.below());
                snapshot.get(&key).await?.map(|stored| stored.value)
            }
        };
        if takes_in || is_other {
            refuse_old(blobs, began)?;
        }
        let mut tx = Transaction::new();
        original.require(&mut tx);
        if let Some(own) = &own {
            own.stage(&mut tx);
        }
        let states = (before.as_ref(), &mut record, inline);
        blobs
            .stage_overwrite(&mut tx, snapshot.as_ref(), &container, states, op)
            .await?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {
                copied = copied.filter(|(_, own)| !own.are_gone(&error));
            }
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok((record, md5, chosen)),
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

/// Abort Copy Blob: copies finish at once, so there is never one to abort.
pub(crate) async fn abort(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let action = headers::text(&call.headers, "x-ms-copy-action");
    if action.is_none_or(|action| !action.eq_ignore_ascii_case("abort")) {
        let text = "x-ms-copy-action is abort.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    let (_, blob) = look_up(blobs, &call).await?;
    blob.ok_or(ErrorCode::BlobNotFound)?;
    Err(ErrorCode::NoPendingCopyOperation.into())
}
