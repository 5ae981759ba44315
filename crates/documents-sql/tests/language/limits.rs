//! Bounds: whatever is sent, the engine answers, with an error if need be.

use std::fmt::Write;

use documents_sql::limits::{
    IN_LIST_ITEMS_MAX, NESTING_DEPTH_MAX, QUERY_TEXT_BYTES_MAX, WORK_PER_DOCUMENT_MAX,
};
use documents_sql::{ExecError, Flow, OrderMode, parse};
use serde_json::{Value, json};

use crate::{MEMORY_BYTES_MAX, compile, context, execute, refused, run, value};

#[test]
fn nesting_up_to_the_limit_runs_and_beyond_is_refused() {
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("ABS(", ")"),
        ("{a:", "}"),
        ("(1+", ")"),
        ("c[", "]"),
        ("-1+(", ")"),
    ] {
        let nested = |depth: usize| {
            format!(
                "SELECT VALUE {}1{} FROM c",
                open.repeat(depth),
                close.repeat(depth)
            )
        };
        let deepest = NESTING_DEPTH_MAX - 2;
        let query = parse(&nested(deepest)).unwrap_or_else(|e| panic!("{open}: {e}"));
        assert_eq!(parse(&query.to_string()).unwrap(), query);
        let compiled = compile(&nested(deepest), &json!({})).unwrap();
        execute(&compiled, &[json!([[1]])], OrderMode::Sort).unwrap();
        for depth in [2 * NESTING_DEPTH_MAX + 2, 50_000] {
            assert_eq!(refused(&nested(depth)), "SC1001", "{open}");
        }
    }
    for prefix in [
        "NOT ",
        "- ",
        "~",
        "1 ? 1 : ",
        "(SELECT VALUE ",
        "EXISTS(SELECT VALUE ",
        "1 ?? (",
        "1 = (1, ",
    ] {
        assert_eq!(
            refused(&format!("SELECT VALUE {}1", prefix.repeat(20_000))),
            "SC1001",
            "{prefix}"
        );
    }
    assert_eq!(
        refused(&format!(
            "SELECT VALUE 1 FROM {}",
            "(SELECT VALUE 1 FROM ".repeat(20_000)
        )),
        "SC1001"
    );
}

#[test]
fn long_chains_are_no_nesting() {
    let chain = |operator: &str, count: usize| format!("1{}", format!(" {operator} 1").repeat(count));
    assert_eq!(value(&chain("+", 50_000)), Some(json!(50_001)));
    assert_eq!(value(&chain("??", 50_000)), Some(json!(1)));
    assert_eq!(value(&chain("AND", 50_000)), None);
    assert_eq!(value(&chain("= 1 OR 2 =", 20_000)), Some(json!(true)));
    assert_eq!(value(&format!("{{}}{}", ".a".repeat(100_000))), None);
    let query = parse(&format!("SELECT VALUE {}", chain("||", 50_000))).unwrap();
    assert_eq!(parse(&query.to_string()).unwrap(), query);
}

#[test]
fn sizes() {
    let text = format!("SELECT VALUE '{}'", "x".repeat(QUERY_TEXT_BYTES_MAX));
    assert_eq!(refused(&text), "SC3001");
    let list = |count: usize| {
        (0..count).fold(String::new(), |mut list, i| {
            write!(list, "{i},").unwrap();
            list
        })
    };
    let text = format!("SELECT VALUE 5 IN ({}0)", list(IN_LIST_ITEMS_MAX - 1));
    assert_eq!(run(&text, &[]), [json!(true)]);
    assert_eq!(
        refused(&format!("SELECT VALUE 5 IN ({}0)", list(IN_LIST_ITEMS_MAX))),
        "SC3003"
    );
    let joins = |count: usize| {
        format!(
            "SELECT VALUE 1 FROM c{}",
            (0..count).fold(String::new(), |mut joins, i| {
                write!(joins, " JOIN k{i} IN c.k").unwrap();
                joins
            })
        )
    };
    assert_eq!(run(&joins(10), &[json!({"k": [1]})]), [json!(1)]);
    assert_eq!(refused(&joins(11)), "SC3002");
}

#[test]
fn cross_products_are_cut_off() {
    let array: Vec<u64> = (0..100).collect();
    let documents = [json!({"k": array, "empty": []})];
    let joins: String = (0..9).fold(String::new(), |mut joins, i| {
        write!(joins, " JOIN k{i} IN c.k").unwrap();
        joins
    });
    for query in [
        format!("SELECT VALUE COUNT(1) FROM c{joins}"),
        format!("SELECT VALUE 1 FROM c{joins} WHERE false"),
        format!("SELECT VALUE 1 FROM c{joins} JOIN e IN c.empty"),
    ] {
        let compiled = compile(&query, &json!({})).unwrap();
        let error = execute(&compiled, &documents, OrderMode::Sort).unwrap_err();
        assert!(matches!(error, ExecError::TooManyRows { .. }), "{query}");
    }
}

