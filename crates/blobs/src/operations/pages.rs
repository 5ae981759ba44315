//! Put Blob of a page blob, Put Page, Put Page from URL, and what of Set Blob Properties is about page
//! blobs: length and sequence number.
//!
//! Pages that are put are one commit. Clearing more than a commit takes goes in steps, and the blob shows
//! each; its length and its sequence number change with the last one.

use std::ops::Range;

use http::{HeaderMap, Response, StatusCode};
use http_semantics::Body;
use jiff::Timestamp;
use ledger::{Sequence, Transaction};

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{PUT_PAGE_BYTES_MAX, WRITE_ATTEMPTS_MAX};
use crate::operations::blob::{Given, look_up, look_up_in, permit_write};
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::{Chosen, KeyAsked, KeyUse};
use crate::operations::from_url;
use crate::rules::lease;
use crate::rules::pages::{self, SequenceAction, SequenceDemand};
use crate::service::Call;
use crate::store::blobs::Blob;
use crate::store::keys;
use crate::store::records::{BlobKind, BlobRecord, PagesRecord};
use crate::store::staging::StagedContent;
use crate::wire::transfer::{self, Transfer};
use crate::wire::{headers, render};

pub(crate) async fn create(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    if headers::content_length(&call.headers)?.unwrap_or(0) > 0 {
        let text = "A page blob is made of zeros; put pages into it.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    let length = pages::length(headers::required(&call.headers, "x-ms-blob-content-length")?)?;
    let number = headers::text(&call.headers, "x-ms-blob-sequence-number");
    let sequence_number = number.map_or(Ok(0), pages::sequence_number)?;
    let demands = Demands::parse(&call.headers)?;
    let mut properties = headers::blob_headers(&call.headers)?;
    if properties.content_type.is_none() {
        properties.content_type = headers::text(&call.headers, "content-type").map(str::to_owned);
    }
    let metadata = headers::metadata(&call.headers)?;
    let given = Given::parse(&call, blobs.clock.now())?;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, before) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let now = blobs.clock.now();
        let replaced = before.as_ref().map(|before| &before.record);
        demands.write(replaced, now)?;
        permit_write(&call, before.is_some())?;
        given.check(blobs, &container, false)?;
        let chosen = blobs.choose(&container, &asked)?;
        let mut record = BlobRecord {
            name: call.blob()?.to_owned(),
            etag: blobs.new_etag(),
            created: replaced.map_or(now, |before| before.created),
            last_modified: now,
            length,
            headers: properties.clone(),
            metadata: metadata.clone(),
            lease: lease::after_write(replaced.and_then(|before| before.lease.as_ref()), now),
            kind: BlobKind::Page,
            pages: Some(PagesRecord {
                encrypted: chosen.key.is_some(),
                ..blobs.new_pages()
            }),
            encryption: chosen.kept.clone(),
            sequence_number,
            ..BlobRecord::default()
        };
        given.apply(&mut record)?;
        let mut tx = Transaction::new();
        let states = (before.as_ref(), &mut record, None);
        blobs
            .stage_overwrite(&mut tx, snapshot.as_ref(), &container, states, "put")
            .await?;
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

/// What a write of pages demands.
struct PageDemands {
    common: Demands,
    sequence: SequenceDemand,
}

impl PageDemands {
    fn parse(headers: &HeaderMap) -> Result<Self, BlobsError> {
        let number = |name: &str| {
            headers::text(headers, name)
                .map(pages::sequence_number)
                .transpose()
        };
        Ok(Self {
            common: Demands::parse(headers)?,
            sequence: SequenceDemand {
                at_most: number("x-ms-if-sequence-number-le")?,
                below: number("x-ms-if-sequence-number-lt")?,
                equals: number("x-ms-if-sequence-number-eq")?,
            },
        })
    }

    fn check(&self, record: &BlobRecord, range: &Range<u64>, now: Timestamp) -> Result<(), BlobsError> {
        self.common.write(Some(record), now)?;
        writable(record)?;
        self.sequence.check(record.sequence_number)?;
        if range.end > record.length {
            return Err(ErrorCode::InvalidPageRange.into());
        }
        Ok(())
    }
}

/// The pages of a blob that may be written.
pub(crate) fn writable(record: &BlobRecord) -> Result<&PagesRecord, BlobsError> {
    refuse_incremental(record)?;
    record.protection.change()?;
    record
        .pages
        .as_ref()
        .ok_or_else(|| ErrorCode::InvalidBlobType.into())
}

/// An incremental copy is read by its snapshots, and written by further copies.
pub(crate) fn refuse_incremental(record: &BlobRecord) -> Result<(), BlobsError> {
    match &record.incremental {
        Some(_) if record.snapshot.is_none() => {
            Err(ErrorCode::OperationNotAllowedOnIncrementalCopyBlob.into())
        }
        _ => Ok(()),
    }
}

/// The range that a request is about, which it must name.
fn named_range(call: &Call) -> Result<Range<u64>, BlobsError> {
    let text = headers::text(&call.headers, "x-ms-range").or_else(|| headers::text(&call.headers, "range"));
    pages::whole_pages(
        text.ok_or_else(|| BlobsError::with(ErrorCode::MissingRequiredHeader, "x-ms-range is required."))?,
    )
}

fn check_length(range: &Range<u64>, length: u64) -> Result<(), BlobsError> {
    let named = range.end - range.start;
    if named > PUT_PAGE_BYTES_MAX || length > PUT_PAGE_BYTES_MAX {
        return Err(ErrorCode::RequestBodyTooLarge.into());
    }
    if length != named {
        let text = "x-ms-range is as long as the pages that are sent.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    Ok(())
}

pub(crate) async fn put(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let range = named_range(&call)?;
    let demands = PageDemands::parse(&call.headers)?;
    let transfer = Transfer::parse(&call.headers)?;
    let length = transfer.length;
    let action = headers::required(&call.headers, "x-ms-page-write")?.to_ascii_lowercase();
    match action.as_str() {
        "clear" if length == 0 => clear(blobs, &call, (&demands, &asked), &range).await,
        "update" => {
            check_length(&range, length)?;
            // Refused before the body is taken, if it is clear already.
            let (_, blob) = look_up(blobs, &call).await?;
            let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
            demands.check(&blob.record, &range, blobs.clock.now())?;
            let expected = transfer.expected_part(&call.headers, PUT_PAGE_BYTES_MAX, true);
            let chosen = blobs.choose_for(&call.target.account, &blob.record, &asked)?;
            let content = blobs
                .take_in(chosen.key.clone(), call.take_body(), expected)
                .await?;
            update(blobs, &call, &demands, &range, (&content, &chosen)).await
        }
        "clear" => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "Content-Length is 0 where pages are cleared.",
        )),
        _ => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "x-ms-page-write is update or clear.",
        )),
    }
}

