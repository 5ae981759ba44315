//! A sort that keeps what is wanted of it and no more.

use documents_sql::{ExecError, OrderMode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{MEMORY_BYTES_MAX, compile, context};

/// The rows of a query of which so many are wanted, in so much memory.
fn first(
    text: &str,
    documents: &[Value],
    wanted: Option<u64>,
    memory: usize,
) -> Result<Vec<Value>, ExecError> {
    let compiled = compile(text, &json!({})).unwrap();
    let mut execution = compiled.execution(context(), memory, OrderMode::Sort);
    if let Some(wanted) = wanted {
        execution.want_rows(wanted);
    }
    for (rid, document) in documents.iter().enumerate() {
        execution.push(document, rid as u64)?;
        assert!(execution.bytes_kept() <= memory);
    }
    execution.finish()?;
    Ok(std::iter::from_fn(|| execution.next_row()).collect())
}

proptest! {
    #[test]
    fn the_first_rows_are_those_of_a_whole_sort(
        values in prop::collection::vec((0i64..30, prop::option::of(0i64..4)), 0..900),
        wanted in 0u64..40,
        query in prop::sample::select(vec![
            "SELECT VALUE c.n FROM c ORDER BY c.a",
            "SELECT VALUE c.n FROM c ORDER BY c.a DESC",
            "SELECT VALUE c.n FROM c ORDER BY c.b DESC, c.a ASC",
            "SELECT VALUE [c.n, x] FROM c JOIN x IN c.list ORDER BY c.a DESC, c.b",
            "SELECT VALUE c.n FROM c ORDER BY c.a OFFSET 3 LIMIT 9",
            "SELECT TOP 7 VALUE c.n FROM c ORDER BY c.a",
            "SELECT DISTINCT VALUE c.b FROM c ORDER BY c.a",
            "SELECT c.a, COUNT(1) AS n FROM c GROUP BY c.a ORDER BY c.a DESC",
        ]),
    ) {
        let documents: Vec<Value> = values
            .iter()
            .enumerate()
            .map(|(n, (a, b))| match b {
                Some(b) => json!({"n": n, "a": a, "b": b, "list": [1, 2]}),
                None => json!({"n": n, "a": a, "list": [1, 2]}),
            })
            .collect();
        let mut whole = first(query, &documents, None, MEMORY_BYTES_MAX).unwrap();
        let mut some = first(query, &documents, Some(wanted), MEMORY_BYTES_MAX).unwrap();
        let wanted = usize::try_from(wanted).unwrap();
        whole.truncate(wanted);
        some.truncate(wanted);
        prop_assert_eq!(some, whole, "{}", query);
    }
}

#[test]
fn what_cannot_be_wanted_takes_no_memory() {
    let document = |n: u64| json!({"n": (n * 7_919) % 5_000, "text": "x".repeat(1_000)});
    let documents: Vec<Value> = (0..5_000).map(document).collect();
    let text = "SELECT * FROM c ORDER BY c.n";
    assert!(matches!(
        first(text, &documents, None, 500_000),
        Err(ExecError::MemoryExceeded { .. })
    ));
    let rows = first(text, &documents, Some(50), 500_000).unwrap();
    let numbers: Vec<u64> = rows.iter().map(|row| row["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
    // Large rows are forgotten before the usual slack is full.
    let rows = first(text, &documents, Some(50), 100_000).unwrap();
    assert_eq!(rows.len(), 50);
    assert!(
        first(text, &documents, Some(50), 40_000).is_err(),
        "the wanted ones alone are more"
    );
    // Whatever DISTINCT drops has to be seen.
    let distinct = "SELECT DISTINCT c.n, c.text FROM c ORDER BY c.n";
    assert!(first(distinct, &documents, Some(50), 500_000).is_err());
}

#[test]
fn documents_that_are_only_counted() {
    for text in [
        "SELECT VALUE COUNT(1) FROM c",
        "SELECT VALUE COUNT(c) FROM c",
        "SELECT VALUE {n: COUNT('x'), m: [COUNT(null)]} FROM c",
        "SELECT COUNT(1) AS n FROM c ORDER BY n",
    ] {
        let Ok(compiled) = compile(text, &json!({})) else {
            continue;
        };
        assert!(compiled.access().counts_only, "{text}");
        for count in [0, 5] {
            let documents: Vec<Value> = (0..count).map(|n| json!({"n": n})).collect();
            let mut execution = compiled.execution(context(), MEMORY_BYTES_MAX, OrderMode::Sort);
            execution.push_count(count);
            execution.finish().unwrap();
            let rows: Vec<Value> = std::iter::from_fn(|| execution.next_row()).collect();
            assert_eq!(
                rows,
                first(text, &documents, None, MEMORY_BYTES_MAX).unwrap(),
                "{text}"
            );
        }
    }
    for text in [
        "SELECT VALUE COUNT(c.a) FROM c",
        "SELECT VALUE COUNT(1) FROM c WHERE c.a = 1",
        "SELECT VALUE COUNT(1) FROM c JOIN x IN c.list",
        "SELECT VALUE COUNT(1) FROM c.list",
        "SELECT VALUE COUNT(1) FROM x IN c.list",
        "SELECT c.a, COUNT(1) AS n FROM c GROUP BY c.a",
        "SELECT COUNT(1) AS n, SUM(c.a) AS sum FROM c",
        "SELECT VALUE COUNT(1) FROM (SELECT VALUE c FROM c WHERE c.a = 1) c",
        "SELECT VALUE COUNT(1) FROM (SELECT DISTINCT VALUE c.a FROM c) c",
        "SELECT VALUE COUNT(1)",
        "SELECT VALUE 1 FROM c",
    ] {
        if let Ok(compiled) = compile(text, &json!({})) {
            assert!(!compiled.access().counts_only, "{text}");
        }
    }
}
