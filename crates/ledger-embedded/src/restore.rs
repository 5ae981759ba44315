//! A ledger as it is copied: read from a folder that is open, written into one that isn't a ledger
//! yet.
//!
//! Invariant: a folder that is being copied into has `COPYING` in it, and `FORMAT` only once
//! everything was read back; without the one or with the other no program opens it. `COPYING`
//! names the source by where it stands, so a copy goes on from the same source only.
//!
//! What is written has the shape of this engine's own groups: a batch ends in the head's mark. While
//! records are copied that mark stays where the log was trimmed; with the log it goes on to the
//! source's newest commit. So the journal that is left passes the check of the next open.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use async_trait::async_trait;
use fjall::PersistMode;
use ledger::copy::{CopySource, CopyTarget, LogMark, Reached, Readable, Standing};
use ledger::{Direction, Entry, Key, KeyRange, LedgerError, LogEntry, ScanLimit, ScanPage, Sequence};

use crate::folder::{COPYING_FILE, CREATING_FILE, Folder, Found};
use crate::store::{START, Store, View, guard, read_error};
use crate::witness::{Mark, Witness};
use crate::{EmbeddedLedger, OpenError, Options, limits, record};

/// What `COPYING` begins with; where the source stands follows.
const MARKER: &str = "stabbur-ledger-copy 1";

fn log_mark(mark: Mark) -> LogMark {
    LogMark {
        sequence: mark.sequence,
        chain: mark.chain,
    }
}

fn mark(mark: LogMark) -> Mark {
    Mark {
        sequence: mark.sequence,
        chain: mark.chain,
    }
}

fn standing(view: &View) -> Standing {
    Standing {
        head: log_mark(view.head),
        trimmed: log_mark(view.trimmed),
    }
}

fn log(store: &Store, view: &View, after: Sequence, limit: ScanLimit) -> Result<Vec<LogEntry>, LedgerError> {
    let page = store.log_page(view, after, limit.entries_max, limit.bytes_max)?;
    Ok(page.entries)
}

#[async_trait]
impl Readable for EmbeddedLedger {
    async fn records(&self, range: &KeyRange, limit: ScanLimit) -> Result<ScanPage, LedgerError> {
        let shared = &self.shared;
        shared
            .store
            .scan_page(&shared.view(), range, Direction::Forward, limit)
    }

    async fn log(&self, after: Sequence, limit: ScanLimit) -> Result<Vec<LogEntry>, LedgerError> {
        log(&self.shared.store, &self.shared.view(), after, limit)
    }
}

/// The folder's lock keeps other processes away; this one only reads.
#[async_trait]
impl CopySource for EmbeddedLedger {
    fn standing(&self) -> Standing {
        standing(&self.shared.view())
    }

    async fn standing_now(&self) -> Result<Standing, LedgerError> {
        Ok(standing(&self.shared.view()))
    }
}

/// A folder that a ledger is copied into.
pub struct EmbeddedCopy {
    store: Store,
    view: View,
    witness: Witness,
    reserve_bytes: u64,
}

impl std::fmt::Debug for EmbeddedCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedCopy")
            .field("folder", &self.store.folder.path())
            .finish_non_exhaustive()
    }
}

