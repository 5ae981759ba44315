//! What key encoding promises, for keys of all shapes: order, round trip, prefixes, cut names.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::collections::BTreeSet;

use bytes::Bytes;
use ledger::limits::KEY_BYTES_MAX;
use ledger::{Key, KeyRange, KeyReader, KeyWriter, Keyspace};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes that a cut or hashed name has at most beyond its bound: marker and half a BLAKE3 hash.
const CUT_BYTES: usize = 2 + 16;

const RAW_BYTES: usize = 16;

/// An element of a key, ordered as keys must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Element {
    U8(u8),
    U32(u32),
    U64(u64),
    I64(i64),
    Str(String),
    Bytes(Vec<u8>),
    Raw([u8; RAW_BYTES]),
}

fn write(writer: KeyWriter, element: &Element) -> KeyWriter {
    match element {
        Element::U8(value) => writer.u8(*value),
        Element::U32(value) => writer.u32(*value),
        Element::U64(value) => writer.u64(*value),
        Element::I64(value) => writer.i64(*value),
        Element::Str(value) => writer.str(value),
        Element::Bytes(value) => writer.bytes(value),
        Element::Raw(value) => writer.raw(value),
    }
}

/// Reads an element of the same kind as `like`.
fn read(reader: &mut KeyReader<'_>, like: &Element) -> Option<Element> {
    Some(match like {
        Element::U8(_) => Element::U8(reader.u8()?),
        Element::U32(_) => Element::U32(reader.u32()?),
        Element::U64(_) => Element::U64(reader.u64()?),
        Element::I64(_) => Element::I64(reader.i64()?),
        Element::Str(_) => Element::Str(reader.str()?),
        Element::Bytes(_) => Element::Bytes(reader.bytes()?),
        Element::Raw(_) => Element::Raw(reader.raw(RAW_BYTES)?.try_into().ok()?),
    })
}

fn encode(keyspace: Keyspace, elements: &[Element]) -> Key {
    elements.iter().fold(KeyWriter::new(keyspace), write).finish()
}

fn keyspaces() -> impl Strategy<Value = Keyspace> {
    prop::sample::select(&Keyspace::ALL[..])
}

/// Bytes among which the encoding's own are frequent.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![Just(0), Just(1), Just(2), Just(0xFE), Just(0xFF), any::<u8>()]
}

fn character() -> impl Strategy<Value = char> {
    prop_oneof![
        Just('\0'),
        Just('\u{1}'),
        Just('a'),
        Just('\u{FE}'),
        Just('\u{FF}'),
        Just(char::MAX),
        any::<char>()
    ]
}

fn text() -> impl Strategy<Value = String> {
    vec(character(), 0..6).prop_map(|characters| characters.into_iter().collect())
}

/// An element of kind `kind`, of a few values each, so that ties are frequent.
fn element(kind: u8) -> BoxedStrategy<Element> {
    match kind {
        0 => byte().prop_map(Element::U8).boxed(),
        1 => prop_oneof![Just(0), Just(255), Just(256), Just(u32::MAX), any::<u32>()]
            .prop_map(Element::U32)
            .boxed(),
        2 => prop_oneof![Just(0), Just(255), Just(256), Just(u64::MAX), any::<u64>()]
            .prop_map(Element::U64)
            .boxed(),
        3 => prop_oneof![
            Just(i64::MIN),
            Just(-1),
            Just(0),
            Just(1),
            Just(i64::MAX),
            any::<i64>()
        ]
        .prop_map(Element::I64)
        .boxed(),
        4 => text().prop_map(Element::Str).boxed(),
        5 => vec(byte(), 0..6).prop_map(Element::Bytes).boxed(),
        _ => prop::array::uniform16(byte()).prop_map(Element::Raw).boxed(),
    }
}

fn elements(kinds: &[u8]) -> impl Strategy<Value = Vec<Element>> + use<> {
    kinds.iter().map(|kind| element(*kind)).collect::<Vec<_>>()
}

fn kinds() -> impl Strategy<Value = Vec<u8>> {
    vec(0_u8..7, 0..6)
}

/// Two tuples of the same shape that often agree in their first elements.
fn two_of_a_shape() -> impl Strategy<Value = (Vec<Element>, Vec<Element>)> {
    kinds().prop_flat_map(|kinds| {
        let length = kinds.len();
        (elements(&kinds), elements(&kinds), 0..=length).prop_map(|(one, mut other, agree)| {
            other[..agree].clone_from_slice(&one[..agree]);
            (one, other)
        })
    })
}

