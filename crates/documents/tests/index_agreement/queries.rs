//! Queries that an index can serve in part, whole or not at all.

use std::fmt;

use serde_json::Value;

use crate::chance::Chance;
use crate::values::{self, PATHS};

/// A query in parts, so that a failing one can be made smaller.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    head: String,
    pub(crate) conjuncts: Vec<String>,
    tail: String,
    pub(crate) parameters: Vec<(String, Value)>,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        for (at, conjunct) in self.conjuncts.iter().enumerate() {
            let word = if at == 0 { "WHERE" } else { "AND" };
            write!(f, " {word} ({conjunct})")?;
        }
        f.write_str(&self.tail)
    }
}

/// Makes queries about values that documents have.
pub(crate) struct Asker<'w> {
    pub(crate) chance: &'w mut Chance,
    /// Values that constants are taken from.
    pub(crate) known: &'w [Value],
    parameters: Vec<(String, Value)>,
}

impl<'w> Asker<'w> {
    pub(crate) fn new(chance: &'w mut Chance, known: &'w [Value]) -> Self {
        Self {
            chance,
            known,
            parameters: Vec::new(),
        }
    }

    pub(crate) fn query(mut self) -> Query {
        let (from, elements) = self.from();
        let count = match self.chance.below(8) {
            0 => 0,
            1..=4 => 1,
            5 | 6 => 2,
            _ => 3,
        };
        let conjuncts = (0..count).map(|_| self.condition(2, elements)).collect();
        let (select, tail) = self.shape(elements);
        Query {
            head: format!("{select} {from}"),
            conjuncts,
            tail,
            parameters: self.parameters,
        }
    }

    /// FROM, and the alias of elements that it brings.
    fn from(&mut self) -> (&'static str, Option<&'static str>) {
        match self.chance.below(14) {
            0 => ("FROM c JOIN t IN c.tags", Some("t")),
            1 => ("FROM c JOIN l IN c.list", Some("l.v")),
            2 => ("FROM c JOIN l IN c.list JOIN t IN c.tags", Some("l.w")),
            3 => ("FROM c JOIN (SELECT VALUE t FROM t IN c.tags) AS t", Some("t")),
            4 => ("FROM c JOIN x IN c.n.y", Some("x")),
            _ => ("FROM c", None),
        }
    }

    fn shape(&mut self, elements: Option<&str>) -> (String, String) {
        let path = self.path(elements);
        match self.chance.below(16) {
            0 => ("SELECT VALUE COUNT(1)".to_owned(), String::new()),
            1 => {
                let aggregate = *self.chance.pick(&["MIN", "MAX", "SUM", "AVG", "COUNT"]);
                (format!("SELECT VALUE {aggregate}({path})"), String::new())
            }
            2 => (
                format!("SELECT COUNT(1) AS n, MIN({path}) AS low, MAX({path}) AS high"),
                String::new(),
            ),
            3 => (
                format!("SELECT {path} AS k, COUNT(1) AS n"),
                format!(" GROUP BY {path}"),
            ),
            4 => (format!("SELECT DISTINCT VALUE {path}"), self.order(false)),
            5 => (format!("SELECT DISTINCT {path} AS k"), self.limit()),
            6 => {
                let top = self.chance.below(6);
                (format!("SELECT TOP {top} c.id, {path} AS v"), self.order(true))
            }
            7 if elements.is_none() => ("SELECT *".to_owned(), self.order(true)),
            8 => ("SELECT VALUE c".to_owned(), self.order(true)),
            9..=11 => {
                let order = self.order(true);
                let limit = self.limit();
                (format!("SELECT c.id, {path} AS v"), format!("{order}{limit}"))
            }
            _ => (format!("SELECT c.id, {path} AS v"), self.order(true)),
        }
    }

    fn order(&mut self, several: bool) -> String {
        let one = |chance: &mut Chance| {
            let path = *chance.pick(&[
                "c.a",
                "c.b",
                "c.n.x",
                "c[\"odd name\"]",
                "c.id",
                "c.pk",
                "c.missing",
                "c.n",
            ]);
            format!("{path}{}", chance.pick(&["", " ASC", " DESC"]))
        };
        match self.chance.below(5) {
            0 | 1 => String::new(),
            4 if several && self.chance.one_in(2) => {
                let (first, second) = (one(self.chance), one(self.chance));
                format!(" ORDER BY {first}, {second}")
            }
            _ => format!(" ORDER BY {}", one(self.chance)),
        }
    }

    fn limit(&mut self) -> String {
        if self.chance.one_in(2) {
            return String::new();
        }
        format!(" OFFSET {} LIMIT {}", self.chance.below(5), self.chance.below(9))
    }

    fn path(&mut self, elements: Option<&str>) -> String {
        match elements {
            Some(alias) if self.chance.one_in(2) => alias.to_owned(),
            _ => (*self.chance.pick(PATHS)).to_owned(),
        }
    }

