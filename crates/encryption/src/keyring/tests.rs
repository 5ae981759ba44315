//! Keyrings over one ledger in memory: rotation, missing keys, other nodes.

use ledger::AdjustableClock;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;

use super::*;
use crate::KeyName;

fn memory() -> Arc<dyn Ledger> {
    let clock = Arc::new(AdjustableClock::standing_at(jiff::Timestamp::UNIX_EPOCH));
    Arc::new(MemoryLedger::new(clock))
}

fn kek(byte: u8) -> KeyEncryptionKey {
    KeyEncryptionKey::of(&[byte; KEY_BYTES], format!("kek-{byte}").into()).unwrap()
}

fn number(key: &DataKey) -> KeyNumber {
    match key.name() {
        KeyName::Kept(number) => number,
        KeyName::Customer(_) => panic!("a customer's key isn't in a keyring"),
    }
}

fn accounts(generations: &[(&str, u32)]) -> Vec<AccountGeneration> {
    let account = |(account, generation): &(&str, u32)| AccountGeneration {
        account: (*account).to_owned(),
        scope: None,
        generation: *generation,
    };
    generations.iter().map(account).collect()
}

async fn open(
    ledger: &Arc<dyn Ledger>,
    seed: u64,
    keks: &[u8],
    generations: &[(&str, u32)],
) -> Result<Arc<Keyring>, KeyError> {
    let random = Arc::new(SeededRandom::new(seed));
    let keks = keks.iter().map(|byte| kek(*byte)).collect();
    Keyring::open(ledger.clone(), random, keks, &accounts(generations)).await
}

async fn wrapped(ledger: &Arc<dyn Ledger>) -> Vec<(u64, WrappedKey)> {
    let snapshot = ledger.snapshot().await.unwrap();
    let stored = stored_keys(snapshot.as_ref()).await.unwrap();
    stored
        .into_iter()
        .map(|found| (found.number.0, found.wrapped))
        .collect()
}

#[tokio::test]
async fn keys_are_made_once_and_found_again() {
    let ledger = memory();
    assert!(!has_account_keys(ledger.as_ref()).await.unwrap());
    let first = open(&ledger, 1, &[1], &[("a", 0), ("b", 0)]).await.unwrap();
    assert!(has_account_keys(ledger.as_ref()).await.unwrap());
    let (id, encrypted) = first.newest("a").unwrap().encrypt_small(b"text").unwrap();
    let before = wrapped(&ledger).await;
    assert_eq!(before.len(), 2);
    let again = open(&ledger, 2, &[1], &[("a", 0), ("b", 0)]).await.unwrap();
    assert_eq!(
        wrapped(&ledger).await,
        before,
        "a start without a reason writes nothing"
    );
    let key = again.key(number(&first.newest("a").unwrap())).await.unwrap();
    assert_eq!(key.decrypt_small(id, encrypted.clone()).unwrap(), &b"text"[..]);
    // The other account's key is another one, and what it can't decrypt is counted.
    let other = again.newest("b").unwrap();
    assert!(other.decrypt_small(id, encrypted).is_err());
    assert_eq!((again.damaged_frames(), first.damaged_frames()), (1, 0));
    assert!(again.newest("c").is_err());
    assert!(again.key(KeyNumber(9)).await.is_err());
}

#[tokio::test]
async fn what_lies_in_the_ledger_tells_no_key() {
    let ledger = memory();
    open(&ledger, 1, &[1], &[("a", 0)]).await.unwrap();
    // The account key is the first thing that the seeded source of chance gave.
    let mut key = [0; KEY_BYTES];
    SeededRandom::new(1).fill(&mut key);
    let snapshot = ledger.snapshot().await.unwrap();
    let value = snapshot.get(&key_of(KeyNumber(1))).await.unwrap().unwrap().value;
    let text = String::from_utf8(value.to_vec()).unwrap();
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(key);
    assert!(!text.contains(&base64[..8]), "{text}");
    let record: WrappedKey = serde_json::from_str(&text).unwrap();
    assert_eq!(*kek(1).unwrap(KeyNumber(1), &record).unwrap(), key);
}

#[tokio::test]
async fn the_first_key_encryption_key_wraps_all_anew() {
    let ledger = memory();
    let old = open(&ledger, 1, &[1], &[("a", 0), ("b", 0)]).await.unwrap();
    let (id, encrypted) = old.newest("a").unwrap().encrypt_small(b"text").unwrap();
    let error = open(&ledger, 2, &[2], &[("a", 0)]).await.unwrap_err().to_string();
    assert!(
        error.contains("account a") && error.contains(kek(1).name()),
        "{error}"
    );
    assert!(error.contains(kek(2).name()), "{error}");
    let by = |name: String| move |(_, key): &(u64, WrappedKey)| key.wrapped_by == name;
    assert!(wrapped(&ledger).await.iter().all(by(kek(1).name().to_owned())));
    open(&ledger, 3, &[2, 1], &[("a", 0)]).await.unwrap();
    assert!(wrapped(&ledger).await.iter().all(by(kek(2).name().to_owned())));
    // The old one isn't needed any more.
    let new = open(&ledger, 4, &[2], &[("a", 0)]).await.unwrap();
    let key = new.newest("a").unwrap();
    assert_eq!(key.decrypt_small(id, encrypted).unwrap(), &b"text"[..]);
    assert!(open(&ledger, 5, &[1], &[("a", 0)]).await.is_err());
}

