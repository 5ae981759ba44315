//! Who sent a request.

pub(crate) mod master_key;
