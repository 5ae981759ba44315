//! Merging presentation texts and data values: what comes replaces, what comes empty removes.

use std::collections::BTreeMap;

use crate::limits::TEXTS_MAX;
use crate::model::Texts;

/// Merges `changes` into `texts`; false if there would be too many.
#[must_use]
pub fn merge(texts: &mut Option<Texts>, changes: BTreeMap<String, Option<String>>) -> bool {
    let merged = texts.get_or_insert_default();
    for (key, value) in changes {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => merged.insert(key, value),
            None => merged.remove(&key),
        };
    }
    merged.len() <= TEXTS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(pairs: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)))
            .collect()
    }

    // Upstream merges twice, so a removed text comes back (issue 545 of altinn-storage).
    #[test]
    fn s545_a_text_can_be_removed() {
        let mut texts = None;
        assert!(merge(
            &mut texts,
            changes(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))])
        ));
        assert!(merge(
            &mut texts,
            changes(&[("a", Some("")), ("b", None), ("d", None), ("c", Some("4"))])
        ));
        assert_eq!(texts, Some(Texts::from([("c".to_owned(), "4".to_owned())])));
    }

    #[test]
    fn too_many_are_refused() {
        let many = (0..=TEXTS_MAX)
            .map(|n| (n.to_string(), Some("x".to_owned())))
            .collect();
        assert!(!merge(&mut None, many));
    }
}
