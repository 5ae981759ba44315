//! Keys of the blob service. The first element tells the kind.
//!
//! A container has a generation, 16 random bytes, that its blobs' keys begin with: a container
//! that is deleted and made anew is empty at once, and the old blobs are purged in the background.

use content::ContentId;
use jiff::Timestamp;
use ledger::{Key, KeyRange, KeyReader, KeyWriter, Keyspace};

use crate::limits::{BLOB_NAME_KEY_BYTES_MAX, SNAPSHOT_TICK_NANOSECONDS};
use crate::store::deleted_containers::DeletedVersion;
use crate::store::records::{BlobRecord, PagesRecord};

/// A container's generation.
pub(crate) type Generation = [u8; 16];

/// A map of pages, which a page blob and its snapshots share.
pub(crate) type MapId = [u8; 16];

const CONTAINER: u8 = 1;
const BLOB: u8 = 2;
const INLINE: u8 = 3;
const BLOCK: u8 = 4;
const SNAPSHOT: u8 = 5;
const REFERENCE: u8 = 6;
const DROPPED: u8 = 7;
const PURGE: u8 = 8;
const TAG: u8 = 9;
const SERVICE: u8 = 10;
const EXPIRY: u8 = 11;
const SEGMENT: u8 = 12;
const PIECE: u8 = 13;
const MAP_OWNER: u8 = 14;
const MAP_SWEEP: u8 = 15;
const MAP_RELEASE: u8 = 16;
const MAP_COPY: u8 = 17;
const DELETED_CONTAINER: u8 = 18;
const CONTAINER_EXPIRY: u8 = 19;
const PROTECTED: u8 = 20;
const UPLOAD: u8 = 21;
const UPLOAD_EXPIRY: u8 = 22;
const CHANGE_FEED: u8 = 24;
const LIFECYCLE: u8 = 25;

fn kind(tag: u8) -> KeyWriter {
    KeyWriter::new(Keyspace::Blobs).u8(tag)
}

pub(crate) fn container(account: &str, name: &str) -> Key {
    kind(CONTAINER).str(account).str(name).finish()
}

/// What an account's clients set for all of its blobs.
pub(crate) fn service(account: &str) -> Key {
    kind(SERVICE).str(account).finish()
}

/// An account's runs of its lifecycle rules.
pub(crate) fn lifecycle(account: &str) -> Key {
    kind(LIFECYCLE).str(account).finish()
}

/// How far an account's change feed is.
pub(crate) fn change_feed(account: &str) -> Key {
    kind(CHANGE_FEED).str(account).finish()
}

pub(crate) fn all_change_feeds() -> KeyRange {
    KeyRange::prefix(&kind(CHANGE_FEED).finish())
}

/// The account of a change feed's key.
pub(crate) fn change_feed_account(key: &Key) -> Option<String> {
    let mut reader = KeyReader::new(key, Keyspace::Blobs)?;
    reader.u8()?;
    reader.str()
}

pub(crate) fn containers(account: &str, prefix: &str) -> KeyRange {
    KeyRange::prefix(&open_ended(kind(CONTAINER).str(account), prefix))
}

/// A container that was deleted.
pub(crate) fn deleted_container(account: &str, name: &str, version: DeletedVersion) -> Key {
    kind(DELETED_CONTAINER)
        .str(account)
        .str(name)
        .u64(version.0)
        .finish()
}

/// Those that had a name, oldest first.
pub(crate) fn deleted_containers_of(account: &str, name: &str) -> KeyRange {
    KeyRange::prefix(&kind(DELETED_CONTAINER).str(account).str(name).finish())
}

pub(crate) fn deleted_containers(account: &str, prefix: &str) -> KeyRange {
    KeyRange::prefix(&open_ended(kind(DELETED_CONTAINER).str(account), prefix))
}

pub(crate) fn all_deleted_containers() -> KeyRange {
    KeyRange::prefix(&kind(DELETED_CONTAINER).finish())
}

