//! Several processes over one database, whose connections are killed at random and which is itself
//! stopped hard in the middle: what followers see is what was acknowledged, in order, once.
//!
//! The test starts itself again for each node; a node writes with 16 writers, follows the log, and
//! says on its standard output what it was told.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod server;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ledger::{
    Follower, KeyWriter, Keyspace, Ledger, LedgerError, LogRecord, SystemClock, SystemRandom, Transaction,
};
use ledger_postgres::{Options, PostgresLedger};
use server::Server;

const NODES: usize = 4;
const WRITERS: usize = 16;
/// Set for the processes that are nodes: connection, seconds, number.
const NODE: &str = "STABBUR_TEST_NODE";

fn payload(node: &str, writer: usize, number: u64) -> String {
    format!("{node}-{writer}-{number}")
}

/// A node. Without the variable it is nobody's, and there is nothing to test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_process() {
    let Ok(setting) = std::env::var(NODE) else {
        return;
    };
    let parts: Vec<&str> = setting.split('|').collect();
    let (connection, seconds, node) = (parts[0], parts[1].parse::<u64>().unwrap(), parts[2].to_owned());
    // Its connection may be killed while it is being made; whoever runs nodes starts them again.
    let mut tries = 0;
    let ledger: Arc<dyn Ledger> = loop {
        let options = Options::new(connection);
        match PostgresLedger::connect(&options, Arc::new(SystemClock), Arc::new(SystemRandom)).await {
            Ok(ledger) => break Arc::new(ledger),
            Err(error) => assert!(tries < 20, "{error}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let stop = Arc::new(AtomicBool::new(false));
    let follower = tokio::spawn(follow(ledger.clone(), node.clone(), stop.clone()));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| tokio::spawn(write(ledger.clone(), node.clone(), writer, deadline)))
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    println!("writers done");
    // The parent says when everybody has written: then each follower must reach the same end.
    let mut word = [0; 1];
    let _ = tokio::task::spawn_blocking(move || std::io::stdin().read(&mut word)).await;
    stop.store(true, Ordering::SeqCst);
    follower.await.unwrap();
    println!("done");
}

async fn write(ledger: Arc<dyn Ledger>, node: String, writer: usize, deadline: Instant) {
    // Each writer counts in a key of its own and demands the version it knows, and all of them in
    // one that they share.
    let own = KeyWriter::new(Keyspace::Platform)
        .str(&node)
        .u64(writer as u64)
        .finish();
    let mut number = 0;
    while Instant::now() < deadline {
        number += 1;
        let text = payload(&node, writer, number);
        let mut tx = Transaction::new();
        tx.put(own.clone(), text.clone().into_bytes());
        let prefix = KeyWriter::new(Keyspace::Platform).str("all").finish();
        tx.put_sequenced(prefix, text.clone().into_bytes(), text.clone().into_bytes());
        tx.record(LogRecord {
            keyspace: Keyspace::Platform,
            kind: 1,
            payload: text.clone().into_bytes().into(),
        });
        match ledger.commit(tx).await {
            Ok(committed) => println!("ok {} {text}", committed.sequence),
            Err(error @ (LedgerError::Unavailable(_) | LedgerError::Unknown(_))) => {
                let known = matches!(error, LedgerError::Unavailable(_));
                println!("{} {text}", if known { "refused" } else { "unknown" });
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => println!("failed {text}: {error}"),
        }
    }
}

async fn follow(ledger: Arc<dyn Ledger>, node: String, stop: Arc<AtomicBool>) {
    let mut follower = loop {
        match Follower::open(ledger.clone(), &format!("node {node}"), 0).await {
            Ok(follower) => break follower,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let mut seen = 0;
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        let Ok(page) = follower.page(1_000, 1 << 20).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if page.entries.is_empty() {
            if stopping && page.head == seen {
                return;
            }
            let _ = tokio::time::timeout(Duration::from_millis(200), follower.wait()).await;
            continue;
        }
        for entry in &page.entries {
            assert_eq!(entry.sequence, seen + 1, "missed, doubled or out of order");
            seen = entry.sequence;
            for record in entry
                .records
                .iter()
                .filter(|record| record.keyspace == Keyspace::Platform)
            {
                println!(
                    "saw {} {}",
                    entry.sequence,
                    String::from_utf8_lossy(&record.payload)
                );
            }
        }
        follower.advance(seen);
    }
}

struct Node {
    child: Child,
    output: std::thread::JoinHandle<String>,
}

fn start(connection: &str, seconds: u64, number: usize) -> Node {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "node_process", "--nocapture"])
        .env(NODE, format!("{connection}|{seconds}|n{number}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    Node { child, output }
}

#[test]
fn followers_see_what_was_acknowledged_in_order_once() {
    if std::env::var(NODE).is_ok() {
        return;
    }
    let seconds = if std::env::var_os("STABBUR_LONG").is_some() {
        60
    } else {
        10
    };
    let mut server = Server::start();
    let connection = server.connection();
    // The schema is made once, before all of them want it; they could also make it together.
    let nodes: Vec<Node> = (0..NODES)
        .map(|number| start(&connection, seconds, number))
        .collect();
    let began = Instant::now();
    let (mut killed, mut restarts) = (0, 0);
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(400));
        let chance = "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity \
                      WHERE application_name = 'stabbur' ORDER BY random() LIMIT 2) AS chosen";
        killed += server.sql(chance).parse::<u32>().unwrap();
        if restarts == 0 && began.elapsed() > Duration::from_secs(seconds / 2) {
            server.crash();
            std::thread::sleep(Duration::from_millis(500));
            server.run();
            restarts += 1;
        }
    }
    // The last writes may wait out an outage; then the followers are let go, all at once.
    std::thread::sleep(Duration::from_secs(8));
    let mut outputs = Vec::new();
    let mut running = Vec::new();
    for Node { mut child, output } in nodes {
        drop(child.stdin.take());
        running.push((child, output));
    }
    for (mut child, output) in running {
        let status = child.wait().unwrap();
        outputs.push(output.join().unwrap());
        assert!(
            status.success(),
            "a node failed:\n{}",
            outputs
                .last()
                .unwrap()
                .lines()
                .rev()
                .take(20)
                .collect::<Vec<_>>()
                .join("\n")
        );
    }
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    let mut unknown: HashSet<String> = HashSet::new();
    let mut seen: Vec<BTreeMap<u64, String>> = Vec::new();
    for output in &outputs {
        let mut saw = BTreeMap::new();
        for line in output.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["ok", sequence, text] => {
                    let before = acknowledged.insert((*text).to_owned(), sequence.parse().unwrap());
                    assert_eq!(before, None, "{text} was acknowledged twice");
                }
                ["unknown", text] => {
                    unknown.insert((*text).to_owned());
                }
                ["saw", sequence, text] => {
                    saw.insert(sequence.parse().unwrap(), (*text).to_owned());
                }
                ["failed", ..] => panic!("{line}"),
                _ => {}
            }
        }
        seen.push(saw);
    }
    for saw in &seen {
        assert_eq!(saw.len(), seen[0].len(), "followers saw different logs");
        assert_eq!(saw, &seen[0], "followers saw different logs");
    }
    let mut texts = HashSet::new();
    for (sequence, text) in &seen[0] {
        assert!(texts.insert(text.clone()), "{text} is in the log twice");
        match acknowledged.get(text) {
            Some(told) => assert_eq!(told, sequence, "{text} was told another number"),
            None => assert!(
                unknown.contains(text),
                "{text} was written but neither told nor unknown"
            ),
        }
    }
    let missing = acknowledged.keys().filter(|text| !texts.contains(*text)).count();
    let in_log = unknown.iter().filter(|text| texts.contains(*text)).count();
    println!(
        "{} commits by {NODES} nodes, {NODES} followers, {killed} connections killed, {restarts} restarts; \
         missed {missing}, doubled 0, out of order 0; {} unanswered, {in_log} of them in the log",
        acknowledged.len(),
        unknown.len()
    );
    assert_eq!(missing, 0);
    assert!(acknowledged.len() > 500, "too few commits to mean anything");
    assert!(killed > 5 && restarts == 1);
}
