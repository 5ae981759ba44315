//! The layout of the documents keyspace. The only place that builds or reads its keys.
//!
//! | tag | elements | value |
//! | --- | --- | --- |
//! | 1 database | account, id | [`super::records::DatabaseRecord`] |
//! | 2 container | database number, id | [`super::records::ContainerRecord`] |
//! | 3 database by number | number | account, id (JSON) |
//! | 4 container by number | number | database number, id (JSON) |
//! | 5 counter | which, of what | the next number, 8 bytes |
//! | 6 purge | number | what is left to remove of a deleted container or index |
//! | 7 index build | index number | the next item number, 8 bytes |
//! | 8 user | database number, id | [`super::users::UserRecord`] |
//! | 9 permission | database number, user number, id | [`super::permissions::PermissionRecord`] |
//! | 10 token key | account | the key that signs resource tokens |
//! | 11 versions' beginning | versions number | the commit behind which all versions are kept, 8 bytes; nothing: the commit that wrote this |
//! | 12 script | container number, kind, id | [`super::scripts::ScriptRecord`] |
//! | 13 copy | container number | how far a copy into it is; JSON, written and read by who copies |
//! | 16 item | container number, item number | [`super::records::ItemRecord`] |
//! | 17 id | container number, partition key, id | the item's number |
//! | 19 unique key | container number, partition key, which, hash of the values | the item's number |
//! | 20 feed | container number, commit, item number | nothing |
//! | 21 partition | container number, partition key, item number | nothing |
//! | 22 version | versions number, commit, place in the commit | [`super::versions::VersionRecord`] |
//! | 64 and more: index | index number (with the tag), path hash, value, item number | nothing |
//! | the same: composite index | index number (with the tag), the columns' values, item number | nothing |
//!
//! An item number is written short (see [`super::item_number`]) wherever there are many: most of a
//! document's keys are index entries, and one of at most 20 bytes costs the ledger's sorted
//! memory table no allocation of its own and half the cache misses.
//!
//! Items lie in the order of their numbers, which is the order of creation and of `_rid`: what
//! clients of the original are used to get from a feed or a query without ORDER BY.

use ledger::{Key, KeyRange, KeyReader, KeyWriter, Keyspace, Sequence};

use super::item_number::ItemNumber;
use crate::rules::effective_partition_key::component_bytes;
use crate::rules::partition_key::{PartitionKey, PartitionKeyDefinition};

const DATABASE: u8 = 1;
const CONTAINER: u8 = 2;
const DATABASE_NUMBER: u8 = 3;
const CONTAINER_NUMBER: u8 = 4;
const COUNTER: u8 = 5;
const PURGE: u8 = 6;
const INDEX_BUILD: u8 = 7;
const USER: u8 = 8;
const PERMISSION: u8 = 9;
const TOKEN_KEY: u8 = 10;
const VERSIONS_BEGINNING: u8 = 11;
const SCRIPT: u8 = 12;
const COPY: u8 = 13;
const ITEM: u8 = 16;
const ID: u8 = 17;
const UNIQUE: u8 = 19;
const FEED: u8 = 20;
const PARTITION: u8 = 21;
const VERSION: u8 = 22;
/// The tags from here on begin an index entry: six bits of the index's number, if that is enough.
const INDEX: u8 = 0x40;
/// Eight bits more follow.
const INDEX_OF_14_BITS: u8 = 0x80;
/// The whole number follows.
const INDEX_OF_32_BITS: u8 = 0xC0;

/// Longest encoded account, database or container id in a key. They are at most 255 bytes, twice
/// that if every byte were zero.
const NAME_BYTES_MAX: usize = 520;
/// Longest encoded item id in a key; a longer one is cut and hashed.
const ITEM_ID_KEY_BYTES_MAX: usize = 512;

fn tagged(tag: u8) -> KeyWriter {
    KeyWriter::new(Keyspace::Documents).u8(tag)
}

pub(crate) fn databases(account: &str) -> Key {
    tagged(DATABASE).str_bounded(account, NAME_BYTES_MAX).finish()
}

pub(crate) fn database(account: &str, id: &str) -> Key {
    KeyWriter::after(&databases(account))
        .str_bounded(id, NAME_BYTES_MAX)
        .finish()
}