/// Names of a few letters, long enough to be cut, that often differ only behind the cut.
fn long_name() -> impl Strategy<Value = String> {
    (
        vec(character(), 0..4),
        prop_oneof![Just(0_usize), 20..40_usize, 1_000..3_000_usize],
        character(),
        vec(character(), 0..3),
    )
        .prop_map(|(start, repeats, filler, end)| {
            let filling = std::iter::repeat_n(filler, repeats);
            start.into_iter().chain(filling).chain(end).collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn keys_are_ordered_as_their_tuples(keyspace in keyspaces(), (one, other) in two_of_a_shape()) {
        prop_assert_eq!(encode(keyspace, &one).cmp(&encode(keyspace, &other)), one.cmp(&other));
    }

    #[test]
    fn a_key_begins_with_its_keyspace(one in keyspaces(), other in keyspaces(), kinds in kinds(), index in any::<prop::sample::Index>()) {
        let tuple: Vec<Element> = kinds.iter().map(|_| Element::U8(u8::try_from(index.index(256)).unwrap())).collect();
        let key = encode(one, &tuple);
        prop_assert_eq!(key.keyspace(), Some(one));
        prop_assert_eq!(KeyReader::new(&key, other).is_some(), one == other);
        prop_assert_eq!((one as u8).cmp(&(other as u8)), key.cmp(&encode(other, &tuple)));
    }

    #[test]
    fn tuples_are_read_back(keyspace in keyspaces(), tuple in kinds().prop_flat_map(|kinds| elements(&kinds))) {
        let key = encode(keyspace, &tuple);
        let mut reader = KeyReader::new(&key, keyspace).unwrap();
        for element in &tuple {
            let found = read(&mut reader, element);
            prop_assert_eq!(found.as_ref(), Some(element));
        }
        prop_assert!(reader.rest().is_empty());
    }

    #[test]
    fn no_tuple_is_the_beginning_of_another_of_its_shape((one, other) in two_of_a_shape()) {
        let (a, b) = (encode(Keyspace::Blobs, &one), encode(Keyspace::Blobs, &other));
        prop_assert_eq!(b.as_bytes().starts_with(a.as_bytes()), one == other);
    }

    /// A prefix range holds a longer tuple exactly if it begins with the prefix's elements.
    #[test]
    fn prefix_ranges_hold_what_begins_with_them((one, other) in two_of_a_shape(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(one.len() + 1);
        let prefix = encode(Keyspace::Blobs, &one[..cut]);
        let key = encode(Keyspace::Blobs, &other);
        let range = KeyRange::prefix(&prefix);
        prop_assert_eq!(range.contains(&key), one[..cut] == other[..cut]);
        prop_assert!(range.contains(&prefix));
        prop_assert!(!range.is_empty());
        if range.contains(&key) {
            let mut reader = KeyReader::after(&key, &prefix).unwrap();
            for element in &other[cut..] {
                let found = read(&mut reader, element);
                prop_assert_eq!(found.as_ref(), Some(element));
            }
        }
    }

    /// The same for bytes of any kind, also all FF, and from somewhere inside.
    #[test]
    fn prefix_ranges_are_exact_for_any_bytes(prefix in vec(byte(), 0..4), key in vec(byte(), 0..6), start in vec(byte(), 0..6)) {
        let [prefix, key, start] = [prefix, key, start].map(|bytes| Key::from_encoded(Bytes::from(bytes)));
        let begins = key.as_bytes().starts_with(prefix.as_bytes());
        prop_assert_eq!(KeyRange::prefix(&prefix).contains(&key), begins);
        let from = KeyRange::prefix_from(&prefix, start.clone());
        prop_assert_eq!(from.contains(&key), begins && key >= start);
    }

    #[test]
    fn an_empty_range_holds_nothing(start in vec(byte(), 0..4), end in vec(byte(), 0..4), key in vec(byte(), 0..5)) {
        let [start, end, key] = [start, end, key].map(|bytes| Key::from_encoded(Bytes::from(bytes)));
        let range = KeyRange::between(start.clone(), end.clone());
        prop_assert_eq!(range.is_empty(), end <= start);
        if range.is_empty() {
            prop_assert!(!range.contains(&key));
        } else {
            prop_assert!(range.contains(&start));
        }
    }

    #[test]
    fn nothing_lies_between_a_key_and_its_successor(one in vec(byte(), 0..5), other in vec(byte(), 0..6)) {
        let [one, other] = [one, other].map(|bytes| Key::from_encoded(Bytes::from(bytes)));
        let next = one.successor();
        prop_assert!(one < next);
        prop_assert!(!(one < other && other < next));
    }

    #[test]
    fn long_names_are_cut_and_stay_apart(one in long_name(), other in long_name(), bound in 4_usize..64) {
        let key = |name: &str| KeyWriter::new(Keyspace::Documents).str_bounded(name, bound).finish();
        let (a, b) = (key(&one), key(&other));
        for key in [&a, &b] {
            prop_assert!(key.as_bytes().len() <= 1 + bound + CUT_BYTES);
        }
        prop_assert_eq!(a == b, one == other);
        // Neither is the beginning of the other: what follows in the key can't mix them up.
        prop_assert_eq!(a.as_bytes().starts_with(b.as_bytes()), one == other);
    }

    #[test]
    fn names_within_the_bound_are_as_without_one(name in text(), tail in any::<u64>()) {
        let bounded = KeyWriter::new(Keyspace::Documents).str_bounded(&name, 64).u64(tail).finish();
        let free = KeyWriter::new(Keyspace::Documents).str(&name).u64(tail).finish();
        prop_assert_eq!(bounded, free);
    }

    /// Names that differ before the cut are ordered as themselves, cut or not.
    #[test]
    fn cut_names_are_ordered_up_to_the_cut(one in "[a-c]{0,40}", other in "[a-c]{0,40}", bound in 4_usize..32) {
        let key = |name: &str| KeyWriter::new(Keyspace::Documents).str_bounded(name, bound).finish();
        let agree = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        prop_assume!(agree < bound.saturating_sub(2));
        prop_assert_eq!(key(&one).cmp(&key(&other)), one.cmp(&other));
    }

    /// The keys of services: several bounded names of any length fit the ledger's limit.
    #[test]
    fn keys_of_long_names_keep_the_limit(names in vec(long_name(), 1..4)) {
        let bound = (KEY_BYTES_MAX - 64) / names.len() - CUT_BYTES;
        let key = names
            .iter()
            .fold(KeyWriter::new(Keyspace::Blobs).u8(1), |key, name| key.str_bounded(name, bound))
            .u64(7)
            .finish();
        prop_assert!(key.as_bytes().len() <= KEY_BYTES_MAX);
    }

    /// Reading what nobody wrote gives nothing or something, and never goes past the end.
    #[test]
    fn any_bytes_can_be_read(bytes in vec(byte(), 0..40), kinds in vec(0_u8..8, 0..12), length in any::<usize>()) {
        let key = Key::from_encoded(Bytes::from(bytes));
        for keyspace in Keyspace::ALL {
            let Some(mut reader) = KeyReader::new(&key, keyspace) else {
                continue;
            };
            for kind in &kinds {
                let before = reader.rest().len();
                let read = match kind {
                    0 => reader.u8().is_some(),
                    1 => reader.u32().is_some(),
                    2 => reader.u64().is_some(),
                    3 => reader.i64().is_some(),
                    4 => reader.str().is_some(),
                    5 => reader.bytes().is_some(),
                    6 => reader.raw(RAW_BYTES).is_some(),
                    _ => reader.raw(length).is_some(),
                };
                prop_assert!(reader.rest().len() <= before);
                prop_assert!(!read || *kind == 7 || reader.rest().len() < before);
            }
        }
    }

    /// What can be read back is what would be written: no two encodings of one tuple.
    #[test]
    fn what_is_read_is_what_would_be_written(bytes in vec(byte(), 1..20)) {
        let key = Key::from_encoded(Bytes::from(bytes));
        let Some(keyspace) = key.keyspace() else {
            return Ok(());
        };
        let mut reader = KeyReader::new(&key, keyspace).unwrap();
        let mut writer = KeyWriter::new(keyspace);
        while let Some(part) = reader.bytes() {
            writer = writer.bytes(&part);
        }
        prop_assert!(key.as_bytes().starts_with(writer.finish().as_bytes()));
    }
}

#[test]
fn many_names_with_one_beginning_stay_apart() {
    let beginning = "x".repeat(5_000);
    let keys: BTreeSet<Key> = (0..2_000)
        .map(|number| {
            KeyWriter::new(Keyspace::Documents)
                .str_bounded(&format!("{beginning}{number}"), 1_000)
                .finish()
        })
        .collect();
    assert_eq!(keys.len(), 2_000);
}
