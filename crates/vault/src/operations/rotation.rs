//! Rotate Key, Get and Update Key Rotation Policy.

use ledger::{Snapshot, Transaction};
use serde_json::{Value, json};

use super::keys::{facts, spec_of};
use crate::crypto::MadeKey;
use crate::error::{ErrorCode, VaultError};
use crate::rules::names::{Kind, Version};
use crate::rules::rotation::Policy;
use crate::seal::SealError;
use crate::service::{Call, Outcome};
use crate::store::keys::State;
use crate::store::objects::{Found, Shelf};
use crate::store::records::{Header, Meta};
use crate::wire::body::parse;
use crate::wire::render::Json;

pub(super) async fn rotate(call: &Call<'_>, made: &mut Option<MadeKey>) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let shelf = call.shelf();
    let made = match made {
        Some(made) => made,
        None => made.insert(make_like(shelf, name).await?),
    };
    let snapshot = call.vaults.ledger.snapshot().await?;
    let snapshot = snapshot.as_ref();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let mut tx = Transaction::new();
    let (header, version, meta) = stage_rotation(shelf, snapshot, &mut tx, &found, call.now, made).await?;
    let bundle = call.place().bundle(Kind::Key, &header, version, &meta);
    Ok(Outcome::ok(tx, Json::of(&Value::Object(bundle))).about(version))
}

/// Makes a key like the newest version of another, with no snapshot open meanwhile.
pub(crate) async fn make_like(shelf: Shelf<'_>, name: &str) -> Result<MadeKey, VaultError> {
    let snapshot = shelf.vaults.ledger.snapshot().await?;
    let found = shelf.get(snapshot.as_ref(), State::Live, name).await?;
    let newest = shelf.open(snapshot.as_ref(), &found.header, None).await?;
    drop(snapshot);
    let spec = spec_of(newest.meta.key.as_ref().ok_or(SealError::Damaged)?)?;
    shelf.vaults.compute(move || spec.make()).await
}

/// Stages a new version like the newest one, with the key that was made for it. Its policy says when it expires.
pub(crate) async fn stage_rotation(
    shelf: Shelf<'_>,
    snapshot: &dyn Snapshot,
    tx: &mut Transaction,
    found: &Found,
    now: i64,
    made: &MadeKey,
) -> Result<(Header, Version, Meta), VaultError> {
    let newest = shelf.open(snapshot, &found.header, None).await?;
    let known = newest.meta.key.as_ref().ok_or(SealError::Damaged)?;
    if spec_of(known)? != made.spec {
        // Somebody gave the object a key of another kind since this one was made.
        return Err(VaultError::new(
            ErrorCode::Conflict,
            "The key was replaced by one of another kind meanwhile; try again.",
        ));
    }
    let ops = known.ops.clone();
    let policy = found.header.policy.as_ref();
    let meta = Meta {
        created: now,
        updated: now,
        enabled: true,
        nbf: None,
        exp: policy.and_then(|policy| policy.expires(now)),
        content_type: None,
        tags: newest.meta.tags.clone(),
        key: Some(facts(made, ops)),
    };
    let name = &found.header.name;
    let private = made.private.clone();
    let (header, version) = shelf.add_version(snapshot, tx, name, &meta, private).await?;
    Ok((header, version, meta))
}

fn answer(call: &Call<'_>, header: &Header) -> Result<Json, VaultError> {
    let policy = header.policy.clone().unwrap_or_else(Policy::none);
    let mut body = serde_json::to_value(&policy).map_err(|_| SealError::Library("writing an answer"))?;
    if let Some(body) = body.as_object_mut() {
        let id = call.place().id(Kind::Key, &header.name, None);
        body.insert("id".to_owned(), json!(format!("{id}/rotationpolicy")));
    }
    Ok(Json::of(&body))
}

pub(super) async fn get_policy(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let found = call.shelf().get(snapshot, State::Live, name).await?;
    Ok(Outcome::ok(Transaction::new(), answer(call, &found.header)?))
}

pub(super) async fn set_policy(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let mut policy: Policy = parse(&call.body)?;
    policy.check().map_err(VaultError::bad)?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let was = found.header.policy.as_ref();
    let created = was.and_then(|policy| policy.attributes.created);
    policy.attributes.created = Some(created.unwrap_or(call.now));
    policy.attributes.updated = Some(call.now);
    let newest = shelf.open(snapshot, &found.header, None).await?;
    let mut header = found.header.clone();
    header.policy = Some(policy);
    let mut tx = Transaction::new();
    shelf.schedule(&mut tx, &mut header, &newest.meta);
    shelf.put_header(&mut tx, State::Live, &header, Some(found.written))?;
    Ok(Outcome::ok(tx, answer(call, &header)?))
}