pub(crate) fn containers(database: u32) -> Key {
    tagged(CONTAINER).u32(database).finish()
}

/// Every container of every database.
pub(crate) fn all_containers() -> Key {
    tagged(CONTAINER).finish()
}

pub(crate) fn container(database: u32, id: &str) -> Key {
    KeyWriter::after(&containers(database))
        .str_bounded(id, NAME_BYTES_MAX)
        .finish()
}

pub(crate) fn database_number(number: u32) -> Key {
    tagged(DATABASE_NUMBER).u32(number).finish()
}

pub(crate) fn container_number(number: u32) -> Key {
    tagged(CONTAINER_NUMBER).u32(number).finish()
}

/// The counter of container and index numbers.
pub(crate) fn numbers_counter() -> Key {
    tagged(COUNTER).u8(0).finish()
}

/// The counter of a container's item numbers.
pub(crate) fn items_counter(container: u32) -> Key {
    tagged(COUNTER).u8(1).u32(container).finish()
}

pub(crate) fn purges() -> Key {
    tagged(PURGE).finish()
}

pub(crate) fn purge(number: u32) -> Key {
    tagged(PURGE).u32(number).finish()
}

/// The number of a purge key.
pub(crate) fn read_purge(key: &Key) -> Option<u32> {
    let mut reader = KeyReader::new(key, Keyspace::Documents)?;
    (reader.u8()? == PURGE).then_some(())?;
    reader.u32()
}

/// The database number of a container key.
pub(crate) fn read_container(key: &Key) -> Option<u32> {
    let mut reader = KeyReader::new(key, Keyspace::Documents)?;
    (reader.u8()? == CONTAINER).then_some(())?;
    reader.u32()
}

pub(crate) fn index_build(index: u32) -> Key {
    tagged(INDEX_BUILD).u32(index).finish()
}

pub(crate) fn users(database: u32) -> Key {
    tagged(USER).u32(database).finish()
}

pub(crate) fn user(database: u32, id: &str) -> Key {
    tagged(USER)
        .u32(database)
        .str_bounded(id, NAME_BYTES_MAX)
        .finish()
}

/// The permissions of all users of a database.
pub(crate) fn all_permissions(database: u32) -> Key {
    tagged(PERMISSION).u32(database).finish()
}

pub(crate) fn permissions(database: u32, user: u32) -> Key {
    tagged(PERMISSION).u32(database).u32(user).finish()
}

pub(crate) fn permission(database: u32, user: u32, id: &str) -> Key {
    KeyWriter::after(&permissions(database, user))
        .str_bounded(id, NAME_BYTES_MAX)
        .finish()
}

/// The key that signs an account's resource tokens.
pub(crate) fn token_key(account: &str) -> Key {
    tagged(TOKEN_KEY).str_bounded(account, NAME_BYTES_MAX).finish()
}

/// The scripts of a container, of every kind.
pub(crate) fn all_scripts(container: u32) -> Key {
    tagged(SCRIPT).u32(container).finish()
}

/// `kind` as in resource ids.
pub(crate) fn scripts(container: u32, kind: u8) -> Key {
    tagged(SCRIPT).u32(container).u8(kind).finish()
}

pub(crate) fn script(container: u32, kind: u8, id: &str) -> Key {
    KeyWriter::after(&scripts(container, kind))
        .str_bounded(id, NAME_BYTES_MAX)
        .finish()
}

/// How far a copy of another server's container into this one is.
pub(crate) fn copy(container: u32) -> Key {
    tagged(COPY).u32(container).finish()
}

pub(crate) fn items(container: u32) -> Key {
    tagged(ITEM).u32(container).finish()
}

pub(crate) fn item(container: u32, number: u64) -> Key {
    tagged(ITEM).u32(container).u64(number).finish()
}

/// An item's key elements in the order stored; `None` for a key of another kind.
pub(crate) fn read_item(key: &Key) -> Option<(u32, u64)> {
    let mut reader = KeyReader::new(key, Keyspace::Documents)?;
    (reader.u8()? == ITEM).then_some(())?;
    Some((reader.u32()?, reader.u64()?))
}

/// The place of a partition key in keys: its effective partition key, then a hash that keeps
/// apart keys whose 126 bits collide by somebody's design.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionPlace {
    effective: Vec<u8>,
    apart: [u8; 16],
}

