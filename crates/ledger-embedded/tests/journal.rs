//! A damaged or torn journal, as the engine meets it when it opens: acknowledged commits are all
//! there, or the folder is refused.
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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ledger::random::SeededRandom;
use ledger::{
    Direction, Key, KeyRange, KeyWriter, Keyspace, Ledger, LedgerError, LogRecord, Random as _, Scan,
    SystemClock, Transaction,
};
use ledger_embedded::{EmbeddedLedger, OpenError, Options};
use tempfile::TempDir;

const COMMITS: u64 = 400;
/// The witness of this commit is kept, as a power loss may leave an old one.
const OLD: u64 = 50;

/// A folder as it was at one moment: each file's used bytes and its whole length.
struct Image(Vec<(PathBuf, Vec<u8>, u64)>);

impl Image {
    fn take(folder: &Path) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mut content = fs::read(&path).unwrap();
                let length = content.len() as u64;
                // By pages first: most of a journal is zeros.
                let pages = content
                    .chunks(4_096)
                    .rposition(|page| page != &[0; 4_096][..page.len()]);
                content.truncate(pages.map_or(0, |last| (last + 1) * 4_096));
                let used = content.iter().rposition(|byte| *byte != 0);
                content.truncate(used.map_or(0, |last| last + 1));
                files.push((path.strip_prefix(folder).unwrap().to_owned(), content, length));
            }
        }
        files.sort();
        Self(files)
    }

    fn write(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content, length) in &self.0 {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(*length).unwrap();
        }
        folder
    }

    fn file(&mut self, wanted: impl Fn(&Path) -> bool) -> &mut (PathBuf, Vec<u8>, u64) {
        self.0.iter_mut().find(|(path, ..)| wanted(path)).unwrap()
    }

    fn journal(&mut self) -> &mut (PathBuf, Vec<u8>, u64) {
        self.file(|path| path.extension().is_some_and(|extension| extension == "jnl"))
    }
}

struct Sound {
    image: Image,
    old_head: Vec<u8>,
    /// The newest value of each key, and what it is without the last commit.
    model: BTreeMap<Key, Bytes>,
    /// Used bytes of the journal before the last commit.
    before_last: usize,
    head_before_last: Vec<u8>,
}

fn key(number: u64) -> Key {
    KeyWriter::new(Keyspace::Blobs).u64(number).finish()
}

fn open(folder: &Path) -> Result<EmbeddedLedger, OpenError> {
    let options = Options {
        reserve_bytes: 1024 * 1024,
        ..Options::default()
    };
    EmbeddedLedger::open(folder, Arc::new(SystemClock), options)
}

/// Commits, the last one with a key of its own and a value of many sectors; as after a kill.
async fn sound() -> Sound {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(folder.path()).unwrap();
    let random = SeededRandom::new(21);
    let mut model = BTreeMap::new();
    let (mut old_head, mut head_before_last, mut before_last) = (Vec::new(), Vec::new(), 0);
    for number in 1..=COMMITS {
        let at = if number == COMMITS { 5_000 } else { number % 150 };
        let length = if number == COMMITS {
            9_000
        } else {
            random.u64() % 500
        };
        let mut value = vec![0; usize::try_from(length).unwrap()];
        random.fill(&mut value);
        let mut transaction = Transaction::new();
        transaction.put(key(at), value.clone());
        transaction.record(LogRecord {
            keyspace: Keyspace::Blobs,
            kind: 1,
            payload: "r".into(),
        });
        ledger.commit(transaction).await.unwrap();
        model.insert(key(at), value.into());
        if number == OLD {
            old_head = fs::read(folder.path().join("HEAD")).unwrap();
        }
        if number == COMMITS - 1 {
            let mut image = Image::take(folder.path());
            before_last = image.journal().1.len();
            head_before_last = fs::read(folder.path().join("HEAD")).unwrap();
        }
    }
    let image = Image::take(folder.path());
    ledger.close().await.unwrap();
    Sound {
        image,
        old_head,
        model,
        before_last,
        head_before_last,
    }
}

/// Whether everything of `model` is there and nothing else, under the head `commits`; an error
/// that is told on the way is fine.
async fn is_whole(
    ledger: &EmbeddedLedger,
    model: &BTreeMap<Key, Bytes>,
    commits: u64,
) -> Result<bool, LedgerError> {
    let snapshot = ledger.snapshot().await?;
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::all(), Direction::Forward);
    let mut found = BTreeMap::new();
    while let Some(entry) = scan.next().await? {
        found.insert(entry.key, entry.versioned.value);
    }
    Ok(found == *model && *ledger.head().borrow() == commits)
}

