//! Webhooks: what they are told, in the commit of what they tell of, and how often.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::sync::Arc;

use async_trait::async_trait;
use bench::{Bench, bench_with, open_settings};
use parking_lot::Mutex;
use registry::rules::webhook::{WebhookAction, WebhookScope};
use registry::{Receiver, Settings, Undelivered, Webhook, WebhookReport};
use serde_json::{Value, json};

/// A receiver that takes everything, or nothing, or not what it doesn't like.
#[derive(Debug, Default)]
struct Recorder {
    taken: Mutex<Vec<Value>>,
    tried: Mutex<usize>,
    away: Mutex<bool>,
    refused_tag: Option<&'static str>,
}

#[async_trait]
impl Receiver for Recorder {
    async fn deliver(&self, message: Vec<u8>) -> Result<(), Undelivered> {
        *self.tried.lock() += 1;
        let message: Value = serde_json::from_slice(&message).unwrap();
        if *self.away.lock() {
            return Err(Undelivered::Away("a test".to_owned()));
        }
        if message["target"]["tag"]
            .as_str()
            .is_some_and(|tag| Some(tag) == self.refused_tag)
        {
            return Err(Undelivered::Refused("a test".to_owned()));
        }
        self.taken.lock().push(message);
        Ok(())
    }
}

impl Recorder {
    /// Action and tag of all that was taken since the last time.
    fn take(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let taken = std::mem::take(&mut *self.taken.lock());
        let pairs = taken
            .iter()
            .map(|message| (text(&message["action"]), text(&message["target"]["tag"])));
        pairs.collect()
    }
}

fn told(action: &str, tag: &str) -> (String, String) {
    (action.to_owned(), tag.to_owned())
}

fn settings(webhooks: &[(&str, &str, &Arc<Recorder>)]) -> Settings {
    let mut settings = open_settings();
    let webhook = |(name, scope, receiver): &(&str, &str, &Arc<Recorder>)| Webhook {
        name: (*name).to_owned(),
        actions: WebhookAction::ALL.to_vec(),
        scope: WebhookScope::parse(scope).unwrap(),
        receiver: (*receiver).clone(),
    };
    settings.registries[0].webhooks = webhooks.iter().map(webhook).collect();
    settings
}

async fn deliver(bench: &Bench) -> WebhookReport {
    bench.front.service().deliver_webhooks().await
}

#[tokio::test]
async fn a_push_and_a_deletion_are_told_as_the_original_tells_them() {
    let recorder = Arc::new(Recorder::default());
    let bench = bench_with(settings(&[("all", "", &recorder)]));
    let digest = bench.image("org/app", "v1", b"one").await;
    assert_eq!(deliver(&bench).await.delivered, 1);
    let message = recorder.taken.lock().pop().unwrap();
    let size = bench.get("/v2/org/app/manifests/v1").await.body.len();
    assert_eq!(
        message["target"],
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": size, "digest": digest.as_str(),
            "length": size, "repository": "org/app", "tag": "v1",
        })
    );
    assert_eq!(
        (&message["action"], &message["timestamp"]),
        (&json!("push"), &json!("2027-01-15T08:00:00.000000042Z"))
    );
    assert!(uuid::Uuid::parse_str(message["id"].as_str().unwrap()).is_ok());
    assert_eq!(message["request"]["host"], "127.0.0.1:5000");
    assert_eq!(message["request"]["method"], "PUT");
    let path = format!("/v2/org/app/manifests/{digest}");
    let agent = [("user-agent", "docker/28")];
    assert_eq!(bench.ask("DELETE", &path, &agent, b"").await.status, 202);
    deliver(&bench).await;
    let message = recorder.taken.lock().pop().unwrap();
    assert_eq!(message["action"], "delete");
    assert_eq!(message["target"]["digest"], digest.as_str());
    assert_eq!(message["request"]["useragent"], "docker/28");
    assert_eq!(deliver(&bench).await, WebhookReport::default(), "once");
}

