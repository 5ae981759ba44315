//! Signs tokens with a key of its own.
//!
//! Invariant: the key is made once, kept in the ledger, and found there again after a restart, so
//! tokens outlive the process. It is never printed. Making an RSA key takes long enough to be
//! noticed at start-up, so it is made when it is first needed.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ledger::{Clock, Key, KeyWriter, Keyspace, Ledger, LedgerError};
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::kept_secret::load_or_make;
use crate::key_source::{KeySource, KeySourceError};

/// The tag of signing keys in the identity keyspace: (tag, issuer's name) -> PKCS#8.
pub const SIGNING_KEY_TAG: u8 = 1;

/// Why no token could be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// The ledger that keeps the key failed.
    #[error("the signing key can't be read or kept: {0}")]
    Ledger(#[from] LedgerError),
    /// The key can't be used.
    #[error("the signing key can't be used: {0}")]
    Key(String),
}

#[derive(Debug)]
struct Signer {
    key: EncodingKey,
    kid: String,
    keys: Arc<JwkSet>,
}

/// Issues RS256 tokens.
pub struct TokenIssuer {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    name: String,
    signer: OnceCell<Signer>,
}

impl std::fmt::Debug for TokenIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenIssuer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl TokenIssuer {
    /// An issuer whose key is kept in `ledger` under `name`. Nothing is read or made yet.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>, name: impl Into<String>) -> Self {
        Self {
            ledger,
            clock,
            name: name.into(),
            signer: OnceCell::new(),
        }
    }

    /// Signs `claims`, adding `iss`, `iat` and `exp` (`ttl_seconds` from now; negative gives a
    /// token that has expired).
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn issue(
        &self,
        issuer: &str,
        mut claims: Map<String, Value>,
        ttl_seconds: i64,
    ) -> Result<String, IssuerError> {
        let signer = self.signer().await?;
        let now = self.clock.now().as_second();
        claims.insert("iss".to_owned(), json!(issuer));
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("nbf".to_owned(), json!(now.min(now.saturating_add(ttl_seconds))));
        claims.insert("exp".to_owned(), json!(now.saturating_add(ttl_seconds)));
        let header = Header {
            kid: Some(signer.kid.clone()),
            ..Header::new(Algorithm::RS256)
        };
        jsonwebtoken::encode(&header, &claims, &signer.key)
            .map_err(|error| IssuerError::Key(error.to_string()))
    }

    /// The public keys, as a JSON Web Key Set.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn public_keys(&self) -> Result<Arc<JwkSet>, IssuerError> {
        Ok(self.signer().await?.keys.clone())
    }

    async fn signer(&self) -> Result<&Signer, IssuerError> {
        self.signer
            .get_or_try_init(|| async {
                let key = signing_key(&self.name);
                let pkcs8 = load_or_make(self.ledger.as_ref(), &key, make_key_aside).await?;
                signer(&pkcs8)
            })
            .await
    }
}

#[async_trait]
impl KeySource for TokenIssuer {
    async fn keys(&self) -> Result<Arc<JwkSet>, KeySourceError> {
        self.public_keys()
            .await
            .map_err(|error| KeySourceError(error.to_string()))
    }
}

/// Where issuer `name` keeps its key.
#[must_use]
pub fn signing_key(name: &str) -> Key {
    KeyWriter::new(Keyspace::Identity)
        .u8(SIGNING_KEY_TAG)
        .str_bounded(name, 256)
        .finish()
}

/// Makes a key on a thread that may be busy for long.
async fn make_key_aside() -> Result<Zeroizing<Vec<u8>>, IssuerError> {
    tokio::task::spawn_blocking(make_key)
        .await
        .map_err(|error| IssuerError::Key(error.to_string()))?
}

fn make_key() -> Result<Zeroizing<Vec<u8>>, IssuerError> {
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|error| IssuerError::Key(error.to_string()))?;
    let pkcs8 = pair
        .as_der()
        .map_err(|error| IssuerError::Key(error.to_string()))?;
    Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
}

fn signer(pkcs8: &[u8]) -> Result<Signer, IssuerError> {
    let fault = |error: jsonwebtoken::errors::Error| IssuerError::Key(error.to_string());
    let pem = Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(pkcs8)
    ));
    let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(fault)?;
    let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256).map_err(fault)?;
    let kid = key_id(&public)?;
    public.common.key_id = Some(kid.clone());
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(Signer {
        key,
        kid,
        keys: Arc::new(JwkSet { keys: vec![public] }),
    })
}

