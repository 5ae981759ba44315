//! The states of a blob: itself, its snapshots, its previous versions, and what is kept of those that were
//! deleted. All but the blob itself lie in one range below its name, by time.
//!
//! Invariant: no two states of a blob have the same time, whatever they are, so a new one is later than all
//! that are there. Whoever looks for a state doesn't find it where it is deleted, unless that is what is asked.

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, Entry, Scan, ScanLimit, Snapshot};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Blobs;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{SNAPSHOT_TICK_NANOSECONDS, SNAPSHOTS_STEP_MAX, STEP_BYTES_MAX};
use crate::rules::immutability::Protection;
use crate::store::blobs::Blob;
use crate::store::containers::Container;
use crate::store::keys;
use crate::store::records::{BlobKind, BlobRecord, decode};

/// A state's time as the protocol writes it.
pub(crate) fn time_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%7fZ").to_string()
}

/// Reads a snapshot's time.
///
/// # Errors
/// `InvalidQueryParameterValue`.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, BlobsError> {
    text.parse().map_err(|_| {
        let text = "snapshot is a time such as 2024-01-31T12:00:00.0000000Z.";
        BlobsError::with(ErrorCode::InvalidQueryParameterValue, text)
    })
}

/// Reads a version's id, which has one form alone.
fn parse_version(text: &str) -> Result<Timestamp, BlobsError> {
    let at: Option<Timestamp> = text.parse().ok();
    at.filter(|at| time_text(*at) == text).ok_or_else(|| {
        let text = "versionid is a time such as 2024-01-31T12:00:00.0000000Z.";
        BlobsError::with(ErrorCode::InvalidQueryParameterValue, text)
    })
}

/// Cuts to what the protocol's times hold.
pub(crate) fn whole_ticks(at: Timestamp) -> Timestamp {
    let nanoseconds = at.as_nanosecond();
    Timestamp::from_nanosecond(nanoseconds - nanoseconds.rem_euclid(SNAPSHOT_TICK_NANOSECONDS)).unwrap_or(at)
}

/// The next time that a state can have.
pub(crate) fn next_tick(at: Timestamp) -> Timestamp {
    at.checked_add(SignedDuration::from_nanos(100)).unwrap_or(at)
}

/// Which of a blob's states an address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// The blob itself.
    Blob,
    /// What was taken at that time.
    Snapshot(Timestamp),
    /// The version, previous or current.
    Version(Timestamp),
}

impl Which {
    /// Reads an address's `snapshot` and `versionid`.
    ///
    /// # Errors
    /// `InvalidQueryParameterValue`, `MutuallyExclusiveQueryParameters`.
    pub(crate) fn named(snapshot: Option<&str>, version: Option<&str>) -> Result<Self, BlobsError> {
        match (snapshot, version) {
            (None, None) => Ok(Self::Blob),
            (Some(at), None) => parse_time(at).map(Self::Snapshot),
            (None, Some(version)) => parse_version(version).map(Self::Version),
            (Some(_), Some(_)) => Err(ErrorCode::MutuallyExclusiveQueryParameters.into()),
        }
    }
}

/// What of a record tells what kind of a state it is; the rest isn't built.
#[derive(Deserialize)]
struct Sort {
    #[serde(default)]
    deleted: Option<IgnoredAny>,
    #[serde(default)]
    previous: bool,
    #[serde(default)]
    kind: BlobKind,
    #[serde(default)]
    protection: Protection,
}

impl Sort {
    fn is_snapshot(&self) -> bool {
        self.deleted.is_none() && !self.previous
    }

    fn is_version(&self) -> bool {
        self.deleted.is_none() && self.previous
    }
}

impl Blobs {
    /// A state of a blob, if it isn't deleted.
    pub(crate) async fn blob_at(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
        which: Which,
    ) -> Result<Option<Blob>, BlobsError> {
        let found = self.state_at(snapshot, container, name, which).await?;
        Ok(found.filter(|found| found.record.deleted.is_none()))
    }

    /// A state of a blob, be it deleted or not.
    pub(crate) async fn state_at(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
        which: Which,
    ) -> Result<Option<Blob>, BlobsError> {
        let (at, previous) = match which {
            Which::Blob => return self.blob(snapshot, container, name).await,
            Which::Snapshot(at) => (at, false),
            Which::Version(at) => (at, true),
        };
        let key = keys::snapshot(&container.record.generation, name, at);
        if let Some(found) = snapshot.get(&key).await? {
            let found = Blob {
                version: found.version,
                record: decode(&found)?,
            };
            return Ok(Some(found).filter(|found| found.record.previous == previous));
        }
        if !previous {
            return Ok(None);
        }
        let current = self.blob(snapshot, container, name).await?;
        Ok(current.filter(|current| current.record.version == Some(at)))
    }

