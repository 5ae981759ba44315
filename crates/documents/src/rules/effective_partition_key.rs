//! Effective partition keys: where in the space of partition key ranges a key lies.
//!
//! Version 2 is the upper-case hex of a 128-bit MurmurHash3 with the top two bits cleared; a
//! hierarchical key joins one of those per level, so a prefix of the key is a range; version 1
//! (containers made by old clients) is a 32-bit hash followed by the components themselves.
//! Clients compute the same values, so these bytes are an interface.

use super::partition_key::{Component, PartitionKey, PartitionKeyDefinition, PartitionKeyKind};

const V1_STRING_CHARS_MAX: usize = 100;

/// The effective partition key's bytes, which order as its hex text does.
#[must_use]
pub fn effective_partition_key(definition: &PartitionKeyDefinition, key: &PartitionKey) -> Vec<u8> {
    match (definition.kind, definition.version) {
        (PartitionKeyKind::MultiHash, _) => {
            let mut out = Vec::with_capacity(48);
            for component in key.components() {
                out.extend_from_slice(&hash_v2(std::slice::from_ref(component)));
            }
            out
        }
        (PartitionKeyKind::Hash, 1) => version_1(key.components()),
        (PartitionKeyKind::Hash, _) => hash_v2(key.components()).to_vec(),
    }
}

/// The upper-case hex text of an effective partition key.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String doesn't fail.
        let _ = write!(out, "{byte:02X}");
    }
    out
}

/// The components as version 2 hashes them: also a text of them that no other key has.
#[must_use]
pub fn component_bytes(components: &[Component]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(48);
    for component in components {
        write_for_hash(&mut bytes, component, 0xFF);
    }
    bytes
}

fn hash_v2(components: &[Component]) -> [u8; 16] {
    let (h1, h2) = murmur3_128(&component_bytes(components), 0);
    let mut bytes = ((u128::from(h2) << 64) | u128::from(h1)).to_be_bytes();
    bytes[0] &= 0x3F;
    bytes
}

fn version_1(components: &[Component]) -> Vec<u8> {
    let mut hashed = Vec::new();
    for component in components {
        write_for_hash(&mut hashed, &shortened(component), 0);
    }
    let hash = murmur3_32(&hashed);
    let mut out = Vec::new();
    write_binary(&mut out, &Component::Number(f64::from(hash)));
    for component in components {
        write_binary(&mut out, &shortened(component));
    }
    out
}

fn shortened(component: &Component) -> Component {
    match component {
        Component::String(text) => Component::String(text.chars().take(V1_STRING_CHARS_MAX).collect()),
        other => other.clone(),
    }
}

fn write_for_hash(out: &mut Vec<u8>, component: &Component, string_end: u8) {
    match component {
        Component::Undefined => out.push(0x00),
        Component::Null => out.push(0x01),
        Component::Bool(false) => out.push(0x02),
        Component::Bool(true) => out.push(0x03),
        Component::Number(number) => {
            out.push(0x05);
            out.extend_from_slice(&number.to_le_bytes());
        }
        Component::String(text) => {
            out.push(0x08);
            out.extend_from_slice(text.as_bytes());
            out.push(string_end);
        }
    }
}

fn write_binary(out: &mut Vec<u8>, component: &Component) {
    match component {
        Component::Undefined => out.push(0x00),
        Component::Null => out.push(0x01),
        Component::Bool(false) => out.push(0x02),
        Component::Bool(true) => out.push(0x03),
        Component::Number(number) => {
            out.push(0x05);
            write_number(out, *number);
        }
        Component::String(text) => {
            out.push(0x08);
            let bytes = text.as_bytes();
            let short = bytes.len() <= V1_STRING_CHARS_MAX;
            for byte in bytes.iter().take(V1_STRING_CHARS_MAX + 1) {
                out.push(byte.saturating_add(1));
            }
            if short {
                out.push(0);
            }
        }
    }
}

/// Order-preserving bits: the first byte, then groups of seven bits of which all but the last
/// have their lowest bit set.
fn write_number(out: &mut Vec<u8>, number: f64) {
    let bits = number.to_bits();
    let sign = 1 << 63;
    let mut payload: u64 = if bits < sign {
        bits ^ sign
    } else {
        (!bits).wrapping_add(1)
    };
    let top = |payload: u64| payload.to_be_bytes()[0];
    out.push(top(payload));
    payload <<= 8;
    loop {
        let group = top(payload) | 1;
        payload <<= 7;
        if payload == 0 {
            out.push(group & 0xFE);
            return;
        }
        out.push(group);
    }
}

