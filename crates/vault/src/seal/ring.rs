//! The data keys: unwrapped here, wrapped in the ledger.
//!
//! Invariant: a data key is made once, under a number that its vault has no other for, and its record is only
//! ever replaced by the same key wrapped by another root key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ledger::{
    Direction, Key, KeyRange, KeyReader, KeyWriter, Keyspace, Ledger, LedgerError, Random, Scan, Sequence,
    Transaction,
};
use zeroize::Zeroizing;

use super::aead::{KEY_BYTES, KeyBytes};
use super::root::WrappedDataKey;
use super::{DataKey, RootKey, SealError};
use crate::limits::ATTEMPTS_MAX;
use crate::store::head;
use crate::store::keys::{CURRENT_ROOT_TAG, DATA_KEY_TAG};

/// The owner of the key that backups are sealed under; no vault is called so.
pub(crate) const BACKUPS: &str = "";

/// Why data keys weren't wrapped anew.
#[derive(Debug, thiserror::Error)]
pub enum RekeyError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A data key is wrapped by a root key that wasn't given.
    #[error(
        "the data key {number} of vault {vault:?} is wrapped by root key {wrapped_by}, which isn't among those given"
    )]
    NotGiven {
        /// The vault.
        vault: String,
        /// The data key.
        number: u32,
        /// The name of its root key.
        wrapped_by: String,
    },
    /// What is damaged.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The data keys of a ledger, or why they can't be had.
