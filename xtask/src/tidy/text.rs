//! Rules that only need the text of the sources.

use super::sources::Source;

const LINES_MAX: usize = 600;

/// Names that say nothing about what is inside.
const NAMELESS: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

/// Written in halves so that this file doesn't break its own rule.
const UNFINISHED: &[&str] = &[
    concat!("to", "do!("),
    concat!("unimpl", "emented!("),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

pub(crate) fn too_long(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter_map(|source| {
            let lines = source.text.lines().count();
            (lines > LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
        })
        .collect()
}

pub(crate) fn without_header(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| source.is_rust())
        .filter(|source| {
            let first = source
                .text
                .lines()
                .find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
            !first.is_some_and(|line| line.starts_with("//!") && line.len() > 4)
        })
        .map(|source| format!("{}: begins without a `//!` header", source.path))
        .collect()
}

pub(crate) fn unfinished(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in (1..).zip(source.text.lines()) {
            if let Some(mark) = UNFINISHED.iter().find(|mark| contains_word(line, mark)) {
                found.push(format!("{}:{number}: {mark}", source.path));
            }
        }
    }
    found
}

/// Whether `mark` stands in `line` and isn't part of a longer word.
fn contains_word(line: &str, mark: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(mark).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + mark.len()..).and_then(|text| text.chars().next());
        let ends_in_word = mark.ends_with(is_word);
        !(before.is_some_and(is_word) || ends_in_word && after.is_some_and(is_word))
    })
}

/// An `allow` needs `reason = ".."` in it, or a comment on its line or the line above.
pub(crate) fn unreasoned_allows(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let start = line.trim_start();
            if !(start.starts_with("#[allow(") || start.starts_with("#![allow(")) {
                continue;
            }
            let attribute: String = lines
                .iter()
                .skip(index)
                .take(12)
                .copied()
                .collect::<Vec<_>>()
                .join(" ");
            let attribute = attribute.split_inclusive(")]").next().unwrap_or_default();
            let above = index
                .checked_sub(1)
                .and_then(|above| lines.get(above))
                .copied()
                .unwrap_or_default();
            if !(attribute.contains("reason") || line.contains("//") || above.trim_start().starts_with("// "))
            {
                found.push(format!("{}:{}: {}", source.path, index + 1, start));
            }
        }
    }
    found
}

pub(crate) fn nameless(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter(|source| {
            source.path.split('/').any(|part| {
                let stem = part.split_once('.').map_or(part, |(stem, _)| stem);
                NAMELESS.contains(&stem)
            })
        })
        .map(|source| format!("{}: name it after what it does", source.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> [Source; 1] {
        [Source {
            path: path.into(),
            text: text.into(),
        }]
    }

    #[test]
    fn each_rule_finds_its_violation() {
        assert_eq!(too_long(&source("a.py", &"x\n".repeat(601))).len(), 1);
        assert_eq!(too_long(&source("a.py", &"x\n".repeat(600))).len(), 0);
        assert_eq!(without_header(&source("a.rs", "use x;\n")).len(), 1);
        assert_eq!(
            without_header(&source("a.rs", "#![allow(x)]\n//! What it is.\n")).len(),
            0
        );
        assert_eq!(without_header(&source("a.py", "import x\n")).len(), 0);
        let unfinished_code = format!("fn f() {{ {}) }}", UNFINISHED[0]);
        assert_eq!(unfinished(&source("a.rs", &unfinished_code)).len(), 1);
        assert_eq!(
            unfinished(&source("a.rs", &format!("// {}S of it", UNFINISHED[2]))).len(),
            0
        );
        assert_eq!(
            unfinished(&source("a.rs", &format!("// {}: x", UNFINISHED[2]))).len(),
            1
        );
        assert_eq!(nameless(&source("crates/x/src/utils.rs", "")).len(), 1);
        assert_eq!(nameless(&source("crates/x/src/common/mod.rs", "")).len(), 1);
        assert_eq!(nameless(&source("crates/x/src/commons.rs", "")).len(), 0);
    }

    #[test]
    fn an_allow_needs_a_reason() {
        assert_eq!(
            unreasoned_allows(&source("a.rs", "#[allow(dead_code)]\nfn f() {}")).len(),
            1
        );
        assert_eq!(
            unreasoned_allows(&source("a.rs", "#[allow(dead_code)]\n#[doc = \"reason\"]")).len(),
            1
        );
        assert_eq!(
            unreasoned_allows(&source("a.rs", "#[allow(\n  x,\n  reason = \"y\"\n)]")).len(),
            0
        );
        assert_eq!(
            unreasoned_allows(&source("a.rs", "// why\n#[allow(dead_code)]")).len(),
            0
        );
        assert_eq!(
            unreasoned_allows(&source("a.rs", "#[allow(dead_code)] // why")).len(),
            0
        );
    }
}
