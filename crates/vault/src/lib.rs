//! The vault: secrets and keys, sealed in the ledger, spoken to as Azure Key Vault.
//!
//! * [`Vaults`] is engine and wire protocol of any number of vaults; [`http_semantics::Service`] is how
//!   requests reach it.
//! * [`seal`] is how what is secret lies in the ledger; [`crypto`] what is done with keys.
//! * [`operation`] lists every public operation of the original, served or not, and the action each needs.
//! * [`audit`] reads and verifies who asked for what.
//!
//! Inside: `rules` decides without I/O, `store` knows keys and transactions, `operations` has the protocol's
//! operations, `wire` what they share, `auth` who calls.
//!
//! Invariants: nothing is answered before the commit that has its audit row, be it a read or a refusal. A
//! value is in no log, no error, no audit and no `Debug`, and on disk only sealed. Without a root key the vault
//! answers 503, and nothing else of the process is held up.

mod auth;
pub mod crypto;
pub mod error;
pub mod limits;
pub mod operation;
mod operations;
pub mod rules;
pub mod seal;
mod service;
mod store;
mod sweep;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ledger::{Clock, Ledger, Random};
use tokio::sync::Semaphore;

pub use auth::Bearer;
pub use error::{ErrorCode, InnerCode, VaultError};
use limits::{CRYPTO_CONCURRENT_MAX, RECOVERABLE_DAYS_MAX};
use rules::attributes::Recovery;
use rules::roles::Assignment;
use seal::Seal;
pub use store::audit;
pub use store::protection::keep_protection;
use wire::host::Host;

/// One vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vault {
    /// Its name, the first part of its host.
    pub name: String,
    /// How what is deleted is kept.
    pub recovery: Recovery,
    /// Days that rows of its audit are kept; `None`: for ever.
    pub audit_days: Option<u32>,
    /// Who has which roles.
    pub assignments: Vec<Assignment>,
}

impl Vault {
    /// A vault that keeps what is deleted for as long as it can be, and lets nobody in.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            recovery: Recovery {
                days: RECOVERABLE_DAYS_MAX,
                purge_protection: false,
            },
            audit_days: None,
            assignments: Vec::new(),
        }
    }
}

/// How the service is set up.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The vaults.
    pub vaults: Vec<Vault>,
    /// What comes behind `{vault}.` in host names, such as `vault.example.org`.
    pub host_suffixes: Vec<String>,
    /// The ports that hosts may name; `None`: any, for development. A host without one is always taken.
    pub ports: Option<Vec<u16>>,
    /// The vault that `localhost` and its addresses stand for; for development.
    pub loopback_vault: Option<String>,
    /// Whose tokens are taken; `None`: nobody's.
    pub bearer: Option<Bearer>,
}

/// The vaults of a ledger.
pub struct Vaults {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) seal: Arc<Seal>,
    pub(crate) settings: Settings,
    pub(crate) crypto_places: Arc<Semaphore>,
    pub(crate) key_works: AtomicU64,
    pub(crate) refusals: store::refusals::Refusals,
    pub(crate) heads: store::head::HeadsSeen,
}

impl std::fmt::Debug for Vaults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vaults")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Vaults {
    /// The service over a ledger and its opened data keys.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        seal: Arc<Seal>,
        settings: Settings,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            clock,
            random,
            seal,
            settings,
            crypto_places: Arc::new(Semaphore::new(CRYPTO_CONCURRENT_MAX)),
            key_works: AtomicU64::new(0),
            refusals: store::refusals::Refusals::default(),
            heads: store::head::HeadsSeen::default(),
        })
    }

    /// Why there is no root key, if there is none.
    #[must_use]
    pub fn sealed_because(&self) -> Option<&str> {
        self.seal.cause()
    }

    /// How many works with private keys were begun since the start: keys made or taken in, and uses of them.
    #[must_use]
    pub fn key_works(&self) -> u64 {
        self.key_works.load(Ordering::Relaxed)
    }

    /// Now, in Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    /// The vault that a host names, and the host of the resource that tokens for it are for.
    pub(crate) fn vault_at(&self, host: &Host) -> Option<(&Vault, String)> {
        // The port becomes part of the audience, and the client names it: it must be one that the vault has.
        if let (Some(port), Some(ports)) = (host.port, &self.settings.ports)
            && !ports.contains(&port)
        {
            return None;
        }
        let called = |name: &str| {
            let mut vaults = self.settings.vaults.iter();
            vaults.find(|vault| vault.name.eq_ignore_ascii_case(name))
        };
        for suffix in &self.settings.host_suffixes {
            let suffix = suffix.to_ascii_lowercase();
            let name = host.name.strip_suffix(suffix.as_str());
            if let Some(name) = name.and_then(|name| name.strip_suffix('.'))
                && let Some(vault) = called(name)
            {
                return Some((vault, host.with_port(&suffix)));
            }
        }
        let loopback = self
            .settings
            .loopback_vault
            .as_ref()
            .filter(|_| host.is_loopback())?;
        let suffix = self.settings.host_suffixes.first()?;
        Some((called(loopback)?, host.with_port(&suffix.to_ascii_lowercase())))
    }
}
