//! Tree to program: resolves names, parameters and functions, checks what syntax can't, folds
//! constants. Clauses are here, expressions in [`expression`], index conditions in [`narrow`].
//!
//! Invariant: a program that compiled evaluates without an error except for limits and scalar
//! subqueries with several rows.

mod defined;
mod expression;
mod narrow;
mod rank;
mod scope;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use self::expression::{column_name, has_aggregate};
use self::rank::Ranked;
use self::scope::{Entry, Group, entry_at};
use crate::ast::{
    Count, CountKind, Expr, ExprKind, FromItem, OrderTerm, Projection, Query, Source, Span, Step,
};
use crate::compiled::{EvalContext, FunctionName};
use crate::error::{SqlError, code};
use crate::eval::Runtime;
use crate::limits::{CONSTANT_BYTES_MAX, JOINS_PER_QUERY_MAX, ROW_COUNT_MAX};
use crate::program::{Block, Grouping, Node, Program, ProjectionNode, SourceNode};
use crate::reads::{Reads, reads};
use crate::schema::Schema;

/// The error is boxed to keep the frames of the recursion small.
pub(crate) type Compiling<T> = Result<T, Box<SqlError>>;

/// Compiles a whole query.
pub(crate) fn compile(query: &Query, parameters: &[(String, Value)], schema: &Schema) -> Compiling<Program> {
    let mut compiler = Compiler::new(schema);
    compiler.parameters = parameters
        .iter()
        .map(|(name, value)| (name.strip_prefix('@').unwrap_or(name).to_owned(), value.clone()))
        .collect();
    let mut program = compiler.program(query)?;
    program.functions = compiler.functions;
    Ok(program)
}

/// The expression of a computed property, over one frame that is the document; and whether it
/// depends on nothing but the document.
pub(crate) fn computed_expression(query: &Query) -> Compiling<(Node, bool)> {
    let nothing = Schema::default();
    let mut compiler = Compiler::new(&nothing);
    compiler.scope = vec![Entry::Alias(query.from.first().and_then(alias_of))];
    let node = match &query.projection {
        Projection::Value(expression) => compiler.expression(expression)?,
        Projection::Star(_) | Projection::Items(_) => Node::Undefined,
    };
    Ok((node, !compiler.impure))
}

fn error_at(span: Span, code: &'static str, message: impl Into<String>) -> Box<SqlError> {
    Box::new(SqlError {
        code,
        message: message.into(),
        start: span.start,
        end: span.end,
    })
}

struct Compiler<'s> {
    schema: &'s Schema,
    parameters: HashMap<String, Value>,
    /// Frames as the evaluator will see them, innermost last.
    scope: Vec<Entry>,
    /// Inside an aggregate's argument.
    in_aggregate: bool,
    /// Something was met that depends on time or chance.
    impure: bool,
    /// Computed properties that were named, by name; all their mentions share one.
    computed: HashMap<String, Arc<Node>>,
    /// Evaluates constants, all of them within the work of one document.
    constants: Runtime,
    /// The user-defined functions that were named.
    functions: Vec<FunctionName>,
    function_mentions: usize,
    /// For parameters and folded values.
    constant_bytes_left: usize,
}

impl<'s> Compiler<'s> {
    fn new(schema: &'s Schema) -> Self {
        Self {
            schema,
            parameters: HashMap::new(),
            scope: Vec::new(),
            in_aggregate: false,
            impure: false,
            computed: HashMap::new(),
            constants: Runtime::new(
                EvalContext {
                    now: jiff::Timestamp::UNIX_EPOCH,
                    random_seed: 0,
                },
                None,
            ),
            functions: Vec::new(),
            function_mentions: 0,
            constant_bytes_left: CONSTANT_BYTES_MAX,
        }
    }

