//! Clauses: FROM, JOIN, WHERE, GROUP BY, ORDER BY, DISTINCT, TOP, OFFSET LIMIT, subqueries.

use serde_json::{Value, json};

use crate::{execute, run, run_with};
use documents_sql::OrderMode;

fn families() -> Vec<Value> {
    vec![
        json!({"id": "a", "city": "Oslo", "n": 3, "kids": [{"name": "Per", "pets": ["x", "y"]}, {"name": "Pål"}]}),
        json!({"id": "b", "city": "Bergen", "n": 1, "kids": []}),
        json!({"id": "c", "city": "Oslo", "n": 2, "kids": [{"name": "Askeladden", "pets": ["z"]}]}),
        json!({"id": "d", "n": "two", "kids": "none"}),
    ]
}

fn ids(text: &str) -> String {
    run(text, &families())
        .iter()
        .map(|row| row.as_str().unwrap().to_owned())
        .collect::<Vec<_>>()
        .join("")
}

#[test]
fn projections() {
    let documents = families();
    assert_eq!(run("SELECT * FROM c", &documents), documents);
    assert_eq!(
        run("SELECT c FROM c WHERE c.id = 'b'", &documents),
        [json!({"c": documents[1]})]
    );
    assert_eq!(
        run(
            "SELECT c.id, c.kids[0].name, c.n + 1, c['city'] AS by, 5, c.nope FROM c WHERE c.id = 'a'",
            &documents
        ),
        [json!({"id": "a", "name": "Per", "$1": 4, "by": "Oslo", "$2": 5})]
    );
    assert_eq!(run("SELECT VALUE c.city FROM c", &documents).len(), 3);
    assert_eq!(run("SELECT c.u FROM c WHERE c.id = 'a'", &documents), [json!({})]);
    assert_eq!(
        run("SELECT VALUE {id: c.id, u: c.u} FROM c WHERE c.n = 1", &documents),
        [json!({"id": "b"})]
    );
    assert_eq!(
        run("select value Root.id from Root where Root.n = 1", &documents),
        [json!("b")]
    );
}

#[test]
fn without_from_there_is_one_row() {
    assert_eq!(run("SELECT 1, 'x' AS s", &[]), [json!({"$1": 1, "s": "x"})]);
    assert_eq!(run("SELECT VALUE 1", &families()), [json!(1)]);
    assert_eq!(run("SELECT VALUE COUNT(1)", &[]), [json!(1)]);
    assert_eq!(run("SELECT VALUE 1 WHERE false", &[]), [] as [Value; 0]);
}

#[test]
fn where_keeps_only_true() {
    assert_eq!(ids("SELECT VALUE c.id FROM c WHERE c.n > 1"), "ac");
    assert_eq!(ids("SELECT VALUE c.id FROM c WHERE c.city != 'Oslo'"), "b");
    assert_eq!(ids("SELECT VALUE c.id FROM c WHERE 1"), "");
    assert_eq!(ids("SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.city)"), "d");
    assert_eq!(ids("SELECT VALUE c.id FROM c WHERE c.n IN (1, 'two')"), "bd");
}

#[test]
fn sources() {
    let documents = families();
    assert_eq!(run("SELECT VALUE c.id FROM Families AS c", &documents).len(), 4);
    assert_eq!(run("SELECT * FROM c.kids", &documents).len(), 4);
    assert_eq!(
        run("SELECT VALUE kids[0].name FROM c.kids", &documents),
        [json!("Per"), json!("Askeladden")]
    );
    assert_eq!(run("SELECT VALUE k.name FROM k IN c.kids", &documents).len(), 3);
    assert_eq!(
        run("SELECT VALUE k FROM c['kids'][0].name k", &documents).len(),
        2
    );
    assert_eq!(
        run(
            "SELECT f.id, p AS pet FROM f JOIN k IN f.kids JOIN p IN k.pets",
            &documents
        ),
        [
            json!({"id": "a", "pet": "x"}),
            json!({"id": "a", "pet": "y"}),
            json!({"id": "c", "pet": "z"})
        ]
    );
    assert_eq!(
        run(
            "SELECT VALUE 1 FROM c JOIN a IN c.kids JOIN b IN c.kids",
            &documents
        )
        .len(),
        5
    );
    assert_eq!(
        run(
            "SELECT VALUE k.name FROM c JOIN k IN (SELECT VALUE k FROM k IN c.kids WHERE k.name LIKE 'P%')",
            &documents
        ),
        [json!("Per"), json!("Pål")]
    );
    assert_eq!(
        run(
            "SELECT c.id, s.n FROM c JOIN (SELECT COUNT(1) AS n FROM k IN c.kids) AS s",
            &documents
        ),
        [
            json!({"id": "a", "n": 2}),
            json!({"id": "b", "n": 0}),
            json!({"id": "c", "n": 1}),
            json!({"id": "d", "n": 0})
        ]
    );
    assert_eq!(
        run("SELECT VALUE k FROM k IN ARRAY_SLICE([1,2,3],1)", &documents[..1]),
        [json!(2), json!(3)]
    );
    assert_eq!(
        run("SELECT VALUE x + 1 FROM (SELECT VALUE 41) AS x", &documents[..1]),
        [json!(42)]
    );
}

