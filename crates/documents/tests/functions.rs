//! User-defined functions in queries: where they may stand, what they are given and give, how they
//! fail.
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

use serde_json::{Value, json};
use signed::functions::{DOCS, UDFS, ask, keep, rows, running, with_items};
use signed::message;
use signed::procedures::A;

#[tokio::test]
async fn wherever_an_expression_may_stand() {
    let f = running().await;
    with_items(&f, 5).await;
    keep(&f, "double", "function (x) { return x * 2 }").await;
    keep(&f, "even", "x => x % 2 === 0").await;
    keep(
        &f,
        "repeat",
        "function list(x, times) { const l = []; for (let i = 0; i < times; i++) l.push(x); return l; }",
    )
    .await;
    for (sql, wanted) in [
        ("SELECT VALUE udf.double(c.n) FROM c", json!([0, 2, 4, 6, 8])),
        (
            "SELECT udf.double(c.n), c.id FROM c WHERE c.n = 3",
            json!([{"$1": 6, "id": "3"}]),
        ),
        ("SELECT VALUE c.n FROM c WHERE udf.even(c.n)", json!([0, 2, 4])),
        (
            "SELECT VALUE c.n FROM c WHERE NOT udf.even(c.n) AND c.n > 1",
            json!([3]),
        ),
        (
            "SELECT VALUE c.n FROM c WHERE udf.double(c.n) = @two OR c.n = 4",
            json!([1, 4]),
        ),
        (
            "SELECT VALUE udf.double(udf.double(c.n) + 1) FROM c WHERE c.id = '2'",
            json!([10]),
        ),
        ("SELECT VALUE SUM(udf.double(c.n)) FROM c", json!([20])),
        ("SELECT VALUE udf.double(COUNT(1)) FROM c", json!([10])),
        (
            "SELECT udf.even(c.n) AS even, COUNT(1) AS count FROM c GROUP BY udf.even(c.n)",
            json!([{"even": true, "count": 3}, {"even": false, "count": 2}]),
        ),
        (
            "SELECT VALUE [c.id, x] FROM c JOIN x IN udf.repeat(c.n, 2) WHERE c.n = 1",
            json!([["1", 1], ["1", 1]]),
        ),
        (
            "SELECT VALUE udf.double(t) FROM c JOIN t IN c.tags WHERE c.n = 2",
            json!([0, 2]),
        ),
        (
            "SELECT VALUE c.n FROM c WHERE EXISTS(SELECT VALUE t FROM t IN c.tags WHERE udf.double(t) = 2)",
            json!([2]),
        ),
        (
            "SELECT VALUE ARRAY(SELECT VALUE udf.double(t) FROM t IN c.tags) FROM c WHERE c.n = 2",
            json!([[0, 2]]),
        ),
        (
            "SELECT VALUE d.x FROM (SELECT udf.double(c.n) AS x FROM c) d WHERE d.x > 5",
            json!([6, 8]),
        ),
        (
            "SELECT VALUE c.n FROM c WHERE udf.even(c.n) ORDER BY c.n DESC",
            json!([4, 2, 0]),
        ),
        ("SELECT DISTINCT VALUE udf.even(c.n) FROM c", json!([true, false])),
        ("SELECT TOP 2 VALUE udf.double(c.n) FROM c", json!([0, 2])),
        (
            "SELECT VALUE udf.double(c.n) FROM c OFFSET 1 LIMIT 2",
            json!([2, 4]),
        ),
        ("SELECT VALUE udf.double(21)", json!([42])),
        (
            "SELECT VALUE (SELECT VALUE udf.double(c.n)) FROM c WHERE c.n = 4",
            json!([8]),
        ),
    ] {
        assert_eq!(rows(&f, sql).await, wanted, "{sql}");
    }
    let one = ask(&f, "SELECT VALUE udf.double(c.n) FROM c", &[A]).await;
    assert_eq!(
        one.expect(200).json()["Documents"],
        json!([0, 4, 8]),
        "of one partition"
    );
    let ordered = ask(&f, "SELECT VALUE c.n FROM c ORDER BY udf.double(c.n)", &[]).await;
    assert!(
        message(&ordered.expect(400)).contains("SC2206"),
        "as the original"
    );
}

