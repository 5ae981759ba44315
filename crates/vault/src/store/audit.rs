//! The audit: who did or wanted what, in the commit of what it tells of.
//!
//! Each request's row is under its commit's number. Rows are sealed in the background: a keyed hash
//! (HMAC-SHA256) over the seal before and all rows since, under a key that is computed from the vault's data
//! key. Whoever changes the ledger without the root key can neither change a sealed row nor take one away
//! without its being found. Rows that no seal covers yet are in the ledger's own chain of hashes.
//!
//! A row sits in a request's own commit, so requests don't wait for each other as they would for a chain
//! from row to row.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ledger::{Direction, KeyRange, Ledger, LedgerError, Scan, Snapshot, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::keys;
use crate::error::VaultError;
use crate::limits::{AUDIT_SEAL_ROWS_MAX, AUDIT_STRANGERS_PER_SECOND_MAX, AUDIT_TEXT_BYTES_MAX};
use crate::rules::roles::Principal;
use crate::seal::{DataKey, Seal, SealError};

const LABEL: &str = "stabbur vault audit";

/// What a request's row is made of. No value of a secret is ever among it.
pub(crate) struct Event<'a> {
    pub(crate) time: jiff::Timestamp,
    pub(crate) vault: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) api_version: Option<&'a str>,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) caller: String,
    pub(crate) request_id: String,
    pub(crate) client_request_id: Option<&'a str>,
    pub(crate) client: Option<&'a str>,
    /// Without its query.
    pub(crate) uri: &'a str,
    /// The object, with its version where the request is about one.
    pub(crate) object: Option<String>,
    pub(crate) status: u16,
    pub(crate) error: Option<&'a VaultError>,
    pub(crate) duration: Duration,
    /// Rows of strangers that weren't written since the last one.
    pub(crate) suppressed: u64,
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(AUDIT_TEXT_BYTES_MAX))
        .unwrap_or_default()
}

impl Event<'_> {
    /// The row, as Azure Monitor has it (category `AuditEvent`).
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut claim = Map::new();
        if let Some(principal) = self.principal {
            claim.insert("oid".to_owned(), cut(&principal.object_id).into());
            for (name, value) in [("upn", &principal.user_name), ("appid", &principal.application)] {
                if let Some(value) = value {
                    claim.insert(name.to_owned(), cut(value).into());
                }
            }
        }
        let mut properties = Map::new();
        for (name, value) in [
            ("id", self.object.as_deref()),
            ("clientInfo", self.client),
            ("clientRequestId", self.client_request_id),
        ] {
            if let Some(value) = value {
                properties.insert(name.to_owned(), cut(value).into());
            }
        }
        properties.insert("requestUri".to_owned(), cut(self.uri).into());
        properties.insert("httpStatusCode".to_owned(), self.status.into());
        if self.suppressed > 0 {
            properties.insert("suppressed".to_owned(), self.suppressed.into());
        }
        let description = self.error.map(|error| {
            let inner = error.body().pointer("/error/innererror/code").cloned();
            match inner.as_ref().and_then(Value::as_str) {
                Some(inner) => format!("{}/{inner}", error.code.name()),
                None => error.code.name().to_owned(),
            }
        });
        let row = json!({
            "time": self.time.to_string(),
            "resourceId": self.vault,
            "operationName": self.operation,
            "operationVersion": self.api_version.map(cut),
            "category": "AuditEvent",
            "resultType": if self.error.is_none() { "Success" } else { "Failed" },
            "resultSignature": http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason()),
            "resultDescription": description,
            "durationMs": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "callerIpAddress": self.caller,
            "correlationId": self.request_id,
            "identity": {"claim": claim},
            "properties": properties,
        });
        row.to_string().into_bytes()
    }

    /// Stages the row.
    pub(crate) fn stage(&self, tx: &mut Transaction) {
        tx.put_sequenced(keys::audit_rows(self.vault), Bytes::new(), self.row());
    }
}

