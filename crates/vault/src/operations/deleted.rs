//! Delete, and what becomes of what is deleted: get, recover, purge.

use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde_json::Value;

use crate::error::{ErrorCode, InnerCode, VaultError};
use crate::limits::PURGE_VERSIONS_MAX;
use crate::service::{Call, Outcome};
use crate::store::keys::{self, State};
use crate::store::objects::{Found, Shelf, unreadable};
use crate::store::records::Deleted;
use crate::wire::render::Json;
use http::StatusCode;

pub(super) async fn delete(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let meta = shelf.newest_meta(snapshot, &found.header).await?;
    let mut tx = Transaction::new();
    let mut header = found.header.clone();
    let purge_at = call.vault.recovery.purge_at(call.now);
    header.deleted = Some(Deleted {
        at: call.now,
        purge_at,
    });
    let meta = meta.unwrap_or_else(unreadable);
    shelf.schedule(&mut tx, &mut header, &meta);
    shelf.remove_header(&mut tx, State::Live, &found);
    shelf.put_header(&mut tx, State::Deleted, &header, None)?;
    tx.put(keys::purge(purge_at, shelf.vault, shelf.kind, name), Vec::new());
    let bundle = call.place().bundle(shelf.kind, &header, header.current, &meta);
    Ok(Outcome::ok(tx, Json::of(&Value::Object(bundle))).about(header.current))
}

pub(super) async fn get(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Deleted, name).await?;
    let meta = shelf.newest_meta(snapshot, &found.header).await?;
    let meta = meta.unwrap_or_else(unreadable);
    let bundle = call
        .place()
        .bundle(shelf.kind, &found.header, found.header.current, &meta);
    Ok(Outcome::ok(Transaction::new(), Json::of(&Value::Object(bundle))))
}

pub(super) async fn recover(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Deleted, name).await?;
    let meta = shelf.newest_meta(snapshot, &found.header).await?;
    let mut tx = Transaction::new();
    let mut header = found.header.clone();
    if let Some(deleted) = header.deleted.take() {
        tx.delete(keys::purge(deleted.purge_at, shelf.vault, shelf.kind, name));
    }
    // One that can't be opened can't be rotated.
    if let Some(meta) = &meta {
        shelf.schedule(&mut tx, &mut header, meta);
    }
    let meta = meta.unwrap_or_else(unreadable);
    shelf.remove_header(&mut tx, State::Deleted, &found);
    shelf.put_header(&mut tx, State::Live, &header, None)?;
    let bundle = call.place().bundle(shelf.kind, &header, header.current, &meta);
    Ok(Outcome::ok(tx, Json::of(&Value::Object(bundle))).about(header.current))
}

pub(super) async fn purge(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Deleted, name).await?;
    let protection = keys::protection(shelf.vault);
    // The settings are of this node's start: another one may have turned it on since.
    if call.vault.recovery.purge_protection || snapshot.get(&protection).await?.is_some() {
        return Err(VaultError::with(
            ErrorCode::Forbidden,
            InnerCode::PurgeProtected,
            "Operation purge is not allowed because purge protection is enabled for this vault. Key Vault service will \
             automatically purge it after the retention period has passed.",
        ));
    }
    let mut tx = Transaction::new();
    tx.require_absent(protection);
    stage_purge(shelf, snapshot, &mut tx, &found).await?;
    Ok(Outcome {
        tx,
        status: StatusCode::NO_CONTENT,
        body: None,
        version: None,
        name: None,
    })
}

/// Stages that a deleted object goes, with its versions; those beyond a bound are noted for the background
/// work. Without its header nobody reaches them.
pub(crate) async fn stage_purge(
    shelf: Shelf<'_>,
    snapshot: &dyn Snapshot,
    tx: &mut Transaction,
    found: &Found,
) -> Result<(), VaultError> {
    let header = &found.header;
    shelf.remove_header(tx, State::Deleted, found);
    if let Some(deleted) = header.deleted {
        tx.delete(keys::purge(
            deleted.purge_at,
            shelf.vault,
            shelf.kind,
            &header.name,
        ));
    }
    let prefix = keys::versions(shelf.vault, shelf.kind, &header.incarnation);
    let mut scan = Scan::new(snapshot, KeyRange::prefix(&prefix), Direction::Forward);
    let mut count = 0;
    while let Some(entry) = scan.next().await? {
        if count == PURGE_VERSIONS_MAX {
            let left = keys::left_over(shelf.vault, shelf.kind, &header.incarnation);
            tx.put(left, Vec::new());
            break;
        }
        tx.delete(entry.key);
        count += 1;
    }
    Ok(())
}
