//! Writes zeros into the newest journal ahead of the store.
//!
//! The store makes a journal 64 MiB long but leaves it a hole: each sync then also has to put on
//! disk which blocks the file was given. Into blocks that it already has, a sync is a third
//! shorter (docs/adr/0011-writing-ahead-of-the-sync.md).
//!
//! Invariant: only holes are written to, so nothing that anyone reads ever changes. The committer
//! does this between two groups: nobody else writes to the journal. Any failure is harmless: syncs
//! are as they would be without.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};

use crate::limits;

static ZEROS: [u8; limits::JOURNAL_AHEAD_BYTES] = [0; limits::JOURNAL_AHEAD_BYTES];

/// Bytes of a hole that are looked at before zeros are written to it.
const CHECKED_BYTES: usize = 16 * 1024;

/// The journal that the store writes to, and how much of it was used since zeros were written.
#[derive(Debug)]
pub(crate) struct ZerosAhead {
    /// The store's folder.
    folder: PathBuf,
    number: u64,
    file: File,
    used: usize,
    /// The system or the disk doesn't go along: nothing is tried until the next journal.
    refused: bool,
}

impl ZerosAhead {
    /// Finds the newest journal in the folder of an open store.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let (number, path) = super::newest(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            number,
            file: open(&path)?,
            // The first group is followed by the first zeros.
            used: limits::JOURNAL_AHEAD_BYTES,
            refused: false,
        })
    }

    /// About `bytes` were written; writes zeros if those that were there are soon used up.
    pub(crate) fn used(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
        if self.used < limits::JOURNAL_AHEAD_BYTES / 4 * 3 {
            return;
        }
        self.used = 0;
        if let Err(error) = self.follow().and_then(|()| self.write()) {
            self.refused = true;
            tracing::debug!(%error, "no zeros are written ahead in the journal");
        }
    }

    /// Goes on to the journal that the store has begun meanwhile, if it has.
    fn follow(&mut self) -> io::Result<()> {
        loop {
            let number = self.number + 1;
            let next = match open(&super::file_name(&self.folder, number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            };
            (self.number, self.file, self.refused) = (number, next, false);
        }
    }

    fn write(&self) -> io::Result<()> {
        if self.refused {
            return Ok(());
        }
        let length = self.file.metadata()?.len();
        let hole = seek(&self.file, SeekFrom::Hole(0))?;
        // A journal that was reopened is as long as what it holds: it isn't to grow.
        if hole.saturating_add(ZEROS.len() as u64) > length {
            return Ok(());
        }
        // A file system that is wrong about holes would be so about what was written last.
        let mut found = [0; CHECKED_BYTES];
        self.file.read_exact_at(&mut found, hole)?;
        if !ZEROS.starts_with(&found) {
            return Err(io::Error::other("what is called a hole has content"));
        }
        self.file.write_all_at(&ZEROS, hole)
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const BEFORE: &[u8] = b"what the store has written";

    fn journal(length: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("4.jnl");
        fs::write(&path, BEFORE).unwrap();
        open(&path).unwrap().set_len(length).unwrap();
        (folder, path)
    }

    fn hole(path: &Path) -> u64 {
        seek(File::open(path).unwrap(), SeekFrom::Hole(0)).unwrap()
    }

    #[test]
    fn zeros_are_written_ahead_and_content_stays() {
        let (folder, path) = journal(8 * 1024 * 1024);
        let before = fs::read(&path).unwrap();
        let mut ahead = ZerosAhead::open(folder.path()).unwrap();
        let begun = hole(&path);
        assert!(begun < 1024 * 1024, "this file system has no holes: {begun}");
        ahead.used(1);
        let written = hole(&path);
        assert!(written >= begun + ZEROS.len() as u64);
        ahead.used(100);
        assert_eq!(hole(&path), written, "there is still enough");
        for _ in 0..40 {
            ahead.used(limits::JOURNAL_AHEAD_BYTES);
        }
        assert!(hole(&path) > 7 * 1024 * 1024);
        assert!(fs::read(&path).unwrap() == before, "content or length changed");
    }

    #[test]
    fn the_next_journal_is_followed_and_a_short_one_left_alone() {
        let (folder, path) = journal(8 * 1024 * 1024);
        let mut ahead = ZerosAhead::open(folder.path()).unwrap();
        let next = folder.path().join("5.jnl");
        fs::write(&next, BEFORE).unwrap();
        ahead.used(1);
        assert_eq!(fs::metadata(&next).unwrap().len(), BEFORE.len() as u64);
        let third = folder.path().join("6.jnl");
        File::create(&third).unwrap().set_len(4 * 1024 * 1024).unwrap();
        let first = hole(&path);
        ahead.used(limits::JOURNAL_AHEAD_BYTES);
        assert_eq!((hole(&third), hole(&path)), (ZEROS.len() as u64, first));
    }
}
