//! The public keys of an issuer elsewhere, by its OpenID metadata or by the address of its key set.
//!
//! Invariant: requests never wait for the issuer as long as there are keys that are young enough, and an
//! issuer that is away, or tokens with made-up key ids, cause a bounded number of questions. How bytes
//! come over the network is not this module's business: [`Fetch`] is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use ledger::Clock;
use parking_lot::Mutex;
use serde::Deserialize;

use crate::key_source::{KeySource, KeySourceError};

/// Age at which keys are asked for again. Issuers publish new keys a day before they use them.
pub const KEYS_FRESH_SECONDS: u64 = 3_600;

/// Age up to which keys are used while the issuer can't be reached.
pub const KEYS_STALE_SECONDS_MAX: u64 = 24 * 3_600;

/// Pause between two questions for keys because a token names one that isn't known.
pub const KEYS_ANEW_SECONDS_MIN: u64 = 300;

/// Pause after a question that failed.
pub const KEYS_RETRY_SECONDS_MIN: u64 = 10;

/// Asks for what is at an address.
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
    /// The last question that failed, and when.
    failure: Option<(KeySourceError, Duration)>,
}

/// Keys of an issuer elsewhere.
pub struct RemoteKeys {
    address: Address,
    fetch: Arc<dyn Fetch>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    asking: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl RemoteKeys {
    /// The keys at `address`. Nothing is asked for yet.
    #[must_use]
    pub fn new(address: Address, fetch: Arc<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self {
            address,
            fetch,
            clock,
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Keys that were asked for less than `age_seconds` ago, as far as the bounds allow.
    async fn younger_than(&self, age_seconds: u64) -> Result<Arc<JwkSet>, KeySourceError> {
        let known = self.known();
        if let Some((keys, age)) = &known
            && *age < Duration::from_secs(age_seconds)
        {
            return Ok(keys.clone());
        }
        let _asking = match (known, self.asking.try_lock()) {
            (_, Ok(asking)) => asking,
            // Somebody else asks already; what there is will do meanwhile.
            (Some((keys, _)), Err(_)) => return Ok(keys),
            (None, Err(_)) => self.asking.lock().await,
        };
        // Whoever asked before may have got them.
        if let Some((keys, age)) = self.known()
            && age < Duration::from_secs(age_seconds)
        {
            return Ok(keys);
        }
        if let Some(failure) = self.fresh_failure() {
            return self.known().map(|(keys, _)| keys).ok_or(failure);
        }
        let asked_at = self.clock.monotonic();
        match self.ask().await {
            Ok(keys) => {
                let keys = Arc::new(keys);
                let mut state = self.state.lock();
                state.keys = Some((keys.clone(), asked_at));
                state.failure = None;
                Ok(keys)
            }
            Err(cause) => {
                tracing::warn!(%cause, "an issuer's keys can't be had; it is asked again");
                let failure = KeySourceError(cause);
                self.state.lock().failure = Some((failure.clone(), self.clock.monotonic()));
                self.known().map(|(keys, _)| keys).ok_or(failure)
            }
        }
    }

    /// The keys that may still be used, and their age.
    fn known(&self) -> Option<(Arc<JwkSet>, Duration)> {
        let state = self.state.lock();
        let (keys, at) = state.keys.as_ref()?;
        let age = self.clock.monotonic().saturating_sub(*at);
        (age < Duration::from_secs(KEYS_STALE_SECONDS_MAX)).then(|| (keys.clone(), age))
    }

    /// A failure after which it is too early to ask again.
    fn fresh_failure(&self) -> Option<KeySourceError> {
        let state = self.state.lock();
        let (failure, at) = state.failure.as_ref()?;
        let age = self.clock.monotonic().saturating_sub(*at);
        (age < Duration::from_secs(KEYS_RETRY_SECONDS_MIN)).then(|| failure.clone())
    }

    async fn ask(&self) -> Result<JwkSet, String> {
        let url = match &self.address {
            Address::Keys { url } => url.clone(),
            Address::Metadata { url, issuer } => {
                let metadata: Metadata = self.read(url).await?;
                if metadata.issuer != *issuer {
                    return Err(format!(
                        "{url}: the metadata are of issuer {:?}, not of {issuer:?}",
                        metadata.issuer
                    ));
                }
                metadata.jwks_uri
            }
        };
        self.read(&url).await
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let body = self
            .fetch
            .fetch(url, crate::key_source::KEY_SET_BYTES_MAX)
            .await
            .map_err(|cause| format!("{url}: {cause}"))?;
        serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))
    }
}

#[async_trait]
impl KeySource for RemoteKeys {
    async fn keys(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        self.younger_than(KEYS_FRESH_SECONDS).await
    }

    async fn keys_anew(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        self.younger_than(KEYS_ANEW_SECONDS_MIN).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ledger::AdjustableClock;
    use serde_json::json;

    use super::*;

    /// Answers from a list of addresses; counts the questions for keys.
    #[derive(Default)]
    struct Issuer {
        answers: Mutex<Vec<(String, String)>>,
        asked: AtomicUsize,
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

    #[tokio::test]
    async fn keys_are_kept_and_a_new_one_is_found() {
        let (issuer, clock, remote) = remote();
        let metadata = json!({"issuer": "https://i/", "jwks_uri": "https://i/keys"});
        issuer.says("https://i/metadata", &metadata);
        issuer.says("https://i/keys", &keys("1"));
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
        clock.advance_seconds(3_600);
        assert_eq!(kid(&remote.keys().await.unwrap()), "2");
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
        }
        assert_eq!(issuer.asked(), 2);
        clock.advance_seconds(1);
        assert!(remote.keys().await.is_err());
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
