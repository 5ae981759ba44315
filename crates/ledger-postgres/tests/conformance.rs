//! The ledger's conformance suite on PostgreSQL.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use ledger::suite::{self, Engine, Subject};
use ledger::{KeyWriter, Keyspace, Ledger, LedgerError, SystemClock, SystemRandom, Transaction};
use ledger_postgres::{Options, PostgresLedger};
use server::Server;

/// Makes each ledger in a schema of its own.
struct Schemas {
    connection: String,
    number: AtomicU32,
}

struct InSchema {
    open: Option<Arc<PostgresLedger>>,
    options: Options,
}

async fn open(options: &Options) -> Result<Arc<PostgresLedger>, LedgerError> {
    PostgresLedger::connect(options, Arc::new(SystemClock), Arc::new(SystemRandom))
        .await
        .map(Arc::new)
        .map_err(|error| LedgerError::Unavailable(error.to_string()))
}

#[async_trait]
impl Engine for Schemas {
    async fn create(&self) -> Result<Box<dyn Subject>, LedgerError> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let options = Options {
            schema: format!("suite_{number}"),
            ..Options::new(&self.connection)
        };
        let open = Some(open(&options).await?);
        Ok(Box::new(InSchema { open, options }))
    }
}

#[async_trait]
impl Subject for InSchema {
    fn ledger(&self) -> Arc<dyn Ledger> {
        self.open.clone().expect("open between two reopenings")
    }

    async fn reopen(&mut self) -> Result<bool, LedgerError> {
        let old = self.open.take().expect("open between two reopenings");
        old.close().await?;
        drop(old);
        self.open = Some(open(&self.options).await?);
        Ok(true)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_on_postgres_conforms() {
    let server = Server::start();
    let engine = Schemas {
        connection: server.connection(),
        number: AtomicU32::new(0),
    };
    let failures = suite::run(&engine).await;
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_of_another_version_is_refused_unless_nothing_is_lost() {
    let server = Server::start();
    let options = Options::new(server.connection());
    open(&options).await.unwrap().close().await.unwrap();
    let format = |version: i32| server.sql(&format!("UPDATE stabbur.format SET version = {version}"));
    log_as_before_version_4(&server);
    format(1);
    let ledger = open(&options).await.expect("nothing is in it");
    let mut version = None;
    for _ in 0..3 {
        version = Some(replace(&ledger, version).await.unwrap());
    }
    ledger.close().await.unwrap();
    for (version, why) in [(1, "earlier"), (2, "earlier"), (99, "99")] {
        format(version);
        let error = open(&options).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    log_as_before_version_4(&server);
    format(3);
    let ledger = open(&options).await.expect("what it holds is brought along");
    replace(&ledger, version).await.unwrap();
    let page = ledger.log_page(0, 10, usize::MAX).await.unwrap();
    let numbers: Vec<u64> = page.entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let report = ledger.verify(&|_| {}).await.unwrap();
    assert!(report.faults.is_empty() && report.log_entries == 4, "{report:?}");
}

/// Gives the log's table the form that it had: a row for each entry. Each of its groups was one commit.
fn log_as_before_version_4(server: &Server) {
    server.sql(
        "ALTER TABLE stabbur.log ALTER COLUMN entries TYPE bytea USING entries[1]; \
         ALTER TABLE stabbur.log RENAME entries TO record; ALTER TABLE stabbur.log RESET (toast_tuple_target)",
    );
}

/// Rows of the log hold whole groups; positions in the middle of one are as good as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_read_and_trimmed_at_any_entry_of_a_group() {
    let server = Server::start();
    let options = Options::new(server.connection());
    let ledger = Arc::new(open(&options).await.unwrap());
    let commits = (0..40).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            let mut transaction = Transaction::new();
            transaction.put(key(&number.to_string()), "value");
            ledger.commit(transaction).await.unwrap();
        })
    });
    for commit in commits.collect::<Vec<_>>() {
        commit.await.unwrap();
    }
    let rows: u64 = server
        .sql("SELECT count(*) FROM stabbur.log")
        .trim()
        .parse()
        .unwrap();
    assert!(rows < 40, "no group had two commits");
    let read = async |after: u64, entries_max: usize, bytes_max: usize| {
        let page = ledger.log_page(after, entries_max, bytes_max).await.unwrap();
        page.entries
            .iter()
            .map(|entry| entry.sequence)
            .collect::<Vec<u64>>()
    };
    for after in 0..40 {
        assert_eq!(
            read(after, 3, usize::MAX).await,
            (after + 1..=40).take(3).collect::<Vec<_>>()
        );
        assert_eq!(read(after, 3, 1).await, [after + 1]);
    }
    assert_eq!(read(0, 1_000, usize::MAX).await.len(), 40);
    for through in 1..=40 {
        assert_eq!(ledger.trim_log(through).await.unwrap(), through);
        assert_eq!(
            read(through, 1_000, usize::MAX).await,
            (through + 1..=40).collect::<Vec<_>>()
        );
        let before = ledger.log_page(through - 1, 1, usize::MAX).await;
        assert!(
            matches!(before, Err(LedgerError::LogTrimmed { .. })),
            "{before:?}"
        );
        let report = ledger.verify(&|_| {}).await.unwrap();
        assert!(
            report.faults.is_empty() && report.log_entries == 40 - through,
            "{report:?}"
        );
    }
    assert_eq!(server.sql("SELECT count(*) FROM stabbur.log").trim(), "0");
}

