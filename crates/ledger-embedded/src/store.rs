//! The store as the engine sees it: opening with its checks, point reads, pages, log pages.
//!
//! Invariant: a [`View`] is taken by the one writer between two groups, so its sequence number,
//! chain hash and data always belong together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::config::{BloomConstructionPolicy, FilterPolicy, FilterPolicyEntry, PartitioningPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, Readable as _};
use ledger::log::CHAIN_START;
use ledger::scan::rest_behind;
use ledger::{
    Direction, Entry, Key, KeyRange, LedgerError, LogEntry, LogPage, ScanLimit, ScanPage, Sequence, Snapshot,
    Versioned,
};

use crate::folder::Folder;
use crate::witness::Mark;
use crate::{OpenError, Options, limits, record};

/// The one tree.
const TREE: &str = "ledger";

/// Workers put memtables into tables and merge tables. The first of several takes no merges (so that
/// memtables never wait): it puts the wish for one back in the queue, again and again, for as long as
/// all the others are busy. So there are more than merges that can go on at once: between fresh tables
/// and the next level, and between two levels further down. With two workers the first spun for as
/// long as a merge took, which was a tenth of a create's processor time.
const WORKERS: usize = 4;

/// Bits per key of the tables' filters; one lookup in a hundred reads a block in vain. More of them, as
/// is the store's default for fresh tables, cost each of a document's two dozen keys more than they save.
const FILTER_BITS_PER_KEY: f32 = 10.0;

/// Whether the filter and the index of a level's tables lie in parts that are read one by one: only of
/// fresh tables they are kept whole. Of a table of 64 MiB both together are some 2 MiB, so a few tables
/// whose blocks meet in one part of the cache push each other out, and each lookup reads them anew: 88 µs
/// rather than 5 (docs/adr/0006, item 4).
const IN_PARTS: [bool; 2] = [false, true];

/// Bytes that a log entry counts for beside its payloads.
const LOG_ENTRY_BYTES: usize = 96;

/// The open store. Fields are dropped in this order: the folder's lock goes last.
pub(crate) struct Store {
    pub(crate) tree: Keyspace,
    pub(crate) database: Database,
    pub(crate) folder: Folder,
}

/// A consistent state of the store.
pub(crate) struct View {
    pub(crate) snapshot: fjall::Snapshot,
    /// The newest commit in it.
    pub(crate) head: Mark,
    /// How far the log was trimmed.
    pub(crate) trimmed: Mark,
}

/// The mark before the first commit.
pub(crate) const START: Mark = Mark {
    sequence: 0,
    chain: CHAIN_START,
};