#[tokio::test]
async fn a_larger_generation_makes_a_new_key() {
    let ledger = memory();
    let first = open(&ledger, 1, &[1], &[("a", 0), ("b", 0)]).await.unwrap();
    let (id, encrypted) = first.newest("a").unwrap().encrypt_small(b"text").unwrap();
    let second = open(&ledger, 2, &[1], &[("a", 5), ("b", 0)]).await.unwrap();
    let (old, new) = (first.newest("a").unwrap(), second.newest("a").unwrap());
    assert_ne!(number(&old), number(&new));
    assert!(new.decrypt_small(id, encrypted.clone()).is_err());
    let key = second.key(number(&old)).await.unwrap();
    assert_eq!(key.decrypt_small(id, encrypted).unwrap(), &b"text"[..]);
    assert_eq!(
        number(&first.newest("b").unwrap()),
        number(&second.newest("b").unwrap())
    );
    // A smaller one makes none: it goes on with the newest there is.
    let third = open(&ledger, 3, &[1], &[("a", 1)]).await.unwrap();
    assert_eq!(number(&third.newest("a").unwrap()), number(&new));
    // The first node learns of the key when it meets its number.
    let (id, encrypted) = new.encrypt_small(b"new").unwrap();
    let key = first.key(number(&new)).await.unwrap();
    assert_eq!(key.decrypt_small(id, encrypted).unwrap(), &b"new"[..]);
}

#[tokio::test]
async fn nodes_that_start_together_share_their_keys() {
    let ledger = memory();
    let nodes = (1..=6).map(|seed| {
        let ledger = ledger.clone();
        tokio::spawn(async move {
            open(&ledger, seed, &[1], &[("a", 0), ("b", 0), ("c", 0)])
                .await
                .unwrap()
        })
    });
    let mut numbers = Vec::new();
    for node in nodes.collect::<Vec<_>>() {
        let node = node.await.unwrap();
        let number = |account| number(&node.newest(account).unwrap());
        numbers.push((number("a"), number("b"), number("c")));
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 1);
    assert_eq!(wrapped(&ledger).await.len(), 3);
}

#[tokio::test]
async fn a_damaged_record_is_named_and_nothing_is_changed() {
    let ledger = memory();
    open(&ledger, 1, &[1], &[("a", 0), ("b", 0)]).await.unwrap();
    let keys = wrapped(&ledger).await;
    // The key of the one account under the number of the other.
    let mut tx = Transaction::new();
    tx.put(key_of(KeyNumber(2)), encode(&keys[0].1).unwrap());
    ledger.commit(tx).await.unwrap();
    let error = open(&ledger, 2, &[2, 1], &[("a", 9)]).await.unwrap_err();
    assert!(
        matches!(
            error,
            KeyError::Damaged {
                number: KeyNumber(2),
                ..
            }
        ),
        "{error}"
    );
    let now = wrapped(&ledger).await;
    assert_eq!(now.len(), 2);
    assert!(now.iter().all(|(_, key)| key.wrapped_by == kek(1).name()));
}

#[tokio::test]
async fn a_list_with_a_key_twice_or_none_is_refused() {
    let error = open(&memory(), 1, &[1, 2, 1], &[]).await.unwrap_err().to_string();
    assert!(error.contains("same key"), "{error}");
    assert!(open(&memory(), 1, &[], &[]).await.is_err());
}

#[tokio::test]
async fn scopes_have_keys_of_their_own() {
    let ledger = memory();
    let of = |scope: Option<&str>, generation| AccountGeneration {
        account: "a".to_owned(),
        scope: scope.map(str::to_owned),
        generation,
    };
    let open = |seed, keks: Vec<u8>, scopes: Vec<AccountGeneration>| {
        let ledger = ledger.clone();
        async move {
            let keks = keks.iter().map(|byte| kek(*byte)).collect();
            let random = Arc::new(SeededRandom::new(seed));
            Keyring::open(ledger, random, keks, &scopes).await.unwrap()
        }
    };
    let scopes = vec![of(None, 0), of(Some("one"), 0), of(Some("two"), 0)];
    let first = open(1, vec![1], scopes.clone()).await;
    let key = first.newest_of_scope("a", "one").unwrap();
    let (id, encrypted) = key.encrypt_small(b"text").unwrap();
    for other in [
        first.newest("a").unwrap(),
        first.newest_of_scope("a", "two").unwrap(),
    ] {
        assert!(other.decrypt_small(id, encrypted.clone()).is_err());
    }
    assert!(first.newest_of_scope("a", "none").is_err());
    assert!(first.newest_of_scope("b", "one").is_err());
    // They are wrapped anew and replaced as accounts' keys are.
    let second = open(2, vec![2, 1], scopes).await;
    let same = second.newest_of_scope("a", "one").unwrap();
    assert_eq!(number(&same), number(&key));
    let third = open(3, vec![2], vec![of(Some("one"), 1)]).await;
    let newer = third.newest_of_scope("a", "one").unwrap();
    assert_ne!(number(&newer), number(&key));
    let old = third.key(number(&key)).await.unwrap();
    assert_eq!(old.decrypt_small(id, encrypted).unwrap(), &b"text"[..]);
    assert_eq!(wrapped(&ledger).await.len(), 4);
}
