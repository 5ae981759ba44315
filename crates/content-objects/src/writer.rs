//! A content under way: frames gather until they are a part; a content that never filled one goes
//! by one PUT.
//!
//! Invariants: the object has its name only when the provider acknowledged all of it; given up or
//! failed, its parts are thrown away (as far as the provider can be reached: a rule of the bucket's
//! should take what is left). Memory: one part that gathers and those on their way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use content::frame::{CHECKSUM_BYTES, FRAME_BYTES, checksum};
use content::{ContentError, ContentId, ContentInfo, ContentWriter};
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _, PutPayload};
use tokio::task::JoinSet;

use crate::failure::is_broken_answer;
use crate::limits::{ABORT_SECONDS_MAX, BEGINS_MAX, PART_BYTES, PARTS_IN_FLIGHT_MAX, PARTS_MAX};
use crate::object::{footer, header};
use crate::reader;
use crate::store::Shared;

pub(crate) struct ObjectWriter {
    shared: Arc<Shared>,
    id: ContentId,
    /// The frame that fills.
    filling: Vec<u8>,
    length_bytes: u64,
    frames: u64,
    /// What gathers for the next part.
    gathered: Gathered,
    upload: Option<Upload>,
    /// Whether a write failed: the content can't be finished then.
    failed: bool,
}

/// Stored bytes that wait to be sent.
#[derive(Default)]
struct Gathered {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, piece: Vec<u8>) {
        self.bytes += piece.len();
        self.pieces.push_back(piece.into());
    }

    /// The first `length` bytes, or all there are.
    fn take(&mut self, length: usize) -> PutPayload {
        let mut taken = Vec::new();
        let mut missing = length.min(self.bytes);
        self.bytes -= missing;
        while missing > 0 {
            let Some(mut piece) = self.pieces.pop_front() else {
                break;
            };
            if piece.len() > missing {
                self.pieces.push_front(piece.split_off(missing));
            }
            missing -= piece.len();
            taken.push(piece);
        }
        PutPayload::from_iter(taken)
    }
}

/// An upload in parts; thrown away when dropped before it is complete.
struct Upload {
    upload: Option<Box<dyn MultipartUpload>>,
    parts: JoinSet<object_store::Result<()>>,
    begun: usize,
}

impl Upload {
    async fn begin(store: &dyn ObjectStore, path: &Path) -> object_store::Result<Self> {
        let mut tries = 1;
        let upload = loop {
            match store.put_multipart(path).await {
                Err(error) if tries < BEGINS_MAX && is_broken_answer(&error) => tries += 1,
                outcome => break outcome?,
            }
        };
        Ok(Self {
            upload: Some(upload),
            parts: JoinSet::new(),
            begun: 0,
        })
    }

    /// Sends a part, when fewer than the most are on their way.
    async fn send(&mut self, part: PutPayload) -> object_store::Result<()> {
        while self.parts.len() >= PARTS_IN_FLIGHT_MAX {
            self.part_done().await?;
        }
        if let Some(upload) = &mut self.upload {
            self.begun += 1;
            self.parts.spawn(upload.put_part(part));
        }
        Ok(())
    }

    async fn part_done(&mut self) -> object_store::Result<()> {
        match self.parts.join_next().await {
            Some(done) => done?,
            None => Ok(()),
        }
    }

    /// Waits for the parts and has the provider make one object of them.
    async fn complete(mut self) -> object_store::Result<()> {
        while !self.parts.is_empty() {
            self.part_done().await?;
        }
        if let Some(upload) = &mut self.upload {
            upload.complete().await?;
            self.upload = None;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let mut parts = std::mem::take(&mut self.parts);
        runtime.spawn(async move {
            let limit = Duration::from_secs(ABORT_SECONDS_MAX);
            // A part that is cut off here may arrive there all the same, after the others were thrown away.
            let all_arrived = async { while parts.join_next().await.is_some() {} };
            if tokio::time::timeout(limit, all_arrived).await.is_err() {
                parts.shutdown().await;
            }
            match tokio::time::timeout(limit, upload.abort()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an upload that was given up leaves its parts"),
                Err(_) => tracing::warn!("an upload that was given up leaves its parts: no answer"),
            }
        });
    }
}

impl ObjectWriter {
    pub(crate) fn new(shared: Arc<Shared>, id: ContentId) -> Self {
        let mut gathered = Gathered::default();
        gathered.push(header(id));
        Self {
            shared,
            id,
            filling: Vec::new(),
            length_bytes: 0,
            frames: 0,
            gathered,
            upload: None,
            failed: false,
        }
    }

