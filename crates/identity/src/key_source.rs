//! Where the public keys that verify tokens come from.
//!
//! Invariant: a source answers with the newest keys it has; a token signed by a key that was
//! replaced since is refused from then on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use parking_lot::Mutex;
use serde::Deserialize;

/// Largest key set that is read, in bytes: hundreds of keys.
pub const KEY_SET_BYTES_MAX: u64 = 256 * 1024;

/// Why there are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the keys that verify tokens can't be read: {0}")]
pub struct KeySourceError(pub String);

/// Gives the public keys of whoever issues tokens.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// The keys.
    ///
    /// # Errors
    /// The cause, for people.
    async fn keys(&self) -> Result<Arc<JwkSet>, KeySourceError>;

    /// The keys, for a token whose key isn't among those that [`Self::keys`] gave. A source that keeps
    /// what it read for a while looks again, as far as it may.
    ///
    /// # Errors
    /// The cause, for people.
    async fn keys_anew(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        self.keys().await
    }
}

#[derive(Deserialize)]
struct AnySet {
    keys: Vec<serde_json::Value>,
}

/// The keys of a JSON Web Key Set that can verify tokens. Others are left out, as RFC 7517 (section 5) asks:
/// of unknown kinds, for other uses, or malformed.
///
/// # Errors
/// The text is no set, or none of its keys can verify a token.
pub(crate) fn read_key_set(text: &[u8]) -> Result<JwkSet, String> {
    let set: AnySet = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let given = set.keys.len();
    let keys: Vec<Jwk> = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value(key).ok())
        .filter(can_verify)
        .collect();
    if keys.is_empty() {
        return Err(format!("none of its {given} keys can verify tokens"));
    }
    Ok(JwkSet { keys })
}

/// Whether `key` is public, for signatures, and of a kind that tokens are taken with.
fn can_verify(key: &Jwk) -> bool {
    let is_for_signatures = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let is_known = match &key.algorithm {
        AlgorithmParameters::RSA(_) => true,
        AlgorithmParameters::EllipticCurve(key) => {
            matches!(key.curve, EllipticCurve::P256 | EllipticCurve::P384)
        }
        _ => false,
    };
    is_for_signatures && is_known && DecodingKey::from_jwk(key).is_ok()
}

#[derive(Debug)]
struct Read {
    modified: Option<SystemTime>,
    length_bytes: u64,
    keys: Arc<JwkSet>,
}

/// A JSON Web Key Set (RFC 7517, section 5) in a file, read again when the file changes.
#[derive(Debug)]
pub struct FileKeys {
    path: PathBuf,
    last: Mutex<Option<Read>>,
}

impl FileKeys {
    /// Keys in the file at `path`. Nothing is read yet.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            last: Mutex::default(),
        }
    }

    fn read(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        let fault =
            |cause: &dyn std::fmt::Display| KeySourceError(format!("{}: {cause}", self.path.display()));
        let metadata = std::fs::metadata(&self.path).map_err(|error| fault(&error))?;
        let (modified, length_bytes) = (metadata.modified().ok(), metadata.len());
        if let Some(last) = self.last.lock().as_ref()
            && last.modified == modified
            && last.length_bytes == length_bytes
        {
            return Ok(last.keys.clone());
        }
        if length_bytes > KEY_SET_BYTES_MAX {
            return Err(fault(&format!(
                "{length_bytes} bytes, at most {KEY_SET_BYTES_MAX} are read"
            )));
        }
        let text = std::fs::read(&self.path).map_err(|error| fault(&error))?;
        let keys = Arc::new(read_key_set(&text).map_err(|error| fault(&error))?);
        *self.last.lock() = Some(Read {
            modified,
            length_bytes,
            keys: keys.clone(),
        });
        Ok(keys)
    }
}

#[async_trait]
impl KeySource for FileKeys {
    // A small local file, read once and then only asked for its time: not worth a thread.
    async fn keys(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        self.read()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(keys: &Value) -> Result<Vec<String>, String> {
        let set = read_key_set(json!({ "keys": keys }).to_string().as_bytes())?;
        Ok(set.keys.into_iter().filter_map(|key| key.common.key_id).collect())
    }

    fn unusable() -> Vec<Value> {
        let ec = |curve: &str| json!({"kty": "EC", "kid": curve, "crv": curve, "x": "AQAB", "y": "AQAB"});
        vec![
            json!({"kty": "RSA", "kid": "enc", "use": "enc", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "tls", "use": "tls", "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "no base64", "n": "!", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": "no modulus", "e": "AQAB"}),
            json!({"kty": "RSA", "kid": 7, "n": "AQAB", "e": "AQAB"}),
            json!({"kty": "oct", "kid": "oct", "k": "AQAB"}),
            json!({"kty": "OKP", "kid": "okp", "crv": "Ed25519", "x": "AQAB"}),
            json!({"kty": "AKP", "kid": "akp", "alg": "ML-DSA-44", "pub": "AQAB"}),
            ec("P-521"),
            ec("secp256k1"),
            json!({}),
            json!("key"),
            Value::Null,
        ]
    }

    #[test]
    fn keys_that_cannot_verify_are_left_out() {
        let mut keys = unusable();
        keys.insert(
            2,
            json!({"kty": "RSA", "kid": "rsa", "use": "sig", "n": "AQAB", "e": "AQAB"}),
        );
        keys.push(json!({"kty": "EC", "kid": "ec", "crv": "P-256", "x": "AQAB", "y": "AQAB"}));
        assert_eq!(
            read(&Value::Array(keys)),
            Ok(vec!["rsa".to_owned(), "ec".to_owned()])
        );
    }

    #[test]
    fn a_set_without_a_usable_key_is_none() {
        for key in unusable() {
            assert!(read(&json!([key])).is_err(), "{key}");
        }
        let error = read(&Value::Array(unusable())).unwrap_err();
        assert_eq!(error, "none of its 13 keys can verify tokens");
        assert!(read(&json!([])).is_err());
        assert!(read(&json!({})).is_err());
        assert!(read_key_set(b"[]").is_err());
    }

    #[test]
    fn a_missing_file_says_which() {
        let source = FileKeys::new(PathBuf::from("/nonexistent/keys.json"));
        assert!(
            source
                .read()
                .unwrap_err()
                .to_string()
                .contains("/nonexistent/keys.json")
        );
    }
}
