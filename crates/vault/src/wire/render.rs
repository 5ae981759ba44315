//! Answers: bundles, rows, attributes, links. Links are built from the request's host, never stored.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_semantics::Body;
use serde::Serialize;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::error::VaultError;
use crate::rules::attributes::Recovery;
use crate::rules::names::{Kind, Version};
use crate::seal::SealError;
use crate::store::records::{Header, Meta};

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");

/// A body, wiped when the last who holds it lets go.
pub(crate) struct Json(pub(crate) Zeroizing<Vec<u8>>);

impl Json {
    pub(crate) fn of(value: &Value) -> Self {
        Self(Zeroizing::new(value.to_string().into_bytes()))
    }

    /// Of what holds secrets: written into a place that is large enough for all of it from the start.
    pub(crate) fn secret(value: &impl Serialize, room: usize) -> Result<Self, SealError> {
        let mut out = Zeroizing::new(Vec::with_capacity(room));
        serde_json::to_writer(&mut *out, value).map_err(|_| SealError::Library("writing an answer"))?;
        Ok(Self(out))
    }
}

/// Where links begin, and how the vault keeps what is deleted.
pub(crate) struct Place<'a> {
    /// `https://host[:port]`.
    pub(crate) base: &'a str,
    pub(crate) recovery: Recovery,
}

impl Place<'_> {
    /// The id of an object, or of one of its versions.
    pub(crate) fn id(&self, kind: Kind, name: &str, version: Option<Version>) -> String {
        let (base, collection) = (self.base, kind.collection());
        match version {
            Some(version) => format!("{base}/{collection}/{name}/{version}"),
            None => format!("{base}/{collection}/{name}"),
        }
    }

    fn attributes(&self, meta: &Meta) -> Value {
        let mut out = json!({"enabled": meta.enabled});
        if let Some(out) = out.as_object_mut() {
            for (name, at) in [("nbf", meta.nbf), ("exp", meta.exp)] {
                if let Some(at) = at {
                    out.insert(name.to_owned(), at.into());
                }
            }
            out.insert("created".to_owned(), meta.created.into());
            out.insert("updated".to_owned(), meta.updated.into());
            out.insert("recoveryLevel".to_owned(), self.recovery.level().into());
            out.insert("recoverableDays".to_owned(), self.recovery.days.into());
        }
        out
    }

    fn deletion(&self, kind: Kind, header: &Header, out: &mut Map<String, Value>) {
        if let Some(deleted) = header.deleted {
            let collection = kind.collection();
            let link = format!("{}/deleted{collection}/{}", self.base, header.name);
            out.insert("recoveryId".to_owned(), link.into());
            out.insert("deletedDate".to_owned(), deleted.at.into());
            out.insert("scheduledPurgeDate".to_owned(), deleted.purge_at.into());
        }
    }

    /// A version as it is answered; a secret without its value.
    pub(crate) fn bundle(
        &self,
        kind: Kind,
        header: &Header,
        version: Version,
        meta: &Meta,
    ) -> Map<String, Value> {
        let mut out = Map::new();
        self.deletion(kind, header, &mut out);
        let id = self.id(kind, &header.name, Some(version));
        match &meta.key {
            Some(facts) => {
                let mut key = json!({"kid": id, "kty": facts.kty, "key_ops": facts.ops});
                if let Some(key) = key.as_object_mut() {
                    if let Some(crv) = &facts.crv {
                        key.insert("crv".to_owned(), crv.clone().into());
                    }
                    for (name, value) in &facts.public {
                        key.insert(name.clone(), value.clone().into());
                    }
                }
                out.insert("key".to_owned(), key);
            }
            // Its record is damaged.
            None if kind == Kind::Key => {
                out.insert("key".to_owned(), json!({ "kid": id }));
            }
            None => {
                out.insert("id".to_owned(), id.into());
            }
        }
        self.described(meta, &mut out);
        out
    }

    /// A row of a list; `version` only in lists of versions.
    pub(crate) fn row(&self, kind: Kind, header: &Header, version: Option<Version>, meta: &Meta) -> Value {
        let mut out = Map::new();
        let id = if kind == Kind::Key { "kid" } else { "id" };
        out.insert(id.to_owned(), self.id(kind, &header.name, version).into());
        self.deletion(kind, header, &mut out);
        self.described(meta, &mut out);
        Value::Object(out)
    }

    fn described(&self, meta: &Meta, out: &mut Map<String, Value>) {
        out.insert("attributes".to_owned(), self.attributes(meta));
        if let Some(content_type) = &meta.content_type {
            out.insert("contentType".to_owned(), content_type.clone().into());
        }
        if !meta.tags.is_empty() {
            out.insert("tags".to_owned(), meta.tags.clone().into());
        }
    }
}

/// An answer with the headers that all have.
pub(crate) fn response(
    status: StatusCode,
    body: Option<Json>,
    request: &HeaderMap,
    request_id: &str,
) -> Response<Body> {
    let is_empty = body.is_none();
    let body = body.map_or_else(Body::empty, |json| Body::full(Bytes::from_owner(json.0)));
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if !is_empty {
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [
        ("pragma", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("strict-transport-security", "max-age=31536000;includeSubDomains"),
        ("x-ms-keyvault-region", "norwayeast"),
        ("x-ms-keyvault-service-version", "2.0.0.0"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-ms-request-id"), id);
    }
    if let Some(id) = request.get(&CLIENT_REQUEST_ID) {
        headers.insert(CLIENT_REQUEST_ID, id.clone());
    }
    response
}

/// Tells a stranger where to get a token.
pub(crate) fn challenge(response: &mut Response<Body>, authorization: &str, resource: &str) {
    let text = format!("Bearer authorization=\"{authorization}\", resource=\"{resource}\"");
    if let Ok(text) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(WWW_AUTHENTICATE, text);
    }
}

/// An error's answer.
pub(crate) fn error(error: &VaultError) -> (StatusCode, Json) {
    (error.code.status(), Json::of(&error.body()))
}
