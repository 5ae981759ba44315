//! The background work: what is due is purged or rotated, what a purge left over goes, the audit is sealed.
//!
//! Each step is a commit of its own, so a process that dies in between goes on after its restart.

use ledger::{Direction, Key, KeyRange, LedgerError, Scan, Transaction};

use crate::Vaults;
use crate::error::VaultError;
use crate::limits::{PURGE_VERSIONS_MAX, ROUND_OBJECTS_MAX};
use crate::operation::Operation;
use crate::operations::{make_like, stage_purge, stage_rotation};
use crate::rules::names::Kind;
use crate::rules::roles::Principal;
use crate::store::event::Event;
use crate::store::keys::{self, State};
use crate::store::objects::{Found, Shelf};
use crate::store::refusals::Suppressed;
use crate::store::{audit, retention};

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Objects whose time had come.
    pub purged: usize,
    /// Keys that got a new version.
    pub rotated: usize,
    /// Audit rows that were sealed.
    pub audit_rows: u64,
    /// Audit rows that were dropped, as their time was over.
    pub audit_rows_dropped: u64,
}

impl Vaults {
    /// One round. For a vault that is sealed its audit isn't sealed, and its keys aren't rotated.
    ///
    /// # Errors
    /// The first failure; what is left is for the next round.
    pub async fn sweep_once(&self) -> Result<Swept, VaultError> {
        let mut swept = Swept::default();
        // One that fails, over a damaged record perhaps, holds up none of the others.
        let mut first = self.purge_due(&mut swept).await;
        first = first.and(self.purge_left_over().await);
        first = first.and(self.rotate_due(&mut swept).await);
        first = first.and(self.write_refusals().await);
        for vault in &self.settings.vaults {
            let (ledger, seal) = (self.ledger.as_ref(), self.seal.as_ref());
            // It was said at the start; what needs no data key is done all the same.
            if seal.cause_of(&vault.name).is_some() {
                continue;
            }
            match audit::seal_rows(ledger, seal, &self.heads, &vault.name, self.now()).await {
                Ok(rows) => swept.audit_rows += rows,
                Err(error) => first = first.and(Err(error)),
            }
            let Some(days) = vault.audit_days else { continue };
            let before = self.now() - i64::from(days) * 86_400;
            match retention::drop_rows(ledger, seal, &self.heads, &vault.name, before).await {
                Ok(rows) => swept.audit_rows_dropped += rows,
                Err(error) => first = first.and(Err(error)),
            }
        }
        first.map(|()| swept)
    }

