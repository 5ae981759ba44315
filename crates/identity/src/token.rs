//! Checks JSON Web Tokens (RFC 7519): signature by a known key, `exp` required, no tolerance unless
//! one is set.
//!
//! Issuer and audience are not looked at: Altinn's services trust whoever holds the platform's
//! keys, and so do we; [`crate::Trust`] is for protocols that look. Only asymmetric algorithms are
//! taken, whatever a token's header says.

use std::sync::Arc;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use ledger::Clock;
use serde_json::{Map, Value};

use crate::Claims;
use crate::key_source::{KeySource, KeySourceError};
use crate::verified_tokens::VerifiedTokens;

/// Longest token that is looked at. Altinn's are about 1.5 KiB; servers cut headers at 16 or 32.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Algorithms that a token may be signed with.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];

/// Why a token isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No token, a malformed one, or one that no known key signed.
    #[error("the token is malformed or not signed by a known key")]
    Invalid,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It will be good later.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The keys can't be had; nothing is known about the token.
    #[error(transparent)]
    Keys(#[from] KeySourceError),
}

/// Verifies tokens.
#[derive(Clone)]
pub struct TokenVerifier {
    keys: Arc<dyn KeySource>,
    clock: Arc<dyn Clock>,
    tolerance_seconds: i64,
    verified: Arc<VerifiedTokens>,
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenVerifier")
    }
}

impl TokenVerifier {
    /// Verifies with the keys of `keys` by the time of `clock`.
    #[must_use]
    pub fn new(keys: Arc<dyn KeySource>, clock: Arc<dyn Clock>) -> Self {
        Self {
            keys,
            clock,
            tolerance_seconds: 0,
            verified: Arc::default(),
        }
    }

    /// Takes tokens that were good up to `seconds` ago or will be in as many: clocks differ.
    #[must_use]
    pub fn with_tolerance(self, seconds: u32) -> Self {
        Self {
            tolerance_seconds: i64::from(seconds),
            ..self
        }
    }

    /// The token's claims, if it is good.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Invalid)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(TokenError::Invalid);
        }
        let mut keys = self.keys.keys().await?;
        if let Some(claims) = self.verified.find(token, &keys) {
            self.check_lifetime(&claims)?;
            return Ok(claims);
        }
        let named = |key: &Jwk| key.common.key_id == header.kid;
        if header.kid.is_some() && !keys.keys.iter().any(named) {
            keys = self.keys.keys_anew().await?;
        }
        let candidates: Vec<&Jwk> = match &header.kid {
            Some(_) => keys.keys.iter().filter(|key| named(key)).collect(),
            None => keys.keys.iter().collect(),
        };
        let claims = candidates
            .into_iter()
            .find_map(|key| signed_by(token, key, header.alg))
            .ok_or(TokenError::Invalid)?;
        let claims = Claims::new(claims);
        self.check_lifetime(&claims)?;
        self.verified.keep(token, keys, claims.clone());
        Ok(claims)
    }

    // The library would ask the machine's clock, and with a tolerance.
    fn check_lifetime(&self, claims: &Claims) -> Result<(), TokenError> {
        let now = self.clock.now().as_second();
        let expires = claims.get("exp").and_then(seconds).ok_or(TokenError::Invalid)?;
        if expires.saturating_add(self.tolerance_seconds) <= now {
            return Err(TokenError::Expired);
        }
        match claims.get("nbf") {
            None => Ok(()),
            Some(begins)
                if seconds(begins)
                    .ok_or(TokenError::Invalid)?
                    .saturating_sub(self.tolerance_seconds)
                    <= now =>
            {
                Ok(())
            }
            Some(_) => Err(TokenError::NotYetValid),
        }
    }
}

/// A NumericDate (RFC 7519, section 2), cut to whole seconds.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a float cast saturates, and cutting is meant"
)]
fn seconds(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

fn signed_by(token: &str, key: &Jwk, algorithm: Algorithm) -> Option<Map<String, Value>> {
    let decoding = DecodingKey::from_jwk(key).ok()?;
    if decoding.family() != algorithm.family() {
        return None;
    }
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    jsonwebtoken::decode::<Map<String, Value>>(token, &decoding, &validation)
        .ok()
        .map(|data| data.claims)
}
