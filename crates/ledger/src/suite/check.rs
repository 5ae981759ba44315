//! How a case says that something isn't as promised.

use std::fmt::{self, Debug};

use crate::{Conflict, LedgerError};

/// A promise that an engine doesn't keep: what was wanted and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    case: &'static str,
    text: String,
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
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
    pub(super) fn at(mut self, place: &str) -> Self {
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

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self::new(format!("an unexpected error: {error}"))
    }
}

/// Fails unless `holds`.
pub(super) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(text())) }
}

/// Fails unless both are equal.
#[allow(
    clippy::needless_pass_by_value,
    reason = "callers compare what they just made"
)]
pub(super) fn equal<T: PartialEq + Debug>(found: T, wanted: T, what: &str) -> Result<(), Failure> {
    ensure(found == wanted, || {
        format!("{what}: wanted {wanted:?}, found {found:?}")
    })
}

/// The conflict that a commit must have been answered with.
pub(super) fn conflict<T: Debug>(answer: Result<T, LedgerError>, what: &str) -> Result<Conflict, Failure> {
    match answer {
        Err(LedgerError::Conflict(conflict)) => Ok(conflict),
        other => Err(Failure::new(format!(
            "{what}: wanted a conflict, found {other:?}"
        ))),
    }
}

/// Fails unless a commit was refused as too large.
#[allow(
    clippy::needless_pass_by_value,
    reason = "callers pass what commit just answered"
)]
pub(super) fn too_large<T: Debug>(answer: Result<T, LedgerError>, what: &str) -> Result<(), Failure> {
    ensure(matches!(answer, Err(LedgerError::TooLarge(_))), || {
        format!("{what}: wanted TooLarge, found {answer:?}")
    })
}