#[tokio::test]
async fn flipped_bytes_of_a_journal_never_cost_a_commit_silently() {
    const PLACES: u64 = 120;
    let mut sound = sound().await;
    let random = SeededRandom::new(8);
    let path = sound.image.journal().0.clone();
    for old_witness in [false, true] {
        let (mut named, mut refused, mut found, mut harmless) = (0, 0, 0, 0);
        for _ in 0..PLACES {
            let folder = sound.image.write();
            let mut content = sound.image.journal().1.clone();
            let at = usize::try_from(random.u64()).unwrap() % content.len();
            content[at] ^= 1 << (random.u64() % 8);
            let length = sound.image.journal().2;
            let target = folder.path().join(&path);
            fs::write(&target, &content).unwrap();
            fs::OpenOptions::new()
                .write(true)
                .open(&target)
                .unwrap()
                .set_len(length)
                .unwrap();
            if old_witness {
                fs::write(folder.path().join("HEAD"), &sound.old_head).unwrap();
            }
            match open(folder.path()) {
                Err(OpenError::JournalDamaged { file, .. }) => {
                    assert_eq!(file, target);
                    // Nothing is lost yet: the file is as it was.
                    let kept = fs::read(&target).unwrap();
                    assert_eq!(kept.len() as u64, length);
                    assert!(kept.starts_with(&content), "the refused journal was changed");
                    named += 1;
                }
                Err(_) => refused += 1,
                Ok(ledger) => match is_whole(&ledger, &sound.model, COMMITS).await {
                    Ok(true) => harmless += 1,
                    Err(_) => found += 1,
                    Ok(false) => panic!("byte {at}: commits are silently missing or wrong"),
                },
            }
        }
        println!(
            "{PLACES} flips in a journal, old witness {old_witness}: {named} refused before it was touched, \
             {refused} by the store's checksums, {found} on reading, {harmless} harmless"
        );
        assert!(named > 0 && refused > 0);
    }
}

#[tokio::test]
async fn a_torn_tail_opens_with_all_that_was_acknowledged() {
    let mut sound = sound().await;
    let random = SeededRandom::new(2);
    let (path, content, length) = sound.image.journal().clone();
    let mut model = sound.model.clone();
    model.remove(&key(5_000));
    let last = content.len() - sound.before_last;
    for round in 0..40 {
        let folder = sound.image.write();
        let cut = match round {
            0 => sound.before_last,
            1 => sound.before_last + 1,
            2 => content.len() - 1,
            _ => sound.before_last + usize::try_from(random.u64()).unwrap() % last,
        };
        let target = folder.path().join(&path);
        fs::write(&target, &content[..cut]).unwrap();
        if round % 2 == 0 {
            // What follows is still as it was made in advance.
            let file = fs::OpenOptions::new().write(true).open(&target).unwrap();
            file.set_len(length).unwrap();
        }
        // Killed in mid-write: what is torn was never acknowledged.
        fs::write(folder.path().join("HEAD"), &sound.head_before_last).unwrap();
        {
            let ledger = open(folder.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            assert!(is_whole(&ledger, &model, COMMITS - 1).await.unwrap());
            // And it goes on from there.
            let mut transaction = Transaction::new();
            transaction.put(key(5_000), sound.model[&key(5_000)].clone());
            assert_eq!(ledger.commit(transaction).await.unwrap().sequence, COMMITS);
        }
        let ledger = open(folder.path()).unwrap();
        assert!(is_whole(&ledger, &sound.model, COMMITS).await.unwrap());
        assert!(ledger.verify(&|_| {}).await.unwrap().faults.is_empty());
    }
}

/// What a power loss leaves of a load: everything that `HEAD` witnesses, and any sectors of what
/// came after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_loss_under_load_keeps_what_was_acknowledged() {
    const WRITERS: u64 = 24;
    const ROUNDS: u64 = 30;
    let random = SeededRandom::new(31);
    let (mut opened, mut refused, mut ahead) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Arc::new(open(folder.path()).unwrap());
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| tokio::spawn(write_until(stop.clone(), ledger.clone(), writer)))
            .collect();
        tokio::time::sleep(Duration::from_millis(10 + random.u64() % 30)).await;
        // Read before the journal, as it is never ahead of it.
        let head = fs::read(folder.path().join("HEAD")).unwrap();
        let mut image = Image::take(folder.path());
        let journal = image.journal();
        // A file is read from its beginning while its end grows; what precedes a byte that was
        // seen is there when it is read again.
        let used = journal.1.len();
        journal.1 = fs::read(folder.path().join(&journal.0)).unwrap();
        journal.1.truncate(used);
        let witnessed = [0, 4_096].map(|slot| number(&head[slot + 8..]));
        let kept = witnessed.into_iter().chain(synced(&journal.1)).max().unwrap();
        let synced = bytes_through(&journal.1, kept);
        ahead += u64::from(synced < journal.1.len());
        let mut sector = synced / 512 * 512;
        while sector < journal.1.len() {
            let end = (sector + 512).min(journal.1.len());
            if random.u64().is_multiple_of(4) {
                journal.1[sector.max(synced)..end].fill(0);
            }
            sector = end;
        }
        image.file(|path| path.ends_with("HEAD")).1 = head;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.await.unwrap();
        }
        let left = image.write();
        match open(left.path()) {
            Ok(ledger) => {
                assert!(*ledger.head().borrow() >= kept);
                assert!(ledger.verify(&|_| {}).await.unwrap().faults.is_empty());
                let mut transaction = Transaction::new();
                transaction.put(key(1), "goes on");
                ledger.commit(transaction).await.unwrap();
                opened += 1;
            }
            // Frames are whole, a value isn't: the store can't tell that from damage.
            Err(OpenError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    println!(
        "{ROUNDS} power losses: {ahead} with unsynced groups, {opened} opened, {refused} refused by a checksum"
    );
    assert!(opened > ROUNDS / 2 && ahead > ROUNDS / 4);
}

async fn write_until(stop: Arc<AtomicBool>, ledger: Arc<EmbeddedLedger>, writer: u64) {
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut transaction = Transaction::new();
        transaction.put(key(writer * 1_000_000 + number), "small, to fill few sectors");
        ledger.commit(transaction).await.unwrap();
    }
}

