//! A content under way: frames go to a file in `tmp/`; finishing syncs it, gives it its name and
//! syncs the name.
//!
//! Invariant: dropped before it is finished, or failed, it leaves no file. Memory per writer is two steps at
//! most: one that fills and one that is on its way to the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use content::frame::{FRAME_BYTES, checksum};
use content::{ContentError, ContentId, ContentInfo, ContentWriter};

use crate::file::{failed, footer, header};
use crate::pool::{Buffer, SMALL_BYTES, STEP_FRAMES};
use crate::store::{Folder, Job, joined};

/// What goes to the file at once: the write itself costs less than getting to a thread that does it.
const STEP_BYTES: usize = STEP_FRAMES * FRAME_BYTES;

pub(crate) struct LocalWriter {
    folder: Arc<Folder>,
    id: ContentId,
    /// As it goes to the file: each whole frame has its checksum behind it.
    filling: Buffer,
    /// Bytes of the frame at its end that isn't whole yet.
    in_frame: usize,
    length_bytes: u64,
    frames: u64,
    /// The step that is being written.
    writing: Option<Job<Unfinished>>,
    open: Option<Unfinished>,
    /// Whether a write failed: the content can't be finished then.
    failed: bool,
}

/// The file in `tmp/`; removed when dropped without having got its name.
struct Unfinished {
    file: File,
    path: PathBuf,
    named: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "an unfinished content could not be removed");
        }
    }
}

impl LocalWriter {
    pub(crate) fn new(folder: Arc<Folder>, id: ContentId) -> Self {
        let mut filling = folder.pool.take(0);
        filling.bytes = header(id);
        Self {
            folder,
            id,
            filling,
            in_frame: 0,
            length_bytes: 0,
            frames: 0,
            writing: None,
            open: None,
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

    /// Puts the checksum behind the frame that was begun.
    fn close_frame(&mut self) {
        let begins = self.filling.bytes.len() - self.in_frame;
        let frame = self.filling.bytes.get(begins..).unwrap_or_default();
        let checksum = checksum(self.id.as_bytes(), self.frames, frame);
        self.filling.bytes.extend_from_slice(&checksum);
        self.frames += 1;
        self.in_frame = 0;
    }

    /// Waits for the step under way.
    async fn written(&mut self) -> Result<(), ContentError> {
        if let Some(writing) = self.writing.take() {
            self.open = Some(joined(writing).await?);
        }
        Ok(())
    }

    /// Makes room for more, in memory for a whole step unless there is little.
    fn make_room(&mut self, bytes: usize) {
        let wanted = self.filling.bytes.len() + bytes;
        if wanted >= SMALL_BYTES && self.filling.bytes.capacity() < STEP_BYTES {
            let mut larger = self.folder.pool.take(STEP_BYTES);
            larger.bytes.extend_from_slice(&self.filling.bytes);
            self.filling = larger;
        }
    }

    /// Runs a job on the file, off the async threads.
    async fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(Unfinished) -> io::Result<T> + Send + 'static,
    ) -> Result<Job<T>, ContentError> {
        let (path, open) = (self.folder.unfinished(self.id), self.open.take());
        let permit = self.folder.permit().await?;
        Ok(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let unfinished = match open {
                Some(open) => open,
                None => create(&path).map_err(|error| failed(&error))?,
            };
            job(unfinished).map_err(|error| failed(&error))
        }))
    }

    /// Begins to write what has filled, once what was before it is written.
    async fn begin_step(&mut self) -> Result<(), ContentError> {
        // Until it has succeeded, it has failed: also where its future is dropped half-way.
        self.failed = true;
        self.written().await?;
        self.folder.check_room()?;
        let step = std::mem::replace(&mut self.filling, self.folder.pool.take(STEP_BYTES));
        let writing = self
            .work(move |mut unfinished| {
                unfinished.file.write_all(&step.bytes)?;
                Ok(unfinished)
            })
            .await?;
        self.writing = Some(writing);
        self.failed = false;
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<Unfinished> {
    let file = File::options().write(true).create_new(true).open(path)?;
    Ok(Unfinished {
        file,
        path: path.to_owned(),
        named: false,
    })
}

#[async_trait]
impl ContentWriter for LocalWriter {
    fn id(&self) -> ContentId {
        self.id
    }

    async fn write(&mut self, piece: Bytes) -> Result<(), ContentError> {
        self.check_sound()?;
        self.length_bytes += piece.len() as u64;
        let mut rest = piece;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(FRAME_BYTES - self.in_frame));
            self.make_room(part.len());
            self.filling.bytes.extend_from_slice(&part);
            self.in_frame += part.len();
            if self.in_frame == FRAME_BYTES {
                self.close_frame();
                if self.filling.bytes.len() >= STEP_BYTES {
                    self.begin_step().await?;
                }
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ContentInfo, ContentError> {
        self.check_sound()?;
        if self.in_frame > 0 {
            self.close_frame();
        }
        self.written().await?;
        self.folder.check_room()?;
        let finished = self.folder.now();
        let info = ContentInfo {
            id: self.id,
            length_bytes: self.length_bytes,
            finished,
        };
        let (folder, target) = (self.folder.clone(), self.folder.path(self.id));
        let mut step = std::mem::replace(&mut self.filling, self.folder.pool.take(0));
        step.bytes.extend_from_slice(&footer(&info));
        let finishing = self
            .work(move |mut unfinished| {
                unfinished.file.write_all(&step.bytes)?;
                unfinished.file.sync_data()?;
                let parent = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
                if !parent.is_dir() {
                    fs::create_dir_all(parent)?;
                    sync_folder(parent.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
                }
                fs::rename(&unfinished.path, &target)?;
                unfinished.named = true;
                // Also where nobody waits for it any more: the sweep will count it down.
                folder.count_written(info.length_bytes);
                // A name that may not be on disk isn't given out; the sweep takes the file later.
                sync_folder(parent)
            })
            .await?;
        joined(finishing).await?;
        Ok(info)
    }
}

/// Puts a folder's names on disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
