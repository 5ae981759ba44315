//! What is refused, with which code and where.

use serde_json::json;

use crate::{compile, refused};
use documents_sql::parse;

#[test]
fn syntax() {
    for text in [
        "",
        "SELECT",
        "SELECT * FROM",
        "SELECT * FROM c WHERE",
        "SELECT * FROM c WHERE c.a =",
        "SELECT * FROM c c2 c3",
        "SELECT * FROM c;",
        "SELECT *, c.a FROM c",
        "SELECT VALUE * FROM c",
        "SELECT VALUE 1, 2",
        "SELECT c.a IS NULL FROM c",
        "SELECT c.a IS NOT NULL FROM c",
        "SELECT * FROM c WHERE c.a == 1",
        "SELECT * FROM c WHERE ! c.a",
        "SELECT * FROM c WHERE c.a IN ()",
        "SELECT * FROM c WHERE c.a IN (1) = true",
        "SELECT * FROM c WHERE c.a = NOT true",
        "SELECT * FROM c WHERE c.a LIKE",
        "SELECT * FROM c WHERE c.a BETWEEN 1",
        "SELECT * FROM c ORDER c.a",
        "SELECT * FROM c ORDER BY",
        "SELECT * FROM c GROUP BY",
        "SELECT * FROM c OFFSET 1",
        "SELECT * FROM c LIMIT 1",
        "SELECT TOP -1 * FROM c",
        "SELECT TOP 1.5 * FROM c",
        "SELECT TOP c * FROM c",
        "SELECT [1, FROM c",
        "SELECT {a 1} FROM c",
        "SELECT (1 FROM c",
        "SELECT a ? b FROM c",
        "SELECT c., 1 FROM c",
        "SELECT c[] FROM c",
        "SELECT @ FROM c",
        "SELECT 'open FROM c",
        "UPDATE c SET x = 1",
        "SELECT * FROM c JOIN",
        "SELECT * FROM c WHERE c.a = 1 c.b",
    ] {
        assert_eq!(refused(text), "SC1001", "{text}");
    }
}

#[test]
fn places_are_told() {
    let errors = parse("SELECT * FROM c WHERE x x").unwrap_err();
    assert_eq!(
        errors.to_json(),
        json!({"errors": [{
            "severity": "Error",
            "location": {"start": 24, "end": 25},
            "code": "SC1001",
            "message": "Syntax error, incorrect syntax near 'x'."
        }]})
    );
    let errors = compile("SELECT VALUE d.x FROM c", &json!({})).unwrap_err();
    assert_eq!(
        (errors.0[0].start, errors.0[0].end, errors.0[0].code),
        (13, 14, "SC2001")
    );
    assert!(
        errors
            .to_string()
            .contains("Identifier 'd' could not be resolved.")
    );
}

#[test]
fn names_and_clauses() {
    for (text, code) in [
        ("SELECT c.a FROM x", "SC2001"),
        ("SELECT * FROM c AS d WHERE c.a = 1", "SC2001"),
        ("SELECT VALUE x", "SC2001"),
        ("SELECT * FROM c JOIN k IN d.kids", "SC2001"),
        ("SELECT VALUE C.a FROM c", "SC2001"),
        ("SELECT * FROM c JOIN k IN c.kids", "SC2041"),
        ("SELECT *", "SC2041"),
        ("SELECT * FROM c GROUP BY c.a", "SC2041"),
        ("SELECT VALUE @p FROM c", "SC2002"),
        ("SELECT TOP @p * FROM c", "SC2002"),
        ("SELECT TOP 2147483648 * FROM c", "SC2060"),
        ("SELECT * FROM c OFFSET 2147483648 LIMIT 1", "SC2061"),
        ("SELECT * FROM c OFFSET 1 LIMIT 2147483648", "SC2062"),
        ("SELECT TOP 1 * FROM c OFFSET 1 LIMIT 1", "SC2207"),
        ("SELECT VALUE COUNT(SUM(c.a)) FROM c", "SC2101"),
        ("SELECT * FROM c WHERE COUNT(1) > 1", "SC2100"),
        ("SELECT c.a FROM c GROUP BY COUNT(1)", "SC2100"),
        ("SELECT c.a, COUNT(1) FROM c", "SC2102"),
        ("SELECT c.b FROM c GROUP BY c.a", "SC2102"),
        ("SELECT c FROM c GROUP BY c.a", "SC2102"),
        ("SELECT (SELECT VALUE c.b) FROM c GROUP BY c.a", "SC2102"),
        ("SELECT c.a FROM c GROUP BY c.a ORDER BY c.b", "SC2102"),
        (
            "SELECT (SELECT VALUE k FROM k IN c.a ORDER BY k) FROM c",
            "SC2202",
        ),
        ("SELECT (SELECT TOP 1 VALUE k FROM k IN c.a) FROM c", "SC2203"),
        (
            "SELECT (SELECT VALUE k FROM k IN c.a OFFSET 0 LIMIT 1) FROM c",
            "SC2204",
        ),
        ("SELECT c.id FROM c JOIN k IN c.kids ORDER BY k.age", "SC2206"),
        ("SELECT * FROM c ORDER BY RANK ABS(c.a)", "SC2221"),
        ("SELECT FullTextScore(c.a, 'x') FROM c", "SC2240"),
        ("SELECT udf.f(c.a) FROM c", "SC2990"),
        ("SELECT * FROM c WHERE c.a LIKE 'x' ESCAPE 'ab'", "SC2051"),
        ("SELECT VALUE 1 FROM c JOIN c IN c.kids", "SC2003"),
    ] {
        assert_eq!(refused(text), code, "{text}");
    }
}

#[test]
fn counts_from_parameters() {
    for bad in [
        json!(-1),
        json!(1.5),
        json!("1"),
        json!(null),
        json!(2_147_483_648u64),
    ] {
        let errors = compile("SELECT TOP @n * FROM c", &json!({"@n": bad})).unwrap_err();
        assert_eq!(errors.0[0].code, "SC2060", "{bad}");
    }
}
