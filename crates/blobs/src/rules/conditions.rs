//! Conditional headers: which of them win, and what a failed one means.
//!
//! Source: "Specifying conditional headers for Blob service operations".

use http::HeaderMap;
use http_semantics::{date, etag::TagList};
use jiff::Timestamp;

use crate::error::{BlobsError, ErrorCode};

/// What a request demands of the state it meets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`.
    pub if_match: Option<TagList>,
    /// `If-None-Match`.
    pub if_none_match: Option<TagList>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Timestamp>,
}

/// What a condition is held against.
#[derive(Debug, Clone, Copy)]
pub struct Current<'a> {
    /// The entity tag, without quotes.
    pub etag: &'a str,
    /// When it was last changed, in whole seconds.
    pub last_modified: Timestamp,
}

/// What a read does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Answers the content.
    Proceed,
    /// Answers 304.
    NotModified,
}

impl Conditions {
    /// Reads the headers.
    ///
    /// # Errors
    /// `InvalidHeaderValue` for a date that isn't one.
    pub fn parse(headers: &HeaderMap) -> Result<Self, BlobsError> {
        Self::parse_behind("", headers)
    }

    /// Reads what a copy demands of its source: the same headers behind `x-ms-source-`.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_source(headers: &HeaderMap) -> Result<Self, BlobsError> {
        Self::parse_behind("x-ms-source-", headers)
    }

    fn parse_behind(prefix: &str, headers: &HeaderMap) -> Result<Self, BlobsError> {
        let text = |name: &str| {
            let found = headers.get(format!("{prefix}{name}"));
            found.and_then(|value| value.to_str().ok())
        };
        let at = |name: &'static str| match text(name) {
            None | Some("") => Ok(None),
            Some(value) => date::parse(value).map(Some).ok_or_else(|| {
                BlobsError::with(ErrorCode::InvalidHeaderValue, format!("{name} is not a date"))
            }),
        };
        Ok(Self {
            if_match: text("if-match").map(TagList::parse),
            if_none_match: text("if-none-match").map(TagList::parse),
            if_modified_since: at("if-modified-since")?,
            if_unmodified_since: at("if-unmodified-since")?,
        })
    }

    /// Decides a read of something that exists.
    ///
    /// # Errors
    /// `ConditionNotMet`, `UnsatisfiableCondition`.
    pub fn read(&self, current: Current<'_>) -> Result<Read, BlobsError> {
        if self.if_none_match == Some(TagList::Any) {
            return Err(ErrorCode::UnsatisfiableCondition.into());
        }
        self.demands(current)?;
        let unchanged_tag = self.if_none_match.as_ref().map(|tags| tags.matches(current.etag));
        let unchanged_since = self.if_modified_since.map(|since| current.last_modified <= since);
        // One that says "changed" lets the read pass, whatever the other says.
        let verdicts: Vec<bool> = [unchanged_tag, unchanged_since].into_iter().flatten().collect();
        let not_modified = !verdicts.is_empty() && verdicts.iter().all(|unchanged| *unchanged);
        Ok(if not_modified {
            Read::NotModified
        } else {
            Read::Proceed
        })
    }

    /// Decides a write; `current` is `None` where nothing exists yet.
    ///
    /// # Errors
    /// `ConditionNotMet`; `BlobAlreadyExists` for `If-None-Match: *`;
    /// `MultipleConditionHeadersNotSupported`.
    pub fn write(&self, current: Option<Current<'_>>) -> Result<(), BlobsError> {
        let given = [
            self.if_match.is_some(),
            self.if_none_match.is_some(),
            self.if_modified_since.is_some(),
            self.if_unmodified_since.is_some(),
        ];
        let pair = matches!(given, [true, false, false, true] | [false, true, true, false]);
        if given.iter().filter(|given| **given).count() > 1 && !pair {
            return Err(ErrorCode::MultipleConditionHeadersNotSupported.into());
        }
        let Some(current) = current else {
            let wants_something = self.if_match.is_some();
            return if wants_something {
                Err(ErrorCode::ConditionNotMet.into())
            } else {
                Ok(())
            };
        };
        match &self.if_none_match {
            Some(TagList::Any) => return Err(ErrorCode::BlobAlreadyExists.into()),
            Some(tags) if tags.matches(current.etag) => return Err(ErrorCode::ConditionNotMet.into()),
            Some(_) => return Ok(()),
            None => {}
        }
        if self.if_match.is_none()
            && self
                .if_modified_since
                .is_some_and(|since| current.last_modified <= since)
        {
            return Err(ErrorCode::ConditionNotMet.into());
        }
        self.demands(current)
    }

    /// `If-Match` and `If-Unmodified-Since`; the tag decides where both are given.
    fn demands(&self, current: Current<'_>) -> Result<(), BlobsError> {
        let holds = match &self.if_match {
            Some(tags) => tags.matches(current.etag),
            None => self
                .if_unmodified_since
                .is_none_or(|since| current.last_modified <= since),
        };
        if holds {
            Ok(())
        } else {
            Err(ErrorCode::ConditionNotMet.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tags(text: &str) -> Option<TagList> {
        Some(TagList::parse(text))
    }

    #[test]
    fn reads() {
        use ErrorCode::{ConditionNotMet, UnsatisfiableCondition};
        let current = Current {
            etag: "0x1",
            last_modified: at(100),
        };
        let none = Conditions::default;
        let table = [
            (none(), Ok(Read::Proceed)),
            (
                Conditions {
                    if_match: tags("\"0x1\""),
                    ..none()
                },
                Ok(Read::Proceed),
            ),
            (
                Conditions {
                    if_match: tags("\"0x2\""),
                    ..none()
                },
                Err(ConditionNotMet),
            ),
            (
                Conditions {
                    if_match: tags("*"),
                    ..none()
                },
                Ok(Read::Proceed),
            ),
            (
                Conditions {
                    if_none_match: tags("\"0x1\""),
                    ..none()
                },
                Ok(Read::NotModified),
            ),
            (
                Conditions {
                    if_none_match: tags("\"0x2\""),
                    ..none()
                },
                Ok(Read::Proceed),
            ),
            (
                Conditions {
                    if_none_match: tags("*"),
                    ..none()
                },
                Err(UnsatisfiableCondition),
            ),
            (
                Conditions {
                    if_modified_since: Some(at(100)),
                    ..none()
                },
                Ok(Read::NotModified),
            ),
            (
                Conditions {
                    if_modified_since: Some(at(99)),
                    ..none()
                },
                Ok(Read::Proceed),
            ),
            (
                Conditions {
                    if_unmodified_since: Some(at(100)),
                    ..none()
                },
                Ok(Read::Proceed),
            ),
            (
                Conditions {
                    if_unmodified_since: Some(at(99)),
                    ..none()
                },
                Err(ConditionNotMet),
            ),
            (
                Conditions {
                    if_none_match: tags("\"0x1\""),
                    if_modified_since: Some(at(99)),
                    ..none()
                },
                Ok(Read::Proceed),
            ),
        ];
        for (conditions, expected) in table {
            let found = conditions.read(current).map_err(|error| error.code);
            assert_eq!(found, expected, "{conditions:?}");
        }
    }

    #[test]
    fn writes() {
        use ErrorCode::{BlobAlreadyExists, ConditionNotMet, MultipleConditionHeadersNotSupported};
        let current = Some(Current {
            etag: "0x1",
            last_modified: at(100),
        });
        let none = Conditions::default;
        let table = [
            (none(), None, Ok(())),
            (
                Conditions {
                    if_match: tags("\"0x1\""),
                    ..none()
                },
                None,
                Err(ConditionNotMet),
            ),
            (
                Conditions {
                    if_none_match: tags("*"),
                    ..none()
                },
                None,
                Ok(()),
            ),
            (
                Conditions {
                    if_none_match: tags("*"),
                    ..none()
                },
                current,
                Err(BlobAlreadyExists),
            ),
            (
                Conditions {
                    if_none_match: tags("\"0x1\""),
                    ..none()
                },
                current,
                Err(ConditionNotMet),
            ),
            (
                Conditions {
                    if_none_match: tags("\"0x2\""),
                    ..none()
                },
                current,
                Ok(()),
            ),
            (
                Conditions {
                    if_match: tags("\"0x1\""),
                    ..none()
                },
                current,
                Ok(()),
            ),
            (
                Conditions {
                    if_match: tags("\"0x2\""),
                    ..none()
                },
                current,
                Err(ConditionNotMet),
            ),
            (
                Conditions {
                    if_modified_since: Some(at(100)),
                    ..none()
                },
                current,
                Err(ConditionNotMet),
            ),
            (
                Conditions {
                    if_unmodified_since: Some(at(99)),
                    ..none()
                },
                current,
                Err(ConditionNotMet),
            ),
            (
                Conditions {
                    if_match: tags("\"0x1\""),
                    if_unmodified_since: Some(at(1)),
                    ..none()
                },
                current,
                Ok(()),
            ),
            (
                Conditions {
                    if_match: tags("\"0x1\""),
                    if_none_match: tags("\"0x2\""),
                    ..none()
                },
                current,
                Err(MultipleConditionHeadersNotSupported),
            ),
        ];
        for (conditions, current, expected) in table {
            let found = conditions.write(current).map_err(|error| error.code);
            assert_eq!(found, expected, "{conditions:?} on {current:?}");
        }
    }
}
