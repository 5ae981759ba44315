//! The head of an audit's chain: the one record that says where the chain ends.
//!
//! Invariant: it is made in the commit that makes the vault's data key, and replaced only in a commit that
//! adds a seal or drops rows, which requires it as it was read. So two sealers can't both go on from one end,
//! and without a head there is no chain to begin anew. It is hashed with a key of the data key: who doesn't
//! have the root key can put back a head that was there before, and nothing else.

use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::{Key, LedgerError, Sequence, Snapshot, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::keys;
use crate::seal::{DataKey, Seal, SealError};

const LABEL: &str = "stabbur vault audit head";

/// Why an audit's chain can't be gone on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// There is none, or it isn't the vault's own.
    #[error("the audit's head is {0}")]
    Fault(&'static str),
    /// This process saw a later one.
    #[error("the audit went back: its head is at {found}, and was at {seen}")]
    WentBack { found: u64, seen: u64 },
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    /// The last row that is sealed; 0: none is.
    pub(crate) sequence: u64,
    /// The hash of the seal over it; empty: there is none.
    pub(crate) hash: String,
    /// The last row that was dropped, as its time was over.
    pub(crate) dropped: u64,
    /// The data key that the hash of this record is computed with.
    data_key: u32,
    mac: String,
}

fn hashed(
    key: &DataKey,
    vault: &str,
    sequence: u64,
    hash: &str,
    dropped: u64,
) -> Result<hmac::Context, SealError> {
    let bytes = key.derived(LABEL)?;
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()));
    for text in [vault, hash] {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text.as_bytes());
    }
    context.update(&sequence.to_be_bytes());
    context.update(&dropped.to_be_bytes());
    Ok(context)
}

impl Head {
    pub(crate) fn new(
        key: &DataKey,
        vault: &str,
        sequence: u64,
        hash: String,
        dropped: u64,
    ) -> Result<Self, SealError> {
        let mac = hashed(key, vault, sequence, &hash, dropped)?.sign();
        Ok(Self {
            sequence,
            hash,
            dropped,
            data_key: key.number,
            mac: STANDARD.encode(mac),
        })
    }

    fn is_own(&self, key: &DataKey, vault: &str) -> Result<bool, SealError> {
        let wanted = hashed(key, vault, self.sequence, &self.hash, self.dropped)?.sign();
        let mac = STANDARD.decode(&self.mac).unwrap_or_default();
        Ok(aws_lc_rs::constant_time::verify_slices_are_equal(wanted.as_ref(), &mac).is_ok())
    }

    /// Stages it in place of the one that was read.
    pub(crate) fn stage(
        &self,
        tx: &mut Transaction,
        vault: &str,
        was: Option<Sequence>,
    ) -> Result<(), SealError> {
        let value = serde_json::to_vec(self).map_err(|_| SealError::Library("writing a record"))?;
        tx.require_version(keys::audit_head(vault), was);
        tx.put(keys::audit_head(vault), value);
        Ok(())
    }
}

/// Stages the head of a vault that has no rows yet, together with its data key.
pub(crate) fn stage_first(tx: &mut Transaction, key: &DataKey, vault: &str) -> Result<(), SealError> {
    Head::new(key, vault, 0, String::new(), 0)?.stage(tx, vault, None)
}

/// The head of a vault's audit and the commit that wrote it, or why there is none.
pub(crate) async fn read(
    snapshot: &dyn Snapshot,
    seal: &Seal,
    vault: &str,
) -> Result<Result<(Head, Sequence), HeadError>, LedgerError> {
    let at: Key = keys::audit_head(vault);
    let Some(found) = snapshot.get(&at).await? else {
        return Ok(Err(HeadError::Fault("missing: it was taken away")));
    };
    let head: Option<Head> = serde_json::from_slice(&found.value).ok();
    let own = head.filter(|head| {
        let key = seal.numbered(vault, head.data_key);
        key.is_ok_and(|key| head.is_own(&key, vault).unwrap_or(false))
    });
    Ok(own
        .map(|head| (head, found.version))
        .ok_or(HeadError::Fault("not one that the vault wrote")))
}

/// The last heads that a process saw.
#[derive(Debug, Default)]
pub(crate) struct HeadsSeen(Mutex<HashMap<String, (u64, String)>>);

impl HeadsSeen {
    /// Notes a head, unless an earlier one was further, or another one at the same row.
    pub(crate) fn note(&self, vault: &str, head: &Head) -> Result<(), HeadError> {
        let mut seen = self.0.lock();
        let now = (head.sequence, head.hash.clone());
        let Some(before) = seen.get_mut(vault) else {
            seen.insert(vault.to_owned(), now);
            return Ok(());
        };
        if now.0 < before.0 || (now.0 == before.0 && now.1 != before.1) {
            return Err(HeadError::WentBack {
                found: now.0,
                seen: before.0,
            });
        }
        *before = now;
        Ok(())
    }
}