    /// A blob's oldest snapshots, or its oldest deleted states of any kind, as many as a step takes and a
    /// request may hold; and whether there are no more. Only those that are newer than `above`, if it is named.
    pub(crate) async fn states(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        (name, above): (&str, Option<Timestamp>),
        deleted: bool,
    ) -> Result<(Vec<Blob>, bool), BlobsError> {
        let generation = &container.record.generation;
        let mut range = keys::snapshots_of(generation, name);
        if let Some(above) = above {
            range.start = keys::snapshot(generation, name, next_tick(above));
        }
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        let (mut found, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = scan.next().await? {
            let sort: Sort = decode(&entry.versioned)?;
            if !(if deleted {
                sort.deleted.is_some()
            } else {
                sort.is_snapshot()
            }) {
                continue;
            }
            if found.len() >= SNAPSHOTS_STEP_MAX || bytes >= STEP_BYTES_MAX {
                return Ok((found, false));
            }
            bytes += entry.versioned.value.len();
            found.push(Blob {
                record: decode(&entry.versioned)?,
                version: entry.versioned.version,
            });
        }
        Ok((found, true))
    }

    /// The first state of a kind, from the oldest or from the newest one on.
    async fn first_state(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        (name, direction): (&str, Direction),
        wanted: impl Fn(&Sort) -> bool + Send,
    ) -> Result<Option<(Entry, Sort)>, BlobsError> {
        let range = keys::snapshots_of(&container.record.generation, name);
        let mut scan = Scan::new(snapshot, range, direction);
        while let Some(entry) = scan.next().await? {
            let sort: Sort = decode(&entry.versioned)?;
            if wanted(&sort) {
                return Ok(Some((entry, sort)));
            }
        }
        Ok(None)
    }

    /// Whether a name has anything: a blob, or a state of one below it, be it deleted or not.
    pub(crate) async fn has_state(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<bool, BlobsError> {
        let key = keys::blob(&container.record.generation, name);
        if snapshot.get(&key).await?.is_some() {
            return Ok(true);
        }
        let from = (name, Direction::Forward);
        let found = self.first_state(snapshot, container, from, |_| true).await?;
        Ok(found.is_some())
    }

    /// Whether a blob has a snapshot.
    pub(crate) async fn has_snapshot(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<bool, BlobsError> {
        let from = (name, Direction::Forward);
        let found = self
            .first_state(snapshot, container, from, Sort::is_snapshot)
            .await?;
        Ok(found.is_some())
    }

    /// What protects the first of a blob's snapshots that can't be deleted, if there is one.
    pub(crate) async fn protected_snapshot(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Protection>, BlobsError> {
        let from = (name, Direction::Forward);
        let wanted = |sort: &Sort| sort.is_snapshot() && sort.protection.deletion(now).is_err();
        let found = self.first_state(snapshot, container, from, wanted).await?;
        Ok(found.map(|(_, sort)| sort.protection))
    }

    /// Whether a name has a previous version, be it deleted or not.
    pub(crate) async fn has_version(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<bool, BlobsError> {
        let from = (name, Direction::Backward);
        let found = self
            .first_state(snapshot, container, from, |sort| sort.previous)
            .await?;
        Ok(found.is_some())
    }

    /// Which kind of a blob a name's newest previous version is.
    pub(crate) async fn kind_of_versions(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<Option<BlobKind>, BlobsError> {
        let from = (name, Direction::Backward);
        let found = self
            .first_state(snapshot, container, from, Sort::is_version)
            .await?;
        Ok(found.map(|(_, sort)| sort.kind))
    }

    /// A name's newest deleted state, unless a version is newer: what came behind it isn't undone.
    pub(crate) async fn newest_deleted(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
    ) -> Result<Option<Blob>, BlobsError> {
        let from = (name, Direction::Backward);
        let wanted = |sort: &Sort| sort.deleted.is_some() || sort.previous;
        let found = self.first_state(snapshot, container, from, wanted).await?;
        found
            .filter(|(_, sort)| !sort.previous)
            .map(|(entry, _)| {
                Ok(Blob {
                    record: decode(&entry.versioned)?,
                    version: entry.versioned.version,
                })
            })
            .transpose()
    }

    /// A time for a blob's next state: now, but later than that of any state before and than `above`.
    pub(crate) async fn next_time(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        name: &str,
        above: Option<Timestamp>,
    ) -> Result<Timestamp, BlobsError> {
        let range = keys::snapshots_of(&container.record.generation, name);
        let limit = ScanLimit {
            entries_max: 1,
            bytes_max: 1,
        };
        let page = snapshot.scan_page(&range, Direction::Backward, limit).await?;
        let newest: Option<BlobRecord> = page
            .entries
            .first()
            .map(|entry| decode(&entry.versioned))
            .transpose()?;
        let newest = newest.and_then(|newest| newest.below()).max(above);
        let now = whole_ticks(self.clock.now());
        Ok(newest.map_or(now, |newest| next_tick(newest).max(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        let at = Timestamp::from_nanosecond(1_700_000_000_123_456_789).unwrap();
        let cut = whole_ticks(at);
        assert_eq!(time_text(cut), "2023-11-14T22:13:20.1234567Z");
        assert_eq!(parse_time(&time_text(cut)), Ok(cut));
        assert!(parse_time("yesterday").is_err());
        assert_eq!(time_text(next_tick(cut)), "2023-11-14T22:13:20.1234568Z");
    }

    #[test]
    fn what_an_address_names() {
        let (text, at) = (
            "2023-11-14T22:13:20.1234567Z",
            Timestamp::from_nanosecond(1_700_000_000_123_456_700).unwrap(),
        );
        let invalid = Err(ErrorCode::InvalidQueryParameterValue);
        let both = Err(ErrorCode::MutuallyExclusiveQueryParameters);
        let table = [
            (None, None, Ok(Which::Blob)),
            (Some(text), None, Ok(Which::Snapshot(at))),
            (None, Some(text), Ok(Which::Version(at))),
            (Some(text), Some(text), both),
            (Some("now"), None, invalid),
            (None, Some("now"), invalid),
            (None, Some("2023-11-14"), invalid),
            (None, Some("2023-11-14T22:13:20Z"), invalid),
            (None, Some("2023-11-14T22:13:20.1234567+00:00"), invalid),
        ];
        for (snapshot, version, expected) in table {
            let found = Which::named(snapshot, version).map_err(|error| error.code);
            assert_eq!(found, expected, "{snapshot:?} {version:?}");
        }
    }
}
