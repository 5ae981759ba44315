//! Faults of the original that are known by number (S: its repository, A: the one of Studio), each with the behaviour
//! that is right here.
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

use bench::{Ask, Bench, ORG, Options, PARTY, ended, in_task};
use bytes::Bytes;
use serde_json::{Value, json};

async fn kinds(bench: &Bench, instance: &str, token: &str) -> Vec<String> {
    let events = bench
        .call("GET", &format!("{instance}/events"), token, Value::Null)
        .await
        .json();
    let events = events["instanceEvents"].as_array().unwrap().clone();
    events
        .iter()
        .map(|event| event["eventType"].as_str().unwrap().to_owned())
        .collect()
}

async fn ids(bench: &Bench, query: &str, token: &str) -> Vec<String> {
    let list = bench
        .call("GET", &format!("/instances?{query}"), token, Value::Null)
        .await;
    assert_eq!(list.status, 200, "{query}: {:?}", list.body);
    let list = list.json();
    let list = list["instances"].as_array().unwrap();
    list.iter()
        .map(|instance| format!("/instances/{}", instance["id"].as_str().unwrap()))
        .collect()
}

async fn set_up() -> (Bench, String, String, String) {
    let bench = Bench::new();
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    bench.publish("app", json!({})).await;
    let instance = bench.instance("app", &user).await;
    (bench, user, owner, instance)
}

#[tokio::test]
async fn s545_a_presentation_text_can_be_removed() {
    let (bench, user, _, instance) = set_up().await;
    let path = format!("{instance}/presentationtexts");
    bench
        .call("PUT", &path, &user, json!({"texts": {"a": "1", "b": "2"}}))
        .await;
    let left = bench.call("PUT", &path, &user, json!({"texts": {"a": ""}})).await;
    assert_eq!(left.json()["presentationTexts"], json!({"b": "2"}));
    assert_eq!(
        bench.call("GET", &instance, &user, Value::Null).await.json()["presentationTexts"],
        json!({"b": "2"})
    );
}

#[tokio::test]
async fn s544_a_state_without_its_events_is_not_written() {
    let (bench, user, _, instance) = set_up().await;
    let before = bench.call("GET", &instance, &user, Value::Null).await.json();
    let body =
        json!({"state": in_task("Task_2", "data"), "events": [{"eventType": "process_EndTask", "user": {}}]});
    let refused = bench
        .call(
            "PUT",
            &format!("{instance}/process/instanceandevents"),
            &user,
            body,
        )
        .await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        bench.call("GET", &instance, &user, Value::Null).await.json(),
        before
    );
    assert_eq!(kinds(&bench, &instance, &user).await, ["Created"]);
}

#[tokio::test]
async fn s396_a_bad_identifier_is_refused() {
    let (bench, user, _, _) = set_up().await;
    for bad in [
        "Person:1",
        "Organisation:01039012345",
        "Somebody:897069650",
        "897069650",
        "Person:0103901234x",
        "",
    ] {
        let headers = vec![("x-ai-instanceowneridentifier", bad.to_owned())];
        let path = "/instances".to_owned();
        let answer = bench
            .send(Ask {
                method: "GET",
                path,
                token: &user,
                headers,
                body: Bytes::new(),
            })
            .await;
        assert_eq!(answer.status, 400, "{bad}");
    }
    let headers = vec![("x-ai-instanceowneridentifier", "Person:01039012345".to_owned())];
    let path = "/instances".to_owned();
    let answer = bench
        .send(Ask {
            method: "GET",
            path,
            token: &user,
            headers,
            body: Bytes::new(),
        })
        .await;
    assert_eq!(answer.json()["count"], 1);
}

#[tokio::test]
async fn a17408_complete_writes_an_event_once() {
    let (bench, user, owner, instance) = set_up().await;
    for _ in 0..2 {
        assert_eq!(
            bench
                .call("POST", &format!("{instance}/complete"), &owner, Value::Null)
                .await
                .status,
            200
        );
    }
    assert_eq!(
        kinds(&bench, &instance, &user).await,
        ["Created", "ConfirmedComplete"]
    );
}

#[tokio::test]
async fn s221_signing_is_in_the_events() {
    let (bench, user, _, instance) = set_up().await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    bench
        .call(
            "PUT",
            &format!("{instance}/process"),
            &user,
            in_task("Task_2", "signing"),
        )
        .await;
    let body = json!({"signatureDocumentDataType": "signature", "signee": {"userId": "1337"},
        "dataElementSignatures": [{"dataElementId": element.rsplit('/').next().unwrap(), "signed": true}]});
    assert_eq!(
        bench
            .call("POST", &format!("{instance}/sign"), &user, body)
            .await
            .status,
        201
    );
    let found = kinds(&bench, &instance, &user).await;
    assert_eq!(found[found.len() - 2..], ["SentToSign", "Signed"]);
}

