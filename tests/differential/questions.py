"""Queries, each with the features that it is about, so that differences can be sorted by cause."""

import json
from dataclasses import dataclass, field

import documents

# Argument kinds: n number, i small integer, s text, b boolean, a array, o object, v any, d date, t part of a date,
# r regular expression, q quoted JSON; behind `?` they may be left away.
FUNCTIONS = {
    "ABS": "n", "CEILING": "n", "FLOOR": "n", "ROUND": "n", "TRUNC": "n", "SIGN": "n", "SQRT": "n", "SQUARE": "n",
    "POWER": "ni", "EXP": "i", "LOG": "n?n", "LOG10": "n", "SIN": "n", "COS": "n", "TAN": "n", "COT": "n",
    "ASIN": "n", "ACOS": "n", "ATAN": "n", "ATN2": "nn", "DEGREES": "n", "RADIANS": "n", "NUMBERBIN": "n?n", "PI": "",
    "INTADD": "ii", "INTSUB": "ii", "INTMUL": "ii", "INTDIV": "ii", "INTMOD": "ii", "INTBITAND": "ii",
    "INTBITOR": "ii", "INTBITXOR": "ii", "INTBITNOT": "i", "INTBITLEFTSHIFT": "ii", "INTBITRIGHTSHIFT": "ii",
    "IS_ARRAY": "v", "IS_BOOL": "v", "IS_DEFINED": "v", "IS_NULL": "v", "IS_NUMBER": "v", "IS_OBJECT": "v",
    "IS_STRING": "v", "IS_PRIMITIVE": "v", "IS_INTEGER": "v", "IS_FINITE_NUMBER": "v",
    "CONTAINS": "ss?b", "STARTSWITH": "ss?b", "ENDSWITH": "ss?b", "STRINGEQUALS": "ss?b", "CONCAT": "ss?s",
    "INDEX_OF": "ss?i", "LEFT": "si", "RIGHT": "si", "LENGTH": "s", "LOWER": "s", "UPPER": "s", "LTRIM": "s",
    "RTRIM": "s", "TRIM": "s", "REPLACE": "sss", "REPLICATE": "si", "REVERSE": "s", "SUBSTRING": "sii",
    "TOSTRING": "v", "REGEXMATCH": "sr", "STRINGTONUMBER": "q", "STRINGTOBOOLEAN": "q", "STRINGTONULL": "q",
    "STRINGTOARRAY": "q", "STRINGTOOBJECT": "q",
    "ARRAY_CONCAT": "aa?a", "ARRAY_CONTAINS": "av?b", "ARRAY_LENGTH": "a", "ARRAY_SLICE": "ai?i",
    "ARRAY_CONTAINS_ANY": "avv", "ARRAY_CONTAINS_ALL": "avv", "SETINTERSECT": "aa", "SETUNION": "aa",
    "CHOOSE": "ivv", "OBJECTTOARRAY": "o", "IIF": "bvv",
    "DATETIMEADD": "tid", "DATETIMEDIFF": "tdd", "DATETIMEPART": "td", "DATETIMETOTICKS": "d",
    "DATETIMETOTIMESTAMP": "d", "DATETIMEBIN": "dti", "TICKSTODATETIME": "i", "TIMESTAMPTODATETIME": "i",
}
OPERATORS = ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", ">>>", "||", "=", "!=", "<", "<=", ">", ">=", "??"]
COMPARISONS = ["=", "!=", "<", "<=", ">", ">="]
DATE_PARTS = ["year", "month", "day", "hour", "minute", "second", "millisecond"]
PATTERNS = ["a%", "%b", "%a%", "a_c", "[ab]%", "[^a]%", "x[%]y", "_", "%", "", "A%", "é"]
EXPRESSIONS = ["a", "^a", "b$", "^[a-c]+$", "A", "a.c", "\\\\d+", "^$"]


@dataclass
class Question:
    """`order` says what of the rows' order counts: "exact", "keys" (column `k` only) or nothing."""

    features: list
    sql: str
    parameters: list = field(default_factory=list)
    order: str = ""


