//! Deletion of manifests, and of whole repositories step by step.

use jiff::Timestamp;
use ledger::{Direction, LedgerError, Scan, Snapshot, Transaction};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{DELETE_STEP_BYTES_MAX, DELETE_STEP_MANIFESTS_MAX, DELETE_STEP_TAGS_MAX};
use crate::rules::digest::Digest;
use crate::rules::manifest::Manifest;
use crate::rules::webhook::{Happening, Origin, WebhookAction};
use crate::store::counts::{self, Counts};
use crate::store::keys::{self, Place};
use crate::store::links::{self, stage_due};
use crate::store::manifests::{self, Event};
use crate::store::records::{ManifestRecord, TagRecord, Target, decode};
use crate::store::repositories::{self, Repository};
use crate::store::{deleted, tags, usage};

/// What was deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) manifests: Vec<Digest>,
    pub(crate) tags: Vec<String>,
}

impl Removed {
    /// What is to be counted of it.
    pub(crate) fn counts(&self) -> Counts {
        Counts::gone(self.manifests.len(), self.tags.len())
    }
}

impl RegistryService {
    /// Stages the deletion of a manifest and of all its tags; whether that was all. Where there are too many tags for one
    /// commit, with what webhooks are told of each, only some of them go, and the manifest stays for the next.
    pub(crate) async fn stage_delete(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        place: Place<'_>,
        (digest, origin): (&Digest, &Origin),
        removed: &mut Removed,
    ) -> Result<bool, RegistryError> {
        let found = manifests::find(snapshot, place, digest).await?;
        let (record, found) = found.ok_or(ErrorCode::ManifestUnknown)?;
        if !record.attributes.allow_delete() {
            return Err(ErrorCode::OperationDisallowed.into());
        }
        let now = self.clock.now();
        let is_kept = self.keeps_deleted(place.registry);
        let mut removed_tags = Vec::new();
        let mut all_tags = tags::of(snapshot, place, digest).await?;
        let is_all = all_tags.len() <= DELETE_STEP_TAGS_MAX;
        all_tags.truncate(DELETE_STEP_TAGS_MAX);
        for tag in all_tags {
            if let Some((record, found)) = tags::find(snapshot, place, &tag).await? {
                if !record.attributes.allow_delete() {
                    return Err(ErrorCode::OperationDisallowed.into());
                }
                tags::stage_remove(tx, place, &tag, &record, &found);
                if is_kept {
                    deleted::stage_keep_tag(tx, place, (&tag, digest), now);
                }
                removed_tags.push(tag);
            }
        }
        let happening = Happening {
            action: WebhookAction::Delete,
            repository: place.repository,
            digest,
            media_type: &record.media_type,
            size: record.size,
            tags: &removed_tags,
        };
        self.stage_webhooks(tx, place.registry, &happening, origin)?;
        if !is_all {
            for tag in &removed_tags {
                tx.record(Event::untag(place, digest, tag).record());
            }
        }
        removed.tags.append(&mut removed_tags);
        if !is_all {
            return Ok(false);
        }
        if let Some(subject) = &record.subject {
            tx.delete(place.referrer(subject, digest));
        }
        let key = place.manifest(digest);
        tx.require_version(key.clone(), Some(found.version));
        tx.delete(key);
        tx.delete(place.manifest_time(record.updated, digest));
        if is_kept {
            // Its bytes and its edges stay, and with them its blobs.
            deleted::stage_keep(tx, place, digest, record, now)?;
        } else {
            let bytes = manifests::bytes(snapshot, place, digest).await?;
            stage_release(tx, snapshot, place, (digest, &record, &bytes), now).await?;
            tx.delete(place.manifest_bytes(digest));
            let size = i64::try_from(record.size).unwrap_or(i64::MAX);
            usage::stage(tx, place.registry, -size);
        }
        tx.record(Event::delete(place, digest).record());
        removed.manifests.push(digest.clone());
        Ok(true)
    }

