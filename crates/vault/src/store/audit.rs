//! The audit's chain: who did or wanted what, in the commit of what it tells of, sealed in the background.
//!
//! Each request's row is under its commit's number. A seal is a keyed hash (HMAC-SHA256) over the seal before
//! and all rows since, under a key that is computed from the vault's data key; the chain's end is in its head
//! ([`super::head`]). Whoever changes the ledger without the root key can neither change a sealed row nor take
//! one away without its being found, with one exception: rows, seals and head put back together to an
//! earlier state are whole. A process that saw a later head refuses to go on; over a restart, only a head that
//! was kept elsewhere shows it, which is what `--head` of `stabbur audit verify` is for. Rows that no seal covers
//! yet are in the ledger's own chain of hashes, which has no key.
//!
//! A row sits in a request's own commit, so requests don't wait for each other as they would for a chain
//! from row to row.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ledger::{Direction, KeyRange, Ledger, LedgerError, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use super::head::{self, Head, HeadsSeen};
use super::keys;
use crate::error::{ErrorCode, VaultError};
use crate::limits::AUDIT_SEAL_ROWS_MAX;
use crate::seal::{DataKey, Seal, SealError};

const LABEL: &str = "stabbur vault audit";

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
    /// When it was made, Unix seconds.
    time: i64,
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

