//! How keys and values lie in the store.
//!
//! One tree holds everything, told apart by a first byte: data, log, and the engine's own marks.
//! One tree, not several, because a tree's recent writes reach their table together: whatever
//! part of the journal is lost then takes log entries with it, and a missing log entry is found.
//!
//! Invariant: each value begins with a checksum over its key, sequence number and content, so a
//! value that was altered, cut or put under another key is never answered.

use crc_fast::{CrcAlgorithm, Digest};
use ledger::{Key, LedgerError, Sequence};

use crate::witness::Mark;

/// Data keys: this byte, then the ledger key.
const DATA: u8 = b'd';
/// Log entries: this byte, then the sequence number, 8 bytes, big-endian.
const LOG: u8 = b'l';
/// The newest commit: its sequence number and its chain hash, and the newest commit that was on
/// disk when this was written; rewritten with each group.
pub(crate) const HEAD_KEY: &[u8] = b"mhead";
/// How far the log was trimmed: the newest entry's sequence number and chain hash.
pub(crate) const TRIMMED_KEY: &[u8] = b"mtrimmed";

/// Checksum and sequence number.
const HEADER_BYTES: usize = 4 + 8;
/// Chain hash and the number of the newest synced commit.
const HEAD_BYTES: usize = 32 + 8;
/// The head's mark as it is stored.
pub(crate) const HEAD_RECORD_BYTES: usize = HEADER_BYTES + HEAD_BYTES;

/// CRC-32C over the parts.
pub(crate) fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    // The algorithm's result has 32 bits.
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}

/// The stored form of a ledger key.
pub(crate) fn data_key(key: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(1 + key.len());
    write_data_key(&mut stored, key);
    stored
}

/// Makes `out` the stored form of a ledger key.
pub(crate) fn write_data_key(out: &mut Vec<u8>, key: &[u8]) {
    out.clear();
    out.push(DATA);
    out.extend_from_slice(key);
}

/// The stored key behind every data key.
pub(crate) fn data_end() -> Vec<u8> {
    vec![DATA + 1]
}

/// The ledger key of a stored one.
pub(crate) fn ledger_key(stored: &[u8]) -> Result<Key, LedgerError> {
    match stored.split_first() {
        Some((&DATA, key)) => Ok(Key::from_encoded(bytes::Bytes::copy_from_slice(key))),
        _ => Err(damaged(stored, "not a data key")),
    }
}

/// The stored key of a log entry.
pub(crate) fn log_key(sequence: Sequence) -> Vec<u8> {
    let mut stored = Vec::with_capacity(9);
    stored.push(LOG);
    stored.extend_from_slice(&sequence.to_be_bytes());
    stored
}

/// The sequence number of a stored log key.
pub(crate) fn log_sequence(stored: &[u8]) -> Result<Sequence, LedgerError> {
    let number = stored
        .strip_prefix(&[LOG])
        .and_then(|number| number.try_into().ok());
    number
        .map(u64::from_be_bytes)
        .ok_or_else(|| damaged(stored, "not a log key"))
}

/// The stored form of `value` under `stored_key`, written by commit `sequence`.
pub(crate) fn seal(stored_key: &[u8], sequence: Sequence, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + value.len());
    write_sealed(&mut record, stored_key, sequence, value);
    record
}

/// Makes `out` the stored form of `value`, as [`seal`] does.
pub(crate) fn write_sealed(out: &mut Vec<u8>, stored_key: &[u8], sequence: Sequence, value: &[u8]) {
    let sequence = sequence.to_be_bytes();
    out.clear();
    out.extend_from_slice(&crc32c(&[stored_key, &sequence, value]).to_be_bytes());
    out.extend_from_slice(&sequence);
    out.extend_from_slice(value);
}

