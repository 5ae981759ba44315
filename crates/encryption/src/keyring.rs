//! The account keys: unwrapped here, wrapped in the ledger.
//!
//! Invariant: an account key is made once, under a number that no other has, and its record is only ever
//! replaced by the same key wrapped by another key-encryption key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use content::ContentError;
use ledger::{
    Direction, Key, KeyRange, KeyReader, KeyWriter, Keyspace, Ledger, LedgerError, Random, Scan, Sequence,
    Snapshot, Transaction, Versioned,
};
use parking_lot::RwLock;
use zeroize::Zeroizing;

use crate::frame::KEY_BYTES;
use crate::wrapping::{Owner, WrappedKey};
use crate::{DataKey, KeyEncryptionKey, KeyError, KeyNumber};

/// The tag of account keys in the identity keyspace: (tag, number) -> the wrapped key, JSON.
const ACCOUNT_KEY_TAG: u8 = 3;

/// How often a start tries again when other nodes overtake it.
const ATTEMPTS_MAX: usize = 20;

/// An account or an encryption scope, and which of its keys what is new is encrypted under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountGeneration {
    /// The account's name.
    pub account: String,
    /// An encryption scope of the account; `None`: the account itself.
    pub scope: Option<String>,
    /// Its setting; a larger one than before makes a new key.
    pub generation: u32,
}

/// An account, and its encryption scope if a key is one's.
type Named = (String, Option<String>);

/// The account keys of a ledger, and those of the accounts' encryption scopes.
pub struct Keyring {
    ledger: Arc<dyn Ledger>,
    random: Arc<dyn Random>,
    wrapping: Vec<KeyEncryptionKey>,
    keys: RwLock<HashMap<KeyNumber, Arc<DataKey>>>,
    newest: HashMap<Named, Arc<DataKey>>,
    damaged: Arc<AtomicU64>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("wrapping", &self.wrapping)
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}

/// An account key as it was read.
struct Stored {
    number: KeyNumber,
    version: Sequence,
    wrapped: WrappedKey,
}

fn key_of(number: KeyNumber) -> Key {
    KeyWriter::new(Keyspace::Identity)
        .u8(ACCOUNT_KEY_TAG)
        .u64(number.0)
        .finish()
}

fn all_keys() -> KeyRange {
    KeyRange::prefix(&KeyWriter::new(Keyspace::Identity).u8(ACCOUNT_KEY_TAG).finish())
}

fn decode(found: &Versioned) -> Result<WrappedKey, LedgerError> {
    serde_json::from_slice(&found.value)
        .map_err(|error| LedgerError::Corrupt(format!("the record of an account key: {error}")))
}

fn encode(wrapped: &WrappedKey) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(wrapped).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

async fn stored_keys(snapshot: &dyn Snapshot) -> Result<Vec<Stored>, LedgerError> {
    let mut scan = Scan::new(snapshot, all_keys(), Direction::Forward);
    let mut stored = Vec::new();
    while let Some(entry) = scan.next().await? {
        let mut reader = KeyReader::new(&entry.key, Keyspace::Identity);
        let number = reader.as_mut().and_then(|reader| {
            reader.u8()?;
            reader.u64()
        });
        let number = number.ok_or_else(|| LedgerError::Corrupt("the key of an account key".to_owned()))?;
        stored.push(Stored {
            number: KeyNumber(number),
            version: entry.versioned.version,
            wrapped: decode(&entry.versioned)?,
        });
    }
    Ok(stored)
}

/// Whether a ledger has account keys: then it can't be served without a key-encryption key.
///
/// # Errors
/// Those of the ledger.
pub async fn has_account_keys(ledger: &dyn Ledger) -> Result<bool, LedgerError> {
    let snapshot = ledger.snapshot().await?;
    let first = Scan::new(snapshot.as_ref(), all_keys(), Direction::Forward)
        .next()
        .await?;
    Ok(first.is_some())
}