pub(crate) async fn put_from_url(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let range = named_range(&call)?;
    let demands = PageDemands::parse(&call.headers)?;
    if headers::required(&call.headers, "x-ms-page-write")?.eq_ignore_ascii_case("clear") {
        let text = "x-ms-page-write is update where the pages come from an address.";
        return Err(BlobsError::with(ErrorCode::InvalidHeaderValue, text));
    }
    headers::required(&call.headers, "x-ms-source-range")?;
    check_length(&range, range.end - range.start)?;
    let (_, blob) = look_up(blobs, &call).await?;
    let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
    let chosen = blobs.choose_for(&call.target.account, &blob.record, &asked)?;
    let content = from_url::take_in(blobs, &call, &chosen, (PUT_PAGE_BYTES_MAX, true)).await?;
    check_length(&range, content.length_bytes)?;
    update(blobs, &call, &demands, &range, (&content, &chosen)).await
}

/// The blob's record with a new stamp.
fn stamped(blobs: &Blobs, record: &BlobRecord) -> BlobRecord {
    let now = blobs.clock.now();
    BlobRecord {
        etag: blobs.new_etag(),
        last_modified: now,
        lease: lease::after_write(record.lease.as_ref(), now),
        ..record.clone()
    }
}

fn written(record: &BlobRecord, status: StatusCode) -> Response<Body> {
    let mut response = render::empty(status);
    let out = response.headers_mut();
    render::set_state(out, &record.etag, record.last_modified);
    let number = record.sequence_number.to_string();
    render::set(out, "x-ms-blob-sequence-number", number);
    response
}

