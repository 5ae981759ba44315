//! Vectors, full text, and ORDER BY RANK.

use documents_sql::{Compiled, ExecError, OrderMode, Schema, VectorMetric, parse};
use serde_json::{Value, json};

use crate::{compile, execute, refused, run, run_with, table, value};

#[test]
fn vector_distances() {
    table(&[
        ("VECTORDISTANCE([1,0],[1,0])", "1"),
        ("VECTORDISTANCE([1,0],[0,2])", "0"),
        (
            "VECTORDISTANCE([3,4],[3,4],true,{distanceFunction:'euclidean'})",
            "0",
        ),
        (
            "VectorDistance([0,0],[3,4],false,{distanceFunction:'Euclidean'})",
            "5",
        ),
        (
            "VECTORDISTANCE([1,2],[3,4],false,{distanceFunction:'DotProduct'})",
            "11",
        ),
        // Bad shapes are undefined.
        ("VECTORDISTANCE([1,2],[3])", "U"),
        ("VECTORDISTANCE([],[])", "U"),
        ("VECTORDISTANCE([1,'2'],[3,4])", "U"),
        ("VECTORDISTANCE([0,0],[3,4])", "U"),
        ("VECTORDISTANCE(U,[3,4])", "U"),
    ]);
    assert_eq!(
        refused("SELECT VALUE VECTORDISTANCE([1],[1],true,{distanceFunction:'x'})"),
        "SC2052"
    );
    assert_eq!(refused("SELECT VALUE VECTORDISTANCE([1])"), "SC2050");
}

fn vectors() -> Vec<Value> {
    vec![
        json!({"id": "a", "v": [10, 0]}),
        json!({"id": "b", "v": [1, 1]}),
        json!({"id": "c"}),
        json!({"id": "d", "v": [0, 1]}),
        json!({"id": "e", "v": [1]}),
    ]
}

fn ids(text: &str, schema: &Schema, documents: &[Value]) -> String {
    let compiled = Compiled::compile_for(&parse(text).unwrap(), &[], schema).unwrap();
    let rows = execute(&compiled, documents, OrderMode::Sort).unwrap();
    rows.iter().map(|id| id.as_str().unwrap()).collect()
}

#[test]
fn nearest_comes_first_whatever_the_metric_and_what_has_none_last() {
    let by = |metric| Schema {
        vectors: vec![(vec!["v".to_owned()], metric)],
        ..Schema::default()
    };
    let text = "SELECT VALUE c.id FROM c ORDER BY VectorDistance(c.v, [1, 0])";
    assert_eq!(ids(text, &Schema::default(), &vectors()), "abdec");
    assert_eq!(ids(text, &by(VectorMetric::Cosine), &vectors()), "abdec");
    assert_eq!(ids(text, &by(VectorMetric::DotProduct), &vectors()), "abdec");
    // Distances 9, 1, sqrt 2.
    assert_eq!(ids(text, &by(VectorMetric::Euclidean), &vectors()), "bdaec");
    // The options win over the policy; TOP keeps the nearest.
    let text = "SELECT TOP 2 VALUE c.id FROM c ORDER BY VectorDistance(c.v, [1, 0], true, {distanceFunction: 'cosine'})";
    assert_eq!(ids(text, &by(VectorMetric::Euclidean), &vectors()), "ab");
    let text = "SELECT VALUE c.id FROM c ORDER BY RANK VectorDistance(c.v, [1, 0])";
    assert_eq!(ids(text, &Schema::default(), &vectors()), "abdec");
    assert_eq!(
        run(
            "SELECT VALUE VectorDistance(c.v, [0, 1]) FROM c WHERE c.id = 'd'",
            &vectors()
        ),
        [json!(1)]
    );
    // "Syntax error, incorrect syntax near 'ASC'": what the Python client's tests expect.
    for text in [
        "SELECT c.id FROM c ORDER BY VectorDistance(c.v, [1, 0]) ASC",
        "SELECT c.id FROM c ORDER BY RANK VectorDistance(c.v, [1, 0]) DESC",
    ] {
        assert_eq!(refused(text), "SC1001");
    }
}

