//! Compiles expressions and folds what is constant.

use serde_json::Value;

use std::sync::Arc;

use super::scope::{Entry, Resolved, entry_at, resolve};
use super::{Compiler, Compiling, error_at};
use crate::aggregate::AggregateKind;
use crate::ast::{BinaryOp, Expr, ExprKind, Span, Step, UnaryOp};
use crate::compiled::FunctionName;
use crate::error::code;
use crate::eval::{Env, eval};
use crate::functions::{self, FunctionSpec, like::LikePattern, vector};
use crate::limits::{CONSTANT_BYTES_MAX, FUNCTION_ARGUMENTS_MAX, FUNCTION_MENTIONS_MAX, IN_LIST_ITEMS_MAX};
use crate::program::{AggregateNode, Node, NodeStep, PatternNode};
use crate::value::{compare_values, value_bytes};

impl Compiler<'_> {
    pub(super) fn expression(&mut self, expr: &Expr) -> Compiling<Node> {
        if let Some(Entry::Group(group)) = self.scope.last()
            && let Some(index) = group.keys.iter().position(|key| key == expr)
        {
            return Ok(Node::GroupKey { level: 0, index });
        }
        self.unfolded(expr).map(|node| self.fold(node))
    }

    /// Each kind in a function of its own: this frame is on the stack once per nested level.
    fn unfolded(&mut self, expr: &Expr) -> Compiling<Node> {
        match &expr.kind {
            ExprKind::Undefined => Ok(Node::Undefined),
            ExprKind::Literal(value) => Ok(Node::Constant(value.clone())),
            ExprKind::Parameter(name) => self.mention(name, expr.span),
            ExprKind::Name(name) => self.name(name, expr.span),
            ExprKind::Path { base, steps } => self.grouped_path(base, steps),
            ExprKind::Unary { op, operand } => self.unary(*op, operand),
            ExprKind::Chain { first, rest } => self.chain(first, rest),
            ExprKind::Coalesce(operands) => self.all(operands).map(Node::Coalesce),
            ExprKind::Conditional {
                test,
                then,
                otherwise,
            } => self.conditional(test, then, otherwise),
            ExprKind::In { value, list, negated } => self.membership(value, list, *negated, expr.span),
            ExprKind::Between {
                value,
                low,
                high,
                negated,
            } => self.range(value, low, high, *negated),
            ExprKind::Like {
                value,
                pattern,
                escape,
                negated,
            } => self.like(value, pattern, escape.as_deref(), *negated),
            ExprKind::Call { udf, name, args } => self.call(*udf, name, args, expr.span),
            ExprKind::Array(items) => self.all(items).map(Node::Array),
            ExprKind::Object(members) => self.object(members),
            ExprKind::Subquery(kind, query) => self
                .query(query, false)
                .map(|block| Node::Subquery(*kind, Box::new(block))),
        }
    }

    /// A parameter's value; each mention has its own.
    fn mention(&mut self, name: &str, span: Span) -> Compiling<Node> {
        let value = self.parameter(name, span)?;
        let bytes = value_bytes(value);
        if bytes > self.constant_bytes_left {
            let message = format!(
                "The values of the parameters, counted at each mention, must not have more than {CONSTANT_BYTES_MAX} bytes; '@{name}' is one too many."
            );
            return Err(error_at(span, code::CONSTANT_SIZE, message));
        }
        let constant = Node::Constant(value.clone());
        self.constant_bytes_left -= bytes;
        Ok(constant)
    }

    fn boxed(&mut self, expr: &Expr) -> Compiling<Box<Node>> {
        self.expression(expr).map(Box::new)
    }

    fn unary(&mut self, op: UnaryOp, operand: &Expr) -> Compiling<Node> {
        let operand = self.boxed(operand)?;
        Ok(match op {
            UnaryOp::Not => Node::Not(operand),
            UnaryOp::Plus => Node::Plus(operand),
            UnaryOp::Minus => Node::Minus(operand),
            UnaryOp::BitNot => Node::BitNot(operand),
        })
    }

    fn conditional(&mut self, test: &Expr, then: &Expr, otherwise: &Expr) -> Compiling<Node> {
        let (test, then, otherwise) = (self.boxed(test)?, self.boxed(then)?, self.boxed(otherwise)?);
        Ok(Node::Conditional {
            test,
            then,
            otherwise,
        })
    }

    fn range(&mut self, value: &Expr, low: &Expr, high: &Expr, negated: bool) -> Compiling<Node> {
        let (value, low, high) = (self.boxed(value)?, self.boxed(low)?, self.boxed(high)?);
        Ok(Node::Between {
            value,
            low,
            high,
            negated,
        })
    }

    fn like(
        &mut self,
        value: &Expr,
        pattern: &Expr,
        escape: Option<&Expr>,
        negated: bool,
    ) -> Compiling<Node> {
        let value = self.boxed(value)?;
        let pattern = self.pattern(pattern, escape)?;
        Ok(Node::Like {
            value,
            pattern,
            negated,
        })
    }

    fn object(&mut self, members: &[(String, Expr)]) -> Compiling<Node> {
        let mut compiled = Vec::with_capacity(members.len());
        for (name, member) in members {
            compiled.push((name.clone(), self.expression(member)?));
        }
        Ok(Node::Object(compiled))
    }

    pub(super) fn all(&mut self, exprs: &[Expr]) -> Compiling<Vec<Node>> {
        let mut nodes = Vec::with_capacity(exprs.len());
        for expr in exprs {
            nodes.push(self.expression(expr)?);
        }
        Ok(nodes)
    }

    pub(super) fn name(&self, name: &str, span: Span) -> Compiling<Node> {
        match resolve(&self.scope, name) {
            Resolved::Binding(level) => Ok(Node::Binding(level)),
            Resolved::Grouped => {
                let message = format!(
                    "Property reference '{name}' is invalid in the select list because it is neither in an aggregate function nor in the GROUP BY clause."
                );
                Err(error_at(span, code::COLUMN_NOT_GROUPED, message))
            }
            Resolved::Unknown => Err(error_at(
                span,
                code::NAME_UNKNOWN,
                format!("Identifier '{name}' could not be resolved."),
            )),
        }
    }

    /// A path; over groups its longest beginning that is a key stands for that key.
    fn grouped_path(&mut self, base: &Expr, steps: &[Step]) -> Compiling<Node> {
        let key = match self.scope.last() {
            Some(Entry::Group(group)) => (0..steps.len()).rev().find_map(|length| {
                let (head, tail) = steps.split_at(length);
                let found = group.keys.iter().position(|key| match &key.kind {
                    ExprKind::Path { base: b, steps: s } => {
                        length > 0 && **b == *base && s.as_slice() == head
                    }
                    _ => length == 0 && key == base,
                });
                found.map(|index| (index, tail))
            }),
            _ => None,
        };
        match key {
            Some((index, tail)) => self.path(Node::GroupKey { level: 0, index }, tail),
            None => {
                let base = self.expression(base)?;
                self.path(base, steps)
            }
        }
    }

    pub(super) fn path(&mut self, base: Node, steps: &[Step]) -> Compiling<Node> {
        let (base, steps) = match self.computed(&base, steps)? {
            Some(computed) => (computed, steps.get(1..).unwrap_or_default()),
            None => (base, steps),
        };
        if steps.is_empty() {
            return Ok(base);
        }
        let mut compiled = Vec::with_capacity(steps.len());
        for step in steps {
            compiled.push(match step {
                Step::Name(name) => NodeStep::Name(name.clone()),
                Step::Index(index) => index_step(self.expression(index)?),
            });
        }
        Ok(Node::Path {
            base: Box::new(base),
            steps: compiled,
        })
    }

    /// The computed property that the first step names, if there is one.
    fn computed(&mut self, base: &Node, steps: &[Step]) -> Compiling<Option<Node>> {
        let Node::Binding(level) = base else {
            return Ok(None);
        };
        let name = match steps.first() {
            Some(Step::Name(name)) => name,
            Some(Step::Index(Expr {
                kind: ExprKind::Literal(Value::String(name)),
                ..
            })) => name,
            _ => return Ok(None),
        };
        let known = &self.schema.computed;
        let Some(property) = known.iter().find(|property| property.name == *name) else {
            return Ok(None);
        };
        if !matches!(entry_at(&self.scope, *level), Some(Entry::Document(_))) {
            return Ok(None);
        }
        let expression = match self.computed.get(name) {
            Some(compiled) => Arc::clone(compiled),
            None => {
                let (expression, _) = super::computed_expression(&property.query)?;
                let compiled = Arc::new(expression);
                self.computed.insert(name.clone(), Arc::clone(&compiled));
                compiled
            }
        };
        Ok(Some(Node::Computed {
            name: name.clone(),
            level: *level,
            expression,
        }))
    }

    fn chain(&mut self, first: &Expr, rest: &[(BinaryOp, Expr)]) -> Compiling<Node> {
        let first = self.expression(first)?;
        let mut operands = rest
            .iter()
            .map(|(op, operand)| Ok((*op, self.expression(operand)?)))
            .collect::<Compiling<Vec<_>>>()?;
        let level_op = operands.first().map(|(op, _)| *op);
        Ok(match level_op {
            Some(op @ (BinaryOp::And | BinaryOp::Or)) => {
                let mut terms = Vec::with_capacity(operands.len() + 1);
                terms.push(first);
                terms.extend(operands.drain(..).map(|(_, operand)| operand));
                if op == BinaryOp::And {
                    Node::And(terms)
                } else {
                    Node::Or(terms)
                }
            }
            _ => Node::Chain {
                first: Box::new(first),
                rest: operands,
            },
        })
    }

    fn membership(&mut self, value: &Expr, list: &[Expr], negated: bool, span: Span) -> Compiling<Node> {
        if list.len() > IN_LIST_ITEMS_MAX {
            let message = format!("An IN list must not have more than {IN_LIST_ITEMS_MAX} items.");
            return Err(error_at(span, code::IN_COUNT, message));
        }
        let value = Box::new(self.expression(value)?);
        let (mut constants, mut others) = (Vec::new(), Vec::new());
        for node in self.all(list)? {
            match node {
                Node::Constant(value) => constants.push(value),
                node => others.push(node),
            }
        }
        constants.sort_by(|a, b| compare_values(Some(a), Some(b)));
        Ok(Node::In {
            value,
            constants,
            others,
            negated,
        })
    }

    fn pattern(&mut self, pattern: &Expr, escape: Option<&Expr>) -> Compiling<PatternNode> {
        let escape = match escape {
            None => None,
            Some(expr) => match self.expression(expr)? {
                Node::Constant(Value::String(text)) if text.chars().count() == 1 => text.chars().next(),
                _ => {
                    let message = "ESCAPE must be followed by a string of one character.";
                    return Err(error_at(expr.span, code::LIKE_ESCAPE, message));
                }
            },
        };
        let node = self.expression(pattern)?;
        if let Node::Constant(Value::String(text)) = &node
            && let Some(pattern) = LikePattern::new(text, escape)
        {
            return Ok(PatternNode::Constant(pattern));
        }
        Ok(PatternNode::Dynamic {
            pattern: Box::new(node),
            escape,
        })
    }

    fn call(&mut self, udf: bool, name: &str, args: &[Expr], span: Span) -> Compiling<Node> {
        if udf {
            let index = self.user_defined(name, span)?;
            if args.len() > FUNCTION_ARGUMENTS_MAX {
                let message = format!(
                    "'udf.{name}' has {} arguments. The allowed limit is {FUNCTION_ARGUMENTS_MAX}.",
                    args.len()
                );
                return Err(error_at(span, code::ARGUMENT_COUNT, message));
            }
            return self.all(args).map(|args| Node::Function { index, args });
        }
        if let Some(kind) = AggregateKind::named(name) {
            return self.aggregate(kind, name, args, span);
        }
        if name.eq_ignore_ascii_case("IIF")
            && let [test, then, otherwise] = args
        {
            return self.conditional(test, then, otherwise);
        }
        if name.eq_ignore_ascii_case(vector::NAME) {
            return self.vector_distance(args, span).map(|(call, _)| call);
        }
        let function = function(name, args.len(), span)?;
        self.impure |= !function.pure;
        self.all(args).map(|args| Node::Call { function, args })
    }

    /// The place of a user-defined function among those that the query calls. What it gives may be
    /// another value each time, and no index holds it.
    fn user_defined(&mut self, name: &str, span: Span) -> Compiling<usize> {
        if !self.schema.functions {
            let message = format!("User-defined functions can't be called here: 'udf.{name}'.");
            return Err(error_at(span, code::NOT_SUPPORTED, message));
        }
        self.impure = true;
        self.function_mentions += 1;
        if self.function_mentions > FUNCTION_MENTIONS_MAX {
            let message = format!(
                "The SQL query exceeded the maximum number of user-defined functions. The allowed limit is {FUNCTION_MENTIONS_MAX}."
            );
            return Err(error_at(span, code::FUNCTION_COUNT, message));
        }
        let known = self.functions.iter().position(|known| known.name == name);
        Ok(known.unwrap_or_else(|| {
            self.functions.push(FunctionName {
                name: name.to_owned(),
                start: span.start,
                end: span.end,
            });
            self.functions.len() - 1
        }))
    }

    fn aggregate(&mut self, kind: AggregateKind, name: &str, args: &[Expr], span: Span) -> Compiling<Node> {
        check_count(name, args.len(), 1, 1, span)?;
        if self.in_aggregate {
            let message = "Cannot perform an aggregate function on an expression containing an aggregate.";
            return Err(error_at(span, code::AGGREGATE_NESTED, message));
        }
        let (Some(argument), Some(Entry::Group(_))) = (args.first(), self.scope.last()) else {
            let message = format!("The aggregate '{name}' is only allowed in SELECT and ORDER BY.");
            return Err(error_at(span, code::AGGREGATE_PLACE, message));
        };
        let Some(Entry::Group(mut group)) = self.scope.pop() else {
            return Ok(Node::Undefined); // seen above
        };
        // The argument sees rows, not groups.
        let outer = self.scope.len();
        self.scope.append(&mut group.rows);
        self.in_aggregate = true;
        let argument = self.expression(argument);
        self.in_aggregate = false;
        group.rows = self.scope.split_off(outer);
        let index = group.aggregates.len();
        let argument = argument.map(|argument| group.aggregates.push(AggregateNode { kind, argument }));
        self.scope.push(Entry::Group(group));
        argument.map(|()| Node::Aggregate { level: 0, index })
    }

    /// Evaluates what depends on nothing. What would exceed a limit stays, and fails when it runs;
    /// so does all that comes after constants took too much work.
    fn fold(&mut self, node: Node) -> Node {
        let is_folded = matches!(node, Node::Constant(_) | Node::Undefined);
        if is_folded || self.constants.check_work().is_err() || !is_constant(&node) {
            return node;
        }
        let nothing = Value::Null;
        let env = Env::root(&nothing);
        let folded = match eval(&node, &env, &self.constants) {
            Ok(Some(value)) => self.kept(value.into_owned()),
            Ok(None) => Some(Node::Undefined),
            Err(_) => None,
        };
        folded.unwrap_or(node)
    }

    /// A folded value, if there is room for it.
    fn kept(&mut self, value: Value) -> Option<Node> {
        self.constant_bytes_left = self.constant_bytes_left.checked_sub(value_bytes(&value))?;
        Some(Node::Constant(value))
    }
}

