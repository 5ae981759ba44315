//! Page blobs: which ranges may be written, and how the sequence number goes.
//!
//! Source: "Put Page", "Set Blob Properties", "Remarks".

use std::ops::Range;

use http_semantics::range::ByteRange;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::{PAGE_BLOB_BYTES_MAX, PAGE_BYTES};

/// A length that a page blob may have.
///
/// # Errors
/// `InvalidHeaderValue`.
pub fn length(text: &str) -> Result<u64, BlobsError> {
    match text.parse::<u64>() {
        Ok(length) if length % PAGE_BYTES == 0 && length <= PAGE_BLOB_BYTES_MAX => Ok(length),
        _ => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "x-ms-blob-content-length is a multiple of 512, at most 8 TiB.",
        )),
    }
}

/// A range of whole pages: both ends are named, and lie on pages' borders.
///
/// # Errors
/// `InvalidHeaderValue` for what is no range, `InvalidPageRange` for one of other bytes than pages.
pub fn whole_pages(text: &str) -> Result<Range<u64>, BlobsError> {
    let range = ByteRange::parse(text).ok_or(ErrorCode::InvalidHeaderValue)?;
    let end = range.last.and_then(|last| last.checked_add(1));
    match end {
        Some(end) if range.first % PAGE_BYTES == 0 && end % PAGE_BYTES == 0 => Ok(range.first..end),
        _ => Err(ErrorCode::InvalidPageRange.into()),
    }
}

/// What a write demands of the sequence number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequenceDemand {
    /// `x-ms-if-sequence-number-le`.
    pub at_most: Option<u64>,
    /// `x-ms-if-sequence-number-lt`.
    pub below: Option<u64>,
    /// `x-ms-if-sequence-number-eq`.
    pub equals: Option<u64>,
}

impl SequenceDemand {
    /// Decides.
    ///
    /// # Errors
    /// `SequenceNumberConditionNotMet`.
    pub fn check(self, number: u64) -> Result<(), ErrorCode> {
        let holds = self.at_most.is_none_or(|given| number <= given)
            && self.below.is_none_or(|given| number < given)
            && self.equals.is_none_or(|given| number == given);
        if holds {
            Ok(())
        } else {
            Err(ErrorCode::SequenceNumberConditionNotMet)
        }
    }
}

/// Reads a sequence number.
///
/// # Errors
/// `InvalidHeaderValue`.
pub fn sequence_number(text: &str) -> Result<u64, BlobsError> {
    match text.parse::<i64>().map(u64::try_from) {
        Ok(Ok(number)) => Ok(number),
        _ => Err(BlobsError::with(
            ErrorCode::InvalidHeaderValue,
            "A sequence number is between 0 and 2^63 - 1.",
        )),
    }
}

/// What `x-ms-sequence-number-action` makes of a sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceAction {
    /// The larger of both.
    Max(u64),
    /// The one that is given.
    Update(u64),
    /// One more.
    Increment,
}

impl SequenceAction {
    /// Reads the action, and `x-ms-blob-sequence-number` beside it.
    ///
    /// # Errors
    /// `InvalidHeaderValue`; `MissingRequiredHeader` where the action needs a number.
    pub fn parse(action: &str, number: Option<&str>) -> Result<Self, BlobsError> {
        let given = number.map(sequence_number).transpose()?;
        match (action.to_ascii_lowercase().as_str(), given) {
            ("max", Some(given)) => Ok(Self::Max(given)),
            ("update", Some(given)) => Ok(Self::Update(given)),
            ("increment", None) => Ok(Self::Increment),
            ("max" | "update", None) => Err(BlobsError::with(
                ErrorCode::MissingRequiredHeader,
                "x-ms-blob-sequence-number is required.",
            )),
            _ => Err(BlobsError::with(
                ErrorCode::InvalidHeaderValue,
                "x-ms-sequence-number-action is max or update with a number, or increment without one.",
            )),
        }
    }

    /// The number afterwards.
    #[must_use]
    pub fn apply(self, number: u64) -> u64 {
        match self {
            Self::Max(given) => number.max(given),
            Self::Update(given) => given,
            Self::Increment => number.saturating_add(1).min(i64::MAX.cast_unsigned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lengths_and_ranges_there_are() {
        let code = |found: Result<u64, BlobsError>| found.map_err(|error| error.code);
        assert_eq!(code(length("0")), Ok(0));
        assert_eq!(code(length("8796093022208")), Ok(PAGE_BLOB_BYTES_MAX));
        for bad in ["8796093022720", "511", "-512", "", "x"] {
            assert_eq!(code(length(bad)), Err(ErrorCode::InvalidHeaderValue), "{bad}");
        }
        let table = [
            ("bytes=0-511", Ok(0..512)),
            ("bytes=512-1535", Ok(512..1536)),
            ("bytes=0-510", Err(ErrorCode::InvalidPageRange)),
            ("bytes=1-512", Err(ErrorCode::InvalidPageRange)),
            ("bytes=0-", Err(ErrorCode::InvalidPageRange)),
            ("bytes=0-18446744073709551615", Err(ErrorCode::InvalidPageRange)),
            ("0-511", Err(ErrorCode::InvalidHeaderValue)),
        ];
        for (text, expected) in table {
            assert_eq!(whole_pages(text).map_err(|error| error.code), expected, "{text}");
        }
    }

    #[test]
    fn sequence_numbers() {
        let demand = |at_most, below, equals| SequenceDemand {
            at_most,
            below,
            equals,
        };
        let table = [
            (demand(None, None, None), [true, true, true]),
            (demand(Some(5), None, None), [true, true, false]),
            (demand(None, Some(5), None), [true, false, false]),
            (demand(None, None, Some(5)), [false, true, false]),
            (demand(Some(5), Some(6), Some(4)), [true, false, false]),
        ];
        for (demand, expected) in table {
            assert_eq!([4, 5, 6].map(|number| demand.check(number).is_ok()), expected);
        }
        let parse = |action, number| SequenceAction::parse(action, number).map_err(|error| error.code);
        assert_eq!(parse("Max", Some("7")), Ok(SequenceAction::Max(7)));
        assert_eq!(parse("update", Some("7")), Ok(SequenceAction::Update(7)));
        assert_eq!(parse("increment", None), Ok(SequenceAction::Increment));
        assert_eq!(parse("update", None), Err(ErrorCode::MissingRequiredHeader));
        for (action, number) in [
            ("increment", Some("1")),
            ("other", None),
            ("max", Some("-1")),
            ("max", Some("9223372036854775808")),
        ] {
            assert_eq!(
                parse(action, number),
                Err(ErrorCode::InvalidHeaderValue),
                "{action}"
            );
        }
        let number = i64::MAX.cast_unsigned();
        assert_eq!(SequenceAction::Max(7).apply(9), 9);
        assert_eq!(SequenceAction::Max(9).apply(7), 9);
        assert_eq!(SequenceAction::Update(3).apply(7), 3);
        assert_eq!(SequenceAction::Increment.apply(7), 8);
        assert_eq!(SequenceAction::Increment.apply(number), number);
    }
}
