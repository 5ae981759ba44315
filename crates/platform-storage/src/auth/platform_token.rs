//! PlatformAccessToken: what the platform's components and apps show beside, or instead of, a user's token.
//!
//! Invariant: the issuer that a token names chooses among configured keys; what it names is compared again behind
//! the signature.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use identity::token::TOKEN_BYTES_MAX;
use identity::{TokenError, TokenVerifier};
use serde_json::Value;

use crate::error::PlatformError;

/// The header that the token comes in.
const HEADER: &str = "platformaccesstoken";
/// The claim that names the app or component.
const APP: &str = "urn:altinn:app";

/// The issuer of the platform's own components; an app's token is issued by its org.
pub(crate) const PLATFORM: &str = "platform";

/// Whose platform tokens are taken: a verifier for each issuer (`iss`). Without any, none are.
#[derive(Debug, Clone, Default)]
pub struct PlatformTokens(BTreeMap<String, TokenVerifier>);

impl PlatformTokens {
    /// Takes the tokens of `issuers`.
    #[must_use]
    pub fn new(issuers: BTreeMap<String, TokenVerifier>) -> Self {
        Self(issuers)
    }

    /// The issuer of the app or component that calls: an org's code, or [`PLATFORM`].
    ///
    /// # Errors
    /// 401 without a good token of a known issuer, 403 if it names no app; `Internal` if no token can be checked.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<String, PlatformError> {
        let token = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let token = token.ok_or(PlatformError::Unauthorized)?.trim();
        let issuer = named_issuer(token).ok_or(PlatformError::Unauthorized)?;
        let verifier = self.0.get(&issuer).ok_or(PlatformError::Unauthorized)?;
        let claims = match verifier.verify(token).await {
            Ok(claims) => claims,
            Err(error @ TokenError::Keys(_)) => return Err(PlatformError::Internal(error.to_string())),
            Err(_) => return Err(PlatformError::Unauthorized),
        };
        if claims.get("iss").and_then(Value::as_str) != Some(issuer.as_str()) {
            return Err(PlatformError::Unauthorized);
        }
        match claims.text(APP) {
            Some(_) => Ok(issuer),
            None => Err(PlatformError::forbidden("The platform token names no app.")),
        }
    }
}

/// The issuer that a token names, before anything of it is checked.
fn named_issuer(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    Some(claims.get("iss")?.as_str()?.to_owned())
}
