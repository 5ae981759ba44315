//! LIKE: `%` any run, `_` one character, `[a-f]`, `[^a]` sets, `[%]` a literal.
//!
//! Matching keeps only the last `%` to come back to, so it takes at most pattern times text
//! steps, never exponential ones.

use crate::limits::PATTERN_BYTES_MAX;

/// A pattern ready to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LikePattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(char),
    One,
    Run,
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl LikePattern {
    /// Reads a pattern; none if it is too long or ends in the escape character.
    pub(crate) fn new(pattern: &str, escape: Option<char>) -> Option<Self> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return None;
        }
        let chars: Vec<char> = pattern.chars().collect();
        let mut rest = chars.as_slice();
        let mut parts = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            let part = match first {
                c if Some(*c) == escape => {
                    let (literal, after) = rest.split_first()?;
                    rest = after;
                    Part::Literal(*literal)
                }
                '%' => Part::Run,
                '_' => Part::One,
                '[' => match set(rest, escape) {
                    Some((set, after)) => {
                        rest = after;
                        set
                    }
                    None => Part::Literal('['), // never closed
                },
                c => Part::Literal(*c),
            };
            if part != Part::Run || parts.last() != Some(&Part::Run) {
                parts.push(part);
            }
        }
        Some(Self { parts })
    }

    /// What every match begins with, and whether that is all of it.
    pub(crate) fn literal_prefix(&self) -> (String, bool) {
        let mut prefix = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(c) => prefix.push(*c),
                _ => return (prefix, false),
            }
        }
        (prefix, true)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let (mut parts, mut chars) = (self.parts.as_slice(), text.chars());
        // Where to go on if what follows the last `%` doesn't match.
        let mut retry: Option<(&[Part], std::str::Chars<'_>)> = None;
        loop {
            match parts.split_first() {
                Some((Part::Run, after)) => {
                    parts = after;
                    retry = Some((after, chars.clone()));
                    continue;
                }
                Some((part, after)) => {
                    let mut next = chars.clone();
                    if next.next().is_some_and(|c| part.matches(c)) {
                        (parts, chars) = (after, next);
                        continue;
                    }
                }
                None if chars.as_str().is_empty() => return true,
                None => {}
            }
            // Let the last `%` take one more character.
            let Some((after, from)) = &mut retry else {
                return false;
            };
            if from.next().is_none() {
                return false;
            }
            (parts, chars) = (after, from.clone());
        }
    }
}

impl Part {
    fn matches(&self, c: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == c,
            Self::One => true,
            Self::Run => false,
            Self::Set { ranges, negated } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
            }
        }
    }
}

/// A set behind its `[`, and what follows its `]`.
fn set(chars: &[char], escape: Option<char>) -> Option<(Part, &[char])> {
    let (negated, mut rest) = match chars.split_first() {
        Some(('^', after)) => (true, after),
        _ => (false, chars),
    };
    let mut ranges: Vec<(char, char)> = Vec::new();
    loop {
        let (first, after) = rest.split_first()?;
        rest = after;
        let mut member = *first;
        if Some(member) == escape {
            let (literal, after) = rest.split_first()?;
            (member, rest) = (*literal, after);
        } else if member == ']' && !ranges.is_empty() {
            return Some((Part::Set { ranges, negated }, rest));
        }
        match rest {
            ['-', to, after @ ..] if *to != ']' => {
                ranges.push((member, *to));
                rest = after;
            }
            _ => ranges.push((member, member)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        for (text, pattern, matches) in [
            ("abc", "abc", true),
            ("abc", "a%", true),
            ("abc", "%c", true),
            ("abc", "%b%", true),
            ("abc", "a_c", true),
            ("abc", "a_", false),
            ("", "%", true),
            ("", "_", false),
            ("abcabd", "%ab_", true),
            ("aXbXc", "a%X%c", true),
            ("a", "[a-f]", true),
            ("g", "[a-f]", false),
            ("g", "[^a-f]", true),
            ("50%", "50[%]", true),
            ("50x", "50[%]", false),
            ("a]b", "a[]]b", true),
            ("a-b", "a[-]b", true),
            ("[x", "[x", true),
            ("line\nbreak", "line%", true),
            ("Abc", "abc", false),
            ("åæø", "_æ_", true),
        ] {
            assert_eq!(
                LikePattern::new(pattern, None).unwrap().matches(text),
                matches,
                "{text} LIKE {pattern}"
            );
        }
        assert!(LikePattern::new("50!%", Some('!')).unwrap().matches("50%"));
        assert!(!LikePattern::new("50!%", Some('!')).unwrap().matches("50x"));
        assert_eq!(LikePattern::new("50!", Some('!')), None);
    }

    #[test]
    fn hard_patterns_take_little_time() {
        let pattern = LikePattern::new(&"a%".repeat(2_000), None).unwrap();
        assert!(!pattern.matches(&"a".repeat(1_999)));
        let pattern = LikePattern::new("%a%a%a%a%a%a%b", None).unwrap();
        assert!(!pattern.matches(&"a".repeat(20_000)));
    }

    #[test]
    fn prefix() {
        let prefix = |pattern| LikePattern::new(pattern, None).unwrap().literal_prefix();
        assert_eq!(prefix("abc%"), ("abc".to_owned(), false));
        assert_eq!(prefix("abc"), ("abc".to_owned(), true));
        assert_eq!(prefix("%abc"), (String::new(), false));
        assert_eq!(prefix("a[b]c"), ("a".to_owned(), false));
    }
}
