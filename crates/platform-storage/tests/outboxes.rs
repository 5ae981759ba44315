//! What others are told of: contents to scan, instances for the portal. Nothing is lost, nothing stale hits newer content.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod bench;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bench::{Ask, Bench, Options, in_task};
use bytes::Bytes;
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan};
use parking_lot::Mutex;
use platform_storage::limits::DELIVERY_REFUSALS_MAX;
use platform_storage::{Sink, Undelivered};
use serde_json::{Value, json};

/// Takes messages, unless it is away.
#[derive(Default)]
struct Taker {
    away: AtomicBool,
    taken: Mutex<Vec<Value>>,
    /// What messages that it refuses hold.
    refused: Mutex<Option<String>>,
}

#[async_trait]
impl Sink for Taker {
    async fn deliver(&self, message: Vec<u8>) -> Result<(), Undelivered> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Undelivered::Away("it is away".to_owned()));
        }
        let message: Value = serde_json::from_slice(&message).unwrap();
        let refused = self.refused.lock().clone();
        if refused.is_some_and(|refused| message.to_string().contains(&refused)) {
            return Err(Undelivered::Refused("it answered 400".to_owned()));
        }
        self.taken.lock().push(message);
        Ok(())
    }
}

async fn scanned(bench: &Bench, element: &str, body: Value) -> u16 {
    let token = bench
        .call("GET", "/Home/GetTestPlatformToken/filescan", "", Value::Null)
        .await;
    let token = String::from_utf8(token.body.to_vec()).unwrap();
    scanned_by(bench, token, element, body).await
}

async fn scanned_by(bench: &Bench, token: String, element: &str, body: Value) -> u16 {
    let answer = bench
        .send(Ask {
            method: "PUT",
            path: format!("{}/filescanstatus", element.replace("/data/", "/dataelements/")),
            token: "",
            headers: vec![("platformaccesstoken", token)],
            body: body.to_string().into(),
        })
        .await;
    assert!(answer.status != 200 || answer.body.is_empty());
    answer.status.as_u16()
}

async fn result_of(bench: &Bench, element: &str, token: &str) -> Value {
    let instance = element.split("/data/").next().unwrap();
    let instance = bench.call("GET", instance, token, Value::Null).await.json();
    let id = element.rsplit('/').next().unwrap();
    let elements = instance["data"].as_array().unwrap();
    elements.iter().find(|element| element["id"] == id).unwrap()["fileScanResult"].clone()
}

async fn replace(bench: &Bench, element: &str, token: &str, content: &'static [u8]) {
    let headers = vec![("content-type", "application/xml".to_owned())];
    let body = Bytes::from_static(content);
    let answer = bench
        .send(Ask {
            method: "PUT",
            path: element.to_owned(),
            token,
            headers,
            body,
        })
        .await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
}

const SCANNED: &str = "scanned";

async fn scanning(options: Options) -> (Bench, String, String) {
    let bench = Bench::with(options);
    let user = bench.user(1337).await;
    bench
        .publish(
            SCANNED,
            json!({"dataTypes": [{"id": "model", "enableFileScan": true}]}),
        )
        .await;
    let instance = bench.instance(SCANNED, &user).await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    (bench, user, element)
}

