//! Who has a blob: a repository by a link, a registry by a holding, the store by the blob itself.
//!
//! Invariants: a link has a holding, a holding has a live blob. Whoever adds below a row that is there already
//! writes that row again, and whoever removes a row demands that nobody wrote it since he saw that nothing
//! is below it. So an addition and a removal that cross never both succeed, and additions never
//! hinder each other.

use jiff::{SignedDuration, Timestamp};
use ledger::{Direction, LedgerError, Scan, Snapshot, Transaction, Versioned};
use uuid::Uuid;

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{LEASE_RENEWAL_SECONDS, LINK_LEASE_SECONDS, TOMBSTONE_SECONDS, WRITE_ATTEMPTS_MAX};
use crate::rules::digest::Digest;
use crate::store::keys::{self, Place};
use crate::store::records::{BlobRecord, LinkRecord, Target, decode, encode};
use crate::store::{repositories, usage};

/// A body that was taken in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewBody {
    pub(crate) id: Uuid,
    pub(crate) size: u64,
    /// The body that the blob has already, if this one is to take its place.
    pub(crate) replaces: Option<Uuid>,
}

/// `at` and some seconds.
pub(crate) fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// Has the collection look at `target` from `at` on.
pub(crate) fn stage_due(tx: &mut Transaction, at: Timestamp, target: &Target) -> Result<(), LedgerError> {
    let encoded = encode(target)?;
    tx.put(keys::due(at, &encoded), encoded);
    Ok(())
}

/// Links a repository to a blob. With a body of its own that is what the blob becomes, unless there is another one
/// already that isn't to be replaced; the caller's body is let go then. Whether the blob is there.
pub(crate) async fn stage_link(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    body: Option<NewBody>,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let (link, holding, blob) = (
        place.link(digest),
        keys::holding(digest, place.registry),
        keys::blob(digest),
    );
    let found = snapshot
        .get_many(&[link.clone(), holding.clone(), blob.clone()])
        .await?;
    let [found_link, found_holding, found_blob] = found.as_slice() else {
        return Err(LedgerError::Corrupt(
            "a read of three keys gave others".to_owned(),
        ));
    };
    let existing: Option<BlobRecord> = found_blob.as_ref().map(decode).transpose()?;
    let size = match (&existing, body) {
        (Some(existing), _) => existing.size,
        (None, Some(body)) => body.size,
        (None, None) => return Ok(false),
    };
    let replaces = existing
        .as_ref()
        .zip(body)
        .is_some_and(|(existing, body)| body.replaces == Some(existing.body));
    if let (Some(existing), Some(body)) = (&existing, body) {
        if replaces {
            // Who reads it may go on as long as with a blob that is collected.
            stage_due(
                tx,
                later(now, TOMBSTONE_SECONDS),
                &Target::Body { id: existing.body },
            )?;
        } else {
            stage_due(tx, now, &Target::Body { id: body.id })?;
        }
    } else if existing.as_ref().is_some_and(|existing| existing.damaged) {
        // A mount of what is damaged: its client is to push it.
        return Ok(false);
    }
    let record = match (existing, body) {
        (_, Some(body)) if replaces || found_blob.is_none() => BlobRecord {
            size,
            body: body.id,
            tombstone: None,
            damaged: false,
        },
        // A tombstone is lifted: its bytes are there until the row is gone.
        (Some(existing), _) => BlobRecord {
            tombstone: None,
            ..existing
        },
        (None, _) => return Ok(false),
    };
    if replaces {
        tx.require_version(blob.clone(), found_blob.as_ref().map(|found| found.version));
        tx.put(blob.clone(), encode(&record)?);
    }
    let lease = later(now, LINK_LEASE_SECONDS);
    let link_record = encode(&LinkRecord { size, lease })?;
    if found_link.is_some() {
        tx.require_present(link.clone());
        tx.put(link, link_record);
        return Ok(true);
    }
    tx.require_absent(link.clone());
    tx.put(link, link_record);
    tx.put(place.link_of(digest), Vec::new());
    let target = Target::Link {
        registry: place.registry.to_owned(),
        repository: place.repository.to_owned(),
        digest: digest.clone(),
    };
    stage_due(tx, lease, &target)?;
    let length = size.to_be_bytes().to_vec();
    if found_holding.is_some() {
        tx.require_present(holding.clone());
        tx.put(holding, length);
        return Ok(true);
    }
    tx.require_absent(holding.clone());
    tx.put(holding, length);
    usage::stage(tx, place.registry, i64::try_from(size).unwrap_or(i64::MAX));
    tx.require_version(blob.clone(), found_blob.as_ref().map(|found| found.version));
    tx.put(blob, encode(&record)?);
    Ok(true)
}

