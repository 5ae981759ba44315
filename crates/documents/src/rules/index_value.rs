//! How a value looks inside an index key: byte order is the query language's order
//! (`documents_sql::compare_values`), save behind the cut of a long string.
//!
//! | type | bytes |
//! | --- | --- |
//! | null, false, true | `10`, `20`, `21` |
//! | number | `30`, order-preserving double (8), from 2^53 on what an integer differs from it (2) |
//! | string | `40`, UTF-8 with lead bytes permuted to UTF-16 order, `00` as `01 02`, `01` as `01 03`, end `00` |
//! | long string | the same, cut, end `01 01` |
//! | array, object | `50`, `60`, the first half of the structural hash (8) |
//!
//! Short because keys of at most 20 bytes are cheap to write. No encoding is another one's prefix.
//! Undefined has no entry, but for composite indexes, where it is `05`. Nothing is decoded: an entry
//! leads to its document, where the value is read again.

use serde_json::{Number, Value};

use crate::limits::INDEX_STRING_BYTES_MAX;

/// What stands for a missing value where others follow.
pub const UNDEFINED: u8 = 0x05;
const NULL: u8 = 0x10;
const FALSE: u8 = 0x20;
const TRUE: u8 = 0x21;
const NUMBER: u8 = 0x30;
const STRING: u8 = 0x40;
const ARRAY: u8 = 0x50;
const OBJECT: u8 = 0x60;

/// The two bytes that end a string which was cut.
pub const CUT_END: [u8; 2] = [1, 1];
const STRING_END: [u8; 1] = [0];

/// From here on neighbouring integers share a double.
const INEXACT_FROM: f64 = 9_007_199_254_740_992.0;

/// Appends a value's encoding.
pub fn write(out: &mut Vec<u8>, value: &Value) {
    write_within(out, value, INDEX_STRING_BYTES_MAX);
}

/// As [`write`], with strings cut at `string_bytes_max`.
pub fn write_within(out: &mut Vec<u8>, value: &Value, string_bytes_max: usize) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Number(number) => {
            out.push(NUMBER);
            write_number(out, number);
        }
        Value::String(text) => {
            out.push(STRING);
            let end: &[u8] = if write_text(out, text, string_bytes_max) {
                &CUT_END
            } else {
                &STRING_END
            };
            out.extend_from_slice(end);
        }
        Value::Array(_) => {
            out.push(ARRAY);
            write_structure(out, value);
        }
        Value::Object(_) => {
            out.push(OBJECT);
            write_structure(out, value);
        }
    }
}

fn write_structure(out: &mut Vec<u8>, value: &Value) {
    let hash = documents_sql::structural_hash(value) >> 64;
    out.extend_from_slice(&u64::try_from(hash).unwrap_or(u64::MAX).to_be_bytes());
}

/// A value's encoding.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    write(&mut out, value);
    out
}

/// The bytes that every string beginning with `prefix` begins with. A prefix longer than the cut
/// gives the cut, so more may be found than asked for.
#[must_use]
pub fn encode_string_prefix(prefix: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    write_string_prefix(&mut out, prefix, INDEX_STRING_BYTES_MAX);
    out
}

/// As [`encode_string_prefix`], behind what is there, for strings cut at `string_bytes_max`.
pub fn write_string_prefix(out: &mut Vec<u8>, prefix: &str, string_bytes_max: usize) {
    out.push(STRING);
    write_text(out, prefix, string_bytes_max);
}

/// The first byte of all values, undefined left aside, and the first byte behind them.
pub const DEFINED_BOUNDS: (u8, u8) = (NULL, OBJECT + 1);

/// The first byte of all values of the type that `value` has, and the first byte behind them.
#[must_use]
pub fn type_bounds(value: &Value) -> (u8, u8) {
    match value {
        Value::Null => (NULL, NULL + 1),
        Value::Bool(_) => (FALSE, TRUE + 1),
        Value::Number(_) => (NUMBER, NUMBER + 1),
        Value::String(_) => (STRING, STRING + 1),
        Value::Array(_) => (ARRAY, ARRAY + 1),
        Value::Object(_) => (OBJECT, OBJECT + 1),
    }
}

/// Whether an encoding is that of a string which was cut: documents that share it are not in
/// order among themselves.
#[must_use]
pub fn is_cut(encoded: &[u8]) -> bool {
    encoded.first() == Some(&STRING) && encoded.ends_with(&CUT_END)
}

