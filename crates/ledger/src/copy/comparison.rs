//! Reads both sides from beginning to end and compares them, record by record and entry by entry.
//!
//! Invariant: each side's sum is taken over what was read from that side.

use std::collections::VecDeque;

use super::transfer::PAGE;
use super::{CopyError, CopyReport, CopySource, LogMark, Readable, Standing, Step};
use crate::{Entry, KeyRange, LedgerError, LogEntry};

/// Records or log entries after which who watches is told.
const WATCH_EVERY: u64 = 1_024;

/// Compares all of it.
pub(super) async fn compare(
    source: &dyn CopySource,
    target: &(impl Readable + ?Sized),
    standing: &Standing,
    watch: &(dyn Fn(Step) + Send + Sync),
) -> Result<CopyReport, CopyError> {
    tracing::debug!("everything is copied; reading it back");
    let (records, records_sum) = compare_records(source, target, standing, watch).await?;
    let (log_entries, log_sum) = compare_logs(source, target, standing, watch).await?;
    Ok(CopyReport {
        standing: *standing,
        records,
        records_copied: 0,
        records_sum,
        log_entries,
        log_entries_copied: 0,
        log_sum,
    })
}

async fn compare_records(
    source: &dyn CopySource,
    target: &(impl Readable + ?Sized),
    standing: &Standing,
    watch: &(dyn Fn(Step) + Send + Sync),
) -> Result<(u64, [u8; 32]), CopyError> {
    let (mut wanted, mut found) = (Records::of(source), Records::of(target));
    let (mut wanted_sum, mut found_sum) = (Sum::default(), Sum::default());
    loop {
        let one = wanted.next().await.map_err(CopyError::Source)?;
        let other = found.next().await.map_err(CopyError::of_target)?;
        let (one, other) = match (&one, &other) {
            (None, None) => break,
            (Some(one), Some(other)) if one.key == other.key => (one, other),
            (Some(one), other) if other.as_ref().is_none_or(|other| one.key < other.key) => {
                return Err(CopyError::Differs(format!("key {:?} is missing", one.key)));
            }
            (_, Some(other)) => {
                return Err(CopyError::Differs(format!("key {:?} is too many", other.key)));
            }
            (Some(one), None) => {
                return Err(CopyError::Differs(format!("key {:?} is missing", one.key)));
            }
        };
        check_record(one, standing)?;
        if one != other {
            return Err(CopyError::Differs(format!(
                "key {:?} has another value or version",
                one.key
            )));
        }
        wanted_sum.record(one);
        found_sum.record(other);
        if found_sum.count.is_multiple_of(WATCH_EVERY) {
            watch(Step::ReadingRecords(found_sum.count));
        }
    }
    same(&wanted_sum, &found_sum, "records")
}

async fn compare_logs(
    source: &dyn CopySource,
    target: &(impl Readable + ?Sized),
    standing: &Standing,
    watch: &(dyn Fn(Step) + Send + Sync),
) -> Result<(u64, [u8; 32]), CopyError> {
    let (mut wanted, mut found) = (Log::of(source, standing), Log::of(target, standing));
    let (mut wanted_sum, mut found_sum) = (Sum::default(), Sum::default());
    let mut chain = Chain::behind(standing.trimmed);
    loop {
        let one = wanted.next().await.map_err(CopyError::Source)?;
        let other = found.next().await.map_err(CopyError::of_target)?;
        if let Some(other) = &other {
            chain.follow(other).map_err(CopyError::Differs)?;
        }
        let (Some(one), Some(other)) = (&one, &other) else {
            if one.is_some() || other.is_some() {
                return Err(CopyError::Differs("one log is longer than the other".to_owned()));
            }
            break;
        };
        if one != other {
            let sequence = one.sequence;
            return Err(CopyError::Differs(format!("log entry {sequence} is another one")));
        }
        wanted_sum.entry(one);
        found_sum.entry(other);
        if found_sum.count.is_multiple_of(WATCH_EVERY) {
            watch(Step::ReadingLog(found_sum.count));
        }
    }
    if chain.at != standing.head {
        return Err(CopyError::Differs(format!(
            "its log ends at {}, the newest commit is {}",
            chain.at, standing.head
        )));
    }
    same(&wanted_sum, &found_sum, "log entries")
}

