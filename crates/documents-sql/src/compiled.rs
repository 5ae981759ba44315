//! [`Compiled`]: a query resolved against its parameters, ready to run any number of times.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::access::Access;
use crate::ast::Query;
use crate::compile::compile;
use crate::error::SqlErrors;
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
        Execution::new(Arc::clone(&self.program), context, memory_bytes_max, order)
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled")
            .field("access", &self.program.access)
            .finish_non_exhaustive()
    }
}
