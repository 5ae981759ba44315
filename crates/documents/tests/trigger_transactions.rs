//! What a write and its triggers come to together: who is faster, what takes too long, what the item
//! itself demands, and what is answered in the end.
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
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use signed::message;
use signed::rivals::Rivalled;
use signed::triggers::{A, DOCS, UPSERT, create, ids, keep, post, pre, read, replace, running};
use signed::{Fixture, script_worker};

/// A node that runs scripts, whose commits can be given rivals.
fn rivalled(f: &Fixture) -> (Fixture, Arc<Rivalled>) {
    let ledger = Rivalled::over(f.ledger.clone());
    let node = f.another_node_on(ledger.clone(), |settings| {
        settings.script_worker = Some(script_worker());
    });
    (node, ledger)
}

async fn conflicts(f: &Fixture) -> u64 {
    f.ledger.stats().await.unwrap().conflicts
}

fn unique() -> Value {
    json!({"uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/u"]}]}})
}

async fn patch(f: &Fixture, id: &str, headers: &[(&str, &str)], operations: Value) -> signed::Reply {
    let body = json!({"operations": operations});
    f.json("PATCH", &format!("{DOCS}/{id}"), headers, body).await
}

#[tokio::test]
async fn a_patch_with_triggers_keeps_unique_keys() {
    let f = running(unique()).await;
    keep(&f, "p", "Pre", "All", "() => 1").await;
    for (id, u) in [("1", 1), ("2", 2)] {
        create(&f, &[], json!({"id": id, "pk": "a", "u": u}))
            .await
            .expect(201);
    }
    let before = conflicts(&f).await;
    let set = |value: i64| json!([{"op": "set", "path": "/u", "value": value}]);
    let taken = patch(&f, "2", &[A, pre("p")], set(1)).await.expect(409);
    assert!(message(&taken).contains("Unique index"), "{}", message(&taken));
    assert_eq!(conflicts(&f).await, before, "it was known before the commit");
    patch(&f, "2", &[A, pre("p")], set(2)).await.expect(200);
    patch(&f, "2", &[A, pre("p")], set(3)).await.expect(200);
    assert_eq!(read(&f, "2").await["u"], 3);
    f.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unique_key_that_is_taken_again_and_again_is_a_conflict() {
    let f = Arc::new(running(unique()).await);
    keep(&f, "p", "Pre", "All", "() => 1").await;
    let (node, ledger) = rivalled(&f);
    for _ in 0..8 {
        let (taker, leaver) = (f.clone(), f.clone());
        ledger.rival(
            async move {
                let item = json!({"id": "rival", "pk": "a", "u": 1});
                create(&taker, &[], item).await.expect(201);
            },
            async move {
                let path = format!("{DOCS}/rival");
                leaver.send("DELETE", &path, &[A], "").await.expect(204);
            },
        );
    }
    let refused = create(&node, &[pre("p")], json!({"id": "1", "pk": "a", "u": 1})).await;
    assert!(message(&refused.expect(409)).contains("Unique index"));
    assert_eq!(ledger.left(), 6, "the second one told it");
    f.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_too_late_for_its_operations_is_not_run() {
    let f = Arc::new(running(json!({})).await);
    let busy = "const begun = Date.now(); while (Date.now() - begun < 4300);";
    keep(&f, "slow", "Pre", "All", &format!("() => {{ {busy} }}")).await;
    // Who doesn't look whether its operation was accepted.
    let note = "() => { __.createDocument(__.getSelfLink(), {id: 'note', pk: 'a'}); }";
    keep(&f, "note", "Post", "All", note).await;
    let sproc = json!({"id": "s", "body": format!("() => {{ const c = __;
        c.readDocument(c.getAltLink() + '/docs/total', (err, total) => {{
            if (err) throw err;
            total.n += 1;
            c.replaceDocument(total._self, total);
            {busy}
        }}); }}")});
    let sprocs = "/dbs/d/colls/c/sprocs";
    f.json("POST", sprocs, &[], sproc).await.expect(201);
    create(&f, &[], json!({"id": "total", "pk": "a", "n": 0}))
        .await
        .expect(201);
    let (node, ledger) = rivalled(&f);
    let rival = f.clone();
    ledger.rival(
        async move {
            let total = json!({"id": "total", "pk": "a", "n": 100});
            replace(&rival, "total", &[A], total).await.expect(200);
        },
        async {},
    );
    let path = format!("{sprocs}/s");
    let late = [pre("slow"), post("note")];
    let (write, again) = tokio::join!(
        create(&f, &late, json!({"id": "1", "pk": "a"})),
        node.send("POST", &path, &[A], "[]"),
    );
    write.expect(408);
    again.expect(408);
    assert_eq!(ledger.left(), 0, "the procedure had done well the first time");
    assert_eq!(ids(&f).await, ["total"]);
    assert_eq!(read(&f, "total").await["n"], 100);
    f.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_to_another_commit_runs_its_triggers_again() {
    let f = Arc::new(running(json!({})).await);
    create(&f, &[], json!({"id": "total", "pk": "a", "n": 0}))
        .await
        .expect(201);
    let count = r#"() => {
        __.readDocument(__.getAltLink() + "/docs/total", (err, total) => {
            if (err) throw err;
            total.n += 1;
            __.replaceDocument(total._self, total);
        });
    }"#;
    keep(&f, "count", "Pre", "Create", count).await;
    let before = conflicts(&f).await;
    let (node, ledger) = rivalled(&f);
    for n in [10, 20] {
        let rival = f.clone();
        ledger.rival(
            async move {
                let total = json!({"id": "total", "pk": "a", "n": n});
                replace(&rival, "total", &[A], total).await.expect(200);
            },
            async {},
        );
    }
    create(&node, &[pre("count")], json!({"id": "0", "pk": "a"}))
        .await
        .expect(201);
    assert_eq!((ledger.left(), conflicts(&f).await), (0, before + 2));
    assert_eq!(
        read(&f, "total").await["n"],
        21,
        "of what the second rival wrote, once"
    );
    // Some at once, whoever meets whom.
    let named = [pre("count")];
    let writes = ["1", "2", "3", "4"].map(|id| create(&f, &named, json!({"id": id, "pk": "a"})));
    for reply in futures::future::join_all(writes).await {
        reply.expect(201);
    }
    assert_eq!(read(&f, "total").await["n"], 25);
    f.verify().await;
}

#[tokio::test]
async fn if_match_is_about_the_item_before_its_pre_trigger() {
    let f = running(json!({})).await;
    create(&f, &[], json!({"id": "1", "pk": "a", "n": 0}))
        .await
        .expect(201);
    // Whoever runs it is told so by its number.
    keep(
        &f,
        "throws",
        "Pre",
        "All",
        "() => { throw new Error(418, 'was run'); }",
    )
    .await;
    let touch = r#"() => {
        __.upsertDocument(__.getSelfLink(), {id: "1", pk: "a", n: 7}, (err) => { if (err) throw err; });
    }"#;
    keep(&f, "touch", "Pre", "All", touch).await;
    let path = format!("{DOCS}/1");
    let incremented = json!([{"op": "incr", "path": "/n", "value": 1}]);
    let item = |n: i64| json!({"id": "1", "pk": "a", "n": n});
    let stale = ("if-match", "\"old\"");
    let headers = [A, pre("throws"), stale];
    replace(&f, "1", &headers, item(1)).await.expect(412);
    patch(&f, "1", &headers, incremented.clone()).await.expect(412);
    f.send("DELETE", &path, &headers, "").await.expect(412);
    let upsert = [A, UPSERT, pre("throws"), stale];
    create(&f, &upsert, item(1)).await.expect(412);
    // The pre-trigger says which item: that one's etag counts.
    let names = "() => getContext().getRequest().setBody({id: '1', pk: 'a', n: 9})";
    keep(&f, "names", "Pre", "All", names).await;
    create(&f, &[A, UPSERT, pre("names"), stale], json!({"pk": "a"}))
        .await
        .expect(412);
    assert_eq!(read(&f, "1").await["n"], 0);
    // Where there is no item none can differ.
    create(
        &f,
        &[A, UPSERT, pre("touch"), stale],
        json!({"id": "2", "pk": "a"}),
    )
    .await
    .expect(201);

    let etag = |item: Value| item["_etag"].as_str().unwrap().to_owned();
    let fresh = etag(read(&f, "1").await);
    let headers = [A, pre("touch"), ("if-match", fresh.as_str())];
    let replaced = replace(&f, "1", &headers, item(2)).await.expect(200).json();
    assert_eq!(replaced["n"], 2);
    let fresh = etag(replaced);
    let headers = [A, pre("touch"), ("if-match", fresh.as_str())];
    let patched = patch(&f, "1", &headers, incremented).await.expect(200).json();
    assert_eq!(patched["n"], 8, "of what the pre-trigger wrote");
    let fresh = etag(patched);
    let headers = [A, UPSERT, pre("touch"), ("if-match", fresh.as_str())];
    let upserted = create(&f, &headers, item(3)).await.expect(200).json();
    assert_eq!(upserted["n"], 3);
    let fresh = etag(upserted);
    let headers = [A, pre("touch"), ("if-match", fresh.as_str())];
    f.send("DELETE", &path, &headers, "").await.expect(204);
    assert_eq!(ids(&f).await, ["2"]);
    f.verify().await;
}

#[tokio::test]
async fn the_answer_is_the_item_as_it_was_committed() {
    let f = running(json!({})).await;
    let again = |more: &str| {
        format!(
            "() => {{ const item = __.response.getBody(); item.n += 1;
            __.replaceDocument(item._self, item, (err) => {{ if (err) throw err; {more} }}); }}"
        )
    };
    keep(&f, "again", "Post", "All", &again("")).await;
    keep(&f, "says", "Post", "All", &again("__.response.setBody('said')")).await;
    let drop = "() => __.deleteDocument(__.response.getBody()._self, (err) => { if (err) throw err; })";
    keep(&f, "drop", "Post", "All", drop).await;
    keep(&f, "well", "Post", "All", "() => 1").await;
    let item = |id: &str| json!({"id": id, "pk": "a", "n": 1});

    let made = create(&f, &[post("again")], item("1")).await.expect(201);
    let stored = read(&f, "1").await;
    assert_eq!(stored["n"], 2);
    assert_eq!(made.json(), stored);
    assert_eq!(made.header("etag"), stored["_etag"]);
    // So the client can go on with what it was answered.
    let headers = [A, post("says"), ("if-match", made.header("etag"))];
    let said = replace(&f, "1", &headers, item("1")).await.expect(200);
    let stored = read(&f, "1").await;
    assert_eq!((said.json(), &stored["n"]), (json!("said"), &json!(2)));
    assert_eq!(said.header("etag"), stored["_etag"]);

    let gone = create(&f, &[post("drop")], item("2")).await.expect(201);
    assert!(!gone.headers.contains_key("etag"));
    assert_eq!(gone.json()["n"], 1);
    let kept = create(&f, &[post("well")], item("3")).await.expect(201);
    assert_eq!(kept.header("etag"), read(&f, "3").await["_etag"]);
    assert_eq!(ids(&f).await, ["1", "3"]);
    f.verify().await;
}

