//! Reads everything: each record against its checksum, the log against its chain, the log's end
//! against the head.

use ledger::limits::{SCAN_PAGE_BYTES_MAX, SCAN_PAGE_ENTRIES_MAX};
use ledger::scan::rest_behind;
use ledger::{Direction, Key, KeyRange, LedgerError, ScanLimit, Snapshot as _, VerifyReport};

use crate::snapshot::PostgresSnapshot;
use crate::{log_rows, record};

/// Walks both tables as they are in `snapshot`.
pub(crate) async fn verify(
    snapshot: &PostgresSnapshot,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<VerifyReport, LedgerError> {
    let mut report = VerifyReport::default();
    let limit = ScanLimit {
        entries_max: SCAN_PAGE_ENTRIES_MAX,
        bytes_max: SCAN_PAGE_BYTES_MAX,
    };
    let mut rest = Some(KeyRange::all());
    while let Some(range) = rest.take() {
        let (rows, more) = snapshot.sealed_page(&range, Direction::Forward, limit).await?;
        for row in &rows {
            report.records += 1;
            let key: &[u8] = row.get(0);
            let checked = record::from_column(row.get(1))
                .and_then(|version| record::unseal(key, version, row.get(2)).map(|_| version));
            match checked {
                Ok(version) if version > snapshot.sequence() => {
                    let key = key.escape_ascii();
                    report.fault(format!("key {key}: written by a commit behind the head"));
                }
                Ok(_) => {}
                Err(error) => report.fault(error.to_string()),
            }
        }
        progress(report.records);
        let last = rows.last().map(|row| {
            let key: Vec<u8> = row.get(0);
            Key::from_encoded(key.into())
        });
        rest = last
            .filter(|_| more)
            .and_then(|last| rest_behind(&range, Direction::Forward, &last));
    }
    verify_log(snapshot, &mut report).await?;
    Ok(report)
}

async fn verify_log(snapshot: &PostgresSnapshot, report: &mut VerifyReport) -> Result<(), LedgerError> {
    let generation = &snapshot.0;
    let mut position = generation.trimmed;
    let mut chain: [u8; 32] = match generation.trimmed_chain.as_slice().try_into() {
        Ok(chain) => chain,
        Err(_) => {
            report.fault("the row of table head is malformed");
            return Ok(());
        }
    };
    loop {
        let page = match snapshot
            .log(position, SCAN_PAGE_ENTRIES_MAX, SCAN_PAGE_BYTES_MAX)
            .await
        {
            Err(LedgerError::Corrupt(cause)) => {
                report.fault(cause);
                break;
            }
            page => page?,
        };
        if page.is_empty() {
            break;
        }
        for (sequence, sealed) in page {
            report.log_entries += 1;
            if sequence != position + 1 {
                report.fault(format!(
                    "log entries {} to {} are missing",
                    position + 1,
                    sequence - 1
                ));
            }
            position = sequence;
            let Ok(entry) = log_rows::open(sequence, &sealed) else {
                report.fault(format!("log entry {sequence} is damaged"));
                continue;
            };
            if entry.chained(&chain) != entry.chain {
                report.fault(format!("log entry {sequence} breaks the chain"));
            }
            chain = entry.chain;
        }
    }
    if position != snapshot.sequence() || chain.as_slice() != generation.chain.as_slice() {
        report.fault(format!(
            "the log ends at {position} with another chain than the head, {}",
            snapshot.sequence()
        ));
    }
    Ok(())
}