impl EmbeddedCopy {
    /// Begins a copy of a ledger that stands at `source` in `path`, which must be empty or not there;
    /// or goes on with the one that was begun there.
    ///
    /// # Errors
    /// [`OpenError`] says why the folder is refused.
    pub fn open(path: &Path, source: &Standing, options: &Options) -> Result<Self, OpenError> {
        let folder = Folder::lock(path)?;
        let marker = format!("{MARKER}\n{source}\n");
        let found = match fs::read(path.join(COPYING_FILE)) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(folder.io("reading COPYING")(error)),
        };
        let creating = path.join(CREATING_FILE).try_exists();
        let creating = creating.map_err(folder.io("looking for CREATING"))?;
        match found {
            Some(found) if !creating => {
                if found != marker.as_bytes() {
                    return Err(not_for_copy(
                        path,
                        "holds half a copy of another ledger, or of this one before it went on; remove the \
                         folder and copy anew",
                    ));
                }
                Self::go_on(folder, options)
            }
            // Nothing was copied while `CREATING` stood there.
            found => {
                if found.is_none() && folder.look()? == Found::Ledger {
                    return Err(refuse_ledger(folder, source, options));
                }
                Self::begin(folder, &marker, options)
            }
        }
        .and_then(|copy| copy.at(source))
    }

    fn begin(folder: Folder, marker: &str, options: &Options) -> Result<Self, OpenError> {
        folder.begin_creation()?;
        let path = folder.path().join(COPYING_FILE);
        fs::File::create(&path)
            .and_then(|mut file| {
                file.write_all(marker.as_bytes())?;
                file.sync_all()
            })
            .map_err(folder.io("writing COPYING"))?;
        folder.sync()?;
        let store = Store::open(folder, options, true)?;
        let witness =
            Witness::create(&store.folder.witness(), START).map_err(store.folder.io("creating HEAD"))?;
        guard(|| store.database.persist(PersistMode::SyncAll)).map_err(|error| {
            not_for_copy(store.folder.path(), &format!("the store can't be made: {error}"))
        })?;
        store.folder.remove(CREATING_FILE)?;
        let view = store.view(START, START);
        Ok(Self {
            store,
            view,
            witness,
            reserve_bytes: options.reserve_bytes,
        })
    }

    /// What a kill tore off the journal was never counted on: the copy goes on before it. Damage
    /// elsewhere is found when everything is read back.
    fn go_on(folder: Folder, options: &Options) -> Result<Self, OpenError> {
        let path = folder.path().to_owned();
        let damaged = |error: &dyn std::fmt::Display| {
            let why = format!("the half copy is damaged: {error}; remove the folder and copy anew");
            not_for_copy(&path, &why)
        };
        let store = Store::open(folder, options, false)?;
        let view = store.first_view().map_err(|error| damaged(&error))?;
        let witness =
            Witness::create(&store.folder.witness(), view.head).map_err(store.folder.io("writing HEAD"))?;
        Ok(Self {
            store,
            view,
            witness,
            reserve_bytes: options.reserve_bytes,
        })
    }

    /// Sets the marks of a log without entries, if that wasn't done yet.
    fn at(mut self, source: &Standing) -> Result<Self, OpenError> {
        let trimmed = mark(source.trimmed);
        if self.view.trimmed != trimmed {
            let sealed = record::seal(record::TRIMMED_KEY, trimmed.sequence, &trimmed.chain);
            self.write([(record::TRIMMED_KEY.to_vec(), sealed)], trimmed)
                .map_err(|error| not_for_copy(self.store.folder.path(), &error.to_string()))?;
            self.view.trimmed = trimmed;
        }
        Ok(self)
    }

    /// Writes and syncs one batch, and what reads see from then on.
    fn write(
        &mut self,
        items: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        head: Mark,
    ) -> Result<(), LedgerError> {
        let store = &self.store;
        // Each batch is synced before the next one.
        let synced = self.view.head.sequence;
        guard(|| {
            let mut batch = store.database.batch().durability(Some(PersistMode::SyncData));
            for (key, sealed) in items {
                batch.insert(&store.tree, key, sealed);
            }
            let sealed = record::head(head, synced);
            batch.insert(&store.tree, record::HEAD_KEY, sealed);
            batch.commit()
        })
        .map_err(|error| LedgerError::Failed(error.to_string()))?;
        self.witness
            .write(head)
            .map_err(|error| LedgerError::Failed(format!("HEAD: {error}")))?;
        self.view = store.view(head, self.view.trimmed);
        Ok(())
    }

    /// The store itself must never meet a full disk.
    fn check_space(&self, bytes: usize) -> Result<(), LedgerError> {
        let needed = self.reserve_bytes + bytes as u64 * limits::GROUP_DISK_FACTOR;
        match self.store.folder.free_bytes() {
            Ok(free) if free < needed => Err(LedgerError::Full),
            _ => Ok(()),
        }
    }
}

