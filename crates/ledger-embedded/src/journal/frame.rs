//! How the store frames its journal, read without changing anything.
//!
//! A batch is a start (`01`, number of items, the store's own number), that many items (`02`,
//! kind, compression, tree, lengths, key, value) and an end (`03`, checksum, magic), numbers
//! little-endian; docs/format.md draws them. The store's checksum covers the items only: start
//! and end markers are what it can't check, hence this reader. Values are passed over unread, save
//! the head's mark; the store checksums them itself when it replays.
//!
//! Invariant: a batch of ours ends with the head's mark, and its log entries are numbered without
//! a gap up to that mark.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use ledger::Sequence;

use crate::record;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const MAGIC: [u8; 4] = [b'F', b'J', b'L', 3];

const START_BYTES: usize = 1 + 4 + 8;
const ITEM_BYTES: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
const END_BYTES: usize = 1 + 8 + 4;

/// Kinds of items that this engine writes.
const PUT: u8 = 0;
const DELETE: u8 = 1;

/// The last item of a batch and its end.
const TAIL_BYTES: usize = ITEM_BYTES + record::HEAD_KEY.len() + record::HEAD_RECORD_BYTES + END_BYTES;

/// The smallest that a commit can be in the journal: its log entry's item, with key and header.
const COMMIT_BYTES_MIN: u64 = ITEM_BYTES as u64 + 9 + 12;

/// Bytes read at once.
const WINDOW_BYTES: usize = 256 * 1024;

/// Reads a file here and there, keeping the piece that was read last.
pub(super) struct Window<'a> {
    file: &'a File,
    /// The file's length.
    pub(super) length: u64,
    at: u64,
    piece: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self {
            file,
            length: file.metadata()?.len(),
            at: 0,
            piece: Vec::new(),
        })
    }

    /// `length` bytes from `at` on; fewer at the file's end.
    pub(super) fn bytes(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let length = usize::try_from(self.length.saturating_sub(at)).map_or(length, |left| length.min(left));
        let inside = at >= self.at && at + length as u64 <= self.at + self.piece.len() as u64;
        if !inside {
            let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
            self.piece.resize(length.max(WINDOW_BYTES).min(left), 0);
            self.at = at;
            self.file.read_exact_at(&mut self.piece, at)?;
        }
        let from = usize::try_from(at - self.at).unwrap_or(usize::MAX);
        Ok(self.piece.get(from..from + length).unwrap_or_default())
    }

    /// A marker of a fixed size, if there is room for it.
    fn fixed<const N: usize>(&mut self, at: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.bytes(at, N)?.try_into().ok())
    }
}

/// A whole batch of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Batch {
    /// Where its start marker begins.
    pub(super) start: u64,
    /// The byte behind its end marker.
    pub(super) end: u64,
    /// The store's own number of it, which no checksum covers.
    pub(super) number: u64,
    /// Its first log entry, if it has any.
    pub(super) first: Option<Sequence>,
    /// The newest commit behind it.
    pub(super) head: Sequence,
    /// The newest commit that was synced when this was written.
    pub(super) synced: Sequence,
}

impl Batch {
    /// Whether it can stand behind a place where the newest commit was `head` and the store's
    /// number was `number`, with damage of `bytes` between: not before it, and not further on
    /// than so many bytes can hold commits.
    pub(super) fn can_follow(&self, head: Option<Sequence>, number: Option<u64>, bytes: u64) -> bool {
        let after = |one: u64, before: Option<u64>| before.is_none_or(|before| one > before);
        let between = |head: Sequence| self.head - head <= (bytes + self.end - self.start) / COMMIT_BYTES_MIN;
        after(self.head, head) && after(self.number, number) && head.is_none_or(between)
    }
}

/// Why there is no whole batch at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    /// The byte at which it ceases to be one.
    pub(super) at: u64,
    /// What is wrong there, for people.
    pub(super) what: &'static str,
}

/// An item without its key and value.
struct Item {
    put: bool,
    key_bytes: u16,
    value_bytes: u32,
}

impl Item {
    fn bytes(&self) -> u64 {
        ITEM_BYTES as u64 + u64::from(self.key_bytes) + u64::from(self.value_bytes)
    }
}

