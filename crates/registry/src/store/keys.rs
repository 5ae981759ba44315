//! How the registry's keys are laid out. A registry and a repository are prefixes, so each list is one
//! range and none costs anything while it isn't used.

use content::ContentId;
use jiff::Timestamp;
use ledger::{Key, KeyRange, KeyReader, KeyWriter, Keyspace};
use uuid::Uuid;

use crate::rules::digest::Digest;

const REPOSITORY: u8 = 1;
const UPDATED: u8 = 2;
const TAG: u8 = 3;
const TAG_OF: u8 = 4;
const TAG_TIME: u8 = 5;
const MANIFEST: u8 = 6;
const MANIFEST_BYTES: u8 = 7;
const MANIFEST_TIME: u8 = 8;
const EDGE: u8 = 9;
const REFERRER: u8 = 10;
const LINK: u8 = 11;
const LINK_OF: u8 = 12;
const HOLDING: u8 = 13;
const BLOB: u8 = 14;
const BODY_PIECE: u8 = 15;
const REFERENCE: u8 = 16;
const UPLOAD: u8 = 17;
const USAGE: u8 = 18;
const USAGE_DELTA: u8 = 19;
const DUE: u8 = 20;
const COUNTS: u8 = 21;
const COUNTS_DELTA: u8 = 22;
const UNTAGGED: u8 = 23;
const UNTAGGED_TIME: u8 = 24;
const DELETED: u8 = 25;
const DELETED_TAG: u8 = 26;
const DELETED_TIME: u8 = 27;
const POLICIES: u8 = 28;
const WEBHOOK: u8 = 29;

fn kind(tag: u8) -> KeyWriter {
    KeyWriter::new(Keyspace::Registry).u8(tag)
}

/// A repository of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) registry: &'a str,
    pub(crate) repository: &'a str,
}

impl<'a> Place<'a> {
    pub(crate) fn new(registry: &'a str, repository: &'a str) -> Self {
        Self { registry, repository }
    }

    fn key(self, tag: u8) -> KeyWriter {
        kind(tag).str(self.registry).str(self.repository)
    }

    pub(crate) fn repository(self) -> Key {
        self.key(REPOSITORY).finish()
    }

    /// When the repository last changed. A row of its own, written blindly: no push waits for another.
    pub(crate) fn updated(self) -> Key {
        self.key(UPDATED).finish()
    }

    pub(crate) fn tag(self, tag: &str) -> Key {
        self.key(TAG).str(tag).finish()
    }

    pub(crate) fn tags(self) -> KeyRange {
        KeyRange::prefix(&self.key(TAG).finish())
    }

    /// Tags behind `last`.
    pub(crate) fn tags_after(self, last: &str) -> KeyRange {
        let prefix = self.key(TAG).finish();
        KeyRange::prefix_from(&prefix, self.tag(last).successor())
    }

    pub(crate) fn tag_of(self, digest: &Digest, tag: &str) -> Key {
        self.key(TAG_OF).str(digest.as_str()).str(tag).finish()
    }

    pub(crate) fn tags_of(self, digest: &Digest) -> KeyRange {
        KeyRange::prefix(&self.key(TAG_OF).str(digest.as_str()).finish())
    }

    pub(crate) fn tag_time(self, at: Timestamp, tag: &str) -> Key {
        self.key(TAG_TIME).i64(at.as_microsecond()).str(tag).finish()
    }

    pub(crate) fn tags_by_time(self) -> KeyRange {
        KeyRange::prefix(&self.key(TAG_TIME).finish())
    }

    /// Tags of a manifest behind `last`.
    pub(crate) fn tags_of_after(self, digest: &Digest, last: &str) -> KeyRange {
        let prefix = self.key(TAG_OF).str(digest.as_str()).finish();
        KeyRange::prefix_from(&prefix, self.tag_of(digest, last).successor())
    }

    /// How many manifests and tags there are, but for the deltas.
    pub(crate) fn counts(self) -> Key {
        self.key(COUNTS).finish()
    }

    /// Prefix of what came and went since.
    pub(crate) fn counts_deltas(self) -> Key {
        self.key(COUNTS_DELTA).finish()
    }

    /// Since when a manifest has no tag, as far as that is known.
    pub(crate) fn untagged(self, digest: &Digest) -> Key {
        self.key(UNTAGGED).str(digest.as_str()).finish()
    }

    /// The same by time, for a whole registry.
    pub(crate) fn untagged_time(self, since: Timestamp, digest: &Digest) -> Key {
        kind(UNTAGGED_TIME)
            .str(self.registry)
            .i64(since.as_microsecond())
            .str(self.repository)
            .str(digest.as_str())
            .finish()
    }

