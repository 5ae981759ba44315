//! What a query took and used, told to who asks; and which ORDER BY is served.
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

use std::collections::HashMap;

use base64::Engine as _;
use serde_json::{Value, json};
use signed::{Fixture, fixture};

const DOCS: &str = "/dbs/d/colls/c/docs";
const QUERY: (&str, &str) = ("x-ms-documentdb-isquery", "True");

async fn filled(policy: Value) -> Fixture {
    let fixture = fixture().with_container(json!({"indexingPolicy": policy})).await;
    for number in 0..20 {
        let item = json!({
            "id": number.to_string(), "pk": "a", "n": number, "even": number % 2 == 0,
            "odd name": number, "hidden": number, "tags": ["t"],
        });
        fixture.json("POST", DOCS, &[], item).await.expect(201);
    }
    fixture
}

fn figures(header: &str) -> HashMap<&str, f64> {
    header
        .split(';')
        .map(|field| {
            let (name, value) = field.split_once('=').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn figures_are_true() {
    let fixture = filled(Value::Null).await;
    let asked = [QUERY, ("x-ms-documentdb-populatequerymetrics", "True")];
    let ask = |sql: &str| fixture.json("POST", DOCS, &asked, json!({"query": sql}));
    let reply = ask("SELECT VALUE c.id FROM c WHERE c.n < 5 AND c.n % 2 = 0")
        .await
        .expect(200);
    let metrics = figures(reply.header("x-ms-documentdb-query-metrics"));
    assert_eq!(metrics["retrievedDocumentCount"], 5.0);
    assert_eq!(metrics["outputDocumentCount"], 3.0);
    assert_eq!(metrics["indexUtilizationRatio"], 0.6);
    assert_eq!(metrics["outputDocumentSize"], r#""0","2","4""#.len() as f64);
    assert!(metrics["retrievedDocumentSize"] > 500.0);
    let reply = ask("SELECT VALUE COUNT(1) FROM c WHERE c.n % 2 = 0")
        .await
        .expect(200);
    let metrics = figures(reply.header("x-ms-documentdb-query-metrics"));
    assert_eq!(
        (metrics["retrievedDocumentCount"], metrics["outputDocumentCount"]),
        (20.0, 1.0)
    );
    assert_eq!(metrics["indexUtilizationRatio"], 0.5);
    // By keys: no document is read, and the charge says so.
    let by_reading: f64 = reply.header("x-ms-request-charge").parse().unwrap();
    let reply = ask("SELECT VALUE COUNT(1) FROM c").await.expect(200);
    let charge: f64 = reply.header("x-ms-request-charge").parse().unwrap();
    assert_eq!(reply.json()["Documents"], json!([20]));
    let metrics = figures(reply.header("x-ms-documentdb-query-metrics"));
    for (name, wanted) in [
        ("retrievedDocumentCount", 0.0),
        ("retrievedDocumentSize", 0.0),
        ("outputDocumentCount", 1.0),
        ("outputDocumentSize", 2.0),
        ("indexUtilizationRatio", 1.0),
    ] {
        assert_eq!(metrics[name], wanted, "{name}");
    }
    assert!(charge < by_reading, "{charge}, {by_reading}");
    for name in [
        "totalExecutionTimeInMs",
        "queryCompileTimeInMs",
        "queryLogicalPlanBuildTimeInMs",
        "queryPhysicalPlanBuildTimeInMs",
        "queryOptimizationTimeInMs",
        "VMExecutionTimeInMs",
        "indexLookupTimeInMs",
        "documentLoadTimeInMs",
        "systemFunctionExecuteTimeInMs",
        "userFunctionExecuteTimeInMs",
        "writeOutputTimeInMs",
    ] {
        assert!(metrics[name] >= 0.0, "{name}");
    }
    let quiet = fixture
        .json("POST", DOCS, &[QUERY], json!({"query": "SELECT * FROM c"}))
        .await
        .expect(200);
    assert_eq!(quiet.header("x-ms-documentdb-query-metrics"), "");
    assert_eq!(quiet.header("x-ms-cosmos-index-utilization"), "");
}

#[tokio::test]
async fn the_index_that_was_used() {
    let policy = json!({"includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/hidden/?"}]});
    let fixture = filled(policy).await;
    let used = async |sql: &str| {
        let asked = [QUERY, ("x-ms-cosmos-populateindexmetrics", "True")];
        let reply = fixture
            .json("POST", DOCS, &asked, json!({"query": sql}))
            .await
            .expect(200);
        let text = reply.header("x-ms-cosmos-index-utilization").to_owned();
        let text = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let metrics: Value = serde_json::from_slice(&text).unwrap();
        let specs = |list: &str| {
            let list = metrics[list].as_array().unwrap().iter();
            list.map(|index| index["IndexSpec"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        (specs("UtilizedSingleIndexes"), specs("PotentialSingleIndexes"))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(used("SELECT * FROM c").await, pair("", ""));
    assert_eq!(used("SELECT * FROM c WHERE c.n = 3").await, pair("/n/?", ""));
    assert_eq!(
        used("SELECT * FROM c WHERE c.n = 3 AND c.hidden > 1").await,
        pair("/n/?", "/hidden/?")
    );
    assert_eq!(
        used("SELECT * FROM c WHERE c['odd name'] = 3 AND c.n > 1 AND c.n < 9").await,
        pair("/\"odd name\"/? /n/? /n/?", "")
    );
    assert_eq!(
        used("SELECT * FROM c WHERE ARRAY_CONTAINS(c.tags, 't')").await,
        pair("/tags/[]/?", "")
    );
    assert_eq!(used("SELECT * FROM c WHERE c.n + 1 = 3").await, pair("", ""));
    assert_eq!(used("SELECT * FROM c ORDER BY c.n").await, pair("/n/?", ""));
    assert_eq!(
        used("SELECT * FROM c WHERE c.hidden = 1 OR c.n = 1").await,
        pair("", "/hidden/?")
    );
}

#[tokio::test]
async fn what_is_told_of_the_index_fits_a_header() {
    let policy = json!({"includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/hidden/?"}]});
    let fixture = filled(policy).await;
    let asked = [QUERY, ("x-ms-cosmos-populateindexmetrics", "True")];
    let long = format!("c.hidden = '{}'", "\u{e5}".repeat(50_000));
    let one_of: Vec<String> = (0..5_000).map(|n| format!("c.hidden = {}", n % 2_500)).collect();
    let sql = format!("SELECT * FROM c WHERE {long} OR {}", one_of.join(" OR "));
    let reply = fixture
        .json("POST", DOCS, &asked, json!({"query": sql}))
        .await
        .expect(200);
    let text = reply.header("x-ms-cosmos-index-utilization");
    assert!(text.len() <= 8 * 1024, "{}", text.len());
    let text = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let metrics: Value = serde_json::from_slice(&text).unwrap();
    let potential = metrics["PotentialSingleIndexes"].as_array().unwrap();
    let filters: Vec<&str> = potential
        .iter()
        .map(|index| index["FilterExpression"].as_str().unwrap())
        .collect();
    assert!(filters.len() > 20, "{}", filters.len());
    assert!(
        (200..300).contains(&filters[0].len()) && filters[0].ends_with("\u{e5}..."),
        "{}",
        filters[0]
    );
    assert_eq!(filters[1], "(ROOT.hidden = 0)");
    // Twice the same is told once.
    let sql = "SELECT * FROM c WHERE c.hidden = 1 OR c.hidden = 1 OR c.hidden IN (2, 'x')";
    let reply = fixture
        .json("POST", DOCS, &asked, json!({"query": sql}))
        .await
        .expect(200);
    let text = reply.header("x-ms-cosmos-index-utilization");
    let text = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let metrics: Value = serde_json::from_slice(&text).unwrap();
    let potential = metrics["PotentialSingleIndexes"].as_array().unwrap();
    assert_eq!(potential.len(), 2);
    assert_eq!(potential[1]["FilterExpression"], "(ROOT.hidden IN (2,\"x\"))");
}

#[tokio::test]
async fn orders_that_the_service_serves() {
    let composite = json!({
        "includedPaths": [{"path": "/*"}], "excludedPaths": [{"path": "/hidden/?"}],
        "compositeIndexes": [[{"path": "/even", "order": "ascending"}, {"path": "/n", "order": "descending"}]],
    });
    let fixture = filled(composite).await;
    let ask = |order: &str| {
        let body = json!({"query": format!("SELECT VALUE c.n FROM c WHERE c.n < 4 ORDER BY {order}")});
        fixture.json("POST", DOCS, &[QUERY], body)
    };
    assert_eq!(
        ask("c.even, c.n DESC").await.expect(200).json()["Documents"],
        json!([3, 1, 2, 0])
    );
    assert_eq!(
        ask("c.even DESC, c.n").await.expect(200).json()["Documents"],
        json!([0, 2, 1, 3])
    );
    for (order, wanted) in [
        ("c.even, c.n", "does not have a corresponding composite index"),
        ("c.n, c.even", "does not have a corresponding composite index"),
        ("c.hidden", "order-by item is excluded"),
        ("c.n + 1", "SC2206"),
    ] {
        let refused = ask(order).await.expect(400).json();
        assert!(
            refused["message"].as_str().unwrap().contains(wanted),
            "{order}: {refused}"
        );
    }
    for bad in [
        json!([[{"path": "/a"}]]),
        json!([[{"path": "/a"}, {"path": "/b", "order": "up"}]]),
    ] {
        let container = json!({"id": "x", "partitionKey": {"paths": ["/pk"]}, "indexingPolicy": {"compositeIndexes": bad}});
        fixture
            .json("POST", "/dbs/d/colls", &[], container)
            .await
            .expect(400);
    }
}
