//! The sweep against a model: whatever the size of a step, readers that are left read the same, and what nobody
//! reads goes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ledger::Random as _;
use ledger::random::SeededRandom;

use super::*;
use crate::limits::{PAGE_BYTES, SEGMENT_BYTES};
use crate::store::contents::Small;
use crate::store::holdings;
use crate::store::pages::span_bytes;
use crate::store::records::{BlobRecord, StoredId};
use crate::store::segment::{Place, Segment, Span};
use crate::store::staging::Place as Staged;
use crate::store::test_service::{blobs, commit, entries};

/// An owner's key: whoever it is, it has the map at the epoch.
fn owner(map: &MapId, epoch: u64) -> Key {
    let pages = PagesRecord::at(*map, epoch);
    keys::map_owner(&pages, &keys::purge(&[9; 16]))
}

/// Steps until nothing is left to do.
async fn sweep(blobs: &Blobs, map: &MapId, versions_max: usize) {
    for _ in 0..20_000 {
        let step = blobs.sweep_map_step(map, versions_max, &[]).await.unwrap();
        if matches!(step, Step::Last(_)) {
            return;
        }
    }
    panic!("the sweep doesn't end");
}

/// The bytes that are read at an epoch, from the maps' records.
async fn read(blobs: &Blobs, pages: &PagesRecord, segments: u64) -> Vec<u8> {
    let snapshot = blobs.ledger.snapshot().await.unwrap();
    let mut bytes = vec![0; usize::try_from(segments * 64 * PAGE_BYTES).unwrap()];
    for number in 0..segments {
        let Some(found) = segment(snapshot.as_ref(), pages, number).await.unwrap() else {
            continue;
        };
        for span in &found.segment.spans {
            let owner = (&pages.map, number);
            let stored = span_bytes(&blobs.contents, snapshot.as_ref(), owner, span)
                .await
                .unwrap();
            let at = usize::try_from((number * 64 + u64::from(span.first)) * PAGE_BYTES).unwrap();
            bytes[at..at + stored.len()].copy_from_slice(&stored);
        }
    }
    bytes
}

/// Segments with the places that are to be there after the sweep, by number and epoch.
type Versions = BTreeMap<(u64, u64), BTreeSet<String>>;

async fn versions(blobs: &Blobs, map: &MapId) -> Versions {
    let found = entries(blobs, keys::segments(map, 0)).await;
    let found = found.into_iter().map(|entry| Found::read(entry).unwrap());
    found
        .map(|found| {
            let places = found.segment.places();
            let places = places.iter().map(|place| format!("{} {place:?}", found.number));
            ((found.number, found.epoch), places.collect())
        })
        .collect()
}

/// What is left of them when only these epochs are read.
fn left(versions: &Versions, epochs: &BTreeSet<u64>) -> Versions {
    let mut left = Versions::new();
    for (key @ (number, epoch), places) in versions {
        let newer = versions.range((*number, epoch + 1)..(number + 1, 0)).next();
        let end = newer.map_or(u64::MAX, |((_, newer), _)| *newer);
        let below = left.range((*number, 0)..*key).next().is_some();
        if epochs.range(*epoch..end).next().is_some() && (below || !places.is_empty()) {
            left.insert(*key, places.clone());
        }
    }
    left
}