    /// A manifest that is soft-deleted.
    pub(crate) fn deleted(self, digest: &Digest) -> Key {
        self.key(DELETED).str(digest.as_str()).finish()
    }

    /// Those behind `last`.
    pub(crate) fn deleted_after(self, last: Option<&str>) -> KeyRange {
        let prefix = self.key(DELETED).finish();
        match last {
            None => KeyRange::prefix(&prefix),
            Some(last) => {
                let start = self.key(DELETED).str(last).finish().successor();
                KeyRange::prefix_from(&prefix, start)
            }
        }
    }

    /// A tag that was taken away, from which manifest, when.
    pub(crate) fn deleted_tag(self, tag: &str, at: Timestamp, digest: &Digest) -> Key {
        self.key(DELETED_TAG)
            .str(tag)
            .i64(at.as_microsecond())
            .str(digest.as_str())
            .finish()
    }

    /// All of them, behind one of them.
    pub(crate) fn deleted_tags(self, last: Option<Key>) -> KeyRange {
        let prefix = self.key(DELETED_TAG).finish();
        match last {
            None => KeyRange::prefix(&prefix),
            Some(last) => KeyRange::prefix_from(&prefix, last.successor()),
        }
    }

    /// Those of one name, the oldest first.
    pub(crate) fn deleted_tags_of(self, tag: &str) -> KeyRange {
        KeyRange::prefix(&self.key(DELETED_TAG).str(tag).finish())
    }

    /// What is soft-deleted, by time, for a whole registry: a manifest, or with a tag that tag.
    pub(crate) fn deleted_time(self, at: Timestamp, digest: &Digest, tag: Option<&str>) -> Key {
        kind(DELETED_TIME)
            .str(self.registry)
            .i64(at.as_microsecond())
            .str(self.repository)
            .str(digest.as_str())
            .str(tag.unwrap_or_default())
            .finish()
    }

    pub(crate) fn manifest(self, digest: &Digest) -> Key {
        self.key(MANIFEST).str(digest.as_str()).finish()
    }

    pub(crate) fn manifests(self) -> KeyRange {
        KeyRange::prefix(&self.key(MANIFEST).finish())
    }

    pub(crate) fn manifests_after(self, last: &str) -> KeyRange {
        let prefix = self.key(MANIFEST).finish();
        KeyRange::prefix_from(&prefix, self.key(MANIFEST).str(last).finish().successor())
    }

    pub(crate) fn manifest_bytes(self, digest: &Digest) -> Key {
        self.key(MANIFEST_BYTES).str(digest.as_str()).finish()
    }

    pub(crate) fn manifest_time(self, at: Timestamp, digest: &Digest) -> Key {
        self.key(MANIFEST_TIME)
            .i64(at.as_microsecond())
            .str(digest.as_str())
            .finish()
    }

    pub(crate) fn manifests_by_time(self) -> KeyRange {
        KeyRange::prefix(&self.key(MANIFEST_TIME).finish())
    }

    /// `parent`, a manifest, refers to `child`.
    pub(crate) fn edge(self, child: &Digest, parent: &Digest) -> Key {
        self.key(EDGE).str(child.as_str()).str(parent.as_str()).finish()
    }

    pub(crate) fn edges_to(self, child: &Digest) -> KeyRange {
        KeyRange::prefix(&self.key(EDGE).str(child.as_str()).finish())
    }

    pub(crate) fn referrer(self, subject: &Digest, manifest: &Digest) -> Key {
        self.key(REFERRER)
            .str(subject.as_str())
            .str(manifest.as_str())
            .finish()
    }

    pub(crate) fn referrers(self, subject: &Digest, after: Option<&str>) -> KeyRange {
        let prefix = self.key(REFERRER).str(subject.as_str()).finish();
        match after {
            None => KeyRange::prefix(&prefix),
            Some(last) => {
                let start = KeyWriter::after(&prefix).str(last).finish().successor();
                KeyRange::prefix_from(&prefix, start)
            }
        }
    }

    /// The repository has the blob.
    pub(crate) fn link(self, digest: &Digest) -> Key {
        self.key(LINK).str(digest.as_str()).finish()
    }

    /// The same the other way round.
    pub(crate) fn link_of(self, digest: &Digest) -> Key {
        kind(LINK_OF)
            .str(self.registry)
            .str(digest.as_str())
            .str(self.repository)
            .finish()
    }
}

/// Repositories of `registry` that have the blob.
pub(crate) fn links_of(registry: &str, digest: &Digest) -> KeyRange {
    KeyRange::prefix(&kind(LINK_OF).str(registry).str(digest.as_str()).finish())
}

