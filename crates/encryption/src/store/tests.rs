//! The encrypting store over the one in memory: the suite, a model of ranges, and what somebody does to
//! stored bytes who repairs every checksum.

use std::sync::atomic::{AtomicU64, Ordering};

use content::memory::MemoryContent;
use content::read_bounded;
use content::suite::{Backend, Failure, Subject, run};
use ledger::random::SeededRandom;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::KeyNumber;

const BYTES_MAX: usize = 8 * 1024 * 1024;

fn key(byte: u8) -> Arc<DataKey> {
    let random = Arc::new(SeededRandom::new(1));
    Arc::new(DataKey::new(KeyNumber(1), &[byte; 32], random, Arc::default()))
}

/// A store in memory in which a content may be written under the id of another one.
struct Below {
    store: Arc<dyn ContentStore>,
    next: Arc<Mutex<Option<ContentId>>>,
}

fn below() -> Below {
    let next: Arc<Mutex<Option<ContentId>>> = Arc::default();
    let (forced, counter) = (next.clone(), AtomicU64::new(1));
    let store = MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        // Spread, so that ids don't come in the order of their writing.
        let id = number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_0C1D_5A3B_7E11);
        let id = forced
            .lock()
            .take()
            .unwrap_or(ContentId::from_bytes(id.to_be_bytes()));
        (id, jiff::Timestamp::from_second(1_000_000).unwrap())
    }));
    let store = Arc::new(store);
    Below { store, next }
}

impl Below {
    async fn stored(&self, id: ContentId) -> Vec<u8> {
        let bytes = read_bounded(&self.store, id, 0..u64::MAX, BYTES_MAX)
            .await
            .unwrap();
        bytes.to_vec()
    }

    async fn replace(&self, id: ContentId, bytes: &[u8]) {
        *self.next.lock() = Some(id);
        assert_eq!(write(&self.store, bytes, usize::MAX).await, id);
    }
}

async fn write(store: &Arc<dyn ContentStore>, bytes: &[u8], piece: usize) -> ContentId {
    let mut writer = store.writer().await.unwrap();
    for part in bytes.chunks(piece) {
        writer.write(Bytes::copy_from_slice(part)).await.unwrap();
    }
    writer.finish().await.unwrap().id
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    use ledger::Random as _;
    let mut out = vec![0; length];
    SeededRandom::new(seed).fill(&mut out);
    out
}

struct Memory;

struct MemorySubject(Arc<dyn ContentStore>);

#[async_trait]
impl Backend for Memory {
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError> {
        let store = EncryptedContent::new(below().store, key(1));
        Ok(Box::new(MemorySubject(Arc::new(store))))
    }
}

#[async_trait]
impl Subject for MemorySubject {
    fn store(&self) -> Arc<dyn ContentStore> {
        self.0.clone()
    }

    async fn stored(&self, _id: ContentId) -> Result<Option<Vec<u8>>, Failure> {
        // Damage needs a store with checksums below: tests of the binary have one.
        Ok(None)
    }

