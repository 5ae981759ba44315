//! What was permitted of an instance as it was isn't done to what others have made of it meanwhile.
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

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bench::{Bench, Options, ended, in_task};
use platform_storage::decision::Resource;
use platform_storage::{Caller, DecisionPoint, PlatformError};
use serde_json::{Value, json};

/// Permits all but what is asked of a process that has ended; once, while it is asked, it ends the process.
#[derive(Default)]
struct Racing {
    bench: OnceLock<(&'static Bench, String, String)>,
    armed: AtomicBool,
}

#[async_trait]
impl DecisionPoint for Racing {
    async fn permits(&self, _: &Caller, _: &str, resource: &Resource) -> Result<bool, PlatformError> {
        let permitted = resource.end_event.is_none();
        if self.armed.swap(false, Ordering::Relaxed) {
            let (bench, instance, user) = self.bench.get().unwrap();
            let process = format!("{instance}/process");
            let answer = bench.call("PUT", &process, user, ended()).await;
            assert_eq!(answer.status, 200, "{:?}", answer.body);
        }
        Ok(permitted)
    }
}

/// A service, an instance in a task, an element of it, its user; the next question ends the instance's process.
async fn racing() -> (&'static Bench, String, String, String) {
    let racing = Arc::new(Racing::default());
    let bench: &'static Bench = Box::leak(Box::new(Bench::with(Options {
        decision: Some(racing.clone()),
        ..Options::default()
    })));
    let user = bench.user(1337).await;
    bench.publish("r", json!({})).await;
    let instance = bench.instance("r", &user).await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    assert!(racing.bench.set((bench, instance.clone(), user.clone())).is_ok());
    racing.armed.store(true, Ordering::Relaxed);
    (bench, instance, element, user)
}

async fn is_still_ended(bench: &Bench, instance: &str) {
    let info = bench
        .internal("GET", &format!("{instance}/process/authinfo"))
        .await;
    assert_eq!(info.status, 200);
    assert!(
        !String::from_utf8_lossy(&info.body).contains("Task_2"),
        "{:?}",
        info.body
    );
}

#[tokio::test]
async fn a_mutation_is_decided_by_what_it_changes() {
    for mutation in [
        json!({"processState": {"state": in_task("Task_2", "data")}}),
        json!({"dataValues": {"a": "1"}}),
        json!({"deleteInstance": {"hard": true}}),
        json!({"updateDataElements": [{"dataElementId": null, "tags": ["t"]}]}),
    ] {
        let (bench, instance, element, user) = racing().await;
        let mut mutation = mutation;
        if let Some(update) = mutation.pointer_mut("/updateDataElements/0/dataElementId") {
            *update = Value::from(element.rsplit('/').next().unwrap());
        }
        let path = format!("{instance}/mutations");
        let answer = bench.call("POST", &path, &user, mutation.clone()).await;
        assert_eq!(answer.status, 403, "{mutation}: {:?}", answer.body);
        is_still_ended(bench, &instance).await;
    }
}

#[tokio::test]
async fn content_and_signatures_are_decided_by_what_they_change() {
    let signature = json!({"signatureDocumentDataType": "signature", "signee": {"userId": "1337"},
        "dataElementSignatures": []});
    for (method, below, body) in [
        ("POST", "data?dataType=model", json!("<b/>")),
        ("PUT", "", json!("<b/>")),
        ("PUT", "lock", Value::Null),
        ("POST", "sign", signature),
    ] {
        let (bench, instance, element, user) = racing().await;
        let path = match below {
            "" => element,
            "lock" => format!("{element}/lock"),
            below => format!("{instance}/{below}"),
        };
        let answer = bench.call(method, &path, &user, body).await;
        assert_eq!(answer.status, 403, "{method} {below}: {:?}", answer.body);
    }
}
