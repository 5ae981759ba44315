//! The copy over sides in memory that go wrong where a test wants it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::memory::MemoryLedger;
use crate::scan::rest_behind;
use crate::{
    AdjustableClock, Direction, KeyRange, Ledger as _, LogRecord, Scan, SystemClock, Transaction, Versioned,
};

/// Makes a side wrong.
type Spoil = fn(&mut Held);

/// What a side holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    records: BTreeMap<Key, Versioned>,
    log: BTreeMap<Sequence, LogEntry>,
    finished: bool,
    /// A record that fails its checksum.
    damaged: Option<Key>,
    /// Pages that may still be written.
    pages_left: usize,
}

#[derive(Clone)]
struct Side {
    held: Arc<Mutex<Held>>,
    standing: Standing,
    now: Standing,
}

#[async_trait]
impl Readable for Side {
    async fn records(&self, range: &KeyRange, _: ScanLimit) -> Result<ScanPage, LedgerError> {
        // Three a page, so that a few records have several pages.
        let held = self.held.lock();
        let inside = held.records.iter().filter(|(key, _)| range.contains(key));
        let entries: Vec<Entry> = inside
            .take(3)
            .map(|(key, versioned)| Entry {
                key: key.clone(),
                versioned: versioned.clone(),
            })
            .collect();
        if let Some(damaged) = entries
            .iter()
            .find(|entry| Some(&entry.key) == held.damaged.as_ref())
        {
            return Err(LedgerError::Corrupt(format!("key {:?}", damaged.key)));
        }
        let rest = entries
            .last()
            .and_then(|last| rest_behind(range, Direction::Forward, &last.key));
        Ok(ScanPage { entries, rest })
    }

    async fn log(&self, after: Sequence, _: ScanLimit) -> Result<Vec<LogEntry>, LedgerError> {
        let held = self.held.lock();
        Ok(held
            .log
            .range(after + 1..)
            .take(3)
            .map(|(_, entry)| entry.clone())
            .collect())
    }
}

#[async_trait]
impl CopySource for Side {
    fn standing(&self) -> Standing {
        self.standing
    }

    async fn standing_now(&self) -> Result<Standing, LedgerError> {
        Ok(self.now)
    }
}

impl Side {
    fn write(&self, what: impl FnOnce(&mut Held)) -> Result<(), LedgerError> {
        let mut held = self.held.lock();
        if held.pages_left == 0 {
            return Err(LedgerError::Full);
        }
        held.pages_left -= 1;
        what(&mut held);
        Ok(())
    }
}

#[async_trait]
impl CopyTarget for Side {
    async fn reached(&self) -> Result<Reached, LedgerError> {
        let held = self.held.lock();
        Ok(Reached {
            key: held.records.keys().next_back().cloned(),
            log: held
                .log
                .values()
                .next_back()
                .map_or(self.standing.trimmed, |entry| LogMark {
                    sequence: entry.sequence,
                    chain: entry.chain,
                }),
        })
    }

    async fn put_records(&mut self, records: &[Entry]) -> Result<(), LedgerError> {
        self.write(|held| {
            for record in records {
                held.records.insert(record.key.clone(), record.versioned.clone());
            }
        })
    }

    async fn put_log(&mut self, entries: &[LogEntry]) -> Result<(), LedgerError> {
        self.write(|held| {
            for entry in entries {
                held.log.insert(entry.sequence, entry.clone());
            }
        })
    }

    async fn settle(&mut self) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), LedgerError> {
        self.held.lock().finished = true;
        Ok(())
    }
}

fn key(number: u64) -> Key {
    KeyWriter::new(Keyspace::Platform).u64(number).finish()
}

/// A source with 20 commits, the first 4 of which were trimmed from the log.
async fn source() -> Side {
    let ledger = MemoryLedger::new(Arc::new(SystemClock));
    for number in 0..20 {
        let mut tx = Transaction::new();
        tx.put(key(number % 15), vec![7; 10]);
        tx.record(LogRecord {
            keyspace: Keyspace::Platform,
            kind: 1,
            payload: vec![1, 2, 3].into(),
        });
        ledger.commit(tx).await.unwrap();
    }
    let log = ledger.log_page(0, 100, 1 << 20).await.unwrap().entries;
    let mark = |sequence: usize| LogMark {
        sequence: log[sequence - 1].sequence,
        chain: log[sequence - 1].chain,
    };
    let standing = Standing {
        head: mark(20),
        trimmed: mark(4),
    };
    let mut held = Held::default();
    let snapshot = ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::all(), Direction::Forward);
    while let Some(entry) = scan.next().await.unwrap() {
        held.records.insert(entry.key, entry.versioned);
    }
    held.log = log
        .into_iter()
        .skip(4)
        .map(|entry| (entry.sequence, entry))
        .collect();
    Side {
        held: Arc::new(Mutex::new(held)),
        standing,
        now: standing,
    }
}

