//! Pages of queries that call user-defined functions: what they take, of time and of places, and how
//! they go on and end.
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

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use documents::{Documents, DocumentsService, Settings};
use ledger::Clock;
use ledger::random::SeededRandom;
use serde_json::json;
use signed::Fixture;
use signed::functions::{ask, keep, running, with_items};
use signed::message;
use signed::procedures::A;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_do_not_end_are_ended() {
    let f = running().await;
    with_items(&f, 3).await;
    for (id, body) in [
        ("loops", "() => { for (;;) {} }"),
        (
            "numbers",
            "() => { const n = 3n ** 600000n, m = 7n ** 150000n; for (;;) n % m; }",
        ),
        (
            "memory",
            "() => { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }",
        ),
        ("deep", "function f() { return f() + 1 }"),
        ("large", "() => 'x'.repeat(5000000)"),
        (
            "nested",
            "() => { let a = []; for (let i = 0; i < 1000; i++) a = [a]; return a }",
        ),
        (
            "later",
            "() => { const f = () => { Promise.resolve().then(f) }; f() }",
        ),
        ("well", "() => 1"),
    ] {
        keep(&f, id, body).await;
    }
    let one = |id: &'static str| {
        let f = &f;
        async move { ask(f, &format!("SELECT VALUE udf.{id}() FROM c"), &[]).await }
    };
    let (loops, numbers, later) = tokio::join!(one("loops"), one("numbers"), one("later"));
    for reply in [loops, numbers, later] {
        assert!(message(&reply.expect(408)).contains("user-defined functions"));
    }
    one("memory").await.expect(400);
    assert!(message(&one("deep").await.expect(400)).contains("stack"));
    one("large").await.expect(413);
    one("nested").await.expect(400);
    let again = futures::future::join_all((0..8).map(|_| one("well"))).await;
    assert!(
        again.iter().all(|reply| reply.status == 200),
        "all places are free"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_slow_for_many_rows_ends_the_page_early_or_the_query() {
    let f = running().await;
    with_items(&f, 40).await;
    keep(
        &f,
        "slow",
        "x => { const end = Date.now() + 800; while (Date.now() < end) {} return x }",
    )
    .await;
    // All rows are needed before the first one: past 15 s it is over.
    let sum = ask(&f, "SELECT VALUE SUM(udf.slow(c.n)) FROM c", &[]).await;
    sum.expect(408);
    let some = ask(&f, "SELECT TOP 3 VALUE udf.slow(c.n) FROM c", &[]).await;
    assert_eq!(some.expect(200).json()["Documents"], json!([0, 1, 2]));
}

/// A clock on which each look takes time.
#[derive(Debug)]
struct EachLookTakes(Arc<dyn Clock>, Duration, AtomicU32);

impl Clock for EachLookTakes {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        self.1 * self.2.fetch_add(1, Ordering::SeqCst)
    }
}

/// Another node, on whose clock each look takes so long.
fn each_look_takes(f: &Fixture, milliseconds: u64) -> Fixture {
    let mut settings = Settings::single("test", f.key.clone());
    settings.script_worker = Some(signed::script_worker());
    let step = Duration::from_millis(milliseconds);
    let clock = Arc::new(EachLookTakes(f.clock.clone(), step, AtomicU32::new(0)));
    let random = Arc::new(SeededRandom::new(3));
    let documents = Documents::new(f.ledger.clone(), clock, random, settings);
    Fixture {
        ledger: f.ledger.clone(),
        clock: f.clock.clone(),
        service: DocumentsService::new(documents.clone()),
        documents,
        key: f.key.clone(),
        read_only_key: f.read_only_key.clone(),
    }
}

/// All rows of all pages, and how many pages there were.
async fn followed(f: &Fixture, sql: &str, size: &str) -> (Vec<i64>, usize) {
    let mut found = Vec::new();
    let mut continuation = String::new();
    for pages in 1..1_000 {
        let mut headers = vec![("x-ms-max-item-count", size)];
        if !continuation.is_empty() {
            headers.push(("x-ms-continuation", &continuation));
        }
        let page = ask(f, sql, &headers).await.expect(200);
        let rows = page.json()["Documents"].as_array().unwrap().clone();
        found.extend(rows.iter().map(|row| row.as_i64().unwrap()));
        continuation = page.header("x-ms-continuation").to_owned();
        if continuation.is_empty() {
            return (found, pages);
        }
    }
    panic!("{sql} by {size} doesn't end; so far {found:?}");
}

