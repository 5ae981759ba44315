//! Measures the ledger on PostgreSQL: commits per second and commits per database transaction at
//! several numbers of concurrent commits, beside what the same database does without it: as many
//! connections that insert a row of the same size each, a transaction per row, by turns. These are once
//! this program's own, and once those of PostgreSQL's `pgbench`, if it is named.
//!
//! `cargo run --release --package ledger-postgres --example ledger_bench_postgres CONNECTION [SECONDS]
//! [PGBENCH] [CONCURRENT]`
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark prints ratios, and stops at the first thing that goes wrong"
)]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::{Clock, KeyWriter, Keyspace, Ledger, LogRecord, SystemClock, SystemRandom, Transaction};
use ledger_postgres::{Options, PostgresLedger};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Statement};

const VALUE_BYTES: usize = 1024;
const CONCURRENCY: [u64; 3] = [1, 32, 256];

/// The bare rows' table: one index, as the ledger's data has, and no other one to keep up.
const BARE_TABLE: &str =
    "DROP TABLE IF EXISTS bare; CREATE TABLE bare (key bytea PRIMARY KEY, value bytea NOT NULL)";
const BARE_INSERT: &str = "INSERT INTO bare VALUES ($1, $2)";

/// The same for `pgbench`, in a table of its own, as it draws its keys by chance.
const PGBENCH_TABLE: &str = "DROP TABLE IF EXISTS pgbench_bare; \
    CREATE TABLE pgbench_bare (key bytea PRIMARY KEY, value bytea NOT NULL)";
const PGBENCH_SCRIPT: &str = "\\set key random(1, 9000000000000000000)\n\
    INSERT INTO pgbench_bare VALUES (int8send(:key), :value);\n";

/// Threads of `pgbench`; its connections are shared out among them.
const PGBENCH_THREADS_MAX: u64 = 2;

/// Each has its turn so often: the machine's speed moves, and it shows which rounds were disturbed.
const ROUNDS: u32 = 5;

/// How long each acknowledged operation took, and how long all of them together.
#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    elapsed: Duration,
}

impl Measured {
    fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.latencies.sort_unstable();
        self.elapsed += other.elapsed;
    }

    fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn p99_milliseconds(&self) -> f64 {
        let at = self.latencies.len().saturating_sub(1) * 99 / 100;
        self.latencies
            .get(at)
            .map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let connection = arguments.next().expect("a connection string");
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let pgbench = arguments.next().filter(|path| !path.is_empty());
    let only: Option<u64> = arguments.next().and_then(|text| text.parse().ok());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let setup = connect(&connection).await;
    setup.batch_execute(BARE_TABLE).await.expect("a table");
    setup.batch_execute(PGBENCH_TABLE).await.expect("a table");
    for setting in ["synchronous_commit", "fsync"] {
        let row = setup.query_one(&format!("SHOW {setting}"), &[]).await;
        let value: String = row.expect("a setting").get(0);
        assert_eq!(value, "on", "{setting}: only what is on disk is compared");
    }
    let options = Options::new(connection.clone());
    let ledger = PostgresLedger::connect(&options, clock.clone(), Arc::new(SystemRandom)).await;
    let ledger: Arc<dyn Ledger> = Arc::new(ledger.expect("the ledger opens"));
    println!("{VALUE_BYTES} bytes per commit and per row, {seconds} s each, by turns in {ROUNDS} rounds");
    println!(
        "concurrent  commits/s  commits/transaction  p99 ms  inserts/s  their p99 ms  commits vs inserts (each round)  pgbench/s  commits vs pgbench"
    );
    for concurrency in CONCURRENCY
        .into_iter()
        .filter(|each| only.is_none_or(|only| only == *each))
    {
        let sessions = sessions(&connection, concurrency).await;
        let (mut ours, mut bare) = (Measured::default(), Measured::default());
        let (mut transactions, mut ratios, mut pgbench_rates) = (0, Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let span = Duration::from_secs(seconds) / ROUNDS;
            let before = ledger.stats().await.expect("statistics");
            let (mut committed, mut inserted) = (Measured::default(), Measured::default());
            // Each goes first in turn: the next one finds the log segments of the one before to use again.
            let mut turns = [Turn::Commits, Turn::Inserts, Turn::Pgbench];
            turns.rotate_left(round as usize % 3);
            for turn in turns {
                // What one left to write in the background isn't the other's to wait for.
                setup.batch_execute("CHECKPOINT").await.expect("a checkpoint");
                match (turn, &pgbench) {
                    (Turn::Commits, _) => {
                        committed = commits(&ledger, &clock, (concurrency, round), span).await;
                    }
                    (Turn::Inserts, _) => {
                        inserted = inserts(&sessions, &clock, (concurrency, round), span).await;
                    }
                    (Turn::Pgbench, Some(program)) => {
                        pgbench_rates.push(run_pgbench(program, &connection, concurrency, span));
                    }
                    (Turn::Pgbench, None) => {}
                }
            }
            let after = ledger.stats().await.expect("statistics");
            let ratio = committed.per_second() / inserted.per_second().max(f64::MIN_POSITIVE);
            ratios.push(format!("{ratio:.2}"));
            transactions += after.groups - before.groups;
            ours.add(committed);
            bare.add(inserted);
        }
        let pgbench_rate = pgbench_rates.iter().sum::<f64>() / pgbench_rates.len() as f64;
        println!(
            "{concurrency:>10}  {:>9.0}  {:>19.1}  {:>6.2}  {:>9.0}  {:>12.2}  {:>18.2} ({})  {:>9.0}  {:>18.2}",
            ours.per_second(),
            ours.latencies.len() as f64 / (transactions as f64).max(1.0),
            ours.p99_milliseconds(),
            bare.per_second(),
            bare.p99_milliseconds(),
            ours.per_second() / bare.per_second().max(f64::MIN_POSITIVE),
            ratios.join(" "),
            pgbench_rate,
            ours.per_second() / pgbench_rate,
        );
    }
    ledger.close().await.expect("the ledger closes");
}

