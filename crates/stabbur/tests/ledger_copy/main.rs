//! `stabbur ledger copy` over both engines: what comes out is the same ledger, whatever interrupts
//! it, and nothing less is ever taken for one.
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

mod estate;
mod refusals;
#[path = "../../../ledger-postgres/tests/server/mod.rs"]
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use estate::{
    Everything, copy, embedded, everything, fill, in_folder, in_postgres, key, kill_after, kill_at,
};
use ledger::{Follower, Ledger as _, LedgerError, SystemClock, SystemRandom, Transaction};
use ledger_embedded::{EmbeddedLedger, OpenError};
use ledger_postgres::{ConnectError, Options, PostgresLedger};
use server::Server;

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_folder_to_postgres_and_back_it_is_the_same_ledger() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let (first, last) = (temporary.path().join("first"), temporary.path().join("last"));
    let ledger = embedded(&first);
    fill(ledger.clone(), 3).await;
    let wanted = everything(ledger.as_ref()).await;
    ledger.close().await.unwrap();
    drop(ledger);
    assert!(wanted.trimmed == 100 && wanted.log.len() as u64 == wanted.head - 100);

    // The database as a file names it, in a schema of its own.
    let file = temporary.path().join("ledger.toml");
    let toml = format!("postgres = \"{}\"\nschema = \"moved\"\n", server.connection());
    std::fs::write(&file, toml).unwrap();
    let options = Options {
        schema: "moved".to_owned(),
        ..Options::new(server.connection())
    };
    let there = copy(text(&first), text(&file));
    assert_eq!(in_postgres(&options).await, wanted);
    assert_eq!(in_folder(&first).await, wanted, "the source is as it was");
    let back = copy(text(&file), text(&last));
    assert_eq!(in_folder(&last).await, wanted);
    let sums = |printed: &str| -> Vec<String> {
        let lines = printed.lines().filter(|line| line.contains("BLAKE3"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(sums(&there).len(), 2);
    assert_eq!(sums(&there), sums(&back));
    let records = format!("{0} ({0} copied in this run)", wanted.records.len());
    assert!(there.contains(&records), "{there}");

    // What was held before goes on: versions, positions, numbers.
    let ledger = embedded(&last);
    let marked = wanted.records.iter().find(|entry| entry.key == key("marked"));
    let version = marked.unwrap().versioned.version;
    let mut stale = Transaction::new();
    stale.require_version(key("marked"), Some(version - 1));
    stale.put(key("marked"), "lost");
    assert!(matches!(
        ledger.commit(stale).await,
        Err(LedgerError::Conflict(_))
    ));
    let mut tx = Transaction::new();
    tx.require_version(key("marked"), Some(version));
    tx.put(key("marked"), "again");
    assert_eq!(ledger.commit(tx).await.unwrap().sequence, wanted.head + 1);
    let follower = Follower::open(ledger.clone(), "events", 0).await.unwrap();
    assert_eq!(follower.position(), 120);
    let page = follower.page(1, 1).await.unwrap();
    assert_eq!(page.entries[0], wanted.log[20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_a_folder_to_a_folder_and_from_schema_to_schema() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let (first, second) = (temporary.path().join("first"), temporary.path().join("second"));
    let ledger = embedded(&first);
    fill(ledger.clone(), 1).await;
    // The whole log may be trimmed.
    let mut follower = Follower::open(ledger.clone(), "events", 0).await.unwrap();
    let head = *ledger.head().borrow();
    follower.acknowledge(head).await.unwrap();
    drop(follower);
    assert_eq!(ledger.trim_log(head).await.unwrap(), head);
    let wanted = everything(ledger.as_ref()).await;
    ledger.close().await.unwrap();
    drop(ledger);
    copy(text(&first), text(&second));
    assert_eq!(in_folder(&second).await, wanted);
    // Twice: an open after an open.
    assert_eq!(in_folder(&second).await, wanted);

    server.sql("CREATE DATABASE other");
    let (one, other) = (
        server.connection(),
        server.connection().replace("dbname=postgres", "dbname=other"),
    );
    copy(text(&second), &one);
    copy(&one, &other);
    assert_eq!(in_postgres(&Options::new(&other)).await, wanted);
}

/// Behind each page that is copied.
const COPIED: &str = "copied a page";
/// When nothing is left to be copied.
const READING: &str = "reading it back";

/// Kills the command as it begins, behind each page that it copies, and while it reads back. It goes
/// on each time, and `is_refused` to everybody else until it is done.
async fn killed_all_the_way(from: &str, to: &str, is_refused: impl AsyncFn() -> bool) {
    for milliseconds in [10, 30, 60] {
        kill_after(from, to, Duration::from_millis(milliseconds));
    }
    let mut kills = 0;
    // Each run gets on by a page at least; one that began from the beginning would never end.
    while kill_at(from, to, &[COPIED, READING]) == COPIED {
        kills += 1;
        assert!(kills < 50, "it doesn't get on");
        assert!(is_refused().await);
    }
    assert!(kills >= 6, "{kills} kills while it copied");
    assert_eq!(kill_at(from, to, &[COPIED, READING]), READING);
    assert!(is_refused().await);
    let printed = copy(from, to);
    assert_eq!(printed.matches("(0 copied in this run)").count(), 2, "{printed}");
}

/// A folder with a ledger of many pages, and what is in it.
async fn large_ledger(data: &Path) -> Everything {
    let ledger = embedded(data);
    fill(ledger.clone(), 24).await;
    let found = everything(ledger.as_ref()).await;
    ledger.close().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_anywhere_it_goes_on() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let (first, last) = (temporary.path().join("first"), temporary.path().join("last"));
    let wanted = large_ledger(&first).await;
    let connection = server.connection();
    let options = Options::new(&connection);

    killed_all_the_way(text(&first), &connection, async || {
        let opened = PostgresLedger::connect(&options, Arc::new(SystemClock), Arc::new(SystemRandom)).await;
        matches!(opened, Err(ConnectError::HalfCopied { .. }))
    })
    .await;
    assert_eq!(in_postgres(&options).await, wanted);

    killed_all_the_way(&connection, text(&last), async || {
        let path = last.join("ledger");
        let opened = EmbeddedLedger::open(&path, Arc::new(SystemClock), ledger_embedded::Options::default());
        matches!(opened, Err(OpenError::HalfCopied { .. }))
    })
    .await;
    assert_eq!(in_folder(&last).await, wanted);
}
