//! How a case says that something isn't as promised.

use std::fmt::{self, Debug};

use crate::ContentError;

/// A promise that a backend doesn't keep: what was wanted and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    case: &'static str,
    text: String,
}

impl Failure {
    /// A failure that no case is named for yet: also for what a subject of the suite can't do.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            case: "",
            text: text.into(),
        }
    }

    pub(super) fn in_case(mut self, case: &'static str) -> Self {
        self.case = case;
        self
    }

    /// Says where it happened.
    pub(super) fn at(mut self, place: impl fmt::Display) -> Self {
        self.text = format!("{place}: {}", self.text);
        self
    }

    /// The name of the case; empty if it wasn't run as one.
    #[must_use]
    pub fn case(&self) -> &'static str {
        self.case
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.case.is_empty() {
            f.write_str(&self.text)
        } else {
            write!(f, "{}: {}", self.case, self.text)
        }
    }
}

impl std::error::Error for Failure {}

impl From<ContentError> for Failure {
    fn from(error: ContentError) -> Self {
        Self::new(format!("an unexpected error: {error}"))
    }
}

/// Fails unless `holds`.
pub(super) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(text())) }
}

/// Fails unless both are the same.
pub(super) fn equal<T: PartialEq + Debug>(found: &T, wanted: &T, what: &str) -> Result<(), Failure> {
    ensure(found == wanted, || {
        format!("{what}: {found:?} instead of {wanted:?}")
    })
}

/// As [`equal`], for bytes: says where they part instead of printing them.
pub(super) fn same_bytes(found: &[u8], wanted: &[u8], what: &str) -> Result<(), Failure> {
    let differs = found.iter().zip(wanted).position(|(a, b)| a != b);
    ensure(found == wanted, || {
        let (found, wanted) = (found.len(), wanted.len());
        format!("{what}: {found} bytes instead of {wanted}, first difference at {differs:?}")
    })
}
