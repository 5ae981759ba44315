//! The protocol's operations. Each reads from a snapshot and stages what it changes; who called and whether
//! that is allowed was decided before, and the audit row is added behind.

mod backup;
mod crypto;
mod deleted;
mod keys;
mod list;
mod rotation;
mod secrets;

use ledger::Snapshot;

use crate::crypto::MadeKey;
use crate::error::{ErrorCode, VaultError};
use crate::operation::Operation as O;
use crate::service::{Call, Outcome};
pub(crate) use deleted::stage_purge;
pub(crate) use rotation::{make_like, stage_rotation};

/// Runs the operation that a call is about. No snapshot of it is open any more when this returns, nor while keys
/// are made or used: engines have few of them. `made` is the key that the request made, for when it is run again.
pub(crate) async fn run(call: &Call<'_>, made: &mut Option<MadeKey>) -> Result<Outcome, VaultError> {
    match call.target.operation {
        O::KeyCreate => keys::create(call, made).await,
        O::KeyImport => keys::import(call, made).await,
        O::KeyRotate => rotation::rotate(call, made).await,
        O::KeyEncrypt | O::KeyDecrypt | O::KeyWrap | O::KeyUnwrap | O::KeySign | O::KeyVerify => {
            crypto::run(call).await
        }
        _ => {
            let snapshot = call.vaults.ledger.snapshot().await?;
            read_or_stage(call, snapshot.as_ref()).await
        }
    }
}

async fn read_or_stage(call: &Call<'_>, snapshot: &dyn Snapshot) -> Result<Outcome, VaultError> {
    match call.target.operation {
        O::SecretSet => secrets::set(call, snapshot).await,
        O::SecretGet => secrets::get(call, snapshot).await,
        O::SecretUpdate => secrets::update(call, snapshot).await,
        O::SecretList | O::KeyList => list::live(call, snapshot).await,
        O::SecretListVersions | O::KeyListVersions => list::versions(call, snapshot).await,
        O::SecretListDeleted | O::KeyListDeleted => list::deleted(call, snapshot).await,
        O::SecretDelete | O::KeyDelete => deleted::delete(call, snapshot).await,
        O::SecretGetDeleted | O::KeyGetDeleted => deleted::get(call, snapshot).await,
        O::SecretRecover | O::KeyRecover => deleted::recover(call, snapshot).await,
        O::SecretPurge | O::KeyPurge => deleted::purge(call, snapshot).await,
        O::SecretBackup | O::KeyBackup => backup::backup(call, snapshot).await,
        O::SecretRestore | O::KeyRestore => backup::restore(call, snapshot).await,
        O::KeyGet => keys::get(call, snapshot).await,
        O::KeyUpdate => keys::update(call, snapshot).await,
        O::KeyGetRotationPolicy => rotation::get_policy(call, snapshot).await,
        O::KeySetRotationPolicy => rotation::set_policy(call, snapshot).await,
        // Refused before, by the table of operations.
        other => Err(VaultError::new(ErrorCode::NotImplemented, other.name())),
    }
}