/// MurmurHash3 (x64, 128 bits) with both halves seeded alike.
pub(crate) fn murmur3_128(bytes: &[u8], seed: u64) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let halves = |block: [u8; 16]| {
        let block = u128::from_le_bytes(block).to_le_bytes();
        let (a, b) = block.split_at(8);
        (le_u64(a), le_u64(b))
    };
    let (mut h1, mut h2) = (seed, seed);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let (k1, k2) = halves(*block);
        h1 ^= mix1(k1);
        h1 = h1
            .rotate_left(27)
            .wrapping_add(h2)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        h2 ^= mix2(k2);
        h2 = h2
            .rotate_left(31)
            .wrapping_add(h1)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    if !tail.is_empty() {
        let mut last = [0; 16];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let (k1, k2) = halves(last);
        h2 ^= mix2(k2);
        h1 ^= mix1(k1);
    }
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish64(h1);
    h2 = finish64(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2)
}

fn le_u64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn finish64(mut k: u64) -> u64 {
    k ^= k >> 33;
    k = k.wrapping_mul(0xff51_afd7_ed55_8ccd);
    k ^= k >> 33;
    k = k.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

/// MurmurHash3 (x86, 32 bits), seed 0.
fn murmur3_32(bytes: &[u8]) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let mix = |k: u32| k.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let mut h = 0u32;
    let (blocks, tail) = bytes.as_chunks::<4>();
    for block in blocks {
        h ^= mix(u32::from_le_bytes(*block));
        h = h.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let last = tail
            .iter()
            .rev()
            .fold(0, |number, byte| (number << 8) | u32::from(*byte));
        h ^= mix(last);
    }
    // Keys are bounded (limits::PARTITION_KEY_BYTES_MAX), so the length fits.
    h ^= u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(kind: PartitionKeyKind, version: u8) -> PartitionKeyDefinition {
        PartitionKeyDefinition {
            paths: vec![vec!["a".to_owned()]],
            kind,
            version,
        }
    }

    #[test]
    fn published_values() {
        let text = |text: &str| Component::String(text.to_owned());
        let table = [
            (text(""), "32E9366E637A71B4E710384B2F4970A0", "05C1CF33970FF80800"),
            (
                text("æøå"),
                "2CE4A46087A229D9884F104C0F0D3C34",
                "05C1E52343972408C4A7C4B9C4A600",
            ),
            (
                Component::Number(5.0),
                "19C08621B135968252FB34B4CF66F811",
                "05C1D9C1C5517C05C014",
            ),
            (
                Component::Number(-3.0),
                "30478B3D0E0AD5DBC95C665464636106",
                "05C1C17F27ADE8053FF8",
            ),
            (
                Component::Null,
                "378867E4430E67857ACE5C908374FE16",
                "05C1ED45D7475601",
            ),
            (
                Component::Undefined,
                "11622DAA78F835834610ABE56EFF5CB5",
                "05C1D529E345DC00",
            ),
        ];
        for (component, v2, v1) in table {
            let key = PartitionKey::new(vec![component.clone()]);
            let hex = |version| {
                to_hex(&effective_partition_key(
                    &definition(PartitionKeyKind::Hash, version),
                    &key,
                ))
            };
            assert_eq!(hex(2), v2, "{component:?}");
            assert_eq!(hex(1), v1, "{component:?}");
        }
        let key = PartitionKey::new(vec![text("ttd"), text("500000")]);
        assert_eq!(
            to_hex(&effective_partition_key(
                &definition(PartitionKeyKind::MultiHash, 2),
                &key
            )),
            "181A5B03196FB5944F40DC56DB54A35D2ADD733E9289DEC903BCEC337F1B5304"
        );
    }

    #[test]
    fn long_strings_of_version_1_are_cut() {
        let hex = |text: &str| {
            let key = PartitionKey::new(vec![Component::String(text.to_owned())]);
            to_hex(&effective_partition_key(
                &definition(PartitionKeyKind::Hash, 1),
                &key,
            ))
        };
        let hundred = "a".repeat(100);
        assert_eq!(
            hex(&hundred),
            hex(&format!("{hundred}b")),
            "cut to 100 characters"
        );
        assert!(
            hex(&"å".repeat(100)).ends_with("A6C4"),
            "over 100 bytes: 101 of them and no end byte"
        );
    }
}
