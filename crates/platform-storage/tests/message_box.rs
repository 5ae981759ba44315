//! The message box and Studio: what is shown of whose instances, by which filters.
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
use bench::{Bench, ORG, Options, PARTY, ended, in_task};
use parking_lot::Mutex;
use platform_storage::decision::Resource;
use platform_storage::limits::BOX_DENIALS_MAX;
use platform_storage::{Caller, DecisionPoint, PlatformError};
use serde_json::{Value, json};

/// The guids of what a search finds, in order.
async fn search(bench: &Bench, token: &str, query: Value) -> Vec<String> {
    let mut body = json!({"instanceOwnerPartyIdList": [501_337]});
    for (name, value) in query.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = bench.call("POST", "/sbl/instances/search", token, body).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let items = answer.json();
    let items = items.as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

fn guid(instance: &str) -> String {
    instance.rsplit('/').next().unwrap().to_owned()
}

async fn put(bench: &Bench, path: String, token: &str, body: Value) {
    let answer = bench.call("PUT", &path, token, body).await;
    assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
}

#[tokio::test]
async fn searches() {
    let bench = Bench::new();
    bench
        .publish("box", json!({"title": {"nb": "Søknad om båt", "en": "Boat"}}))
        .await;
    bench.publish("other", json!({"title": {"nb": "Annet"}})).await;
    let user = bench.user(1337).await;
    let mut all = Vec::new();
    for app in ["box", "box", "box", "other", "other"] {
        bench.clock.advance_seconds(60);
        all.push(bench.instance(app, &user).await);
    }
    // Of one moment the guids would say which is first.
    bench.clock.advance_seconds(1);
    let of_ddg = json!({"instanceOwner": {"partyId": "500000"}, "process": in_task("Task_1", "data")});
    let ddg = bench
        .call("POST", "/instances?appId=ttd/box", &user, of_ddg)
        .await
        .json();
    let ddg = guid(ddg["id"].as_str().unwrap());
    // The second is archived, the third is in the bin, the fourth is archived and in the bin.
    for number in [1, 3] {
        bench.clock.advance_seconds(60);
        put(&bench, format!("{}/process", all[number]), &user, ended()).await;
    }
    for number in [2, 3] {
        bench.clock.advance_seconds(60);
        assert_eq!(
            bench
                .call("DELETE", &all[number], &user, Value::Null)
                .await
                .status,
            200
        );
    }
    put(
        &bench,
        format!("{}/presentationtexts", all[4]),
        &user,
        json!({"texts": {"who": "Kari BÅTSMANN"}}),
    )
    .await;
    let ids: Vec<String> = all.iter().map(|path| guid(path)).collect();
    let by_change = [3, 2, 1, 4, 0];
    for (query, expected) in [
        (json!({}), by_change.to_vec()),
        (json!({"includeActive": true}), vec![4, 0]),
        (json!({"includeArchived": true}), vec![1]),
        (json!({"includeDeleted": true}), vec![3, 2]),
        (
            json!({"includeArchived": true, "includeDeleted": true}),
            vec![3, 2, 1],
        ),
        (
            json!({"includeActive": true, "includeArchived": true, "includeDeleted": true}),
            by_change.to_vec(),
        ),
        (json!({"appId": "ttd/other"}), vec![3, 4]),
        (json!({"searchString": "båt"}), vec![2, 1, 4, 0]),
        (json!({"searchString": "boat"}), vec![2, 1, 0]),
        (json!({"searchString": "båtsmann"}), vec![4]),
        (json!({"searchString": "fly"}), vec![]),
        (json!({"archiveReference": &ids[1][24..]}), vec![1]),
        (json!({"archiveReference": &ids[0][24..]}), vec![]),
        (
            json!({"archiveReference": &ids[1][24..], "includeActive": true}),
            vec![],
        ),
        (json!({"fromLastChanged": "2027-01-15T08:06:30Z"}), vec![3, 2]),
        (json!({"toLastChanged": "2027-01-15T08:05:30Z"}), vec![4, 0]),
        (
            json!({"fromCreated": "2027-01-15T08:02:00Z", "toCreated": "2027-01-15T08:05:00Z"}),
            vec![2, 4],
        ),
        (json!({"filterMigrated": true}), by_change.to_vec()),
    ] {
        let found = search(&bench, &user, query.clone()).await;
        let expected: Vec<String> = expected.into_iter().map(|number| ids[number].clone()).collect();
        assert_eq!(found, expected, "{query}");
    }
    // Two boxes are one list, newest first.
    let both = search(
        &bench,
        &user,
        json!({"instanceOwnerPartyIdList": [500_000, 501_337]}),
    )
    .await;
    assert_eq!(both.len(), 6);
    assert_eq!(both.iter().position(|id| *id == ddg), Some(3), "{both:?}");
    // What one may not read isn't there.
    let stranger = bench.user(12_345).await;
    assert_eq!(search(&bench, &stranger, json!({})).await.len(), 0);
    assert_eq!(
        bench
            .call("POST", "/sbl/instances/search", &user, json!({}))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn items() {
    let bench = Bench::new();
    let (user, studio, owner) = (bench.user(1337).await, bench.studio().await, bench.org(ORG).await);
    bench
        .publish("box", json!({"copyInstanceSettings": {"enabled": true}}))
        .await;
    let texts = json!({"language": "en", "resources": [{"id": "appName", "value": "A boat"},
        {"id": "label", "value": "Approved"}]});
    bench
        .call("POST", "/applications/ttd/box/texts", &studio, texts)
        .await;
    let instance = bench.instance("box", &user).await;
    put(
        &bench,
        format!("{instance}/presentationtexts"),
        &user,
        json!({"texts": {"a": "Kari", "b": "Oslo"}}),
    )
    .await;
    put(
        &bench,
        format!("{instance}/substatus"),
        &owner,
        json!({"label": "label", "description": "none"}),
    )
    .await;
    let path = format!("/sbl{instance}");
    let item = bench
        .call("GET", &format!("{path}?language=en"), &user, Value::Null)
        .await
        .json();
    assert_eq!(item["title"], "A boat, Kari, Oslo");
    assert_eq!(
        item["substatus"],
        json!({"label": "Approved", "description": "none"})
    );
    assert_eq!(
        (&item["processCurrentTask"], &item["deleteStatus"]),
        (&json!("FormFilling"), &json!(0))
    );
    assert_eq!(
        (&item["allowDelete"], &item["authorizedForWrite"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&item["allowNewCopy"], &item["authorizedForSign"]),
        (&json!(false), &json!(false))
    );
    assert!(
        item.as_object().unwrap().contains_key("dueDateTime"),
        "nulls are written"
    );
    assert_eq!(
        (item["id"].as_str(), &item["instanceOwnerId"]),
        (Some(guid(&instance).as_str()), &json!(PARTY))
    );
    put(
        &bench,
        format!("{instance}/process"),
        &user,
        in_task("Task_2", "signing"),
    )
    .await;
    let item = bench.call("GET", &path, &user, Value::Null).await.json();
    assert_eq!(
        (&item["processCurrentTask"], &item["authorizedForSign"]),
        (&json!("Signing"), &json!(true))
    );
    assert_eq!(item["title"], "box, Kari, Oslo", "no texts in nb");
    put(&bench, format!("{instance}/process"), &user, ended()).await;
    let item = bench.call("GET", &path, &user, Value::Null).await.json();
    assert_eq!(
        (&item["processCurrentTask"], &item["allowNewCopy"]),
        (&json!("Archived"), &json!(true))
    );
    let stranger = bench.user(12_345).await;
    assert_eq!(bench.call("GET", &path, &stranger, Value::Null).await.status, 403);
    let unknown = format!(
        "/sbl/instances/{PARTY}/{}",
        "00000000-0000-0000-0000-000000000000"
    );
    assert_eq!(bench.call("GET", &unknown, &user, Value::Null).await.status, 404);
    assert_eq!(
        bench
            .call("GET", &format!("{unknown}/events"), &user, Value::Null)
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn hidden_and_not_yet_visible() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    bench
        .publish(
            "always",
            json!({"messageBoxConfig": {"hideSettings": {"hideAlways": true}}}),
        )
        .await;
    bench
        .publish(
            "tasks",
            json!({"messageBoxConfig": {"hideSettings": {"hideOnTask": ["Task_2"]}}}),
        )
        .await;
    bench.instance("always", &user).await;
    let shown = bench.instance("tasks", &user).await;
    let hidden = bench.instance("tasks", &user).await;
    put(
        &bench,
        format!("{hidden}/process"),
        &user,
        in_task("Task_2", "data"),
    )
    .await;
    bench.clock.advance_seconds(1);
    let later = json!({"instanceOwner": {"partyId": PARTY}, "visibleAfter": "2027-01-16T00:00:00Z"});
    let later = bench
        .call("POST", "/instances?appId=ttd/tasks", &user, later)
        .await
        .json();
    assert_eq!(search(&bench, &user, json!({})).await, [guid(&shown)]);
    bench.clock.advance_seconds(24 * 3600);
    let user = bench.user(1337).await;
    let found = search(&bench, &user, json!({})).await;
    assert_eq!(found, [guid(later["id"].as_str().unwrap()), guid(&shown)]);
}

#[tokio::test]
async fn events_are_folded() {
    let bench = Bench::new();
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    bench.publish("box", json!({})).await;
    let instance = bench.instance("box", &user).await;
    bench.element(&instance, "model", &user, b"<a/>").await;
    let second = bench.element(&instance, "model", &user, b"<b/>").await;
    bench.element(&instance, "model", &owner, b"<c/>").await;
    bench.call("DELETE", &second, &owner, Value::Null).await;
    bench.element(&instance, "model", &owner, b"<d/>").await;
    bench.call("DELETE", &instance, &user, Value::Null).await;
    let events = bench
        .call("GET", &format!("/sbl{instance}/events"), &user, Value::Null)
        .await
        .json();
    let events = events.as_array().unwrap().clone();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["eventType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["Created", "Saved", "Saved", "Deleted"]);
    assert_eq!(
        (&events[1]["user"]["userId"], &events[2]["user"]["orgId"]),
        (&json!(1337), &json!(ORG))
    );
    assert!(
        events[0].as_object().unwrap().contains_key("relatedUser"),
        "nulls are written"
    );
}

#[tokio::test]
async fn studio_sees_and_deletes() {
    let bench = Bench::new();
    let (user, studio) = (bench.user(1337).await, bench.studio().await);
    bench.publish("studio", json!({})).await;
    bench
        .publish("kept", json!({"preventInstanceDeletionForDays": 7}))
        .await;
    let mut made = Vec::new();
    for _ in 0..12 {
        bench.clock.advance_seconds(1);
        made.push(guid(&bench.instance("studio", &user).await));
    }
    let list = async |query: &str| {
        bench
            .call(
                "GET",
                &format!("/studio/instances/ttd/studio{query}"),
                &studio,
                Value::Null,
            )
            .await
    };
    let page = list("").await.json();
    assert_eq!(
        (
            page["count"].as_u64(),
            page["instances"].as_array().unwrap().len()
        ),
        (Some(10), 10)
    );
    let next = page["next"].as_str().unwrap();
    let rest = list(&format!("?continuationToken={next}")).await.json();
    let ids = |page: &Value| -> Vec<String> {
        let items = page["instances"].as_array().unwrap();
        items
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!([ids(&page), ids(&rest)].concat(), made);
    assert!(rest["next"].is_null());
    // What people have filled in, and who they are, isn't to be found out by asking.
    for guess in [
        "instanceOwner.partyId=1",
        "searchString=nothing",
        "dataValues.A2ArchRef=nothing",
    ] {
        assert_eq!(list(&format!("?{guess}")).await.json()["count"], 10, "{guess}");
    }
    assert_eq!(
        ids(&list(&format!("?archiveReference={}", &made[3][24..]))
            .await
            .json()),
        [made[3].clone()]
    );
    let path = format!("/studio/instances/ttd/studio/{}", made[0]);
    bench
        .element(
            &format!("/instances/{PARTY}/{}", made[0]),
            "model",
            &user,
            b"<a/>",
        )
        .await;
    let item = bench.call("GET", &path, &studio, Value::Null).await.json();
    assert_eq!(
        (&item["currentTaskId"], &item["app"]),
        (&json!("Task_1"), &json!("studio"))
    );
    assert_eq!(item["data"][0]["dataType"], "model");
    assert!(item["data"][0].get("filename").is_none() && item.get("presentationTexts").is_none());
    for _ in 0..2 {
        assert_eq!(
            bench.call("DELETE", &path, &studio, Value::Null).await.status,
            204
        );
    }
    let events = bench
        .call(
            "GET",
            &format!("/instances/{PARTY}/{}/events?eventTypes=Deleted", made[0]),
            &user,
            Value::Null,
        )
        .await
        .json();
    assert_eq!(events["instanceEvents"].as_array().unwrap().len(), 1);
    assert_eq!(
        ids(&list("?status.isSoftDeleted=true").await.json()),
        [made[0].clone()]
    );
    // Of another app, and kept.
    let other = format!("/studio/instances/ttd/kept/{}", made[1]);
    assert_eq!(bench.call("GET", &other, &studio, Value::Null).await.status, 404);
    assert_eq!(
        bench.call("DELETE", &other, &studio, Value::Null).await.status,
        404
    );
    let kept = bench.instance("kept", &user).await;
    put(&bench, format!("{kept}/process"), &user, ended()).await;
    let kept = format!("/studio/instances/ttd/kept/{}", guid(&kept));
    assert_eq!(
        bench.call("DELETE", &kept, &studio, Value::Null).await.status,
        403
    );
}

/// Permits nothing of one party's while it is strict, and keeps what it was asked then.
#[derive(Default)]
struct Strict {
    on: AtomicBool,
    asked: Mutex<Vec<(String, String)>>,
}

#[async_trait]
impl DecisionPoint for Strict {
    async fn permits(&self, _: &Caller, action: &str, resource: &Resource) -> Result<bool, PlatformError> {
        if !self.on.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let party = resource.party.clone().unwrap_or_default();
        self.asked.lock().push((action.to_owned(), party.clone()));
        Ok(party == PARTY)
    }
}

#[tokio::test]
async fn a_party_without_rights_costs_little_and_hides_nothing() {
    let strict = Arc::new(Strict::default());
    let bench = Bench::with(Options {
        decision: Some(strict.clone()),
        ..Options::default()
    });
    bench.publish("box", json!({})).await;
    let user = bench.user(1337).await;
    let own = bench.instance("box", &user).await;
    bench.clock.advance_seconds(1);
    // Newer than what is one's own, and more than is asked about in vain.
    for _ in 0..BOX_DENIALS_MAX + 150 {
        let body = json!({"instanceOwner": {"partyId": "500000"}});
        let answer = bench.call("POST", "/instances?appId=ttd/box", &user, body).await;
        assert_eq!(answer.status, 201);
    }
    strict.on.store(true, Ordering::Relaxed);
    let parties = json!({"instanceOwnerPartyIdList": [500_000, 501_337]});
    assert_eq!(search(&bench, &user, parties).await, [guid(&own)]);
    let asked = strict.asked.lock();
    let of_others = asked.iter().filter(|(_, party)| party != PARTY);
    let of_others: Vec<&str> = of_others.map(|(action, _)| action.as_str()).collect();
    assert_eq!(of_others, vec!["read"; BOX_DENIALS_MAX]);
    let of_own = asked.iter().filter(|(_, party)| party == PARTY);
    let of_own: Vec<&str> = of_own.map(|(action, _)| action.as_str()).collect();
    assert_eq!(of_own, ["read", "delete"]);
}
