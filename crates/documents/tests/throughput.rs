//! Throughput that is enforced: who is let in, who pays, what refusals say.
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use documents::{Documents, DocumentsService, Settings};
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock};
use serde_json::{Value, json};
use signed::{Fixture, fixture, fixture_with};

/// A millisecond passes whenever somebody looks.
#[derive(Debug)]
struct TickingClock(Arc<AdjustableClock>, AtomicU64);

impl Clock for TickingClock {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.1.fetch_add(1, Ordering::SeqCst))
    }
}

async fn container(fixture: &Fixture, database: &str, id: &str, headers: &[(&str, &str)]) {
    let body = json!({"id": id, "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
    let path = format!("/dbs/{database}/colls");
    fixture.json("POST", &path, headers, body).await.expect(201);
}

/// Creates items of about 200 KiB, some 96 RU each, until one is refused; how many went in.
async fn fill(fixture: &Fixture, docs: &str) -> usize {
    for count in 0..1_000 {
        let item =
            json!({"id": format!("{}-{count}", fixture.date()), "pk": "a", "t": "x".repeat(200 * 1_024)});
        let reply = fixture.json("POST", docs, &[], item).await;
        if reply.status.as_u16() == 429 {
            let reply = reply.expect(429);
            assert_eq!(reply.header("x-ms-substatus"), "3200");
            assert!(reply.header("x-ms-retry-after-ms").parse::<u64>().unwrap() > 0);
            assert_eq!(reply.json()["code"], "TooManyRequests");
            return count;
        }
        reply.expect(201);
    }
    panic!("never refused");
}

#[tokio::test]
async fn containers_have_their_own_databases_share() {
    let fixture = fixture_with(|settings| settings.enforce_throughput = true);
    fixture
        .json("POST", "/dbs", &[], json!({"id": "d"}))
        .await
        .expect(201);
    container(&fixture, "d", "small", &[("x-ms-offer-throughput", "400")]).await;
    container(&fixture, "d", "large", &[("x-ms-offer-throughput", "1000")]).await;
    let auto = [("x-ms-cosmos-offer-autopilot-settings", "{\"maxThroughput\":2000}")];
    container(&fixture, "d", "auto", &auto).await;
    container(&fixture, "d", "default", &[]).await;
    let small = fill(&fixture, "/dbs/d/colls/small/docs").await;
    let large = fill(&fixture, "/dbs/d/colls/large/docs").await;
    let auto = fill(&fixture, "/dbs/d/colls/auto/docs").await;
    assert_eq!(fill(&fixture, "/dbs/d/colls/default/docs").await, small);
    assert!((4..=5).contains(&small), "{small}");
    assert!((10..=11).contains(&large), "{large}");
    assert!((20..=22).contains(&auto), "{auto}");

    let shared = [("x-ms-offer-throughput", "400")];
    fixture
        .json("POST", "/dbs", &shared, json!({"id": "s"}))
        .await
        .expect(201);
    container(&fixture, "s", "a", &[]).await;
    container(&fixture, "s", "b", &[]).await;
    container(&fixture, "s", "own", &[("x-ms-offer-throughput", "400")]).await;
    assert_eq!(fill(&fixture, "/dbs/s/colls/a/docs").await, small);
    assert_eq!(fill(&fixture, "/dbs/s/colls/b/docs").await, 0, "they share");
    assert_eq!(fill(&fixture, "/dbs/s/colls/own/docs").await, small);

    let uses = fixture.documents.throughput_uses();
    let names: std::collections::BTreeSet<&str> = uses.iter().map(|used| used.name.as_str()).collect();
    assert!(names.contains("test/d/small") && names.contains("test/s") && names.contains("test/s/own"));
    assert!(
        uses.iter()
            .all(|used| used.throttled >= 1 && used.used_rus > 300.0),
        "{uses:?}"
    );
}

#[tokio::test]
async fn refusals_end_and_the_container_stays_reachable() {
    let fixture = fixture_with(|settings| settings.enforce_throughput = true);
    fixture
        .json("POST", "/dbs", &[], json!({"id": "d"}))
        .await
        .expect(201);
    container(&fixture, "d", "c", &[]).await;
    let docs = "/dbs/d/colls/c/docs";
    let count = fill(&fixture, docs).await;
    // Reads of items are refused as well; the container isn't an item.
    let query = json!({"query": "SELECT VALUE COUNT(1) FROM c"});
    let is_query = [("x-ms-documentdb-isquery", "True")];
    fixture
        .json("POST", docs, &is_query, query.clone())
        .await
        .expect(429);
    fixture.send("GET", docs, &[], "").await.expect(429);
    fixture.send("GET", "/dbs/d/colls/c", &[], "").await.expect(200);
    fixture.clock.advance_seconds(2);
    let found = fixture
        .json("POST", docs, &is_query, query)
        .await
        .expect(200)
        .json();
    assert_eq!(found["Documents"], json!([count]), "what was refused wasn't done");
}

#[tokio::test]
async fn off_is_off() {
    let fixture = fixture_with(|_| {});
    fixture
        .json("POST", "/dbs", &[], json!({"id": "d"}))
        .await
        .expect(201);
    container(&fixture, "d", "c", &[]).await;
    for count in 0..20 {
        let item: Value = json!({"id": count.to_string(), "pk": "a", "t": "x".repeat(200 * 1_024)});
        fixture
            .json("POST", "/dbs/d/colls/c/docs", &[], item)
            .await
            .expect(201);
    }
    assert!(fixture.documents.throughput_uses().is_empty());
}

#[tokio::test]
async fn what_ends_in_no_answer_is_paid_for() {
    let mut fixture = fixture();
    let mut settings = Settings::single("test", fixture.key.clone());
    settings.enforce_throughput = true;
    let clock = Arc::new(TickingClock(fixture.clock.clone(), AtomicU64::new(0)));
    let random = Arc::new(SeededRandom::new(2));
    fixture.documents = Documents::new(fixture.ledger.clone(), clock, random, settings);
    fixture.service = DocumentsService::new(fixture.documents.clone());
    fixture
        .json("POST", "/dbs", &[], json!({"id": "d"}))
        .await
        .expect(201);
    container(&fixture, "d", "c", &[("x-ms-offer-throughput", "100000")]).await;
    let docs = "/dbs/d/colls/c/docs";
    for count in 0..100 {
        let tags = if count < 99 { json!([1]) } else { json!([1, 2]) };
        let item = json!({"id": count.to_string(), "pk": "a", "tags": tags});
        fixture.json("POST", docs, &[], item).await.expect(201);
    }
    let used = || fixture.documents.throughput_uses()[0].used_rus;
    let is_query = [("x-ms-documentdb-isquery", "True")];
    let query = json!({"query": "SELECT VALUE (SELECT VALUE t FROM t IN c.tags) FROM c"});

    let before = used();
    let refused = fixture.json("POST", docs, &is_query, query.clone()).await;
    refused.expect(400);
    let failed = used() - before;
    // The clock is looked at for each of the 100 items.
    assert!((100.0..1_000.0).contains(&failed), "{failed}");

    let before = used();
    let mut request = Box::pin(fixture.json("POST", docs, &is_query, query));
    let mut context = Context::from_waker(Waker::noop());
    // The query lets others have a turn after 64 items.
    assert!(request.as_mut().poll(&mut context).is_pending());
    drop(request);
    let hung_up = used() - before;
    assert!((64.0..failed).contains(&hung_up), "{hung_up}");

    let before = used();
    fixture
        .send("GET", &format!("{docs}/none"), &[], "")
        .await
        .expect(400);
    assert!(
        (1.0..50.0).contains(&(used() - before)),
        "a small refusal costs little"
    );
}
