//! The journal as it lies there, looked at before the store opens and replays it.
//!
//! The store takes whatever doesn't parse for a torn tail and cuts the journal there, for good,
//! also when damage in the middle is the cause and whole batches follow. So each journal is walked
//! first, read-only, and damage is told from a torn tail:
//!
//! * what a crash tore lies behind everything that was synced, in the newest journal, and was never
//!   acknowledged. Whole batches may follow it, as later ones are written while earlier ones are
//!   being synced; each of them says how far the journal was synced when it was written;
//! * if one of those says that it was synced, if `HEAD` witnesses commits that would be cut, or if
//!   nothing of it is missing as torn writes leave it, something was damaged later: the folder is
//!   refused while everything is still there for rescue.
//!
//! Invariant: nothing is written here. What a kill leaves (a beginning of a batch, then zeros or
//! the file's end) is never refused. docs/adr/0007-journal-check.md has the limits of this.

mod ahead;
mod frame;
mod newest;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ledger::Sequence;
use rustix::fs::SeekFrom;

pub(crate) use self::ahead::ZerosAhead;
pub(crate) use self::newest::NewestJournal;

use self::frame::{Batch, Broken, Window};
use crate::OpenError;

/// Where a torn write can have left a hole: disks write whole sectors.
const SECTOR_BYTES: usize = 512;

/// Bytes looked through at once for what isn't zero.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// What the journals say about the store that is about to replay them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Log entries that the store must have once it is open, unless they were trimmed: they
    /// stand where a journal begins or ends, so a skipped batch or a lost file shows there.
    pub(crate) must_be_logged: Vec<Sequence>,
    /// Whole batches met.
    pub(crate) batches: u64,
    /// Where the newest journal is torn, if it is: file and byte.
    pub(crate) torn: Option<(PathBuf, u64)>,
}

/// Walks the journals in `folder`; `acknowledged` is what `HEAD` witnesses, if it is readable.
///
/// # Errors
/// [`OpenError::JournalDamaged`] names file and byte; [`OpenError::Io`] if a file can't be read.
pub(crate) fn walk(folder: &Path, acknowledged: Option<Sequence>) -> Result<Walked, OpenError> {
    let journals = journals(folder).map_err(io_error(folder, "listing the journals"))?;
    let mut walked = Walked::default();
    let mut before: Option<Batch> = None;
    let mut previous_id = None;
    for (place, (id, path)) in journals.iter().enumerate() {
        // A journal that is missing in between may have been let go of: its commits are in tables.
        let adjoins = previous_id.is_none_or(|previous: u64| previous + 1 == *id);
        previous_id = Some(*id);
        let newest = place + 1 == journals.len();
        let io = io_error(path, "reading the journal");
        let file = File::open(path).map_err(&io)?;
        let mut journal = Journal {
            window: Window::new(&file).map_err(&io)?,
            path,
        };
        let in_older = before;
        let stopped = journal.batches(&mut before, &mut walked)?;
        let used = used_bytes(&file, journal.window.length, stopped.at).map_err(&io)?;
        if used > stopped.at {
            if !newest {
                return Err(journal.damaged(stopped.at, &stopped.broken, "a newer journal follows"));
            }
            journal.torn_or_damaged(&stopped, used, before.as_ref(), acknowledged)?;
            walked.torn = Some((path.clone(), stopped.at));
        } else if newest && (adjoins || before != in_older) {
            let end = Broken {
                at: stopped.at,
                what: "the journal ends here",
            };
            journal.reaches(stopped.at, &end, before.as_ref(), acknowledged)?;
        }
    }
    Ok(walked)
}