#[test]
fn doubling_values_are_cut_off() {
    let doubled = |seed: &str, twice: &str| {
        (0..30).fold(format!("(SELECT VALUE {seed})"), |inner, _| {
            format!("(SELECT VALUE {twice} FROM {inner} AS x)")
        })
    };
    for (seed, twice) in [
        ("'0123456789'", "x || x"),
        ("[1]", "[x, x]"),
        ("{a: 1}", "{a: x, b: x}"),
        ("'ab'", "CONCAT(x, x)"),
    ] {
        let text = format!(
            "SELECT VALUE LENGTH(TOSTRING(x)) FROM {} AS x",
            doubled(seed, twice)
        );
        let compiled = compile(&text, &json!({})).unwrap();
        match execute(&compiled, &[json!({})], OrderMode::Sort) {
            Err(ExecError::ValueTooLarge { .. }) => {}
            Ok(rows) => assert!(rows.is_empty(), "{twice}: undefined is an answer too"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(
        value("REPLICATE(REPLICATE(REPLICATE('abc', 10000), 10000), 10000)"),
        None
    );
    assert_eq!(
        value("REPLACE(REPLICATE('a', 10000), 'a', REPLICATE('b', 10000))"),
        None
    );
}

#[test]
fn memory_is_bounded_and_given_back() {
    let push_all = |text: &str, memory: usize| -> Result<usize, ExecError> {
        let compiled = compile(text, &json!({})).unwrap();
        let mut execution = compiled.execution(context(), memory, OrderMode::Sort);
        for i in 0..1_000u64 {
            execution.push(&json!({"v": i, "text": "x".repeat(100)}), i)?;
        }
        execution.finish()?;
        Ok(execution.rows_ready())
    };
    for text in [
        "SELECT * FROM c ORDER BY c.v",
        "SELECT DISTINCT * FROM c",
        "SELECT c.v, COUNT(1) AS n FROM c GROUP BY c.v",
        "SELECT VALUE MAKELIST(c.text) FROM c",
        "SELECT * FROM c",
    ] {
        assert_eq!(
            push_all(text, 10_000),
            Err(ExecError::MemoryExceeded { max_bytes: 10_000 }),
            "{text}"
        );
        assert!(push_all(text, MEMORY_BYTES_MAX).is_ok(), "{text}");
    }
    // With TOP only the wanted rows are kept.
    assert_eq!(
        push_all("SELECT TOP 2 * FROM c ORDER BY c.v DESC", 200_000),
        Ok(2)
    );
    // Rows that are taken make room.
    let compiled = compile("SELECT * FROM c", &json!({})).unwrap();
    let mut execution = compiled.execution(context(), 1_000, OrderMode::Sort);
    for i in 0..1_000u64 {
        assert_eq!(
            execution.push(&json!({"v": "x".repeat(100)}), i),
            Ok(Flow::Continue)
        );
        assert!(execution.next_row().is_some());
    }
}

#[test]
fn pushing_ends_when_no_row_is_wanted() {
    let compiled = compile("SELECT VALUE c.v FROM c OFFSET 1 LIMIT 1", &json!({})).unwrap();
    let mut execution = compiled.execution(context(), MEMORY_BYTES_MAX, OrderMode::Sort);
    let flows: Vec<Flow> = (0..4u64)
        .map(|i| execution.push(&json!({"v": i}), i).unwrap())
        .collect();
    assert_eq!(flows, [Flow::Continue, Flow::Done, Flow::Done, Flow::Done]);
    execution.finish().unwrap();
    execution.finish().unwrap();
    assert_eq!(
        std::iter::from_fn(|| execution.next_row()).collect::<Vec<Value>>(),
        [json!(1)]
    );
    assert_eq!(execution.push(&json!({"v": 9}), 9), Ok(Flow::Done));
}

#[test]
fn functions_of_one_document_have_so_much_work() {
    let document = json!({"text": "x".repeat(1_000_000), "list": vec![0; 20_000]});
    let run = |filter: &str, count: usize| {
        let filter = vec![filter; count].join(" OR ");
        let compiled = compile(&format!("SELECT VALUE 1 FROM c WHERE {filter}"), &json!({})).unwrap();
        execute(&compiled, &[document.clone(), document.clone()], OrderMode::Sort)
    };
    let too_much = Err(ExecError::TooMuchWork {
        max_work: WORK_PER_DOCUMENT_MAX,
    });
    assert_eq!(run("CONTAINS(c.text, 'y')", 100), Ok(Vec::new()));
    assert_eq!(run("CONTAINS(c.text, 'y')", 400), too_much);
    let sought = format!("ARRAY_CONTAINS_ANY(c.list{})", ", 1".repeat(2_500));
    assert_eq!(run(&sought, 1), too_much);
    let patterns = |count: usize| {
        let one = |at: usize| format!("RegexMatch(c.list, 'a') OR RegexMatch('b', 'a{at}')");
        (0..count).map(one).collect::<Vec<_>>().join(" OR ")
    };
    assert_eq!(run(&patterns(100), 1), Ok(Vec::new()));
    // The first thousand are folded.
    assert_eq!(run(&patterns(2_100), 1), too_much);
}