/// How many rows strangers may write.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    second: u64,
    rows: u32,
    suppressed: u64,
}

impl Strangers {
    /// Whether one more may be written at `now`, and how many weren't since the last one that was.
    pub(crate) fn admit(&self, now: Duration) -> Option<u64> {
        let mut window = self.0.lock();
        if window.second != now.as_secs() {
            window.second = now.as_secs();
            window.rows = 0;
        }
        if window.rows >= AUDIT_STRANGERS_PER_SECOND_MAX {
            window.suppressed += 1;
            return None;
        }
        window.rows += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

/// A seal over rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowsSeal {
    /// How many rows.
    rows: u64,
    /// The row that the seal before ends with; 0: none is before.
    after: u64,
    /// The keyed hash, base64.
    hash: String,
    /// The data key that its key is computed from.
    data_key: u32,
}

fn hasher(key: &DataKey) -> Result<hmac::Context, SealError> {
    let key = key.derived(LABEL)?;
    Ok(hmac::Context::with_key(&hmac::Key::new(
        hmac::HMAC_SHA256,
        key.as_slice(),
    )))
}

fn take_in(context: &mut hmac::Context, sequence: u64, row: &[u8]) {
    context.update(&sequence.to_be_bytes());
    context.update(&(row.len() as u64).to_be_bytes());
    context.update(row);
}

fn begin(key: &DataKey, vault: &str, after: u64, previous: &str) -> Result<hmac::Context, SealError> {
    let mut context = hasher(key)?;
    take_in(&mut context, after, previous.as_bytes());
    take_in(&mut context, 0, vault.as_bytes());
    Ok(context)
}

fn decode_seal(value: &[u8]) -> Result<RowsSeal, LedgerError> {
    serde_json::from_slice(value).map_err(|_| LedgerError::Corrupt("the seal of an audit".to_owned()))
}

async fn last_seal(snapshot: &dyn Snapshot, vault: &str) -> Result<Option<(u64, RowsSeal)>, LedgerError> {
    let prefix = keys::audit_seals(vault);
    let mut scan = Scan::new(snapshot, KeyRange::prefix(&prefix), Direction::Backward);
    let Some(entry) = scan.next().await? else {
        return Ok(None);
    };
    let through = keys::sequence_of(&entry.key, &prefix);
    let through = through.ok_or_else(|| LedgerError::Corrupt("the key of an audit's seal".to_owned()))?;
    Ok(Some((through, decode_seal(&entry.versioned.value)?)))
}

/// Seals the rows of a vault that no seal covers yet, up to a bound. Answers how many there were.
///
/// # Errors
/// Those of the ledger; [`VaultError`] `ServiceUnavailable` while the vault is sealed.
pub(crate) async fn seal_rows(ledger: &dyn Ledger, seal: &Seal, vault: &str) -> Result<u64, VaultError> {
    let key = seal.newest(vault)?;
    let snapshot = ledger.snapshot().await?;
    let last = last_seal(snapshot.as_ref(), vault).await?;
    let after = last.as_ref().map_or(0, |(through, _)| *through);
    let previous = last.map(|(_, seal)| seal.hash).unwrap_or_default();
    let prefix = keys::audit_rows(vault);
    let range = KeyRange::prefix_from(&prefix, keys::audit_row(vault, after.saturating_add(1)));
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let mut context = begin(&key, vault, after, &previous)?;
    let (mut rows, mut through) = (0, after);
    while rows < AUDIT_SEAL_ROWS_MAX as u64
        && let Some(entry) = scan.next().await?
    {
        through = keys::sequence_of(&entry.key, &prefix).ok_or(SealError::Damaged)?;
        take_in(&mut context, through, &entry.versioned.value);
        rows += 1;
    }
    if rows == 0 {
        return Ok(0);
    }
    let sealed = RowsSeal {
        rows,
        after,
        hash: STANDARD.encode(context.sign()),
        data_key: key.number,
    };
    let value = serde_json::to_vec(&sealed).map_err(|_| SealError::Library("writing a record"))?;
    let mut tx = Transaction::new();
    let at = keys::audit_seal(vault, through);
    tx.require_absent(at.clone());
    tx.put(at, value);
    match ledger.commit(tx).await {
        // Another node sealed the same rows.
        Ok(_) | Err(LedgerError::Conflict(_)) => Ok(rows),
        Err(error) => Err(error.into()),
    }
}

/// What was found when an audit was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Rows under seals that are whole.
    pub sealed_rows: u64,
    /// Seals that are whole.
    pub seals: u64,
    /// Rows that no seal covers yet.
    pub newer_rows: u64,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Computes all seals of a vault's audit again.
///
/// # Errors
/// Those of the ledger; [`VaultError`] `ServiceUnavailable` without the root key.
pub async fn verify(ledger: &dyn Ledger, seal: &Seal, vault: &str) -> Result<AuditReport, VaultError> {
    let snapshot = ledger.snapshot().await?;
    let prefix = keys::audit_rows(vault);
    let mut rows = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let seals_prefix = keys::audit_seals(vault);
    let mut seals = Scan::new(
        snapshot.as_ref(),
        KeyRange::prefix(&seals_prefix),
        Direction::Forward,
    );
    let mut report = AuditReport::default();
    let (mut after, mut previous) = (0, String::new());
    let mut next_row = rows.next().await?;
    let key = seal.newest(vault)?;
    while let Some(entry) = seals.next().await? {
        let through = keys::sequence_of(&entry.key, &seals_prefix).ok_or(SealError::Damaged)?;
        let sealed = decode_seal(&entry.versioned.value)?;
        let key = if sealed.data_key == key.number {
            key.clone()
        } else {
            seal.numbered(vault, sealed.data_key)?
        };
        let mut context = begin(&key, vault, after, &previous)?;
        let mut count = 0;
        while let Some(row) = &next_row {
            let sequence = keys::sequence_of(&row.key, &prefix).ok_or(SealError::Damaged)?;
            if sequence > through {
                break;
            }
            take_in(&mut context, sequence, &row.versioned.value);
            count += 1;
            next_row = rows.next().await?;
        }
        let is_whole =
            sealed.after == after && sealed.rows == count && STANDARD.encode(context.sign()) == sealed.hash;
        if is_whole {
            report.sealed_rows += count;
            report.seals += 1;
        } else {
            report.faults.push(format!(
                "vault {vault}: rows {} to {through} aren't those that were sealed: {count} rows, {} were sealed",
                after + 1,
                sealed.rows
            ));
        }
        (after, previous) = (through, sealed.hash);
    }
    while next_row.is_some() {
        report.newer_rows += 1;
        next_row = rows.next().await?;
    }
    Ok(report)
}

/// Gives the rows of a vault, oldest first, with their numbers.
///
/// # Errors
/// Those of the ledger.
pub async fn read(
    ledger: &dyn Ledger,
    vault: &str,
    after: u64,
    mut each: impl FnMut(u64, &[u8]),
) -> Result<(), LedgerError> {
    let snapshot = ledger.snapshot().await?;
    let prefix = keys::audit_rows(vault);
    let range = KeyRange::prefix_from(&prefix, keys::audit_row(vault, after.saturating_add(1)));
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    while let Some(entry) = scan.next().await? {
        if let Some(sequence) = keys::sequence_of(&entry.key, &prefix) {
            each(sequence, &entry.versioned.value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_write_no_more_than_their_share() {
        let strangers = Strangers::default();
        let second = Duration::from_secs(7);
        for _ in 0..AUDIT_STRANGERS_PER_SECOND_MAX {
            assert_eq!(strangers.admit(second), Some(0));
        }
        assert_eq!(strangers.admit(second), None);
        assert_eq!(strangers.admit(second), None);
        assert_eq!(strangers.admit(Duration::from_secs(8)), Some(2));
        assert_eq!(strangers.admit(Duration::from_secs(8)), Some(0));
    }
}
