//! Accounts, databases, containers, ranges, offers, feeds and authorization through the service.
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

use http::Request;
use http_semantics::Body;
use serde_json::{Value, json};
use signed::fixture;

const DOCS: &str = "/dbs/d/colls/c/docs";
const ISQUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");

#[tokio::test]
async fn the_account_points_to_where_it_was_asked() {
    let f = fixture();
    let account = f.send("GET", "/", &[], "").await.expect(200).json();
    assert_eq!(
        account["writableLocations"][0]["databaseAccountEndpoint"],
        "http://localhost:8081/"
    );
    assert_eq!(
        account["userConsistencyPolicy"]["defaultConsistencyLevel"],
        "Session"
    );
    serde_json::from_str::<Value>(account["queryEngineConfiguration"].as_str().unwrap()).unwrap();
}

#[tokio::test]
async fn who_may_not() {
    let f = fixture();
    let request = |authorization: Option<String>, date: Option<String>| {
        let mut request = Request::get("/dbs").header("host", "localhost");
        for (name, value) in [("authorization", authorization), ("x-ms-date", date)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.body(Body::empty()).unwrap()
    };
    let good = f.authorization("GET", "/dbs");
    f.raw(request(Some(good.clone()), Some(f.date())))
        .await
        .expect(200);
    f.raw(request(None, Some(f.date()))).await.expect(401);
    f.raw(request(Some(good.clone()), None)).await.expect(401);
    let wrong = f
        .raw(request(Some(f.authorization("PUT", "/dbs")), Some(f.date())))
        .await
        .expect(401)
        .json();
    assert!(
        wrong["message"].as_str().unwrap().contains("'get\\ndbs\\n\\n"),
        "{wrong}"
    );
    let old = f.date();
    f.clock.advance_seconds(901);
    f.raw(request(Some(good), Some(old))).await.expect(403);
    let other = signed::fixture();
    let foreign = identity::SharedKey::from_base64("AAAA").unwrap();
    let signature = foreign.sign(&format!("get\ndbs\n\n{}\n\n", other.date().to_lowercase()));
    let header = format!(
        "type%3Dmaster%26ver%3D1.0%26sig%3D{}",
        signature.replace('+', "%2B").replace('=', "%3D")
    );
    other
        .raw(request(Some(header), Some(other.date())))
        .await
        .expect(401);
}

#[tokio::test]
async fn databases() {
    let f = fixture();
    let created = f
        .json("POST", "/dbs", &[], json!({"id": "Æ d"}))
        .await
        .expect(201);
    assert_eq!(created.json()["_colls"], "colls/");
    f.json("POST", "/dbs", &[], json!({"id": "Æ d"}))
        .await
        .expect(409);
    for bad in [
        json!({}),
        json!({"id": "a/b"}),
        json!({"id": "x".repeat(256)}),
        json!({"id": 1}),
    ] {
        f.json("POST", "/dbs", &[], bad).await.expect(400);
    }
    f.json("POST", "/dbs", &[], json!({"id": "e"})).await.expect(201);
    f.json("POST", "/dbs", &[], json!({"id": "f"})).await.expect(201);
    let first = f
        .send("GET", "/dbs", &[("x-ms-max-item-count", "2")], "")
        .await
        .expect(200);
    assert_eq!(first.json()["_count"], 2);
    let token = first.header("x-ms-continuation").to_owned();
    let second = f
        .send(
            "GET",
            "/dbs",
            &[("x-ms-max-item-count", "2"), ("x-ms-continuation", &token)],
            "",
        )
        .await
        .expect(200);
    assert_eq!(second.json()["_count"], 1);
    assert_eq!(second.header("x-ms-continuation"), "");
    let query =
        json!({"query": "SELECT * FROM r WHERE r.id = @id", "parameters": [{"name": "@id", "value": "e"}]});
    let found = f.json("POST", "/dbs", &[ISQUERY], query).await.expect(200).json();
    assert_eq!(found["Databases"][0]["id"], "e");
    let rid = found["Databases"][0]["_rid"].as_str().unwrap();
    assert_eq!(
        f.send("GET", &format!("/dbs/{rid}"), &[], "")
            .await
            .expect(200)
            .json()["id"],
        "e"
    );
    f.send("DELETE", "/dbs/e", &[], "").await.expect(204);
    f.send("DELETE", "/dbs/e", &[], "").await.expect(404);
    f.send("GET", "/dbs/e", &[], "").await.expect(404);
}

#[tokio::test]
async fn containers() {
    let f = fixture()
        .with_container(json!({"computedProperties": [{"name": "x", "query": "SELECT VALUE c.y FROM c"}]}))
        .await;
    let read = f.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200).json();
    assert_eq!(read["indexingPolicy"]["includedPaths"][0]["path"], "/*");
    assert_eq!(read["conflictResolutionPolicy"]["mode"], "LastWriterWins");
    assert_eq!(read["computedProperties"][0]["name"], "x");
    assert_eq!(read["_docs"], "docs/");
    let key = json!({"paths": ["/pk"], "kind": "Hash", "version": 2});
    f.json(
        "POST",
        "/dbs/d/colls",
        &[],
        json!({"id": "c", "partitionKey": key}),
    )
    .await
    .expect(409);
    f.json(
        "POST",
        "/dbs/no/colls",
        &[],
        json!({"id": "c", "partitionKey": key}),
    )
    .await
    .expect(404);
    f.json("POST", "/dbs/d/colls", &[], json!({"id": "x"}))
        .await
        .expect(400);
    f.json(
        "POST",
        "/dbs/d/colls",
        &[],
        json!({"id": "x", "partitionKey": key, "defaultTtl": 0}),
    )
    .await
    .expect(400);
    for changed in [
        json!({"id": "z"}),
        json!({"partitionKey": {"paths": ["/q"], "kind": "Hash", "version": 2}}),
        json!({"uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/q"]}]}}),
    ] {
        let mut body = read.clone();
        body.as_object_mut()
            .unwrap()
            .extend(changed.as_object().unwrap().clone());
        f.json("PUT", "/dbs/d/colls/c", &[], body).await.expect(400);
    }
    let mut body = read.clone();
    body["defaultTtl"] = json!(60);
    assert_eq!(
        f.json("PUT", "/dbs/d/colls/c", &[], body)
            .await
            .expect(200)
            .json()["defaultTtl"],
        60
    );
    assert_eq!(
        f.send("GET", "/dbs/d/colls", &[], "").await.expect(200).json()["_count"],
        1
    );
    let query = json!({"query": "SELECT VALUE r.id FROM r"});
    let found = f
        .json("POST", "/dbs/d/colls", &[ISQUERY], query)
        .await
        .expect(200)
        .json();
    assert_eq!(found["DocumentCollections"], json!(["c"]));

    let (database, container) = (read["_self"].as_str().unwrap(), read["_rid"].as_str().unwrap());
    assert_eq!(
        f.send("GET", &format!("/{database}"), &[], "")
            .await
            .expect(200)
            .json()["id"],
        "c"
    );
    let pk = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    let item = f
        .json(
            "POST",
            &format!("/{database}docs"),
            &[pk],
            json!({"id": "1", "pk": "a"}),
        )
        .await
        .expect(201)
        .json();
    let by_rid = f
        .send("GET", &format!("/{}", item["_self"].as_str().unwrap()), &[pk], "")
        .await
        .expect(200)
        .json();
    assert_eq!(by_rid["id"], "1");
    assert!(item["_rid"].as_str().unwrap().len() > container.len());

    f.send("DELETE", "/dbs/d/colls/c", &[], "").await.expect(204);
    f.send("GET", "/dbs/d/colls/c", &[], "").await.expect(404);
    f.json(
        "POST",
        "/dbs/d/colls",
        &[],
        json!({"id": "c", "partitionKey": key}),
    )
    .await
    .expect(201);
    f.send("GET", "/dbs/d/colls/c/docs/1", &[pk], "")
        .await
        .expect(404);
    assert!(f.documents.sweep_once().await.unwrap().keys_purged > 0);
    assert_eq!(f.documents.sweep_once().await.unwrap().keys_purged, 0);
    f.send("DELETE", "/dbs/d", &[], "").await.expect(204);
    f.send("GET", "/dbs/d/colls/c/docs/1", &[pk], "")
        .await
        .expect(404);
    f.verify().await;
}

