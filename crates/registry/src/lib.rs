//! Container registries on the ledger and the content store, spoken to as the OCI distribution specification and
//! Azure Container Registry say.
//!
//! * [`RegistryService`] is engine and wire protocol; [`http_semantics::Service`] is how requests reach it.
//! * [`ContentReferences`] tells a sweep of the content store what belongs to registries.
//! * [`operation`] lists every public operation of the originals, served or not.
//!
//! Inside: `rules` decides without I/O, `store` knows keys and transactions, `operations` has the protocol's
//! operations, `wire` what they share, `auth` who calls and what they may.
//!
//! Invariants: bytes are on disk before the commit that refers to them; a manifest, its edges, its tags and its
//! log record are one commit; a manifest that was acknowledged has all that it refers to, whatever the
//! collection does beside it.

mod auth;
pub mod error;
pub mod limits;
pub mod operation;
mod operations;
pub mod rules;
mod service;
pub mod settings;
pub mod store;
mod wire;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use content::ContentStore;
use identity::TokenIssuer;
use ledger::{Clock, Ledger, LedgerError, Random, Transaction};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use uuid::Uuid;

use auth::basic::Logins;
pub use error::{ErrorCode, RegistryError};
pub use settings::{Assignee, Assignment, Bearer, CacheRule, Password, Registry, Settings, User, Webhook};
use store::cache::{CacheRoom, Fetches};
use store::policies::Looks;
use store::upload_room::UploadRooms;
use store::webhooks::Pauses;
pub use store::{
    CollectOutcome, ContentReferences, Receiver, Undelivered, Upstream, UpstreamBlob, UpstreamError,
    UpstreamManifest, WebhookReport,
};

/// The registry service.
pub struct RegistryService {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) content: Arc<dyn ContentStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) settings: Settings,
    /// Who signs the tokens of each registry.
    pub(crate) issuers: HashMap<String, Arc<TokenIssuer>>,
    pub(crate) logins: Logins,
    /// Passwords that may be compared at once.
    pub(crate) password_checks: Semaphore,
    /// Uploads that a request of this process writes to.
    pub(crate) writing: Mutex<HashSet<Uuid>>,
    /// How many more may be opened without counting them.
    pub(crate) upload_rooms: UploadRooms,
    /// Where the looks at what policies make due are.
    pub(crate) looks: Mutex<Looks>,
    /// Where the looks at the messages of webhooks that are no longer set up ended, by registry.
    pub(crate) left_messages: Mutex<HashMap<String, ledger::Key>>,
    /// Webhooks whose receiver is away.
    pub(crate) pauses: Mutex<Pauses>,
    /// Blobs that are being fetched from elsewhere.
    pub(crate) fetches: Mutex<Fetches>,
    /// How much of that may be at once, of each registry.
    pub(crate) cache_rooms: HashMap<String, CacheRoom>,
    /// The service itself, for what goes on in the background.
    pub(crate) this: Weak<Self>,
}

impl std::fmt::Debug for RegistryService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegistryService")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The service as requests reach it: an upload goes on to its last byte though its request is dropped.
#[derive(Debug, Clone)]
pub struct Front(pub(crate) Arc<RegistryService>);

impl Front {
    /// The service over a ledger and a content store.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        content: Arc<dyn ContentStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
    ) -> Self {
        Self(RegistryService::new(ledger, content, clock, random, settings))
    }

    /// The engine.
    #[must_use]
    pub fn service(&self) -> &Arc<RegistryService> {
        &self.0
    }
}

impl RegistryService {
    fn new(
        ledger: Arc<dyn Ledger>,
        content: Arc<dyn ContentStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
    ) -> Arc<Self> {
        let issuer = |registry: &Registry| {
            let name = format!("registry {}", registry.name);
            let issuer = TokenIssuer::new(ledger.clone(), clock.clone(), name);
            (registry.name.clone(), Arc::new(issuer))
        };
        let issuers = settings.registries.iter().map(issuer).collect();
        let room = |registry: &Registry| (registry.name.clone(), CacheRoom::default());
        let cache_rooms = settings.registries.iter().map(room).collect();
        let logins = Logins::new(random.as_ref());
        Arc::new_cyclic(|this| Self {
            ledger,
            content,
            clock,
            random,
            settings,
            issuers,
            logins,
            password_checks: Semaphore::new(limits::PASSWORD_CHECKS_MAX),
            writing: Mutex::default(),
            upload_rooms: UploadRooms::default(),
            looks: Mutex::default(),
            left_messages: Mutex::default(),
            pauses: Mutex::default(),
            fetches: Mutex::default(),
            cache_rooms,
            this: this.clone(),
        })
    }

    /// Stages and commits until nobody was quicker, a bounded number of times.
    pub(crate) async fn attempts<T, F>(&self, stage: impl Fn() -> F + Send) -> Result<T, RegistryError>
    where
        T: Send,
        F: Future<Output = Result<(Transaction, T), RegistryError>> + Send,
    {
        for _ in 0..limits::WRITE_ATTEMPTS_MAX {
            let (tx, value) = stage().await?;
            if tx.is_empty() {
                return Ok(value);
            }
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok(value),
                Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ErrorCode::Unavailable.into())
    }
}
