//! Who calls: bearer tokens of trusted issuers, for this vault's audience.
//!
//! Source: "Authentication, requests and responses" of Key Vault. Whatever is wrong with a token is answered
//! with 401 and a challenge, so that clients get another one.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use identity::{Claims, TokenError, Trust, TrustError};
use serde_json::Value;

use crate::error::{ErrorCode, VaultError};
use crate::rules::roles::Principal;

/// Whose tokens are taken.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// The issuers.
    pub trust: Trust,
    /// The tenant of all principals (`tid`); tokens that name none or another one aren't taken.
    pub tenant: String,
    /// Where strangers are told to get a token: `https://{login}/{tenant}`, with no slash at its end, as clients
    /// take the whole path for the tenant.
    pub authorization: String,
    /// Audiences besides the vaults' own suffixes, without a slash at their end.
    pub audiences: Vec<String>,
}

fn unauthorized(message: impl Into<String>) -> VaultError {
    VaultError::new(ErrorCode::Unauthorized, message)
}

/// The token that a request brings.
pub(crate) fn token(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Who a token says calls; `resource` is what the challenge names.
///
/// # Errors
/// `Unauthorized`; `ServiceUnavailable` if the issuer's keys can't be had.
pub(crate) async fn verify(
    bearer: Option<&Bearer>,
    resource: &str,
    token: Option<&str>,
) -> Result<Principal, VaultError> {
    let Some(token) = token else {
        return Err(unauthorized(
            "AKV10000: Request is missing a Bearer or PoP token.",
        ));
    };
    let Some(bearer) = bearer else {
        return Err(unauthorized(
            "AKV10032: Invalid issuer. No issuer's tokens are accepted by this vault.",
        ));
    };
    let is_meant =
        |audience: &str| audience == resource || bearer.audiences.iter().any(|known| known == audience);
    let claims = bearer
        .trust
        .verify(token, is_meant)
        .await
        .map_err(|error| refused(&error))?;
    principal(&claims, &bearer.tenant)
}

fn refused(error: &TrustError) -> VaultError {
    match error {
        TrustError::Token(TokenError::Keys(_)) => {
            tracing::warn!(%error, "a token can't be verified");
            VaultError::new(
                ErrorCode::ServiceUnavailable,
                "The keys of the token's issuer can't be had; try again.",
            )
        }
        TrustError::Token(TokenError::Expired) => unauthorized("The token has expired."),
        TrustError::Token(TokenError::NotYetValid) => unauthorized("The token is not valid yet."),
        TrustError::Token(TokenError::Invalid) => {
            unauthorized("The token is malformed, or not signed by its issuer.")
        }
        TrustError::Issuer => {
            unauthorized("AKV10032: Invalid issuer. The token's issuer is not trusted by this vault.")
        }
        TrustError::Audience => unauthorized(
            "AKV10022: Invalid audience. The token must be for the resource that the challenge names.",
        ),
    }
}

fn principal(claims: &Claims, tenant: &str) -> Result<Principal, VaultError> {
    if !claims
        .text("tid")
        .is_some_and(|named| named.eq_ignore_ascii_case(tenant))
    {
        return Err(unauthorized(
            "AKV10032: Invalid issuer. The token is of another tenant, or of none.",
        ));
    }
    // A name may have blanks in it: these are lists, not words.
    let list = |name| match claims.get(name) {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    let object_id = claims.text("oid");
    Ok(Principal {
        object_id: object_id
            .ok_or_else(|| unauthorized("The token names no principal: it has no claim oid."))?,
        groups: list("groups"),
        app_roles: list("roles"),
        user_name: claims.text("upn"),
        application: claims.text("appid").or_else(|| claims.text("azp")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bearer_tokens_are_tokens() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, text.parse().unwrap());
            token(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(of("bearer  abc "), Some("abc".to_owned()));
        for none in ["Bearer", "Bearer ", "Basic abc", ""] {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
