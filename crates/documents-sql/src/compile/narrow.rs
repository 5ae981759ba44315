//! Finds in a program what an index can do; see [`Access`].
//!
//! Every source is followed back to a path of the document where it has one, so conditions on
//! joined elements and inside EXISTS narrow too.

use serde_json::Value;

use super::defined::defined;
use crate::access::{Access, CompareOp, OrderKey, Path, PathStep, Predicate};
use crate::aggregate::AggregateKind;
use crate::ast::{BinaryOp, SubqueryKind};
use crate::functions::vector;
use crate::program::{AggregateNode, Block, Node, NodeStep, PatternNode, ScoreNode, SourceNode};

/// The paths of the frames in sight, innermost last; `None` is no place in the document.
pub(super) type Frames = Vec<Option<Path>>;

/// Analyses a query over the container, or over the rows of an inner query: then only what the
/// inner one asks of documents counts, and an order of documents helps nobody.
pub(super) fn access(block: &Block, inner: Option<&Access>) -> Access {
    let streaming =
        block.order.is_empty() && block.ranking.is_none() && block.grouping.is_none() && !block.distinct;
    let single_row = block
        .sources
        .iter()
        .all(|source| matches!(source, SourceNode::Value(_)));
    let row_limit = if streaming {
        block.take.map(|take| take.saturating_add(block.skip))
    } else {
        None
    };
    if let Some(inner) = inner {
        return Access {
            conjuncts: inner.conjuncts.clone(),
            defined: Vec::new(),
            order_by: None,
            order_terms: Vec::new(),
            streaming: streaming && inner.streaming,
            row_limit: row_limit.filter(|_| inner.streaming),
            single_row_per_document: single_row && inner.single_row_per_document,
            counts_only: false,
            without_documents: inner.without_documents,
        };
    }
    let mut frames: Frames = vec![Some(Vec::new())];
    push_sources(block, &mut frames);
    Access {
        conjuncts: match &block.filter {
            // How rare a word is, documents tell that don't match as well.
            Some(_) if weighs_all_documents(block) => Vec::new(),
            Some(filter) => narrow(filter, &frames),
            None => Vec::new(),
        },
        defined: block
            .filter
            .as_ref()
            .map_or_else(Vec::new, |filter| defined(filter, &frames)),
        order_by: if block.grouping.is_none() {
            order_by(block, &frames)
        } else {
            None
        },
        order_terms: if block.grouping.is_none() {
            let terms = block.order.iter();
            terms
                .map(|(node, descending)| (order_key(node, &frames), *descending))
                .collect()
        } else {
            Vec::new()
        },
        streaming,
        row_limit,
        single_row_per_document: single_row,
        counts_only: counts_only(block),
        without_documents: block.sources.is_empty(),
    }
}

/// Whether all documents are counted, and are all that is counted.
fn counts_only(block: &Block) -> bool {
    let all =
        matches!(block.sources.as_slice(), [SourceNode::Value(Node::Binding(0))]) && block.filter.is_none();
    let counts = |aggregate: &AggregateNode| {
        aggregate.kind == AggregateKind::Count
            && matches!(aggregate.argument, Node::Constant(_) | Node::Binding(0))
    };
    let grouping = block.grouping.as_ref();
    all && grouping.is_some_and(|grouping| {
        grouping.keys.is_empty() && !grouping.aggregates.is_empty() && grouping.aggregates.iter().all(counts)
    })
}

fn weighs_all_documents(block: &Block) -> bool {
    let mut scores = block.ranking.iter().flat_map(|ranking| &ranking.scores);
    scores.any(|score| matches!(score, ScoreNode::FullText { .. }))
}

fn push_sources(block: &Block, frames: &mut Frames) {
    for source in &block.sources {
        let path = match source {
            SourceNode::Value(node) => path_of(node, frames),
            SourceNode::Elements(node) => path_of(node, frames).map(|mut path| {
                path.push(PathStep::Element);
                path
            }),
            SourceNode::Query(_) => None,
        };
        frames.push(path);
    }
}

fn order_by(block: &Block, frames: &Frames) -> Option<Vec<(Path, bool)>> {
    if block.order.is_empty() {
        return None;
    }
    block
        .order
        .iter()
        .map(|(node, descending)| {
            let path = path_of(node, frames)?;
            let plain = !path.is_empty() && path.iter().all(|step| matches!(step, PathStep::Name(_)));
            plain.then_some((path, *descending))
        })
        .collect()
}

fn order_key(node: &Node, frames: &Frames) -> OrderKey {
    let nearness = |node: &Node| matches!(node, Node::Call { function, .. } if function.name == vector::NAME);
    match node {
        Node::Computed { name, .. } => OrderKey::Computed(name.clone()),
        Node::Path { base, .. } if matches!(**base, Node::Computed { .. }) => order_key(base, frames),
        Node::Minus(distance) if nearness(distance) => OrderKey::Nearness,
        node if nearness(node) => OrderKey::Nearness,
        node => match path_of(node, frames) {
            Some(path) if !path.is_empty() => OrderKey::Path(path),
            _ => OrderKey::Expression,
        },
    }
}

pub(super) fn path_of(node: &Node, frames: &Frames) -> Option<Path> {
    match node {
        Node::Binding(level) => {
            let at = frames.len().checked_sub(level + 1)?;
            frames.get(at)?.clone()
        }
        Node::Path { base, steps } => {
            let mut path = path_of(base, frames)?;
            for step in steps {
                path.push(match step {
                    NodeStep::Name(name) => PathStep::Name(name.clone()),
                    NodeStep::Index(_) => PathStep::Element,
                    NodeStep::Dynamic(_) => return None,
                });
            }
            Some(path)
        }
        _ => None,
    }
}

