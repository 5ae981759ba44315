//! Byte ranges (RFC 9110 section 14): one range, `bytes=a-` or `bytes=a-b`.

/// A range as asked for, before the length of what it is asked of is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte, inclusive; `None` means to the end.
    pub last: Option<u64>,
}

impl ByteRange {
    /// Reads a header's value; `None` if it isn't one range of this form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        let first = number(first)?;
        let last = if last.trim().is_empty() {
            None
        } else {
            Some(number(last)?)
        };
        if last.is_some_and(|last| last < first) {
            return None;
        }
        Some(Self { first, last })
    }

    /// The half-open range within `length` bytes, its end clamped; `None` if it begins behind them.
    #[must_use]
    pub fn within(self, length: u64) -> Option<std::ops::Range<u64>> {
        if self.first >= length {
            return None;
        }
        let end = self
            .last
            .map_or(length, |last| last.saturating_add(1).min(length));
        Some(self.first..end)
    }
}

fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let parse = |text| ByteRange::parse(text);
        assert_eq!(parse("bytes=0-"), Some(ByteRange { first: 0, last: None }));
        assert_eq!(parse("bytes=2-5").and_then(|r| r.within(4)), Some(2..4));
        assert_eq!(parse("bytes=4-5").and_then(|r| r.within(4)), None);
        for bad in [
            "bytes=5-2",
            "bytes=-5",
            "bytes=a-b",
            "items=0-1",
            "bytes=0-1,3-4",
            "",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