    /// Compiles a query over the container: the outermost, or one in the place of its container.
    fn program(&mut self, query: &Query) -> Compiling<Program> {
        let inner = match query.from.first().map(|item| &item.source) {
            Some(Source::Query(inner)) => {
                refuse_in_subquery(inner)?;
                Some(Arc::new(self.program(inner)?))
            }
            _ => None,
        };
        self.scope = vec![match &inner {
            None => Entry::Document(None),
            Some(_) => Entry::Alias(None),
        }];
        let block = self.query(query, true)?;
        let access = narrow::access(&block, inner.as_deref().map(|inner| &inner.access));
        // What the query in FROM makes of documents isn't followed.
        let reads = match &inner {
            None => reads(&block),
            Some(_) => Reads {
                properties: None,
                rows_are_documents: false,
            },
        };
        Ok(Program {
            inner,
            block,
            access,
            reads,
            functions: Vec::new(),
        })
    }

    /// Compiles a query and leaves the scope as it was.
    fn query(&mut self, query: &Query, outermost: bool) -> Compiling<Block> {
        let outer = self.scope.len();
        let block = self.clauses(query, outermost, outer);
        self.scope.truncate(outer);
        block
    }

    fn clauses(&mut self, query: &Query, outermost: bool, outer: usize) -> Compiling<Block> {
        if !outermost {
            refuse_in_subquery(query)?;
        }
        let sources = self.sources(query, outermost, outer)?;
        let filter = query
            .filter
            .as_ref()
            .map(|filter| self.expression(filter))
            .transpose()?;
        let aggregated = match &query.projection {
            Projection::Star(_) => false,
            Projection::Value(expr) => has_aggregate(expr),
            Projection::Items(items) => items.iter().any(|item| has_aggregate(&item.expr)),
        } || query.order_by.iter().any(|term| has_aggregate(&term.expr));
        let keys = if aggregated || !query.group_by.is_empty() {
            let keys = query
                .group_by
                .iter()
                .map(|key| self.expression(key))
                .collect::<Compiling<Vec<_>>>()?;
            let rows = self.scope.split_off(outer);
            self.scope
                .push(Entry::Group(Group::new(rows, query.group_by.clone())));
            Some(keys)
        } else {
            None
        };
        let projection = self.projection(query, keys.is_some())?;
        let mut order = Vec::with_capacity(query.order_by.len());
        for term in &query.order_by {
            self.refuse_joined_order(term, query)?;
            order.push(match self.vector_key(term)? {
                Some(key) => (key, true),
                None => (self.expression(&term.expr)?, term.descending),
            });
        }
        let ranking = match self.ranked(query, keys.is_some())? {
            None => None,
            Some(Ranked::Key(key)) => {
                order.push((key, true));
                None
            }
            Some(Ranked::Scores(ranking)) => Some(ranking),
        };
        let grouping = keys.and_then(|keys| match self.scope.pop() {
            Some(Entry::Group(group)) => Some(Grouping {
                keys,
                aggregates: group.aggregates,
            }),
            _ => None,
        });
        let (skip, take) = self.window(query)?;
        Ok(Block {
            sources,
            filter,
            grouping,
            distinct: query.distinct,
            projection,
            order,
            ranking,
            skip,
            take,
        })
    }

    fn sources(&mut self, query: &Query, outermost: bool, outer: usize) -> Compiling<Vec<SourceNode>> {
        let joins = query.from.len().saturating_sub(1);
        if joins > JOINS_PER_QUERY_MAX {
            let message = format!(
                "The SQL query exceeded the maximum number of joins. The allowed limit is {JOINS_PER_QUERY_MAX}."
            );
            return Err(error_at(query.span, code::JOIN_COUNT, message));
        }
        let mut sources = Vec::with_capacity(query.from.len());
        for (index, item) in query.from.iter().enumerate() {
            sources.push(self.source(item, outermost && index == 0)?);
            let alias = alias_of(item);
            let own = self.scope.get(outer..).unwrap_or_default();
            if let Some(name) = &alias
                && own.iter().any(|entry| entry.binds(name))
            {
                let message = format!("The alias '{name}' is given to two sources of the same FROM clause.");
                return Err(error_at(item.span, code::ALIAS_TWICE, message));
            }
            let document = match sources.last() {
                Some(SourceNode::Value(Node::Binding(level))) => {
                    matches!(entry_at(&self.scope, *level), Some(Entry::Document(_)))
                }
                _ => false,
            };
            self.scope.push(if document {
                Entry::Document(alias)
            } else {
                Entry::Alias(alias)
            });
        }
        Ok(sources)
    }

