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
