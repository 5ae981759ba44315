//! What the folder promises: whole or not at all, right or refused.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use content::sweep::{References, sweep};
use content::{ContentError, ContentId, ContentStore, read_bounded};
use content_local::LocalContent;

const FRAME: usize = content::frame::FRAME_BYTES;

fn open(root: &Path) -> Arc<dyn ContentStore> {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    let chance = |bytes: &mut [u8]| {
        let number = COUNTER
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for (byte, from) in bytes.iter_mut().zip(number.to_be_bytes().repeat(2)) {
            *byte = from;
        }
    };
    let now = || jiff::Timestamp::from_second(1_000_000).unwrap();
    Arc::new(LocalContent::open(root, Arc::new(now), Arc::new(chance)).unwrap())
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap())
        .collect()
}

async fn write(store: &Arc<dyn ContentStore>, content: &[u8], piece: usize) -> ContentId {
    let mut writer = store.writer().await.unwrap();
    for part in content.chunks(piece) {
        writer.write(bytes::Bytes::copy_from_slice(part)).await.unwrap();
    }
    let info = writer.finish().await.unwrap();
    assert_eq!(info.length_bytes, content.len() as u64);
    info.id
}

fn finished(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        if folder.is_dir() && !folder.ends_with("tmp") {
            found.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[tokio::test]
async fn any_range_of_any_length_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for length in [0, 1, 100, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 17] {
        let content = bytes(length);
        let id = write(&store, &content, 10_007).await;
        for (from, to) in [
            (0, length),
            (0, 1),
            (length / 2, length),
            (FRAME - 2, FRAME + 2),
            (length, length + 9),
        ] {
            let expected = &content[from.min(length)..to.min(length).max(from.min(length))];
            let read = read_bounded(&store, id, from as u64..to as u64, usize::MAX)
                .await
                .unwrap();
            assert_eq!(read, expected, "{length}: {from}..{to}");
        }
    }
    let stats = store.stats().await.unwrap();
    drop(store);
    let reopened = open(folder.path());
    assert_eq!(reopened.stats().await.unwrap(), stats);
    assert_eq!(reopened.list(None, 100).await.unwrap().len(), 7);
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut writer = store.writer().await.unwrap();
    writer.write(bytes(3 * FRAME).into()).await.unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    assert!(finished(folder.path()).is_empty());
}

#[tokio::test]
async fn every_flipped_byte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let content = bytes(FRAME + 500);
    let id = write(&store, &content, FRAME).await;
    let path = finished(folder.path()).pop().unwrap();
    let sound = fs::read(&path).unwrap();
    let places = (0..60)
        .chain([FRAME, FRAME + 24, FRAME + 30])
        .chain(sound.len() - 30..sound.len());
    for at in places {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let outcome = read_bounded(&store, id, 0..u64::MAX, usize::MAX).await;
        assert!(
            matches!(outcome, Err(ContentError::Corrupt { .. })),
            "byte {at}: {outcome:?}"
        );
    }
    for length in [0, 10, 24, FRAME, sound.len() - 1] {
        fs::write(&path, &sound[..length]).unwrap();
        let outcome = read_bounded(&store, id, 0..u64::MAX, usize::MAX).await;
        assert!(
            matches!(outcome, Err(ContentError::Corrupt { .. })),
            "cut at {length}: {outcome:?}"
        );
    }
    assert!(store.stats().await.unwrap().corrupt_frames > 0);
}

#[tokio::test]
async fn deleted_content_is_gone_but_an_open_reader_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let content = bytes(2 * FRAME);
    let id = write(&store, &content, FRAME).await;
    let mut reader = store.reader(id, 0..u64::MAX).await.unwrap();
    store.delete(id).await.unwrap();
    store.delete(id).await.unwrap();
    assert_eq!(store.info(id).await.unwrap_err(), ContentError::NotFound(id));
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, content);
}

struct Only(ContentId);

#[async_trait]
impl References for Only {
    async fn is_referenced(&self, id: ContentId) -> Result<bool, String> {
        Ok(id == self.0)
    }
}

#[tokio::test]
async fn the_sweep_spares_what_is_young_or_referred_to() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let kept = write(&store, b"kept", 4).await;
    let dropped = write(&store, b"dropped", 4).await;
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    let grace = Duration::from_secs(100);
    let report = sweep(&store, &Only(kept), at(1_000_050), grace).await.unwrap();
    assert_eq!((report.examined, report.removed, report.spared), (2, 0, 1));
    let report = sweep(&store, &Only(kept), at(1_000_200), grace).await.unwrap();
    assert_eq!((report.examined, report.removed, report.removed_bytes), (2, 1, 7));
    assert!(store.info(kept).await.is_ok());
    assert!(store.info(dropped).await.is_err());
}

#[test]
fn strangers_folders_and_unknown_formats_are_refused() {
    let open = |root: &Path| {
        LocalContent::open(
            root,
            Arc::new(|| jiff::Timestamp::UNIX_EPOCH),
            Arc::new(|_: &mut [u8]| {}),
        )
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    assert!(
        open(folder.path())
            .unwrap_err()
            .to_string()
            .contains("not a content store")
    );
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("FORMAT"), "stabbur-content-local 7\n").unwrap();
    assert!(
        open(folder.path())
            .unwrap_err()
            .to_string()
            .contains("unknown content format")
    );
}

#[tokio::test]
async fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let now = || jiff::Timestamp::UNIX_EPOCH;
    let again = || LocalContent::open(folder.path(), Arc::new(now), Arc::new(|_: &mut [u8]| {}));
    let refused = again().unwrap_err().to_string();
    assert!(refused.contains("another process"), "{refused}");
    drop(store);
    again().unwrap();
}
