//! The folder of contents: names, listing, counters.
//!
//! ```text
//! FORMAT          "stabbur-content-local 1"
//! tmp/{id}        contents under way
//! {xx}/{id}       finished contents, by the first two digits of their id
//! ```

use std::collections::VecDeque;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::file::{ContentFile, failed, file_bytes};
use crate::pool::Pool;
use crate::writer::{LocalWriter, sync_folder};

/// Gives the time of a finished content.
pub type Now = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// Fills bytes by chance: ids.
pub type Chance = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

const FORMAT: &str = "stabbur-content-local 1\n";

/// Free disk bytes under which no content is taken. Larger than the ledger's own reserve, so that
/// a disk full of content still has room for the commits that delete some of it.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// File operations at once: a disk gains little beyond, and each holds a thread.
const OPERATIONS_MAX: usize = 64;

/// The content store in a folder.
#[derive(Clone)]
pub struct LocalContent(Arc<Folder>);

impl std::fmt::Debug for LocalContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalContent")
            .field("root", &self.0.root)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Folder {
    root: PathBuf,
    /// Holds the lock for as long as the store is open.
    _lock: fs::File,
    now: Now,
    chance: Chance,
    operations: Arc<Semaphore>,
    pub(crate) pool: Arc<Pool>,
    contents: AtomicU64,
    disk_bytes: AtomicU64,
    corrupt_frames: AtomicU64,
}

impl Folder {
    pub(crate) fn path(&self, id: ContentId) -> PathBuf {
        let name = id.to_string();
        self.root.join(name.get(..2).unwrap_or("00")).join(name)
    }

    pub(crate) fn unfinished(&self, id: ContentId) -> PathBuf {
        self.root.join("tmp").join(id.to_string())
    }

    /// Refuses to fill the disk to its last byte.
    pub(crate) fn check_room(&self) -> Result<(), ContentError> {
        let disk = rustix::fs::statvfs(&self.root).map_err(|error| failed(&error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < RESERVE_BYTES {
            Err(ContentError::Full)
        } else {
            Ok(())
        }
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        (self.now)()
    }

    pub(crate) fn count_written(&self, length_bytes: u64) {
        self.contents.fetch_add(1, Ordering::Relaxed);
        self.disk_bytes
            .fetch_add(file_bytes(length_bytes), Ordering::Relaxed);
    }

    pub(crate) async fn permit(&self) -> Result<OwnedSemaphorePermit, ContentError> {
        self.operations
            .clone()
            .acquire_owned()
            .await
            .map_err(|error| ContentError::Io(error.to_string()))
    }

    fn note<T>(&self, outcome: Result<T, ContentError>) -> Result<T, ContentError> {
        if let Err(ContentError::Corrupt { id, cause }) = &outcome {
            self.corrupt_frames.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%id, cause, "damaged content");
        }
        outcome
    }
}

impl LocalContent {
    /// Opens the store in `root`, or creates it if the folder is empty or isn't there. Removes
    /// what was never finished: hence one process at a time, held by a lock.
    ///
    /// # Errors
    /// [`ContentError::Io`] if the folder holds something else, an unknown format, or can't be
    /// read.
    pub fn open(root: &Path, now: Now, chance: Chance) -> Result<Self, ContentError> {
        let io = |doing: &str| {
            let place = format!("{}: {doing}", root.display());
            move |error: std::io::Error| ContentError::Io(format!("{place}: {error}"))
        };
        fs::create_dir_all(root).map_err(io("creating the folder"))?;
        let format = root.join("FORMAT");
        match fs::read_to_string(&format) {
            Ok(found) if found == FORMAT => {}
            Ok(found) => {
                let (place, found, known) = (root.display(), found.trim_end(), FORMAT.trim_end());
                return Err(ContentError::Io(format!(
                    "{place}: unknown content format {found:?}, this version reads {known:?}; use the version that wrote it"
                )));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if fs::read_dir(root).map_err(io("listing"))?.next().is_some() {
                    let place = root.display();
                    return Err(ContentError::Io(format!(
                        "{place}: not a content store: it has no FORMAT file but isn't empty; choose an empty folder"
                    )));
                }
                let mut file = fs::File::create(&format).map_err(io("creating FORMAT"))?;
                file.write_all(FORMAT.as_bytes()).map_err(io("writing FORMAT"))?;
                file.sync_all().map_err(io("syncing FORMAT"))?;
            }
            Err(error) => return Err(io("reading FORMAT")(error)),
        }
        let lock = fs::File::open(&format).map_err(io("opening FORMAT"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            let place = root.display();
            ContentError::Io(format!(
                "{place}: another process has this content store open; nodes share content in an object store \
                 (docs/operate/nodes.md)"
            ))
        })?;
        let unfinished = root.join("tmp");
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(io("removing unfinished contents"))?;
        }
        fs::create_dir_all(&unfinished).map_err(io("creating tmp"))?;
        sync_folder(root).map_err(io("syncing the folder"))?;
        let folder = Folder {
            root: root.to_owned(),
            _lock: lock,
            now,
            chance,
            operations: Arc::new(Semaphore::new(OPERATIONS_MAX)),
            pool: Arc::default(),
            contents: AtomicU64::new(0),
            disk_bytes: AtomicU64::new(0),
            corrupt_frames: AtomicU64::new(0),
        };
        for (_, path) in names(&folder.root, None, usize::MAX).map_err(io("listing"))? {
            folder.contents.fetch_add(1, Ordering::Relaxed);
            let length = fs::metadata(&path).map_err(io("listing"))?.len();
            folder.disk_bytes.fetch_add(length, Ordering::Relaxed);
        }
        Ok(Self(Arc::new(folder)))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Folder) -> Result<T, ContentError> + Send + 'static,
    ) -> Result<T, ContentError> {
        joined(self.begin(job).await?).await
    }

    /// Begins a job off the async threads, when it is its turn.
    async fn begin<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Folder) -> Result<T, ContentError> + Send + 'static,
    ) -> Result<Job<T>, ContentError> {
        let permit = self.0.permit().await?;
        let folder = self.0.clone();
        Ok(tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let outcome = job(&folder);
            folder.note(outcome)
        }))
    }
}

