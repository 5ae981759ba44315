//! Secrets that are made here, kept in the ledger and shown to nobody.
//!
//! Invariant: a secret is made once, by chance, and found again after a restart and by every node over
//! the same ledger. Whoever copies the ledger copies it, too.

use std::future::Future;
use std::sync::Arc;

use ledger::{Key, KeyWriter, Keyspace, Ledger, LedgerError, Random, Transaction};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::Secret;

/// The tag of kept secrets in the identity keyspace: (tag, name) -> the secret's bytes.
pub const KEPT_SECRET_TAG: u8 = 2;

/// Length of a secret: as much as HMAC-SHA256 takes in without hashing it first (RFC 2104, section 3).
const SECRET_BYTES: usize = 64;

/// A secret under a name.
pub struct KeptSecret {
    ledger: Arc<dyn Ledger>,
    random: Arc<dyn Random>,
    name: String,
    secret: OnceCell<Secret>,
}

impl std::fmt::Debug for KeptSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeptSecret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl KeptSecret {
    /// A secret that is kept in `ledger` under `name`. Nothing is read or made yet.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, random: Arc<dyn Random>, name: impl Into<String>) -> Self {
        Self {
            ledger,
            random,
            name: name.into(),
            secret: OnceCell::new(),
        }
    }

    /// The secret; it is made if there is none yet.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn get(&self) -> Result<&Secret, LedgerError> {
        let made = async || {
            let mut bytes = Zeroizing::new(vec![0; SECRET_BYTES]);
            self.random.fill(&mut bytes);
            Ok(bytes)
        };
        self.secret
            .get_or_try_init(|| async {
                let bytes = load_or_make(self.ledger.as_ref(), &secret_key(&self.name), made).await?;
                Ok(Secret::new(bytes.to_vec()))
            })
            .await
    }

    /// The secret, if it was made before: who only checks signatures writes nothing.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn find(&self) -> Result<Option<&Secret>, LedgerError> {
        if let Some(secret) = self.secret.get() {
            return Ok(Some(secret));
        }
        let snapshot = self.ledger.snapshot().await?;
        match snapshot.get(&secret_key(&self.name)).await? {
            Some(_) => self.get().await.map(Some),
            None => Ok(None),
        }
    }
}

/// Where the secret `name` is kept.
fn secret_key(name: &str) -> Key {
    KeyWriter::new(Keyspace::Identity)
        .u8(KEPT_SECRET_TAG)
        .str_bounded(name, 256)
        .finish()
}

/// What is kept under `key`; if nothing is, what `make` makes is kept there from now on.
pub(crate) async fn load_or_make<E, M, F>(
    ledger: &dyn Ledger,
    key: &Key,
    make: M,
) -> Result<Zeroizing<Vec<u8>>, E>
where
    E: From<LedgerError>,
    M: FnOnce() -> F + Send,
    F: Future<Output = Result<Zeroizing<Vec<u8>>, E>> + Send,
{
    if let Some(kept) = ledger.snapshot().await?.get(key).await? {
        return Ok(Zeroizing::new(kept.value.to_vec()));
    }
    let made = make().await?;
    let mut transaction = Transaction::new();
    transaction.require_absent(key.clone());
    transaction.put(key.clone(), made.to_vec());
    match ledger.commit(transaction).await {
        Ok(_) => Ok(made),
        // Another process over the same ledger was quicker: what it made is what counts.
        Err(conflict @ LedgerError::Conflict(_)) => match ledger.snapshot().await?.get(key).await? {
            Some(kept) => Ok(Zeroizing::new(kept.value.to_vec())),
            None => Err(conflict.into()),
        },
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use ledger::memory::MemoryLedger;
    use ledger::random::SeededRandom;
    use ledger::{AdjustableClock, SystemRandom};

    use super::*;

    #[tokio::test]
    async fn a_secret_is_made_once_and_never_printed() {
        let clock = Arc::new(AdjustableClock::standing_at(jiff::Timestamp::UNIX_EPOCH));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock));
        let kept =
            |seed, name: &str| KeptSecret::new(ledger.clone(), Arc::new(SeededRandom::new(seed)), name);
        let first = kept(1, "a");
        assert!(first.find().await.unwrap().is_none());
        let bytes = first.get().await.unwrap().expose().to_vec();
        assert_eq!(bytes.len(), SECRET_BYTES);
        assert!(bytes.iter().any(|byte| *byte != 0));
        // Another process would have made another one.
        let again = kept(2, "a");
        assert_eq!(again.find().await.unwrap().unwrap().expose(), bytes);
        assert_ne!(kept(2, "b").get().await.unwrap().expose(), bytes);
        assert!(!format!("{again:?}").contains(&format!("{:?}", &bytes[..4])));
        let real = KeptSecret::new(ledger.clone(), Arc::new(SystemRandom), "c");
        assert_eq!(real.get().await.unwrap().expose().len(), SECRET_BYTES);
    }
}
