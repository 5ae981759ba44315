//! Cross-origin requests: which rule of the account's lets a browser in.
//!
//! Source: "Cross-Origin Resource Sharing (CORS) support for Azure Storage".

use serde::{Deserialize, Serialize};

/// One rule; the first one that matches counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    /// Origins, `*`, `scheme://*.domain`, or `*.domain` with any scheme.
    pub origins: Vec<String>,
    /// Methods.
    pub methods: Vec<String>,
    /// Request headers; a `*` at the end stands for any rest.
    pub headers: Vec<String>,
    /// Answer headers that scripts may see.
    pub exposed: Vec<String>,
    /// How long browsers may keep a preflight's answer.
    pub max_age_seconds: u32,
}

/// The methods that a rule may name.
pub const METHODS: [&str; 8] = [
    "DELETE", "GET", "HEAD", "MERGE", "PATCH", "POST", "OPTIONS", "PUT",
];

impl CorsRule {
    /// Whether any origin is let in.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    fn lets_in(&self, origin: &str, method: &str) -> bool {
        self.methods
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(method))
            && self.origins.iter().any(|allowed| matches_origin(allowed, origin))
    }

    fn takes_header(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.headers.iter().any(|allowed| {
            let allowed = allowed.to_ascii_lowercase();
            match allowed.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => allowed == name,
            }
        })
    }
}

fn matches_origin(allowed: &str, origin: &str) -> bool {
    if allowed == "*" {
        return true;
    }
    let is_below = |host: &str, domain: &str| {
        host.strip_suffix(domain)
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    };
    if let Some(domain) = allowed.strip_prefix("*.") {
        return is_below(origin, domain);
    }
    match allowed.split_once("://*.") {
        Some((scheme, domain)) => origin
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .is_some_and(|host| is_below(host, domain)),
        None => allowed == origin,
    }
}

/// The rule for a request from `origin`.
#[must_use]
pub fn actual<'a>(rules: &'a [CorsRule], origin: &str, method: &str) -> Option<&'a CorsRule> {
    rules.iter().find(|rule| rule.lets_in(origin, method))
}

/// The rule for a request that a browser announces, with the headers that it would send.
#[must_use]
pub fn preflight<'a>(
    rules: &'a [CorsRule],
    origin: &str,
    method: &str,
    headers: &[&str],
) -> Option<&'a CorsRule> {
    rules
        .iter()
        .find(|rule| rule.lets_in(origin, method) && headers.iter().all(|name| rule.takes_header(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        CorsRule {
            origins: owned(origins),
            methods: owned(methods),
            headers: owned(headers),
            ..CorsRule::default()
        }
    }

    #[test]
    fn the_first_rule_that_matches_counts() {
        let rules = [
            rule(&["https://a.example"], &["GET"], &["x-ms-meta-*"]),
            rule(&["https://*.example"], &["PUT", "GET"], &["x-ms-date", "X-Own"]),
            rule(&["*"], &["HEAD"], &["*"]),
            rule(&["*.example.net"], &["GET"], &[]),
        ];
        let table: [(&str, &str, &[&str], Option<usize>); 16] = [
            ("https://a.b.example", "PUT", &[], Some(1)),
            ("https://a.example.net", "GET", &[], Some(3)),
            ("http://a.b.example.net", "GET", &[], Some(3)),
            ("https://example.net", "GET", &[], None),
            ("https://notexample.net", "GET", &[], None),
            // "An exact case-sensitive match" (AllowedOrigins).
            ("https://a.EXAMPLE.net", "GET", &[], None),
            ("https://a.example", "GET", &["x-ms-meta-a"], Some(0)),
            ("https://a.example", "GET", &["x-own"], Some(1)),
            ("https://a.example", "PUT", &[], Some(1)),
            ("https://b.example", "PUT", &["x-ms-date", "x-own"], Some(1)),
            ("https://b.example", "PUT", &["x-ms-date", "x-other"], None),
            ("http://b.example", "PUT", &[], None),
            ("https://.example", "PUT", &[], None),
            ("https://bexample", "PUT", &[], None),
            ("https://elsewhere.org", "HEAD", &["anything"], Some(2)),
            ("https://elsewhere.org", "DELETE", &[], None),
        ];
        for (origin, method, headers, expected) in table {
            let found = preflight(&rules, origin, method, headers);
            assert_eq!(
                found,
                expected.map(|at| &rules[at]),
                "{origin} {method} {headers:?}"
            );
        }
        assert_eq!(actual(&rules, "https://a.example", "GET"), Some(&rules[0]));
        assert_eq!(actual(&rules, "https://a.example", "PUT"), Some(&rules[1]));
        assert_eq!(actual(&rules, "https://z.org", "GET"), None);
    }
}
