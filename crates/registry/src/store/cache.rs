//! Repositories that are fetched from another registry as they are pulled.
//!
//! Invariants: what is stored or given has the digest that it was asked for by. A manifest is stored when its blobs are;
//! until then it is passed through, so what is stored is whole. Of the same blob one fetch is under way at a time, and
//! so many of a registry's; a fetch goes on though nobody waits for it any longer, to its end. What was acknowledged to
//! somebody who pushed it is never moved: nobody pushes to such a repository, and a tag from before stays.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http_semantics::Body;
use ledger::Snapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{CACHE_FETCH_SECONDS_MAX, CACHE_FETCHES_MAX, CACHE_FILLS_MAX};
use crate::rules::digest::Digest;
use crate::rules::manifest::{Kind, Manifest};
use crate::rules::webhook::Origin;
use crate::settings::{CacheRule, Registry};
use crate::store::keys::{self, Place};
use crate::store::manifests::{self, Push};
use crate::store::records::{BlobRecord, SetBy, decode};
use crate::store::uploads::{Session, Stopped};
use crate::store::{links, repositories, tags};

/// Whose uploads fetches are: no user has a colon in the name.
const CALLER: &str = "cache:";

/// A manifest of another registry.
#[derive(Debug, Clone)]
pub struct UpstreamManifest {
    /// Its type, as it was sent.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A blob of another registry.
#[derive(Debug)]
pub struct UpstreamBlob {
    /// Its bytes.
    pub body: Body,
    /// How many they are, if that is known.
    pub length: Option<u64>,
}

/// Why another registry gave nothing, in words for people: no secret is in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UpstreamError(pub String);

/// Another registry.
#[async_trait]
pub trait Upstream: std::fmt::Debug + Send + Sync + 'static {
    /// The digest that a tag has there; `None` if there is no such tag.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn digest_of(&self, repository: &str, tag: &str) -> Result<Option<Digest>, UpstreamError>;

    /// A manifest by its digest; `None` if there is none.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<UpstreamManifest>, UpstreamError>;

    /// A blob; `None` if there is none.
    ///
    /// # Errors
    /// [`UpstreamError`].
    async fn blob(&self, repository: &str, digest: &Digest) -> Result<Option<UpstreamBlob>, UpstreamError>;
}

/// A fetch that is under way, for all who wait for it: whether the blob is there then.
type Fetch = Shared<BoxFuture<'static, Result<bool, RegistryError>>>;

/// Blobs that are being fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetches(HashMap<String, Fetch>);

/// A fetch's place among them, to the end of its task, however that ends.
struct Fetching(Arc<RegistryService>, String);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.fetches.lock().0.remove(&self.1);
    }
}

/// How much of a registry may be under way at once: another one's isn't in its way.
#[derive(Debug)]
pub(crate) struct CacheRoom {
    fetches: Arc<Semaphore>,
    fills: Arc<Semaphore>,
}

impl Default for CacheRoom {
    fn default() -> Self {
        Self {
            fetches: Arc::new(Semaphore::new(CACHE_FETCHES_MAX)),
            fills: Arc::new(Semaphore::new(CACHE_FILLS_MAX)),
        }
    }
}

