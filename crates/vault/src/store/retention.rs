//! What becomes of audit rows whose time is over: whole sealed stretches go, their seals stay.
//!
//! Invariant: rows go in the commit that moves the head's mark of what was dropped, and only after their seal
//! was found whole. So the chain of seals stays whole, and rows that are missing behind the mark were taken.

use ledger::{Direction, KeyRange, Ledger, LedgerError, Scan, Transaction};

use super::audit::{Stretch, fault};
use super::head::{self, Head, HeadsSeen};
use super::keys;
use crate::error::VaultError;
use crate::limits::AUDIT_DROPS_MAX;
use crate::seal::{Seal, SealError};

/// Drops the stretches of a vault that were sealed before `before` (Unix seconds), some of them a call. Answers
/// how many rows went.
///
/// # Errors
/// Those of the ledger; [`VaultError`] `ServiceUnavailable` while the vault is sealed, `InternalError` if a
/// stretch isn't what was sealed: it stays then.
pub(crate) async fn drop_rows(
    ledger: &dyn Ledger,
    seal: &Seal,
    seen: &HeadsSeen,
    vault: &str,
    before: i64,
) -> Result<u64, VaultError> {
    let key = seal.newest(vault)?;
    let mut dropped = 0;
    for _ in 0..AUDIT_DROPS_MAX {
        let snapshot = ledger.snapshot().await?;
        let head = head::read(snapshot.as_ref(), seal, vault).await?;
        let (head, version) = head.map_err(|error| fault(vault, &error))?;
        seen.note(vault, &head).map_err(|error| fault(vault, &error))?;
        let Some(stretch) = Stretch::after(snapshot.as_ref(), vault, head.dropped).await? else {
            break;
        };
        if stretch.time() >= before {
            break;
        }
        let previous = Stretch::hash_at(snapshot.as_ref(), vault, head.dropped).await?;
        let prefix = keys::audit_rows(vault);
        let mut rows = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
        let mut hashed = stretch.begin(seal, vault, head.dropped, &previous)?;
        let mut tx = Transaction::new();
        let mut count = 0;
        while let Some(row) = rows.next().await? {
            let sequence = keys::sequence_of(&row.key, &prefix).ok_or(SealError::Damaged)?;
            if sequence > stretch.through {
                break;
            }
            hashed.take_in(sequence, &row.versioned.value);
            tx.delete(row.key);
            count += 1;
        }
        drop(rows);
        drop(snapshot);
        if !hashed.makes_up(&stretch) {
            return Err(fault(
                vault,
                &"rows that are to be dropped aren't those that were sealed",
            ));
        }
        let next = Head::new(&key, vault, head.sequence, head.hash, stretch.through)?;
        next.stage(&mut tx, vault, Some(version))?;
        match ledger.commit(tx).await {
            Ok(_) => dropped += count,
            Err(LedgerError::Conflict(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(dropped)
}
