//! Provisioned throughput, held by this node: a token bucket of request units for each container,
//! or for the database whose containers share one.
//!
//! A request is let in while the bucket isn't empty, and what it turned out to cost is taken
//! afterwards, so one expensive request delays those behind it and never itself. A bucket holds
//! what one second gives. Several nodes have a bucket each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Clock, Snapshot};
use parking_lot::Mutex;

use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{THROUGHPUT_BUCKETS_MAX, THROUGHPUT_RUS_DEFAULT};
use crate::store::Container;
use crate::store::records::Throughput;

/// Whose throughput it is, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    Database(u32),
    Container(u32),
}

/// What a container, or the containers of a database together, used.
#[derive(Debug, Clone, PartialEq)]
pub struct ThroughputUse {
    /// `{account}/{database}` or `{account}/{database}/{container}`.
    pub name: String,
    /// Request units, since this process met it.
    pub used_rus: f64,
    /// Requests that were answered 429.
    pub throttled: u64,
}

#[derive(Debug)]
struct Bucket {
    name: String,
    /// Below zero: owed.
    level: f64,
    /// What a second gives.
    rate: f64,
    filled: Duration,
    used: f64,
    throttled: u64,
}

/// The buckets of this process.
#[derive(Debug, Default)]
pub(crate) struct Budgets(Mutex<HashMap<Owner, Bucket>>);

impl Bucket {
    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = now;
        self.level = (self.level + passed * self.rate).min(self.rate);
    }
}

impl Budgets {
    /// Lets a request in, or says after how many milliseconds to try again.
    fn admit(
        &self,
        owner: Owner,
        name: impl FnOnce() -> String,
        rate: f64,
        now: Duration,
    ) -> Result<(), u64> {
        let mut buckets = self.0.lock();
        if buckets.len() >= THROUGHPUT_BUCKETS_MAX && !buckets.contains_key(&owner) {
            // A full one knows nothing but its counts.
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.level < bucket.rate
            });
            if buckets.len() >= THROUGHPUT_BUCKETS_MAX {
                return Ok(());
            }
        }
        let bucket = buckets.entry(owner).or_insert_with(|| Bucket {
            name: name(),
            level: rate,
            rate,
            filled: now,
            used: 0.0,
            throttled: 0,
        });
        bucket.fill(now);
        bucket.rate = rate;
        if bucket.level > 0.0 {
            return Ok(());
        }
        bucket.throttled += 1;
        let wait = (1.0 - bucket.level) / bucket.rate * 1_000.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and what doesn't fit saturates"
        )]
        Err((wait.ceil() as u64).max(1))
    }

    /// Takes what a request cost.
    fn charge(&self, owner: Owner, rus: f64) {
        if let Some(bucket) = self.0.lock().get_mut(&owner) {
            bucket.level -= rus;
            bucket.used += rus;
        }
    }

    fn uses(&self) -> Vec<ThroughputUse> {
        let buckets = self.0.lock();
        let uses = buckets.values().map(|bucket| ThroughputUse {
            name: bucket.name.clone(),
            used_rus: bucket.used,
            throttled: bucket.throttled,
        });
        uses.collect()
    }
}

impl Throughput {
    /// Request units of a second; autoscale gives its most at once.
    #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
    fn rate(self) -> f64 {
        self.autoscale_rus_max.unwrap_or(self.rus).max(1) as f64
    }
}

impl Documents {
    /// Lets a request to a container's items in; who pays for it. `None` if throughput isn't
    /// enforced.
    ///
    /// # Errors
    /// 429 with when to try again.
    pub(crate) async fn admit(&self, container: &Arc<Container>) -> Result<Option<Owner>, DocumentsError> {
        if !self.settings.enforce_throughput {
            return Ok(None);
        }
        let snapshot = self.ledger.snapshot().await?;
        let (owner, throughput) = self.payer(snapshot.as_ref(), container).await?;
        let name = || match owner {
            Owner::Database(_) => format!("{}/{}", container.account, container.database),
            Owner::Container(_) => format!("{}/{}/{}", container.account, container.database, container.id),
        };
        let now = Clock::monotonic(self.clock.as_ref());
        self.budgets
            .admit(owner, name, throughput.rate(), now)
            .map_err(|retry_after_milliseconds| DocumentsError::TooManyRequests {
                retry_after_milliseconds,
            })?;
        Ok(Some(owner))
    }

    /// A container has its own throughput, else shares its database's, else has the default.
    async fn payer(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
    ) -> Result<(Owner, Throughput), DocumentsError> {
        if let Some(own) = container.throughput {
            return Ok((Owner::Container(container.number), own));
        }
        let database = self
            .database(snapshot, &container.account, &container.database)
            .await?;
        Ok(match database.and_then(|database| database.record.throughput) {
            Some(shared) => (Owner::Database(container.database_number), shared),
            None => {
                let default = Throughput {
                    rus: THROUGHPUT_RUS_DEFAULT,
                    autoscale_rus_max: None,
                };
                (Owner::Container(container.number), default)
            }
        })
    }

    pub(crate) fn charge(&self, owner: Option<Owner>, rus: f64) {
        if let Some(owner) = owner {
            self.budgets.charge(owner, rus);
        }
    }

    /// What containers and databases used, where throughput is enforced.
    #[must_use]
    pub fn throughput_uses(&self) -> Vec<ThroughputUse> {
        self.budgets.uses()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(budgets: &Budgets, number: u32, milliseconds: u64) -> Result<(), u64> {
        let now = Duration::from_millis(milliseconds);
        budgets.admit(Owner::Container(number), || format!("c{number}"), 400.0, now)
    }

    #[test]
    fn what_is_owed_is_waited_for() {
        let budgets = Budgets::default();
        let owner = Owner::Container(1);
        assert_eq!(admit(&budgets, 1, 0), Ok(()));
        budgets.charge(owner, 399.0);
        assert_eq!(admit(&budgets, 1, 0), Ok(()), "one is left");
        budgets.charge(owner, 401.0);
        // 400 are owed: a second, and a little so that the bucket isn't just empty.
        let wait = admit(&budgets, 1, 0).unwrap_err();
        assert!((1_000..=1_010).contains(&wait), "{wait}");
        assert!(admit(&budgets, 1, 900).is_err());
        assert_eq!(admit(&budgets, 1, wait), Ok(()), "as it was told");
        // It never holds more than a second gives.
        assert_eq!(admit(&budgets, 1, 3_600_000), Ok(()));
        budgets.charge(owner, 401.0);
        assert!(admit(&budgets, 1, 3_600_000).is_err());
        // Others have their own.
        assert_eq!(admit(&budgets, 2, 3_600_000), Ok(()));
        let uses = budgets.uses();
        let first = uses.iter().find(|use_| use_.name == "c1").unwrap();
        assert!((first.used_rus - 1_201.0).abs() < 1e-9);
        assert_eq!(first.throttled, 3);
    }

    #[test]
    fn buckets_are_bounded_and_debts_are_kept() {
        let budgets = Budgets::default();
        assert_eq!(admit(&budgets, 0, 0), Ok(()));
        budgets.charge(Owner::Container(0), 1e9);
        for number in 1..u32::try_from(THROUGHPUT_BUCKETS_MAX).unwrap() + 10 {
            assert_eq!(admit(&budgets, number, 0), Ok(()));
        }
        assert!(budgets.uses().len() <= THROUGHPUT_BUCKETS_MAX);
        assert!(admit(&budgets, 0, 0).is_err());
    }
}
