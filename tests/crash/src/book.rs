//! What was promised: for each key the state that was last acknowledged, and the one whose request
//! went out without an answer yet.

use std::collections::BTreeMap;

use ledger::random::{Random, SeededRandom};
use sha2::{Digest as _, Sha256};

/// Content by its SHA-256.
pub(crate) type Hash = [u8; 32];

/// The SHA-256 of `bytes`.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

/// What a key may hold: nothing, or content with this hash.
pub(crate) type State = Option<Hash>;

/// One key's promise.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Promise {
    acknowledged: State,
    under_way: Option<State>,
}

/// What was found wrong with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Acknowledged, and not there (or an older state is).
    Lost,
    /// There, and neither what was acknowledged nor what was under way.
    Torn,
    /// A reference whose content isn't there.
    Dangling,
    /// An answer that what is there doesn't give.
    Differs,
    /// What the test is for never happened.
    Missed,
}

/// The promises of one writer.
#[derive(Debug, Default)]
pub(crate) struct Book {
    promises: BTreeMap<String, Promise>,
    touched: Vec<String>,
    history: BTreeMap<String, Vec<Hash>>,
}

impl Book {
    /// A request that would bring `key` to `state` goes out.
    pub(crate) fn begin(&mut self, key: &str, state: State) {
        self.promises.entry(key.to_owned()).or_default().under_way = Some(state);
        self.touched.push(key.to_owned());
    }

    /// The request was acknowledged.
    pub(crate) fn acknowledge(&mut self, key: &str) {
        if let Some(promise) = self.promises.get_mut(key)
            && let Some(state) = promise.under_way.take()
        {
            if let Some(old) = promise.acknowledged {
                self.history.entry(key.to_owned()).or_default().push(old);
            }
            promise.acknowledged = state;
        }
    }

    /// The request was refused: nothing may have changed.
    pub(crate) fn refuse(&mut self, key: &str) {
        if let Some(promise) = self.promises.get_mut(key) {
            promise.under_way = None;
        }
    }

    /// Compares with what is there; from then on that is what was promised.
    pub(crate) fn settle(&mut self, key: &str, actual: State) -> Option<Fault> {
        let promise = self.promises.entry(key.to_owned()).or_default();
        let fine = actual == promise.acknowledged || promise.under_way == Some(actual);
        let fault = if fine {
            None
        } else {
            let old = |hash: &Hash| {
                self.history
                    .get(key)
                    .is_some_and(|history| history.contains(hash))
            };
            match actual {
                None => Some(Fault::Lost),
                Some(hash) if old(&hash) => Some(Fault::Lost),
                Some(_) => Some(Fault::Torn),
            }
        };
        *promise = Promise {
            acknowledged: actual,
            under_way: None,
        };
        fault
    }

    /// What was last acknowledged of `key`.
    pub(crate) fn acknowledged(&self, key: &str) -> State {
        self.promises.get(key).and_then(|promise| promise.acknowledged)
    }

    /// Whether anything is known of `key`.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.promises.contains_key(key)
    }

    /// Keys that were touched since the last call, each once.
    pub(crate) fn take_touched(&mut self) -> Vec<String> {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.promises.keys().cloned().collect()
    }

    /// A key that is acknowledged to be there, by chance.
    pub(crate) fn any_present(&self, random: &SeededRandom) -> Option<String> {
        let present: Vec<&String> = self
            .promises
            .iter()
            .filter(|(_, p)| p.acknowledged.is_some())
            .map(|(key, _)| key)
            .collect();
        present
            .get(below(random, present.len()))
            .map(|key| (*key).clone())
    }
}

/// A number below `end` (0 if that is 0).
pub(crate) fn below(random: &SeededRandom, end: usize) -> usize {
    let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
    usize::try_from(random.u64() % end).unwrap_or(0)
}

/// `length` bytes that nobody else sends.
pub(crate) fn bytes(random: &SeededRandom, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_lost_from_torn_from_fine() {
        let (one, two, other) = (hash(b"1"), hash(b"2"), hash(b"x"));
        let fresh = || {
            let mut book = Book::default();
            book.begin("k", Some(one));
            book.acknowledge("k");
            book.begin("k", Some(two));
            book
        };
        assert_eq!(fresh().settle("k", Some(one)), None);
        assert_eq!(fresh().settle("k", Some(two)), None);
        assert_eq!(fresh().settle("k", None), Some(Fault::Lost));
        assert_eq!(fresh().settle("k", Some(other)), Some(Fault::Torn));
        let mut book = fresh();
        book.acknowledge("k");
        assert_eq!(book.settle("k", Some(one)), Some(Fault::Lost), "an older state");
        let mut book = fresh();
        book.refuse("k");
        assert_eq!(
            book.settle("k", Some(two)),
            Some(Fault::Torn),
            "refused and yet there"
        );
    }

    #[test]
    fn a_deletion_is_a_promise_too() {
        let mut book = Book::default();
        book.begin("k", Some(hash(b"1")));
        book.acknowledge("k");
        book.begin("k", None);
        book.acknowledge("k");
        assert_eq!(book.any_present(&SeededRandom::new(1)), None);
        assert_eq!(
            book.settle("k", Some(hash(b"1"))),
            Some(Fault::Lost),
            "what was deleted came back"
        );
        assert_eq!(book.take_touched(), ["k"]);
        assert!(book.take_touched().is_empty());
    }
}
