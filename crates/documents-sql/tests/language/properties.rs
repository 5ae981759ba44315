//! Properties over random texts, trees, values and documents.

use std::cmp::Ordering;

use documents_sql::{Compiled, OrderMode, PathStep, Predicate, compare_values, deep_equal, parse};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{compile, context, execute, run};

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3.0f64..3.0).prop_map(Value::from),
        Just(json!(9_007_199_254_740_992.0)),
        Just(json!(9_007_199_254_740_993i64)),
        "[abz\u{e000}\u{1f600}]{0,3}".prop_map(Value::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[abc]", inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    (
        prop::option::of(scalar()),
        prop::option::of(any_value()),
        prop::option::of(prop::collection::vec(scalar(), 0..4)),
    )
        .prop_map(|(a, b, t)| {
            let mut document = Map::new();
            if let Some(a) = a {
                document.insert("a".to_owned(), a);
            }
            if let Some(b) = b {
                document.insert("b".to_owned(), b);
            }
            if let Some(t) = t {
                document.insert("t".to_owned(), Value::from(t));
            }
            Value::Object(document)
        })
}

/// Texts of expressions that use every construct, with brackets where they please.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("c".to_owned()),
        Just("c.a".to_owned()),
        Just("c['b'].a".to_owned()),
        Just("c.t[0]".to_owned()),
        Just("@p".to_owned()),
        Just("undefined".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1".to_owned()),
        Just("2.5e-3".to_owned()),
        Just("'it\\'s \\u00e5 \\n'".to_owned()),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        let operator = prop::sample::select(vec![
            "OR", "AND", "=", "!=", "<>", "<", "<=", ">", ">=", "|", "^", "&", "<<", ">>", ">>>", "||", "+",
            "-", "*", "/", "%", "??",
        ]);
        let prefix = prop::sample::select(vec!["NOT ", "-", "+", "~", "- -"]);
        let test = prop::sample::select(vec![
            "IN (1, c.a)",
            "NOT IN (2)",
            "BETWEEN 1 AND 2",
            "LIKE 'a%'",
            "NOT LIKE 'x' ESCAPE '!'",
        ]);
        let subquery = prop::sample::select(vec!["", "EXISTS", "ARRAY", "ALL", "FIRST", "LAST"]);
        let function = prop::sample::select(vec!["IS_DEFINED", "ABS", "TOSTRING", "LENGTH", "ARRAY_LENGTH"]);
        prop_oneof![
            (
                inner.clone(),
                operator.clone(),
                inner.clone(),
                operator,
                inner.clone()
            )
                .prop_map(|(a, o, b, p, c)| format!("{a} {o} {b} {p} {c}")),
            (prefix, inner.clone()).prop_map(|(p, a)| format!("{p}{a}")),
            (inner.clone(), test).prop_map(|(a, t)| format!("{a} {t}")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("{a} ? {b} : {c}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("({a}).x[1]")),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}, {{'k k': {b}}}]")),
            (subquery, inner.clone(), inner)
                .prop_map(|(s, a, b)| format!("{s}(SELECT VALUE {a} FROM x IN c.t WHERE {b})")),
        ]
    })
}

