//! Get Page Ranges: which pages of a page blob are written, or differ from what an earlier snapshot has.

use std::ops::Range;

use http::{Response, Uri};
use http_semantics::Body;
use http_semantics::range::ByteRange;
use jiff::Timestamp;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{PAGE_BYTES, PAGE_RANGES_MAX, WALK_ENTRIES_MAX};
use crate::operations::blob::look_up_in;
use crate::operations::demands::Demands;
use crate::operations::pages::refuse_incremental;
use crate::rules::conditions::Read;
use crate::service::{Call, parse_query};
use crate::store::records::BlobRecord;
use crate::store::segment::Fate;
use crate::store::states::{Which, parse_time};
use crate::wire::{headers, render, xml};

/// The part that is asked about, from the marker on, in whole pages.
fn asked(call: &Call, record: &BlobRecord) -> Result<Range<u64>, BlobsError> {
    let text = headers::text(&call.headers, "x-ms-range").or_else(|| headers::text(&call.headers, "range"));
    let mut range = match text {
        None => 0..record.length,
        Some(text) => {
            let range = ByteRange::parse(text).ok_or(ErrorCode::InvalidHeaderValue)?;
            range.within(record.length).ok_or(BlobsError {
                length_bytes: Some(record.length),
                ..ErrorCode::InvalidRange.into()
            })?
        }
    };
    if let Some(marker) = call.parameter("marker") {
        let from: u64 = marker
            .parse()
            .map_err(|_| ErrorCode::InvalidQueryParameterValue)?;
        range.start = range.start.max(from.min(range.end));
    }
    Ok(range.start - range.start % PAGE_BYTES..range.end.next_multiple_of(PAGE_BYTES))
}

fn runs_max(call: &Call) -> Result<usize, BlobsError> {
    match call.parameter("maxresults").map(str::parse::<usize>) {
        None => Ok(PAGE_RANGES_MAX),
        Some(Ok(0)) => Err(ErrorCode::OutOfRangeQueryParameterValue.into()),
        Some(Ok(number)) => Ok(number.min(PAGE_RANGES_MAX)),
        Some(Err(_)) => Err(ErrorCode::InvalidQueryParameterValue.into()),
    }
}

/// The snapshot that is compared with, by its time or by its address.
fn previous(call: &Call) -> Result<Option<Timestamp>, BlobsError> {
    if let Some(time) = call.parameter("prevsnapshot") {
        return parse_time(time).map(Some);
    }
    let Some(address) = headers::text(&call.headers, "x-ms-previous-snapshot-url") else {
        return Ok(None);
    };
    let invalid = || {
        let text = "x-ms-previous-snapshot-url is the address of a snapshot of the blob.";
        BlobsError::with(ErrorCode::InvalidHeaderValue, text)
    };
    let address: Uri = address.parse().map_err(|_| invalid())?;
    let query = parse_query(address.query().unwrap_or_default())?;
    let time = query.iter().find(|(name, _)| name == "snapshot");
    let time = time.ok_or_else(invalid)?;
    parse_time(&time.1).map(Some)
}

pub(crate) async fn get(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "r")?;
    let previous = previous(&call)?;
    let runs_max = runs_max(&call)?;
    let snapshot = blobs.ledger.snapshot().await?;
    let (container, blob) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
    let record = blob.ok_or(ErrorCode::BlobNotFound)?.record;
    if Demands::parse(&call.headers)?.read(&record, blobs.clock.now())? == Read::NotModified {
        return Ok(render::not_modified(&record.etag, record.last_modified));
    }
    let pages = record.pages.as_ref().ok_or(ErrorCode::InvalidBlobType)?;
    refuse_incremental(&record)?;
    let before = match previous {
        None => None,
        Some(at) => {
            if record.snapshot.is_some_and(|own| own < at) {
                return Err(ErrorCode::PreviousSnapshotCannotBeNewer.into());
            }
            let found = blobs
                .blob_at(snapshot.as_ref(), &container, &record.name, Which::Snapshot(at))
                .await?
                .ok_or(ErrorCode::PreviousSnapshotNotFound)?;
            // Another map is that of a blob that was there before this one.
            let same = found.record.pages.filter(|found| found.map == pages.map);
            let same = same.ok_or(ErrorCode::BlobOverwritten)?;
            // A version is older than snapshots that were taken while it was the blob, and has later pages.
            if same.epoch > pages.epoch {
                return Err(ErrorCode::PreviousSnapshotCannotBeNewer.into());
            }
            Some(same)
        }
    };
    let range = asked(&call, &record)?;
    let (runs, next) = match range.is_empty() {
        true => (Vec::new(), None),
        false => {
            blobs
                .page_runs(
                    snapshot.as_ref(),
                    pages,
                    before.as_ref(),
                    range,
                    (runs_max, WALK_ENTRIES_MAX),
                )
                .await?
        }
    };
    let mut out = format!("{}<PageList>", xml::DECLARATION);
    for run in runs {
        let tag = match run.fate {
            Fate::Written => "PageRange",
            Fate::Cleared => "ClearRange",
        };
        let (start, end) = (run.range.start, run.range.end - 1);
        out.push_str(&format!("<{tag}><Start>{start}</Start><End>{end}</End></{tag}>"));
    }
    let marker = next.map(|next| next.to_string()).unwrap_or_default();
    out.push_str(&format!("<NextMarker>{marker}</NextMarker></PageList>"));
    let mut response = render::document(out);
    let headers = response.headers_mut();
    render::set_state(headers, &record.etag, record.last_modified);
    render::set(headers, "x-ms-blob-content-length", record.length.to_string());
    Ok(response)
}
