//! What an index is told.

use documents_sql::{CompareOp, OrderMode, Path, PathStep, Predicate};
use serde_json::{Value, json};

use crate::{compile, execute};

/// `a.b.[]`
fn path(text: &str) -> Path {
    text.split('.')
        .map(|step| {
            if step == "[]" {
                PathStep::Element
            } else {
                PathStep::Name(step.to_owned())
            }
        })
        .collect()
}

fn compare(at: &str, op: CompareOp, value: Value) -> Predicate {
    Predicate::Compare {
        path: path(at),
        op,
        value,
    }
}

fn equal(at: &str, value: Value) -> Predicate {
    compare(at, CompareOp::Equal, value)
}

#[track_caller]
fn conjuncts(filter: &str) -> Vec<Predicate> {
    compile(&format!("SELECT * FROM c WHERE {filter}"), &json!({"@p": "v"}))
        .unwrap()
        .access()
        .conjuncts
        .clone()
}

#[test]
fn conditions() {
    for (filter, expected) in [
        ("c.a = @p", vec![equal("a", json!("v"))]),
        ("1 + 1 = c.a.b", vec![equal("a.b", json!(2))]),
        (
            "c['a'] = null AND c.b[3] = true",
            vec![equal("a", json!(null)), equal("b.[]", json!(true))],
        ),
        ("5 < c.a", vec![compare("a", CompareOp::Greater, json!(5))]),
        (
            "c.a >= 5",
            vec![compare("a", CompareOp::GreaterOrEqual, json!(5))],
        ),
        ("5 >= c.a", vec![compare("a", CompareOp::LessOrEqual, json!(5))]),
        (
            "c.a BETWEEN 1 AND 2",
            vec![
                compare("a", CompareOp::GreaterOrEqual, json!(1)),
                compare("a", CompareOp::LessOrEqual, json!(2)),
            ],
        ),
        (
            "c.a IN (2, 1)",
            vec![Predicate::In {
                path: path("a"),
                values: vec![json!(1), json!(2)],
            }],
        ),
        (
            "c.a LIKE 'ab%'",
            vec![Predicate::StartsWith {
                path: path("a"),
                prefix: "ab".into(),
            }],
        ),
        ("c.a LIKE 'ab'", vec![equal("a", json!("ab"))]),
        (
            "STARTSWITH(c.a, 'x')",
            vec![Predicate::StartsWith {
                path: path("a"),
                prefix: "x".into(),
            }],
        ),
        ("STRINGEQUALS(c.a, 'x')", vec![equal("a", json!("x"))]),
        ("IS_DEFINED(c.a)", vec![Predicate::Defined { path: path("a") }]),
        ("IS_NULL(c.a)", vec![equal("a", json!(null))]),
        (
            "ARRAY_CONTAINS(c.t, 'x')",
            vec![Predicate::ArrayContains {
                path: path("t"),
                value: json!("x"),
            }],
        ),
        (
            "ARRAY_CONTAINS(['x'], c.t)",
            vec![Predicate::In {
                path: path("t"),
                values: vec![json!("x")],
            }],
        ),
        ("c.flag", vec![equal("flag", json!(true))]),
        ("NOT c.flag", vec![equal("flag", json!(false))]),
        (
            "c.a = 1 OR (c.b = 2 AND c.d != 3)",
            vec![Predicate::Or(vec![
                vec![equal("a", json!(1))],
                vec![equal("b", json!(2))],
            ])],
        ),
        (
            "EXISTS(SELECT VALUE t FROM t IN c.t WHERE t.n = 'x')",
            vec![equal("t.[].n", json!("x"))],
        ),
        (
            "(c.a = 1 AND c.b = 2) AND true",
            vec![equal("a", json!(1)), equal("b", json!(2))],
        ),
    ] {
        assert_eq!(conjuncts(filter), expected, "{filter}");
    }
    for filter in [
        "c.a != 1",
        "c.a = c.b",
        "c.a = {}",
        "c.a > [1]",
        "c.a = 1 OR c.b != 2",
        "NOT (c.a = 1)",
        "NOT EXISTS(SELECT VALUE t FROM t IN c.t WHERE t = 1)",
        "c.a NOT IN (1)",
        "c.a LIKE '%x'",
        "c.a NOT LIKE 'x%'",
        "c.a NOT BETWEEN 1 AND 2",
        "STARTSWITH(c.a, 'x', true)",
        "STRINGEQUALS(c.a, 'x', true)",
        "ARRAY_CONTAINS(c.t, {a: 1}, true)",
        "c[c.x] = 1",
        "LOWER(c.a) = 'x'",
        "c.a = undefined",
        "c.a IN ([1])",
        "(c.a ?? 1) = 1",
    ] {
        assert_eq!(conjuncts(filter), [], "{filter}");
    }
}

#[test]
fn joined_elements_are_places_too() {
    let compiled = compile(
        "SELECT c.id FROM c JOIN k IN c.kids JOIN p IN k.pets WHERE k.age = 1 AND p = 'x' AND c.id = 'i'",
        &json!({}),
    )
    .unwrap();
    let expected = [
        equal("kids.[].age", json!(1)),
        equal("kids.[].pets.[]", json!("x")),
        equal("id", json!("i")),
    ];
    assert_eq!(compiled.access().conjuncts, expected);
    assert!(!compiled.access().single_row_per_document);
}

