//! Shared Key and Shared Key Lite.
//!
//! Source: "Authorize with Shared Key". Header names are sorted two ways by clients in use: by
//! bytes, and as .NET's en-US culture does, which ignores hyphens at first. Both are tried.

use std::collections::BTreeMap;

use http::HeaderMap;
use http_semantics::date;
use jiff::Timestamp;

use crate::Account;
use crate::auth::Evidence;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::DATE_SKEW_SECONDS_MAX;

/// Headers of the string to sign between the verb and the canonical headers.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Checks an `Authorization` header.
///
/// # Errors
/// `InvalidAuthenticationInfo`, `AuthenticationFailed`.
pub(crate) fn verify(
    account: &Account,
    authorization: &str,
    evidence: &Evidence<'_>,
    now: Timestamp,
) -> Result<(), BlobsError> {
    let (scheme, rest) = authorization
        .split_once(' ')
        .ok_or(ErrorCode::InvalidAuthenticationInfo)?;
    let lite = match scheme {
        "SharedKey" => false,
        "SharedKeyLite" => true,
        _ => return Err(ErrorCode::InvalidAuthenticationInfo.into()),
    };
    let (name, signature) = rest.split_once(':').ok_or(ErrorCode::InvalidAuthenticationInfo)?;
    if name.trim_end_matches("-secondary") != account.name {
        return Err(ErrorCode::AuthenticationFailed.into());
    }
    check_date(evidence.headers, now)?;
    let candidates = [false, true].map(|culture| string_to_sign(&account.name, evidence, lite, culture));
    let valid = account.keys.iter().any(|key| {
        candidates
            .iter()
            .any(|candidate| key.verify(candidate, signature))
    });
    if valid {
        Ok(())
    } else {
        Err(ErrorCode::AuthenticationFailed.into())
    }
}

fn check_date(headers: &HeaderMap, now: Timestamp) -> Result<(), BlobsError> {
    let text = header(headers, "x-ms-date");
    let text = if text.is_empty() {
        header(headers, "date")
    } else {
        text
    };
    let at = date::parse(text).ok_or_else(|| {
        BlobsError::with(
            ErrorCode::AuthenticationFailed,
            "x-ms-date is missing or not a date.",
        )
    })?;
    if (now.as_second() - at.as_second()).abs() > DATE_SKEW_SECONDS_MAX {
        let text = "Request date header too old or too far ahead.";
        return Err(BlobsError::with(ErrorCode::AuthenticationFailed, text));
    }
    Ok(())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
        .trim()
}

fn string_to_sign(account: &str, evidence: &Evidence<'_>, lite: bool, culture: bool) -> String {
    let headers = evidence.headers;
    let dated = headers.contains_key("x-ms-date");
    let mut lines = vec![evidence.method.to_owned()];
    let names: &[&str] = if lite {
        &["content-md5", "content-type", "date"]
    } else {
        &SIGNED
    };
    for name in names {
        let value = match (*name, header(headers, name)) {
            ("content-length", "0") => "",
            ("date", _) if dated => "",
            (_, value) => value,
        };
        lines.push(value.to_owned());
    }
    lines.extend(canonical_headers(headers, culture));
    lines.push(canonical_resource(account, evidence, lite));
    lines.join("\n")
}

fn canonical_headers(headers: &HeaderMap, culture: bool) -> Vec<String> {
    let mut names: Vec<&str> = headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-ms-"))
        .collect();
    if culture {
        names.sort_by_key(|name| (name.replace('-', "").replace('_', "\u{1}"), (*name).to_owned()));
    } else {
        names.sort_unstable();
    }
    names
        .into_iter()
        .map(|name| format!("{name}:{}", header(headers, name)))
        .collect()
}

fn canonical_resource(account: &str, evidence: &Evidence<'_>, lite: bool) -> String {
    let mut resource = format!("/{account}{}", evidence.path);
    if lite {
        if let Some((_, comp)) = evidence.query.iter().find(|(name, _)| name == "comp") {
            resource.push_str("?comp=");
            resource.push_str(comp);
        }
        return resource;
    }
    let mut grouped: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in evidence.query {
        grouped.entry(name.to_lowercase()).or_default().push(value);
    }
    for (name, mut values) in grouped {
        values.sort_unstable();
        resource.push_str(&format!("\n{name}:{}", values.join(",")));
    }
    resource
}
