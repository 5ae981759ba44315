//! Manifests without a tag, and their deletion where a registry's policy wants it (Azure Container Registry, "Set a
//! retention policy for untagged manifests").
//!
//! A mark says since when a manifest has no tag. It is written by whoever takes the tag away, and with a lease by
//! whoever pushes a manifest that has none, finds one by a HEAD, or pushes an index that refers to one. The deletion
//! demands the mark as it was when it was seen that nothing refers to the manifest; so of an index's push and the
//! deletion of its child one fails, and the push is refused or the child stays.
//!
//! A mark may stand though there is a tag: two tags may go and come at once, and nobody waits for the other. The mark
//! only leads here, where the tags are looked at.

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, Entry, LedgerError, Scan, Sequence, Snapshot, Transaction, Versioned};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{LEASE_RENEWAL_SECONDS, POLICIES_ROWS_MAX, UNTAGGED_LEASE_SECONDS};
use crate::rules::digest::Digest;
use crate::settings::Registry;
use crate::store::keys::{self, Place, Timed};
use crate::store::links::{is_in_use, later};
use crate::store::manifests;
use crate::store::records::{UntaggedRecord, decode, encode};
use crate::store::removal::Removed;
use crate::store::{counts, repositories, tags};

/// A mark, if there is one.
pub(crate) async fn mark(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<Option<(UntaggedRecord, Versioned)>, LedgerError> {
    let Some(found) = snapshot.get(&place.untagged(digest)).await? else {
        return Ok(None);
    };
    Ok(Some((decode(&found)?, found)))
}

fn stage_put(
    tx: &mut Transaction,
    place: Place<'_>,
    digest: &Digest,
    before: Option<&UntaggedRecord>,
    record: &UntaggedRecord,
) -> Result<(), LedgerError> {
    if let Some(before) = before {
        tx.delete(place.untagged_time(before.since, digest));
    }
    tx.put(place.untagged(digest), encode(record)?);
    tx.put(place.untagged_time(record.since, digest), Vec::new());
    Ok(())
}

/// Marks a manifest that somebody may be about to refer to, or that was pushed without a tag, which begins its time
/// anew. Without a condition: whoever does the same at once means the same.
pub(crate) async fn stage_lease(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    (digest, is_pushed): (&Digest, bool),
    now: Timestamp,
) -> Result<(), LedgerError> {
    let before = mark(snapshot, place, digest).await?.map(|(record, _)| record);
    let since = before.as_ref().filter(|_| !is_pushed).map(|before| before.since);
    let record = UntaggedRecord {
        since: since.unwrap_or(now),
        lease: Some(later(now, UNTAGGED_LEASE_SECONDS)),
    };
    stage_put(tx, place, digest, before.as_ref(), &record)
}

/// Marks a manifest that a tag is taken away from. A lease that it has stays.
pub(crate) async fn stage_untagged(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let before = mark(snapshot, place, digest).await?;
    let version = before.as_ref().map(|(_, found)| found.version);
    tx.require_version(place.untagged(digest), version);
    let before = before.map(|(record, _)| record);
    let record = UntaggedRecord {
        since: now,
        lease: before.as_ref().and_then(|before| before.lease),
    };
    stage_put(tx, place, digest, before.as_ref(), &record)
}

/// Takes the mark away from a manifest that is given a tag.
pub(crate) async fn stage_tagged(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<(), LedgerError> {
    if let Some((before, _)) = mark(snapshot, place, digest).await? {
        stage_end(tx, place, digest, before.since);
    }
    Ok(())
}

fn stage_end(tx: &mut Transaction, place: Place<'_>, digest: &Digest, since: Timestamp) {
    tx.delete(place.untagged(digest));
    tx.delete(place.untagged_time(since, digest));
}

/// What is to be done about a mark.
enum Decision {
    /// It leads to nothing any longer.
    Drop,
    /// Something keeps the manifest.
    Spare,
    /// It goes, if its repository is as it was read.
    Delete(Sequence),
}

impl RegistryService {
    /// Whether a registry deletes untagged manifests.
    pub(crate) fn retains(&self, registry: &str) -> bool {
        let registry = self.settings.by_name(registry);
        registry.is_some_and(|registry| registry.retention_days.is_some())
    }

    /// Has a manifest that a pusher asked about stay until what refers to it can have come.
    pub(crate) async fn renew_untagged(
        &self,
        place: Place<'_>,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        if !self.retains(place.registry) {
            return Ok(());
        }
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let now = self.clock.now();
            let mut tx = Transaction::new();
            let before = mark(snapshot.as_ref(), place, digest).await?;
            let fresh = later(now, UNTAGGED_LEASE_SECONDS - LEASE_RENEWAL_SECONDS);
            let is_fresh = before
                .as_ref()
                .and_then(|(before, _)| before.lease)
                .is_some_and(|lease| lease >= fresh);
            if !is_fresh {
                // It was there when it was looked at; if it goes meanwhile, so it is told.
                let found = manifests::find(snapshot.as_ref(), place, digest).await?;
                let (_, found) = found.ok_or(ErrorCode::ManifestUnknown)?;
                tx.require_version(place.manifest(digest), Some(found.version));
                let version = before.as_ref().map(|(_, found)| found.version);
                tx.require_version(place.untagged(digest), version);
                stage_lease(&mut tx, snapshot.as_ref(), place, (digest, false), now).await?;
            }
            Ok((tx, ()))
        })
        .await
    }

    /// Deletes what a registry's policy lets nobody keep, from the place where the last look ended: how many manifests,
    /// and where the next look goes on if this one didn't see everything.
    pub(crate) async fn retention_pass(
        &self,
        registry: &Registry,
        days: u32,
        policy_since: Timestamp,
        after: Option<ledger::Key>,
    ) -> Result<(u64, Option<ledger::Key>), RegistryError> {
        let until = self
            .clock
            .now()
            .checked_sub(SignedDuration::from_hours(24 * i64::from(days)))
            .unwrap_or(Timestamp::MIN);
        let mut range = keys::untagged_between(&registry.name, policy_since, until);
        if let Some(after) = after.filter(|after| *after > range.start) {
            range.start = after.successor();
        }
        let mut entries = Vec::new();
        if !range.is_empty() {
            let snapshot = self.ledger.snapshot().await?;
            let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
            while entries.len() < POLICIES_ROWS_MAX
                && let Some(entry) = scan.next().await?
            {
                entries.push(entry);
            }
        }
        let last = entries.last().map(|entry| entry.key.clone());
        let rest = last.filter(|_| entries.len() == POLICIES_ROWS_MAX);
        let mut deleted = 0;
        for entry in entries {
            let Some(timed) = keys::untagged_of(&entry.key) else {
                continue;
            };
            match self.look_at_untagged(registry, &entry, &timed).await {
                Ok(is_deleted) => deleted += u64::from(is_deleted),
                Err(error) => {
                    let (repository, digest) = (&timed.repository, &timed.digest);
                    tracing::warn!(registry = %registry.name, repository, %digest, %error,
                        "an untagged manifest can't be deleted; it is tried again");
                }
            }
        }
        Ok((deleted, rest))
    }

    /// Looks at one mark; whether its manifest was deleted.
    async fn look_at_untagged(
        &self,
        registry: &Registry,
        entry: &Entry,
        timed: &Timed,
    ) -> Result<bool, RegistryError> {
        let place = Place::new(&registry.name, &timed.repository);
        let digest = &timed.digest;
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let snapshot = snapshot.as_ref();
            let now = self.clock.now();
            let mut tx = Transaction::new();
            let found = mark(snapshot, place, digest).await?;
            let Some((record, found)) =
                found.filter(|(record, _)| record.since.as_microsecond() == timed.at.as_microsecond())
            else {
                // Another mark was set since, and has a row of its own.
                tx.delete(entry.key.clone());
                return Ok((tx, false));
            };
            match decide(snapshot, place, digest, &record, now).await? {
                Decision::Spare => return Ok((tx, false)),
                Decision::Drop => {
                    tx.require_version(place.untagged(digest), Some(found.version));
                    stage_end(&mut tx, place, digest, record.since);
                    return Ok((tx, false));
                }
                Decision::Delete(repository) => {
                    tx.require_version(place.repository(), Some(repository));
                }
            }
            tx.require_version(place.untagged(digest), Some(found.version));
            stage_end(&mut tx, place, digest, record.since);
            let mut removed = Removed::default();
            let origin = self.own_origin(registry);
            let is_gone = self
                .stage_delete(&mut tx, snapshot, place, (digest, &origin), &mut removed)
                .await?;
            if !is_gone {
                // It has tags after all.
                return Ok((Transaction::new(), false));
            }
            repositories::stage_updated(&mut tx, place, now);
            counts::stage(&mut tx, place, removed.counts(), now)?;
            Ok((tx, true))
        })
        .await
    }
}

async fn decide(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    record: &UntaggedRecord,
    now: Timestamp,
) -> Result<Decision, RegistryError> {
    if record.lease.is_some_and(|lease| lease > now) {
        return Ok(Decision::Spare);
    }
    let repository = repositories::find(snapshot, place).await?;
    let manifest = manifests::find(snapshot, place, digest).await?;
    let (Some(repository), Some((manifest, _))) = (repository, manifest) else {
        return Ok(Decision::Drop);
    };
    if tags::is_tagged(snapshot, place, digest).await? {
        return Ok(Decision::Drop);
    }
    let is_locked = !repository.record.attributes.allow_delete() || !manifest.attributes.allow_delete();
    // A child of an index, and what is said about a manifest that is there, are needed without a tag.
    let is_about = match &manifest.subject {
        Some(subject) => manifests::find(snapshot, place, subject).await?.is_some(),
        None => false,
    };
    if is_locked || is_about || is_in_use(snapshot, place, digest).await? {
        return Ok(Decision::Spare);
    }
    Ok(Decision::Delete(repository.version))
}
