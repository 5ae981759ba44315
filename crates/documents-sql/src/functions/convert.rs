//! Values to text and back. Text is strict JSON with blanks around it allowed.

use serde_json::Value;

use super::{Args, FunctionSpec, strict};
use crate::number::Num;

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("TOSTRING", 1, 1, |args| {
        Some(match args.value(0)? {
            Value::String(text) => Value::from(text.as_str()),
            number @ Value::Number(_) => Value::String(Num::of(number)?.to_value()?.to_string()),
            other => Value::String(other.to_string()),
        })
    }),
    strict("STRINGTOARRAY", 1, 1, |args| read(args, Value::is_array)),
    strict("STRINGTOBOOLEAN", 1, 1, |args| read(args, Value::is_boolean)),
    strict("STRINGTONULL", 1, 1, |args| read(args, Value::is_null)),
    strict("STRINGTONUMBER", 1, 1, |args| read(args, Value::is_number)),
    strict("STRINGTOOBJECT", 1, 1, |args| read(args, Value::is_object)),
];

fn read(args: &Args<'_>, wanted: fn(&Value) -> bool) -> Option<Value> {
    serde_json::from_str(args.string(0)?).ok().filter(wanted)
}
