//! Syncs the store's newest journal, while the store goes on writing to it.
//!
//! The store can sync its journal itself, but holds its writers off meanwhile. So the file is
//! opened a second time here: a sync is the file's, not the descriptor's, and an error of
//! writing back is told to each descriptor once.
//!
//! Invariant: after [`NewestJournal::sync`] everything is on disk that the store had handed to the
//! operating system before the call. The store syncs a journal to its end, and its folder, before
//! it writes to the next one (docs/adr/0011-writing-ahead-of-the-sync.md), so what lies in older
//! ones needs no care.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The journal that the store writes to.
#[derive(Debug)]
pub(crate) struct NewestJournal {
    /// The store's folder.
    folder: PathBuf,
    number: u64,
    file: File,
}

impl NewestJournal {
    /// Finds it in the folder of an open store.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let (number, path) = super::newest(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            number,
            file: File::open(path)?,
        })
    }

    /// Puts on disk what the store has written so far.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        // The store may have begun the next one meanwhile, and written there.
        loop {
            let number = self.number + 1;
            let next = match File::open(super::file_name(&self.folder, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            };
            next.sync_data()?;
            (self.number, self.file) = (number, next);
        }
    }
}
