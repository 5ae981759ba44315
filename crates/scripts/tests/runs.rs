//! Runs of scripts: what they find in their world, what they can't reach, and how each bound ends
//! one.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "test code")]

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use scripts::{
    Bounds, Functions, Host, HostError, Input, NamedFunction, Role, Run, ScriptError, Stop, check, run,
};
use serde_json::{Value, json};

const BOUNDS: Bounds = Bounds {
    memory_bytes: 16 * 1024 * 1024,
    stack_bytes: 256 * 1024,
    result_bytes: 64 * 1024,
    log_bytes: 32,
};

/// Remembers what it was asked; refuses what has `bad` in it.
#[derive(Default, Clone)]
struct Book(Arc<Mutex<Vec<(String, Value)>>>);

impl Host for Book {
    fn call(&mut self, name: &str, argument: &str) -> Result<String, HostError> {
        let argument: Value = serde_json::from_str(argument).unwrap();
        if argument.to_string().contains("bad") {
            return Err(HostError::Refused {
                number: 409,
                body: "there already".to_owned(),
            });
        }
        let answer = match name {
            "list" | "query" => {
                json!({"result": [{"n": 2}, {"n": 1}, {"n": 3}], "options": {"continuation": "next"}})
            }
            _ => json!({"result": argument.get("body")}),
        };
        self.0.lock().unwrap().push((name.to_owned(), argument));
        Ok(answer.to_string())
    }

    fn is_closing(&mut self) -> bool {
        false
    }
}

/// Accepts nothing.
struct Closing;

impl Host for Closing {
    fn call(&mut self, _name: &str, _argument: &str) -> Result<String, HostError> {
        Err(HostError::Stop)
    }

    fn is_closing(&mut self) -> bool {
        true
    }
}

fn input(source: &str, parameters: &Value) -> Input {
    Input {
        id: "s".to_owned(),
        source: source.to_owned(),
        role: Role::Procedure,
        self_link: "dbs/x/colls/y/".to_owned(),
        alt_link: "dbs/d/colls/c".to_owned(),
        operation_type: None,
        parameters: parameters.to_string(),
        request_headers: "{}".to_owned(),
        request_body: None,
        response_body: None,
    }
}

fn started(source: &str, parameters: &Value, stop: &Stop) -> Run {
    run(
        &input(source, parameters),
        &BOUNDS,
        stop,
        Box::new(Book::default()),
    )
}

/// What a script answers.
fn answer(source: &str) -> Value {
    let run = started(source, &json!([]), &Stop::default());
    let body = run
        .outcome
        .unwrap_or_else(|error| panic!("{source}: {error}"))
        .response_body;
    body.map_or(Value::Null, |body| serde_json::from_str(&body).unwrap())
}

fn thrown(source: &str) -> (Option<u32>, String) {
    match started(source, &json!([]), &Stop::default()).outcome {
        Err(ScriptError::Thrown { number, message, .. }) => (number, message),
        other => panic!("{source}: {other:?}"),
    }
}

const SET: &str = "getContext().getResponse().setBody";

#[test]
fn scripts_come_in_several_forms() {
    for source in [
        format!("function f(a) {{ {SET}(a + 1) }}"),
        format!("function (a) {{ {SET}(a + 1) }}"),
        format!("a => {SET}(a + 1)"),
        format!("async function f(a) {{ await null; {SET}(a + 1) }}"),
        format!("function main(a) {{ {SET}(inc(a)) }} function inc(a) {{ return a + 1 }}"),
        format!("// what it is\nfunction f(a) {{ {SET}(a + 1) }};\n// end"),
    ] {
        check(&source, &BOUNDS, &Stop::default()).unwrap();
        let run = started(&source, &json!([41]), &Stop::default());
        assert_eq!(run.outcome.unwrap().response_body.unwrap(), "42", "{source}");
    }
    for source in ["function f( {", "let a b", "import x from 'y'"] {
        let checked = check(source, &BOUNDS, &Stop::default());
        assert!(
            matches!(checked, Err(ScriptError::Syntax(_))),
            "{source}: {checked:?}"
        );
    }
    assert!(thrown("42").1.contains("not a function"));
}

