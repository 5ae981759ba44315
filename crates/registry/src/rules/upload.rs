//! Where a chunk of an upload belongs (distribution-spec, "Pushing a blob in chunks").

/// Why a chunk isn't taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `Content-Range` isn't `first-last`.
    Malformed,
    /// It doesn't begin where the upload ends: 416.
    OutOfOrder,
    /// `Content-Length` says something else.
    Size,
}

/// How many bytes a chunk must have, if its headers say it. `offset` is how many the upload has.
///
/// # Errors
/// [`Refusal`].
pub fn expect(offset: u64, range: Option<&str>, length: Option<u64>) -> Result<Option<u64>, Refusal> {
    let Some(range) = range else {
        return Ok(length);
    };
    // The spec's form has no unit; some clients send one.
    let range = range.trim();
    let range = range
        .strip_prefix("bytes")
        .unwrap_or(range)
        .trim_start_matches(['=', ' ']);
    let range = range.split('/').next().unwrap_or_default();
    let (first, last) = range.split_once('-').ok_or(Refusal::Malformed)?;
    let (first, last) = (number(first)?, number(last)?);
    if first != offset || last.saturating_add(1) < first {
        return Err(Refusal::OutOfOrder);
    }
    let named = last.saturating_add(1) - first;
    match length {
        // An empty last chunk is written as 0-0 or as a range that ends before it begins.
        Some(0) if last <= first => Ok(Some(0)),
        Some(length) if length != named => Err(Refusal::Size),
        _ => Ok(Some(named)),
    }
}

fn number(text: &str) -> Result<u64, Refusal> {
    let text = text.trim();
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().map_err(|_| Refusal::OutOfOrder),
        false => Err(Refusal::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_placed() {
        for (offset, range, length, expected) in [
            (0, None, None, Ok(None)),
            (7, None, Some(3), Ok(Some(3))),
            (0, Some("0-9"), Some(10), Ok(Some(10))),
            (10, Some("10-19"), None, Ok(Some(10))),
            (10, Some("bytes 10-19/*"), None, Ok(Some(10))),
            (10, Some("bytes=10-19"), None, Ok(Some(10))),
            (10, Some("0-9"), Some(10), Err(Refusal::OutOfOrder)),
            (10, Some("11-20"), Some(10), Err(Refusal::OutOfOrder)),
            (10, Some("10-8"), Some(10), Err(Refusal::OutOfOrder)),
            (10, Some("10-9"), Some(0), Ok(Some(0))),
            (0, Some("0-0"), Some(0), Ok(Some(0))),
            (0, Some("0-0"), Some(1), Ok(Some(1))),
            (10, Some("10-19"), Some(9), Err(Refusal::Size)),
            (10, Some("10-19"), Some(11), Err(Refusal::Size)),
            (0, Some("x-9"), Some(10), Err(Refusal::Malformed)),
            (0, Some("0"), Some(10), Err(Refusal::Malformed)),
            (0, Some("-9"), Some(10), Err(Refusal::Malformed)),
            (0, Some("99999999999999999999-1"), None, Err(Refusal::OutOfOrder)),
        ] {
            assert_eq!(
                expect(offset, range, length),
                expected,
                "{offset} {range:?} {length:?}"
            );
        }
    }
}
