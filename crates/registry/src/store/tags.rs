//! Tags: names that point to manifests and may be moved, each by comparing and setting.

use std::collections::BTreeMap;

use http_semantics::etag::TagList;
use jiff::Timestamp;
use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot, Transaction, Versioned};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::rules::attributes::Attributes;
use crate::rules::digest::Digest;
use crate::store::counts::{self, Counts};
use crate::store::keys::{self, Place};
use crate::store::manifests::Event;
use crate::store::records::{SetBy, TagRecord, decode, encode};
use crate::store::{deleted, repositories, retention};

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

/// The entity tag of a tag, without quotes: its digest, and when it was set last.
pub(crate) fn entity_tag(record: &TagRecord) -> String {
    format!("{}@{}", record.digest, record.updated.as_microsecond())
}

/// What came of pointing a tag to a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) is_new: bool,
    /// What it pointed to before, if that is another one.
    pub(crate) moved_from: Option<Digest>,
}

/// Points a tag to a manifest.
pub(crate) async fn stage_set(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    (tag, digest, set_by): (&str, &Digest, SetBy),
    now: Timestamp,
) -> Result<Set, RegistryError> {
    let found = find(snapshot, place, tag).await?;
    let is_new = found.is_none();
    let mut moved_from = None;
    let key = place.tag(tag);
    tx.require_version(key.clone(), found.as_ref().map(|(_, found)| found.version));
    let mut record = TagRecord {
        digest: digest.clone(),
        created: now,
        updated: now,
        attributes: Attributes::default(),
        set_by,
    };
    if let Some((before, _)) = found {
        if set_by == SetBy::Cache && before.set_by != SetBy::Cache {
            // It was acknowledged to somebody.
            let text = "the tag was pushed here; a cache doesn't move it";
            return Err(RegistryError::with(ErrorCode::OperationDisallowed, text));
        }
        if before.digest != *digest {
            if !before.attributes.write {
                return Err(ErrorCode::OperationDisallowed.into());
            }
            tx.delete(place.tag_of(&before.digest, tag));
            moved_from = Some(before.digest);
        }
        tx.delete(place.tag_time(before.updated, tag));
        record.created = before.created;
        record.attributes = before.attributes;
    }
    tx.put(key, encode(&record)?);
    tx.put(place.tag_of(digest, tag), Vec::new());
    tx.put(place.tag_time(now, tag), Vec::new());
    Ok(Set { is_new, moved_from })
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

/// Whether a manifest has a tag.
pub(crate) async fn is_tagged(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<bool, LedgerError> {
    let mut scan = Scan::new(snapshot, place.tags_of(digest), Direction::Forward);
    Ok(scan.next().await?.is_some())
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

/// A time as cursors and keys have it: clocks have more.
fn in_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
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

/// Where a list by time goes on.
async fn time_of_last(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    last: Option<&str>,
) -> Result<Option<(Timestamp, String)>, RegistryError> {
    match last.map(|last| (last, parse_time_cursor(last))) {
        None => Ok(None),
        Some((_, Some((at, name)))) => Ok(Some((at, name.to_owned()))),
        Some((name, None)) => {
            let found = find(snapshot, place, name).await?;
            let (record, _) = found.ok_or_else(no_place)?;
            Ok(Some((in_microseconds(record.updated), name.to_owned())))
        }
    }
}

/// A page of tags, and whether more follow.
pub(crate) async fn page(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    wanted: Wanted<'_>,
) -> Result<(Vec<(String, TagRecord)>, bool), RegistryError> {
    if let Some(digest) = wanted.digest {
        return page_of_manifest(snapshot, place, wanted, digest).await;
    }
    let mut out = Vec::new();
    let by_name = wanted.order == Order::Name;
    let (range, direction) = if by_name {
        let range = wanted
            .last
            .map_or_else(|| place.tags(), |last| place.tags_after(last));
        (range, Direction::Forward)
    } else {
        let last = time_of_last(snapshot, place, wanted.last).await?;
        let last = last.map(|(at, name)| place.tag_time(at, &name));
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
        if !record.attributes.list {
            continue;
        }
        if out.len() == wanted.entries {
            return Ok((out, true));
        }
        out.push((name, record));
    }
    Ok((out, false))
}

/// The same of one manifest's tags, of which no others are read. By time all of them are read, and no more kept than
/// the page has.
async fn page_of_manifest(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    wanted: Wanted<'_>,
    digest: &Digest,
) -> Result<(Vec<(String, TagRecord)>, bool), RegistryError> {
    let by_name = wanted.order == Order::Name;
    let range = match wanted.last.filter(|_| by_name) {
        Some(last) => place.tags_of_after(digest, last),
        None => place.tags_of(digest),
    };
    let last = match by_name {
        true => None,
        false => time_of_last(snapshot, place, wanted.last).await?,
    };
    let mut kept = BTreeMap::new();
    let mut more = false;
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    while let Some(entry) = scan.next().await? {
        let Some(name) = keys::fourth(&entry.key) else {
            continue;
        };
        let Some((record, _)) = find(snapshot, place, &name).await? else {
            continue;
        };
        if !record.attributes.list || record.digest != *digest {
            continue;
        }
        let at = match by_name {
            true => (Timestamp::UNIX_EPOCH, name.clone()),
            false => (in_microseconds(record.updated), name.clone()),
        };
        let is_behind = last.as_ref().is_none_or(|last| match wanted.order {
            Order::Newest => at < *last,
            Order::Name | Order::Oldest => at > *last,
        });
        if !is_behind {
            continue;
        }
        kept.insert(at, (name, record));
        if kept.len() > wanted.entries {
            more = true;
            match wanted.order {
                Order::Newest => kept.pop_first(),
                Order::Name | Order::Oldest => kept.pop_last(),
            };
            if by_name {
                break;
            }
        }
    }
    let mut out: Vec<_> = kept.into_values().collect();
    if wanted.order == Order::Newest {
        out.reverse();
    }
    Ok((out, more))
}

impl RegistryService {
    /// Points a tag to a manifest, and marks what has no tag now where the registry deletes that in time.
    pub(crate) async fn stage_tag(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        place: Place<'_>,
        (tag, digest, set_by): (&str, &Digest, SetBy),
        came: &mut Counts,
    ) -> Result<(), RegistryError> {
        let now = self.clock.now();
        let set = stage_set(tx, snapshot, place, (tag, digest, set_by), now).await?;
        came.tags += i64::from(set.is_new);
        if self.retains(place.registry) {
            if let Some(before) = &set.moved_from {
                retention::stage_untagged(tx, snapshot, place, before, now).await?;
            }
            retention::stage_tagged(tx, snapshot, place, digest).await?;
        }
        Ok(())
    }

    /// Takes a tag away; its manifest stays. With `if_match` only while the tag is as one of its entity tags says.
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN`; `REGISTRY_DISALLOWED_OPERATION` where a lock forbids it, or, with 412, as the tag is another.
    pub(crate) async fn untag(
        &self,
        place: Place<'_>,
        tag: &str,
        if_match: Option<&TagList>,
    ) -> Result<(), RegistryError> {
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let repository = repositories::find(snapshot.as_ref(), place).await?;
            let found = find(snapshot.as_ref(), place, tag).await?;
            let (record, found) = found.ok_or(ErrorCode::ManifestUnknown)?;
            if if_match.is_some_and(|wanted| !wanted.matches(&entity_tag(&record))) {
                let text = "the tag was moved or set again since";
                let error = RegistryError::with(ErrorCode::OperationDisallowed, text);
                return Err(error.status(http::StatusCode::PRECONDITION_FAILED));
            }
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
            counts::stage(&mut tx, place, Counts::gone(0, 1), now)?;
            if self.retains(place.registry) {
                retention::stage_untagged(&mut tx, snapshot.as_ref(), place, &record.digest, now).await?;
            }
            if self.keeps_deleted(place.registry) {
                deleted::stage_keep_tag(&mut tx, place, (tag, &record.digest), now);
            }
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
