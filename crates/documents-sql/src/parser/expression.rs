//! Expressions, by operator precedence.
//!
//! One function reads every level: an operand, then operators that bind at least as tightly as
//! asked for. A function per level would nest fifteen frames for each bracket.

use super::{Parsed, Parser, is_reserved};
use crate::ast::{BinaryOp, Expr, ExprKind, Step, SubqueryKind, UnaryOp, level};
use crate::lexer::TokenKind;
use serde_json::Value;

impl Parser {
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.expression_at(level::CONDITIONAL)
    }

    /// An expression of operators at `tightest` or tighter.
    fn expression_at(&mut self, loosest: u8) -> Parsed<Expr> {
        self.nested(1, |parser| parser.operators(loosest))
    }

    fn operators(&mut self, loosest: u8) -> Parsed<Expr> {
        let start = self.start();
        // What the next operator must bind looser than, so that `a IN (1) = b` is refused.
        let mut ceiling = level::PRIMARY;
        let mut left = if loosest <= level::NOT && self.eat_word("NOT") {
            ceiling = level::NOT;
            let operand = Box::new(self.expression_at(level::NOT)?);
            Expr {
                kind: ExprKind::Unary {
                    op: UnaryOp::Not,
                    operand,
                },
                span: self.span_from(start),
            }
        } else {
            self.unary()?
        };
        while let Some(found) = self.next_level() {
            if found < loosest || found >= ceiling {
                break;
            }
            ceiling = found;
            let kind = match found {
                level::CONDITIONAL => self.conditional(left)?,
                level::COALESCE => self.coalesce(left)?,
                level::TEST => self.test(left)?,
                _ => self.chain(left, found)?,
            };
            left = Expr {
                kind,
                span: self.span_from(start),
            };
        }
        Ok(left)
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

    fn conditional(&mut self, test: Expr) -> Parsed<ExprKind> {
        self.expect_symbol("?")?;
        let then = Box::new(self.expression()?);
        self.expect_symbol(":")?;
        let otherwise = Box::new(self.expression()?);
        Ok(ExprKind::Conditional {
            test: Box::new(test),
            then,
            otherwise,
        })
    }

    fn coalesce(&mut self, first: Expr) -> Parsed<ExprKind> {
        let mut operands = vec![first];
        while self.eat_symbol("??") {
            operands.push(self.expression_at(level::OR)?);
        }
        Ok(ExprKind::Coalesce(operands))
    }

    fn chain(&mut self, first: Expr, at: u8) -> Parsed<ExprKind> {
        let mut rest = Vec::new();
        while let Some(op) = self.binary_op().filter(|op| op.level() == at) {
            self.advance();
            rest.push((op, self.expression_at(at + 1)?));
        }
        Ok(ExprKind::Chain {
            first: Box::new(first),
            rest,
        })
    }

    fn test(&mut self, value: Expr) -> Parsed<ExprKind> {
        let value = Box::new(value);
        let negated = self.eat_word("NOT");
        if self.eat_word("IN") {
            self.expect_symbol("(")?;
            let list = self.expressions(")")?;
            if list.is_empty() {
                return Err(self.unexpected());
            }
            return Ok(ExprKind::In { value, list, negated });
        }
        if self.eat_word("BETWEEN") {
            let low = Box::new(self.expression_at(level::COMPARE)?);
            self.expect_word("AND")?;
            let high = Box::new(self.expression_at(level::COMPARE)?);
            return Ok(ExprKind::Between {
                value,
                low,
                high,
                negated,
            });
        }
        self.expect_word("LIKE")?;
        let pattern = Box::new(self.expression_at(level::COMPARE)?);
        let escape = if self.eat_word("ESCAPE") {
            Some(Box::new(self.expression_at(level::COMPARE)?))
        } else {
            None
        };
        Ok(ExprKind::Like {
            value,
            pattern,
            escape,
            negated,
        })
    }

    /// Expressions up to and with `close`, possibly none.
    fn expressions(&mut self, close: &str) -> Parsed<Vec<Expr>> {
        let mut list = Vec::new();
        if self.eat_symbol(close) {
            return Ok(list);
        }
        loop {
            list.push(self.expression()?);
            if self.eat_symbol(close) {
                return Ok(list);
            }
            self.expect_symbol(",")?;
        }
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let start = self.start();
        let op = match self.kind() {
            TokenKind::Symbol("+") => UnaryOp::Plus,
            TokenKind::Symbol("-") => UnaryOp::Minus,
            TokenKind::Symbol("~") => UnaryOp::BitNot,
            _ => return self.postfix(),
        };
        self.advance();
        let operand = Box::new(self.nested(1, Self::unary)?);
        Ok(Expr {
            kind: ExprKind::Unary { op, operand },
            span: self.span_from(start),
        })
    }

    fn postfix(&mut self) -> Parsed<Expr> {
        let start = self.start();
        let base = self.primary()?;
        let mut steps = Vec::new();
        loop {
            if self.eat_symbol(".") {
                steps.push(Step::Name(self.any_word()?));
            } else if self.eat_symbol("[") {
                let index = self.expression()?;
                self.expect_symbol("]")?;
                steps.push(Step::Index(index));
            } else {
                break;
            }
        }
        if steps.is_empty() {
            return Ok(base);
        }
        // `(a.b).c` is the path a.b.c: one list, so that printing needs no brackets.
        let kind = match base.kind {
            ExprKind::Path {
                base,
                steps: mut before,
            } => {
                before.append(&mut steps);
                ExprKind::Path { base, steps: before }
            }
            _ => ExprKind::Path {
                base: Box::new(base),
                steps,
            },
        };
        Ok(Expr {
            kind,
            span: self.span_from(start),
        })
    }

    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        let start = self.start();
        let kind = match self.kind().clone() {
            TokenKind::Number(number) => {
                self.advance();
                ExprKind::Literal(number)
            }
            TokenKind::Text(text) => {
                self.advance();
                ExprKind::Literal(Value::String(text))
            }
            TokenKind::Parameter(name) => {
                self.advance();
                ExprKind::Parameter(name)
            }
            TokenKind::Symbol("(") => {
                self.advance();
                if self.is_word("SELECT") {
                    ExprKind::Subquery(SubqueryKind::Scalar, self.subquery()?)
                } else {
                    let inner = self.expression()?;
                    self.expect_symbol(")")?;
                    inner.kind
                }
            }
            TokenKind::Symbol("[") => {
                self.advance();
                ExprKind::Array(self.expressions("]")?)
            }
            TokenKind::Symbol("{") => {
                self.advance();
                ExprKind::Object(self.members()?)
            }
            TokenKind::Word(word) => self.word_primary(word)?,
            TokenKind::Symbol(_) | TokenKind::End => return Err(self.unexpected()),
        };
        Ok(Expr {
            kind,
            span: self.span_from(start),
        })
    }

    fn word_primary(&mut self, word: String) -> Parsed<ExprKind> {
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        let literal = match () {
            () if is("TRUE") => Some(ExprKind::Literal(Value::Bool(true))),
            () if is("FALSE") => Some(ExprKind::Literal(Value::Bool(false))),
            () if is("NULL") => Some(ExprKind::Literal(Value::Null)),
            () if is("UNDEFINED") => Some(ExprKind::Undefined),
            () => None,
        };
        if let Some(literal) = literal {
            self.advance();
            return Ok(literal);
        }
        if self.is_symbol_after(1, "(") && self.is_word_after(2, "SELECT") {
            let kind = match () {
                () if is("EXISTS") => Some(SubqueryKind::Exists),
                () if is("ARRAY") => Some(SubqueryKind::Array),
                () if is("ALL") => Some(SubqueryKind::All),
                () if is("FIRST") => Some(SubqueryKind::First),
                () if is("LAST") => Some(SubqueryKind::Last),
                () => None,
            };
            if let Some(kind) = kind {
                self.advance();
                self.advance();
                return self.subquery().map(|query| ExprKind::Subquery(kind, query));
            }
        }
        if is_reserved(&word) {
            return Err(self.unexpected());
        }
        let udf = is("udf") && self.is_symbol_after(1, ".") && self.is_symbol_after(3, "(");
        if udf {
            self.advance();
            self.advance();
            let name = self.any_word()?;
            self.expect_symbol("(")?;
            return Ok(ExprKind::Call {
                udf,
                name,
                args: self.expressions(")")?,
            });
        }
        self.advance();
        if self.eat_symbol("(") {
            return Ok(ExprKind::Call {
                udf: false,
                name: word,
                args: self.expressions(")")?,
            });
        }
        Ok(ExprKind::Name(word))
    }

    fn members(&mut self) -> Parsed<Vec<(String, Expr)>> {
        let mut members = Vec::new();
        if self.eat_symbol("}") {
            return Ok(members);
        }
        loop {
            let name = match self.kind().clone() {
                TokenKind::Text(text) => text,
                TokenKind::Word(word) => word,
                _ => return Err(self.unexpected()),
            };
            self.advance();
            self.expect_symbol(":")?;
            members.push((name, self.expression()?));
            if self.eat_symbol("}") {
                return Ok(members);
            }
            self.expect_symbol(",")?;
        }
    }
}