/// The function of a call, if there is one that takes so many arguments.
fn function(name: &str, count: usize, span: Span) -> Compiling<&'static FunctionSpec> {
    if let Some(function) = functions::named(name) {
        check_count(name, count, function.least, function.most, span)?;
        return Ok(function);
    }
    let upper = name.to_ascii_uppercase();
    if upper == "IIF" {
        check_count(name, count, 3, 3, span)?;
    }
    if upper == "FULLTEXTSCORE" || upper == "RRF" {
        let message = format!("The function '{name}' is only allowed in ORDER BY RANK.");
        return Err(error_at(span, code::SCORE_PLACE, message));
    }
    Err(error_at(
        span,
        code::FUNCTION_UNKNOWN,
        format!("'{name}' is not a recognized built-in function name."),
    ))
}

fn index_step(node: Node) -> NodeStep {
    match node {
        Node::Constant(Value::String(name)) => NodeStep::Name(name),
        node => constant_index(&node).map_or(NodeStep::Dynamic(node), NodeStep::Index),
    }
}

fn constant_index(node: &Node) -> Option<usize> {
    match node {
        Node::Constant(value) => {
            let index = crate::number::Num::of(value)?.to_i64()?;
            usize::try_from(index).ok()
        }
        _ => None,
    }
}

