//! Resource ids (`_rid`): base64 of numbers, with `/` written as `-`.
//!
//! A database has 4 bytes, a container 8 (the database's, then its own with the top bit set), an
//! item 16 (the container's, then its number as little-endian u64 whose top nibble is the kind).
//! Clients order rows of equal sort keys by that number.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Kinds of resources below a container, in the top nibble of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// An item.
    Document = 0,
    /// A partition key range.
    PartitionKeyRange = 5,
    /// A user-defined function.
    UserDefinedFunction = 6,
    /// A trigger.
    Trigger = 7,
    /// A stored procedure.
    StoredProcedure = 8,
}

const CONTAINER_BIT: u32 = 1 << 31;
const KIND_SHIFT: u32 = 60;

/// The largest number an item can have.
pub const NUMBER_MAX: u64 = (1 << KIND_SHIFT) - 1;

fn write(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('/', "-")
}

fn read(text: &str) -> Option<Vec<u8>> {
    (text.len() <= 32).then(|| STANDARD.decode(text.replace('-', "/")).ok())?
}

/// A database's rid.
#[must_use]
pub fn database(number: u32) -> String {
    write(&number.to_be_bytes())
}

/// A container's rid.
#[must_use]
pub fn container(database: u32, container: u32) -> String {
    write(&container_bytes(database, container))
}

fn container_bytes(database: u32, container: u32) -> [u8; 8] {
    let high = u64::from(database) << 32;
    (high | u64::from(container | CONTAINER_BIT)).to_be_bytes()
}

/// The rid of something below a container.
#[must_use]
pub fn child(database: u32, container: u32, kind: Kind, number: u64) -> String {
    let mut bytes = [0; 16];
    let number = (number & NUMBER_MAX) | (u64::from(kind as u8) << KIND_SHIFT);
    let whole = container_bytes(database, container)
        .into_iter()
        .chain(number.to_le_bytes());
    for (to, from) in bytes.iter_mut().zip(whole) {
        *to = from;
    }
    write(&bytes)
}

/// An offer's rid: 3 bytes.
#[must_use]
pub fn offer(container: u32) -> String {
    let [_, a, b, c] = container.to_be_bytes();
    write(&[a, b, c])
}

fn user_bytes(database: u32, user: u32) -> [u8; 8] {
    ((u64::from(database) << 32) | u64::from(user & !CONTAINER_BIT)).to_be_bytes()
}

/// A user's rid: as a container's, without the top bit.
#[must_use]
pub fn user(database: u32, user: u32) -> String {
    write(&user_bytes(database, user))
}

/// A permission's rid.
#[must_use]
pub fn permission(database: u32, user: u32, permission: u32) -> String {
    let mut bytes = user_bytes(database, user).to_vec();
    bytes.extend_from_slice(&u64::from(permission).to_le_bytes());
    write(&bytes)
}

/// Reads a database's rid.
#[must_use]
pub fn parse_database(text: &str) -> Option<u32> {
    let bytes: [u8; 4] = read(text)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

/// Reads a container's rid: its database's number and its own.
#[must_use]
pub fn parse_container(text: &str) -> Option<(u32, u32)> {
    let bytes: [u8; 8] = read(text)?.try_into().ok()?;
    split_container(u64::from_be_bytes(bytes))
}

fn split_container(number: u64) -> Option<(u32, u32)> {
    let database = u32::try_from(number >> 32).ok()?;
    let container = u32::try_from(number & 0xFFFF_FFFF).ok()?;
    (container & CONTAINER_BIT != 0).then_some((database, container & !CONTAINER_BIT))
}

/// Reads an item's rid: database, container, number.
#[must_use]
pub fn parse_item(text: &str) -> Option<(u32, u32, u64)> {
    let bytes: [u8; 16] = read(text)?.try_into().ok()?;
    let (owner, number) = bytes.split_first_chunk::<8>()?;
    let (database, container) = split_container(u64::from_be_bytes(*owner))?;
    let number = u64::from_le_bytes(number.try_into().ok()?);
    (number <= NUMBER_MAX).then_some((database, container, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rids_round_trip() {
        assert_eq!(parse_database(&database(0xD4AB_6300)), Some(0xD4AB_6300));
        assert_eq!(parse_container(&container(7, 9)), Some((7, 9)));
        assert_eq!(parse_container(&user(7, 9)), None, "a user is no container");
        assert_ne!(permission(7, 9, 1), permission(7, 9, 2));
        let item = child(u32::MAX, 9, Kind::Document, 12);
        assert_eq!(parse_item(&item), Some((u32::MAX, 9, 12)));
        assert!(!item.contains('/'));
        assert_eq!(
            parse_item(&child(1, 9, Kind::PartitionKeyRange, 0)),
            None,
            "another kind"
        );
        for bad in ["", "a", "abc", "AAAA", "AAAAAAAAAAA=", "????", &"A".repeat(40)] {
            assert_eq!(parse_item(bad), None);
            assert_eq!(parse_container(bad), None, "{bad}");
        }
    }
}