/// Checks a stored record; gives its sequence number and value.
pub(crate) fn unseal<'a>(stored_key: &[u8], record: &'a [u8]) -> Result<(Sequence, &'a [u8]), LedgerError> {
    let parts = record.split_first_chunk::<4>().and_then(|(crc, rest)| {
        rest.split_first_chunk::<8>()
            .map(|(sequence, value)| (crc, sequence, value))
    });
    let Some((crc, sequence, value)) = parts else {
        return Err(damaged(stored_key, "the record is cut short"));
    };
    if crc32c(&[stored_key, sequence, value]).to_be_bytes() != *crc {
        return Err(damaged(stored_key, "the record's checksum doesn't match"));
    }
    Ok((u64::from_be_bytes(*sequence), value))
}

/// The head's mark, sealed: what the newest commit is behind a group, and which one was synced
/// when the group was written.
pub(crate) fn head(head: Mark, synced: Sequence) -> Vec<u8> {
    let mut content = [0; HEAD_BYTES];
    let (chain, number) = content.split_at_mut(head.chain.len());
    chain.copy_from_slice(&head.chain);
    number.copy_from_slice(&synced.to_be_bytes());
    seal(HEAD_KEY, head.sequence, &content)
}

/// Reads a head's mark: the newest commit, and which one was synced.
pub(crate) fn read_head(record: &[u8]) -> Result<(Mark, Sequence), LedgerError> {
    let (sequence, content) = unseal(HEAD_KEY, record)?;
    let parts = content
        .split_first_chunk::<32>()
        .and_then(|(chain, synced)| Some((*chain, synced.try_into().ok()?)));
    let (chain, synced) = parts.ok_or_else(|| damaged(HEAD_KEY, "the mark has the wrong length"))?;
    Ok((Mark { sequence, chain }, u64::from_be_bytes(synced)))
}

/// Reads the mark of how far the log was trimmed.
pub(crate) fn read_trimmed(record: &[u8]) -> Result<Mark, LedgerError> {
    let (sequence, chain) = unseal(TRIMMED_KEY, record)?;
    let chain = chain
        .try_into()
        .map_err(|_| damaged(TRIMMED_KEY, "the mark has the wrong length"))?;
    Ok(Mark { sequence, chain })
}

/// The error for a damaged record.
pub(crate) fn damaged(stored_key: &[u8], what: &str) -> LedgerError {
    LedgerError::Corrupt(format!("key {}: {what}", stored_key.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_checksum_is_crc32c() {
        // The check value that catalogues give for CRC-32C (Castagnoli).
        assert_eq!(crc32c(&[b"123456789"]), 0xE306_9283);
        assert_eq!(crc32c(&[b"1234", b"", b"56789"]), 0xE306_9283);
    }

    #[test]
    fn log_keys_are_read_back_and_sorted() {
        assert!(log_key(255) < log_key(256));
        assert_eq!(log_sequence(&log_key(77)).unwrap(), 77);
        assert!(log_sequence(b"l123").is_err());
        assert!(log_sequence(&data_key(b"12345678")).is_err());
    }

    proptest! {
        #[test]
        fn a_sealed_record_is_read_back(key: Vec<u8>, sequence: u64, value: Vec<u8>) {
            let stored = data_key(&key);
            let record = seal(&stored, sequence, &value);
            prop_assert_eq!(unseal(&stored, &record).unwrap(), (sequence, value.as_slice()));
        }

        #[test]
        fn any_flipped_bit_is_found(key: Vec<u8>, sequence: u64, value: Vec<u8>, at: prop::sample::Index, bit in 0u32..8) {
            let stored = data_key(&key);
            let mut record = seal(&stored, sequence, &value);
            let at = at.index(record.len());
            record[at] ^= 1u8 << bit;
            prop_assert!(unseal(&stored, &record).is_err());
        }

        #[test]
        fn a_record_under_another_key_is_found(a: Vec<u8>, b: Vec<u8>, value: Vec<u8>) {
            prop_assume!(a != b);
            prop_assert!(unseal(&data_key(&b), &seal(&data_key(&a), 1, &value)).is_err());
        }
    }
}
