//! The structural hash of a value: 128-bit MurmurHash3 over type seeds, indexes, names and
//! values, the same for any key order.
//!
//! The service orders arrays and objects among themselves by this hash, and the .NET client
//! computes the same one to drop duplicates, so seeds and steps are an interface and must not
//! change. Not for anything that an adversary may choose keys for without an equality check.

use serde_json::Value;

const ROOT: u128 = seed(0xbfc2_359e_afc0_e2b7, 0x8846_e002_84c4_cf1f);
const NULL: u128 = seed(0x1380_f68b_b3b0_cfe4, 0x156c_918b_f564_ee48);
const FALSE: u128 = seed(0xc1be_517f_e893_b40c, 0xe9fc_8a4c_531c_d0dd);
const TRUE: u128 = seed(0xf86d_4abf_9a41_2e74, 0x7884_8836_5c8a_985d);
const STRING: u128 = seed(0x61f5_3f0a_4420_4cfb, 0x0948_1be8_ef4b_56dd);
const ARRAY: u128 = seed(0xfa57_3b01_4c4d_c18e, 0xa014_512c_858e_b115);
const OBJECT: u128 = seed(0x77b2_85ac_511a_ef30, 0x3dcf_1872_4582_2449);
const ARRAY_INDEX: u128 = seed(0xfe05_7204_216d_b999, 0x5b1c_c317_8bd9_c593);
const PROPERTY_NAME: u128 = seed(0xc915_dde0_5849_2a8a, 0x7c8b_e2eb_a72e_4634);
const NUMBER: u128 = seed(0x2400_e8b8_94ce_9c2a, 0x790b_e1ea_bd7b_9481);

const fn seed(low: u64, high: u64) -> u128 {
    ((high as u128) << 64) | low as u128
}

/// The hash of a value standing alone.
pub fn structural_hash(value: &Value) -> u128 {
    hash_value(value, ROOT)
}

/// The hash of a row of values of which some are undefined (GROUP BY keys).
pub(crate) fn row_hash<'v>(values: impl Iterator<Item = Option<&'v Value>>) -> u128 {
    let mut hash = hash_u128(ARRAY, ROOT);
    let mut index = ARRAY_INDEX;
    for value in values {
        index = index.wrapping_add(1);
        if let Some(value) = value {
            hash = hash_u128(hash_value(value, index), hash);
        }
    }
    hash
}

fn hash_value(value: &Value, seed: u128) -> u128 {
    match value {
        Value::Null => hash_u128(NULL, seed),
        Value::Bool(false) => hash_u128(FALSE, seed),
        Value::Bool(true) => hash_u128(TRUE, seed),
        Value::Number(number) => {
            let float = number.as_f64().unwrap_or_default();
            let float = if float == 0.0 { 0.0 } else { float };
            murmur3(&number_bytes(float), hash_u128(NUMBER, seed))
        }
        Value::String(text) => murmur3(text.as_bytes(), hash_u128(STRING, seed)),
        Value::Array(items) => {
            let mut hash = hash_u128(ARRAY, seed);
            let mut index = ARRAY_INDEX;
            for item in items {
                hash = hash_u128(hash_value(item, index), hash);
                index = index.wrapping_add(1);
            }
            hash
        }
        Value::Object(map) => {
            let hash = hash_u128(OBJECT, seed);
            // XOR forgets the order of keys; each value's hash is seeded by its name's.
            let mut members = 0u128;
            for (key, member) in map {
                let name = murmur3(key.as_bytes(), hash_u128(STRING, PROPERTY_NAME));
                members ^= hash_value(member, name);
            }
            if members == 0 {
                hash
            } else {
                hash_u128(members, hash)
            }
        }
    }
}

/// The 16 bytes of the service's extended double: the double, then what an integer needs beyond
/// it (nothing here: integers that differ only there are told apart by comparison).
fn number_bytes(float: f64) -> [u8; 16] {
    let mut bytes = [0u8; 16];
    for (to, from) in bytes.iter_mut().zip(float.to_le_bytes()) {
        *to = from;
    }
    bytes
}

fn hash_u128(value: u128, seed: u128) -> u128 {
    murmur3(&value.to_le_bytes(), seed)
}

/// MurmurHash3 (x64, 128 bits) with a 128-bit seed.
fn murmur3(bytes: &[u8], seed: u128) -> u128 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mut h1 = low(seed);
    let mut h2 = low(seed >> 64);
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        let block = u128::from_le_bytes(*block);
        h1 ^= low(block).wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
        h1 = h1
            .rotate_left(27)
            .wrapping_add(h2)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        h2 ^= low(block >> 64).wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
        h2 = h2
            .rotate_left(31)
            .wrapping_add(h1)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    if !tail.is_empty() {
        let mut last = [0u8; 16];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        let last = u128::from_le_bytes(last);
        h2 ^= low(last >> 64).wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
        h1 ^= low(last).wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    }
    let length = bytes.len() as u64;
    h1 ^= length;
    h2 ^= length;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    h1 = finish(h1);
    h2 = finish(h2);
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (u128::from(h2) << 64) | u128::from(h1)
}

fn finish(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ (h >> 33)
}

#[allow(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
const fn low(value: u128) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn murmur_agrees_with_the_published_vectors() {
        // MurmurHash3_x64_128, seed 0: h1 then h2.
        assert_eq!(murmur3(b"", 0), 0);
        let hello = murmur3(b"hello", 0);
        assert_eq!(low(hello), 0xcbd8_a7b3_41bd_9b02);
        assert_eq!(low(hello >> 64), 0x5b1e_906a_48ae_1d19);
        let fox = murmur3(b"The quick brown fox jumps over the lazy dog", 0);
        assert_eq!(low(fox), 0xe34b_bc7b_bc07_1b6c);
        assert_eq!(low(fox >> 64), 0x7a43_3ca9_c49a_9347);
    }

    #[test]
    fn equal_values_hash_alike_and_order_of_keys_does_not_count() {
        assert_eq!(
            structural_hash(&json!({"a": 1, "b": 2})),
            structural_hash(&json!({"b": 2, "a": 1.0}))
        );
        assert_eq!(structural_hash(&json!(-0.0)), structural_hash(&json!(0)));
        assert_ne!(structural_hash(&json!([1, 2])), structural_hash(&json!([2, 1])));
        assert_ne!(structural_hash(&json!([])), structural_hash(&json!({})));
        assert_ne!(
            row_hash([None, Some(&json!(1))].into_iter()),
            row_hash([Some(&json!(1)), None].into_iter())
        );
    }
}
