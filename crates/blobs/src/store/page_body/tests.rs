//! Reading maps within bounds: however few entries a walk may read, and however many versions a segment has,
//! what comes together is what there is.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use ledger::random::SeededRandom;
use ledger::{Direction, KeyRange, Random as _, ScanLimit, ScanPage, Sequence, Transaction, Versioned};

use super::*;
use crate::limits::SEGMENT_PAGES;
use crate::store::records::encode;
use crate::store::segment::Span;
use crate::store::test_service::{blobs, commit};

/// A segment with one page of a piece, at `page`.
fn one_page(page: u32, epoch: u64) -> Vec<u8> {
    let span = Span {
        first: page,
        pages: 1,
        epoch,
        skip: 0,
        place: Place::Piece(epoch),
    };
    let segment = Segment {
        next_piece: epoch + 1,
        spans: vec![span],
    };
    encode(&segment).unwrap()
}

const SEGMENTS: u64 = 9;

/// A map of some segments, each written at some of many epochs; what pages they have, by segment and epoch.
async fn random_map(blobs: &Blobs, random: &SeededRandom) -> (PagesRecord, Vec<Vec<(u64, u32)>>) {
    let pages = PagesRecord {
        epoch: 200,
        ..blobs.new_pages()
    };
    let mut tx = Transaction::new();
    let mut model = Vec::new();
    for number in 0..SEGMENTS {
        let mut versions = Vec::new();
        // Some were never written, some at few epochs, some at nearly all.
        let odds = [0, 2, 30, 95][usize::try_from(random.u64() % 4).unwrap()];
        for epoch in 1..=pages.epoch {
            if random.u64() % 100 < odds {
                let page = u32::try_from(random.u64() % u64::from(SEGMENT_PAGES)).unwrap();
                tx.put(keys::segment_at(&pages.map, number, epoch), one_page(page, epoch));
                tx.put(
                    keys::piece(&pages.map, number, epoch),
                    vec![u8::try_from(epoch).unwrap(); 512],
                );
                versions.push((epoch, page));
            }
        }
        model.push(versions);
    }
    commit(blobs, tx).await;
    (pages, model)
}

/// The page that a segment has at an epoch, and the epoch at which it was written.
fn at(versions: &[(u64, u32)], epoch: u64) -> Option<(u64, u32)> {
    versions
        .iter()
        .rev()
        .find(|(written, _)| *written <= epoch)
        .copied()
}

#[tokio::test]
async fn ranges_come_together_however_short_their_pages_are() {
    for seed in 0..20 {
        let blobs = blobs();
        let random = SeededRandom::new(seed);
        let (pages, model) = random_map(&blobs, &random).await;
        let snapshot = blobs.ledger.snapshot().await.unwrap();
        for _ in 0..10 {
            let epoch = 1 + random.u64() % pages.epoch;
            let now = PagesRecord {
                epoch,
                ..pages.clone()
            };
            let before = random.u64().is_multiple_of(2).then(|| PagesRecord {
                epoch: 1 + random.u64() % epoch,
                ..pages.clone()
            });
            let mut expected = Vec::new();
            for (number, versions) in (0..).zip(&model) {
                let run = |fate, (_, page): (u64, u32)| {
                    let start = number * SEGMENT_BYTES + u64::from(page) * PAGE_BYTES;
                    PageRun {
                        fate,
                        range: start..start + PAGE_BYTES,
                    }
                };
                let has = at(versions, epoch);
                let Some(before) = &before else {
                    expected.extend(has.map(|has| run(Fate::Written, has)));
                    continue;
                };
                let had = at(versions, before.epoch);
                if has != had {
                    let same_page = has.map(|(_, page)| page) == had.map(|(_, page)| page);
                    expected.extend(had.filter(|_| !same_page).map(|had| run(Fate::Cleared, had)));
                    expected.extend(has.map(|has| run(Fate::Written, has)));
                }
            }
            expected.sort_by_key(|run| run.range.start);
            let mut found = Vec::new();
            let mut range = 0..SEGMENTS * SEGMENT_BYTES;
            let entries_max = 1 + usize::try_from(random.u64() % 90).unwrap();
            for requests in 0.. {
                assert!(requests < 100, "seed {seed}: the pages don't end");
                let (runs, next) = blobs
                    .page_runs(
                        snapshot.as_ref(),
                        &now,
                        before.as_ref(),
                        range.clone(),
                        (5, entries_max),
                    )
                    .await
                    .unwrap();
                found.extend(runs);
                match next {
                    Some(next) => range.start = next,
                    None => break,
                }
            }
            assert_eq!(
                found, expected,
                "seed {seed}: {before:?} to {epoch}, {entries_max} entries"
            );
        }
    }
}

