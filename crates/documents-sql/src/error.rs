//! What can go wrong: [`SqlErrors`] before a query runs, [`ExecError`] while it runs.
//!
//! Both are the caller's doing, so both are answered with status 400. The codes and the JSON
//! shape are the service's; messages name the cause and the place.

use serde_json::{Value, json};

/// One finding in a query text: a syntax error, an unknown name, a wrong argument count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code} at {start}..{end}: {message}")]
pub struct SqlError {
    /// The service's code, for instance `SC1001` for a syntax error.
    pub code: &'static str,
    /// Cause, for people.
    pub message: String,
    /// First offset in the query text, in bytes.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

/// Everything found wrong with a query; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
pub struct SqlErrors(pub Vec<SqlError>);

impl SqlErrors {
    /// The body the service puts in the `message` of a 400:
    /// `{"errors":[{"severity":"Error","location":{"start":7,"end":14},"code":"SC1001","message":"..."}]}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let errors: Vec<Value> = self
            .0
            .iter()
            .map(|error| {
                json!({
                    "severity": "Error",
                    "location": {"start": error.start, "end": error.end},
                    "code": error.code,
                    "message": error.message,
                })
            })
            .collect();
        json!({ "errors": errors })
    }
}

impl From<SqlError> for SqlErrors {
    fn from(error: SqlError) -> Self {
        Self(vec![error])
    }
}

/// Why a compiled query had to stop; status 400 for all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecError {
    /// Sorting, grouping, DISTINCT or undelivered rows need more memory than the caller gave.
    #[error(
        "The query needs more than {max_bytes} bytes to sort, group or hold its rows. Narrow it with a filter, TOP or OFFSET LIMIT."
    )]
    MemoryExceeded {
        /// The bound given to `Compiled::execution`, in bytes.
        max_bytes: usize,
    },
    /// A scalar subquery gave a second row.
    #[error(
        "A scalar subquery returned more than one row. Use ARRAY(...), EXISTS(...) or FIRST(...) for several rows."
    )]
    ScalarSubqueryRows,
    /// An expression made a value above [`crate::limits::VALUE_BYTES_MAX`].
    #[error("An expression of the query produced a value larger than {max_bytes} bytes.")]
    ValueTooLarge {
        /// The bound, in bytes.
        max_bytes: usize,
    },
    /// Joins and subqueries of one document visited more than
    /// [`crate::limits::ROWS_PER_DOCUMENT_MAX`] rows.
    #[error("The joins and subqueries of the query visit more than {max_rows} rows for one document.")]
    TooManyRows {
        /// The bound, in rows.
        max_rows: u64,
    },
    /// The functions called for one document took more than
    /// [`crate::limits::WORK_PER_DOCUMENT_MAX`] units of work.
    #[error(
        "The functions of the query have too much to go through for one document: more than {max_work} units of work. Call them less often, or with smaller geometries, texts and arrays."
    )]
    TooMuchWork {
        /// The bound, in units of work.
        max_work: u64,
    },
    /// A user-defined function failed; who called it for the query knows why.
    #[error("A user-defined function of the query failed.")]
    Function,
}

/// The codes this crate answers with. Those marked "ours" are used where the number of the
/// service is not published.
pub(crate) mod code {
    pub(crate) const SYNTAX: &str = "SC1001";
    pub(crate) const NAME_UNKNOWN: &str = "SC2001";
    pub(crate) const FUNCTION_UNKNOWN: &str = "SC2005";
    pub(crate) const PARAMETER_UNKNOWN: &str = "SC2002"; // ours
    pub(crate) const SELECT_STAR: &str = "SC2041";
    pub(crate) const ARGUMENT_COUNT: &str = "SC2050";
    pub(crate) const TOP_COUNT: &str = "SC2060";
    pub(crate) const OFFSET_COUNT: &str = "SC2061";
    pub(crate) const LIMIT_COUNT: &str = "SC2062";
    pub(crate) const AGGREGATE_PLACE: &str = "SC2100"; // ours
    pub(crate) const AGGREGATE_NESTED: &str = "SC2101";
    pub(crate) const COLUMN_NOT_GROUPED: &str = "SC2102";
    pub(crate) const SUBQUERY_ORDER_BY: &str = "SC2202";
    pub(crate) const SUBQUERY_TOP: &str = "SC2203";
    pub(crate) const SUBQUERY_OFFSET: &str = "SC2204";
    pub(crate) const ORDER_BY: &str = "SC2206";
    pub(crate) const SUBQUERY_RANK: &str = "SC2228";
    pub(crate) const RANK_FUNCTION: &str = "SC2221";
    pub(crate) const RANK_JOIN: &str = "SC2223";
    pub(crate) const RANK_IN: &str = "SC2224";
    pub(crate) const RANK_SUBQUERY: &str = "SC2225";
    pub(crate) const VECTOR_OPTIONS: &str = "SC2052"; // ours
    pub(crate) const SCORE_PLACE: &str = "SC2240";
    pub(crate) const TOP_WITH_OFFSET: &str = "SC2207"; // ours
    pub(crate) const LIKE_ESCAPE: &str = "SC2051"; // ours
    pub(crate) const ALIAS_TWICE: &str = "SC2003"; // ours
    pub(crate) const NOT_SUPPORTED: &str = "SC2990"; // ours
    pub(crate) const TEXT_SIZE: &str = "SC3001"; // ours
    pub(crate) const JOIN_COUNT: &str = "SC3002";
    pub(crate) const IN_COUNT: &str = "SC3003"; // ours
    pub(crate) const CONSTANT_SIZE: &str = "SC3004"; // ours
    pub(crate) const FUNCTION_COUNT: &str = "SC3005"; // ours
}