pub(super) fn check_count(name: &str, count: usize, least: usize, most: usize, span: Span) -> Compiling<()> {
    if (least..=most).contains(&count) {
        return Ok(());
    }
    let wanted = match (least, most) {
        _ if least == most => format!("{least}"),
        (_, usize::MAX) => format!("at least {least}"),
        _ => format!("{least} to {most}"),
    };
    let message = format!(
        "The {} function requires {wanted} argument(s), but got {count}.",
        name.to_ascii_uppercase()
    );
    Err(error_at(span, code::ARGUMENT_COUNT, message))
}

/// The name of a column that has none: the last step of its path.
pub(super) fn column_name(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Path { steps, .. } => match steps.last()? {
            Step::Name(name) => Some(name.clone()),
            Step::Index(Expr {
                kind: ExprKind::Literal(Value::String(name)),
                ..
            }) => Some(name.clone()),
            Step::Index(_) => None,
        },
        _ => None,
    }
}

/// Whether an aggregate of this query is called; a subquery's are its own.
pub(super) fn has_aggregate(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Undefined
        | ExprKind::Literal(_)
        | ExprKind::Parameter(_)
        | ExprKind::Name(_)
        | ExprKind::Subquery(..) => false,
        ExprKind::Path { base, steps } => {
            has_aggregate(base)
                || steps
                    .iter()
                    .any(|step| matches!(step, Step::Index(index) if has_aggregate(index)))
        }
        ExprKind::Unary { operand, .. } => has_aggregate(operand),
        ExprKind::Chain { first, rest } => {
            has_aggregate(first) || rest.iter().any(|(_, operand)| has_aggregate(operand))
        }
        ExprKind::Coalesce(exprs) | ExprKind::Array(exprs) => exprs.iter().any(has_aggregate),
        ExprKind::Conditional {
            test,
            then,
            otherwise,
        } => has_aggregate(test) || has_aggregate(then) || has_aggregate(otherwise),
        ExprKind::In { value, list, .. } => has_aggregate(value) || list.iter().any(has_aggregate),
        ExprKind::Between { value, low, high, .. } => {
            has_aggregate(value) || has_aggregate(low) || has_aggregate(high)
        }
        ExprKind::Like { value, pattern, .. } => has_aggregate(value) || has_aggregate(pattern),
        ExprKind::Call { udf, name, args } => {
            (!udf && AggregateKind::named(name).is_some()) || args.iter().any(has_aggregate)
        }
        ExprKind::Object(members) => members.iter().any(|(_, member)| has_aggregate(member)),
    }
}