    /// Commits a step; whether nobody was quicker.
    async fn step(&self, tx: Transaction) -> Result<bool, VaultError> {
        match self.ledger.commit(tx).await {
            Ok(_) => Ok(true),
            // Somebody recovered, purged or changed it: the next round sees how it is then.
            Err(LedgerError::Conflict(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The first entries of a range, so that no snapshot is open while they are worked on.
    async fn due(&self, range: KeyRange) -> Result<Vec<Key>, VaultError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut due = Vec::new();
        while due.len() < ROUND_OBJECTS_MAX
            && let Some(entry) = scan.next().await?
        {
            due.push(entry.key);
        }
        Ok(due)
    }

    async fn purge_due(&self, swept: &mut Swept) -> Result<(), VaultError> {
        for due in self.due(keys::purges_until(self.now())).await? {
            let Some((at, vault, kind, name)) = keys::read_purge(&due) else {
                continue;
            };
            let shelf = Shelf {
                vaults: self,
                vault: &vault,
                kind,
            };
            // One that fails, over a damaged record perhaps, holds up none of the others.
            match self.purge_one(shelf, &due, at, &name).await {
                Ok(true) => swept.purged += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(vault, name, %error, "a deleted object wasn't purged; it is tried again");
                }
            }
        }
        Ok(())
    }

    /// Purges an object whose time has come, or takes its entry away if it isn't deleted any more.
    async fn purge_one(&self, shelf: Shelf<'_>, due: &Key, at: i64, name: &str) -> Result<bool, VaultError> {
        let snapshot = self.ledger.snapshot().await?;
        let found = shelf.find(snapshot.as_ref(), State::Deleted, name).await?;
        let mut tx = Transaction::new();
        let is_due = |found: &Found| found.header.deleted.is_some_and(|deleted| deleted.purge_at == at);
        let Some(found) = found.filter(is_due) else {
            // It was recovered, and its entry is left of a time when that wasn't seen.
            tx.delete(due.clone());
            self.step(tx).await?;
            return Ok(false);
        };
        stage_purge(shelf, snapshot.as_ref(), &mut tx, &found).await?;
        drop(snapshot);
        let operation = match shelf.kind {
            Kind::Secret => Operation::SecretPurge,
            Kind::Key => Operation::KeyPurge,
            Kind::Certificate => Operation::CertificatePurge,
        };
        self.note(&mut tx, shelf, operation, &found.header.name, 204);
        self.step(tx).await
    }

    /// The audit row of what the vault does by itself.
    fn note(&self, tx: &mut Transaction, shelf: Shelf<'_>, operation: Operation, name: &str, status: u16) {
        let event = Event {
            time: self.clock.now(),
            vault: shelf.vault,
            operation: operation.name(),
            api_version: None,
            principal: None,
            caller: "background".to_owned(),
            request_id: self.random.uuid().to_string(),
            client_request_id: None,
            client: None,
            uri: "",
            object: Some(format!("{}/{name}", shelf.kind.collection())),
            status,
            error: None,
            duration: std::time::Duration::ZERO,
            suppressed: Suppressed::default(),
        };
        event.stage(tx);
    }

    /// Writes how often callers were refused without rows of their own, where no later row told it.
    async fn write_refusals(&self) -> Result<(), VaultError> {
        for ((vault, principal), suppressed) in self.refusals.take_counted(self.clock.monotonic()) {
            let Some(last) = suppressed.last.clone() else {
                continue;
            };
            let error = VaultError::new(last.code, "");
            let principal = principal.map(|object_id| Principal {
                object_id,
                ..Principal::default()
            });
            let event = Event {
                time: self.clock.now(),
                vault: &vault,
                operation: last.operation,
                api_version: None,
                principal: principal.as_ref(),
                caller: last.caller,
                request_id: self.random.uuid().to_string(),
                client_request_id: None,
                client: None,
                uri: "",
                object: None,
                status: last.code.status().as_u16(),
                error: Some(&error),
                duration: std::time::Duration::ZERO,
                suppressed,
            };
            let mut tx = Transaction::new();
            event.stage(&mut tx);
            self.step(tx).await?;
        }
        Ok(())
    }

    async fn purge_left_over(&self) -> Result<(), VaultError> {
        for left in self.due(keys::all_left_over()).await? {
            let Some((vault, kind, incarnation)) = keys::read_left_over(&left) else {
                continue;
            };
            let prefix = keys::versions(&vault, kind, &incarnation);
            if let Err(error) = self.purge_versions(&left, prefix).await {
                tracing::warn!(vault, %error, "what a purge left over stays for now; it is tried again");
            }
        }
        Ok(())
    }

    async fn purge_versions(&self, left: &Key, prefix: Key) -> Result<bool, VaultError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut versions = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
        let mut tx = Transaction::new();
        let mut count = 0;
        while let Some(version) = versions.next().await? {
            if count == PURGE_VERSIONS_MAX {
                break;
            }
            tx.delete(version.key);
            count += 1;
        }
        if count < PURGE_VERSIONS_MAX {
            tx.delete(left.clone());
        }
        drop(versions);
        drop(snapshot);
        self.step(tx).await
    }

    async fn rotate_due(&self, swept: &mut Swept) -> Result<(), VaultError> {
        let now = self.now();
        for due in self.due(keys::rotations_until(now)).await? {
            let Some((at, vault, name)) = keys::read_rotation(&due) else {
                continue;
            };
            let shelf = Shelf {
                vaults: self,
                vault: &vault,
                kind: Kind::Key,
            };
            // One that fails, over a damaged record perhaps, holds up none of the others.
            match self.rotate_one(shelf, &due, at, &name).await {
                Ok(true) => swept.rotated += 1,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(vault, key = name, %error, "a key wasn't rotated; it is tried again");
                }
            }
        }
        Ok(())
    }

    /// Rotates a key that is due, or takes its entry away if it isn't any more.
    async fn rotate_one(&self, shelf: Shelf<'_>, due: &Key, at: i64, name: &str) -> Result<bool, VaultError> {
        let is_due = |found: &Found| found.header.rotates_at == Some(at);
        let snapshot = self.ledger.snapshot().await?;
        let found = shelf.find(snapshot.as_ref(), State::Live, name).await?;
        drop(snapshot);
        let mut tx = Transaction::new();
        if !found.as_ref().is_some_and(is_due) {
            tx.delete(due.clone());
            self.step(tx).await?;
            return Ok(false);
        }
        let made = make_like(shelf, name).await?;
        let snapshot = self.ledger.snapshot().await?;
        let found = shelf.find(snapshot.as_ref(), State::Live, name).await?;
        let Some(found) = found.filter(is_due) else {
            return Ok(false);
        };
        stage_rotation(shelf, snapshot.as_ref(), &mut tx, &found, self.now(), &made).await?;
        drop(snapshot);
        self.note(&mut tx, shelf, Operation::KeyRotate, &found.header.name, 200);
        self.step(tx).await
    }
}