    fn source(&mut self, item: &FromItem, root: bool) -> Compiling<SourceNode> {
        let node = match &item.source {
            // Run ahead, see Program::inner.
            Source::Query(_) if root => return Ok(SourceNode::Value(Node::Binding(0))),
            Source::Query(query) => return Ok(SourceNode::Query(Box::new(self.query(query, false)?))),
            Source::Call(call) => self.expression(call)?,
            Source::Path { name, steps } => {
                // The first name of the outermost FROM is the container, whatever it is called.
                let base = if root {
                    Node::Binding(0)
                } else {
                    self.name(name, item.span)?
                };
                self.path(base, steps)?
            }
        };
        Ok(if item.iterate {
            SourceNode::Elements(node)
        } else {
            SourceNode::Value(node)
        })
    }

    fn projection(&mut self, query: &Query, grouped: bool) -> Compiling<ProjectionNode> {
        match &query.projection {
            Projection::Star(span) => {
                let message = if grouped {
                    "'SELECT *' is not valid with GROUP BY."
                } else if query.from.is_empty() {
                    "'SELECT *' is not valid without a FROM clause."
                } else if query.from.len() > 1 {
                    "'SELECT *' is only valid with a single input set."
                } else {
                    return Ok(ProjectionNode::Value(Node::Binding(0)));
                };
                Err(error_at(*span, code::SELECT_STAR, message))
            }
            Projection::Value(expr) => Ok(ProjectionNode::Value(self.expression(expr)?)),
            Projection::Items(items) => {
                let mut unnamed = 0;
                let mut members = Vec::with_capacity(items.len());
                for item in items {
                    let name = item
                        .alias
                        .clone()
                        .or_else(|| column_name(&item.expr))
                        .unwrap_or_else(|| {
                            unnamed += 1;
                            format!("${unnamed}")
                        });
                    members.push((name, self.expression(&item.expr)?));
                }
                Ok(ProjectionNode::Object(members))
            }
        }
    }

    /// The service serves ORDER BY from an index of whole documents and so refuses paths of
    /// joined elements.
    fn refuse_joined_order(&self, term: &OrderTerm, query: &Query) -> Compiling<()> {
        let base = match &term.expr.kind {
            ExprKind::Path { base, .. } => base,
            _ => &term.expr,
        };
        let ExprKind::Name(name) = &base.kind else {
            return Ok(());
        };
        let joined = query
            .from
            .iter()
            .skip(1)
            .any(|item| alias_of(item).as_ref() == Some(name));
        if joined && !matches!(self.scope.last(), Some(Entry::Group(_))) {
            let message = "Order-by over correlated collections is not supported.";
            return Err(error_at(term.expr.span, code::ORDER_BY, message));
        }
        Ok(())
    }

    fn window(&self, query: &Query) -> Compiling<(u64, Option<u64>)> {
        if let Some((offset, limit)) = &query.offset_limit {
            if let Some(top) = &query.top {
                let message = "TOP can't be used together with OFFSET and LIMIT.";
                return Err(error_at(top.span, code::TOP_WITH_OFFSET, message));
            }
            let skip = self.count(offset, code::OFFSET_COUNT)?;
            return Ok((skip, Some(self.count(limit, code::LIMIT_COUNT)?)));
        }
        let take = query
            .top
            .as_ref()
            .map(|top| self.count(top, code::TOP_COUNT))
            .transpose()?;
        Ok((0, take))
    }

    fn count(&self, count: &Count, refused: &'static str) -> Compiling<u64> {
        match &count.kind {
            CountKind::Number(count) => Ok(*count),
            CountKind::Parameter(name) => {
                let value = self.parameter(name, count.span)?;
                let number = crate::number::Num::of(value).and_then(crate::number::Num::to_i64);
                number
                    .and_then(|n| u64::try_from(n).ok())
                    .filter(|n| *n <= ROW_COUNT_MAX)
                    .ok_or_else(|| {
                        let message = format!(
                            "The parameter '@{name}' must be a whole number from 0 to {ROW_COUNT_MAX}."
                        );
                        error_at(count.span, refused, message)
                    })
            }
        }
    }

