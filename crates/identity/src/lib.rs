//! Who calls and what they may do: shared keys, secrets, signed tokens and who issues them.
//!
//! * [`SharedKey`] signs and verifies as Azure Storage and Cosmos DB do.
//! * [`TokenIssuer`] signs JSON Web Tokens with a key that the ledger keeps.
//! * [`TokenVerifier`] checks tokens against a [`KeySource`]: the issuer's own keys, a file, or an address.
//! * [`Trust`] takes tokens of named issuers for named audiences alone.
//! * [`PasswordHash`] is what is kept of a password.
//! * [`LoginService`] gives tokens to applications that know their secret.
//! * [`KeptSecret`] is a secret that is made here and stays in the ledger.

pub mod claims;
pub mod issuer;
pub mod kept_secret;
pub mod key_source;
pub mod login;
pub mod password;
pub mod remote_keys;
pub mod secret;
pub mod shared_key;
pub mod token;
pub mod trust;
mod verified_tokens;

pub use claims::Claims;
pub use issuer::{IssuerError, TokenIssuer};
pub use kept_secret::KeptSecret;
pub use key_source::{FileKeys, KeySource, KeySourceError};
pub use login::{LoginClient, LoginService, LoginSettings};
pub use password::PasswordHash;
pub use remote_keys::RemoteKeys;
pub use secret::Secret;
pub use shared_key::SharedKey;
pub use token::{TokenError, TokenVerifier};
pub use trust::{Trust, TrustError, TrustedIssuer};
