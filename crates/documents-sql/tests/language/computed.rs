//! Computed properties: in any clause by name, and not in `SELECT *`.

use documents_sql::{Compiled, ComputedProperty, OrderMode, Schema, parse};
use serde_json::{Value, json};

use crate::execute;

fn schema() -> Schema {
    let property = |name: &str, text: &str| ComputedProperty::new(name, text).unwrap();
    Schema {
        computed: vec![
            property("lower", "SELECT VALUE LOWER(c.name) FROM c"),
            property("pair", "SELECT VALUE {n: root.n, twice: root.n * 2} FROM root"),
            property(
                "tags",
                "SELECT VALUE ARRAY(SELECT VALUE UPPER(t) FROM t IN x['list']) FROM x",
            ),
        ],
        ..Schema::default()
    }
}

fn rows(text: &str) -> Vec<Value> {
    let compiled = Compiled::compile_for(&parse(text).unwrap(), &[], &schema()).unwrap();
    let documents = [
        json!({"id": "1", "name": "Ola", "n": 2, "list": ["a", "b"]}),
        json!({"id": "2", "name": "KARI", "n": 1, "list": []}),
        json!({"id": "3"}),
    ];
    execute(&compiled, &documents, OrderMode::Sort).unwrap()
}

#[test]
fn in_every_clause() {
    assert_eq!(rows("SELECT VALUE c.lower FROM c"), [json!("ola"), json!("kari")]);
    assert_eq!(
        rows("SELECT c.id, c['lower'] FROM c WHERE c.lower = 'kari'"),
        [json!({"id": "2", "lower": "kari"})]
    );
    assert_eq!(
        rows("SELECT VALUE c.id FROM c ORDER BY c.lower DESC"),
        [json!("1"), json!("2"), json!("3")]
    );
    assert_eq!(
        rows("SELECT VALUE c.id FROM c ORDER BY c.pair.twice"),
        [json!("3"), json!("2"), json!("1")]
    );
    assert_eq!(
        rows("SELECT VALUE t FROM c JOIN t IN c.tags"),
        [json!("A"), json!("B")]
    );
    assert_eq!(rows("SELECT VALUE COUNT(c.lower) FROM c"), [json!(2)]);
    assert_eq!(
        rows("SELECT c.lower, COUNT(1) AS n FROM c WHERE IS_DEFINED(c.n) GROUP BY c.lower"),
        [json!({"lower": "ola", "n": 1}), json!({"lower": "kari", "n": 1})]
    );
    assert_eq!(
        rows("SELECT VALUE (SELECT VALUE c.lower) FROM c WHERE c.n = 2"),
        [json!("ola")]
    );
    assert_eq!(
        rows("SELECT VALUE d.lower FROM c JOIN (SELECT VALUE c) AS d").len(),
        0
    );
}

#[test]
fn not_in_a_star_and_not_of_what_is_no_document() {
    assert_eq!(rows("SELECT * FROM c WHERE c.id = '3'"), [json!({"id": "3"})]);
    assert!(rows("SELECT * FROM c WHERE c.id = '1'")[0].get("lower").is_none());
    assert!(rows("SELECT VALUE t.lower FROM t IN c.list").is_empty());
}

#[test]
fn what_is_read_of_a_document_is_what_the_expression_reads() {
    let compiled =
        Compiled::compile_for(&parse("SELECT VALUE c.lower FROM c").unwrap(), &[], &schema()).unwrap();
    assert_eq!(compiled.reads().properties, Some(vec!["name".to_owned()]));
    let compiled = Compiled::compile_for(
        &parse("SELECT * FROM c WHERE c.lower = 'x'").unwrap(),
        &[],
        &schema(),
    )
    .unwrap();
    assert!(compiled.access().conjuncts.is_empty());
}

#[test]
fn definitions_are_checked() {
    for bad in [
        "SELECT c.a FROM c",
        "SELECT VALUE c.a FROM c WHERE c.b",
        "SELECT VALUE c.a FROM c ORDER BY c.b",
        "SELECT TOP 1 VALUE c.a FROM c",
        "SELECT VALUE a FROM a IN c.list",
        "SELECT VALUE c.a FROM c JOIN d IN c.e",
        "SELECT VALUE 1",
        "SELECT VALUE null FROM c",
        "SELECT VALUE x.a FROM c",
        "SELECT VALUE COUNT(1) FROM c",
        "SELECT VALUE RAND() FROM c",
        "SELECT VALUE CONCAT(c.a, GetCurrentDateTime()) FROM c",
        "SELECT VALUE c.a FROM",
        "SELECT VALUE @p FROM c",
    ] {
        assert!(ComputedProperty::new("x", bad).is_err(), "{bad}");
    }
}
