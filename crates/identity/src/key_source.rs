//! Where the public keys that verify tokens come from.
//!
//! Invariant: a source answers with the newest keys it has; a token signed by a key that was
//! replaced since is refused from then on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use parking_lot::Mutex;

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
        let keys: Arc<JwkSet> = Arc::new(serde_json::from_slice(&text).map_err(|error| fault(&error))?);
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
    use super::*;

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
