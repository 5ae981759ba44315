//! Which part of a document an evaluation looks at, so that a caller needs to read no more of its
//! text than that.
//!
//! Invariant: a document cut down to these properties gives the same rows as the whole one. What
//! isn't surely a look at one property of the document counts as a look at all of it.

use std::collections::BTreeSet;

use crate::program::{Block, Node, NodeStep, PatternNode, ProjectionNode, ScoreNode, SourceNode};

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// The properties at the document's top level that are looked at; `None` means all of it.
    pub properties: Option<Vec<String>>,
    /// Each row is the document that was pushed, unchanged (`SELECT *`). `properties` leaves that
    /// look away: who has the document's text can answer with it.
    pub rows_are_documents: bool,
}

/// What the outermost block of a query over documents reads.
pub(crate) fn reads(block: &Block) -> Reads {
    let mut reader = Reader {
        is_document: vec![true],
        properties: BTreeSet::new(),
        all: false,
    };
    let rows_are_documents = reader.block(block);
    // DISTINCT compares whole rows.
    if rows_are_documents && block.distinct {
        reader.all = true;
    }
    Reads {
        properties: (!reader.all).then(|| reader.properties.into_iter().collect()),
        rows_are_documents: rows_are_documents && !block.distinct,
    }
}

struct Reader {
    /// The frames as the evaluator has them, innermost last: whether each is the whole document.
    is_document: Vec<bool>,
    properties: BTreeSet<String>,
    all: bool,
}

impl Reader {
    /// Whether the frame so many levels out is the document. A level that isn't known is taken
    /// for it.
    fn is_document(&self, level: usize) -> bool {
        let found = self.is_document.iter().rev().nth(level);
        found.copied().unwrap_or(true)
    }

    /// Walks through a block; whether its rows are documents, which isn't counted as a look.
    fn block(&mut self, block: &Block) -> bool {
        let outer = self.is_document.len();
        for source in &block.sources {
            let is_document = match source {
                SourceNode::Value(Node::Binding(level)) => self.is_document(*level),
                SourceNode::Value(node) | SourceNode::Elements(node) => {
                    self.node(node);
                    false
                }
                SourceNode::Query(inner) => {
                    self.subquery(inner);
                    false
                }
            };
            self.is_document.push(is_document);
        }
        self.nodes(&block.filter);
        if let Some(grouping) = &block.grouping {
            self.nodes(&grouping.keys);
            for aggregate in &grouping.aggregates {
                self.node(&aggregate.argument);
            }
            // The rows' frames are gone; the groups' stands for them.
            self.is_document.truncate(outer);
            self.is_document.push(false);
        }
        let rows_are_documents = match &block.projection {
            ProjectionNode::Value(Node::Binding(level)) => self.is_document(*level),
            ProjectionNode::Value(node) => {
                self.node(node);
                false
            }
            ProjectionNode::Object(members) => {
                self.nodes(members.iter().map(|(_, member)| member));
                false
            }
        };
        self.nodes(block.order.iter().map(|(key, _)| key));
        for score in block.ranking.iter().flat_map(|ranking| &ranking.scores) {
            match score {
                ScoreNode::Vector { distance, .. } => self.node(distance),
                ScoreNode::FullText { text, .. } => self.node(text),
            }
        }
        self.is_document.truncate(outer);
        rows_are_documents
    }

    /// A block whose rows are used inside: if they are documents, those are looked at.
    fn subquery(&mut self, block: &Block) {
        self.all |= self.block(block);
    }

