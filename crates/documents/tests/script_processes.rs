//! The processes that run scripts: what never stops is killed, what a run leaves is gone, and what a
//! process that was taken over says does no harm.
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

use std::time::Duration;

use serde_json::{Value, json};
use signed::procedures::{SPROCS, execute, keep};
use signed::{Fixture, fixture_with};
use tokio::time::Instant;

async fn service(how: &[&str]) -> Fixture {
    let mut worker = signed::script_worker();
    worker.arguments = how.iter().map(Into::into).collect();
    fixture_with(|settings| settings.script_worker = Some(worker))
        .with_container(json!({}))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_of_the_language_that_never_look_are_stopped_in_time() {
    let f = service(&[]).await;
    let runaways = [
        "const n = 3n ** 600000n, m = 7n ** 150000n; for (;;) n % m",
        "const text = '\\u1e9b\\u0323'.repeat(100000); for (let n = 0; n < 9999999; n++) text.normalize('NFKD')",
        "const names = []; names.length = 4294967295; JSON.stringify({}, names)",
        "const a = []; a.length = 3900000; for (let n = 0; n < 9999; n++) a.flat()",
        "const a = []; a.length = 3900000; for (let n = 0; n < 9999; n++) a.flatMap(x => x)",
        "Iterator.from({next: () => ({done: false})}).drop(Infinity).next()",
        // With the guard turned off.
        "Array.prototype[Symbol.iterator] = function* () {}; const a = []; a.length = 4294967295; [].concat(a)",
    ];
    for (number, body) in runaways.iter().enumerate() {
        keep(&f, &format!("{number}"), &format!("function () {{ {body}; }}")).await;
    }
    keep(&f, "well", "() => __.response.setBody('well')").await;
    let began = Instant::now();
    let ids: Vec<String> = (0..runaways.len()).map(|number| number.to_string()).collect();
    let runs = ids.iter().map(|id| execute(&f, id));
    for (reply, body) in futures::future::join_all(runs).await.into_iter().zip(runaways) {
        assert_eq!(
            reply.status,
            408,
            "{body}: {}",
            String::from_utf8_lossy(&reply.body)
        );
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(9), "{took:?}");
    // All places are free again, at once.
    let again = futures::future::join_all((0..8).map(|_| execute(&f, "well"))).await;
    assert!(again.iter().all(|reply| reply.status == 200));
}

/// What a service answers whose processes behave so, and what it holds afterwards.
async fn answered(how: &str) -> (u16, String) {
    let f = service(&[]).await;
    let script = json!({"id": "s", "body": "() => 1"});
    f.json("POST", SPROCS, &[], script).await.expect(201);
    let taken_over = {
        let mut worker = signed::script_worker();
        worker.arguments = vec![how.into()];
        f.another_node_with(|settings| settings.script_worker = Some(worker))
    };
    let one = || execute(&taken_over, "s");
    let reply = if how == "well" || how.starts_with("speaks") {
        one().await.expect(200);
        // What it says late has come by then, and was noticed: the next run has another process.
        tokio::time::sleep(Duration::from_millis(200)).await;
        one().await
    } else {
        let (reply, other) = tokio::join!(one(), one());
        assert_eq!(
            reply.status, other.status,
            "{how}: another run is answered as well"
        );
        reply
    };
    let listed = f.send("GET", "/dbs/d/colls/c/docs", &[], "").await.expect(200);
    assert_eq!(listed.json()["_count"], 0, "{how}: nothing was written");
    f.verify().await;
    let message = String::from_utf8_lossy(&reply.body).into_owned();
    (reply.status.as_u16(), message)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_taken_over_process_says_does_no_harm() {
    for (how, status, says) in [
        ("well", 200, "1"),
        ("frame-too-large", 400, "given up"),
        ("unknown-report", 400, "given up"),
        ("cut-report", 400, "given up"),
        ("ready-again", 400, "given up"),
        ("result-too-large", 400, "given up"),
        ("ends", 400, "given up"),
        ("speaks-after-the-end", 200, "1"),
        ("speaks-at-the-end", 200, "1"),
        ("is-killed", 503, "from outside"),
        ("unable", 503, "no filter"),
    ] {
        let (found, message) = answered(how).await;
        assert!(
            found == status && message.contains(says),
            "{how}: {found} {message}"
        );
    }
    // These go on until their time is over.
    let slow = [
        "unknown-operation",
        "deep-argument",
        "never-stops-talking",
        "another-container",
        "silent",
    ];
    for (found, message) in futures::future::join_all(slow.map(answered)).await {
        assert_eq!(found, 408, "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_taken_over_process_says_to_a_query_does_no_harm() {
    let f = service(&[]).await;
    let function = json!({"id": "f", "body": "() => 1"});
    f.json("POST", "/dbs/d/colls/c/udfs", &[], function)
        .await
        .expect(201);
    let script = json!({"id": "s", "body": "() => 1"});
    f.json("POST", SPROCS, &[], script).await.expect(201);
    async fn ask(f: &Fixture) -> (u16, String) {
        let query = json!({"query": "SELECT VALUE udf.f()", "parameters": []});
        let headers = [("x-ms-documentdb-isquery", "True")];
        let reply = f.json("POST", "/dbs/d/colls/c/docs", &headers, query).await;
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        (reply.status.as_u16(), body)
    }
    let taken_over = |how: &'static str| {
        let mut worker = signed::script_worker();
        worker.arguments = vec![how.into()];
        f.another_node_with(|settings| settings.script_worker = Some(worker))
    };
    let cases = [
        ("well", 400, "something else"),
        ("create", 400, "something else"),
        ("ready-again", 400, "something else"),
        ("frame-too-large", 400, "given up: it sent"),
        ("unknown-report", 400, "given up: it sent"),
        ("never-stops-talking", 400, "something else"),
        ("loads-and-ends", 400, "given up: it ended"),
        ("loads-and-lies", 400, "something else"),
        ("loads-and-gives-no-json", 400, "value that f gives"),
        ("does-not-forget", 400, "something else"),
        ("is-killed", 503, "from outside"),
        ("silent", 408, "user-defined functions"),
        ("loads-and-is-silent", 408, "user-defined functions"),
    ];
    let asked = cases.map(|(how, status, says)| {
        let node = taken_over(how);
        async move {
            // More than there are places; none is left taken.
            let times = if status == 408 { 1 } else { 9 };
            for _ in 0..times {
                let (found, message) = ask(&node).await;
                assert!(
                    found == status && message.contains(says),
                    "{how}: {found} {message}"
                );
            }
        }
    });
    futures::future::join_all(asked).await;
    let (status, body) = ask(&f).await;
    assert!(status == 200 && body.contains("[1]"), "{status} {body}");
    // A procedure that is not to go on without its process is told why.
    let reply = execute(&taken_over("does-not-forget"), "s").await;
    let message = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(
        reply.status == 400 && message.contains("something else"),
        "{} {message}",
        reply.status
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let f = fixture_with(|settings| {
        settings.script_worker = Some(documents::ScriptWorker {
            program: "/nowhere".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
        });
    });
    let f = f.with_container(json!({})).await;
    let script = json!({"id": "s", "body": "() => 1"});
    let refused = f.json("POST", SPROCS, &[], script).await.expect(503).json();
    assert_ne!(refused["message"], Value::Null);
}
