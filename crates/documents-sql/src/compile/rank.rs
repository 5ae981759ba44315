//! Compiles what ranks rows: VECTORDISTANCE in ORDER BY, and ORDER BY RANK.

use serde_json::Value;

use super::scope::{Entry, entry_at};
use super::{Compiler, Compiling, error_at};
use crate::ast::{Expr, ExprKind, OrderTerm, Query, Source, Span};
use crate::error::code;
use crate::functions::full_text::Words;
use crate::functions::vector::{self, VectorMetric};
use crate::limits::{FULL_TEXT_TERM_WORDS_MAX, FULL_TEXT_TERMS_MAX, RANKINGS_FUSED_MAX};
use crate::program::{Node, NodeStep, Ranking, ScoreNode};

/// What ORDER BY RANK comes to.
pub(super) enum Ranked {
    /// A key like any other, descending.
    Key(Node),
    /// Scores that need all rows.
    Scores(Ranking),
}

impl Compiler<'_> {
    /// The ranking of a query that has one.
    pub(super) fn ranked(&mut self, query: &Query, grouped: bool) -> Compiling<Option<Ranked>> {
        let Some(term) = query.rank_by.first() else {
            return Ok(None);
        };
        refuse_sources(query, term)?;
        if query.rank_by.len() > 1 || grouped {
            let message = if grouped {
                "ORDER BY RANK can't be used together with GROUP BY or aggregates."
            } else {
                "ORDER BY RANK takes one scoring function; fuse several with RRF."
            };
            return Err(error_at(term.expr.span, code::RANK_FUNCTION, message));
        }
        if let Some(args) = called(&term.expr, vector::NAME) {
            return self
                .nearest_first(args, term.expr.span)
                .map(|key| Some(Ranked::Key(key)));
        }
        let ranking = match called(&term.expr, "RRF") {
            Some(args) => self.fused(args, term.expr.span)?,
            None => Ranking {
                scores: vec![self.score(&term.expr)?],
                weights: None,
            },
        };
        Ok(Some(Ranked::Scores(ranking)))
    }

    /// A key that is greatest for the nearest vector, and undefined where there is none, if the
    /// term is a call of VECTORDISTANCE: the service lets no direction be written.
    pub(super) fn vector_key(&mut self, term: &OrderTerm) -> Compiling<Option<Node>> {
        match called(&term.expr, vector::NAME) {
            None => Ok(None),
            Some(args) => self.nearest_first(args, term.expr.span).map(Some),
        }
    }

    fn nearest_first(&mut self, args: &[Expr], span: Span) -> Compiling<Node> {
        let (distance, metric) = self.vector_distance(args, span)?;
        Ok(match metric {
            VectorMetric::Euclidean => Node::Minus(Box::new(distance)),
            VectorMetric::Cosine | VectorMetric::DotProduct => distance,
        })
    }

    /// A call of VECTORDISTANCE with the metric that its options, else the container, give.
    pub(super) fn vector_distance(&mut self, args: &[Expr], span: Span) -> Compiling<(Node, VectorMetric)> {
        super::expression::check_count(vector::NAME, args.len(), 2, 4, span)?;
        let nodes = self.all(args)?;
        let named = match nodes.get(3) {
            Some(Node::Constant(options)) => options.get("distanceFunction"),
            _ => None,
        };
        let metric = match named {
            Some(name) => name.as_str().and_then(VectorMetric::named).ok_or_else(|| {
                let message = "One of the input values is invalid: distanceFunction must be cosine, dotproduct or euclidean.";
                error_at(span, code::VECTOR_OPTIONS, message)
            })?,
            None => nodes
                .iter()
                .take(2)
                .find_map(|node| self.metric_of(node))
                .unwrap_or_default(),
        };
        let call = Node::Call {
            function: metric.function(),
            args: nodes,
        };
        Ok((call, metric))
    }

    fn metric_of(&self, node: &Node) -> Option<VectorMetric> {
        let Node::Path { base, steps } = node else {
            return None;
        };
        let Node::Binding(level) = base.as_ref() else {
            return None;
        };
        if !matches!(entry_at(&self.scope, *level), Some(Entry::Document(_))) {
            return None;
        }
        let named = |path: &[String]| {
            path.len() == steps.len()
                && path
                    .iter()
                    .zip(steps)
                    .all(|(name, step)| matches!(step, NodeStep::Name(found) if found == name))
        };
        let vectors = &self.schema.vectors;
        vectors
            .iter()
            .find(|(path, _)| named(path))
            .map(|(_, metric)| *metric)
    }

    fn fused(&mut self, args: &[Expr], span: Span) -> Compiling<Ranking> {
        let (functions, weights) = match args.split_last() {
            Some((last, functions)) if !matches!(last.kind, ExprKind::Call { .. }) => {
                (functions, Some(self.weights(last, functions.len())?))
            }
            _ => (args, None),
        };
        if functions.len() < 2 || functions.len() > RANKINGS_FUSED_MAX {
            let message = format!("RRF takes 2 to {RANKINGS_FUSED_MAX} scoring functions.");
            return Err(error_at(span, code::ARGUMENT_COUNT, message));
        }
        let mut scores = Vec::with_capacity(functions.len());
        for function in functions {
            scores.push(self.score(function)?);
        }
        let weights = weights.unwrap_or_else(|| vec![1.0; scores.len()]);
        Ok(Ranking {
            scores,
            weights: Some(weights),
        })
    }

    fn weights(&mut self, expr: &Expr, wanted: usize) -> Compiling<Vec<f64>> {
        let weights = match self.expression(expr)? {
            Node::Constant(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_f64().filter(|weight| *weight >= 0.0))
                .collect::<Option<Vec<f64>>>(),
            _ => None,
        };
        weights.filter(|weights| weights.len() == wanted).ok_or_else(|| {
            let message = "RRF's last argument must be a scoring function, or an array with a weight, 0 or more, for each of them.";
            error_at(expr.span, code::RANK_FUNCTION, message)
        })
    }

    fn score(&mut self, expr: &Expr) -> Compiling<ScoreNode> {
        if let Some(args) = called(expr, vector::NAME) {
            let (distance, metric) = self.vector_distance(args, expr.span)?;
            return Ok(ScoreNode::Vector {
                distance,
                larger_is_nearer: metric != VectorMetric::Euclidean,
            });
        }
        let Some(args) = called(expr, "FULLTEXTSCORE") else {
            let message = "ORDER BY RANK takes only VectorDistance, FullTextScore and RRF.";
            return Err(error_at(expr.span, code::RANK_FUNCTION, message));
        };
        super::expression::check_count("FullTextScore", args.len(), 2, 1 + FULL_TEXT_TERMS_MAX, expr.span)?;
        let mut nodes = self.all(args)?.into_iter();
        let text = nodes.next().unwrap_or(Node::Undefined);
        let mut terms = Vec::new();
        for (node, arg) in nodes.zip(args.iter().skip(1)) {
            let texts = match &node {
                Node::Constant(Value::String(text)) => vec![Some(text.as_str())],
                Node::Constant(Value::Array(items)) => items.iter().map(Value::as_str).collect(),
                _ => vec![None],
            };
            for text in texts {
                let text = text.ok_or_else(|| {
                    let message = "The terms of FullTextScore must be strings that are given with the query.";
                    error_at(arg.span, code::RANK_FUNCTION, message)
                })?;
                let term = Words::of(text);
                if !term.is_short() {
                    let message = format!(
                        "A term of FullTextScore must not have more than {FULL_TEXT_TERM_WORDS_MAX} words."
                    );
                    return Err(error_at(arg.span, code::RANK_FUNCTION, message));
                }
                terms.push(term);
            }
        }
        if terms.len() > FULL_TEXT_TERMS_MAX {
            let message = format!("FullTextScore takes at most {FULL_TEXT_TERMS_MAX} terms.");
            return Err(error_at(expr.span, code::ARGUMENT_COUNT, message));
        }
        Ok(ScoreNode::FullText { text, terms })
    }
}

/// The arguments, if the expression is a call of that built-in function.
fn called<'e>(expr: &'e Expr, function: &str) -> Option<&'e [Expr]> {
    match &expr.kind {
        ExprKind::Call {
            udf: false,
            name,
            args,
        } if name.eq_ignore_ascii_case(function) => Some(args),
        _ => None,
    }
}

/// Ranks are of documents, so nothing may make several rows of one.
fn refuse_sources(query: &Query, term: &OrderTerm) -> Compiling<()> {
    let refused = |code, what: &str| {
        let message = format!("ORDER BY RANK can't be used together with {what}.");
        Err(error_at(term.expr.span, code, message))
    };
    if query.from.len() > 1 {
        return refused(code::RANK_JOIN, "JOIN");
    }
    match query.from.first() {
        Some(source) if source.iterate => refused(code::RANK_IN, "FROM ... IN"),
        Some(source) if matches!(source.source, Source::Query(_)) => {
            refused(code::RANK_SUBQUERY, "a subquery in FROM")
        }
        _ => Ok(()),
    }
}
