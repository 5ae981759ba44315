//! Tokens of instance locks, and what a lock's state allows.
//!
//! A token is base64url over JSON `{id, secret}`; only the secret's SHA-256 is kept.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use identity::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::limits::LOCK_SECRET_BYTES;
use crate::model::Moment;

/// A lock as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockRecord {
    /// The lock's id.
    pub id: Uuid,
    /// SHA-256 of its token's secret, in base64.
    pub secret_sha256: String,
    /// When it ends.
    pub expires: Moment,
    /// Who took it.
    pub locked_by: String,
}

impl LockRecord {
    /// Whether it is held at `now`.
    #[must_use]
    pub fn is_held(&self, now: Moment) -> bool {
        now < self.expires
    }
}

/// A token as its holder sends it.
#[derive(Debug, Clone)]
pub struct LockToken {
    id: Uuid,
    secret: Secret,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    id: Uuid,
    secret: String,
}

/// Longest token that is read.
const TOKEN_BYTES_MAX: usize = 512;

impl LockToken {
    /// A new token.
    #[must_use]
    pub fn new(id: Uuid, secret: [u8; LOCK_SECRET_BYTES]) -> Self {
        Self {
            id,
            secret: Secret::new(secret.to_vec()),
        }
    }

    /// Reads a token; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('=');
        if text.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let wire: Wire = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let secret = STANDARD.decode(&wire.secret).ok()?;
        (secret.len() == LOCK_SECRET_BYTES).then(|| Self {
            id: wire.id,
            secret: Secret::new(secret),
        })
    }

    /// As its holder gets it.
    #[must_use]
    pub fn write(&self) -> String {
        // The holder needs the secret: this is the answer that gives it out.
        let wire = Wire {
            id: self.id,
            secret: STANDARD.encode(self.secret.expose()),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// What is kept of it.
    #[must_use]
    pub fn record(&self, expires: Moment, locked_by: &str) -> LockRecord {
        LockRecord {
            id: self.id,
            secret_sha256: self.hash(),
            expires,
            locked_by: locked_by.to_owned(),
        }
    }

    fn hash(&self) -> String {
        STANDARD.encode(Sha256::digest(self.secret.expose()))
    }
}

/// What a token may do with the lock that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Change it.
    Holds,
    /// There is no such lock.
    NotFound,
    /// The lock is another's.
    Mismatch,
    /// The lock has ended.
    Expired,
}

/// Judges `token` at `now`.
#[must_use]
pub fn judge(record: Option<&LockRecord>, token: &LockToken, now: Moment) -> Verdict {
    let Some(record) = record.filter(|record| record.id == token.id) else {
        return Verdict::NotFound;
    };
    // Compared as secrets are: in time that doesn't tell how much of it fits.
    if !Secret::new(record.secret_sha256.clone().into_bytes()).equals(token.hash().as_bytes()) {
        return Verdict::Mismatch;
    }
    if record.is_held(now) {
        Verdict::Holds
    } else {
        Verdict::Expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Moment {
        Moment::stamped(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn tokens_travel_and_are_judged() {
        let token = LockToken::new(Uuid::from_u128(1), [7; 20]);
        let read = LockToken::parse(&token.write()).unwrap();
        let record = token.record(at(100), "1337");
        assert_eq!(judge(Some(&record), &read, at(99)), Verdict::Holds);
        assert_eq!(judge(Some(&record), &read, at(100)), Verdict::Expired);
        assert_eq!(judge(None, &read, at(99)), Verdict::NotFound);
        let other = LockToken::new(Uuid::from_u128(2), [7; 20]);
        assert_eq!(judge(Some(&record), &other, at(99)), Verdict::NotFound);
        let forged = LockToken::new(Uuid::from_u128(1), [8; 20]);
        assert_eq!(judge(Some(&record), &forged, at(99)), Verdict::Mismatch);
        assert!(!format!("{token:?} {record:?}").contains(&STANDARD.encode([7; 20])));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let short =
            URL_SAFE_NO_PAD.encode(br#"{"id":"00000000-0000-0000-0000-000000000001","secret":"AAAA"}"#);
        for bad in ["", "nonsense", "e30", &short, &"A".repeat(4096)] {
            assert!(LockToken::parse(bad).is_none(), "{bad}");
        }
    }
}