/// That a deleted container goes at a time.
pub(crate) fn container_expiry(until: Timestamp, deleted: &Key) -> Key {
    let behind_kind = deleted.as_bytes().get(2..).unwrap_or_default();
    kind(CONTAINER_EXPIRY).i64(ticks(until)).raw(behind_kind).finish()
}

/// Deleted containers whose time is over.
pub(crate) fn expired_containers(now: Timestamp) -> KeyRange {
    let whole = KeyRange::prefix(&kind(CONTAINER_EXPIRY).finish());
    KeyRange {
        start: whole.start,
        end: Some(kind(CONTAINER_EXPIRY).i64(ticks(now)).finish()),
    }
}

/// The key of the deleted container that goes.
pub(crate) fn expiring_container(expiry: &Key) -> Option<Key> {
    Some(kind(DELETED_CONTAINER).raw(expiry.as_bytes().get(10..)?).finish())
}

pub(crate) fn all_containers() -> KeyRange {
    KeyRange::prefix(&kind(CONTAINER).finish())
}

pub(crate) fn blob(generation: &Generation, name: &str) -> Key {
    kind(BLOB)
        .raw(generation)
        .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX)
        .finish()
}

/// Blobs whose name begins with `prefix`.
pub(crate) fn blobs(generation: &Generation, prefix: &str) -> KeyRange {
    KeyRange::prefix(&open_ended(kind(BLOB).raw(generation), prefix))
}

/// The content of a small blob, or of a state below its name.
pub(crate) fn inline(generation: &Generation, name: &str, below: Option<Timestamp>) -> Key {
    let key = kind(INLINE)
        .raw(generation)
        .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX);
    match below {
        Some(at) => key.i64(ticks(at)).finish(),
        None => key.finish(),
    }
}

/// A state below a blob's name: a snapshot, a previous version, or what is kept of one that was deleted.
pub(crate) fn snapshot(generation: &Generation, name: &str, at: Timestamp) -> Key {
    kind(SNAPSHOT)
        .raw(generation)
        .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX)
        .i64(ticks(at))
        .finish()
}

/// Every state below a blob's name, oldest first.
pub(crate) fn snapshots_of(generation: &Generation, name: &str) -> KeyRange {
    KeyRange::prefix(
        &kind(SNAPSHOT)
            .raw(generation)
            .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX)
            .finish(),
    )
}

/// The states below the names that begin with `prefix`.
pub(crate) fn snapshots(generation: &Generation, prefix: &str) -> KeyRange {
    KeyRange::prefix(&open_ended(kind(SNAPSHOT).raw(generation), prefix))
}

/// The key of a record: a blob's, or that of a state below its name.
pub(crate) fn state(generation: &Generation, record: &BlobRecord) -> Key {
    match record.below() {
        Some(at) => snapshot(generation, &record.name, at),
        None => blob(generation, &record.name),
    }
}

/// That a deleted state goes at a time.
pub(crate) fn expiry(until: Timestamp, state: &Key) -> Key {
    let behind_kind = state.as_bytes().get(2..).unwrap_or_default();
    kind(EXPIRY).i64(ticks(until)).raw(behind_kind).finish()
}

/// Deleted states whose time is over.
pub(crate) fn expired(now: Timestamp) -> KeyRange {
    let whole = KeyRange::prefix(&kind(EXPIRY).finish());
    KeyRange {
        start: whole.start,
        end: Some(kind(EXPIRY).i64(ticks(now)).finish()),
    }
}

/// The key of the state that goes.
pub(crate) fn expiring_state(expiry: &Key) -> Option<Key> {
    Some(kind(SNAPSHOT).raw(expiry.as_bytes().get(10..)?).finish())
}

/// Where the content of a small state is.
pub(crate) fn inline_of_state(state: &Key) -> Option<Key> {
    Some(kind(INLINE).raw(state.as_bytes().get(2..)?).finish())
}