#[test]
fn words() {
    table(&[
        ("FULLTEXTCONTAINS('A red Bicycle, fast.','red bicycle')", "true"),
        ("FULLTEXTCONTAINS('bicycle red','red bicycle')", "false"),
        ("FULLTEXTCONTAINS('reddish','red')", "false"),
        ("FULLTEXTCONTAINS('På FJELLET','fjellet')", "true"),
        ("FULLTEXTCONTAINS('x','')", "false"),
        ("FULLTEXTCONTAINS(1,'x')", "U"),
        ("FULLTEXTCONTAINS('x',1)", "U"),
        ("FULLTEXTCONTAINSALL('a b c','c','a')", "true"),
        ("FULLTEXTCONTAINSALL('a b c','c','d')", "false"),
        ("FULLTEXTCONTAINSANY('a b c','d','c')", "true"),
        ("FULLTEXTCONTAINSANY('a b c','d','e')", "false"),
        ("FULLTEXTCONTAINSANY(U,'d')", "U"),
    ]);
}

fn texts() -> Vec<Value> {
    vec![
        json!({"id": "a", "t": "the mountain and the sea", "v": [0, 1]}),
        json!({"id": "b", "t": "mountain mountain", "v": [0.5, 1]}),
        json!({"id": "c", "v": [1, 0]}),
        json!({"id": "d", "t": "sea", "v": [0.9, 0.1]}),
        json!({"id": "e", "t": "the the the", "v": [0, 1]}),
    ]
}

#[test]
fn full_text_ranks_by_frequency_rarity_and_length() {
    let none = Schema::default();
    let ranked = |terms: &str| {
        let text = format!("SELECT VALUE c.id FROM c ORDER BY RANK FullTextScore(c.t, {terms})");
        ids(&text, &none, &texts())
    };
    assert_eq!(ranked("'mountain'"), "bacde");
    assert_eq!(ranked("'SEA'"), "dabce");
    assert_eq!(ranked("'sea', 'mountain'").chars().last(), Some('e'));
    assert_eq!(ranked("['sea', 'mountain']"), ranked("'sea', 'mountain'"));
    assert_eq!(ranked("'nothing'"), "abcde");
    // Two words in a row count where they stand in a row.
    assert_eq!(ranked("'the sea'"), "abcde");
    // The filter takes rows away and changes no score.
    let text =
        "SELECT TOP 1 VALUE c.id FROM c WHERE c.id != 'b' ORDER BY RANK FullTextScore(c.t, 'mountain')";
    assert_eq!(ids(text, &none, &texts()), "a");
    let compiled = compile(text, &json!({})).unwrap();
    assert!(compiled.access().conjuncts.is_empty() && !compiled.access().streaming);
}

/// With one term, BM25 by its formula: k1 1.2, b 0.75, idf ln(1 + (N - n + 0.5) / (n + 0.5)).
/// In five documents with the words given, `w` stands in two; once in 10 words beats twice in 60
/// only if length counts.
#[test]
fn full_text_counts_length() {
    let long = "w ".repeat(2) + &"x ".repeat(58);
    let short = "w ".to_owned() + &"x ".repeat(9);
    let documents = vec![json!({"id": "l", "t": long}), json!({"id": "s", "t": short})];
    let text = "SELECT VALUE c.id FROM c ORDER BY RANK FullTextScore(c.t, 'w')";
    assert_eq!(ids(text, &Schema::default(), &documents), "sl");
}

