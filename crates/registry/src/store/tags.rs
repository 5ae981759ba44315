//! Tags: names that point to manifests and may be moved, each by comparing and setting.

use jiff::Timestamp;
use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot, Transaction, Versioned};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::rules::attributes::Attributes;
use crate::rules::digest::Digest;
use crate::store::keys::{self, Place};
use crate::store::manifests::Event;
use crate::store::records::{TagRecord, decode, encode};
use crate::store::repositories;

/// A tag, if it is there.
pub(crate) async fn find(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    tag: &str,
) -> Result<Option<(TagRecord, Versioned)>, LedgerError> {
    let Some(found) = snapshot.get(&place.tag(tag)).await? else {
        return Ok(None);
    };
    Ok(Some((decode(&found)?, found)))
}

/// Points a tag to a manifest.
pub(crate) async fn stage_set(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    (tag, digest): (&str, &Digest),
    now: Timestamp,
) -> Result<(), RegistryError> {
    let found = find(snapshot, place, tag).await?;
    let key = place.tag(tag);
    tx.require_version(key.clone(), found.as_ref().map(|(_, found)| found.version));
    let mut record = TagRecord {
        digest: digest.clone(),
        created: now,
        updated: now,
        attributes: Attributes::default(),
    };
    if let Some((before, _)) = found {
        if before.digest != *digest {
            if !before.attributes.write {
                return Err(ErrorCode::OperationDisallowed.into());
            }
            tx.delete(place.tag_of(&before.digest, tag));
        }
        tx.delete(place.tag_time(before.updated, tag));
        record.created = before.created;
        record.attributes = before.attributes;
    }
    tx.put(key, encode(&record)?);
    tx.put(place.tag_of(digest, tag), Vec::new());
    tx.put(place.tag_time(now, tag), Vec::new());
    Ok(())
}

/// Takes a tag away that was found as it is.
pub(crate) fn stage_remove(
    tx: &mut Transaction,
    place: Place<'_>,
    tag: &str,
    record: &TagRecord,
    found: &Versioned,
) {
    let key = place.tag(tag);
    tx.require_version(key.clone(), Some(found.version));
    tx.delete(key);
    tx.delete(place.tag_of(&record.digest, tag));
    tx.delete(place.tag_time(record.updated, tag));
}

/// Tags of a manifest.
pub(crate) async fn of(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<Vec<String>, LedgerError> {
    let mut scan = Scan::new(snapshot, place.tags_of(digest), Direction::Forward);
    let mut tags = Vec::new();
    while let Some(entry) = scan.next().await? {
        tags.extend(keys::fourth(&entry.key));
    }
    Ok(tags)
}

/// In which order a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Name,
    Oldest,
    Newest,
}

impl Order {
    /// `orderby`; `None` if it is something else.
    pub(crate) fn parse(text: Option<&str>) -> Option<Self> {
        match text.unwrap_or_default() {
            "" | "none" => Some(Self::Name),
            "timeasc" => Some(Self::Oldest),
            "timedesc" => Some(Self::Newest),
            _ => None,
        }
    }

    /// The range by time behind the entry that `last` names with its time, and its direction.
    pub(crate) fn by_time(self, all: KeyRange, last: Option<ledger::Key>) -> (KeyRange, Direction) {
        match (self, last) {
            (Self::Newest, Some(last)) => (
                KeyRange {
                    start: all.start,
                    end: Some(last),
                },
                Direction::Backward,
            ),
            (Self::Newest, None) => (all, Direction::Backward),
            (_, Some(last)) => (
                KeyRange {
                    start: last.successor(),
                    end: all.end,
                },
                Direction::Forward,
            ),
            (_, None) => (all, Direction::Forward),
        }
    }
}

/// A place in a list by time: the time that an entry had when it was listed, and its name. The list goes on there
/// whatever became of the entry.
pub(crate) fn time_cursor(at: Timestamp, name: &str) -> String {
    format!("{}~{name}", at.as_microsecond())
}

/// Reads that. `None`: a plain name. Neither a tag nor a digest has a `~`.
pub(crate) fn parse_time_cursor(text: &str) -> Option<(Timestamp, &str)> {
    let (at, name) = text.split_once('~')?;
    Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, name))
}