/// What a listing compares of a state's key: all but its time.
pub(crate) fn name_of_state(state: &Key) -> &[u8] {
    let behind = behind_generation(state);
    behind.get(..behind.len().saturating_sub(8)).unwrap_or_default()
}

/// A time in the protocol's units. Those that a snapshot can have fit into 64 bits.
fn ticks(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond() / SNAPSHOT_TICK_NANOSECONDS).unwrap_or(i64::MAX)
}

pub(crate) fn block(generation: &Generation, name: &str, id: &str) -> Key {
    kind(BLOCK)
        .raw(generation)
        .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX)
        .str(id)
        .finish()
}

/// Every staged block of a blob.
pub(crate) fn blocks(generation: &Generation, name: &str) -> KeyRange {
    KeyRange::prefix(
        &kind(BLOCK)
            .raw(generation)
            .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX)
            .finish(),
    )
}

/// That a container has, or had, a state with an immutability policy or a legal hold.
pub(crate) fn protected(generation: &Generation) -> Key {
    kind(PROTECTED).raw(generation).finish()
}

/// A name that has staged blocks.
pub(crate) fn upload(generation: &Generation, name: &str) -> Key {
    kind(UPLOAD)
        .raw(generation)
        .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX)
        .finish()
}

/// Names with staged blocks that begin with `prefix`.
pub(crate) fn uploads(generation: &Generation, prefix: &str) -> KeyRange {
    KeyRange::prefix(&open_ended(kind(UPLOAD).raw(generation), prefix))
}

/// The staged blocks of the name in an upload's key.
pub(crate) fn blocks_of_upload(upload: &Key) -> KeyRange {
    let behind_kind = upload.as_bytes().get(2..).unwrap_or_default();
    KeyRange::prefix(&kind(BLOCK).raw(behind_kind).finish())
}

/// That the staged blocks of a name go at a time.
pub(crate) fn upload_expiry(until: Timestamp, upload: &Key) -> Key {
    let behind_kind = upload.as_bytes().get(2..).unwrap_or_default();
    kind(UPLOAD_EXPIRY).i64(ticks(until)).raw(behind_kind).finish()
}

/// Names whose staged blocks' time is over.
pub(crate) fn expired_uploads(now: Timestamp) -> KeyRange {
    let whole = KeyRange::prefix(&kind(UPLOAD_EXPIRY).finish());
    KeyRange {
        start: whole.start,
        end: Some(kind(UPLOAD_EXPIRY).i64(ticks(now)).finish()),
    }
}

/// The key of the name whose blocks go.
pub(crate) fn expiring_upload(expiry: &Key) -> Option<Key> {
    Some(kind(UPLOAD).raw(expiry.as_bytes().get(10..)?).finish())
}

/// Everything of a container's generation: ranges of blobs, snapshots, inline contents, blocks, tags, names with
/// staged blocks.
pub(crate) fn generation(generation: &Generation) -> [KeyRange; 6] {
    [BLOB, SNAPSHOT, INLINE, BLOCK, TAG, UPLOAD]
        .map(|tag| KeyRange::prefix(&kind(tag).raw(generation).finish()))
}

/// A tag of a blob in the index.
pub(crate) fn tag(generation: &Generation, key: &str, value: &str, name: &str) -> Key {
    kind(TAG)
        .raw(generation)
        .str(key)
        .str(value)
        .str_bounded(name, BLOB_NAME_KEY_BYTES_MAX)
        .finish()
}

/// Every blob that has a tag, whatever its value.
pub(crate) fn tag_key(generation: &Generation, key: &str) -> KeyRange {
    KeyRange::prefix(&kind(TAG).raw(generation).str(key).finish())
}

/// Every blob that has a tag with a value.
pub(crate) fn tag_value(generation: &Generation, key: &str, value: &str) -> KeyRange {
    KeyRange::prefix(&kind(TAG).raw(generation).str(key).str(value).finish())
}

