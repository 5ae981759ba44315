//! The conformance suite: what [`crate::ContentStore`] promises, as cases that every backend passes.
//!
//! A backend's own tests implement [`Backend`] and call [`run`]. Each case gets a store of its own,
//! empty, and answers with a [`Failure`] instead of a panic, so that a test can also see that a
//! faulty backend is noticed. Cases know nothing but the contract: where it leaves something open
//! (whether a reader outlives a delete, whose clock a listing's times are), they accept every answer
//! that it allows.
//!
//! Behind the feature `suite`: it is test code that other crates' tests need, so it can't be
//! `cfg(test)`.

mod check;
mod concurrency;
mod damage;
#[cfg(test)]
mod faulty;
mod listing;
mod reading;
mod removal;
#[cfg(test)]
mod tests;
mod writing;

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use check::Failure;
use check::{ensure, same_bytes};

use crate::frame::FRAME_BYTES;
use crate::{ContentError, ContentId, ContentInfo, ContentStore};

/// Longest that one case may take: past it the backend hangs.
const CASE_SECONDS_MAX: u64 = 300;

/// Makes stores for the suite.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A new store, empty, that shares nothing with those made before.
    ///
    /// # Errors
    /// What the backend says.
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError>;
}

/// A store under test.
#[async_trait]
pub trait Subject: Send + Sync {
    /// The store.
    fn store(&self) -> Arc<dyn ContentStore>;

    /// The stored bytes of content `id`, behind the store's back; `None` if nothing is stored that
    /// could be damaged.
    ///
    /// # Errors
    /// What kept them from being read.
    async fn stored(&self, id: ContentId) -> Result<Option<Vec<u8>>, Failure>;

    /// Replaces the stored bytes of content `id`, behind the store's back.
    ///
    /// # Errors
    /// What kept them from being written.
    async fn replace(&self, id: ContentId, bytes: Vec<u8>) -> Result<(), Failure>;
}

/// What a case returns.
type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// One case: its name and what it does.
struct Case {
    name: &'static str,
    run: for<'a> fn(&'a dyn Subject) -> Outcome<'a>,
}

macro_rules! cases {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        const CASES: &[Case] = &[$(Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            run: |subject| Box::pin($module::$name(subject)),
        }),+];
    };
}

cases! {
    writing::pieces_of_any_size,
    writing::several_mebibytes,
    writing::nothing_at_all,
    writing::ids_are_never_given_twice,
    writing::an_unfinished_content_is_never_seen,
    reading::any_range,
    reading::pieces_are_bounded_and_end_once,
    reading::what_was_never_written,
    removal::once_and_again,
    removal::under_a_reader,
    removal::leaves_the_others,
    listing::by_id_in_pages,
    listing::of_an_empty_store,
    concurrency::many_writers,
    concurrency::readers_beside_writers,
    damage::of_any_byte,
    damage::of_the_length,
    damage::of_the_order,
}

/// Names of all cases.
#[must_use]
pub fn case_names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}

/// Runs every case; the failures, each with the name of its case. Empty means that the backend
/// keeps the contract as far as the suite knows.
pub async fn run(backend: &dyn Backend) -> Vec<Failure> {
    run_within(backend, Duration::from_secs(CASE_SECONDS_MAX)).await
}

/// As [`run`]; a case that takes longer than `limit` fails.
async fn run_within(backend: &dyn Backend, limit: Duration) -> Vec<Failure> {
    let mut failures = Vec::new();
    for case in CASES {
        if let Err(failure) = run_one(backend, case, limit).await {
            failures.push(failure.in_case(case.name));
        }
    }
    failures
}

async fn run_one(backend: &dyn Backend, case: &Case, limit: Duration) -> Result<(), Failure> {
    let subject = backend.create().await?;
    tokio::time::timeout(limit, (case.run)(subject.as_ref()))
        .await
        .unwrap_or_else(|_| Err(Failure::new(format!("not done after {limit:?}"))))
}

/// `length` bytes that don't repeat with the frames, different for each `seed`.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Writes `content` in pieces of `piece` bytes.
async fn write(store: &Arc<dyn ContentStore>, content: &[u8], piece: usize) -> Result<ContentInfo, Failure> {
    let mut writer = store.writer().await?;
    for part in content.chunks(piece.max(1)) {
        writer.write(Bytes::copy_from_slice(part)).await?;
    }
    let id = writer.id();
    let info = writer.finish().await?;
    check::equal(&info.id, &id, "the id that the writer told")?;
    let wanted = content.len() as u64;
    check::equal(&info.length_bytes, &wanted, "the length that finish answers")?;
    Ok(info)
}

/// Reads `range`, and holds the reader to its pieces' bounds.
async fn read(
    store: &Arc<dyn ContentStore>,
    id: ContentId,
    range: Range<u64>,
) -> Result<Vec<u8>, ReadFailure> {
    let mut reader = store.reader(id, range).await.map_err(ReadFailure::Store)?;
    let mut out = Vec::new();
    while let Some(piece) = reader.next().await.map_err(ReadFailure::Store)? {
        ensure(!piece.is_empty() && piece.len() <= FRAME_BYTES, || {
            format!("a piece of {} bytes", piece.len())
        })
        .map_err(ReadFailure::Promise)?;
        out.extend_from_slice(&piece);
    }
    Ok(out)
}

/// Why a read didn't end well: the store said so, which may be right, or it broke a promise.
enum ReadFailure {
    Store(ContentError),
    Promise(Failure),
}

impl From<ReadFailure> for Failure {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::Store(error) => error.into(),
            ReadFailure::Promise(failure) => failure,
        }
    }
}

/// Content `id` is whole: its bytes are `wanted`.
async fn whole(store: &Arc<dyn ContentStore>, id: ContentId, wanted: &[u8]) -> Result<(), Failure> {
    let found = read(store, id, 0..u64::MAX).await?;
    same_bytes(&found, wanted, "the whole content")
}