impl PartitionPlace {
    pub(crate) fn new(definition: &PartitionKeyDefinition, key: &PartitionKey) -> Self {
        let hash = blake3::hash(&component_bytes(key.components()));
        let mut apart = [0; 16];
        for (to, from) in apart.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        Self {
            effective: definition.effective(key),
            apart,
        }
    }

    fn write(&self, writer: KeyWriter) -> KeyWriter {
        writer.bytes(&self.effective).raw(&self.apart)
    }
}

pub(crate) fn ids(container: u32) -> Key {
    tagged(ID).u32(container).finish()
}

pub(crate) fn id(container: u32, place: &PartitionPlace, id: &str) -> Key {
    place
        .write(tagged(ID).u32(container))
        .str_bounded(id, ITEM_ID_KEY_BYTES_MAX)
        .finish()
}

pub(crate) fn partitions(container: u32) -> Key {
    tagged(PARTITION).u32(container).finish()
}

/// What the keys of one partition's items begin with.
pub(crate) fn partition(container: u32, place: &PartitionPlace) -> Key {
    place.write(tagged(PARTITION).u32(container)).finish()
}

pub(crate) fn partition_item(container: u32, place: &PartitionPlace, number: u64) -> Key {
    place
        .write(tagged(PARTITION).u32(container))
        .raw(ItemNumber::new(number).as_bytes())
        .finish()
}

/// The keys of the items whose effective partition keys lie from `start` up to but without `end`.
pub(crate) fn partition_range(container: u32, start: &[u8], end: &[u8]) -> KeyRange {
    let at = |effective: &[u8]| tagged(PARTITION).u32(container).bytes(effective).finish();
    KeyRange::between(at(start), at(end))
}

/// What the entries of an index begin with. Index numbers count up from 1, so most are short.
fn index_prefix(index: u32) -> KeyWriter {
    let bytes = index.to_be_bytes();
    let [_, _, high, low] = bytes;
    match index {
        0..0x40 => tagged(INDEX | low),
        0x40..0x4000 => tagged(INDEX_OF_14_BITS | high).u8(low),
        _ => tagged(INDEX_OF_32_BITS).raw(&bytes),
    }
}

pub(crate) fn index(index: u32) -> Key {
    index_prefix(index).finish()
}

/// The entries of every index.
pub(crate) fn all_indexes() -> KeyRange {
    let start = tagged(INDEX).finish();
    match KeyRange::prefix(&tagged(INDEX_OF_32_BITS).finish()).end {
        Some(end) => KeyRange::between(start, end),
        None => KeyRange { start, end: None },
    }
}

/// The number of the index that an entry belongs to.
pub(crate) fn read_index(key: &Key) -> Option<u32> {
    let mut reader = KeyReader::new(key, Keyspace::Documents)?;
    let tag = reader.u8()?;
    let low = u32::from(tag & !INDEX_OF_32_BITS);
    match tag & INDEX_OF_32_BITS {
        INDEX => Some(low),
        INDEX_OF_14_BITS => Some(low << 8 | u32::from(reader.u8()?)),
        INDEX_OF_32_BITS if low == 0 => reader.u32(),
        _ => None,
    }
}

/// An index key; `term` is the path's hash and the encoded value, or those of a composite index.
pub(crate) fn index_entry(index: u32, term: &[u8], number: u64) -> Key {
    index_prefix(index)
        .raw(term)
        .raw(ItemNumber::new(number).as_bytes())
        .finish()
}

/// What the keys of a term's entries begin with: `term` is a path's hash and the beginning of an
/// encoded value.
pub(crate) fn index_term(index: u32, term: &[u8]) -> Key {
    index_prefix(index).raw(term).finish()
}

/// The term and item number of an index key.
pub(crate) fn read_index_entry(key: &Key, index: u32) -> Option<(&[u8], u64)> {
    let prefix = self::index(index);
    ItemNumber::split_last(KeyReader::after(key, &prefix)?.rest())
}

/// The item number that ends an index or partition key.
pub(crate) fn ending_number(key: &Key) -> Option<u64> {
    ItemNumber::split_last(key.as_bytes()).map(|(_, number)| number)
}

pub(crate) fn uniques(container: u32) -> Key {
    tagged(UNIQUE).u32(container).finish()
}

