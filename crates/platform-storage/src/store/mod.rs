//! What lies in the ledger, and the transactions that change it.

mod added_lists;
mod applications;
mod elements;
mod events;
mod imported;
mod instances;
pub(crate) mod keys;
mod list;
mod locks;
mod message_box;
mod mutations;
mod outbox;
mod pending;
mod place;
mod put_aside;
mod texts;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use documents::{Container, ContainerSpec, ItemText};
use ledger::{Keyspace, LedgerError, LogRecord, Snapshot, Transaction};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use added_lists::Adding;
pub use added_lists::Completion;
pub(crate) use applications::KnownApplications;
pub(crate) use elements::StoredElement;
pub(crate) use list::Candidates;
pub(crate) use message_box::BoxSearch;
pub(crate) use mutations::Done;
pub(crate) use outbox::{Due, Round};
pub use pending::PendingScans;
pub use put_aside::PutAside;
pub(crate) use texts::text_id;

use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, RETRY_MILLISECONDS_MAX};

/// The database that holds the metadata.
pub const DATABASE: &str = "Storage";

/// The kind of this service's records in the log.
pub const LOG_KIND_OPERATION: u8 = 1;

/// Containers of the database with their partition keys, as the original had them.
const CONTAINERS: [(&str, &str); 6] = [
    ("applications", "/org"),
    ("texts", "/org"),
    ("instances", "/instanceOwner/partyId"),
    ("dataElements", "/instanceGuid"),
    ("instanceEvents", "/instanceId"),
    ("leases", "/id"),
];

/// What is made of [`CONTAINERS`] where it is missing.
pub(crate) fn container_specs(account: &str) -> [ContainerSpec; 6] {
    CONTAINERS.map(|(container, path)| ContainerSpec {
        account: account.to_owned(),
        database: DATABASE.to_owned(),
        container: container.to_owned(),
        partition_key_paths: vec![path.to_owned()],
        default_ttl: None,
        indexing_policy: None,
    })
}

/// The containers.
#[derive(Debug)]
pub(crate) struct Containers {
    pub(crate) applications: Arc<Container>,
    pub(crate) texts: Arc<Container>,
    pub(crate) instances: Arc<Container>,
    pub(crate) data_elements: Arc<Container>,
    pub(crate) instance_events: Arc<Container>,
}

/// The store at one commit: what an operation reads and decides by.
pub(crate) struct View {
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) containers: Containers,
}

impl View {
    pub(crate) fn snapshot(&self) -> &dyn Snapshot {
        self.snapshot.as_ref()
    }
}

/// A document as it was read: what it says, and the etag that a change of it demands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored<T> {
    pub(crate) value: T,
    pub(crate) etag: String,
}

impl<T: DeserializeOwned> Stored<T> {
    fn read(item: ItemText) -> Result<Self, PlatformError> {
        let value = serde_json::from_slice(&item.text)
            .map_err(|error| PlatformError::Internal(format!("a document of {DATABASE}: {error}")))?;
        Ok(Self {
            value,
            etag: item.etag,
        })
    }
}

/// The form that is stored.
pub(crate) fn to_document<T: serde::Serialize>(value: &T) -> Result<Value, PlatformError> {
    serde_json::to_value(value).map_err(|error| PlatformError::Internal(error.to_string()))
}

/// Counts the attempts of one operation to commit.
#[derive(Debug, Default)]
pub(crate) struct Attempts(u32);

impl Platform {
    /// The store as it is now. Containers that are missing are made: they are looked for in
    /// memory, so that costs microseconds once they are there.
    pub(crate) async fn view(&self) -> Result<View, PlatformError> {
        let [applications, texts, instances, data_elements, instance_events, _] = &self.container_specs;
        let containers = Containers {
            applications: self.documents.ensure_container(applications).await?,
            texts: self.documents.ensure_container(texts).await?,
            instances: self.documents.ensure_container(instances).await?,
            data_elements: self.documents.ensure_container(data_elements).await?,
            instance_events: self.documents.ensure_container(instance_events).await?,
        };
        Ok(View {
            snapshot: self.ledger.snapshot().await?,
            containers,
        })
    }

    /// Commits. False if others were quicker and the operation is to be tried again with what is
    /// there now.
    pub(crate) async fn commit(
        &self,
        tx: Transaction,
        attempts: &mut Attempts,
    ) -> Result<bool, PlatformError> {
        match self.ledger.commit(tx).await {
            Ok(_) => Ok(true),
            Err(LedgerError::Conflict(_)) if attempts.0 < COMMIT_ATTEMPTS_MAX => {
                attempts.0 += 1;
                let wait = self.random.u64() % (RETRY_MILLISECONDS_MAX * 1_000);
                tokio::time::sleep(Duration::from_micros(wait)).await;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Says in the log what was done, to what, by whom.
pub(crate) fn log(tx: &mut Transaction, operation: &str, subject: &str, caller: &Caller) {
    let payload = json!({"op": operation, "subject": subject, "by": caller.performed_by()});
    tx.record(LogRecord {
        keyspace: Keyspace::Platform,
        kind: LOG_KIND_OPERATION,
        payload: payload.to_string().into(),
    });
}
