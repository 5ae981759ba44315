//! What is soft-deleted (Azure Container Registry, "Recover deleted artifacts with soft delete policy"): kept for some
//! days with all that it refers to, listed, restored, and purged.
//!
//! Invariant: the bytes and the edges of a soft-deleted manifest stay where they were, so the collection sees that its
//! blobs are in use, and restoring it can't come too late for them. A restore, a purge, and a push of the same
//! manifest each demand its row as it was read: one of them succeeds.

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, Entry, LedgerError, Scan, Snapshot, Transaction, Versioned};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::POLICIES_ROWS_MAX;
use crate::rules::attributes::Attributes;
use crate::rules::digest::Digest;
use crate::rules::manifest::Manifest;
use crate::settings::Registry;
use crate::store::counts::{self, Counts};
use crate::store::keys::{self, Place, Timed};
use crate::store::manifests::{self, Event};
use crate::store::records::{DeletedRecord, ManifestRecord, RepositoryRecord, SetBy, decode, encode};
use crate::store::removal::stage_release;
use crate::store::repositories::{self, Page};
use crate::store::{retention, tags, usage};

/// A manifest that is soft-deleted, if it is.
pub(crate) async fn find(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<Option<(DeletedRecord, Versioned)>, LedgerError> {
    let Some(found) = snapshot.get(&place.deleted(digest)).await? else {
        return Ok(None);
    };
    Ok(Some((decode(&found)?, found)))
}

/// Keeps a manifest that is deleted.
pub(crate) fn stage_keep(
    tx: &mut Transaction,
    place: Place<'_>,
    digest: &Digest,
    manifest: ManifestRecord,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let record = DeletedRecord {
        manifest,
        deleted: now,
    };
    tx.put(place.deleted(digest), encode(&record)?);
    tx.put(place.deleted_time(now, digest, None), Vec::new());
    Ok(())
}

/// Keeps what a tag that is taken away pointed to.
pub(crate) fn stage_keep_tag(
    tx: &mut Transaction,
    place: Place<'_>,
    (tag, digest): (&str, &Digest),
    now: Timestamp,
) {
    tx.put(place.deleted_tag(tag, now, digest), Vec::new());
    tx.put(place.deleted_time(now, digest, Some(tag)), Vec::new());
}

/// Takes a manifest out of what is soft-deleted, as it was read: it is there again, or is purged.
pub(crate) fn stage_end(
    tx: &mut Transaction,
    place: Place<'_>,
    digest: &Digest,
    (record, found): (&DeletedRecord, &Versioned),
) {
    tx.require_version(place.deleted(digest), Some(found.version));
    tx.delete(place.deleted(digest));
    tx.delete(place.deleted_time(record.deleted, digest, None));
}

/// Soft-deleted manifests behind `last`, in the order of their digests, and whether more follow.
pub(crate) async fn page(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    page: Page<'_>,
) -> Result<(Vec<(Digest, DeletedRecord)>, bool), LedgerError> {
    let mut scan = Scan::new(snapshot, place.deleted_after(page.last), Direction::Forward);
    let mut out = Vec::new();
    while let Some(entry) = scan.next().await? {
        let Some(digest) = keys::third(&entry.key).as_deref().and_then(Digest::parse) else {
            continue;
        };
        if out.len() == page.entries {
            return Ok((out, true));
        }
        out.push((digest, decode(&entry.versioned)?));
    }
    Ok((out, false))
}

/// A tag that was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletedTag {
    pub(crate) tag: String,
    pub(crate) deleted: Timestamp,
    pub(crate) digest: Digest,
}

impl DeletedTag {
    /// Its place in a list: no part has a `~`.
    pub(crate) fn cursor(&self) -> String {
        format!("{}~{}~{}", self.tag, self.deleted.as_microsecond(), self.digest)
    }

    /// The key at such a place.
    fn key_of(place: Place<'_>, cursor: &str) -> Option<ledger::Key> {
        let mut parts = cursor.splitn(3, '~');
        let tag = parts.next()?;
        let at = Timestamp::from_microsecond(parts.next()?.parse().ok()?).ok()?;
        Some(place.deleted_tag(tag, at, &Digest::parse(parts.next()?)?))
    }
}

/// Tags that were taken away, by name and then by time, behind `last`; and whether more follow.
pub(crate) async fn tags_page(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    page: Page<'_>,
) -> Result<(Vec<DeletedTag>, bool), RegistryError> {
    let last = page
        .last
        .map(|last| DeletedTag::key_of(place, last).ok_or_else(tags::no_place))
        .transpose()?;
    let mut scan = Scan::new(snapshot, place.deleted_tags(last), Direction::Forward);
    let mut out = Vec::new();
    while let Some(entry) = scan.next().await? {
        let Some((tag, deleted, digest)) = keys::deleted_tag_of(&entry.key) else {
            continue;
        };
        if out.len() == page.entries {
            return Ok((out, true));
        }
        out.push(DeletedTag { tag, deleted, digest });
    }
    Ok((out, false))
}

