//! The query language of the documents service: text to syntax tree ([`parse`]), tree to program
//! ([`Compiled`]), program to rows ([`Execution`]). Pure: no I/O, no clock, no chance of its own.
//!
//! ```
//! use documents_sql::{Compiled, EvalContext, OrderMode, parse};
//! use serde_json::json;
//!
//! let query = parse("SELECT VALUE c.name FROM c WHERE c.age >= @age ORDER BY c.name").unwrap();
//! let compiled = Compiled::compile(&query, &[("@age".to_owned(), json!(18))]).unwrap();
//! let context = EvalContext { now: "2026-01-01T00:00:00Z".parse().unwrap(), random_seed: 1 };
//! let mut execution = compiled.execution(context, 1 << 20, OrderMode::Sort);
//! execution.push(&json!({"name": "Kari", "age": 40}), 1).unwrap();
//! execution.push(&json!({"name": "Ola", "age": 7}), 2).unwrap();
//! execution.finish().unwrap();
//! assert_eq!(execution.next_row(), Some(json!("Kari")));
//! assert_eq!(execution.next_row(), None);
//! ```
//!
//! The caller owns documents and index. [`Access`] tells what an index could do; the execution
//! checks everything again, so an index may always return too much.
//!
//! Invariants: no text, parameter or document makes this crate panic, overflow the stack or run
//! unbounded ([`limits`]). Undefined is not null: it has no JSON form, and never reaches a row.

mod access;
mod aggregate;
pub mod ast;
mod compile;
mod compiled;
mod coverage;
mod distinct;
mod error;
mod eval;
mod execution;
mod functions;
mod hash;
mod lexer;
pub mod limits;
mod number;
mod parser;
mod print;
mod program;
mod ranking;
mod reads;
mod rows;
mod schema;
mod sorting;
mod value;

pub use access::{Access, CompareOp, OrderKey, Path, PathStep, Predicate};
pub use ast::Query;
pub use compiled::{Compiled, EvalContext, FunctionName, Functions, OrderMode};
pub use coverage::compat_markdown;
pub use error::{ExecError, SqlError, SqlErrors};
pub use execution::{Execution, Flow};
pub use hash::structural_hash;
pub use reads::Reads;
pub use schema::{ComputedProperty, ComputedPropertyError, Schema, VectorMetric};
pub use value::{compare_strings, compare_values, deep_equal};

/// Reads a query text into its tree.
///
/// # Errors
/// Syntax errors (SC1001) with their place; texts above [`limits::QUERY_TEXT_BYTES_MAX`] and
/// nesting above [`limits::NESTING_DEPTH_MAX`].
pub fn parse(text: &str) -> Result<Query, SqlErrors> {
    parser::parse(text)
}
