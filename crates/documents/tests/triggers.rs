//! Triggers over the protocol: what they see and change, and that a write and its triggers are one
//! transaction.
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
use signed::Reply;
use signed::message;
use signed::triggers::{A, DOCS, UPSERT, create, ids, keep, post, pre, read, replace, running};

#[tokio::test]
async fn a_pre_trigger_changes_what_is_written() {
    let f = running(json!({})).await;
    let stamp = r#"function () {
        const request = getContext().getRequest(), item = request.getBody();
        item.stamped = request.getOperationType() + " " + request.getValue("X-MS-Activity-Id");
        if (!item.id) item.id = "made";
        request.setBody(item);
    }"#;
    keep(&f, "stamp", "Pre", "All", stamp).await;
    let named = pre("stamp");
    let test = ("x-ms-activity-id", "seen");
    let made = create(&f, &[named, test], json!({"id": "1", "pk": "a"})).await;
    assert_eq!(made.expect(201).json()["stamped"], "Create seen");
    assert_eq!(read(&f, "1").await["stamped"], "Create seen");
    // It completes what would be refused without it.
    create(&f, &[A, named], json!({"pk": "a"})).await.expect(201);
    assert_eq!(read(&f, "made").await["id"], "made");
    create(&f, &[A], json!({"pk": "a"})).await.expect(400);
    let replaced = replace(&f, "1", &[A, named], json!({"id": "1", "pk": "a"})).await;
    assert_eq!(replaced.expect(200).json()["stamped"], "Replace undefined");
    let upserted = create(&f, &[UPSERT, named], json!({"id": "2", "pk": "a"})).await;
    assert_eq!(upserted.expect(201).json()["stamped"], "Upsert undefined");
    let upserted = create(&f, &[UPSERT, named], json!({"id": "2", "pk": "a", "n": 2})).await;
    assert_eq!(upserted.expect(200).json()["n"], 2);
    // What is no JSON is refused as it is without a trigger.
    let refused = f.send("POST", DOCS, &[A, named], "{\"pk\"").await.expect(400);
    assert!(
        message(&refused).contains("not valid JSON"),
        "{}",
        message(&refused)
    );
    f.verify().await;
}

#[tokio::test]
async fn which_headers_scripts_may_read() {
    let f = running(json!({})).await;
    let tell = "() => { const r = getContext().getRequest(), b = r.getBody();
        for (const name of b.names) b[name] = String(r.getValue(name)); r.setBody(b); }";
    keep(&f, "tell", "Pre", "All", tell).await;
    let key = ("x-ms-documentdb-partitionkey", "[\"å\"]");
    let headers = [
        pre("tell"),
        key,
        // The server acts on the first of two.
        ("x-ms-documentdb-is-upsert", "True"),
        ("x-ms-documentdb-is-upsert", "False"),
        ("x-ms-unknown", "a proxy's"),
        ("x-ms-client-principal", "who calls"),
        ("cookie", "a=b"),
    ];
    let hidden = [
        "authorization",
        "x-ms-unknown",
        "x-ms-client-principal",
        "cookie",
        "host",
    ];
    let mut names = hidden.to_vec();
    names.extend(["x-ms-date", "x-ms-documentdb-is-upsert", key.0]);
    let told = create(&f, &headers, json!({"id": "1", "pk": "å", "names": names})).await;
    let told = told.expect(201).json();
    for name in hidden {
        assert_eq!(told[name], "undefined", "{name}");
    }
    assert_eq!(told["x-ms-date"], f.date());
    assert_eq!(told["x-ms-documentdb-is-upsert"], "True");
    assert_eq!(told[key.0], key.1);
}

