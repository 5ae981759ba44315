//! What a folder promises over time: reopened, locked, damaged, cut, killed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "test code"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use ledger::random::SeededRandom;
use ledger::{
    Direction, Key, KeyRange, KeyWriter, Keyspace, Ledger, LedgerError, LogRecord, Random, Scan, Snapshot,
    SystemClock, Transaction,
};
use ledger_embedded::{EmbeddedLedger, OpenError, Options};

type Model = BTreeMap<Key, Bytes>;

fn open(path: &Path) -> Result<EmbeddedLedger, OpenError> {
    let options = Options {
        memtable_bytes: 256 * 1024,
        reserve_bytes: 1024 * 1024,
        ..Options::default()
    };
    EmbeddedLedger::open(path, Arc::new(SystemClock), options)
}

fn key(number: u64) -> Key {
    KeyWriter::new(Keyspace::Blobs).u64(number).finish()
}

fn put(number: u64, value: Vec<u8>) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.put(key(number), value);
    transaction.record(LogRecord {
        keyspace: Keyspace::Blobs,
        kind: 1,
        payload: format!("{{\"n\":{number}}}").into(),
    });
    transaction
}

/// Fills a folder: part of it in tables, part only in the journal, with overwrites and deletes.
async fn fill(path: &Path, commits: u64) -> Model {
    let ledger = open(path).unwrap();
    let random = SeededRandom::new(7);
    let mut model = Model::new();
    for number in 0..commits {
        let at = if number % 5 == 4 {
            random.u64() % number
        } else {
            number
        };
        if number % 17 == 16 {
            let mut transaction = Transaction::new();
            transaction.delete(key(at));
            ledger.commit(transaction).await.unwrap();
            model.remove(&key(at));
        } else {
            let mut value = vec![0; 300 + usize::try_from(random.u64() % 900).unwrap()];
            random.fill(&mut value);
            ledger.commit(put(at, value.clone())).await.unwrap();
            model.insert(key(at), value.into());
        }
    }
    // As after a kill: nothing is flushed on the way out.
    std::mem::forget(ledger);
    model
}

