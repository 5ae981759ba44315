//! The public keys of an issuer elsewhere, by its OpenID metadata or by the address of its key set.
//!
//! Invariant: a token with a known key never waits for the issuer, and neither an issuer that is away, nor
//! tokens with made-up key ids, nor callers that go away cause more than a bounded number of questions. How
//! bytes come over the network is not this module's business: [`Fetch`] is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use ledger::Clock;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::watch;

use crate::key_source::{KEY_SET_BYTES_MAX, KeySource, KeySourceError, read_key_set};

/// Age at which keys are asked for again. Issuers publish new keys a day before they use them.
pub const KEYS_FRESH_SECONDS: u64 = 3_600;

/// Age up to which keys are used while the issuer can't be reached.
pub const KEYS_STALE_SECONDS_MAX: u64 = 24 * 3_600;

/// Pause between two questions while there are keys, be it that they are old or that a token names one that
/// isn't known. A question that failed counts, too.
pub const KEYS_ANEW_SECONDS_MIN: u64 = 300;

/// Pause after a question that failed while there are no keys.
pub const KEYS_RETRY_SECONDS_MIN: u64 = 10;

/// Asks for what is at an address, and gives up in bounded time: nothing else is asked meanwhile.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// The body of a successful answer, of at most `bytes_max`.
    ///
    /// # Errors
    /// The cause, for people.
    async fn fetch(&self, address: &str, bytes_max: u64) -> Result<Vec<u8>, String>;
}

/// Where an issuer says what its keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Its metadata (OpenID Connect Discovery, section 4), which must name `issuer` as its issuer.
    Metadata {
        /// The address of the metadata.
        url: String,
        /// What tokens call the issuer.
        issuer: String,
    },
    /// Its key set.
    Keys {
        /// The address of the key set.
        url: String,
    },
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Default)]
struct State {
    /// The newest keys, and when they were asked for.
    keys: Option<(Arc<JwkSet>, Duration)>,
    /// When the last question began or, if it failed, when it did.
    asked_at: Option<Duration>,
    /// Why the last question failed, if it did.
    failure: Option<KeySourceError>,
    /// The question on its way: the other end goes when it is over, however it ends.
    asking: Option<watch::Receiver<()>>,
}

impl State {
    /// The keys that may still be used, and their age.
    fn usable(&self, now: Duration) -> Option<(Arc<JwkSet>, Duration)> {
        let (keys, at) = self.keys.as_ref()?;
        let age = now.saturating_sub(*at);
        (age < Duration::from_secs(KEYS_STALE_SECONDS_MAX)).then(|| (keys.clone(), age))
    }

    fn is_too_early(&self, now: Duration) -> bool {
        let pause_seconds = match self.usable(now) {
            Some(_) => KEYS_ANEW_SECONDS_MIN,
            None => KEYS_RETRY_SECONDS_MIN,
        };
        self.asked_at
            .is_some_and(|at| now.saturating_sub(at) < Duration::from_secs(pause_seconds))
    }
}

struct Remote {
    address: Address,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// Keys of an issuer elsewhere.
pub struct RemoteKeys {
    remote: Arc<Remote>,
}

impl std::fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("address", &self.remote.address)
            .finish_non_exhaustive()
    }
}

impl RemoteKeys {
    /// The keys at `address`. Nothing is asked for yet.
    #[must_use]
    pub fn new(address: Address, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        let remote = Remote {
            address,
            fetch,
            clock,
            state: Mutex::default(),
        };
        Self {
            remote: Arc::new(remote),
        }
    }

    fn usable(&self) -> Option<(Arc<JwkSet>, Duration)> {
        let now = self.remote.clock.monotonic();
        self.remote.state.lock().usable(now)
    }

    /// The question that is on its way, which begins now if there is none; none if it is too early for one.
    fn question(&self) -> Option<watch::Receiver<()>> {
        let mut state = self.remote.state.lock();
        if let Some(asking) = &state.asking
            && asking.has_changed().is_ok()
        {
            return Some(asking.clone());
        }
        let now = self.remote.clock.monotonic();
        if state.is_too_early(now) {
            return None;
        }
        let (over, asking) = watch::channel(());
        state.asked_at = Some(now);
        state.failure = None;
        state.asking = Some(asking.clone());
        drop(state);
        // A task of its own: who asked may go away, and others may wait for the answer.
        let remote = self.remote.clone();
        tokio::spawn(async move {
            remote.ask_and_keep(now).await;
            drop(over);
        });
        Some(asking)
    }