#[tokio::test]
async fn ranges_plan_and_conflicts() {
    let f = fixture().with_container(json!({})).await;
    let incremental = ("a-im", "Incremental Feed");
    let ranges = f
        .send("GET", "/dbs/d/colls/c/pkranges", &[incremental], "")
        .await
        .expect(200);
    assert_eq!(ranges.json()["PartitionKeyRanges"][0]["maxExclusive"], "FF");
    let etag = ranges.header("etag").to_owned();
    f.send(
        "GET",
        "/dbs/d/colls/c/pkranges",
        &[incremental, ("if-none-match", &etag)],
        "",
    )
    .await
    .expect(304);
    let plan = [("x-ms-cosmos-is-query-plan-request", "True")];
    let planned = f
        .json("POST", DOCS, &plan, json!({"query": "SELECT COUNT(1) FROM c"}))
        .await
        .expect(200)
        .json();
    assert_eq!(planned["queryInfo"]["rewrittenQuery"], "");
    assert_eq!(planned["queryRanges"][0]["max"], "FF");
    assert_eq!(planned["queryInfo"]["hasSelectValue"], false);
    let planned = f
        .json("POST", DOCS, &plan, json!({"query": "SELECT VALUE c.id FROM c"}))
        .await
        .expect(200)
        .json();
    assert_eq!(planned["queryInfo"]["hasSelectValue"], true);
    f.json("POST", DOCS, &plan, json!({"query": "SELEC"}))
        .await
        .expect(400);
    assert_eq!(
        f.send("GET", "/dbs/d/colls/c/conflicts", &[], "")
            .await
            .expect(200)
            .json()["_count"],
        0
    );
}