/// Every read of every key, one by one and as scans; an error is fine, a wrong answer is not.
async fn reads_are_right_or_refused(
    snapshot: &dyn Snapshot,
    model: &Model,
    keys: u64,
) -> Result<bool, String> {
    let mut refused = false;
    for number in 0..keys {
        match snapshot.get(&key(number)).await {
            Ok(found) => {
                if found.map(|found| found.value).as_ref() != model.get(&key(number)) {
                    return Err(format!("key {number} is silently wrong"));
                }
            }
            Err(_) => refused = true,
        }
    }
    let mut scan = Scan::new(snapshot, KeyRange::all(), Direction::Forward);
    let mut expected = model.iter();
    loop {
        match scan.next().await {
            Err(_) => return Ok(true),
            Ok(None) if expected.next().is_none() => return Ok(refused),
            Ok(None) => return Err("a scan ends early".to_owned()),
            Ok(Some(entry)) => {
                if expected.next() != Some((&entry.key, &entry.versioned.value)) {
                    return Err(format!("a scan gives a wrong entry at {:?}", entry.key));
                }
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            // Journals are made large in advance: only what is used counts.
            let content = fs::read(&path).unwrap();
            let used = content
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last as u64 + 1);
            found.push((path, used));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_was_committed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    for number in 0..50 {
        ledger.commit(put(number, vec![1; 100])).await.unwrap();
    }
    ledger.close().await.unwrap();
    assert_eq!(
        ledger.commit(put(1, vec![])).await.unwrap_err(),
        LedgerError::Closed
    );
    drop(ledger);
    let ledger = open(folder.path()).unwrap();
    assert_eq!(*ledger.head().borrow(), 50);
    assert_eq!(ledger.commit(put(50, vec![2])).await.unwrap().sequence, 51);
    let page = ledger.log_page(0, 1_000, 1_000_000).await.unwrap();
    assert_eq!(
        page.entries
            .iter()
            .map(|entry| entry.sequence)
            .collect::<Vec<_>>(),
        (1..=51).collect::<Vec<_>>()
    );
    let report = ledger.verify(&|_| {}).await.unwrap();
    assert_eq!(
        (report.records, report.log_entries, report.faults),
        (51, 51, vec![])
    );
}

#[tokio::test]
async fn the_log_is_trimmed_as_far_as_its_followers_are() {
    let folder = tempfile::tempdir().unwrap();
    let ledger: Arc<dyn Ledger> = Arc::new(open(folder.path()).unwrap());
    for number in 0..20 {
        ledger.commit(put(number, vec![1])).await.unwrap();
    }
    let mut follower = ledger::Follower::open(ledger.clone(), "reader", 0).await.unwrap();
    follower.acknowledge(12).await.unwrap();
    assert_eq!(ledger.trim_log(18).await.unwrap(), 12);
    assert_eq!(
        ledger.log_page(3, 10, 1_000).await.unwrap_err(),
        LedgerError::LogTrimmed { through: 12 }
    );
    assert_eq!(
        follower.page(100, 1_000_000).await.unwrap().entries[0].sequence,
        13
    );
    assert!(ledger.verify(&|_| {}).await.unwrap().faults.is_empty());
    drop(follower);
    drop(ledger);
    let ledger = open(folder.path()).unwrap();
    assert!(ledger.verify(&|_| {}).await.unwrap().faults.is_empty());
}

#[test]
fn a_second_opener_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(folder.path()).unwrap();
    assert!(matches!(open(folder.path()), Err(OpenError::Locked { .. })));
}

#[test]
fn an_unknown_format_and_a_strangers_folder_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    fs::write(folder.path().join("FORMAT"), "stabbur-ledger-embedded 999\n").unwrap();
    let error = open(folder.path()).unwrap_err();
    assert!(
        matches!(&error, OpenError::UnknownFormat { found, .. } if found.ends_with("999")),
        "{error}"
    );
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("holiday.jpg"), "x").unwrap();
    assert!(matches!(open(other.path()), Err(OpenError::NotALedger { .. })));
}

#[tokio::test]
async fn a_full_disk_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        reserve_bytes: u64::MAX / 8,
        ..Options::default()
    };
    let ledger = EmbeddedLedger::open(folder.path(), Arc::new(SystemClock), options).unwrap();
    assert_eq!(
        ledger.commit(put(1, vec![1])).await.unwrap_err(),
        LedgerError::Full
    );
    assert_eq!(*ledger.head().borrow(), 0);
    assert_eq!(ledger.health(), ledger::Health::Ready);
}

#[tokio::test]
async fn a_conflict_in_a_group_leaves_its_neighbours_alone() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(open(folder.path()).unwrap());
    let tasks: Vec<_> = (0..64)
        .map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                // Eight writers want each key first; one of them gets it.
                let mut transaction = put(writer % 8, writer.to_be_bytes().to_vec());
                transaction.require_absent(key(writer % 8));
                ledger.commit(transaction).await
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert!(error.conflict().is_some(), "{error}"),
        }
    }
    assert_eq!(won, 8);
    let stats = ledger.stats().await.unwrap();
    assert_eq!((stats.commits, stats.conflicts), (8, 56));
}

