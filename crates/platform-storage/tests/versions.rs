//! Versions of instances, processes and contents; a process that goes on by itself.
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

use bench::{Answer, Ask, Bench, ORG, in_task};
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

/// Method, path, token, body, and the versions behind it.
type Step<'a> = (&'a str, String, &'a str, Value, (i64, i64));

#[tokio::test]
async fn what_counts() {
    let bench = Bench::new();
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    bench.publish("v", json!({})).await;
    let instance = bench.instance("v", &user).await;
    assert_eq!(now(&bench, &instance, &user).await, (1, 1));
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    let id = element.rsplit('/').next().unwrap();
    let guid = instance.rsplit('/').next().unwrap();
    assert_eq!(now(&bench, &instance, &user).await, (2, 1));
    let metadata = json!({"id": id, "instanceGuid": guid, "tags": ["a"]});
    let metadata_path = format!("{instance}/dataelements/{id}");
    let steps: Vec<Step<'_>> = vec![
        (
            "PUT",
            format!("{instance}/readstatus?status=Read"),
            &user,
            Value::Null,
            (2, 1),
        ),
        (
            "POST",
            format!("{instance}/lock"),
            &user,
            json!({"ttlSeconds": 1}),
            (2, 1),
        ),
        (
            "PUT",
            format!("{instance}/datavalues"),
            &user,
            json!({"values": {"a": "b"}}),
            (2, 1),
        ),
        ("PUT", format!("{element}/lock"), &user, Value::Null, (2, 1)),
        ("DELETE", format!("{element}/lock"), &user, Value::Null, (2, 1)),
        ("PUT", element.clone(), &user, json!({}), (3, 1)),
        ("PUT", metadata_path, &user, metadata, (4, 1)),
        (
            "PUT",
            format!("{instance}/presentationtexts"),
            &user,
            json!({"texts": {"a": "b"}}),
            (5, 1),
        ),
        (
            "PUT",
            format!("{instance}/substatus"),
            &owner,
            json!({"label": "x"}),
            (6, 1),
        ),
        (
            "PUT",
            format!("{instance}/process"),
            &user,
            in_task("Task_1", "data"),
            (7, 2),
        ),
        ("DELETE", element.clone(), &user, Value::Null, (8, 2)),
        (
            "POST",
            format!("{instance}/complete"),
            &owner,
            Value::Null,
            (9, 2),
        ),
        ("DELETE", instance.clone(), &user, Value::Null, (10, 2)),
    ];
    for (method, path, token, body, expected) in steps {
        let before = now(&bench, &instance, &user).await;
        // Each of them is refused with another version, and changes nothing.
        for (header, wanted, kind) in [
            (
                "if-instance-version-match",
                before.0 + 1,
                "instance_version_mismatch",
            ),
            (
                "if-process-state-version-match",
                before.1 + 1,
                "process_state_version_mismatch",
            ),
        ] {
            let lock = method == "POST" && path.ends_with("/lock");
            if lock {
                continue;
            }
            let refused = ask(
                &bench,
                method,
                &path,
                token,
                &[(header, &wanted.to_string())],
                body.clone(),
            )
            .await;
            assert_eq!(refused.status, 412, "{method} {path}: {:?}", refused.body);
            assert_eq!(refused.json()["type"], kind);
            assert_eq!(versions(&refused), before);
        }
        let (first, second) = (before.0.to_string(), before.1.to_string());
        let headers = [
            ("if-instance-version-match", first.as_str()),
            ("if-process-state-version-match", &second),
        ];
        let done = ask(&bench, method, &path, token, &headers, body).await;
        assert!(
            done.status.is_success(),
            "{method} {path}: {} {:?}",
            done.status,
            done.body
        );
        assert_eq!(now(&bench, &instance, &user).await, expected, "{method} {path}");
    }
    for bad in ["0", "x", "-1"] {
        let refused = ask(
            &bench,
            "DELETE",
            &instance,
            &user,
            &[("if-instance-version-match", bad)],
            Value::Null,
        )
        .await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json()["type"]),
            (400, &json!("malformed_version_precondition"))
        );
    }
    // The versions are in headers, and in no body.
    let body = bench.call("GET", &instance, &user, Value::Null).await.json();
    assert!(body.get("instanceVersion").is_none() && body.get("processStateVersion").is_none());
}

