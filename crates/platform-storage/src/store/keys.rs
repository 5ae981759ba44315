//! The layout of the platform's keyspace. The only place that builds or reads its keys.
//!
//! | tag | elements | value |
//! | --- | --- | --- |
//! | 1 instance | guid | its party, text |
//! | 2 list | which, name, last change, guid | [`crate::rules::row::Row`] |
//! | 3 lock | guid | [`crate::rules::lock_token::LockRecord`] |
//! | 4 hard-deleted instance | guid | its party, text |
//! | 5 element to be removed | instance, element | the instance's party, text |
//! | 6 place | | [`super::place::Place`] |
//! | 7 mutation | idempotency key | [`super::mutations::Done`] |
//! | 8 mutation's time | when, idempotency key | nothing |
//! | 9 scan | when due, element, content's version | [`crate::rules::outbox::ScanMessage`] |
//! | 10 portal | instance | [`crate::rules::outbox::SyncRow`] |
//! | 11 portal's time | when due, instance | nothing |
//! | 12 development event | commit | a cloud event, JSON |
//! | 13 dead letter | when, the key it had | [`crate::rules::outbox::DeadLetter`] |
//! | 14 imported instance | guid | [`super::imported::Record`] |
//! | 15 import | source, app | the last change up to which it was read, text |
//! | 16 added lists | | nothing; there once [`List::ADDED`] have rows of all instances |

use ledger::{Key, KeyRange, KeyReader, KeyWriter, Keyspace};
use uuid::Uuid;

use crate::rules::outbox::Outbox;

const INSTANCE: u8 = 1;
const LIST: u8 = 2;
const LOCK: u8 = 3;
const DELETED: u8 = 4;
const ELEMENT: u8 = 5;
const PLACE: u8 = 6;
const MUTATION: u8 = 7;
const MUTATION_TIME: u8 = 8;
const SCAN: u8 = 9;
const SYNC: u8 = 10;
const SYNC_DUE: u8 = 11;
const DEVELOPMENT_EVENT: u8 = 12;
const DEAD_LETTER: u8 = 13;
const IMPORTED: u8 = 14;
const IMPORT: u8 = 15;
const ADDED_LISTS: u8 = 16;

/// Longest encoded name in a key: an org's, an app's, a party's.
const NAME_BYTES_MAX: usize = 512;

fn tagged(tag: u8) -> KeyWriter {
    KeyWriter::new(Keyspace::Platform).u8(tag)
}

/// Lists that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum List {
    Org = 1,
    App = 2,
    Party = 3,
    /// An org's instances that have ended and that it hasn't confirmed.
    OrgUnconfirmed = 4,
    /// The same of one app.
    AppUnconfirmed = 5,
    /// An app's instances in one task; named as [`task_name`] says.
    AppTask = 6,
}

impl List {
    /// Those that each ledger has.
    pub(crate) const FIRST: [Self; 4] = [Self::Org, Self::App, Self::Party, Self::OrgUnconfirmed];
    /// Those that came later: a ledger from before may lack rows of them ([`added_lists`]).
    pub(crate) const ADDED: [Self; 2] = [Self::AppUnconfirmed, Self::AppTask];
}

/// What the list of an app's instances in a task is called. An app's id has no blank.
pub(crate) fn task_name(app_id: &str, task: &str) -> String {
    format!("{app_id} {task}")
}

pub(crate) fn instance(guid: &Uuid) -> Key {
    tagged(INSTANCE).raw(guid.as_bytes()).finish()
}

pub(crate) fn instances() -> KeyRange {
    KeyRange::prefix(&tagged(INSTANCE).finish())
}

/// What the keys of one list begin with.
pub(crate) fn list(list: List, name: &str) -> Key {
    tagged(LIST)
        .u8(list as u8)
        .str_bounded(name, NAME_BYTES_MAX)
        .finish()
}

/// All rows of one kind of lists.
pub(crate) fn lists(of: List) -> KeyRange {
    KeyRange::prefix(&tagged(LIST).u8(of as u8).finish())
}

/// Where it says that the added lists are complete.
pub(crate) fn added_lists() -> Key {
    tagged(ADDED_LISTS).finish()
}

pub(crate) fn list_row(of: List, name: &str, last_changed: i64, guid: &Uuid) -> Key {
    KeyWriter::after(&list(of, name))
        .i64(last_changed)
        .raw(guid.as_bytes())
        .finish()
}

/// The first possible row of a last change.
pub(crate) fn list_from(of: List, name: &str, last_changed: i64) -> Key {
    KeyWriter::after(&list(of, name)).i64(last_changed).finish()
}

/// Last change and guid: the end of every row's key.
pub(crate) fn read_list_row(key: &Key) -> Option<(i64, Uuid)> {
    let bytes = key.as_bytes();
    let tail = bytes.get(bytes.len().checked_sub(24)?..)?;
    let (time, guid) = tail.split_first_chunk::<8>()?;
    let time = (u64::from_be_bytes(*time) ^ (1 << 63)).cast_signed();
    Some((time, Uuid::from_slice(guid).ok()?))
}

pub(crate) fn lock(guid: &Uuid) -> Key {
    tagged(LOCK).raw(guid.as_bytes()).finish()
}

pub(crate) fn deleted(guid: &Uuid) -> Key {
    tagged(DELETED).raw(guid.as_bytes()).finish()
}

pub(crate) fn all_deleted() -> KeyRange {
    KeyRange::prefix(&tagged(DELETED).finish())
}

pub(crate) fn element(instance: &Uuid, element: &Uuid) -> Key {
    tagged(ELEMENT)
        .raw(instance.as_bytes())
        .raw(element.as_bytes())
        .finish()
}

