//! Journals of the pinned store, torn as a crash tears them and damaged as nothing honest does.

use std::fs;
use std::sync::Arc;

use ledger::random::SeededRandom;
use ledger::{Key, KeyWriter, Keyspace, Ledger as _, LogRecord, Random as _, SystemClock, Transaction};

use super::*;
use crate::{EmbeddedLedger, Options, record};

const COMMITS: u64 = 60;

/// A journal's used bytes and its batches.
struct Sound {
    bytes: Vec<u8>,
    batches: Vec<Batch>,
}

impl Sound {
    fn last(&self) -> Batch {
        *self.batches.last().unwrap()
    }

    /// What was acknowledged before the last batch.
    fn before_last(&self) -> Sequence {
        self.batches[self.batches.len() - 2].head
    }
}

fn key(number: u64) -> Key {
    KeyWriter::new(Keyspace::Blobs).u64(number).finish()
}

/// Commits of all kinds, then a trim, then a last commit whose value holds the journal's own
/// beginning, whole batches and all.
async fn sound() -> Sound {
    let folder = tempfile::tempdir().unwrap();
    let ledger = EmbeddedLedger::open(folder.path(), Arc::new(SystemClock), Options::default()).unwrap();
    let random = SeededRandom::new(9);
    for number in 0..COMMITS {
        let mut transaction = Transaction::new();
        let mut value = vec![0; usize::try_from(random.u64() % 700).unwrap()];
        random.fill(&mut value);
        transaction.put(key(number % 40), value);
        transaction.delete(key(number / 3));
        transaction.put_sequenced(key(1_000), &b"s"[..], "sequenced");
        transaction.record(LogRecord {
            keyspace: Keyspace::Blobs,
            kind: 1,
            payload: "record".into(),
        });
        ledger.commit(transaction).await.unwrap();
    }
    ledger.trim_log(COMMITS / 2).await.unwrap();
    let journal = folder.path().join("store").join("0.jnl");
    let journal = if journal.exists() {
        journal
    } else {
        folder.path().join("store").join("1.jnl")
    };
    let mut transaction = Transaction::new();
    transaction.put(key(2_000), fs::read(&journal).unwrap()[..6_000].to_vec());
    ledger.commit(transaction).await.unwrap();
    let mut bytes = fs::read(&journal).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(used);
    ledger.close().await.unwrap();
    let batches = batches(&bytes);
    assert_eq!(batches.last().unwrap().end, bytes.len() as u64);
    Sound { bytes, batches }
}

fn batches(bytes: &[u8]) -> Vec<Batch> {
    let folder = written(&[bytes], 0);
    let file = File::open(folder.path().join("1.jnl")).unwrap();
    let mut window = Window::new(&file).unwrap();
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(batch) = frame::batch(&mut window, at).unwrap() {
        at = batch.end;
        found.push(batch);
    }
    found
}

/// A folder with these journals, zeros behind each.
fn written(journals: &[&[u8]], zeros: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, bytes) in journals.iter().enumerate() {
        let path = folder.path().join(format!("{}.jnl", number + 1));
        fs::write(&path, bytes).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len((bytes.len() + zeros) as u64).unwrap();
    }
    folder
}

fn walk_of(bytes: &[u8], acknowledged: Option<Sequence>) -> Result<Walked, OpenError> {
    let folder = written(&[bytes], 100_000);
    let before = fs::read(folder.path().join("1.jnl")).unwrap();
    let walked = walk(folder.path(), acknowledged);
    assert!(
        fs::read(folder.path().join("1.jnl")).unwrap() == before,
        "the walk changed the journal"
    );
    walked
}

fn refused(walked: &Result<Walked, OpenError>) -> bool {
    matches!(walked, Err(OpenError::JournalDamaged { .. }))
}

/// Should an update of the store change its framing, this is what says so.
#[tokio::test]
async fn a_journal_of_the_store_is_walked_to_its_end() {
    let sound = sound().await;
    let walked = walk_of(&sound.bytes, Some(COMMITS + 1)).unwrap();
    // One batch a commit, and the trim.
    assert_eq!((walked.batches, walked.torn), (COMMITS + 2, None));
    assert_eq!(walked.must_be_logged, [0, 1]);
    assert_eq!(
        (sound.batches[0].first, sound.last().head),
        (Some(1), COMMITS + 1)
    );
    assert!(refused(&walk_of(&sound.bytes, Some(COMMITS + 2))));
}