/// Whether a string's encoding begins with this byte.
pub fn begins_string(first: u8) -> bool {
    first == STRING
}

/// How far the encoding that `bytes` begin with goes, and whether values that share it are equal: not
/// so of cut strings, arrays and objects. `None` if no encoding begins there.
pub fn extent(mut bytes: impl Iterator<Item = u8>) -> Option<(usize, bool)> {
    match bytes.next()? {
        UNDEFINED | NULL | FALSE | TRUE => Some((1, true)),
        NUMBER => {
            let mut ordered = [0; 8];
            for to in &mut ordered {
                *to = bytes.next()?;
            }
            let ordered = u64::from_be_bytes(ordered);
            let bits = if ordered >> 63 == 1 {
                ordered & !(1 << 63)
            } else {
                !ordered
            };
            if f64::from_bits(bits).abs() < INEXACT_FROM {
                return Some((9, true));
            }
            bytes.nth(1)?;
            Some((11, true))
        }
        STRING => {
            let mut length = 1;
            loop {
                length += 1;
                match bytes.next()? {
                    0 => return Some((length, true)),
                    1 => {
                        length += 1;
                        if bytes.next()? == 1 {
                            return Some((length, false));
                        }
                    }
                    _ => {}
                }
            }
        }
        ARRAY | OBJECT => bytes.nth(7).map(|_| (9, false)),
        _ => None,
    }
}

fn write_text(out: &mut Vec<u8>, text: &str, bytes_max: usize) -> bool {
    // An escape takes two bytes and must not be cut in two.
    let cut_at = out.len() + bytes_max.saturating_sub(1);
    let mut rest = text.as_bytes();
    loop {
        // What needs no change is copied at once, as far as there is room.
        let plain = rest
            .iter()
            .position(|byte| matches!(byte, 0 | 1 | 0xEE | 0xEF | 0xF0..=0xF4))
            .unwrap_or(rest.len())
            .min(cut_at.saturating_sub(out.len()));
        let Some((head, behind)) = rest.split_at_checked(plain) else {
            return false;
        };
        out.extend_from_slice(head);
        let Some((&byte, behind)) = behind.split_first() else {
            return false;
        };
        if out.len() >= cut_at {
            return true;
        }
        match byte {
            0 | 1 => out.extend_from_slice(&[1, byte + 2]),
            // U+E000..U+FFFF sort behind surrogate pairs in UTF-16, before them in UTF-8.
            0xEE | 0xEF => out.push(byte + 5),
            0xF0..=0xF4 => out.push(byte - 2),
            other => out.push(other),
        }
        rest = behind;
    }
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    let exact = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    // Minus zero is zero.
    let double = number.as_f64().unwrap_or_default() + 0.0;
    let bits = double.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    out.extend_from_slice(&ordered.to_be_bytes());
    if double.abs() < INEXACT_FROM {
        return;
    }
    // Doubles near 2^64 are 2,048 apart, so the difference is at most 1,024.
    let difference = exact.map_or(0, |exact| exact - whole(double));
    let difference = u16::try_from(difference + 0x8000).unwrap_or(0x8000);
    out.extend_from_slice(&difference.to_be_bytes());
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a double made from an integer of 64 bits"
)]
fn whole(double: f64) -> i128 {
    double as i128
}

