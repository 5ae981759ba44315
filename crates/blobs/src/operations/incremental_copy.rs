//! Incremental Copy Blob: snapshots of a page blob, one after the other, as snapshots of a copy. They share
//! the source's map, so a copy costs two records, and the copy's snapshots can be compared as the source's.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::operations::blob::{look_up_in, permit_write};
use crate::operations::demands::{Demands, overtaken};
use crate::operations::encryption::KeyUse;
use crate::operations::source::Source;
use crate::rules::immutability::Protection;
use crate::rules::lease;
use crate::service::Call;
use crate::store::records::{BlobKind, BlobRecord, CopyRecord, IncrementalRecord};
use crate::store::states::Which;
use crate::wire::render;

/// Whether a copy may go on with a source's snapshot.
fn check(before: &BlobRecord, next: &IncrementalRecord) -> Result<(), ErrorCode> {
    if before.kind != BlobKind::Page {
        return Err(ErrorCode::InvalidBlobType);
    }
    before.protection.change()?;
    match &before.incremental {
        Some(last) if last.source != next.source => Err(ErrorCode::IncrementalCopyBlobMismatch),
        Some(last) if last.source_snapshot >= next.source_snapshot => {
            Err(ErrorCode::IncrementalCopyOfEarlierSnapshotNotAllowed)
        }
        Some(_) => Ok(()),
        None => Err(ErrorCode::IncrementalCopyBlobMismatch),
    }
}

pub(crate) async fn copy(blobs: &Blobs, call: Call) -> Result<Response<Body>, BlobsError> {
    call.permit('o', "cw")?;
    call.refuse_keys()?;
    let asked = call.encryption(blobs, KeyUse::Writes)?;
    let source = Source::parse(blobs, &call).await?;
    let Which::Snapshot(source_snapshot) = source.which else {
        return Err(ErrorCode::IncrementalCopySourceMustBeSnapshot.into());
    };
    let demands = Demands::parse(&call.headers)?;
    let id = blobs.random.uuid().to_string();
    for attempt in 1.. {
        let snapshot = blobs.ledger.snapshot().await?;
        let original = source.read(blobs, snapshot.as_ref(), &call).await?;
        let from = &original.blob.record;
        if from.kind != BlobKind::Page {
            return Err(ErrorCode::InvalidBlobType.into());
        }
        let (container, before) = look_up_in(blobs, snapshot.as_ref(), &call).await?;
        let now = blobs.clock.now();
        let replaced = before.as_ref().map(|before| &before.record);
        demands.write(replaced, now)?;
        permit_write(&call, before.is_some())?;
        // It shares its source's pages, so it can be under no other key.
        let chosen = blobs.choose(&container, &asked)?;
        if original.is_under_another(&container, &chosen) {
            let text = "A page blob isn't copied into another encryption scope; write its pages there.";
            return Err(BlobsError::with(ErrorCode::InvalidOperation, text));
        }
        let name = call.blob()?;
        // It makes no versions: its snapshots are what it was before.
        let version = replaced.and_then(|before| before.version);
        let incremental = IncrementalRecord {
            source: source.stripped.clone(),
            source_snapshot,
            snapshot: blobs
                .next_time(snapshot.as_ref(), &container, name, version)
                .await?,
        };
        match replaced {
            Some(replaced) => check(replaced, &incremental)?,
            None => {
                let kind = blobs
                    .kind_of_versions(snapshot.as_ref(), &container, name)
                    .await?;
                if kind.is_some_and(|kind| kind != BlobKind::Page) {
                    return Err(ErrorCode::InvalidBlobType.into());
                }
            }
        }
        let record = BlobRecord {
            name: name.to_owned(),
            etag: blobs.new_etag(),
            created: replaced.map_or(now, |before| before.created),
            last_modified: now,
            lease: lease::after_write(replaced.and_then(|before| before.lease.as_ref()), now),
            snapshot: None,
            version,
            tags: replaced.map(|before| before.tags.clone()).unwrap_or_default(),
            copy: Some(CopyRecord {
                id: id.clone(),
                source: source.shown.clone(),
                completed: now,
            }),
            incremental: Some(incremental.clone()),
            protection: Protection::default(),
            encryption: chosen.kept.clone(),
            ..from.clone()
        };
        let taken = BlobRecord {
            snapshot: Some(incremental.snapshot),
            version: None,
            lease: None,
            ..record.clone()
        };
        let mut tx = Transaction::new();
        original.require(&mut tx);
        blobs.stage_blob(
            &mut tx,
            &container,
            before.as_ref(),
            &record,
            None,
            "incrementalCopy",
        )?;
        blobs
            .stage_below(&mut tx, snapshot.as_ref(), &container, &taken)
            .await?;
        match call.commit(blobs, tx).await {
            Err(error) if overtaken(&error, attempt) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {
                let mut response = render::empty(StatusCode::ACCEPTED);
                let out = response.headers_mut();
                render::set_state(out, &record.etag, record.last_modified);
                render::set(out, "x-ms-copy-id", id);
                render::set(out, "x-ms-copy-status", "success");
                return Ok(response);
            }
        }
    }
    Err(ErrorCode::ServerBusy.into())
}
