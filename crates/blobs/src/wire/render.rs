//! Answers: headers that all have, properties of blobs, errors.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_semantics::{Body, date};
use jiff::Timestamp;
use uuid::Uuid;

use crate::error::{BlobsError, ErrorCode};
use crate::rules::immutability::Protection;
use crate::rules::lease::{self, Lease};
use crate::rules::tier::Tier;
use crate::store::last_access::accessed;
use crate::store::records::{BlobEncryption, BlobKind, BlobRecord};
use crate::store::states::time_text;
use crate::wire::xml;

/// What every answer says.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) request_id: Uuid,
    pub(crate) client_request_id: Option<HeaderValue>,
    pub(crate) version: HeaderValue,
    pub(crate) now: Timestamp,
    pub(crate) head: bool,
    /// What an answer of 401 tells the client to do.
    pub(crate) challenge: HeaderValue,
}

/// Sets a header whose value comes from a client or from us; one that HTTP can't hold is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// As headers have it.
pub(crate) fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An XML answer.
pub(crate) fn document(body: String) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// `ETag` and `Last-Modified`.
pub(crate) fn set_state(headers: &mut HeaderMap, etag: &str, last_modified: Timestamp) {
    set(headers, "etag", format!("\"{etag}\""));
    set(headers, "last-modified", date::format(last_modified));
}

/// `x-ms-version-id`: which version the blob is, if it is one.
pub(crate) fn set_version(headers: &mut HeaderMap, version: Option<Timestamp>) {
    if let Some(version) = version {
        set(headers, "x-ms-version-id", time_text(version));
    }
}

/// 304: what the client has is what there is. The code is in a header, as there is no body.
pub(crate) fn not_modified(etag: &str, last_modified: Timestamp) -> Response<Body> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    set_state(headers, etag, last_modified);
    set(headers, "x-ms-error-code", ErrorCode::ConditionNotMet.name());
    response
}

/// The state of a lease.
pub(crate) fn set_lease(headers: &mut HeaderMap, held: Option<&Lease>, now: Timestamp) {
    let state = lease::state(held, now);
    set(headers, "x-ms-lease-state", state.name());
    set(headers, "x-ms-lease-status", state.status());
    if let Some(duration) = lease::duration(held, now) {
        set(headers, "x-ms-lease-duration", duration);
    }
}

/// `x-ms-immutability-policy-until-date` and `-mode`, if there is a policy.
pub(crate) fn set_policy(headers: &mut HeaderMap, protection: &Protection) {
    if let Some(policy) = protection.policy {
        let until = date::format(policy.until);
        set(headers, "x-ms-immutability-policy-until-date", until);
        set(headers, "x-ms-immutability-policy-mode", policy.mode.name());
    }
}

/// `x-ms-legal-hold`, if it was ever set.
pub(crate) fn set_hold(headers: &mut HeaderMap, protection: &Protection) {
    if let Some(held) = protection.legal_hold {
        set(headers, "x-ms-legal-hold", held.to_string());
    }
}

/// Which key of the customer's a blob is encrypted under, or in which scope, if it is.
pub(crate) fn set_encryption(headers: &mut HeaderMap, encryption: Option<&BlobEncryption>) {
    match encryption {
        None => {}
        Some(BlobEncryption::Customer(digest)) => {
            set(headers, "x-ms-encryption-key-sha256", digest.to_string());
        }
        Some(BlobEncryption::Scope(scope)) => set(headers, "x-ms-encryption-scope", scope),
    }
}

/// What of a blob's properties depends on who asks, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// How many tags it has is for those alone who may see tags.
    pub(crate) sees_tags: bool,
    /// Whether what has no content counts as encrypted.
    pub(crate) encrypts: bool,
    /// Whether the account keeps when it was read last.
    pub(crate) tracks_access: bool,
}

