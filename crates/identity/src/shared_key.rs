//! An account's shared key: HMAC-SHA256 over a canonical string, as Azure Storage and Cosmos DB
//! sign their requests.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Secret;

/// A shared key, ready to sign and verify. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SharedKey {
    key: hmac::Key,
    secret: Secret,
}

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

impl SharedKey {
    /// Reads the base64 form that connection strings hold; `None` if it isn't base64 or is empty.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        (!bytes.is_empty()).then(|| Self::from_bytes(bytes))
    }

    /// Takes raw key bytes over.
    #[must_use]
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            secret: Secret::new(bytes),
        }
    }

    /// The base64 signature of `text`.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        STANDARD.encode(hmac::sign(&self.key, text.as_bytes()))
    }

    /// Whether `signature` (base64) is that of `text`; constant time in the signature.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        hmac::verify(&self.key, text.as_bytes(), &signature).is_ok()
    }

    /// Whether both are the same key, in constant time.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.secret.equals(other.secret.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_verifies_and_never_prints() {
        let key = SharedKey::from_base64("c2VjcmV0LWtleQ==").unwrap();
        let signature = key.sign("GET\n");
        assert!(key.verify("GET\n", &signature));
        assert!(!key.verify("PUT\n", &signature));
        assert!(!key.verify("GET\n", "not base64!"));
        assert_eq!(format!("{key:?}"), "SharedKey(..)");
        assert!(SharedKey::from_base64("").is_none());
    }
}
