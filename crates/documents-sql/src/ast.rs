//! The syntax tree, as written: names unresolved, operators in the order of the text.
//!
//! Invariant: chains of one precedence level are lists, not left-deep trees, so the depth of a
//! tree is bounded by its brackets and not by its length; everything that walks it may recurse.
//! Equality ignores positions, so that printing and parsing again can be compared.

use serde_json::Value;

/// Where something stands in the query text, in bytes. Any two spans are equal, so that trees
/// compare by what they say.
#[derive(Debug, Clone, Copy, Default, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
}

impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A SELECT, the whole text or a subquery.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// SELECT DISTINCT.
    pub distinct: bool,
    /// TOP.
    pub top: Option<Count>,
    /// What each row becomes.
    pub projection: Projection,
    /// FROM and the JOINs behind it; empty without FROM.
    pub from: Vec<FromItem>,
    /// WHERE.
    pub filter: Option<Expr>,
    /// GROUP BY.
    pub group_by: Vec<Expr>,
    /// ORDER BY.
    pub order_by: Vec<OrderTerm>,
    /// ORDER BY RANK.
    pub rank_by: Vec<OrderTerm>,
    /// OFFSET and LIMIT.
    pub offset_limit: Option<(Count, Count)>,
    /// The whole query.
    pub span: Span,
}

impl Query {
    /// Whether it is a SELECT VALUE, whose rows are values of any kind.
    pub fn selects_value(&self) -> bool {
        matches!(self.projection, Projection::Value(_))
    }
}

/// The number behind TOP, OFFSET or LIMIT.
#[derive(Debug, Clone, PartialEq)]
pub struct Count {
    /// A number, or a parameter's name without `@`.
    pub kind: CountKind,
    /// Its place.
    pub span: Span,
}

/// See [`Count`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CountKind {
    /// Written out.
    Number(u64),
    /// `@name`.
    Parameter(String),
}

/// The SELECT list.
#[derive(Debug, Clone, PartialEq)]
pub enum Projection {
    /// `*`, and where it stands.
    Star(Span),
    /// `VALUE e`.
    Value(Box<Expr>),
    /// `e AS name, ...`.
    Items(Vec<Item>),
}

/// One column of a SELECT list.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The column's value.
    pub expr: Expr,
    /// Its name, if written.
    pub alias: Option<String>,
}

/// One source of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct FromItem {
    /// The name rows are bound to, if written.
    pub alias: Option<String>,
    /// `alias IN source`: one row per element.
    pub iterate: bool,
    /// Where rows come from.
    pub source: Source,
    /// Its place.
    pub span: Span,
}

/// See [`FromItem`].
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The container, an alias, or a path in one.
    Path {
        /// First word.
        name: String,
        /// `.name`, `["name"]`, `[0]`.
        steps: Vec<Step>,
    },
    /// `(SELECT ...)`.
    Query(Box<Query>),
    /// A function's result.
    Call(Box<Expr>),
}

/// One term of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderTerm {
    /// The key.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
}

/// An expression and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place.
    pub span: Span,
}