fn not_for_copy(path: &Path, why: &str) -> OpenError {
    OpenError::NotForCopy {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

/// Says what the ledger in `folder` is.
fn refuse_ledger(folder: Folder, source: &Standing, options: &Options) -> OpenError {
    let path = folder.path().to_owned();
    let view = Store::open(folder, options, false).and_then(|store| {
        store
            .first_view()
            .map_err(|error| not_for_copy(&path, &error.to_string()))
    });
    let why = match view {
        Ok(view) if standing(&view) == *source => {
            "holds this very ledger already: the copy is done".to_owned()
        }
        Ok(view) => format!(
            "holds a ledger of its own, through commit {}; name an empty folder",
            view.head.sequence
        ),
        Err(error) => format!("holds a ledger of its own ({error}); name an empty folder"),
    };
    not_for_copy(&path, &why)
}

#[async_trait]
impl Readable for EmbeddedCopy {
    async fn records(&self, range: &KeyRange, limit: ScanLimit) -> Result<ScanPage, LedgerError> {
        self.store.scan_page(&self.view, range, Direction::Forward, limit)
    }

    async fn log(&self, after: Sequence, limit: ScanLimit) -> Result<Vec<LogEntry>, LedgerError> {
        log(&self.store, &self.view, after, limit)
    }
}

#[async_trait]
impl CopyTarget for EmbeddedCopy {
    async fn reached(&self) -> Result<Reached, LedgerError> {
        let limit = ScanLimit {
            entries_max: 1,
            bytes_max: 1,
        };
        let last = self
            .store
            .scan_page(&self.view, &KeyRange::all(), Direction::Backward, limit)?;
        let key: Option<Key> = last.entries.into_iter().next().map(|entry| entry.key);
        Ok(Reached {
            key,
            log: log_mark(self.view.head),
        })
    }

    async fn put_records(&mut self, records: &[Entry]) -> Result<(), LedgerError> {
        self.check_space(
            records
                .iter()
                .map(|entry| entry.key.as_bytes().len() + entry.versioned.value.len())
                .sum(),
        )?;
        let items = records.iter().map(|entry| {
            let key = record::data_key(entry.key.as_bytes());
            let sealed = record::seal(&key, entry.versioned.version, &entry.versioned.value);
            (key, sealed)
        });
        self.write(items, self.view.head)
    }

    async fn put_log(&mut self, entries: &[LogEntry]) -> Result<(), LedgerError> {
        let mut head = self.view.head;
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = record::log_key(entry.sequence);
            let sealed = record::seal(&key, entry.sequence, &entry.encode());
            items.push((key.clone(), sealed));
            head = Mark {
                sequence: entry.sequence,
                chain: entry.chain,
            };
        }
        self.check_space(items.iter().map(|(_, sealed)| sealed.len()).sum())?;
        self.write(items, head)
    }

    /// Out of memory into tables, so that what is read back comes from the disk.
    async fn settle(&mut self) -> Result<(), LedgerError> {
        let store = &self.store;
        guard(|| {
            store.tree.rotate_memtable_and_wait()?;
            store.database.persist(PersistMode::SyncAll)
        })
        .map_err(read_error)?;
        self.view = store.view(self.view.head, self.view.trimmed);
        self.witness
            .sync()
            .map_err(|error| LedgerError::Failed(format!("HEAD: {error}")))
    }

    async fn finish(self: Box<Self>) -> Result<(), LedgerError> {
        let folder = &self.store.folder;
        folder
            .write_format()
            .and_then(|()| folder.remove(COPYING_FILE))
            .map_err(|error| LedgerError::Failed(error.to_string()))
    }
}
