//! The compiled form: names are places in the environment, functions are pointers, constants
//! are values.
//!
//! An environment is a chain of frames, innermost first; `level` counts outwards. Every source
//! of a query adds one frame, whether it has a name or not. Once rows are grouped their frames
//! are gone and one frame with the group's keys and aggregates stands for them.

use std::sync::Arc;

use serde_json::Value;

use crate::access::Access;
use crate::aggregate::AggregateKind;
use crate::ast::{BinaryOp, SubqueryKind};
use crate::compiled::FunctionName;
use crate::functions::FunctionSpec;
use crate::functions::full_text::Words;
use crate::functions::like::LikePattern;
use crate::reads::Reads;

/// An expression ready to be evaluated.
#[derive(Debug)]
pub(crate) enum Node {
    Undefined,
    Constant(Value),
    /// What a source bound, `level` frames out.
    Binding(usize),
    Path {
        base: Box<Node>,
        steps: Vec<NodeStep>,
    },
    Not(Box<Node>),
    Plus(Box<Node>),
    Minus(Box<Node>),
    BitNot(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    /// Neither AND nor OR; applied from the left.
    Chain {
        first: Box<Node>,
        rest: Vec<(BinaryOp, Node)>,
    },
    Coalesce(Vec<Node>),
    Conditional {
        test: Box<Node>,
        then: Box<Node>,
        otherwise: Box<Node>,
    },
    In {
        value: Box<Node>,
        /// Constants in total order, for binary search.
        constants: Vec<Value>,
        /// The other items.
        others: Vec<Node>,
        /// NOT IN.
        negated: bool,
    },
    Between {
        value: Box<Node>,
        low: Box<Node>,
        high: Box<Node>,
        negated: bool,
    },
    Like {
        value: Box<Node>,
        pattern: PatternNode,
        negated: bool,
    },
    Call {
        function: &'static FunctionSpec,
        args: Vec<Node>,
    },
    /// A user-defined function, by its place in [`Program::functions`].
    Function {
        index: usize,
        args: Vec<Node>,
    },
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
    Subquery(SubqueryKind, Box<Block>),
    GroupKey {
        level: usize,
        index: usize,
    },
    Aggregate {
        level: usize,
        index: usize,
    },
    /// A computed property of the document `level` frames out; its expression sees one frame,
    /// that document.
    Computed {
        name: String,
        level: usize,
        expression: Arc<Node>,
    },
}

/// One step of a path.
#[derive(Debug)]
pub(crate) enum NodeStep {
    Name(String),
    Index(usize),
    /// Property or index, known only when evaluated.
    Dynamic(Node),
}

/// What LIKE compares with.
#[derive(Debug)]
pub(crate) enum PatternNode {
    Constant(LikePattern),
    Dynamic {
        pattern: Box<Node>,
        escape: Option<char>,
    },
}

/// A whole query: what its clones and executions share.
#[derive(Debug)]
pub(crate) struct Program {
    /// A query that stands as the first source of FROM. It runs over all documents by itself,
    /// and its rows are what `block` takes for documents: a DISTINCT or GROUP BY in it must see
    /// every document, so it can't be run for one at a time.
    pub(crate) inner: Option<Arc<Program>>,
    pub(crate) block: Block,
    pub(crate) access: Access,
    pub(crate) reads: Reads,
    /// The user-defined functions that are called, of an inner query as well; empty in an inner one.
    pub(crate) functions: Vec<FunctionName>,
}

/// A compiled SELECT.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) sources: Vec<SourceNode>,
    pub(crate) filter: Option<Node>,
    pub(crate) grouping: Option<Grouping>,
    pub(crate) distinct: bool,
    pub(crate) projection: ProjectionNode,
    /// Keys and whether they descend; only the outermost query has any.
    pub(crate) order: Vec<(Node, bool)>,
    /// Scores that need all rows; then `order` is empty.
    pub(crate) ranking: Option<Ranking>,
    pub(crate) skip: u64,
    pub(crate) take: Option<u64>,
}

/// ORDER BY RANK.
#[derive(Debug)]
pub(crate) struct Ranking {
    /// One, or those that are fused.
    pub(crate) scores: Vec<ScoreNode>,
    /// A weight for each score, if they are fused.
    pub(crate) weights: Option<Vec<f64>>,
}

/// One scoring function.
#[derive(Debug)]
pub(crate) enum ScoreNode {
    Vector {
        distance: Node,
        /// Or smaller.
        larger_is_nearer: bool,
    },
    FullText {
        text: Node,
        terms: Vec<Words>,
    },
}

/// A source of rows; evaluated in the frames of those before it.
#[derive(Debug)]
pub(crate) enum SourceNode {
    /// One row, if defined.
    Value(Node),
    /// A row per element, if an array.
    Elements(Node),
    /// The rows of a subquery.
    Query(Box<Block>),
}

/// GROUP BY, or aggregates without it (no keys, always one group).
#[derive(Debug)]
pub(crate) struct Grouping {
    pub(crate) keys: Vec<Node>,
    pub(crate) aggregates: Vec<AggregateNode>,
}

/// One aggregate call; its argument is evaluated per row.
#[derive(Debug)]
pub(crate) struct AggregateNode {
    pub(crate) kind: AggregateKind,
    pub(crate) argument: Node,
}

/// What a row becomes.
#[derive(Debug)]
pub(crate) enum ProjectionNode {
    /// Undefined gives no row.
    Value(Node),
    /// Undefined members vanish; always a row.
    Object(Vec<(String, Node)>),
}
