//! Uploads: bytes become durable piece by piece, with the state of their hash, so that an upload goes on
//! where it was after a broken connection or a restart.
//!
//! Invariants: a piece is on disk before the commit that counts it. An upload is changed only as it was read,
//! so of two writers one is refused. What is hashed is what was stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_semantics::Body;
use jiff::Timestamp;
use ledger::{Direction, LedgerError, Scan, Sequence, Snapshot, Transaction};
use uuid::Uuid;

use crate::RegistryService;
use crate::error::{ErrorCode, RegistryError};
use crate::limits::{
    BLOB_BYTES_MAX, PIECE_BYTES_MAX, PIECES_MAX, UPLOAD_IDLE_SECONDS_MAX, UPLOAD_REPLACED_SECONDS_MIN,
    UPLOADS_MAX, UPLOADS_PER_CALLER_MAX, WRITE_ATTEMPTS_MAX,
};
use crate::rules::digest::{Algorithm, Digest, Hasher};
use crate::settings::Registry;
use crate::store::bodies::Filling;
use crate::store::keys::{self, Place};
use crate::store::links::{NewBody, later, stage_due, stage_link};
use crate::store::records::{BlobRecord, Piece, Target, UploadRecord, decode, encode};
use crate::store::usage;

/// An upload in a request's hands.
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) record: UploadRecord,
    hasher: Hasher,
    /// The commit that wrote it; `None` if it isn't in the ledger yet.
    version: Option<Sequence>,
    /// What came last and goes into the next commit.
    pending: Option<Piece>,
    registry: String,
}

/// Why bytes weren't all taken in.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Somebody else wrote meanwhile.
    Overtaken,
    /// Anything else; what is durable stays.
    Failed(RegistryError),
}

impl<E: Into<RegistryError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Session {
    /// Bytes that are there, those of the pending piece as well.
    pub(crate) fn length(&self) -> u64 {
        self.record.offset + self.pending.as_ref().map_or(0, Piece::length)
    }

    fn key(&self) -> ledger::Key {
        keys::upload(&self.registry, self.id)
    }

    /// Stages the pending piece.
    fn stage_pending(&mut self, tx: &mut Transaction) {
        if let Some(piece) = self.pending.take() {
            tx.put(keys::piece(self.id, self.record.offset), piece.encode());
            if let Piece::Stored { content, .. } = &piece {
                tx.put(keys::reference(*content), self.id.as_bytes().to_vec());
            }
            self.record.offset += piece.length();
            self.record.pieces += 1;
        }
    }
}

impl RegistryService {
    /// A new upload, not in the ledger yet.
    pub(crate) fn new_session(&self, place: Place<'_>, caller: &str, algorithm: Algorithm) -> Session {
        let now = self.clock.now();
        let hasher = Hasher::new(algorithm);
        Session {
            id: self.random.uuid(),
            record: UploadRecord {
                repository: place.repository.to_owned(),
                caller: caller.to_owned(),
                algorithm,
                hash: STANDARD.encode(hasher.save()),
                offset: 0,
                pieces: 0,
                started: now,
                touched: now,
            },
            hasher,
            version: None,
            pending: None,
            registry: place.registry.to_owned(),
        }
    }

