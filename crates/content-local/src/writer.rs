//! A content under way: frames go to a file in `tmp/`; finishing syncs it, gives it its name and
//! syncs the name.
//!
//! Invariant: dropped before it is finished, or failed, it leaves no file. Memory per writer is
//! two frames at most: one that fills and one that is on its way to the disk.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use content::frame::{FRAME_BYTES, checksum};
use content::{ContentError, ContentId, ContentInfo, ContentWriter};

use crate::file::{failed, footer, header};
use crate::store::Folder;

pub(crate) struct LocalWriter {
    folder: Arc<Folder>,
    id: ContentId,
    filling: Vec<u8>,
    length_bytes: u64,
    frames: u64,
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
        Self {
            folder,
            id,
            filling: Vec::new(),
            length_bytes: 0,
            frames: 0,
            open: None,
            failed: false,
        }
    }

    /// Runs file work off the async threads. A failure ends the writer.
    async fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(Unfinished) -> io::Result<(Unfinished, T)> + Send + 'static,
    ) -> Result<T, ContentError> {
        let (path, id, open) = (self.folder.unfinished(self.id), self.id, self.open.take());
        let permit = self.folder.permit().await?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let unfinished = match open {
                Some(open) => open,
                None => create(&path, id)?,
            };
            job(unfinished)
        });
        let (open, answer) = done
            .await
            .map_err(|error| ContentError::Io(error.to_string()))?
            .map_err(|error| failed(&error))?;
        self.open = Some(open);
        Ok(answer)
    }

    fn check_sound(&self) -> Result<(), ContentError> {
        if self.failed {
            return Err(ContentError::Io(
                "an earlier write of this content failed".to_owned(),
            ));
        }
        Ok(())
    }

    async fn write_frames(&mut self, bytes: Bytes) -> Result<(), ContentError> {
        // Until it has succeeded, it has failed: also where its future is dropped half-way.
        self.failed = true;
        self.folder.check_room()?;
        let (id, first) = (self.id, self.frames);
        self.frames += bytes.len().div_ceil(FRAME_BYTES) as u64;
        self.work(move |mut unfinished| {
            for (number, frame) in (first..).zip(bytes.chunks(FRAME_BYTES)) {
                unfinished.file.write_all(frame)?;
                unfinished
                    .file
                    .write_all(&checksum(id.as_bytes(), number, frame))?;
            }
            Ok((unfinished, ()))
        })
        .await?;
        self.failed = false;
        Ok(())
    }
}

fn create(path: &Path, id: ContentId) -> io::Result<Unfinished> {
    let file = File::options().write(true).create_new(true).open(path)?;
    let mut unfinished = Unfinished {
        file,
        path: path.to_owned(),
        named: false,
    };
    unfinished.file.write_all(&header(id))?;
    Ok(unfinished)
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
        while self.filling.len() + rest.len() >= FRAME_BYTES {
            let part = rest.split_to(FRAME_BYTES - self.filling.len());
            // What comes as a whole frame needs no copy.
            let frame = if self.filling.is_empty() {
                part
            } else {
                self.filling.extend_from_slice(&part);
                std::mem::take(&mut self.filling).into()
            };
            self.write_frames(frame).await?;
        }
        self.filling.extend_from_slice(&rest);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ContentInfo, ContentError> {
        self.check_sound()?;
        if !self.filling.is_empty() {
            let frame = std::mem::take(&mut self.filling);
            self.write_frames(frame.into()).await?;
        }
        let finished = self.folder.now();
        let info = ContentInfo {
            id: self.id,
            length_bytes: self.length_bytes,
            finished,
        };
        let target = self.folder.path(self.id);
        self.work(move |mut unfinished| {
            unfinished.file.write_all(&footer(&info))?;
            unfinished.file.sync_data()?;
            let parent = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
            if !parent.is_dir() {
                fs::create_dir_all(parent)?;
                sync_folder(parent.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
            }
            fs::rename(&unfinished.path, &target)?;
            unfinished.named = true;
            // A name that may not be on disk isn't given out; the sweep takes the file later.
            sync_folder(parent)?;
            Ok((unfinished, ()))
        })
        .await?;
        self.folder.count_written(info.length_bytes);
        Ok(info)
    }
}

/// Puts a folder's names on disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
