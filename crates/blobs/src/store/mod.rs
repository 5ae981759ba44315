//! What lies in the ledger, and the transactions that change it.

pub(crate) mod account;
pub(crate) mod blobs;
pub(crate) mod blocks;
pub(crate) mod change_feed;
pub(crate) mod change_log;
pub(crate) mod containers;
pub(crate) mod contents;
pub(crate) mod deleted_containers;
pub(crate) mod holdings;
pub(crate) mod immutability;
mod in_process;
pub(crate) mod keys;
pub(crate) mod last_access;
pub(crate) mod listing;
pub(crate) mod map_sweep;
mod page_body;
pub(crate) mod page_maps;
pub(crate) mod pages;
pub(crate) mod records;
mod scrub;
pub(crate) mod segment;
pub(crate) mod snapshots;
mod soft_delete;
pub(crate) mod staging;
pub(crate) mod states;
pub(crate) mod steps;
mod sweep;
pub(crate) mod tags;
#[cfg(test)]
mod test_service;
pub(crate) mod uploads;
mod verify;
mod verify_pages;
mod versions;
mod watched_body;

pub use in_process::OpenBlob;
pub use records::BlobHeaders;
pub use scrub::{Damage, ScrubReport};
pub use staging::StagedContent;
pub use sweep::SweepOutcome;
