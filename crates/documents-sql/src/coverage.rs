//! What of the query language is served: the page `docs/compat/documents-query.md`, made from the
//! tables that calls are looked up in.

use std::fmt::Write as _;

use crate::aggregate::AggregateKind;
use crate::functions;

/// What is built into the grammar, and what of it differs.
const LANGUAGE: [(&str, &str); 12] = [
    (
        "SELECT, DISTINCT, VALUE, TOP, `*`, aliases, JSON projections",
        "yes",
    ),
    ("FROM, JOIN, IN, paths, subqueries, functions as sources", "yes"),
    ("WHERE, GROUP BY, OFFSET LIMIT, parameters, comments", "yes"),
    (
        "ORDER BY one path, or several with a composite index",
        "yes; over the protocol an order that the original refuses is refused: an expression (SC2206), several paths without a composite index that fits, a path that the indexing policy excludes; arrays and objects come behind strings, which the original's composite indexes take for undefined",
    ),
    (
        "ORDER BY VectorDistance, ORDER BY RANK with FullTextScore, VectorDistance, RRF",
        "yes; RRF's weights must be 0 or more",
    ),
    (
        "Subqueries: scalar, EXISTS, ARRAY, ALL, FIRST, LAST, correlated, multi-value",
        "yes",
    ),
    (
        "Operators: `= != <> < <= > >= AND OR NOT IN BETWEEN LIKE ESCAPE ? : ?? || + - * / % & | ^ ~ << >> >>>`",
        "yes",
    ),
    ("undefined and null, the order of types", "yes"),
    (
        "Integers beyond 2^53",
        "yes, exactly, where the original rounds to doubles",
    ),
    (
        "Computed properties",
        "yes, worked out when they are asked for; no index holds them, though ORDER BY wants their path to be included",
    ),
    ("Rewritten forms that clients derive from a query plan", "yes"),
    (
        "User-defined functions (`udf.name()`)",
        "yes, where scripts are run (docs/adr/0012): from every clause but ORDER BY, which the original refuses as well; not in computed properties and conditions of patches (SC2990); at most 10 mentions; a call has 5 s, the calls of a page 15 s",
    ),
];

/// How a subject of the function table is called, in its order, and what differs.
const SUBJECTS: [(&str, &str); 12] = [
    ("Types and DOCUMENTID", ""),
    (
        "Strings",
        "SUBSTRINGBEFORE and its like give the empty string for a text without the delimiter, of which the documentation doesn't speak",
    ),
    (
        "Searching in strings",
        "patterns of REGEXMATCH that need look-around or back-references are undefined",
    ),
    ("Conversion", ""),
    ("Arrays", ""),
    ("Sets", ""),
    ("Mathematics", ""),
    ("Integers", ""),
    ("Dates and times", ""),
    (
        "Spatial",
        "on the ellipsoid (geography); `geospatialConfig` Geometry is not told apart; two geometries whose edges make more than 250,000 pairs are undefined; no spatial index",
    ),
    (
        "Full text",
        "no stemming, no stop words, no fuzzy terms; FullTextScore counts over the documents that the request covers; no full-text index",
    ),
    ("Vectors", "exact search; no vector index"),
];

const RANKING: [&str; 2] = ["FULLTEXTSCORE", "RRF"];

/// The compatibility page as it is checked in.
#[must_use]
pub fn compat_markdown() -> String {
    let mut out = String::from(
        "# Documents: the query language\n\n\
         Generated from the function tables of `crates/documents-sql`; a test compares the two. To write it\n\
         anew: `STABBUR_BLESS=1 cargo test -p documents-sql compat`.\n\n",
    );
    let whole = LANGUAGE.iter().filter(|(_, served)| *served == "yes").count();
    let parts = LANGUAGE.len();
    let alike = |(names, _): &(&Vec<&str>, &str)| names.len();
    let functions = functions::names();
    let subjects = functions.iter().zip(SUBJECTS.iter().map(|(_, differs)| *differs));
    let (same, differing): (Vec<_>, Vec<_>) = subjects.partition(|(_, differs)| differs.is_empty());
    let same: usize =
        same.iter().map(alike).sum::<usize>() + 1 + AggregateKind::names().len() + RANKING.len();
    let differing: usize = differing.iter().map(alike).sum();
    // Writing to a String doesn't fail, here and below.
    let _ = write!(
        out,
        "All of the language's {parts} parts are served, {} with differences that stand beside them ({} %); all of\n\
         the documented functions are, {} of them: {differing} ({} %) belong to a subject with differences. None is\n\
         refused.\n\n",
        parts - whole,
        percent(parts - whole, parts),
        same + differing,
        percent(differing, same + differing),
    );
    out.push_str("| part of the language | served |\n| --- | --- |\n");
    for (part, served) in LANGUAGE {
        let part = part.replace('|', "\\|");
        let _ = writeln!(out, "| {part} | {served} |");
    }
    out.push_str("\n| functions | names | differs |\n| --- | --- | --- |\n");
    let mut row = |subject: &str, names: &str, differs: &str| {
        let _ = writeln!(out, "| {subject} | {names} | {differs} |");
    };
    for ((subject, differs), names) in SUBJECTS.iter().zip(functions) {
        row(subject, &names.join(" "), differs);
    }
    row("Conditional", "IIF", "");
    row("Aggregates", &AggregateKind::names().join(" "), "");
    row("Ranking, in ORDER BY RANK only", &RANKING.join(" "), "");
    out
}

fn percent(part: usize, whole: usize) -> usize {
    (part * 100 + whole / 2) / whole.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compat_page_is_current() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/compat/documents-query.md"
        );
        let wanted = compat_markdown();
        if std::env::var_os("STABBUR_BLESS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), wanted);
    }

    #[test]
    fn every_subject_has_its_name() {
        assert_eq!(functions::names().len(), SUBJECTS.len());
    }
}
