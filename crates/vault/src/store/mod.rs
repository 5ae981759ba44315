//! What the ledger holds of vaults: keys, records, and the transactions that change them.

pub mod audit;
pub(crate) mod event;
pub(crate) mod head;
pub(crate) mod keys;
pub(crate) mod objects;
pub(crate) mod protection;
pub(crate) mod records;
pub(crate) mod refusals;
pub(crate) mod retention;
