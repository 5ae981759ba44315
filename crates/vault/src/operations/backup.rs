//! Backup and restore of one object with all its versions: an opaque text that only this installation reads.
//!
//! It is sealed under a data key of its own, so it outlives a change of the root key, and is bound to its vault:
//! who may back up in one vault and restore in another would else carry values past the first one's roles.

use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{ErrorCode, VaultError};
use crate::limits::{BACKUP_BYTES_MAX, BACKUP_VERSIONS_MAX};
use crate::rules::names::{Kind, Version, is_name};
use crate::rules::rotation::Policy;
use crate::seal::SealError;
use crate::service::{Call, Outcome};
use crate::store::keys::{self, State};
use crate::store::records::{Header, Meta};
use crate::wire::body::{self, SecretText, parse};
use crate::wire::render::Json;

/// What backups are bound to; vault and collection are behind it.
const BOUND: &str = "stabbur vault backup 2 ";

/// The owner of their data key.
const OWNER: &str = "";

#[derive(Serialize, Deserialize)]
struct Backup {
    name: String,
    current: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
    versions: Vec<BackupVersion>,
}

#[derive(Serialize, Deserialize)]
struct BackupVersion {
    version: String,
    meta: Meta,
    value: SecretText,
}

#[derive(Deserialize)]
struct RestoreBody {
    value: String,
}

fn bound(vault: &str, kind: Kind) -> String {
    format!("{BOUND}{vault} {}", kind.collection())
}

pub(super) async fn backup(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let name = call.target.name()?;
    let shelf = call.shelf();
    let found = shelf.get(snapshot, State::Live, name).await?;
    let prefix = keys::versions(shelf.vault, shelf.kind, &found.header.incarnation);
    let mut scan = Scan::new(snapshot, KeyRange::prefix(&prefix), Direction::Forward);
    let (mut versions, mut bytes) = (Vec::new(), 0);
    while let Some(entry) = scan.next().await? {
        let version = keys::version_of(&entry.key, &prefix).ok_or(SealError::Damaged)?;
        bytes += entry.versioned.value.len();
        if versions.len() == BACKUP_VERSIONS_MAX || bytes > BACKUP_BYTES_MAX {
            return Err(VaultError::bad(format!(
                "A backup takes in at most {BACKUP_VERSIONS_MAX} versions, and {BACKUP_BYTES_MAX} bytes of them."
            )));
        }
        let opened = shelf.opened(&found.header, version, &entry.versioned)?;
        versions.push(BackupVersion {
            version: version.to_string(),
            meta: opened.meta,
            value: SecretText::encode(&opened.value),
        });
    }
    let backup = Backup {
        name: found.header.name,
        current: found.header.current.to_string(),
        policy: found.header.policy,
        versions,
    };
    // Twice: base64 of the values and what is said of them.
    let plain = Json::secret(&backup, 3 * bytes + 64 * 1024)?;
    let bound = bound(shelf.vault, shelf.kind);
    let key = call.vaults.seal.newest(OWNER)?;
    let sealed = key.seal(call.vaults.random.as_ref(), bound.as_bytes(), &[&plain.0])?;
    let answer = json!({"value": body::encode(&sealed)});
    Ok(Outcome::ok(Transaction::new(), Json::of(&answer)))
}

pub(super) async fn restore(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    let shelf = call.shelf();
    let given: RestoreBody = parse(&call.body)?;
    let malformed = || VaultError::bad("The backup is malformed, of another kind, or not of this vault.");
    let sealed = body::decode(&given.value, "value")?;
    let key = call
        .vaults
        .seal
        .key_for(OWNER, &sealed)
        .map_err(|error| match error {
            SealError::Sealed(_) => error.into(),
            SealError::Damaged | SealError::Library(_) => malformed(),
        })?;
    let bound = bound(shelf.vault, shelf.kind);
    let plain = key.open(bound.as_bytes(), &sealed).map_err(|_| malformed())?;
    let backup: Backup = serde_json::from_slice(&plain).map_err(|_| malformed())?;
    let current = Version::parse(&backup.current).ok_or_else(malformed)?;
    if !is_name(&backup.name) {
        return Err(malformed());
    }
    let mut tx = Transaction::new();
    shelf.refuse_deleted(snapshot, &mut tx, &backup.name).await?;
    if shelf.find(snapshot, State::Live, &backup.name).await?.is_some() {
        return Err(VaultError::new(
            ErrorCode::Conflict,
            format!(
                "There is a {} {} already.",
                shelf.kind.noun().to_ascii_lowercase(),
                backup.name
            ),
        ));
    }
    let mut header = Header {
        name: backup.name,
        incarnation: Version::random(call.vaults.random.as_ref()).0,
        current,
        deleted: None,
        policy: backup.policy,
        rotates_at: None,
    };
    let mut newest = None;
    for entry in &backup.versions {
        let version = Version::parse(&entry.version).ok_or_else(malformed)?;
        let value = entry.value.decode("value")?;
        shelf.put_version(&mut tx, &header, version, &entry.meta, &value)?;
        if version == current {
            newest = Some(&entry.meta);
        }
    }
    let newest = newest.ok_or_else(malformed)?;
    shelf.schedule(&mut tx, &mut header, newest);
    shelf.put_header(&mut tx, State::Live, &header, None)?;
    let bundle = call.place().bundle(shelf.kind, &header, current, newest);
    Ok(Outcome::ok(tx, Json::of(&Value::Object(bundle)))
        .about(current)
        .called(header.name))
}