pub struct Seal {
    ledger: Arc<dyn Ledger>,
    roots: Vec<RootKey>,
    /// Why there is no root key, if there is none.
    cause: String,
    causes: Causes,
    vaults: Known,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seal")
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

struct Stored {
    vault: String,
    number: u32,
    version: Sequence,
    /// `None`: the record is malformed.
    wrapped: Option<WrappedDataKey>,
}

type Known = HashMap<String, BTreeMap<u32, Arc<DataKey>>>;

/// Why vaults are sealed, each for itself.
type Causes = BTreeMap<String, String>;

fn key_of(vault: &str, number: u32) -> Key {
    KeyWriter::new(Keyspace::Vault)
        .u8(DATA_KEY_TAG)
        .str(vault)
        .u32(number)
        .finish()
}

/// What a wrapped key is bound to.
fn owner(vault: &str, number: u32) -> Vec<u8> {
    let mut owner = number.to_be_bytes().to_vec();
    owner.extend_from_slice(vault.as_bytes());
    owner
}

async fn stored(ledger: &dyn Ledger) -> Result<Vec<Stored>, LedgerError> {
    let snapshot = ledger.snapshot().await?;
    let prefix = KeyWriter::new(Keyspace::Vault).u8(DATA_KEY_TAG).finish();
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let mut all = Vec::new();
    while let Some(entry) = scan.next().await? {
        let corrupt = || LedgerError::Corrupt("the record of a vault's data key".to_owned());
        let mut reader = KeyReader::after(&entry.key, &prefix).ok_or_else(corrupt)?;
        all.push(Stored {
            vault: reader.str().ok_or_else(corrupt)?,
            number: reader.u32().ok_or_else(corrupt)?,
            version: entry.versioned.version,
            wrapped: serde_json::from_slice(&entry.versioned.value).ok(),
        });
    }
    Ok(all)
}

fn current_root_key() -> Key {
    KeyWriter::new(Keyspace::Vault).u8(CURRENT_ROOT_TAG).finish()
}

/// The name of the root key that wraps what is new, and the commit that says so.
///
/// Whoever makes a data key requires it as it was read: a node that still has the root key of before would else
/// add a vault that nobody opens once that key is put away.
async fn current_root(ledger: &dyn Ledger) -> Result<Option<(String, Sequence)>, LedgerError> {
    let found = ledger.snapshot().await?.get(&current_root_key()).await?;
    Ok(found.map(|found| (String::from_utf8_lossy(&found.value).into_owned(), found.version)))
}

/// Stages that a root key wraps what is new.
fn stage_current(tx: &mut Transaction, root: &RootKey, was: Option<&(String, Sequence)>) {
    tx.require_version(current_root_key(), was.map(|(_, version)| *version));
    if was.is_none_or(|(name, _)| name != root.name()) {
        tx.put(current_root_key(), root.name().as_bytes().to_vec());
    }
}

/// Whether a ledger has data keys: then a new root key opens nothing.
///
/// # Errors
/// Those of the ledger.
async fn has_data_keys(ledger: &dyn Ledger) -> Result<bool, LedgerError> {
    Ok(!stored(ledger).await?.is_empty())
}

fn encode(wrapped: &WrappedDataKey) -> Result<Vec<u8>, LedgerError> {
    serde_json::to_vec(wrapped).map_err(|error| LedgerError::Corrupt(error.to_string()))
}

/// Wraps all data keys by the first of `roots` that another one of them wraps, in one commit: all of them or
/// none. Answers how many there were to wrap.
///
/// # Errors
/// [`RekeyError`]; nothing was changed then.
pub async fn rekey(ledger: &dyn Ledger, random: &dyn Random, roots: &[RootKey]) -> Result<usize, RekeyError> {
    let first = roots
        .first()
        .ok_or_else(|| SealError::Sealed("no root key is given".to_owned()))?;
    let mut tx = Transaction::new();
    let mut anew = 0;
    let current = current_root(ledger).await?;
    for found in stored(ledger).await? {
        // What nothing has to be done for is looked at as well: a key that doesn't open is found here.
        let bytes = unwrap(roots, &found)?;
        anew += usize::from(stage_anew(&mut tx, first, &found, &bytes, random)?);
    }
    if anew > 0 {
        stage_current(&mut tx, first, current.as_ref());
        ledger.commit(tx).await?;
    }
    Ok(anew)
}

/// Stages that a data key is wrapped by a root key, unless it is.
fn stage_anew(
    tx: &mut Transaction,
    root: &RootKey,
    found: &Stored,
    bytes: &KeyBytes,
    random: &dyn Random,
) -> Result<bool, RekeyError> {
    let wrapped_by = found.wrapped.as_ref().map(|wrapped| wrapped.wrapped_by.as_str());
    if wrapped_by == Some(root.name()) {
        return Ok(false);
    }
    let wrapped = root.wrap(&owner(&found.vault, found.number), bytes, random)?;
    let key = key_of(&found.vault, found.number);
    tx.require_version(key.clone(), Some(found.version));
    tx.put(key, encode(&wrapped)?);
    Ok(true)
}

fn unwrap(roots: &[RootKey], found: &Stored) -> Result<KeyBytes, RekeyError> {
    let wrapped = found.wrapped.as_ref().ok_or(SealError::Damaged)?;
    let root = roots
        .iter()
        .find(|root| root.name() == wrapped.wrapped_by)
        .ok_or_else(|| RekeyError::NotGiven {
            vault: found.vault.clone(),
            number: found.number,
            wrapped_by: wrapped.wrapped_by.clone(),
        })?;
    Ok(root.unwrap(&owner(&found.vault, found.number), wrapped)?)
}

/// Notes a data key that was unwrapped, or why its vault is sealed: one that doesn't open seals its own vault.
fn sort(known: &mut Known, causes: &mut Causes, found: &Stored, unwrapped: Result<KeyBytes, RekeyError>) {
    let number = found.number;
    match unwrapped {
        Ok(bytes) => {
            let keys = known.entry(found.vault.clone()).or_default();
            keys.insert(number, Arc::new(DataKey { number, bytes }));
        }
        Err(error) => {
            let cause = format!("data key {number} of vault {:?}: {error}", found.vault);
            causes.insert(found.vault.clone(), cause);
        }
    }
}

impl Seal {
    /// Unwraps the data keys, wraps those anew that the first of `roots` doesn't wrap, and makes those that
    /// vaults need and don't have. A vault for which that can't be done is sealed: whatever needs its data key is
    /// refused.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn open(
        ledger: Arc<dyn Ledger>,
        random: &dyn Random,
        roots: Vec<RootKey>,
        vaults: &[String],
    ) -> Result<Arc<Self>, LedgerError> {
        let mut seal = Self::with_roots(ledger, roots);
        if seal.roots.is_empty() {
            return Ok(Arc::new(seal));
        }
        for _ in 0..ATTEMPTS_MAX {
            match seal.settle(random, vaults).await {
                Ok((vaults, causes)) => {
                    (seal.vaults, seal.causes) = (vaults, causes);
                    return Ok(Arc::new(seal));
                }
                // Another node did the same.
                Err(RekeyError::Ledger(LedgerError::Conflict(_))) => {}
                Err(RekeyError::Ledger(error)) => return Err(error),
                Err(error) => {
                    seal.cause = error.to_string();
                    seal.roots.clear();
                    return Ok(Arc::new(seal));
                }
            }
        }
        let text = "other nodes wrap or make data keys all the time; start again".to_owned();
        Err(LedgerError::Unavailable(text))
    }

