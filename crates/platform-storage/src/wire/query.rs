//! Query strings: names in any case, values percent-decoded, `+` a blank.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Escapes what would mean something in a query; `;` and `:` of our own values stay readable.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b';');

/// Parameters that are looked at; more are ignored.
const PARAMETERS_MAX: usize = 1_000;

/// The parameters of a request, in the order sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = text
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .take(PARAMETERS_MAX);
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(value))
                })
                .collect(),
        )
    }

    /// The first value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(sent, _)| sent.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a repeated parameter, empty ones left out.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.0.iter().filter(|(sent, _)| sent.eq_ignore_ascii_case(name));
        named
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// A boolean in any case.
    ///
    /// # Errors
    /// What is wrong with it, for the client.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, String> {
        match self.get(name) {
            None | Some("") => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(format!("{name} must be true or false.")),
        }
    }

    /// The query as text.
    #[must_use]
    pub fn text(&self) -> String {
        join(self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The query with `name` replaced by `value`, as text.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(sent, _)| !sent.eq_ignore_ascii_case(name));
        let pairs = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        join(pairs.chain([(name, value)]))
    }
}

fn join<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let pairs: Vec<String> = pairs
        .map(|(name, value)| {
            format!(
                "{}={}",
                utf8_percent_encode(name, ESCAPED),
                utf8_percent_encode(value, ESCAPED)
            )
        })
        .collect();
    pairs.join("&")
}

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Text as a value of a query.
#[must_use]
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// One segment of a path, decoded; `None` if it isn't UTF-8 then.
#[must_use]
pub fn decode_segment(text: &str) -> Option<Cow<'_, str>> {
    percent_decode_str(text).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_in_any_case() {
        let query = Query::parse(Some("Hard=True&a=1&A=2&empty=&b%20c=d+e%2B"));
        assert_eq!(query.boolean("hard"), Ok(Some(true)));
        assert_eq!(query.all("a"), ["1", "2"]);
        assert_eq!(query.boolean("empty"), Ok(None));
        assert_eq!(query.get("b c"), Some("d e+"));
        assert!(query.boolean("a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(values in proptest::collection::vec((".{1,8}", ".{1,8}"), 0..5)) {
            let mut query = Query(values);
            query.0.retain(|(name, _)| !name.eq_ignore_ascii_case("next"));
            let again = Query::parse(Some(&query.with("next", "a;b c")));
            prop_assert_eq!(again.get("next"), Some("a;b c"));
            prop_assert_eq!(again.0.get(..query.0.len()), Some(query.0.as_slice()));
        }
    }
}