fn target(source: &Side, pages: usize) -> Side {
    Side {
        held: Arc::new(Mutex::new(Held {
            pages_left: pages,
            ..Held::default()
        })),
        ..source.clone()
    }
}

async fn run(source: &Side, target: &Side) -> Result<CopyReport, CopyError> {
    copy(source, Box::new(target.clone()), &|_| {}).await
}

#[tokio::test]
async fn interrupted_behind_any_page_it_goes_on_and_ends_the_same() {
    let source = source().await;
    for pages in 0..11 {
        let target = target(&source, pages);
        assert_eq!(
            run(&source, &target).await,
            Err(CopyError::Target(LedgerError::Full)),
            "{pages}"
        );
        assert!(!target.held.lock().finished);
        let there = target.held.lock().records.len() as u64;
        assert_eq!(there, (3 * pages as u64).min(15));
        target.held.lock().pages_left = 11 - pages;
        let report = run(&source, &target).await.unwrap();
        assert_eq!((report.records, report.records_copied), (15, 15 - there));
        assert_eq!(report.log_entries, 16);
        let (held, wanted) = (target.held.lock(), source.held.lock());
        assert!(held.finished && held.records == wanted.records && held.log == wanted.log);
        assert_eq!(held.pages_left, 0, "each page once");
    }
}

#[tokio::test]
async fn any_difference_of_what_is_read_back_is_found() {
    let source = source().await;
    let spoil: [(&str, Spoil); 7] = [
        ("another value or version", |held| {
            held.records.get_mut(&key(3)).unwrap().value = vec![7; 9].into();
        }),
        ("another value or version", |held| {
            held.records.get_mut(&key(3)).unwrap().version = 1;
        }),
        ("key @", |held| held.damaged = Some(key(3))),
        ("is missing", |held| {
            held.records.remove(&key(0));
        }),
        ("is too many", |held| {
            let other = held.records[&key(1)].clone();
            held.records
                .insert(KeyWriter::after(&key(1)).u8(0).finish(), other);
        }),
        ("log entry 9 is missing", |held| {
            held.log.remove(&9);
        }),
        ("chain breaks", |held| {
            held.log.get_mut(&9).unwrap().records.clear();
        }),
    ];
    for (what, spoil) in spoil {
        let target = target(&source, 100);
        {
            let (mut held, wanted) = (target.held.lock(), source.held.lock());
            held.records = wanted.records.clone();
            held.log = wanted.log.clone();
            // No page may be written: what is there is compared as it is.
            held.pages_left = 0;
            spoil(&mut held);
        }
        let error = run(&source, &target).await.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, CopyError::Differs(_)) && text.contains(what),
            "{what}: {text}"
        );
        assert!(!target.held.lock().finished, "{what}");
    }
}

#[tokio::test]
async fn a_source_that_contradicts_itself_is_damaged() {
    let source = source().await;
    let spoil: [Spoil; 4] = [
        |held| held.records.get_mut(&key(3)).unwrap().version = 21,
        |held| held.log.get_mut(&9).unwrap().writes_hash = [0; 32],
        |held| {
            held.log.remove(&9);
        },
        |held| {
            held.log.remove(&20);
        },
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let damaged = Side {
            held: Arc::new(Mutex::new(source.held.lock().clone())),
            ..source.clone()
        };
        spoil(&mut damaged.held.lock());
        let target = target(&source, 100);
        let error = run(&damaged, &target).await.unwrap_err();
        assert!(matches!(error, CopyError::SourceDamaged(_)), "{number}: {error}");
        assert!(!target.held.lock().finished);
    }
}

#[tokio::test]
async fn a_source_that_moved_on_is_refused() {
    let mut source = source().await;
    source.now.head.sequence += 1;
    let target = target(&source, 100);
    let error = run(&source, &target).await.unwrap_err();
    assert!(matches!(error, CopyError::Moved { .. }), "{error}");
    assert!(!target.held.lock().finished);
}

#[tokio::test]
async fn leases_in_force_are_seen() {
    let clock = Arc::new(AdjustableClock::standing_at(Timestamp::UNIX_EPOCH));
    let ledger = Arc::new(MemoryLedger::new(clock.clone()));
    let lease = crate::Lease::new(
        ledger.clone(),
        clock,
        "job",
        uuid::Uuid::from_u128(1),
        std::time::Duration::from_secs(10),
    );
    assert!(lease.hold().await.unwrap());
    let source = source().await;
    let snapshot = ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::all(), Direction::Forward);
    while let Some(entry) = scan.next().await.unwrap() {
        source.held.lock().records.insert(entry.key, entry.versioned);
    }
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    assert_eq!(lease_in_force(&source, at(9)).await.unwrap(), Some(at(10)));
    assert_eq!(lease_in_force(&source, at(10)).await.unwrap(), None);
}
