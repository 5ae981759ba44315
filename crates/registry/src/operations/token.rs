//! `/oauth2/token`: an access token for what is asked for and held (distribution, "Token Authentication
//! Specification"; azure/acr, AAD-OAuth.md).

use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_semantics::Body;
use serde_json::json;

use crate::RegistryService;
use crate::auth::basic::{self, TOKEN_USER};
use crate::auth::{Access, Realm};
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{ACCESS_TOKEN_SECONDS, FORM_BYTES_MAX, SCOPES_MAX};
use crate::rules::scope::{Resource, Scope};
use crate::settings::Registry;
use crate::wire::query::Query;
use crate::wire::render;

/// What somebody asks for, and by which right.
struct Asked {
    /// `None`: nobody in particular.
    access: Option<Access>,
    scopes: Vec<Scope>,
}

pub(crate) async fn serve(
    service: &RegistryService,
    registry: &Registry,
    realm: &Realm,
    parts: &Parts,
    body: Body,
) -> Result<Response<Body>, RegistryError> {
    let asked = match parts.method {
        Method::GET => of_query(service, registry, realm, parts).await?,
        Method::POST => of_form(service, registry, realm, body).await?,
        _ => return Err(ErrorCode::Unsupported.into()),
    };
    if asked.access.is_none() && !registry.anonymous_pull && !registry.open {
        return Err(realm.refuse_stranger());
    }
    let access = asked.access.unwrap_or_else(|| Access::anonymous(registry));
    let mut entries = Vec::new();
    for scope in &asked.scopes {
        let is_open = match scope.resource {
            Resource::Catalog => access.lists_catalog,
            Resource::DeletedCatalog => access.lists_deleted,
            Resource::Repository(_) | Resource::Repositories | Resource::Other(..) => true,
        };
        if !is_open {
            continue;
        }
        let granted = scope.granted(&access.grants);
        if !granted.is_empty() {
            entries.push(scope.claim(&granted));
        }
    }
    let subject = access.name.as_deref();
    // A token that is given out by another one doesn't outlive it.
    let left = access
        .expires
        .map(|expires| expires.saturating_sub(service.clock.now().as_second()));
    let seconds = left.map_or(ACCESS_TOKEN_SECONDS, |left| left.clamp(1, ACCESS_TOKEN_SECONDS));
    let token = service
        .access_token(registry, realm.service(), subject, entries, seconds)
        .await?;
    // No refresh token, though a client asks for one: see `Identity`.
    let answer = json!({
        "access_token": token, "token": token, "expires_in": seconds,
        "issued_at": service.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    Ok(secret(&answer))
}

/// An answer that nobody keeps.
pub(crate) fn secret(answer: &serde_json::Value) -> Response<Body> {
    let mut response = render::json(StatusCode::OK, answer);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Scopes, several in one value and several values; what isn't one is left out, as it is granted to nobody.
fn scopes(query: &Query) -> Result<Vec<Scope>, RegistryError> {
    let texts: Vec<&str> = query.all("scope").flat_map(str::split_ascii_whitespace).collect();
    if texts.len() > SCOPES_MAX {
        let text = format!("at most {SCOPES_MAX} scopes at once");
        return Err(RegistryError::with(ErrorCode::Denied, text).status(StatusCode::BAD_REQUEST));
    }
    Ok(texts.into_iter().filter_map(Scope::parse).collect())
}

async fn of_query(
    service: &RegistryService,
    registry: &Registry,
    realm: &Realm,
    parts: &Parts,
) -> Result<Asked, RegistryError> {
    let query = Query::parse_form(parts.uri.query().unwrap_or_default()).ok_or_else(bad_form)?;
    let access = match parts.headers.get(AUTHORIZATION) {
        None => None,
        Some(header) => {
            let login = header
                .to_str()
                .ok()
                .and_then(|text| text.split_once(' '))
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
                .and_then(|(_, rest)| basic::decode(rest.trim()))
                .ok_or_else(|| realm.refuse_stranger())?;
            let found = service.log_in(registry, &login.0, &login.1).await?;
            Some(found.ok_or_else(|| realm.refuse_stranger())?)
        }
    };
    Ok(Asked {
        access,
        scopes: scopes(&query)?,
    })
}

async fn of_form(
    service: &RegistryService,
    registry: &Registry,
    realm: &Realm,
    body: Body,
) -> Result<Asked, RegistryError> {
    let form = form(body).await?;
    let field = |name: &str| form.get(name).unwrap_or_default();
    let login = match field("grant_type") {
        "refresh_token" => Some((TOKEN_USER, field("refresh_token"))),
        // The Azure SDKs ask so where they have no credential.
        "password" if field("username").is_empty() && field("refresh_token").is_empty() => None,
        "password" if field("username").is_empty() => Some((TOKEN_USER, field("refresh_token"))),
        "password" => Some((field("username"), field("password"))),
        _ => {
            let text = "grant_type is refresh_token or password";
            return Err(RegistryError::with(ErrorCode::Unsupported, text).status(StatusCode::BAD_REQUEST));
        }
    };
    let access = match login {
        None => None,
        Some((user, password)) => {
            let found = service.log_in(registry, user, password).await?;
            Some(found.ok_or_else(|| realm.refuse_stranger())?)
        }
    };
    Ok(Asked {
        access,
        scopes: scopes(&form)?,
    })
}

/// A form's fields.
pub(crate) async fn form(body: Body) -> Result<Query, RegistryError> {
    let bytes = body.read_bounded(FORM_BYTES_MAX).await?;
    let text = std::str::from_utf8(&bytes).map_err(|_| bad_form())?;
    Query::parse_form(text).ok_or_else(bad_form)
}

fn bad_form() -> RegistryError {
    RegistryError::with(ErrorCode::Unsupported, "the form can't be read").status(StatusCode::BAD_REQUEST)
}
