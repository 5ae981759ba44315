//! What cases do with a ledger again and again, in the contract's own terms.

use std::sync::Arc;

use bytes::Bytes;

use super::check::{Failure, ensure, equal};
use crate::{
    Direction, Entry, Key, KeyRange, KeyWriter, Keyspace, Ledger, LedgerError, LogEntry, LogRecord,
    ScanLimit, Sequence, Snapshot, Transaction,
};

/// A page large enough for everything that a case reads at once.
pub(super) const PAGE: ScanLimit = ScanLimit {
    entries_max: 1_000_000,
    bytes_max: usize::MAX,
};

/// The key of `number`; keys are ordered as their numbers.
pub(super) fn key(number: u64) -> Key {
    KeyWriter::new(Keyspace::Documents).u64(number).finish()
}

/// A log record that says `text`.
pub(super) fn record(text: &str) -> LogRecord {
    LogRecord {
        keyspace: Keyspace::Documents,
        kind: 7,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// A transaction that puts `value` under `key`.
pub(super) fn putting(key: &Key, value: &str) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.put(key.clone(), Bytes::copy_from_slice(value.as_bytes()));
    transaction
}

/// Commits a put.
pub(super) async fn put(ledger: &Arc<dyn Ledger>, key: &Key, value: &str) -> Result<Sequence, LedgerError> {
    Ok(ledger.commit(putting(key, value)).await?.sequence)
}

/// Commits a delete.
pub(super) async fn delete(ledger: &Arc<dyn Ledger>, key: &Key) -> Result<Sequence, LedgerError> {
    let mut transaction = Transaction::new();
    transaction.delete(key.clone());
    Ok(ledger.commit(transaction).await?.sequence)
}

/// The value of a key now, as text.
pub(super) async fn value(ledger: &Arc<dyn Ledger>, key: &Key) -> Result<Option<String>, LedgerError> {
    value_in(ledger.snapshot().await?.as_ref(), key).await
}

/// The value of a key in a snapshot, as text.
pub(super) async fn value_in(snapshot: &dyn Snapshot, key: &Key) -> Result<Option<String>, LedgerError> {
    let found = snapshot.get(key).await?;
    Ok(found.map(|found| String::from_utf8_lossy(&found.value).into_owned()))
}

/// Reads a whole range page by page, checking that each page keeps `limit` and gets on.
pub(super) async fn scan(
    snapshot: &dyn Snapshot,
    range: &KeyRange,
    direction: Direction,
    limit: ScanLimit,
) -> Result<Vec<Entry>, Failure> {
    let mut all: Vec<Entry> = Vec::new();
    let mut rest = Some(range.clone());
    while let Some(range) = rest.take() {
        let page = snapshot.scan_page(&range, direction, limit).await?;
        ensure(page.entries.len() <= limit.entries_max.max(1), || {
            format!("a page of {} entries, asked for {limit:?}", page.entries.len())
        })?;
        let before_last = page.entries.len().saturating_sub(1);
        let bytes: usize = page.entries.iter().take(before_last).map(size).sum();
        ensure(bytes < limit.bytes_max.max(1), || {
            format!("a page goes on after {bytes} bytes, asked for {limit:?}")
        })?;
        ensure(page.rest.is_none() || !page.entries.is_empty(), || {
            format!("an empty page of {range:?} says that there is more")
        })?;
        for entry in &page.entries {
            ensure(range.contains(&entry.key), || {
                format!("key {:?} isn't in {range:?}", entry.key)
            })?;
        }
        all.extend(page.entries);
        rest = page.rest;
    }
    for (one, next) in all.iter().zip(all.iter().skip(1)) {
        let ordered = match direction {
            Direction::Forward => one.key < next.key,
            Direction::Backward => one.key > next.key,
        };
        ensure(ordered, || {
            format!(
                "scanning {direction:?}: key {:?} comes before {:?}",
                one.key, next.key
            )
        })?;
    }
    Ok(all)
}

fn size(entry: &Entry) -> usize {
    entry.key.as_bytes().len() + entry.versioned.value.len()
}

/// The keys of entries.
pub(super) fn keys(entries: &[Entry]) -> Vec<Key> {
    entries.iter().map(|entry| entry.key.clone()).collect()
}

/// Reads the log behind `after` to its end, checking numbers and chain; `chain` is the hash at
/// `after`, if known.
pub(super) async fn log(
    ledger: &Arc<dyn Ledger>,
    after: Sequence,
    mut chain: Option<[u8; 32]>,
) -> Result<Vec<LogEntry>, Failure> {
    let mut all = Vec::new();
    let mut position = after;
    loop {
        let page = ledger.log_page(position, 100, 1_000_000).await?;
        if page.entries.is_empty() {
            equal(
                position.max(page.head),
                position,
                "an empty page though the log goes on; its end",
            )?;
            return Ok(all);
        }
        for entry in &page.entries {
            equal(entry.sequence, position + 1, "the next log entry's number")?;
            if let Some(before) = chain {
                equal(
                    entry.chained(&before),
                    entry.chain,
                    "a log entry's hash over the one before",
                )?;
            }
            chain = Some(entry.chain);
            position = entry.sequence;
        }
        all.extend(page.entries);
    }
}

/// Fails if the ledger moved since its head was `sequence`.
pub(super) async fn unmoved(ledger: &Arc<dyn Ledger>, sequence: Sequence) -> Result<(), Failure> {
    equal(
        *ledger.head().borrow(),
        sequence,
        "the head after a refused commit",
    )?;
    equal(
        ledger.snapshot().await?.sequence(),
        sequence,
        "the snapshot's number after a refused commit",
    )?;
    let page = ledger.log_page(sequence, 10, 1_000).await?;
    equal(page.entries.len(), 0, "log entries after a refused commit")
}
