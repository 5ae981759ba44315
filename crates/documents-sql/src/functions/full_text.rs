//! Words in texts: FULLTEXTCONTAINS and its kin, and what ranking by FULLTEXTSCORE counts.
//!
//! A word is a run of letters and digits, in lower case. No stemming and no stop words: those
//! depend on a language, and a word that is searched for should be found as it is written.

use serde_json::Value;

use super::{Args, FunctionSpec, MANY, strict};
use crate::limits::{FULL_TEXT_TERM_WORDS_MAX, FULL_TEXT_TERMS_MAX, WORDS_PER_WORK};

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("FULLTEXTCONTAINS", 2, 2, |args| contains(args, true)),
    strict("FULLTEXTCONTAINSALL", 2, MANY, |args| contains(args, true)),
    strict("FULLTEXTCONTAINSANY", 2, MANY, |args| contains(args, false)),
];

fn contains(args: &Args<'_>, all: bool) -> Option<Value> {
    let words = Words::of(args.string(0)?);
    if args.count() > FULL_TEXT_TERMS_MAX + 1 {
        return None;
    }
    let mut found = Vec::new();
    for term in args.from(1) {
        let term = Words::of(term?.as_str()?);
        if !term.is_short() {
            return None;
        }
        args.runtime.work(words.work(&term))?;
        found.push(words.count(&term) > 0);
    }
    Some(Value::Bool(if all {
        found.iter().all(|found| *found)
    } else {
        found.iter().any(|found| *found)
    }))
}

/// A text's words in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words(Vec<String>);

impl Words {
    pub(crate) fn of(text: &str) -> Self {
        let runs = text.split(|c: char| !c.is_alphanumeric());
        Self(
            runs.filter(|run| !run.is_empty())
                .map(str::to_lowercase)
                .collect(),
        )
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether these are few enough words to be searched for.
    pub(crate) fn is_short(&self) -> bool {
        self.0.len() <= FULL_TEXT_TERM_WORDS_MAX
    }

    /// Units of work to count a term.
    pub(crate) fn work(&self, term: &Self) -> usize {
        self.0.len().saturating_mul(term.0.len()) / WORDS_PER_WORK
    }

    /// How often the words of a term follow each other in the text.
    pub(crate) fn count(&self, term: &Self) -> usize {
        if term.0.is_empty() {
            return 0;
        }
        self.0
            .windows(term.0.len())
            .filter(|window| *window == term.0.as_slice())
            .count()
    }
}
