//! A database that goes away: it is noticed when nobody writes, and a commit that it took with it
//! is told from one that was refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod server;

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ledger::random::SeededRandom;
use ledger::{Health, Key, KeyWriter, Keyspace, Ledger, LedgerError, SystemClock, Transaction};
use ledger_postgres::{Options, PostgresLedger};
use server::Server;

async fn connect(connection: &str) -> PostgresLedger {
    PostgresLedger::connect(
        &Options::new(connection),
        Arc::new(SystemClock),
        Arc::new(SeededRandom::new(1)),
    )
    .await
    .unwrap()
}

fn key(name: &str) -> Key {
    KeyWriter::new(Keyspace::System).u8(200).str(name).finish()
}

fn put(name: &str) -> Transaction {
    let mut tx = Transaction::new();
    tx.put(key(name), b"value".to_vec());
    tx
}

async fn is_there(ledger: &PostgresLedger, name: &str) -> bool {
    let snapshot = ledger.snapshot().await.unwrap();
    snapshot.get(&key(name)).await.unwrap().is_some()
}

/// Waits for a state of health; how long it took.
async fn until(ledger: &PostgresLedger, ready: bool) -> Duration {
    let began = Instant::now();
    while (ledger.health() == Health::Ready) != ready {
        assert!(began.elapsed() < Duration::from_secs(20), "never");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_and_its_end_are_noticed_when_nobody_writes() {
    let mut server = Server::start();
    let ledger = connect(&server.connection()).await;
    server.crash();
    let noticed = until(&ledger, false).await;
    assert!(
        noticed > Duration::from_secs(4),
        "a short one isn't worth it: {noticed:?}"
    );
    server.run();
    let back = until(&ledger, true).await;
    assert!(back < Duration::from_secs(2), "{back:?}");
}

/// Stands before the server and cuts every connection when a COMMIT passes, once it is told to;
/// the COMMIT itself is handed on or not. From then on nobody is let in until it is told to.
struct Door {
    folder: tempfile::TempDir,
    cuts: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Door {
    fn before(server: &Path, hands_on: bool) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let (cuts, closed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (server, flags) = (server.join(".s.PGSQL.5432"), (cuts.clone(), closed.clone()));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if !flags.1.load(Ordering::SeqCst) {
                    relay(client, &server, &flags, hands_on);
                }
            }
        });
        Self { folder, cuts, closed }
    }
}

fn relay(client: UnixStream, server: &PathBuf, flags: &(Arc<AtomicBool>, Arc<AtomicBool>), hands_on: bool) {
    let Ok(server) = UnixStream::connect(server) else {
        return;
    };
    let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(std::net::Shutdown::Both);
    });
    let (cuts, closed) = flags.clone();
    std::thread::spawn(move || {
        let (mut client, mut server) = (client, server);
        let mut buffer = [0; 65_536];
        while let Ok(length) = client.read(&mut buffer) {
            let bytes = &buffer[..length];
            let commits = bytes.windows(6).any(|six| six == b"COMMIT") && cuts.load(Ordering::SeqCst);
            if commits {
                closed.store(true, Ordering::SeqCst);
                let _ = client.shutdown(std::net::Shutdown::Both);
            }
            if length == 0 || (!commits || hands_on) && server.write_all(bytes).is_err() {
                break;
            }
            if commits {
                // What was handed on is done before the server hears that nobody listens.
                std::thread::sleep(Duration::from_millis(200));
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_unknown_fate_is_told_from_a_refused_one() {
    let server = Server::start();
    for hands_on in [true, false] {
        let door = Door::before(server.socket(), hands_on);
        let behind = server.connection().replace(
            server.socket().to_str().unwrap(),
            door.folder.path().to_str().unwrap(),
        );
        let ledger = connect(&behind).await;
        ledger.commit(put("before")).await.unwrap();
        door.cuts.store(true, Ordering::SeqCst);
        let name = format!("unknown {hands_on}");
        let unknown = ledger.commit(put(&name)).await;
        assert!(matches!(unknown, Err(LedgerError::Unknown(_))), "{unknown:?}");
        let refused = ledger.commit(put("refused")).await;
        assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
        door.cuts.store(false, Ordering::SeqCst);
        door.closed.store(false, Ordering::SeqCst);
        until(&ledger, true).await;
        assert_eq!(is_there(&ledger, &name).await, hands_on);
        assert!(!is_there(&ledger, "refused").await);
    }
}