class Asker:
    def __init__(self, chance):
        self.chance = chance
        self.features = []
        self.parameters = []

    def feature(self, name):
        if name not in self.features:
            self.features.append(name)

    def constant(self, content):
        if self.chance.random() < 0.2:
            name = f"@p{len(self.parameters)}"
            self.parameters.append({"name": name, "value": content})
            return name
        if isinstance(content, str):
            escaped = content.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\t", "\\t")
            return f"'{escaped}'"
        return json.dumps(content, ensure_ascii=False)

    def argument(self, kind):
        """Most of the asked kind; some of another."""
        chance = self.chance
        if kind != "v" and chance.random() < 0.08:
            self.feature("odd argument")
            kind = "v"
        paths = {
            "n": ["c.num", "c.whole", "c.inner.y.z", "c.n"], "i": ["c.whole"], "s": ["c.text", "c.name", "c.texts[0]"],
            "b": ["c.flag"], "a": ["c.list", "c.numbers", "c.texts", "c.parts", "c.inner.w"], "o": ["c.inner"],
            "v": ["c.mix", "c.mix", "c.inner.x", "c.list[0]", "c.unique", "c.missing", "c.flag", "c.num", "c.text"],
            "d": ["c.day"], "q": ["c.text"],
        }
        if kind in paths and chance.random() < 0.65:
            return chance.choice(paths[kind])
        match kind:
            case "n":
                return self.constant(chance.choice(documents.NUMBERS))
            case "i":
                return self.constant(chance.randrange(-3, 8))
            case "s":
                return self.constant(chance.choice(documents.TEXTS))
            case "b":
                return chance.choice(["true", "false", "c.whole > 2"])
            case "a":
                return self.constant([documents.scalar(chance) for _ in range(chance.randrange(4))])
            case "o":
                return self.constant({"x": documents.scalar(chance)})
            case "d":
                return self.constant(chance.choice(documents.DATES))
            case "t":
                return self.constant(chance.choice(DATE_PARTS))
            case "r":
                return f"'{chance.choice(EXPRESSIONS)}'"
            case "q":
                return self.constant(chance.choice(["1", "-1.5e2", " 60 ", "true", "TRUE", "null", "[1, 2]", "{}", "x", ""]))
            case _:
                return self.constant(documents.value(chance, 1))

    def call(self, name=None):
        name = name or self.chance.choice(list(FUNCTIONS))
        self.feature(name)
        given, optional = [], False
        for kind in FUNCTIONS[name]:
            if kind == "?":
                optional = True
                continue
            if optional and self.chance.random() < 0.5:
                break
            given.append(self.argument(kind))
        return f"{name}({', '.join(given)})"

    def operation(self):
        chance = self.chance
        operator = chance.choice(OPERATORS)
        self.feature(f"operator {operator}")
        if operator in ("=", "!=", "??"):
            kinds = chance.choice(["vv", "nn", "ss", "aa", "oo"])
        elif operator == "||":
            kinds = "ss"
        elif operator in COMPARISONS:
            kinds = chance.choice(["vv", "nn", "ss", "bb"])
        elif operator in ("&", "|", "^", "<<", ">>", ">>>"):
            kinds = "ii"
        else:
            kinds = "nn"
        return f"{self.argument(kinds[0])} {operator} {self.argument(kinds[1])}"

    def logic(self):
        chance = self.chance
        operator = chance.choice(["AND", "OR", "NOT", "?:"])
        self.feature(f"operator {operator}")
        one, two = self.simple(False), self.simple(False)
        if chance.random() < 0.3:
            one = self.argument("v")
        match operator:
            case "NOT":
                return f"NOT ({one})"
            case "?:":
                return f"({one}) ? {self.argument('v')} : {self.argument('v')}"
            case _:
                return f"({one}) {operator} ({two})"

    def made(self):
        """An array or an object that the query makes."""
        if self.chance.random() < 0.5:
            self.feature("array made")
            return f"[{self.argument('v')}, {self.argument('n')}]"
        self.feature("object made")
        return f"{{'a': {self.argument('v')}, b: {self.argument('s')}}}"

    def expression(self):
        kind = self.chance.randrange(12)
        if kind < 6:
            return self.call()
        if kind < 9:
            return self.operation()
        if kind < 10:
            return self.made()
        return self.logic()

    def simple(self, nested=True):
        """A condition; of two conditions if `nested`."""
        chance = self.chance
        match chance.randrange(12 if nested else 11):
            case 0 | 1 | 2:
                operator = chance.choice(COMPARISONS)
                self.feature(f"operator {operator}")
                kind = chance.choice("nnssvb")
                return f"{self.argument(kind)} {operator} {self.argument(kind)}"
            case 3:
                self.feature("BETWEEN")
                kind = chance.choice("nns")
                no = chance.choice(["", "", "NOT "])
                return f"{self.argument(kind)} {no}BETWEEN {self.argument(kind)} AND {self.argument(kind)}"
            case 4:
                no = chance.choice(["", "", "NOT "])
                self.feature(f"{no}IN")
                kind = chance.choice("nsv")
                return f"{self.argument(kind)} {no}IN ({self.argument(kind)}, {self.argument(kind)}, {self.argument('v')})"
            case 5:
                self.feature("LIKE")
                return f"{self.argument('s')} {chance.choice(['', '', 'NOT '])}LIKE '{chance.choice(PATTERNS)}'"
            case 6:
                return self.call(chance.choice(["IS_DEFINED", "IS_NULL", "IS_STRING", "IS_NUMBER"]))
            case 7:
                return self.call(chance.choice(["STARTSWITH", "CONTAINS", "ENDSWITH", "STRINGEQUALS"]))
            case 8:
                return self.call("ARRAY_CONTAINS")
            case 9:
                self.feature("EXISTS")
                return f"EXISTS(SELECT VALUE e FROM e IN c.numbers WHERE e {chance.choice(COMPARISONS)} {chance.randrange(5)})"
            case 10:
                self.feature("bare path as condition")
                return chance.choice(["c.flag", "NOT c.flag", "c.mix", "c.missing"])
            case _:
                operator = chance.choice(["AND", "OR"])
                self.feature(f"operator {operator}")
                return f"({self.simple(False)}) {operator} ({self.simple(False)})"

    def where(self, share=0.6):
        if self.chance.random() > share:
            return ""
        self.feature("WHERE")
        return f" WHERE {self.simple()}"

    def question(self):
        self.features, self.parameters = [], []
        shapes = [
            (40, self.of_expressions), (20, self.of_conditions), (10, self.of_order), (8, self.of_aggregates),
            (6, self.of_groups), (6, self.of_distinct), (8, self.of_joins), (8, self.of_subqueries), (4, self.of_limits),
            (4, self.of_paths),
        ]
        shape = self.chance.choices([shape for _, shape in shapes], [weight for weight, _ in shapes])[0]
        sql, order = shape()
        return Question(list(self.features), sql, self.parameters, order)

    def of_expressions(self):
        expression = self.expression()
        if self.chance.random() < 0.15:
            self.feature("SELECT VALUE")
            return f"SELECT VALUE {expression} FROM c", ""
        return f"SELECT c.id, ({expression}) AS r FROM c", ""

    def of_conditions(self):
        self.feature("WHERE")
        return f"SELECT VALUE c.id FROM c WHERE {self.simple()}", ""

    def of_order(self):
        direction = self.chance.choice(["", " ASC", " DESC"])
        path = self.chance.choice(["c.unique", "c.n", "c.num", "c.text", "c.mix", "c.flag", "c.id", "c.missing"])
        self.feature(f"ORDER BY {path}")
        order = "exact" if path in ("c.unique", "c.n", "c.id") else "keys"
        tail = top = ""
        if order == "exact" and self.chance.random() < 0.5:
            if self.chance.random() < 0.5:
                self.feature("OFFSET LIMIT")
                tail = f" OFFSET {self.chance.randrange(6)} LIMIT {self.chance.randrange(9)}"
            else:
                self.feature("TOP")
                top = f"TOP {self.chance.randrange(1, 9)} "
        return f"SELECT {top}c.id, {path} AS k FROM c{self.where(0.4)} ORDER BY {path}{direction}{tail}", order

    def of_aggregates(self):
        name = self.chance.choice(["COUNT", "SUM", "AVG", "MIN", "MAX"])
        self.feature(name)
        path = self.chance.choice(["1", "c.num", "c.whole", "c.n", "c.text", "c.mix", "c.unique", "c.missing", "c.flag"])
        if path == "1":
            name = "COUNT"
        self.feature(f"aggregate of {path}")
        if self.chance.random() < 0.6:
            return f"SELECT VALUE {name}({path}) FROM c{self.where()}", ""
        return f"SELECT {name}({path}) AS r, COUNT(1) AS n FROM c{self.where()}", ""

    def of_groups(self):
        self.feature("GROUP BY")
        path = self.chance.choice(["c.name", "c.flag", "c.whole", "c.missing", "c.inner.w[2]"])
        name = self.chance.choice(["COUNT", "SUM", "AVG", "MIN", "MAX"])
        self.feature(name)
        return f"SELECT {path} AS k, {name}(c.n) AS r FROM c{self.where(0.3)} GROUP BY {path}", ""

    def of_distinct(self):
        self.feature("DISTINCT")
        path = self.chance.choice(["c.name", "c.flag", "c.whole", "c.missing", "c.mix", "c.list", "c.num"])
        if self.chance.random() < 0.6:
            return f"SELECT DISTINCT VALUE {path} FROM c{self.where(0.3)}", ""
        return f"SELECT DISTINCT {path} AS r FROM c{self.where(0.3)}", ""

    def of_joins(self):
        self.feature("JOIN")
        array = self.chance.choice(["c.list", "c.numbers", "c.texts", "c.inner.w", "c.mix", "c.missing"])
        match self.chance.randrange(4):
            case 0:
                return f"SELECT c.id, e FROM c JOIN e IN {array}{self.where(0.3)}", ""
            case 1:
                return f"SELECT c.id, p.k, p.n FROM c JOIN p IN c.parts WHERE p.n {self.chance.choice(COMPARISONS)} 1", ""
            case 2:
                return f"SELECT c.id, e, f FROM c JOIN e IN c.numbers JOIN f IN {array}", ""
            case _:
                self.feature("FROM IN")
                return f"SELECT VALUE e FROM e IN {array}", ""

    def of_subqueries(self):
        match self.chance.randrange(6):
            case 0:
                self.feature("ARRAY")
                return "SELECT c.id, ARRAY(SELECT VALUE e FROM e IN c.numbers WHERE e > 1) AS r FROM c", ""
            case 1:
                self.feature("scalar subquery")
                name = self.chance.choice(["COUNT", "SUM", "MIN", "MAX", "AVG"])
                self.feature(name)
                return f"SELECT c.id, (SELECT VALUE {name}(e) FROM e IN c.numbers) AS r FROM c", ""
            case 2:
                self.feature("EXISTS")
                return f"SELECT c.id, EXISTS(SELECT VALUE e FROM e IN c.list WHERE e = {self.argument('v')}) AS r FROM c", ""
            case 3:
                self.feature("subquery in JOIN")
                return f"SELECT c.id, e FROM c JOIN (SELECT VALUE e FROM e IN c.numbers WHERE e > {self.chance.randrange(4)}) AS e", ""
            case 4:
                self.feature("EXISTS")
                return f"SELECT VALUE c.id FROM c WHERE EXISTS(SELECT VALUE p FROM p IN c.parts WHERE p.k = 'a' AND p.n > {self.chance.randrange(3)})", ""
            case _:
                self.feature("subquery in FROM")
                return f"SELECT VALUE s.v FROM (SELECT c.id, {self.argument('n')} AS v FROM c) AS s", ""

    def of_limits(self):
        """Without an order only the number of rows is one that both must have."""
        self.feature("OFFSET LIMIT")
        return f"SELECT VALUE 1 FROM c{self.where(0.3)} OFFSET {self.chance.randrange(70)} LIMIT {self.chance.randrange(20)}", ""

    def of_paths(self):
        self.feature("paths")
        select = self.chance.choice([
            "c.inner.x, c.inner.y.z", "c.inner['x'], c['num']", "c.list[0], c.list[1]", "c.missing.deeper", "c.inner.w[2]",
            "c.list['x']", "c.inner[0]", "c.num + 1, c.text", "VALUE c.inner", "VALUE [c.num, c.missing]",
            "VALUE {a: c.num, b: c.missing}", "c.num AS a, c.num AS b", "VALUE c.missing", "c.missing",
        ])
        self.feature(select)
        source = self.chance.choice(["FROM c", "FROM root c", "FROM items AS c"])
        return f"SELECT {select} {source}{self.where(0.3)}", ""
