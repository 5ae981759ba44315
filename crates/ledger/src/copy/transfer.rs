//! The copy itself: records in the order of their keys, then the log, then the comparison.
//!
//! Invariant: a log entry is written only if it continues the chain, a record only if its version
//! is a commit of the source; damage of the source ends the copy before it reaches the target.

use super::comparison::{Chain, check_record, compare};
use super::{CopyError, CopyReport, CopySource, CopyTarget, LogMark, Standing, Step};
use crate::limits::{COPY_PAGE_BYTES_MAX, COPY_PAGE_ENTRIES_MAX};
use crate::{Key, KeyRange, ScanLimit};

/// What is read and written at once.
pub(super) const PAGE: ScanLimit = ScanLimit {
    entries_max: COPY_PAGE_ENTRIES_MAX,
    bytes_max: COPY_PAGE_BYTES_MAX,
};

/// Copies `source` into `target`, or what is left of it; compares all of it and finishes `target`.
/// `watch` is told after each page.
///
/// # Errors
/// [`CopyError`]; `target` is then not finished.
pub async fn copy(
    source: &dyn CopySource,
    mut target: Box<dyn CopyTarget>,
    watch: &(dyn Fn(Step) + Send + Sync),
) -> Result<CopyReport, CopyError> {
    let standing = source.standing();
    let reached = target.reached().await.map_err(CopyError::of_target)?;
    let records_copied = copy_records(source, target.as_mut(), reached.key, &standing, watch).await?;
    let log_entries_copied = copy_log(source, target.as_mut(), reached.log, &standing, watch).await?;
    target.settle().await.map_err(CopyError::of_target)?;
    let compared = compare(source, target.as_ref(), &standing, watch).await?;
    let now = source.standing_now().await.map_err(CopyError::Source)?;
    if now != standing {
        return Err(CopyError::Moved {
            before: standing.head.sequence,
            now: now.head.sequence,
        });
    }
    target.finish().await.map_err(CopyError::of_target)?;
    Ok(CopyReport {
        records_copied,
        log_entries_copied,
        ..compared
    })
}

/// Copies the records behind `last`; how many.
async fn copy_records(
    source: &dyn CopySource,
    target: &mut dyn CopyTarget,
    last: Option<Key>,
    standing: &Standing,
    watch: &(dyn Fn(Step) + Send + Sync),
) -> Result<u64, CopyError> {
    let mut rest = Some(KeyRange {
        start: last.map_or_else(|| KeyRange::all().start, |last| last.successor()),
        end: None,
    });
    let mut copied = 0;
    while let Some(range) = rest.take() {
        let page = source.records(&range, PAGE).await.map_err(CopyError::Source)?;
        for record in &page.entries {
            check_record(record, standing)?;
        }
        if !page.entries.is_empty() {
            target
                .put_records(&page.entries)
                .await
                .map_err(CopyError::of_target)?;
            copied += page.entries.len() as u64;
            tracing::debug!(copied, "copied a page of records");
            watch(Step::Records(copied));
        }
        rest = page.rest;
    }
    Ok(copied)
}

/// Copies the log behind `reached`; how many entries.
async fn copy_log(
    source: &dyn CopySource,
    target: &mut dyn CopyTarget,
    reached: LogMark,
    standing: &Standing,
    watch: &(dyn Fn(Step) + Send + Sync),
) -> Result<u64, CopyError> {
    let of = standing.head.sequence - standing.trimmed.sequence.min(standing.head.sequence);
    let mut chain = Chain::behind(reached);
    loop {
        let entries = source
            .log(chain.at.sequence, PAGE)
            .await
            .map_err(CopyError::Source)?;
        if entries.is_empty() {
            break;
        }
        for entry in &entries {
            chain.follow(entry).map_err(CopyError::SourceDamaged)?;
        }
        target.put_log(&entries).await.map_err(CopyError::of_target)?;
        let done = chain.at.sequence.saturating_sub(standing.trimmed.sequence);
        tracing::debug!(done, of, "copied a page of the log");
        watch(Step::Log { done, of });
    }
    if chain.at != standing.head {
        // What the target had may be of another source; its marker says not, so it is damage.
        return Err(CopyError::SourceDamaged(format!(
            "its log ends at {}, its newest commit is {}",
            chain.at, standing.head
        )));
    }
    Ok(chain.at.sequence - reached.sequence)
}