#[cfg(test)]
mod tests {
    use documents_sql::compare_values;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Byte by byte, as the format says it.
    fn written_slowly(text: &str) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        for byte in text.bytes() {
            if out.len() >= INDEX_STRING_BYTES_MAX - 1 {
                return (out, true);
            }
            match byte {
                0 => out.extend_from_slice(&[1, 2]),
                1 => out.extend_from_slice(&[1, 3]),
                0xEE | 0xEF => out.push(byte + 5),
                0xF0..=0xF4 => out.push(byte - 2),
                other => out.push(other),
            }
        }
        (out, false)
    }

    proptest! {
        #[test]
        fn text_is_written_as_the_format_says(
            pieces in prop::collection::vec(("[a\0\u{1}\u{E000}\u{10000}é]{0,9}", 0usize..3), 0..8),
            before in 0usize..4,
        ) {
            let text: String = pieces
                .iter()
                .map(|(piece, length)| format!("{piece}{}", "x".repeat(length * (INDEX_STRING_BYTES_MAX / 3))))
                .collect();
            let mut out = vec![7; before];
            let cut = write_text(&mut out, &text, INDEX_STRING_BYTES_MAX);
            let (wanted, wanted_cut) = written_slowly(&text);
            prop_assert_eq!(cut, wanted_cut);
            prop_assert_eq!(&out[before..], &wanted);
        }
    }

    #[test]
    fn the_order_of_types_and_edges() {
        let ascending = [
            json!(null),
            json!(false),
            json!(true),
            json!(i64::MIN),
            json!(-9_007_199_254_740_993_i64),
            json!(-9_007_199_254_740_992_i64),
            json!(-1.5),
            json!(0),
            json!(5e-324),
            json!(1),
            json!(9_007_199_254_740_992_u64),
            json!(9_007_199_254_740_993_u64),
            json!(9_007_199_254_740_994_u64),
            json!(i64::MAX),
            json!(u64::MAX - 1),
            json!(u64::MAX),
            json!(1e300),
            json!(""),
            json!("\0"),
            json!("\0\0"),
            json!("a"),
            json!("a\0"),
            json!("a\u{1}"),
            json!("aa"),
            json!("b"),
            json!("\u{10000}"),
            json!("\u{e000}"),
            json!("\u{ffff}"),
            json!([1]),
            json!({"a": 1}),
        ];
        for pair in ascending.windows(2) {
            assert!(encode(&pair[0]) < encode(&pair[1]), "{} < {}", pair[0], pair[1]);
            assert!(
                compare_values(Some(&pair[0]), Some(&pair[1])).is_lt(),
                "{} < {}",
                pair[0],
                pair[1]
            );
        }
        assert_eq!(encode(&json!(1)), encode(&json!(1.0)));
        assert_eq!(encode(&json!(0)), encode(&json!(-0.0)));
    }

    #[test]
    fn long_strings_are_cut_but_keep_order_before_the_cut() {
        let long = |end: &str| json!(format!("{}{end}", "x".repeat(INDEX_STRING_BYTES_MAX)));
        assert_eq!(encode(&long("a")), encode(&long("b")));
        assert!(is_cut(&encode(&long("a"))));
        for whole in ["", "x", "\0", "\u{1}", "\u{1}\0"] {
            assert!(!is_cut(&encode(&json!(whole))));
        }
        assert!(encode(&long("a")) < encode(&json!("y")));
        assert!(encode(&json!("\0".repeat(INDEX_STRING_BYTES_MAX))).len() <= INDEX_STRING_BYTES_MAX + 3);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-20i64..20).prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |f| Number::from_f64(f).map(Value::Number)),
            ".{0,6}".prop_map(Value::from),
            "[a\u{0}\u{1}\u{e000}\u{ffff}\u{10000}]{0,4}".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[ab]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn byte_order_is_value_order(a in value(), b in value()) {
            let (x, y) = (encode(&a), encode(&b));
            let wanted = compare_values(Some(&a), Some(&b));
            if a.is_array() || a.is_object() {
                // Structures whose hashes agree are told apart by looking at the document.
                prop_assert!(x.cmp(&y) == wanted || x == y);
            } else {
                prop_assert_eq!(x.cmp(&y), wanted, "{} {}", a, b);
            }
        }

        #[test]
        fn no_encoding_is_another_ones_prefix(a in value(), b in value()) {
            let (x, y) = (encode(&a), encode(&b));
            prop_assert!(x == y || !x.starts_with(&y), "{} {}", a, b);
        }

        #[test]
        fn an_encoding_is_measured(a in value(), b in value(), bytes_max in 4usize..9) {
            let mut both = Vec::new();
            write_within(&mut both, &a, bytes_max);
            let length = both.len();
            write_within(&mut both, &b, bytes_max);
            let whole = match &a {
                Value::String(text) => !write_text(&mut Vec::new(), text, bytes_max),
                other => !other.is_array() && !other.is_object(),
            };
            prop_assert_eq!(extent(both.iter().copied()), Some((length, whole)));
            let beginning = both.iter().copied().take(length - 1);
            prop_assert_eq!(extent(beginning), None, "{} lacks its end", a);
        }

        #[test]
        fn a_prefix_is_a_prefix(a in ".{0,5}", b in ".{0,5}") {
            let whole = encode(&Value::from(format!("{a}{b}")));
            prop_assert!(whole.starts_with(&encode_string_prefix(&a)));
        }
    }
}