/// The items without the property are looked for first, and there are none.
#[tokio::test]
async fn an_order_that_runs_out_of_time_before_its_first_row_gets_on() {
    let f = running().await;
    with_items(&f, 60).await;
    let late = each_look_takes(&f, 3_000);
    let (first, _) = followed(&late, "SELECT TOP 3 VALUE c.n FROM c ORDER BY c.n", "100").await;
    assert_eq!(first, [0, 1, 2]);
    let (all, _) = followed(&late, "SELECT VALUE c.n FROM c ORDER BY c.n", "100").await;
    assert_eq!(all, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn pages_that_run_out_of_time_get_on_and_repeat_nothing() {
    let f = running().await;
    with_items(&f, 60).await;
    keep(&f, "same", "x => x").await;
    keep(&f, "three", "x => [x, x + 1000, x + 2000]").await;
    keep(&f, "rare", "x => x === 7 || x === 58").await;
    let three = |n: i64| [n, n + 1000, n + 2000];
    // From a page that just doesn't see all of its items to one whose time is over at once.
    for step in [170, 700, 2_600, 6_000] {
        let slow = each_look_takes(&f, step);
        for (sql, wanted) in [
            ("SELECT VALUE udf.same(c.n) FROM c", (0..60).collect::<Vec<i64>>()),
            (
                "SELECT VALUE x FROM c JOIN x IN udf.three(c.n)",
                (0..60).flat_map(three).collect(),
            ),
            (
                "SELECT VALUE x FROM c JOIN x IN udf.three(c.n) ORDER BY c.n DESC",
                (0..60).rev().flat_map(three).collect(),
            ),
            ("SELECT VALUE c.n FROM c WHERE udf.rare(c.n)", vec![7, 58]),
            (
                "SELECT VALUE c.n FROM c WHERE udf.rare(c.n) AND c.n > 50",
                vec![58],
            ),
            ("SELECT VALUE c.n FROM c WHERE c.n > 1 AND c.n < 5", vec![2, 3, 4]),
        ] {
            for size in ["1", "2", "1000"] {
                let (found, _) = followed(&slow, sql, size).await;
                assert_eq!(found, wanted, "{sql} by {size} with {step} ms a look");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_function_over_many_items_is_followed_to_its_end() {
    let f = running().await;
    with_items(&f, 40).await;
    keep(
        &f,
        "slow",
        "x => { const end = Date.now() + 30; while (Date.now() < end) {} return x }",
    )
    .await;
    let slow = each_look_takes(&f, 400);
    let (found, pages) = followed(&slow, "SELECT VALUE udf.slow(c.n) FROM c", "1000").await;
    assert_eq!(found, (0..40).collect::<Vec<i64>>());
    assert!(pages > 2, "{pages}");
}

#[tokio::test]
async fn a_page_of_one_row_loads_hardly_more() {
    let f = running().await;
    with_items(&f, 60).await;
    keep(&f, "same", "x => x").await;
    let headers = [
        ("x-ms-max-item-count", "1"),
        ("x-ms-documentdb-populatequerymetrics", "True"),
    ];
    let page = ask(&f, "SELECT VALUE udf.same(c.n) FROM c", &headers)
        .await
        .expect(200);
    assert!(!page.header("x-ms-continuation").is_empty());
    let metrics = page.header("x-ms-documentdb-query-metrics");
    assert!(metrics.contains("retrievedDocumentCount=2;"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_ends_its_call_and_leaves_its_place() {
    let f = running().await;
    with_items(&f, 3).await;
    keep(&f, "loops", "() => { for (;;) {} }").await;
    keep(&f, "well", "() => 1").await;
    let procedure = r#"function () {
        __.queryDocuments(__.getSelfLink(), "SELECT VALUE udf.loops(c.n) FROM c", () => {});
    }"#;
    let procedure = json!({"id": "s", "body": procedure});
    f.json("POST", "/dbs/d/colls/c/sprocs", &[], procedure)
        .await
        .expect(201);
    for of_a_procedure in [false, true] {
        // They take all places.
        let calls = futures::future::join_all((0..8).map(|_| async {
            if of_a_procedure {
                f.json("POST", "/dbs/d/colls/c/sprocs/s", &[A], json!([])).await
            } else {
                ask(&f, "SELECT VALUE udf.loops(c.n) FROM c", &[]).await
            }
        }));
        let given_up = tokio::time::timeout(Duration::from_millis(1_500), calls).await;
        assert!(given_up.is_err(), "they are in a call");
        // A place is free when its process is gone.
        let begun = Instant::now();
        let again = (0..8).map(|_| ask(&f, "SELECT VALUE udf.well()", &[]));
        for reply in futures::future::join_all(again).await {
            reply.expect(200);
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(3_000), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_calls_nothing_takes_no_place() {
    let f = running().await;
    with_items(&f, 3).await;
    keep(&f, "loops", "() => { for (;;) {} }").await;
    let calls = futures::future::join_all((0..8).map(|_| ask(&f, "SELECT VALUE udf.loops(c.n) FROM c", &[])));
    let others = async {
        // By then all places are taken, until the calls are given up.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let begun = Instant::now();
        let broken = [("x-ms-continuation", "of nothing")];
        let refused = ask(&f, "SELECT VALUE udf.loops(c.n) FROM c", &broken).await;
        assert!(message(&refused.expect(400)).contains("Continuation"));
        let unordered = "SELECT VALUE c.n FROM c WHERE udf.loops(c.n) ORDER BY c.n, c.id";
        ask(&f, unordered, &[]).await.expect(400);
        let none = ask(
            &f,
            "SELECT VALUE c.n FROM c WHERE c.n > 100 AND udf.loops(c.n)",
            &[],
        )
        .await;
        assert_eq!(none.expect(200).json()["_count"], 0);
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(1_500), "{took:?}");
    };
    tokio::select! {
        _ = calls => panic!("the calls should last"),
        () = others => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_of_functions_is_reported() {
    let f = running().await;
    with_items(&f, 3).await;
    keep(
        &f,
        "slow",
        "x => { const end = Date.now() + 30; while (Date.now() < end) {} return x }",
    )
    .await;
    let headers = [("x-ms-documentdb-populatequerymetrics", "True")];
    let time = async |sql| {
        let page = ask(&f, sql, &headers).await.expect(200);
        let metrics = page.header("x-ms-documentdb-query-metrics").to_owned();
        let time = metrics
            .split(';')
            .find_map(|field| field.strip_prefix("userFunctionExecuteTimeInMs="))
            .unwrap();
        time.parse::<f64>().unwrap()
    };
    let slow = time("SELECT VALUE udf.slow(c.n) FROM c").await;
    assert!((85.0..15_000.0).contains(&slow), "{slow}");
    assert!(time("SELECT VALUE c.n FROM c").await < 0.01);
}