/// Journals with their numbers, oldest first.
fn journals(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        // That the store is gone is told by who opens it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        let number = path
            .extension()
            .filter(|extension| *extension == "jnl")
            .and_then(|_| path.file_stem()?.to_str()?.parse().ok());
        // Names that the store itself can't make sense of are the store's to refuse.
        found.extend(number.map(|number: u64| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// The newest journal of an open store.
fn newest(folder: &Path) -> io::Result<(u64, PathBuf)> {
    journals(folder)?
        .pop()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the store has no journal"))
}

/// Where the store keeps the journal of this number.
fn file_name(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number}.jnl"))
}

/// Where the walk through a journal came to an end.
struct Stopped {
    /// Behind the last whole batch.
    at: u64,
    /// Why no batch begins there.
    broken: Broken,
}

/// One journal under inspection.
struct Journal<'a> {
    window: Window<'a>,
    path: &'a Path,
}

impl Journal<'_> {
    /// Walks whole batches, each of which must go on where the one before ended.
    fn batches(&mut self, before: &mut Option<Batch>, walked: &mut Walked) -> Result<Stopped, OpenError> {
        let mut at = 0;
        loop {
            let found =
                frame::batch(&mut self.window, at).map_err(io_error(self.path, "reading the journal"))?;
            let batch = match found {
                Ok(batch) => batch,
                Err(broken) => return Ok(Stopped { at, broken }),
            };
            let begins = batch.first.unwrap_or(batch.head);
            if let Some(before) = before {
                self.goes_on(before, &batch, at > 0)?;
            }
            if at == 0 {
                // What lies between the journals, or before the oldest one, must be in tables; and
                // the store skips a batch whose number it takes for one that is.
                let gap = before.map(|before| before.head + 1).filter(|gap| *gap < begins);
                walked.must_be_logged.extend(gap);
                walked.must_be_logged.extend([begins.saturating_sub(1), begins]);
            }
            walked.batches += 1;
            at = batch.end;
            *before = Some(batch);
        }
    }

    /// The numbers of a batch are under no checksum of the store's; out of order, it would replay
    /// old over new or skip a batch.
    fn goes_on(&self, before: &Batch, batch: &Batch, same_file: bool) -> Result<(), OpenError> {
        let broken = |what| Broken {
            at: batch.start,
            what,
        };
        if batch.number <= before.number {
            return Err(self.damaged(
                batch.start,
                &broken("a batch's number goes back"),
                "batches are numbered upwards",
            ));
        }
        let gap = match batch.first {
            Some(first) => first != before.head + 1,
            None => batch.head != before.head,
        };
        let back = batch.first.unwrap_or(batch.head) <= before.head && batch.first.is_some();
        if back || (gap && same_file) {
            let detail = format!("the batch before ends with commit {}", before.head);
            return Err(self.damaged(batch.start, &broken("a batch's commits don't follow"), &detail));
        }
        Ok(())
    }

    /// Tells a torn tail from damage at `stopped`, with content up to `used`.
    fn torn_or_damaged(
        &mut self,
        stopped: &Stopped,
        used: u64,
        before: Option<&Batch>,
        acknowledged: Option<Sequence>,
    ) -> Result<(), OpenError> {
        let io = io_error(self.path, "reading the journal");
        self.reaches(stopped.at, &stopped.broken, before, acknowledged)?;
        let later = |journal: &mut Self, from, before: Option<&Batch>| {
            frame::later_batch(&mut journal.window, from, used, before).map_err(&io)
        };
        let head = before.map(|batch| batch.head);
        if let Some(follows) = later(self, stopped.at + 1, before)? {
            let torn = self.has_hole(stopped.at, follows.start).map_err(&io)?;
            // The newest commit that may be in what is broken.
            let broken_through = follows.first.unwrap_or(follows.head + 1).saturating_sub(1);
            let broken_from = head.map_or(broken_through, |head| head + 1);
            let mut next = Some(follows);
            while let Some(batch) = next {
                if !torn || batch.synced >= broken_from {
                    let detail = format!(
                        "a whole batch follows at byte {}, through commit {}",
                        batch.start, batch.head
                    );
                    return Err(self.damaged(stopped.at, &stopped.broken, &detail));
                }
                next = later(self, batch.end, Some(&batch))?;
            }
            return Ok(());
        }
        if frame::closes_a_batch(&mut self.window, used, head).map_err(&io)?
            && !self.has_hole(stopped.at, used).map_err(&io)?
        {
            return Err(self.damaged(
                stopped.at,
                &stopped.broken,
                "the batch was written to its end, and synced",
            ));
        }
        Ok(())
    }

    /// Fails if acknowledged commits lie behind the last whole batch.
    fn reaches(
        &self,
        offset: u64,
        broken: &Broken,
        before: Option<&Batch>,
        acknowledged: Option<Sequence>,
    ) -> Result<(), OpenError> {
        match (before, acknowledged) {
            (Some(before), Some(acknowledged)) if before.head < acknowledged => {
                let detail = format!(
                    "commits {} through {acknowledged} were acknowledged and should follow",
                    before.head + 1
                );
                Err(self.damaged(offset, broken, &detail))
            }
            // Without a batch before, the tables may reach as far; that is checked once open.
            _ => Ok(()),
        }
    }

    /// Whether a sector in `from..to` is zero, as where a power loss left a write half done; of
    /// the first one, what belongs to it.
    fn has_hole(&mut self, from: u64, to: u64) -> io::Result<bool> {
        let sector = SECTOR_BYTES as u64;
        let mut at = from.next_multiple_of(sector);
        let begun = usize::try_from(at.min(to) - from).unwrap_or(SECTOR_BYTES);
        if begun > 0 && self.window.bytes(from, begun)?.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        while at + sector <= to {
            if self.window.bytes(at, SECTOR_BYTES)?.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            at += sector;
        }
        Ok(false)
    }

    /// The batch at `offset` is damaged: where the store would cut.
    fn damaged(&self, offset: u64, broken: &Broken, detail: &str) -> OpenError {
        OpenError::JournalDamaged {
            file: self.path.to_owned(),
            offset,
            detail: format!("{} (byte {}); {detail}", broken.what, broken.at),
        }
    }
}

/// The end of what isn't zero behind `from`; `from` if there is nothing. Journals are made large
/// in advance, mostly as a hole, which is passed over unread.
fn used_bytes(file: &File, length: u64, from: u64) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    let mut piece = vec![0; ZEROS.len()];
    let (mut at, mut used) = (from, from);
    while at < length {
        match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => at = data.max(at),
            // Nothing but a hole is left.
            Err(rustix::io::Errno::NXIO) => return Ok(used),
            // A file system that doesn't know holes: everything is read.
            Err(_) => {}
        }
        let wanted =
            usize::try_from(length.saturating_sub(at)).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        let part = piece.get_mut(..wanted).unwrap_or_default();
        file.read_exact_at(part, at)?;
        if ZEROS.get(..wanted) != Some(&*part)
            && let Some(last) = part.iter().rposition(|byte| *byte != 0)
        {
            used = at + last as u64 + 1;
        }
        at += wanted as u64;
    }
    Ok(used)
}

fn io_error(path: &Path, doing: &'static str) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io {
        path: path.clone(),
        doing,
        source,
    }
}
