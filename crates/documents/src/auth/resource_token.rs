//! Resource tokens: `type=resource&ver=1.0&sig=<mac>;<claims>;`.
//!
//! A token only names a permission, its etag and when it ends; what the permission allows is read
//! at each request, so deleting it (or its user, or the container) takes effect at once. A
//! permission that is replaced has another etag, and its tokens end: none comes to allow more than
//! it did when it was given out. The
//! key that signs is made by chance when the first token is wanted, lies in the ledger, and is
//! never given out, so holders of account keys can't make tokens past the permissions' list.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use identity::SharedKey;
use jiff::Timestamp;
use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use super::authorise::Grant;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, RESOURCE_TOKEN_BYTES_MAX};
use crate::rules::partition_key::PartitionKey;
use crate::store::keys;
use crate::store::permissions::{Permission, PermissionRecord};
use crate::store::records::decode;
use crate::store::users::User;

const KEY_BYTES: usize = 64;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    /// The account's name.
    a: String,
    /// The database's number.
    d: u32,
    /// The user's number.
    u: u32,
    /// The permission's id and etag.
    p: String,
    t: String,
    /// When it began to count and when it ends, seconds.
    b: i64,
    e: i64,
}

fn insufficient() -> DocumentsError {
    DocumentsError::Forbidden(
        "Insufficient permissions provided in the authorization header for the corresponding request. The permission was changed or deleted since the token was given out, or covers something else. Read the permission again for another token.".to_owned(),
    )
}

impl Documents {
    /// The key that signs an account's tokens; made if it is missing.
    async fn token_key(&self, account: &str) -> Result<SharedKey, DocumentsError> {
        let at = keys::token_key(account);
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            if let Some(key) = self.known_token_key(account).await? {
                return Ok(key);
            }
            let mut bytes = vec![0; KEY_BYTES];
            self.random.fill(&mut bytes);
            let mut tx = Transaction::new();
            tx.require_absent(at.clone());
            tx.put(at.clone(), bytes);
            // Who was faster has made the one that counts.
            self.commit_or_conflict(tx).await?;
        }
        Err(DocumentsError::RetryWith)
    }

    async fn known_token_key(&self, account: &str) -> Result<Option<SharedKey>, DocumentsError> {
        if let Some(key) = self.token_keys.lock().get(account) {
            return Ok(Some(key.clone()));
        }
        let snapshot = self.ledger.snapshot().await?;
        let Some(found) = snapshot.get(&keys::token_key(account)).await? else {
            return Ok(None);
        };
        let key = SharedKey::from_bytes(found.value.to_vec());
        self.token_keys.lock().insert(account.to_owned(), key.clone());
        Ok(Some(key))
    }

    /// A token for a permission, good for so many seconds.
    pub(crate) async fn mint_token(
        &self,
        account: &str,
        user: &User,
        permission: &Permission,
        seconds: i64,
    ) -> Result<String, DocumentsError> {
        let now = self.clock.now().as_second();
        let claims = Claims {
            a: account.to_owned(),
            d: user.database,
            u: user.record.number,
            p: permission.record.id.clone(),
            t: permission.record.etag.clone(),
            b: now,
            e: now.saturating_add(seconds),
        };
        let text = serde_json::to_vec(&claims).map_err(|error| DocumentsError::Damaged(error.to_string()))?;
        let claims = STANDARD.encode(text);
        let mac = self.token_key(account).await?.sign(&claims);
        Ok(format!("type=resource&ver=1.0&sig={mac};{claims};"))
    }

    /// What the holder of a token may do; `signature` is what stands behind `sig=`.
    ///
    /// # Errors
    /// 401 for what isn't a token of this account, 403 for one that has ended, or whose permission
    /// isn't there any more.
    pub(crate) async fn grant_of(
        &self,
        account: &str,
        signature: &str,
        now: Timestamp,
    ) -> Result<Grant, DocumentsError> {
        let bad = || {
            DocumentsError::Unauthorized(
                "The resource token in the authorization header is damaged, or not one of this account."
                    .to_owned(),
            )
        };
        if signature.len() > RESOURCE_TOKEN_BYTES_MAX {
            return Err(bad());
        }
        let (mac, text) = signature.trim_end_matches(';').split_once(';').ok_or_else(bad)?;
        let key = self.known_token_key(account).await?.ok_or_else(bad)?;
        if !key.verify(text, mac) {
            return Err(bad());
        }
        let claims = STANDARD.decode(text).map_err(|_| bad())?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| bad())?;
        if claims.a != account {
            return Err(bad());
        }
        let at = |seconds| {
            Timestamp::from_second(seconds)
                .map(http_semantics::date::format)
                .unwrap_or_default()
        };
        if now.as_second() >= claims.e {
            return Err(DocumentsError::Forbidden(format!(
                "The authorization token is not valid at the current time. Please create another token and retry (token start time: {}, token expiry time: {}, current server time: {}).",
                at(claims.b),
                at(claims.e),
                at(now.as_second())
            )));
        }
        let snapshot = self.ledger.snapshot().await?;
        if !self.is_user(snapshot.as_ref(), &claims).await? {
            return Err(insufficient());
        }
        let found = snapshot
            .get(&keys::permission(claims.d, claims.u, &claims.p))
            .await?
            .ok_or_else(insufficient)?;
        let record: PermissionRecord = decode(&found.value, "a permission's record")?;
        if record.etag != claims.t {
            return Err(insufficient());
        }
        let partition_key = match &record.partition_key {
            Some(key) => Some(PartitionKey::from_header(&key.to_string())?),
            // Without its key, an item's id means one in each partition.
            None if record.item.is_some() => return Err(insufficient()),
            None => None,
        };
        Ok(Grant {
            all: record.all,
            container: record.container,
            item: record.item,
            partition_key,
        })
    }

    /// Whether the user's permissions aren't waiting to be swept, and its database is there.
    async fn is_user(&self, snapshot: &dyn Snapshot, claims: &Claims) -> Result<bool, DocumentsError> {
        if snapshot.get(&keys::database_number(claims.d)).await?.is_none() {
            return Ok(false);
        }
        Ok(snapshot.get(&keys::purge(claims.u)).await?.is_none())
    }

    /// Whether a database has users, whose keys a deletion leaves to the sweep.
    pub(crate) async fn has_users(
        &self,
        snapshot: &dyn Snapshot,
        database: u32,
    ) -> Result<bool, DocumentsError> {
        let range = KeyRange::prefix(&keys::users(database));
        Ok(Scan::new(snapshot, range, Direction::Forward)
            .next()
            .await?
            .is_some())
    }
}