/// Where the bytes of a journal through commit `sequence` end: behind the batch with its log entry.
fn bytes_through(journal: &[u8], sequence: u64) -> usize {
    let mut entry = vec![b'l'];
    entry.extend_from_slice(&sequence.to_be_bytes());
    let Some(entry) = places(journal, &entry).next() else {
        return 0;
    };
    entry + places(&journal[entry..], b"FJL\x03").next().unwrap() + 4
}

/// Which commits the head's marks in a journal call synced.
fn synced(journal: &[u8]) -> impl Iterator<Item = u64> {
    // Behind the key: checksum, number, chain hash.
    places(journal, b"mhead").map(|at| number(&journal[at + 5 + 4 + 8 + 32..]))
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

fn places(bytes: &[u8], needle: &[u8]) -> impl Iterator<Item = usize> {
    bytes
        .windows(needle.len())
        .enumerate()
        .filter_map(move |(at, window)| (window == needle).then_some(at))
}

/// The store skips a batch whose number it takes for one that is in a table already, and the
/// number is under no checksum: in the oldest journal's first batch only the log shows it.
#[tokio::test]
async fn a_skipped_first_batch_is_found() {
    let folder = tempfile::tempdir().unwrap();
    {
        let ledger = open(folder.path()).unwrap();
        for number in 0..2_000 {
            let mut transaction = Transaction::new();
            transaction.put(key(number), "in a table");
            ledger.commit(transaction).await.unwrap();
        }
        ledger.close().await.unwrap();
    }
    let ledger = open(folder.path()).unwrap();
    for path in fs::read_dir(folder.path().join("store")).unwrap() {
        let path = path.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            // What is in tables needs no journal; this one begins anew.
            fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(0)
                .unwrap();
        }
    }
    // More than the newest entries that every open checks.
    for number in 0..1_500 {
        let mut transaction = Transaction::new();
        transaction.put(key(10_000 + number), "only in the journal");
        ledger.commit(transaction).await.unwrap();
    }
    let mut image = Image::take(folder.path());
    drop(ledger);
    assert!(open(image.write().path()).is_ok());
    // Little-endian, behind the tag and the number of items.
    let journal = &mut image.journal().1;
    assert_eq!(journal[0], 1);
    journal[5..13].copy_from_slice(&1_u64.to_le_bytes());
    let error = open(image.write().path()).unwrap_err();
    assert!(
        matches!(&error, OpenError::Damaged { detail, .. } if detail.contains("2001")),
        "{error}"
    );
}
