//! Users of a database: names that permissions hang on. They sign nothing themselves.
//!
//! Invariant: who adds a user demands the version of the database's record that was read and
//! writes it anew, and who adds a permission demands that of the user's, so neither appears under
//! an owner that is going, unseen by who removes it.

use http_semantics::etag::TagList;
use ledger::{Direction, KeyRange, Scan, Snapshot, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::databases::{Database, exists};
use super::keys;
use super::numbers::reserve;
use super::records::{PurgeRecord, decode, encode, etag_text};
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::COMMIT_ATTEMPTS_MAX;
use crate::rules::{names, resource_id};

/// What is stored of a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct UserRecord {
    pub(crate) id: String,
    pub(crate) number: u32,
    pub(crate) etag: String,
    /// Seconds.
    pub(crate) ts: i64,
}

/// A user as it was read.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) database: u32,
    pub(crate) record: UserRecord,
    pub(crate) version: ledger::Sequence,
}

impl User {
    pub(crate) fn rid(&self) -> String {
        resource_id::user(self.database, self.record.number)
    }

    pub(crate) fn self_link(&self) -> String {
        format!(
            "dbs/{}/users/{}/",
            resource_id::database(self.database),
            self.rid()
        )
    }

    pub(crate) fn to_resource(&self) -> Value {
        json!({
            "id": self.record.id,
            "_rid": self.rid(),
            "_self": self.self_link(),
            "_etag": self.record.etag,
            "_permissions": "permissions/",
            "_ts": self.record.ts,
        })
    }
}

pub(crate) fn no_user(id: &str) -> DocumentsError {
    DocumentsError::NotFound(format!("No user {}.", json!(id)))
}

/// `If-Match` of a write.
pub(super) fn check_etag(expected: Option<&TagList>, etag: &str, what: &str) -> Result<(), DocumentsError> {
    if expected.is_some_and(|expected| !expected.matches(etag)) {
        return Err(DocumentsError::PreconditionFailed(format!(
            "The {what}'s etag is another one."
        )));
    }
    Ok(())
}

impl Documents {
    /// The database of a path that leads to users.
    pub(crate) async fn owner_database(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        database: &str,
    ) -> Result<Database, DocumentsError> {
        self.database(snapshot, account, database)
            .await?
            .ok_or_else(|| DocumentsError::OwnerNotFound(format!("No database {}.", json!(database))))
    }

