//! Rows of sources and of subqueries, one at a time.
//!
//! Rows are visited, not collected: a visitor gets each row's environment and may stop. So a
//! subquery under EXISTS ends at its first row, and a cross product needs no memory.

use std::borrow::Cow;

use serde_json::Value;

use crate::aggregate::Groups;
use crate::ast::SubqueryKind;
use crate::distinct::DistinctSet;
use crate::error::ExecError;
use crate::eval::{Env, Frame, Runtime, eval, eval_object};
use crate::limits::VALUE_BYTES_MAX;
use crate::program::{Block, Node, ProjectionNode, SourceNode};
use crate::value::{Datum, value_bytes};

/// What a visitor wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    More,
    Stop,
}

pub(crate) type Visited = Result<Step, ExecError>;

/// Visits every combination of the sources' rows.
pub(crate) fn each_row(
    sources: &[SourceNode],
    env: &Env<'_>,
    runtime: &Runtime,
    visit: &mut dyn FnMut(&Env<'_>) -> Visited,
) -> Visited {
    let Some((first, rest)) = sources.split_first() else {
        return visit(env);
    };
    let mut bind = |value: Cow<'_, Value>| {
        runtime.count_row()?;
        let inner = Env {
            frame: Frame::Value(value),
            outer: Some(env),
        };
        each_row(rest, &inner, runtime, visit)
    };
    match first {
        SourceNode::Value(node) => match eval(node, env, runtime)? {
            Some(value) => bind(value),
            None => Ok(Step::More),
        },
        SourceNode::Elements(node) => {
            let array = eval(node, env, runtime)?;
            let Some(Value::Array(items)) = array.as_deref() else {
                return Ok(Step::More);
            };
            for item in items {
                if bind(Cow::Borrowed(item))? == Step::Stop {
                    return Ok(Step::Stop);
                }
            }
            Ok(Step::More)
        }
        SourceNode::Query(block) => {
            run_block(block, env, runtime, &mut |row| bind(Cow::Borrowed(row.as_ref())))
        }
    }
}

/// Whether WHERE keeps a row: only `true` does.
pub(crate) fn passes(filter: Option<&Node>, env: &Env<'_>, runtime: &Runtime) -> Result<bool, ExecError> {
    match filter {
        None => Ok(true),
        Some(filter) => Ok(eval(filter, env, runtime)?.as_deref() == Some(&Value::Bool(true))),
    }
}

/// The row that the projection makes, if any.
pub(crate) fn project<'a>(
    projection: &'a ProjectionNode,
    env: &'a Env<'a>,
    runtime: &'a Runtime,
) -> Result<Datum<'a>, ExecError> {
    match projection {
        ProjectionNode::Value(node) => eval(node, env, runtime),
        ProjectionNode::Object(members) => eval_object(members, env, runtime).map(Some),
    }
}

/// Visits the rows of a subquery.
fn run_block(
    block: &Block,
    env: &Env<'_>,
    runtime: &Runtime,
    visit: &mut dyn FnMut(Cow<'_, Value>) -> Visited,
) -> Visited {
    let mut seen = block.distinct.then(DistinctSet::default);
    let mut deliver = |row: Datum<'_>| {
        let Some(row) = row else {
            return Ok(Step::More);
        };
        if let Some(seen) = &mut seen
            && seen.insert(&row).is_none()
        {
            return Ok(Step::More);
        }
        visit(row)
    };
    let Some(grouping) = &block.grouping else {
        return each_row(&block.sources, env, runtime, &mut |env| {
            if !passes(block.filter.as_ref(), env, runtime)? {
                return Ok(Step::More);
            }
            deliver(project(&block.projection, env, runtime)?)
        });
    };
    let mut groups = Groups::new(grouping);
    each_row(&block.sources, env, runtime, &mut |env| {
        if passes(block.filter.as_ref(), env, runtime)? && groups.add(env, runtime)? > VALUE_BYTES_MAX {
            return Err(ExecError::ValueTooLarge {
                max_bytes: VALUE_BYTES_MAX,
            });
        }
        Ok(Step::More)
    })?;
    for (keys, aggregates) in groups.finish() {
        let frame = Frame::Group {
            keys: &keys,
            aggregates: &aggregates,
        };
        let grouped = Env {
            frame,
            outer: Some(env),
        };
        if deliver(project(&block.projection, &grouped, runtime)?)? == Step::Stop {
            return Ok(Step::Stop);
        }
    }
    Ok(Step::More)
}

/// The value of a subquery in an expression.
pub(crate) fn eval_subquery(
    kind: SubqueryKind,
    block: &Block,
    env: &Env<'_>,
    runtime: &Runtime,
) -> Result<Option<Value>, ExecError> {
    let mut found: Option<Value> = None;
    match kind {
        SubqueryKind::Exists => {
            run_block(block, env, runtime, &mut |_| {
                found = Some(Value::Bool(true));
                Ok(Step::Stop)
            })?;
            Ok(Some(Value::Bool(found.is_some())))
        }
        SubqueryKind::Scalar => {
            run_block(block, env, runtime, &mut |row| {
                if found.is_some() {
                    return Err(ExecError::ScalarSubqueryRows);
                }
                found = Some(row.into_owned());
                Ok(Step::More)
            })?;
            Ok(found)
        }
        SubqueryKind::First | SubqueryKind::Last => {
            run_block(block, env, runtime, &mut |row| {
                found = Some(row.into_owned());
                Ok(if kind == SubqueryKind::First {
                    Step::Stop
                } else {
                    Step::More
                })
            })?;
            Ok(found)
        }
        SubqueryKind::Array => {
            let mut rows = Vec::new();
            let mut bytes = 0;
            run_block(block, env, runtime, &mut |row| {
                bytes += value_bytes(&row);
                if bytes > VALUE_BYTES_MAX {
                    return Err(ExecError::ValueTooLarge {
                        max_bytes: VALUE_BYTES_MAX,
                    });
                }
                rows.push(row.into_owned());
                Ok(Step::More)
            })?;
            Ok(Some(Value::Array(rows)))
        }
        SubqueryKind::All => {
            let mut all = true;
            each_row(&block.sources, env, runtime, &mut |env| {
                all = passes(block.filter.as_ref(), env, runtime)?;
                Ok(if all { Step::More } else { Step::Stop })
            })?;
            Ok(Some(Value::Bool(all)))
        }
    }
}
