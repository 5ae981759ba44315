//! The documents service: databases, containers and items on the ledger, spoken to as Azure
//! Cosmos DB for NoSQL.
//!
//! * [`Documents`] is the engine; services above stage items into their own transactions with it
//!   ([`Documents::ensure_container`], [`Documents::stage_create`], [`Documents::query`]).
//! * [`DocumentsService`] is the wire protocol on top of it.
//! * [`operation`] lists every public operation of the original, served or not.
//!
//! Inside: `rules` decides without I/O, `store` knows keys and transactions, `query` walks
//! indexes, `scripting` runs JavaScript, `operations` has a file per operation of the protocol, `wire` what they share.

mod auth;
pub mod error;
pub mod limits;
pub mod operation;
mod operations;
mod query;
pub mod rules;
mod scripting;
mod service;
mod store;
mod throughput;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use identity::SharedKey;
use ledger::{Clock, Ledger, Random};
use parking_lot::Mutex;

pub use auth::master_key::{parse_authorization, sign_request};
pub use error::DocumentsError;
pub use query::QueryPage;
pub use rules::partition_key::{Component, PartitionKey, PartitionKeyDefinition};
pub use scripting::ScriptWorker;
pub use service::DocumentsService;
pub use store::{
    Container, ContainerSpec, ExportPage, ImportError, Item, ItemText, LOG_KIND_CATALOG, LOG_KIND_ITEM,
    NewScript, ScriptKind, StagedItem, StoredItem, StoredPage, SweepReport,
};
pub use throughput::ThroughputUse;

/// An account: a name and the keys that sign for it.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// One or two keys: two while one is being replaced.
    pub keys: Vec<SharedKey>,
    /// None to two keys that only read.
    pub read_only_keys: Vec<SharedKey>,
    /// Host names (without port) that mean this account. The first account of the settings is
    /// taken where no account's hosts fit.
    pub hosts: Vec<String>,
}

/// How the service is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The accounts, at least one.
    pub accounts: Vec<Account>,
    /// The region's name that clients are told.
    pub region: String,
    /// The certificate (PEM) that `/_explorer/emulator.pem` hands out, in development.
    pub development_certificate_pem: Option<String>,
    /// Whether requests to items beyond the provisioned throughput are answered 429.
    pub enforce_throughput: bool,
    /// The program that runs stored procedures, triggers and functions; without it none is run.
    pub script_worker: Option<ScriptWorker>,
}

impl Settings {
    /// One account, for any host.
    #[must_use]
    pub fn single(name: impl Into<String>, key: SharedKey) -> Self {
        Self {
            accounts: vec![Account {
                name: name.into(),
                keys: vec![key],
                read_only_keys: Vec::new(),
                hosts: Vec::new(),
            }],
            region: "Norway East".to_owned(),
            development_certificate_pem: None,
            enforce_throughput: false,
            script_worker: None,
        }
    }
}

/// The engine.
pub struct Documents {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) settings: Settings,
    pub(crate) catalog: store::catalog::Catalog,
    pub(crate) queries: query::QueryCache,
    pub(crate) lacking: query::LackingMemory,
    pub(crate) budgets: throughput::Budgets,
    pub(crate) scripts: scripting::Workers,
    /// The keys that sign resource tokens, by account.
    pub(crate) token_keys: Mutex<HashMap<String, SharedKey>>,
    /// Where the sweep of each container (by number) goes on.
    pub(crate) sweep_positions: Mutex<HashMap<u32, u64>>,
    /// Where the purge that is under way goes on.
    pub(crate) purge_position: Mutex<Option<store::PurgePosition>>,
    pub(crate) usage: store::UsageMemory,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Documents")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Documents {
    /// Stands on a ledger. Nothing is read or written yet.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        settings: Settings,
    ) -> Arc<Self> {
        let scripts = scripting::Workers::new(settings.script_worker.clone());
        Arc::new(Self {
            ledger,
            clock,
            random,
            settings,
            catalog: store::catalog::Catalog::default(),
            queries: query::QueryCache::default(),
            lacking: query::LackingMemory::default(),
            budgets: throughput::Budgets::default(),
            scripts,
            token_keys: Mutex::default(),
            sweep_positions: Mutex::default(),
            purge_position: Mutex::default(),
            usage: store::UsageMemory::default(),
        })
    }
}
