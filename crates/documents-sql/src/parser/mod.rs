//! Tokens to tree: the clauses of a query. Expressions are in [`expression`].
//!
//! Invariant: recursion is counted in `depth` and refused above the limit, so no text overflows
//! the stack; the first error ends parsing.

mod expression;

use crate::ast::{
    Count, CountKind, Expr, ExprKind, FromItem, Item, OrderTerm, Projection, Query, Source, Span, Step,
};
use crate::error::{SqlError, SqlErrors, code};
use crate::lexer::{Token, TokenKind, tokenize};
use crate::limits::{
    NESTING_DEPTH_MAX, NESTING_UNITS_MAX, QUERY_TEXT_BYTES_MAX, ROW_COUNT_MAX, SUBQUERY_UNITS,
};
use serde_json::Value;

/// Words that can't be an alias without AS, nor begin an expression as a name.
const RESERVED: [&str; 28] = [
    "AND",
    "ARRAY",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "DESC",
    "DISTINCT",
    "ESCAPE",
    "EXISTS",
    "FALSE",
    "FROM",
    "GROUP",
    "IN",
    "JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "OR",
    "ORDER",
    "SELECT",
    "TOP",
    "TRUE",
    "UNDEFINED",
    "VALUE",
    "WHERE",
];

pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED
        .iter()
        .any(|reserved| reserved.eq_ignore_ascii_case(word))
}

fn is_vector_distance(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Call { udf: false, name, .. } if name.eq_ignore_ascii_case("VECTORDISTANCE"))
}

/// See [`crate::parse`].
pub(crate) fn parse(text: &str) -> Result<Query, SqlErrors> {
    if text.len() > QUERY_TEXT_BYTES_MAX {
        return Err(SqlErrors::from(SqlError {
            code: code::TEXT_SIZE,
            message: format!(
                "The SQL query text exceeded the maximum limit of {QUERY_TEXT_BYTES_MAX} bytes."
            ),
            start: 0,
            end: text.len(),
        }));
    }
    let mut parser = Parser {
        tokens: tokenize(text)?,
        at: 0,
        depth: 0,
    };
    let query = parser.query().map_err(|error| *error)?;
    match parser.kind() {
        TokenKind::End => Ok(*query),
        _ => Err(SqlErrors::from(*parser.unexpected())),
    }
}

/// Errors and expressions are boxed: the parser's frames decide how deep a text may nest, and
/// what is moved by value takes room in each of them.
type Parsed<T> = Result<T, Box<SqlError>>;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

const END: Token = Token {
    kind: TokenKind::End,
    span: Span { start: 0, end: 0 },
};

impl Parser {
    fn token(&self) -> &Token {
        // The last token is End and is never consumed.
        self.tokens.get(self.at).unwrap_or(&END)
    }

    fn kind(&self) -> &TokenKind {
        &self.token().kind
    }

    fn kind_after(&self, count: usize) -> &TokenKind {
        self.tokens
            .get(self.at + count)
            .map_or(&END.kind, |token| &token.kind)
    }

    fn advance(&mut self) {
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
    }

    fn start(&self) -> usize {
        self.token().span.start
    }

    /// From `start` to the end of the last token taken.
    fn span_from(&self, start: usize) -> Span {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        Span {
            start,
            end: last.map_or(start, |token| token.span.end).max(start),
        }
    }

    fn unexpected(&self) -> Box<SqlError> {
        let span = self.token().span;
        let message = match self.kind() {
            TokenKind::End => "Syntax error, unexpected end of the query.".to_owned(),
            TokenKind::Word(word) => format!("Syntax error, incorrect syntax near '{word}'."),
            TokenKind::Parameter(name) => format!("Syntax error, incorrect syntax near '@{name}'."),
            TokenKind::Number(number) => format!("Syntax error, incorrect syntax near '{number}'."),
            TokenKind::Text(text) => {
                let shown: String = text.chars().take(40).collect();
                format!("Syntax error, incorrect syntax near the string '{shown}'.")
            }
            TokenKind::Symbol(symbol) => format!("Syntax error, incorrect syntax near '{symbol}'."),
        };
        Box::new(SqlError {
            code: code::SYNTAX,
            message,
            start: span.start,
            end: span.end,
        })
    }

