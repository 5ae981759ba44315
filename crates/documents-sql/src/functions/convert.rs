//! Values to text and back. Text is strict JSON with blanks around it allowed.

use serde_json::Value;

use super::{Args, FunctionSpec, strict};
use crate::number::Num;

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("TOSTRING", 1, 1, |args| {
        Some(match args.value(0)? {
            Value::String(text) => Value::from(text.as_str()),
            other => Value::String(plain(other)?.to_string()),
        })
    }),
    strict("STRINGTOARRAY", 1, 1, |args| read(args, Value::is_array)),
    strict("STRINGTOBOOLEAN", 1, 1, |args| read(args, Value::is_boolean)),
    strict("STRINGTONULL", 1, 1, |args| read(args, Value::is_null)),
    strict("STRINGTONUMBER", 1, 1, |args| read(args, Value::is_number)),
    strict("STRINGTOOBJECT", 1, 1, |args| read(args, Value::is_object)),
];

/// The value with its whole numbers as integers, however the document writes them: 10, not 10.0.
fn plain(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Number(_) => Num::of(value)?.to_value()?,
        Value::Array(items) => Value::Array(items.iter().map(plain).collect::<Option<_>>()?),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| Some((name.clone(), plain(member)?)))
                .collect::<Option<_>>()?,
        ),
        other => other.clone(),
    })
}

fn read(args: &Args<'_>, wanted: fn(&Value) -> bool) -> Option<Value> {
    serde_json::from_str(args.string(0)?).ok().filter(wanted)
}
