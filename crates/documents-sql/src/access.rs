//! What an index can do for a query: conditions that every matching document meets, the order
//! it wants, and whether reading may stop early.
//!
//! Invariant: every [`Predicate`] is necessary, none is sufficient. The executor always checks
//! the whole WHERE again, so an index may use any subset of them and may return too much.

use serde_json::Value;

/// A place in a document, from its root.
pub type Path = Vec<PathStep>;

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathStep {
    /// A property.
    Name(String),
    /// Any element of an array (also where the query names one by number).
    Element,
}

/// What a comparison with a constant asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `<`, within the constant's type.
    Less,
    /// `<=`, within the constant's type.
    LessOrEqual,
    /// `>`, within the constant's type.
    Greater,
    /// `>=`, within the constant's type.
    GreaterOrEqual,
}

/// A necessary condition. Values are null, booleans, numbers and strings, never arrays or
/// objects. With [`PathStep::Element`] in the path, some element must meet it.
#[derive(Debug, Clone, PartialEq)]
pub enum Predicate {
    /// The value at `path` compares so with `value`; ranges never leave the value's own type.
    Compare {
        /// Place.
        path: Path,
        /// Comparison, path on the left.
        op: CompareOp,
        /// Constant.
        value: Value,
    },
    /// The value at `path` is one of these.
    In {
        /// Place.
        path: Path,
        /// Constants, possibly repeated or none.
        values: Vec<Value>,
    },
    /// The value at `path` is a string that begins so.
    StartsWith {
        /// Place.
        path: Path,
        /// Not empty.
        prefix: String,
    },
    /// There is a value at `path`.
    Defined {
        /// Place.
        path: Path,
    },
    /// The value at `path` is an array with this element.
    ArrayContains {
        /// Place of the array.
        path: Path,
        /// Constant.
        value: Value,
    },
    /// One of the branches holds, each a conjunction of at least one predicate.
    Or(Vec<Vec<Predicate>>),
}

/// What a term of ORDER BY is, for who decides which orders to serve.
#[derive(Debug, Clone, PartialEq)]
pub enum OrderKey {
    /// A place in the document.
    Path(Path),
    /// A computed property, or something in it.
    Computed(String),
    /// The nearness of a vector.
    Nearness,
    /// Any other expression.
    Expression,
}

/// How documents may be fed to an execution; see the fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Access {
    /// Conditions of which every one holds for every document that yields a row.
    pub conjuncts: Vec<Predicate>,
    /// Places that have a value in every document that yields a row, as far as WHERE says so by
    /// comparing and asking; not those of a query in FROM.
    pub defined: Vec<Path>,
    /// The paths and directions (true: descending) of ORDER BY, if all its terms are plain
    /// property paths from the root. Documents fed in this order need `OrderMode::AlreadyOrdered`
    /// and no sort.
    pub order_by: Option<Vec<(Path, bool)>>,
    /// Each term of ORDER BY and its direction (true: descending), in order; none of a query with
    /// groups or a query in FROM, whose rows are no documents.
    pub order_terms: Vec<(OrderKey, bool)>,
    /// Rows come out as documents go in: no sort, aggregate, group or distinct.
    pub streaming: bool,
    /// How many rows can be wanted (TOP, or OFFSET plus LIMIT) if `streaming`, so that the
    /// caller can stop early; `Flow::Done` says the same.
    pub row_limit: Option<u64>,
    /// Each document yields at most one row: no JOIN and no FROM IN.
    pub single_row_per_document: bool,
    /// What the query yields depends on how many documents there are, and on nothing else:
    /// `SELECT VALUE COUNT(1) FROM c`.
    pub counts_only: bool,
    /// The query has no FROM: it yields its one row without any document.
    pub without_documents: bool,
}
