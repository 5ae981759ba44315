//! What one run of a script leaves for the next one: nothing. A file of its own, for it counts the
//! processes that this one has started.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod signed;

use serde_json::json;
use signed::fixture_with;
use signed::procedures::{execute, keep};

#[tokio::test]
async fn nothing_of_a_run_is_left_for_the_next() {
    let f = fixture_with(|settings| settings.script_worker = Some(signed::script_worker()));
    let f = f.with_container(json!({})).await;
    let leave = "function () { left = 1; Array.prototype.left = 1; Object.prototype.left = 1; JSON.left = 1;
        JSON.stringify = () => '\"theirs\"'; getContext = () => ({}); Symbol.for('left'); }";
    keep(&f, "leave", leave).await;
    let look = "function () { getContext().getResponse().setBody(
        [typeof left, typeof [].left, typeof ({}).left, typeof JSON.left, JSON.stringify(1)]) }";
    keep(&f, "look", look).await;
    let clean = json!(["undefined", "undefined", "undefined", "undefined", "1"]);
    assert_eq!(execute(&f, "look").await.expect(200).json(), clean);
    let before = children();
    execute(&f, "leave").await.expect(200);
    assert_eq!(execute(&f, "look").await.expect(200).json(), clean);
    assert_eq!(children(), before, "the same process did all of it");
    // One that was short of memory isn't used again.
    let memory = "() => { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }";
    keep(&f, "memory", memory).await;
    execute(&f, "memory").await.expect(400);
    assert_eq!(execute(&f, "look").await.expect(200).json(), clean);
    assert_ne!(children(), before);
}

/// The processes that any thread of this one has started.
fn children() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let mut children: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok())
        .flat_map(|text| text.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .filter(|text| !text.is_empty())
        .collect();
    children.sort();
    children
}