/// Reads the batch that begins at `start`.
pub(super) fn batch(window: &mut Window<'_>, start: u64) -> io::Result<Result<Batch, Broken>> {
    let broken = |at, what| Ok(Err(Broken { at, what }));
    let Some([START, a, b, c, d, number @ ..]) = window.fixed::<START_BYTES>(start)? else {
        return broken(start, "no batch begins here");
    };
    let items = u32::from_le_bytes([a, b, c, d]);
    let number = u64::from_le_bytes(number);
    if number >= 1 << 63 {
        return broken(start, "the batch's number is impossible");
    }
    let mut at = start + START_BYTES as u64;
    let (mut first, mut last, mut head) = (None, None::<Sequence>, None);
    for _ in 0..items {
        let Some(item) = window.fixed::<ITEM_BYTES>(at)?.and_then(|bytes| item(&bytes)) else {
            return broken(at, "an item of the batch is malformed");
        };
        if at + item.bytes() > window.length {
            return broken(at, "an item reaches past the file's end");
        }
        head = None;
        let key = window.bytes(at + ITEM_BYTES as u64, usize::from(item.key_bytes.min(9)))?;
        if item.key_bytes == 9 && item.put {
            if let Ok(sequence) = record::log_sequence(key) {
                if last.is_some_and(|last| last + 1 != sequence) {
                    return broken(at, "a log entry is out of order");
                }
                first = first.or(Some(sequence));
                last = Some(sequence);
            }
        } else if usize::from(item.key_bytes) == record::HEAD_KEY.len()
            && item.put
            && key == record::HEAD_KEY
            && item.value_bytes as usize == record::HEAD_RECORD_BYTES
        {
            let value = at + ITEM_BYTES as u64 + record::HEAD_KEY.len() as u64;
            head = record::read_head(window.bytes(value, record::HEAD_RECORD_BYTES)?).ok();
        }
        at += item.bytes();
    }
    let Some([END, .., m0, m1, m2, m3]) = window.fixed::<END_BYTES>(at)? else {
        return broken(at, "the batch's end is missing");
    };
    if [m0, m1, m2, m3] != MAGIC {
        return broken(at, "the batch's end is malformed");
    }
    let head = head.map(|(mark, synced)| (mark.sequence, synced));
    let Some((head, synced)) = head.filter(|(head, _)| last.is_none_or(|last| last == *head)) else {
        return broken(start, "the batch doesn't close with the head's mark");
    };
    Ok(Ok(Batch {
        start,
        end: at + END_BYTES as u64,
        number,
        first,
        head,
        synced,
    }))
}

fn item(bytes: &[u8; ITEM_BYTES]) -> Option<Item> {
    let [ITEM, kind, compression, rest @ ..] = bytes else {
        return None;
    };
    let (_tree, rest) = rest.split_first_chunk::<8>()?;
    let (key_bytes, rest) = rest.split_first_chunk::<2>()?;
    let (value_bytes, stored_bytes) = rest.split_first_chunk::<4>()?;
    let item = Item {
        put: *kind == PUT,
        key_bytes: u16::from_le_bytes(*key_bytes),
        value_bytes: u32::from_le_bytes(*value_bytes),
    };
    // Nothing is compressed in the journal, so both lengths are the same.
    (matches!(*kind, PUT | DELETE) && *compression == 0 && value_bytes == stored_bytes).then_some(item)
}

/// The first whole batch in `from..to` that can follow the last good one.
pub(super) fn later_batch(
    window: &mut Window<'_>,
    from: u64,
    to: u64,
    before: Option<&Batch>,
) -> io::Result<Option<Batch>> {
    let mut at = from;
    while at < to {
        let length = usize::try_from(to - at).map_or(WINDOW_BYTES, |left| left.min(WINDOW_BYTES));
        // Looked for in a copy: trying a place moves the window.
        let piece = window.bytes(at, length)?.to_vec();
        if piece.is_empty() {
            break;
        }
        let item_behind = |place: &usize| match piece.get(place + START_BYTES) {
            Some(byte) => *byte == ITEM,
            None => true,
        };
        let places = piece
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == START)
            .map(|(place, _)| place);
        for place in places.filter(item_behind) {
            let start = at + place as u64;
            if let Ok(found) = batch(window, start)?
                && found.can_follow(
                    before.map(|batch| batch.head),
                    before.map(|batch| batch.number),
                    start - from,
                )
            {
                return Ok(Some(found));
            }
        }
        at += piece.len() as u64;
    }
    Ok(None)
}

/// Whether what ends at `end` is the end of a whole batch that stands behind `head`: the head's
/// mark, sound, and an end marker.
pub(super) fn closes_a_batch(window: &mut Window<'_>, end: u64, head: Option<Sequence>) -> io::Result<bool> {
    let Some(start) = end.checked_sub(TAIL_BYTES as u64) else {
        return Ok(false);
    };
    let Some(tail) = window.fixed::<TAIL_BYTES>(start)? else {
        return Ok(false);
    };
    let Some((mark, [END, .., m0, m1, m2, m3])) = tail.split_last_chunk::<END_BYTES>() else {
        return Ok(false);
    };
    let parts = mark
        .split_first_chunk::<ITEM_BYTES>()
        .and_then(|(header, rest)| Some((item(header)?, rest.strip_prefix(record::HEAD_KEY)?)));
    let Some((_, value)) = parts else {
        return Ok(false);
    };
    let newer = |sequence: Sequence| head.is_none_or(|head| sequence > head);
    Ok([*m0, *m1, *m2, *m3] == MAGIC && record::read_head(value).is_ok_and(|(mark, _)| newer(mark.sequence)))
}