pub(crate) fn unique(container: u32, place: &PartitionPlace, which: u8, values: &[u8; 32]) -> Key {
    place
        .write(tagged(UNIQUE).u32(container))
        .u8(which)
        .raw(values)
        .finish()
}

pub(crate) fn feed(container: u32) -> Key {
    tagged(FEED).u32(container).finish()
}

pub(crate) fn feed_entry(container: u32, sequence: Sequence, number: u64) -> Key {
    tagged(FEED)
        .u32(container)
        .u64(sequence)
        .raw(ItemNumber::new(number).as_bytes())
        .finish()
}

/// The first feed key behind commit `sequence`.
pub(crate) fn feed_after(container: u32, sequence: Sequence) -> Key {
    tagged(FEED)
        .u32(container)
        .u64(sequence.saturating_add(1))
        .finish()
}

/// The commit and item number of a feed key.
pub(crate) fn read_feed_entry(key: &Key) -> Option<(Sequence, u64)> {
    let mut reader = KeyReader::new(key, Keyspace::Documents)?;
    (reader.u8()? == FEED).then_some(())?;
    reader.u32()?;
    let sequence = reader.u64()?;
    match ItemNumber::split_last(reader.rest())? {
        ([], number) => Some((sequence, number)),
        _ => None,
    }
}

/// All versions that a container keeps; `number` is the record's own for them.
pub(crate) fn versions(number: u32) -> Key {
    tagged(VERSION).u32(number).finish()
}

/// The first version behind commit `sequence`.
pub(crate) fn versions_after(number: u32, sequence: Sequence) -> Key {
    tagged(VERSION)
        .u32(number)
        .u64(sequence.saturating_add(1))
        .finish()
}

/// The commit of a version's key.
pub(crate) fn read_version(key: &Key) -> Option<Sequence> {
    let mut reader = KeyReader::new(key, Keyspace::Documents)?;
    (reader.u8()? == VERSION).then_some(())?;
    reader.u32()?;
    reader.u64()
}

pub(crate) fn versions_beginning(number: u32) -> Key {
    tagged(VERSIONS_BEGINNING).u32(number).finish()
}

/// What a conflict's key says about its cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConflictCause {
    /// The database or container changed or went.
    Container,
    /// The item changed, or one of its id appeared.
    Item,
    /// Another item has the unique key.
    UniqueKey,
    /// A counter was taken from by another process.
    Counter,
    /// Not a key of this service.
    Other,
}

pub(crate) fn conflict_cause(key: &Key) -> ConflictCause {
    let tag = KeyReader::new(key, Keyspace::Documents).and_then(|mut reader| reader.u8());
    match tag {
        Some(DATABASE | CONTAINER | DATABASE_NUMBER | CONTAINER_NUMBER) => ConflictCause::Container,
        Some(ITEM | ID) => ConflictCause::Item,
        Some(UNIQUE) => ConflictCause::UniqueKey,
        Some(COUNTER | INDEX_BUILD) => ConflictCause::Counter,
        _ => ConflictCause::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn an_index() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..0x82, 0x3F_F0u32..0x40_10, any::<u32>()]
    }

    proptest! {
        #[test]
        fn index_entries_are_read_back_and_lie_in_their_index_alone(
            one in an_index(), other in an_index(), term: Vec<u8>, number: u64,
        ) {
            let key = index_entry(one, &term, number);
            prop_assert_eq!(read_index_entry(&key, one), Some((term.as_slice(), number)));
            prop_assert_eq!(read_index(&key), Some(one));
            prop_assert!(all_indexes().contains(&key));
            prop_assert_eq!(ending_number(&key), Some(number));
            prop_assert!(KeyRange::prefix(&index_term(one, &term)).contains(&key));
            prop_assert_eq!(KeyRange::prefix(&index(other)).contains(&key), one == other);
            prop_assert_eq!(conflict_cause(&key), ConflictCause::Other);
        }

        #[test]
        fn feed_entries_are_read_back_in_order(a: (u32, u64), b: (u32, u64)) {
            let key = |(sequence, number): (u32, u64)| feed_entry(7, u64::from(sequence), number);
            prop_assert_eq!(read_feed_entry(&key(a)), Some((u64::from(a.0), a.1)));
            prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        }
    }
}
