//! Altinn's Platform Storage: instances, their data, process, events and texts, on the documents
//! and the blobs.
//!
//! * [`Platform`] is the engine; [`PlatformService`] its public HTTP API, [`InternalService`] what
//!   only operators may reach, [`Development`] what stands in for Altinn's other services in `dev`.
//! * [`DecisionPoint`] decides who may do what; [`EmbeddedDecisionPoint`] is one inside.
//! * [`operation`] lists every public operation of the original, served or not.
//!
//! Inside: `rules` decides without I/O, `store` knows keys and transactions, `operations` has the
//! API's operations, `wire` what they share, `auth` who calls, `decision` who may, `jobs` what
//! runs by itself.
//!
//! Invariant: what one operation changes (documents, blobs, events, list rows) is one commit.

mod auth;
pub mod decision;
pub mod development;
pub mod error;
pub mod import;
pub mod jobs;
pub mod limits;
pub mod model;
pub mod operation;
mod operations;
pub mod rules;
mod service;
mod store;
pub mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use blobs::Blobs;
use documents::{ContainerSpec, Documents};
use identity::TokenVerifier;
use ledger::{Clock, Ledger, Random};
use parking_lot::Mutex;

pub use auth::{Caller, PlatformTokens, SystemUser};
pub use decision::{
    Ask, DecisionPoint, EmbeddedDecisionPoint, Register, RegisterSource, RemoteDecisionPoint,
};
pub use development::Development;
pub use error::PlatformError;
pub use jobs::{DeliveryReport, Sink, Undelivered};
pub use rules::outbox::Outbox;
pub use service::{InternalService, PlatformService};
pub use store::{Completion, DATABASE, LOG_KIND_OPERATION, PendingScans, PutAside};

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The documents' account that holds the database `Storage`.
    pub documents_account: String,
    /// The blobs' account that holds the orgs' containers.
    pub blobs_account: String,
    /// The environment's name, a part of the containers' names: `prod`, `tt02`, `dev`.
    pub environment: String,
    /// Where clients reach the platform, without a slash at the end; `None`: where the request
    /// came to. Lists' `next` is built on it, and clients follow that.
    pub platform_url: Option<String>,
    /// Where clients reach apps, `{org}` standing for the owner's code; `None`: as the platform.
    pub apps_url: Option<String>,
    /// Whether somebody takes the scan outbox: without that no content is marked as waiting for its scan.
    pub scans: bool,
    /// Whether content in which malware was found is refused to readers.
    pub refuse_infected: bool,
    /// Whether the portal is told of what happens to instances.
    pub portal_sync: bool,
}

/// What the service stands on.
pub struct Foundation {
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// The documents, on that ledger.
    pub documents: Arc<Documents>,
    /// The blobs, on that ledger.
    pub blobs: Arc<Blobs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Checks tokens.
    pub verifier: TokenVerifier,
    /// Checks the tokens of the platform's own components and of apps.
    pub platform_tokens: PlatformTokens,
    /// Decides.
    pub decision: Arc<dyn DecisionPoint>,
    /// Knows parties.
    pub register: Arc<RegisterSource>,
}

/// The service's engine.
pub struct Platform {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) documents: Arc<Documents>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) verifier: TokenVerifier,
    pub(crate) platform_tokens: PlatformTokens,
    pub(crate) decision: Arc<dyn DecisionPoint>,
    pub(crate) register: Arc<RegisterSource>,
    pub(crate) settings: Settings,
    pub(crate) container_specs: [ContainerSpec; 6],
    pub(crate) schedule: jobs::Schedule,
    pub(crate) applications: store::KnownApplications,
    /// The commit since which lists that a later release added are known to be complete (the largest number if they
    /// aren't), and how far their completion is.
    pub(crate) added_since: AtomicU64,
    pub(crate) adding: Mutex<store::Adding>,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Platform {
    /// The service on its foundation. Nothing is read or written yet.
    #[must_use]
    pub fn new(foundation: Foundation, settings: Settings) -> Arc<Self> {
        let Foundation {
            ledger,
            documents,
            blobs,
            clock,
            random,
            verifier,
            platform_tokens,
            decision,
            register,
        } = foundation;
        Arc::new(Self {
            schedule: jobs::Schedule::starting(clock.now()),
            applications: Default::default(),
            added_since: AtomicU64::new(u64::MAX),
            adding: Mutex::default(),
            ledger,
            documents,
            blobs,
            clock,
            random,
            verifier,
            platform_tokens,
            decision,
            register,
            container_specs: store::container_specs(&settings.documents_account),
            settings,
        })
    }
}