#[tokio::test]
async fn values_as_they_come_and_go() {
    let f = running().await;
    let item = json!({"id": "1", "pk": "a", "null": null, "text": "æ\u{1F600}\"", "list": [1, {"x": [null]}], "half": 0.5});
    f.json("POST", DOCS, &[], item).await.expect(201);
    keep(&f, "same", "x => x").await;
    keep(
        &f,
        "kind",
        "function (x) { return [typeof x, x === undefined, x === null, arguments.length] }",
    )
    .await;
    keep(&f, "nothing", "() => {}").await;
    keep(
        &f,
        "odd",
        "x => [NaN, Infinity, () => 1, undefined, new Date(0), 3n > 2][x]",
    )
    .await;
    for (sql, wanted) in [
        ("SELECT VALUE udf.same(c) = c FROM c", json!([true])),
        (
            "SELECT VALUE udf.same([c.text, c.list, c.half, c.null, true]) FROM c",
            json!([["æ\u{1F600}\"", [1, {"x": [null]}], 0.5, null, true]]),
        ),
        (
            "SELECT VALUE udf.kind(c.none) FROM c",
            json!([["undefined", true, false, 1]]),
        ),
        (
            "SELECT VALUE udf.kind(c.null, 2) FROM c",
            json!([["object", false, true, 2]]),
        ),
        (
            "SELECT VALUE udf.kind() FROM c",
            json!([["undefined", true, false, 0]]),
        ),
        // Undefined is no row, no member, and not true.
        ("SELECT VALUE udf.nothing(c.id) FROM c", json!([])),
        ("SELECT c.id, udf.nothing(1) AS x FROM c", json!([{"id": "1"}])),
        ("SELECT VALUE c.id FROM c WHERE udf.nothing(1)", json!([])),
        (
            "SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(udf.nothing(1))",
            json!(["1"]),
        ),
        (
            "SELECT VALUE [udf.odd(0), udf.odd(1), udf.odd(2), udf.odd(3), udf.odd(4), udf.odd(5)] FROM c",
            json!([[null, null, "1970-01-01T00:00:00.000Z", true]]),
        ),
        (
            "SELECT VALUE udf.same(c.none.x ?? 'else') FROM c",
            json!(["else"]),
        ),
    ] {
        assert_eq!(rows(&f, sql).await, wanted, "{sql}");
    }
    // Text or not, what is not true is not true.
    assert_eq!(
        rows(&f, "SELECT VALUE 1 FROM c WHERE udf.same('true')").await,
        json!([])
    );
    // There is the language, and nothing else; one function's world is not another's.
    keep(
        &f,
        "world",
        "() => [typeof getContext, typeof __, typeof console, typeof kept]",
    )
    .await;
    keep(&f, "keeper", "() => { globalThis.kept = 1; return typeof kept }").await;
    assert_eq!(
        rows(&f, "SELECT VALUE [udf.keeper(), udf.world()] FROM c").await,
        json!([["number", ["undefined", "undefined", "undefined", "undefined"]]])
    );
}

#[tokio::test]
async fn pages_go_on_where_they_ended() {
    let f = running().await;
    with_items(&f, 75).await;
    keep(&f, "third", "x => x % 3 === 0").await;
    keep(&f, "pair", "x => [x, x]").await;
    for (sql, wanted) in [
        (
            "SELECT VALUE c.n FROM c WHERE udf.third(c.n)",
            (0..75).filter(|n| n % 3 == 0).collect::<Vec<_>>(),
        ),
        (
            "SELECT VALUE x FROM c JOIN x IN udf.pair(c.n)",
            (0..75).flat_map(|n| [n, n]).collect(),
        ),
        (
            "SELECT VALUE c.n FROM c WHERE udf.third(c.n) ORDER BY c.n DESC",
            (0..75).rev().filter(|n| n % 3 == 0).collect(),
        ),
        ("SELECT DISTINCT VALUE udf.third(c.n) ? 1 : 0 FROM c", vec![1, 0]),
    ] {
        for size in ["1", "4", "7", "1000"] {
            let mut found = Vec::new();
            let mut continuation = String::new();
            loop {
                let mut headers = vec![("x-ms-max-item-count", size)];
                if !continuation.is_empty() {
                    headers.push(("x-ms-continuation", &continuation));
                }
                let page = ask(&f, sql, &headers).await.expect(200);
                let rows = page.json()["Documents"].as_array().unwrap().clone();
                assert!(rows.len() <= size.parse().unwrap());
                found.extend(rows.iter().map(|row| row.as_i64().unwrap()));
                continuation = page.header("x-ms-continuation").to_owned();
                if continuation.is_empty() {
                    break;
                }
            }
            assert_eq!(found, wanted, "{sql} by {size}");
        }
    }
}