#[tokio::test]
async fn each_tag_is_told_and_scopes_choose() {
    let (all, own, one) = (Arc::default(), Arc::default(), Arc::default());
    let bench = bench_with(settings(&[
        ("all", "", &all),
        ("own", "b:*", &own),
        ("one", "b:v2", &one),
    ]));
    bench.image("a", "v2", b"one").await;
    let config = bench.blob("b", b"{}").await;
    let image = bench::image_of(&config, &config);
    let digest = bench::sha256(image.to_string().as_bytes());
    assert_eq!(
        bench
            .manifest("b", &format!("{digest}?tag=v1&tag=v2"), &image)
            .await
            .status,
        201
    );
    assert_eq!(bench.manifest("b", digest.as_str(), &image).await.status, 201);
    // Refused, and so nobody is told.
    let missing = bench::image_of(&digest, &digest);
    assert_eq!(bench.manifest("b", "v3", &missing).await.status, 400);
    deliver(&bench).await;
    let mut found = all.take();
    found.sort();
    let (tagless, v1, v2) = (told("push", ""), told("push", "v1"), told("push", "v2"));
    assert_eq!(found, [tagless.clone(), v1.clone(), v2.clone(), v2.clone()]);
    let mut found = own.take();
    found.sort();
    assert_eq!(found, [tagless, v1, v2.clone()]);
    assert_eq!(one.take(), [v2]);
}

#[tokio::test]
async fn who_is_away_is_told_later_and_holds_up_nobody() {
    let (away, here): (Arc<Recorder>, Arc<Recorder>) = (Arc::default(), Arc::default());
    *away.away.lock() = true;
    let webhooks = [("away", "", &away), ("here", "", &here)];
    let bench = bench_with(settings(&webhooks));
    for tag in ["v1", "v2", "v3"] {
        bench.image("a", tag, tag.as_bytes()).await;
    }
    let report = deliver(&bench).await;
    assert_eq!((report.delivered, report.failed), (3, 1));
    assert_eq!(
        (here.take().len(), *away.tried.lock()),
        (3, 1),
        "one try stands for all"
    );
    // Not before its time.
    assert_eq!(deliver(&bench).await, WebhookReport::default());
    bench.clock.advance_seconds(3);
    assert_eq!(deliver(&bench).await.failed, 1);
    *away.away.lock() = false;
    bench.clock.advance_seconds(600);
    assert_eq!(deliver(&bench).await.delivered, 3);
    let mut found = away.take();
    found.sort();
    assert_eq!(
        found,
        [told("push", "v1"), told("push", "v2"), told("push", "v3")]
    );
    // What waits outlives the process.
    *away.away.lock() = true;
    bench.image("a", "v4", b"v4").await;
    deliver(&bench).await;
    *away.away.lock() = false;
    bench.clock.advance_seconds(600);
    let (ledger, content, clock) = (bench.ledger.clone(), bench.content.clone(), bench.clock.clone());
    let other = bench::over(ledger, content, clock, settings(&webhooks), 9);
    deliver(&other).await;
    assert_eq!(away.take(), [told("push", "v4")]);
}

#[tokio::test]
async fn what_is_refused_for_a_week_is_given_up() {
    let recorder = Arc::new(Recorder {
        refused_tag: Some("bad"),
        ..Recorder::default()
    });
    let bench = bench_with(settings(&[("all", "", &recorder)]));
    bench.image("a", "bad", b"bad").await;
    bench.image("a", "good", b"good").await;
    let report = deliver(&bench).await;
    assert_eq!((report.delivered, report.failed), (1, 1));
    let mut expired = 0;
    for _ in 0..8 {
        bench.clock.advance_seconds(24 * 3_600);
        expired += deliver(&bench).await.expired;
    }
    assert_eq!((expired, *recorder.tried.lock() > 6), (1, true));
    let tried = *recorder.tried.lock();
    bench.clock.advance_seconds(24 * 3_600);
    deliver(&bench).await;
    assert_eq!(*recorder.tried.lock(), tried);
}

