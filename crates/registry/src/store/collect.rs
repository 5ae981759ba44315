//! The collection: links that nothing refers to and whose lease is over, then what was behind them, then bytes.
//! It runs beside pushes, without a pause for anybody.
//!
//! Each step decides by one snapshot and demands of its commit what it decided by (see `links`). What is to be
//! looked at is a row with a time, so a round reads what is due and nothing else.

use jiff::Timestamp;
use ledger::{Direction, Entry, LedgerError, Scan, Snapshot, Transaction};
use uuid::Uuid;

use crate::RegistryService;
use crate::error::RegistryError;
use crate::limits::{
    COLLECT_RETRY_SECONDS, COLLECT_ROUND_SECONDS_MAX, COLLECT_STEP_ENTRIES_MAX, COLLECT_STEPS_MAX,
    TOMBSTONE_SECONDS, UPLOAD_AGE_SECONDS_MAX, UPLOAD_IDLE_SECONDS_MAX,
};
use crate::rules::digest::Digest;
use crate::store::counts;
use crate::store::keys::{self, Place};
use crate::store::links::{is_in_use, later, link, stage_due, stage_unlink};
use crate::store::records::{BlobRecord, Piece, Target, UploadRecord, decode, decode_number, encode};
use crate::store::usage;

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CollectOutcome {
    /// Links that were removed.
    pub links: u64,
    /// Blobs whose bytes were let go.
    pub blobs: u64,
    /// Uploads that were given up.
    pub uploads: u64,
    /// Contents that were removed.
    pub contents: u64,
    /// Manifests without a tag that were deleted.
    pub untagged: u64,
    /// Soft-deleted manifests that were purged.
    pub purged: u64,
}

