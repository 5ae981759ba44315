//! What isn't copied, copied into, or served, and what is said then.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Lease, Ledger as _, LedgerError, SystemClock, Transaction};
use ledger_postgres::Options;

use super::estate::{
    MARKED, copy, dev_refuses, embedded, fill, in_folder, in_postgres, key, kill_at, postgres, refused,
    run_until,
};
use super::server::Server;
use super::{COPIED, READING, large_ledger, text};

fn dev_in(data: &Path) -> [&str; 2] {
    ["--data", text(data)]
}

async fn small_ledger(data: &Path) {
    let ledger = embedded(data);
    fill(ledger.clone(), 0).await;
    ledger.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_copy_is_not_served_and_other_ledgers_do_not_go_into_it() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let (first, half, other) = (at("first"), at("half"), at("other"));
    let wanted = large_ledger(&first).await;
    small_ledger(&other).await;
    let connection = server.connection();
    // A node that had the empty database open before.
    let node = postgres(&Options::new(&connection)).await;
    for (to, dev) in [
        (text(&half), dev_in(&half)),
        (&connection, ["--ledger-postgres", &connection]),
    ] {
        assert_eq!(kill_at(text(&first), to, &[COPIED]), COPIED);
        let said = dev_refuses(&dev);
        assert!(
            said.contains("half a copy") && said.contains("the same `stabbur ledger copy` again"),
            "{said}"
        );
        let said = refused(text(&other), to);
        assert!(said.contains("half a copy of another ledger"), "{said}");
        let said = refused(to, text(&at("elsewhere")));
        assert!(said.contains("half a copy"), "{said}");
    }
    let mut tx = Transaction::new();
    tx.put(key("lost"), "x");
    let lost = node.commit(tx).await;
    assert!(matches!(lost, Err(LedgerError::Unavailable(_))), "{lost:?}");
    assert!(node.snapshot().await.is_err());
    drop(node);

    // What a kill between the last two steps leaves: everything is there, and the marker.
    let marker = std::fs::read(half.join("ledger/COPYING")).unwrap();
    copy(text(&first), text(&half));
    std::fs::write(half.join("ledger/COPYING"), &marker).unwrap();
    assert!(dev_refuses(&dev_in(&half)).contains("half a copy"));
    copy(text(&first), text(&half));
    assert_eq!(in_folder(&half).await, wanted);
    copy(text(&first), &connection);
    assert_eq!(in_postgres(&Options::new(&connection)).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_holds_something_is_not_copied_into() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let (first, other, files) = (at("first"), at("other"), at("files"));
    let connection = server.connection();
    small_ledger(&first).await;
    small_ledger(&other).await;
    std::fs::create_dir_all(files.join("ledger")).unwrap();
    std::fs::write(files.join("ledger/letter.txt"), "dear").unwrap();
    let before = in_folder(&other).await;

    let said = refused(text(&first), text(&other));
    assert!(
        said.contains("holds a ledger of its own, through commit"),
        "{said}"
    );
    assert_eq!(in_folder(&other).await, before);
    let said = refused(text(&first), text(&files));
    assert!(said.contains("letter.txt"), "{said}");
    assert!(files.join("ledger/letter.txt").exists());
    let said = refused(text(&first), text(&first));
    assert!(said.contains("the same folder"), "{said}");
    let said = refused(text(&at("nothing")), text(&at("new")));
    assert!(said.contains("holds no ledger"), "{said}");

    copy(text(&other), &connection);
    let said = refused(text(&first), &connection);
    assert!(
        said.contains("holds a ledger of its own, through commit"),
        "{said}"
    );
    assert_eq!(in_postgres(&Options::new(&connection)).await, before);
    let said = refused(text(&other), &connection);
    assert!(said.contains("holds this very ledger already"), "{said}");
    server.sql("CREATE DATABASE nothing");
    let said = refused(
        &connection.replace("dbname=postgres", "dbname=nothing"),
        text(&at("new")),
    );
    assert!(said.contains("holds no ledger"), "{said}");
    let said = refused(&format!("{connection} password=hunter2 port=1"), text(&at("new")));
    assert!(
        said.contains("can't be reached") && !said.contains("hunter2"),
        "{said}"
    );
    // None of these made anything.
    assert!(!at("new").join("ledger/COPYING").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_in_use_is_refused() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let (first, connection) = (at("first"), server.connection());
    large_ledger(&first).await;
    let open = embedded(&first);
    let said = refused(text(&first), text(&at("locked")));
    assert!(said.contains("another process has this ledger open"), "{said}");
    open.close().await.unwrap();
    drop(open);

    copy(text(&first), &connection);
    let node = postgres(&Options::new(&connection)).await;
    let holder = uuid(&server);
    let ten = Duration::from_secs(10);
    let lease = Lease::new(
        node.clone(),
        Arc::new(SystemClock),
        "background work",
        holder,
        ten,
    );
    assert!(lease.hold().await.unwrap());
    let said = refused(&connection, text(&at("leased")));
    assert!(said.contains("a node uses it"), "{said}");
    lease.release().await.unwrap();

    // One that commits while it is copied, unseen by leases: found at the end.
    let moved = at("moved");
    let (child, line) = run_until(&connection, text(&moved), &[COPIED, READING]);
    signal(&child, "STOP");
    let mut tx = Transaction::new();
    tx.put(key("late"), "x");
    node.commit(tx).await.unwrap();
    signal(&child, "CONT");
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(line == Some(COPIED) && !output.status.success(), "{said}");
    assert!(said.contains("the source changed while it was copied"), "{said}");
    assert!(dev_refuses(&dev_in(&moved)).contains("half a copy"));
    let said = refused(&connection, text(&moved));
    assert!(said.contains("before it went on; remove the folder"), "{said}");
}

fn uuid(server: &Server) -> uuid::Uuid {
    server.sql("SELECT gen_random_uuid()").parse().unwrap()
}

fn signal(child: &std::process::Child, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// Turns a bit in each copy of the marked value in `folder`'s tables; how many there were.
fn damage(folder: &Path) -> usize {
    let mut found = 0;
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            for at in 0..bytes.len().saturating_sub(MARKED.len()) {
                if bytes[at..].starts_with(&MARKED) {
                    let file = std::fs::File::options().write(true).open(&path).unwrap();
                    file.write_all_at(&[bytes[at + 9] ^ 4], at as u64 + 9).unwrap();
                    found += 1;
                }
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_source_is_reported_and_not_copied() {
    let server = Server::start();
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().join(name);
    let (first, connection) = (at("first"), server.connection());
    small_ledger(&first).await;
    copy(text(&first), &connection);

    assert!(
        damage(&first.join("ledger/store")) > 0,
        "the value lies in no file as it is"
    );
    let said = refused(text(&first), text(&at("one")));
    assert!(said.contains("damaged"), "{said}");
    assert!(!at("one").join("ledger/FORMAT").exists());

    let find = "FROM stabbur.data WHERE position('q7Xv0ZkP3mB9sJ2wLd8RfT5yHc1NgE6a'::bytea IN record) > 0";
    let key_hex = server.sql(&format!("SELECT encode(key, 'hex') {find}"));
    let turn = format!(
        "UPDATE stabbur.data SET record = set_byte(record, 12, get_byte(record, 12) # 4) WHERE key = '\\x{key_hex}'"
    );
    server.sql(&turn);
    let said = refused(&connection, text(&at("two")));
    assert!(
        said.contains("marked") && said.contains("checksum doesn't match"),
        "{said}"
    );
    assert!(!at("two").join("ledger/FORMAT").exists());
    assert!(dev_refuses(&dev_in(&at("two"))).contains("half a copy"));
    server.sql(&turn);

    // A row holds entries up to its number; the one before 150 gets a row of its own, 150 none.
    server.sql(
        "CREATE TABLE kept AS SELECT * FROM stabbur.log; \
         CREATE TABLE cut AS SELECT sequence, entries, (cardinality(entries) - (sequence - 150))::int AS at \
         FROM stabbur.log WHERE sequence >= 150 ORDER BY sequence LIMIT 1; \
         UPDATE stabbur.log SET entries = cut.entries[cut.at + 1:] FROM cut WHERE log.sequence = cut.sequence; \
         INSERT INTO stabbur.log SELECT 149, entries[:at - 1] FROM cut",
    );
    let said = refused(&connection, text(&at("three")));
    assert!(said.contains("log entry 150 is missing"), "{said}");
    server.sql("TRUNCATE stabbur.log; INSERT INTO stabbur.log SELECT * FROM kept");
    copy(&connection, text(&at("three")));
}
