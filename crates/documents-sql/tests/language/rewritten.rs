//! Forms that clients send after planning a query themselves; they must run as they are.

use serde_json::{Value, json};

use crate::run;

fn documents() -> Vec<Value> {
    vec![
        json!({"_rid": "r1", "a": 2, "d": true, "t": "x"}),
        json!({"_rid": "r2", "a": 1, "d": true, "t": "y"}),
        json!({"_rid": "r3", "d": true, "t": "x"}),
        json!({"_rid": "r4", "a": "s", "d": false, "t": "x"}),
    ]
}

#[test]
fn order_by() {
    let rows = run(
        "SELECT r._rid, [{\"item\": r.a}] AS orderByItems, r AS payload FROM r WHERE (true) ORDER BY r.a",
        &documents(),
    );
    let rids: Vec<&str> = rows.iter().map(|row| row["_rid"].as_str().unwrap()).collect();
    assert_eq!(rids, ["r3", "r2", "r1", "r4"]);
    assert_eq!(rows[0]["orderByItems"], json!([{}]));
    assert_eq!(rows[1]["orderByItems"], json!([{"item": 1}]));
    assert_eq!(rows[1]["payload"], documents()[1]);
    let rows = run(
        "SELECT r._rid, [{\"item\": r.a}] AS orderByItems, r.a AS payload FROM r WHERE (((r.d = true) AND (true)) AND IS_DEFINED(r.a)) ORDER BY r.a",
        &documents(),
    );
    assert_eq!(rows.len(), 2);
}

#[test]
fn resume_filters() {
    let count = |filter: &str| {
        run(
            &format!("SELECT VALUE COUNT(1) FROM c WHERE {filter}"),
            &documents(),
        )
        .pop()
        .unwrap()
    };
    assert_eq!(
        count("(c.a > 1 OR IS_STRING(c.a) OR IS_ARRAY(c.a) OR IS_OBJECT(c.a))"),
        json!(2)
    );
    assert_eq!(
        count("(c.a < 2 OR NOT IS_DEFINED(c.a) OR IS_NULL(c.a) OR IS_BOOLEAN(c.a))"),
        json!(2)
    );
    assert_eq!(count("c.a >= [] OR c.a > {}"), json!(0));
}

#[test]
fn aggregates() {
    assert_eq!(
        run(
            "SELECT VALUE [{\"item\": {\"sum\": SUM(c.a), \"count\": COUNT(c.a)}}] FROM c WHERE IS_NUMBER(c.a)",
            &documents()
        ),
        [json!([{"item": {"sum": 3, "count": 2}}])]
    );
    assert_eq!(
        run(
            "SELECT VALUE [{\"item\": MIN(c.a), \"item2\": {\"min\": MIN(c.a), \"count\": COUNT(c.a)}}] FROM c",
            &documents()
        ),
        [json!([{"item": 1, "item2": {"min": 1, "count": 3}}])]
    );
    assert_eq!(
        run(
            "SELECT {\"$1\": {\"item\": COUNT(c.a)}} AS payload FROM c",
            &documents()
        ),
        [json!({"payload": {"$1": {"item": 3}}})]
    );
}

#[test]
fn group_by() {
    assert_eq!(
        run(
            "SELECT [{\"item\": c.t}] AS groupByItems, {\"t\": c.t, \"n\": {\"item\": COUNT(1)}} AS payload FROM c GROUP BY c.t",
            &documents()
        ),
        [
            json!({"groupByItems": [{"item": "x"}], "payload": {"t": "x", "n": {"item": 3}}}),
            json!({"groupByItems": [{"item": "y"}], "payload": {"t": "y", "n": {"item": 1}}})
        ]
    );
}

#[test]
fn windows() {
    assert_eq!(run("SELECT * FROM c OFFSET 0 LIMIT 3", &documents()).len(), 3);
    assert_eq!(
        run("SELECT DISTINCT VALUE c.t FROM c", &documents()),
        [json!("x"), json!("y")]
    );
}
