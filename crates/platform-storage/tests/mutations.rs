//! Mutations: several changes of one instance, all or none, once for each idempotency key.
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

use bench::{Answer, Ask, Bench, ORG, PARTY, in_task};
use bytes::Bytes;
use serde_json::{Value, json};

async fn ask(
    bench: &Bench,
    method: &str,
    path: &str,
    token: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> Answer {
    let mut sent = vec![("content-type", "application/json".to_owned())];
    sent.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let body = if body.is_null() {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    bench
        .send(Ask {
            method,
            path: path.to_owned(),
            token,
            headers: sent,
            body,
        })
        .await
}

fn versions(answer: &Answer) -> (i64, i64) {
    let read = |name: &str| answer.headers[name].to_str().unwrap().parse().unwrap();
    (read("instance-version"), read("process-state-version"))
}

async fn now(bench: &Bench, instance: &str, token: &str) -> (i64, i64) {
    versions(&bench.call("GET", instance, token, Value::Null).await)
}

fn multipart(mutation: &Value, parts: &[(&str, &str, &str)]) -> Bytes {
    let mut body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"mutation\"\r\nContent-Type: application/json\r\n\r\n{mutation}"
    );
    for (name, kind, content) in parts {
        body += &format!(
            "\r\n--b\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}.bin\"\r\n\
             Content-Type: {kind}\r\n\r\n{content}"
        );
    }
    body += "\r\n--b--\r\n";
    body.into()
}

async fn mutate(bench: &Bench, instance: &str, token: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
    let mut sent = vec![("content-type", "multipart/form-data; boundary=b".to_owned())];
    sent.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    bench
        .send(Ask {
            method: "POST",
            path: format!("{instance}/mutations"),
            token,
            headers: sent,
            body,
        })
        .await
}

const KEY: &str = "a0a0a0a0-0000-4000-8000-000000000001";

#[tokio::test]
async fn a_mutation_is_one_commit_and_repeats_itself() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    bench.publish("v", json!({})).await;
    let instance = bench.instance("v", &user).await;
    let gone = bench.element(&instance, "model", &user, b"<gone/>").await;
    let kept = bench.element(&instance, "model", &user, b"<kept/>").await;
    let id = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let event = json!({"eventType": "process_EndTask", "user": {"userId": 1337}});
    let mutation = json!({
        "createDataElements": [{"dataType": "model", "contentPartName": "one", "tags": ["t"]},
            {"dataType": "temporary", "contentPartName": "two", "filename": "named.txt"}],
        "updateDataElements": [{"dataElementId": id(&kept), "contentPartName": "three"}],
        "deleteDataElements": [{"dataElementId": id(&gone)}],
        "dataValues": {"a": "1"}, "presentationTexts": {"t": "Kari"},
        "processState": {"state": in_task("Task_2", "data"), "events": [event]},
    });
    let parts = [
        ("one", "text/plain", "1"),
        ("two", "text/plain", "2\r\n--x"),
        ("three", "text/xml", "<new/>"),
    ];
    let before = now(&bench, &instance, &user).await;
    let version = before.0.to_string();
    let headers = [
        ("if-instance-version-match", version.as_str()),
        ("idempotency-key", KEY),
    ];
    let head = bench.ledger.stats().await.unwrap().commits;
    let done = mutate(&bench, &instance, &user, &headers, multipart(&mutation, &parts)).await;
    assert_eq!(done.status, 200, "{:?}", done.body);
    // The container of the org's blobs is there already: one commit more, whatever the mutation holds.
    assert_eq!(bench.ledger.stats().await.unwrap().commits, head + 1);
    assert_eq!(versions(&done), (before.0 + 1, before.1 + 1));
    let body = done.json();
    assert_eq!(
        (
            &body["replayed"],
            body["createdDataElementIds"].as_array().unwrap().len()
        ),
        (&json!(false), 2)
    );
    assert_eq!(body["instance"]["data"].as_array().unwrap().len(), 3);
    assert_eq!(body["instance"]["dataValues"], json!({"a": "1"}));
    assert_eq!(body["instance"]["process"]["currentTask"]["elementId"], "Task_2");
    let second = body["createdDataElementIds"][1].as_str().unwrap();
    let content = bench
        .call("GET", &format!("{instance}/data/{second}"), &user, Value::Null)
        .await;
    assert_eq!(content.body, "2\r\n--x");
    assert!(
        content.headers["content-disposition"]
            .to_str()
            .unwrap()
            .contains("named.txt")
    );
    assert_eq!(bench.call("GET", &kept, &user, Value::Null).await.body, "<new/>");
    assert_eq!(bench.call("GET", &gone, &user, Value::Null).await.status, 404);
    let events = bench
        .call("GET", &format!("{instance}/events"), &user, Value::Null)
        .await
        .json();
    let kinds: Vec<String> = events["instanceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["eventType"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        ["Deleted", "Saved", "process_EndTask"]
            .iter()
            .all(|kind| kinds.contains(&(*kind).to_owned())),
        "{kinds:?}"
    );
    // Again: the same answer, and nothing more.
    let again = mutate(&bench, &instance, &user, &headers, multipart(&mutation, &parts)).await;
    assert_eq!(
        (again.status.as_u16(), &again.json()["replayed"]),
        (200, &json!(true)),
        "{:?}",
        again.body
    );
    assert_eq!(
        again.json()["createdDataElementIds"],
        body["createdDataElementIds"]
    );
    assert_eq!(now(&bench, &instance, &user).await, (before.0 + 1, before.1 + 1));
    // The same key doesn't stand for another mutation, nor for another caller.
    let owner = bench.org(ORG).await;
    let other = json!({"dataValues": {"a": "2"}});
    for (token, mutation, parts) in [(&user, &other, &[][..]), (&owner, &mutation, &parts[..])] {
        let reused = mutate(&bench, &instance, token, &headers, multipart(mutation, parts)).await;
        assert_eq!(reused.status, 409, "{:?}", reused.body);
    }
    // With another key it is another mutation, of an old version.
    let other = [
        headers[0],
        ("idempotency-key", "a0a0a0a0-0000-4000-8000-000000000002"),
    ];
    let stale = mutate(&bench, &instance, &user, &other, multipart(&mutation, &parts)).await;
    assert_eq!(
        (stale.status.as_u16(), &stale.json()["type"]),
        (412, &json!("instance_version_mismatch"))
    );
    // For another instance the key is taken.
    let elsewhere = bench.instance("v", &user).await;
    let values = json!({"dataValues": {"a": "1"}});
    let taken = ask(
        &bench,
        "POST",
        &format!("{elsewhere}/mutations"),
        &user,
        &[("if-instance-version-match", "1"), ("idempotency-key", KEY)],
        values.clone(),
    )
    .await;
    assert_eq!(taken.status, 409);
    // When others have gone on, there is no answer to repeat.
    bench.call("DELETE", &kept, &user, Value::Null).await;
    assert_eq!(
        mutate(&bench, &instance, &user, &headers, multipart(&mutation, &parts))
            .await
            .status,
        412
    );
    // Keys are forgotten after two days, not before.
    bench.clock.advance_seconds(47 * 3600);
    assert_eq!(bench.platform.forget_mutations().await.unwrap(), 0);
    bench.clock.advance_seconds(2 * 3600);
    assert_eq!(bench.platform.forget_mutations().await.unwrap(), 1);
    let user = bench.user(1337).await;
    let free = ask(
        &bench,
        "POST",
        &format!("{elsewhere}/mutations"),
        &user,
        &[("if-instance-version-match", "1"), ("idempotency-key", KEY)],
        values,
    )
    .await;
    assert_eq!(free.status, 200);
    let mut report = ledger::VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
}

