//! What people do about messages that were put aside, and about elements that wait for a scan nobody was asked for.
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

use async_trait::async_trait;
use bench::{Bench, Options};
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan, Transaction};
use parking_lot::Mutex;
use platform_storage::limits::DELIVERY_REFUSALS_MAX;
use platform_storage::{Outbox, PutAside, Sink, Undelivered};
use serde_json::{Value, json};

/// Refuses every message until it is told not to, and keeps what it takes.
#[derive(Default)]
struct Taker {
    takes: std::sync::atomic::AtomicBool,
    taken: Mutex<Vec<Value>>,
}

impl Taker {
    fn takes_from_now_on(&self) {
        self.takes.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[async_trait]
impl Sink for Taker {
    async fn deliver(&self, message: Vec<u8>) -> Result<(), Undelivered> {
        if !self.takes.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Undelivered::Refused("it answered 400".to_owned()));
        }
        self.taken.lock().push(serde_json::from_slice(&message).unwrap());
        Ok(())
    }
}

async fn scanning() -> (Bench, String, String) {
    let bench = Bench::with(Options {
        scans: true,
        portal_sync: true,
        ..Options::default()
    });
    let user = bench.user(1337).await;
    let types = json!({"dataTypes": [{"id": "model", "enableFileScan": true}]});
    bench.publish("scanned", types).await;
    let instance = bench.instance("scanned", &user).await;
    (bench, user, instance)
}

/// Has everything that waits refused until it is put aside.
async fn refuse(bench: &Bench, taker: &Taker) {
    for _ in 0..DELIVERY_REFUSALS_MAX {
        bench.clock.advance_seconds(600);
        bench.platform.deliver_scans(taker).await.unwrap();
        bench.platform.deliver_syncs(taker).await.unwrap();
    }
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
}

async fn all(bench: &Bench) -> Vec<PutAside> {
    bench.platform.put_aside(None, 100).await.unwrap()
}

#[tokio::test]
async fn what_was_put_aside_is_listed_retried_and_dropped() {
    let (bench, user, instance) = scanning().await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    let taker = Taker::default();
    refuse(&bench, &taker).await;
    let listed = all(&bench).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    for message in &listed {
        let outbox = message.outbox.unwrap();
        let about = match outbox {
            Outbox::Scan => &element,
            Outbox::Portal => &instance,
        };
        assert_eq!(
            message.about.as_deref(),
            Some(about.trim_start_matches("/instances/"))
        );
        assert_eq!(message.cause, "it answered 400");
        assert!(message.is_readable() && message.id.len() == 16);
    }
    // Page by page.
    let first = bench.platform.put_aside(None, 1).await.unwrap();
    let second = bench.platform.put_aside(first.last(), 1).await.unwrap();
    assert_eq!([first, second].concat(), listed);
    taker.takes_from_now_on();
    let portal = listed.iter().find(|m| m.outbox == Some(Outbox::Portal)).unwrap();
    bench.platform.retry_put_aside(portal).await.unwrap();
    assert_eq!(bench.platform.deliver_syncs(&taker).await.unwrap().delivered, 1);
    assert!(instance.ends_with(taker.taken.lock()[0]["InstanceId"].as_str().unwrap()));
    // It is no longer there for anybody.
    assert!(bench.platform.retry_put_aside(portal).await.is_err());
    assert!(bench.platform.drop_put_aside(portal).await.is_err());
    let scan = listed.iter().find(|m| m.outbox == Some(Outbox::Scan)).unwrap();
    bench.platform.drop_put_aside(scan).await.unwrap();
    assert!(all(&bench).await.is_empty());
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (0, 0));
    assert_eq!(bench.platform.dead_letters(10).await.unwrap(), 0);
}

#[tokio::test]
async fn a_message_of_the_past_gives_way_to_a_newer_one() {
    let (bench, user, instance) = scanning().await;
    let taker = Taker::default();
    refuse(&bench, &taker).await;
    bench.element(&instance, "model", &user, b"<a/>").await;
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (1, 1));
    let listed = all(&bench).await;
    bench.platform.retry_put_aside(&listed[0]).await.unwrap();
    assert_eq!(bench.platform.waiting(10).await.unwrap(), (1, 1), "one row each");
    assert!(all(&bench).await.is_empty());
    taker.takes_from_now_on();
    bench.clock.advance_seconds(60);
    assert_eq!(bench.platform.deliver_syncs(&taker).await.unwrap().delivered, 1);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_can_only_be_dropped() {
    let (bench, _, _) = scanning().await;
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let prefix = KeyWriter::new(Keyspace::Platform).u8(10).finish();
    let mut rows = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let mut tx = Transaction::new();
    tx.put(rows.next().await.unwrap().unwrap().key, b"{".to_vec());
    bench.ledger.commit(tx).await.unwrap();
    let taker = Taker::default();
    assert_eq!(bench.platform.deliver_syncs(&taker).await.unwrap().set_aside, 1);
    let listed = all(&bench).await;
    assert_eq!(
        (listed[0].outbox, listed[0].row.as_str()),
        (Some(Outbox::Portal), "{")
    );
    assert!(!listed[0].is_readable());
    assert!(bench.platform.retry_put_aside(&listed[0]).await.is_err());
    assert_eq!(all(&bench).await.len(), 1);
    bench.platform.drop_put_aside(&listed[0]).await.unwrap();
    assert!(all(&bench).await.is_empty());
}

async fn result_of(bench: &Bench, element: &str, user: &str) -> Value {
    let instance = element.split("/data/").next().unwrap();
    let instance = bench.call("GET", instance, user, Value::Null).await.json();
    instance["data"][0]["fileScanResult"].clone()
}

#[tokio::test]
async fn what_waits_for_nobody_is_asked_about_or_waits_no_longer() {
    let (bench, user, instance) = scanning().await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    let settle = async |waive: bool| bench.platform.settle_pending(waive, &|_| {}).await.unwrap();
    let found = settle(false).await;
    assert_eq!((found.instances, found.asked_before, found.helped), (1, 1, 0));
    let taker = Taker::default();
    refuse(&bench, &taker).await;
    let found = settle(false).await;
    assert_eq!((found.asked_before, found.helped), (1, 0), "it is put aside");
    for message in all(&bench).await {
        bench.platform.drop_put_aside(&message).await.unwrap();
    }
    assert_eq!(settle(false).await.helped, 1);
    assert_eq!(settle(false).await.asked_before, 1, "once is enough");
    taker.takes_from_now_on();
    assert_eq!(bench.platform.deliver_scans(&taker).await.unwrap().delivered, 1);
    assert!(element.ends_with(taker.taken.lock()[0]["dataElementId"].as_str().unwrap()));
    assert_eq!(result_of(&bench, &element, &user).await, "Pending");
    assert_eq!(settle(true).await.helped, 1);
    assert_eq!(result_of(&bench, &element, &user).await, "NotApplicable");
    assert_eq!(settle(true).await.helped, 0);
}