impl Keyring {
    /// Unwraps all account keys of the ledger, wraps those anew that the first of `wrapping` doesn't wrap, and
    /// makes those that accounts need and don't have.
    ///
    /// # Errors
    /// [`KeyError::NotConfigured`] or [`KeyError::Damaged`] if one of the account keys can't be unwrapped; those
    /// of the ledger.
    pub async fn open(
        ledger: Arc<dyn Ledger>,
        random: Arc<dyn Random>,
        wrapping: Vec<KeyEncryptionKey>,
        accounts: &[AccountGeneration],
    ) -> Result<Arc<Self>, KeyError> {
        for (at, key) in wrapping.iter().enumerate() {
            if let Some(same) = wrapping.iter().take(at).find(|other| other.name() == key.name()) {
                let files = (same.file().display(), key.file().display());
                let text = format!(
                    "{} and {} hold the same key-encryption key; name it once",
                    files.0, files.1
                );
                return Err(KeyError::List(text));
            }
        }
        let mut keyring = Self {
            ledger,
            random,
            wrapping,
            keys: RwLock::default(),
            newest: HashMap::new(),
            damaged: Arc::default(),
        };
        for _ in 0..ATTEMPTS_MAX {
            match keyring.settle(accounts).await {
                // Another node did the same.
                Err(KeyError::Ledger(LedgerError::Conflict(_))) => {}
                Err(error) => return Err(error),
                Ok(()) => return Ok(Arc::new(keyring)),
            }
        }
        let text = "other nodes wrap or make account keys all the time; start again".to_owned();
        Err(LedgerError::Unavailable(text).into())
    }

    async fn settle(&mut self, accounts: &[AccountGeneration]) -> Result<(), KeyError> {
        let first = self
            .wrapping
            .first()
            .ok_or_else(|| KeyError::List("no key-encryption key is configured".to_owned()))?;
        let snapshot = self.ledger.snapshot().await?;
        let stored = stored_keys(snapshot.as_ref()).await?;
        let mut unwrapped: BTreeMap<KeyNumber, (WrappedKey, Zeroizing<[u8; KEY_BYTES]>)> = BTreeMap::new();
        for found in &stored {
            let bytes = self.unwrap(found.number, &found.wrapped)?;
            unwrapped.insert(found.number, (found.wrapped.clone(), bytes));
        }
        // All of them could be unwrapped: only now is anything changed.
        let mut anew = 0;
        for found in stored
            .iter()
            .filter(|found| found.wrapped.wrapped_by != first.name())
        {
            if let Some((_, bytes)) = unwrapped.get(&found.number) {
                let wrapped = first.wrap(&found.wrapped.owner(found.number), bytes, self.random.as_ref())?;
                let mut tx = Transaction::new();
                tx.require_version(key_of(found.number), Some(found.version));
                tx.put(key_of(found.number), encode(&wrapped)?);
                self.ledger.commit(tx).await?;
                anew += 1;
            }
        }
        for account in accounts {
            let newest = unwrapped
                .values()
                .filter(|(wrapped, _)| wrapped.account == account.account && wrapped.scope == account.scope)
                .map(|(wrapped, _)| wrapped.generation)
                .max();
            if newest.is_some_and(|newest| newest >= account.generation) {
                continue;
            }
            let last = unwrapped.last_key_value().map_or(0, |(number, _)| number.0);
            let number = KeyNumber(last + 1);
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            self.random.fill(bytes.as_mut_slice());
            let owner = Owner {
                number,
                account: &account.account,
                scope: account.scope.as_deref(),
                generation: account.generation,
            };
            let wrapped = first.wrap(&owner, &bytes, self.random.as_ref())?;
            let mut tx = Transaction::new();
            tx.require_absent(key_of(number));
            tx.put(key_of(number), encode(&wrapped)?);
            self.ledger.commit(tx).await?;
            let (account, scope) = (&account.account, &account.scope);
            tracing::info!(account, scope, key = %number, "an account key was made");
            unwrapped.insert(number, (wrapped, bytes));
        }
        let name = first.name();
        let file = first.file().display();
        tracing::info!(
            "{} account keys, all wrapped by key-encryption key {name} ({file}), {anew} of them anew",
            unwrapped.len()
        );
        for older in self.wrapping.iter().skip(1) {
            let file = older.file().display();
            tracing::info!(
                "key-encryption key {} ({file}) wraps nothing here; it may go once no other node has it in front, and \
                 no backup needs it",
                older.name()
            );
        }
        self.take_in(unwrapped);
        Ok(())
    }

