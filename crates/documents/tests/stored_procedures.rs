//! Stored procedures over the protocol, and the other scripts as resources.
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
use signed::procedures::{A, SPROCS};
use signed::{Fixture, Reply, fixture_with};

const DOCS: &str = "/dbs/d/colls/c/docs";
const PK: &str = "x-ms-documentdb-partitionkey";

/// Keeps a procedure `s`.
async fn keep(f: &Fixture, body: &str) {
    f.send("DELETE", &format!("{SPROCS}/s"), &[], "").await;
    signed::procedures::keep(f, "s", body).await;
}

async fn execute(f: &Fixture, body: &str, parameters: Value) -> Reply {
    keep(f, body).await;
    f.json("POST", &format!("{SPROCS}/s"), &[A], parameters).await
}

async fn ids(f: &Fixture) -> Vec<String> {
    let listed = f.send("GET", DOCS, &[], "").await.expect(200).json();
    let documents = listed["Documents"].as_array().unwrap();
    documents
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

/// A service that runs scripts.
fn running() -> Fixture {
    fixture_with(|settings| settings.script_worker = Some(signed::script_worker()))
}

#[tokio::test]
async fn nothing_is_run_unless_a_setting_says_so() {
    let f = fixture_with(|_| {}).with_container(json!({})).await;
    let script = json!({"id": "s", "body": "function () { getContext().getResponse().setBody(1) }"});
    f.json("POST", "/dbs/d/colls/c/sprocs", &[], script)
        .await
        .expect(201);
    let key = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    let refused = f.json("POST", "/dbs/d/colls/c/sprocs/s", &[key], json!([])).await;
    let message = refused.expect(403).json()["message"].to_string();
    assert!(message.contains("run_scripts"), "{message}");
}

#[tokio::test]
async fn scripts_are_resources() {
    let f = running().with_container(json!({})).await;
    for (segment, list, more) in [
        ("sprocs", "StoredProcedures", json!({})),
        (
            "triggers",
            "Triggers",
            json!({"triggerType": "Pre", "triggerOperation": "All"}),
        ),
        ("udfs", "UserDefinedFunctions", json!({})),
    ] {
        let path = format!("/dbs/d/colls/c/{segment}");
        let one = format!("{path}/one");
        let script = |id: &str, body: &str| {
            let mut script = json!({"id": id, "body": body});
            for (name, value) in more.as_object().unwrap() {
                script[name] = value.clone();
            }
            script
        };
        let made = f
            .json("POST", &path, &[], script("one", "function () {}"))
            .await
            .expect(201)
            .json();
        assert_eq!(made["body"], "function () {}");
        assert_eq!(made.get("triggerType"), more.get("triggerType"));
        assert!(made["_self"].as_str().unwrap().contains(segment));
        f.json("POST", &path, &[], script("one", "function () {}"))
            .await
            .expect(409);
        f.json("POST", &path, &[], script("two", "function ("))
            .await
            .expect(400);
        f.json("POST", &path, &[], script("a/b", "function () {}"))
            .await
            .expect(400);
        f.json("POST", &path, &[], json!({"id": "two"})).await.expect(400);
        let long = format!("function () {{ '{}' }}", "x".repeat(600_000));
        f.json("POST", &path, &[], script("two", &long)).await.expect(413);
        f.json("POST", &path, &[], script("two", "() => 2"))
            .await
            .expect(201);
        assert_eq!(f.send("GET", &one, &[], "").await.expect(200).json(), made);
        let rid = made["_rid"].as_str().unwrap();
        let by_rid = format!("{path}/{rid}");
        assert_eq!(
            f.send("GET", &by_rid, &[], "").await.status,
            404,
            "names don't mix with resource ids"
        );
        let listed = f
            .send("GET", &path, &[("x-ms-max-item-count", "1")], "")
            .await
            .expect(200);
        assert_eq!(listed.json()[list][0]["id"], "one");
        let more_of_it = listed.header("x-ms-continuation").to_owned();
        let listed = f
            .send("GET", &path, &[("x-ms-continuation", &more_of_it)], "")
            .await
            .expect(200)
            .json();
        assert_eq!(
            (listed["_count"].as_u64(), listed[list][0]["id"].as_str()),
            (Some(1), Some("two"))
        );
        let asked = json!({"query": "SELECT VALUE c.id FROM c WHERE c.id > @x", "parameters": [{"name": "@x", "value": "one"}]});
        let asked = f
            .json("POST", &path, &[("x-ms-documentdb-isquery", "True")], asked)
            .await
            .expect(200);
        assert_eq!(asked.json()[list], json!(["two"]));
        let old = ("if-match", "\"old\"");
        f.json("PUT", &one, &[old], script("one", "() => 1"))
            .await
            .expect(412);
        f.json("PUT", &one, &[], script("other", "() => 1"))
            .await
            .expect(400);
        let etag = made["_etag"].as_str().unwrap().to_owned();
        let replaced = f
            .json("PUT", &one, &[("if-match", &etag)], script("one", "() => 1"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&replaced["_rid"], &replaced["body"]),
            (&made["_rid"], &json!("() => 1"))
        );
        assert_ne!(replaced["_etag"], made["_etag"]);
        f.send("DELETE", &one, &[old], "").await.expect(412);
        f.send("DELETE", &one, &[], "").await.expect(204);
        f.send("GET", &one, &[], "").await.expect(404);
        f.send("DELETE", &one, &[], "").await.expect(404);
    }
    // They go with the container.
    f.send("DELETE", "/dbs/d/colls/c", &[], "").await.expect(204);
    f.documents.sweep_once().await.unwrap();
    f.json(
        "POST",
        "/dbs/d/colls",
        &[],
        json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}}),
    )
    .await
    .expect(201);
    assert_eq!(
        f.send("GET", SPROCS, &[], "").await.expect(200).json()["_count"],
        0
    );
}

