//! Who calls: tokens in, [`Caller`] out.

mod caller;
mod platform_token;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};
use identity::{Claims, TokenError, TokenVerifier};

pub use caller::{Caller, SystemUser};
pub(crate) use caller::{SCOPE_INSTANCES_READ, SCOPE_SYNC_ADAPTER};
pub(crate) use platform_token::PLATFORM;
pub use platform_token::PlatformTokens;

use crate::error::PlatformError;

/// The cookie that carries a user's token in a browser.
pub(crate) const COOKIE_NAME: &str = "AltinnStudioRuntime";

/// The caller of a request: by its bearer token, or by the cookie.
///
/// # Errors
/// [`PlatformError::Unauthorized`] without a good token; `Internal` if no token can be checked.
pub(crate) async fn authenticate(
    verifier: &TokenVerifier,
    headers: &HeaderMap,
) -> Result<Caller, PlatformError> {
    verified(verifier, headers)
        .await
        .map(|claims| Caller::new(&claims))
}

/// The claims of a request's token.
///
/// # Errors
/// As [`authenticate`].
pub(crate) async fn verified(verifier: &TokenVerifier, headers: &HeaderMap) -> Result<Claims, PlatformError> {
    let token = bearer(headers)
        .or_else(|| cookie(headers))
        .ok_or(PlatformError::Unauthorized)?;
    match verifier.verify(token).await {
        Ok(claims) => Ok(claims),
        Err(error @ TokenError::Keys(_)) => Err(PlatformError::Internal(error.to_string())),
        Err(_) => Err(PlatformError::Unauthorized),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE_NAME)
        .map(|(_, token)| token)
}
