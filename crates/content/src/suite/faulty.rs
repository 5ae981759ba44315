//! Stores that break one promise each, to see that the suite notices.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::frame::FRAME_BYTES;
use crate::memory::MemoryContent;
use crate::{ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter};

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A range that begins with a frame begins a byte late.
    ShiftsRanges,
    /// Two frames are given as one piece.
    LongPieces,
    /// The last byte of longer content is lost.
    LosesTheEnd,
    /// An upload is listed while it is under way.
    ShowsTheUnfinished,
    /// Removing what isn't there is an error.
    RefusesToDeleteTwice,
    /// A reader ends early when its content is deleted.
    EndsWithTheContent,
    /// What was never written reads as empty.
    InventsContent,
    /// The listing is by age.
    ListsBackwards,
    /// A page begins with the id that it should follow.
    RepeatsEntries,
    /// Stored bytes are given as they are.
    ChecksNothing,
    /// A writer tells an id that its content doesn't get.
    TellsAnotherId,
    /// A reader tells a length that its content doesn't have.
    TellsAnotherLength,
}

/// All faults, each with a case that must notice it.
pub(super) const FAULTS: &[(Fault, &str)] = &[
    (Fault::ShiftsRanges, "reading::any_range"),
    (Fault::LongPieces, "reading::pieces_are_bounded_and_end_once"),
    (Fault::LosesTheEnd, "writing::pieces_of_any_size"),
    (
        Fault::ShowsTheUnfinished,
        "writing::an_unfinished_content_is_never_seen",
    ),
    (Fault::RefusesToDeleteTwice, "removal::once_and_again"),
    (Fault::EndsWithTheContent, "removal::under_a_reader"),
    (Fault::InventsContent, "reading::what_was_never_written"),
    (Fault::ListsBackwards, "listing::by_id_in_pages"),
    (Fault::RepeatsEntries, "listing::by_id_in_pages"),
    (Fault::ChecksNothing, "damage::of_any_byte"),
    (Fault::TellsAnotherId, "writing::pieces_of_any_size"),
    (Fault::TellsAnotherLength, "reading::any_range"),
];

/// The store in memory, with a fault.
#[derive(Clone)]
pub(super) struct Faulty {
    fault: Fault,
    inner: Arc<dyn ContentStore>,
    replaced: Arc<Mutex<HashMap<ContentId, Vec<u8>>>>,
}

impl Faulty {
    pub(super) fn new(fault: Fault, inner: MemoryContent) -> Self {
        Self {
            fault,
            inner: Arc::new(inner),
            replaced: Arc::default(),
        }
    }

    pub(super) fn checks_nothing(&self) -> bool {
        self.fault == Fault::ChecksNothing
    }

    pub(super) fn replace(&self, id: ContentId, bytes: Vec<u8>) {
        self.replaced.lock().insert(id, bytes);
    }
}

struct FaultyReader {
    store: Faulty,
    id: ContentId,
    inner: Box<dyn ContentReader>,
}

#[async_trait]
impl ContentReader for FaultyReader {
    fn length_bytes(&self) -> u64 {
        let added = u64::from(self.store.fault == Fault::TellsAnotherLength);
        self.inner.length_bytes() + added
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.store.fault == Fault::EndsWithTheContent && self.store.inner.info(self.id).await.is_err() {
            return Ok(None);
        }
        let piece = self.inner.next().await?;
        if self.store.fault == Fault::LongPieces
            && let (Some(first), Some(second)) = (&piece, self.inner.next().await?)
        {
            return Ok(Some([first.as_ref(), &second].concat().into()));
        }
        Ok(piece)
    }
}

struct FaultyWriter {
    fault: Fault,
    inner: Box<dyn ContentWriter>,
    kept: Option<Bytes>,
}

#[async_trait]
impl ContentWriter for FaultyWriter {
    fn id(&self) -> ContentId {
        match self.fault {
            Fault::TellsAnotherId => ContentId::from_bytes([7; 16]),
            _ => self.inner.id(),
        }
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), ContentError> {
        if let Some(kept) = self.kept.replace(piece) {
            self.inner.write(kept).await?;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ContentInfo, ContentError> {
        let mut lost = 0;
        if let Some(mut last) = self.kept.take() {
            if self.fault == Fault::LosesTheEnd && last.len() > 1 {
                last.truncate(last.len() - 1);
                lost = 1;
            }
            self.inner.write(last).await?;
        }
        let mut info = self.inner.finish().await?;
        info.length_bytes += lost;
        Ok(info)
    }
}

struct Raw(Bytes);

#[async_trait]
impl ContentReader for Raw {
    fn length_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        let length = self.0.len().min(FRAME_BYTES);
        Ok((length > 0).then(|| self.0.split_to(length)))
    }
}

#[async_trait]
impl ContentStore for Faulty {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        if self.fault == Fault::ShowsTheUnfinished {
            self.inner.writer().await?.finish().await?;
        }
        Ok(Box::new(FaultyWriter {
            fault: self.fault,
            inner: self.inner.writer().await?,
            kept: None,
        }))
    }

    async fn reader(
        &self,
        id: ContentId,
        mut range: Range<u64>,
    ) -> Result<Box<dyn ContentReader>, ContentError> {
        if let Some(bytes) = self.replaced.lock().get(&id) {
            return Ok(Box::new(Raw(bytes.clone().into())));
        }
        if self.fault == Fault::ShiftsRanges && range.start == FRAME_BYTES as u64 {
            range.start += 1;
        }
        match self.inner.reader(id, range).await {
            Err(ContentError::NotFound(_)) if self.fault == Fault::InventsContent => {
                Ok(Box::new(Raw(Bytes::new())))
            }
            Err(error) => Err(error),
            Ok(inner) => Ok(Box::new(FaultyReader {
                store: self.clone(),
                id,
                inner,
            })),
        }
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.inner.info(id).await
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        if self.fault == Fault::RefusesToDeleteTwice {
            self.inner.info(id).await?;
        }
        self.inner.delete(id).await
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        let mut page = self.inner.list(after, entries_max).await?;
        match (self.fault, after) {
            (Fault::ListsBackwards, _) => page.reverse(),
            (Fault::RepeatsEntries, Some(id)) if !page.is_empty() => {
                page.insert(0, self.inner.info(id).await?);
                page.truncate(entries_max);
            }
            _ => {}
        }
        Ok(page)
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        self.inner.stats().await
    }
}