#[tokio::test]
async fn what_a_pre_trigger_sets_is_checked_as_a_clients_body() {
    let f = running(json!({"uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/u"]}]}, "defaultTtl": -1})).await;
    let set = |value: &str| format!("() => getContext().getRequest().setBody({value})");
    let object = "must be a JSON object";
    for (id, value, status, says) in [
        ("moves", "{id: '1', pk: 'b'}", 400, "doesn't match the one"),
        ("nothing", "null", 400, object),
        ("text", "'text'", 400, object),
        ("no-id", "{pk: 'a'}", 400, "'id; ' - are missing"),
        ("ttl", "{id: '1', pk: 'a', ttl: 'x'}", 400, "The ttl must be"),
        (
            "large",
            "{id: '1', pk: 'a', x: 'x'.repeat(2200000)}",
            413,
            "the item has",
        ),
        (
            "deep",
            "JSON.parse('{\"id\":\"1\",\"pk\":\"a\",\"x\":' + '['.repeat(200) + ']'.repeat(200) + '}')",
            400,
            "nest",
        ),
    ] {
        keep(&f, id, "Pre", "All", &set(value)).await;
        let refused = create(&f, &[pre(id)], json!({"id": "1", "pk": "a"})).await;
        assert_eq!(refused.status, status, "{id}: {}", message(&refused));
        assert!(message(&refused).contains(says), "{id}: {}", message(&refused));
        // What a script throws has a number there.
        let substatus = if id == "moves" { "1001" } else { "" };
        assert_eq!(refused.header("x-ms-substatus"), substatus, "{id}");
    }
    keep(&f, "same", "Pre", "All", &set("{id: '1', pk: 'a', u: 1}")).await;
    create(&f, &[pre("same")], json!({"id": "x", "pk": "a"}))
        .await
        .expect(201);
    create(&f, &[pre("same")], json!({"id": "y", "pk": "a"}))
        .await
        .expect(409);
    keep(&f, "unique", "Pre", "All", &set("{id: '2', pk: 'a', u: 1}")).await;
    create(&f, &[pre("unique")], json!({"id": "y", "pk": "a"}))
        .await
        .expect(409);
    let renamed = replace(&f, "1", &[A, pre("unique")], json!({"id": "1", "pk": "a"})).await;
    let renamed = message(&renamed.expect(400));
    assert!(renamed.contains("an item can't be renamed"), "{renamed}");
    keep(&f, "short", "Pre", "All", &set("{id: '3', pk: 'a', ttl: 10}")).await;
    create(&f, &[pre("short")], json!({"id": "z", "pk": "a"}))
        .await
        .expect(201);
    assert_eq!(ids(&f).await, ["1", "3"]);
    f.clock.advance_seconds(11);
    assert_eq!(ids(&f).await, ["1"], "its time to live is the trigger's");
    f.verify().await;
}

#[tokio::test]
async fn a_post_trigger_writes_with_the_item_or_nothing_is_written() {
    let f = running(json!({})).await;
    create(&f, &[], json!({"id": "total", "pk": "a", "n": 0}))
        .await
        .expect(201);
    let count = r#"function () {
        const c = getContext().getCollection(), response = getContext().getResponse();
        const made = response.getBody(), asked = getContext().getRequest().getBody();
        c.readDocument(c.getAltLink() + "/docs/total", (err, total) => {
            if (err) throw err;
            total.n += made.n;
            c.replaceDocument(total._self, total, (err) => {
                if (err) throw err;
                c.queryDocuments(c.getSelfLink(), "SELECT VALUE COUNT(1) FROM c", (err, rows) => {
                    if (made.n > 10) throw new Error(418, "too many");
                    made.total = total.n; made.items = rows[0]; made.asked = asked.n; made.etag = !!made._etag;
                    response.setBody(made);
                });
            });
        });
    }"#;
    keep(&f, "count", "Post", "All", count).await;
    let made = create(&f, &[post("count")], json!({"id": "1", "pk": "a", "n": 3})).await;
    let made = made.expect(201);
    let answered = made.json();
    assert_eq!(
        [
            &answered["total"],
            &answered["items"],
            &answered["asked"],
            &answered["etag"]
        ],
        [&json!(3), &json!(2), &json!(3), &json!(true)]
    );
    let stored = read(&f, "1").await;
    assert_eq!(stored["total"], Value::Null, "the answer is not the item");
    assert_eq!(stored["_etag"], made.header("etag"));
    let failed = create(&f, &[post("count")], json!({"id": "2", "pk": "a", "n": 11})).await;
    let failed = failed.expect(400);
    assert_eq!(failed.header("x-ms-substatus"), "418");
    let said = message(&failed);
    assert!(
        said.contains("Encountered exception while executing Javascript. Exception = Error: too many"),
        "{said}"
    );
    assert_eq!(ids(&f).await, ["total", "1"]);
    assert_eq!(
        read(&f, "total").await["n"],
        3,
        "what it wrote before it threw is not there"
    );
    // One commit: the change feed has both changes at one place.
    let changes = f.send("GET", DOCS, &[("a-im", "Incremental Feed")], "").await;
    let changes = changes.expect(200).json();
    let lsn = |id: &str| {
        let found = changes["Documents"]
            .as_array()
            .unwrap()
            .iter()
            .find(|each| each["id"] == id);
        found.unwrap()["_lsn"].clone()
    };
    assert!(lsn("1").is_u64(), "{changes}");
    assert_eq!(lsn("1"), lsn("total"));
    f.verify().await;
}