/// Every property of a blob, as Get Blob and Get Blob Properties give them.
pub(crate) fn set_blob(headers: &mut HeaderMap, record: &BlobRecord, shown: Shown, now: Timestamp) {
    set_state(headers, &record.etag, record.last_modified);
    set_version(headers, record.version);
    if record.version.is_some() && !record.previous {
        set(headers, "x-ms-is-current-version", "true");
    }
    set_policy(headers, &record.protection);
    set_hold(headers, &record.protection);
    let properties = &record.headers;
    let content_type = properties
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    if !content_type.is_empty() {
        set(headers, "content-type", content_type);
    }
    for (name, value) in [
        ("content-encoding", &properties.content_encoding),
        ("content-language", &properties.content_language),
        ("content-disposition", &properties.content_disposition),
        ("cache-control", &properties.cache_control),
        ("content-md5", &properties.content_md5),
    ] {
        if let Some(value) = value {
            set(headers, name, value);
        }
    }
    for (name, value) in &record.metadata {
        let name = HeaderName::from_bytes(format!("x-ms-meta-{name}").as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    set(headers, "x-ms-blob-type", record.kind.name());
    set(headers, "x-ms-creation-time", date::format(record.created));
    set_lease(headers, record.lease.as_ref(), now);
    set(
        headers,
        "x-ms-server-encrypted",
        flag(record.is_encrypted(shown.encrypts)),
    );
    set_encryption(headers, record.encryption.as_ref());
    match record.kind {
        BlobKind::Block => {
            let given = record.tier.as_ref();
            set(
                headers,
                "x-ms-access-tier",
                given.map_or(Tier::default(), |given| given.tier).name(),
            );
            match given {
                Some(given) => set(
                    headers,
                    "x-ms-access-tier-change-time",
                    date::format(given.changed),
                ),
                None => set(headers, "x-ms-access-tier-inferred", "true"),
            }
        }
        BlobKind::Append => {
            let blocks = record.extents.len().to_string();
            set(headers, "x-ms-blob-committed-block-count", blocks);
        }
        BlobKind::Page => {
            let number = record.sequence_number.to_string();
            set(headers, "x-ms-blob-sequence-number", number);
        }
    }
    if shown.sees_tags && !record.tags.is_empty() {
        set(headers, "x-ms-tag-count", record.tags.len().to_string());
    }
    if shown.tracks_access && record.below().is_none() {
        set(headers, "x-ms-last-access-time", date::format(accessed(record)));
    }
    if record.sealed {
        set(headers, "x-ms-blob-sealed", "true");
    }
    set(headers, "accept-ranges", "bytes");
    if let Some(copy) = &record.copy {
        set(headers, "x-ms-copy-id", &copy.id);
        set(headers, "x-ms-copy-source", &copy.source);
        set(headers, "x-ms-copy-status", "success");
        set(headers, "x-ms-copy-progress", format!("{0}/{0}", record.length));
        set(headers, "x-ms-copy-completion-time", date::format(copy.completed));
    }
    if let Some(incremental) = &record.incremental {
        set(headers, "x-ms-incremental-copy", "true");
        set(
            headers,
            "x-ms-copy-destination-snapshot",
            time_text(incremental.snapshot),
        );
    }
}

/// Puts what every answer says onto one, and turns an error into its answer.
pub(crate) fn finish(outcome: Result<Response<Body>, BlobsError>, common: &Common) -> Response<Body> {
    let mut response = outcome.unwrap_or_else(|error| failure(&error, common));
    let headers = response.headers_mut();
    set(headers, "x-ms-request-id", common.request_id.to_string());
    headers.insert(HeaderName::from_static("x-ms-version"), common.version.clone());
    set(headers, "date", date::format(common.now));
    set(headers, "server", "Stabbur-Blob/1.0");
    if let Some(id) = &common.client_request_id {
        headers.insert(HeaderName::from_static("x-ms-client-request-id"), id.clone());
    }
    response
}

fn failure(error: &BlobsError, common: &Common) -> Response<Body> {
    let detail = error.detail.as_deref().unwrap_or(error.code.text());
    let message = format!(
        "{detail}\nRequestId:{}\nTime:{}",
        common.request_id,
        xml::timestamp(common.now)
    );
    let unauthorized = error.status() == StatusCode::UNAUTHORIZED;
    let extra = if error.code == ErrorCode::AuthenticationFailed
        || error.code == ErrorCode::InvalidAuthenticationInfo && unauthorized
    {
        format!(
            "<AuthenticationErrorDetail>{}</AuthenticationErrorDetail>",
            xml::escape(detail)
        )
    } else {
        String::new()
    };
    let body = format!(
        "{}<Error><Code>{}</Code><Message>{}</Message>{extra}</Error>",
        xml::DECLARATION,
        error.code.name(),
        xml::escape(&message)
    );
    let mut response = if common.head {
        empty(StatusCode::OK)
    } else {
        document(body)
    };
    *response.status_mut() = error.status();
    let headers = response.headers_mut();
    set(headers, "x-ms-error-code", error.code.name());
    if let Some(length) = error.length_bytes {
        set(headers, "content-range", format!("bytes */{length}"));
    }
    // A copy source's 401 asks nothing of whoever copies.
    if unauthorized && error.code != ErrorCode::CannotVerifyCopySource {
        headers.insert(WWW_AUTHENTICATE, common.challenge.clone());
    }
    if common.head {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}
