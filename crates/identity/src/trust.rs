//! Whose tokens are taken, and which of them: those of named issuers, for named audiences.
//!
//! Invariant: the issuer that a token names chooses among configured keys, never where keys come from.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ledger::Clock;
use serde_json::{Map, Value};

use crate::token::TOKEN_BYTES_MAX;
use crate::{Claims, KeySource, TokenError, TokenVerifier};

/// An issuer whose tokens are taken.
#[derive(Clone)]
pub struct TrustedIssuer {
    /// What its tokens call it (`iss`), exactly.
    pub issuer: String,
    /// The keys that it signs with.
    pub keys: Arc<dyn KeySource>,
}

/// Why a token isn't taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// For its form, its signature or its lifetime.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is of nobody who is trusted.
    #[error("the token's issuer is not trusted here")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
}

/// The issuers whose tokens are taken.
#[derive(Clone)]
pub struct Trust {
    issuers: Vec<(String, TokenVerifier)>,
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list()
            .entries(self.issuers.iter().map(|(issuer, _)| issuer))
            .finish()
    }
}

impl Trust {
    /// Takes tokens of `issuers` by the time of `clock`, which may differ from theirs by
    /// `tolerance_seconds`.
    #[must_use]
    pub fn new(issuers: Vec<TrustedIssuer>, clock: &Arc<dyn Clock>, tolerance_seconds: u32) -> Self {
        let verifier = |keys| TokenVerifier::new(keys, clock.clone()).with_tolerance(tolerance_seconds);
        Self {
            issuers: issuers
                .into_iter()
                .map(|trusted| (trusted.issuer, verifier(trusted.keys)))
                .collect(),
        }
    }

    /// The claims of a good token for one of the audiences that `is_meant` takes; it is asked without a
    /// slash at the end.
    ///
    /// # Errors
    /// [`TrustError`].
    pub async fn verify(
        &self,
        token: &str,
        is_meant: impl Fn(&str) -> bool + Send,
    ) -> Result<Claims, TrustError> {
        let named = named_issuer(token).ok_or(TokenError::Invalid)?;
        let (issuer, verifier) = self
            .issuers
            .iter()
            .find(|(issuer, _)| *issuer == named)
            .ok_or(TrustError::Issuer)?;
        let claims = verifier.verify(token).await?;
        check(&claims, issuer, is_meant)?;
        Ok(claims)
    }
}

/// Whether verified claims are those of `issuer` and for one of the audiences that `is_meant` takes.
fn check(claims: &Claims, issuer: &str, is_meant: impl Fn(&str) -> bool) -> Result<(), TrustError> {
    // The issuer was chosen by what the token said before it was verified, read by other code.
    if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
        return Err(TrustError::Issuer);
    }
    let audiences = match claims.get("aud") {
        Some(Value::String(audience)) => vec![audience.as_str()],
        Some(Value::Array(audiences)) => audiences.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let meant = audiences
        .into_iter()
        .any(|audience| is_meant(audience.strip_suffix('/').unwrap_or(audience)));
    meant.then_some(()).ok_or(TrustError::Audience)
}

/// The issuer that a token names, before anything of it is checked.
fn named_issuer(token: &str) -> Option<String> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Map<String, Value> = serde_json::from_slice(&payload).ok()?;
    Some(claims.get("iss")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use ledger::memory::MemoryLedger;
    use ledger::{AdjustableClock, Ledger};
    use serde_json::json;

    use super::*;
    use crate::TokenIssuer;

    #[test]
    fn verified_claims_are_of_the_chosen_issuer() {
        let found = |claims: Value| {
            let claims = Claims::new(claims.as_object().cloned().unwrap());
            check(&claims, "https://here/", |audience| audience == "a")
        };
        assert_eq!(found(json!({"iss": "https://here/", "aud": "a"})), Ok(()));
        for other in [
            json!("https://there/"),
            json!("https://here"),
            json!(["https://here/"]),
        ] {
            let found = found(json!({"iss": other, "aud": "a"}));
            assert_eq!(found, Err(TrustError::Issuer), "{other}");
        }
        assert_eq!(found(json!({"aud": "a"})), Err(TrustError::Issuer));
        let for_another = found(json!({"iss": "https://here/", "aud": "b"}));
        assert_eq!(for_another, Err(TrustError::Audience));
    }

    #[tokio::test]
    async fn issuer_audience_and_time_decide() {
        let adjustable = Arc::new(AdjustableClock::standing_at(
            jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        ));
        let clock: Arc<dyn Clock> = adjustable.clone();
        let issuer = |name: &str| {
            let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
            Arc::new(TokenIssuer::new(ledger, clock.clone(), name))
        };
        let (here, there) = (issuer("here"), issuer("there"));
        let trusted = |name: &str, keys: &Arc<TokenIssuer>| TrustedIssuer {
            issuer: name.to_owned(),
            keys: keys.clone(),
        };
        let issuers = vec![trusted("https://here/", &here), trusted("https://there/", &there)];
        let trust = Trust::new(issuers, &clock, 60);
        let is_meant = |audience: &str| audience == "https://a";
        let token = async |signer: &Arc<TokenIssuer>, iss: &str, aud: Value, ttl: i64| {
            let claims = json!({"aud": aud, "oid": "me"}).as_object().cloned().unwrap();
            let token = signer.issue(iss, claims, ttl).await.unwrap();
            let found = trust.verify(&token, is_meant).await;
            found.map(|claims| claims.text("oid").unwrap())
        };
        let good = Ok("me".to_owned());
        let a = || json!("https://a");
        assert_eq!(token(&here, "https://here/", a(), 60).await, good);
        assert_eq!(token(&here, "https://here/", json!("https://a/"), 60).await, good);
        assert_eq!(
            token(&there, "https://there/", json!(["b", "https://a"]), 60).await,
            good
        );
        assert_eq!(token(&here, "https://here/", a(), -59).await, good);
        let expired = Err(TrustError::Token(TokenError::Expired));
        assert_eq!(token(&here, "https://here/", a(), -60).await, expired);
        for other in [
            json!("https://ab"),
            json!("https://a//"),
            json!([]),
            json!(7),
            Value::Null,
        ] {
            let found = token(&here, "https://here/", other.clone(), 60).await;
            assert_eq!(found, Err(TrustError::Audience), "{other}");
        }
        for other in ["https://here", "https://HERE/", ""] {
            assert_eq!(
                token(&here, other, a(), 60).await,
                Err(TrustError::Issuer),
                "{other}"
            );
        }
        // One trusted issuer can't speak for another one.
        let invalid = Err(TrustError::Token(TokenError::Invalid));
        assert_eq!(token(&there, "https://here/", a(), 60).await, invalid);
        for bad in ["", "a.b.c", "a", &format!("{}.x", "a".repeat(TOKEN_BYTES_MAX))] {
            let found = trust.verify(bad, is_meant).await.map(|_| String::new());
            assert_eq!(found, invalid);
        }
        // Not yet: beyond the tolerance.
        let claims = json!({"aud": "https://a"}).as_object().cloned().unwrap();
        let token = here.issue("https://here/", claims, 3_600).await.unwrap();
        adjustable.advance_seconds(-60);
        assert!(trust.verify(&token, is_meant).await.is_ok());
        adjustable.advance_seconds(-1);
        let early = trust.verify(&token, is_meant).await;
        assert_eq!(early, Err(TrustError::Token(TokenError::NotYetValid)));
    }
}
