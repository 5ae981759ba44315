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
    format(1);
    let ledger = open(&options).await.expect("nothing is in it");
    let mut transaction = Transaction::new();
    transaction.put(KeyWriter::new(Keyspace::Platform).str("a").finish(), "b");
    ledger.commit(transaction).await.unwrap();
    ledger.close().await.unwrap();
    for (version, why) in [(1, "earlier"), (2, "earlier"), (99, "99")] {
        format(version);
        let error = open(&options).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
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