/// The index's entry whose key ends in `behind_generation`.
pub(crate) fn tag_entry(generation: &Generation, behind_generation: &[u8]) -> Key {
    kind(TAG).raw(generation).raw(behind_generation).finish()
}

/// What of a key comes behind its container's generation.
pub(crate) fn behind_generation(key: &Key) -> &[u8] {
    key.as_bytes()
        .get(2 + size_of::<Generation>()..)
        .unwrap_or_default()
}

/// `owner`'s reference to a content.
pub(crate) fn reference(content: ContentId, owner: &Key) -> Key {
    kind(REFERENCE)
        .raw(content.as_bytes())
        .raw(&short_hash(owner))
        .finish()
}

/// Every reference to a content.
pub(crate) fn references(content: ContentId) -> KeyRange {
    KeyRange::prefix(&kind(REFERENCE).raw(content.as_bytes()).finish())
}

pub(crate) fn all_references() -> KeyRange {
    KeyRange::prefix(&kind(REFERENCE).finish())
}

/// The content of a reference's key.
pub(crate) fn referenced_content(key: &Key) -> Option<ContentId> {
    let bytes = key.as_bytes().get(2..18)?;
    bytes.try_into().ok().map(ContentId::from_bytes)
}

/// A content that lost a reference and may be unreferenced now.
pub(crate) fn dropped(content: ContentId) -> Key {
    kind(DROPPED).raw(content.as_bytes()).finish()
}

pub(crate) fn all_dropped() -> KeyRange {
    KeyRange::prefix(&kind(DROPPED).finish())
}

/// The content of a dropped key.
pub(crate) fn dropped_content(key: &Key) -> Option<ContentId> {
    let bytes = key.as_bytes().get(2..)?;
    bytes.try_into().ok().map(ContentId::from_bytes)
}

/// A segment of a map, as the owner of its contents; the keys of its versions begin with it.
pub(crate) fn segment(map: &MapId, number: u64) -> Key {
    kind(SEGMENT).raw(map).u64(number).finish()
}

/// A segment as it was written at an epoch.
pub(crate) fn segment_at(map: &MapId, number: u64, epoch: u64) -> Key {
    KeyWriter::after(&segment(map, number)).u64(epoch).finish()
}

/// A segment's versions up to an epoch.
pub(crate) fn segment_versions(map: &MapId, number: u64, epoch: u64) -> KeyRange {
    let start = segment_at(map, number, 0);
    KeyRange::between(start, segment_at(map, number, epoch.saturating_add(1)))
}

/// Every version of a map's segments from a number on.
pub(crate) fn segments(map: &MapId, from: u64) -> KeyRange {
    KeyRange::prefix_from(&kind(SEGMENT).raw(map).finish(), segment(map, from))
}

/// The same, from a version of that segment on.
pub(crate) fn segments_from(map: &MapId, number: u64, epoch: u64) -> KeyRange {
    KeyRange::prefix_from(&kind(SEGMENT).raw(map).finish(), segment_at(map, number, epoch))
}

pub(crate) fn all_segments() -> KeyRange {
    KeyRange::prefix(&kind(SEGMENT).finish())
}

/// Map, segment and epoch of a version's key.
pub(crate) fn segment_version(key: &Key) -> Option<(MapId, u64, u64)> {
    numbered(key)
}

/// A map and two numbers behind it.
fn numbered(key: &Key) -> Option<(MapId, u64, u64)> {
    let (map, rest) = key.as_bytes().get(2..)?.split_first_chunk::<16>()?;
    let (first, second) = rest.split_first_chunk::<8>()?;
    let second = second.try_into().ok()?;
    Some((*map, u64::from_be_bytes(*first), u64::from_be_bytes(second)))
}

/// Bytes of a segment that lie in the ledger.
pub(crate) fn piece(map: &MapId, segment: u64, number: u64) -> Key {
    kind(PIECE).raw(map).u64(segment).u64(number).finish()
}

/// Every piece of every map.
pub(crate) fn all_pieces() -> KeyRange {
    KeyRange::prefix(&kind(PIECE).finish())
}

