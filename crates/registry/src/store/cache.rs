//! Repositories that are fetched from another registry as they are pulled.
//!
//! Invariants: what is stored or given has the digest that it was asked for by. A manifest is stored when its blobs are;
//! until then it is passed through, so what is stored is whole. Of the same blob one fetch is under way at a time, and
//! so many of all.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http_semantics::Body;
use tokio::sync::Mutex as AsyncMutex;

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::rules::digest::Digest;
use crate::rules::manifest::{Kind, Manifest};
use crate::rules::webhook::Origin;
use crate::settings::{CacheRule, Registry};
use crate::store::keys::Place;
use crate::store::manifests::{self, Push};
use crate::store::uploads::Stopped;
use crate::store::{links, tags};

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

/// Blobs that are being fetched.
#[derive(Debug, Default)]
pub(crate) struct Fetches(HashMap<String, Arc<AsyncMutex<()>>>);

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

fn unavailable(error: &UpstreamError) -> RegistryError {
    let text = format!("the registry that this repository is fetched from: {error}");
    RegistryError::with(ErrorCode::Unavailable, text)
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

    /// Has what is stored of a manifest be what its source has, or gives that.
    ///
    /// # Errors
    /// `UNAVAILABLE` where the source gives nothing and nothing is stored.
    pub(crate) async fn refresh(
        &self,
        place: Place<'_>,
        source: &Source<'_>,
        wanted: Wanted<'_>,
        origin: &Origin,
    ) -> Result<Served, RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        let upstream = source.rule.upstream.as_ref();
        let (digest, tag) = match wanted {
            Wanted::Digest(digest) => (digest.clone(), None),
            Wanted::Tag(tag) => {
                let stored = tags::find(snapshot.as_ref(), place, tag).await?;
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
                    Err(error) => return Err(unavailable(&error)),
                }
            }
        };
        let tags: Vec<String> = tag.into_iter().collect();
        let found = match manifests::find(snapshot.as_ref(), place, &digest).await? {
            Some(_) if tags.is_empty() => return Ok(Served::Stored),
            Some((record, _)) => UpstreamManifest {
                media_type: record.media_type,
                bytes: manifests::bytes(snapshot.as_ref(), place, &digest).await?,
            },
            None => {
                let fetched = upstream.manifest(&source.repository, &digest).await;
                match fetched.map_err(|error| unavailable(&error))? {
                    Some(found) => found,
                    None => return Ok(Served::Stored),
                }
            }
        };
        drop(snapshot);
        if Digest::of(digest.algorithm(), &found.bytes) != digest {
            let error = UpstreamError("the bytes that came are others".to_owned());
            return Err(unavailable(&error));
        }
        let manifest = Manifest::parse(Some(&found.media_type), &found.bytes)
            .map_err(|malformed| RegistryError::with(ErrorCode::ManifestInvalid, malformed.to_string()))?;
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
            // A client takes of an index what is for its platform.
            is_sparse: true,
        })
        .await
    }

    /// Whether a repository has all blobs of a manifest.
    async fn has_all(&self, place: Place<'_>, manifest: &Manifest) -> Result<bool, RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        for blob in &manifest.blobs {
            if links::link(snapshot.as_ref(), place, &blob.digest)
                .await?
                .is_none()
            {
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
        let (Some(service), Ok(permit)) = (self.this.upgrade(), self.fills.clone().try_acquire_owned())
        else {
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

    /// Fetches a blob, unless it is there; whether it is there then.
    ///
    /// # Errors
    /// `UNAVAILABLE` where the source gives nothing; `DENIED` where it doesn't fit.
    pub(crate) async fn fetch_blob(
        &self,
        place: Place<'_>,
        source: &Source<'_>,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let name = format!("{} {} {digest}", place.registry, place.repository);
        let own = self.fetches.lock().0.entry(name.clone()).or_default().clone();
        let fetched = {
            let _alone = own.lock().await;
            self.fetch_blob_alone(place, source, digest).await
        };
        let mut fetches = self.fetches.lock();
        // The map and this.
        if Arc::strong_count(&own) <= 2 {
            fetches.0.remove(&name);
        }
        fetched
    }

    async fn fetch_blob_alone(
        &self,
        place: Place<'_>,
        source: &Source<'_>,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        if links::link(snapshot.as_ref(), place, digest).await?.is_some() {
            return Ok(true);
        }
        drop(snapshot);
        let _place = self
            .fetching
            .acquire()
            .await
            .map_err(|_| ErrorCode::Unavailable)?;
        let found = source.rule.upstream.blob(&source.repository, digest).await;
        let Some(UpstreamBlob { body, length }) = found.map_err(|error| unavailable(&error))? else {
            return Ok(false);
        };
        let mut session = self.new_session(place, CALLER, digest.algorithm());
        let taken = match self.take_in(source.registry, &mut session, body, length).await {
            Ok(()) => self.complete(place, &mut session, digest).await,
            Err(stopped) => {
                // Nobody goes on with it.
                let _ = self.abandon(&session).await;
                Err(stopped)
            }
        };
        match taken {
            Ok(()) => Ok(true),
            Err(Stopped::Failed(error)) if error.code == ErrorCode::Denied => Err(error),
            Err(Stopped::Failed(error)) => Err(unavailable(&UpstreamError(error.to_string()))),
            Err(Stopped::Overtaken) => Err(ErrorCode::Unavailable.into()),
        }
    }
}