    fn check_sound(&self) -> Result<(), ContentError> {
        if self.failed {
            return Err(ContentError::Io(
                "an earlier write of this content failed".to_owned(),
            ));
        }
        Ok(())
    }

    /// Closes the frame that fills and sends the parts that are full.
    async fn end_frame(&mut self) -> Result<(), ContentError> {
        let mut frame = std::mem::take(&mut self.filling);
        let crc = checksum(self.id.as_bytes(), self.frames, &frame);
        frame.extend_from_slice(&crc);
        self.gathered.push(frame);
        self.frames += 1;
        // One part is kept back: if nothing follows, it goes by one PUT.
        while self.gathered.bytes > PART_BYTES {
            let part = self.gathered.take(PART_BYTES);
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: PutPayload) -> Result<(), ContentError> {
        // Until it has succeeded, it has failed: also where its future is dropped half-way.
        self.failed = true;
        let sent = self.try_send(part).await;
        if sent.is_err() {
            self.upload = None;
        }
        sent?;
        self.failed = false;
        Ok(())
    }

    async fn try_send(&mut self, part: PutPayload) -> Result<(), ContentError> {
        let shared = self.shared.clone();
        let failed = |error| shared.failures.sort("writing content", &error);
        if self.upload.is_none() {
            let path = shared.path(self.id);
            self.upload = Some(
                Upload::begin(shared.store.as_ref(), &path)
                    .await
                    .map_err(failed)?,
            );
        }
        if let Some(upload) = &mut self.upload {
            if upload.begun >= PARTS_MAX {
                return Err(ContentError::Io(format!(
                    "a content in an object store has at most {PARTS_MAX} parts of {PART_BYTES} bytes"
                )));
            }
            upload.send(part).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// Ends the upload. If the provider's answer to that got lost, the object itself answers.
async fn complete(shared: &Arc<Shared>, upload: Upload, info: &ContentInfo) -> Result<(), ContentError> {
    let Err(error) = upload.complete().await else {
        return Ok(());
    };
    let failure = shared.failures.sort("finishing content", &error);
    match reader::info(shared, info.id).await {
        Ok(found) if found == *info => {
            tracing::warn!(id = %info.id, %failure, "the object is whole although its completion failed");
            Ok(())
        }
        _ => Err(failure),
    }
}

#[async_trait]
impl ContentWriter for ObjectWriter {
    fn id(&self) -> ContentId {
        self.id
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), ContentError> {
        self.check_sound()?;
        self.length_bytes += piece.len() as u64;
        let mut rest = piece;
        while self.filling.len() + rest.len() >= FRAME_BYTES {
            let part = rest.split_to(FRAME_BYTES - self.filling.len());
            self.filling
                .reserve_exact(FRAME_BYTES + CHECKSUM_BYTES - self.filling.len());
            self.filling.extend_from_slice(&part);
            self.end_frame().await?;
        }
        self.filling.extend_from_slice(&rest);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ContentInfo, ContentError> {
        self.check_sound()?;
        if !self.filling.is_empty() {
            self.end_frame().await?;
        }
        let info = ContentInfo {
            id: self.id,
            length_bytes: self.length_bytes,
            finished: self.shared.now(),
        };
        self.gathered.push(footer(&info));
        while self.upload.is_some() && self.gathered.bytes > PART_BYTES {
            let part = self.gathered.take(PART_BYTES);
            self.send(part).await?;
        }
        let rest = self.gathered.take(usize::MAX);
        if self.upload.is_some() {
            self.send(rest).await?;
        } else {
            let path = self.shared.path(self.id);
            let put = self.shared.store.put(&path, rest).await;
            put.map_err(|error| self.shared.failures.sort("writing content", &error))?;
        }
        if let Some(upload) = self.upload.take() {
            complete(&self.shared, upload, &info).await?;
        }
        self.shared.totals.written(&info);
        Ok(info)
    }
}
