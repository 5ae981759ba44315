//! Finding strings in strings.

use serde_json::Value;

use super::regex::regex_match;
use super::{Args, FunctionSpec, MANY, strict, utf16};

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("CONTAINS", 2, 3, |args| {
        test(args, |text, sought| text.contains(sought))
    }),
    strict("STARTSWITH", 2, 3, |args| {
        test(args, |text, sought| text.starts_with(sought))
    }),
    strict("ENDSWITH", 2, 3, |args| {
        test(args, |text, sought| text.ends_with(sought))
    }),
    strict("STRINGEQUALS", 2, 3, |args| {
        test(args, |text, sought| text == sought)
    }),
    strict("CONTAINS_ANY_CS", 2, MANY, |args| several(args, false, false)),
    strict("CONTAINS_ANY_CI", 2, MANY, |args| several(args, false, true)),
    strict("CONTAINS_ALL_CS", 2, MANY, |args| several(args, true, false)),
    strict("CONTAINS_ALL_CI", 2, MANY, |args| several(args, true, true)),
    strict("INDEX_OF", 2, 3, index_of),
    strict("LASTINDEXOF", 2, 2, last_index_of),
    strict("LAST_INDEX_OF", 2, 2, last_index_of),
    strict("REGEXMATCH", 2, 3, regex_match),
];

/// Two strings, and whether their case counts.
fn test(args: &Args<'_>, holds: fn(&str, &str) -> bool) -> Option<Value> {
    let (text, sought, ignore_case) = (args.string(0)?, args.string(1)?, args.flag(2)?);
    Some(Value::Bool(if ignore_case {
        holds(&text.to_lowercase(), &sought.to_lowercase())
    } else {
        holds(text, sought)
    }))
}

fn several(args: &Args<'_>, all: bool, ignore_case: bool) -> Option<Value> {
    let text = args.string(0)?;
    let text = if ignore_case {
        text.to_lowercase()
    } else {
        text.to_owned()
    };
    let mut found = Vec::new();
    for sought in args.from(1) {
        let sought = sought?.as_str()?;
        found.push(if ignore_case {
            text.contains(&sought.to_lowercase())
        } else {
            text.contains(sought)
        });
    }
    Some(Value::Bool(if all {
        found.iter().all(|f| *f)
    } else {
        found.iter().any(|f| *f)
    }))
}

fn index_of(args: &Args<'_>) -> Option<Value> {
    let (text, sought) = (args.string(0)?, args.string(1)?);
    let from = usize::try_from(args.integer_or(2, 0)?).unwrap_or(0);
    let start = utf16::byte_of(text, from);
    let found = text.get(start..).and_then(|rest| rest.find(sought));
    Some(found.map_or(Value::from(-1), |byte| {
        Value::from(utf16::position(text, start + byte))
    }))
}

fn last_index_of(args: &Args<'_>) -> Option<Value> {
    let (text, sought) = (args.string(0)?, args.string(1)?);
    Some(
        text.rfind(sought)
            .map_or(Value::from(-1), |byte| Value::from(utf16::position(text, byte))),
    )
}