#[tokio::test]
async fn a_mutation_that_cannot_be_made_changes_nothing() {
    let bench = Bench::new();
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    bench.publish("v", json!({})).await;
    let instance = bench.instance("v", &user).await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    let id = element.rsplit('/').next().unwrap();
    let locked = bench.element(&instance, "model", &user, b"<locked/>").await;
    bench
        .call("PUT", &format!("{locked}/lock"), &user, Value::Null)
        .await;
    let locked_id = locked.rsplit('/').next().unwrap();
    let before = now(&bench, &instance, &user).await;
    let create = json!({"dataType": "model", "contentPartName": "one"});
    let update = json!({"dataElementId": id, "contentPartName": "two"});
    let unknown = "00000000-0000-4000-8000-000000000000";
    for (mutation, parts, status) in [
        (json!({}), vec![], 400),
        (json!({"createDataElements": [create]}), vec![], 400),
        (json!({"createDataElements": [create]}), vec![("one", "")], 400),
        (
            json!({"createDataElements": [create]}),
            vec![("one", "1"), ("one", "1")],
            400,
        ),
        (
            json!({"createDataElements": [create]}),
            vec![("one", "1"), ("more", "1")],
            400,
        ),
        (
            json!({"createDataElements": [{"dataType": "never", "contentPartName": "one"}]}),
            vec![("one", "1")],
            400,
        ),
        (
            json!({"createDataElements": [{"dataType": "guarded", "contentPartName": "one"}]}),
            vec![("one", "1")],
            200,
        ),
        (
            json!({"createDataElements": [create], "updateDataElements": [{"dataElementId": unknown, "tags": []}]}),
            vec![("one", "1")],
            404,
        ),
        (
            json!({"createDataElements": [create], "updateDataElements": [{"dataElementId": locked_id, "contentPartName": "two"}]}),
            vec![("one", "1"), ("two", "2")],
            409,
        ),
        (
            json!({"updateDataElements": [update], "deleteDataElements": [{"dataElementId": locked_id}]}),
            vec![("two", "2")],
            409,
        ),
        (
            json!({"updateDataElements": [{"dataElementId": id, "contentPartName": "two",
            "expectedCurrentBlobVersion": "AAAAAAAAAAAAAAAAAAAAAA"}]}),
            vec![("two", "2")],
            412,
        ),
        (
            json!({"updateDataElements": [update], "processState": {"state": {}, "events": [{"eventType": "Saved"}]}}),
            vec![("two", "2")],
            400,
        ),
        (
            json!({"addCompleteConfirmation": true, "updateDataElements": [update]}),
            vec![("two", "2")],
            403,
        ),
        (
            json!({"expectedProcessStatus": "processing", "updateDataElements": [update]}),
            vec![("two", "2")],
            409,
        ),
    ] {
        if status == 200 {
            continue;
        }
        let parts: Vec<(&str, &str, &str)> = parts
            .into_iter()
            .map(|(name, content)| (name, "text/plain", content))
            .collect();
        let refused = mutate(&bench, &instance, &user, &[], multipart(&mutation, &parts)).await;
        assert_eq!(refused.status.as_u16(), status, "{mutation}: {:?}", refused.body);
        assert_eq!(now(&bench, &instance, &user).await, before, "{mutation}");
    }
    assert_eq!(bench.call("GET", &element, &user, Value::Null).await.body, "<a/>");
    // What can't be done anyhow is refused before contents are taken in: nobody sees that this one breaks off.
    let futile =
        json!({"updateDataElements": [update], "deleteDataElements": [{"dataElementId": locked_id}]});
    let futile = multipart(&futile, &[("two", "text/plain", "<b/>")]);
    let cut = mutate(&bench, &instance, &user, &[], futile.slice(..futile.len() - 5)).await;
    assert_eq!(cut.status, 409, "{:?}", cut.body);
    // A body that is cut off anywhere is no mutation.
    let whole = multipart(
        &json!({"updateDataElements": [update]}),
        &[("two", "text/plain", "<b/>")],
    );
    for length in [10, 90, whole.len() - 20, whole.len() - 5] {
        let cut = mutate(&bench, &instance, &user, &[], whole.slice(..length)).await;
        assert_eq!(cut.status, 400, "cut at {length}: {:?}", cut.body);
    }
    let key = [("idempotency-key", KEY)];
    assert_eq!(
        mutate(&bench, &instance, &user, &key, whole.clone()).await.status,
        400,
        "a key needs a version"
    );
    let bad_key = [("idempotency-key", "x"), ("if-instance-version-match", "1")];
    assert_eq!(
        mutate(&bench, &instance, &user, &bad_key, whole.clone())
            .await
            .status,
        400
    );
    let stranger = bench.user(12_345).await;
    assert_eq!(
        mutate(&bench, &instance, &stranger, &[], whole.clone())
            .await
            .status,
        403
    );
    let nowhere = format!("/instances/{PARTY}/{unknown}");
    assert_eq!(
        mutate(&bench, &nowhere, &user, &[], whole.clone()).await.status,
        403
    );
    assert_eq!(now(&bench, &instance, &user).await, before);
    // Empty names say nothing: the part's count.
    let named = json!({"createDataElements": [{"dataType": "model", "contentPartName": "one", "filename": "",
        "contentType": ""}]});
    let named = multipart(&named, &[("one", "text/plain", "1")]);
    let named = mutate(&bench, &instance, &user, &[], named).await.json();
    let made = named["instance"]["data"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&made["filename"], &made["contentType"]),
        (&json!("one.bin"), &json!("text/plain"))
    );
    // The locked one goes if that is said; the owner confirms; the instance goes, and nothing can be changed then.
    let removal = json!({"deleteDataElements": [{"dataElementId": locked_id, "ignoreLock": true}]});
    assert_eq!(
        bench
            .call("POST", &format!("{instance}/mutations"), &user, removal)
            .await
            .status,
        200
    );
    let confirm = json!({"addCompleteConfirmation": true});
    let confirmed = bench
        .call("POST", &format!("{instance}/mutations"), &owner, confirm)
        .await;
    assert_eq!(
        confirmed.json()["instance"]["completeConfirmations"][0]["stakeholderId"],
        ORG
    );
    let delete = json!({"deleteInstance": {"hard": true}});
    assert_eq!(
        bench
            .call("POST", &format!("{instance}/mutations"), &user, delete.clone())
            .await
            .status,
        200
    );
    assert_eq!(
        bench
            .call("POST", &format!("{instance}/mutations"), &user, delete)
            .await
            .status,
        404
    );
}