#[tokio::test]
async fn bodies_come_together_however_small_their_windows_are() {
    for seed in 0..8 {
        let blobs = blobs();
        let random = SeededRandom::new(seed);
        let (pages, model) = random_map(&blobs, &random).await;
        let epoch = 1 + random.u64() % pages.epoch;
        // What a reading looks at between windows.
        let key = keys::blob(&[7; 16], "x");
        let record = BlobRecord {
            etag: "e".to_owned(),
            ..BlobRecord::default()
        };
        let mut tx = Transaction::new();
        tx.put(key.clone(), encode(&record).unwrap());
        commit(&blobs, tx).await;
        let mut reading = Reading {
            ledger: blobs.ledger.clone(),
            contents: blobs.contents.clone(),
            unchanged: (key, record.etag),
            pages: PagesRecord { epoch, ..pages },
            window: VecDeque::new(),
            rest: 0..SEGMENTS * SEGMENT_BYTES,
            open: None,
            entries_max: 1 + usize::try_from(random.u64() % 90).unwrap(),
        };
        let mut begins = 0;
        let mut written = Vec::new();
        while let Some(bytes) = reading.next().await.unwrap() {
            if bytes.iter().any(|byte| *byte != 0) {
                assert!(bytes.len() == 512 && bytes.iter().all(|byte| *byte == bytes[0]));
                written.push((begins, u64::from(bytes[0])));
            }
            begins += bytes.len() as u64;
        }
        assert_eq!(begins, SEGMENTS * SEGMENT_BYTES, "seed {seed}");
        let expected = (0..).zip(&model).filter_map(|(number, versions)| {
            let (written, page) = at(versions, epoch)?;
            Some((number * SEGMENT_BYTES + u64::from(page) * PAGE_BYTES, written))
        });
        assert_eq!(written, expected.collect::<Vec<_>>(), "seed {seed}: at {epoch}");
    }
}

/// Counts the entries that are read.
struct Counting(Arc<dyn Snapshot>, AtomicUsize);

#[async_trait]
impl Snapshot for Counting {
    fn sequence(&self) -> Sequence {
        self.0.sequence()
    }
    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        self.0.get(key).await
    }
    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        let page = self.0.scan_page(range, direction, limit).await?;
        self.1.fetch_add(page.entries.len(), Ordering::Relaxed);
        Ok(page)
    }
}

#[tokio::test]
async fn a_segment_of_many_versions_costs_no_more_than_others() {
    let blobs = blobs();
    let pages = PagesRecord {
        epoch: 5_000,
        ..blobs.new_pages()
    };
    let mut tx = Transaction::new();
    for number in 0..3 {
        for epoch in 1..=10_000 {
            tx.put(keys::segment_at(&pages.map, number, epoch), one_page(3, epoch));
        }
    }
    commit(&blobs, tx).await;
    let before = PagesRecord {
        epoch: 2_000,
        ..pages.clone()
    };
    let snapshot = Counting(blobs.ledger.snapshot().await.unwrap(), AtomicUsize::new(0));
    let whole = 0..3 * SEGMENT_BYTES;
    let (runs, next) = blobs
        .page_runs(&snapshot, &pages, Some(&before), whole, (10, WALK_ENTRIES_MAX))
        .await
        .unwrap();
    assert_eq!((runs.len(), next), (3, None));
    let read = snapshot.1.load(Ordering::Relaxed);
    assert!(read < 600, "{read} entries were read");
}
