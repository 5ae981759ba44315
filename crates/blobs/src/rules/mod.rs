//! Decisions without I/O.

pub mod block_list;
pub mod conditions;
pub mod lease;