    /// Unwraps the data keys and changes nothing: for looking into a ledger.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn open_as_is(ledger: Arc<dyn Ledger>, roots: Vec<RootKey>) -> Result<Self, LedgerError> {
        let (mut known, mut causes) = (Known::new(), Causes::new());
        for found in stored(ledger.as_ref()).await? {
            sort(&mut known, &mut causes, &found, unwrap(&roots, &found));
        }
        known.retain(|vault, _| !causes.contains_key(vault));
        Ok(Self {
            vaults: known,
            causes,
            ..Self::with_roots(ledger, roots)
        })
    }

    fn with_roots(ledger: Arc<dyn Ledger>, roots: Vec<RootKey>) -> Self {
        Self {
            ledger,
            cause: if roots.is_empty() {
                "there is no root key"
            } else {
                ""
            }
            .to_owned(),
            roots,
            causes: Causes::new(),
            vaults: Known::new(),
        }
    }

    /// Without data keys, for `cause`: whatever needs one is refused.
    #[must_use]
    pub fn sealed(ledger: Arc<dyn Ledger>, cause: impl Into<String>) -> Self {
        Self {
            ledger,
            roots: Vec::new(),
            cause: cause.into(),
            causes: Causes::new(),
            vaults: Known::new(),
        }
    }

    /// Whether the ledger has data keys, so that a root key is missed and must not be made anew.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn was_used(ledger: &dyn Ledger) -> Result<bool, LedgerError> {
        has_data_keys(ledger).await
    }

    /// Why vaults are sealed, if any is: what holds for all of them, or for the first one that is.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.causes().next()
    }

    /// Why vaults are sealed: what holds for all of them, or each one's own cause.
    pub fn causes(&self) -> impl Iterator<Item = &str> {
        let all = self.roots.is_empty().then_some(self.cause.as_str());
        all.into_iter().chain(self.causes.values().map(String::as_str))
    }

    /// Why a vault is sealed, if it is.
    #[must_use]
    pub fn cause_of(&self, vault: &str) -> Option<String> {
        match self.newest(vault) {
            Err(SealError::Sealed(cause)) => Some(cause),
            _ => None,
        }
    }

    async fn settle(&self, random: &dyn Random, vaults: &[String]) -> Result<(Known, Causes), RekeyError> {
        let ledger = self.ledger.as_ref();
        let first = self
            .roots
            .first()
            .ok_or_else(|| SealError::Sealed(self.cause.clone()))?;
        let (mut known, mut causes) = (Known::new(), Causes::new());
        let current = current_root(ledger).await?;
        let mut tx = Transaction::new();
        let mut wraps = match &current {
            Some((name, _)) => name == first.name(),
            None => true,
        };
        for found in stored(ledger).await? {
            let unwrapped = unwrap(&self.roots, &found);
            if let Ok(bytes) = &unwrapped {
                wraps |= stage_anew(&mut tx, first, &found, bytes, random)?;
            }
            sort(&mut known, &mut causes, &found, unwrapped);
        }
        // Nothing says which root key wraps, and this one doesn't open all there is.
        wraps &= current.is_some() || causes.is_empty();
        for vault in vaults.iter().map(String::as_str).chain([BACKUPS]) {
            if known.contains_key(vault) || causes.contains_key(vault) {
                continue;
            }
            if !wraps {
                let name = current.as_ref().map_or("another one", |(name, _)| name.as_str());
                let cause = format!(
                    "vault {vault:?} has no data key, and none is made: root key {name} wraps what is new, and {} was \
                     given",
                    first.name()
                );
                causes.insert(vault.to_owned(), cause);
                continue;
            }
            let number = 1;
            let mut bytes: KeyBytes = Zeroizing::new([0; KEY_BYTES]);
            random.fill(bytes.as_mut_slice());
            let wrapped = first.wrap(&owner(vault, number), &bytes, random)?;
            tx.require_absent(key_of(vault, number));
            tx.put(key_of(vault, number), encode(&wrapped)?);
            let key = Arc::new(DataKey { number, bytes });
            if vault != BACKUPS {
                head::stage_first(&mut tx, &key, vault)?;
            }
            known.entry(vault.to_owned()).or_default().insert(number, key);
        }
        known.retain(|vault, _| !causes.contains_key(vault));
        if !tx.is_empty() {
            stage_current(&mut tx, first, current.as_ref());
            self.ledger.commit(tx).await?;
        }
        Ok((known, causes))
    }

    /// The key that what is new in a vault is sealed under.
    ///
    /// # Errors
    /// [`SealError::Sealed`].
    pub fn newest(&self, vault: &str) -> Result<Arc<DataKey>, SealError> {
        let keys = self.vaults.get(vault).and_then(BTreeMap::last_key_value);
        keys.map(|(_, key)| key.clone())
            .ok_or_else(|| self.missing(vault))
    }

    /// The key that a record of a vault is sealed under.
    ///
    /// # Errors
    /// [`SealError::Sealed`], [`SealError::Damaged`].
    pub fn key_for(&self, vault: &str, record: &[u8]) -> Result<Arc<DataKey>, SealError> {
        self.numbered(vault, super::data_key::number_of(record)?)
    }

    /// The data key of a number.
    ///
    /// # Errors
    /// [`SealError::Sealed`], [`SealError::Damaged`].
    pub(crate) fn numbered(&self, vault: &str, number: u32) -> Result<Arc<DataKey>, SealError> {
        let keys = self.vaults.get(vault).ok_or_else(|| self.missing(vault))?;
        keys.get(&number).cloned().ok_or(SealError::Damaged)
    }

    fn missing(&self, vault: &str) -> SealError {
        SealError::Sealed(match self.causes.get(vault) {
            Some(cause) => cause.clone(),
            None if self.roots.is_empty() => self.cause.clone(),
            None => format!("vault {vault:?} has no data key"),
        })
    }
}

