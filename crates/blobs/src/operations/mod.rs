//! The protocol's operations, by the resource they are about.

pub(crate) mod acl;
pub(crate) mod append;
pub(crate) mod batch;
pub(crate) mod blob;
pub(crate) mod block;
pub(crate) mod container;
pub(crate) mod copy;
pub(crate) mod cors;
pub(crate) mod delegation_key;
pub(crate) mod delete;
pub(crate) mod demands;
pub(crate) mod encryption;
pub(crate) mod from_url;
pub(crate) mod immutability;
pub(crate) mod incremental_copy;
pub(crate) mod lease;
pub(crate) mod lifecycle;
pub(crate) mod list;
pub(crate) mod page_list;
pub(crate) mod pages;
pub(crate) mod service;
pub(crate) mod snapshot;
pub(crate) mod source;
pub(crate) mod tags;
pub(crate) mod tier;
pub(crate) mod undelete;
