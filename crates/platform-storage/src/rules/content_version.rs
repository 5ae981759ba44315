//! Versions of a data element's content: a UUIDv7 (RFC 9562, section 5.7) in base64url without padding, 22
//! characters, and the entity tags made of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::header::IF_MATCH;
use jiff::Timestamp;
use ledger::Random;
use uuid::Uuid;

const CHARS: usize = 22;

/// A new version.
#[must_use]
pub fn new(now: Timestamp, random: &dyn Random) -> String {
    let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let mut chance = [0; 10];
    random.fill(&mut chance);
    let id = uuid::Builder::from_unix_timestamp_millis(milliseconds, &chance).into_uuid();
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// Whether a text is a version.
#[must_use]
pub fn is_version(text: &str) -> bool {
    let decoded = (text.len() == CHARS)
        .then(|| URL_SAFE_NO_PAD.decode(text).ok())
        .flatten();
    decoded.is_some_and(|bytes| Uuid::from_slice(&bytes).is_ok())
}

/// The entity tag of a version.
#[must_use]
pub fn entity_tag(version: &str) -> String {
    format!("\"{version}\"")
}

/// The version that a request demands of the content that is there.
///
/// # Errors
/// What is wrong with `If-Match`, for the client: it must be one strong tag of a version.
pub fn demanded(headers: &HeaderMap) -> Result<Option<String>, String> {
    let mut sent = headers.get_all(IF_MATCH).iter();
    let Some(value) = sent.next() else {
        return Ok(None);
    };
    let tag = value.to_str().unwrap_or_default().trim();
    let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    version
        .filter(|version| sent.next().is_none() && is_version(version))
        .map(|version| Some(version.to_owned()))
        .ok_or_else(|| "If-Match must be one strong entity tag, as the content was answered with.".to_owned())
}

#[cfg(test)]
mod tests {
    use ledger::random::SeededRandom;

    use super::*;

    #[test]
    fn versions_are_tags_and_grow_with_time() {
        let random = SeededRandom::new(7);
        let at = |second| Timestamp::from_second(second).unwrap();
        let first = new(at(1_800_000_000), &random);
        assert!(is_version(&first) && first.len() == 22, "{first}");
        let decoded = |version: &str| Uuid::from_slice(&URL_SAFE_NO_PAD.decode(version).unwrap()).unwrap();
        assert_eq!(decoded(&first).get_version_num(), 7);
        assert!(decoded(&first) < decoded(&new(at(1_800_000_001), &random)));
        let mut headers = HeaderMap::new();
        assert_eq!(demanded(&headers), Ok(None));
        headers.insert(IF_MATCH, entity_tag(&first).parse().unwrap());
        assert_eq!(demanded(&headers), Ok(Some(first.clone())));
        headers.append(IF_MATCH, entity_tag(&first).parse().unwrap());
        assert!(demanded(&headers).is_err());
        for bad in [
            "*",
            &first,
            &format!("W/\"{first}\""),
            "\"short\"",
            &format!("\"{first}\", \"{first}\""),
            "\"\"",
        ] {
            headers.insert(IF_MATCH, bad.parse().unwrap());
            assert!(demanded(&headers).is_err(), "{bad}");
        }
    }
}