/// A repository's source.
#[derive(Debug, Clone)]
pub(crate) struct Source<'a> {
    rule: &'a CacheRule,
    registry: &'a Registry,
    repository: String,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted<'a> {
    Tag(&'a str),
    Digest(&'a Digest),
}

/// Where a manifest is served from.
#[derive(Debug, Clone)]
pub(crate) enum Served {
    /// From what is stored, if it is there.
    Stored,
    /// As it came.
    Through {
        digest: Digest,
        media_type: String,
        bytes: Bytes,
    },
}

/// What a client is told. What exactly is wrong elsewhere is for the log: it may name what is nobody's business.
fn unavailable(place: Place<'_>, error: &dyn std::fmt::Display) -> RegistryError {
    // Who may pull causes it, as often as they like: no warning.
    tracing::info!(registry = place.registry, repository = place.repository, %error,
        "the registry that a repository is fetched from gives nothing");
    let text = "the registry that this repository is fetched from doesn't give this now; the log says why";
    RegistryError::with(ErrorCode::Unavailable, text)
}

/// Whether a repository has a blob that isn't known to be damaged: one that is, is fetched again, which mends it.
async fn has_sound(
    snapshot: &dyn Snapshot,
    place: Place<'_>,
    digest: &Digest,
) -> Result<bool, RegistryError> {
    if links::link(snapshot, place, digest).await?.is_none() {
        return Ok(false);
    }
    match snapshot.get(&keys::blob(digest)).await? {
        Some(found) => Ok(!decode::<BlobRecord>(&found)?.damaged),
        None => Ok(false),
    }
}

impl RegistryService {
    /// Where a repository is fetched from, if it is.
    pub(crate) fn source_of(&self, place: Place<'_>) -> Option<Source<'_>> {
        let registry = self.settings.by_name(place.registry)?;
        registry.cache.iter().find_map(|rule| {
            let repository = rule.names.source_of(place.repository)?;
            Some(Source {
                rule,
                registry,
                repository,
            })
        })
    }

    /// Refuses a push to a repository that is fetched from elsewhere: what was acknowledged would make way for what is
    /// there.
    ///
    /// # Errors
    /// `DENIED`.
    pub(crate) fn check_pushable(&self, place: Place<'_>) -> Result<(), RegistryError> {
        match self.source_of(place) {
            None => Ok(()),
            Some(_) => {
                let text =
                    "this repository is a cache of another registry's; push to that, or to another name here";
                Err(RegistryError::with(ErrorCode::Denied, text))
            }
        }
    }

    /// Has what is stored of a manifest be what its source has, or gives that. Locks hold before the source is asked.
    ///
    /// # Errors
    /// `UNAVAILABLE` where the source gives nothing and nothing is stored; `REGISTRY_DISALLOWED_OPERATION` where a lock
    /// forbids to read.
    pub(crate) async fn refresh(
        &self,
        place: Place<'_>,
        source: &Source<'_>,
        wanted: Wanted<'_>,
        origin: &Origin,
    ) -> Result<Served, RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        let upstream = source.rule.upstream.as_ref();
        let repository = repositories::find(snapshot.as_ref(), place).await?;
        repositories::check_readable(repository.as_ref())?;
        if repositories::check_writable(repository.as_ref()).is_err() {
            return Ok(Served::Stored);
        }
        let (digest, tag) = match wanted {
            Wanted::Digest(digest) => (digest.clone(), None),
            Wanted::Tag(tag) => {
                let stored = tags::find(snapshot.as_ref(), place, tag).await?;
                if let Some((record, _)) = &stored {
                    if !record.attributes.read {
                        return Err(ErrorCode::OperationDisallowed.into());
                    }
                    if !record.attributes.write || record.set_by != SetBy::Cache {
                        return Ok(Served::Stored);
                    }
                }
                match upstream.digest_of(&source.repository, tag).await {
                    Ok(Some(digest)) => {
                        if stored.is_some_and(|(record, _)| record.digest == digest) {
                            return Ok(Served::Stored);
                        }
                        (digest, Some(tag.to_owned()))
                    }
                    Ok(None) => return Ok(Served::Stored),
                    Err(error) if stored.is_some() => {
                        tracing::warn!(repository = place.repository, tag, %error,
                            "what is stored is served, as its source gives nothing");
                        return Ok(Served::Stored);
                    }
                    Err(error) => return Err(unavailable(place, &error)),
                }
            }
        };
        let tags: Vec<String> = tag.into_iter().collect();
        let found = match manifests::find(snapshot.as_ref(), place, &digest).await? {
            Some((record, _)) if !record.attributes.read => {
                return Err(ErrorCode::OperationDisallowed.into());
            }
            Some(_) if tags.is_empty() => return Ok(Served::Stored),
            Some((record, _)) => UpstreamManifest {
                media_type: record.media_type,
                bytes: manifests::bytes(snapshot.as_ref(), place, &digest).await?,
            },
            None => {
                let fetched = upstream.manifest(&source.repository, &digest).await;
                match fetched.map_err(|error| unavailable(place, &error))? {
                    Some(found) => found,
                    None => return Ok(Served::Stored),
                }
            }
        };
        drop(snapshot);
        if Digest::of(digest.algorithm(), &found.bytes) != digest {
            return Err(unavailable(place, &"the bytes that came are others"));
        }
        let manifest = Manifest::parse(Some(&found.media_type), &found.bytes)
            .map_err(|malformed| unavailable(place, &malformed))?;
        if manifest.kind == Kind::Index || self.has_all(place, &manifest).await? {
            let size = found.bytes.len() as u64;
            let stored = match self.check_quota(source.registry, size).await {
                Ok(()) => {
                    self.store(place, (&manifest, &digest, &found.bytes), &tags, origin)
                        .await
                }
                Err(error) => Err(error),
            };
            match stored {
                Ok(()) => return Ok(Served::Stored),
                Err(error) => {
                    tracing::warn!(repository = place.repository, %digest, %error,
                        "a manifest can't be stored; it is passed through");
                }
            }
        } else {
            self.fill(
                place,
                (manifest, digest.clone(), found.bytes.clone()),
                tags,
                origin,
            );
        }
        Ok(Served::Through {
            digest,
            media_type: found.media_type,
            bytes: found.bytes,
        })
    }

    async fn store(
        &self,
        place: Place<'_>,
        (manifest, digest, bytes): (&Manifest, &Digest, &Bytes),
        tags: &[String],
        origin: &Origin,
    ) -> Result<(), RegistryError> {
        self.push(Push {
            place,
            manifest,
            digest,
            bytes,
            tags,
            origin,
            set_by: SetBy::Cache,
        })
        .await
    }

    /// Whether a repository has all blobs of a manifest.
    async fn has_all(&self, place: Place<'_>, manifest: &Manifest) -> Result<bool, RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        for blob in &manifest.blobs {
            if !has_sound(snapshot.as_ref(), place, &blob.digest).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Fetches all blobs of a manifest and stores it then, while its client goes on. If too much is under way, the
    /// client's own requests for the blobs fetch them, and a later one for the manifest stores it.
    fn fill(
        &self,
        place: Place<'_>,
        (manifest, digest, bytes): (Manifest, Digest, Bytes),
        tags: Vec<String>,
        origin: &Origin,
    ) {
        let room = self.cache_rooms.get(place.registry);
        let permit = room.and_then(|room| room.fills.clone().try_acquire_owned().ok());
        let (Some(service), Some(permit)) = (self.this.upgrade(), permit) else {
            return;
        };
        let (registry, repository) = (place.registry.to_owned(), place.repository.to_owned());
        let origin = origin.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let place = Place::new(&registry, &repository);
            let filled = async {
                let source = service.source_of(place).ok_or(ErrorCode::NameUnknown)?;
                for blob in &manifest.blobs {
                    service.fetch_blob(place, &source, &blob.digest).await?;
                }
                service
                    .store(place, (&manifest, &digest, &bytes), &tags, &origin)
                    .await
            };
            if let Err(error) = filled.await {
                tracing::warn!(registry, repository, %digest, %error, "an image can't be stored; it is passed through");
            }
        });
    }

    /// Whether some blob is being fetched from elsewhere.
    #[must_use]
    pub fn is_fetching(&self) -> bool {
        !self.fetches.lock().0.is_empty()
    }

    /// Fetches a blob, unless it is there; whether it is there then. Whoever stops waiting stops nobody else's fetch.
    ///
    /// # Errors
    /// `UNAVAILABLE` where the source gives nothing; `DENIED` where it doesn't fit.
    pub(crate) async fn fetch_blob(
        &self,
        place: Place<'_>,
        source: &Source<'_>,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        {
            let snapshot = self.ledger.snapshot().await?;
            if has_sound(snapshot.as_ref(), place, digest).await? {
                return Ok(true);
            }
            let repository = repositories::find(snapshot.as_ref(), place).await?;
            if repositories::check_writable(repository.as_ref()).is_err() {
                // Nothing is to come into it.
                return Ok(links::link(snapshot.as_ref(), place, digest).await?.is_some());
            }
        }
        let name = format!("{} {} {digest}", place.registry, place.repository);
        let known = self.fetches.lock().0.get(&name).cloned();
        let fetch = match known {
            Some(fetch) => fetch,
            None => {
                // So many tasks at most, whatever becomes of who waits.
                let room = self.cache_rooms.get(place.registry);
                let room = room.ok_or(ErrorCode::Unavailable)?.fetches.clone();
                let permit = room.acquire_owned().await.map_err(|_| ErrorCode::Unavailable)?;
                self.begin_fetch(place, source, digest, (name, permit))?
            }
        };
        fetch.await
    }

    /// The fetch of a blob that is under way, or else a new one.
    fn begin_fetch(
        &self,
        place: Place<'_>,
        source: &Source<'_>,
        digest: &Digest,
        (name, permit): (String, OwnedSemaphorePermit),
    ) -> Result<Fetch, RegistryError> {
        let service = self.this.upgrade().ok_or(ErrorCode::Unavailable)?;
        let (registry, repository) = (place.registry.to_owned(), place.repository.to_owned());
        let (upstream, from, digest) = (
            source.rule.upstream.clone(),
            source.repository.clone(),
            digest.clone(),
        );
        let mut fetches = self.fetches.lock();
        if let Some(known) = fetches.0.get(&name) {
            return Ok(known.clone());
        }
        let own_name = name.clone();
        let task = tokio::spawn(async move {
            let fetching = Fetching(service, own_name);
            let _permit = permit;
            let place = Place::new(&registry, &repository);
            fetching
                .0
                .fetch_blob_alone(place, (upstream.as_ref(), &from), &digest)
                .await
        });
        let fetch = async move { task.await.unwrap_or_else(|_| Err(ErrorCode::Unavailable.into())) };
        let fetch = fetch.boxed().shared();
        fetches.0.insert(name, fetch.clone());
        Ok(fetch)
    }

    async fn fetch_blob_alone(
        &self,
        place: Place<'_>,
        (upstream, from): (&dyn Upstream, &str),
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        if has_sound(snapshot.as_ref(), place, digest).await? {
            return Ok(true);
        }
        drop(snapshot);
        let mut session = self.new_session(place, CALLER, digest.algorithm());
        let fetched = self.take_from(place, (upstream, from), digest, &mut session);
        let fetched = tokio::time::timeout(Duration::from_secs(CACHE_FETCH_SECONDS_MAX), fetched).await;
        let fetched =
            fetched.unwrap_or_else(|_| Err(unavailable(place, &"a blob comes for too long").into()));
        let stopped = match fetched {
            Ok(is_there) => return Ok(is_there),
            Err(stopped) => stopped,
        };
        // Nobody goes on with it. Where it was completed nevertheless, it is as it was no longer, and this does nothing.
        let _ = self.abandon(&session).await;
        match stopped {
            Stopped::Failed(error) if matches!(error.code, ErrorCode::Denied | ErrorCode::Unavailable) => {
                Err(error)
            }
            Stopped::Failed(error) => Err(unavailable(place, &error)),
            Stopped::Overtaken => Err(ErrorCode::Unavailable.into()),
        }
    }

    /// Takes a blob in; whether its source has it.
    async fn take_from(
        &self,
        place: Place<'_>,
        (upstream, from): (&dyn Upstream, &str),
        digest: &Digest,
        session: &mut Session,
    ) -> Result<bool, Stopped> {
        let registry = self.settings.by_name(place.registry);
        let registry = registry.ok_or(RegistryError::from(ErrorCode::NameUnknown))?;
        let found = upstream.blob(from, digest).await;
        let Some(UpstreamBlob { body, length }) = found.map_err(|error| unavailable(place, &error))? else {
            return Ok(false);
        };
        self.take_in(registry, session, body, length).await?;
        self.complete(place, session, digest).await?;
        Ok(true)
    }
}
