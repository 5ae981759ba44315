//! Who calls and what they may do: shared keys, principals, tokens, audit.

pub mod secret;
pub mod shared_key;

pub use secret::Secret;
pub use shared_key::SharedKey;