#[cfg(test)]
mod tests {
    use ledger::SystemClock;
    use ledger::memory::MemoryLedger;
    use ledger::random::SeededRandom;

    use super::*;

    fn root(byte: u8) -> RootKey {
        RootKey::of(Zeroizing::new([byte; KEY_BYTES]), format!("file {byte}")).unwrap()
    }

    fn memory() -> Arc<dyn Ledger> {
        Arc::new(MemoryLedger::new(Arc::new(SystemClock)))
    }

    async fn open(ledger: &Arc<dyn Ledger>, roots: &[u8], vaults: &[&str]) -> Arc<Seal> {
        let random = SeededRandom::new(u64::from(roots.first().copied().unwrap_or(0)));
        let roots = roots.iter().map(|byte| root(*byte)).collect();
        let vaults: Vec<String> = vaults.iter().map(|vault| (*vault).to_owned()).collect();
        Seal::open(ledger.clone(), &random, roots, &vaults).await.unwrap()
    }

    #[tokio::test]
    async fn another_root_key_takes_over_and_the_old_one_opens_nothing() {
        let ledger = memory();
        assert!(!Seal::was_used(ledger.as_ref()).await.unwrap());
        let seal = open(&ledger, &[1], &["a", "b"]).await;
        let record = seal
            .newest("a")
            .unwrap()
            .seal(&SeededRandom::new(9), b"x", &[b"value"])
            .unwrap();
        assert!(Seal::was_used(ledger.as_ref()).await.unwrap());
        assert_ne!(*seal.newest("a").unwrap().bytes, *seal.newest("b").unwrap().bytes);
        let opens = |seal: &Seal| {
            let key = seal.key_for("a", &record)?;
            key.open(b"x", &record).map(|value| value.to_vec())
        };
        assert_eq!(opens(&seal).unwrap(), b"value");

        let unknown = open(&ledger, &[2], &["a", "b"]).await;
        let cause = unknown.cause().unwrap();
        assert!(cause.contains(root(1).name()), "{cause}");
        assert!(matches!(opens(&unknown), Err(SealError::Sealed(_))));

        // Both at once: from then on the new one alone.
        assert_eq!(
            opens(open(&ledger, &[2, 1], &["a"]).await.as_ref()).unwrap(),
            b"value"
        );
        assert_eq!(
            opens(open(&ledger, &[2], &["a", "c"]).await.as_ref()).unwrap(),
            b"value"
        );
        assert!(open(&ledger, &[1], &["a"]).await.cause().is_some());
        assert!(open(&ledger, &[], &["a"]).await.cause().is_some());

        let random = SeededRandom::new(7);
        assert_eq!(
            rekey(ledger.as_ref(), &random, &[root(3), root(2)])
                .await
                .unwrap(),
            4
        );
        assert_eq!(
            rekey(ledger.as_ref(), &random, &[root(3), root(2)])
                .await
                .unwrap(),
            0
        );
        let error = rekey(ledger.as_ref(), &random, &[root(4), root(2)])
            .await
            .unwrap_err();
        assert!(matches!(error, RekeyError::NotGiven { .. }), "{error}");
        assert_eq!(
            opens(open(&ledger, &[3], &["a"]).await.as_ref()).unwrap(),
            b"value"
        );
    }

