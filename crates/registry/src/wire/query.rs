//! Queries and forms.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{ErrorCode, RegistryError};
use crate::limits::{PAGE_ENTRIES_DEFAULT, PAGE_ENTRIES_MAX};

/// What is written as it is in a query of ours. Clients of Azure's split it at `&`, `=` and `?`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':');

/// Names and values, decoded, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// A query string: a plus is a plus. `None` if it isn't UTF-8.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::read(text, false)
    }

    /// A form: a plus is a blank.
    pub(crate) fn parse_form(text: &str) -> Option<Self> {
        Self::read(text, true)
    }

    fn read(text: &str, is_form: bool) -> Option<Self> {
        let decode = |part: &str| {
            let part = if is_form {
                part.replace('+', " ")
            } else {
                part.to_owned()
            };
            percent_decode_str(&part).decode_utf8().ok().map(String::from)
        };
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode(name)?, decode(value)?))
            })
            .collect::<Option<_>>()
            .map(Self)
    }

    /// The first value of a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// `n`: how many entries a page may have; what is more than is served is clipped.
    pub(crate) fn entries(&self) -> Result<usize, RegistryError> {
        match self.get("n").filter(|text| !text.is_empty()) {
            None => Ok(PAGE_ENTRIES_DEFAULT),
            // Azure's command line asks for -1 where it wants what there is.
            Some("-1") => Ok(PAGE_ENTRIES_MAX),
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(text.parse().unwrap_or(PAGE_ENTRIES_MAX).min(PAGE_ENTRIES_MAX))
            }
            Some(_) => Err(ErrorCode::PaginationNumberInvalid.into()),
        }
    }

    /// `last`, if it names something.
    pub(crate) fn last(&self) -> Option<&str> {
        self.get("last").filter(|last| !last.is_empty())
    }
}

/// A value for a query of ours.
pub(crate) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_and_forms_are_read() {
        let query = Query::parse("a=1&b=x%2Fy&a=2&c&d=1+2").unwrap();
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(
            (query.get("b"), query.get("c"), query.get("d")),
            (Some("x/y"), Some(""), Some("1+2"))
        );
        assert_eq!(Query::parse_form("d=1+2%2B").unwrap().get("d"), Some("1 2+"));
        assert_eq!(Query::parse("a=%FF"), None);
        assert_eq!(encoded("a/b:c d&e"), "a/b:c%20d%26e");
    }

    #[test]
    fn pages_have_a_size() {
        let entries = |text: &str| Query::parse(text).unwrap().entries();
        for (text, expected) in [
            ("", 100),
            ("n=", 100),
            ("n=0", 0),
            ("n=7", 7),
            ("n=5000", 1_000),
            ("n=-1", 1_000),
        ] {
            assert_eq!(entries(text).unwrap(), expected, "{text}");
        }
        assert_eq!(entries("n=99999999999999999999999").unwrap(), 1_000);
        for bad in ["n=x", "n=-2", "n=1.5"] {
            assert_eq!(
                entries(bad).unwrap_err().code,
                ErrorCode::PaginationNumberInvalid,
                "{bad}"
            );
        }
    }
}
