//! `/oauth2/exchange`: a refresh token for the token of an organisation's identity provider (azure/acr,
//! AAD-OAuth.md).

use std::collections::HashSet;

use http::request::Parts;
use http::{Method, Response, StatusCode};
use http_semantics::Body;
use identity::{Claims, TokenError, TrustError};
use serde_json::json;

use crate::RegistryService;
use crate::auth::Realm;
use crate::auth::basic::Identity;
use crate::error::{ErrorCode, RegistryError};
use crate::operations::token::{form, secret};
use crate::settings::{Assignee, Registry};

/// Audiences that Azure's clients ask tokens for.
const AUDIENCES: [&str; 3] = [
    "https://containerregistry.azure.net",
    "https://management.azure.com",
    "https://management.core.windows.net",
];

pub(crate) async fn serve(
    service: &RegistryService,
    registry: &Registry,
    realm: &Realm,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    if parts.method != Method::POST {
        return Err(ErrorCode::Unsupported.into());
    }
    let form = form(body).await?;
    let Some(bearer) = &service.settings.bearer else {
        let text = "no issuer's tokens are taken here; log in with a name and a password";
        return Err(RegistryError::with(ErrorCode::Unsupported, text).status(StatusCode::BAD_REQUEST));
    };
    if !form
        .get("grant_type")
        .is_some_and(|grant| grant.starts_with("access_token"))
    {
        let text = "grant_type is access_token";
        return Err(RegistryError::with(ErrorCode::Unsupported, text).status(StatusCode::BAD_REQUEST));
    }
    let token = form.get("access_token").unwrap_or_default();
    let is_meant = |audience: &str| {
        AUDIENCES.contains(&audience) || bearer.audiences.iter().any(|known| known == audience)
    };
    let claims = match bearer.trust.verify(token, is_meant).await {
        Ok(claims) => claims,
        Err(TrustError::Token(TokenError::Keys(error))) => {
            tracing::warn!(%error, "an issuer's keys can't be had");
            return Err(ErrorCode::Unavailable.into());
        }
        Err(_) => return Err(realm.refuse_stranger()),
    };
    if claims.text("tid").as_deref() != Some(bearer.tenant.as_str()) {
        return Err(realm.refuse_stranger());
    }
    let identity = identity(registry, &claims).ok_or_else(|| realm.refuse_stranger())?;
    let refresh = service
        .refresh_token(registry, realm.service(), &identity)
        .await?;
    Ok(secret(&json!({"refresh_token": refresh})))
}

/// Who the claims are about. Of groups and roles only those are kept that mean something here.
fn identity(registry: &Registry, claims: &Claims) -> Option<Identity> {
    let (mut groups, mut roles) = (HashSet::new(), HashSet::new());
    for assignment in &registry.assignments {
        match &assignment.assignee {
            Assignee::Group(group) => {
                groups.insert(group.as_str());
            }
            Assignee::AppRole(role) => {
                roles.insert(role.as_str());
            }
            Assignee::Principal(_) => {}
        }
    }
    let held = |name: &str, known: &HashSet<&str>| -> Vec<String> {
        let list = claims.get(name).and_then(serde_json::Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .filter(|held| known.contains(held))
            .map(str::to_owned)
            .collect()
    };
    Some(Identity {
        id: claims.text("oid")?,
        groups: held("groups", &groups),
        roles: held("roles", &roles),
    })
}
