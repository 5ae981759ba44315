//! Leases: of several nodes over one ledger, one does a job; if it dies, another one goes on.
//!
//! Invariant: a lease is changed only under the version that was read, so two nodes never take it
//! at once. It ends by the nodes' clocks, which must agree to within a few seconds; a job must
//! therefore be one that may run twice (each of its steps is a transaction with preconditions).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::{Clock, Key, KeyWriter, Keyspace, Ledger, LedgerError, Sequence, Transaction};

/// The tag of leases in the system keyspace: (tag, name) -> holder (16 bytes), end in microseconds
/// since 1970 (8 bytes, big-endian).
pub const LEASE_TAG: u8 = 2;

/// A named lease as one node sees it.
pub struct Lease {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    key: Key,
    holder: Uuid,
    length: Duration,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("key", &self.key)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

/// The key of lease `name`.
#[must_use]
pub fn lease_key(name: &str) -> Key {
    KeyWriter::new(Keyspace::System)
        .u8(LEASE_TAG)
        .str_bounded(name, 256)
        .finish()
}

/// A stored lease's holder and end; `None` if it is malformed.
pub(crate) fn decode(value: &[u8]) -> Option<(Uuid, Timestamp)> {
    let (holder, end) = value.split_first_chunk::<16>()?;
    let end = Timestamp::from_microsecond(i64::from_be_bytes(end.try_into().ok()?)).ok()?;
    Some((Uuid::from_bytes(*holder), end))
}

impl Lease {
    /// Lease `name` for `holder`, taken for `length` at a time. Nothing is read or taken yet.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        name: &str,
        holder: Uuid,
        length: Duration,
    ) -> Self {
        Self {
            ledger,
            clock,
            key: lease_key(name),
            holder,
            length,
        }
    }

    /// Takes the lease if it is free or has ended, or makes it last longer if it is held by this
    /// node already; whether this node holds it now. Call it well within its length.
    ///
    /// # Errors
    /// As [`Ledger::snapshot`] and [`Ledger::commit`].
    pub async fn hold(&self) -> Result<bool, LedgerError> {
        let now = self.clock.now();
        let found = self.read().await?;
        if let Some((holder, end, _)) = found
            && holder != self.holder
            && now < end
        {
            return Ok(false);
        }
        let length = SignedDuration::try_from(self.length).unwrap_or(SignedDuration::MAX);
        let end = now.checked_add(length).unwrap_or(Timestamp::MAX);
        self.write(found.map(|(_, _, version)| version), end).await
    }

    /// Lets the lease go if this node holds it, so that another one needn't wait for its end.
    ///
    /// # Errors
    /// As [`Lease::hold`].
    pub async fn release(&self) -> Result<(), LedgerError> {
        match self.read().await? {
            Some((holder, _, version)) if holder == self.holder => {
                self.write(Some(version), Timestamp::UNIX_EPOCH).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    async fn read(&self) -> Result<Option<(Uuid, Timestamp, Sequence)>, LedgerError> {
        let Some(found) = self.ledger.snapshot().await?.get(&self.key).await? else {
            return Ok(None);
        };
        let damaged = || LedgerError::Corrupt(format!("the lease {:?} can't be read", self.key));
        let (holder, end) = decode(&found.value).ok_or_else(damaged)?;
        Ok(Some((holder, end, found.version)))
    }

    /// Whether it was written: others may have been quicker.
    async fn write(&self, before: Option<Sequence>, end: Timestamp) -> Result<bool, LedgerError> {
        let mut value = self.holder.as_bytes().to_vec();
        value.extend_from_slice(&end.as_microsecond().to_be_bytes());
        let mut tx = Transaction::new();
        tx.require_version(self.key.clone(), before);
        tx.put(self.key.clone(), value);
        match self.ledger.commit(tx).await {
            Ok(_) => Ok(true),
            Err(LedgerError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AdjustableClock;
    use crate::memory::MemoryLedger;

    #[tokio::test]
    async fn one_holds_it_until_it_ends_or_is_let_go() {
        let clock = Arc::new(AdjustableClock::standing_at(
            Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1),
        ));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        let lease = |holder| {
            Lease::new(
                ledger.clone(),
                clock.clone(),
                "job",
                Uuid::from_u128(holder),
                Duration::from_secs(10),
            )
        };
        let (one, two) = (lease(1), lease(2));
        assert!(one.hold().await.unwrap());
        assert!(!two.hold().await.unwrap());
        clock.advance_seconds(9);
        assert!(one.hold().await.unwrap(), "it lasts longer");
        clock.advance_seconds(9);
        assert!(!two.hold().await.unwrap());
        clock.advance_seconds(1);
        assert!(two.hold().await.unwrap(), "it has ended");
        assert!(!one.hold().await.unwrap());
        one.release().await.unwrap();
        assert!(!one.hold().await.unwrap(), "only the holder lets it go");
        two.release().await.unwrap();
        assert!(one.hold().await.unwrap());
    }

    #[tokio::test]
    async fn of_many_that_want_it_at_once_one_gets_it() {
        let clock = Arc::new(AdjustableClock::standing_at(Timestamp::UNIX_EPOCH));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        let tasks: Vec<_> = (0..20_u128)
            .map(|holder| {
                let holder = Uuid::from_u128(holder);
                let lease = Lease::new(
                    ledger.clone(),
                    clock.clone(),
                    "job",
                    holder,
                    Duration::from_secs(1),
                );
                tokio::spawn(async move { lease.hold().await.unwrap() })
            })
            .collect();
        let mut holders = 0;
        for task in tasks {
            holders += usize::from(task.await.unwrap());
        }
        assert_eq!(holders, 1);
    }
}
