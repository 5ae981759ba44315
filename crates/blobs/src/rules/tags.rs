//! Tags of blobs: what they may be, and conditions on them.
//!
//! Source: "Set Blob Tags", "Find Blobs by Tags", "Specifying conditional headers".

use std::collections::BTreeMap;

use crate::error::{BlobsError, ErrorCode};
use crate::limits::{TAG_KEY_CHARACTERS_MAX, TAG_TERMS_MAX, TAG_VALUE_CHARACTERS_MAX, TAGS_MAX};

/// A blob's tags.
pub type Tags = BTreeMap<String, String>;

/// Collects tags.
///
/// # Errors
/// `TagsTooLarge`, `EmptyTagName`, `DuplicateTagNames`, `InvalidTag`.
pub fn collect(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags, ErrorCode> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " +-./:=_".contains(c);
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if key.is_empty() {
            return Err(ErrorCode::EmptyTagName);
        }
        if key.chars().count() > TAG_KEY_CHARACTERS_MAX || value.chars().count() > TAG_VALUE_CHARACTERS_MAX {
            return Err(ErrorCode::TagsTooLarge);
        }
        if !key.chars().chain(value.chars()).all(allowed) {
            return Err(ErrorCode::InvalidTag);
        }
        if tags.insert(key, value).is_some() {
            return Err(ErrorCode::DuplicateTagNames);
        }
        if tags.len() > TAGS_MAX {
            return Err(ErrorCode::TagsTooLarge);
        }
    }
    Ok(tags)
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// One comparison of a tag, or of `@container`, with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The tag's key, or `@container`.
    pub key: String,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: String,
}

impl Term {
    fn holds(&self, tags: &Tags) -> bool {
        let Some(found) = tags.get(&self.key) else {
            return self.comparison == Comparison::Unequal;
        };
        match self.comparison {
            Comparison::Equal => *found == self.value,
            Comparison::Unequal => *found != self.value,
            Comparison::Less => *found < self.value,
            Comparison::AtMost => *found <= self.value,
            Comparison::Greater => *found > self.value,
            Comparison::AtLeast => *found >= self.value,
        }
    }
}

/// A condition: any of its groups, of which all terms hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagCondition(pub Vec<Vec<Term>>);

impl TagCondition {
    /// Reads `"key" = 'value' AND ... OR ...`; AND binds closer.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = Words(text);
        let mut groups = vec![Vec::new()];
        let mut terms = 0;
        loop {
            let key = words.key()?;
            let comparison = words.comparison()?;
            let value = words.value()?;
            terms += 1;
            if terms > TAG_TERMS_MAX {
                return Err(format!("at most {TAG_TERMS_MAX} comparisons are taken"));
            }
            if let Some(group) = groups.last_mut() {
                group.push(Term {
                    key,
                    comparison,
                    value,
                });
            }
            match words.joint()? {
                None => return Ok(Self(groups)),
                Some(Joint::And) => {}
                Some(Joint::Or) => groups.push(Vec::new()),
            }
        }
    }

    /// Whether it holds of a blob with these tags.
    #[must_use]
    pub fn holds(&self, tags: &Tags) -> bool {
        let Self(groups) = self;
        groups
            .iter()
            .any(|group| group.iter().all(|term| term.holds(tags)))
    }
}

enum Joint {
    And,
    Or,
}

/// What is left to read of a condition.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start();
    }

    /// What stands between two quotes; two of them inside are one of the value.
    fn quoted(&mut self, quote: char) -> Option<Result<String, String>> {
        let mut rest = self.0.strip_prefix(quote)?;
        let mut value = String::new();
        loop {
            let Some((before, after)) = rest.split_once(quote) else {
                return Some(Err(format!("a {quote} is not closed")));
            };
            value.push_str(before);
            rest = after;
            if quote != '\'' || !rest.starts_with(quote) {
                self.0 = rest;
                return Some(Ok(value));
            }
            value.push(quote);
            rest = rest.get(1..).unwrap_or("");
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .0
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '@'))
            .unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    fn key(&mut self) -> Result<String, String> {
        self.skip_space();
        if let Some(key) = self.quoted('"') {
            return key;
        }
        match self.word() {
            "" => Err(format!("a tag's key is expected at {:?}", self.0)),
            word => Ok(word.to_owned()),
        }
    }

    fn comparison(&mut self) -> Result<Comparison, String> {
        self.skip_space();
        for (sign, comparison) in [
            ("<>", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
            ("=", Comparison::Equal),
        ] {
            if let Some(rest) = self.0.strip_prefix(sign) {
                self.0 = rest;
                return Ok(comparison);
            }
        }
        Err(format!("a comparison is expected at {:?}", self.0))
    }

    fn value(&mut self) -> Result<String, String> {
        self.skip_space();
        self.quoted('\'')
            .unwrap_or_else(|| Err(format!("a value in single quotes is expected at {:?}", self.0)))
    }

    fn joint(&mut self) -> Result<Option<Joint>, String> {
        self.skip_space();
        if self.0.is_empty() {
            return Ok(None);
        }
        let word = self.word();
        if word.eq_ignore_ascii_case("and") {
            Ok(Some(Joint::And))
        } else if word.eq_ignore_ascii_case("or") {
            Ok(Some(Joint::Or))
        } else {
            Err(format!("AND or OR is expected at {word}{:?}", self.0))
        }
    }
}