#[tokio::test]
async fn offers() {
    let f = fixture();
    f.json(
        "POST",
        "/dbs",
        &[("x-ms-offer-throughput", "1000")],
        json!({"id": "d"}),
    )
    .await
    .expect(201);
    f.json(
        "POST",
        "/dbs",
        &[("x-ms-offer-throughput", "100")],
        json!({"id": "e"}),
    )
    .await
    .expect(400);
    let key = json!({"paths": ["/pk"]});
    f.json(
        "POST",
        "/dbs/d/colls",
        &[],
        json!({"id": "shares", "partitionKey": key}),
    )
    .await
    .expect(201);
    let autoscale = ("x-ms-cosmos-offer-autopilot-settings", "{\"maxThroughput\":4000}");
    let own = f
        .json(
            "POST",
            "/dbs/d/colls",
            &[autoscale],
            json!({"id": "own", "partitionKey": key}),
        )
        .await
        .expect(201)
        .json();
    assert_eq!(
        f.send("GET", "/offers", &[], "").await.expect(200).json()["_count"],
        2
    );
    let query = json!({"query": "SELECT * FROM r WHERE r.resource = @l", "parameters": [{"name": "@l", "value": own["_self"]}]});
    let offer = f
        .json("POST", "/offers", &[ISQUERY], query)
        .await
        .expect(200)
        .json()["Offers"][0]
        .clone();
    assert_eq!(offer["content"]["offerAutopilotSettings"]["maxThroughput"], 4_000);
    let path = format!("/offers/{}", offer["id"].as_str().unwrap());
    let mut changed = offer.clone();
    changed["content"] = json!({"offerThroughput": 700});
    f.json("PUT", &path, &[], changed.clone()).await.expect(200);
    assert_eq!(
        f.send("GET", &path, &[], "").await.expect(200).json()["content"]["offerThroughput"],
        700
    );
    changed["content"] = json!({"offerThroughput": 5});
    f.json("PUT", &path, &[], changed).await.expect(400);
    f.send("GET", "/offers/zzzz", &[], "").await.expect(404);
}

#[tokio::test]
async fn what_is_not_served_says_so() {
    let f = fixture().with_container(json!({})).await;
    for (method, path) in [
        ("POST", "/dbs/d/colls/c/docs/i/attachments"),
        ("GET", "/dbs/d/colls/c/conflicts/x"),
    ] {
        let body = f.send(method, path, &[], "").await.expect(501).json();
        assert_eq!(body["code"], "NotImplemented");
    }
    f.send("GET", "/dbs/d/nothing", &[], "").await.expect(404);
    f.send("PUT", "/dbs", &[], "").await.expect(405);
}

#[tokio::test]
async fn feeds_page_in_the_order_of_creation() {
    let f = fixture().with_container(json!({})).await;
    for id in ["c", "a", "d", "b", "e"] {
        f.json("POST", DOCS, &[], json!({"id": id, "pk": id}))
            .await
            .expect(201);
    }
    let mut ids = Vec::new();
    let mut token = String::new();
    loop {
        let mut headers = vec![("x-ms-max-item-count", "2")];
        if !token.is_empty() {
            headers.push(("x-ms-continuation", &token));
        }
        let page = f.send("GET", DOCS, &headers, "").await.expect(200);
        let body = page.json();
        assert_eq!(page.header("x-ms-item-count"), body["_count"].to_string());
        ids.extend(
            body["Documents"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| d["id"].as_str().unwrap().to_owned()),
        );
        let next = page.header("x-ms-continuation").to_owned();
        if next.is_empty() {
            break;
        }
        token = next;
    }
    assert_eq!(ids, ["c", "a", "d", "b", "e"]);
    f.send("GET", DOCS, &[("x-ms-continuation", "nonsense")], "")
        .await
        .expect(400);
    f.send("GET", DOCS, &[("x-ms-max-item-count", "0")], "")
        .await
        .expect(400);
    f.send("GET", DOCS, &[("x-ms-max-item-count", "-1")], "")
        .await
        .expect(200);
    let last = f
        .send("GET", DOCS, &[("x-ms-max-item-count", "5")], "")
        .await
        .expect(200);
    assert_eq!(last.header("x-ms-continuation"), "", "exactly full, and the last");
}

