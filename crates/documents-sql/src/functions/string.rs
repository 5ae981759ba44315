//! Strings made from strings. Results are bounded before they are built.

use serde_json::Value;

use super::{Args, FunctionSpec, MANY, strict, utf16};
use crate::limits::{REPLICATE_UNITS_MAX, VALUE_BYTES_MAX};

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("CONCAT", 2, MANY, concat),
    strict("LEFT", 2, 2, |args| {
        Some(Value::String(utf16::slice(
            args.string(0)?,
            0,
            count(args.integer(1)?),
        )))
    }),
    strict("RIGHT", 2, 2, |args| {
        let (text, wanted) = (args.string(0)?, count(args.integer(1)?));
        let start = utf16::length(text).saturating_sub(wanted);
        Some(Value::String(utf16::slice(text, start, usize::MAX)))
    }),
    strict("SUBSTRING", 3, 3, |args| {
        let (text, start, length) = (args.string(0)?, args.integer(1)?, count(args.integer(2)?));
        // Before the first character there is nothing to begin with.
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Some(Value::String(utf16::slice(text, start, length)))
    }),
    strict("LENGTH", 1, 1, |args| {
        Some(Value::from(utf16::length(args.string(0)?)))
    }),
    strict("LOWER", 1, 1, |args| {
        Some(one_for_one(args.string(0)?, |c| only(c.to_lowercase())))
    }),
    strict("UPPER", 1, 1, |args| {
        Some(one_for_one(args.string(0)?, |c| {
            // "MICRO SIGN does not have an upper casing" (the .NET SDK's BuiltinFunctionEvaluatorTests.UPPER).
            if c == '\u{b5}' {
                None
            } else {
                only(c.to_uppercase())
            }
        }))
    }),
    strict("TRIM", 1, 2, |args| {
        trimmed(args, |text, set| text.trim_matches(set))
    }),
    strict("LTRIM", 1, 2, |args| {
        trimmed(args, |text, set| text.trim_start_matches(set))
    }),
    strict("RTRIM", 1, 2, |args| {
        trimmed(args, |text, set| text.trim_end_matches(set))
    }),
    strict("REPLACE", 3, 3, replace),
    strict("REPLICATE", 2, 2, replicate),
    strict("REVERSE", 1, 1, |args| {
        Some(Value::String(args.string(0)?.chars().rev().collect()))
    }),
    strict("STRINGJOIN", 2, 2, join),
    strict("STRINGSPLIT", 2, 2, |args| {
        let (text, separator) = (args.string(0)?, args.string(1)?);
        let parts: Vec<Value> = if separator.is_empty() {
            vec![Value::from(text)]
        } else {
            text.split(separator).map(Value::from).collect()
        };
        Some(Value::Array(parts))
    }),
    strict("SUBSTRINGBEFORE", 2, 2, |args| {
        around(args, |text, mark| text.find(mark), before)
    }),
    strict("SUBSTRINGAFTER", 2, 2, |args| {
        around(args, |text, mark| text.find(mark), after)
    }),
    strict("LASTSUBSTRINGBEFORE", 2, 2, |args| {
        around(args, |text, mark| text.rfind(mark), before)
    }),
    strict("LASTSUBSTRINGAFTER", 2, 2, |args| {
        around(args, |text, mark| text.rfind(mark), after)
    }),
];

/// One side of a delimiter. The documentation doesn't say what comes of a text without it: here nothing,
/// the empty string.
fn around(
    args: &Args<'_>,
    find: fn(&str, &str) -> Option<usize>,
    side: fn(&str, usize, usize) -> Option<&str>,
) -> Option<Value> {
    let (text, delimiter) = (args.string(0)?, args.string(1)?);
    let found = find(text, delimiter).and_then(|at| side(text, at, delimiter.len()));
    Some(Value::from(found.unwrap_or_default()))
}

fn before(text: &str, at: usize, _: usize) -> Option<&str> {
    text.get(..at)
}

fn after(text: &str, at: usize, length: usize) -> Option<&str> {
    text.get(at + length..)
}

/// A count of code units; below zero is zero.
fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn concat(args: &Args<'_>) -> Option<Value> {
    let mut result = String::new();
    for argument in args.from(0) {
        let text = argument?.as_str()?;
        if result.len() + text.len() > VALUE_BYTES_MAX {
            return None;
        }
        result.push_str(text);
    }
    Some(Value::String(result))
}

/// Trims blanks, or the characters given.
fn trimmed(args: &Args<'_>, trim: for<'t> fn(&'t str, &dyn Fn(char) -> bool) -> &'t str) -> Option<Value> {
    let text = args.string(0)?;
    let result = if args.count() > 1 {
        let set = args.string(1)?;
        trim(text, &|c| set.contains(c))
    } else {
        trim(text, &char::is_whitespace)
    };
    Some(Value::from(result))
}

fn replace(args: &Args<'_>) -> Option<Value> {
    let (text, sought, new) = (args.string(0)?, args.string(1)?, args.string(2)?);
    if sought.is_empty() {
        return Some(Value::from(text));
    }
    let found = text.matches(sought).count();
    let bytes = (text.len() - found * sought.len()).checked_add(found.checked_mul(new.len())?)?;
    if bytes > VALUE_BYTES_MAX {
        return None;
    }
    Some(Value::String(text.replace(sought, new)))
}

/// Each character in the other case, where that is one character: the text keeps its length.
fn one_for_one(text: &str, turn: impl Fn(char) -> Option<char>) -> Value {
    Value::String(text.chars().map(|c| turn(c).unwrap_or(c)).collect())
}

fn only(mut turned: impl Iterator<Item = char>) -> Option<char> {
    turned.next().filter(|_| turned.next().is_none())
}

/// A fraction of the count is cut off, as the .NET SDK's evaluator does it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be between 0 and a small limit"
)]
fn replicate(args: &Args<'_>) -> Option<Value> {
    let (text, times) = (args.string(0)?, args.float(1)?);
    if !(0.0..=REPLICATE_UNITS_MAX as f64).contains(&times) {
        // Nothing is repeated without end, not even nothing.
        return None;
    }
    let times = times as usize;
    (utf16::length(text) * times <= REPLICATE_UNITS_MAX).then(|| Value::String(text.repeat(times)))
}

fn join(args: &Args<'_>) -> Option<Value> {
    let (parts, separator) = (args.array(0)?, args.string(1)?);
    let parts: Vec<&str> = parts.iter().map(Value::as_str).collect::<Option<_>>()?;
    let bytes =
        parts.iter().map(|part| part.len()).sum::<usize>() + separator.len().checked_mul(parts.len())?;
    if bytes > VALUE_BYTES_MAX {
        return None;
    }
    Some(Value::String(parts.join(separator)))
}