#[tokio::test]
async fn what_the_item_itself_meets_takes_its_triggers_along() {
    let f = running(json!({})).await;
    let note = "() => { const c = __; c.createDocument(c.getSelfLink(), {id: 'note', pk: 'a'}); }";
    keep(&f, "note", "Pre", "All", note).await;
    create(&f, &[], json!({"id": "1", "pk": "a"})).await.expect(201);
    let one = format!("{DOCS}/1");
    create(&f, &[pre("note")], json!({"id": "1", "pk": "a"}))
        .await
        .expect(409);
    let old = ("if-match", "\"old\"");
    f.json("PUT", &one, &[A, pre("note"), old], json!({"id": "1", "pk": "a"}))
        .await
        .expect(412);
    f.send("DELETE", &one, &[A, pre("note"), old], "")
        .await
        .expect(412);
    f.send("DELETE", &format!("{DOCS}/none"), &[A, pre("note")], "")
        .await
        .expect(404);
    assert_eq!(ids(&f).await, ["1"]);
    // A trigger that makes the very item.
    create(&f, &[pre("note")], json!({"id": "note", "pk": "a"}))
        .await
        .expect(409);
    let elsewhere = "() => { __.createDocument(__.getSelfLink(), {id: 'x', pk: 'b'}); }";
    keep(&f, "elsewhere", "Post", "All", elsewhere).await;
    let refused = create(&f, &[post("elsewhere")], json!({"id": "2", "pk": "a"})).await;
    assert!(message(&refused.expect(400)).contains("partition keys other than the one"));
    assert_eq!(ids(&f).await, ["1"]);
    f.verify().await;
}

#[tokio::test]
async fn deletions_and_patches() {
    let f = running(json!({})).await;
    let keep_copy = r#"function () {
        const item = __.request.getBody();
        __.createDocument(__.getSelfLink(), {id: "was-" + item.id, pk: item.pk, n: item.n, by: __.request.getOperationType()});
    }"#;
    keep(&f, "copy", "Pre", "Delete", keep_copy).await;
    create(&f, &[], json!({"id": "1", "pk": "a", "n": 5}))
        .await
        .expect(201);
    let deleted = f
        .send("DELETE", &format!("{DOCS}/1"), &[A, pre("copy")], "")
        .await;
    assert_eq!(deleted.expect(204).body.len(), 0);
    assert_eq!(ids(&f).await, ["was-1"]);
    let copy = read(&f, "was-1").await;
    assert_eq!((&copy["n"], &copy["by"]), (&json!(5), &json!("Delete")));
    // A deletion has no body that a trigger could set.
    keep(
        &f,
        "sets",
        "Pre",
        "All",
        "() => __.request.setBody({id: 'other', pk: 'a'})",
    )
    .await;
    keep(&f, "says", "Post", "All", "() => __.response.setBody('said')").await;
    create(&f, &[], json!({"id": "2", "pk": "a"})).await.expect(201);
    let headers = [A, pre("sets"), post("says")];
    let deleted = f.send("DELETE", &format!("{DOCS}/2"), &headers, "").await;
    assert_eq!(deleted.expect(204).body.len(), 0);
    assert_eq!(ids(&f).await, ["was-1"]);
    let answer = "() => { const b = __.response.getBody(); b.seen = __.request.getOperationType(); __.response.setBody(b); }";
    keep(&f, "answer", "Post", "Update", answer).await;
    let operations = json!({"operations": [{"op": "incr", "path": "/n", "value": 1}]});
    let headers = [A, post("answer")];
    let patched = f
        .json("PATCH", "/dbs/d/colls/c/docs/was-1", &headers, operations)
        .await;
    let patched = patched.expect(200).json();
    assert_eq!((&patched["n"], &patched["seen"]), (&json!(6), &json!("Patch")));
    // Deleted by its own trigger, in the same transaction.
    let drop = "() => { __.deleteDocument(__.response.getBody()._self); }";
    keep(&f, "drop", "Post", "Create", drop).await;
    create(&f, &[post("drop")], json!({"id": "gone", "pk": "a"}))
        .await
        .expect(201);
    assert_eq!(ids(&f).await, ["was-1"]);
    f.verify().await;
}