/// A plain name that isn't there has no place in a list by time. From the beginning would be what the client has
/// had, and nothing more would be that it has had all.
pub(crate) fn no_place() -> RegistryError {
    let text = "last names nothing that is there; lists by time go on by their Link header";
    RegistryError::with(ErrorCode::PaginationNumberInvalid, text)
}

/// Which tags are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) last: Option<&'a str>,
    pub(crate) entries: usize,
    pub(crate) order: Order,
    pub(crate) digest: Option<&'a Digest>,
}

/// A page of tags, and whether more follow.
pub(crate) async fn page(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    wanted: Wanted<'_>,
) -> Result<(Vec<(String, TagRecord)>, bool), RegistryError> {
    let mut out = Vec::new();
    let by_name = wanted.order == Order::Name;
    let (range, direction) = if by_name {
        let range = wanted
            .last
            .map_or_else(|| place.tags(), |last| place.tags_after(last));
        (range, Direction::Forward)
    } else {
        let last = match wanted.last.map(|last| (last, parse_time_cursor(last))) {
            None => None,
            Some((_, Some((at, name)))) => Some(place.tag_time(at, name)),
            Some((name, None)) => {
                let found = find(snapshot, place, name).await?;
                let (record, _) = found.ok_or_else(no_place)?;
                Some(place.tag_time(record.updated, name))
            }
        };
        wanted.order.by_time(place.tags_by_time(), last)
    };
    let mut scan = Scan::new(snapshot, range, direction);
    while let Some(entry) = scan.next().await? {
        let (name, record) = if by_name {
            let Some(name) = keys::third(&entry.key) else {
                continue;
            };
            (name, decode(&entry.versioned)?)
        } else {
            let Some(name) = keys::timed_name(&entry.key) else {
                continue;
            };
            let Some((record, _)) = find(snapshot, place, &name).await? else {
                continue;
            };
            (name, record)
        };
        let record: TagRecord = record;
        if !record.attributes.list || wanted.digest.is_some_and(|digest| *digest != record.digest) {
            continue;
        }
        if out.len() == wanted.entries {
            return Ok((out, true));
        }
        out.push((name, record));
    }
    Ok((out, false))
}

impl RegistryService {
    /// Takes a tag away; its manifest stays.
    pub(crate) async fn untag(&self, place: Place<'_>, tag: &str) -> Result<(), RegistryError> {
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let repository = repositories::find(snapshot.as_ref(), place).await?;
            let found = find(snapshot.as_ref(), place, tag).await?;
            let (record, found) = found.ok_or(ErrorCode::ManifestUnknown)?;
            let locked = repository
                .as_ref()
                .is_some_and(|repository| !repository.record.attributes.allow_delete());
            if locked || !record.attributes.allow_delete() {
                return Err(ErrorCode::OperationDisallowed.into());
            }
            let now = self.clock.now();
            let mut tx = Transaction::new();
            if let Some(repository) = repository {
                tx.require_version(place.repository(), Some(repository.version));
            }
            stage_remove(&mut tx, place, tag, &record, &found);
            repositories::stage_updated(&mut tx, place, now);
            tx.record(Event::untag(place, &record.digest, tag).record());
            Ok((tx, ()))
        })
        .await
    }

    /// Changes a tag's locks.
    pub(crate) async fn lock_tag(
        &self,
        place: Place<'_>,
        tag: &str,
        change: &(dyn Fn(Attributes) -> Option<Attributes> + Send + Sync),
    ) -> Result<(), RegistryError> {
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let found = find(snapshot.as_ref(), place, tag).await?;
            let (record, found) = found.ok_or(ErrorCode::TagUnknown)?;
            let attributes = change(record.attributes).ok_or_else(repositories::unknown_attribute)?;
            let mut tx = Transaction::new();
            tx.require_version(place.tag(tag), Some(found.version));
            tx.put(place.tag(tag), encode(&TagRecord { attributes, ..record })?);
            Ok((tx, ()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn places_in_lists_by_time_come_back(micros in -1_000_000_000_000_i64..4_000_000_000_000_000, name in "[a-z0-9._:-]{1,20}") {
            let at = Timestamp::from_microsecond(micros).unwrap();
            let cursor = time_cursor(at, &name);
            prop_assert_eq!(parse_time_cursor(&cursor), Some((at, name.as_str())));
            prop_assert_eq!(parse_time_cursor(&name), None);
        }
    }
}
