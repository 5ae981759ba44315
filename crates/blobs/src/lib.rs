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
mod counters;
pub mod error;
pub mod limits;
pub mod operation;
mod operations;
pub mod rules;
mod service;
pub mod store;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use content::ContentStore;
use encryption::Keyring;
use identity::{KeptSecret, SharedKey};
use ledger::{Clock, Ledger, Random};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

pub use auth::bearer::Bearer;
use counters::Counters;
pub use error::{BlobsError, ErrorCode};
use rules::firewall::Network;
use rules::roles::Assignment;
pub use store::{BlobHeaders, Damage, OpenBlob, ScrubReport, StagedContent};

/// A storage account: a name, the keys that sign for it, and who else is let in.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// One or two keys: two while one is being replaced. None where they don't count.
    pub keys: Vec<SharedKey>,
    /// Whether what is signed with the keys counts (`allowSharedKeyAccess`).
    pub allows_shared_key: bool,
    /// Whether its containers may be opened to anonymous reads (`allowBlobPublicAccess`).
    pub allows_public_access: bool,
    /// Whether writes to its blobs make versions (`isVersioningEnabled`).
    pub versioning: bool,
    /// Whether blobs of all of its containers can be protected (`immutableStorageWithVersioning`): with
    /// immutability policies and legal holds, which need versioning.
    pub immutable_storage: bool,
    /// Containers whose blobs can be protected, where those of others can't.
    pub immutable_containers: Vec<String>,
    /// Whether requests without TLS are refused (`supportsHttpsTrafficOnly`).
    pub https_only: bool,
    /// From where it is reached; from everywhere if none is named.
    pub networks: Vec<Network>,
    /// Who has which roles.
    pub roles: Vec<Assignment>,
    /// Whether changes of its blobs go into a feed (`changeFeed`).
    pub change_feed: Option<ChangeFeed>,
    /// Whether it is kept when blobs were read last (`lastAccessTimeTrackingPolicy`).
    pub last_access_time_tracking: bool,
    /// What happens to its blobs as they grow old, if anything does.
    pub lifecycle: Option<Lifecycle>,
    /// Parts of it that have keys of their own.
    pub encryption_scopes: Vec<EncryptionScope>,
    /// Part of all user delegation keys: with another number those given out before sign no more.
    pub delegation_generation: u32,
}

impl Account {
    /// An account with these keys, and otherwise as new ones are: closed to anonymous reads, without
    /// roles.
    #[must_use]
    pub fn new(name: impl Into<String>, keys: Vec<SharedKey>) -> Self {
        Self {
            name: name.into(),
            keys,
            allows_shared_key: true,
            allows_public_access: false,
            versioning: false,
            immutable_storage: false,
            immutable_containers: Vec::new(),
            https_only: false,
            networks: Vec::new(),
            roles: Vec::new(),
            change_feed: None,
            last_access_time_tracking: false,
            lifecycle: None,
            encryption_scopes: Vec::new(),
            delegation_generation: 0,
        }
    }
}

/// An encryption scope of an account, which the keyring has a key for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptionScope {
    /// Its name.
    pub name: String,
    /// Whether what is under it is read and written.
    pub enabled: bool,
}

/// An account's change feed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeFeed {
    /// How often changes are added to it; 0: in each round of the background work.
    pub interval_seconds: u32,
    /// How long they stay in it, in days (`retentionInDays`); `None`: for ever.
    pub retention_days: Option<u32>,
}

/// An account's lifecycle rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle {
    /// The rules.
    pub policy: rules::lifecycle::Policy,
    /// Whether the log says what would be done, and nothing is.
    pub dry_run: bool,
}

/// How the service is set up.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// Host suffixes that come behind `{account}.`, such as `blob.example.org`. Requests to other
    /// hosts name the account as the first part of the path.
    pub host_suffixes: Vec<String>,
    /// Host suffixes that come behind `{account}.` for static websites; without any there are none.
    pub web_host_suffixes: Vec<String>,
    /// How bearer tokens are taken; `None`: not at all.
    pub bearer: Option<Bearer>,
    /// The keys that content is encrypted with, opened for all accounts; `None`: what is new stays plain.
    pub keyring: Option<Arc<Keyring>>,
    /// Whether clients on this machine may send customer-provided keys without TLS: for development alone.
    pub local_keys_in_clear: bool,
}

/// The blob service.
pub struct Blobs {
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The store itself, for what is about contents as wholes.
    pub(crate) content: Arc<dyn ContentStore>,
    /// The store for whoever reads and writes.
    pub(crate) contents: store::contents::Contents,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) settings: Settings,
    pub(crate) page_queues: store::pages::Queues,
    /// The secret behind the user delegation keys of each account.
    pub(crate) delegation_secrets: HashMap<String, KeptSecret>,
    /// When feeds were written last, by account, on the monotonic clock.
    pub(crate) feeds_written: Mutex<HashMap<String, Duration>>,
    /// What bounds the notes of reads that are under way.
    pub(crate) access_notes: Arc<Semaphore>,
    pub(crate) counters: Counters,
    /// What strangers are told.
    pub(crate) challenge: http::HeaderValue,
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
        let secret = |account: &Account| {
            let name = format!("blobs delegation {}", account.name);
            KeptSecret::new(ledger.clone(), random.clone(), name)
        };
        let delegation_secrets = settings
            .accounts
            .iter()
            .map(|account| (account.name.clone(), secret(account)))
            .collect();
        let challenge = auth::bearer::challenge(settings.bearer.as_ref());
        let contents = store::contents::Contents::new(content.clone(), settings.keyring.clone());
        Arc::new(Self {
            ledger,
            content,
            contents,
            clock,
            random,
            settings,
            page_queues: store::pages::Queues::default(),
            delegation_secrets,
            feeds_written: Mutex::default(),
            access_notes: Arc::new(Semaphore::new(limits::LAST_ACCESS_NOTES_MAX)),
            counters: Counters::default(),
            challenge,
        })
    }

    pub(crate) fn account(&self, name: &str) -> Option<&Account> {
        self.settings.accounts.iter().find(|account| account.name == name)
    }
}
