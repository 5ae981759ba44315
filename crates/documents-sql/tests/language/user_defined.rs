//! User-defined functions: which are named, what they are asked, and that no index stands for them.

use std::sync::{Arc, Mutex};

use documents_sql::{Compiled, ExecError, FunctionName, Functions, OrderMode, Schema, SqlErrors, parse};
use serde_json::{Value, json};

/// Adds one to numbers, and remembers what it was asked.
#[derive(Debug, Default)]
struct Increment(Mutex<Vec<(usize, Vec<Option<Value>>)>>);

impl Functions for Increment {
    fn call(&self, index: usize, arguments: &[Option<&Value>]) -> Result<Option<Value>, ExecError> {
        let given = arguments.iter().map(|value| value.cloned()).collect();
        self.0.lock().unwrap().push((index, given));
        match arguments.first().copied().flatten() {
            Some(Value::Number(number)) => Ok(number.as_i64().map(|number| json!(number + 1))),
            Some(Value::String(_)) => Err(ExecError::Function),
            _ => Ok(None),
        }
    }
}

fn compiled(text: &str) -> Result<Compiled, SqlErrors> {
    let schema = Schema {
        functions: true,
        ..Schema::default()
    };
    Compiled::compile_for(&parse(text)?, &[], &schema)
}

fn run(text: &str, functions: Option<Arc<Increment>>) -> Result<Vec<Value>, ExecError> {
    let functions = functions.map(|functions| functions as Arc<dyn Functions>);
    let compiled = compiled(text).unwrap();
    let mut execution = compiled.execution_with(crate::context(), 1 << 20, OrderMode::Sort, functions);
    for (order, document) in (0..).zip([json!({"n": 1, "t": "x"}), json!({"n": 2, "t": "y"})]) {
        execution.push(&document, order)?;
    }
    execution.finish()?;
    Ok(std::iter::from_fn(|| execution.next_row()).collect())
}

#[test]
fn they_are_asked_for_each_row_and_told_of_undefined() {
    let functions = Arc::new(Increment::default());
    let rows = run(
        "SELECT VALUE udf.f(udf.g(c.n), c.none) FROM c",
        Some(functions.clone()),
    );
    assert_eq!(rows.unwrap(), [json!(3), json!(4)]);
    let asked = std::mem::take(&mut *functions.0.lock().unwrap());
    assert_eq!(
        asked,
        [
            (1, vec![Some(json!(1))]),
            (0, vec![Some(json!(2)), None]),
            (1, vec![Some(json!(2))]),
            (0, vec![Some(json!(3)), None]),
        ]
    );
    // Constants as well: the function may give another value each time.
    run("SELECT VALUE udf.f(1) FROM c", Some(functions.clone())).unwrap();
    assert_eq!(functions.0.lock().unwrap().len(), 2);
    let inner = "SELECT VALUE d FROM (SELECT VALUE udf.f(c.n) FROM c) d WHERE udf.f(d) > 3";
    assert_eq!(run(inner, Some(functions)).unwrap(), [json!(3)]);
}

#[test]
fn what_fails_ends_the_query() {
    let functions = || Some(Arc::new(Increment::default()));
    assert_eq!(
        run("SELECT VALUE udf.f(c.t) FROM c", functions()),
        Err(ExecError::Function)
    );
    assert_eq!(
        run("SELECT VALUE c.n FROM c WHERE false AND udf.f(c.t)", functions()),
        Ok(Vec::new()),
        "it isn't asked where it decides nothing"
    );
    assert_eq!(
        run("SELECT VALUE udf.f(c.n) FROM c", None),
        Err(ExecError::Function)
    );
}

#[test]
fn names_are_told_once_with_their_place() {
    let query = compiled("SELECT udf.f(c.a), udf.F(c.a) FROM c WHERE udf.f(c.b)").unwrap();
    let name = |name: &str, start, end| FunctionName {
        name: name.to_owned(),
        start,
        end,
    };
    assert_eq!(query.functions(), [name("f", 43, 53), name("F", 19, 29)]);
    let unknown = query.functions().first().unwrap().unknown().to_json();
    assert_eq!(unknown["errors"][0]["code"], "SC2005");
    let inner = compiled("SELECT VALUE udf.g(d) FROM (SELECT VALUE udf.f(c) FROM c) d").unwrap();
    let names: Vec<&str> = inner
        .functions()
        .iter()
        .map(|function| function.name.as_str())
        .collect();
    assert_eq!(names, ["f", "g"]);
    assert!(compiled("SELECT VALUE 1 FROM c").unwrap().functions().is_empty());
}

#[test]
fn no_index_stands_for_a_call_and_it_reads_what_it_is_given() {
    let query = compiled("SELECT VALUE c.a FROM c WHERE udf.f(c.b) = 1 AND udf.f(c.e) AND c.d = 2").unwrap();
    assert_eq!(
        query.access().conjuncts.len(),
        1,
        "{:?}",
        query.access().conjuncts
    );
    let wanted = ["a", "b", "d", "e"].map(str::to_owned).to_vec();
    assert_eq!(query.reads().properties, Some(wanted));
    assert_eq!(
        compiled("SELECT VALUE udf.f(c) FROM c")
            .unwrap()
            .reads()
            .properties,
        None
    );
    let ordered = compiled("SELECT VALUE c.a FROM c ORDER BY udf.f(c.a)").unwrap();
    assert_eq!(ordered.access().order_by, None);
}

#[test]
fn eleven_mentions_are_too_many() {
    let mentions = |count: usize| {
        let calls = ["udf.f(c.a)"].repeat(count).join(", ");
        compiled(&format!("SELECT {calls} FROM c")).map(|query| query.functions().len())
    };
    assert_eq!(mentions(10), Ok(1));
    assert_eq!(mentions(11).unwrap_err().0[0].code, "SC3005");
}
