//! Encrypt, Decrypt, Wrap Key, Unwrap Key, Sign, Verify.

use ledger::Transaction;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::keys::spec_of;
use crate::crypto::{self, Encryption, Signing};
use crate::error::{ErrorCode, InnerCode, VaultError};
use crate::operation::Operation as O;
use crate::rules::attributes::{Use, is_in_time};
use crate::rules::names::Kind;
use crate::seal::SealError;
use crate::service::{Call, Outcome};
use crate::store::keys::State;
use crate::wire::body::{SecretText, decode, encode, parse};
use crate::wire::render::Json;

#[derive(Deserialize)]
struct Body {
    alg: String,
    #[serde(default)]
    value: Option<SecretText>,
    #[serde(default)]
    digest: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    kid: &'a str,
    value: SecretText,
}

fn forbidden(inner: InnerCode, text: String) -> VaultError {
    VaultError::with(ErrorCode::Forbidden, inner, text)
}

pub(super) async fn run(call: &Call<'_>) -> Result<Outcome, VaultError> {
    let (name, version) = (call.target.name()?, call.target.version()?);
    let operation = call.target.operation;
    let (op, usage) = match operation {
        O::KeyEncrypt => ("encrypt", Use::Protect),
        O::KeyDecrypt => ("decrypt", Use::Process),
        O::KeyWrap => ("wrapKey", Use::Protect),
        O::KeyUnwrap => ("unwrapKey", Use::Process),
        O::KeySign => ("sign", Use::Protect),
        _ => ("verify", Use::Process),
    };
    let body: Body = parse(&call.body)?;
    let shelf = call.shelf();
    let snapshot = call.vaults.ledger.snapshot().await?;
    let found = shelf.get(snapshot.as_ref(), State::Live, name).await?;
    let opened = shelf.open(snapshot.as_ref(), &found.header, version).await?;
    // Given back before the request waits for its place.
    drop(snapshot);
    let meta = &opened.meta;
    if !meta.enabled {
        let text = format!("Operation {op} is not allowed on a disabled key.");
        return Err(forbidden(InnerCode::KeyDisabled, text));
    }
    if !is_in_time(usage, meta.nbf, meta.exp, call.now) {
        let text = format!("Operation {op} is not allowed on a key that is expired, or not valid yet.");
        return Err(forbidden(InnerCode::KeyDisabled, text));
    }
    let facts = meta.key.as_ref().ok_or(SealError::Damaged)?;
    if !facts.ops.iter().any(|allowed| allowed == op) {
        let text = format!("Operation {op} is not permitted on this key.");
        return Err(forbidden(InnerCode::KeyOperationForbidden, text));
    }
    let spec = spec_of(facts)?;
    let unknown = || VaultError::bad("alg is not an algorithm that this operation has.");
    let given = body
        .value
        .ok_or_else(|| VaultError::bad("The request's body has no value."))?;
    let value = given.decode("value")?;
    let private = opened.value;
    let kid = call
        .place()
        .id(Kind::Key, &found.header.name, Some(opened.version));
    let body = match operation {
        O::KeyVerify => {
            let way = Signing::parse(&body.alg).ok_or_else(unknown)?;
            let digest = body
                .digest
                .ok_or_else(|| VaultError::bad("The request's body has no digest."))?;
            let digest = decode(&digest, "digest")?;
            let work = move || crypto::verify(spec, &private, way, &digest, &value);
            let is_good = call.vaults.compute(work).await?;
            Json::of(&json!({"value": is_good}))
        }
        O::KeySign => {
            let way = Signing::parse(&body.alg).ok_or_else(unknown)?;
            let work = move || crypto::sign(spec, &private, way, &value);
            let signature = call.vaults.compute(work).await?;
            Json::of(&json!({"kid": kid, "value": encode(&signature)}))
        }
        O::KeyEncrypt | O::KeyWrap => {
            let way = Encryption::parse(&body.alg).ok_or_else(unknown)?;
            let work = move || crypto::encrypt(spec, &private, way, &value);
            let block = call.vaults.compute(work).await?;
            Json::of(&json!({"kid": kid, "value": encode(&block)}))
        }
        _ => {
            let way = Encryption::parse(&body.alg).ok_or_else(unknown)?;
            let work = move || crypto::decrypt(spec, &private, way, &value);
            let plain = call.vaults.compute(work).await?;
            let value = SecretText::encode(&plain);
            Json::secret(&Answer { kid: &kid, value }, 2 * plain.len() + kid.len() + 64)?
        }
    };
    Ok(Outcome::ok(Transaction::new(), body).about(opened.version))
}
