//! Key layout in the keyspace of vaults.
//!
//! | key | value |
//! | --- | --- |
//! | (1, vault, number) | a data key, wrapped |
//! | (2) | a passphrase's salt |
//! | (3, vault, kind, name) | the header of a live object |
//! | (4, vault, kind, incarnation, version) | a version, sealed |
//! | (5, vault, sequence) | an audit row |
//! | (6, vault, sequence) | a seal of the audit's chain up to that row |
//! | (7, time, vault, kind, name) | that a deleted object goes then |
//! | (8, vault, kind, name) | the header of a deleted object |
//! | (9, vault, kind, incarnation) | that these versions are left over of a purge |
//! | (10, time, vault, name) | that a key is rotated then |
//! | (11, vault) | that the vault has purge protection, for good |
//! | (12, vault) | where the audit's chain ends |
//! | (13) | the name of the root key that wraps what is new |
//!
//! Names are in lower case here; headers have them as they were first written.

use ledger::{Key, KeyRange, KeyReader, KeyWriter, Keyspace};

use crate::rules::names::{Kind, Version};

pub(crate) const DATA_KEY_TAG: u8 = 1;
pub(crate) const SALT_TAG: u8 = 2;
pub(crate) const CURRENT_ROOT_TAG: u8 = 13;
const LIVE_TAG: u8 = 3;
const VERSION_TAG: u8 = 4;
const AUDIT_TAG: u8 = 5;
const AUDIT_SEAL_TAG: u8 = 6;
const PURGE_TAG: u8 = 7;
const DELETED_TAG: u8 = 8;
const LEFT_OVER_TAG: u8 = 9;
const ROTATION_TAG: u8 = 10;
const PROTECTION_TAG: u8 = 11;
const AUDIT_HEAD_TAG: u8 = 12;

/// Whether an object is there or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Live,
    Deleted,
}

fn of(tag: u8) -> KeyWriter {
    KeyWriter::new(Keyspace::Vault).u8(tag)
}

/// All headers of a kind.
pub(crate) fn headers(vault: &str, kind: Kind, state: State) -> Key {
    let tag = match state {
        State::Live => LIVE_TAG,
        State::Deleted => DELETED_TAG,
    };
    of(tag).str(vault).u8(kind as u8).finish()
}

pub(crate) fn header(vault: &str, kind: Kind, state: State, name: &str) -> Key {
    KeyWriter::after(&headers(vault, kind, state))
        .str(&name.to_ascii_lowercase())
        .finish()
}

/// All versions of an object.
pub(crate) fn versions(vault: &str, kind: Kind, incarnation: &[u8; 16]) -> Key {
    of(VERSION_TAG)
        .str(vault)
        .u8(kind as u8)
        .raw(incarnation)
        .finish()
}

pub(crate) fn version(vault: &str, kind: Kind, incarnation: &[u8; 16], version: Version) -> Key {
    KeyWriter::after(&versions(vault, kind, incarnation))
        .raw(&version.0)
        .finish()
}

/// Which version a key below [`versions`] is.
pub(crate) fn version_of(key: &Key, prefix: &Key) -> Option<Version> {
    let mut reader = KeyReader::after(key, prefix)?;
    Some(Version(reader.raw(16)?.try_into().ok()?))
}

pub(crate) fn audit_rows(vault: &str) -> Key {
    of(AUDIT_TAG).str(vault).finish()
}

pub(crate) fn audit_row(vault: &str, sequence: u64) -> Key {
    KeyWriter::after(&audit_rows(vault)).u64(sequence).finish()
}

pub(crate) fn audit_seals(vault: &str) -> Key {
    of(AUDIT_SEAL_TAG).str(vault).finish()
}

pub(crate) fn audit_seal(vault: &str, sequence: u64) -> Key {
    KeyWriter::after(&audit_seals(vault)).u64(sequence).finish()
}

pub(crate) fn audit_head(vault: &str) -> Key {
    of(AUDIT_HEAD_TAG).str(vault).finish()
}

/// The sequence number of a key below [`audit_rows`] or [`audit_seals`].
pub(crate) fn sequence_of(key: &Key, prefix: &Key) -> Option<u64> {
    KeyReader::after(key, prefix)?.u64()
}

pub(crate) fn purge(at: i64, vault: &str, kind: Kind, name: &str) -> Key {
    of(PURGE_TAG)
        .i64(at)
        .str(vault)
        .u8(kind as u8)
        .str(&name.to_ascii_lowercase())
        .finish()
}

/// What is to be purged up to and including `now`.
pub(crate) fn purges_until(now: i64) -> KeyRange {
    KeyRange::between(
        of(PURGE_TAG).finish(),
        of(PURGE_TAG).i64(now.saturating_add(1)).finish(),
    )
}

/// Time, vault, kind and name of a key of [`purges_until`].
pub(crate) fn read_purge(key: &Key) -> Option<(i64, String, Kind, String)> {
    let mut reader = KeyReader::after(key, &of(PURGE_TAG).finish())?;
    Some((
        reader.i64()?,
        reader.str()?,
        Kind::from_byte(reader.u8()?)?,
        reader.str()?,
    ))
}

pub(crate) fn left_over(vault: &str, kind: Kind, incarnation: &[u8; 16]) -> Key {
    of(LEFT_OVER_TAG)
        .str(vault)
        .u8(kind as u8)
        .raw(incarnation)
        .finish()
}

pub(crate) fn all_left_over() -> KeyRange {
    KeyRange::prefix(&of(LEFT_OVER_TAG).finish())
}

pub(crate) fn read_left_over(key: &Key) -> Option<(String, Kind, [u8; 16])> {
    let mut reader = KeyReader::after(key, &of(LEFT_OVER_TAG).finish())?;
    Some((
        reader.str()?,
        Kind::from_byte(reader.u8()?)?,
        reader.raw(16)?.try_into().ok()?,
    ))
}

pub(crate) fn rotation(at: i64, vault: &str, name: &str) -> Key {
    of(ROTATION_TAG)
        .i64(at)
        .str(vault)
        .str(&name.to_ascii_lowercase())
        .finish()
}

/// Keys that are to be rotated up to and including `now`.
pub(crate) fn rotations_until(now: i64) -> KeyRange {
    KeyRange::between(
        of(ROTATION_TAG).finish(),
        of(ROTATION_TAG).i64(now.saturating_add(1)).finish(),
    )
}

pub(crate) fn read_rotation(key: &Key) -> Option<(i64, String, String)> {
    let mut reader = KeyReader::after(key, &of(ROTATION_TAG).finish())?;
    Some((reader.i64()?, reader.str()?, reader.str()?))
}

pub(crate) fn protection(vault: &str) -> Key {
    of(PROTECTION_TAG).str(vault).finish()
}