fn query() -> impl Strategy<Value = String> {
    let head = prop::sample::select(vec![
        "SELECT VALUE",
        "SELECT DISTINCT",
        "SELECT TOP 2 VALUE",
        "SELECT DISTINCT TOP @p",
    ]);
    let from = prop::sample::select(vec![
        "FROM c",
        "FROM root AS c",
        "FROM c JOIN k IN c.t JOIN (SELECT VALUE 1) AS j",
    ]);
    let tail = prop::sample::select(vec![
        "",
        "GROUP BY c.a, c.b",
        "ORDER BY c.a DESC, c.b",
        "ORDER BY c.a OFFSET 1 LIMIT @p",
        "ORDER BY VectorDistance(c.t, @p)",
        "ORDER BY RANK RRF(FullTextScore(c.a, 'x'), VectorDistance(c.t, [1]), [1, 2])",
    ]);
    (head, expression(), from, expression(), tail)
        .prop_map(|(head, what, from, filter, tail)| format!("{head} {what} {from} WHERE {filter} {tail}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn printing_and_parsing_again_gives_the_same_tree(text in query()) {
        // Not every text is one: `a = NOT b` is refused.
        if let Ok(tree) = parse(&text) {
            let printed = tree.to_string();
            let again = parse(&printed).unwrap_or_else(|e| panic!("{text}\n{printed}\n{e}"));
            prop_assert_eq!(&again, &tree, "{}\n{}", text, printed);
            prop_assert_eq!(again.to_string(), printed);
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_tokens_are_answered(tokens in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "VALUE", "*", "FROM", "c", "WHERE", "(", ")", "[", "]", "{", "}", ",", ".", ":", "?", "??", "NOT", "IN",
        "BETWEEN", "AND", "LIKE", "ORDER", "BY", "GROUP", "TOP", "1", "'s'", "@p", "=", "-", "JOIN", "AS", "EXISTS", "udf",
        "RANK", "OFFSET", "LIMIT", "DESC", "ESCAPE", "COUNT", "null",
    ]), 0..25)) {
        let text = format!("SELECT {}", tokens.join(" "));
        if let Ok(tree) = parse(&text) {
            prop_assert_eq!(parse(&tree.to_string()).unwrap(), tree.clone());
            let _ = Compiled::compile(&tree, &[("p".to_owned(), json!(1))]);
        }
    }

    #[test]
    fn queries_run_on_any_documents(text in query(), documents in prop::collection::vec(document(), 0..4)) {
        if let Ok(compiled) = compile(&text, &json!({"p": 1})) {
            let _ = execute(&compiled, &documents, OrderMode::Sort);
        }
    }

    #[test]
    fn values_are_in_a_total_order(values in prop::collection::vec(prop::option::of(any_value()), 3)) {
        let order = |i: usize, j: usize| compare_values(values[i].as_ref(), values[j].as_ref());
        for i in 0..3 {
            prop_assert_eq!(order(i, i), Ordering::Equal);
            for j in 0..3 {
                prop_assert_eq!(order(i, j), order(j, i).reverse());
                if let (Some(a), Some(b)) = (&values[i], &values[j]) {
                    prop_assert_eq!(order(i, j).is_eq(), deep_equal(a, b));
                }
                for k in 0..3 {
                    if order(i, j).is_le() && order(j, k).is_le() {
                        prop_assert!(order(i, k).is_le());
                    }
                }
            }
        }
    }

    #[test]
    fn sorting_agrees_with_the_order_of_values(
        documents in prop::collection::vec(document(), 0..30),
        descending in any::<bool>(),
        skip in 0usize..5,
        take in 0usize..10,
    ) {
        let mut model: Vec<(usize, &Value)> = documents.iter().enumerate().collect();
        model.sort_by(|(i, a), (j, b)| {
            let order = compare_values(a.get("a"), b.get("a")).then(i.cmp(j));
            if descending { order.reverse() } else { order }
        });
        let expected: Vec<Value> = model.into_iter().map(|(_, d)| d.clone()).skip(skip).take(take).collect();
        let direction = if descending { "DESC" } else { "ASC" };
        let rows = run(&format!("SELECT * FROM c ORDER BY c.a {direction} OFFSET {skip} LIMIT {take}"), &documents);
        prop_assert_eq!(rows, expected);
    }

    #[test]
    fn groups_agree_with_counting(documents in prop::collection::vec(document(), 0..30)) {
        let mut expected: Vec<(Option<&Value>, u64)> = Vec::new();
        for key in documents.iter().map(|d| d.get("b")) {
            match expected.iter_mut().find(|(known, _)| compare_values(*known, key).is_eq()) {
                Some((_, count)) => *count += 1,
                None => expected.push((key, 1)),
            }
        }
        let rows = run("SELECT c.b AS k, COUNT(1) AS n FROM c GROUP BY c.b", &documents);
        prop_assert_eq!(rows.len(), expected.len());
        for (row, (key, count)) in rows.iter().zip(&expected) {
            prop_assert!(compare_values(row.get("k"), *key).is_eq());
            prop_assert_eq!(row["n"].as_u64(), Some(*count));
        }
    }

    /// An index that keeps only what the predicates allow loses no row.
    #[test]
    fn predicates_are_necessary(filter in filter(), documents in prop::collection::vec(document(), 0..20)) {
        let compiled = compile(&format!("SELECT * FROM c WHERE {filter}"), &json!({})).unwrap();
        let conjuncts = &compiled.access().conjuncts;
        for document in &documents {
            let mut execution = compiled.execution(context(), 1 << 20, OrderMode::Sort);
            execution.push(document, 0).unwrap();
            if execution.rows_ready() > 0 {
                for predicate in conjuncts {
                    prop_assert!(allows(predicate, document), "{} {:?} {}", filter, predicate, document);
                }
            }
        }
    }
}