#[tokio::test]
async fn what_fails_is_told() {
    let f = running().await;
    with_items(&f, 3).await;
    keep(
        &f,
        "picky",
        "function tax(x) { if (x > 1) throw new Error('no input'); return x }",
    )
    .await;
    keep(
        &f,
        "numbered",
        "x => { throw new (class extends Error { number = 1001 })('as asked') }",
    )
    .await;
    let failed = ask(&f, "SELECT VALUE udf.picky(c.n) FROM c", &[])
        .await
        .expect(400);
    let said = message(&failed);
    assert!(
        said.contains("Encountered exception while executing Javascript. Exception = Error: no input"),
        "{said}"
    );
    assert!(said.contains("picky.js"), "{said}");
    assert_eq!(
        rows(&f, "SELECT VALUE udf.picky(c.n) FROM c WHERE c.n < 2").await,
        json!([0, 1])
    );
    let failed = ask(&f, "SELECT VALUE udf.numbered(1)", &[]).await.expect(400);
    // 1001 is the protocol's own: "partition key mismatch", upon which clients ask again.
    assert_eq!(failed.header("x-ms-substatus"), "400");
    // Upper and lower case differ.
    for name in ["none", "Picky"] {
        let failed = ask(&f, &format!("SELECT VALUE udf.{name}(1) FROM c"), &[]).await;
        let said = message(&failed.expect(400));
        assert!(said.contains("SC2005") && said.contains("\"start\":13"), "{said}");
    }
    let ten = ["udf.picky(1)"; 10].join(", ");
    assert_eq!(ask(&f, &format!("SELECT {ten} FROM c"), &[]).await.status, 200);
    let refused = ask(&f, &format!("SELECT {ten}, udf.picky(1) FROM c"), &[]).await;
    assert!(message(&refused.expect(400)).contains("The allowed limit is 10"));
    let many = |count: usize| format!("SELECT VALUE udf.picky({}) FROM c", vec!["1"; count].join(", "));
    assert_eq!(rows(&f, &many(4_096)).await, json!([1, 1, 1]));
    let refused = ask(&f, &many(4_097), &[]).await.expect(400);
    assert!(message(&refused).contains("4097 arguments. The allowed limit is 4096"));
    // A text that is no function, though it can be compiled.
    keep(&f, "number", "42").await;
    let failed = ask(&f, "SELECT VALUE udf.number(1) FROM c", &[]).await;
    assert!(message(&failed.expect(400)).contains("not a function"));
    f.json("POST", UDFS, &[], json!({"id": "bad", "body": "function ("}))
        .await
        .expect(400);
    // Elsewhere they aren't called.
    let operations = json!({"condition": "from c where udf.picky(c.n) = 0", "operations": [{"op": "set", "path": "/x", "value": 1}]});
    let refused = f.json("PATCH", &format!("{DOCS}/0"), &[A], operations).await;
    refused.expect(400);
    let computed = json!({"id": "e", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
        "computedProperties": [{"name": "x", "query": "SELECT VALUE udf.picky(c.n) FROM c"}]});
    f.json("POST", "/dbs/d/colls", &[], computed).await.expect(400);
}

