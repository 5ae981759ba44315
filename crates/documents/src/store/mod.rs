//! Key layout and the transactions that change it.

pub(crate) mod catalog;
mod catalog_log;
pub(crate) mod change_feed;
mod container;
mod copies;
pub(crate) mod databases;
#[cfg(test)]
mod in_memory;
mod index_build;
mod index_change;
mod item;
mod item_index;
pub(crate) mod item_number;
pub(crate) mod items;
pub(crate) mod keys;
mod new_document;
mod numbers;
mod partition_items;
pub(crate) mod permissions;
mod purge;
pub(crate) mod records;
pub(crate) mod scripts;
mod sweep;
mod transfer;
mod usage;
pub(crate) mod users;
mod verify;
mod verify_indexes;
pub(crate) mod versions;

pub use catalog::ContainerSpec;
pub use catalog_log::LOG_KIND_CATALOG;
pub use container::Container;
pub use copies::{StoredItem, StoredPage};
pub use item::{Item, ItemText, StagedItem};
pub use items::LOG_KIND_ITEM;
pub(crate) use purge::PurgePosition;
pub use scripts::{NewScript, ScriptKind};
pub use sweep::SweepReport;
pub use transfer::{ExportPage, ImportError};
pub(crate) use usage::UsageMemory;