#[tokio::test]
async fn a6146_the_owner_sees_what_is_deleted_for_good() {
    let (bench, user, owner, instance) = set_up().await;
    bench
        .call("DELETE", &format!("{instance}?hard=true"), &user, Value::Null)
        .await;
    assert_eq!(
        ids(&bench, "appId=ttd/app&status.isHardDeleted=true", &owner).await,
        std::slice::from_ref(&instance)
    );
    let own = format!("instanceOwner.partyId={PARTY}");
    assert_eq!(ids(&bench, &own, &user).await, Vec::<String>::new());
    assert_eq!(
        ids(&bench, &format!("{own}&status.isHardDeleted=true"), &user).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn s1100_s1107_the_last_puts_pass_behind_the_deletion() {
    let (bench, user, _, instance) = set_up().await;
    let element = bench.element(&instance, "temporary", &user, b"<a/>").await;
    assert_eq!(
        bench
            .call("DELETE", &format!("{instance}?hard=true"), &user, Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(
        bench
            .call("DELETE", &format!("{element}?delay=true"), &user, Value::Null)
            .await
            .status,
        200
    );
    let body = json!({"state": ended(), "events": []});
    let last = bench
        .call(
            "PUT",
            &format!("{instance}/process/instanceandevents"),
            &user,
            body,
        )
        .await;
    assert_eq!(
        (last.status.as_u16(), &last.json()["status"]["isArchived"]),
        (200, &json!(true))
    );
}

struct Taken(parking_lot::Mutex<Vec<Value>>);

#[async_trait::async_trait]
impl platform_storage::Sink for Taken {
    async fn deliver(&self, message: Vec<u8>) -> Result<(), platform_storage::Undelivered> {
        self.0.lock().push(serde_json::from_slice(&message).unwrap());
        Ok(())
    }
}

#[tokio::test]
async fn s902_a_deletion_is_told_to_the_portal() {
    let bench = Bench::with(Options {
        portal_sync: true,
        ..Options::default()
    });
    let user = bench.user(1337).await;
    bench.publish("app", json!({})).await;
    let instance = bench.instance("app", &user).await;
    let taken = Taken(parking_lot::Mutex::default());
    bench.platform.deliver_syncs(&taken).await.unwrap();
    for path in [format!("/sbl{instance}"), format!("/sbl{instance}?hard=true")] {
        bench.call("DELETE", &path, &user, Value::Null).await;
        bench.platform.deliver_syncs(&taken).await.unwrap();
    }
    let kinds: Vec<String> = taken
        .0
        .lock()
        .iter()
        .map(|message| message["EventType"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["Created", "Deleted", "Deleted"]);
}

/// Without a number: an org that lists another's app sees only what the policy lets it read.
#[tokio::test]
async fn another_orgs_list_is_asked_about_row_by_row() {
    let (bench, _, _, instance) = set_up().await;
    let foreign = bench.org("skd").await;
    let resource = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource";
    let subject = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject";
    let one = |category: &str, attribute: &str, value: &str| {
        format!(
            "<AnyOf><AllOf><Match MatchId=\"urn:oasis:names:tc:xacml:1.0:function:string-equal\"><AttributeValue \
             DataType=\"http://www.w3.org/2001/XMLSchema#string\">{value}</AttributeValue><AttributeDesignator \
             AttributeId=\"{attribute}\" Category=\"{category}\"/></Match></AllOf></AnyOf>"
        )
    };
    let policy = |effect: &str, more: String| {
        format!(
            "<Rule RuleId=\"r\" Effect=\"{effect}\"><Target>{}{}{more}</Target></Rule>",
            one(subject, "urn:altinn:org", "skd"),
            one(resource, "urn:altinn:app", "[APP]")
        )
    };
    let folder = bench.policies.join(ORG).join("app");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |rules: String| {
        let text = format!(
            "<Policy RuleCombiningAlgId=\"urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides\"><Target/>{rules}</Policy>"
        );
        std::fs::write(folder.join("policy.xml"), text).unwrap();
    };
    write(policy("Permit", String::new()));
    assert_eq!(
        ids(&bench, "appId=ttd/app", &foreign).await,
        std::slice::from_ref(&instance)
    );
    write(policy("Permit", String::new()) + &policy("Deny", one(resource, "urn:altinn:task", "Task_1")));
    assert_eq!(ids(&bench, "appId=ttd/app", &foreign).await, Vec::<String>::new());
}