/// The repository of such a key.
pub(crate) fn linking_repository(key: &Key, registry: &str, digest: &Digest) -> Option<String> {
    let prefix = kind(LINK_OF).str(registry).str(digest.as_str()).finish();
    KeyReader::after(key, &prefix)?.str()
}

/// Repositories behind `last`.
pub(crate) fn repositories(registry: &str, last: Option<&str>) -> KeyRange {
    let prefix = kind(REPOSITORY).str(registry).finish();
    match last {
        None => KeyRange::prefix(&prefix),
        Some(last) => {
            let start = KeyWriter::after(&prefix).str(last).finish().successor();
            KeyRange::prefix_from(&prefix, start)
        }
    }
}

/// All repositories of all registries.
pub(crate) fn all_repositories() -> KeyRange {
    KeyRange::prefix(&kind(REPOSITORY).finish())
}

/// All manifests of all registries.
pub(crate) fn all_manifests() -> KeyRange {
    KeyRange::prefix(&kind(MANIFEST).finish())
}

/// All links of all registries.
pub(crate) fn all_links() -> KeyRange {
    KeyRange::prefix(&kind(LINK).finish())
}

/// Registry and repository of a key that begins with them.
pub(crate) fn place_of(key: &Key) -> Option<(String, String)> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    Some((reader.str()?, reader.str()?))
}

/// The element of a key behind registry and repository: a tag, a digest.
pub(crate) fn third(key: &Key) -> Option<String> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.str()?;
    reader.str()?;
    reader.str()
}

/// The fourth element: a tag of a digest, a parent of a child, a referrer of a subject.
pub(crate) fn fourth(key: &Key) -> Option<String> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    for _ in 0..3 {
        reader.str()?;
    }
    reader.str()
}

/// What a key by time is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timed {
    pub(crate) at: Timestamp,
    pub(crate) repository: String,
    pub(crate) digest: Digest,
    pub(crate) tag: Option<String>,
}

fn timed(key: &Key) -> Option<(KeyReader<'_>, Timed)> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.str()?;
    let at = Timestamp::from_microsecond(reader.i64()?).ok()?;
    let repository = reader.str()?;
    let digest = Digest::parse(&reader.str()?)?;
    let timed = Timed {
        at,
        repository,
        digest,
        tag: None,
    };
    Some((reader, timed))
}

/// What has no tag, by time, between two times.
pub(crate) fn untagged_between(registry: &str, from: Timestamp, until: Timestamp) -> KeyRange {
    let at = |at: i64| kind(UNTAGGED_TIME).str(registry).i64(at).finish();
    KeyRange::between(
        at(from.as_microsecond()),
        at(until.as_microsecond().saturating_add(1)),
    )
}

/// What such a key is about.
pub(crate) fn untagged_of(key: &Key) -> Option<Timed> {
    timed(key).map(|(_, timed)| timed)
}

/// What was soft-deleted until then.
pub(crate) fn deleted_until(registry: &str, until: Timestamp) -> KeyRange {
    let prefix = kind(DELETED_TIME).str(registry).finish();
    let end = kind(DELETED_TIME)
        .str(registry)
        .i64(until.as_microsecond().saturating_add(1))
        .finish();
    KeyRange::between(prefix, end)
}

/// What such a key is about.
pub(crate) fn deleted_of(key: &Key) -> Option<Timed> {
    let (mut reader, timed) = timed(key)?;
    let tag = reader.str()?;
    Some(Timed {
        tag: Some(tag).filter(|tag| !tag.is_empty()),
        ..timed
    })
}

/// Tag, time and digest of the key of a tag that was taken away.
pub(crate) fn deleted_tag_of(key: &Key) -> Option<(String, Timestamp, Digest)> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.str()?;
    reader.str()?;
    let tag = reader.str()?;
    let at = Timestamp::from_microsecond(reader.i64()?).ok()?;
    Some((tag, at, Digest::parse(&reader.str()?)?))
}

/// Repositories that have something soft-deleted: `tags` says whether tags or manifests. Behind all of `last`.
pub(crate) fn deleted_repositories(registry: &str, tags: bool, last: Option<&str>) -> KeyRange {
    let tag = if tags { DELETED_TAG } else { DELETED };
    let prefix = kind(tag).str(registry).finish();
    let all = KeyRange::prefix(&prefix);
    match last {
        None => all,
        Some(last) => {
            let own = KeyRange::prefix(&KeyWriter::after(&prefix).str(last).finish());
            KeyRange {
                start: own.end.unwrap_or(all.start),
                end: all.end,
            }
        }
    }
}

/// All that is soft-deleted of all registries.
pub(crate) fn all_deleted() -> KeyRange {
    KeyRange::prefix(&kind(DELETED).finish())
}