#[test]
fn operations_are_done_in_order_and_their_callbacks_called() {
    let source = r#"function f() {
        const seen = [];
        const c = getContext().getCollection();
        const accepted = c.createDocument(c.getSelfLink(), {id: "a"}, (err, doc) => {
            seen.push("created " + doc.id);
            c.readDocument(c.getAltLink() + "/docs/a", () => seen.push("read"));
        });
        seen.push("queued " + accepted);
        c.createDocument(c.getSelfLink(), {id: "bad"}, (err) => seen.push(err.number + " " + err.body));
        c.queryDocuments(c.getSelfLink(), "SELECT 1", {pageSize: 3}, (err, docs, options) => {
            seen.push(docs.length + " " + options.continuation);
            getContext().getResponse().setBody(seen);
        });
    }"#;
    assert_eq!(
        answer(source),
        json!(["queued true", "created a", "409 there already", "3 next", "read"])
    );
    // The read came last.
    let book = Book::default();
    let done = run(
        &input(source, &json!([])),
        &BOUNDS,
        &Stop::default(),
        Box::new(book.clone()),
    );
    assert!(done.outcome.is_ok());
    let names: Vec<String> = book
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    assert_eq!(names, ["create", "query", "read"]);
}

#[test]
fn chained_queries() {
    let set = |chain: &str| answer(&format!("() => {{ {chain} }}"));
    assert_eq!(set("__.filter(d => d.n > 1)"), json!([{"n": 2}, {"n": 3}]));
    assert_eq!(set("__.pluck('n')"), json!([2, 1, 3]));
    assert_eq!(
        set("__.chain().sortByDescending(d => d.n).map(d => [d.n, [0]]).flatten().value()"),
        json!([3, 0, 2, 0, 1, 0])
    );
    assert_eq!(
        set(
            "__.filter(d => d.n === 1, {pageSize: 1}, (e, docs, o) => __.response.setBody([docs.length, o.continuation]))"
        ),
        json!([1, "next"])
    );
}

#[test]
fn what_is_thrown_ends_the_run() {
    assert_eq!(
        thrown("() => { throw new Error('no') }"),
        (None, "Error: no".to_owned())
    );
    assert_eq!(
        thrown("() => { throw new Error(404, 'gone') }"),
        (Some(404), "Error: gone".to_owned())
    );
    assert_eq!(thrown("() => { throw 'text' }").1, "text");
    assert_eq!(
        thrown("() => { throw {number: 7, a: 1} }"),
        (Some(7), r#"{"number":7,"a":1}"#.to_owned())
    );
    assert_eq!(
        thrown("async () => { await null; throw new Error('late') }").1,
        "Error: late"
    );
    // In a callback, and without one.
    let create = "__.createDocument(__.getSelfLink(), {id: 'bad'}";
    assert_eq!(
        thrown(&format!("() => {{ {create}, e => {{ throw e }}) }}")).0,
        Some(409)
    );
    assert_eq!(thrown(&format!("() => {{ {create}) }}")).0, Some(409));
    // Caught by the script, but not by the run.
    assert_eq!(
        thrown("() => { try { getContext().abort(new Error('enough')) } catch (e) {} }").1,
        "Error: enough"
    );
    assert!(thrown("() => nowhere()").1.starts_with("ReferenceError"));
    assert_eq!(
        answer("() => { __.response.setBody(new Error(5, 'x') instanceof Error) }"),
        json!(true)
    );
}

#[test]
fn logs_are_bounded() {
    let run = started(
        "() => { console.log('a', 1, {b: 2}); for (let i = 0; i < 99; i++) console.log('xxxxx') }",
        &json!([]),
        &Stop::default(),
    );
    assert!(run.log.starts_with("a 1 {\"b\":2}\nxxxxx"), "{}", run.log);
    assert!(run.log.len() <= BOUNDS.log_bytes, "{}", run.log.len());
}

#[test]
fn nothing_outside_is_reached() {
    let names = "typeof require + typeof process + typeof os + typeof std + typeof fetch + typeof setTimeout + typeof Deno + typeof XMLHttpRequest + typeof scriptArgs + typeof Worker + typeof WebAssembly";
    assert_eq!(
        answer(&format!("() => {{ {SET}({names}) }}")),
        json!("undefined".repeat(11))
    );
    for name in ["std", "os", "fs", "./file.js", "file:///etc/passwd"] {
        let import = format!("async () => {{ await import({name:?}); }}");
        assert!(thrown(&import).1.contains("rror"), "{name}");
    }
    // What a script does to its world is gone with it.
    assert_eq!(
        answer("() => { globalThis.left = 1; Array.prototype.left = 1; }"),
        Value::Null
    );
    assert_eq!(
        answer(&format!("() => {{ {SET}(typeof left + typeof [].left) }}")),
        json!("undefinedundefined")
    );
}

/// Ends a run after a moment, from another thread, and tells how it ended.
fn stopped(source: &str) -> Result<(), ScriptError> {
    let stop = Stop::default();
    let from_outside = stop.clone();
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        from_outside.stop();
    });
    let outcome = started(source, &json!([]), &stop).outcome;
    killer.join().unwrap();
    outcome.map(|_| ())
}

