//! `HEAD`: a note outside the store of the newest acknowledged commit and its chain hash.
//!
//! The store replays its journal when it opens, and some kinds of damage end the replay early
//! without an error. The witness is how that is found: a store that ends before it is refused.
//!
//! Invariant: it is written after a group's sync and never ahead of the store. Two slots take
//! turns, so a torn write leaves the other one; it is synced only now and then, so after a power
//! loss it may be older than the store, which is harmless.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ledger::Sequence;

use crate::record::crc32c;

const MAGIC: &[u8; 8] = b"STBHEAD1";
/// One slot a page: a torn page can't take both.
const SLOT_STRIDE_BYTES: u64 = 4_096;
const SLOT_BYTES: usize = 8 + 8 + 32 + 4;

/// The newest acknowledged commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) sequence: Sequence,
    pub(crate) chain: [u8; 32],
}

/// The open witness file.
#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
    next_slot: u64,
}

impl Witness {
    /// Creates (or replaces) the file, both slots holding `mark`, synced.
    pub(crate) fn create(path: &Path, mark: Mark) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        file.set_len(2 * SLOT_STRIDE_BYTES)?;
        let mut witness = Self { file, next_slot: 0 };
        witness.write(mark)?;
        witness.write(mark)?;
        witness.file.sync_all()?;
        Ok(witness)
    }

    /// Opens the file; the mark is `None` if neither slot is sound.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Option<Mark>)> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let newest = slots.iter().flatten().max_by_key(|mark| mark.sequence).copied();
        // The older (or damaged) slot is the next to be written.
        let [first, second] = slots.map(|slot| slot.map(|mark| mark.sequence));
        Ok((
            Self {
                file,
                next_slot: u64::from(first > second),
            },
            newest,
        ))
    }

    /// Notes `mark`. Not synced.
    pub(crate) fn write(&mut self, mark: Mark) -> io::Result<()> {
        let mut slot = Vec::with_capacity(SLOT_BYTES);
        slot.extend_from_slice(MAGIC);
        slot.extend_from_slice(&mark.sequence.to_be_bytes());
        slot.extend_from_slice(&mark.chain);
        slot.extend_from_slice(&crc32c(&[&slot]).to_be_bytes());
        self.file
            .write_all_at(&slot, self.next_slot * SLOT_STRIDE_BYTES)?;
        self.next_slot = 1 - self.next_slot;
        Ok(())
    }

    /// Puts what was written on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<Mark>> {
    let mut bytes = [0; SLOT_BYTES];
    match file.read_exact_at(&mut bytes, slot * SLOT_STRIDE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    Ok(decode_slot(&bytes))
}

fn decode_slot(bytes: &[u8; SLOT_BYTES]) -> Option<Mark> {
    let (content, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c(&[content]).to_be_bytes() != *crc {
        return None;
    }
    let rest = content.strip_prefix(MAGIC)?;
    let (sequence, chain) = rest.split_first_chunk::<8>()?;
    Some(Mark {
        sequence: u64::from_be_bytes(*sequence),
        chain: chain.try_into().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(sequence: Sequence) -> Mark {
        Mark {
            sequence,
            chain: [u8::try_from(sequence % 251).unwrap(); 32],
        }
    }

    #[test]
    fn the_newest_mark_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("HEAD");
        let mut witness = Witness::create(&path, mark(0)).unwrap();
        for sequence in 1..=5 {
            witness.write(mark(sequence)).unwrap();
            assert_eq!(Witness::open(&path).unwrap().1, Some(mark(sequence)));
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_other() {
        for newest in [4, 5] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("HEAD");
            let mut witness = Witness::create(&path, mark(0)).unwrap();
            for sequence in 1..=newest {
                witness.write(mark(sequence)).unwrap();
            }
            // Damage the slot that was written last.
            let slot = 1 - witness.next_slot;
            witness
                .file
                .write_all_at(&[0xA5], slot * SLOT_STRIDE_BYTES + 20)
                .unwrap();
            let (mut reopened, found) = Witness::open(&path).unwrap();
            assert_eq!(found, Some(mark(newest - 1)));
            // The next write goes to the damaged slot, not over the good one.
            reopened.write(mark(newest + 1)).unwrap();
            assert_eq!(
                read_slot(&reopened.file, 1 - slot).unwrap(),
                Some(mark(newest - 1))
            );
            assert_eq!(read_slot(&reopened.file, slot).unwrap(), Some(mark(newest + 1)));
        }
    }

    #[test]
    fn two_damaged_slots_or_a_cut_file_give_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("HEAD");
        let witness = Witness::create(&path, mark(7)).unwrap();
        witness.file.set_len(10).unwrap();
        assert_eq!(Witness::open(&path).unwrap().1, None);
    }
}