/// File work off the async threads.
pub(crate) type Job<T> = JoinHandle<Result<T, ContentError>>;

pub(crate) async fn joined<T>(job: Job<T>) -> Result<T, ContentError> {
    job.await.map_err(|error| ContentError::Io(error.to_string()))?
}

/// Ids and files of finished contents above `after`, by id. Ids begin with their folder's name, so
/// folders are read one after the other, and no further than `entries_max` asks.
fn names(
    root: &Path,
    after: Option<ContentId>,
    entries_max: usize,
) -> std::io::Result<Vec<(ContentId, PathBuf)>> {
    let first = after.map(|id| id.to_string().chars().take(2).collect::<String>());
    let mut folders = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == 2 && first.as_ref().is_none_or(|first| name >= *first) && entry.file_type()?.is_dir()
        {
            folders.push(entry.path());
        }
    }
    folders.sort_unstable();
    let mut found = Vec::new();
    for folder in folders {
        let mut here = Vec::new();
        for file in fs::read_dir(folder)? {
            let file = file?;
            if let Some(id) = ContentId::parse(&file.file_name().to_string_lossy())
                && after.is_none_or(|after| id > after)
            {
                here.push((id, file.path()));
            }
        }
        here.sort_unstable();
        found.append(&mut here);
        if found.len() >= entries_max {
            break;
        }
    }
    Ok(found)
}

struct LocalReader {
    store: LocalContent,
    file: Arc<ContentFile>,
    /// What isn't read yet.
    rest: Range<u64>,
    ready: VecDeque<Bytes>,
    /// The next step, which is read while the one before is sent.
    ahead: Option<Job<Vec<Bytes>>>,
}

impl LocalReader {
    async fn begin_step(&self) -> Result<Job<Vec<Bytes>>, ContentError> {
        let (file, range) = (self.file.clone(), self.rest.clone());
        self.store
            .begin(move |folder| file.read(&range, &folder.pool))
            .await
    }
}

#[async_trait]
impl ContentReader for LocalReader {
    fn length_bytes(&self) -> u64 {
        self.file.info.length_bytes
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ContentError> {
        if self.ready.is_empty() && !self.rest.is_empty() {
            let step = match self.ahead.take() {
                Some(ahead) => ahead,
                None => self.begin_step().await?,
            };
            self.ready.extend(joined(step).await?);
            self.rest.start += self.ready.iter().map(|piece| piece.len() as u64).sum::<u64>();
            if !self.rest.is_empty() {
                self.ahead = Some(self.begin_step().await?);
            }
        }
        Ok(self.ready.pop_front())
    }
}

#[async_trait]
impl ContentStore for LocalContent {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        let mut id = [0; 16];
        (self.0.chance)(&mut id);
        Ok(Box::new(LocalWriter::new(
            self.0.clone(),
            ContentId::from_bytes(id),
        )))
    }

    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        let file = self
            .blocking(move |folder| ContentFile::open(&folder.path(id), id))
            .await?;
        let length = file.info.length_bytes;
        let rest = range.start.min(length)..range.end.min(length);
        Ok(Box::new(LocalReader {
            store: self.clone(),
            file: Arc::new(file),
            rest,
            ready: VecDeque::new(),
            ahead: None,
        }))
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        self.blocking(move |folder| Ok(ContentFile::open(&folder.path(id), id)?.info))
            .await
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        self.blocking(move |folder| {
            let path = folder.path(id);
            let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            match fs::remove_file(&path) {
                Ok(()) => {
                    folder.contents.fetch_sub(1, Ordering::Relaxed);
                    folder.disk_bytes.fetch_sub(length, Ordering::Relaxed);
                    Ok(())
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(failed(&error)),
            }
        })
        .await
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        self.blocking(move |folder| {
            let mut infos = Vec::new();
            for (id, path) in names(&folder.root, after, entries_max).map_err(|error| failed(&error))? {
                if infos.len() >= entries_max {
                    break;
                }
                match ContentFile::open(&path, id) {
                    Ok(file) => infos.push(file.info),
                    Err(ContentError::NotFound(_)) => {}
                    // A damaged file stays where it is, for rescue; the sweep goes on without it.
                    Err(error) => {
                        let _ = folder.note::<()>(Err(error));
                    }
                }
            }
            Ok(infos)
        })
        .await
    }

    async fn stats(&self) -> Result<ContentStats, ContentError> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(ContentStats {
            contents: load(&self.0.contents),
            disk_bytes: load(&self.0.disk_bytes),
            corrupt_frames: load(&self.0.corrupt_frames),
        })
    }
}