#[test]
fn runaways_are_stopped() {
    let again = "const c = __; function go() { c.readDocuments(c.getSelfLink(), go) } go();";
    for source in [
        "() => { for (;;) {} }".to_owned(),
        "() => { for (;;) { try { for (;;) {} } catch (e) {} finally { continue } } }".to_owned(),
        "() => { const f = () => { Promise.resolve().then(f) }; f() }".to_owned(),
        "async () => { for (;;) await null }".to_owned(),
        format!("() => {{ {again} }}"),
        "() => /(a+)+$/.test('a'.repeat(40) + 'b')".to_owned(),
        "() => { let a = []; a.length = 4294967295; a.indexOf(1) }".to_owned(),
        "() => { [].forEach.call({length: 9007199254740991}, () => 1) }".to_owned(),
        "() => { __.response.setBody({toJSON() { for (;;) {} }}) }".to_owned(),
    ] {
        assert_eq!(stopped(&source), Err(ScriptError::Stopped), "{source}");
    }
}

#[test]
fn what_works_without_asking_is_kept_small() {
    for source in [
        "let a = []; a.length = 4294967295; a.join('')",
        "let a = []; a.length = 4294967295; [].concat(a)",
        "let a = []; a.length = 4294967295; a.reverse()",
        "[].slice.call({length: 9007199254740991})",
        "[].slice.call({get length() { return 1 }})",
        "let a = 'a'.repeat(1000000); a.indexOf('a'.repeat(500000) + 'b')",
    ] {
        assert!(
            thrown(&format!("() => {{ {source} }}"))
                .1
                .starts_with("RangeError"),
            "{source}"
        );
    }
    assert_eq!(
        answer(&format!(
            "function f() {{ {SET}([[1, 2].concat(3, [4]), [].slice.call(arguments), 'a,b'.split(','), 'aba'.replaceAll('a', 'c')]) }}"
        )),
        json!([[1, 2, 3, 4], [], ["a", "b"], "cbc"])
    );
}

#[test]
fn memory_stack_and_result_have_an_end() {
    assert!(
        thrown("() => { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }")
            .1
            .contains("memory")
    );
    assert!(thrown("() => 'x'.repeat(1e9)").1.contains("rror"));
    assert!(
        thrown("() => { const f = () => f() + 1; f() }")
            .1
            .contains("stack")
    );
    let deep = "() => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; __.response.setBody(a) }";
    assert!(thrown(deep).1.contains("rror"));
    let large = format!("() => {SET}('x'.repeat(100000))");
    let outcome = started(&large, &json!([]), &Stop::default()).outcome;
    assert!(
        matches!(outcome, Err(ScriptError::ResultTooLarge { bytes: 100_002, .. })),
        "{outcome:?}"
    );
}

#[test]
fn near_the_end_nothing_is_accepted() {
    let source = "() => { __.response.setBody(__.readDocuments(__.getSelfLink())) }";
    let run = run(
        &input(source, &json!([])),
        &BOUNDS,
        &Stop::default(),
        Box::new(Closing),
    );
    assert_eq!(run.outcome.unwrap().response_body.unwrap(), "false");
}

