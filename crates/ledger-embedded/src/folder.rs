//! The folder around the store: `FORMAT`, `LOCK`, and a creation that a crash can't leave half
//! done.
//!
//! Invariant: `FORMAT` is written last, when store and witness are there and synced. While they
//! are being made, `CREATING` stands in the folder; found again, nothing was ever acknowledged
//! here and creation begins anew.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::OpenError;

/// What `FORMAT` holds.
pub(crate) const FORMAT: &str = "stabbur-ledger-embedded 3";
const FORMAT_BYTES_MAX: usize = 200;

const FORMAT_FILE: &str = "FORMAT";
/// Stands in a folder that is being made.
pub(crate) const CREATING_FILE: &str = "CREATING";
/// Stands in a folder that a ledger is being copied into; [`crate::EmbeddedCopy`] writes it.
pub(crate) const COPYING_FILE: &str = "COPYING";
const LOCK_FILE: &str = "LOCK";

/// A folder that this process owns until this is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    lock: File,
}

/// What was found in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A finished ledger.
    Ledger,
    /// Nothing: the caller makes store and witness, then calls [`Folder::finish_creation`].
    Nothing,
}

impl Folder {
    /// Makes the folder if need be, locks it, and looks at its format.
    pub(crate) fn open(path: &Path) -> Result<(Self, Found), OpenError> {
        let folder = Self::lock(path)?;
        let copying = path.join(COPYING_FILE).try_exists();
        if copying.map_err(folder.io("looking for COPYING"))? {
            return Err(OpenError::HalfCopied {
                path: path.to_owned(),
            });
        }
        let found = folder.look()?;
        if found == Found::Nothing {
            folder.begin_creation()?;
        }
        Ok((folder, found))
    }

    /// Makes the folder if need be and locks it, whatever it holds.
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let io = |doing| {
            move |source| OpenError::Io {
                path: path.to_owned(),
                doing,
                source,
            }
        };
        fs::create_dir_all(path).map_err(io("creating the folder"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(io("opening LOCK"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(OpenError::Locked {
                    path: path.to_owned(),
                });
            }
            Err(error) => return Err(io("locking LOCK")(error.into())),
        }
        Ok(Self {
            path: path.to_owned(),
            lock,
        })
    }

    /// The store's own folder.
    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// The witness file.
    pub(crate) fn witness(&self) -> PathBuf {
        self.path.join("HEAD")
    }

    /// Free bytes of the folder's file system, as an unprivileged process may use them.
    pub(crate) fn free_bytes(&self) -> std::io::Result<u64> {
        // By the open file: nothing has to be looked up, with each group.
        let disk = rustix::fs::fstatvfs(&self.lock)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Marks the folder as a ledger: from here on it is one.
    pub(crate) fn finish_creation(&self) -> Result<(), OpenError> {
        self.write_format()?;
        self.remove(CREATING_FILE)
    }

    pub(crate) fn write_format(&self) -> Result<(), OpenError> {
        let temporary = self.path.join("FORMAT.new");
        let mut file = File::create(&temporary).map_err(self.io("creating FORMAT"))?;
        file.write_all(format!("{FORMAT}\n").as_bytes())
            .map_err(self.io("writing FORMAT"))?;
        file.sync_all().map_err(self.io("syncing FORMAT"))?;
        fs::rename(&temporary, self.path.join(FORMAT_FILE)).map_err(self.io("naming FORMAT"))?;
        self.sync()
    }

    /// Removes a marker.
    pub(crate) fn remove(&self, marker: &'static str) -> Result<(), OpenError> {
        fs::remove_file(self.path.join(marker)).map_err(self.io("removing a marker"))?;
        self.sync()
    }

    pub(crate) fn look(&self) -> Result<Found, OpenError> {
        match fs::read(self.path.join(FORMAT_FILE)) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(bytes.get(..FORMAT_BYTES_MAX).unwrap_or(&bytes));
                let found = text.strip_suffix('\n').unwrap_or(&text);
                if found == FORMAT {
                    return Ok(Found::Ledger);
                }
                Err(OpenError::UnknownFormat {
                    path: self.path.clone(),
                    found: found.to_owned(),
                    known: FORMAT,
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.look_without_format(),
            Err(error) => Err(self.io("reading FORMAT")(error)),
        }
    }

    fn look_without_format(&self) -> Result<Found, OpenError> {
        if self
            .path
            .join(CREATING_FILE)
            .try_exists()
            .map_err(self.io("looking for CREATING"))?
        {
            return Ok(Found::Nothing);
        }
        for entry in fs::read_dir(&self.path).map_err(self.io("listing the folder"))? {
            let name = entry.map_err(self.io("listing the folder"))?.file_name();
            if name != LOCK_FILE && name != "lost+found" {
                let found = name.to_string_lossy().into_owned();
                return Err(OpenError::NotALedger {
                    path: self.path.clone(),
                    found,
                });
            }
        }
        Ok(Found::Nothing)
    }

    /// Removes what an unfinished creation left, and marks the folder as being made.
    pub(crate) fn begin_creation(&self) -> Result<(), OpenError> {
        let marker = File::create(self.path.join(CREATING_FILE)).map_err(self.io("creating CREATING"))?;
        marker.sync_all().map_err(self.io("syncing CREATING"))?;
        self.sync()?;
        // What an interrupted creation left. Nothing in it was ever acknowledged.
        for (path, is_folder) in [(self.store(), true), (self.witness(), false)] {
            let removed = if is_folder {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.io("removing an unfinished creation")(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), OpenError> {
        File::open(&self.path)
            .and_then(|folder| folder.sync_all())
            .map_err(self.io("syncing the folder"))
    }

    pub(crate) fn io(&self, doing: &'static str) -> impl Fn(std::io::Error) -> OpenError + use<> {
        let path = self.path.clone();
        move |source| OpenError::Io {
            path: path.clone(),
            doing,
            source,
        }
    }
}
