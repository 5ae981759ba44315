//! Interim shape of the public interface.

use serde_json::Value;
use std::sync::Arc;

use crate::access::Access;
use crate::ast::Query;
use crate::error::{ExecError, SqlError, SqlErrors, code};

/// What an evaluation may know of the world.
#[derive(Debug, Clone, Copy)]
pub struct EvalContext {
    /// The time that GETCURRENTDATETIME and its kin give.
    pub now: jiff::Timestamp,
    /// Where RAND starts.
    pub random_seed: u64,
}

/// Who puts rows in ORDER BY order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderMode {
    /// The execution sorts.
    Sort,
    /// Documents are pushed in order.
    AlreadyOrdered,
}

/// Whether more documents are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// No: further rows could not come out.
    Done,
}

/// A query ready to run.
#[derive(Debug, Clone)]
pub struct Compiled {
    access: Arc<Access>,
}

impl Compiled {
    /// Resolves a query.
    /// # Errors
    /// Unknown names and functions.
    pub fn compile(query: &Query, _parameters: &[(String, Value)]) -> Result<Self, SqlErrors> {
        Err(SqlErrors::from(SqlError {
            code: code::NOT_SUPPORTED,
            message: String::new(),
            start: query.span.start,
            end: query.span.end,
        }))
    }

    /// What an index can do.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Starts a run.
    #[must_use]
    pub fn execution(&self, _context: EvalContext, _memory_bytes_max: usize, _order: OrderMode) -> Execution {
        Execution {}
    }
}

/// A run.
#[derive(Debug)]
pub struct Execution {}

impl Execution {
    /// One document.
    /// # Errors
    /// See [`ExecError`].
    pub fn push(&mut self, _document: &Value, _rid_order: u64) -> Result<Flow, ExecError> {
        Ok(Flow::Done)
    }
    /// No more documents.
    /// # Errors
    /// See [`ExecError`].
    pub fn finish(&mut self) -> Result<(), ExecError> {
        Ok(())
    }
    /// The next row.
    pub fn next_row(&mut self) -> Option<Value> {
        None
    }
    /// Rows waiting.
    #[must_use]
    pub fn rows_ready(&self) -> usize {
        0
    }
}
