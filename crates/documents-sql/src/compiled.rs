//! [`Compiled`]: a query resolved against its parameters, ready to run any number of times.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::access::Access;
use crate::ast::Query;
use crate::compile::compile;
use crate::error::{ExecError, SqlError, SqlErrors, code};
use crate::execution::Execution;
use crate::program::Program;
use crate::reads::Reads;
use crate::schema::Schema;

/// What an evaluation may know of the world.
#[derive(Debug, Clone, Copy)]
pub struct EvalContext {
    /// The time that GETCURRENTDATETIME and its kin give, the same for the whole query.
    pub now: jiff::Timestamp,
    /// Where RAND starts.
    pub random_seed: u64,
}

/// A user-defined function that a query calls, and where it does first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName {
    /// Behind `udf.`; upper and lower case differ.
    pub name: String,
    /// First offset of the call in the query text, in bytes.
    pub start: usize,
    /// Offset behind its last byte.
    pub end: usize,
}

impl FunctionName {
    /// What a query is answered that calls a function which isn't there.
    #[must_use]
    pub fn unknown(&self) -> SqlErrors {
        SqlErrors::from(SqlError {
            code: code::FUNCTION_UNKNOWN,
            message: format!(
                "'udf.{}' is not a user-defined function of the container.",
                self.name
            ),
            start: self.start,
            end: self.end,
        })
    }
}

/// Calls user-defined functions for an execution.
pub trait Functions: fmt::Debug + Send + Sync {
    /// Calls the function of that place in [`Compiled::functions`]; `None` is undefined, of arguments
    /// and of what it gives. May block.
    ///
    /// # Errors
    /// [`ExecError::Function`]; the caller keeps the cause.
    fn call(&self, index: usize, arguments: &[Option<&Value>]) -> Result<Option<Value>, ExecError>;
}

/// Who puts rows in the order of ORDER BY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderMode {
    /// The execution sorts, in memory.
    Sort,
    /// Documents are pushed in the order that [`Access::order_by`] names, ties by `_rid` in the
    /// first column's direction. Where that is `None` the execution sorts nevertheless.
    AlreadyOrdered,
}

/// A query ready to run. Immutable and cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    program: Arc<Program>,
}

impl Compiled {
    /// Resolves names, parameters and functions, and folds constants. Parameter names are taken
    /// with or without `@`; superfluous ones are ignored.
    ///
    /// # Errors
    /// Unknown names (SC2001), functions (SC2005), argument counts (SC2050), aggregates in wrong
    /// places (SC2101, SC2102), clauses that subqueries can't have, limits; what this server
    /// lacks is named as not supported.
    pub fn compile(query: &Query, parameters: &[(String, Value)]) -> Result<Self, SqlErrors> {
        Self::compile_for(query, parameters, &Schema::default())
    }

    /// As [`Compiled::compile`], for a container with vectors or computed properties.
    ///
    /// # Errors
    /// As [`Compiled::compile`].
    pub fn compile_for(
        query: &Query,
        parameters: &[(String, Value)],
        schema: &Schema,
    ) -> Result<Self, SqlErrors> {
        let program = compile(query, parameters, schema).map_err(|error| *error)?;
        Ok(Self {
            program: Arc::new(program),
        })
    }

    /// What an index can do for the query.
    #[must_use]
    pub fn access(&self) -> &Access {
        &self.program.access
    }

    /// Which part of a document the query looks at.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.program.reads
    }

    /// Starts a run that keeps at most `memory_bytes_max` bytes of rows, groups and undelivered
    /// output (as they are estimated).
    #[must_use]
    pub fn execution(&self, context: EvalContext, memory_bytes_max: usize, order: OrderMode) -> Execution {
        self.execution_with(context, memory_bytes_max, order, None)
    }

    /// The user-defined functions that the query calls, each once.
    #[must_use]
    pub fn functions(&self) -> &[FunctionName] {
        &self.program.functions
    }

    /// As [`Compiled::execution`], with who calls the query's functions; without, their calls fail.
    #[must_use]
    pub fn execution_with(
        &self,
        context: EvalContext,
        memory_bytes_max: usize,
        order: OrderMode,
        functions: Option<Arc<dyn Functions>>,
    ) -> Execution {
        Execution::new(
            Arc::clone(&self.program),
            context,
            memory_bytes_max,
            order,
            functions,
        )
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled")
            .field("access", &self.program.access)
            .finish_non_exhaustive()
    }
}