#[tokio::test]
async fn readers_read_the_same_and_the_rest_goes() {
    for seed in 0..60 {
        let blobs = blobs();
        let random = SeededRandom::new(seed);
        let below = |end: u64| random.u64() % end;
        let segments = 3;
        let mut pages = blobs.new_pages();
        let mut epochs = BTreeSet::new();
        for _ in 0..4 + below(30) {
            for _ in 0..below(4) {
                let first = below(segments) * SEGMENT_BYTES + below(56) * PAGE_BYTES;
                let range = first..first + (1 + below(8)) * PAGE_BYTES;
                let snapshot = blobs.ledger.snapshot().await.unwrap();
                let mut tx = Transaction::new();
                match below(5) {
                    0 => {
                        let whole =
                            first - first % SEGMENT_BYTES..first - first % SEGMENT_BYTES + SEGMENT_BYTES;
                        let range = if below(2) == 0 { whole } else { range };
                        blobs
                            .stage_clear(&mut tx, snapshot.as_ref(), &pages, &range)
                            .await
                            .unwrap();
                    }
                    kind => {
                        let fill = u8::try_from(below(250) + 1).unwrap();
                        let bytes =
                            Bytes::from(vec![fill; usize::try_from(range.end - range.start).unwrap()]);
                        let place = if kind == 1 {
                            let mut writer = blobs.content.writer().await.unwrap();
                            writer.write(bytes).await.unwrap();
                            Staged::Stored(StoredId::new(writer.finish().await.unwrap().id, None))
                        } else {
                            Staged::Inline(Small::plain(bytes))
                        };
                        blobs
                            .stage_pages(&mut tx, snapshot.as_ref(), &pages, &range, &place)
                            .await
                            .unwrap();
                    }
                }
                commit(&blobs, tx).await;
            }
            // A snapshot; the blob itself is the last epoch's owner.
            let mut tx = Transaction::new();
            tx.put(owner(&pages.map, pages.epoch), Vec::new());
            epochs.insert(pages.epoch);
            commit(&blobs, tx).await;
            pages.epoch += 1;
        }
        let before = versions(&blobs, &pages.map).await;
        let mut tx = Transaction::new();
        let keeps = below(4);
        epochs.retain(|epoch| {
            let kept = below(4) < keeps;
            if !kept {
                tx.delete(owner(&pages.map, *epoch));
            }
            kept
        });
        tx.put(keys::map_release(&pages.map), Vec::new());
        let mut read_before = Vec::new();
        for epoch in &epochs {
            let pages = PagesRecord {
                epoch: *epoch,
                ..pages.clone()
            };
            read_before.push(read(&blobs, &pages, segments).await);
        }
        commit(&blobs, tx).await;
        let versions_max = 1 + usize::try_from(below(5)).unwrap();
        sweep(&blobs, &pages.map, versions_max).await;
        for (epoch, before) in epochs.iter().zip(read_before) {
            let pages = PagesRecord {
                epoch: *epoch,
                ..pages.clone()
            };
            assert!(
                read(&blobs, &pages, segments).await == before,
                "seed {seed}: at {epoch} of {epochs:?}, steps of {versions_max}"
            );
        }
        let expected = left(&before, &epochs);
        assert_eq!(
            versions(&blobs, &pages.map).await,
            expected,
            "seed {seed}: of {before:?} at {epochs:?}, steps of {versions_max}"
        );
        // Pieces and references as the versions that are left have them, and no more.
        let places: BTreeSet<String> = expected.into_values().flatten().collect();
        let pieces = entries(&blobs, keys::all_pieces()).await;
        let of_content = places.iter().filter(|place| place.contains("Content")).count();
        assert_eq!(pieces.len(), places.len() - of_content, "seed {seed}");
        let references = entries(&blobs, keys::all_references()).await;
        assert_eq!(references.len(), of_content, "seed {seed}");
    }
}

#[tokio::test]
async fn a_segment_with_more_dead_versions_than_a_commit_takes() {
    let blobs = blobs();
    let map = blobs.new_pages().map;
    let (versions, pieces) = (2_500, 90);
    for epoch in 1..=versions {
        let spans = (0..pieces).map(|at| Span {
            first: at,
            pages: 1,
            epoch,
            skip: 0,
            place: Place::Piece(epoch * u64::from(pieces) + u64::from(at)),
        });
        let segment = Segment {
            next_piece: (epoch + 1) * u64::from(pieces),
            spans: spans.collect(),
        };
        let mut tx = Transaction::new();
        tx.put(keys::segment_at(&map, 0, epoch), encode(&segment).unwrap());
        tx.put(keys::map_release(&map), Vec::new());
        commit(&blobs, tx).await;
    }
    let mut tx = Transaction::new();
    tx.put(owner(&map, 7), Vec::new());
    commit(&blobs, tx).await;
    for _ in 0..3 {
        blobs.sweep_maps().await.unwrap();
    }
    let found = entries(&blobs, keys::segments(&map, 0)).await;
    let left: Vec<_> = found
        .iter()
        .filter_map(|entry| keys::segment_version(&entry.key))
        .collect();
    assert_eq!(left, [(map, 0, 7)]);
    assert_eq!(entries(&blobs, keys::all_map_sweeps()).await, []);
    assert_eq!(entries(&blobs, keys::all_map_releases()).await, []);
}

#[tokio::test]
async fn a_map_that_is_let_go_of_again_and_again_is_swept_to_its_end() {
    let blobs = blobs();
    let pages = blobs.new_pages();
    let segments = 20;
    let mut tx = Transaction::new();
    for number in 0..segments {
        for epoch in [1, 2] {
            let segment = Segment {
                next_piece: epoch,
                spans: vec![Span {
                    first: 0,
                    pages: 1,
                    epoch,
                    skip: 0,
                    place: Place::Piece(epoch),
                }],
            };
            tx.put(
                keys::segment_at(&pages.map, number, epoch),
                encode(&segment).unwrap(),
            );
        }
    }
    tx.put(owner(&pages.map, 2), Vec::new());
    commit(&blobs, tx).await;
    // A snapshot goes before each step.
    let snapshot = BlobRecord {
        pages: Some(pages.clone()),
        ..BlobRecord::default()
    };
    for _ in 0..segments + 2 {
        let mut tx = Transaction::new();
        holdings::release(&mut tx, &snapshot, &keys::purge(&[1; 16]));
        commit(&blobs, tx).await;
        blobs.sweep_map_step(&pages.map, 3, &[]).await.unwrap();
    }
    let left = versions(&blobs, &pages.map).await;
    let left: Vec<_> = left.into_keys().collect();
    let expected: Vec<_> = (0..segments).map(|number| (number, 2)).collect();
    assert_eq!(left, expected);
    // What asked for another pass has one.
    for _ in 0..3 {
        blobs.sweep_maps().await.unwrap();
    }
    assert_eq!(entries(&blobs, keys::all_map_sweeps()).await, []);
    assert_eq!(entries(&blobs, keys::all_map_releases()).await, []);
}
