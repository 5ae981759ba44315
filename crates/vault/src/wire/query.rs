//! The query: names and values decoded, as clients encode both.

use percent_encoding::percent_decode_str;

use crate::error::VaultError;
use crate::limits::PAGE_ROWS_MAX;

/// A query's parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name).to_ascii_lowercase(), decode(value))
                })
                .collect(),
        )
    }

    /// A parameter that is there and not empty; names in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The version of the protocol, which every request names.
    pub(crate) fn api_version(&self) -> Result<&str, VaultError> {
        let version = self
            .get("api-version")
            .ok_or_else(|| VaultError::bad("api-version must be specified"))?;
        if is_api_version(version) {
            return Ok(version);
        }
        Err(VaultError::bad(
            "api-version is malformed; it is 7.0 to 7.6, or a date such as 2025-07-01",
        ))
    }

    /// How many rows a page may have.
    pub(crate) fn page_rows(&self) -> Result<usize, VaultError> {
        let Some(text) = self.get("maxresults") else {
            return Ok(PAGE_ROWS_MAX);
        };
        text.parse()
            .ok()
            .filter(|rows| (1..=PAGE_ROWS_MAX).contains(rows))
            .ok_or_else(|| VaultError::bad(format!("maxresults must be between 1 and {PAGE_ROWS_MAX}")))
    }
}

/// `7.4`, `2016-10-01`, `2026-03-01-preview`: any that is well formed, as clients are newer than servers.
fn is_api_version(text: &str) -> bool {
    let digits = |text: &str, length: std::ops::RangeInclusive<usize>| {
        length.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let text = text.strip_suffix("-preview").unwrap_or(text);
    let text = text.split_once("-preview.").map_or(text, |(text, _)| text);
    if let Some((major, minor)) = text.split_once('.') {
        return major == "7" && digits(minor, 1..=2);
    }
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [year, month, day] => digits(year, 4..=4) && digits(month, 2..=2) && digits(day, 2..=2),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_and_without_case() {
        let query = Query::parse("api%2Dversion=7.4&%24skiptoken=a%3Db&MaxResults=3&empty=");
        assert_eq!(query.api_version(), Ok("7.4"));
        assert_eq!(query.get("$skiptoken"), Some("a=b"));
        assert_eq!(query.page_rows(), Ok(3));
        assert_eq!(query.get("empty"), None);
        for bad in ["0", "26", "-1", "x"] {
            assert!(Query::parse(&format!("maxresults={bad}")).page_rows().is_err());
        }
    }

    #[test]
    fn versions_are_dates_or_sevens() {
        for good in [
            "7.0",
            "7.6",
            "2016-10-01",
            "2026-04-01",
            "2026-03-01-preview",
            "7.6-preview.2",
        ] {
            assert!(is_api_version(good), "{good}");
        }
        for bad in [
            "",
            "8.0",
            "7",
            "2016-10",
            "2016-1-01",
            "yesterday",
            "7.x",
            "2025-07-01-beta",
        ] {
            assert!(!is_api_version(bad), "{bad}");
        }
    }
}
