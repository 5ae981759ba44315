//! Which mutations were made, by their idempotency keys.

use std::time::Duration;

use jiff::ToSpan;
use ledger::{Direction, Scan, Transaction};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{View, keys};
use crate::Platform;
use crate::error::PlatformError;
use crate::limits::{FORGETTING_SECONDS_MAX, IDEMPOTENCY_HOURS, IDEMPOTENCY_KEYS_PER_ROUND_MAX};

/// A mutation that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Done {
    /// The instance's guid.
    pub(crate) instance: Uuid,
    /// The version that it was made of.
    pub(crate) previous: i64,
    /// The version that it made.
    pub(crate) produced: i64,
    /// The elements that it made, in the order asked.
    pub(crate) created: Vec<String>,
    /// SHA-256 of what was asked for, in hexadecimal; older rows don't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
    /// Who asked; older rows don't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) performed_by: Option<String>,
}

impl Platform {
    /// The mutation with a key; `None` if there was none.
    pub(crate) async fn stored_mutation(
        &self,
        view: &View,
        key: &Uuid,
    ) -> Result<Option<Done>, PlatformError> {
        let found = view.snapshot.get(&keys::mutation(key)).await?;
        let read = |value: &[u8]| {
            serde_json::from_slice(value)
                .map_err(|error| PlatformError::Internal(format!("the mutation {key}: {error}")))
        };
        found.map(|found| read(&found.value)).transpose()
    }

    /// Stages that a mutation with `key` was made, and that none was before.
    pub(crate) fn stage_mutation(
        &self,
        tx: &mut Transaction,
        key: &Uuid,
        done: &Done,
    ) -> Result<(), PlatformError> {
        let value = serde_json::to_vec(done).map_err(|error| PlatformError::Internal(error.to_string()))?;
        tx.require_absent(keys::mutation(key));
        tx.put(keys::mutation(key), value);
        tx.put(
            keys::mutation_time(self.clock.now().as_microsecond(), key),
            Vec::new(),
        );
        Ok(())
    }

    /// Forgets idempotency keys that are older than [`IDEMPOTENCY_HOURS`], for [`FORGETTING_SECONDS_MAX`] at most.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn forget_mutations(&self) -> Result<usize, PlatformError> {
        let until = self.clock.monotonic() + Duration::from_secs(FORGETTING_SECONDS_MAX);
        let mut forgotten = 0;
        loop {
            let page = self.forget_some_mutations().await?;
            forgotten += page;
            if page < IDEMPOTENCY_KEYS_PER_ROUND_MAX || self.clock.monotonic() >= until {
                return Ok(forgotten);
            }
        }
    }

    async fn forget_some_mutations(&self) -> Result<usize, PlatformError> {
        let now = self.clock.now();
        let Ok(until) = now.checked_sub(IDEMPOTENCY_HOURS.hours()) else {
            return Ok(0);
        };
        let snapshot = self.ledger.snapshot().await?;
        let range = keys::mutations_until(until.as_microsecond());
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut tx = Transaction::new();
        let mut forgotten = 0;
        while forgotten < IDEMPOTENCY_KEYS_PER_ROUND_MAX
            && let Some(entry) = scan.next().await?
        {
            if let Some((_, key)) = keys::read_list_row(&entry.key) {
                tx.delete(keys::mutation(&key));
            }
            tx.delete(entry.key);
            forgotten += 1;
        }
        if !tx.is_empty() {
            self.ledger.commit(tx).await?;
        }
        Ok(forgotten)
    }
}
