//! What can be wrong with keys. Secrets are in none of it.

use std::path::PathBuf;

use ledger::LedgerError;

use crate::KeyNumber;

/// A key that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key file that isn't taken.
    #[error("key-encryption key {}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        cause: String,
    },
    /// No configured key-encryption key unwraps an account key.
    #[error(
        "account key {number} of account {account} is wrapped by key-encryption key {wrapped_by}, and only {configured} \
         can be used; add the file of {wrapped_by} to the list: without it the account's content can't be read"
    )]
    NotConfigured {
        /// The account key.
        number: KeyNumber,
        /// Its account.
        account: String,
        /// The name of the key that wraps it.
        wrapped_by: String,
        /// The names of the keys that there are.
        configured: String,
    },
    /// A wrapped key that isn't what was stored.
    #[error(
        "account key {number} of account {account} doesn't unwrap with key-encryption key {wrapped_by}: its record is \
         damaged; restore the ledger from a backup"
    )]
    Damaged {
        /// The account key.
        number: KeyNumber,
        /// Its account.
        account: String,
        /// The name of the key that wraps it.
        wrapped_by: String,
    },
    /// The list of files has a key twice, or none.
    #[error("{0}")]
    List(String),
    /// Cryptography failed where it never should.
    #[error("the cryptographic library failed while {0}")]
    Library(&'static str),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}
