//! The claims of test tokens, as Altinn's local test environment sets them.

use serde_json::{Map, Value, json};

use crate::decision::Register;
use crate::error::PlatformError;
use crate::limits::{DEVELOPMENT_TOKEN_SECONDS, DEVELOPMENT_TOKEN_SECONDS_MAX};
use crate::rules::names;
use crate::wire::query::Query;

const USER_LEVEL_DEFAULT: i64 = 2;
const ORG_LEVEL: i64 = 3;

pub(super) fn claims(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn integer(query: &Query, name: &str, default: i64) -> Result<i64, PlatformError> {
    match query.get(name) {
        None | Some("") => Ok(default),
        Some(text) => text
            .parse()
            .map_err(|_| PlatformError::bad_request(format!("{name} must be a number."))),
    }
}

/// How long a token is good; negative for one that has expired.
pub(super) fn ttl_seconds(query: &Query) -> Result<i64, PlatformError> {
    let limit = DEVELOPMENT_TOKEN_SECONDS_MAX;
    let seconds = integer(query, "ttlSeconds", DEVELOPMENT_TOKEN_SECONDS)?;
    if (-limit..=limit).contains(&seconds) {
        return Ok(seconds);
    }
    Err(PlatformError::bad_request(format!(
        "ttlSeconds must be from -{limit} to {limit}."
    )))
}

/// A user of the register.
pub(super) fn user(
    id: &str,
    query: &Query,
    register: &Register,
) -> Result<Map<String, Value>, PlatformError> {
    let unknown = || PlatformError::not_found(format!("The register has no user {id:?}."));
    let user = register
        .user(id.parse().map_err(|_| unknown())?)
        .ok_or_else(unknown)?;
    let level = integer(query, "authenticationLevel", USER_LEVEL_DEFAULT)?;
    Ok(claims(json!({
        "nameid": user.user_id.to_string(),
        "urn:altinn:userid": user.user_id,
        "urn:altinn:username": user.username,
        "urn:altinn:partyid": user.party_id,
        "urn:altinn:authenticatemethod": "Mock",
        "urn:altinn:authlevel": level,
        "urn:altinn:scope": query.get("scopes").unwrap_or("altinn:portal/enduser"),
    })))
}

/// An org.
pub(super) fn org(org: &str, query: &Query) -> Result<Map<String, Value>, PlatformError> {
    let org = org.to_lowercase();
    if !names::is_org(&org) {
        return Err(PlatformError::bad_request(
            "An org's code has letters and digits only.",
        ));
    }
    let mut claims = claims(json!({
        "urn:altinn:org": org,
        "urn:altinn:authenticatemethod": "Mock",
        "urn:altinn:authlevel": integer(query, "authenticationLevel", ORG_LEVEL)?,
        "urn:altinn:scope": query.get("scopes").unwrap_or("altinn:serviceowner/instances.read altinn:serviceowner/instances.write"),
    }));
    if let Some(number) = query.get("orgNumber").filter(|number| !number.is_empty()) {
        claims.insert("urn:altinn:orgNumber".to_owned(), json!(number));
    }
    Ok(claims)
}

/// Studio, which publishes apps.
pub(super) fn studio() -> Map<String, Value> {
    claims(json!({"urn:altinn:app": "studio.designer", "urn:altinn:authlevel": ORG_LEVEL}))
}

/// A component of the platform, or an app: what comes in the header `PlatformAccessToken`.
pub(super) fn platform(app: &str) -> Result<Map<String, Value>, PlatformError> {
    if app.is_empty() || app.len() > 100 {
        return Err(PlatformError::bad_request("An app or component must be named."));
    }
    Ok(claims(json!({"urn:altinn:app": app})))
}