    /// Refuses another upload where there are too many. The caller's own that were left alone for long are given up
    /// first: a push that is cancelled leaves its uploads open, and they would lock a build's account for a day.
    pub(crate) async fn check_uploads(
        &self,
        registry: &Registry,
        caller: Option<&str>,
    ) -> Result<(), RegistryError> {
        let own_name = caller.unwrap_or_default();
        if self.upload_rooms.take(&registry.name, own_name, self.clock.now()) {
            return Ok(());
        }
        for _ in 0..WRITE_ATTEMPTS_MAX {
            let snapshot = self.ledger.snapshot().await?;
            let (_, all, own) = usage::open_uploads(snapshot.as_ref(), &registry.name, own_name).await?;
            let left_of_own = match caller {
                Some(_) => UPLOADS_PER_CALLER_MAX.saturating_sub(own),
                None => UPLOADS_MAX,
            };
            let left = UPLOADS_MAX.saturating_sub(all).min(left_of_own);
            if left > 0 {
                let now = self.clock.now();
                self.upload_rooms.counted(&registry.name, own_name, left - 1, now);
                return Ok(());
            }
            let Some((id, version)) = self.idle_upload(snapshot.as_ref(), registry, own_name).await? else {
                break;
            };
            let key = keys::upload(&registry.name, id);
            let mut tx = Transaction::new();
            tx.require_version(key.clone(), Some(version));
            tx.delete(key);
            stage_due(&mut tx, self.clock.now(), &Target::Body { id })?;
            match self.ledger.commit(tx).await {
                Ok(_) => {
                    tracing::info!(registry = %registry.name, %id, "an idle upload makes way for another one");
                }
                Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let text = "too many uploads are open; finish or cancel some, or wait until idle ones are given up";
        Err(RegistryError::with(ErrorCode::TooManyRequests, text))
    }

    /// The upload of `caller` that was left alone the longest, if that is long enough, and its version.
    async fn idle_upload(
        &self,
        snapshot: &dyn Snapshot,
        registry: &Registry,
        caller: &str,
    ) -> Result<Option<(Uuid, Sequence)>, LedgerError> {
        let mut found: Option<(Timestamp, Uuid, Sequence)> = None;
        let mut scan = Scan::new(snapshot, keys::uploads(&registry.name), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            let record: UploadRecord = decode(&entry.versioned)?;
            let Some(id) = keys::upload_id(&entry.key).filter(|_| record.caller == caller) else {
                continue;
            };
            // A slow request makes what it has durable late, and is at it nevertheless.
            let is_idle = later(record.touched, UPLOAD_REPLACED_SECONDS_MIN) <= self.clock.now()
                && !self.writing.lock().contains(&id);
            if is_idle && found.is_none_or(|(touched, ..)| record.touched < touched) {
                found = Some((record.touched, id, entry.versioned.version));
            }
        }
        Ok(found.map(|(_, id, version)| (id, version)))
    }

    /// An upload of `caller` to a repository.
    ///
    /// # Errors
    /// `BLOB_UPLOAD_UNKNOWN`, also where it is somebody else's.
    pub(crate) async fn session(
        &self,
        place: Place<'_>,
        caller: &str,
        id: Uuid,
    ) -> Result<Session, RegistryError> {
        let snapshot = self.ledger.snapshot().await?;
        let found = snapshot.get(&keys::upload(place.registry, id)).await?;
        let found = found.ok_or(ErrorCode::BlobUploadUnknown)?;
        let record: UploadRecord = decode(&found)?;
        if record.repository != place.repository || record.caller != caller {
            return Err(ErrorCode::BlobUploadUnknown.into());
        }
        let hash = STANDARD.decode(&record.hash).unwrap_or_default();
        let hasher = Hasher::restore(record.algorithm, &hash)
            .ok_or_else(|| LedgerError::Corrupt(format!("the hash of upload {id} can't be read")))?;
        Ok(Session {
            id,
            record,
            hasher,
            version: Some(found.version),
            pending: None,
            registry: place.registry.to_owned(),
        })
    }

    /// Makes what a session has durable.
    pub(crate) async fn save(&self, session: &mut Session) -> Result<(), Stopped> {
        let now = self.clock.now();
        let mut tx = Transaction::new();
        let key = session.key();
        tx.require_version(key.clone(), session.version);
        if session.version.is_none() {
            let target = Target::Upload {
                registry: session.registry.clone(),
                id: session.id,
            };
            stage_due(&mut tx, later(now, UPLOAD_IDLE_SECONDS_MAX), &target)?;
        }
        let pending = session.pending.clone();
        session.stage_pending(&mut tx);
        session.record.touched = now;
        session.record.hash = STANDARD.encode(session.hasher.save());
        tx.put(key, encode(&session.record)?);
        match self.ledger.commit(tx).await {
            Ok(committed) => {
                session.version = Some(committed.sequence);
                Ok(())
            }
            Err(LedgerError::Conflict(_)) => {
                self.forget(pending).await;
                Err(Stopped::Overtaken)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a piece that nothing refers to; if that fails the sweep finds it.
    async fn forget(&self, piece: Option<Piece>) {
        if let Some(Piece::Stored { content, .. }) = piece
            && let Err(error) = self.content.delete(content).await
        {
            tracing::debug!(%error, "a piece of an upload is left to the sweep");
        }
    }

    /// Takes a body in. At its end its last piece is pending; whatever comes of it, all before is durable. Of a
    /// body that broke off everything that came is.
    pub(crate) async fn take_in(
        &self,
        registry: &Registry,
        session: &mut Session,
        mut body: Body,
        expected: Option<u64>,
    ) -> Result<(), Stopped> {
        self.check_quota(registry, expected.unwrap_or(0)).await?;
        let begun = session.length();
        let limit = expected.map_or(BLOB_BYTES_MAX, |expected| begun.saturating_add(expected));
        let mut filling = Filling::new(self.content.clone());
        loop {
            let piece = match body.next_piece().await {
                Ok(Some(piece)) => piece,
                Ok(None) => {
                    session.pending = filling.finish().await?;
                    if expected.is_some_and(|expected| begun + expected != session.length()) {
                        let pending = session.pending.take();
                        self.forget(pending).await;
                        return Err(RegistryError::from(ErrorCode::SizeInvalid).into());
                    }
                    return Ok(());
                }
                Err(error) => {
                    if session.version.is_some() {
                        session.pending = filling.finish().await?;
                        self.save(session).await?;
                    }
                    return Err(error.into());
                }
            };
            let length = session.record.offset + filling.length() + piece.len() as u64;
            if length > limit || length > BLOB_BYTES_MAX || session.record.pieces >= PIECES_MAX {
                let text = "more bytes came than the request's headers say, or than a blob may have";
                return Err(RegistryError::with(ErrorCode::SizeInvalid, text).into());
            }
            session.hasher.update(&piece);
            filling.write(piece).await?;
            if filling.length() >= PIECE_BYTES_MAX {
                session.pending = std::mem::replace(&mut filling, Filling::new(self.content.clone()))
                    .finish()
                    .await?;
                self.save(session).await?;
                self.check_quota(registry, 0).await?;
            }
        }
    }

    /// Gives an upload up.
    pub(crate) async fn abandon(&self, session: &Session) -> Result<(), Stopped> {
        self.forget(session.pending.clone()).await;
        if session.version.is_none() {
            return Ok(());
        }
        let mut tx = Transaction::new();
        tx.require_version(session.key(), session.version);
        tx.delete(session.key());
        stage_due(&mut tx, self.clock.now(), &Target::Body { id: session.id })?;
        match self.ledger.commit(tx).await {
            Ok(_) => Ok(()),
            Err(LedgerError::Conflict(_)) => Err(Stopped::Overtaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Chooses the algorithm of the hash, which costs nothing before the first byte.
    pub(crate) fn choose_algorithm(session: &mut Session, algorithm: Algorithm) {
        if session.length() == 0 && session.record.algorithm != algorithm {
            session.record.algorithm = algorithm;
            session.hasher = Hasher::new(algorithm);
        }
    }

    /// Makes a blob of an upload and links its repository to it.
    ///
    /// # Errors
    /// `DIGEST_INVALID` if the bytes aren't those of `digest`: the upload is gone then, and nothing visible.
    pub(crate) async fn complete(
        &self,
        place: Place<'_>,
        session: &mut Session,
        digest: &Digest,
    ) -> Result<(), Stopped> {
        if session.record.algorithm != digest.algorithm() {
            // Only what is durable can be read again.
            self.save(session).await?;
            session.hasher = self
                .rehash(session.id, session.record.offset, digest.algorithm())
                .await?;
            session.record.algorithm = digest.algorithm();
        }
        if session.hasher.clone().finish() != *digest {
            self.abandon(session).await?;
            return Err(RegistryError::from(ErrorCode::DigestInvalid).into());
        }
        let (pending, record) = (session.pending.clone(), session.record.clone());
        // A body of the blob's that was found sound: it isn't read again where a commit is tried again.
        let mut sound = None;
        for _ in 0..WRITE_ATTEMPTS_MAX {
            session.pending.clone_from(&pending);
            session.record.clone_from(&record);
            let snapshot = self.ledger.snapshot().await?;
            let now = self.clock.now();
            let mut tx = Transaction::new();
            tx.require_version(session.key(), session.version);
            if session.version.is_some() {
                tx.delete(session.key());
            }
            session.stage_pending(&mut tx);
            let replaces = self
                .replaced(snapshot.as_ref(), place, digest, &mut sound)
                .await?;
            let body = NewBody {
                id: session.id,
                size: session.record.offset,
                replaces,
            };
            stage_link(&mut tx, snapshot.as_ref(), place, digest, Some(body), now).await?;
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok(()),
                Err(LedgerError::Conflict(conflict)) if conflict.key == session.key() => {
                    self.forget(pending).await;
                    return Err(Stopped::Overtaken);
                }
                Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryError::from(ErrorCode::Unavailable).into())
    }

    /// Which body of a blob makes way for the one that was pushed: one that is damaged, so that a push mends what is
    /// stored. What the registry doesn't hold yet makes way without being looked at: who pushes what only others have
    /// must not wait any longer than for what nobody has.
    async fn replaced(
        &self,
        snapshot: &dyn Snapshot,
        place: Place<'_>,
        digest: &Digest,
        sound: &mut Option<Uuid>,
    ) -> Result<Option<Uuid>, RegistryError> {
        let Some(existing) = snapshot.get(&keys::blob(digest)).await? else {
            return Ok(None);
        };
        let existing: BlobRecord = decode(&existing)?;
        let held = snapshot
            .get(&keys::holding(digest, place.registry))
            .await?
            .is_some();
        if existing.damaged || !held {
            return Ok(Some(existing.body));
        }
        if *sound == Some(existing.body) || self.is_sound(existing.body, existing.size).await? {
            *sound = Some(existing.body);
            return Ok(None);
        }
        Ok(Some(existing.body))
    }
}
