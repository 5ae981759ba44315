//! The range of a blob that is asked for (RFC 9110, section 14). A blob's length is known, so a
//! range that can't be served is told apart from one that isn't a range.

use std::ops::Range;

/// What of a blob is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All of it, with 200: there is no range, several, or none that HTTP knows.
    Whole,
    /// This part, with 206.
    Part(Range<u64>),
    /// Nothing, with 416.
    Unsatisfiable,
}

/// Decides about a `Range` header for a blob of `length` bytes.
#[must_use]
pub fn decide(header: Option<&str>, length: u64) -> Asked {
    let Some(header) = header else {
        return Asked::Whole;
    };
    let Some(set) = header.trim().strip_prefix("bytes=") else {
        return Asked::Whole;
    };
    if set.contains(',') {
        return Asked::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Asked::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    match (number(first), number(last)) {
        (None, Some(count)) if first.is_empty() => suffix(count, length),
        (Some(first), None) if last.is_empty() => part(first, u64::MAX, length),
        (Some(first), Some(last)) => part(first, last, length),
        _ => Asked::Whole,
    }
}

fn suffix(count: u64, length: u64) -> Asked {
    if count == 0 || length == 0 {
        return Asked::Unsatisfiable;
    }
    Asked::Part(length.saturating_sub(count)..length)
}

fn part(first: u64, last: u64, length: u64) -> Asked {
    if first >= length || last < first {
        return Asked::Unsatisfiable;
    }
    Asked::Part(first..last.saturating_add(1).min(length))
}

/// A number past what 64 bits hold is as good as the largest one: it is clipped or past the end.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_decided() {
        for (header, length, expected) in [
            (None, 10, Asked::Whole),
            (Some("bytes=0-3"), 10, Asked::Part(0..4)),
            (Some("bytes=3-"), 10, Asked::Part(3..10)),
            (Some("bytes=-3"), 10, Asked::Part(7..10)),
            (Some("bytes=-30"), 10, Asked::Part(0..10)),
            (Some("bytes=5-100"), 10, Asked::Part(5..10)),
            (Some("bytes=9-9"), 10, Asked::Part(9..10)),
            (Some("bytes=10-"), 10, Asked::Unsatisfiable),
            (Some("bytes=5-0"), 10, Asked::Unsatisfiable),
            (Some("bytes=-0"), 10, Asked::Unsatisfiable),
            (Some("bytes=0-0"), 0, Asked::Unsatisfiable),
            (Some("bytes=99999999999999999999-"), 10, Asked::Unsatisfiable),
            (Some("bytes=0-99999999999999999999"), 10, Asked::Part(0..10)),
            (Some("bytes=0-1,3-4"), 10, Asked::Whole),
            (Some("lines=0-1"), 10, Asked::Whole),
            (Some("bytes=a-b"), 10, Asked::Whole),
            (Some("bytes=-"), 10, Asked::Whole),
            (Some("bytes="), 10, Asked::Whole),
        ] {
            assert_eq!(decide(header, length), expected, "{header:?} of {length}");
        }
    }
}
