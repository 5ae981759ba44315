//! Ledgers to copy, the command that copies them, and what is in them afterwards.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ledger::{
    AdjustableClock, Direction, Entry, Follower, Key, KeyRange, KeyWriter, Keyspace, Lease, Ledger,
    LedgerError, LogEntry, LogRecord, Random as _, Scan, SystemClock, SystemRandom, Transaction,
};
use ledger_embedded::EmbeddedLedger;
use ledger_postgres::PostgresLedger;

/// A value that is in no table by chance.
pub const MARKED: [u8; 32] = *b"q7Xv0ZkP3mB9sJ2wLd8RfT5yHc1NgE6a";

pub fn key(name: &str) -> Key {
    KeyWriter::new(Keyspace::Platform).str(name).finish()
}

pub fn embedded(data: &Path) -> Arc<EmbeddedLedger> {
    let options = ledger_embedded::Options::default();
    Arc::new(EmbeddedLedger::open(&data.join("ledger"), Arc::new(SystemClock), options).unwrap())
}

pub async fn postgres(options: &ledger_postgres::Options) -> Arc<PostgresLedger> {
    let opened = PostgresLedger::connect(options, Arc::new(SystemClock), Arc::new(SystemRandom)).await;
    Arc::new(opened.unwrap())
}

fn record(bytes: usize) -> LogRecord {
    let mut payload = vec![0; bytes];
    SystemRandom.fill(&mut payload);
    LogRecord {
        keyspace: Keyspace::Platform,
        kind: 3,
        payload: payload.into(),
    }
}

/// Commits of every kind: small and large, a feed, replaced and removed keys, a follower, a lease
/// that has ended; then the log's beginning is trimmed.
pub async fn fill(ledger: Arc<dyn Ledger>, large: usize) {
    let commit = async |tx: Transaction| ledger.commit(tx).await.unwrap();
    for number in 0..300_u32 {
        let mut tx = Transaction::new();
        tx.put(
            key(&format!("small {}", number % 200)),
            number.to_be_bytes().to_vec(),
        );
        tx.put_sequenced(key("feed"), number.to_be_bytes().to_vec(), vec![1; 3]);
        tx.delete(key(&format!("small {}", number.saturating_sub(150) % 40)));
        tx.record(record(20));
        commit(tx).await;
    }
    let mut follower = Follower::open(ledger.clone(), "events", 0).await.unwrap();
    follower.acknowledge(120).await.unwrap();
    let clock = Arc::new(AdjustableClock::standing_at(jiff::Timestamp::UNIX_EPOCH));
    let holder = SystemRandom.uuid();
    let lease = Lease::new(ledger.clone(), clock, "job", holder, Duration::from_secs(10));
    assert!(lease.hold().await.unwrap());
    assert_eq!(ledger.trim_log(100).await.unwrap(), 100);
    for number in 0..large {
        let mut value = vec![0; 1 << 20];
        SystemRandom.fill(&mut value);
        let mut tx = Transaction::new();
        tx.put(key(&format!("large {number}")), value);
        tx.record(record(1 << 20));
        commit(tx).await;
    }
    let mut tx = Transaction::new();
    tx.put(key("marked"), MARKED.to_vec());
    tx.put(key("empty"), Vec::new());
    commit(tx).await;
}

/// Everything a ledger answers.
#[derive(Debug, PartialEq, Eq)]
pub struct Everything {
    pub head: u64,
    pub trimmed: u64,
    pub records: Vec<Entry>,
    pub log: Vec<LogEntry>,
}

pub async fn everything(ledger: &dyn Ledger) -> Everything {
    let snapshot = ledger.snapshot().await.unwrap();
    let mut records = Vec::new();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::all(), Direction::Forward);
    while let Some(entry) = scan.next().await.unwrap() {
        records.push(entry);
    }
    let trimmed = match ledger.log_page(0, 1, 1).await {
        Err(LedgerError::LogTrimmed { through }) => through,
        other => panic!("the log isn't trimmed: {other:?}"),
    };
    let mut log: Vec<LogEntry> = Vec::new();
    loop {
        let after = log.last().map_or(trimmed, |entry| entry.sequence);
        let page = ledger.log_page(after, 1_000, 1 << 24).await.unwrap();
        if page.entries.is_empty() {
            break;
        }
        log.extend(page.entries);
    }
    let report = ledger.verify(&|_| {}).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    Everything {
        head: snapshot.sequence(),
        trimmed,
        records,
        log,
    }
}

/// What is in the embedded ledger of `data`.
pub async fn in_folder(data: &Path) -> Everything {
    let ledger = embedded(data);
    let found = everything(ledger.as_ref()).await;
    ledger.close().await.unwrap();
    found
}

pub async fn in_postgres(options: &ledger_postgres::Options) -> Everything {
    let ledger = postgres(options).await;
    let found = everything(ledger.as_ref()).await;
    ledger.close().await.unwrap();
    found
}

fn command(from: &str, to: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stabbur"));
    command.args(["ledger", "copy", "--from", from, "--to", to]);
    command.stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub fn run(from: &str, to: &str) -> Output {
    command(from, to).output().unwrap()
}

/// As [`run`], expecting success; what it printed.
pub fn copy(from: &str, to: &str) -> String {
    let output = run(from, to);
    let (out, err) = texts(&output);
    assert!(output.status.success(), "{err}");
    assert_eq!(err, "", "it is quiet when not at a terminal");
    out
}

/// As [`run`], expecting failure; what it said.
pub fn refused(from: &str, to: &str) -> String {
    let output = run(from, to);
    let (out, err) = texts(&output);
    assert!(!output.status.success(), "{out}{err}");
    err
}

fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// Runs the command until it says one of `lines`; which of them it said before its end.
pub fn run_until(from: &str, to: &str, lines: &[&'static str]) -> (Child, Option<&'static str>) {
    let mut child = command(from, to)
        .args(["--log", "ledger=debug"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stderr.as_mut().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|said| lines.iter().copied().find(|line| said.contains(line)));
    (child, said)
}

/// Kills the command (SIGKILL) when it says one of `lines`; which.
pub fn kill_at(from: &str, to: &str, lines: &[&'static str]) -> &'static str {
    let (mut child, said) = run_until(from, to, lines);
    child.kill().unwrap();
    child.wait().unwrap();
    said.expect("it ended without saying so")
}

/// Kills the command after a while, whatever it does.
pub fn kill_after(from: &str, to: &str, while_: Duration) {
    let mut child = command(from, to).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(while_);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What `stabbur dev` says that can't start; it would run on otherwise.
pub fn dev_refuses(arguments: &[&str]) -> String {
    let data = tempfile::tempdir().unwrap();
    let ports = [
        "blobs",
        "documents",
        "platform",
        "registry",
        "vault",
        "login",
        "admin",
    ]
    .map(|name| format!("--{name}-port=0"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_stabbur"))
        .arg("dev")
        .args(ports)
        .args(arguments)
        .current_dir(data.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..600 {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            assert!(!output.status.success());
            return texts(&output).1;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("dev serves half a ledger");
}