#[test]
fn fused_ranks() {
    let none = Schema::default();
    // Text: b a (cde equal, third). Vector [1,0]: c d b (a e equal, fourth).
    // 60 + rank: a 1/62 + 1/64, b 1/61 + 1/63, c 1/63 + 1/61, d 1/63 + 1/62, e 1/63 + 1/64.
    let text = "SELECT VALUE c.id FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'mountain'), VectorDistance(c.v, [1, 0]))";
    assert_eq!(ids(text, &none, &texts()), "bcdae");
    let text = "SELECT VALUE c.id FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'mountain'), VectorDistance(c.v, [1, 0]), [1, 0])";
    assert_eq!(ids(text, &none, &texts()), "bacde");
    let text = "SELECT VALUE c.id FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'mountain'), VectorDistance(c.v, [1, 0]), @w) OFFSET 1 LIMIT 2";
    assert_eq!(
        run_with(text, &json!({"w": [0, 1]}), &texts()),
        [json!("d"), json!("b")]
    );
}

#[test]
fn refusals() {
    for (text, code) in [
        ("SELECT * FROM c ORDER BY RANK ABS(c.a)", "SC2221"),
        ("SELECT * FROM c ORDER BY RANK FullTextScore(c.t, c.u)", "SC2221"),
        ("SELECT * FROM c ORDER BY RANK FullTextScore(c.t)", "SC2050"),
        (
            "SELECT * FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'a'))",
            "SC2050",
        ),
        (
            "SELECT * FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'a'), ABS(1))",
            "SC2221",
        ),
        (
            "SELECT * FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'a'), FullTextScore(c.t, 'b'), [1])",
            "SC2221",
        ),
        (
            "SELECT * FROM c ORDER BY RANK RRF(FullTextScore(c.t, 'a'), FullTextScore(c.t, 'b'), [1, -1])",
            "SC2221",
        ),
        (
            "SELECT c.t FROM c JOIN k IN c.k ORDER BY RANK FullTextScore(c.t, 'a')",
            "SC2223",
        ),
        (
            "SELECT k FROM k IN c.k ORDER BY RANK FullTextScore(k, 'a')",
            "SC2224",
        ),
        (
            "SELECT k FROM (SELECT VALUE c FROM c) k ORDER BY RANK FullTextScore(k.t, 'a')",
            "SC2225",
        ),
        (
            "SELECT COUNT(1) FROM c ORDER BY RANK FullTextScore(c.t, 'a')",
            "SC2221",
        ),
        ("SELECT FullTextScore(c.t, 'a') FROM c", "SC2240"),
        ("SELECT RRF(1, 2) FROM c", "SC2240"),
        (
            "SELECT (SELECT VALUE k FROM k IN c.k ORDER BY RANK FullTextScore(k, 'a')) FROM c",
            "SC2228",
        ),
    ] {
        assert_eq!(refused(text), code, "{text}");
    }
}

#[test]
fn terms_have_so_many_words() {
    let words = |count: usize| vec!["a"; count].join(" ");
    let contains = |term: usize| value(&format!("FullTextContains('{}', '{}')", words(200), words(term)));
    assert_eq!(contains(100), Some(json!(true)));
    assert_eq!(contains(101), None);
    let score = |term: usize| {
        format!(
            "SELECT * FROM c ORDER BY RANK FullTextScore(c.text, '{}')",
            words(term)
        )
    };
    assert_eq!(run(&score(100), &[json!({"text": words(200)})]).len(), 1);
    assert_eq!(refused(&score(101)), "SC2221");
    // Every word of the text begins what is nearly the term.
    let text = json!({"text": words(900_000)});
    let nearly = format!("{} b", words(99));
    for query in [
        format!("SELECT VALUE FullTextContains(c.text, '{nearly}') FROM c"),
        format!("SELECT * FROM c ORDER BY RANK FullTextScore(c.text, '{nearly}')"),
    ] {
        let outcome = execute(
            &compile(&query, &json!({})).unwrap(),
            std::slice::from_ref(&text),
            OrderMode::Sort,
        );
        assert!(matches!(outcome, Err(ExecError::TooMuchWork { .. })), "{query}");
    }
}