#[tokio::test]
async fn a_procedure_is_one_transaction() {
    let f = running()
        .with_container(json!({"uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/u"]}]}}))
        .await;
    let import = r#"function (docs, fails) {
        const c = getContext().getCollection(), link = c.getSelfLink();
        for (const doc of docs) c.createDocument(link, doc, (err) => { if (err) throw err; });
        c.queryDocuments(link, {query: "SELECT VALUE COUNT(1) FROM c WHERE c.n > @n", parameters: [{name: "@n", value: 0}]}, (err, rows) => {
            if (fails) throw new Error(418, "as asked");
            getContext().getResponse().setBody(rows[0]);
        });
    }"#;
    let docs = |from: u32| -> Value {
        (from..from + 3)
            .map(|n| json!({"id": format!("{n}"), "pk": "a", "n": n, "u": n}))
            .collect()
    };
    let done = execute(&f, import, json!([docs(1)])).await.expect(200);
    assert_eq!(done.json(), 3, "it sees what it wrote");
    assert!(done.header("x-ms-request-charge").parse::<f64>().unwrap() > 15.0);
    assert_eq!(ids(&f).await, ["1", "2", "3"]);
    f.verify().await;

    let failed = execute(&f, import, json!([docs(4), true])).await.expect(400);
    assert_eq!(failed.header("x-ms-substatus"), "418");
    let message = failed.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("Encountered exception while executing Javascript. Exception = Error: as asked"),
        "{message}"
    );
    assert_eq!(ids(&f).await, ["1", "2", "3"], "nothing of it is there");
    // An id and a unique value that are there, by a throw and by a callback that goes on.
    assert_eq!(
        execute(&f, import, json!([docs(3)]))
            .await
            .expect(400)
            .header("x-ms-substatus"),
        "409"
    );
    let goes_on = r#"function () {
        const seen = [], c = __, link = c.getSelfLink();
        const note = (err) => seen.push(err ? err.number : 0);
        c.createDocument(link, {id: "x", pk: "a", u: 1}, note);
        c.createDocument(link, {id: "x", pk: "a", u: "x"}, note);
        c.upsertDocument(link, {id: "x", pk: "a", u: "y"}, note);
        c.upsertDocument(link, {id: "x", pk: "a", u: 2}, note);
        c.replaceDocument(c.getAltLink() + "/docs/x", {id: "x", pk: "a", u: "z"}, {etag: "\"old\""}, note);
        c.createDocument(link, {id: "y", pk: "b"}, note);
        c.createDocument(link, {id: "tmp", pk: "a", u: "t"}, (err, doc) => c.deleteDocument(doc._self, (err) => {
            note(err);
            c.readDocument(doc._self, (err) => { note(err); getContext().getResponse().setBody(seen); });
        }));
    }"#;
    let done = execute(&f, goes_on, json!([])).await.expect(200).json();
    assert_eq!(done, json!([409, 0, 0, 409, 412, 400, 0, 404]));
    assert_eq!(ids(&f).await, ["1", "2", "3", "x"]);
    let x = f
        .send("GET", "/dbs/d/colls/c/docs/x", &[A], "")
        .await
        .expect(200)
        .json();
    assert_eq!(x["u"], "y");
    f.verify().await;
    let changes = f
        .send("GET", DOCS, &[("a-im", "Incremental Feed")], "")
        .await
        .expect(200)
        .json();
    assert_eq!(changes["_count"], 4);
}

