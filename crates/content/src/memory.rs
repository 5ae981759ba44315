//! A content store in memory, for tests. It keeps nothing when the process ends.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::frame::FRAME_BYTES;
use crate::{ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter};

/// Where the memory store's ids and times come from: tests give a counter and a standing clock. It is asked
/// for each writer's id, and again for the time when that is finished.
pub type Source = Arc<dyn Fn() -> (ContentId, jiff::Timestamp) + Send + Sync>;

type Map = BTreeMap<ContentId, (Bytes, jiff::Timestamp)>;

/// The store in memory.
#[derive(Clone)]
pub struct MemoryContent {
    source: Source,
    map: Arc<Mutex<Map>>,
}

impl std::fmt::Debug for MemoryContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryContent")
            .field("contents", &self.map.lock().len())
            .finish()
    }
}

impl MemoryContent {
    /// An empty store. `source` gives each content its id and time.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            map: Arc::default(),
        }
    }
}

struct MemoryWriter {
    store: MemoryContent,
    id: ContentId,
    bytes: Vec<u8>,
}

#[async_trait]
impl ContentWriter for MemoryWriter {
    fn id(&self) -> ContentId {
        self.id
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), ContentError> {
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ContentInfo, ContentError> {
        let (id, (_, finished)) = (self.id, (self.store.source)());
        let length_bytes = self.bytes.len() as u64;
        self.store.map.lock().insert(id, (self.bytes.into(), finished));
        Ok(ContentInfo {
            id,
            length_bytes,
            finished,
        })
    }
}

struct MemoryReader {
    rest: Bytes,
    length_bytes: u64,
}

#[async_trait]
impl ContentReader for MemoryReader {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        let length = self.rest.len().min(FRAME_BYTES);
        Ok((length > 0).then(|| self.rest.split_to(length)))
    }
}

#[async_trait]
impl ContentStore for MemoryContent {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        let (id, _) = (self.source)();
        Ok(Box::new(MemoryWriter {
            store: self.clone(),
            id,
            bytes: Vec::new(),
        }))
    }

    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        let map = self.map.lock();
        let (bytes, _) = map.get(&id).ok_or(ContentError::NotFound(id))?;
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (clamp(range.start), clamp(range.end));
        Ok(Box::new(MemoryReader {
            rest: bytes.slice(start..end.max(start)),
            length_bytes: bytes.len() as u64,
        }))
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        let map = self.map.lock();
        let (bytes, finished) = map.get(&id).ok_or(ContentError::NotFound(id))?;
        Ok(ContentInfo {
            id,
            length_bytes: bytes.len() as u64,
            finished: *finished,
        })
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.map.lock().remove(&id);
        Ok(())
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let map = self.map.lock();
        let infos = map.range((start, Bound::Unbounded)).take(entries_max);
        Ok(infos
            .map(|(id, (bytes, finished))| ContentInfo {
                id: *id,
                length_bytes: bytes.len() as u64,
                finished: *finished,
            })
            .collect())
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        let map = self.map.lock();
        let disk_bytes = map.values().map(|(bytes, _)| bytes.len() as u64).sum();
        Ok(ContentStats {
            contents: map.len() as u64,
            disk_bytes,
            corrupt_frames: 0,
        })
    }
}
