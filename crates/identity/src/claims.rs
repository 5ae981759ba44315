//! What a token says about its bearer.
//!
//! Invariant: claims are read as the issuer wrote them, names compared exactly. What a claim
//! means is its protocol's business, not this module's.

use std::sync::Arc;

use serde_json::{Map, Value};

/// The claims of a token whose signature and lifetime were checked. Clones share them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claims(Arc<Map<String, Value>>);

impl Claims {
    /// Takes a token's payload over.
    #[must_use]
    pub fn new(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }

    /// A claim as text: a string, or a number or boolean written out. Empty ones count as absent.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        let text = match self.0.get(name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// A claim as a whole number, also when it was written as a string.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name)?.parse().ok()
    }

    /// The words of a claim: its strings split at blanks (RFC 8693, section 4.2), whether the
    /// claim is one string or a list of them.
    #[must_use]
    pub fn words(&self, name: &str) -> Vec<&str> {
        let strings: Vec<&str> = match self.0.get(name) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        strings
            .into_iter()
            .flat_map(str::split_ascii_whitespace)
            .collect()
    }

    /// A claim as it stands.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// All claims.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: &Value) -> Claims {
        Claims::new(value.as_object().cloned().unwrap())
    }

    #[test]
    fn numbers_and_strings_are_read_alike() {
        let claims = claims(&json!({"a": 7, "b": "7", "c": "", "d": null, "e": [1]}));
        assert_eq!(claims.integer("a"), Some(7));
        assert_eq!(claims.integer("b"), Some(7));
        assert_eq!(claims.text("a").as_deref(), Some("7"));
        for absent in ["c", "d", "e", "f"] {
            assert_eq!(claims.text(absent), None, "{absent}");
        }
    }

    #[test]
    fn words_are_whole() {
        let claims = claims(&json!({"scope": "a:b  c/d", "list": ["x y", "z"], "n": 4}));
        assert_eq!(claims.words("scope"), ["a:b", "c/d"]);
        assert_eq!(claims.words("list"), ["x", "y", "z"]);
        assert!(claims.words("n").is_empty());
    }
}
