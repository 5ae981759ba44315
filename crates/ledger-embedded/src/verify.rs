//! Reads everything: each record against its checksum, the log against its chain, the log's end
//! against the head.

use ledger::limits::{SCAN_PAGE_BYTES_MAX, SCAN_PAGE_ENTRIES_MAX};
use ledger::{Direction, KeyRange, ScanLimit, VerifyReport};

use crate::store::{Store, View};

/// Walks the whole store as it is in `view`.
pub(crate) fn verify(store: &Store, view: &View, progress: &(dyn Fn(u64) + Send + Sync)) -> VerifyReport {
    let mut report = VerifyReport::default();
    let limit = ScanLimit {
        entries_max: SCAN_PAGE_ENTRIES_MAX,
        bytes_max: SCAN_PAGE_BYTES_MAX,
    };
    let mut rest = Some(KeyRange::all());
    while let Some(range) = rest.take() {
        match store.scan_page(view, &range, Direction::Forward, limit) {
            Ok(page) => {
                report.records += page.entries.len() as u64;
                for entry in &page.entries {
                    if entry.versioned.version > view.head.sequence {
                        report.fault(format!(
                            "key {:?}: written by a commit behind the head",
                            entry.key
                        ));
                    }
                }
                rest = page.rest;
                progress(report.records);
            }
            // Behind damage the store can't say where the next key begins: one fault, and the log.
            Err(error) => report.fault(format!("data from key {:?} on: {error}", range.start)),
        }
    }
    let mut entries = 0;
    if let Err(error) = store.check_log(view, view.trimmed.sequence, &mut |_| entries += 1) {
        report.fault(format!(
            "log behind entry {}: {error}",
            view.trimmed.sequence + entries
        ));
    }
    report.log_entries = entries;
    report
}
