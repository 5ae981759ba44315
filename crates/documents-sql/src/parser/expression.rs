//! Expressions, by operator precedence.
//!
//! One function reads every level: an operand, then operators that bind at least as tightly as
//! asked for. A function per level would nest fifteen frames for each bracket.

use super::{Parsed, Parser, is_reserved};
use crate::ast::{BinaryOp, Expr, ExprKind, Step, SubqueryKind, UnaryOp, level};
use crate::lexer::TokenKind;
use serde_json::Value;

impl Parser {
    pub(super) fn expression(&mut self) -> Parsed<Box<Expr>> {
        self.expression_at(level::CONDITIONAL)
    }

    /// An expression of operators at `loosest` or tighter.
    fn expression_at(&mut self, loosest: u8) -> Parsed<Box<Expr>> {
        self.nested(1, |parser| parser.operators(loosest))
    }

    fn boxed(&self, start: usize, kind: ExprKind) -> Box<Expr> {
        Box::new(Expr {
            kind,
            span: self.span_from(start),
        })
    }

    fn operators(&mut self, loosest: u8) -> Parsed<Box<Expr>> {
        let start = self.start();
        // What the next operator must bind looser than, so that `a IN (1) = b` is refused.
        let mut ceiling = level::PRIMARY;
        let mut left = if loosest <= level::NOT && self.is_word("NOT") {
            ceiling = level::NOT;
            self.negation()?
        } else {
            self.unary()?
        };
        while let Some(found) = self.next_level() {
            if found < loosest || found >= ceiling {
                break;
            }
            ceiling = found;
            left = match found {
                level::CONDITIONAL => self.conditional(start, left)?,
                level::COALESCE => self.coalesce(start, *left)?,
                level::TEST => self.test(start, left)?,
                _ => self.chain(start, left, found)?,
            };
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed<Box<Expr>> {
        let start = self.start();
        self.advance();
        let operand = self.expression_at(level::NOT)?;
        Ok(self.boxed(
            start,
            ExprKind::Unary {
                op: UnaryOp::Not,
                operand,
            },
        ))
    }

    /// The level of the operator that comes next, if one does.
    fn next_level(&self) -> Option<u8> {
        match self.kind() {
            TokenKind::Symbol("?") => Some(level::CONDITIONAL),
            TokenKind::Symbol("??") => Some(level::COALESCE),
            TokenKind::Word(word) => {
                let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
                if is("IN") || is("BETWEEN") || is("LIKE") {
                    return Some(level::TEST);
                }
                if is("NOT") {
                    let tested = ["IN", "BETWEEN", "LIKE"]
                        .iter()
                        .any(|keyword| self.is_word_after(1, keyword));
                    return tested.then_some(level::TEST);
                }
                self.binary_op().map(BinaryOp::level)
            }
            _ => self.binary_op().map(BinaryOp::level),
        }
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.kind() {
            TokenKind::Word(word) if word.eq_ignore_ascii_case("OR") => BinaryOp::Or,
            TokenKind::Word(word) if word.eq_ignore_ascii_case("AND") => BinaryOp::And,
            TokenKind::Symbol(symbol) => match *symbol {
                "=" => BinaryOp::Equal,
                "!=" | "<>" => BinaryOp::NotEqual,
                "<" => BinaryOp::Less,
                "<=" => BinaryOp::LessOrEqual,
                ">" => BinaryOp::Greater,
                ">=" => BinaryOp::GreaterOrEqual,
                "|" => BinaryOp::BitOr,
                "^" => BinaryOp::BitXor,
                "&" => BinaryOp::BitAnd,
                "<<" => BinaryOp::ShiftLeft,
                ">>" => BinaryOp::ShiftRight,
                ">>>" => BinaryOp::ShiftRightZero,
                "||" => BinaryOp::Concat,
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Subtract,
                "*" => BinaryOp::Multiply,
                "/" => BinaryOp::Divide,
                "%" => BinaryOp::Modulo,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn conditional(&mut self, start: usize, test: Box<Expr>) -> Parsed<Box<Expr>> {
        self.expect_symbol("?")?;
        let then = self.expression()?;
        self.expect_symbol(":")?;
        let otherwise = self.expression()?;
        Ok(self.boxed(
            start,
            ExprKind::Conditional {
                test,
                then,
                otherwise,
            },
        ))
    }

    fn coalesce(&mut self, start: usize, first: Expr) -> Parsed<Box<Expr>> {
        let mut operands = vec![first];
        while self.eat_symbol("??") {
            operands.push(*self.expression_at(level::OR)?);
        }
        Ok(self.boxed(start, ExprKind::Coalesce(operands)))
    }

    fn chain(&mut self, start: usize, first: Box<Expr>, at: u8) -> Parsed<Box<Expr>> {
        let mut rest = Vec::new();
        while let Some(op) = self.binary_op().filter(|op| op.level() == at) {
            self.advance();
            rest.push((op, *self.expression_at(at + 1)?));
        }
        Ok(self.boxed(start, ExprKind::Chain { first, rest }))
    }

    fn test(&mut self, start: usize, value: Box<Expr>) -> Parsed<Box<Expr>> {
        let negated = self.eat_word("NOT");
        if self.eat_word("IN") {
            self.membership(start, value, negated)
        } else if self.eat_word("BETWEEN") {
            self.range(start, value, negated)
        } else {
            self.expect_word("LIKE")?;
            self.like(start, value, negated)
        }
    }

    fn membership(&mut self, start: usize, value: Box<Expr>, negated: bool) -> Parsed<Box<Expr>> {
        self.expect_symbol("(")?;
        let list = self.expressions(")")?;
        if list.is_empty() {
            return Err(self.unexpected());
        }
        Ok(self.boxed(start, ExprKind::In { value, list, negated }))
    }

    fn range(&mut self, start: usize, value: Box<Expr>, negated: bool) -> Parsed<Box<Expr>> {
        let low = self.expression_at(level::COMPARE)?;
        self.expect_word("AND")?;
        let high = self.expression_at(level::COMPARE)?;
        Ok(self.boxed(
            start,
            ExprKind::Between {
                value,
                low,
                high,
                negated,
            },
        ))
    }

    fn like(&mut self, start: usize, value: Box<Expr>, negated: bool) -> Parsed<Box<Expr>> {
        let pattern = self.expression_at(level::COMPARE)?;
        let escape = if self.eat_word("ESCAPE") {
            Some(self.expression_at(level::COMPARE)?)
        } else {
            None
        };
        Ok(self.boxed(
            start,
            ExprKind::Like {
                value,
                pattern,
                escape,
                negated,
            },
        ))
    }

    /// Expressions up to and with `close`, possibly none.
    fn expressions(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut list = Vec::new();
        if self.eat_symbol(close) {
            return Ok(list);
        }
        loop {
            list.push(*self.expression()?);
            if self.eat_symbol(close) {
                return Ok(list);
            }
            self.expect_symbol(",")?;
        }
    }

    fn unary(&mut self) -> Parsed<Box<Expr>> {
        let start = self.start();
        let op = match self.kind() {
            TokenKind::Symbol("+") => UnaryOp::Plus,
            TokenKind::Symbol("-") => UnaryOp::Minus,
            TokenKind::Symbol("~") => UnaryOp::BitNot,
            _ => return self.postfix(),
        };
        self.advance();
        let operand = self.nested(1, Self::unary)?;
        Ok(self.boxed(start, ExprKind::Unary { op, operand }))
    }

    fn postfix(&mut self) -> Parsed<Box<Expr>> {
        let start = self.start();
        let base = self.primary()?;
        if !self.is_symbol(".") && !self.is_symbol("[") {
            return Ok(base);
        }
        let mut steps = Vec::new();
        loop {
            if self.eat_symbol(".") {
                steps.push(Step::Name(self.any_word()?));
            } else if self.eat_symbol("[") {
                let index = self.expression()?;
                self.expect_symbol("]")?;
                steps.push(Step::Index(*index));
            } else {
                return Ok(self.path(start, *base, steps));
            }
        }
    }

    fn path(&self, start: usize, base: Expr, mut steps: Vec<Step>) -> Box<Expr> {
        // `(a.b).c` is the path a.b.c: one list, so that printing needs no brackets.
        let kind = match base {
            Expr {
                kind:
                    ExprKind::Path {
                        base,
                        steps: mut before,
                    },
                ..
            } => {
                before.append(&mut steps);
                ExprKind::Path { base, steps: before }
            }
            base => ExprKind::Path {
                base: Box::new(base),
                steps,
            },
        };
        self.boxed(start, kind)
    }

    pub(super) fn primary(&mut self) -> Parsed<Box<Expr>> {
        let start = self.start();
        if self.eat_symbol("(") {
            return self.bracketed(start);
        }
        if self.eat_symbol("[") {
            let items = self.expressions("]")?;
            return Ok(self.boxed(start, ExprKind::Array(items)));
        }
        if self.eat_symbol("{") {
            let members = self.members()?;
            return Ok(self.boxed(start, ExprKind::Object(members)));
        }
        if matches!(self.kind(), TokenKind::Word(_)) {
            return self.word_primary(start);
        }
        self.literal(start)
    }

    fn literal(&mut self, start: usize) -> Parsed<Box<Expr>> {
        let kind = match self.kind() {
            TokenKind::Number(number) => ExprKind::Literal(number.clone()),
            TokenKind::Text(text) => ExprKind::Literal(Value::String(text.clone())),
            TokenKind::Parameter(name) => ExprKind::Parameter(name.clone()),
            TokenKind::Word(_) | TokenKind::Symbol(_) | TokenKind::End => return Err(self.unexpected()),
        };
        self.advance();
        Ok(self.boxed(start, kind))
    }

    /// `(` has been taken.
    fn bracketed(&mut self, start: usize) -> Parsed<Box<Expr>> {
        if self.is_word("SELECT") {
            return self.subquery_of(start, SubqueryKind::Scalar);
        }
        let mut inner = self.expression()?;
        self.expect_symbol(")")?;
        inner.span = self.span_from(start);
        Ok(inner)
    }

    fn subquery_of(&mut self, start: usize, kind: SubqueryKind) -> Parsed<Box<Expr>> {
        let query = self.subquery()?;
        Ok(self.boxed(start, ExprKind::Subquery(kind, query)))
    }

    fn word_primary(&mut self, start: usize) -> Parsed<Box<Expr>> {
        if let Some(literal) = self.word_literal() {
            self.advance();
            return Ok(self.boxed(start, literal));
        }
        if let Some(kind) = self.subquery_kind() {
            self.advance();
            self.advance();
            return self.subquery_of(start, kind);
        }
        let udf = self.is_word("udf") && self.is_symbol_after(1, ".") && self.is_symbol_after(3, "(");
        if udf {
            self.advance();
            self.advance();
        } else if matches!(self.kind(), TokenKind::Word(word) if is_reserved(word)) {
            return Err(self.unexpected());
        }
        let name = self.any_word()?;
        if !self.eat_symbol("(") {
            return Ok(self.boxed(start, ExprKind::Name(name)));
        }
        let args = self.expressions(")")?;
        Ok(self.boxed(start, ExprKind::Call { udf, name, args }))
    }

    fn word_literal(&self) -> Option<ExprKind> {
        if self.is_word("TRUE") {
            Some(ExprKind::Literal(Value::Bool(true)))
        } else if self.is_word("FALSE") {
            Some(ExprKind::Literal(Value::Bool(false)))
        } else if self.is_word("NULL") {
            Some(ExprKind::Literal(Value::Null))
        } else if self.is_word("UNDEFINED") {
            Some(ExprKind::Undefined)
        } else {
            None
        }
    }

    /// The kind of a subquery that begins with a word, as `EXISTS(SELECT`.
    fn subquery_kind(&self) -> Option<SubqueryKind> {
        const KINDS: [(&str, SubqueryKind); 5] = [
            ("EXISTS", SubqueryKind::Exists),
            ("ARRAY", SubqueryKind::Array),
            ("ALL", SubqueryKind::All),
            ("FIRST", SubqueryKind::First),
            ("LAST", SubqueryKind::Last),
        ];
        if !self.is_symbol_after(1, "(") || !self.is_word_after(2, "SELECT") {
            return None;
        }
        KINDS
            .iter()
            .find(|(word, _)| self.is_word(word))
            .map(|(_, kind)| *kind)
    }

    fn members(&mut self) -> Parsed<Vec<(String, Expr)>> {
        let mut members = Vec::new();
        if self.eat_symbol("}") {
            return Ok(members);
        }
        loop {
            let name = match self.kind() {
                TokenKind::Text(text) => text.clone(),
                TokenKind::Word(word) => word.clone(),
                _ => return Err(self.unexpected()),
            };
            self.advance();
            self.expect_symbol(":")?;
            members.push((name, *self.expression()?));
            if self.eat_symbol("}") {
                return Ok(members);
            }
            self.expect_symbol(",")?;
        }
    }
}