#[tokio::test]
async fn which_triggers_a_request_may_name() {
    let f = running(json!({})).await;
    for (id, kind, operation) in [
        ("p", "Pre", "Create"),
        ("q", "Post", "Replace"),
        ("ø", "Pre", "All"),
    ] {
        keep(&f, id, kind, operation, "() => 1").await;
    }
    let item = |id: &str| json!({"id": id, "pk": "a"});
    create(&f, &[pre("p")], item("1")).await.expect(201);
    create(&f, &[pre(" p ,")], item("2")).await.expect(201);
    create(&f, &[pre("")], item("3")).await.expect(201);
    create(&f, &[pre("ø")], item("4")).await.expect(201);
    let (several, other) = ("names 2 triggers", "trigger for the operation");
    for (headers, says) in [
        (vec![pre("none")], "does not exist"),
        (vec![pre("p,ø")], several),
        (vec![pre("p"), pre("ø")], several),
        (vec![pre("q")], other),
        (vec![post("p")], other),
        (vec![post("q")], other),
        (vec![UPSERT, pre("p")], other),
    ] {
        let refused = create(&f, &headers, item("5")).await;
        assert_eq!(refused.status, 400, "{headers:?}");
        assert!(
            message(&refused).contains(says),
            "{headers:?}: {}",
            message(&refused)
        );
    }
    assert_eq!(ids(&f).await, ["1", "2", "3", "4"]);
    let one = format!("{DOCS}/1");
    let refused = f.json("PUT", &one, &[A, pre("p")], item("1")).await.expect(400);
    assert!(message(&refused).contains(other));
    f.json("PUT", &one, &[A, post("q")], item("1")).await.expect(200);
    let path = "/dbs/d/colls/c/docs";
    let request = http::Request::builder()
        .method("POST")
        .uri(path)
        .header("host", "localhost:8081")
        .header("x-ms-date", f.date())
        .header("authorization", f.authorization("POST", path))
        .header(pre("").0, http::HeaderValue::from_bytes(b"\xff").unwrap());
    let body = http_semantics::Body::full(item("5").to_string().into_bytes());
    let refused = f.raw(request.body(body).unwrap()).await.expect(400);
    assert!(message(&refused).contains("is not UTF-8"));
    // Where several items are written, and by scripts, none is run.
    let sweep = "/dbs/d/colls/c/operations/partitionkeydelete";
    let refused = f.send("POST", sweep, &[A, pre("p")], "").await.expect(400);
    assert!(message(&refused).contains("single items only"));
    assert_eq!(ids(&f).await, ["1", "2", "3", "4"]);
    let batch = ("x-ms-cosmos-is-batch-request", "True");
    let atomic = ("x-ms-cosmos-batch-atomic", "True");
    let operations = json!([{"operationType": "Create", "resourceBody": item("6")}]);
    let refused = f
        .json("POST", DOCS, &[A, batch, atomic, pre("p")], operations)
        .await;
    assert!(message(&refused.expect(400)).contains("single items only"));
    f.json(
        "POST",
        "/dbs/d/colls/c/sprocs",
        &[],
        json!({"id": "s", "body": "() => 1"}),
    )
    .await
    .expect(201);
    let refused = f
        .send("POST", "/dbs/d/colls/c/sprocs/s", &[A, pre("p")], "[]")
        .await;
    assert!(message(&refused.expect(400)).contains("single items only"));
}

