//! A vault's data key, unwrapped: it seals records.
//!
//! A sealed record: `01`, the data key's number (4, BE), an id (16), then the encrypted bytes and their tag.

use std::fmt;

use ledger::Random;
use zeroize::Zeroizing;

use super::SealError;
use super::aead::{ID_BYTES, KeyBytes, TAG_BYTES, decrypt, derive, encrypt};

/// The first byte of a sealed record.
const FORMAT: u8 = 1;

/// Bytes before the encrypted ones.
const HEAD_BYTES: usize = 1 + 4 + ID_BYTES;

const LABEL: &str = "stabbur vault record";

/// A data key.
pub struct DataKey {
    pub(crate) number: u32,
    pub(crate) bytes: KeyBytes,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DataKey").field(&self.number).finish()
    }
}

/// The number of the data key that a record is sealed under.
pub(crate) fn number_of(record: &[u8]) -> Result<u32, SealError> {
    let (format, rest) = record.split_first().ok_or(SealError::Damaged)?;
    let number = rest.first_chunk::<4>().ok_or(SealError::Damaged)?;
    (*format == FORMAT)
        .then(|| u32::from_be_bytes(*number))
        .ok_or(SealError::Damaged)
}

impl DataKey {
    /// Seals `parts`, one behind the other, for the place that `bound` names.
    ///
    /// # Errors
    /// [`SealError::Library`].
    pub fn seal(&self, random: &dyn Random, bound: &[u8], parts: &[&[u8]]) -> Result<Vec<u8>, SealError> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut plain = Vec::with_capacity(length + TAG_BYTES);
        for part in parts {
            plain.extend_from_slice(part);
        }
        let mut id = [0; ID_BYTES];
        random.fill(&mut id);
        encrypt(&self.bytes, LABEL, &id, bound, &mut plain)?;
        let mut record = Vec::with_capacity(HEAD_BYTES + plain.len());
        record.push(FORMAT);
        record.extend_from_slice(&self.number.to_be_bytes());
        record.extend_from_slice(&id);
        record.extend_from_slice(&plain);
        Ok(record)
    }

    /// Opens what [`Self::seal`] made for the same place.
    ///
    /// # Errors
    /// [`SealError::Damaged`].
    pub fn open(&self, bound: &[u8], record: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if number_of(record)? != self.number {
            return Err(SealError::Damaged);
        }
        let behind = record.get(5..).ok_or(SealError::Damaged)?;
        let (id, encrypted) = behind.split_first_chunk::<ID_BYTES>().ok_or(SealError::Damaged)?;
        let mut bytes = Zeroizing::new(encrypted.to_vec());
        decrypt(&self.bytes, LABEL, id, bound, &mut bytes)?;
        Ok(bytes)
    }

    /// A key for another purpose that is computed from this one.
    ///
    /// # Errors
    /// [`SealError::Library`].
    pub(crate) fn derived(&self, label: &str) -> Result<KeyBytes, SealError> {
        let mut out: KeyBytes = Zeroizing::new([0; 32]);
        derive(&self.bytes, label, &[], out.as_mut_slice())?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use ledger::random::SeededRandom;
    use proptest::prelude::*;

    use super::*;

    fn key(number: u32, byte: u8) -> DataKey {
        DataKey {
            number,
            bytes: Zeroizing::new([byte; 32]),
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_in_its_place_alone(value: Vec<u8>, bound: Vec<u8>, other: Vec<u8>, at: usize) {
            let random = SeededRandom::new(3);
            let record = key(7, 1).seal(&random, &bound, &[&value, b"-", &value]).unwrap();
            let opened = key(7, 1).open(&bound, &record).unwrap();
            prop_assert_eq!(opened.as_slice(), [&value, b"-".as_slice(), &value].concat());
            if other != bound {
                prop_assert_eq!(key(7, 1).open(&other, &record), Err(SealError::Damaged));
            }
            prop_assert_eq!(key(7, 2).open(&bound, &record), Err(SealError::Damaged));
            prop_assert_eq!(key(8, 1).open(&bound, &record), Err(SealError::Damaged));
            let mut bent = record.clone();
            let at = at % bent.len();
            bent[at] ^= 1;
            prop_assert_eq!(key(7, 1).open(&bound, &bent), Err(SealError::Damaged));
            prop_assert_eq!(key(7, 1).open(&bound, &record[..at]), Err(SealError::Damaged));
        }
    }

    #[test]
    fn sealed_again_it_is_another_text_and_nothing_of_it_is_printed() {
        let random = SeededRandom::new(3);
        let one = key(1, 9).seal(&random, b"a", &[b"value"]).unwrap();
        let two = key(1, 9).seal(&random, b"a", &[b"value"]).unwrap();
        assert_ne!(one[HEAD_BYTES..], two[HEAD_BYTES..]);
        assert_eq!(number_of(&one), Ok(1));
        assert_eq!(format!("{:?}", key(1, 9)), "DataKey(1)");
    }
}