    fn parameter(&self, name: &str, span: Span) -> Compiling<&Value> {
        self.parameters.get(name).ok_or_else(|| {
            let message =
                format!("The query names the parameter '@{name}', but no such parameter was given.");
            error_at(span, code::PARAMETER_UNKNOWN, message)
        })
    }
}

/// The name a source is bound to: the one given, else the last name of its path.
fn alias_of(item: &FromItem) -> Option<String> {
    if item.alias.is_some() {
        return item.alias.clone();
    }
    let Source::Path { name, steps } = &item.source else {
        return None;
    };
    match steps.last() {
        None => Some(name.clone()),
        Some(Step::Name(name)) => Some(name.clone()),
        Some(Step::Index(Expr {
            kind: ExprKind::Literal(Value::String(name)),
            ..
        })) => Some(name.clone()),
        Some(Step::Index(_)) => None,
    }
}

fn refuse_in_subquery(query: &Query) -> Compiling<()> {
    if let Some(term) = query.order_by.first() {
        return Err(error_at(
            term.expr.span,
            code::SUBQUERY_ORDER_BY,
            "ORDER BY is not allowed in a subquery.",
        ));
    }
    if let Some(top) = &query.top {
        return Err(error_at(
            top.span,
            code::SUBQUERY_TOP,
            "TOP is not allowed in a subquery.",
        ));
    }
    if let Some((offset, _)) = &query.offset_limit {
        return Err(error_at(
            offset.span,
            code::SUBQUERY_OFFSET,
            "OFFSET LIMIT is not allowed in a subquery.",
        ));
    }
    if let Some(term) = query.rank_by.first() {
        return Err(error_at(
            term.expr.span,
            code::SUBQUERY_RANK,
            "ORDER BY RANK is not allowed in a subquery.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projected(text: &str, parameters: &[(String, Value)], schema: &Schema) -> Compiling<Vec<Node>> {
        let program = compile(&crate::parse(text).unwrap(), parameters, schema)?;
        match program.block.projection {
            ProjectionNode::Value(Node::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    #[test]
    fn constants_have_so_many_bytes() {
        let mebibyte = [("@p".to_owned(), Value::from("x".repeat(1024 * 1024)))];
        let mentions = |count: usize| {
            let text = format!("SELECT VALUE [c.id{}] FROM c", ", @p".repeat(count));
            projected(&text, &mebibyte, &Schema::default())
        };
        assert_eq!(mentions(60).unwrap().len(), 61);
        let refused = mentions(64).map(|items| items.len()).unwrap_err();
        assert_eq!(refused.code, code::CONSTANT_SIZE);
        // What is folded stays as it was written once there is no room.
        let call = format!(", REPLACE(REPLICATE('a', 10000), 'a', '{}')", "x".repeat(1_000));
        let text = format!("SELECT VALUE [c.id{}] FROM c", call.repeat(20));
        let items = projected(&text, &[], &Schema::default()).unwrap();
        let folded = items
            .iter()
            .filter(|item| matches!(item, Node::Constant(_)))
            .count();
        let calls = items
            .iter()
            .filter(|item| matches!(item, Node::Call { .. }))
            .count();
        assert_eq!((folded, calls), (6, 14));
    }

    #[test]
    fn mentions_of_a_computed_property_share_its_expression() {
        let property = crate::ComputedProperty::new("lower", "SELECT VALUE LOWER(c.name) FROM c").unwrap();
        let schema = Schema {
            computed: vec![property],
            ..Schema::default()
        };
        let items = projected("SELECT VALUE [c.lower, c['lower']] FROM c", &[], &schema).unwrap();
        let [
            Node::Computed {
                expression: first, ..
            },
            Node::Computed {
                expression: second, ..
            },
        ] = items.as_slice()
        else {
            panic!("{items:?}");
        };
        assert!(Arc::ptr_eq(first, second));
    }
}