fn narrow(node: &Node, frames: &Frames) -> Vec<Predicate> {
    match node {
        Node::And(terms) => terms.iter().flat_map(|term| narrow(term, frames)).collect(),
        Node::Or(terms) => {
            let branches: Vec<_> = terms.iter().map(|term| narrow(term, frames)).collect();
            // A branch without a condition lets everything through.
            if branches.iter().any(Vec::is_empty) {
                Vec::new()
            } else {
                vec![Predicate::Or(branches)]
            }
        }
        Node::Chain { first, rest } => match rest.as_slice() {
            [(op, second)] => comparison(*op, first, second, frames).into_iter().collect(),
            _ => Vec::new(),
        },
        Node::In {
            value,
            constants,
            others,
            negated: false,
        } if others.is_empty() => path_of(value, frames)
            .and_then(|path| membership(path, constants))
            .into_iter()
            .collect(),
        Node::Between {
            value,
            low,
            high,
            negated: false,
        } => {
            let least = comparison(BinaryOp::GreaterOrEqual, value, low, frames);
            let most = comparison(BinaryOp::LessOrEqual, value, high, frames);
            least.into_iter().chain(most).collect()
        }
        Node::Like {
            value,
            pattern: PatternNode::Constant(pattern),
            negated: false,
        } => {
            let (prefix, whole) = pattern.literal_prefix();
            path_of(value, frames)
                .and_then(|path| {
                    if whole {
                        equal(path, Value::String(prefix))
                    } else {
                        (!prefix.is_empty()).then_some(Predicate::StartsWith { path, prefix })
                    }
                })
                .into_iter()
                .collect()
        }
        Node::Path { .. } => truth(node, true, frames),
        Node::Not(operand) => truth(operand, false, frames),
        Node::Call { function, args } => call(function.name, args, frames).into_iter().collect(),
        Node::Subquery(SubqueryKind::Exists, block) if block.grouping.is_none() => {
            let mut inner = frames.clone();
            push_sources(block, &mut inner);
            block
                .filter
                .as_ref()
                .map(|filter| narrow(filter, &inner))
                .unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// `WHERE c.flag` and `WHERE NOT c.flag`.
fn truth(node: &Node, wanted: bool, frames: &Frames) -> Vec<Predicate> {
    match node {
        Node::Path { .. } => path_of(node, frames)
            .and_then(|path| equal(path, Value::Bool(wanted)))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

fn comparison(op: BinaryOp, first: &Node, second: &Node, frames: &Frames) -> Option<Predicate> {
    let (node, value, flipped) = match (first, second) {
        (node, Node::Constant(value)) => (node, value, false),
        (Node::Constant(value), node) => (node, value, true),
        _ => return None,
    };
    let op = match (op, flipped) {
        (BinaryOp::Equal, _) => CompareOp::Equal,
        (BinaryOp::Less, false) | (BinaryOp::Greater, true) => CompareOp::Less,
        (BinaryOp::LessOrEqual, false) | (BinaryOp::GreaterOrEqual, true) => CompareOp::LessOrEqual,
        (BinaryOp::Greater, false) | (BinaryOp::Less, true) => CompareOp::Greater,
        (BinaryOp::GreaterOrEqual, false) | (BinaryOp::LessOrEqual, true) => CompareOp::GreaterOrEqual,
        _ => return None,
    };
    let path = path_of(node, frames)?;
    is_scalar(value).then(|| Predicate::Compare {
        path,
        op,
        value: value.clone(),
    })
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

fn equal(path: Path, value: Value) -> Option<Predicate> {
    is_scalar(&value).then_some(Predicate::Compare {
        path,
        op: CompareOp::Equal,
        value,
    })
}

fn membership(path: Path, values: &[Value]) -> Option<Predicate> {
    values.iter().all(is_scalar).then(|| Predicate::In {
        path,
        values: values.to_vec(),
    })
}

fn call(name: &str, args: &[Node], frames: &Frames) -> Option<Predicate> {
    match (name, args) {
        ("IS_DEFINED", [node]) => path_of(node, frames).map(|path| Predicate::Defined { path }),
        ("IS_NULL", [node]) => equal(path_of(node, frames)?, Value::Null),
        ("IS_BOOL" | "IS_BOOLEAN", [node]) => {
            membership(path_of(node, frames)?, &[Value::Bool(false), Value::Bool(true)])
        }
        ("STRINGEQUALS", [a, b] | [a, b, Node::Constant(Value::Bool(false))]) => {
            let ((node, Node::Constant(text @ Value::String(_)))
            | (Node::Constant(text @ Value::String(_)), node)) = (a, b)
            else {
                return None;
            };
            equal(path_of(node, frames)?, text.clone())
        }
        (
            "STARTSWITH",
            [node, Node::Constant(Value::String(prefix))]
            | [
                node,
                Node::Constant(Value::String(prefix)),
                Node::Constant(Value::Bool(false)),
            ],
        ) => {
            let path = path_of(node, frames)?;
            (!prefix.is_empty()).then(|| Predicate::StartsWith {
                path,
                prefix: prefix.clone(),
            })
        }
        ("ARRAY_CONTAINS", [array, sought] | [array, sought, Node::Constant(Value::Bool(false))]) => {
            match (array, sought) {
                (node, Node::Constant(value)) if is_scalar(value) => Some(Predicate::ArrayContains {
                    path: path_of(node, frames)?,
                    value: value.clone(),
                }),
                (Node::Constant(Value::Array(values)), node) => membership(path_of(node, frames)?, values),
                _ => None,
            }
        }
        _ => None,
    }
}