/// A repository's link, if it has the blob.
pub(crate) async fn link(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<Option<(LinkRecord, Versioned)>, LedgerError> {
    let Some(found) = snapshot.get(&place.link(digest)).await? else {
        return Ok(None);
    };
    Ok(Some((decode(&found)?, found)))
}

/// Whether a manifest of the repository refers to it.
pub(crate) async fn is_in_use(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    child: &Digest,
) -> Result<bool, LedgerError> {
    let mut scan = Scan::new(snapshot, place.edges_to(child), Direction::Forward);
    Ok(scan.next().await?.is_some())
}

/// Removes a link that was found as it is, and has the collection look at what was behind it.
pub(crate) fn stage_unlink(
    tx: &mut Transaction,
    place: Place<'_>,
    digest: &Digest,
    found: &Versioned,
    now: Timestamp,
) -> Result<(), LedgerError> {
    let link = place.link(digest);
    tx.require_version(link.clone(), Some(found.version));
    tx.delete(link);
    tx.delete(place.link_of(digest));
    let target = Target::Holding {
        registry: place.registry.to_owned(),
        digest: digest.clone(),
    };
    stage_due(tx, now, &target)
}

/// A blob that a repository has.
#[derive(Debug, Clone)]
pub(crate) struct FoundBlob {
    pub(crate) size: u64,
    pub(crate) body: Uuid,
}

impl RegistryService {
    /// A blob that a repository has; with `renews` its lease is long enough afterwards that a push which
    /// relies on it finds it.
    pub(crate) async fn find_blob(
        &self,
        place: Place<'_>,
        digest: &Digest,
        renews: bool,
    ) -> Result<FoundBlob, RegistryError> {
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let Some((record, found)) = link(snapshot.as_ref(), place, digest).await? else {
                return Err(ErrorCode::BlobUnknown.into());
            };
            let blob = snapshot.get(&keys::blob(digest)).await?;
            let Some(blob) = blob else {
                return Err(
                    LedgerError::Corrupt(format!("a repository has {digest}, whose bytes are gone")).into(),
                );
            };
            let blob: BlobRecord = decode(&blob)?;
            if renews && blob.damaged {
                // Who is told that it is there leaves it away, and nobody could ever mend it.
                return Err(ErrorCode::BlobUnknown.into());
            }
            let now = self.clock.now();
            let lease = later(now, LINK_LEASE_SECONDS);
            if renews && record.lease < later(lease, -LEASE_RENEWAL_SECONDS) {
                let mut tx = Transaction::new();
                let key = place.link(digest);
                tx.require_version(key.clone(), Some(found.version));
                tx.put(key, encode(&LinkRecord { lease, ..record })?);
                match self.ledger.commit(tx).await {
                    Ok(_) => {}
                    Err(LedgerError::Conflict(_)) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            return Ok(FoundBlob {
                size: blob.size,
                body: blob.body,
            });
        }
        Err(ErrorCode::Unavailable.into())
    }

    /// Links a repository to a blob that another one of the registry has; whether that was possible.
    pub(crate) async fn mount(
        &self,
        place: Place<'_>,
        source: &str,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let from = Place::new(place.registry, source);
            // A mount is no way around a lock against reading.
            let locked = repositories::find(snapshot.as_ref(), from).await?;
            let locked = locked.is_some_and(|found| !found.record.attributes.read);
            if locked || link(snapshot.as_ref(), from, digest).await?.is_none() {
                return Ok(false);
            }
            let mut tx = Transaction::new();
            let now = self.clock.now();
            if !stage_link(&mut tx, snapshot.as_ref(), place, digest, None, now).await? {
                return Ok(false);
            }
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok(true),
                Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ErrorCode::Unavailable.into())
    }

    /// Removes a repository's link to a blob.
    ///
    /// # Errors
    /// `BLOB_UNKNOWN`; `UNSUPPORTED` while a manifest of the repository refers to it.
    pub(crate) async fn unlink(&self, place: Place<'_>, digest: &Digest) -> Result<(), RegistryError> {
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let Some((_, found)) = link(snapshot.as_ref(), place, digest).await? else {
                return Err(ErrorCode::BlobUnknown.into());
            };
            if is_in_use(snapshot.as_ref(), place, digest).await? {
                let text = "a manifest of this repository refers to the blob; delete that first";
                return Err(RegistryError::with(ErrorCode::Unsupported, text));
            }
            let mut tx = Transaction::new();
            stage_unlink(&mut tx, place, digest, &found, self.clock.now())?;
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok(()),
                Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ErrorCode::Unavailable.into())
    }
}
