//! What lies in the ledger, and the transactions that change it.

pub(crate) mod bodies;
pub(crate) mod cache;
pub(crate) mod collect;
pub(crate) mod counts;
pub(crate) mod deleted;
pub(crate) mod keys;
pub(crate) mod links;
pub(crate) mod manifests;
pub(crate) mod policies;
pub(crate) mod records;
mod references;
pub(crate) mod removal;
pub(crate) mod repositories;
pub(crate) mod retention;
pub(crate) mod tags;
pub(crate) mod upload_room;
pub(crate) mod uploads;
pub(crate) mod usage;
mod verify;
pub(crate) mod webhooks;

pub use cache::{Upstream, UpstreamBlob, UpstreamError, UpstreamManifest};
pub use collect::CollectOutcome;
pub use references::ContentReferences;
pub use webhooks::{Receiver, Undelivered, WebhookReport};
