//! Encryption of content at rest (docs/adr/0018).
//!
//! * [`KeyEncryptionKey`] is a key from a file: it wraps account keys and nothing else.
//! * [`Keyring`] has the account keys, which lie wrapped in the ledger.
//! * [`DataKey`], an account's key or one that a customer gave, encrypts what is small; [`EncryptedContent`] is a
//!   content store over another one, under one such key.
//!
//! Inside: `frame` encrypts one frame and says how long things become.
//!
//! Invariant: a pair of key and nonce is used once. A content's key is computed from its id, which is random
//! and given to one writing; under it each frame has its number as nonce, and is written once. Keys are wiped
//! when they are dropped, and are in no log, error or `Debug`.

mod customer_key;
mod data_key;
mod error;
mod frame;
mod key_file;
mod keyring;
mod store;
mod wrapping;

pub use customer_key::KeyDigest;
pub use data_key::{DataKey, KeyName, KeyNumber};
pub use error::KeyError;
pub use frame::{encrypted_bytes, plain_bytes};
pub use key_file::read as read_key_file;
pub use keyring::{AccountGeneration, Keyring, has_account_keys};
pub use store::EncryptedContent;
pub use wrapping::KeyEncryptionKey;