/// Whether all operands are constants (they are folded already, so this looks one level deep).
fn is_constant(node: &Node) -> bool {
    let leaf = |node: &Node| matches!(node, Node::Constant(_) | Node::Undefined);
    match node {
        Node::Undefined | Node::Constant(_) => true,
        Node::Binding(_)
        | Node::Subquery(..)
        | Node::GroupKey { .. }
        | Node::Aggregate { .. }
        | Node::Function { .. }
        | Node::Computed { .. } => false,
        Node::Path { base, steps } => {
            leaf(base)
                && steps.iter().all(|step| match step {
                    NodeStep::Name(_) | NodeStep::Index(_) => true,
                    NodeStep::Dynamic(node) => leaf(node),
                })
        }
        Node::Not(operand) | Node::Plus(operand) | Node::Minus(operand) | Node::BitNot(operand) => {
            leaf(operand)
        }
        Node::And(nodes) | Node::Or(nodes) | Node::Coalesce(nodes) | Node::Array(nodes) => {
            nodes.iter().all(leaf)
        }
        Node::Chain { first, rest } => leaf(first) && rest.iter().all(|(_, node)| leaf(node)),
        Node::Conditional {
            test,
            then,
            otherwise,
        } => leaf(test) && leaf(then) && leaf(otherwise),
        Node::In { value, others, .. } => leaf(value) && others.iter().all(leaf),
        Node::Between { value, low, high, .. } => leaf(value) && leaf(low) && leaf(high),
        Node::Like { value, pattern, .. } => {
            leaf(value)
                && match pattern {
                    PatternNode::Constant(_) => true,
                    PatternNode::Dynamic { pattern, .. } => leaf(pattern),
                }
        }
        Node::Call { function, args } => function.pure && args.iter().all(leaf),
        Node::Object(members) => members.iter().all(|(_, member)| leaf(member)),
    }
}