    fn is_word(&self, keyword: &str) -> bool {
        matches!(self.kind(), TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn is_word_after(&self, count: usize, keyword: &str) -> bool {
        matches!(self.kind_after(count), TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.kind(), TokenKind::Symbol(found) if *found == symbol)
    }

    fn is_symbol_after(&self, count: usize, symbol: &str) -> bool {
        matches!(self.kind_after(count), TokenKind::Symbol(found) if *found == symbol)
    }

    fn eat_word(&mut self, keyword: &str) -> bool {
        let found = self.is_word(keyword);
        if found {
            self.advance();
        }
        found
    }

    fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.advance();
        }
        found
    }

    fn expect_word(&mut self, keyword: &str) -> Parsed<()> {
        if self.eat_word(keyword) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn expect_symbol(&mut self, symbol: &str) -> Parsed<()> {
        if self.eat_symbol(symbol) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn any_word(&mut self) -> Parsed<String> {
        match self.kind() {
            TokenKind::Word(word) => {
                let word = word.clone();
                self.advance();
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Runs `inner` that many units deeper.
    fn nested<T>(&mut self, units: usize, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += units;
        let result = if self.depth > NESTING_UNITS_MAX {
            let span = self.token().span;
            Err(Box::new(SqlError {
                code: code::SYNTAX,
                message: format!("The query nests deeper than {NESTING_DEPTH_MAX} levels."),
                start: span.start,
                end: span.end,
            }))
        } else {
            inner(self)
        };
        self.depth -= units;
        result
    }

    /// `(` of a subquery has been taken; reads to `)`.
    fn subquery(&mut self) -> Parsed<Box<Query>> {
        let query = self.nested(SUBQUERY_UNITS, Self::query)?;
        self.expect_symbol(")")?;
        Ok(query)
    }

    fn query(&mut self) -> Parsed<Box<Query>> {
        let start = self.start();
        self.expect_word("SELECT")?;
        let distinct = self.eat_word("DISTINCT");
        let top = if self.eat_word("TOP") {
            Some(self.count(code::TOP_COUNT)?)
        } else {
            None
        };
        let projection = self.projection()?;
        let from = self.sources()?;
        let filter = if self.eat_word("WHERE") {
            Some(*self.expression()?)
        } else {
            None
        };
        let group_by = if self.is_word("GROUP") {
            self.group_by()?
        } else {
            Vec::new()
        };
        let (order_by, rank_by) = self.order_by()?;
        let offset_limit = if self.eat_word("OFFSET") {
            let offset = self.count(code::OFFSET_COUNT)?;
            self.expect_word("LIMIT")?;
            Some((offset, self.count(code::LIMIT_COUNT)?))
        } else {
            None
        };
        let span = self.span_from(start);
        Ok(Box::new(Query {
            distinct,
            top,
            projection,
            from,
            filter,
            group_by,
            order_by,
            rank_by,
            offset_limit,
            span,
        }))
    }

    fn count(&mut self, too_large: &'static str) -> Parsed<Count> {
        let span = self.token().span;
        let kind = match self.kind() {
            TokenKind::Parameter(name) => CountKind::Parameter(name.clone()),
            TokenKind::Number(Value::Number(number)) => match number.as_u64() {
                Some(count) if count <= ROW_COUNT_MAX => CountKind::Number(count),
                Some(_) => {
                    return Err(Box::new(SqlError {
                        code: too_large,
                        message: format!("A row count must not be larger than {ROW_COUNT_MAX}."),
                        start: span.start,
                        end: span.end,
                    }));
                }
                None => return Err(self.unexpected()),
            },
            _ => return Err(self.unexpected()),
        };
        self.advance();
        Ok(Count { kind, span })
    }

    fn projection(&mut self) -> Parsed<Projection> {
        let span = self.token().span;
        if self.eat_symbol("*") {
            return Ok(Projection::Star(span));
        }
        if self.eat_word("VALUE") {
            return self.expression().map(Projection::Value);
        }
        let mut items = Vec::new();
        loop {
            let expr = *self.expression()?;
            let alias = self.alias()?;
            items.push(Item { expr, alias });
            if !self.eat_symbol(",") {
                return Ok(Projection::Items(items));
            }
        }
    }

    /// `AS name`, or a name that is no keyword.
    fn alias(&mut self) -> Parsed<Option<String>> {
        if self.eat_word("AS") {
            return self.any_word().map(Some);
        }
        match self.kind() {
            TokenKind::Word(word) if !is_reserved(word) => self.any_word().map(Some),
            _ => Ok(None),
        }
    }

    fn sources(&mut self) -> Parsed<Vec<FromItem>> {
        let mut from = Vec::new();
        if self.eat_word("FROM") {
            from.push(self.source_item()?);
            while self.eat_word("JOIN") {
                from.push(self.source_item()?);
            }
        }
        Ok(from)
    }

    fn source_item(&mut self) -> Parsed<FromItem> {
        let start = self.start();
        if matches!(self.kind(), TokenKind::Word(_)) && self.is_word_after(1, "IN") {
            let alias = Some(self.any_word()?);
            self.advance();
            let source = self.source()?;
            return Ok(FromItem {
                alias,
                iterate: true,
                source,
                span: self.span_from(start),
            });
        }
        let source = self.source()?;
        let alias = self.alias()?;
        Ok(FromItem {
            alias,
            iterate: false,
            source,
            span: self.span_from(start),
        })
    }

    fn source(&mut self) -> Parsed<Source> {
        if self.eat_symbol("(") {
            return self.subquery().map(Source::Query);
        }
        let udf = self.is_word("udf") && self.is_symbol_after(1, ".");
        if udf || self.is_symbol_after(1, "(") {
            let call = self.primary()?;
            return match call.kind {
                ExprKind::Call { .. } | ExprKind::Subquery(..) => Ok(Source::Call(call)),
                _ => Err(self.unexpected()),
            };
        }
        let name = self.any_word()?;
        let mut steps = Vec::new();
        loop {
            if self.eat_symbol(".") {
                steps.push(Step::Name(self.any_word()?));
            } else if self.eat_symbol("[") {
                let span = self.token().span;
                let literal = match self.kind() {
                    TokenKind::Text(text) => Value::from(text.clone()),
                    TokenKind::Number(number) if number.is_u64() => number.clone(),
                    _ => return Err(self.unexpected()),
                };
                self.advance();
                self.expect_symbol("]")?;
                steps.push(Step::Index(Expr {
                    kind: ExprKind::Literal(literal),
                    span,
                }));
            } else {
                return Ok(Source::Path { name, steps });
            }
        }
    }

    fn group_by(&mut self) -> Parsed<Vec<Expr>> {
        self.advance();
        self.expect_word("BY")?;
        let mut keys = vec![*self.expression()?];
        while self.eat_symbol(",") {
            keys.push(*self.expression()?);
        }
        Ok(keys)
    }

    /// ORDER BY's terms, or ORDER BY RANK's.
    fn order_by(&mut self) -> Parsed<(Vec<OrderTerm>, Vec<OrderTerm>)> {
        if !self.eat_word("ORDER") {
            return Ok((Vec::new(), Vec::new()));
        }
        self.expect_word("BY")?;
        // RANK is no reserved word: `ORDER BY rank.x` is a path.
        let ranked = self.is_word("RANK") && matches!(self.kind_after(1), TokenKind::Word(_)) && {
            !self.is_word_after(1, "ASC")
                && !self.is_word_after(1, "DESC")
                && !self.is_word_after(1, "OFFSET")
        };
        if ranked {
            self.advance();
        }
        let mut terms = Vec::new();
        loop {
            let expr = *self.expression()?;
            // Ranks have one direction, best first, and the service takes no word for it.
            if (ranked || is_vector_distance(&expr)) && (self.is_word("ASC") || self.is_word("DESC")) {
                return Err(self.unexpected());
            }
            let descending = self.eat_word("DESC");
            if !descending {
                self.eat_word("ASC");
            }
            terms.push(OrderTerm { expr, descending });
            if !self.eat_symbol(",") {
                break;
            }
        }
        Ok(if ranked {
            (Vec::new(), terms)
        } else {
            (terms, Vec::new())
        })
    }
}
