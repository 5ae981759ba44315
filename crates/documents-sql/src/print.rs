//! Tree to text, in one line and with no more brackets than the levels of operators ask for.
//!
//! Invariant: parsing the text gives an equal tree. It holds for every tree that came from the
//! parser; names made by hand that are no identifiers are not quoted, since names can't be.

use std::fmt::{Display, Formatter, Result, Write};

use crate::ast::{
    Count, CountKind, Expr, ExprKind, FromItem, OrderTerm, Projection, Query, Source, Step, SubqueryKind,
    UnaryOp, level,
};
use serde_json::Value;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("SELECT ")?;
        if self.distinct {
            f.write_str("DISTINCT ")?;
        }
        if let Some(top) = &self.top {
            write!(f, "TOP {top} ")?;
        }
        match &self.projection {
            Projection::Star(_) => f.write_char('*')?,
            Projection::Value(expr) => write!(f, "VALUE {expr}")?,
            Projection::Items(items) => separated(f, items, |f, item| {
                Display::fmt(&item.expr, f)?;
                item.alias
                    .as_ref()
                    .map_or(Ok(()), |alias| write!(f, " AS {alias}"))
            })?,
        }
        for (index, item) in self.from.iter().enumerate() {
            f.write_str(if index == 0 { " FROM " } else { " JOIN " })?;
            from_item(f, item)?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " WHERE {filter}")?;
        }
        if !self.group_by.is_empty() {
            f.write_str(" GROUP BY ")?;
            separated(f, &self.group_by, |f, key| Display::fmt(key, f))?;
        }
        if !self.order_by.is_empty() {
            f.write_str(" ORDER BY ")?;
            separated(f, &self.order_by, order_term)?;
        }
        if !self.rank_by.is_empty() {
            f.write_str(" ORDER BY RANK ")?;
            separated(f, &self.rank_by, order_term)?;
        }
        if let Some((offset, limit)) = &self.offset_limit {
            write!(f, " OFFSET {offset} LIMIT {limit}")?;
        }
        Ok(())
    }
}

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            CountKind::Number(count) => write!(f, "{count}"),
            CountKind::Parameter(name) => write!(f, "@{name}"),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            ExprKind::Undefined => f.write_str("undefined"),
            ExprKind::Literal(value) => literal(f, value),
            ExprKind::Parameter(name) => write!(f, "@{name}"),
            ExprKind::Name(name) => f.write_str(name),
            ExprKind::Path { base, steps } => {
                // `1.x` would be read as the number `1.`
                let bare = level_of(base) == level::PRIMARY && !matches!(base.kind, ExprKind::Literal(_));
                operand(f, base, if bare { level::PRIMARY } else { level::PRIMARY + 1 })?;
                path_steps(f, steps)
            }
            ExprKind::Unary {
                op: UnaryOp::Not,
                operand: inner,
            } => {
                f.write_str("NOT ")?;
                operand(f, inner, level::NOT)
            }
            ExprKind::Unary { op, operand: inner } => {
                f.write_str(match op {
                    UnaryOp::Plus => "+",
                    UnaryOp::BitNot => "~",
                    // `--` begins a comment
                    UnaryOp::Minus if matches!(inner.kind, ExprKind::Unary { .. }) => "- ",
                    UnaryOp::Minus | UnaryOp::Not => "-",
                })?;
                operand(f, inner, level::UNARY)
            }
            ExprKind::Chain { first, rest } => {
                let tighter = level_of(self) + 1;
                operand(f, first, tighter)?;
                rest.iter().try_for_each(|(op, next)| {
                    write!(f, " {} ", op.symbol())?;
                    operand(f, next, tighter)
                })
            }
            ExprKind::Coalesce(operands) => operands.iter().enumerate().try_for_each(|(index, next)| {
                if index > 0 {
                    f.write_str(" ?? ")?;
                }
                operand(f, next, level::OR)
            }),
            ExprKind::Conditional {
                test,
                then,
                otherwise,
            } => {
                operand(f, test, level::COALESCE)?;
                write!(f, " ? {then} : {otherwise}")
            }
            ExprKind::In { value, list, negated } => {
                operand(f, value, level::COMPARE)?;
                f.write_str(if *negated { " NOT IN (" } else { " IN (" })?;
                separated(f, list, |f, item| Display::fmt(item, f))?;
                f.write_char(')')
            }
            ExprKind::Between {
                value,
                low,
                high,
                negated,
            } => {
                operand(f, value, level::COMPARE)?;
                f.write_str(if *negated { " NOT BETWEEN " } else { " BETWEEN " })?;
                operand(f, low, level::COMPARE)?;
                f.write_str(" AND ")?;
                operand(f, high, level::COMPARE)
            }
            ExprKind::Like {
                value,
                pattern,
                escape,
                negated,
            } => {
                operand(f, value, level::COMPARE)?;
                f.write_str(if *negated { " NOT LIKE " } else { " LIKE " })?;
                operand(f, pattern, level::COMPARE)?;
                escape.as_ref().map_or(Ok(()), |escape| {
                    f.write_str(" ESCAPE ")?;
                    operand(f, escape, level::COMPARE)
                })
            }
            ExprKind::Call { udf, name, args } => {
                if *udf {
                    f.write_str("udf.")?;
                }
                write!(f, "{name}(")?;
                separated(f, args, |f, argument| Display::fmt(argument, f))?;
                f.write_char(')')
            }
            ExprKind::Array(items) => {
                f.write_char('[')?;
                separated(f, items, |f, item| Display::fmt(item, f))?;
                f.write_char(']')
            }
            ExprKind::Object(members) => {
                f.write_char('{')?;
                separated(f, members, |f, (name, value)| {
                    string(f, name)?;
                    write!(f, ": {value}")
                })?;
                f.write_char('}')
            }
            ExprKind::Subquery(kind, query) => {
                let name = match kind {
                    SubqueryKind::Scalar => "",
                    SubqueryKind::Exists => "EXISTS",
                    SubqueryKind::Array => "ARRAY",
                    SubqueryKind::All => "ALL",
                    SubqueryKind::First => "FIRST",
                    SubqueryKind::Last => "LAST",
                };
                write!(f, "{name}({query})")
            }
        }
    }
}