#[tokio::test]
async fn any_beginning_of_the_last_batch_is_a_torn_tail() {
    let sound = sound().await;
    let last = sound.last();
    let start = usize::try_from(last.start).unwrap();
    // Every byte at both ends, and steps through the long value.
    let end = sound.bytes.len();
    let cuts = (start..start + 200)
        .chain((start + 200..end - 300).step_by(97))
        .chain(end - 300..end);
    for cut in cuts {
        for zeros in [0, 10_000] {
            let folder = written(&[&sound.bytes[..cut]], zeros);
            let walked = walk(folder.path(), Some(sound.before_last())).unwrap();
            let torn = walked.torn.map(|(_, at)| at);
            assert_eq!(torn, (cut > start).then_some(last.start), "cut at {cut}");
            // Had it been acknowledged, the same picture would be a loss.
            assert!(refused(&walk(folder.path(), Some(last.head))), "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn damaged_markers_before_later_batches_are_refused() {
    let sound = sound().await;
    let batch = sound.batches[20];
    let (start, end) = (
        usize::try_from(batch.start).unwrap(),
        usize::try_from(batch.end).unwrap(),
    );
    // Tag and number of items; the end's tag and magic; the first item's header without its tree.
    let markers = (start..start + 5)
        .chain([end - 13])
        .chain(end - 4..end)
        .chain(start + 13..start + 16)
        .chain(start + 24..start + 34);
    for at in markers {
        for bit in 0..8 {
            let mut bytes = sound.bytes.clone();
            bytes[at] ^= 1 << bit;
            // A put made a delete keeps its frame: that is for the store's checksum.
            if at == start + 14 && bit == 0 {
                continue;
            }
            // Even without a witness.
            let walked = walk_of(&bytes, None);
            assert!(refused(&walked), "byte {at} bit {bit}: {walked:?}");
            let Err(OpenError::JournalDamaged { offset, .. }) = walked else {
                unreachable!()
            };
            assert_eq!(offset, batch.start);
        }
    }
    // The store's own number, under no checksum: harmless as long as the order stays.
    for at in start + 5..start + 13 {
        for bit in 0..8 {
            let mut bytes = sound.bytes.clone();
            bytes[at] ^= 1 << bit;
            if let Ok(walked) = walk_of(&bytes, None) {
                assert_eq!((walked.batches, walked.torn), (COMMITS + 2, None));
                let numbers: Vec<u64> = batches(&bytes).iter().map(|batch| batch.number).collect();
                assert!(numbers.is_sorted_by(|one, next| one < next));
            }
        }
    }
}

#[tokio::test]
async fn lost_sectors_before_later_batches_are_refused() {
    let sound = sound().await;
    let random = SeededRandom::new(4);
    let end = usize::try_from(sound.batches[50].start).unwrap();
    for size in [1, 16, 512, 4_096] {
        for _ in 0..25 {
            let at = usize::try_from(random.u64()).unwrap() % (end - size);
            for filling in [0, 0xFF] {
                let mut bytes = sound.bytes.clone();
                bytes[at..at + size].fill(filling);
                let walked = walk_of(&bytes, None);
                // Where only values were hit, the frames are whole and the store's checksum finds it.
                let whole = walked
                    .as_ref()
                    .is_ok_and(|walked| walked.batches == COMMITS + 2 && walked.torn.is_none());
                assert!(whole || refused(&walked), "{size} bytes at {at}: {walked:?}");
            }
            // Cut out: what was behind is now before.
            let mut bytes = sound.bytes.clone();
            bytes.drain(at..at + size);
            let walked = walk_of(&bytes, None);
            assert!(refused(&walked), "{size} bytes cut out at {at}: {walked:?}");
        }
    }
}

#[tokio::test]
async fn a_missing_batch_is_refused_even_without_a_trace() {
    let sound = sound().await;
    for missing in [1, 7, 30, 40] {
        let batch = sound.batches[missing];
        let mut bytes = sound.bytes.clone();
        bytes.drain(usize::try_from(batch.start).unwrap()..usize::try_from(batch.end).unwrap());
        assert!(refused(&walk_of(&bytes, None)), "batch {missing}");
    }
}

/// An older witness, as after a power loss: the last batch itself tells.
#[tokio::test]
async fn a_last_batch_that_was_written_to_its_end_is_no_torn_tail() {
    let sound = sound().await;
    let (start, end) = (usize::try_from(sound.last().start).unwrap(), sound.bytes.len());
    for at in (start..start + 5)
        .chain(start + 13..start + 16)
        .chain([start + 25])
    {
        for bit in 0..8 {
            if at == start + 14 && bit == 0 {
                continue;
            }
            let mut bytes = sound.bytes.clone();
            bytes[at] ^= 1 << bit;
            let walked = walk_of(&bytes, Some(10));
            assert!(refused(&walked), "byte {at} bit {bit}: {walked:?}");
        }
    }
    // A sector that never reached the disk is what a power loss leaves of an unsynced batch.
    let mut bytes = sound.bytes.clone();
    let hole = start.next_multiple_of(512);
    assert!(hole + 512 < end - 100);
    bytes[start..hole + 512].fill(0);
    let walked = walk_of(&bytes, Some(10)).unwrap();
    assert_eq!(walked.torn.map(|(_, at)| at), Some(sound.last().start));
}

#[tokio::test]
async fn older_journals_must_be_whole() {
    let sound = sound().await;
    let split = usize::try_from(sound.batches[30].start).unwrap();
    let (old, new) = sound.bytes.split_at(split);
    let walked = |old: &[u8], new: &[u8]| {
        let folder = written(&[old, new], 5_000);
        walk(folder.path(), Some(COMMITS + 1))
    };
    let both = walked(old, new).unwrap();
    assert_eq!((both.batches, both.torn), (COMMITS + 2, None));
    assert_eq!(both.must_be_logged, [0, 1, 30, 31]);
    assert!(refused(&walked(&old[..split - 40], new)), "an older one is torn");
    // Not the witness alone says so.
    let folder = written(&[&old[..split - 40], new], 5_000);
    assert!(refused(&walk(folder.path(), None)));
    assert!(refused(&walked(new, old)), "they are in the wrong order");
    // An older one without its last batch parses; that its commits are missing shows once open.
    let short = usize::try_from(sound.batches[29].start).unwrap();
    let gap = walked(&old[..short], new).unwrap();
    assert_eq!(gap.must_be_logged, [0, 1, 30, 30, 31]);
    // The newest is there but empty, as just after it was begun.
    let folder = written(&[&sound.bytes, &[]], 5_000);
    assert!(walk(folder.path(), Some(COMMITS + 1)).is_ok());
    assert!(refused(&walk(folder.path(), Some(COMMITS + 2))));
    // None at all: all is in tables.
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(walk(folder.path(), Some(7)).unwrap(), Walked::default());
}

/// The batches from `from` on as if they had been written while the one before them was the
/// newest that was synced.
fn ahead_of_the_sync(sound: &Sound, from: usize) -> Vec<u8> {
    let mut bytes = sound.bytes.clone();
    let synced = sound.batches[from - 1].head;
    for batch in &sound.batches[from..] {
        let mark_end = usize::try_from(batch.end).unwrap() - 13;
        let at = mark_end - record::HEAD_RECORD_BYTES;
        let (mark, _) = record::read_head(&bytes[at..mark_end]).unwrap();
        bytes[at..mark_end].copy_from_slice(&record::head(mark, synced));
    }
    bytes
}

/// A power loss keeps any of the sectors that weren't synced.
#[tokio::test]
async fn lost_sectors_of_what_was_never_synced_are_a_torn_tail() {
    let sound = sound().await;
    let from = sound.batches.len() - 7;
    let unsynced = sound.batches[from];
    let start = usize::try_from(unsynced.start).unwrap();
    let bytes = ahead_of_the_sync(&sound, from);
    let random = SeededRandom::new(12);
    let (mut torn, mut whole) = (0, 0);
    for round in 0..300 {
        let mut left = bytes.clone();
        let mut sector = start / 512 * 512;
        while sector < left.len() {
            let end = (sector + 512).min(left.len());
            if random.u64().is_multiple_of(2 + round % 9) {
                left[sector.max(start)..end].fill(0);
            }
            sector = end;
        }
        for acknowledged in [10, sound.batches[from - 1].head] {
            let walked =
                walk_of(&left, Some(acknowledged)).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert!(
                walked.batches >= from as u64,
                "round {round}: a synced batch is cut"
            );
            match walked.torn {
                Some((_, at)) => {
                    assert!(at >= unsynced.start);
                    torn += 1;
                }
                None => whole += 1,
            }
            // Had it been acknowledged, it would be a loss.
            if walked.batches == from as u64 {
                assert!(refused(&walk_of(&left, Some(sound.batches[from].head))));
            }
        }
    }
    assert!(torn > 100 && whole > 0, "{torn} torn, {whole} whole");
}

/// What a later batch calls synced isn't torn, whatever it looks like; nor is what lost nothing.
#[tokio::test]
async fn damage_before_batches_that_were_written_ahead_is_refused() {
    let sound = sound().await;
    let from = sound.batches.len() - 7;
    let bytes = ahead_of_the_sync(&sound, from);
    let random = SeededRandom::new(13);
    for round in 0..200 {
        let mut left = bytes.clone();
        // The batch before is one that the others call synced.
        let batch = sound.batches[from - 1 - usize::try_from(round % 3).unwrap()];
        let (start, end) = (
            usize::try_from(batch.start).unwrap(),
            usize::try_from(batch.end).unwrap(),
        );
        left[start..end].fill(0);
        assert!(refused(&walk_of(&left, None)), "round {round}");
        // A flipped bit in the first marker of one that they don't.
        let mut left = bytes.clone();
        let batch = sound.batches[from + usize::try_from(round % 6).unwrap()];
        let start = usize::try_from(batch.start).unwrap();
        // Its magnitude: the lowest bit alone could leave nothing but zeros up to the sector's end.
        left[start] ^= 1 << (1 + random.u64() % 7);
        assert!(refused(&walk_of(&left, None)), "round {round}");
    }
}
