//! Manifests: their bytes as they came, what they refer to, who refers to them.
//!
//! Invariant: a manifest that was acknowledged has all that it refers to. The push demands each blob's link and
//! writes it again (see `links`), so a collection that removes one meanwhile and this commit never both succeed.

use bytes::Bytes;
use jiff::Timestamp;
use ledger::{Direction, Keyspace, LedgerError, LogRecord, Scan, Snapshot, Transaction, Versioned};
use serde_json::{Value, json};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{CONFIG_BYTES_MAX, LINK_LEASE_SECONDS};
use crate::rules::attributes::Attributes;
use crate::rules::digest::Digest;
use crate::rules::manifest::{Kind, Manifest};
use crate::rules::webhook::{Happening, Origin, WebhookAction};
use crate::store::counts::{self, Counts};
use crate::store::keys::{self, Place};
use crate::store::records::{LinkRecord, ManifestRecord, RepositoryRecord, SetBy, decode, encode};
use crate::store::tags::{self, Order};
use crate::store::{deleted, links, repositories, retention, usage};

/// The kind of the registry's log records.
const EVENT: u8 = 1;

/// Edges to blobs and to manifests, as stored.
pub(crate) const EDGE_BLOB: u8 = 1;
pub(crate) const EDGE_MANIFEST: u8 = 2;

/// What happened, for those who follow the log.
pub(crate) struct Event(Value);

impl Event {
    fn fields(action: &str, place: Place<'_>, digest: &Digest) -> Value {
        json!({
            "action": action, "registry": place.registry, "repository": place.repository,
            "digest": digest.as_str(),
        })
    }

    pub(crate) fn push(place: Place<'_>, digest: &Digest, record: &ManifestRecord, tags: &[String]) -> Self {
        let mut event = Self::fields("push", place, digest);
        if let Value::Object(fields) = &mut event {
            fields.insert("mediaType".to_owned(), json!(record.media_type));
            fields.insert("size".to_owned(), json!(record.size));
            fields.insert("tags".to_owned(), json!(tags));
        }
        Self(event)
    }

    pub(crate) fn untag(place: Place<'_>, digest: &Digest, tag: &str) -> Self {
        let mut event = Self::fields("untag", place, digest);
        if let Value::Object(fields) = &mut event {
            fields.insert("tag".to_owned(), json!(tag));
        }
        Self(event)
    }

    pub(crate) fn delete(place: Place<'_>, digest: &Digest) -> Self {
        Self(Self::fields("delete", place, digest))
    }

    pub(crate) fn restore(place: Place<'_>, digest: &Digest, tag: Option<&str>) -> Self {
        let mut event = Self::fields("restore", place, digest);
        if let (Value::Object(fields), Some(tag)) = (&mut event, tag) {
            fields.insert("tag".to_owned(), json!(tag));
        }
        Self(event)
    }

    pub(crate) fn record(&self) -> LogRecord {
        LogRecord {
            keyspace: Keyspace::Registry,
            kind: EVENT,
            payload: self.0.to_string().into(),
        }
    }
}

/// A manifest, if it is there.
pub(crate) async fn find(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<Option<(ManifestRecord, Versioned)>, LedgerError> {
    let Some(found) = snapshot.get(&place.manifest(digest)).await? else {
        return Ok(None);
    };
    Ok(Some((decode(&found)?, found)))
}

/// A manifest's bytes.
pub(crate) async fn bytes(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<Bytes, LedgerError> {
    let found = snapshot.get(&place.manifest_bytes(digest)).await?;
    let missing = || LedgerError::Corrupt(format!("the bytes of manifest {digest} are gone"));
    found.map(|found| found.value).ok_or_else(missing)
}

/// Which manifests are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) last: Option<&'a str>,
    pub(crate) entries: usize,
    pub(crate) order: Order,
}

/// A page of manifests, and whether more follow.
pub(crate) async fn page(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    wanted: Wanted<'_>,
) -> Result<(Vec<(Digest, ManifestRecord)>, bool), RegistryError> {
    let mut out = Vec::new();
    let by_name = wanted.order == Order::Name;
    let (range, direction) = if by_name {
        let all = || place.manifests();
        (
            wanted.last.map_or_else(all, |last| place.manifests_after(last)),
            Direction::Forward,
        )
    } else {
        let last = match wanted.last.map(|last| (last, tags::parse_time_cursor(last))) {
            None => None,
            Some((_, Some((at, name)))) => {
                let digest = Digest::parse(name).ok_or_else(tags::no_place)?;
                Some(place.manifest_time(at, &digest))
            }
            Some((name, None)) => {
                let digest = Digest::parse(name).ok_or_else(tags::no_place)?;
                let found = find(snapshot, place, &digest).await?;
                let (record, _) = found.ok_or_else(tags::no_place)?;
                Some(place.manifest_time(record.updated, &digest))
            }
        };
        wanted.order.by_time(place.manifests_by_time(), last)
    };
    let mut scan = Scan::new(snapshot, range, direction);
    while let Some(entry) = scan.next().await? {
        let named = if by_name {
            keys::third(&entry.key)
        } else {
            keys::timed_name(&entry.key)
        };
        let Some(digest) = named.as_deref().and_then(Digest::parse) else {
            continue;
        };
        let record: ManifestRecord = if by_name {
            decode(&entry.versioned)?
        } else {
            match find(snapshot, place, &digest).await? {
                Some((record, _)) => record,
                None => continue,
            }
        };
        if !record.attributes.list {
            continue;
        }
        if out.len() == wanted.entries {
            return Ok((out, true));
        }
        out.push((digest, record));
    }
    Ok((out, false))
}

/// A manifest that is pushed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Push<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) manifest: &'a Manifest,
    pub(crate) digest: &'a Digest,
    pub(crate) bytes: &'a Bytes,
    pub(crate) tags: &'a [String],
    pub(crate) origin: &'a Origin,
    /// Who pushes. A cache's clients take of an index what is for their platform, so there manifests that it refers to
    /// may be missing.
    pub(crate) set_by: SetBy,
}