    /// Deletes a manifest and all its tags.
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN`; `REGISTRY_DISALLOWED_OPERATION` where a lock forbids it.
    pub(crate) async fn delete_manifest(
        &self,
        place: Place<'_>,
        digest: &Digest,
        origin: &Origin,
    ) -> Result<(), RegistryError> {
        self.check_tags_unlocked(place, digest).await?;
        loop {
            let is_complete = self
                .attempts(move || async move {
                    let snapshot = self.ledger.snapshot().await?;
                    let mut tx = Transaction::new();
                    let repository = repositories::find(snapshot.as_ref(), place).await?;
                    let repository = repository.ok_or(ErrorCode::ManifestUnknown)?;
                    stage_unlocked(&mut tx, place, &repository)?;
                    let mut removed = Removed::default();
                    let is_complete = self
                        .stage_delete(&mut tx, snapshot.as_ref(), place, (digest, origin), &mut removed)
                        .await?;
                    let now = self.clock.now();
                    repositories::stage_updated(&mut tx, place, now);
                    counts::stage(&mut tx, place, removed.counts(), now)?;
                    Ok((tx, is_complete))
                })
                .await?;
            if is_complete {
                return Ok(());
            }
        }
    }

    /// Refuses a deletion that a lock on one of a manifest's tags forbids, before any of them goes.
    async fn check_tags_unlocked(&self, place: Place<'_>, digest: &Digest) -> Result<(), RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        let all_tags = tags::of(snapshot.as_ref(), place, digest).await?;
        if all_tags.len() <= DELETE_STEP_TAGS_MAX {
            // They go in one commit, or none does.
            return Ok(());
        }
        for tag in all_tags {
            if let Some((record, _)) = tags::find(snapshot.as_ref(), place, &tag).await?
                && !record.attributes.allow_delete()
            {
                return Err(ErrorCode::OperationDisallowed.into());
            }
        }
        Ok(())
    }

    /// Deletes a repository: its manifests in steps, and with the last of them itself. Blobs go when the
    /// collection finds that nothing refers to them.
    ///
    /// # Errors
    /// `NAME_UNKNOWN`; `REGISTRY_DISALLOWED_OPERATION` where a lock forbids it, before anything is deleted if the
    /// lock was there before.
    pub(crate) async fn delete_repository(
        &self,
        place: Place<'_>,
        origin: &Origin,
    ) -> Result<Removed, RegistryError> {
        self.check_unlocked(place).await?;
        let mut all = Removed::default();
        loop {
            let (mut removed, complete) = self
                .attempts(move || async move {
                    let snapshot = self.ledger.snapshot().await?;
                    let snapshot = snapshot.as_ref();
                    let mut tx = Transaction::new();
                    let repository = repositories::existing(snapshot, place).await?;
                    stage_unlocked(&mut tx, place, &repository)?;
                    // Each push writes this row, so one that comes between is seen, and the step decides again.
                    let updated = snapshot.get(&place.updated()).await?;
                    tx.require_version(place.updated(), updated.map(|updated| updated.version));
                    let mut removed = Removed::default();
                    let mut scan = Scan::new(snapshot, place.manifests(), Direction::Forward);
                    let mut more = false;
                    // Hidden ones as well: nothing is to be left behind.
                    while let Some(entry) = scan.next().await? {
                        more = removed.manifests.len() >= DELETE_STEP_MANIFESTS_MAX
                            || tx.size_bytes() >= DELETE_STEP_BYTES_MAX;
                        if more {
                            break;
                        }
                        let digest = keys::third(&entry.key).as_deref().and_then(Digest::parse);
                        let digest = digest.ok_or_else(|| {
                            LedgerError::Corrupt("the key of a manifest can't be read".to_owned())
                        })?;
                        let is_gone = self
                            .stage_delete(&mut tx, snapshot, place, (&digest, origin), &mut removed)
                            .await?;
                        if !is_gone {
                            more = true;
                            break;
                        }
                    }
                    let now = self.clock.now();
                    if !more {
                        // Nothing comes between that would have to be counted: see above.
                        more = counts::stage_fold(&mut tx, snapshot, place, now).await?;
                    }
                    if more {
                        repositories::stage_updated(&mut tx, place, now);
                        counts::stage(&mut tx, place, removed.counts(), now)?;
                    } else {
                        tx.delete(place.repository());
                        tx.delete(place.updated());
                        tx.delete(place.counts());
                    }
                    Ok((tx, (removed, !more)))
                })
                .await?;
            all.manifests.append(&mut removed.manifests);
            all.tags.append(&mut removed.tags);
            if complete {
                return Ok(all);
            }
        }
    }

    /// Refuses a deletion that a lock on any manifest or tag forbids, hidden ones as well.
    async fn check_unlocked(&self, place: Place<'_>) -> Result<(), RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), place.manifests(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            let record: ManifestRecord = decode(&entry.versioned)?;
            if !record.attributes.allow_delete() {
                return Err(ErrorCode::OperationDisallowed.into());
            }
        }
        let mut scan = Scan::new(snapshot.as_ref(), place.tags(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            let record: TagRecord = decode(&entry.versioned)?;
            if !record.attributes.allow_delete() {
                return Err(ErrorCode::OperationDisallowed.into());
            }
        }
        Ok(())
    }
}

/// Has the collection look at what only a manifest referred to that goes for good.
pub(crate) async fn stage_release(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    (digest, record, bytes): (&Digest, &ManifestRecord, &[u8]),
    now: Timestamp,
) -> Result<(), LedgerError> {
    // It was read when it was pushed; what can't be read has left edges, which keep more than they need to.
    let Ok(manifest) = Manifest::parse(Some(&record.media_type), bytes) else {
        return Ok(());
    };
    let blobs = manifest.blobs.iter().chain(&manifest.foreign);
    // What an index refers to may be a blob as well, and may have been one when it was pushed first.
    for child in blobs.chain(&manifest.manifests) {
        tx.delete(place.edge(&child.digest, digest));
        if links::link(snapshot, place, &child.digest).await?.is_none() {
            continue;
        }
        let target = Target::Link {
            registry: place.registry.to_owned(),
            repository: place.repository.to_owned(),
            digest: child.digest.clone(),
        };
        stage_due(tx, now, &target)?;
    }
    Ok(())
}

/// Demands that the repository stays without a lock against deletion.
fn stage_unlocked(
    tx: &mut Transaction,
    place: Place<'_>,
    repository: &Repository,
) -> Result<(), RegistryError> {
    if !repository.record.attributes.allow_delete() {
        return Err(ErrorCode::OperationDisallowed.into());
    }
    tx.require_version(place.repository(), Some(repository.version));
    Ok(())
}
