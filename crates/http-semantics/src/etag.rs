//! Entity tags (RFC 9110 section 8.8.3) and lists of them.

/// What an `If-Match` or `If-None-Match` header holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagList {
    /// `*`: any representation.
    Any,
    /// Tags as sent, quotes included, without a `W/` mark.
    Tags(Vec<String>),
}

impl TagList {
    /// Reads a header's value. Clients of Azure often leave the quotes away; such a tag is taken
    /// as it is.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text == "*" || text == "\"*\"" {
            return Self::Any;
        }
        Self::Tags(
            text.split(',')
                .map(|tag| tag.trim().trim_start_matches("W/").to_owned())
                .filter(|tag| !tag.is_empty())
                .collect(),
        )
    }

    /// Whether `current` (with or without quotes) is among them.
    #[must_use]
    pub fn matches(&self, current: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags
                .iter()
                .any(|tag| tag.trim_matches('"') == current.trim_matches('"')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_match_with_and_without_quotes() {
        assert!(TagList::parse("*").matches("\"a\""));
        assert!(TagList::parse("\"a\", W/\"b\"").matches("\"b\""));
        assert!(TagList::parse("a").matches("\"a\""));
        assert!(!TagList::parse("\"a\"").matches("\"b\""));
        assert!(!TagList::parse("").matches("\"b\""));
    }
}