#[tokio::test]
async fn nothing_waits_where_nobody_scans() {
    let (bench, user, element) = scanning(Options::default()).await;
    assert_eq!(result_of(&bench, &element, &user).await, "NotApplicable");
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_stale_result_never_hits_newer_content() {
    let (bench, user, element) = scanning(Options {
        scans: true,
        ..Options::default()
    })
    .await;
    let taker = Taker::default();
    assert_eq!(result_of(&bench, &element, &user).await, "Pending");
    let report = bench.platform.deliver_scans(&taker).await.unwrap();
    assert_eq!(
        (report.delivered, bench.platform.waiting(10).await.unwrap()),
        (1, (0, 0))
    );
    let message = taker.taken.lock()[0].clone();
    assert!(element.ends_with(message["dataElementId"].as_str().unwrap()) && message["org"] == "ttd");
    assert!(
        message["blobStoragePath"]
            .as_str()
            .unwrap()
            .starts_with("ttd/scanned/"),
        "{message}"
    );
    let first = message["blobVersionId"].clone();
    replace(&bench, &element, &user, b"<b/>").await;
    for stale in [
        json!({"fileScanResult": "Clean", "blobVersionId": first}),
        json!({"fileScanResult": "Clean"}),
    ] {
        assert_eq!(scanned(&bench, &element, stale.clone()).await, 409, "{stale}");
        assert_eq!(result_of(&bench, &element, &user).await, "Pending", "{stale}");
    }
    bench.platform.deliver_scans(&taker).await.unwrap();
    let second = taker.taken.lock()[1]["blobVersionId"].clone();
    assert_ne!(first, second);
    assert_eq!(
        scanned(
            &bench,
            &element,
            json!({"fileScanResult": "Infected", "blobVersionId": second})
        )
        .await,
        200
    );
    assert_eq!(result_of(&bench, &element, &user).await, "Infected");
    for bad in [
        json!({}),
        json!({"fileScanResult": "Perhaps"}),
        json!({"fileScanResult": "Clean", "blobVersionId": "x"}),
    ] {
        assert_eq!(scanned(&bench, &element, bad.clone()).await, 400, "{bad}");
    }
}

#[tokio::test]
async fn a_result_without_a_version_is_of_the_only_content() {
    let (bench, user, element) = scanning(Options {
        scans: true,
        ..Options::default()
    })
    .await;
    assert_eq!(
        scanned(&bench, &element, json!({"fileScanResult": "Clean"})).await,
        200
    );
    assert_eq!(result_of(&bench, &element, &user).await, "Clean");
    // A scan that nobody needs any longer isn't asked for.
    let taker = Taker::default();
    let report = bench.platform.deliver_scans(&taker).await.unwrap();
    assert_eq!((report.delivered, report.dropped), (0, 1));
}

#[tokio::test]
async fn a_result_is_the_platforms_or_the_orgs_own() {
    let (bench, user, element) = scanning(Options {
        scans: true,
        ..Options::default()
    })
    .await;
    for (issuer, status, result) in [
        ("brg", 403, "Pending"),
        ("ttd", 200, "Clean"),
        ("platform", 200, "Clean"),
    ] {
        let token = bench.platform_token(issuer).await;
        let clean = json!({"fileScanResult": "Clean"});
        assert_eq!(
            scanned_by(&bench, token, &element, clean).await,
            status,
            "{issuer}"
        );
        assert_eq!(result_of(&bench, &element, &user).await, result, "{issuer}");
    }
}

#[tokio::test]
async fn infected_content_is_refused_where_that_is_set_s160() {
    for refuse in [false, true] {
        let options = Options {
            scans: true,
            refuse_infected: refuse,
            ..Options::default()
        };
        let (bench, user, element) = scanning(options).await;
        assert_eq!(
            scanned(&bench, &element, json!({"fileScanResult": "Infected"})).await,
            200
        );
        let status = bench
            .call("GET", &element, &user, Value::Null)
            .await
            .status
            .as_u16();
        assert_eq!(status, if refuse { 403 } else { 200 });
    }
}

#[tokio::test]
async fn a_scan_is_asked_for_until_it_is_taken() {
    let (bench, _, _) = scanning(Options {
        scans: true,
        ..Options::default()
    })
    .await;
    let taker = Taker::default();
    taker.away.store(true, Ordering::Relaxed);
    for attempt in 0..12_u32 {
        let report = bench.platform.deliver_scans(&taker).await.unwrap();
        assert_eq!((report.failed, report.delivered), (1, 0), "attempt {attempt}");
        // Not before its pause is over.
        assert_eq!(
            bench.platform.deliver_scans(&taker).await.unwrap(),
            Default::default()
        );
        assert_eq!(bench.platform.waiting(10).await.unwrap(), (1, 0));
        bench.clock.advance_seconds(600);
    }
    taker.away.store(false, Ordering::Relaxed);
    assert_eq!(bench.platform.deliver_scans(&taker).await.unwrap().delivered, 1);
    assert!(taker.taken.lock()[0].get("attempts").is_none());
}

#[tokio::test]
async fn the_portal_is_told_once_of_what_happens_together() {
    let bench = Bench::with(Options {
        portal_sync: true,
        ..Options::default()
    });
    let user = bench.user(1337).await;
    bench.publish("p", json!({})).await;
    let taker = Arc::new(Taker::default());
    let deliver = async || bench.platform.deliver_syncs(taker.as_ref()).await.unwrap();
    let instance = bench.instance("p", &user).await;
    // A new instance is told at once.
    assert_eq!(deliver().await.delivered, 1);
    let message = taker.taken.lock()[0].clone();
    assert_eq!(
        (&message["AppId"], &message["PartyId"], &message["EventType"]),
        (&json!("ttd/p"), &json!("501337"), &json!("Created"))
    );
    assert!(instance.ends_with(message["InstanceId"].as_str().unwrap()) && message["IsMigration"] == false);
    // Data that is made waits 5 seconds, a step of the process 60; together they are one message, the earlier.
    let next = bench.call("PUT", &format!("{instance}/process/instanceandevents"), &user,
        json!({"state": in_task("Task_2", "data"), "events": [{"eventType": "process_StartTask", "user": {"userId": 1337},
            "instanceId": instance.trim_start_matches("/instances/")}]})).await;
    assert_eq!(next.status, 200, "{:?}", next.body);
    bench.element(&instance, "model", &user, b"<a/>").await;
    bench.clock.advance_seconds(4);
    assert_eq!(deliver().await.delivered, 0);
    bench.clock.advance_seconds(1);
    assert_eq!(deliver().await.delivered, 1);
    bench.clock.advance_seconds(120);
    assert_eq!(deliver().await.delivered, 0, "nothing is left");
    // Deletion doesn't wait.
    bench.call("DELETE", &instance, &user, Value::Null).await;
    assert_eq!(deliver().await.delivered, 1);
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
}

/// Makes another event while it takes a message.
struct Busy(&'static Bench, &'static str, &'static str, AtomicBool);

#[async_trait]
impl Sink for Busy {
    async fn deliver(&self, _: Vec<u8>) -> Result<(), Undelivered> {
        if !self.3.swap(true, Ordering::Relaxed) {
            self.0.element(self.1, "model", self.2, b"<late/>").await;
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_event_during_a_delivery_is_not_lost() {
    let bench: &'static Bench = Box::leak(Box::new(Bench::with(Options {
        portal_sync: true,
        ..Options::default()
    })));
    let user: &'static str = bench.user(1337).await.leak();
    bench.publish("p", json!({})).await;
    let instance: &'static str = bench.instance("p", user).await.leak();
    let busy = Busy(bench, instance, user, AtomicBool::new(false));
    bench.platform.deliver_syncs(&busy).await.unwrap();
    assert_eq!(
        bench.platform.waiting(10).await.unwrap(),
        (0, 1),
        "the row stays for the event that came meanwhile"
    );
    assert_eq!(bench.platform.deliver_syncs(&busy).await.unwrap().delivered, 1);
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_portal_that_is_away_is_told_later() {
    let bench = Bench::with(Options {
        portal_sync: true,
        ..Options::default()
    });
    let user = bench.user(1337).await;
    bench.publish("p", json!({})).await;
    bench.instance("p", &user).await;
    let taker = Taker::default();
    taker.away.store(true, Ordering::Relaxed);
    assert_eq!(bench.platform.deliver_syncs(&taker).await.unwrap().failed, 1);
    assert_eq!(
        bench.platform.deliver_syncs(&taker).await.unwrap(),
        Default::default()
    );
    taker.away.store(false, Ordering::Relaxed);
    bench.clock.advance_seconds(2);
    assert_eq!(bench.platform.deliver_syncs(&taker).await.unwrap().delivered, 1);
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_refused_message_holds_nobody_up_and_is_put_aside() {
    let bench = Bench::with(Options {
        scans: true,
        portal_sync: true,
        ..Options::default()
    });
    let user = bench.user(1337).await;
    let types = json!({"dataTypes": [{"id": "model", "enableFileScan": true}]});
    bench.publish(SCANNED, types).await;
    let poison = bench.instance(SCANNED, &user).await;
    let poison = poison.rsplit('/').next().unwrap().to_owned();
    bench
        .element(
            &format!("/instances/{}/{poison}", bench::PARTY),
            "model",
            &user,
            b"<a/>",
        )
        .await;
    bench.clock.advance_seconds(1);
    let good = bench.instance(SCANNED, &user).await;
    bench.element(&good, "model", &user, b"<a/>").await;
    bench.clock.advance_seconds(60);
    let taker = Taker::default();
    *taker.refused.lock() = Some(poison);
    for outbox in ["scans", "syncs"] {
        let round = async || match outbox {
            "scans" => bench.platform.deliver_scans(&taker).await.unwrap(),
            _ => bench.platform.deliver_syncs(&taker).await.unwrap(),
        };
        let report = round().await;
        assert_eq!((report.delivered, report.failed), (1, 1), "{outbox}");
        for attempt in 2..DELIVERY_REFUSALS_MAX {
            bench.clock.advance_seconds(600);
            assert_eq!(round().await.failed, 1, "{outbox} {attempt}");
        }
        bench.clock.advance_seconds(600);
        let report = round().await;
        assert_eq!((report.failed, report.set_aside), (0, 1), "{outbox}");
        bench.clock.advance_seconds(600);
        assert_eq!(round().await, Default::default(), "{outbox}");
    }
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
    assert_eq!(bench.platform.dead_letters(10).await.unwrap(), 2);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_nobody_up() {
    let bench = Bench::with(Options {
        scans: true,
        portal_sync: true,
        ..Options::default()
    });
    let user = bench.user(1337).await;
    let types = json!({"dataTypes": [{"id": "model", "enableFileScan": true}]});
    bench.publish(SCANNED, types).await;
    let instance = bench.instance(SCANNED, &user).await;
    bench.element(&instance, "model", &user, b"<a/>").await;
    // What a row is called says no more than its tag here: 9 is a scan, 10 the portal's.
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut tx = ledger::Transaction::new();
    for tag in [9, 10] {
        let prefix = KeyWriter::new(Keyspace::Platform).u8(tag).finish();
        let mut rows = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
        tx.put(rows.next().await.unwrap().unwrap().key, b"{".to_vec());
    }
    bench.ledger.commit(tx).await.unwrap();
    // The instance can still be changed: its row is written anew.
    bench.clock.advance_seconds(1);
    bench.element(&instance, "model", &user, b"<b/>").await;
    bench.clock.advance_seconds(60);
    let taker = Taker::default();
    let scans = bench.platform.deliver_scans(&taker).await.unwrap();
    assert_eq!((scans.delivered, scans.set_aside), (1, 1));
    // It is due twice: the time that the damaged row was due at leads to it, too.
    let syncs = bench.platform.deliver_syncs(&taker).await.unwrap();
    assert!(syncs.delivered >= 1 && syncs.failed == 0, "{syncs:?}");
    bench.platform.deliver_syncs(&taker).await.unwrap();
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
}

#[tokio::test]
async fn without_a_portal_nothing_is_kept() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    bench.publish("p", json!({})).await;
    bench.instance("p", &user).await;
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
}
