//! The built-in functions: a table per subject, one entry per name.
//!
//! A function sees evaluated arguments and gives a value or undefined; it can't fail. Strict
//! ones (most) are undefined as soon as one argument is, and are not even called. To add one,
//! add a line to its subject's table. Going through its arguments once is counted as work by the
//! caller; a function that does more (each with each) counts it with `Runtime::work`.

mod array;
mod convert;
mod date;
mod date_format;
mod date_functions;
pub(crate) mod full_text;
mod integer;
pub(crate) mod like;
mod math;
pub(crate) mod regex;
mod search;
mod set;
mod spatial;
mod string;
mod types;
mod utf16;
pub(crate) mod vector;

use serde_json::{Map, Value};

use crate::eval::Runtime;
use crate::number::Num;
use crate::value::Datum;

/// A function of the language.
pub(crate) struct FunctionSpec {
    /// Upper case.
    pub(crate) name: &'static str,
    /// Fewest arguments.
    pub(crate) least: usize,
    /// Most arguments; `usize::MAX` for any number.
    pub(crate) most: usize,
    /// Undefined if an argument is.
    pub(crate) strict: bool,
    /// Depends on nothing but its arguments, so constant calls are folded.
    pub(crate) pure: bool,
    pub(crate) run: Run,
}

pub(crate) type Run = fn(&Args<'_>) -> Option<Value>;

impl std::fmt::Debug for FunctionSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Any number of arguments.
const MANY: usize = usize::MAX;

const fn strict(name: &'static str, least: usize, most: usize, run: Run) -> FunctionSpec {
    FunctionSpec {
        name,
        least,
        most,
        strict: true,
        pure: true,
        run,
    }
}

const fn lenient(name: &'static str, least: usize, most: usize, run: Run) -> FunctionSpec {
    FunctionSpec {
        name,
        least,
        most,
        strict: false,
        pure: true,
        run,
    }
}

/// Depends on time or chance.
const fn impure(name: &'static str, least: usize, most: usize, run: Run) -> FunctionSpec {
    FunctionSpec {
        name,
        least,
        most,
        strict: true,
        pure: false,
        run,
    }
}

static SUBJECTS: [&[FunctionSpec]; 12] = [
    types::FUNCTIONS,
    string::FUNCTIONS,
    search::FUNCTIONS,
    convert::FUNCTIONS,
    array::FUNCTIONS,
    set::FUNCTIONS,
    math::FUNCTIONS,
    integer::FUNCTIONS,
    date_functions::FUNCTIONS,
    spatial::FUNCTIONS,
    full_text::FUNCTIONS,
    vector::FUNCTIONS,
];

/// The function of that name, in any case.
pub(crate) fn named(name: &str) -> Option<&'static FunctionSpec> {
    SUBJECTS
        .iter()
        .flat_map(|table| table.iter())
        .find(|function| function.name.eq_ignore_ascii_case(name))
}

/// The names by subject, sorted.
pub(crate) fn names() -> Vec<Vec<&'static str>> {
    SUBJECTS
        .iter()
        .map(|table| {
            let mut names: Vec<&str> = table.iter().map(|function| function.name).collect();
            names.sort_unstable();
            names
        })
        .collect()
}

/// The arguments of a call, by position. Each reader gives `None` for undefined and for a value
/// of another type, which is what makes the call undefined.
pub(crate) struct Args<'a> {
    values: &'a [Datum<'a>],
    pub(crate) runtime: &'a Runtime,
}

impl<'a> Args<'a> {
    pub(crate) fn new(values: &'a [Datum<'a>], runtime: &'a Runtime) -> Self {
        Self { values, runtime }
    }

    fn count(&self) -> usize {
        self.values.len()
    }

    /// All arguments from a position on; `None` among them is undefined.
    fn from(&self, index: usize) -> impl Iterator<Item = Option<&'a Value>> {
        self.values.iter().skip(index).map(Option::as_deref)
    }

    fn value(&self, index: usize) -> Option<&'a Value> {
        self.values.get(index)?.as_deref()
    }

    fn string(&self, index: usize) -> Option<&'a str> {
        self.value(index)?.as_str()
    }

    fn array(&self, index: usize) -> Option<&'a Vec<Value>> {
        self.value(index)?.as_array()
    }

    fn object(&self, index: usize) -> Option<&'a Map<String, Value>> {
        self.value(index)?.as_object()
    }

    fn number(&self, index: usize) -> Option<Num> {
        Num::of(self.value(index)?)
    }

    fn float(&self, index: usize) -> Option<f64> {
        self.number(index).map(Num::to_f64)
    }

    /// A number without a fraction, within 64 bits.
    fn integer(&self, index: usize) -> Option<i64> {
        self.number(index)?.to_i64()
    }

    /// An optional flag: false if not given, `None` if given and no boolean.
    fn flag(&self, index: usize) -> Option<bool> {
        if index < self.count() {
            self.value(index)?.as_bool()
        } else {
            Some(false)
        }
    }

    /// An optional integer: the default if not given.
    fn integer_or(&self, index: usize, default: i64) -> Option<i64> {
        if index < self.count() {
            self.integer(index)
        } else {
            Some(default)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_one_entry_in_upper_case_and_sane_counts() {
        let mut names: Vec<&str> = SUBJECTS
            .iter()
            .flat_map(|table| table.iter())
            .map(|f| f.name)
            .collect();
        let count = names.len();
        assert!(names.iter().all(|name| *name == name.to_ascii_uppercase()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(
            SUBJECTS
                .iter()
                .flat_map(|table| table.iter())
                .all(|f| f.least <= f.most)
        );
    }
}