#[tokio::test]
async fn flipped_bytes_are_refused_reported_or_harmless() {
    const PLACES: u64 = 50;
    const COMMITS: u64 = 3_000;
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    let model = fill(&sound, COMMITS).await;
    let all = files(&sound);
    let bytes: u64 = all.iter().map(|(_, length)| length).sum();
    let random = SeededRandom::new(11);
    let (mut refused, mut reported, mut verified, mut harmless) = (0, 0, 0, 0);
    for place in 0..PLACES {
        let damaged = folder.path().join(format!("damaged-{place}"));
        copy(&sound, &damaged);
        // Every third place takes a small file, which a choice by bytes would never meet.
        let (file, offset) = if place % 3 == 0 {
            let (file, length) = &all[usize::try_from(random.u64()).unwrap() % all.len()];
            (
                file,
                if *length == 0 {
                    continue;
                } else {
                    random.u64() % length
                },
            )
        } else {
            let mut at = random.u64() % bytes;
            let (file, _) = all
                .iter()
                .find(|(_, length)| {
                    let here = at < *length;
                    at -= if here { 0 } else { *length };
                    here
                })
                .unwrap();
            (file, at)
        };
        let target = damaged.join(file.strip_prefix(&sound).unwrap());
        let mut content = fs::read(&target).unwrap();
        content[usize::try_from(offset).unwrap()] ^= 1 << (random.u64() % 8);
        fs::write(&target, content).unwrap();
        match open(&damaged) {
            Err(_) => refused += 1,
            Ok(ledger) => {
                let snapshot = ledger.snapshot().await.unwrap();
                match reads_are_right_or_refused(snapshot.as_ref(), &model, COMMITS).await {
                    Ok(true) => reported += 1,
                    Ok(false) => {
                        let faults = ledger.verify(&|_| {}).await.unwrap().faults;
                        if faults.is_empty() {
                            harmless += 1;
                        } else {
                            verified += 1;
                        }
                    }
                    Err(wrong) => {
                        let faults = ledger.verify(&|_| {}).await.unwrap().faults;
                        assert!(!faults.is_empty(), "{} at {offset}: {wrong}", target.display());
                        verified += 1;
                    }
                }
            }
        }
        fs::remove_dir_all(&damaged).unwrap();
    }
    println!(
        "flipped bytes: {refused} refused at open, {reported} reported on read, \
         {verified} found by verify, {harmless} in unused bytes; silently wrong 0"
    );
    assert!(refused + reported + verified > 0);
}

#[tokio::test]
async fn a_cut_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound");
    fill(&sound, 200).await;
    for part in [1, 2, 3] {
        let damaged = folder.path().join(format!("cut-{part}"));
        copy(&sound, &damaged);
        let (journal, length) = files(&damaged)
            .into_iter()
            .filter(|(path, _)| path.extension().is_some_and(|e| e == "jnl"))
            .max()
            .unwrap();
        let content = fs::read(&journal).unwrap();
        // The journal's end may be unused; the cut goes through what is used.
        let used = content.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
        assert!(used <= length);
        fs::OpenOptions::new()
            .write(true)
            .open(&journal)
            .unwrap()
            .set_len(used * part / 4)
            .unwrap();
        let error = open(&damaged).unwrap_err();
        assert!(matches!(error, OpenError::JournalDamaged { .. }), "{error}");
    }
}

const CHILD: &str = "STABBUR_LEDGER_CHILD";

/// The child of the kill test: commits without end, saying each acknowledged number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_commits_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let ledger = Arc::new(open(Path::new(&path)).unwrap());
    let base = *ledger.head().borrow();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                for round in 0.. {
                    let number = base * 1_000 + round * 8 + writer;
                    ledger
                        .commit(put(number, number.to_be_bytes().repeat(20)))
                        .await
                        .unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "acknowledged {number}").unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_to_kill_9() {
    const KILLS: u64 = 10;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let random = SeededRandom::new(3);
    let mut acknowledged = Vec::new();
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_commits_until_it_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let until = 20 + random.u64() % 400;
        let mut seen = 0;
        while seen < until {
            let line = lines.next().expect("the child ended by itself").unwrap();
            if let Some(number) = line.split("acknowledged ").nth(1) {
                acknowledged.push(number.parse::<u64>().unwrap());
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            if let Some(Ok(number)) = line.strip_prefix("acknowledged ").map(str::parse) {
                acknowledged.push(number);
            }
        }
    }
    let ledger = open(&path).unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    for number in &acknowledged {
        let found = snapshot
            .get(&key(*number))
            .await
            .unwrap()
            .expect("an acknowledged commit is lost");
        assert_eq!(found.value, number.to_be_bytes().repeat(20), "torn");
    }
    assert!(ledger.verify(&|_| {}).await.unwrap().faults.is_empty());
    println!(
        "kill -9: {KILLS} kills, {} acknowledged, lost 0, torn 0",
        acknowledged.len()
    );
}
