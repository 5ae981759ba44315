//! What is done with keys. Private keys are PKCS#8, opened for one operation and wiped behind it.
//!
//! Everything that a private key takes part in is the library's, which does it in constant time. What it
//! doesn't do isn't here.

pub mod algorithm;
pub mod jwk;
mod operate;

pub use algorithm::{Curve, Encryption, Signing};
pub use jwk::{ImportedKey, KeySpec, MadeKey};
pub use operate::{decrypt, encrypt, sign, verify};

/// Why a key or an operation with it isn't possible: for the client, and nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// What was given is wrong.
    #[error("{0}")]
    Bad(String),
    /// The library failed where it can't.
    #[error("the cryptographic library failed while {0}")]
    Library(&'static str),
}

impl CryptoError {
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::Bad(text.into())
    }
}