/// Whose turn it is.
#[derive(Clone, Copy)]
enum Turn {
    Commits,
    Inserts,
    Pgbench,
}

/// Transactions per second of `pgbench` with as many clients, prepared statements and one row each.
fn run_pgbench(program: &str, connection: &str, concurrency: u64, span: Duration) -> f64 {
    let script = std::env::temp_dir().join(format!("stabbur-pgbench-{}.sql", std::process::id()));
    std::fs::write(&script, PGBENCH_SCRIPT).expect("pgbench's script");
    let value = String::from_utf8(vec![b'v'; VALUE_BYTES]).expect("a text");
    let output = Command::new(program)
        .args(["--no-vacuum", "--protocol=prepared", "--time"])
        .arg(span.as_secs().max(1).to_string())
        .args(["--client", &concurrency.to_string()])
        .args(["--jobs", &concurrency.min(PGBENCH_THREADS_MAX).to_string()])
        .args(["--define", &format!("value={value}")])
        .arg("--file")
        .arg(&script)
        .arg(connection)
        .output()
        .expect("pgbench runs");
    let _ = std::fs::remove_file(&script);
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("pgbench said {text} {}", String::from_utf8_lossy(&output.stderr)))
}

async fn connect(connection: &str) -> Client {
    let (client, driver) = tokio_postgres::connect(connection, NoTls)
        .await
        .expect("a connection");
    tokio::spawn(driver);
    client
}

/// The time that `task` ends at, and its beginning.
fn until(clock: &Arc<dyn Clock>, span: Duration) -> (Duration, Duration) {
    let began = clock.monotonic();
    (began, began + span)
}

async fn collect(clock: &Arc<dyn Clock>, began: Duration, tasks: Vec<JoinHandle<Vec<Duration>>>) -> Measured {
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a task ends"));
    }
    let elapsed = clock.monotonic().saturating_sub(began);
    latencies.sort_unstable();
    Measured { latencies, elapsed }
}

/// Commits to the ledger from so many tasks.
async fn commits(
    ledger: &Arc<dyn Ledger>,
    clock: &Arc<dyn Clock>,
    (concurrency, round): (u64, u32),
    span: Duration,
) -> Measured {
    let (began, end) = until(clock, span);
    let tasks = (0..concurrency).map(|task| {
        let (ledger, clock) = (Arc::clone(ledger), Arc::clone(clock));
        tokio::spawn(async move {
            let value = Bytes::from(value(task));
            let mut latencies = Vec::new();
            for number in 0_u64.. {
                let sent = clock.monotonic();
                if sent >= end {
                    break;
                }
                let key = key((concurrency, round), task, number);
                let mut transaction = Transaction::new();
                transaction.require_absent(key.clone());
                transaction.put(key, value.clone());
                transaction.record(LogRecord {
                    keyspace: Keyspace::System,
                    kind: 0,
                    payload: Bytes::from_static(br#"{"op":"bench"}"#),
                });
                ledger.commit(transaction).await.expect("a commit");
                latencies.push(clock.monotonic().saturating_sub(sent));
            }
            latencies
        })
    });
    let tasks = tasks.collect();
    collect(clock, began, tasks).await
}

/// Connections that insert, with their statement.
async fn sessions(connection: &str, concurrency: u64) -> Vec<(Arc<Client>, Statement)> {
    let mut sessions = Vec::new();
    for _ in 0..concurrency {
        let client = connect(connection).await;
        let insert = client.prepare(BARE_INSERT).await.expect("a statement");
        sessions.push((Arc::new(client), insert));
    }
    sessions
}

/// Inserts rows over so many connections, each row in a transaction of its own.
async fn inserts(
    sessions: &[(Arc<Client>, Statement)],
    clock: &Arc<dyn Clock>,
    (concurrency, round): (u64, u32),
    span: Duration,
) -> Measured {
    let (began, end) = until(clock, span);
    let tasks = (0_u64..).zip(sessions.to_vec()).map(|(task, (client, insert))| {
        let clock = Arc::clone(clock);
        tokio::spawn(async move {
            let value = value(task);
            let mut latencies = Vec::new();
            for number in 0_u64.. {
                let sent = clock.monotonic();
                if sent >= end {
                    break;
                }
                let key = key((concurrency, round), task, number);
                let rows = client.execute(&insert, &[&key.as_bytes(), &value]).await;
                assert_eq!(rows.expect("an insert"), 1, "a row");
                latencies.push(clock.monotonic().saturating_sub(sent));
            }
            latencies
        })
    });
    let tasks = tasks.collect();
    collect(clock, began, tasks).await
}

fn key((concurrency, round): (u64, u32), task: u64, number: u64) -> ledger::Key {
    KeyWriter::new(Keyspace::System)
        .u8(255)
        .u64(concurrency)
        .u64(round.into())
        .u64(task)
        .u64(number)
        .finish()
}

fn value(task: u64) -> Vec<u8> {
    vec![u8::try_from(task % 251).unwrap_or(0); VALUE_BYTES]
}