#[tokio::test]
async fn both_logs_are_one_that_is_bounded_and_told_with_errors() {
    let f = running(json!({})).await;
    let logging = ("x-ms-documentdb-script-enable-logging", "true");
    let log = |reply: &signed::Reply| {
        let encoded = reply.header("x-ms-documentdb-script-log-results").to_owned();
        let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8();
        decoded.unwrap().into_owned()
    };
    let item = |id: &str| json!({"id": id, "pk": "a"});
    for (id, kind, body) in [
        ("first", "Pre", "console.log('first')"),
        ("second", "Post", "console.log('second')"),
        ("much", "Pre", "console.log('é'.repeat(700))"),
        ("more", "Post", "console.log('é'.repeat(700))"),
        (
            "works",
            "Pre",
            "console.log('first'); __.createDocument(__.getSelfLink(), {id: 'x', pk: 'a'})",
        ),
        ("throws", "Post", "console.log('second'); throw new Error('no')"),
        (
            "spoils",
            "Pre",
            "console.log('first'); __.request.setBody('text')",
        ),
    ] {
        keep(&f, id, kind, "All", &format!("() => {{ {body} }}")).await;
    }
    let headers = [pre("first"), post("second"), logging];
    let made = create(&f, &headers, item("1")).await.expect(201);
    assert_eq!(log(&made), "first\nsecond");
    let headers = [pre("much"), post("more"), logging];
    let made = create(&f, &headers, item("2")).await.expect(201);
    let expected = format!("{}\n{}", "é".repeat(700), "é".repeat(323));
    assert_eq!(log(&made), expected, "2,048 bytes would end amid a character");

    let headers = [pre("first"), post("throws"), logging];
    let thrown = create(&f, &headers, item("3")).await.expect(400);
    assert_eq!(log(&thrown), "first\nsecond");
    let refused = create(&f, &[pre("spoils"), logging], item("3")).await.expect(400);
    assert_eq!(log(&refused), "first");
    assert!(message(&refused).contains("must be a JSON object"));
    let headers = [pre("works"), logging];
    let taken = create(&f, &headers, item("1")).await.expect(409);
    assert_eq!(log(&taken), "first");
    let charge: f64 = taken.header("x-ms-request-charge").parse().unwrap();
    assert!(charge > 5.0, "{charge}: the trigger wrote an item");
    // Logs are told to who asks for them.
    for headers in [vec![pre("first"), post("throws")], vec![pre("spoils")]] {
        let refused = create(&f, &headers, item("3")).await.expect(400);
        assert!(!refused.headers.contains_key("x-ms-documentdb-script-log-results"));
    }
    assert_eq!(ids(&f).await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_names_what_is_not_there_needs_no_place() {
    let f = running(json!({})).await;
    keep(&f, "p", "Pre", "All", "() => 1").await;
    let endless = "() => { for (;;); }";
    let sprocs = "/dbs/d/colls/c/sprocs";
    f.json("POST", sprocs, &[], json!({"id": "s", "body": endless}))
        .await
        .expect(201);
    let path = format!("{sprocs}/s");
    let ended = AtomicUsize::new(0);
    let all_places = futures::future::join_all((0..8).map(|_| async {
        f.send("POST", &path, &[A], "[]").await.expect(408);
        ended.fetch_add(1, Ordering::Relaxed);
    }));
    let refused = async {
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        let none = create(&f, &[pre("none")], json!({"id": "1", "pk": "a"})).await;
        assert!(message(&none.expect(400)).contains("does not exist"));
        f.send("DELETE", &format!("{DOCS}/1"), &[A, pre("p")], "")
            .await
            .expect(404);
        f.send("POST", &format!("{sprocs}/none"), &[A], "[]")
            .await
            .expect(404);
        assert_eq!(ended.load(Ordering::Relaxed), 0, "all places were taken");
    };
    tokio::join!(refused, all_places);
}

#[tokio::test]
async fn partition_keys_are_checked_as_without_triggers() {
    let f = running(json!({})).await;
    let more = json!({"id": "h", "partitionKey": {"paths": ["/a", "/b"], "kind": "MultiHash", "version": 2}});
    f.json("POST", "/dbs/d/colls", &[], more).await.expect(201);
    let trigger = json!({"id": "p", "body": "() => 1", "triggerType": "Pre", "triggerOperation": "All"});
    f.json("POST", "/dbs/d/colls/h/triggers", &[], trigger)
        .await
        .expect(201);
    keep(&f, "p", "Pre", "All", "() => 1").await;
    let item = || json!({"id": "1", "a": "x", "b": "y"});
    let docs = "/dbs/d/colls/h/docs";
    let key = |value: &'static str| ("x-ms-documentdb-partitionkey", value);
    for plain in [true, false] {
        let with = |mut headers: Vec<(&'static str, &'static str)>| {
            if !plain {
                headers.push(pre("p"));
            }
            headers
        };
        // Two levels, of which one is sent.
        for headers in [vec![key("[\"x\"]")], vec![key("[\"x\"]"), UPSERT]] {
            let refused = f.json("POST", docs, &with(headers), item()).await.expect(400);
            assert_eq!(refused.header("x-ms-substatus"), "1001", "plain: {plain}");
        }
        f.json("POST", docs, &with(vec![UPSERT]), item()).await;
        let path = format!("{docs}/1");
        let refused = f.json("PUT", &path, &with(vec![key("[\"x\"]")]), item()).await;
        assert_eq!(refused.expect(400).header("x-ms-substatus"), "1001");
        // Which item a replacement means is in its body, too.
        f.json("PUT", &path, &with(vec![]), item()).await.expect(200);
        f.json("PUT", &path, &with(vec![key("[\"x\",\"y\"]")]), item())
            .await
            .expect(200);
        // Others name it by the header alone.
        let refused = f.send("DELETE", &path, &with(vec![]), "").await.expect(400);
        assert!(message(&refused).contains("must be supplied"));
        f.send("DELETE", &path, &with(vec![key("[\"x\"]")]), "")
            .await
            .expect(400);
    }
}