#[test]
fn order_by() {
    assert_eq!(ids("SELECT VALUE c.id FROM c ORDER BY c.n"), "bcad");
    assert_eq!(ids("SELECT VALUE c.id FROM c ORDER BY c.n DESC"), "dacb");
    // Undefined comes first; ties go by _rid in the first column's direction.
    assert_eq!(ids("SELECT VALUE c.id FROM c ORDER BY c.city"), "dbac");
    assert_eq!(ids("SELECT VALUE c.id FROM c ORDER BY c.city DESC"), "cabd");
    assert_eq!(ids("SELECT VALUE c.id FROM c ORDER BY c.city, c.n"), "dbca");
    assert_eq!(
        ids("SELECT VALUE c.id FROM c ORDER BY c.city DESC, c.n ASC"),
        "cabd"
    );
    assert_eq!(ids("SELECT VALUE c.id FROM c ORDER BY -c.n"), "dacb");
    assert_eq!(ids("SELECT TOP 2 VALUE c.id FROM c ORDER BY c.n"), "bc");
    assert_eq!(
        ids("SELECT VALUE c.id FROM c ORDER BY c.n OFFSET 1 LIMIT 2"),
        "ca"
    );
}

#[test]
fn top_offset_and_limit() {
    assert_eq!(ids("SELECT TOP 1 VALUE c.id FROM c"), "a");
    assert_eq!(ids("SELECT TOP 0 VALUE c.id FROM c"), "");
    assert_eq!(ids("SELECT VALUE c.id FROM c OFFSET 1 LIMIT 2"), "bc");
    assert_eq!(ids("SELECT VALUE c.id FROM c OFFSET 9 LIMIT 2"), "");
    let rows = run_with(
        "SELECT VALUE c.id FROM c WHERE c.city = @city OFFSET @o LIMIT @l",
        &json!({"@city": "Oslo", "@o": 1, "@l": 10, "unused": 1}),
        &families(),
    );
    assert_eq!(rows, [json!("c")]);
    assert_eq!(
        run_with("SELECT TOP @n VALUE c.id FROM c", &json!({"n": 2.0}), &families()).len(),
        2
    );
}

#[test]
fn keeping_only_the_wanted_rows_gives_the_same_as_sorting_all() {
    let documents: Vec<Value> = (0..5_000u64).map(|i| json!({"v": (i * 7_919) % 1_000})).collect();
    let all = run("SELECT VALUE c.v FROM c ORDER BY c.v DESC", &documents);
    let some = run(
        "SELECT VALUE c.v FROM c ORDER BY c.v DESC OFFSET 10 LIMIT 20",
        &documents,
    );
    assert_eq!(some, all[10..30]);
}

#[test]
fn distinct() {
    let documents = [
        json!({"v": 1}),
        json!({"v": 1.0}),
        json!({}),
        json!({"v": {"a": 1, "b": 2}}),
        json!({
            "v": {"b": 2, "a": 1}
        }),
    ];
    assert_eq!(
        run("SELECT DISTINCT VALUE c.v FROM c", &documents),
        [json!(1), json!({"a": 1, "b": 2})]
    );
    assert_eq!(run("SELECT DISTINCT c.v FROM c", &documents).len(), 3);
    assert_eq!(
        run("SELECT DISTINCT TOP 2 c.v FROM c", &documents),
        [json!({"v": 1}), json!({})]
    );
    assert_eq!(
        run("SELECT DISTINCT VALUE c.v FROM c ORDER BY c.v DESC", &documents),
        [json!({"a": 1, "b": 2}), json!(1.0)],
        "the first of equals in the order of the rows"
    );
}