/// Whether a repository has something soft-deleted.
pub(crate) async fn is_any(snapshot: &dyn Snapshot, place: Place<'_>) -> Result<bool, LedgerError> {
    for range in [place.deleted_after(None), place.deleted_tags(None)] {
        let mut scan = Scan::new(snapshot, range, Direction::Forward);
        if scan.next().await?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a look at what is soft-deleted did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Purged {
    pub(crate) manifests: u64,
    /// Whether all was seen.
    pub(crate) is_all: bool,
}

/// What is restored, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restore<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) digest: &'a Digest,
    /// A tag to point to it.
    pub(crate) tag: Option<&'a str>,
    /// Whether a tag that points elsewhere is moved.
    pub(crate) force: bool,
}

impl RegistryService {
    /// Whether a registry keeps what is deleted.
    pub(crate) fn keeps_deleted(&self, registry: &str) -> bool {
        let registry = self.settings.by_name(registry);
        registry.is_some_and(|registry| registry.soft_delete_days.is_some())
    }

    /// Names of a registry's repositories that have something soft-deleted, in byte order, and whether more follow.
    pub(crate) async fn deleted_repositories(
        &self,
        registry: &str,
        page: Page<'_>,
    ) -> Result<(Vec<String>, bool), RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut names: Vec<String> = Vec::new();
        loop {
            let last = names.last().map(String::as_str).or(page.last);
            let mut next: Option<String> = None;
            for of_tags in [false, true] {
                let range = keys::deleted_repositories(registry, of_tags, last);
                let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
                let found = scan.next().await?;
                let found = found.and_then(|entry| keys::place_of(&entry.key));
                if let Some((_, name)) = found
                    && next.as_ref().is_none_or(|next| name < *next)
                {
                    next = Some(name);
                }
            }
            match next {
                None => return Ok((names, false)),
                Some(_) if names.len() == page.entries => return Ok((names, true)),
                Some(name) => names.push(name),
            }
        }
    }

    /// Restores a soft-deleted manifest, or points a tag that was taken away to the manifest that it had.
    ///
    /// # Errors
    /// `MANIFEST_UNKNOWN` where nothing of that is kept; `REGISTRY_DISALLOWED_OPERATION` where a lock, the deletion of its
    /// subject, or a tag that points elsewhere forbids it.
    pub(crate) async fn restore(&self, restore: Restore<'_>) -> Result<(), RegistryError> {
        self.attempts(move || async move {
            let tx = self.stage_restore(restore).await?;
            Ok((tx, ()))
        })
        .await
    }

    async fn stage_restore(&self, restore: Restore<'_>) -> Result<Transaction, RegistryError> {
        let Restore {
            place,
            digest,
            tag,
            force,
        } = restore;
        let snapshot = self.ledger.snapshot().await?;
        let snapshot = snapshot.as_ref();
        let now = self.clock.now();
        let mut tx = Transaction::new();
        let repository = repositories::find(snapshot, place).await?;
        repositories::check_writable(repository.as_ref())?;
        let version = repository.as_ref().map(|repository| repository.version);
        tx.require_version(place.repository(), version);
        let mut came = Counts::default();
        let live = manifests::find(snapshot, place, digest).await?;
        let version = live.as_ref().map(|(_, found)| found.version);
        tx.require_version(place.manifest(digest), version);
        let kept_tags = kept_tags(snapshot, place, digest, tag).await?;
        if live.is_none() {
            let deleted = find(snapshot, place, digest).await?;
            let (deleted, found) = deleted.ok_or(ErrorCode::ManifestUnknown)?;
            stage_end(&mut tx, place, digest, (&deleted, &found));
            if repository.is_none() {
                let record = RepositoryRecord {
                    created: now,
                    attributes: Attributes::default(),
                };
                tx.put(place.repository(), encode(&record)?);
                counts::stage_new(&mut tx, place);
            }
            self.stage_back(&mut tx, snapshot, place, (digest, deleted.manifest), now)
                .await?;
            came.manifests = 1;
        } else if kept_tags.is_empty() {
            return Err(ErrorCode::ManifestUnknown.into());
        }
        if let Some((_, found)) = live {
            // Written again, so that of this and a deletion, which doesn't see the tag yet, one is tried again.
            tx.put(place.manifest(digest), found.value);
        }
        if let Some(tag) = tag {
            if let Some((record, _)) = tags::find(snapshot, place, tag).await?
                && record.digest != *digest
            {
                if !force {
                    let text = "the tag points to another manifest; force moves it";
                    let error = RegistryError::with(ErrorCode::OperationDisallowed, text);
                    return Err(error.status(http::StatusCode::CONFLICT));
                }
                if self.keeps_deleted(place.registry) {
                    stage_keep_tag(&mut tx, place, (tag, &record.digest), now);
                }
            }
            self.stage_tag(&mut tx, snapshot, place, (tag, digest, SetBy::Client), &mut came)
                .await?;
        }
        for (key, at) in kept_tags {
            tx.delete(key);
            tx.delete(place.deleted_time(at, digest, tag));
        }
        repositories::stage_updated(&mut tx, place, now);
        counts::stage(&mut tx, place, came, now)?;
        tx.record(Event::restore(place, digest, tag).record());
        Ok(tx)
    }

    /// Puts a soft-deleted manifest back: its bytes and its edges never went.
    async fn stage_back(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        place: Place<'_>,
        (digest, record): (&Digest, ManifestRecord),
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let bytes = manifests::bytes(snapshot, place, digest).await?;
        let manifest = Manifest::parse(Some(&record.media_type), &bytes)
            .map_err(|error| LedgerError::Corrupt(format!("manifest {digest}: {error}")))?;
        if let Some(subject) = &manifest.subject {
            if find(snapshot, place, subject).await?.is_some() {
                let text = format!("it is about {subject}, which is deleted as well; restore that first");
                let error = RegistryError::with(ErrorCode::OperationDisallowed, text);
                return Err(error.status(http::StatusCode::CONFLICT));
            }
            let referrer = manifest.referrer(digest, record.size).to_string();
            tx.put(place.referrer(subject, digest), referrer);
        }
        // What an index refers to may have been deleted, and isn't restored by this.
        manifests::stage_references(tx, snapshot, place, (&manifest, digest, true), now).await?;
        let record = ManifestRecord {
            updated: now,
            ..record
        };
        tx.put(place.manifest(digest), encode(&record)?);
        tx.put(place.manifest_time(now, digest), Vec::new());
        if self.retains(place.registry) {
            retention::stage_lease(tx, snapshot, place, (digest, true), now).await?;
        }
        Ok(())
    }

    /// Purges what was kept for long enough.
    pub(crate) async fn purge_pass(&self, registry: &Registry, days: u32) -> Result<Purged, RegistryError> {
        let until = self
            .clock
            .now()
            .checked_sub(SignedDuration::from_hours(24 * i64::from(days)))
            .unwrap_or(Timestamp::MIN);
        let mut entries = Vec::new();
        {
            let snapshot = self.ledger.snapshot().await?;
            let range = keys::deleted_until(&registry.name, until);
            let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
            while entries.len() < POLICIES_ROWS_MAX
                && let Some(entry) = scan.next().await?
            {
                entries.push(entry);
            }
        }
        let mut purged = Purged {
            manifests: 0,
            is_all: entries.len() < POLICIES_ROWS_MAX,
        };
        for entry in entries {
            let Some(timed) = keys::deleted_of(&entry.key) else {
                continue;
            };
            match self.purge(registry, &entry, &timed).await {
                Ok(is_purged) => purged.manifests += u64::from(is_purged),
                Err(error) => {
                    // Not at once again, so that it can't keep the work from ending.
                    purged.is_all = true;
                    let (repository, digest) = (&timed.repository, &timed.digest);
                    tracing::warn!(registry = %registry.name, repository, %digest, %error,
                        "what is soft-deleted can't be purged; it is tried again");
                }
            }
        }
        Ok(purged)
    }

    /// Purges one row; whether a manifest went with it.
    async fn purge(&self, registry: &Registry, entry: &Entry, timed: &Timed) -> Result<bool, RegistryError> {
        let place = Place::new(&registry.name, &timed.repository);
        let digest = &timed.digest;
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let snapshot = snapshot.as_ref();
            let mut tx = Transaction::new();
            tx.delete(entry.key.clone());
            if let Some(tag) = &timed.tag {
                tx.delete(place.deleted_tag(tag, timed.at, digest));
                return Ok((tx, false));
            }
            let found = find(snapshot, place, digest).await?;
            let Some((record, found)) =
                found.filter(|(record, _)| record.deleted.as_microsecond() == timed.at.as_microsecond())
            else {
                return Ok((tx, false));
            };
            stage_end(&mut tx, place, digest, (&record, &found));
            tx.require_absent(place.manifest(digest));
            let bytes = manifests::bytes(snapshot, place, digest).await?;
            let now = self.clock.now();
            stage_release(&mut tx, snapshot, place, (digest, &record.manifest, &bytes), now).await?;
            tx.delete(place.manifest_bytes(digest));
            let size = i64::try_from(record.manifest.size).unwrap_or(i64::MAX);
            usage::stage(&mut tx, place.registry, -size);
            Ok((tx, true))
        })
        .await
    }
}

/// Rows of a tag that was taken away from a manifest.
async fn kept_tags(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    tag: Option<&str>,
) -> Result<Vec<(ledger::Key, Timestamp)>, LedgerError> {
    let Some(tag) = tag else {
        return Ok(Vec::new());
    };
    let mut scan = Scan::new(snapshot, place.deleted_tags_of(tag), Direction::Forward);
    let mut out = Vec::new();
    while let Some(entry) = scan.next().await? {
        if let Some((_, at, found)) = keys::deleted_tag_of(&entry.key)
            && found == *digest
        {
            out.push((entry.key, at));
        }
    }
    Ok(out)
}
