//! Repository names and tags (distribution-spec, "Pulling manifests").

use crate::limits::{NAME_BYTES_MAX, TAG_BYTES_MAX};

/// Whether `name` is a repository's, reached through `host`: both with the slash between them have a limit.
#[must_use]
pub fn is_repository(name: &str, host: &str) -> bool {
    !name.is_empty()
        && host.len().saturating_add(1).saturating_add(name.len()) <= NAME_BYTES_MAX
        && name.split('/').all(is_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = component.bytes().peekable();
    let mut ended_plain = false;
    while let Some(byte) = bytes.next() {
        if is_plain(byte) {
            ended_plain = true;
            continue;
        }
        if !ended_plain {
            return false;
        }
        ended_plain = false;
        match byte {
            b'.' => {}
            b'_' => {
                bytes.next_if_eq(&b'_');
            }
            b'-' => while bytes.next_if_eq(&b'-').is_some() {},
            _ => return false,
        }
    }
    ended_plain
}

/// Whether `tag` is one: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_BYTES_MAX
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in [
            "a",
            "a/b",
            "ttd-app",
            "a--b",
            "a__b",
            "a_b",
            "a.b",
            "0",
            "a---b/c.d_e",
            "library/x",
        ] {
            assert!(is_repository(good, "h"), "{good}");
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "-a", "a-", "a._b", "a-_b", ".a", "a b", "æ",
            "a\0", "a%2Fb", "a:b", "a@b",
        ] {
            assert!(!is_repository(bad, "h"), "{bad}");
        }
        assert!(is_repository(&"a".repeat(253), "h"));
        assert!(!is_repository(&"a".repeat(254), "h"));
    }

    #[test]
    fn tags_follow_the_grammar() {
        for good in ["a", "_", "v1.0-rc.1_x", "sha256-abc.sig", &"a".repeat(128)] {
            assert!(is_tag(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a:b", "a/b", "a+b", "æ", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_the_grammar_makes_is_a_name(
            name in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}){0,2}"
        ) {
            prop_assert!(is_repository(&name, "h"));
        }
    }
}