fn level_of(expr: &Expr) -> u8 {
    match &expr.kind {
        ExprKind::Conditional { .. } => level::CONDITIONAL,
        ExprKind::Coalesce(_) => level::COALESCE,
        ExprKind::Chain { rest, .. } => rest.first().map_or(level::PRIMARY, |(op, _)| op.level()),
        ExprKind::Unary { op: UnaryOp::Not, .. } => level::NOT,
        ExprKind::Unary { .. } => level::UNARY,
        ExprKind::In { .. } | ExprKind::Between { .. } | ExprKind::Like { .. } => level::TEST,
        _ => level::PRIMARY,
    }
}

/// An operand in a place that wants `least` or tighter.
fn operand(f: &mut Formatter<'_>, expr: &Expr, least: u8) -> Result {
    if level_of(expr) < least {
        write!(f, "({expr})")
    } else {
        Display::fmt(expr, f)
    }
}

fn separated<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    mut each: impl FnMut(&mut Formatter<'_>, &T) -> Result,
) -> Result {
    items.iter().enumerate().try_for_each(|(index, item)| {
        if index > 0 {
            f.write_str(", ")?;
        }
        each(f, item)
    })
}

fn from_item(f: &mut Formatter<'_>, item: &FromItem) -> Result {
    if item.iterate
        && let Some(alias) = &item.alias
    {
        write!(f, "{alias} IN ")?;
    }
    match &item.source {
        Source::Path { name, steps } => {
            f.write_str(name)?;
            path_steps(f, steps)?;
        }
        Source::Query(query) => write!(f, "({query})")?,
        Source::Call(call) => Display::fmt(call, f)?,
    }
    match &item.alias {
        Some(alias) if !item.iterate => write!(f, " AS {alias}"),
        _ => Ok(()),
    }
}

fn path_steps(f: &mut Formatter<'_>, steps: &[Step]) -> Result {
    steps.iter().try_for_each(|step| match step {
        Step::Name(name) => write!(f, ".{name}"),
        Step::Index(index) => write!(f, "[{index}]"),
    })
}

fn order_term(f: &mut Formatter<'_>, term: &OrderTerm) -> Result {
    Display::fmt(&term.expr, f)?;
    if term.descending {
        f.write_str(" DESC")
    } else {
        Ok(())
    }
}

fn literal(f: &mut Formatter<'_>, value: &Value) -> Result {
    match value {
        Value::String(text) => string(f, text),
        other => write!(f, "{other}"),
    }
}

fn string(f: &mut Formatter<'_>, text: &str) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