impl RegistryService {
    /// Stores a manifest and points its tags to it, in one commit.
    ///
    /// # Errors
    /// `MANIFEST_BLOB_UNKNOWN` names what it refers to and the repository lacks;
    /// `REGISTRY_DISALLOWED_OPERATION` where a lock forbids it.
    pub(crate) async fn push(&self, push: Push<'_>) -> Result<(), RegistryError> {
        let platform = self.platform(push.place, push.manifest).await;
        let platform = &platform;
        self.attempts(move || async move {
            let tx = self.stage_push(push, platform).await?;
            Ok((tx, ()))
        })
        .await
    }

    async fn stage_push(
        &self,
        push: Push<'_>,
        (architecture, os): &(Option<String>, Option<String>),
    ) -> Result<Transaction, RegistryError> {
        let Push {
            place,
            manifest,
            digest,
            bytes,
            tags: pushed_tags,
            origin,
            set_by,
        } = push;
        let is_sparse = set_by == SetBy::Cache;
        let snapshot = self.ledger.snapshot().await?;
        let snapshot = snapshot.as_ref();
        let now = self.clock.now();
        let mut tx = Transaction::new();
        let repository = repositories::find(snapshot, place).await?;
        repositories::check_writable(repository.as_ref())?;
        tx.require_version(
            place.repository(),
            repository.as_ref().map(|repository| repository.version),
        );
        if repository.is_none() {
            let record = RepositoryRecord {
                created: now,
                attributes: Attributes::default(),
            };
            tx.put(place.repository(), encode(&record)?);
            counts::stage_new(&mut tx, place);
        }
        repositories::stage_updated(&mut tx, place, now);
        stage_references(&mut tx, snapshot, place, (manifest, digest, is_sparse), now).await?;
        let deleted = deleted::find(snapshot, place, digest).await?;
        match &deleted {
            // It is there again, with the bytes that were kept of it.
            Some((record, found)) => deleted::stage_end(&mut tx, place, digest, (record, found)),
            None => tx.require_absent(place.deleted(digest)),
        }
        let size = bytes.len() as u64;
        let found = find(snapshot, place, digest).await?;
        let key = place.manifest(digest);
        tx.require_version(key.clone(), found.as_ref().map(|(_, found)| found.version));
        let before = found.map(|(record, _)| record);
        let record = ManifestRecord {
            media_type: manifest.media_type.clone(),
            size,
            created: before.as_ref().map_or(now, |before| before.created),
            updated: now,
            image_size: manifest.referred_bytes().saturating_add(size),
            subject: manifest.subject.clone(),
            artifact_type: manifest.artifact_type.clone(),
            config_media_type: manifest.config.as_ref().map(|config| config.media_type.clone()),
            architecture: architecture.clone(),
            os: os.clone(),
            attributes: before
                .as_ref()
                .map_or_else(Attributes::default, |before| before.attributes),
        };
        let mut came = Counts::default();
        match before {
            Some(before) => tx.delete(place.manifest_time(before.updated, digest)),
            None => {
                if deleted.is_none() {
                    usage::stage(&mut tx, place.registry, i64::try_from(size).unwrap_or(i64::MAX));
                }
                came.manifests = 1;
            }
        }
        tx.put(key, encode(&record)?);
        tx.put(place.manifest_bytes(digest), bytes.clone());
        tx.put(place.manifest_time(now, digest), Vec::new());
        if let Some(subject) = &manifest.subject {
            let referrer = manifest.referrer(digest, size).to_string();
            tx.put(place.referrer(subject, digest), referrer);
        }
        for tag in pushed_tags {
            self.stage_tag(&mut tx, snapshot, place, (tag, digest, set_by), &mut came)
                .await?;
        }
        if self.retains(place.registry) {
            if pushed_tags.is_empty() {
                retention::stage_lease(&mut tx, snapshot, place, (digest, true), now).await?;
            }
            for child in &manifest.manifests {
                retention::stage_lease(&mut tx, snapshot, place, (&child.digest, false), now).await?;
            }
        }
        counts::stage(&mut tx, place, came, now)?;
        tx.record(Event::push(place, digest, &record, pushed_tags).record());
        let happening = Happening {
            action: WebhookAction::Push,
            repository: place.repository,
            digest,
            media_type: &record.media_type,
            size,
            tags: pushed_tags,
        };
        self.stage_webhooks(&mut tx, place.registry, &happening, origin)?;
        Ok(tx)
    }