impl Store {
    /// Opens or creates the store of `folder`.
    pub(crate) fn open(folder: Folder, options: &Options, create: bool) -> Result<Self, OpenError> {
        let path = folder.path().to_owned();
        let damaged = |detail: String| OpenError::Damaged {
            path: path.clone(),
            detail,
        };
        let store = folder.store();
        if !create {
            check_tables_present(&store).map_err(&damaged)?;
        }
        let opened = guard(|| {
            let database = Database::builder(&store)
                .cache_size(options.cache_bytes)
                .max_journaling_size(limits::JOURNALS_BYTES_MAX)
                .worker_threads(WORKERS)
                .manual_journal_persist(true)
                .journal_compression(CompressionType::None)
                .open()?;
            if !create && !database.keyspace_exists(TREE) {
                return Ok(None);
            }
            let tree = database.keyspace(TREE, || {
                let merging = Leveled::default().with_l0_threshold(limits::FRESH_TABLES_MAX);
                let filter =
                    FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(FILTER_BITS_PER_KEY));
                KeyspaceCreateOptions::default()
                    .filter_policy(FilterPolicy::all(filter))
                    .filter_block_partitioning_policy(PartitioningPolicy::new(IN_PARTS))
                    .index_block_partitioning_policy(PartitioningPolicy::new(IN_PARTS))
                    .max_memtable_size(options.memtable_bytes)
                    .compaction_strategy(Arc::new(merging))
            })?;
            Ok(Some((database, tree)))
        });
        match opened {
            Ok(Some((database, tree))) => Ok(Self {
                tree,
                database,
                folder,
            }),
            Ok(None) => Err(damaged("the store has lost its tree".to_owned())),
            Err(error) => Err(damaged(format!("the store doesn't open: {error}"))),
        }
    }

    /// The state as it is now. Only the writer calls this, between groups.
    pub(crate) fn view(&self, head: Mark, trimmed: Mark) -> View {
        View {
            snapshot: self.database.snapshot(),
            head,
            trimmed,
        }
    }

    /// Reads the marks and checks the newest part of the log behind them.
    pub(crate) fn first_view(&self) -> Result<View, LedgerError> {
        let snapshot = self.database.snapshot();
        let mark = |key: &[u8]| guard(|| snapshot.get(&self.tree, key)).map_err(read_error);
        let head = match mark(record::HEAD_KEY)? {
            Some(stored) => record::read_head(&stored)?.0,
            None => START,
        };
        let trimmed = match mark(record::TRIMMED_KEY)? {
            Some(stored) => record::read_trimmed(&stored)?,
            None => START,
        };
        let view = View {
            snapshot,
            head,
            trimmed,
        };
        if trimmed.sequence > head.sequence {
            return Err(LedgerError::Corrupt(format!(
                "the log was trimmed through {}, but the newest commit is {}",
                trimmed.sequence, head.sequence
            )));
        }
        let newest = self.newest_log_entry(&view)?;
        if newest.unwrap_or(trimmed.sequence) != head.sequence {
            return Err(LedgerError::Corrupt(format!(
                "the newest commit is {}, but the log ends at {newest:?}",
                head.sequence
            )));
        }
        let start = head
            .sequence
            .saturating_sub(limits::OPEN_LOG_CHECK_ENTRIES)
            .max(trimmed.sequence);
        self.check_log(&view, start, &mut |_| {})?;
        Ok(view)
    }

    /// Checks that the log has every entry behind `start` through the head, each chained to the
    /// one before. `seen` is told each sequence number.
    pub(crate) fn check_log(
        &self,
        view: &View,
        start: Sequence,
        seen: &mut dyn FnMut(Sequence),
    ) -> Result<(), LedgerError> {
        // Behind the trim mark and at the beginning the chain's hash is known; elsewhere the
        // first entry is only checked against itself.
        let mut before = if start == view.trimmed.sequence {
            Some(view.trimmed.chain)
        } else {
            None
        };
        let mut expected = start + 1;
        guard(|| {
            let range = record::log_key(expected)..=record::log_key(Sequence::MAX);
            for item in view.snapshot.range(&self.tree, range) {
                let (stored, value) = item.into_inner()?;
                if let Err(error) = check_log_entry(&stored, &value, expected, &mut before) {
                    return Ok(Err(error));
                }
                seen(expected);
                expected += 1;
            }
            Ok(Ok(()))
        })
        .map_err(read_error)??;
        if expected != view.head.sequence + 1 {
            return Err(LedgerError::Corrupt(format!(
                "the log ends at {}, the newest commit is {}",
                expected - 1,
                view.head.sequence
            )));
        }
        if before.is_some_and(|chain| chain != view.head.chain) {
            return Err(LedgerError::Corrupt(
                "the log's chain doesn't end in the head's hash".to_owned(),
            ));
        }
        Ok(())
    }

    /// Checks that single log entries are there, unless they were trimmed.
    pub(crate) fn check_logged(&self, view: &View, entries: &[Sequence]) -> Result<(), LedgerError> {
        for sequence in entries.iter().filter(|entry| **entry > view.trimmed.sequence) {
            if self.log_entry(view, *sequence)?.is_none() {
                return Err(LedgerError::Corrupt(format!("log entry {sequence} is missing")));
            }
        }
        Ok(())
    }

    fn newest_log_entry(&self, view: &View) -> Result<Option<Sequence>, LedgerError> {
        let range = record::log_key(0)..=record::log_key(Sequence::MAX);
        let newest = guard(|| {
            view.snapshot
                .range(&self.tree, range)
                .next_back()
                .map(fjall::Guard::key)
                .transpose()
        })
        .map_err(read_error)?;
        newest.map(|stored| record::log_sequence(&stored)).transpose()
    }

    /// The log entry `sequence`, checked.
    pub(crate) fn log_entry(&self, view: &View, sequence: Sequence) -> Result<Option<LogEntry>, LedgerError> {
        let key = record::log_key(sequence);
        let Some(stored) = guard(|| view.snapshot.get(&self.tree, &key)).map_err(read_error)? else {
            return Ok(None);
        };
        read_log_entry(&key, &stored).map(Some)
    }

    /// Reads one data key.
    pub(crate) fn get(&self, view: &View, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        let stored_key = record::data_key(key.as_bytes());
        match self.get_stored(view, &stored_key)? {
            None => Ok(None),
            Some(stored) => versioned(&stored_key, stored).map(Some),
        }
    }

    /// The version of a stored data key, checked.
    pub(crate) fn version(&self, view: &View, stored_key: &[u8]) -> Result<Option<Sequence>, LedgerError> {
        match self.get_stored(view, stored_key)? {
            None => Ok(None),
            Some(stored) => Ok(Some(record::unseal(stored_key, &stored)?.0)),
        }
    }

    fn get_stored(&self, view: &View, stored_key: &[u8]) -> Result<Option<fjall::UserValue>, LedgerError> {
        if stored_key.len() > ledger::limits::KEY_BYTES_MAX + 1 {
            return Ok(None);
        }
        guard(|| view.snapshot.get(&self.tree, stored_key)).map_err(read_error)
    }

    /// Reads one page of data keys.
    pub(crate) fn scan_page(
        &self,
        view: &View,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        if range.is_empty() {
            return Ok(ScanPage {
                entries: Vec::new(),
                rest: None,
            });
        }
        let start = record::data_key(range.start.as_bytes());
        let end = range
            .end
            .as_ref()
            .map_or_else(record::data_end, |end| record::data_key(end.as_bytes()));
        let page = guard(|| {
            let mut found = view.snapshot.range(&self.tree, start..end);
            let next = || match direction {
                Direction::Forward => found.next(),
                Direction::Backward => found.next_back(),
            };
            fill_page(next, range, direction, limit)
        });
        page.map_err(read_error)?
    }

    /// Reads log entries behind `after`.
    pub(crate) fn log_page(
        &self,
        view: &View,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        if after < view.trimmed.sequence {
            return Err(LedgerError::LogTrimmed {
                through: view.trimmed.sequence,
            });
        }
        let head = view.head.sequence;
        let mut entries = Vec::new();
        if after >= head {
            return Ok(LogPage { entries, head });
        }
        let mut bytes = 0;
        guard(|| {
            let range = record::log_key(after + 1)..=record::log_key(head);
            for item in view.snapshot.range(&self.tree, range) {
                let (stored, value) = item.into_inner()?;
                let entry = match read_log_entry(&stored, &value) {
                    Ok(entry) => entry,
                    Err(error) => return Ok(Err(error)),
                };
                let expected = after + 1 + entries.len() as u64;
                if entry.sequence != expected {
                    return Ok(Err(LedgerError::Corrupt(format!(
                        "log entry {expected} is missing"
                    ))));
                }
                bytes += entry
                    .records
                    .iter()
                    .map(|record| record.payload.len())
                    .sum::<usize>()
                    + LOG_ENTRY_BYTES;
                if !entries.is_empty() && bytes > bytes_max {
                    break;
                }
                entries.push(entry);
                if entries.len() >= entries_max.max(1) {
                    break;
                }
            }
            Ok(Ok(()))
        })
        .map_err(read_error)??;
        if entries.is_empty() {
            return Err(LedgerError::Corrupt(format!(
                "log entry {} is missing",
                after + 1
            )));
        }
        Ok(LogPage { entries, head })
    }
}

