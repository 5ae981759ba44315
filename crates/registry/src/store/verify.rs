//! Checks the registry's records against each other and against the content store.

use content::ContentStore;
use ledger::{Direction, LedgerError, Scan, Snapshot, VerifyReport};
use std::sync::Arc;

use crate::rules::digest::Digest;
use crate::rules::manifest::Manifest;
use crate::store::counts;
use crate::store::keys::{self, Place};
use crate::store::manifests::EDGE_BLOB;
use crate::store::records::{
    BlobRecord, DeletedRecord, LinkRecord, ManifestRecord, Piece, TagRecord, decode,
};
use crate::store::references::ContentReferences;

impl ContentReferences {
    /// Every manifest has its repository, every tag its manifest, every manifest its bytes and the blobs and manifests that it refers to, every
    /// link its holding and its blob, and every blob pieces without a hole whose contents exist.
    ///
    /// # Errors
    /// As the ledger; a fault in the data is a line in the report.
    pub async fn verify(
        &self,
        snapshot: &dyn Snapshot,
        content: &Arc<dyn ContentStore>,
        report: &mut VerifyReport,
    ) -> Result<(), LedgerError> {
        let mut repositories = Scan::new(snapshot, keys::all_repositories(), Direction::Forward);
        while let Some(entry) = repositories.next().await? {
            if let Some((registry, repository)) = keys::place_of(&entry.key) {
                verify_repository(snapshot, Place::new(&registry, &repository), report).await?;
            }
            report.records += 1;
        }
        let mut manifests = Scan::new(snapshot, keys::all_manifests(), Direction::Forward);
        let mut known = None;
        while let Some(entry) = manifests.next().await? {
            let place = keys::place_of(&entry.key);
            if place == known {
                continue;
            }
            if let Some((registry, repository)) = &place
                && snapshot
                    .get(&Place::new(registry, repository).repository())
                    .await?
                    .is_none()
            {
                report.fault(format!(
                    "registry {registry}: {repository}: has manifests, and isn't there"
                ));
            }
            known = place;
        }
        let mut deleted = Scan::new(snapshot, keys::all_deleted(), Direction::Forward);
        while let Some(entry) = deleted.next().await? {
            let digest = keys::third(&entry.key);
            let (Some((registry, repository)), Some(digest)) = (
                keys::place_of(&entry.key),
                digest.as_deref().and_then(Digest::parse),
            ) else {
                report.fault("registry: the key of a soft-deleted manifest can't be read");
                continue;
            };
            let place = Place::new(&registry, &repository);
            let record: DeletedRecord = decode(&entry.versioned)?;
            let named = format!("registry {registry}: {repository}: soft-deleted manifest {digest}");
            if snapshot.get(&place.manifest(&digest)).await?.is_some() {
                report.fault(format!("{named}: is there as well"));
            }
            if snapshot
                .get(&place.deleted_time(record.deleted, &digest, None))
                .await?
                .is_none()
            {
                report.fault(format!("{named}: won't be purged"));
            }
            verify_manifest(
                snapshot,
                place,
                &digest,
                &record.manifest,
                (&named, false),
                report,
            )
            .await?;
            report.records += 1;
        }
        let mut links = Scan::new(snapshot, keys::all_links(), Direction::Forward);
        while let Some(entry) = links.next().await? {
            let digest = keys::third(&entry.key);
            let (Some((registry, repository)), Some(digest)) = (
                keys::place_of(&entry.key),
                digest.as_deref().and_then(Digest::parse),
            ) else {
                report.fault("registry: the key of a link can't be read");
                continue;
            };
            let record: LinkRecord = decode(&entry.versioned)?;
            let place = format!("registry {registry}: {repository}: blob {digest}");
            if snapshot.get(&keys::holding(&digest, &registry)).await?.is_none() {
                report.fault(format!("{place}: isn't counted"));
            }
            match snapshot.get(&keys::blob(&digest)).await? {
                None => report.fault(format!("{place}: has no bytes")),
                Some(found) => {
                    let blob: BlobRecord = decode(&found)?;
                    if blob.size != record.size || blob.tombstone.is_some() {
                        report.fault(format!("{place}: its record is another one's"));
                    }
                    verify_body(snapshot, content, &blob, &place, report).await?;
                }
            }
            report.records += 1;
        }
        Ok(())
    }
}