#[tokio::test]
async fn the_change_feed() {
    let f = fixture().with_container(json!({})).await;
    let mode = ("a-im", "Incremental Feed");
    let now = f
        .send("GET", DOCS, &[mode, ("if-none-match", "*")], "")
        .await
        .expect(304);
    let from_now = now.header("etag").to_owned();
    for id in ["1", "2", "3"] {
        f.json("POST", DOCS, &[], json!({"id": id, "pk": "a"}))
            .await
            .expect(201);
    }
    let pk = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    f.json(
        "PUT",
        "/dbs/d/colls/c/docs/1",
        &[pk],
        json!({"id": "1", "pk": "a", "n": 1}),
    )
    .await
    .expect(200);
    f.send("DELETE", "/dbs/d/colls/c/docs/2", &[pk], "")
        .await
        .expect(204);
    let all = f
        .send("GET", DOCS, &[mode, ("if-none-match", &from_now)], "")
        .await
        .expect(200);
    let ids: Vec<_> = all.json()["Documents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, ["3", "1"], "each once, at its last write");
    assert!(all.json()["Documents"][0]["_lsn"].is_u64());
    let etag = all.header("etag").to_owned();
    f.send("GET", DOCS, &[mode, ("if-none-match", &etag)], "")
        .await
        .expect(304);
    let first = f
        .send("GET", DOCS, &[mode, ("x-ms-max-item-count", "1")], "")
        .await
        .expect(200);
    assert_eq!(first.json()["_count"], 1);
    let etag = first.header("etag").to_owned();
    assert_eq!(
        f.send("GET", DOCS, &[mode, ("if-none-match", &etag)], "")
            .await
            .expect(200)
            .json()["_count"],
        1
    );
    f.send("GET", DOCS, &[mode, ("if-none-match", "x")], "")
        .await
        .expect(400);
    let other = ("x-ms-documentdb-partitionkey", "[\"b\"]");
    f.send("GET", DOCS, &[mode, other], "").await.expect(304);
    let future = ("if-modified-since", "Thu, 01 Jan 2037 00:00:00 GMT");
    f.send("GET", DOCS, &[mode, future], "").await.expect(304);
}

#[tokio::test]
async fn delete_by_partition_key() {
    let f = fixture().with_container(json!({})).await;
    for id in 0..120 {
        f.json(
            "POST",
            DOCS,
            &[],
            json!({"id": id.to_string(), "pk": if id % 10 == 0 { "b" } else { "a" }}),
        )
        .await
        .expect(201);
    }
    let pk = ("x-ms-documentdb-partitionkey", "[\"a\"]");
    f.send("POST", "/dbs/d/colls/c/operations/partitionkeydelete", &[pk], "")
        .await
        .expect(200);
    assert_eq!(
        f.send("GET", DOCS, &[], "").await.expect(200).json()["_count"],
        12
    );
    f.verify().await;
}

#[tokio::test]
async fn another_index_policy() {
    let f = fixture().with_container(json!({})).await;
    for id in 0..120 {
        f.json(
            "POST",
            DOCS,
            &[],
            json!({"id": id.to_string(), "pk": "a", "n": id, "m": id}),
        )
        .await
        .expect(201);
    }
    let mut container = f.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200).json();
    container["indexingPolicy"] =
        json!({"includedPaths": [{"path": "/n/?"}], "excludedPaths": [{"path": "/*"}]});
    f.json("PUT", "/dbs/d/colls/c", &[], container.clone())
        .await
        .expect(200);
    let read = f.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200);
    assert_eq!(
        read.header("x-ms-documentdb-collection-index-transformation-progress"),
        "100"
    );
    f.verify().await;
    for query in [
        "SELECT VALUE c.id FROM c WHERE c.n = 5",
        "SELECT VALUE c.id FROM c WHERE c.m = 5",
    ] {
        let found = f
            .json("POST", DOCS, &[ISQUERY], json!({"query": query}))
            .await
            .expect(200)
            .json();
        assert_eq!(found["Documents"], json!(["5"]), "{query}");
    }
    let before = f.documents.sweep_once().await.unwrap();
    assert!(before.keys_purged > 120, "the old index is gone: {before:?}");
    f.json("PUT", "/dbs/d/colls/c", &[], container).await.expect(200);
    assert_eq!(
        f.documents.sweep_once().await.unwrap().keys_purged,
        0,
        "the same policy begins no new index"
    );
    f.verify().await;
}