#[tokio::test]
async fn contents_have_entity_tags() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    bench.publish("v", json!({})).await;
    let instance = bench.instance("v", &user).await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    let tag = |answer: &Answer| answer.headers["etag"].to_str().unwrap().to_owned();
    let first = tag(&bench.call("GET", &element, &user, Value::Null).await);
    assert_eq!(first.len(), 24);
    assert_eq!(
        ask(
            &bench,
            "GET",
            &element,
            &user,
            &[("if-match", &first)],
            Value::Null
        )
        .await
        .status,
        200
    );
    let second = ask(
        &bench,
        "PUT",
        &element,
        &user,
        &[("if-match", &first)],
        json!({"n": 2}),
    )
    .await;
    assert_eq!(second.status, 200);
    assert_ne!(tag(&second), first);
    assert_eq!(second.json()["blobVersionId"], tag(&second).trim_matches('"'));
    assert!(second.json().get("contentReplaced").is_none());
    for method in ["GET", "PUT"] {
        let stale = ask(
            &bench,
            method,
            &element,
            &user,
            &[("if-match", &first)],
            json!({"n": 3}),
        )
        .await;
        assert_eq!(stale.status, 412, "{method}");
        for bad in ["*", "\"x\"", "W/\"AAAAAAAAAAAAAAAAAAAAAA\""] {
            let malformed = ask(
                &bench,
                method,
                &element,
                &user,
                &[("if-match", bad)],
                json!({"n": 3}),
            )
            .await;
            assert_eq!(malformed.status, 400, "{method} {bad}");
        }
    }
    assert_eq!(
        bench.call("GET", &element, &user, Value::Null).await.body,
        "{\"n\":2}"
    );
}

#[tokio::test]
async fn nobody_writes_while_the_process_goes_on_by_itself() {
    let bench = Bench::new();
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    bench.publish("v", json!({})).await;
    let instance = bench.instance("v", &user).await;
    let element = bench.element(&instance, "model", &user, b"<a/>").await;
    let id = element.rsplit('/').next().unwrap();
    let guid = instance.rsplit('/').next().unwrap();
    let mut state = in_task("Task_1", "data");
    state["status"] = json!("processing");
    let started = json!({"processState": {"state": state}});
    let done = bench
        .call("POST", &format!("{instance}/mutations"), &user, started.clone())
        .await;
    assert_eq!(done.status, 200, "{:?}", done.body);
    let before = now(&bench, &instance, &user).await;
    for (method, path, token, body) in [
        (
            "POST",
            format!("{instance}/data?dataType=model"),
            &user,
            json!({}),
        ),
        ("PUT", element.clone(), &user, json!({})),
        ("DELETE", element.clone(), &user, Value::Null),
        (
            "PUT",
            format!("{instance}/dataelements/{id}"),
            &user,
            json!({"id": id, "instanceGuid": guid}),
        ),
        ("PUT", format!("{element}/lock"), &user, Value::Null),
        (
            "PUT",
            format!("{instance}/process"),
            &user,
            in_task("Task_2", "data"),
        ),
        (
            "PUT",
            format!("{instance}/process/instanceandevents"),
            &user,
            json!({"state": in_task("Task_2", "data")}),
        ),
        (
            "PUT",
            format!("{instance}/presentationtexts"),
            &user,
            json!({"texts": {"a": "b"}}),
        ),
        (
            "PUT",
            format!("{instance}/substatus"),
            &owner,
            json!({"label": "x"}),
        ),
        ("POST", format!("{instance}/complete"), &owner, Value::Null),
        ("DELETE", instance.clone(), &user, Value::Null),
        ("POST", format!("{instance}/mutations"), &user, started),
    ] {
        let refused = bench.call(method, &path, token, body).await;
        assert_eq!(refused.status, 409, "{method} {path}: {:?}", refused.body);
        assert_eq!(
            refused.json()["type"],
            "process_status_conflict",
            "{method} {path}"
        );
    }
    assert_eq!(now(&bench, &instance, &user).await, before);
    for (path, body) in [
        ("readstatus?status=Read", Value::Null),
        ("datavalues", json!({"values": {"dialog.id": "1"}})),
    ] {
        assert_eq!(
            bench
                .call("PUT", &format!("{instance}/{path}"), &user, body)
                .await
                .status,
            200,
            "{path}"
        );
    }
    let ends =
        json!({"expectedProcessStatus": "processing", "processState": {"state": in_task("Task_2", "data")}});
    assert_eq!(
        bench
            .call("POST", &format!("{instance}/mutations"), &user, ends)
            .await
            .status,
        200
    );
    assert_eq!(
        bench.call("DELETE", &element, &user, Value::Null).await.status,
        200
    );
}

#[tokio::test]
async fn a_process_status_is_one_that_there_is() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    bench.publish("v", json!({})).await;
    let instance = bench.instance("v", &user).await;
    let state = |status: &str| {
        let mut state = in_task("Task_1", "data");
        state["status"] = json!(status);
        state
    };
    let with_events = json!({"state": state("asleep"), "events": []});
    for (path, body) in [
        ("process", state("asleep")),
        ("process/instanceandevents", with_events),
    ] {
        let path = format!("{instance}/{path}");
        assert_eq!(bench.call("PUT", &path, &user, body).await.status, 400, "{path}");
    }
    for (status, answer) in [("asleep", 400), ("Processing", 400), ("idle", 201)] {
        let body = json!({"instanceOwner": {"partyId": bench::PARTY}, "process": state(status)});
        let made = bench.call("POST", "/instances?appId=ttd/v", &user, body).await;
        assert_eq!(made.status, answer, "{status}");
    }
}