async fn verify_repository(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    report: &mut VerifyReport,
) -> Result<(), LedgerError> {
    let named = format!("registry {}: {}", place.registry, place.repository);
    let (kept, found) = (
        counts::read(snapshot, place).await?,
        counts::counted(snapshot, place).await?,
    );
    if kept != found {
        report.fault(format!("{named}: has {found:?}, and says {kept:?}"));
    }
    let mut tags = Scan::new(snapshot, place.tags(), Direction::Forward);
    while let Some(entry) = tags.next().await? {
        let record: TagRecord = decode(&entry.versioned)?;
        let tag = keys::third(&entry.key).unwrap_or_default();
        if snapshot.get(&place.manifest(&record.digest)).await?.is_none() {
            report.fault(format!("{named}: tag {tag}: its manifest is missing"));
        }
        if snapshot.get(&place.tag_of(&record.digest, &tag)).await?.is_none() {
            report.fault(format!("{named}: tag {tag}: its manifest doesn't know it"));
        }
        report.records += 1;
    }
    let mut manifests = Scan::new(snapshot, place.manifests(), Direction::Forward);
    while let Some(entry) = manifests.next().await? {
        let record: ManifestRecord = decode(&entry.versioned)?;
        let named = format!(
            "{named}: manifest {}",
            keys::third(&entry.key).unwrap_or_default()
        );
        report.records += 1;
        let Some(digest) = keys::third(&entry.key).as_deref().and_then(Digest::parse) else {
            report.fault(format!("{named}: is no digest"));
            continue;
        };
        verify_manifest(snapshot, place, &digest, &record, (&named, true), report).await?;
    }
    Ok(())
}

/// A manifest that is there (`is_live`), or is soft-deleted: its bytes, and what it refers to.
async fn verify_manifest(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
    record: &ManifestRecord,
    (named, is_live): (&str, bool),
    report: &mut VerifyReport,
) -> Result<(), LedgerError> {
    let Some(bytes) = snapshot.get(&place.manifest_bytes(digest)).await? else {
        report.fault(format!("{named}: its bytes are missing"));
        return Ok(());
    };
    if Digest::of(digest.algorithm(), &bytes.value) != *digest {
        report.fault(format!("{named}: its bytes are others"));
    }
    let Ok(manifest) = Manifest::parse(Some(&record.media_type), &bytes.value) else {
        report.fault(format!("{named}: can't be read"));
        return Ok(());
    };
    for blob in &manifest.blobs {
        if snapshot.get(&place.link(&blob.digest)).await?.is_none() {
            report.fault(format!("{named}: blob {} is missing", blob.digest));
        }
        if snapshot.get(&place.edge(&blob.digest, digest)).await?.is_none() {
            report.fault(format!("{named}: blob {} doesn't know it", blob.digest));
        }
    }
    for child in &manifest.manifests {
        // A manifest may be deleted though an index refers to it; a blob may not.
        let edge = snapshot.get(&place.edge(&child.digest, digest)).await?;
        let is_blob = edge.is_some_and(|edge| edge.value.as_ref() == [EDGE_BLOB]);
        if is_blob && snapshot.get(&place.link(&child.digest)).await?.is_none() {
            report.fault(format!("{named}: blob {} is missing", child.digest));
        }
    }
    if let Some(subject) = manifest.subject.as_ref().filter(|_| is_live)
        && snapshot.get(&place.referrer(subject, digest)).await?.is_none()
    {
        report.fault(format!("{named}: is missing among its subject's referrers"));
    }
    Ok(())
}

async fn verify_body(
    snapshot: &dyn Snapshot,
    content: &Arc<dyn ContentStore>,
    blob: &BlobRecord,
    place: &str,
    report: &mut VerifyReport,
) -> Result<(), LedgerError> {
    let mut end = 0;
    let mut pieces = Scan::new(snapshot, keys::pieces(blob.body), Direction::Forward);
    while let Some(entry) = pieces.next().await? {
        let piece = Piece::decode(&entry.versioned.value)?;
        if keys::piece_offset(&entry.key) != Some(end) {
            report.fault(format!("{place}: has a hole at {end}"));
        }
        end += piece.length();
        if let Piece::Stored { content: id, length } = piece {
            let found = content.info(id).await.ok().map(|info| info.length_bytes);
            if found != Some(length) {
                report.fault(format!(
                    "{place}: content {id} of {length} bytes, found {found:?}"
                ));
            }
            if snapshot.get(&keys::reference(id)).await?.is_none() {
                report.fault(format!("{place}: the reference to content {id} is missing"));
            }
        }
    }
    if end != blob.size {
        report.fault(format!("{place}: has {} bytes, its pieces {end}", blob.size));
    }
    Ok(())
}
