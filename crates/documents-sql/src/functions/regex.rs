//! REGEXMATCH, on a regular-expression engine whose time is linear in the text.
//!
//! Patterns with look-around or back-references are not supported by such an engine and give
//! undefined, as malformed ones do.

use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::Args;
use crate::eval::Runtime;
use crate::limits::{PATTERN_BYTES_MAX, REGEX_BYTES_MAX, REGEX_WORK, REGEXES_CACHED_MAX};

/// Compiled patterns of one execution; `None` is one that doesn't compile.
#[derive(Default)]
pub(crate) struct RegexCache {
    compiled: HashMap<(String, String), Option<Regex>>,
}

impl RegexCache {
    fn is_match(&mut self, pattern: &str, modifiers: &str, text: &str, runtime: &Runtime) -> Option<bool> {
        let key = (pattern.to_owned(), modifiers.to_owned());
        if !self.compiled.contains_key(&key) {
            runtime.work(REGEX_WORK)?;
            if self.compiled.len() >= REGEXES_CACHED_MAX {
                self.compiled.clear();
            }
            self.compiled.insert(key.clone(), compile(pattern, modifiers));
        }
        let regex = self.compiled.get(&key)?.as_ref()?;
        Some(regex.is_match(text))
    }
}

fn compile(pattern: &str, modifiers: &str) -> Option<Regex> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return None;
    }
    let mut builder = RegexBuilder::new(pattern);
    builder
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX);
    for modifier in modifiers.chars() {
        match modifier {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            _ => return None,
        };
    }
    builder.build().ok()
}

pub(super) fn regex_match(args: &Args<'_>) -> Option<Value> {
    let (text, pattern) = (args.string(0)?, args.string(1)?);
    let modifiers = if args.count() > 2 { args.string(2)? } else { "" };
    let mut cache = args.runtime.regexes.try_borrow_mut().ok()?;
    cache
        .is_match(pattern, modifiers, text, args.runtime)
        .map(Value::Bool)
}