#[test]
fn a_query_in_the_place_of_the_container_sees_all_documents() {
    let documents = families();
    let one = |text: &str| run(text, &documents).pop().unwrap();
    assert_eq!(
        one("SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.city FROM c)"),
        json!(2)
    );
    assert_eq!(
        one("SELECT COUNT(1) AS n FROM (SELECT DISTINCT c.city FROM c) AS d"),
        json!({"n": 3})
    );
    assert_eq!(
        one("SELECT VALUE MAX(g.n) FROM (SELECT c.city, COUNT(1) AS n FROM c GROUP BY c.city) AS g"),
        json!(2)
    );
    assert_eq!(
        run(
            "SELECT TOP 2 VALUE d FROM (SELECT VALUE k.name FROM k IN c.kids) AS d ORDER BY d DESC",
            &documents
        ),
        [json!("Pål"), json!("Per")]
    );
    assert_eq!(
        run(
            "SELECT TOP 1 VALUE d FROM (SELECT VALUE c.id FROM c) AS d",
            &documents
        ),
        [json!("a")]
    );
    assert_eq!(
        run(
            "SELECT VALUE k.name FROM (SELECT * FROM c WHERE c.city = 'Oslo') AS d JOIN k IN d.kids",
            &documents
        )
        .len(),
        3
    );
    assert_eq!(
        run("SELECT VALUE x + 1 FROM (SELECT VALUE 41) AS x", &documents),
        [json!(42)]
    );
    assert_eq!(
        run("SELECT VALUE COUNT(1) FROM (SELECT VALUE 41) AS x", &[]),
        [json!(1)]
    );
    let access = crate::compile(
        "SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.x FROM c WHERE c.y = 1) AS d WHERE d.z = 2",
        &json!({}),
    )
    .unwrap()
    .access()
    .clone();
    assert_eq!(
        access.conjuncts.len(),
        1,
        "the outer filter is over rows, not documents"
    );
    assert_eq!(
        crate::refused("SELECT * FROM (SELECT TOP 1 * FROM c) AS d"),
        "SC2203"
    );
}

#[test]
fn aggregates() {
    let documents = [
        json!({"v": 1, "s": "a", "m": null}),
        json!({"v": 2.5, "s": "b", "m": true}),
        json!({"s": 3, "m": 1}),
        json!({"v": 4, "o": []}),
    ];
    let one = |text: &str| run(text, &documents).pop();
    assert_eq!(one("SELECT VALUE COUNT(1) FROM c"), Some(json!(4)));
    assert_eq!(one("SELECT VALUE COUNT(c.v) FROM c"), Some(json!(3)));
    assert_eq!(
        one("SELECT VALUE COUNT(c.m) FROM c"),
        Some(json!(3)),
        "null counts"
    );
    assert_eq!(one("SELECT VALUE SUM(c.v) FROM c"), Some(json!(7.5)));
    assert_eq!(one("SELECT VALUE AVG(c.v) FROM c"), Some(json!(2.5)));
    assert_eq!(one("SELECT VALUE SUM(c.s) FROM c"), None);
    assert_eq!(one("SELECT VALUE AVG(c.nope) FROM c"), None);
    assert_eq!(one("SELECT VALUE SUM(c.nope) FROM c"), Some(json!(0)));
    assert_eq!(one("SELECT VALUE MIN(c.m) FROM c"), Some(json!(null)));
    assert_eq!(one("SELECT VALUE MAX(c.m) FROM c"), Some(json!(1)));
    assert_eq!(one("SELECT VALUE MAX(c.o) FROM c"), None);
    assert_eq!(one("SELECT VALUE MIN(c.nope) FROM c"), None);
    assert_eq!(one("SELECT VALUE COUNTIF(c.v > 2) FROM c"), Some(json!(2)));
    assert_eq!(
        one("SELECT VALUE MAKELIST(c.s) FROM c"),
        Some(json!(["a", "b", 3]))
    );
    assert_eq!(
        one("SELECT VALUE MAKESET(c.v > 2) FROM c"),
        Some(json!([false, true]))
    );
    assert_eq!(
        one("SELECT COUNT(1), AVG(c.s) AS a FROM c"),
        Some(json!({"$1": 4}))
    );
    assert_eq!(
        one("SELECT VALUE SUM(c.v) / COUNT(c.v) + 1 FROM c"),
        Some(json!(3.5))
    );
    assert_eq!(one("SELECT VALUE COUNT(1) FROM c WHERE false"), Some(json!(0)));
    assert_eq!(run("SELECT VALUE COUNT(1) FROM c", &[]), [json!(0)]);
    assert_eq!(one("SELECT TOP 1 VALUE MAX(c.v) FROM c"), Some(json!(4)));
    let large = [json!({"v": i64::MAX}), json!({"v": 1})];
    assert_eq!(
        run("SELECT VALUE SUM(c.v) FROM c", &large),
        [json!(9_223_372_036_854_775_808.0)]
    );
}

