//! The language as its users meet it: texts, parameters and documents in, rows or errors out.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod access;
mod clauses;
mod computed;
mod dates;
mod errors;
mod functions;
mod limits;
mod operators;
mod properties;
mod ranking;
mod rewritten;
mod sorting;
mod spatial;
mod user_defined;

use documents_sql::{Compiled, EvalContext, ExecError, Flow, OrderMode, SqlErrors, parse};
use serde_json::{Value, json};

pub(crate) const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) fn context() -> EvalContext {
    EvalContext {
        now: "2026-03-05T15:04:09.123456789Z".parse().unwrap(),
        random_seed: 7,
    }
}

pub(crate) fn compile(text: &str, parameters: &Value) -> Result<Compiled, SqlErrors> {
    let parameters: Vec<(String, Value)> = parameters
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Compiled::compile(&parse(text)?, &parameters)
}

pub(crate) fn execute(
    compiled: &Compiled,
    documents: &[Value],
    order: OrderMode,
) -> Result<Vec<Value>, ExecError> {
    let mut execution = compiled.execution(context(), MEMORY_BYTES_MAX, order);
    for (rid, document) in documents.iter().enumerate() {
        if execution.push(document, rid as u64)? == Flow::Done {
            break;
        }
    }
    execution.finish()?;
    let rows: Vec<Value> = std::iter::from_fn(|| execution.next_row()).collect();
    assert_eq!(execution.rows_ready(), 0);
    Ok(rows)
}

/// All rows of a query over documents.
#[track_caller]
pub(crate) fn run_with(text: &str, parameters: &Value, documents: &[Value]) -> Vec<Value> {
    let compiled = compile(text, parameters).unwrap_or_else(|errors| panic!("{text}: {errors}"));
    execute(&compiled, documents, OrderMode::Sort).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
pub(crate) fn run(text: &str, documents: &[Value]) -> Vec<Value> {
    run_with(text, &json!({}), documents)
}

/// An expression's value, `None` for undefined.
#[track_caller]
pub(crate) fn value(expression: &str) -> Option<Value> {
    let folded = run(&format!("SELECT VALUE {expression}"), &[]);
    assert!(folded.len() <= 1);
    folded.into_iter().next()
}

/// The code of the first error.
#[track_caller]
pub(crate) fn refused(text: &str) -> &'static str {
    match compile(text, &json!({})) {
        Ok(_) => panic!("accepted: {text}"),
        Err(errors) => {
            let error = &errors.0[0];
            assert!(
                error.start <= error.end && error.end <= text.len(),
                "{text}: {error:?}"
            );
            assert!(!error.message.is_empty());
            error.code
        }
    }
}

/// Checks a table of expressions against JSON texts, `U` for undefined.
#[track_caller]
pub(crate) fn table(rows: &[(&str, &str)]) {
    let undefined = regex::Regex::new(r"\bU\b").unwrap();
    for (expression, expected) in rows {
        let expected: Option<Value> = match *expected {
            "U" => None,
            text => Some(serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))),
        };
        let expression = undefined.replace_all(expression, "undefined");
        assert_eq!(value(&expression), expected, "{expression}");
    }
}