    /// What there is once `question` is over.
    async fn after(&self, question: Option<watch::Receiver<()>>) -> Result<Arc<JwkSet>, KeySourceError> {
        if let Some(mut asking) = question {
            // Nothing is ever sent: this ends when the other end goes.
            while asking.changed().await.is_ok() {}
        }
        if let Some((keys, _)) = self.usable() {
            return Ok(keys);
        }
        let failure = self.remote.state.lock().failure.clone();
        Err(failure.unwrap_or_else(|| KeySourceError("the issuer gave none".to_owned())))
    }
}

impl Remote {
    async fn ask_and_keep(&self, asked_at: Duration) {
        let answer = self.ask().await;
        let mut state = self.state.lock();
        match answer {
            Ok(keys) => state.keys = Some((Arc::new(keys), asked_at)),
            Err(cause) => {
                tracing::warn!(%cause, "an issuer's keys can't be had; it is asked again");
                state.failure = Some(KeySourceError(cause));
                state.asked_at = Some(self.clock.monotonic());
            }
        }
    }

    async fn ask(&self) -> Result<JwkSet, String> {
        let url = match &self.address {
            Address::Keys { url } => url.clone(),
            Address::Metadata { url, issuer } => {
                let body = self.read(url).await?;
                let metadata: Metadata =
                    serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))?;
                if metadata.issuer != *issuer {
                    return Err(format!(
                        "{url}: the metadata are of issuer {:?}, not of {issuer:?}",
                        metadata.issuer
                    ));
                }
                metadata.jwks_uri
            }
        };
        read_key_set(&self.read(&url).await?).map_err(|cause| format!("{url}: {cause}"))
    }

    async fn read(&self, url: &str) -> Result<Vec<u8>, String> {
        self.fetch
            .fetch(url, KEY_SET_BYTES_MAX)
            .await
            .map_err(|cause| format!("{url}: {cause}"))
    }
}

#[async_trait]
impl KeySource for RemoteKeys {
    async fn keys(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        let usable = self.usable();
        if let Some((keys, age)) = &usable
            && *age < Duration::from_secs(KEYS_FRESH_SECONDS)
        {
            return Ok(keys.clone());
        }
        let question = self.question();
        match usable {
            Some((keys, _)) => Ok(keys),
            None => self.after(question).await,
        }
    }