#[test]
fn order_limits_and_shape() {
    let access = |text: &str| compile(text, &json!({})).unwrap().access().clone();
    let plain = access("SELECT TOP 3 * FROM c");
    assert!(plain.streaming && plain.single_row_per_document && !plain.without_documents);
    assert_eq!((plain.row_limit, plain.order_by), (Some(3), None));
    assert_eq!(access("SELECT * FROM c OFFSET 2 LIMIT 3").row_limit, Some(5));
    let ordered = access("SELECT TOP 3 * FROM c ORDER BY c.a.b DESC, c.d");
    assert!(!ordered.streaming);
    assert_eq!(ordered.row_limit, None);
    assert_eq!(
        ordered.order_by,
        Some(vec![(path("a.b"), true), (path("d"), false)])
    );
    assert_eq!(access("SELECT * FROM c ORDER BY LOWER(c.a)").order_by, None);
    assert_eq!(access("SELECT * FROM c ORDER BY c.a[0]").order_by, None);
    assert_eq!(
        access("SELECT c.a FROM c GROUP BY c.a ORDER BY c.a").order_by,
        None
    );
    assert!(!access("SELECT VALUE COUNT(1) FROM c").streaming);
    assert!(!access("SELECT DISTINCT c.a FROM c").streaming);
    assert!(access("SELECT 1").without_documents);
}

#[test]
fn places_that_the_filter_makes_sure_of() {
    let table: [(&str, &[&str]); 24] = [
        ("c.a != 1", &["a"]),
        ("c.a.b > c.d", &["a.b", "d"]),
        ("c.a + c.b * 2 > 1", &["a", "b"]),
        ("NOT (c.a = 1)", &["a"]),
        ("NOT c.a", &["a"]),
        ("c.a IN (1, c.b)", &["a"]),
        ("c.a NOT IN (1)", &["a"]),
        ("c.a NOT BETWEEN c.b AND 2", &["a"]),
        ("c.a LIKE \"%x\"", &["a"]),
        ("LOWER(c.a) = \"x\"", &["a"]),
        ("CONTAINS(c.a, \"x\")", &["a"]),
        ("c.a[0] = 1", &["a.[]"]),
        ("c.a = 1 AND (c.b = 1 OR c.d = 1)", &["a"]),
        ("c.a = 1 OR c.b = 2 AND c.a < 5", &["a"]),
        ("IS_DEFINED(c.a)", &["a"]),
        ("IS_NUMBER(c.a) OR IS_NULL(c.a)", &["a"]),
        ("NOT IS_DEFINED(c.a)", &[]),
        ("NOT (c.a = 1 AND c.b = 2)", &[]),
        ("(c.a ?? 1) = 1", &[]),
        ("IIF(c.a, 1, 2) = 2", &[]),
        ("(c.a ? 1 : 2) = 2", &[]),
        ("c.a = 1 OR true", &[]),
        ("EXISTS(SELECT VALUE 1 WHERE c.a = 1)", &[]),
        ("ARRAY(SELECT VALUE c.a) != 1", &[]),
    ];
    for (filter, wanted) in table {
        let text = format!("SELECT * FROM c WHERE {filter}");
        let found = compile(&text, &json!({})).unwrap().access().defined.clone();
        let wanted: Vec<Path> = wanted.iter().map(|text| path(text)).collect();
        assert_eq!(found, wanted, "{filter}");
        // A document without any of it isn't let through, unless nothing was found.
        let rows = execute(
            &compile(&text, &json!({})).unwrap(),
            &[json!({})],
            OrderMode::Sort,
        )
        .unwrap();
        assert!(rows.is_empty() || wanted.is_empty(), "{filter}");
    }
    let inner = compile(
        "SELECT * FROM (SELECT VALUE c.b FROM c WHERE c.a = 1) c WHERE c.d = 1",
        &json!({}),
    );
    assert!(inner.unwrap().access().defined.is_empty());
}

#[test]
fn documents_in_order_are_not_sorted_again() {
    let compiled = compile("SELECT TOP 2 VALUE c.v FROM c ORDER BY c.v", &json!({})).unwrap();
    let documents = [json!({"v": 3}), json!({"v": 1}), json!({"v": 2})];
    assert_eq!(
        execute(&compiled, &documents, OrderMode::AlreadyOrdered).unwrap(),
        [json!(3), json!(1)]
    );
    assert_eq!(
        execute(&compiled, &documents, OrderMode::Sort).unwrap(),
        [json!(1), json!(2)]
    );
    // No index can have had this order.
    let compiled = compile("SELECT VALUE c.v FROM c ORDER BY -c.v", &json!({})).unwrap();
    let rows = execute(&compiled, &documents, OrderMode::AlreadyOrdered).unwrap();
    assert_eq!(rows, [json!(3), json!(2), json!(1)]);
}
