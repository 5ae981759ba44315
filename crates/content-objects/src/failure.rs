//! What a provider's error means for the caller, and what of it may be said.
//!
//! Invariant: no text leaves this module with a secret of the configuration in it.

use std::fmt;

use content::{ContentError, ContentId};
use http::StatusCode;
use object_store::client::HttpError;
use zeroize::Zeroizing;

use crate::limits::ERROR_CHARS_MAX;

/// Answers by which providers say that bucket or container is missing, not the object.
const NO_BUCKET: &[&str] = &["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];

/// Answers by which providers say that there is no room.
const FULL: &[&str] = &["507 Insufficient Storage", "StorageFull", "QuotaExceeded"];

/// What stands before an answer's status in the texts of the client below, which gives it in no other
/// way. Where it changes these words, what passes is taken for what lasts; `tests/faults.rs` sees it.
const STATUS: &str = "non-2xx status code: ";

/// As [`STATUS`], for an error in the body of an answer 200; the client asks again before it says so.
const ERROR_BEHIND_200: &str = "Server returned error response: ";

/// Shorter strings are too common in texts to be taken out of them.
const SECRET_CHARS_MIN: usize = 4;

/// Sorts errors and takes the configuration's secrets out of them.
#[derive(Default)]
pub(crate) struct Failures {
    secrets: Vec<Zeroizing<String>>,
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures").finish_non_exhaustive()
    }
}

impl Failures {
    pub(crate) fn new(secrets: Vec<Zeroizing<String>>) -> Self {
        let long = |secret: &Zeroizing<String>| secret.len() >= SECRET_CHARS_MIN;
        Self {
            secrets: secrets.into_iter().filter(long).collect(),
        }
    }

    /// `error` for people: the provider's text with its request id, on one line, without secrets.
    pub(crate) fn text(&self, error: &impl fmt::Display) -> String {
        let mut text = error.to_string();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let line = words.join(" ");
        let length = line.chars().count();
        if length <= ERROR_CHARS_MAX {
            return line;
        }
        // The end is kept as well: there the request id stands.
        let tail_chars = ERROR_CHARS_MAX / 4;
        let head: String = line.chars().take(ERROR_CHARS_MAX - tail_chars).collect();
        let tail: String = line.chars().skip(length - tail_chars).collect();
        format!("{head} ... {tail}")
    }

    /// An error while something was done to the store.
    pub(crate) fn sort(&self, doing: &str, error: &object_store::Error) -> ContentError {
        let text = self.text(error);
        if FULL.iter().any(|said| text.contains(said)) {
            return ContentError::Full;
        }
        let said = format!("{doing}: {text}");
        if is_passing(error) {
            ContentError::Unavailable(said)
        } else {
            ContentError::Io(said)
        }
    }

    /// As [`Failures::sort`], where the object of content `id` may be missing.
    pub(crate) fn sort_missing(
        &self,
        doing: &str,
        id: ContentId,
        error: &object_store::Error,
    ) -> ContentError {
        if is_missing(error) {
            return ContentError::NotFound(id);
        }
        self.sort(doing, error)
    }
}

/// Whether the object is missing; a missing bucket isn't that, or all content would seem deleted.
pub(crate) fn is_missing(error: &object_store::Error) -> bool {
    let text = || error.to_string();
    matches!(error, object_store::Error::NotFound { .. })
        && !NO_BUCKET.iter().any(|said| text().contains(said))
}

/// Whether the same request may well succeed later: no answer came whole, or the answer says so.
fn is_passing(error: &object_store::Error) -> bool {
    // Credentials, names and preconditions have kinds of their own.
    let object_store::Error::Generic { source, .. } = error else {
        return false;
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(source.as_ref());
    while let Some(error) = cause {
        if error.is::<HttpError>() {
            return true;
        }
        cause = error.source();
    }
    let text = source.to_string();
    // S3 answers some requests with 200 before it has done them, and then with an error behind it.
    if text.contains(ERROR_BEHIND_200) {
        return true;
    }
    let status = text
        .split_once(STATUS)
        .and_then(|(_, rest)| StatusCode::from_bytes(rest.as_bytes().get(..3)?).ok());
    status.is_some_and(|status| match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        status => status.is_server_error(),
    })
}

/// Whether an answer began and broke off. The client below wraps nothing else in these words; where it
/// changes them, one try less is made.
pub(crate) fn is_broken_answer(error: &object_store::Error) -> bool {
    error.to_string().contains("response body")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(text: &str) -> object_store::Error {
        object_store::Error::NotFound {
            path: "a/b".to_owned(),
            source: text.to_owned().into(),
        }
    }

    #[test]
    fn a_missing_bucket_is_no_missing_content() {
        let id = ContentId::from_bytes([1; 16]);
        let failures = Failures::default();
        let sorted = |text| failures.sort_missing("reading", id, &missing(text));
        assert_eq!(sorted("<Code>NoSuchKey</Code>"), ContentError::NotFound(id));
        for text in ["<Code>NoSuchBucket</Code>", "<Code>ContainerNotFound</Code>"] {
            assert!(matches!(sorted(text), ContentError::Io(_)), "{text}");
        }
    }

    #[test]
    fn secrets_are_taken_out_and_long_texts_are_cut() {
        let failures = Failures::new(vec![Zeroizing::new("hemmelig".to_owned())]);
        let text = failures.text(&format!("a hemmelig\n  b{} request id 17", " x".repeat(5_000)));
        assert!(text.starts_with("a *** b x x"), "{text}");
        assert!(text.ends_with("request id 17"), "{text}");
        assert!(text.chars().count() < ERROR_CHARS_MAX + 10);
    }
}