/// What a trigger sets of the request and of the response.
fn triggered(role: Role, source: &str) -> (Option<String>, Option<String>) {
    let input = Input {
        role,
        operation_type: Some("Create".to_owned()),
        request_headers: r#"{"x-ms-test":"seen"}"#.to_owned(),
        request_body: Some(r#"{"id":"1"}"#.to_owned()),
        response_body: (role == Role::PostTrigger).then(|| r#"{"id":"2"}"#.to_owned()),
        ..input(source, &json!([]))
    };
    let run = run(&input, &BOUNDS, &Stop::default(), Box::new(Book::default()));
    let outcome = run.outcome.unwrap_or_else(|error| panic!("{source}: {error}"));
    (outcome.request_body, outcome.response_body)
}

#[test]
fn triggers_read_the_request_and_set_what_is_theirs() {
    let some = |text: &str| Some(text.to_owned());
    for (role, source, request, response) in [
        (
            Role::PreTrigger,
            "() => { __.request.getBody().x = 1 }",
            None,
            None,
        ),
        (
            Role::PreTrigger,
            "() => { const r = __.request, b = r.getBody(); b.x = [r.getOperationType(), r.getValue('X-Ms-Test'), r.getValue('none')]; r.setBody(b) }",
            some(r#"{"id":"1","x":["Create","seen",null]}"#),
            None,
        ),
        (
            Role::PreTrigger,
            "() => { __.request.setValue('Body', 1); __.request.appendBody(2) }",
            some("3"),
            None,
        ),
        (
            Role::PostTrigger,
            "() => { __.response.setBody([__.request.getBody(), __.response.getBody()]) }",
            None,
            some(r#"[{"id":"1"},{"id":"2"}]"#),
        ),
        (
            Role::PostTrigger,
            "() => { __.response.getBody().x = 1 }",
            None,
            None,
        ),
    ] {
        assert_eq!(triggered(role, source), (request, response), "{source}");
    }
}

fn functions(sources: &[&str]) -> Result<Functions, ScriptError> {
    let named: Vec<NamedFunction> = sources
        .iter()
        .map(|source| NamedFunction {
            id: "f".to_owned(),
            source: (*source).to_owned(),
        })
        .collect();
    Functions::load(&named, &BOUNDS, &Stop::default())
}

#[test]
fn functions_are_loaded_once_and_called_again_and_again() {
    let loaded = functions(&[
        "function () { globalThis.n = (globalThis.n || 0) + 1; return n }",
        "(a, b) => [typeof n, a === undefined, b]",
    ])
    .unwrap();
    for time in 1..=3 {
        assert_eq!(loaded.apply(0, &[]).unwrap().unwrap(), time.to_string());
    }
    let given = [None, Some("[null]".to_owned())];
    assert_eq!(
        loaded.apply(1, &given).unwrap().unwrap(),
        r#"["undefined",true,[null]]"#
    );
    assert!(loaded.apply(2, &[]).is_err());
    assert!(matches!(
        loaded.apply(0, &[Some("{".to_owned())]),
        Err(ScriptError::Thrown { .. })
    ));
    assert_eq!(functions(&["() => {}"]).unwrap().apply(0, &[]), Ok(None));
    assert!(matches!(functions(&["function ("]), Err(ScriptError::Syntax(_))));
    assert!(matches!(
        functions(&["() => 1", "1"]),
        Err(ScriptError::Thrown { .. })
    ));
}

#[test]
fn functions_have_the_bounds_of_scripts() {
    let failed = |source: &str| {
        functions(&[source])
            .and_then(|loaded| loaded.apply(0, &[]))
            .unwrap_err()
    };
    assert!(matches!(
        failed("() => 'x'.repeat(100000)"),
        ScriptError::ResultTooLarge { .. }
    ));
    assert!(
        failed("() => { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }").is_out_of_memory()
    );
    assert!(
        failed("function f() { return f() + 1 }")
            .to_string()
            .contains("stack")
    );
    // What one call left for later is done after it, and is gone.
    let loaded =
        functions(&["() => { Promise.resolve().then(() => { globalThis.late = 1 }); return typeof late }"])
            .unwrap();
    assert_eq!(loaded.apply(0, &[]).unwrap().unwrap(), "\"undefined\"");
    assert_eq!(loaded.apply(0, &[]).unwrap().unwrap(), "\"number\"");
}
