//! Who sent a request.

pub(crate) mod authorise;
pub(crate) mod master_key;
mod resource_token;
