//! Who calls and what they may do: shared keys, secrets, signed tokens and who issues them.
//!
//! * [`SharedKey`] signs and verifies as Azure Storage and Cosmos DB do.
//! * [`TokenIssuer`] signs JSON Web Tokens with a key that the ledger keeps.
//! * [`TokenVerifier`] checks tokens against a [`KeySource`]: the issuer's own keys, or a file.

pub mod claims;
pub mod issuer;
pub mod key_source;
pub mod secret;
pub mod shared_key;
pub mod token;

pub use claims::Claims;
pub use issuer::{IssuerError, TokenIssuer};
pub use key_source::{FileKeys, KeySource, KeySourceError};
pub use secret::Secret;
pub use shared_key::SharedKey;
pub use token::{TokenError, TokenVerifier};