    fn nodes<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) {
        for node in nodes {
            self.node(node);
        }
    }

    // As deep as the parser lets expressions nest (limits::NESTING_DEPTH_MAX).
    fn node(&mut self, node: &Node) {
        match node {
            Node::Undefined | Node::Constant(_) | Node::GroupKey { .. } | Node::Aggregate { .. } => {}
            Node::Binding(level) => self.all |= self.is_document(*level),
            Node::Path { base, steps } => self.path(base, steps),
            Node::Not(operand) | Node::Plus(operand) | Node::Minus(operand) | Node::BitNot(operand) => {
                self.node(operand);
            }
            Node::And(nodes) | Node::Or(nodes) | Node::Coalesce(nodes) | Node::Array(nodes) => {
                self.nodes(nodes);
            }
            Node::Chain { first, rest } => {
                self.node(first);
                self.nodes(rest.iter().map(|(_, operand)| operand));
            }
            Node::Conditional {
                test,
                then,
                otherwise,
            } => self.nodes([test.as_ref(), then, otherwise]),
            Node::In { value, others, .. } => {
                self.node(value);
                self.nodes(others);
            }
            Node::Between { value, low, high, .. } => self.nodes([value.as_ref(), low, high]),
            Node::Like { value, pattern, .. } => {
                self.node(value);
                if let PatternNode::Dynamic { pattern, .. } = pattern {
                    self.node(pattern);
                }
            }
            Node::Call { args, .. } | Node::Function { args, .. } => self.nodes(args),
            Node::Object(members) => self.nodes(members.iter().map(|(_, member)| member)),
            Node::Subquery(_, block) => self.subquery(block),
            Node::Computed {
                level, expression, ..
            } => {
                let alone = vec![self.is_document(*level)];
                let frames = std::mem::replace(&mut self.is_document, alone);
                self.node(expression);
                self.is_document = frames;
            }
        }
    }

    fn path(&mut self, base: &Node, steps: &[NodeStep]) {
        match (base, steps.first()) {
            (Node::Binding(level), Some(NodeStep::Name(name))) if self.is_document(*level) => {
                self.properties.insert(name.clone());
            }
            _ => self.node(base),
        }
        for step in steps {
            if let NodeStep::Dynamic(node) = step {
                self.node(node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Compiled, parse};

    fn reads_of(sql: &str) -> Reads {
        let parameters = [("@p".to_owned(), json!(1))];
        Compiled::compile(&parse(sql).unwrap(), &parameters)
            .unwrap()
            .reads()
            .clone()
    }

    #[test]
    fn properties_of_the_document_and_no_more() {
        let table: [(&str, &[&str]); 12] = [
            ("SELECT c.a, c.b.d FROM c WHERE c.e[0] = @p", &["a", "b", "e"]),
            ("SELECT VALUE 1 FROM c", &[]),
            (
                "SELECT VALUE x FROM c JOIN x IN c.list WHERE x.y = c.z",
                &["list", "z"],
            ),
            ("SELECT VALUE x FROM x IN c.list", &["list"]),
            ("SELECT COUNT(1) AS n, c.g FROM c GROUP BY c.g", &["g"]),
            ("SELECT VALUE SUM(c.a) FROM c WHERE c.b > 1", &["a", "b"]),
            ("SELECT VALUE c.a FROM c ORDER BY c.b DESC", &["a", "b"]),
            ("SELECT VALUE {x: c.a, y: [c.b ?? c.d]} FROM c", &["a", "b", "d"]),
            (
                "SELECT VALUE 1 FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.list WHERE t = c.a)",
                &["a", "list"],
            ),
            ("SELECT VALUE c[c.a] FROM c.inner c", &["inner"]),
            (
                "SELECT VALUE d.a FROM c JOIN d IN (SELECT VALUE c.list)",
                &["list"],
            ),
            (
                "SELECT VALUE 1 FROM c WHERE c.a LIKE c.b AND c.d IN (1, c.e) AND c.f BETWEEN c.g AND 2",
                &["a", "b", "d", "e", "f", "g"],
            ),
        ];
        for (sql, wanted) in table {
            let found = reads_of(sql);
            let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(found.properties, Some(wanted), "{sql}");
            assert!(!found.rows_are_documents, "{sql}");
        }
    }

    #[test]
    fn rows_that_are_documents() {
        for sql in [
            "SELECT * FROM c WHERE c.a = 1",
            "SELECT VALUE c FROM c WHERE c.a = 1",
            "SELECT TOP 2 * FROM c WHERE c.a = 1",
        ] {
            let found = reads_of(sql);
            assert!(found.rows_are_documents, "{sql}");
            assert_eq!(found.properties, Some(vec!["a".to_owned()]), "{sql}");
        }
        let joined = reads_of("SELECT VALUE c FROM c JOIN t IN c.tags");
        assert!(joined.rows_are_documents);
        assert_eq!(joined.properties, Some(vec!["tags".to_owned()]));
        assert!(!reads_of("SELECT * FROM c.inner").rows_are_documents);
    }

    #[test]
    fn what_may_look_at_everything_does() {
        for sql in [
            "SELECT DISTINCT VALUE c FROM c",
            "SELECT c FROM c",
            "SELECT VALUE [c] FROM c",
            "SELECT VALUE c[@p] FROM c",
            "SELECT VALUE c[c.name] FROM c",
            "SELECT VALUE 1 FROM c WHERE IS_OBJECT(c)",
            "SELECT VALUE 1 FROM c WHERE EXISTS(SELECT VALUE c)",
            "SELECT VALUE COUNT(c) FROM c",
            "SELECT VALUE d FROM (SELECT VALUE c FROM c) d",
        ] {
            assert_eq!(reads_of(sql).properties, None, "{sql}");
        }
    }
}