pub(crate) fn all_elements() -> KeyRange {
    KeyRange::prefix(&tagged(ELEMENT).finish())
}

pub(crate) fn place() -> Key {
    tagged(PLACE).finish()
}

pub(crate) fn mutation(idempotency_key: &Uuid) -> Key {
    tagged(MUTATION).raw(idempotency_key.as_bytes()).finish()
}

pub(crate) fn mutation_time(at: i64, idempotency_key: &Uuid) -> Key {
    tagged(MUTATION_TIME)
        .i64(at)
        .raw(idempotency_key.as_bytes())
        .finish()
}

/// What has a time up to and including `until` behind its tag.
fn until(tag: u8, until: i64) -> KeyRange {
    let mut range = KeyRange::prefix(&tagged(tag).finish());
    if let Some(behind) = until.checked_add(1) {
        range.end = Some(tagged(tag).i64(behind).finish());
    }
    range
}

pub(crate) fn mutations_until(at: i64) -> KeyRange {
    until(MUTATION_TIME, at)
}

pub(crate) fn scan(due: i64, element: &Uuid, version: &str) -> Key {
    tagged(SCAN)
        .i64(due)
        .raw(element.as_bytes())
        .str_bounded(version, NAME_BYTES_MAX)
        .finish()
}

pub(crate) fn scans_until(due: i64) -> KeyRange {
    until(SCAN, due)
}

pub(crate) fn sync(instance: &Uuid) -> Key {
    tagged(SYNC).raw(instance.as_bytes()).finish()
}

/// Its end reads as [`read_list_row`].
pub(crate) fn sync_due(due: i64, instance: &Uuid) -> Key {
    tagged(SYNC_DUE).i64(due).raw(instance.as_bytes()).finish()
}

pub(crate) fn syncs_until(due: i64) -> KeyRange {
    until(SYNC_DUE, due)
}

pub(crate) fn dead_letter(at: i64, had: &Key) -> Key {
    tagged(DEAD_LETTER).i64(at).raw(had.as_bytes()).finish()
}

pub(crate) fn dead_letters() -> KeyRange {
    KeyRange::prefix(&tagged(DEAD_LETTER).finish())
}

/// When a dead letter was put aside, and the key that it had.
pub(crate) fn read_dead_letter(key: &Key) -> Option<(i64, Key)> {
    let mut reader = KeyReader::new(key, Keyspace::Platform)?;
    reader.u8()?;
    let at = reader.i64()?;
    Some((at, Key::from_encoded(reader.rest().to_vec().into())))
}

/// Which outbox a row with this key is in.
pub(crate) fn outbox_of(key: &Key) -> Option<Outbox> {
    match KeyReader::new(key, Keyspace::Platform)?.u8()? {
        SCAN => Some(Outbox::Scan),
        SYNC | SYNC_DUE => Some(Outbox::Portal),
        _ => None,
    }
}

pub(crate) fn imported(instance: &Uuid) -> Key {
    tagged(IMPORTED).raw(instance.as_bytes()).finish()
}

pub(crate) fn all_imported() -> KeyRange {
    KeyRange::prefix(&tagged(IMPORTED).finish())
}

pub(crate) fn import(source: &str, app: &str) -> Key {
    tagged(IMPORT)
        .str_bounded(source, NAME_BYTES_MAX)
        .str_bounded(app, NAME_BYTES_MAX)
        .finish()
}

/// What the keys of development events begin with.
pub(crate) fn development_events() -> Key {
    tagged(DEVELOPMENT_EVENT).finish()
}

/// The guid behind the tag.
pub(crate) fn read_guid(key: &Key) -> Option<Uuid> {
    let mut reader = KeyReader::new(key, Keyspace::Platform)?;
    reader.u8()?;
    Uuid::from_slice(reader.raw(16)?).ok()
}

/// Instance and element of an element's key.
pub(crate) fn read_element(key: &Key) -> Option<(Uuid, Uuid)> {
    let mut reader = KeyReader::new(key, Keyspace::Platform)?;
    reader.u8()?;
    let instance = Uuid::from_slice(reader.raw(16)?).ok()?;
    Some((instance, Uuid::from_slice(reader.raw(16)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_change_and_read_back() {
        let guid = Uuid::from_u128(7);
        let mut before = None;
        for time in [i64::MIN, -1, 0, 1, i64::MAX] {
            let key = list_row(List::App, "ttd/a", time, &guid);
            assert_eq!(read_list_row(&key), Some((time, guid)));
            assert!(key >= list_from(List::App, "ttd/a", time));
            assert!(before.is_none_or(|before| before < key));
            before = Some(key);
        }
        let other = Uuid::from_u128(8);
        assert_eq!(read_element(&element(&guid, &other)), Some((guid, other)));
        assert_eq!(read_guid(&lock(&guid)), Some(guid));
        assert_eq!(read_list_row(&sync_due(-7, &guid)), Some((-7, guid)));
        assert!(
            syncs_until(-7).contains(&sync_due(-7, &guid)) && !syncs_until(-8).contains(&sync_due(-7, &guid))
        );
        assert_eq!(read_list_row(&mutation_time(7, &guid)), Some((7, guid)));
        let row = scan(3, &other, "v");
        assert_eq!(read_dead_letter(&dead_letter(-5, &row)), Some((-5, row.clone())));
        assert_eq!(outbox_of(&row), Some(Outbox::Scan));
        assert_eq!(outbox_of(&sync_due(3, &guid)), Some(Outbox::Portal));
        assert_eq!(outbox_of(&instance(&guid)), None);
    }
}
