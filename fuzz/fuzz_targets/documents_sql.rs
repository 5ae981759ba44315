//! The query language: any text is answered, and a tree that was parsed prints to a text that
//! gives the same tree. Whatever compiles runs over a document without a panic.
#![no_main]

use documents_sql::{Compiled, EvalContext, OrderMode, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(query) = parse(text) else {
        return;
    };
    let printed = query.to_string();
    // Brackets and quotes may lengthen a text beyond its bound.
    if printed.len() <= documents_sql::limits::QUERY_TEXT_BYTES_MAX {
        assert_eq!(parse(&printed).as_ref(), Ok(&query), "{printed}");
    }
    // Parsed from text so that the types need no crates of their own here.
    let document = r#"{"id": "a", "n": 1, "s": "text", "t": [1, "x", {"k": null}], "o": {"k": true}}"#;
    let (Ok(one), Ok(document), Ok(now)) = ("1".parse(), document.parse(), "1970-01-01T00:00:00Z".parse())
    else {
        return;
    };
    let Ok(compiled) = Compiled::compile(&query, &[("p".to_owned(), one)]) else {
        return;
    };
    let mut execution = compiled.execution(EvalContext { now, random_seed: 1 }, 1 << 20, OrderMode::Sort);
    let pushed = execution.push(&document, 1).is_ok() && execution.finish().is_ok();
    while pushed && execution.next_row().is_some() {}
});
