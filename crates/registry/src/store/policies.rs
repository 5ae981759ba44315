//! What a registry's policies make due: deletion of untagged manifests, purge of what is soft-deleted.
//!
//! A registry has one row for them, and a look every ten minutes; one without policies a look each day, for what it may
//! have left when it had some.

use std::collections::HashMap;

use jiff::Timestamp;
use ledger::{Direction, LedgerError, Scan, Transaction};

use crate::RegistryService;
use crate::error::RegistryError;
use crate::limits::{
    POLICIES_LEFT_PAUSE_SECONDS, POLICIES_PAUSE_SECONDS, POLICIES_ROWS_MAX, SOFT_DELETE_DAYS_DEFAULT,
};
use crate::settings::Registry;
use crate::store::collect::CollectOutcome;
use crate::store::keys::{self, Place};
use crate::store::links::later;
use crate::store::records::{PoliciesRecord, decode, encode};

/// Where the looks at each registry are.
#[derive(Debug, Default)]
pub(crate) struct Looks(HashMap<String, Look>);

/// Where the look at a registry is.
#[derive(Debug, Clone)]
struct Look {
    next: Timestamp,
    /// Where the untagged manifests go on.
    after: Option<ledger::Key>,
}

impl RegistryService {
    /// Does what policies make due, of each registry a bounded part.
    pub(crate) async fn apply_policies(&self, outcome: &mut CollectOutcome) {
        let now = self.clock.now();
        for registry in &self.settings.registries {
            let has_any = registry.retention_days.is_some() || registry.soft_delete_days.is_some();
            let look = {
                let mut looks = self.looks.lock();
                let first = match has_any {
                    true => now,
                    false => later(now, POLICIES_LEFT_PAUSE_SECONDS),
                };
                let begin = || Look {
                    next: first,
                    after: None,
                };
                looks.0.entry(registry.name.clone()).or_insert_with(begin).clone()
            };
            if look.next > now {
                continue;
            }
            let looked = self.look_at_registry(registry, look.after, outcome).await;
            // What one registry has mustn't keep the others', nor the collection.
            let (after, is_all) = looked.unwrap_or_else(|error| {
                tracing::warn!(registry = %registry.name, %error, "a registry's policies failed; they are tried again");
                (None, true)
            });
            let pause = match has_any {
                _ if !is_all => 0,
                true => POLICIES_PAUSE_SECONDS,
                false => POLICIES_LEFT_PAUSE_SECONDS,
            };
            let next = later(now, pause);
            self.looks
                .lock()
                .0
                .insert(registry.name.clone(), Look { next, after });
        }
    }

    /// Looks at a registry: where its untagged manifests go on, and whether everything was seen.
    async fn look_at_registry(
        &self,
        registry: &Registry,
        after: Option<ledger::Key>,
        outcome: &mut CollectOutcome,
    ) -> Result<(Option<ledger::Key>, bool), RegistryError> {
        let policies = self.note_policies(registry).await?;
        let days = registry.soft_delete_days.or(policies.soft_delete_days);
        let purged = self
            .purge_pass(registry, days.unwrap_or(SOFT_DELETE_DAYS_DEFAULT))
            .await?;
        outcome.purged += purged.manifests;
        let mut rest = None;
        let mut is_all = purged.is_all;
        match registry.retention_days.zip(policies.retention_since) {
            Some((days, since)) => {
                let (untagged, after) = self.retention_pass(registry, days, since, after).await?;
                outcome.untagged += untagged;
                rest = after;
                is_all &= rest.is_none();
            }
            None => is_all &= self.drop_marks(registry).await?,
        }
        self.drop_old_messages(registry).await?;
        Ok((rest, is_all))
    }

    /// Notes since when the policies are as they are set.
    async fn note_policies(&self, registry: &Registry) -> Result<PoliciesRecord, RegistryError> {
        let key = &keys::policies(&registry.name);
        self.attempts(move || async move {
            let found = self.ledger.snapshot().await?.get(key).await?;
            let before: PoliciesRecord = found.as_ref().map(decode).transpose()?.unwrap_or_default();
            let now = self.clock.now();
            let wanted = PoliciesRecord {
                retention_since: registry
                    .retention_days
                    .map(|_| before.retention_since.unwrap_or(now)),
                soft_delete_days: registry.soft_delete_days.or(before.soft_delete_days),
            };
            let mut tx = Transaction::new();
            if wanted != before {
                tx.require_version(key.clone(), found.map(|found| found.version));
                tx.put(key.clone(), encode(&wanted)?);
            }
            Ok((tx, wanted))
        })
        .await
    }

    /// Removes marks of a registry that deletes untagged manifests no longer; whether that were all. Whoever turns it on
    /// again begins anew.
    async fn drop_marks(&self, registry: &Registry) -> Result<bool, LedgerError> {
        let snapshot = self.ledger.snapshot().await?;
        let all = keys::untagged_between(&registry.name, Timestamp::MIN, Timestamp::MAX);
        let mut scan = Scan::new(snapshot.as_ref(), all, Direction::Forward);
        let mut tx = Transaction::new();
        let mut rows = 0;
        while rows < POLICIES_ROWS_MAX
            && let Some(entry) = scan.next().await?
        {
            if let Some(timed) = keys::untagged_of(&entry.key) {
                tx.delete(Place::new(&registry.name, &timed.repository).untagged(&timed.digest));
            }
            tx.delete(entry.key);
            rows += 1;
        }
        if !tx.is_empty() {
            self.ledger.commit(tx).await?;
        }
        Ok(rows < POLICIES_ROWS_MAX)
    }
}