/// Map, segment and number of a piece's key.
pub(crate) fn piece_number(key: &Key) -> Option<(MapId, u64, u64)> {
    numbered(key)
}

/// That a state has the pages of a map at an epoch.
pub(crate) fn map_owner(pages: &PagesRecord, state: &Key) -> Key {
    kind(MAP_OWNER)
        .raw(&pages.map)
        .u64(pages.epoch)
        .raw(&short_hash(state))
        .finish()
}

/// Everybody who has pages of a map at one of these epochs.
pub(crate) fn map_owners(map: &MapId, epochs: std::ops::Range<u64>) -> KeyRange {
    let at = |epoch| kind(MAP_OWNER).raw(map).u64(epoch).finish();
    KeyRange::between(at(epochs.start), at(epochs.end))
}

/// Everybody who has pages of any map.
pub(crate) fn all_map_owners() -> KeyRange {
    KeyRange::prefix(&kind(MAP_OWNER).finish())
}

/// Every blob and every state of one, of containers that are gone as well.
pub(crate) fn all_states() -> [KeyRange; 2] {
    [BLOB, SNAPSHOT].map(|tag| KeyRange::prefix(&kind(tag).finish()))
}

/// The map of an owner's key.
pub(crate) fn owned_map(owner: &Key) -> Option<MapId> {
    owner.as_bytes().get(2..18)?.try_into().ok()
}

/// The epoch of an owner's key.
pub(crate) fn owned_epoch(owner: &Key) -> Option<u64> {
    let epoch = owner.as_bytes().get(18..26)?;
    Some(u64::from_be_bytes(epoch.try_into().ok()?))
}

/// A copy of the pages of one state for another one that isn't finished.
pub(crate) fn map_copy(to: &Key, from: &Key) -> Key {
    kind(MAP_COPY)
        .raw(&short_hash(to))
        .raw(&short_hash(from))
        .finish()
}

pub(crate) fn all_map_copies() -> KeyRange {
    KeyRange::prefix(&kind(MAP_COPY).finish())
}

/// A map that somebody let go of, so that it may have pages that nobody has any more.
pub(crate) fn map_release(map: &MapId) -> Key {
    kind(MAP_RELEASE).raw(map).finish()
}

pub(crate) fn all_map_releases() -> KeyRange {
    KeyRange::prefix(&kind(MAP_RELEASE).finish())
}

/// How far the sweep of a map is.
pub(crate) fn map_sweep(map: &MapId) -> Key {
    kind(MAP_SWEEP).raw(map).finish()
}

pub(crate) fn all_map_sweeps() -> KeyRange {
    KeyRange::prefix(&kind(MAP_SWEEP).finish())
}

/// The map of a key of either kind.
pub(crate) fn swept_map(key: &Key) -> Option<MapId> {
    key.as_bytes().get(2..)?.try_into().ok()
}

/// A generation whose container is gone.
pub(crate) fn purge(generation: &Generation) -> Key {
    kind(PURGE).raw(generation).finish()
}

pub(crate) fn all_purges() -> KeyRange {
    KeyRange::prefix(&kind(PURGE).finish())
}

/// The generation of a purge key.
pub(crate) fn purged_generation(key: &Key) -> Option<Generation> {
    key.as_bytes().get(2..)?.try_into().ok()
}

/// What stands for a key in another one.
fn short_hash(key: &Key) -> [u8; 16] {
    let hash = blake3::hash(key.as_bytes());
    hash.as_bytes().first_chunk::<16>().copied().unwrap_or_default()
}

/// A key that every string beginning with `prefix` has as its own prefix.
fn open_ended(before: KeyWriter, prefix: &str) -> Key {
    let closed = before.str_bounded(prefix, BLOB_NAME_KEY_BYTES_MAX).finish();
    let bytes = closed.to_bytes();
    Key::from_encoded(bytes.slice(..bytes.len().saturating_sub(2)))
}