/// A view with its store: what services read from.
pub(crate) struct EmbeddedSnapshot {
    pub(crate) view: Arc<View>,
    pub(crate) store: Arc<Store>,
}

#[async_trait]
impl Snapshot for EmbeddedSnapshot {
    fn sequence(&self) -> Sequence {
        self.view.head.sequence
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        self.store.get(&self.view, key)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, LedgerError> {
        keys.iter().map(|key| self.store.get(&self.view, key)).collect()
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        self.store.scan_page(&self.view, range, direction, limit)
    }
}

fn fill_page(
    mut next: impl FnMut() -> Option<fjall::Guard>,
    range: &KeyRange,
    direction: Direction,
    limit: ScanLimit,
) -> fjall::Result<Result<ScanPage, LedgerError>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    while let Some(item) = next() {
        if entries.len() >= limit.entries_max.max(1) || bytes >= limit.bytes_max.max(1) {
            let rest = entries
                .last()
                .and_then(|last| rest_behind(range, direction, &last.key));
            return Ok(Ok(ScanPage { entries, rest }));
        }
        let (stored, value) = item.into_inner()?;
        let entry = record::ledger_key(&stored)
            .and_then(|key| versioned(&stored, value).map(|versioned| Entry { key, versioned }));
        match entry {
            Ok(entry) => {
                bytes += entry.key.as_bytes().len() + entry.versioned.value.len();
                entries.push(entry);
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(ScanPage { entries, rest: None }))
}

/// Bytes from which on a value isn't copied out of what the store has read. That keeps the whole block alive as
/// long as the value: 4 KiB, or more where a larger value shares the block, which is as much as reading that
/// value takes.
const SHARED_VALUE_BYTES: usize = 512;

fn versioned(stored_key: &[u8], stored: fjall::UserValue) -> Result<Versioned, LedgerError> {
    let (version, value) = record::unseal(stored_key, &stored)?;
    let value = if value.len() < SHARED_VALUE_BYTES {
        Bytes::copy_from_slice(value)
    } else {
        let head = stored.len() - value.len();
        Bytes::from_owner(stored).slice(head..)
    };
    Ok(Versioned { value, version })
}

fn read_log_entry(stored_key: &[u8], stored: &[u8]) -> Result<LogEntry, LedgerError> {
    let (sequence, value) = record::unseal(stored_key, stored)?;
    match LogEntry::decode(value) {
        Some(entry) if entry.sequence == sequence && record::log_sequence(stored_key)? == sequence => {
            Ok(entry)
        }
        _ => Err(record::damaged(stored_key, "the log entry is malformed")),
    }
}

/// Checks one log entry against its place and the one before; `before` becomes its hash.
pub(crate) fn check_log_entry(
    stored_key: &[u8],
    stored: &[u8],
    expected: Sequence,
    before: &mut Option<[u8; 32]>,
) -> Result<(), LedgerError> {
    let found = record::log_sequence(stored_key)?;
    if found != expected {
        return Err(LedgerError::Corrupt(format!(
            "log entry {expected} is missing; the next one is {found}"
        )));
    }
    let entry = read_log_entry(stored_key, stored)?;
    if before.is_some_and(|before| entry.chained(&before) != entry.chain) {
        return Err(LedgerError::Corrupt(format!(
            "log entry {expected}: the hash chain breaks here"
        )));
    }
    *before = Some(entry.chain);
    Ok(())
}

/// Each tree's folder must have its `current` marker: the store takes one without for an
/// unfinished creation and removes it, tables and all.
fn check_tables_present(store: &Path) -> Result<(), String> {
    let trees = store.join("keyspaces");
    let entries = std::fs::read_dir(&trees).map_err(|error| format!("{}: {error}", trees.display()))?;
    for entry in entries {
        let path = entry
            .map_err(|error| format!("{}: {error}", trees.display()))?
            .path();
        if path.is_dir() && !path.join("current").is_file() {
            return Err(format!("{}: the file `current` is missing", path.display()));
        }
    }
    Ok(())
}

/// A failure inside the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Fjall(#[from] fjall::Error),
    /// The store met something it didn't expect, which damaged files can bring about.
    #[error("the store panicked: {0}")]
    Panicked(String),
}

/// Runs `work` in the store. The store has assertions that damaged files can trip; they must not
/// take the process (or a worker thread of it) down.
pub(crate) fn guard<T>(work: impl FnOnce() -> fjall::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Ok(done?),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(StoreError::Panicked(text.unwrap_or("no message").to_owned()))
        }
    }
}

/// What a failed read means: an operating-system refusal may pass, all else is damage.
#[allow(clippy::needless_pass_by_value, reason = "handed to map_err")]
pub(crate) fn read_error(error: StoreError) -> LedgerError {
    use std::error::Error as _;
    let StoreError::Fjall(fjall) = &error else {
        return LedgerError::Corrupt(error.to_string());
    };
    let io = match fjall {
        fjall::Error::Io(io) => Some(io),
        other => other
            .source()
            .and_then(|source| source.downcast_ref::<std::io::Error>()),
    };
    match io.and_then(std::io::Error::raw_os_error) {
        Some(_) => LedgerError::Unavailable(error.to_string()),
        None => LedgerError::Corrupt(error.to_string()),
    }
}