#[tokio::test]
async fn what_a_policy_deletes_is_told_as_well() {
    let recorder = Arc::new(Recorder::default());
    let mut settings = settings(&[("all", "", &recorder)]);
    settings.registries[0].retention_days = Some(1);
    let bench = bench_with(settings);
    bench.collect().await;
    bench.image("a", "v1", b"one").await;
    assert_eq!(bench.delete("/v2/a/manifests/v1").await.status, 202);
    bench.clock.advance_seconds(2 * 24 * 3_600);
    assert_eq!(bench.collect().await.untagged, 1);
    deliver(&bench).await;
    let message = recorder.taken.lock().pop().unwrap();
    assert_eq!(
        (&message["action"], &message["request"]["host"]),
        (&json!("delete"), &json!("dev.cr.test"))
    );
}

/// An image with so many tags: their names.
async fn tagged(bench: &Bench, bytes: &[u8], count: usize) -> (String, Vec<String>) {
    let config = bench.blob("a", b"{}").await;
    let layer = bench.blob("a", bytes).await;
    let image = bench::image_of(&config, &layer).to_string();
    let digest = bench::sha256(image.as_bytes()).to_string();
    let tags: Vec<String> = (0..count).map(|number| format!("t{number:03}")).collect();
    let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
    let path = format!("/v2/a/manifests/{digest}?{}", query.join("&"));
    let headers = [("content-type", registry::rules::manifest::OCI_MANIFEST)];
    assert_eq!(
        bench.ask("PUT", &path, &headers, image.as_bytes()).await.status,
        201
    );
    (digest, tags)
}

#[tokio::test]
async fn a_deletion_of_many_tags_goes_in_steps_and_tells_each_once() {
    for whole in [false, true] {
        let recorder = Arc::new(Recorder::default());
        let bench = bench_with(settings(&[("all", "", &recorder)]));
        let (digest, tags) = tagged(&bench, b"layer", 40).await;
        while deliver(&bench).await.more {}
        recorder.take();
        let before = bench.ledger.head().borrow().to_owned();
        let path = match whole {
            true => "/acr/v1/a".to_owned(),
            false => format!("/v2/a/manifests/{digest}"),
        };
        assert_eq!(bench.delete(&path).await.status, 202);
        let after = bench.ledger.head().borrow().to_owned();
        assert!(after - before >= 3, "in steps");
        while deliver(&bench).await.more {}
        let mut found = recorder.take();
        found.sort();
        let expected: Vec<_> = tags.iter().map(|tag| told("delete", tag)).collect();
        assert_eq!(found, expected);
        assert_eq!(bench.get(&format!("/v2/a/manifests/{digest}")).await.status, 404);
        bench.verify().await;
    }
}

#[tokio::test]
async fn a_lock_on_any_of_many_tags_keeps_them_all() {
    let bench = bench_with(settings(&[]));
    let (digest, tags) = tagged(&bench, b"layer", 40).await;
    let lock = bench
        .ask("PATCH", "/acr/v1/a/_tags/t039", &[], b"{\"deleteEnabled\":false}")
        .await;
    assert_eq!(lock.status, 200);
    let path = format!("/v2/a/manifests/{digest}");
    assert_eq!(bench.delete(&path).await.code(), "REGISTRY_DISALLOWED_OPERATION");
    assert_eq!(bench.get("/v2/a/tags/list").await.json()["tags"], json!(tags));
}

#[tokio::test]
async fn old_messages_of_a_webhook_that_went_go_behind_many_others() {
    let (own, left) = (Arc::new(Recorder::default()), Arc::new(Recorder::default()));
    let both = settings(&[("a", "", &own), ("z", "", &left)]);
    let bench = bench_with(both.clone());
    for number in 0..18_u8 {
        tagged(&bench, &[number], 60).await;
    }
    bench.clock.advance_seconds(8 * 86_400);
    let again = |settings| {
        bench::over(
            bench.ledger.clone(),
            bench.content.clone(),
            bench.clock.clone(),
            settings,
            9,
        )
    };
    let without = again(settings(&[("a", "", &own)]));
    for _ in 0..4 {
        without.collect().await;
        bench.clock.advance_seconds(25 * 3_600);
    }
    let with = again(both);
    while deliver(&with).await.more {}
    assert_eq!(own.take().len(), 18 * 60);
    assert_eq!(left.take(), []);
}