/// Puts pages that were taken in.
async fn update(
    blobs: &Blobs,
    call: &Call,
    demands: &PageDemands,
    range: &Range<u64>,
    (content, chosen): (&StagedContent, &Chosen),
) -> Result<Response<Body>, BlobsError> {
    let (container, _) = look_up(blobs, call).await?;
    let key = keys::blob(&container.record.generation, call.blob()?);
    let _turn = blobs.page_queues.turn(&key).await;
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), call).await?;
        let blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        demands.check(&blob.record, range, blobs.clock.now())?;
        let pages = writable(&blob.record)?;
        chosen.check(&blob.record)?;
        let record = stamped(blobs, &blob.record);
        let mut tx = Transaction::new();
        blobs
            .stage_pages(&mut tx, snapshot.as_ref(), pages, range, &content.place)
            .await?;
        blobs.stage_blob(&mut tx, &container, Some(&blob), &record, None, "putPage")?;
        match blobs.ledger.commit(tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(committed) => {
                let gathered = blobs
                    .gather(chosen.key.clone(), (&key, committed.sequence), pages, range)
                    .await;
                if let Err(error) = gathered {
                    // The pages are there, in more places than they should be; the next write tries again.
                    tracing::debug!(%error, "the pieces of a page blob weren't gathered");
                }
                let mut response = written(&record, StatusCode::CREATED);
                let out = response.headers_mut();
                transfer::answer(out, &call.headers, content);
                chosen.answer(out);
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}

async fn clear(
    blobs: &Blobs,
    call: &Call,
    (demands, asked): (&PageDemands, &KeyAsked),
    range: &Range<u64>,
) -> Result<Response<Body>, BlobsError> {
    let check = |record: &BlobRecord, now: Timestamp| {
        demands.check(record, range, now)?;
        blobs.opens(&call.target.account, record, asked)
    };
    let cleared = |_: &BlobRecord| range.clone();
    let lease = &demands.common;
    let record = change_in_steps(
        blobs,
        call,
        lease,
        ("clearPages", false),
        (check, cleared),
        |_| Ok(()),
    )
    .await?;
    Ok(written(&record, StatusCode::CREATED))
}

/// Clears the pages that `rules` name of the blob, in as many commits as it takes; with the last one goes
/// what `finish` does to the record. The request's demands are decided before the first one; later on what
/// counts is that it is the same blob still, and its lease. Where the pages go for good (`beyond_end`), they are
/// cleared again from the first one if somebody else wrote between two steps.
async fn change_in_steps(
    blobs: &Blobs,
    call: &Call,
    demands: &Demands,
    (op, beyond_end): (&str, bool),
    (check, cleared): (
        impl Fn(&BlobRecord, Timestamp) -> Result<(), BlobsError>,
        impl Fn(&BlobRecord) -> Range<u64>,
    ),
    finish: impl Fn(&mut BlobRecord) -> Result<(), BlobsError>,
) -> Result<BlobRecord, BlobsError> {
    let (container, _) = look_up(blobs, call).await?;
    let key = keys::blob(&container.record.generation, call.blob()?);
    let _turn = blobs.page_queues.turn(&key).await;
    let mut begun: Option<(PagesRecord, u64, Sequence)> = None;
    let (mut attempt, mut overwritten) = (1, 0);
    loop {
        let snapshot = blobs.ledger.snapshot().await?;
        let (container, blob) = look_up_in(blobs, snapshot.as_ref(), call).await?;
        let blob: Blob = blob.ok_or(ErrorCode::BlobNotFound)?;
        let now = blobs.clock.now();
        let pages = match &begun {
            None => {
                check(&blob.record, now)?;
                writable(&blob.record)?
            }
            Some((before, ..)) => {
                demands.lease(blob.record.lease.as_ref(), lease::Use::Writes, now)?;
                let pages = writable(&blob.record)?;
                if pages.map != before.map {
                    return Err(ErrorCode::ServerBusy.into());
                }
                pages
            }
        };
        let mut range = cleared(&blob.record);
        match &begun {
            // Taking turns binds this process only.
            Some((_, _, step)) if beyond_end && *step != blob.version => {
                overwritten += 1;
                if overwritten > WRITE_ATTEMPTS_MAX {
                    return Err(ErrorCode::ServerBusy.into());
                }
            }
            Some((_, from, _)) => range.start = range.start.max(*from),
            None => {}
        }
        let mut record = stamped(blobs, &blob.record);
        let mut tx = Transaction::new();
        let next = if range.is_empty() {
            None
        } else {
            blobs
                .stage_clear(&mut tx, snapshot.as_ref(), pages, &range)
                .await?
        };
        if next.is_none() {
            finish(&mut record)?;
        }
        blobs.stage_blob(&mut tx, &container, Some(&blob), &record, None, op)?;
        match (call.commit(blobs, tx).await, next) {
            (Err(error), _) if overtaken(&error, attempt) => attempt += 1,
            (Err(error), _) => return Err(error.into()),
            (Ok(_), None) => return Ok(record),
            (Ok(committed), Some(next)) => {
                begun = Some((pages.clone(), next, committed.sequence));
                attempt = 1;
            }
        }
    }
}

/// Set Blob Properties with a length or a sequence number.
pub(crate) async fn set_properties(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "w")?;
    let length = headers::text(&call.headers, "x-ms-blob-content-length");
    let length = length.map(pages::length).transpose()?;
    let number = headers::text(&call.headers, "x-ms-blob-sequence-number");
    let action = headers::text(&call.headers, "x-ms-sequence-number-action");
    let action = action
        .map(|action| SequenceAction::parse(action, number))
        .transpose()?;
    let properties = headers::blob_headers(&call.headers)?;
    // A request that is about these two alone leaves the others as they are.
    let sets_properties = properties != crate::store::BlobHeaders::default();
    let demands = Demands::parse(&call.headers)?;
    let check = |record: &BlobRecord, now: Timestamp| {
        demands.write(Some(record), now)?;
        writable(record).map(|_| ())
    };
    let cleared = |record: &BlobRecord| length.unwrap_or(record.length).min(record.length)..record.length;
    let finish = |record: &mut BlobRecord| {
        if let Some(length) = length {
            record.length = length;
        }
        if let Some(action) = action {
            record.sequence_number = action.apply(record.sequence_number);
        }
        if sets_properties {
            record.headers = properties.clone();
        }
        Ok(())
    };
    let record = change_in_steps(
        blobs,
        &call,
        &demands,
        ("setProperties", true),
        (check, cleared),
        finish,
    )
    .await?;
    Ok(written(&record, StatusCode::OK))
}