/// The key's name: a hash over its public half, so it stays the same as long as the key does.
fn key_id(public: &Jwk) -> Result<String, IssuerError> {
    let text = serde_json::to_vec(public).map_err(|error| IssuerError::Key(error.to_string()))?;
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let half = hash.as_ref().get(..16).unwrap_or_default();
    Ok(URL_SAFE_NO_PAD.encode(half))
}

#[cfg(test)]
mod tests {
    use ledger::AdjustableClock;
    use ledger::memory::MemoryLedger;

    use super::*;
    use crate::{TokenError, TokenVerifier};

    fn clock() -> Arc<AdjustableClock> {
        Arc::new(AdjustableClock::standing_at(
            jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        ))
    }

    fn claims() -> Map<String, Value> {
        json!({"urn:altinn:userid": 1337}).as_object().cloned().unwrap()
    }

    #[tokio::test]
    async fn tokens_are_verified_until_they_expire_and_outlive_the_process() {
        let clock = clock();
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        let issuer = Arc::new(TokenIssuer::new(ledger.clone(), clock.clone(), "dev"));
        let verifier = TokenVerifier::new(issuer.clone(), clock.clone());
        let token = issuer.issue("here", claims(), 60).await.unwrap();
        assert_eq!(
            verifier
                .verify(&token)
                .await
                .unwrap()
                .integer("urn:altinn:userid"),
            Some(1337)
        );

        let restarted = Arc::new(TokenIssuer::new(ledger, clock.clone(), "dev"));
        let again = TokenVerifier::new(restarted, clock.clone());
        assert!(again.verify(&token).await.is_ok());

        clock.advance_seconds(59);
        assert!(again.verify(&token).await.is_ok());
        clock.advance_seconds(1);
        assert_eq!(again.verify(&token).await, Err(TokenError::Expired));
    }

    #[tokio::test]
    async fn what_was_not_issued_here_is_refused() {
        let clock = clock();
        let ledger = || -> Arc<dyn Ledger> { Arc::new(MemoryLedger::new(clock.clone())) };
        let issuer = Arc::new(TokenIssuer::new(ledger(), clock.clone(), "dev"));
        let other = TokenIssuer::new(ledger(), clock.clone(), "dev");
        let verifier = TokenVerifier::new(issuer.clone(), clock.clone());
        let foreign = other.issue("here", claims(), 60).await.unwrap();
        let token = issuer.issue("here", claims(), 60).await.unwrap();
        let cut = token.rsplit_once('.').unwrap().0;
        for bad in ["", "a.b.c", "nonsense", &foreign, &format!("{cut}.AAAA"), cut] {
            assert_eq!(verifier.verify(bad).await, Err(TokenError::Invalid), "{bad}");
        }
        // "alg": "none" and HMAC with the public key are the classic ways around a signature.
        let none = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
            URL_SAFE_NO_PAD.encode(r#"{"exp":9999999999}"#)
        );
        assert_eq!(verifier.verify(&none).await, Err(TokenError::Invalid));
        let symmetric = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &json!({"exp": 9_999_999_999_u64}),
            &EncodingKey::from_secret(b"public"),
        );
        assert_eq!(
            verifier.verify(&symmetric.unwrap()).await,
            Err(TokenError::Invalid)
        );
    }

    /// Keys that may be replaced by others.
    struct Replaceable(parking_lot::Mutex<Arc<TokenIssuer>>);

    #[async_trait]
    impl KeySource for Replaceable {
        async fn keys(&self) -> Result<Arc<JwkSet>, KeySourceError> {
            let issuer = self.0.lock().clone();
            issuer.keys().await
        }
    }

    #[tokio::test]
    async fn a_token_that_was_taken_before_is_refused_once_its_key_is_replaced() {
        let clock = clock();
        let issuer = || {
            let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
            Arc::new(TokenIssuer::new(ledger, clock.clone(), "dev"))
        };
        let (old, new) = (issuer(), issuer());
        let keys = Arc::new(Replaceable(parking_lot::Mutex::new(old.clone())));
        let verifier = TokenVerifier::new(keys.clone(), clock.clone());
        let token = old.issue("here", claims(), 60).await.unwrap();
        for _ in 0..2 {
            assert!(verifier.verify(&token).await.is_ok());
        }
        *keys.0.lock() = new.clone();
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Invalid));
        let token = new.issue("here", claims(), 60).await.unwrap();
        assert!(verifier.verify(&token).await.is_ok());
        // Known or not, its time is looked at each time.
        clock.advance_seconds(60);
        assert_eq!(verifier.verify(&token).await, Err(TokenError::Expired));
    }
}