#[tokio::test]
async fn where_scripts_are_not_run_a_write_that_names_one_is_refused() {
    let f = running(json!({})).await;
    keep(&f, "p", "Pre", "All", "() => 1").await;
    let off = f.another_node_with(|_| {});
    let refused = create(&off, &[pre("p")], json!({"id": "1", "pk": "a"})).await;
    assert!(message(&refused.expect(403)).contains("run_scripts"));
    assert_eq!(ids(&f).await, Vec::<String>::new());
    // What names none needs none.
    for (id, nothing) in [("1", ""), ("2", " "), ("3", ","), ("4", ", ,\t")] {
        create(&off, &[pre(nothing), post(nothing)], json!({"id": id, "pk": "a"}))
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn a_token_for_one_item_runs_no_triggers() {
    let f = signed::tokens::prepared().await;
    let one = signed::tokens::permission(
        &f,
        "p",
        "All",
        "dbs/d/colls/c/docs/a1",
        json!({"resourcePartitionKey": ["a"]}),
    );
    let one = one.await;
    let partition = json!({"resourcePartitionKey": ["a"]});
    let partition = signed::tokens::permission(&f, "q", "All", "dbs/d/colls/c", partition).await;
    keep(&f, "p", "Pre", "All", "() => 1").await;
    let body = json!({"id": "a1", "pk": "a"});
    let path = format!("{DOCS}/a1");
    let send = |token: String, headers: Vec<(&'static str, &'static str)>| {
        let (f, path, body) = (&f, &path, &body);
        async move {
            let reply = signed::tokens::with_token(f, &token, "PUT", path, &headers, body).await;
            (reply.status.as_u16(), message_if_any(&reply))
        }
    };
    assert_eq!(send(one.clone(), vec![A]).await.0, 200);
    // Clients that send the header with everything may read.
    let headers = [A, pre("p")];
    signed::tokens::with_token(&f, &one, "GET", &path, &headers, &Value::Null)
        .await
        .expect(200);
    let (status, said) = send(one, vec![A, pre("p")]).await;
    assert!(
        status == 403 && said.contains("a trigger may write others"),
        "{said}"
    );
    // Scripts are not run on this server; that is what the other one is told.
    let (status, said) = send(partition, vec![A, pre("p")]).await;
    assert!(status == 403 && said.contains("run_scripts"), "{said}");
}

fn message_if_any(reply: &Reply) -> String {
    reply.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_triggers_may_set() {
    let f = running(json!({})).await;
    let fails = |script: &str| {
        format!(
            "() => {{ try {{ {script} }} catch (e) {{ throw new Error(e.number, 'it was ' + e.number); }} }}"
        )
    };
    for (id, kind, script, number) in [
        ("a", "Post", "__.request.setBody({})", "403"),
        ("b", "Pre", "__.request.setValue('new', 1)", "400"),
        ("c", "Pre", "__.request.setValue('x-ms-date', 1)", "403"),
        (
            "d",
            "Pre",
            "__.request.setValue('OperationType', 'Delete')",
            "403",
        ),
        ("e", "Pre", "__.response.setBody(1)", "400"),
        ("g", "Post", "__.response.setValue('etag', 1)", "400"),
    ] {
        keep(&f, id, kind, "All", &fails(script)).await;
        let named = if kind == "Pre" { pre(id) } else { post(id) };
        let refused = create(&f, &[named], json!({"id": "1", "pk": "a"})).await;
        assert_eq!(refused.expect(400).header("x-ms-substatus"), number, "{script}");
    }
    let append = "() => { __.request.setValue('Body', {id: '1', pk: 'a', old: __.request.getValue('Body').n}); console.log('set'); }";
    keep(&f, "f", "Pre", "All", append).await;
    let logging = ("x-ms-documentdb-script-enable-logging", "true");
    let made = create(&f, &[pre("f"), logging], json!({"id": "1", "pk": "a", "n": 7})).await;
    let made = made.expect(201);
    assert_eq!(made.json()["old"], 7);
    assert_eq!(made.header("x-ms-documentdb-script-log-results"), "set");
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_do_not_end_are_ended_and_nothing_is_written() {
    let f = running(json!({})).await;
    keep(
        &f,
        "loops",
        "Post",
        "All",
        "() => { __.createDocument(__.getSelfLink(), {id: 'x', pk: 'a'}, () => { for (;;) {} }); }",
    )
    .await;
    keep(&f, "deep", "Pre", "All", "function f() { return f() + 1 }").await;
    keep(
        &f,
        "memory",
        "Pre",
        "All",
        "() => { const a = []; for (;;) a.push('x'.repeat(1000) + a.length) }",
    )
    .await;
    keep(&f, "well", "Pre", "All", "() => 1").await;
    let item = || json!({"id": "1", "pk": "a"});
    let (loops, deep, memory) = ([post("loops")], [pre("deep")], [pre("memory")]);
    let (loops, deep, memory) = tokio::join!(
        create(&f, &loops, item()),
        create(&f, &deep, item()),
        create(&f, &memory, item()),
    );
    loops.expect(408);
    assert!(message(&deep.expect(400)).contains("stack"));
    assert!(message(&memory.expect(400)).contains("memory"));
    assert_eq!(ids(&f).await, Vec::<String>::new());
    create(&f, &[pre("well")], item()).await.expect(201);
    f.verify().await;
}