    /// Waits for the answer, if it may ask: the keys that there are don't help a token with another one.
    async fn keys_anew(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        let question = self.question();
        self.after(question).await
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::Poll;

    use ledger::AdjustableClock;
    use serde_json::json;

    use super::*;

    /// Answers from a list of addresses; counts the questions for keys.
    #[derive(Default)]
    struct Issuer {
        answers: Mutex<Vec<(String, String)>>,
        asked: AtomicUsize,
        /// Whether it takes questions for keys and never answers.
        hangs: AtomicBool,
    }

    impl Issuer {
        fn says(&self, address: &str, answer: &serde_json::Value) {
            let mut answers = self.answers.lock();
            answers.retain(|(known, _)| known != address);
            answers.push((address.to_owned(), answer.to_string()));
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[async_trait]
    impl Fetch for Issuer {
        async fn fetch(&self, address: &str, _bytes_max: u64) -> Result<Vec<u8>, String> {
            if address.ends_with("/keys") {
                self.asked.fetch_add(1, Ordering::Relaxed);
                while self.hangs.load(Ordering::Relaxed) {
                    tokio::task::yield_now().await;
                }
            }
            let answers = self.answers.lock();
            let found = answers.iter().find(|(known, _)| known == address);
            found
                .map(|(_, answer)| answer.clone().into_bytes())
                .ok_or_else(|| "nobody is there".to_owned())
        }
    }

    fn keys(kid: &str) -> serde_json::Value {
        json!({"keys": [{"kty": "RSA", "kid": kid, "n": "AQAB", "e": "AQAB"}]})
    }

    fn kid(keys: &JwkSet) -> &str {
        keys.keys[0].common.key_id.as_deref().unwrap()
    }

    fn remote() -> (Arc<Issuer>, Arc<AdjustableClock>, RemoteKeys) {
        let issuer = Arc::new(Issuer::default());
        let clock = Arc::new(AdjustableClock::standing_at(jiff::Timestamp::UNIX_EPOCH));
        let address = Address::Metadata {
            url: "https://i/metadata".to_owned(),
            issuer: "https://i/".to_owned(),
        };
        let remote = RemoteKeys::new(address, issuer.clone(), clock.clone());
        (issuer, clock, remote)
    }

    /// An issuer that answers with key 1.
    fn present() -> (Arc<Issuer>, Arc<AdjustableClock>, RemoteKeys) {
        let (issuer, clock, remote) = remote();
        let metadata = json!({"issuer": "https://i/", "jwks_uri": "https://i/keys"});
        issuer.says("https://i/metadata", &metadata);
        issuer.says("https://i/keys", &keys("1"));
        (issuer, clock, remote)
    }

    /// Lets the question on its way come as far as it can.
    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// What is there without waiting.
    async fn at_once<T>(answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        std::future::poll_fn(|context| match answer.as_mut().poll(context) {
            Poll::Ready(found) => Poll::Ready(Some(found)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[tokio::test]
    async fn keys_are_kept_and_a_new_one_is_found() {
        let (issuer, clock, remote) = present();
        for _ in 0..3 {
            assert_eq!(kid(&remote.keys().await.unwrap()), "1");
        }
        assert_eq!(issuer.asked(), 1);
        // A token with an unknown key: not at once, but after the pause.
        issuer.says("https://i/keys", &keys("2"));
        assert_eq!(kid(&remote.keys_anew().await.unwrap()), "1");
        clock.advance_seconds(300);
        assert_eq!(kid(&remote.keys().await.unwrap()), "1");
        assert_eq!(kid(&remote.keys_anew().await.unwrap()), "2");
        assert_eq!(kid(&remote.keys_anew().await.unwrap()), "2");
        assert_eq!(issuer.asked(), 2);
        // Old keys are used while new ones are asked for.
        issuer.says("https://i/keys", &keys("3"));
        clock.advance_seconds(3_600);
        assert_eq!(kid(&remote.keys().await.unwrap()), "2");
        settle().await;
        assert_eq!(kid(&remote.keys().await.unwrap()), "3");
        assert_eq!(issuer.asked(), 3);
    }

    #[tokio::test]
    async fn an_issuer_that_is_away_is_asked_now_and_then() {
        let (issuer, clock, remote) = remote();
        let error = remote.keys().await.unwrap_err().to_string();
        assert!(
            error.contains("https://i/metadata") && error.contains("nobody"),
            "{error}"
        );
        let metadata = json!({"issuer": "https://i/", "jwks_uri": "https://i/keys"});
        issuer.says("https://i/metadata", &metadata);
        issuer.says("https://i/keys", &keys("1"));
        assert!(remote.keys().await.is_err());
        clock.advance_seconds(10);
        assert_eq!(kid(&remote.keys().await.unwrap()), "1");
        // Away again: the keys are used for a day, and it is asked once each pause.
        issuer.answers.lock().clear();
        issuer.says("https://i/metadata", &metadata);
        clock.advance_seconds(24 * 3_600 - 1);
        for _ in 0..3 {
            assert_eq!(kid(&remote.keys().await.unwrap()), "1");
            settle().await;
        }
        assert_eq!(issuer.asked(), 2);
        clock.advance_seconds(1);
        assert!(remote.keys().await.is_err());
    }

    #[tokio::test]
    async fn an_unknown_key_asks_an_issuer_that_is_away_each_five_minutes() {
        let (issuer, clock, remote) = present();
        assert_eq!(kid(&remote.keys().await.unwrap()), "1");
        issuer
            .answers
            .lock()
            .retain(|(known, _)| !known.ends_with("/keys"));
        clock.advance_seconds(300);
        for _ in 0..3 {
            assert_eq!(kid(&remote.keys_anew().await.unwrap()), "1");
        }
        assert_eq!(issuer.asked(), 2);
        clock.advance_seconds(299);
        assert_eq!(kid(&remote.keys_anew().await.unwrap()), "1");
        assert_eq!(issuer.asked(), 2);
        clock.advance_seconds(1);
        issuer.says("https://i/keys", &keys("2"));
        assert_eq!(kid(&remote.keys_anew().await.unwrap()), "2");
        assert_eq!(issuer.asked(), 3);
    }

    #[tokio::test]
    async fn callers_that_go_away_cause_one_question() {
        let (issuer, clock, remote) = present();
        assert_eq!(kid(&remote.keys().await.unwrap()), "1");
        issuer.says("https://i/keys", &keys("2"));
        issuer.hangs.store(true, Ordering::Relaxed);
        clock.advance_seconds(300);
        for _ in 0..5 {
            assert!(at_once(remote.keys_anew()).await.is_none());
            settle().await;
        }
        assert_eq!(issuer.asked(), 2);
        // Its answer isn't lost.
        issuer.hangs.store(false, Ordering::Relaxed);
        settle().await;
        assert_eq!(kid(&remote.keys().await.unwrap()), "2");
        assert_eq!(kid(&remote.keys_anew().await.unwrap()), "2");
        assert_eq!(issuer.asked(), 2);
    }

    #[tokio::test]
    async fn nobody_with_a_known_key_waits_for_an_issuer_that_hangs() {
        let (issuer, clock, remote) = present();
        assert_eq!(kid(&remote.keys().await.unwrap()), "1");
        issuer.hangs.store(true, Ordering::Relaxed);
        clock.advance_seconds(3_600);
        for _ in 0..3 {
            let found = at_once(remote.keys()).await.expect("nobody waits");
            assert_eq!(kid(&found.unwrap()), "1");
            settle().await;
        }
        assert_eq!(issuer.asked(), 2);
        // A token with a new key waits for the same question, and others still don't.
        issuer.says("https://i/keys", &keys("2"));
        let mut waiting = std::pin::pin!(remote.keys_anew());
        assert!(at_once(waiting.as_mut()).await.is_none());
        assert!(at_once(remote.keys()).await.is_some());
        issuer.hangs.store(false, Ordering::Relaxed);
        assert_eq!(kid(&waiting.await.unwrap()), "2");
        assert_eq!(issuer.asked(), 2);
    }

    #[tokio::test]
    async fn all_wait_for_one_question_where_there_are_no_keys() {
        let (issuer, _clock, remote) = present();
        issuer.hangs.store(true, Ordering::Relaxed);
        for _ in 0..3 {
            assert!(at_once(remote.keys()).await.is_none());
            settle().await;
        }
        let (mut one, mut other) = (std::pin::pin!(remote.keys()), std::pin::pin!(remote.keys()));
        assert!(at_once(one.as_mut()).await.is_none());
        assert!(at_once(other.as_mut()).await.is_none());
        issuer.hangs.store(false, Ordering::Relaxed);
        assert_eq!(kid(&one.await.unwrap()), "1");
        assert_eq!(kid(&other.await.unwrap()), "1");
        assert_eq!(issuer.asked(), 1);
    }

    #[tokio::test]
    async fn a_set_without_usable_keys_replaces_nothing() {
        let (issuer, clock, remote) = present();
        assert_eq!(kid(&remote.keys().await.unwrap()), "1");
        for bad in [json!({"keys": []}), json!({"keys": [{"kty": "AKP", "kid": "2"}]})] {
            issuer.says("https://i/keys", &bad);
            clock.advance_seconds(300);
            assert_eq!(kid(&remote.keys_anew().await.unwrap()), "1");
        }
        assert_eq!(issuer.asked(), 3);
        // One key of another kind doesn't spoil the others.
        let mut mixed = keys("2");
        mixed["keys"].as_array_mut().unwrap().insert(0, json!({"kid": 7}));
        issuer.says("https://i/keys", &mixed);
        clock.advance_seconds(300);
        assert_eq!(kid(&remote.keys_anew().await.unwrap()), "2");
    }

    #[tokio::test]
    async fn metadata_of_another_issuer_are_refused() {
        let (issuer, _clock, remote) = remote();
        let metadata = json!({"issuer": "https://other/", "jwks_uri": "https://i/keys"});
        issuer.says("https://i/metadata", &metadata);
        issuer.says("https://i/keys", &keys("1"));
        let error = remote.keys().await.unwrap_err().to_string();
        assert!(error.contains("https://other/"), "{error}");
        assert_eq!(issuer.asked(), 0);
    }
}
