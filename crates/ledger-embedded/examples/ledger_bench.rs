//! Measures the embedded ledger: commits per second and syncs per commit at several numbers of
//! concurrent commits, beside what the disk itself can do: a plain file that is appended to and
//! synced with `fdatasync`, as much per sync as the ledger put into one.
//!
//! `cargo run --release --package ledger-embedded --example ledger_bench [SECONDS] [FOLDER]`
#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::expect_used,
    reason = "a benchmark prints ratios, and stops at the first thing that goes wrong"
)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::{Clock, KeyWriter, Keyspace, Ledger, LogRecord, SystemClock, Transaction};
use ledger_embedded::{EmbeddedLedger, Options};

const VALUE_BYTES: usize = 1024;
/// What a commit adds to the value: keys, log entry, checksums.
const OVERHEAD_BYTES: usize = 300;
const CONCURRENCY: [u64; 3] = [1, 32, 256];

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(5);
    let base = arguments
        .next()
        .map_or_else(|| PathBuf::from("target"), PathBuf::from);
    std::fs::create_dir_all(&base).expect("a folder for the data");
    let folder = tempfile::tempdir_in(&base).expect("a folder for the data");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ledger = EmbeddedLedger::open(
        &folder.path().join("ledger"),
        Arc::clone(&clock),
        Options::default(),
    )
    .expect("the ledger opens");
    let ledger: Arc<dyn Ledger> = Arc::new(ledger);
    println!("{VALUE_BYTES} bytes per commit, {seconds} s each");
    println!("concurrent  commits/s  commits/sync  syncs/commit  p99 ms  fdatasync/s  commits/s vs bound");
    for concurrency in CONCURRENCY {
        let before = ledger.stats().await.expect("statistics");
        let (mut latencies, elapsed) = load(&ledger, &clock, concurrency, seconds).await;
        let after = ledger.stats().await.expect("statistics");
        latencies.sort_unstable();
        let commits = (after.commits - before.commits) as f64;
        let syncs = ((after.syncs - before.syncs) as f64).max(1.0);
        let rate = commits / elapsed.as_secs_f64();
        let batch = commits / syncs;
        let bytes_per_sync = VALUE_BYTES
            .saturating_add(OVERHEAD_BYTES)
            .saturating_mul(whole(batch));
        let disk = fdatasync_per_second(folder.path(), &clock, bytes_per_sync, seconds);
        let p99 = latencies
            .get(latencies.len().saturating_sub(1) * 99 / 100)
            .copied()
            .unwrap_or_default();
        println!(
            "{concurrency:>10}  {rate:>9.0}  {batch:>12.1}  {:>12.3}  {:>6.2}  {disk:>11.0}  {:>17.2}",
            syncs / commits.max(1.0),
            p99.as_secs_f64() * 1_000.0,
            rate / (disk * batch)
        );
    }
    ledger.close().await.expect("the ledger closes");
}

/// At least 1.
fn whole(number: f64) -> usize {
    format!("{:.0}", number.max(1.0)).parse().unwrap_or(1)
}

async fn load(
    ledger: &Arc<dyn Ledger>,
    clock: &Arc<dyn Clock>,
    concurrency: u64,
    seconds: u64,
) -> (Vec<Duration>, Duration) {
    let began = clock.monotonic();
    let end = began + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..concurrency)
        .map(|task| {
            let (ledger, clock) = (Arc::clone(ledger), Arc::clone(clock));
            tokio::spawn(async move {
                let value = Bytes::from(vec![u8::try_from(task % 251).unwrap_or(0); VALUE_BYTES]);
                let mut latencies = Vec::new();
                for number in 0_u64.. {
                    let sent = clock.monotonic();
                    if sent >= end {
                        break;
                    }
                    let key = KeyWriter::new(Keyspace::System)
                        .u8(255)
                        .u64(concurrency)
                        .u64(task)
                        .u64(number)
                        .finish();
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
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("a task ends"));
    }
    (latencies, clock.monotonic().saturating_sub(began))
}

/// Appends `bytes` and syncs, again and again.
fn fdatasync_per_second(folder: &Path, clock: &Arc<dyn Clock>, bytes: usize, seconds: u64) -> f64 {
    let path = folder.join("fdatasync");
    let mut file = std::fs::File::create(&path).expect("a file");
    let block = vec![7_u8; bytes];
    let (began, mut syncs) = (clock.monotonic(), 0_u64);
    while clock.monotonic().saturating_sub(began) < Duration::from_secs(seconds) {
        file.write_all(&block).expect("a write");
        file.sync_data().expect("a sync");
        syncs += 1;
    }
    let elapsed = clock.monotonic().saturating_sub(began);
    std::fs::remove_file(&path).expect("the file goes");
    syncs as f64 / elapsed.as_secs_f64()
}
