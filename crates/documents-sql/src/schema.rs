//! What a container says beside its documents and what a query over it depends on.

use std::sync::Arc;

use serde_json::Value;

use crate::ast::{ExprKind, Projection, Query, Source};
use crate::error::SqlErrors;
pub use crate::functions::vector::VectorMetric;

/// See the module's header. The default is a container that says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Schema {
    /// Where documents hold vectors, and how those compare.
    pub vectors: Vec<(Vec<String>, VectorMetric)>,
    /// Properties that documents have without holding them.
    pub computed: Vec<ComputedProperty>,
    /// Whether queries may call user-defined functions; which there are, the caller knows.
    pub functions: bool,
}

/// A property of every document that is worked out when it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ComputedProperty {
    /// At the document's top level.
    pub name: String,
    /// `SELECT VALUE e FROM alias`, checked.
    pub(crate) query: Arc<Query>,
}

impl ComputedProperty {
    /// Checks and keeps a definition.
    ///
    /// # Errors
    /// Those of the query's text, or why a computed property can't be defined so.
    pub fn new(name: &str, text: &str) -> Result<Self, ComputedPropertyError> {
        let query = crate::parse(text).map_err(ComputedPropertyError::Query)?;
        if !is_plain(&query) {
            return Err(ComputedPropertyError::Form);
        }
        // Names and functions are checked as well, once and not at each query.
        crate::Compiled::compile(&query, &[]).map_err(ComputedPropertyError::Query)?;
        let compiled = crate::compile::computed_expression(&query);
        let (_, pure) = compiled.map_err(|error| ComputedPropertyError::Query(SqlErrors(vec![*error])))?;
        if !pure {
            return Err(ComputedPropertyError::NotDeterministic);
        }
        Ok(Self {
            name: name.to_owned(),
            query: Arc::new(query),
        })
    }
}

/// Why a computed property can't be defined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ComputedPropertyError {
    /// The query doesn't compile.
    #[error("{0}")]
    Query(SqlErrors),
    /// It has clauses that a computed property can't have.
    #[error("its query must be of the form SELECT VALUE <expression> FROM <alias>, without other clauses")]
    Form,
    /// It would change by itself.
    #[error("its query must be deterministic: no current time and no RAND")]
    NotDeterministic,
}

fn is_plain(query: &Query) -> bool {
    let [source] = query.from.as_slice() else {
        return false;
    };
    let container = matches!(&source.source, Source::Path { steps, .. } if steps.is_empty());
    let expression = match &query.projection {
        Projection::Value(expression) => !matches!(
            &expression.kind,
            ExprKind::Literal(Value::Null) | ExprKind::Undefined
        ),
        _ => false,
    };
    container
        && expression
        && !source.iterate
        && !query.distinct
        && query.top.is_none()
        && query.filter.is_none()
        && query.group_by.is_empty()
        && query.order_by.is_empty()
        && query.rank_by.is_empty()
        && query.offset_limit.is_none()
}