/// See [`Expr`].
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// `undefined`.
    Undefined,
    /// null, true, false, a number, a string.
    Literal(Value),
    /// `@name`, kept without `@`.
    Parameter(String),
    /// An alias.
    Name(String),
    /// `base.name[e]`.
    Path {
        /// What the steps start from.
        base: Box<Expr>,
        /// At least one.
        steps: Vec<Step>,
    },
    /// A prefix operator.
    Unary {
        /// Which.
        op: UnaryOp,
        /// On what.
        operand: Box<Expr>,
    },
    /// `first op e op e ...`, all operators of one level, applied from the left.
    Chain {
        /// Leftmost operand.
        first: Box<Expr>,
        /// At least one.
        rest: Vec<(BinaryOp, Expr)>,
    },
    /// `a ?? b ?? c`.
    Coalesce(Vec<Expr>),
    /// `a ? b : c`.
    Conditional {
        /// a.
        test: Box<Expr>,
        /// b.
        then: Box<Expr>,
        /// c.
        otherwise: Box<Expr>,
    },
    /// `value [NOT] IN (list)`.
    In {
        /// Sought.
        value: Box<Expr>,
        /// At least one.
        list: Vec<Expr>,
        /// NOT IN.
        negated: bool,
    },
    /// `value [NOT] BETWEEN low AND high`.
    Between {
        /// Tested.
        value: Box<Expr>,
        /// Lower bound, inclusive.
        low: Box<Expr>,
        /// Upper bound, inclusive.
        high: Box<Expr>,
        /// NOT BETWEEN.
        negated: bool,
    },
    /// `value [NOT] LIKE pattern [ESCAPE escape]`.
    Like {
        /// Tested.
        value: Box<Expr>,
        /// Pattern.
        pattern: Box<Expr>,
        /// Escape character.
        escape: Option<Box<Expr>>,
        /// NOT LIKE.
        negated: bool,
    },
    /// `name(args)` or `udf.name(args)`.
    Call {
        /// Behind `udf.`.
        udf: bool,
        /// As written.
        name: String,
        /// In order.
        args: Vec<Expr>,
    },
    /// `[e, ...]`.
    Array(Vec<Expr>),
    /// `{name: e, ...}`.
    Object(Vec<(String, Expr)>),
    /// `(SELECT ...)`, `EXISTS(SELECT ...)`, ...
    Subquery(SubqueryKind, Box<Query>),
}

/// A step of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// `.name`.
    Name(String),
    /// `[e]`.
    Index(Expr),
}

/// What a subquery's rows become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubqueryKind {
    /// The one row.
    Scalar,
    /// Whether there is any.
    Exists,
    /// All, as an array.
    Array,
    /// Whether no row fails the filter.
    All,
    /// The first.
    First,
    /// The last.
    Last,
}

/// Prefix operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnaryOp {
    /// NOT.
    Not,
    /// `+`.
    Plus,
    /// `-`.
    Minus,
    /// `~`.
    BitNot,
}

/// Operators between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the operators")]
pub enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    BitOr,
    BitXor,
    BitAnd,
    ShiftLeft,
    ShiftRight,
    ShiftRightZero,
    Concat,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// Binding strength, loosest first. The order is the contract (documents query language, operator
/// precedence): parser and printer both go by it.
pub(crate) mod level {
    pub(crate) const CONDITIONAL: u8 = 0;
    pub(crate) const COALESCE: u8 = 1;
    pub(crate) const OR: u8 = 2;
    pub(crate) const AND: u8 = 3;
    pub(crate) const NOT: u8 = 4;
    pub(crate) const TEST: u8 = 5; // IN, BETWEEN, LIKE
    pub(crate) const COMPARE: u8 = 6;
    pub(crate) const BIT_OR: u8 = 7;
    pub(crate) const BIT_XOR: u8 = 8;
    pub(crate) const BIT_AND: u8 = 9;
    pub(crate) const SHIFT: u8 = 10;
    pub(crate) const CONCAT: u8 = 11;
    pub(crate) const ADD: u8 = 12;
    pub(crate) const MULTIPLY: u8 = 13;
    pub(crate) const UNARY: u8 = 14;
    pub(crate) const PRIMARY: u8 = 15;
}

impl BinaryOp {
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Or => level::OR,
            Self::And => level::AND,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual => level::COMPARE,
            Self::BitOr => level::BIT_OR,
            Self::BitXor => level::BIT_XOR,
            Self::BitAnd => level::BIT_AND,
            Self::ShiftLeft | Self::ShiftRight | Self::ShiftRightZero => level::SHIFT,
            Self::Concat => level::CONCAT,
            Self::Add | Self::Subtract => level::ADD,
            Self::Multiply | Self::Divide | Self::Modulo => level::MULTIPLY,
        }
    }

    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::Or => "OR",
            Self::And => "AND",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::BitOr => "|",
            Self::BitXor => "^",
            Self::BitAnd => "&",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::ShiftRightZero => ">>>",
            Self::Concat => "||",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}
