//! The protocol's operations, a file each, named as the protocol names what they are about.

pub(crate) mod acr_deleted;
pub(crate) mod acr_manifests;
pub(crate) mod acr_repository;
pub(crate) mod acr_tags;
pub(crate) mod base;
pub(crate) mod blob;
pub(crate) mod catalog;
pub(crate) mod exchange;
pub(crate) mod manifest;
pub(crate) mod referrers;
pub(crate) mod tags;
pub(crate) mod token;
pub(crate) mod upload;
