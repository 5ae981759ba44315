//! Queries over short lists of resources: databases, containers, offers.

use documents_sql::{Compiled, EvalContext, OrderMode};
use serde_json::Value;

use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::QUERY_MEMORY_BYTES_MAX;

/// Runs a query over a list that is in memory already.
pub(crate) fn query_resources(
    documents: &Documents,
    resources: &[Value],
    sql: &str,
    parameters: &[(String, Value)],
) -> Result<Vec<Value>, DocumentsError> {
    let query = documents.queries.parse(sql)?;
    let compiled = Compiled::compile(&query, parameters)?;
    let context = EvalContext {
        now: documents.clock.now(),
        random_seed: documents.random.u64(),
    };
    let mut execution = compiled.execution(context, QUERY_MEMORY_BYTES_MAX, OrderMode::Sort);
    for (order, resource) in (0u64..).zip(resources) {
        execution.push(resource, order)?;
    }
    execution.finish()?;
    let mut rows = Vec::new();
    while let Some(row) = execution.next_row() {
        rows.push(row);
    }
    Ok(rows)
}
