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
use ledger_postgres::limits::{ANSWER_SECONDS_MAX, HEAD_POLL_SECONDS};
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

/// Past it every call must have been answered: the time until the next question to the database,
/// and its patience with the answer.
const ANSWERED_MAX: Duration = Duration::from_secs(HEAD_POLL_SECONDS + ANSWER_SECONDS_MAX + 1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_is_given_up_and_taken_again() {
    let mut server = Server::start();
    let ledger = Arc::new(connect(&server.connection()).await);
    ledger.commit(put("before")).await.unwrap();
    let held = ledger.snapshot().await.unwrap();
    server.hang(true);
    let began = Instant::now();
    let commits = (0..20).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200) * number).await;
            ledger.commit(put(&format!("hung {number}"))).await.map(|_| ())
        })
    });
    let reads = (0..20).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(200) * number).await;
            ledger.snapshot().await.map(|_| ())
        })
    });
    let calls: Vec<_> = commits.chain(reads).collect();
    let read = held.get(&key("before")).await;
    assert!(matches!(read, Err(LedgerError::Unavailable(_))), "{read:?}");
    for call in calls {
        let outcome = call.await.unwrap();
        assert!(
            matches!(
                outcome,
                Err(LedgerError::Unavailable(_) | LedgerError::Unknown(_))
            ),
            "{outcome:?}"
        );
    }
    let taken = began.elapsed();
    assert!(
        taken < ANSWERED_MAX,
        "the last of them was answered after {taken:?}"
    );
    assert_ne!(ledger.health(), Health::Ready);
    // From now on everything is refused at once, although connecting would take its time.
    for number in 0..5 {
        let began = Instant::now();
        let commit = ledger.commit(put(&format!("refused {number}"))).await;
        assert!(matches!(commit, Err(LedgerError::Unavailable(_))), "{commit:?}");
        assert!(ledger.snapshot().await.is_err());
        assert!(
            began.elapsed() < Duration::from_millis(500),
            "{:?}",
            began.elapsed()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.hang(false);
    let back = until(&ledger, true).await;
    assert!(back < Duration::from_secs(3), "{back:?}");
    ledger.commit(put("after")).await.unwrap();
    assert!(is_there(&ledger, "before").await && is_there(&ledger, "after").await);
    for number in 0..5 {
        assert!(!is_there(&ledger, &format!("refused {number}")).await);
    }
    let report = ledger.verify(&|_| ()).await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_others_is_no_silence() {
    let server = Server::start();
    let ledger = connect(&server.connection()).await;
    let (other, connection) = tokio_postgres::connect(&server.connection(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let lock = "SET search_path TO stabbur; BEGIN; SELECT sequence FROM head FOR UPDATE";
    other.batch_execute(lock).await.unwrap();
    let held = ANSWERED_MAX + Duration::from_secs(1);
    let (commit, ()) = tokio::join!(ledger.commit(put("waited")), async {
        tokio::time::sleep(held).await;
        assert_eq!(ledger.health(), Health::Ready);
        other.batch_execute("ROLLBACK").await.unwrap();
    });
    commit.unwrap();
}

/// What a door does to the connections on which its word passes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// Cuts them.
    Cut,
    /// Passes nothing on from then on, either way, and keeps them: as a machine that vanished.
    Swallow,
}

/// What a door harms by default.
const COMMIT: &[u8] = b"COMMIT";

/// Stands before the server and harms every connection on which a word passes, once it is told to;
/// what was sent with the word is handed on or not. From then on nobody is let in until it is told to.
struct Door {
    folder: tempfile::TempDir,
    harms: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Door {
    fn before(server: &Path, harm: Harm, hands_on: bool) -> Self {
        Self::against(COMMIT, server, harm, hands_on)
    }

    fn against(word: &'static [u8], server: &Path, harm: Harm, hands_on: bool) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let door = Self {
            folder,
            harms: Arc::default(),
            closed: Arc::default(),
        };
        let (server, harms, closed) = (
            server.join(".s.PGSQL.5432"),
            door.harms.clone(),
            door.closed.clone(),
        );
        std::thread::spawn(move || {
            let mut ignored = Vec::new();
            for client in listener.incoming().map_while(Result::ok) {
                if !closed.load(Ordering::SeqCst) {
                    let states = (harms.clone(), closed.clone());
                    relay(client, &server, states, word, harm, hands_on);
                } else if harm == Harm::Swallow {
                    ignored.push(client);
                }
            }
        });
        door
    }
}

fn relay(
    client: UnixStream,
    server: &PathBuf,
    (harms, closed): (Arc<AtomicBool>, Arc<AtomicBool>),
    word: &'static [u8],
    harm: Harm,
    hands_on: bool,
) {
    let Ok(server) = UnixStream::connect(server) else {
        return;
    };
    let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let swallowed = Arc::new(AtomicBool::new(false));
    let (swallows, shut) = (swallowed.clone(), closed.clone());
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(length @ 1..) = answers.read(&mut buffer) {
            if harm == Harm::Swallow && shut.load(Ordering::SeqCst) {
                swallows.store(true, Ordering::SeqCst);
            }
            if !swallows.load(Ordering::SeqCst) && to_client.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to_client.shutdown(std::net::Shutdown::Both);
    });
    std::thread::spawn(move || {
        let (mut client, mut server) = (client, server);
        let mut buffer = [0; 65_536];
        while let Ok(length) = client.read(&mut buffer) {
            let bytes = &buffer[..length];
            let was_swallowed = swallowed.load(Ordering::SeqCst);
            let commits = bytes.windows(word.len()).any(|part| part == word) && harms.load(Ordering::SeqCst);
            if commits {
                closed.store(true, Ordering::SeqCst);
            }
            if harm == Harm::Swallow && closed.load(Ordering::SeqCst) {
                swallowed.store(true, Ordering::SeqCst);
            } else if commits {
                let _ = client.shutdown(std::net::Shutdown::Both);
            }
            let passes = if commits {
                hands_on
            } else {
                !swallowed.load(Ordering::SeqCst)
            };
            if passes && !was_swallowed && length > 0 && server.write_all(bytes).is_err() {
                break;
            }
            if length == 0 && swallowed.load(Ordering::SeqCst) {
                // The server isn't told, and keeps what it holds for the client.
                std::mem::forget(server);
                return;
            }
            if length == 0 {
                break;
            }
            if commits && harm == Harm::Cut {
                // What was handed on is done before the server hears that nobody listens.
                std::thread::sleep(Duration::from_millis(200));
                break;
            }
        }
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
}

fn behind(door: &Door, server: &Server) -> String {
    server.connection().replace(
        server.socket().to_str().unwrap(),
        door.folder.path().to_str().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_of_unknown_fate_is_told_from_a_refused_one() {
    let server = Server::start();
    for (harm, hands_on) in [
        (Harm::Cut, true),
        (Harm::Cut, false),
        (Harm::Swallow, true),
        (Harm::Swallow, false),
    ] {
        let door = Door::before(server.socket(), harm, hands_on);
        let ledger = connect(&behind(&door, &server)).await;
        ledger.commit(put("before")).await.unwrap();
        door.harms.store(true, Ordering::SeqCst);
        let name = format!("unknown {} {hands_on}", harm == Harm::Cut);
        let began = Instant::now();
        let unknown = ledger.commit(put(&name)).await;
        assert!(matches!(unknown, Err(LedgerError::Unknown(_))), "{unknown:?}");
        assert!(began.elapsed() < ANSWERED_MAX, "{:?}", began.elapsed());
        let refused = ledger.commit(put("refused")).await;
        assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
        door.harms.store(false, Ordering::SeqCst);
        door.closed.store(false, Ordering::SeqCst);
        until(&ledger, true).await;
        assert_eq!(is_there(&ledger, &name).await, hands_on);
        assert!(!is_there(&ledger, "refused").await);
        // A transaction whose node vanished holds up the others for a while, and no longer.
        let began = Instant::now();
        while let Err(error) = ledger.commit(put("after")).await {
            assert!(matches!(error, LedgerError::Unavailable(_)), "{error}");
            assert!(began.elapsed() < Duration::from_secs(15), "{error}");
        }
    }
}

/// Writes until the head is expected where it was left, so that the next group is sent in one trip.
async fn warm(ledger: &PostgresLedger) {
    for number in 0..3 {
        ledger.commit(put(&format!("warm {number}"))).await.unwrap();
    }
}

/// Sent in one trip and cut off, it may still begin in a server that hangs: that another connection
/// finds nothing of it doesn't mean that there will be nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_begin_late_is_never_told_to_be_refused() {
    let server = Server::start();
    let door = Door::against(b"late", server.socket(), Harm::Cut, false);
    let ledger = connect(&behind(&door, &server)).await;
    warm(&ledger).await;
    // The second attempt, which holds the head's lock, is refused by the database.
    server.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END'; \
         CREATE TRIGGER refuse BEFORE INSERT ON stabbur.data FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    door.harms.store(true, Ordering::SeqCst);
    let (late, ()) = tokio::join!(ledger.commit(put("late")), async {
        while !door.closed.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        door.harms.store(false, Ordering::SeqCst);
        door.closed.store(false, Ordering::SeqCst);
    });
    assert!(
        matches!(&late, Err(LedgerError::Unknown(cause)) if cause.contains("refused")),
        "{late:?}"
    );
    // Of what nothing was sent before it is known.
    let refused = ledger.commit(put("next")).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable(_))), "{refused:?}");
}

/// The log would tell whether a group is there, and no longer reaches back so far.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_evidence_was_trimmed_is_of_unknown_fate() {
    let server = Server::start();
    let door = Door::against(b"trimmed", server.socket(), Harm::Cut, true);
    let ledger = connect(&behind(&door, &server)).await;
    let other = connect(&server.connection()).await;
    warm(&ledger).await;
    door.harms.store(true, Ordering::SeqCst);
    let (unknown, ()) = tokio::join!(ledger.commit(put("trimmed")), async {
        while !is_there(&other, "trimmed").await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(other.trim_log(4).await.unwrap(), 4);
        door.harms.store(false, Ordering::SeqCst);
        door.closed.store(false, Ordering::SeqCst);
    });
    assert!(
        matches!(&unknown, Err(LedgerError::Unknown(cause)) if cause.contains("trimmed")),
        "{unknown:?}"
    );
    let head = ledger.snapshot().await.unwrap().sequence();
    assert_eq!(head, 4, "it was written twice");
}
