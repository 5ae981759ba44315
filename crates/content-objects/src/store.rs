//! The store: names, opening, listing, counters.
//!
//! ```text
//! {prefix}/FORMAT        "stabbur-content-objects 1"
//! {prefix}/{xx}/{id}     finished contents; {xx} is the first two digits of their id
//! ```

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use content::{
    ContentError, ContentId, ContentInfo, ContentReader, ContentStats, ContentStore, ContentWriter,
};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt as _};
use parking_lot::Mutex;

use crate::failure::{Failures, is_missing};
use crate::limits::{FOOTERS_IN_FLIGHT_MAX, PART_BYTES};
use crate::object::{content_bytes, object_bytes};
use crate::options::ObjectOptions;
use crate::reader;
use crate::writer::ObjectWriter;

/// Gives the time of a finished content.
pub type Now = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// Fills bytes by chance: ids.
pub type Chance = Arc<dyn Fn(&mut [u8]) + Send + Sync>;

const FORMAT: &str = "stabbur-content-objects 1\n";

/// The content store in an object store.
#[derive(Clone)]
pub struct ObjectContent(Arc<Shared>);

impl std::fmt::Debug for ObjectContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectContent")
            .field("prefix", &self.0.prefix)
            .finish_non_exhaustive()
    }
}

/// What writers and readers share.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) failures: Failures,
    pub(crate) totals: Totals,
    prefix: Path,
    now: Now,
    chance: Chance,
    corrupt_frames: AtomicU64,
}

impl Shared {
    pub(crate) fn path(&self, id: ContentId) -> Path {
        let name = id.to_string();
        self.prefix
            .clone()
            .join(name.get(..2).unwrap_or("00"))
            .join(name.as_str())
    }

    /// The time, as exact as a footer holds it.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        let now = (self.now)();
        jiff::Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// Counts and logs damage.
    pub(crate) fn note<T>(&self, outcome: Result<T, ContentError>) -> Result<T, ContentError> {
        if let Err(ContentError::Corrupt { id, cause }) = &outcome {
            self.corrupt_frames.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%id, cause, "damaged content");
        }
        outcome
    }
}

/// How much there is: what the last walk through the whole listing found, and what this process
/// wrote and removed since. Asking the provider each time would cost a listing of the bucket; the
/// sweep walks it anyhow.
#[derive(Default)]
pub(crate) struct Totals(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    contents: u64,
    bytes: u64,
    walk: Option<Walk>,
}

/// A walk through the listing that is under way.
struct Walk {
    last: ContentId,
    contents: u64,
    bytes: u64,
}

impl Totals {
    pub(crate) fn written(&self, info: &ContentInfo) {
        let mut counts = self.0.lock();
        counts.contents += 1;
        counts.bytes += object_bytes(info.length_bytes);
    }

    fn removed(&self, bytes: u64) {
        let mut counts = self.0.lock();
        counts.contents = counts.contents.saturating_sub(1);
        counts.bytes = counts.bytes.saturating_sub(bytes);
    }

    /// Adds a page to the walk that it continues; the last page ends the walk.
    fn page(&self, after: Option<ContentId>, page: &[Entry], is_last: bool) {
        let mut counts = self.0.lock();
        let (contents, bytes) = match (after, counts.walk.take()) {
            (None, _) => (0, 0),
            (Some(after), Some(walk)) if walk.last == after => (walk.contents, walk.bytes),
            // Another's page: its walk goes on without this one.
            (Some(_), walk) => {
                counts.walk = walk;
                return;
            }
        };
        let contents = contents + page.len() as u64;
        let bytes = page.iter().fold(bytes, |sum, entry| sum + entry.meta.size);
        if is_last {
            (counts.contents, counts.bytes) = (contents, bytes);
        } else if let Some(last) = page.last() {
            counts.walk = Some(Walk {
                last: last.id,
                contents,
                bytes,
            });
        }
    }
}

/// One content as the provider lists it.
struct Entry {
    id: ContentId,
    meta: ObjectMeta,
}

impl ObjectContent {
    /// Opens the store that `options` name; marks it as one if nothing lies there yet.
    ///
    /// # Errors
    /// [`ContentError::Unavailable`] if the provider can't be reached, [`ContentError::Io`] if it
    /// refuses or if something else lies there.
    pub async fn open(options: &ObjectOptions, now: Now, chance: Chance) -> Result<Self, ContentError> {
        let (store, failures) = options.connect()?;
        Self::with_failures(store, &options.prefix, failures, now, chance).await
    }

    /// As [`ObjectContent::open`], over a store that is open already.
    ///
    /// # Errors
    /// As [`ObjectContent::open`].
    pub async fn over(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        now: Now,
        chance: Chance,
    ) -> Result<Self, ContentError> {
        Self::with_failures(store, prefix, Failures::default(), now, chance).await
    }

    async fn with_failures(
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        failures: Failures,
        now: Now,
        chance: Chance,
    ) -> Result<Self, ContentError> {
        let prefix = Path::parse(prefix)
            .map_err(|error| ContentError::Io(format!("the object store's prefix {prefix:?}: {error}")))?;
        let shared = Shared {
            store,
            failures,
            totals: Totals::default(),
            prefix,
            now,
            chance,
            corrupt_frames: AtomicU64::new(0),
        };
        shared.check_format().await?;
        Ok(Self(Arc::new(shared)))
    }
}

