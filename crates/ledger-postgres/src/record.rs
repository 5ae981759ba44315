//! How values lie in the tables: a checksum over key, sequence number and content before the
//! content, so a value that was altered, cut or put under another key is never answered.

use crc_fast::{CrcAlgorithm, Digest};
use ledger::{LedgerError, Sequence};

fn crc32c(key: &[u8], sequence: Sequence, value: &[u8]) -> [u8; 4] {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(key);
    digest.update(&sequence.to_be_bytes());
    digest.update(value);
    // The algorithm's result has 32 bits.
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX).to_be_bytes()
}

/// The stored form of `value` under `key`, written by commit `sequence`.
pub(crate) fn seal(key: &[u8], sequence: Sequence, value: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(4 + value.len());
    record.extend_from_slice(&crc32c(key, sequence, value));
    record.extend_from_slice(value);
    record
}

/// Checks a stored record; gives its value.
pub(crate) fn unseal<'a>(key: &[u8], sequence: Sequence, record: &'a [u8]) -> Result<&'a [u8], LedgerError> {
    let damaged = |what: &str| LedgerError::Corrupt(format!("key {}: {what}", key.escape_ascii()));
    let (crc, value) = record
        .split_first_chunk::<4>()
        .ok_or_else(|| damaged("the record is cut short"))?;
    if crc32c(key, sequence, value) != *crc {
        return Err(damaged("the record's checksum doesn't match"));
    }
    Ok(value)
}

/// The key that a log entry is sealed under.
pub(crate) fn log_key(sequence: Sequence) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = b'l';
    key[1..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// A sequence number as the tables hold it. They end at 2^63, which a ledger of a million commits
/// a second reaches after 292,000 years.
pub(crate) fn to_column(sequence: Sequence) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

/// A sequence number of a column.
pub(crate) fn from_column(value: i64) -> Result<Sequence, LedgerError> {
    Sequence::try_from(value).map_err(|_| LedgerError::Corrupt(format!("{value} is no sequence number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_is_noticed() {
        let sealed = seal(b"key", 7, b"value");
        assert_eq!(unseal(b"key", 7, &sealed).unwrap(), b"value");
        assert!(unseal(b"kez", 7, &sealed).is_err());
        assert!(unseal(b"key", 8, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(unseal(b"key", 7, &changed).is_err(), "byte {at}");
            assert!(unseal(b"key", 7, &sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