    /// A constant: written out, or a parameter.
    fn constant(&mut self) -> String {
        let value = if !self.known.is_empty() && !self.chance.one_in(3) {
            self.chance.pick(self.known).clone()
        } else {
            values::value(self.chance, 1)
        };
        self.written(value)
    }

    fn text(&mut self) -> String {
        let texts: Vec<&str> = self.known.iter().filter_map(Value::as_str).collect();
        let text = if !texts.is_empty() && !self.chance.one_in(3) {
            let whole = *self.chance.pick(&texts);
            let end = self.chance.below(whole.chars().count() + 1);
            whole.chars().take(end).collect()
        } else {
            values::text(self.chance)
        };
        self.written(Value::from(text))
    }

    fn written(&mut self, value: Value) -> String {
        if self.chance.one_in(3) {
            let name = format!("p{}", self.parameters.len());
            self.parameters.push((format!("@{name}"), value));
            return format!("@{name}");
        }
        value.to_string()
    }

    fn operator(&mut self) -> &'static str {
        let &operator = self.chance.pick(&["=", "=", "=", "!=", "<", "<=", ">", ">="]);
        operator
    }

    fn condition(&mut self, depth: usize, elements: Option<&str>) -> String {
        if depth > 0 && self.chance.one_in(3) {
            let (a, b) = (
                self.condition(depth - 1, elements),
                self.condition(depth - 1, elements),
            );
            return match self.chance.below(6) {
                0 => format!("NOT ({a})"),
                1 | 2 => format!("({a}) AND ({b})"),
                3 => format!("(({a}) OR ({b})) AND ({a})"),
                _ => format!("({a}) OR ({b})"),
            };
        }
        self.simple(elements)
    }

    fn simple(&mut self, elements: Option<&str>) -> String {
        let path = self.path(elements);
        let not = *self.chance.pick(&["", "", "", "NOT "]);
        match self.chance.below(30) {
            0..=4 => format!("{path} {} {}", self.operator(), self.constant()),
            5 => format!("{} {} {path}", self.constant(), self.operator()),
            6 => format!("{path} {not}BETWEEN {} AND {}", self.constant(), self.constant()),
            7 | 8 => format!(
                "{path} {not}IN ({}, {}, {})",
                self.constant(),
                self.constant(),
                self.constant()
            ),
            9 => format!("{not}IS_DEFINED({path})"),
            10 => {
                let kind =
                    *self
                        .chance
                        .pick(&["NULL", "BOOL", "NUMBER", "STRING", "ARRAY", "OBJECT", "PRIMITIVE"]);
                format!("{not}IS_{kind}({path})")
            }
            11 | 12 => {
                let function =
                    *self
                        .chance
                        .pick(&["STARTSWITH", "STARTSWITH", "ENDSWITH", "CONTAINS", "STRINGEQUALS"]);
                let caseless = *self.chance.pick(&["", ", false", ", true"]);
                format!("{not}{function}({path}, {}{caseless})", self.text())
            }
            13 => {
                let pattern = *self
                    .chance
                    .pick(&["", "a%", "a_", "%b", "[ab]%", "x%", "é%", "😀", "a", "\\\\%", "%"]);
                format!("{path} {not}LIKE '{pattern}'")
            }
            14 | 15 => {
                let array = *self
                    .chance
                    .pick(&["c.tags", "c.tags", "c.list", "c.n.y", "c.a", "c.missing"]);
                let partial = *self.chance.pick(&["", "", ", false", ", true"]);
                format!("{not}ARRAY_CONTAINS({array}, {}{partial})", self.constant())
            }
            16 => format!(
                "{not}ARRAY_CONTAINS([{}, {}], {path})",
                self.constant(),
                self.constant()
            ),
            17 | 18 => format!(
                "{not}EXISTS(SELECT VALUE e FROM e IN c.tags WHERE e {} {})",
                self.operator(),
                self.constant()
            ),
            19 => format!(
                "{not}EXISTS(SELECT VALUE e FROM e IN c.list WHERE e.v {} {} AND e.w {} {})",
                self.operator(),
                self.constant(),
                self.operator(),
                self.constant()
            ),
            20 => format!("{not}{path}"),
            21 => format!("{path} {} {}", self.operator(), self.chance.pick(PATHS)),
            22 => format!("{path} + 1 > {}", self.constant()),
            23 => format!(
                "(SELECT VALUE COUNT(1) FROM e IN c.tags WHERE e = {}) {} 1",
                self.constant(),
                self.operator()
            ),
            24 => format!("{path} > {} AND {path} <= {}", self.constant(), self.constant()),
            25 => format!(
                "ARRAY_LENGTH(c.tags) {} {}",
                self.operator(),
                self.chance.below(3)
            ),
            26 => format!("({path} ?? {}) = {}", self.constant(), self.constant()),
            27 => format!("({path} = {}) = {}", self.constant(), self.chance.one_in(2)),
            28 => format!("{} {not}IN ({path}, {})", self.constant(), self.path(elements)),
            _ => format!("LOWER({path}) = {}", self.text()),
        }
    }
}