    /// The platform that an image's configuration names; nothing where that can't be read.
    async fn platform(&self, place: Place<'_>, manifest: &Manifest) -> (Option<String>, Option<String>) {
        let Some(config) = manifest.config.as_ref().filter(|_| manifest.kind == Kind::Image) else {
            return (None, None);
        };
        if config.size_bytes > CONFIG_BYTES_MAX || !config.media_type.contains("image") {
            return (None, None);
        }
        let Ok(blob) = self.find_blob(place, &config.digest, false).await else {
            return (None, None);
        };
        if blob.size > CONFIG_BYTES_MAX {
            return (None, None);
        }
        let Ok(bytes) = self.small_body(blob.body, blob.size).await else {
            return (None, None);
        };
        let config: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |name: &str| config.get(name).and_then(Value::as_str).map(str::to_owned);
        (text("architecture"), text("os"))
    }

    /// Changes a manifest's locks.
    pub(crate) async fn lock_manifest(
        &self,
        place: Place<'_>,
        digest: &Digest,
        change: &(dyn Fn(Attributes) -> Option<Attributes> + Send + Sync),
    ) -> Result<(), RegistryError> {
        self.attempts(move || async move {
            let snapshot = self.ledger.snapshot().await?;
            let found = find(snapshot.as_ref(), place, digest).await?;
            let (record, found) = found.ok_or(ErrorCode::ManifestUnknown)?;
            let attributes = change(record.attributes).ok_or_else(repositories::unknown_attribute)?;
            let mut tx = Transaction::new();
            let key = place.manifest(digest);
            tx.require_version(key.clone(), Some(found.version));
            tx.put(key, encode(&ManifestRecord { attributes, ..record })?);
            Ok((tx, ()))
        })
        .await
    }
}

/// Demands all that a manifest refers to, and notes that it does. Of a sparse index children may be missing.
pub(crate) async fn stage_references(
    tx: &mut Transaction,
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    (manifest, digest, is_sparse): (&Manifest, &Digest, bool),
    now: Timestamp,
) -> Result<(), RegistryError> {
    // Not less than a lease that somebody else is given meanwhile.
    let lease = links::later(now, LINK_LEASE_SECONDS);
    let blobs: Vec<_> = manifest
        .blobs
        .iter()
        .map(|blob| place.link(&blob.digest))
        .collect();
    let found = snapshot.get_many(&blobs).await?;
    for ((descriptor, key), found) in manifest.blobs.iter().zip(blobs).zip(found) {
        let found = found.ok_or_else(|| unknown(&descriptor.digest))?;
        let record: LinkRecord = decode(&found)?;
        tx.require_present(key.clone());
        tx.put(key, encode(&LinkRecord { lease, ..record })?);
        tx.put(place.edge(&descriptor.digest, digest), vec![EDGE_BLOB]);
    }
    // A layer that lies elsewhere, but was pushed nevertheless, is kept as long as its image.
    for descriptor in &manifest.foreign {
        if let Some((record, _)) = links::link(snapshot, place, &descriptor.digest).await? {
            let key = place.link(&descriptor.digest);
            tx.require_present(key.clone());
            tx.put(key, encode(&LinkRecord { lease, ..record })?);
            tx.put(place.edge(&descriptor.digest, digest), vec![EDGE_BLOB]);
        }
    }
    let children: Vec<_> = manifest
        .manifests
        .iter()
        .map(|child| place.manifest(&child.digest))
        .collect();
    let found = snapshot.get_many(&children).await?;
    for ((descriptor, key), found) in manifest.manifests.iter().zip(children).zip(found) {
        if found.is_some() {
            tx.require_present(key);
            tx.put(place.edge(&descriptor.digest, digest), vec![EDGE_MANIFEST]);
            continue;
        }
        // BuildKit's cache is an index whose entries are layers and a configuration.
        let link = links::link(snapshot, place, &descriptor.digest).await?;
        if link.is_none() && is_sparse {
            // When it comes, it is referred to.
            tx.put(place.edge(&descriptor.digest, digest), vec![EDGE_MANIFEST]);
            continue;
        }
        let (record, _) = link.ok_or_else(|| unknown(&descriptor.digest))?;
        let key = place.link(&descriptor.digest);
        tx.require_present(key.clone());
        tx.put(key, encode(&LinkRecord { lease, ..record })?);
        tx.put(place.edge(&descriptor.digest, digest), vec![EDGE_BLOB]);
    }
    Ok(())
}

fn unknown(digest: &Digest) -> RegistryError {
    RegistryError::from(ErrorCode::ManifestBlobUnknown).about(json!({"digest": digest.as_str()}))
}