impl Shared {
    async fn check_format(&self) -> Result<(), ContentError> {
        let place = self.prefix.clone().join("FORMAT");
        let sort = |error: object_store::Error| self.failures.sort("opening the content store", &error);
        let found = match self.store.get(&place).await {
            Ok(found) => found.bytes().await.map_err(sort)?,
            Err(error) if is_missing(&error) => {
                if self.store.list(Some(&self.prefix)).next().await.is_some() {
                    return Err(ContentError::Io(format!(
                        "{:?} in the object store is no content store: it has no FORMAT but isn't empty; choose another prefix",
                        self.prefix.as_ref()
                    )));
                }
                self.store.put(&place, FORMAT.into()).await.map_err(sort)?;
                return Ok(());
            }
            Err(error) => return Err(sort(error)),
        };
        if found != FORMAT.as_bytes() {
            let (found, known) = (String::from_utf8_lossy(&found), FORMAT.trim_end());
            return Err(ContentError::Io(format!(
                "{place}: unknown content format {:?}, this version reads {known:?}; use the version that wrote it",
                found.trim_end()
            )));
        }
        Ok(())
    }

    /// A page of the listing. Providers list by name, and names are in the order of ids.
    async fn page(&self, after: Option<ContentId>, entries_max: usize) -> object_store::Result<Vec<Entry>> {
        let mut listing = match after {
            Some(after) => self.store.list_with_offset(Some(&self.prefix), &self.path(after)),
            None => self.store.list(Some(&self.prefix)),
        };
        let mut page = Vec::new();
        while page.len() < entries_max {
            let Some(meta) = listing.try_next().await? else {
                break;
            };
            // What doesn't lie where its name says isn't ours: FORMAT is one such.
            if let Some(id) = meta.location.filename().and_then(ContentId::parse)
                && meta.location == self.path(id)
            {
                page.push(Entry { id, meta });
            }
        }
        Ok(page)
    }

    /// What a listing says of one content; `None` if it is gone or damaged. An object that came in
    /// parts has the time when its upload began; only its footer knows when it was finished.
    async fn entry_info(self: &Arc<Self>, entry: &Entry) -> Result<Option<ContentInfo>, ContentError> {
        if entry.meta.size > PART_BYTES as u64 {
            return match reader::info(self, entry.id).await {
                Ok(info) => Ok(Some(info)),
                // Damaged content stays where it is, for rescue; the sweep goes on without it.
                Err(ContentError::NotFound(_) | ContentError::Corrupt { .. }) => Ok(None),
                Err(error) => Err(error),
            };
        }
        let modified = entry.meta.last_modified.timestamp_micros();
        let (Some(length_bytes), Ok(finished)) = (
            content_bytes(entry.meta.size),
            jiff::Timestamp::from_microsecond(modified),
        ) else {
            let id = entry.id;
            let cause = "no content's object is as long as this".to_owned();
            let _ = self.note::<()>(Err(ContentError::Corrupt { id, cause }));
            return Ok(None);
        };
        Ok(Some(ContentInfo {
            id: entry.id,
            length_bytes,
            finished,
        }))
    }
}

#[async_trait]
impl ContentStore for ObjectContent {
    async fn writer(&self) -> Result<Box<dyn ContentWriter>, ContentError> {
        let mut id = [0; 16];
        (self.0.chance)(&mut id);
        Ok(Box::new(ObjectWriter::new(
            self.0.clone(),
            ContentId::from_bytes(id),
        )))
    }

    async fn reader(&self, id: ContentId, range: Range<u64>) -> Result<Box<dyn ContentReader>, ContentError> {
        Ok(Box::new(reader::open(&self.0, id, range).await?))
    }

    async fn info(&self, id: ContentId) -> Result<ContentInfo, ContentError> {
        reader::info(&self.0, id).await
    }

    async fn delete(&self, id: ContentId) -> Result<(), ContentError> {
        let path = self.0.path(id);
        let sort = |error: object_store::Error| self.0.failures.sort("removing content", &error);
        let bytes = match self.0.store.head(&path).await {
            Ok(meta) => meta.size,
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(sort(error)),
        };
        match self.0.store.delete(&path).await {
            Ok(()) => {
                self.0.totals.removed(bytes);
                Ok(())
            }
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(sort(error)),
        }
    }

    async fn list(
        &self,
        after: Option<ContentId>,
        entries_max: usize,
    ) -> Result<Vec<ContentInfo>, ContentError> {
        let mut after = after;
        let mut infos = Vec::new();
        // Damaged contents are left out; a page of nothing else must not look like the end.
        while infos.len() < entries_max {
            let asked = entries_max - infos.len();
            let page = self.0.page(after, asked).await;
            let page = page.map_err(|error| self.0.failures.sort("listing contents", &error))?;
            let is_last = page.len() < asked;
            self.0.totals.page(after, &page, is_last);
            after = page.last().map(|entry| entry.id);
            let asked_of = |entry: Entry| {
                let shared = self.0.clone();
                async move { shared.entry_info(&entry).await }
            };
            let found: Vec<Option<ContentInfo>> = stream::iter(page)
                .map(asked_of)
                .buffered(FOOTERS_IN_FLIGHT_MAX)
                .try_collect()
                .await?;
            infos.extend(found.into_iter().flatten());
            if is_last {
                break;
            }
        }
        Ok(infos)
    }

    /// As of the last walk through the whole listing, and what this process wrote and removed since;
    /// before the first walk, only the latter.
    async fn stats(&self) -> Result<ContentStats, ContentError> {
        let counts = self.0.totals.0.lock();
        Ok(ContentStats {
            contents: counts.contents,
            disk_bytes: counts.bytes,
            corrupt_frames: self.0.corrupt_frames.load(Ordering::Relaxed),
        })
    }
}
