//! Decisions without I/O.

pub mod access_policy;
pub mod append;
pub mod avro;
pub mod block_list;
pub mod change_event;
pub mod conditions;
pub mod cors;
pub mod deletion;
pub mod firewall;
pub mod immutability;
pub mod lease;
pub mod lifecycle;
pub mod pages;
pub mod roles;
pub mod structured;
pub mod tags;
pub mod tier;
