//! Repositories: there from the first manifest on, until they are deleted as a whole.

use jiff::Timestamp;
use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot, Transaction};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::rules::attributes::Attributes;
use crate::store::keys::{self, Place};
use crate::store::records::{RepositoryRecord, decode, decode_number, encode};

/// A repository as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) record: RepositoryRecord,
    pub(crate) version: u64,
}

/// The repository, if it is there.
pub(crate) async fn find(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
) -> Result<Option<Repository>, LedgerError> {
    let Some(found) = snapshot.get(&place.repository()).await? else {
        return Ok(None);
    };
    Ok(Some(Repository {
        record: decode(&found)?,
        version: found.version,
    }))
}

/// The repository; `NAME_UNKNOWN` if it isn't there.
pub(crate) async fn existing(snapshot: &dyn Snapshot, place: Place<'_>) -> Result<Repository, RegistryError> {
    Ok(find(snapshot, place).await?.ok_or(ErrorCode::NameUnknown)?)
}

/// When it last changed.
pub(crate) async fn updated(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
) -> Result<Option<Timestamp>, LedgerError> {
    let Some(found) = snapshot.get(&place.updated()).await? else {
        return Ok(None);
    };
    Ok(Timestamp::from_microsecond(decode_number(&found.value)?).ok())
}

/// Notes that it changes now.
pub(crate) fn stage_updated(tx: &mut Transaction, place: Place<'_>, now: Timestamp) {
    tx.put(place.updated(), now.as_microsecond().to_be_bytes().to_vec());
}

/// How many keys a range has.
pub(crate) async fn count(snapshot: &dyn Snapshot, range: KeyRange) -> Result<u64, LedgerError> {
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let mut count = 0;
    while scan.next().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Refuses what a lock on the repository forbids to write. Whoever writes under this demands the repository's
/// version, so that a lock that comes between counts.
pub(crate) fn check_writable(repository: Option<&Repository>) -> Result<(), RegistryError> {
    match repository {
        Some(repository) if !repository.record.attributes.write => Err(ErrorCode::OperationDisallowed.into()),
        _ => Ok(()),
    }
}

/// Refuses what a lock on the repository forbids to read.
pub(crate) fn check_readable(repository: Option<&Repository>) -> Result<(), RegistryError> {
    match repository {
        Some(repository) if !repository.record.attributes.read => Err(ErrorCode::OperationDisallowed.into()),
        _ => Ok(()),
    }
}

/// What a list of repositories is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) last: Option<&'a str>,
    pub(crate) entries: usize,
}

impl RegistryService {
    /// Names of a registry's repositories that `may_see` takes, in byte order, and whether more follow.
    pub(crate) async fn repositories(
        &self,
        registry: &str,
        page: Page<'_>,
        may_see: impl Fn(&str) -> bool,
    ) -> Result<(Vec<String>, bool), RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        let range = keys::repositories(registry, page.last);
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut names = Vec::new();
        while let Some(entry) = scan.next().await? {
            let record: RepositoryRecord = decode(&entry.versioned)?;
            let Some((_, name)) = keys::place_of(&entry.key) else {
                continue;
            };
            if !record.attributes.list || !may_see(&name) {
                continue;
            }
            if names.len() == page.entries {
                return Ok((names, true));
            }
            names.push(name);
        }
        Ok((names, false))
    }

    /// Changes a repository's locks.
    pub(crate) async fn lock_repository(
        &self,
        place: Place<'_>,
        change: &(dyn Fn(Attributes) -> Option<Attributes> + Send + Sync),
    ) -> Result<(), RegistryError> {
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let found = existing(snapshot.as_ref(), place).await?;
            let attributes = change(found.record.attributes).ok_or_else(unknown_attribute)?;
            let mut tx = Transaction::new();
            tx.require_version(place.repository(), Some(found.version));
            let record = RepositoryRecord {
                attributes,
                ..found.record
            };
            tx.put(place.repository(), encode(&record)?);
            Ok((tx, ()))
        })
        .await
    }
}

/// A PATCH that names anything but the four switches.
pub(crate) fn unknown_attribute() -> RegistryError {
    RegistryError::with(
        ErrorCode::Unsupported,
        "attributes are deleteEnabled, writeEnabled, listEnabled and readEnabled, true or false",
    )
    .status(http::StatusCode::BAD_REQUEST)
}