#[tokio::test]
async fn where_scripts_are_not_run_a_query_that_calls_one_is_refused() {
    let f = running().await;
    keep(&f, "one", "() => 1").await;
    let off = f.another_node_with(|_| {});
    let refused = ask(&off, "SELECT VALUE udf.one() FROM c", &[]).await.expect(403);
    assert!(message(&refused).contains("run_scripts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_of_scripts_call_functions_too() {
    let f = running().await;
    with_items(&f, 6).await;
    keep(&f, "double", "x => x * 2").await;
    keep(&f, "loops", "() => { for (;;) {} }").await;
    keep(&f, "throws", "() => { throw new Error('no') }").await;
    let sums = r#"function (name) {
        const c = __, link = c.getSelfLink(), seen = [];
        const sum = (then) => c.queryDocuments(link, "SELECT VALUE SUM(udf." + name + "(c.n)) FROM c", (err, rows) => {
            seen.push(err ? err.number : rows[0]);
            then();
        });
        sum(() => c.createDocument(link, {id: "new", pk: "a", n: 100}, () => sum(() => __.response.setBody(seen))));
    }"#;
    f.json(
        "POST",
        "/dbs/d/colls/c/sprocs",
        &[],
        json!({"id": "s", "body": sums}),
    )
    .await
    .expect(201);
    let run = |name: &'static str| {
        let f = &f;
        async move {
            f.json("POST", "/dbs/d/colls/c/sprocs/s", &[A], json!([name]))
                .await
        }
    };
    let ended = run("loops").await.expect(408);
    assert!(
        message(&ended).contains("exceeded the time that"),
        "{}",
        message(&ended)
    );
    assert_eq!(rows(&f, "SELECT VALUE COUNT(1) FROM c").await, json!([6]));
    assert_eq!(run("throws").await.expect(200).json(), json!([400, 400]));
    f.send("DELETE", &format!("{DOCS}/new"), &[A], "")
        .await
        .expect(204);
    // All places are taken by those that ask.
    let all = futures::future::join_all((0..8).map(|_| run("double"))).await;
    let mut found: Vec<(u16, Value)> = Vec::new();
    for reply in &all {
        found.push((reply.status.as_u16(), reply.json()));
    }
    // The first to commit sees what it wrote; the others, which come after it or again, that it did.
    let sums = found.iter().filter(|(_, sums)| *sums == json!([12, 212])).count();
    let later = found
        .iter()
        .filter(|(_, sums)| *sums == json!([212, 212]))
        .count();
    assert!(sums == 1 && later == 7, "{found:?}");
    assert!(found.iter().all(|(status, _)| *status == 200), "{found:?}");
    f.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_no_document_has_are_the_function_s_own_error() {
    let f = running().await;
    let item = json!({"id": "1", "pk": "a", "text": "\u{1F600}!"});
    f.json("POST", DOCS, &[], item).await.expect(201);
    keep(&f, "begin", "(s, length) => s.substring(0, length)").await;
    keep(
        &f,
        "names",
        r#"s => ({[s[1]]: "\\ud83d" + s[0], '"\ud83d\\': s + "\ude00"})"#,
    )
    .await;
    for (sql, wanted) in [
        ("SELECT VALUE udf.begin(c.text, 1) FROM c", json!(["\u{fffd}"])),
        ("SELECT VALUE udf.begin(c.text, 2) FROM c", json!(["\u{1F600}"])),
        (
            "SELECT VALUE udf.names(c.text) FROM c",
            json!([{"\u{fffd}": "\\ud83d\u{fffd}", "\"\u{fffd}\\": "\u{1F600}!\u{fffd}"}]),
        ),
    ] {
        assert_eq!(rows(&f, sql).await, wanted, "{sql}");
    }
    keep(
        &f,
        "deep",
        "levels => { let a = []; for (let i = 1; i < levels; i++) a = [a]; return a }",
    )
    .await;
    ask(&f, "SELECT VALUE udf.deep(120) FROM c", &[])
        .await
        .expect(200);
    let refused = ask(&f, "SELECT VALUE udf.deep(200) FROM c", &[])
        .await
        .expect(400);
    assert!(
        message(&refused).contains("value that deep gives"),
        "{}",
        message(&refused)
    );
    // A procedure is told, and goes on in its process.
    let asks = r#"function () {
        const c = __, link = c.getSelfLink(), seen = [];
        const one = (call, then) => c.queryDocuments(link, "SELECT VALUE " + call + " FROM c", (err, rows) => {
            seen.push(err ? err.number : rows[0]);
            then();
        });
        one("udf.deep(200)", () => one("udf.deep(1)", () => __.response.setBody(seen)));
    }"#;
    f.json(
        "POST",
        "/dbs/d/colls/c/sprocs",
        &[],
        json!({"id": "s", "body": asks}),
    )
    .await
    .expect(201);
    let ran = f.json("POST", "/dbs/d/colls/c/sprocs/s", &[A], json!([])).await;
    assert_eq!(ran.expect(200).json(), json!([400, []]));
}
