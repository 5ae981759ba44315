//! What names mean at a place in a query: a stack that mirrors the evaluator's frames.

use crate::ast::Expr;
use crate::program::AggregateNode;

/// One frame.
pub(super) enum Entry {
    /// A source's rows, under a name or none.
    Alias(Option<String>),
    /// The whole document, under a name or none.
    Document(Option<String>),
    /// Rows of this query grouped; their own frames are set aside in it.
    Group(Group),
}

/// Where the rows of a query have become groups.
pub(super) struct Group {
    /// The frames of the rows, for the arguments of aggregates.
    pub(super) rows: Vec<Entry>,
    /// GROUP BY as written: an equal expression is a key.
    pub(super) keys: Vec<Expr>,
    /// Aggregates met so far.
    pub(super) aggregates: Vec<AggregateNode>,
}

impl Group {
    pub(super) fn new(rows: Vec<Entry>, keys: Vec<Expr>) -> Self {
        Self {
            rows,
            keys,
            aggregates: Vec::new(),
        }
    }

    /// Whether a name means rows that no longer exist one by one.
    fn hides(&self, name: &str) -> bool {
        self.rows.iter().any(|entry| entry.binds(name))
    }
}

impl Entry {
    pub(super) fn binds(&self, name: &str) -> bool {
        matches!(self, Self::Alias(Some(alias)) | Self::Document(Some(alias)) if alias == name)
    }
}

/// What a name is.
pub(super) enum Resolved {
    /// A source that many frames out.
    Binding(usize),
    /// A source whose rows are grouped.
    Grouped,
    Unknown,
}

/// Looks a name up, innermost first.
pub(super) fn resolve(scope: &[Entry], name: &str) -> Resolved {
    for (level, entry) in scope.iter().rev().enumerate() {
        match entry {
            Entry::Group(group) if group.hides(name) => return Resolved::Grouped,
            entry if entry.binds(name) => return Resolved::Binding(level),
            _ => {}
        }
    }
    Resolved::Unknown
}

/// The frame that many levels out.
pub(super) fn entry_at(scope: &[Entry], level: usize) -> Option<&Entry> {
    scope.iter().rev().nth(level)
}