    async fn replace(&self, _id: ContentId, _bytes: Vec<u8>) -> Result<(), Failure> {
        Err(Failure::new("nothing is stored"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_encrypting_store_conforms() {
    let failures = run(&Memory).await;
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[tokio::test]
async fn stored_bytes_are_none_of_the_content() {
    let below = below();
    let store: Arc<dyn ContentStore> = Arc::new(EncryptedContent::new(below.store.clone(), key(1)));
    let content = b"a marker that nobody may find ".repeat(10_000);
    let one = write(&store, &content, 1_000).await;
    let other = write(&store, &content, 1_000).await;
    let (one, other) = (below.stored(one).await, below.stored(other).await);
    assert_eq!(one.len() as u64, encrypted_bytes(content.len() as u64));
    let has = |bytes: &[u8]| bytes.windows(8).any(|part| part == b"a marker");
    assert!(!has(&one) && !has(&other) && has(&content));
    // Twice the same content is twice something else, and so is each frame of it.
    assert!(
        one.chunks(16)
            .zip(other.chunks(16))
            .all(|(a, b)| a.len() < 16 || a != b)
    );
    let mut frames: Vec<&[u8]> = one
        .chunks(FRAME_BYTES)
        .filter_map(|frame| frame.get(..32))
        .collect();
    frames.sort_unstable();
    frames.dedup();
    assert_eq!(frames.len(), one.len().div_ceil(FRAME_BYTES));
}

/// What a reader says of the whole content, and of the ranges around its end.
async fn refused(store: &Arc<dyn ContentStore>, id: ContentId, length: u64, what: &str) {
    for range in [
        0..u64::MAX,
        0..length,
        length - 1..length,
        length..length + 1,
        length + FRAME..u64::MAX,
    ] {
        let found = read_bounded(store, id, range.clone(), BYTES_MAX).await;
        let damage = matches!(&found, Err(ContentError::Corrupt { id: of, .. }) if *of == id);
        assert!(damage, "{what}, {range:?}: {:?}", found.map(|bytes| bytes.len()));
    }
}

#[tokio::test]
async fn frames_that_were_cut_moved_or_exchanged_are_found() {
    let below = below();
    let store: Arc<dyn ContentStore> = Arc::new(EncryptedContent::new(below.store.clone(), key(1)));
    let plain = bytes(1, 4 * PLAIN_FRAME_BYTES);
    let length = plain.len() as u64;
    let id = write(&store, &plain, 70_000).await;
    let twin = write(&store, &plain, 70_000).await;
    let (sound, foreign) = (below.stored(id).await, below.stored(twin).await);
    let frames = |of: &[u8], numbers: &[usize]| -> Vec<u8> {
        let frame = |number: &usize| of[number * FRAME_BYTES..(number + 1) * FRAME_BYTES].to_vec();
        numbers.iter().flat_map(frame).collect()
    };
    // Whoever does this can repair the checksums of the store below.
    for cut in [&[0, 1, 2][..], &[0], &[0, 1], &[1, 2, 3], &[3]] {
        below.replace(id, &frames(&sound, cut)).await;
        refused(&store, id, length, &format!("only frames {cut:?}")).await;
    }
    for (order, what) in [
        (&[0, 2, 1, 3][..], "two exchanged"),
        (&[3, 1, 2, 0], "the last in front"),
        (&[0, 1, 1, 2, 3], "one twice"),
        (&[0, 1, 2, 3, 3], "the last twice"),
        (&[0, 1, 2, 3, 0], "the first behind the last"),
    ] {
        below.replace(id, &frames(&sound, order)).await;
        let found = read_bounded(&store, id, 0..u64::MAX, BYTES_MAX).await;
        assert!(matches!(found, Err(ContentError::Corrupt { .. })), "{what}");
    }
    let borrowed = [
        frames(&sound, &[0]),
        frames(&foreign, &[1]),
        frames(&sound, &[2, 3]),
    ]
    .concat();
    below.replace(id, &borrowed).await;
    let found = read_bounded(&store, id, 0..length, BYTES_MAX).await;
    assert!(
        matches!(found, Err(ContentError::Corrupt { .. })),
        "another content's frame"
    );
    below.replace(id, &foreign).await;
    refused(&store, id, length, "another content").await;
    for length_now in [0, 1, 15, 16, sound.len() - 1, sound.len() - 17] {
        below.replace(id, &sound[..length_now]).await;
        refused(&store, id, length, &format!("{length_now} bytes")).await;
    }
    below.replace(id, &[sound.as_slice(), &[0; 40]].concat()).await;
    refused(&store, id, length, "bytes behind the end").await;
    // Nothing of all that stuck.
    below.replace(id, &sound).await;
    assert_eq!(
        read_bounded(&store, id, 0..length, BYTES_MAX).await.unwrap(),
        plain
    );
    let stats = store.stats().await.unwrap();
    assert!(stats.corrupt_frames > 20, "{stats:?}");
}

#[tokio::test]
async fn flipped_bits_are_found_and_only_where_they_are() {
    let below = below();
    let store: Arc<dyn ContentStore> = Arc::new(EncryptedContent::new(below.store.clone(), key(1)));
    let plain = bytes(2, 2 * PLAIN_FRAME_BYTES + 100);
    let id = write(&store, &plain, 70_000).await;
    let sound = below.stored(id).await;
    for at in [
        0,
        1,
        40_000,
        FRAME_BYTES - 17,
        FRAME_BYTES - 1,
        FRAME_BYTES,
        sound.len() - 1,
    ] {
        for bit in [0, 7] {
            let mut flipped = sound.clone();
            flipped[at] ^= 1 << bit;
            below.replace(id, &flipped).await;
            let bad = at / FRAME_BYTES;
            for frame in 0..3 {
                let begins = (frame * PLAIN_FRAME_BYTES) as u64;
                let found = read_bounded(&store, id, begins + 5..begins + 6, 10).await;
                match found {
                    Ok(found) if frame != bad => assert_eq!(found[0], plain[frame * PLAIN_FRAME_BYTES + 5]),
                    Err(ContentError::Corrupt { .. }) if frame == bad => {}
                    other => panic!("byte {at}, bit {bit}, frame {frame}: {other:?}"),
                }
            }
        }
    }
}

#[tokio::test]
async fn another_account_reads_nothing() {
    let below = below();
    let store: Arc<dyn ContentStore> = Arc::new(EncryptedContent::new(below.store.clone(), key(1)));
    let other: Arc<dyn ContentStore> = Arc::new(EncryptedContent::new(below.store.clone(), key(2)));
    for length in [0, 1, 100, 3 * FRAME_BYTES] {
        let id = write(&store, &bytes(3, length), 9_999).await;
        refused(&other, id, length.max(1) as u64, "another key").await;
    }
}

/// Counts the bytes that are read of the store below, and gives them in pieces that end anywhere.
struct Counting {
    inner: Arc<dyn ContentStore>,
    read: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
}

struct CountingReader {
    inner: Box<dyn ContentReader>,
    read: Arc<AtomicU64>,
    ahead: Bytes,
}

#[async_trait]
impl ContentReader for CountingReader {
    fn length_bytes(&self) -> u64 {
        self.inner.length_bytes()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.ahead.is_empty() {
            self.ahead = self.inner.next().await?.unwrap_or_default();
            self.read.fetch_add(self.ahead.len() as u64, Ordering::Relaxed);
        }
        let piece = self.ahead.split_to(self.ahead.len().min(10_001));
        Ok((!piece.is_empty()).then_some(piece))
    }
}

#[async_trait]
impl ContentStore for Counting {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        self.inner.writer().await
    }

    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let reader = self.inner.reader(id, range).await?;
        Ok(Box::new(CountingReader {
            inner: reader,
            read: self.read.clone(),
            ahead: Bytes::new(),
        }))
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.inner.info(id).await
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.inner.delete(id).await
    }

    async fn list(&self, after: Option<ContentId>, max: usize) -> Result<Vec<ContentInfo>, ContentError> {
        self.inner.list(after, max).await
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        self.inner.stats().await
    }
}

#[tokio::test]
async fn a_range_reads_the_frames_that_it_touches() {
    let (read, opened) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counting: Arc<dyn ContentStore> = Arc::new(Counting {
        inner: below().store,
        read: read.clone(),
        opened: opened.clone(),
    });
    let store: Arc<dyn ContentStore> = Arc::new(EncryptedContent::new(counting, key(1)));
    let plain = bytes(4, 20 * PLAIN_FRAME_BYTES);
    let id = write(&store, &plain, 100_000).await;
    for (range, frames) in [
        (0..1, 1),
        (PLAIN_FRAME - 1..PLAIN_FRAME, 1),
        (PLAIN_FRAME - 1..PLAIN_FRAME + 1, 2),
        (5 * PLAIN_FRAME..9 * PLAIN_FRAME, 4),
        (19 * PLAIN_FRAME..u64::MAX, 1),
        (7..7, 0),
    ] {
        read.store(0, Ordering::Relaxed);
        opened.store(0, Ordering::Relaxed);
        let found = read_bounded(&store, id, range.clone(), BYTES_MAX).await.unwrap();
        let end = usize::try_from(range.end).unwrap().min(plain.len());
        assert!(found == plain[usize::try_from(range.start).unwrap()..end]);
        assert_eq!(read.load(Ordering::Relaxed), frames * FRAME, "{range:?}");
        assert_eq!(opened.load(Ordering::Relaxed), 1, "{range:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_range_is_that_of_the_content(
        length in 0_usize..4 * FRAME_BYTES,
        piece in 1_usize..2 * FRAME_BYTES,
        ranges in proptest::collection::vec((0_u64..5 * FRAME, 0_u64..2 * FRAME), 1..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store: Arc<dyn ContentStore> = Arc::new(EncryptedContent::new(below().store, key(1)));
            let plain = bytes(length as u64, length);
            let id = write(&store, &plain, piece.max(length / 500)).await;
            prop_assert_eq!(store.info(id).await.unwrap().length_bytes, length as u64);
            for (start, more) in ranges {
                let range = start..start + more;
                let clamp = |at: u64| usize::try_from(at).unwrap().min(length);
                let wanted = &plain[clamp(range.start)..clamp(range.end)];
                let found = read_bounded(&store, id, range, BYTES_MAX).await.unwrap();
                prop_assert_eq!(&found[..], wanted);
            }
            Ok(())
        })?;
    }
}
