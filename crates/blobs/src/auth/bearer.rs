//! Bearer tokens: who calls, by the word of a trusted issuer.
//!
//! Source: "Authorize with Microsoft Entra ID". What is wrong with a token is said with 401 and a challenge
//! from version 2019-12-12 on, and with 403 before, as the original does (Azure/azure-sdk-for-net issue
//! 42859, Azure/azure-sdk-for-java issue 8667).

use http::HeaderValue;
use identity::{Claims, TokenError, Trust, TrustError};
use serde_json::Value;

use crate::Blobs;
use crate::auth::Evidence;
use crate::error::{BlobsError, ErrorCode};
use crate::rules::roles::Principal;

/// The first version that takes bearer tokens ("Versioning for Azure Storage").
const VERSION_FIRST: &str = "2017-11-09";

/// The first version that challenges.
pub(crate) const VERSION_CHALLENGES: &str = "2019-12-12";

/// What tokens for Azure Storage of any account are for.
const AUDIENCE: &str = "https://storage.azure.com";

/// How accounts take bearer tokens.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// Whose tokens.
    pub trust: Trust,
    /// The tenant of all principals: tokens that name another one (`tid`) aren't taken.
    pub tenant: String,
    /// Where strangers are told to get a token.
    pub authorization_uri: String,
    /// Audiences besides the documented ones, without a slash at their end.
    pub audiences: Vec<String>,
}

/// What an answer of 401 tells the client.
pub(crate) fn challenge(bearer: Option<&Bearer>) -> HeaderValue {
    let text = bearer.map(|bearer| {
        format!(
            "Bearer authorization_uri={} resource_id={AUDIENCE}",
            bearer.authorization_uri
        )
    });
    // An address that no header can hold is told to nobody.
    text.and_then(|text| HeaderValue::try_from(text).ok())
        .unwrap_or(HeaderValue::from_static("SharedKey"))
}

/// Who a token says calls; `account` is what is called.
///
/// # Errors
/// `AuthenticationFailed`, `InvalidAuthenticationInfo`; `ServerBusy` if the issuer's keys can't be had.
pub(crate) async fn verify(
    blobs: &Blobs,
    account: &str,
    token: &str,
    evidence: &Evidence<'_>,
) -> Result<Principal, BlobsError> {
    let failed = |text: &str| BlobsError::with(ErrorCode::AuthenticationFailed, text);
    let Some(bearer) = &blobs.settings.bearer else {
        let text = "Bearer tokens are not accepted by this account; sign with its key or a SAS.";
        return Err(failed(text));
    };
    // Whoever hears a token may use it until it expires.
    if !evidence.secure {
        return Err(failed("Bearer tokens are accepted over HTTPS only."));
    }
    let version = evidence.version.unwrap_or("");
    if version < VERSION_FIRST {
        let text = "Bearer tokens are accepted with x-ms-version 2017-11-09 or newer.";
        return Err(failed(text));
    }
    let is_meant = |audience: &str| {
        audience == AUDIENCE
            || audience == format!("https://{account}.blob.core.windows.net")
            || bearer.audiences.iter().any(|known| known == audience)
            || blobs.settings.host_suffixes.iter().any(|suffix| {
                let host = audience.strip_prefix("https://");
                host.is_some_and(|host| host == format!("{account}.{suffix}"))
            })
    };
    let claims = bearer
        .trust
        .verify(token.trim(), is_meant)
        .await
        .map_err(|error| refused(&error, version))?;
    principal(&claims, &bearer.tenant).map_err(|text| refusal(text, version))
}

fn principal(claims: &Claims, tenant: &str) -> Result<Principal, &'static str> {
    if claims
        .text("tid")
        .is_some_and(|named| !named.eq_ignore_ascii_case(tenant))
    {
        return Err("Issuer validation failed. The token is of another tenant.");
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
    Ok(Principal {
        object_id: claims
            .text("oid")
            .ok_or("The token names no principal: it has no claim oid.")?,
        groups: list("groups"),
        app_roles: list("roles"),
    })
}

fn refused(error: &TrustError, version: &str) -> BlobsError {
    let text = match error {
        TrustError::Token(TokenError::Keys(_)) => {
            let text = "The keys of the token's issuer can't be had for now.";
            return BlobsError::with(ErrorCode::ServerBusy, text);
        }
        TrustError::Token(TokenError::Expired) => "Lifetime validation failed. The token is expired.",
        TrustError::Token(TokenError::NotYetValid) => {
            "Lifetime validation failed. The token is not yet valid."
        }
        TrustError::Token(TokenError::Invalid) => {
            "Signature validation failed. The token is malformed or not signed by a known key."
        }
        TrustError::Issuer => "Issuer validation failed. Issuer did not match.",
        TrustError::Audience => "Audience validation failed. Audience did not match.",
    };
    refusal(text, version)
}

fn refusal(text: &str, version: &str) -> BlobsError {
    if version < VERSION_CHALLENGES {
        return BlobsError::with(ErrorCode::AuthenticationFailed, text);
    }
    BlobsError {
        status: Some(401),
        ..BlobsError::with(ErrorCode::InvalidAuthenticationInfo, text)
    }
}