/// Since when a registry's policies are on.
pub(crate) fn policies(registry: &str) -> Key {
    kind(POLICIES).str(registry).finish()
}

/// A webhook's message that is due at `at`.
pub(crate) fn webhook(registry: &str, name: &str, at: Timestamp, id: Uuid) -> Key {
    kind(WEBHOOK)
        .str(registry)
        .str(name)
        .i64(at.as_microsecond())
        .raw(id.as_bytes())
        .finish()
}

/// A webhook's messages that are due at `now`.
pub(crate) fn webhooks_until(registry: &str, name: &str, now: Timestamp) -> KeyRange {
    let prefix = kind(WEBHOOK).str(registry).str(name).finish();
    let end = kind(WEBHOOK)
        .str(registry)
        .str(name)
        .i64(now.as_microsecond().saturating_add(1))
        .finish();
    KeyRange::between(prefix, end)
}

/// All messages of a registry's webhooks.
pub(crate) fn webhooks(registry: &str) -> KeyRange {
    KeyRange::prefix(&kind(WEBHOOK).str(registry).finish())
}

/// Name and time of a message.
pub(crate) fn webhook_of(key: &Key) -> Option<(String, Timestamp)> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.str()?;
    let name = reader.str()?;
    Some((name, Timestamp::from_microsecond(reader.i64()?).ok()?))
}

/// The id of a message.
pub(crate) fn webhook_id(key: &Key) -> Option<Uuid> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.str()?;
    reader.str()?;
    reader.i64()?;
    Uuid::from_slice(reader.raw(16)?).ok()
}

/// The name behind the time in a list by time.
pub(crate) fn timed_name(key: &Key) -> Option<String> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.str()?;
    reader.str()?;
    reader.i64()?;
    reader.str()
}

/// The registry has the blob, in one repository or several: it counts once.
pub(crate) fn holding(digest: &Digest, registry: &str) -> Key {
    kind(HOLDING).str(digest.as_str()).str(registry).finish()
}

/// Registries that have the blob.
pub(crate) fn holdings(digest: &Digest) -> KeyRange {
    KeyRange::prefix(&kind(HOLDING).str(digest.as_str()).finish())
}

/// A blob's bytes, whoever has it.
pub(crate) fn blob(digest: &Digest) -> Key {
    kind(BLOB).str(digest.as_str()).finish()
}

/// A piece of a body, by where it begins.
pub(crate) fn piece(body: Uuid, offset: u64) -> Key {
    kind(BODY_PIECE).raw(body.as_bytes()).u64(offset).finish()
}

pub(crate) fn pieces(body: Uuid) -> KeyRange {
    KeyRange::prefix(&kind(BODY_PIECE).raw(body.as_bytes()).finish())
}

/// Where a piece begins.
pub(crate) fn piece_offset(key: &Key) -> Option<u64> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.raw(16)?;
    reader.u64()
}

/// The body that a content is a piece of.
pub(crate) fn reference(content: ContentId) -> Key {
    kind(REFERENCE).raw(content.as_bytes()).finish()
}

pub(crate) fn upload(registry: &str, id: Uuid) -> Key {
    kind(UPLOAD).str(registry).raw(id.as_bytes()).finish()
}

pub(crate) fn uploads(registry: &str) -> KeyRange {
    KeyRange::prefix(&kind(UPLOAD).str(registry).finish())
}

/// The id of such a key.
pub(crate) fn upload_id(key: &Key) -> Option<Uuid> {
    let mut reader = KeyReader::new(key, Keyspace::Registry)?;
    reader.u8()?;
    reader.str()?;
    Uuid::from_slice(reader.raw(16)?).ok()
}

/// Bytes that a registry has, but for the deltas.
pub(crate) fn usage(registry: &str) -> Key {
    kind(USAGE).str(registry).finish()
}

/// Prefix of what came and went since; each has a row of its own, so pushes don't wait for each other.
pub(crate) fn usage_deltas(registry: &str) -> Key {
    kind(USAGE_DELTA).str(registry).finish()
}

/// What is to be looked at from `at` on; `target` tells what.
pub(crate) fn due(at: Timestamp, target: &[u8]) -> Key {
    let hash = blake3::hash(target);
    kind(DUE).i64(at.as_microsecond()).raw(hash.as_bytes()).finish()
}

/// What is due at `now`.
pub(crate) fn due_until(now: Timestamp) -> KeyRange {
    let prefix = kind(DUE).finish();
    KeyRange::between(
        prefix,
        kind(DUE).i64(now.as_microsecond().saturating_add(1)).finish(),
    )
}