#[tokio::test]
async fn answers_and_logs() {
    let f = running().with_container(json!({})).await;
    assert_eq!(
        execute(&f, "() => 1", json!([])).await.expect(200).json(),
        "",
        "as the service says nothing"
    );
    let log = "function (a) { console.log('seen', a); if (a > 1) throw new Error('no'); }";
    keep(&f, log).await;
    let path = format!("{SPROCS}/s");
    let logging = ("x-ms-documentdb-script-enable-logging", "True");
    let name = "x-ms-documentdb-script-log-results";
    let reply = f.json("POST", &path, &[A, logging], json!([1])).await.expect(200);
    assert_eq!(reply.header(name), "seen%201");
    let reply = f.json("POST", &path, &[A, logging], json!([2])).await.expect(400);
    assert_eq!(reply.header(name), "seen%202");
    let reply = f.json("POST", &path, &[A], json!([2])).await.expect(400);
    assert_eq!(reply.header(name), "");
    f.json("POST", &path, &[], json!([1])).await.expect(400);
    f.json("POST", &path, &[A], json!({"a": 1})).await.expect(400);
    f.send("POST", &format!("{SPROCS}/none"), &[A], "[]")
        .await
        .expect(404);
}

#[tokio::test]
async fn who_may() {
    let mut f = running().with_container(json!({})).await;
    keep(&f, "() => 1").await;
    f.key = f.read_only_key.clone();
    f.send("GET", SPROCS, &[], "").await.expect(200);
    f.send("POST", &format!("{SPROCS}/s"), &[A], "[]")
        .await
        .expect(403);
    f.send("DELETE", &format!("{SPROCS}/s"), &[], "")
        .await
        .expect(403);
    f.json("POST", SPROCS, &[], json!({"id": "t", "body": "() => 1"}))
        .await
        .expect(403);
}

#[tokio::test(flavor = "multi_thread")]
async fn runaways_end_and_change_nothing() {
    let f = running().with_container(json!({})).await;
    let create = "__.createDocument(__.getSelfLink(), {id: 'x', pk: 'a'}, () => {";
    let late = execute(&f, &format!("() => {{ {create} for (;;) {{}} }}) }}"), json!([])).await;
    late.expect(408);
    let again = format!(
        "() => {{ const go = () => __.readDocuments(__.getSelfLink(), (e) => {{ if (!go()) __.response.setBody('enough') }}); {create} go() }}) }}"
    );
    let ended = execute(&f, &again, json!([])).await.expect(200);
    assert_eq!(ended.json(), "enough", "it was told in time, and ended by itself");
    assert_eq!(ids(&f).await, ["x"]);
    f.send("DELETE", "/dbs/d/colls/c/docs/x", &[A], "")
        .await
        .expect(204);
    let memory =
        format!("() => {{ {create} const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }}) }}");
    execute(&f, &memory, json!([])).await.expect(400);
    let result = format!("() => {{ {create} __.response.setBody('x'.repeat(5000000)) }}) }}");
    execute(&f, &result, json!([])).await.expect(413);
    assert_eq!(ids(&f).await, Vec::<String>::new());
    f.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_staged_than_a_transaction_takes() {
    let f = running()
        .with_container(json!({"indexingPolicy": {"indexingMode": "none"}}))
        .await;
    // All are accepted before the first one is done.
    let many = r#"function () {
        let done = 0, refused = 0;
        const text = "x".repeat(1000000);
        for (let n = 0; n < 40; n++)
            __.createDocument(__.getSelfLink(), {id: "" + n, pk: "a", text}, (error) => {
                if (!error) done++; else if (error.number === 413) refused++; else throw error;
                __.response.setBody([done, refused]);
            });
    }"#;
    let counts = execute(&f, many, json!([])).await.expect(200).json();
    let [done, refused] = [&counts[0], &counts[1]].map(|count| count.as_u64().unwrap());
    assert!(done > 10 && refused > 5 && done + refused == 40, "{counts}");
    let query = json!({"query": "SELECT VALUE COUNT(1) FROM c", "parameters": []});
    let headers = [A, ("x-ms-documentdb-isquery", "True")];
    let found = f.json("POST", DOCS, &headers, query).await.expect(200).json();
    assert_eq!(found["Documents"][0], done);
}

#[tokio::test(flavor = "multi_thread")]
async fn procedures_that_meet_are_run_again() {
    let f = running().with_container(json!({})).await;
    let add = r#"function () {
        const c = __, link = c.getAltLink() + "/docs/count";
        c.readDocument(link, (err, doc) => {
            if (err) throw err;
            doc.n += 1;
            c.replaceDocument(link, doc);
        });
    }"#;
    keep(&f, add).await;
    f.json("POST", DOCS, &[], json!({"id": "count", "pk": "a", "n": 0}))
        .await
        .expect(201);
    let path = format!("{SPROCS}/s");
    let one = || f.send("POST", &path, &[A], "[]");
    let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
    let done = [a, b, c, d].iter().filter(|reply| reply.status == 200).count();
    let count = f
        .send("GET", "/dbs/d/colls/c/docs/count", &[A], "")
        .await
        .expect(200)
        .json();
    assert_eq!(count["n"], done, "none is lost and none counted twice");
    assert_eq!(done, 4, "each that met another was run again");
}