fn same(wanted: &Sum, found: &Sum, what: &str) -> Result<(u64, [u8; 32]), CopyError> {
    let (one, other) = (wanted.hasher.finalize(), found.hasher.finalize());
    if wanted.count != found.count || one != other {
        return Err(CopyError::Differs(format!(
            "the sums over its {what} are others: {one} and {other}"
        )));
    }
    Ok((found.count, *other.as_bytes()))
}

/// A side's sum as it grows.
#[derive(Debug, Default)]
struct Sum {
    count: u64,
    hasher: blake3::Hasher,
}

impl Sum {
    fn record(&mut self, record: &Entry) {
        self.count += 1;
        self.field(record.key.as_bytes());
        self.hasher.update(&record.versioned.version.to_be_bytes());
        self.field(&record.versioned.value);
    }

    fn entry(&mut self, entry: &LogEntry) {
        self.count += 1;
        self.field(&entry.encode());
    }

    /// The length first, so that no two sequences of fields have the same bytes.
    fn field(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
    }
}

/// A record must have been written by a commit that there is.
pub(super) fn check_record(record: &Entry, standing: &Standing) -> Result<(), CopyError> {
    if record.versioned.version > standing.head.sequence {
        return Err(CopyError::SourceDamaged(format!(
            "key {:?}: written by a commit behind the head",
            record.key
        )));
    }
    Ok(())
}

/// A side's records, one by one.
struct Records<'a, R: Readable + ?Sized> {
    side: &'a R,
    rest: Option<KeyRange>,
    page: VecDeque<Entry>,
}

impl<'a, R: Readable + ?Sized> Records<'a, R> {
    fn of(side: &'a R) -> Self {
        Self {
            side,
            rest: Some(KeyRange::all()),
            page: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<Entry>, LedgerError> {
        while self.page.is_empty() {
            let Some(range) = self.rest.take() else {
                return Ok(None);
            };
            let page = self.side.records(&range, PAGE).await?;
            self.page = page.entries.into();
            self.rest = page.rest;
        }
        Ok(self.page.pop_front())
    }
}

/// A side's log entries, one by one.
struct Log<'a, R: Readable + ?Sized> {
    side: &'a R,
    after: u64,
    page: VecDeque<LogEntry>,
}

impl<'a, R: Readable + ?Sized> Log<'a, R> {
    fn of(side: &'a R, standing: &Standing) -> Self {
        Self {
            side,
            after: standing.trimmed.sequence,
            page: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<LogEntry>, LedgerError> {
        if self.page.is_empty() {
            self.page = self.side.log(self.after, PAGE).await?.into();
            self.after = self.page.back().map_or(self.after, |entry| entry.sequence);
        }
        Ok(self.page.pop_front())
    }
}

/// The log's chain as it is followed.
#[derive(Debug)]
pub(super) struct Chain {
    /// Behind the last entry.
    pub(super) at: LogMark,
}

impl Chain {
    pub(super) fn behind(at: LogMark) -> Self {
        Self { at }
    }

    /// The next entry must have the next number and continue the chain; says what is wrong if not.
    pub(super) fn follow(&mut self, entry: &LogEntry) -> Result<(), String> {
        let expected = self.at.sequence + 1;
        if entry.sequence != expected {
            return Err(format!(
                "log entry {expected} is missing; the next one is {}",
                entry.sequence
            ));
        }
        if entry.chained(&self.at.chain) != entry.chain {
            return Err(format!("log entry {expected}: the hash chain breaks here"));
        }
        self.at = LogMark {
            sequence: entry.sequence,
            chain: entry.chain,
        };
        Ok(())
    }
}
