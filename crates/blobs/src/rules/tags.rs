//! Tags of blobs: what they may be, and conditions on them.
//!
//! Source: "Set Blob Tags", "Find Blobs by Tags", "Specifying conditional headers".

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{BlobsError, ErrorCode};
use crate::limits::{
    FIND_TAGS_MAX, TAG_KEY_CHARACTERS_MAX, TAG_TERMS_MAX, TAG_VALUE_CHARACTERS_MAX, TAGS_MAX,
};

/// A blob's tags.
pub type Tags = BTreeMap<String, String>;

/// What the term about the container compares, beside tags.
const CONTAINER: &str = "@container";

/// Whether a tag's key or value may hold a character.
fn allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || " +-./:=_".contains(c)
}

/// Collects tags.
///
/// # Errors
/// `TagsTooLarge`, `EmptyTagName`, `DuplicateTagNames`, `InvalidTag`.
pub fn collect(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Tags, ErrorCode> {
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
    /// What is wrong, and where, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::read(text, Form::Condition)
    }

    fn read(text: &str, form: Form) -> Result<Self, String> {
        let mut words = Words { text, rest: text };
        let mut groups = vec![Vec::new()];
        let mut terms = 0;
        loop {
            let key = words.key(form)?;
            let comparison = words.comparison(form)?;
            let value = words.value(form)?;
            terms += 1;
            if terms > TAG_TERMS_MAX {
                return Err(format!("there can be at most {TAG_TERMS_MAX} comparisons"));
            }
            if let Some(group) = groups.last_mut() {
                group.push(Term {
                    key,
                    comparison,
                    value,
                });
            }
            match words.joint(form)? {
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

/// What a text of comparisons is for: a search takes less than a condition, and bounds keys and values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `x-ms-if-tags`.
    Condition,
    /// `where`.
    Search,
}

/// A text of comparisons, and what is left to read of it.
struct Words<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Words<'a> {
    /// An error where the reading is, as the original says it ("Find Blobs by Tags").
    fn wrong(&self, what: &str) -> String {
        let read = self.text.len().saturating_sub(self.rest.len());
        let before = self.text.get(..read).unwrap_or_default().chars().count();
        format!("at or near character position {}: {what}", before + 1)
    }

    /// The same, about the next character.
    fn unexpected(&self) -> String {
        match self.rest.chars().next() {
            Some(next) => self.wrong(&format!("unexpected '{next}'")),
            None => self.wrong("unexpected end of query"),
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// What stands between two quotes; two of them inside are one of the value.
    fn quoted(&mut self, quote: char) -> Option<Result<String, String>> {
        let mut rest = self.rest.strip_prefix(quote)?;
        let mut value = String::new();
        loop {
            let Some((before, after)) = rest.split_once(quote) else {
                return Some(Err(self.wrong(&format!("a {quote} is not closed"))));
            };
            value.push_str(before);
            rest = after;
            if quote != '\'' || !rest.starts_with(quote) {
                self.rest = rest;
                return Some(Ok(value));
            }
            value.push(quote);
            rest = rest.get(1..).unwrap_or("");
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '@'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Refuses a character that no tag has.
    fn check(&self, text: &str) -> Result<(), String> {
        match text.chars().find(|c| !allowed(*c)) {
            Some(other) => Err(self.wrong(&format!("'{other}' not permitted in tag name or value"))),
            None => Ok(()),
        }
    }

    fn key(&mut self, form: Form) -> Result<String, String> {
        self.skip_space();
        let key = match self.quoted('"') {
            Some(key) => key?,
            None => match self.word() {
                "" => return Err(self.unexpected()),
                word => word.to_owned(),
            },
        };
        if key.starts_with('@') {
            return match form {
                Form::Search if key == CONTAINER => Ok(key),
                Form::Search | Form::Condition => Err(self.wrong("unsupported parameter")),
            };
        }
        self.check(&key)?;
        let bounds = 1..=TAG_KEY_CHARACTERS_MAX;
        if form == Form::Search && !bounds.contains(&key.chars().count()) {
            let text = format!("tag must be between 1 and {TAG_KEY_CHARACTERS_MAX} characters in length");
            return Err(self.wrong(&text));
        }
        Ok(key)
    }

    fn comparison(&mut self, form: Form) -> Result<Comparison, String> {
        self.skip_space();
        for (sign, comparison) in [
            ("<>", Comparison::Unequal),
            ("<=", Comparison::AtMost),
            (">=", Comparison::AtLeast),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
            ("=", Comparison::Equal),
        ] {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                if form == Form::Search && comparison == Comparison::Unequal {
                    return Err(self.wrong("unexpected '<>'"));
                }
                self.rest = rest;
                return Ok(comparison);
            }
        }
        Err(self.unexpected())
    }

    fn value(&mut self, form: Form) -> Result<String, String> {
        self.skip_space();
        let value = match self.quoted('\'') {
            Some(value) => value?,
            None => return Err(self.unexpected()),
        };
        self.check(&value)?;
        if form == Form::Search && value.chars().count() > TAG_VALUE_CHARACTERS_MAX {
            let text =
                format!("tag value must be between 0 and {TAG_VALUE_CHARACTERS_MAX} characters in length");
            return Err(self.wrong(&text));
        }
        Ok(value)
    }

    fn joint(&mut self, form: Form) -> Result<Option<Joint>, String> {
        self.skip_space();
        if self.rest.is_empty() {
            return Ok(None);
        }
        let here = self.unexpected();
        let word = self.word();
        if word.eq_ignore_ascii_case("and") {
            Ok(Some(Joint::And))
        } else if word.eq_ignore_ascii_case("or") && form == Form::Condition {
            Ok(Some(Joint::Or))
        } else {
            Err(here)
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
        let wrong = |text: String| BlobsError::with(ErrorCode::InvalidQueryParameterValue, text);
        let refuse = |text: &str| wrong(format!("Error parsing query: {text}"));
        let TagCondition(groups) = TagCondition::read(text, Form::Search)
            .map_err(|cause| wrong(format!("Error parsing query {cause}")))?;
        let (containers, terms): (Vec<Term>, Vec<Term>) = groups
            .into_iter()
            .flatten()
            .partition(|term| term.key == CONTAINER);
        let keys: BTreeSet<&str> = terms.iter().map(|term| term.key.as_str()).collect();
        if keys.len() > FIND_TAGS_MAX {
            let text = format!("there can be at most {FIND_TAGS_MAX} unique tags in a query");
            return Err(refuse(&text));
        }
        let container = match containers.as_slice() {
            [] => None,
            [only] if only.comparison == Comparison::Equal => Some(only.value.clone()),
            _ => return Err(refuse("@container is compared once, with =")),
        };
        let equal = terms.iter().find(|term| term.comparison == Comparison::Equal);
        let lead = equal
            .or_else(|| terms.first())
            .cloned()
            .ok_or_else(|| refuse("a comparison of a tag is expected"))?;
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
            ("\"state\" = 'ready' AND \"a b+-.:=_/\" <> 'x'", true),
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
        let many = |number| vec!["state='ready'"; number].join(" AND ");
        assert!(TagCondition::parse(&many(TAG_TERMS_MAX)).unwrap().holds(&found));
        assert!(TagCondition::parse(&many(TAG_TERMS_MAX + 1)).is_err());
        // Keys and values have no bounds of their own here; what no tag can hold, and the container, are refused.
        let long = format!("k{0} = 'v{0}'", "x".repeat(300));
        assert!(!TagCondition::parse(&long).unwrap().holds(&found));
        for bad in ["@container = 'a'", "a = 'b$'", "\"a@\" = 'b'", "a-b = 'c'"] {
            assert!(TagCondition::parse(bad).is_err(), "{bad}");
        }
    }

    // Source of the texts: what the service answered in azure-sdk-for-net issue 18226 and azure-cli issue 21956;
    // the bounds are those of "Set Blob Tags" and "Find Blobs by Tags".
    #[test]
    fn a_search_says_where_it_cannot_be_read() {
        let long = |number: usize| "x".repeat(number);
        let keys: Vec<String> = (0..=FIND_TAGS_MAX).map(|n| format!("k{n} = 'v'")).collect();
        let table = [
            (
                "word".to_owned(),
                "at or near character position 5: unexpected end of query",
            ),
            (
                "'a b' = 'c'".to_owned(),
                "at or near character position 1: unexpected '''",
            ),
            (
                "a <> 'b'".to_owned(),
                "at or near character position 3: unexpected '<>'",
            ),
            (
                "a = 'b' OR c = 'd'".to_owned(),
                "at or near character position 9: unexpected 'O'",
            ),
            (
                "ø = 'b'".to_owned(),
                "at or near character position 1: unexpected 'ø'",
            ),
            ("a = 'b @'".to_owned(), "'@' not permitted in tag name or value"),
            ("a = 'b' and @box = 'c'".to_owned(), "unsupported parameter"),
            (
                format!("{} = 'b'", long(129)),
                "tag must be between 1 and 128 characters in length",
            ),
            (
                format!("a = '{}'", long(257)),
                "tag value must be between 0 and 256 characters in length",
            ),
            (
                keys.join(" and "),
                ": there can be at most 10 unique tags in a query",
            ),
        ];
        for (text, expected) in table {
            let error = Search::parse(&text).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidQueryParameterValue, "{text}");
            let detail = error.detail.unwrap();
            assert!(detail.starts_with("Error parsing query"), "{detail}");
            assert!(detail.ends_with(expected), "{text}: {detail}");
        }
        assert!(Search::parse(&keys[1..].join(" and ")).is_ok());
        assert!(Search::parse(&format!("{} = '{}'", long(128), long(256))).is_ok());
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
