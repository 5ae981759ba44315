//! Set Secret, Get Secret, Update Secret.

use ledger::{Snapshot, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::{ErrorCode, InnerCode, VaultError};
use crate::limits::{CONTENT_TYPE_CHARACTERS_MAX, SECRET_BYTES_MAX};
use crate::rules::names::Kind;
use crate::seal::SealError;
use crate::service::{Call, Outcome};
use crate::store::keys::State;
use crate::store::records::Meta;
use crate::wire::body::{AttributesBody, SecretText, parse, tags};
use crate::wire::render::Json;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default)]
    value: Option<SecretText>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    attributes: Option<AttributesBody>,
    #[serde(default)]
    tags: Option<Map<String, Value>>,
}

impl Body {
    fn read(bytes: &[u8]) -> Result<Self, VaultError> {
        let mut body: Self = parse(bytes)?;
        let length = body.content_type.as_deref().unwrap_or_default().chars().count();
        if length > CONTENT_TYPE_CHARACTERS_MAX {
            return Err(VaultError::bad(format!(
                "contentType has {length} characters; at most {CONTENT_TYPE_CHARACTERS_MAX}."
            )));
        }
        body.tags = tags(body.tags)?;
        Ok(body)
    }
}

/// A bundle with its value; borrowed, so that the value is copied once, into the answer.
#[derive(Serialize)]
struct WithValue<'a> {
    value: &'a str,
    #[serde(flatten)]
    rest: &'a Map<String, Value>,
}

fn answer(value: &[u8], bundle: &Map<String, Value>) -> Result<Json, VaultError> {
    let value = std::str::from_utf8(value).map_err(|_| SealError::Damaged)?;
    let rest = serde_json::to_vec(bundle).map_err(|_| SealError::Library("writing an answer"))?;
    // A control character is written as six; the rest is what names and punctuation take.
    let room = 6 * value.len() + rest.len() + 64;
    Ok(Json::secret(&WithValue { value, rest: bundle }, room)?)
}

pub(super) async fn set(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let body = Body::read(&call.body)?;
    let value = body
        .value
        .ok_or_else(|| VaultError::bad("The request's body has no value."))?;
    let value = Zeroizing::new(value.text().as_bytes().to_vec());
    if value.len() > SECRET_BYTES_MAX {
        return Err(VaultError::bad(format!(
            "The value has {} bytes; at most {SECRET_BYTES_MAX}.",
            value.len()
        )));
    }
    let attributes = body.attributes.unwrap_or_default();
    let meta = Meta {
        created: call.now,
        updated: call.now,
        enabled: attributes.enabled.unwrap_or(true),
        nbf: attributes.nbf,
        exp: attributes.exp,
        content_type: body.content_type,
        tags: body.tags.unwrap_or_default(),
        key: None,
    };
    let mut tx = Transaction::new();
    let (header, version) = call
        .shelf()
        .add_version(snapshot, &mut tx, name, &meta, value.clone())
        .await?;
    let bundle = call.place().bundle(Kind::Secret, &header, version, &meta);
    let body = answer(&value, &bundle)?;
    Ok(Outcome::ok(tx, body).about(version))
}

pub(super) async fn get(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let (name, version) = (call.target.name()?, call.target.version()?);
    if call.query.get("outcontenttype").is_some() {
        let text = "outContentType is for secrets of certificates, which this vault doesn't have.";
        return Err(VaultError::bad(text));
    }
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let opened = shelf.open(snapshot, &found.header, version).await?;
    if !opened.meta.enabled {
        return Err(VaultError::with(
            ErrorCode::Forbidden,
            InnerCode::SecretDisabled,
            "Operation get is not allowed on a disabled secret.",
        ));
    }
    let bundle = call
        .place()
        .bundle(Kind::Secret, &found.header, opened.version, &opened.meta);
    let body = answer(&opened.value, &bundle)?;
    Ok(Outcome::ok(Transaction::new(), body).about(opened.version))
}

pub(super) async fn update(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let (name, version) = (call.target.name()?, call.target.version()?);
    let body = Body::read(&call.body)?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let mut opened = shelf.open(snapshot, &found.header, version).await?;
    let meta = &mut opened.meta;
    if let Some(attributes) = body.attributes {
        meta.enabled = attributes.enabled.unwrap_or(meta.enabled);
        meta.nbf = attributes.nbf.or(meta.nbf);
        meta.exp = attributes.exp.or(meta.exp);
    }
    meta.content_type = body.content_type.or(meta.content_type.take());
    if let Some(tags) = body.tags {
        meta.tags = tags;
    }
    meta.updated = call.now;
    let mut tx = Transaction::new();
    shelf.replace_version(&mut tx, &found, &opened)?;
    let bundle = call
        .place()
        .bundle(Kind::Secret, &found.header, opened.version, &opened.meta);
    Ok(Outcome::ok(tx, Json::of(&Value::Object(bundle))).about(opened.version))
}
