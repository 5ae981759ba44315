//! The blob service: containers and block blobs on the ledger and the content store, spoken to as
//! Azure Blob Storage.
//!
//! * [`Blobs`] is engine and wire protocol; [`http_semantics::Service`] is how requests reach it.
//! * [`operation`] lists every public operation of the original, served or not.
//!
//! Inside: `rules` decides without I/O, `store` knows keys and transactions, `operations` has the
//! protocol's operations, `wire` what they share, `auth` its ways of signing.
//!
//! Invariant: content is on disk before the commit that refers to it; a blob's record, its
//! references and its log record are one commit.

mod auth;
pub mod error;
pub mod limits;
pub mod operation;
mod operations;
pub mod rules;
mod service;
pub mod store;
mod wire;

use std::sync::Arc;

use content::ContentStore;
use identity::SharedKey;
use ledger::{Clock, Ledger, Random};

pub use error::{BlobsError, ErrorCode};
pub use store::{BlobHeaders, OpenBlob, StagedContent};

/// A storage account: a name and the keys that sign for it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// One or two keys: two while one is being replaced.
    pub keys: Vec<SharedKey>,
    /// Whether its containers may be opened to anonymous reads (`allowBlobPublicAccess`).
    pub allows_public_access: bool,
    /// Whether writes to its blobs make versions (`isVersioningEnabled`).
    pub versioning: bool,
}

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Host suffixes that come behind `{account}.`, such as `blob.example.org`. Requests to other
    /// hosts name the account as the first part of the path.
    pub host_suffixes: Vec<String>,
}

/// The blob service.
pub struct Blobs {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) content: Arc<dyn ContentStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) settings: Settings,
    pub(crate) page_queues: store::pages::Queues,
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blobs")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Blobs {
    /// The service over a ledger and a content store.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        content: Arc<dyn ContentStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            content,
            clock,
            random,
            settings,
            page_queues: store::pages::Queues::default(),
        })
    }

    pub(crate) fn account(&self, name: &str) -> Option<&Account> {
        self.settings.accounts.iter().find(|account| account.name == name)
    }
}
