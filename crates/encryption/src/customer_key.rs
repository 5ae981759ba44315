//! A key that a customer gives with a request. It is kept nowhere: what lies beside content is the key's SHA-256, by
//! which the next request's key is known to be the same.
//!
//! The customer may have made it in any way, so it is extracted first (RFC 5869, section 2.2), with a salt of its own:
//! no key of the ledger is computed the same.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::Random;
use serde::{Deserialize, Serialize};

use crate::DataKey;
use crate::key_file::from_base64;

/// What customers' keys are extracted with.
const SALT: &[u8] = b"stabbur customer key 1";

/// The SHA-256 of a customer's key. It is no secret: the protocol answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// Reads base64.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl From<KeyDigest> for String {
    fn from(digest: KeyDigest) -> Self {
        digest.to_string()
    }
}

impl TryFrom<String> for KeyDigest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("not a key's SHA-256: {text}"))
    }
}

impl DataKey {
    /// A customer's key of 32 bytes, written as base64; `None` if it isn't that. What doesn't decrypt under it is
    /// counted in `damaged`.
    #[must_use]
    pub fn of_customer(base64: &str, random: Arc<dyn Random>, damaged: Arc<AtomicU64>) -> Option<Self> {
        let bytes = from_base64(base64.as_bytes())?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, bytes.as_slice()).as_ref());
        let secret = Salt::new(HKDF_SHA256, SALT).extract(bytes.as_slice());
        Some(Self::of_prk(KeyDigest(sha256), secret, random, damaged))
    }
}

#[cfg(test)]
mod tests {
    use ledger::random::SeededRandom;

    use super::*;
    use crate::{KeyName, KeyNumber};

    fn random() -> Arc<dyn Random> {
        Arc::new(SeededRandom::new(1))
    }

    fn customer(bytes: &[u8]) -> Option<DataKey> {
        DataKey::of_customer(&STANDARD.encode(bytes), random(), Arc::default())
    }

    #[test]
    fn a_key_is_known_by_its_sha256() {
        // SHA-256 of 32 zero bytes, by another implementation: Python's.
        let key = customer(&[0; 32]).unwrap();
        let KeyName::Customer(digest) = key.name() else {
            panic!("a customer's key")
        };
        assert_eq!(digest.to_string(), "Zmh6rfhivXdsj8GLjp+OIAiXFIVu4jOzkCpZHQ1fKSU=");
        assert_eq!(KeyDigest::parse(&digest.to_string()), Some(digest));
        for bad in ["", "AAAA", "no base64"] {
            assert!(KeyDigest::parse(bad).is_none());
        }
    }

    #[test]
    fn other_lengths_and_forms_are_no_key() {
        for length in [0, 16, 31, 33, 64] {
            assert!(customer(&vec![1; length]).is_none(), "{length}");
        }
        for text in ["not base64 at all", &"00".repeat(32)] {
            assert!(
                DataKey::of_customer(text, random(), Arc::default()).is_none(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_under_a_customers_key_is_under_no_other() {
        let key = customer(&[7; 32]).unwrap();
        let (id, encrypted) = key.encrypt_small(b"text").unwrap();
        let again = customer(&[7; 32]).unwrap();
        assert_eq!(again.decrypt_small(id, encrypted.clone()).unwrap(), &b"text"[..]);
        assert!(
            customer(&[8; 32])
                .unwrap()
                .decrypt_small(id, encrypted.clone())
                .is_err()
        );
        // Nor under an account's key of the same bytes.
        let account = DataKey::new(KeyNumber(1), &[7; 32], random(), Arc::default());
        assert!(account.decrypt_small(id, encrypted).is_err());
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = customer(&[0xAB; 32]).unwrap();
        let printed = format!("{key:?} {}", key.name());
        let lower = printed.to_lowercase();
        assert!(!lower.contains("abab") && !printed.contains(&STANDARD.encode([0xAB; 32])));
        assert!(!lower.contains("171, 171"), "{printed}");
    }
}