fn begin(
    key: &DataKey,
    vault: &str,
    time: i64,
    after: u64,
    previous: &str,
) -> Result<hmac::Context, SealError> {
    let mut context = hasher(key)?;
    take_in(&mut context, after, previous.as_bytes());
    take_in(&mut context, 0, vault.as_bytes());
    context.update(&time.to_be_bytes());
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

/// Rows that one seal covers.
pub(super) struct Stretch {
    /// Its last row.
    pub(super) through: u64,
    sealed: RowsSeal,
}

/// Rows of a stretch as they are taken in again.
pub(super) struct Again {
    context: hmac::Context,
    after: u64,
    rows: u64,
}

impl Again {
    pub(super) fn take_in(&mut self, sequence: u64, row: &[u8]) {
        take_in(&mut self.context, sequence, row);
        self.rows += 1;
    }

    pub(super) fn makes_up(self, stretch: &Stretch) -> bool {
        let sealed = &stretch.sealed;
        sealed.after == self.after
            && sealed.rows == self.rows
            && STANDARD.encode(self.context.sign()) == sealed.hash
    }
}

impl Stretch {
    /// When it was sealed, Unix seconds; part of what was sealed.
    pub(super) fn time(&self) -> i64 {
        self.sealed.time
    }

    /// The first one behind a row.
    pub(super) async fn after(
        snapshot: &dyn Snapshot,
        vault: &str,
        row: u64,
    ) -> Result<Option<Self>, LedgerError> {
        let prefix = keys::audit_seals(vault);
        let range = KeyRange::prefix_from(&prefix, keys::audit_seal(vault, row.saturating_add(1)));
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let Some(entry) = scan.next().await? else {
            return Ok(None);
        };
        let through = keys::sequence_of(&entry.key, &prefix);
        Ok(Some(Self {
            through: through.ok_or_else(|| LedgerError::Corrupt("the key of an audit's seal".to_owned()))?,
            sealed: decode_seal(&entry.versioned.value)?,
        }))
    }

    /// The hash of the seal that ends at a row; empty if none does.
    pub(super) async fn hash_at(
        snapshot: &dyn Snapshot,
        vault: &str,
        row: u64,
    ) -> Result<String, LedgerError> {
        match snapshot.get(&keys::audit_seal(vault, row)).await? {
            Some(found) => Ok(decode_seal(&found.value)?.hash),
            None => Ok(String::new()),
        }
    }

    pub(super) fn begin(
        &self,
        seal: &Seal,
        vault: &str,
        after: u64,
        previous: &str,
    ) -> Result<Again, SealError> {
        let key = seal.numbered(vault, self.sealed.data_key)?;
        Ok(Again {
            context: begin(&key, vault, self.sealed.time, after, previous)?,
            after,
            rows: 0,
        })
    }
}

pub(super) fn fault(vault: &str, cause: &dyn std::fmt::Display) -> VaultError {
    tracing::error!(vault, %cause, "the audit isn't sealed any more: its chain was changed behind the server's back");
    VaultError::new(
        ErrorCode::InternalError,
        format!("The audit can't be gone on with: {cause}."),
    )
}

/// Seals the rows of a vault that no seal covers yet, up to a bound. Answers how many there were.
///
/// # Errors
/// Those of the ledger; [`VaultError`] `ServiceUnavailable` while the vault is sealed, `InternalError` if the
/// chain doesn't end where its head says, or went back since this process saw it: nothing is sealed then, as a
/// seal would vouch for rows that were changed.
pub(crate) async fn seal_rows(
    ledger: &dyn Ledger,
    seal: &Seal,
    seen: &HeadsSeen,
    vault: &str,
    now: i64,
) -> Result<u64, VaultError> {
    let key = seal.newest(vault)?;
    let snapshot = ledger.snapshot().await?;
    let head = head::read(snapshot.as_ref(), seal, vault).await?;
    let (head, version) = head.map_err(|error| fault(vault, &error))?;
    seen.note(vault, &head).map_err(|error| fault(vault, &error))?;
    let last = last_seal(snapshot.as_ref(), vault).await?;
    let (through, hash) = last.map_or((0, String::new()), |(through, seal)| (through, seal.hash));
    if (through, &hash) != (head.sequence, &head.hash) {
        return Err(fault(vault, &"the newest seal isn't the one that its head names"));
    }
    let after = head.sequence;
    let prefix = keys::audit_rows(vault);
    let range = KeyRange::prefix_from(&prefix, keys::audit_row(vault, after.saturating_add(1)));
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let mut context = begin(&key, vault, now, after, &head.hash)?;
    let (mut rows, mut through) = (0, after);
    while rows < AUDIT_SEAL_ROWS_MAX as u64
        && let Some(entry) = scan.next().await?
    {
        through = keys::sequence_of(&entry.key, &prefix).ok_or(SealError::Damaged)?;
        take_in(&mut context, through, &entry.versioned.value);
        rows += 1;
    }
    drop(scan);
    drop(snapshot);
    if rows == 0 {
        return Ok(0);
    }
    let sealed = RowsSeal {
        rows,
        after,
        hash: STANDARD.encode(context.sign()),
        time: now,
        data_key: key.number,
    };
    let value = serde_json::to_vec(&sealed).map_err(|_| SealError::Library("writing a record"))?;
    let mut tx = Transaction::new();
    let at = keys::audit_seal(vault, through);
    tx.require_absent(at.clone());
    tx.put(at, value);
    let next = Head::new(&key, vault, through, sealed.hash, head.dropped)?;
    next.stage(&mut tx, vault, Some(version))?;
    match ledger.commit(tx).await {
        Ok(_) => {
            seen.note(vault, &next).map_err(|error| fault(vault, &error))?;
            tracing::info!(
                vault,
                rows,
                head = format!("{through}:{}", next.hash),
                "rows of the audit were sealed"
            );
            Ok(rows)
        }
        // Another node sealed from the same end: the next round goes on from its.
        Err(LedgerError::Conflict(_)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// What was found when an audit was verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Rows under seals.
    pub sealed_rows: u64,
    /// Rows that were dropped, as their time was over.
    pub dropped_rows: u64,
    /// Seals that are whole.
    pub seals: u64,
    /// Rows that no seal covers yet.
    pub newer_rows: u64,
    /// Where the chain ends: the last sealed row and its seal's hash. Kept elsewhere, it shows later that the
    /// ledger wasn't put back.
    pub head: (u64, String),
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Computes all seals of a vault's audit again. `known`: a head of before, the number of a row and the hash of
/// the seal that ends there, which must be in the chain.
///
/// # Errors
/// Those of the ledger; [`VaultError`] `ServiceUnavailable` without the root key.
pub async fn verify(
    ledger: &dyn Ledger,
    seal: &Seal,
    vault: &str,
    known: Option<(u64, &str)>,
) -> Result<AuditReport, VaultError> {
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
    // Without its root key nothing is said of a vault.
    seal.newest(vault)?;
    let head = head::read(snapshot.as_ref(), seal, vault).await?;
    let dropped = head.as_ref().map_or(0, |(head, _)| head.dropped);
    let (mut after, mut previous) = (0, String::new());
    let mut next_row = rows.next().await?;
    let mut is_known = known.is_none_or(|known| known == (0, ""));
    while let Some(entry) = seals.next().await? {
        let through = keys::sequence_of(&entry.key, &seals_prefix).ok_or(SealError::Damaged)?;
        let stretch = Stretch {
            through,
            sealed: decode_seal(&entry.versioned.value)?,
        };
        let mut again = stretch.begin(seal, vault, after, &previous)?;
        while let Some(row) = &next_row {
            let sequence = keys::sequence_of(&row.key, &prefix).ok_or(SealError::Damaged)?;
            if sequence > through {
                break;
            }
            again.take_in(sequence, &row.versioned.value);
            next_row = rows.next().await?;
        }
        let (count, sealed) = (again.rows, stretch.sealed.clone());
        let is_whole = if through <= dropped {
            // Its rows went when their time was over; the next seal vouches for this one's hash.
            report.dropped_rows += sealed.rows;
            count == 0 && sealed.after == after
        } else {
            report.sealed_rows += count;
            again.makes_up(&stretch)
        };
        if is_whole {
            report.seals += 1;
        } else {
            report.faults.push(format!(
                "vault {vault}: rows {} to {through} aren't those that were sealed: {count} rows, {} were sealed",
                after + 1,
                sealed.rows
            ));
        }
        is_known |= is_whole && known == Some((through, sealed.hash.as_str()));
        (after, previous) = (through, sealed.hash);
    }
    match head {
        Ok((head, _)) if (head.sequence, &head.hash) == (after, &previous) => {}
        Ok((head, _)) => report.faults.push(format!(
            "vault {vault}: the seals end at row {after}, and the head says {}: seals were taken away or put in",
            head.sequence
        )),
        Err(error) => report.faults.push(format!("vault {vault}: {error}")),
    }
    if let Some((sequence, _)) = known
        && !is_known
    {
        report.faults.push(format!(
            "vault {vault}: no seal at row {sequence} has the hash that is given: the audit was put back, or isn't this one"
        ));
    }
    report.head = (after, previous);
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