    async fn put(ledger: &Arc<dyn Ledger>, key: Key, value: Vec<u8>) {
        let mut tx = Transaction::new();
        tx.put(key, value);
        ledger.commit(tx).await.unwrap();
    }

    #[tokio::test]
    async fn a_data_key_that_does_not_open_seals_its_own_vault() {
        let ledger = memory();
        open(&ledger, &[1], &["a", "b"]).await;
        let of_b = ledger
            .snapshot()
            .await
            .unwrap()
            .get(&key_of("b", 1))
            .await
            .unwrap();
        for bad in [b"not a record".to_vec(), of_b.unwrap().value.to_vec()] {
            put(&ledger, key_of("a", 1), bad).await;
            let seal = open(&ledger, &[1], &["a", "b", "c"]).await;
            assert!(matches!(seal.newest("a"), Err(SealError::Sealed(_))));
            assert!(seal.cause().unwrap().contains("\"a\""), "{:?}", seal.cause());
            assert!(seal.cause_of("a").is_some() && seal.cause_of("b").is_none());
            for whole in ["b", "c", BACKUPS] {
                assert!(seal.newest(whole).is_ok(), "{whole}");
            }
            let as_is = Seal::open_as_is(ledger.clone(), vec![root(1)]).await.unwrap();
            assert!(as_is.newest("a").is_err() && as_is.newest("b").is_ok());
        }
        // The command wraps all or nothing.
        let all = [root(2), root(1)];
        assert!(rekey(ledger.as_ref(), &SeededRandom::new(7), &all).await.is_err());
    }

    #[tokio::test]
    async fn a_root_key_of_before_wraps_nothing_new() {
        let ledger = memory();
        open(&ledger, &[1], &["a"]).await;
        let random = SeededRandom::new(7);
        rekey(ledger.as_ref(), &random, &[root(2), root(1)])
            .await
            .unwrap();
        let old = open(&ledger, &[1], &["a", "b"]).await;
        assert!(old.newest("b").is_err() && old.cause_of("b").unwrap().contains(root(2).name()));
        let new = open(&ledger, &[2], &["a", "b"]).await;
        assert!(new.newest("a").is_ok() && new.newest("b").is_ok() && new.cause().is_none());
    }
}