/// Damage to a row of the log is found, whichever of its entries it hits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_row_of_the_log_is_found() {
    let server = Server::start();
    let options = Options::new(server.connection());
    let ledger = open(&options).await.unwrap();
    let mut version = None;
    for _ in 0..3 {
        version = Some(replace(&ledger, version).await.unwrap());
    }
    for damage in [
        "UPDATE stabbur.log SET entries = '{}' WHERE sequence = 2",
        "UPDATE stabbur.log SET entries = entries || entries WHERE sequence = 2",
        "UPDATE stabbur.log SET entries[1] = set_byte(entries[1], 9, 0) WHERE sequence = 2",
    ] {
        server.sql("CREATE TABLE stabbur.kept AS SELECT * FROM stabbur.log");
        server.sql(damage);
        let report = ledger.verify(&|_| {}).await.unwrap();
        assert!(!report.faults.is_empty(), "{damage}");
        let page = ledger.log_page(0, 10, usize::MAX).await;
        assert!(matches!(page, Err(LedgerError::Corrupt(_))), "{damage}: {page:?}");
        server.sql(
            "TRUNCATE stabbur.log; INSERT INTO stabbur.log SELECT * FROM stabbur.kept; DROP TABLE stabbur.kept",
        );
    }
    assert!(ledger.verify(&|_| {}).await.unwrap().faults.is_empty());
}

async fn predicted(ledger: &PostgresLedger) -> u64 {
    let stats = ledger.stats().await.unwrap();
    let detail = stats
        .details
        .iter()
        .find(|(name, _)| name == "groups in one trip");
    detail.unwrap().1.parse().unwrap()
}

fn key(name: &str) -> ledger::Key {
    KeyWriter::new(Keyspace::Platform).str(name).finish()
}

async fn replace(ledger: &PostgresLedger, version: Option<u64>) -> Result<u64, LedgerError> {
    let mut transaction = Transaction::new();
    transaction.require_version(key("a"), version);
    transaction.put(key("a"), "value");
    Ok(ledger.commit(transaction).await?.sequence)
}

/// What a node expects is right while it writes alone, and never believed when it is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expectations_save_a_trip_and_decide_nothing() {
    let server = Server::start();
    let options = Options::new(server.connection());
    let (one, other) = (open(&options).await.unwrap(), open(&options).await.unwrap());
    let mut version = None;
    for _ in 0..20 {
        version = Some(replace(&one, version).await.unwrap());
    }
    let alone = predicted(&one).await;
    assert!(alone >= 17, "{alone} of 20 groups in one trip");
    // A wrong expectation of a key is refused as ever.
    for wrong in [None, Some(1)] {
        let refused = replace(&one, wrong).await;
        assert!(matches!(refused, Err(LedgerError::Conflict(ref conflict)) if conflict.found == version));
    }
    // The other node moves head and key between two groups.
    for _ in 0..10 {
        for ledger in [&one, &other] {
            assert!(replace(ledger, Some(1)).await.is_err());
            version = Some(replace(ledger, version).await.unwrap());
        }
    }
    assert_eq!(
        version,
        Some(40),
        "each accepted commit has a number, no refused one"
    );
    let mut removal = Transaction::new();
    removal.require_version(key("a"), version);
    removal.delete(key("a"));
    for _ in 0..3 {
        version = Some(replace(&other, version).await.unwrap());
    }
    assert!(
        one.commit(removal).await.is_err(),
        "the other node has replaced it"
    );
    assert!(one.verify(&|_| {}).await.unwrap().faults.is_empty());
    // Many at once, on both nodes: each number is given once.
    let mut tasks = Vec::new();
    for task in 0..16 {
        let ledger = if task % 2 == 0 { one.clone() } else { other.clone() };
        tasks.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            for round in 0..20 {
                let own = |round: i32| key(&format!("{task}-{round}"));
                let mut transaction = Transaction::new();
                transaction.require_absent(own(round));
                transaction.put(own(round), "value");
                transaction.put(key("shared"), task.to_string());
                transaction.delete(own(round - 2));
                numbers.push(ledger.commit(transaction).await.unwrap().sequence);
            }
            numbers
        }));
    }
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.extend(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (44..44 + 320).collect::<Vec<_>>());
    let report = other.verify(&|_| {}).await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}
