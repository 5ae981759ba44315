//! The contract of the content store: immutable byte strings by id.
//!
//! * [`ContentStore`] is what a backend offers; services hold `Arc<dyn ContentStore>`.
//! * [`ContentWriter`] takes a stream piece by piece with bounded memory; [`ContentWriter::finish`]
//!   answers after the bytes are on disk.
//! * [`ContentReader`] gives a range back, every frame checked against its checksum.
//!
//! Invariants: content is never rewritten; it becomes reachable only by a ledger transaction that
//! refers to it, so a crash between the two leaves unreferenced content and never a dangling
//! reference; what nothing refers to is swept after a grace period ([`sweep`]).

mod error;
pub mod frame;
pub mod memory;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
pub mod sweep;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::ContentError;

/// The name of one immutable byte string: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId([u8; 16]);

impl ContentId {
    /// An id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the 32 hexadecimal digits that `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())).then_some(())?;
        u128::from_str_radix(text, 16)
            .ok()
            .map(|value| Self(value.to_be_bytes()))
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the store knows of one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentInfo {
    /// Its id.
    pub id: ContentId,
    /// Its length in bytes, without frames.
    pub length_bytes: u64,
    /// When its writing was finished (the store's own time).
    pub finished: jiff::Timestamp,
}

/// Sizes and counters of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentStats {
    /// Contents in the store, referenced or not.
    pub contents: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Frames that failed their checksum on read since opening.
    pub corrupt_frames: u64,
}

/// Takes one content's bytes. Dropping it before [`ContentWriter::finish`] discards them.
#[async_trait]
pub trait ContentWriter: Send {
    /// The id that the content will have: the store gives it to this writing alone, also if it is never
    /// finished.
    fn id(&self) -> ContentId;

    /// Appends `piece`.
    ///
    /// # Errors
    /// [`ContentError::Full`] if there is no space, [`ContentError::Io`] if the disk fails. The
    /// content can't be finished after an error.
    async fn write(&mut self, piece: Bytes) -> Result<(), ContentError>;

    /// Syncs what was written and gives it its id. After this the content outlives a crash.
    ///
    /// # Errors
    /// As [`ContentWriter::write`]; nothing is kept then.
    async fn finish(self: Box<Self>) -> Result<ContentInfo, ContentError>;
}

/// Gives one range of one content, piece by piece.
#[async_trait]
pub trait ContentReader: Send {
    /// The length of the whole content in bytes, whatever range is read.
    fn length_bytes(&self) -> u64;

    /// The next piece, at most [`frame::FRAME_BYTES`] long and never empty; `None` at the end.
    ///
    /// # Errors
    /// [`ContentError::Corrupt`] if a frame fails its checksum: no byte of that frame was given.
    async fn next(&mut self) -> Result<Option<Bytes>, ContentError>;
}

/// A store of immutable byte strings.
#[async_trait]
pub trait ContentStore: Send + Sync + 'static {
    /// Begins a new content.
    ///
    /// # Errors
    /// As [`ContentWriter::write`].
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError>;

    /// Opens `range` of content `id` (in bytes; clamped to its length). The content stays readable
    /// through the reader even if it is deleted meanwhile; a store that others share may end the
    /// reader with [`ContentError::NotFound`] instead, and never with fewer bytes.
    ///
    /// # Errors
    /// [`ContentError::NotFound`], [`ContentError::Corrupt`].
    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError>;

    /// What is known of content `id`.
    ///
    /// # Errors
    /// [`ContentError::NotFound`], [`ContentError::Corrupt`].
    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError>;

    /// Removes content `id`; removing one that isn't there is no error.
    ///
    /// # Errors
    /// [`ContentError::Io`].
    async fn delete(&self, id: ContentId) -> Result<(), ContentError>;

    /// Finished contents with ids above `after`, by id, at most `entries_max`: for sweeps and
    /// scrubs.
    ///
    /// # Errors
    /// [`ContentError::Io`].
    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError>;

    /// Sizes and counters.
    ///
    /// # Errors
    /// [`ContentError::Io`].
    async fn stats(&self) -> Result<ContentStats, ContentError>;
}

/// Reads a whole range into memory: for small content and tests.
///
/// # Errors
/// As [`ContentStore::reader`]; [`ContentError::TooLong`] past `bytes_max`.
pub async fn read_bounded(
    store: &Arc<dyn ContentStore>,
    id: ContentId,
    range: Range<u64>,
    bytes_max: usize,
) -> Result<Bytes, ContentError> {
    let mut reader = store.reader(id, range).await?;
    let mut out = Vec::new();
    while let Some(piece) = reader.next().await? {
        if out.len() + piece.len() > bytes_max {
            return Err(ContentError::TooLong { bytes_max });
        }
        out.extend_from_slice(&piece);
    }
    Ok(out.into())
}