impl RegistryService {
    /// One bounded round: call it every few seconds.
    ///
    /// # Errors
    /// As the ledger; the next round goes on. A content that can't be removed is tried again later.
    pub async fn collect_once(&self) -> Result<CollectOutcome, RegistryError> {
        // First, because it is little, and a quota is counted by it.
        for registry in &self.settings.registries {
            self.fold_usage(&registry.name).await?;
        }
        let mut outcome = CollectOutcome::default();
        self.apply_policies(&mut outcome).await;
        let end = later(self.clock.now(), COLLECT_ROUND_SECONDS_MAX);
        for _ in 0..COLLECT_STEPS_MAX {
            let due = self.due().await?;
            let complete = due.len() < COLLECT_STEP_ENTRIES_MAX;
            let mut progressed = false;
            for entry in due {
                if self.clock.now() > end {
                    return Ok(outcome);
                }
                match self.look_at(&entry, &mut outcome).await {
                    Ok(()) => progressed = true,
                    // Somebody changed it meanwhile: it is looked at again.
                    Err(LedgerError::Conflict(_)) => {}
                    Err(error @ LedgerError::Corrupt(_)) => {
                        tracing::error!(%error, "the collection passes over what it can't read");
                        self.postpone(&entry).await?;
                        progressed = true;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if complete || !progressed {
                break;
            }
        }
        Ok(outcome)
    }

    /// Has an entry looked at later, so that it doesn't stand before others.
    async fn postpone(&self, entry: &Entry) -> Result<(), LedgerError> {
        let mut tx = Transaction::new();
        tx.require_version(entry.key.clone(), Some(entry.versioned.version));
        tx.delete(entry.key.clone());
        let value = entry.versioned.value.clone();
        tx.put(keys::due(self.retry_time(), &value), value);
        match self.ledger.commit(tx).await {
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// When something is tried again that failed now.
    fn retry_time(&self) -> Timestamp {
        later(self.clock.now(), COLLECT_RETRY_SECONDS)
    }

    async fn due(&self) -> Result<Vec<Entry>, LedgerError> {
        let snapshot = self.ledger.snapshot().await?;
        let range = keys::due_until(self.clock.now());
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut entries = Vec::new();
        while entries.len() < COLLECT_STEP_ENTRIES_MAX
            && let Some(entry) = scan.next().await?
        {
            entries.push(entry);
        }
        Ok(entries)
    }

    async fn look_at(&self, entry: &Entry, outcome: &mut CollectOutcome) -> Result<(), LedgerError> {
        let snapshot = self.ledger.snapshot().await?;
        let snapshot = snapshot.as_ref();
        let now = self.clock.now();
        let mut tx = Transaction::new();
        // If it was queued anew meanwhile, it stays.
        tx.require_version(entry.key.clone(), Some(entry.versioned.version));
        tx.delete(entry.key.clone());
        let mut done = CollectOutcome::default();
        match decode(&entry.versioned)? {
            Target::Link {
                registry,
                repository,
                digest,
            } => {
                let place = Place::new(&registry, &repository);
                done.links = look_at_link(&mut tx, snapshot, place, &digest, now).await?;
            }
            Target::Holding { registry, digest } => {
                look_at_holding(&mut tx, snapshot, &registry, &digest, now).await?;
            }
            Target::Blob { digest } => {
                done.blobs = look_at_blob(&mut tx, snapshot, &digest, now).await?;
            }
            Target::Upload { registry, id } => {
                done.uploads = look_at_upload(&mut tx, snapshot, &registry, id, now).await?;
            }
            Target::Counts { registry, repository } => {
                counts::stage_fold(&mut tx, snapshot, Place::new(&registry, &repository), now).await?;
            }
            Target::Body { id } => {
                let (removed, rest) = self.remove_pieces(&mut tx, snapshot, id).await?;
                done.contents = removed;
                if let Some(at) = rest {
                    stage_due(&mut tx, at, &Target::Body { id })?;
                }
            }
        }
        self.ledger.commit(tx).await?;
        outcome.links += done.links;
        outcome.blobs += done.blobs;
        outcome.uploads += done.uploads;
        outcome.contents += done.contents;
        Ok(())
    }

    /// Removes some pieces of a body that nothing refers to: how many contents, and when the rest is to be looked
    /// at, if there is one. What can't be removed now keeps neither the others nor other bodies.
    async fn remove_pieces(
        &self,
        tx: &mut Transaction,
        snapshot: &dyn Snapshot,
        body: Uuid,
    ) -> Result<(u64, Option<Timestamp>), LedgerError> {
        let mut scan = Scan::new(snapshot, keys::pieces(body), Direction::Forward);
        let (mut seen, mut removed, mut rest) = (0, 0, None);
        while let Some(entry) = scan.next().await? {
            if seen == COLLECT_STEP_ENTRIES_MAX {
                return Ok((removed, rest.or(Some(self.clock.now()))));
            }
            seen += 1;
            if let Piece::Stored { content, .. } = Piece::decode(&entry.versioned.value)? {
                if let Err(error) = self.content.delete(content).await {
                    tracing::warn!(%body, %content, %error, "a content can't be removed; it is tried again");
                    rest = Some(self.retry_time());
                    continue;
                }
                tx.delete(keys::reference(content));
                removed += 1;
            }
            tx.delete(entry.key);
        }
        Ok((removed, rest))
    }
}

/// Removes a link that nothing needs; whether it did.
async fn look_at_link(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    now: Timestamp,
) -> Result<u64, LedgerError> {
    let Some((record, found)) = link(snapshot, place, digest).await? else {
        return Ok(0);
    };
    // The manifest's deletion has it looked at again.
    if is_in_use(snapshot, place, digest).await? {
        return Ok(0);
    }
    if record.lease > now {
        let target = Target::Link {
            registry: place.registry.to_owned(),
            repository: place.repository.to_owned(),
            digest: digest.clone(),
        };
        stage_due(tx, record.lease, &target)?;
        return Ok(0);
    }
    stage_unlink(tx, place, digest, &found, now)?;
    Ok(1)
}

/// Removes a registry's hold on a blob that none of its repositories has.
async fn look_at_holding(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    registry: &str,
    digest: &Digest,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let key = keys::holding(digest, registry);
    let Some(found) = snapshot.get(&key).await? else {
        return Ok(());
    };
    let mut links = Scan::new(snapshot, keys::links_of(registry, digest), Direction::Forward);
    if links.next().await?.is_some() {
        return Ok(());
    }
    tx.require_version(key.clone(), Some(found.version));
    tx.delete(key);
    usage::stage(tx, registry, -decode_number(&found.value)?);
    let digest = digest.clone();
    stage_due(tx, now, &Target::Blob { digest })
}

/// Marks a blob that no registry holds, and lets its bytes go when it was marked for long; whether it did that.
async fn look_at_blob(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    digest: &Digest,
    now: Timestamp,
) -> Result<u64, LedgerError> {
    let key = keys::blob(digest);
    let Some(found) = snapshot.get(&key).await? else {
        return Ok(0);
    };
    let mut holdings = Scan::new(snapshot, keys::holdings(digest), Direction::Forward);
    if holdings.next().await?.is_some() {
        return Ok(0);
    }
    let record: BlobRecord = decode(&found)?;
    tx.require_version(key.clone(), Some(found.version));
    let target = Target::Blob {
        digest: digest.clone(),
    };
    match record.tombstone {
        None => {
            let marked = BlobRecord {
                tombstone: Some(now),
                ..record
            };
            tx.put(key, encode(&marked)?);
            stage_due(tx, later(now, TOMBSTONE_SECONDS), &target)?;
            Ok(0)
        }
        Some(since) if later(since, TOMBSTONE_SECONDS) > now => {
            tx.put(key, encode(&record)?);
            stage_due(tx, later(since, TOMBSTONE_SECONDS), &target)?;
            Ok(0)
        }
        Some(_) => {
            tx.delete(key);
            stage_due(tx, now, &Target::Body { id: record.body })?;
            Ok(1)
        }
    }
}

/// Gives up an upload that nobody goes on with; whether it did.
async fn look_at_upload(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    registry: &str,
    id: Uuid,
    now: Timestamp,
) -> Result<u64, LedgerError> {
    let key = keys::upload(registry, id);
    let Some(found) = snapshot.get(&key).await? else {
        return Ok(0);
    };
    let record: UploadRecord = decode(&found)?;
    let end =
        later(record.touched, UPLOAD_IDLE_SECONDS_MAX).min(later(record.started, UPLOAD_AGE_SECONDS_MAX));
    if end > now {
        let registry = registry.to_owned();
        stage_due(tx, end, &Target::Upload { registry, id })?;
        return Ok(0);
    }
    tx.require_version(key.clone(), Some(found.version));
    tx.delete(key);
    stage_due(tx, now, &Target::Body { id })?;
    Ok(1)
}