    /// Has these keys from now on.
    fn take_in(&mut self, unwrapped: BTreeMap<KeyNumber, (WrappedKey, Zeroizing<[u8; KEY_BYTES]>)>) {
        let mut generations: HashMap<Named, u32> = HashMap::new();
        for (number, (wrapped, bytes)) in unwrapped {
            let key = Arc::new(self.account_key(number, &bytes));
            self.keys.write().insert(number, key.clone());
            let named = (wrapped.account, wrapped.scope);
            let known = generations.get(&named);
            if known.is_none_or(|known| *known < wrapped.generation) {
                generations.insert(named.clone(), wrapped.generation);
                self.newest.insert(named, key);
            }
        }
    }

    fn account_key(&self, number: KeyNumber, bytes: &[u8; KEY_BYTES]) -> DataKey {
        DataKey::new(number, bytes, self.random.clone(), self.damaged.clone())
    }

    fn unwrap(
        &self,
        number: KeyNumber,
        wrapped: &WrappedKey,
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyError> {
        let by = &wrapped.wrapped_by;
        let Some(key) = self.wrapping.iter().find(|key| key.name() == by) else {
            let names: Vec<&str> = self.wrapping.iter().map(KeyEncryptionKey::name).collect();
            return Err(KeyError::NotConfigured {
                number,
                account: wrapped.account.clone(),
                wrapped_by: by.clone(),
                configured: names.join(", "),
            });
        };
        key.unwrap(number, wrapped).ok_or_else(|| KeyError::Damaged {
            number,
            account: wrapped.account.clone(),
            wrapped_by: by.clone(),
        })
    }

    /// The key that what is new in an account is encrypted under.
    ///
    /// # Errors
    /// [`ContentError::Io`] if the keyring wasn't opened for that account.
    pub fn newest(&self, account: &str) -> Result<Arc<DataKey>, ContentError> {
        self.newest
            .get(&(account.to_owned(), None))
            .cloned()
            .ok_or_else(|| ContentError::Io(format!("account {account} has no key")))
    }

    /// The key that what is new in an encryption scope of an account is encrypted under.
    ///
    /// # Errors
    /// [`ContentError::Io`] if the keyring wasn't opened for that scope.
    pub fn newest_of_scope(&self, account: &str, scope: &str) -> Result<Arc<DataKey>, ContentError> {
        self.newest
            .get(&(account.to_owned(), Some(scope.to_owned())))
            .cloned()
            .ok_or_else(|| {
                ContentError::Io(format!(
                    "encryption scope {scope} of account {account} has no key"
                ))
            })
    }

    /// The key of that number; one that another node made is looked for in the ledger.
    ///
    /// # Errors
    /// [`ContentError::Io`] if there is none, or it can't be unwrapped; [`ContentError::Unavailable`] if the
    /// ledger is out of reach.
    pub async fn key(&self, number: KeyNumber) -> Result<Arc<DataKey>, ContentError> {
        if let Some(key) = self.keys.read().get(&number) {
            return Ok(key.clone());
        }
        let away = |error: LedgerError| ContentError::Unavailable(error.to_string());
        let snapshot = self.ledger.snapshot().await.map_err(away)?;
        let found = snapshot.get(&key_of(number)).await.map_err(away)?;
        let found = found.ok_or_else(|| ContentError::Io(format!("there is no account key {number}")))?;
        let wrapped = decode(&found).map_err(|error| ContentError::Io(error.to_string()))?;
        let bytes = self
            .unwrap(number, &wrapped)
            .map_err(|error| ContentError::Io(error.to_string()))?;
        let key = Arc::new(self.account_key(number, &bytes));
        self.keys.write().insert(number, key.clone());
        Ok(key)
    }

    /// Frames that didn't decrypt since the start.
    #[must_use]
    pub fn damaged_frames(&self) -> u64 {
        self.damaged.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