#[test]
fn group_by() {
    let documents = families();
    assert_eq!(
        run(
            "SELECT c.city, COUNT(1) AS n, SUM(c.n) AS s FROM c GROUP BY c.city",
            &documents
        ),
        [
            json!({"city": "Oslo", "n": 2, "s": 5}),
            json!({"city": "Bergen", "n": 1, "s": 1}),
            json!({"n": 1})
        ]
    );
    assert_eq!(
        run("SELECT VALUE c.city FROM c GROUP BY c.city", &documents),
        [json!("Oslo"), json!("Bergen")]
    );
    assert_eq!(
        run(
            "SELECT LENGTH(c.city) AS l, COUNT(1) AS n FROM c GROUP BY LENGTH(c.city)",
            &documents
        ),
        [json!({"l": 4, "n": 2}), json!({"l": 6, "n": 1}), json!({"n": 1})]
    );
    assert_eq!(
        run(
            "SELECT c.city FROM c GROUP BY c.city ORDER BY COUNT(1) DESC, c.city DESC",
            &documents
        ),
        [json!({"city": "Oslo"}), json!({"city": "Bergen"}), json!({})]
    );
    assert_eq!(
        run(
            "SELECT k.name, c.id FROM c JOIN k IN c.kids GROUP BY k.name, c.id OFFSET 1 LIMIT 1",
            &documents
        ),
        [json!({"name": "Pål", "id": "a"})]
    );
    assert_eq!(
        run("SELECT COUNT(1) FROM c GROUP BY c.city", &[]),
        [] as [Value; 0]
    );
    // A key is a value: paths into it are those of any row of the group.
    assert_eq!(
        run(
            "SELECT g.o.x AS x FROM g GROUP BY g.o",
            &[json!({"o": {"x": 1}}), json!({"o": {"x": 1}})]
        ),
        [json!({"x": 1})]
    );
}

#[test]
fn subqueries() {
    assert_eq!(
        ids("SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE k FROM k IN c.kids WHERE k.name = 'Pål')"),
        "a"
    );
    assert_eq!(
        ids("SELECT VALUE c.id FROM c WHERE (SELECT VALUE COUNT(1) FROM k IN c.kids) = 1"),
        "c"
    );
    assert_eq!(
        ids("SELECT VALUE c.id FROM c WHERE ALL(SELECT VALUE k FROM k IN c.kids WHERE IS_DEFINED(k.pets))"),
        "bcd"
    );
    let documents = families();
    assert_eq!(
        run(
            "SELECT c.id, ARRAY(SELECT VALUE k.name FROM k IN c.kids) AS names FROM c WHERE c.n > 1",
            &documents
        ),
        [
            json!({"id": "a", "names": ["Per", "Pål"]}),
            json!({"id": "c", "names": ["Askeladden"]})
        ]
    );
    assert_eq!(
        run(
            "SELECT VALUE [FIRST(SELECT VALUE k.name FROM k IN c.kids), LAST(SELECT VALUE k.name FROM k IN c.kids)] FROM c WHERE c.id = 'a'",
            &documents
        ),
        [json!(["Per", "Pål"])]
    );
    assert_eq!(
        run(
            "SELECT VALUE (SELECT DISTINCT VALUE p FROM k IN c.kids JOIN p IN k.pets WHERE p = 'x') FROM c",
            &documents
        ),
        [json!("x")]
    );
    assert_eq!(
        run(
            "SELECT c.id, (SELECT k.name AS n, COUNT(1) AS m FROM k IN c.kids GROUP BY k.name) AS g FROM c WHERE c.id = 'c'",
            &documents
        ),
        [json!({"id": "c", "g": {"n": "Askeladden", "m": 1}})]
    );
    // Subqueries see groups only through their keys.
    assert_eq!(
        run(
            "SELECT VALUE (SELECT VALUE COUNT(1) FROM k IN c.kids) FROM c WHERE c.n = 1",
            &documents
        ),
        [json!(0)]
    );
    let compiled = crate::compile(
        "SELECT VALUE (SELECT VALUE k FROM k IN c.kids) FROM c",
        &json!({}),
    )
    .unwrap();
    let error = execute(&compiled, &documents, OrderMode::Sort).unwrap_err();
    assert_eq!(error, documents_sql::ExecError::ScalarSubqueryRows);
}
