//! How what is secret lies in the ledger: root key, data keys, sealed records.
//!
//! * [`RootKey`] comes from outside of the ledger, and wraps data keys and nothing else.
//! * [`Seal`] has the data keys, one or more per vault, which lie wrapped in the ledger.
//! * [`DataKey`] seals records: each under a key of its own, computed from a random id.
//!
//! Invariant: a pair of key and nonce is used once, as each sealing has a key of its own. What is sealed is
//! bound to vault, kind, name and version: moved elsewhere in the ledger it doesn't open.

mod aead;
mod data_key;
mod ring;
mod root;

pub use data_key::DataKey;
pub use ring::{RekeyError, Seal, rekey};
pub use root::{RootKey, RootKeyError};

/// Why nothing can be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The root key isn't there: the cause, for the log.
    #[error("the vault is sealed: {0}")]
    Sealed(String),
    /// A record isn't what was sealed for its place.
    #[error("a sealed record is damaged, or isn't where it was written")]
    Damaged,
    /// What can't fail, as the keys and lengths are fixed.
    #[error("the cryptographic library failed while {0}")]
    Library(&'static str),
}
