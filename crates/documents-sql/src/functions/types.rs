//! Questions about a value's type; always a boolean, undefined included. And DOCUMENTID.

use serde_json::Value;

use super::date::Instant;
use super::{Args, FunctionSpec, lenient, strict};

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    lenient("IS_ARRAY", 1, 1, |args| is(args, Value::is_array)),
    lenient("IS_BOOL", 1, 1, |args| is(args, Value::is_boolean)),
    // Not documented, but the .NET client's rewritten filters use it.
    lenient("IS_BOOLEAN", 1, 1, |args| is(args, Value::is_boolean)),
    lenient("IS_DEFINED", 1, 1, |args| is(args, |_| true)),
    lenient("IS_NULL", 1, 1, |args| is(args, Value::is_null)),
    lenient("IS_NUMBER", 1, 1, |args| is(args, Value::is_number)),
    lenient("IS_OBJECT", 1, 1, |args| is(args, Value::is_object)),
    lenient("IS_STRING", 1, 1, |args| is(args, Value::is_string)),
    lenient("IS_PRIMITIVE", 1, 1, |args| {
        is(args, |value| !value.is_array() && !value.is_object())
    }),
    lenient("IS_INTEGER", 1, 1, |args| {
        Some(Value::Bool(args.integer(0).is_some()))
    }),
    lenient("IS_FINITE_NUMBER", 1, 1, |args| is(args, Value::is_number)),
    lenient("IS_DATETIME", 1, 1, |args| {
        Some(Value::Bool(args.string(0).and_then(Instant::parse).is_some()))
    }),
    strict("DOCUMENTID", 1, 1, document_id),
];

fn is(args: &Args<'_>, test: fn(&Value) -> bool) -> Option<Value> {
    Some(Value::Bool(args.value(0).is_some_and(test)))
}

/// The document's number within its collection: bytes 8 to 16 of `_rid`, little-endian.
fn document_id(args: &Args<'_>) -> Option<Value> {
    let rid = args.object(0)?.get("_rid")?.as_str()?;
    let bytes = decode_rid(rid)?;
    let number: [u8; 8] = bytes.get(8..16)?.try_into().ok()?;
    Some(Value::from(u64::from_le_bytes(number)))
}

/// Resource ids are base64 with `-` for `/`.
fn decode_rid(rid: &str) -> Option<Vec<u8>> {
    const RID_CHARS_MAX: usize = 64;
    if rid.len() > RID_CHARS_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for c in rid.trim_end_matches('=').bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'-' | b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}