/// Filters of which some narrow.
fn filter() -> impl Strategy<Value = String> {
    let constant = scalar()
        .prop_map(|value| match value {
            Value::String(text) => format!("'{text}'"),
            other => other.to_string(),
        })
        .boxed();
    let path = prop::sample::select(vec!["c.a", "c.b", "c.b.a", "c.t[0]"]);
    let operator = prop::sample::select(vec!["=", "<", "<=", ">", ">=", "!="]);
    let leaf = prop_oneof![
        (path.clone(), operator.clone(), constant.clone()).prop_map(|(p, o, c)| format!("{p} {o} {c}")),
        (constant.clone(), operator, path.clone()).prop_map(|(c, o, p)| format!("{c} {o} {p}")),
        (path.clone(), constant.clone(), constant.clone()).prop_map(|(p, a, b)| format!("{p} IN ({a}, {b})")),
        (path.clone(), constant.clone(), constant.clone())
            .prop_map(|(p, a, b)| format!("{p} BETWEEN {a} AND {b}")),
        constant.clone().prop_map(|c| format!("ARRAY_CONTAINS(c.t, {c})")),
        constant.prop_map(|c| format!("EXISTS(SELECT VALUE x FROM x IN c.t WHERE x = {c})")),
        path.clone().prop_map(|p| format!("{p} LIKE 'a%'")),
        path.clone().prop_map(|p| format!("STARTSWITH({p}, 'a')")),
        path.clone().prop_map(|p| format!("IS_DEFINED({p})")),
        path.clone().prop_map(|p| format!("IS_BOOL({p})")),
        path.prop_map(|p| format!("NOT {p}")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), prop::sample::select(vec!["AND", "OR"]), inner)
            .prop_map(|(a, o, b)| format!("({a}) {o} ({b})"))
    })
}

/// Whether an index would find the document under the predicate.
fn allows(predicate: &Predicate, document: &Value) -> bool {
    let found = |path: &[PathStep], test: &dyn Fn(&Value) -> bool| at(document, path).into_iter().any(test);
    match predicate {
        Predicate::Compare { path, op, value } => found(path, &|found| {
            let order = compare_values(Some(found), Some(value));
            use documents_sql::CompareOp::*;
            match op {
                Equal => order.is_eq(),
                Less => order.is_lt(),
                LessOrEqual => order.is_le(),
                Greater => order.is_gt(),
                GreaterOrEqual => order.is_ge(),
            }
        }),
        Predicate::In { path, values } => {
            found(path, &|found| values.iter().any(|value| deep_equal(found, value)))
        }
        Predicate::StartsWith { path, prefix } => found(path, &|found| {
            found
                .as_str()
                .is_some_and(|text| text.starts_with(prefix.as_str()))
        }),
        Predicate::Defined { path } => found(path, &|_| true),
        Predicate::ArrayContains { path, value } => found(path, &|found| {
            found
                .as_array()
                .is_some_and(|items| items.iter().any(|item| deep_equal(item, value)))
        }),
        Predicate::Or(branches) => branches
            .iter()
            .any(|branch| branch.iter().all(|p| allows(p, document))),
    }
}

fn at<'d>(value: &'d Value, path: &[PathStep]) -> Vec<&'d Value> {
    match path.split_first() {
        None => vec![value],
        Some((PathStep::Name(name), rest)) => value
            .as_object()
            .and_then(|o| o.get(name))
            .map(|next| at(next, rest))
            .unwrap_or_default(),
        Some((PathStep::Element, rest)) => value
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|next| at(next, rest))
            .collect(),
    }
}