    pub(crate) async fn create_user(
        &self,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<User, DocumentsError> {
        names::check_resource_id(id)?;
        let number = reserve(self.ledger.as_ref(), &keys::numbers_counter(), 1).await?;
        let record = UserRecord {
            id: id.to_owned(),
            number: super::catalog::small(number.start)?,
            etag: etag_text(self.random.uuid().as_bytes()),
            ts: self.clock.now().as_second(),
        };
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let owner = self.owner_database(snapshot.as_ref(), account, database).await?;
            let database_key = keys::database(account, database);
            let key = keys::user(owner.record.number, id);
            if snapshot.get(&key).await?.is_some() {
                return Err(exists("User", id));
            }
            let mut tx = Transaction::new();
            // Written as it was, so that a deletion that saw no users yet fails and looks again.
            tx.require_version(database_key.clone(), Some(owner.version));
            tx.put(database_key, encode(&owner.record)?);
            tx.require_absent(key.clone());
            tx.put(key, encode(&record)?);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                return Ok(User {
                    database: owner.record.number,
                    record,
                    version: committed.sequence,
                });
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Finds a user by ids.
    pub(crate) async fn user(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        database: &str,
        id: &str,
    ) -> Result<User, DocumentsError> {
        let owner = self.owner_database(snapshot, account, database).await?;
        let found = snapshot.get(&keys::user(owner.record.number, id)).await?;
        let found = found.ok_or_else(|| no_user(id))?;
        Ok(User {
            database: owner.record.number,
            record: decode(&found.value, "a user's record")?,
            version: found.version,
        })
    }

    /// Users after `after`, in the order of their ids, at most `items_max`, and whether more
    /// follow.
    pub(crate) async fn list_users(
        &self,
        snapshot: &dyn Snapshot,
        owner: &Database,
        after: Option<&str>,
        items_max: usize,
    ) -> Result<(Vec<User>, bool), DocumentsError> {
        let database = owner.record.number;
        let prefix = keys::users(database);
        let range = match after {
            None => KeyRange::prefix(&prefix),
            Some(after) => KeyRange::prefix_from(&prefix, keys::user(database, after).successor()),
        };
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let mut found = Vec::new();
        while let Some(entry) = scan.next().await? {
            if found.len() >= items_max {
                return Ok((found, true));
            }
            found.push(User {
                database,
                record: decode(&entry.versioned.value, "a user's record")?,
                version: entry.versioned.version,
            });
        }
        Ok((found, false))
    }

    /// Gives a user another id. The permissions stay.
    pub(crate) async fn replace_user(
        &self,
        account: &str,
        database: &str,
        id: &str,
        next: &str,
        expected: Option<&TagList>,
    ) -> Result<User, DocumentsError> {
        names::check_resource_id(next)?;
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let user = self.user(snapshot.as_ref(), account, database, id).await?;
            check_etag(expected, &user.record.etag, "user")?;
            let record = UserRecord {
                id: next.to_owned(),
                etag: etag_text(self.random.uuid().as_bytes()),
                ts: self.clock.now().as_second(),
                ..user.record
            };
            let (old, new) = (keys::user(user.database, id), keys::user(user.database, next));
            let mut tx = Transaction::new();
            tx.require_version(old.clone(), Some(user.version));
            if next != id {
                if snapshot.get(&new).await?.is_some() {
                    return Err(exists("User", next));
                }
                tx.require_absent(new.clone());
                tx.delete(old);
            }
            tx.put(new, encode(&record)?);
            if let Some(committed) = self.commit_or_conflict(tx).await? {
                return Ok(User {
                    database: user.database,
                    record,
                    version: committed.sequence,
                });
            }
        }
        Err(DocumentsError::RetryWith)
    }

    /// Deletes a user. Its permissions stop to count at once and are swept later.
    pub(crate) async fn delete_user(
        &self,
        account: &str,
        database: &str,
        id: &str,
        expected: Option<&TagList>,
    ) -> Result<(), DocumentsError> {
        for _ in 0..COMMIT_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let user = self.user(snapshot.as_ref(), account, database, id).await?;
            check_etag(expected, &user.record.etag, "user")?;
            let key = keys::user(user.database, id);
            let mut tx = Transaction::new();
            tx.require_version(key.clone(), Some(user.version));
            tx.delete(key);
            tx.put(
                keys::purge(user.record.number),
                encode(&PurgeRecord::Permissions {
                    database: user.database,
                })?,
            );
            if self.commit_or_conflict(tx).await?.is_some() {
                return Ok(());
            }
        }
        Err(DocumentsError::RetryWith)
    }
}

#[cfg(test)]
mod tests {
    use ledger::{Ledger, LedgerError};

    use super::*;
    use crate::store::in_memory;

    #[tokio::test]
    async fn a_database_that_got_a_user_is_not_the_one_that_was_read_without() {
        let (documents, ledger) = in_memory::documents();
        let read = documents.create_database("test", "d", None).await.unwrap();
        documents.create_user("test", "d", "u").await.unwrap();
        // As a deletion does that found no users: theirs would be left behind.
        let key = keys::database("test", "d");
        let mut tx = Transaction::new();
        tx.require_version(key.clone(), Some(read.version));
        tx.delete(key);
        let outcome = ledger.commit(tx).await;
        assert!(matches!(outcome, Err(LedgerError::Conflict(_))), "{outcome:?}");
        let snapshot = ledger.snapshot().await.unwrap();
        let now = documents.database(snapshot.as_ref(), "test", "d").await.unwrap();
        assert_eq!(now.unwrap().record, read.record);
    }
}