/// What Find Blobs by Tags looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The one container that is looked in; `None`: all.
    pub container: Option<String>,
    /// The term that the index is asked with: one of equality, if there is one.
    pub lead: Term,
    /// All of them.
    pub condition: TagCondition,
}

impl Search {
    /// Reads `where`.
    ///
    /// # Errors
    /// `InvalidQueryParameterValue` with what is wrong.
    pub fn parse(text: &str) -> Result<Self, BlobsError> {
        let refuse =
            |text: String| BlobsError::with(ErrorCode::InvalidQueryParameterValue, format!("where: {text}."));
        let TagCondition(mut groups) = TagCondition::parse(text).map_err(refuse)?;
        let group = groups.pop().unwrap_or_default();
        if !groups.is_empty() || group.iter().any(|term| term.comparison == Comparison::Unequal) {
            return Err(refuse("OR and <> are not taken".to_owned()));
        }
        let (containers, terms): (Vec<Term>, Vec<Term>) =
            group.into_iter().partition(|term| term.key == "@container");
        let container = match containers.as_slice() {
            [] => None,
            [only] if only.comparison == Comparison::Equal => Some(only.value.clone()),
            _ => return Err(refuse("@container is compared once, with =".to_owned())),
        };
        let equal = terms.iter().find(|term| term.comparison == Comparison::Equal);
        let lead = equal
            .or_else(|| terms.first())
            .cloned()
            .ok_or_else(|| refuse("a comparison of a tag is expected".to_owned()))?;
        Ok(Self {
            container,
            lead,
            condition: TagCondition(vec![terms]),
        })
    }

    /// The keys that are compared: a result shows these tags.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let TagCondition(groups) = &self.condition;
        groups.iter().flatten().map(|term| term.key.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn tags_have_bounds() {
        let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        let many = |number: usize| {
            (0..number)
                .map(|n| (n.to_string(), String::new()))
                .collect::<Vec<_>>()
        };
        let table = [
            (pair("a b", "+-./:=_ 9"), None),
            (many(TAGS_MAX), None),
            (many(TAGS_MAX + 1), Some(ErrorCode::TagsTooLarge)),
            (pair("", "v"), Some(ErrorCode::EmptyTagName)),
            (pair("k", "ø"), Some(ErrorCode::InvalidTag)),
            (pair("k&", "v"), Some(ErrorCode::InvalidTag)),
            (pair(&"k".repeat(129), "v"), Some(ErrorCode::TagsTooLarge)),
            (pair("k", &"v".repeat(257)), Some(ErrorCode::TagsTooLarge)),
            (
                [pair("k", "1"), pair("k", "2")].concat(),
                Some(ErrorCode::DuplicateTagNames),
            ),
        ];
        for (pairs, expected) in table {
            assert_eq!(collect(pairs.clone()).err(), expected, "{pairs:?}");
        }
    }

    #[test]
    fn conditions_hold_or_not() {
        let found = tags(&[("state", "ready"), ("year", "2024")]);
        let table = [
            ("\"state\" = 'ready'", true),
            ("state='ready'", true),
            ("\"state\" <> 'ready'", false),
            ("\"none\" <> 'x'", true),
            ("\"none\" >= ''", false),
            ("\"year\" > '2023' AND \"year\" <= '2024'", true),
            ("\"year\" < '2024' and state = 'ready'", false),
            (
                "\"year\" < '2024' OR state = 'ready' AND \"year\" >= '2024'",
                true,
            ),
            ("\"year\" < '2024' OR state = 'no'", false),
            ("state = 'it''s'", false),
        ];
        for (text, expected) in table {
            assert_eq!(
                TagCondition::parse(text).unwrap().holds(&found),
                expected,
                "{text}"
            );
        }
        for bad in [
            "",
            "a",
            "a =",
            "a = b",
            "a = 'b",
            "'a' = 'b'",
            "a = 'b' AND",
            "a = 'b' c = 'd'",
            "\"a = 'b'",
        ] {
            assert!(TagCondition::parse(bad).is_err(), "{bad}");
        }
        let long = vec!["a='b'"; TAG_TERMS_MAX + 1].join(" OR ");
        assert!(TagCondition::parse(&long).is_err());
    }

    #[test]
    fn searches_have_a_lead() {
        let search = Search::parse("@container='box' AND year > '2000' AND state = 'ready'").unwrap();
        assert_eq!(search.container.as_deref(), Some("box"));
        assert_eq!(search.lead.key, "state");
        assert_eq!(search.keys().collect::<Vec<_>>(), ["year", "state"]);
        for bad in [
            "@container='box'",
            "a='b' OR a='c'",
            "a<>'b'",
            "@container>'a' AND a='b'",
        ] {
            let error = Search::parse(bad).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidQueryParameterValue, "{bad}");
        }
    }
}
