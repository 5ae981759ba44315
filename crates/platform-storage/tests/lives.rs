//! What happens to an instance: concurrent changes, reading, deleting, cleaning up, signing.
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

use bench::{Ask, Bench, ORG, PARTY, ended, in_task};
use bytes::Bytes;
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan, Transaction, VerifyReport};
use serde_json::{Value, json};

const DAY_SECONDS: i64 = 86_400;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_at_the_same_time_all_happen() {
    let bench = Arc::new(Bench::new());
    bench.publish("busy", json!({})).await;
    let user = bench.user(1337).await;
    let instance = bench.instance("busy", &user).await;
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let (bench, user, instance) = (bench.clone(), user.clone(), instance.clone());
            tokio::spawn(async move {
                let added = bench
                    .send(Ask {
                        method: "POST",
                        path: format!("{instance}/data?dataType=model"),
                        token: &user,
                        headers: Vec::new(),
                        body: Bytes::from(vec![b'x'; number + 1]),
                    })
                    .await;
                let values = json!({"values": {format!("k{number}"): "v"}});
                let set = bench
                    .call("PUT", &format!("{instance}/datavalues"), &user, values)
                    .await;
                (added.status.as_u16(), set.status.as_u16())
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), (201, 200));
    }
    let read = bench.call("GET", &instance, &user, Value::Null).await.json();
    assert_eq!(read["data"].as_array().unwrap().len(), 12);
    assert_eq!(read["dataValues"].as_object().unwrap().len(), 12);
    let events = bench
        .call("GET", &format!("{instance}/events"), &user, Value::Null)
        .await
        .json();
    assert_eq!(events["instanceEvents"].as_array().unwrap().len(), 13);
    let mut report = VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
}

#[tokio::test]
async fn the_owner_s_changes_make_it_unread() {
    let bench = Bench::new();
    bench.publish("read", json!({})).await;
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    let instance = bench.instance("read", &user).await;
    let status = async || {
        bench.call("GET", &instance, &user, Value::Null).await.json()["status"]["readStatus"].clone()
    };
    let read = async || {
        let path = format!("{instance}/readstatus?status=Read");
        assert_eq!(bench.call("PUT", &path, &user, Value::Null).await.status, 200);
    };
    read().await;
    let element = bench.element(&instance, "model", &owner, b"<from-owner/>").await;
    assert_eq!(status().await, "UpdatedSinceLastReview");
    let seen = bench
        .call("GET", &format!("{instance}/dataelements"), &user, Value::Null)
        .await
        .json();
    assert_eq!(seen["dataElements"][0]["isRead"], false);
    assert_eq!(bench.call("GET", &element, &owner, Value::Null).await.status, 200);
    let seen = bench
        .call("GET", &format!("{instance}/dataelements"), &user, Value::Null)
        .await
        .json();
    assert_eq!(
        seen["dataElements"][0]["isRead"], false,
        "the owner's own reading doesn't count"
    );
    assert_eq!(bench.call("GET", &element, &user, Value::Null).await.status, 200);
    let seen = bench
        .call("GET", &format!("{instance}/dataelements"), &user, Value::Null)
        .await
        .json();
    assert_eq!(seen["dataElements"][0]["isRead"], true);
    read().await;
    let put = Ask {
        method: "PUT",
        path: element,
        token: &owner,
        headers: vec![("content-type", "application/xml".to_owned())],
        body: Bytes::from_static(b"<again/>"),
    };
    assert_eq!(bench.send(put).await.status, 200);
    assert_eq!(status().await, "Unread");
}

#[tokio::test]
async fn generated_elements_go_when_their_task_is_entered_again() {
    let bench = Bench::new();
    bench.publish("back", json!({})).await;
    let user = bench.user(1337).await;
    let instance = bench.instance("back", &user).await;
    bench.element(&instance, "model", &user, b"<kept/>").await;
    let generated = bench
        .element(&instance, "model&generatedFromTask=Task_2", &user, b"<goes/>")
        .await;
    let go = async |query: &str| {
        let body = json!({"state": in_task("Task_2", "data"), "events": []});
        let path = format!("{instance}/process/instanceandevents{query}");
        bench.call("PUT", &path, &user, body).await
    };
    assert_eq!(
        go("?deleteGeneratedElements=false").await.json()["data"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(go("").await.json()["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        bench.call("GET", &generated, &user, Value::Null).await.status,
        404
    );
}

#[tokio::test]
async fn an_ended_process_stays_ended_and_archived_as_of_its_first_end() {
    let bench = Bench::new();
    bench
        .publish("end", json!({"preventInstanceDeletionForDays": 3}))
        .await;
    let user = bench.user(1337).await;
    let instance = bench.instance("end", &user).await;
    let path = format!("{instance}/process");
    let after = bench.call("PUT", &path, &user, ended()).await.json();
    assert_eq!(after["status"]["isArchived"], true);
    assert_eq!(after["status"]["archived"], after["process"]["ended"]);
    assert_eq!(bench.call("PUT", &path, &user, ended()).await.status, 403);
    assert_eq!(
        bench.call("DELETE", &instance, &user, Value::Null).await.status,
        403,
        "kept for 3 days"
    );
    bench.clock.advance_seconds(4 * DAY_SECONDS);
    let user = bench.user(1337).await;
    assert_eq!(
        bench.call("DELETE", &instance, &user, Value::Null).await.status,
        200
    );
}

#[tokio::test]
async fn clean_up_takes_what_is_due_and_nothing_else() {
    let bench = Bench::new();
    bench.publish("keep", json!({})).await;
    bench
        .publish("auto", json!({"autoDeleteOnProcessEnd": true}))
        .await;
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    let clean = async || bench.internal("DELETE", "/cleanup/cleanupinstances").await.json();
    let delete = async |instance: &str| {
        let path = format!("{instance}?hard=true");
        assert_eq!(bench.call("DELETE", &path, &user, Value::Null).await.status, 200);
    };
    let archive = async |instance: &str| {
        let path = format!("{instance}/process");
        assert_eq!(bench.call("PUT", &path, &user, ended()).await.status, 200);
    };
    let (live, draft) = (
        bench.instance("keep", &user).await,
        bench.instance("auto", &user).await,
    );
    let (archived, confirmed) = (
        bench.instance("keep", &user).await,
        bench.instance("keep", &user).await,
    );
    for _ in 0..3 {
        bench.element(&draft, "model", &user, b"<draft/>").await;
    }
    bench.element(&confirmed, "model", &user, b"<confirmed/>").await;
    for instance in [&archived, &confirmed] {
        archive(instance).await;
    }
    let complete = format!("{confirmed}/complete");
    assert_eq!(
        bench.call("POST", &complete, &owner, Value::Null).await.status,
        200
    );
    for instance in [&draft, &archived, &confirmed] {
        delete(instance).await;
    }
    assert_eq!(
        clean().await,
        json!({"instances": 1, "elements": 3, "failed": 0, "complete": true}),
        "the draft at once"
    );
    bench.clock.advance_seconds(6 * DAY_SECONDS);
    assert_eq!(clean().await["instances"], 0, "not yet");
    bench.clock.advance_seconds(2 * DAY_SECONDS);
    assert_eq!(
        clean().await,
        json!({"instances": 1, "elements": 1, "failed": 0, "complete": true})
    );
    let owner = bench.org(ORG).await;
    for (instance, status) in [(&live, 200), (&draft, 404), (&archived, 200), (&confirmed, 404)] {
        assert_eq!(
            bench.call("GET", instance, &owner, Value::Null).await.status,
            status,
            "{instance}"
        );
    }
    let all = bench
        .internal("DELETE", "/cleanup/cleanupinstancesforapp/ttd/keep")
        .await
        .json();
    assert_eq!(all["instances"], 2);
    let mut report = VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
}

/// Leases every blob, or ends the leases.
async fn lease_all(bench: &Bench, leased: bool) {
    // Blobs' records have the kind 2.
    let range = KeyRange::prefix(&KeyWriter::new(Keyspace::Blobs).u8(2).finish());
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let mut tx = Transaction::new();
    while let Some(entry) = scan.next().await.unwrap() {
        let mut record: Value = serde_json::from_slice(&entry.versioned.value).unwrap();
        record["lease"] = match leased {
            true => json!({"id": "l", "duration_seconds": null, "expires": null}),
            false => Value::Null,
        };
        tx.put(entry.key, record.to_string());
    }
    assert!(!tx.is_empty());
    bench.ledger.commit(tx).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_removed_does_not_keep_the_rest() {
    let bench = Bench::new();
    bench
        .publish("auto", json!({"autoDeleteOnProcessEnd": true}))
        .await;
    bench.publish("keep", json!({})).await;
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    for number in 0..8 {
        let instance = bench.instance("auto", &user).await;
        bench.element(&instance, "model", &user, b"<a/>").await;
        let other = bench.instance("keep", &user).await;
        let element = bench.element(&other, "temporary", &user, b"<b/>").await;
        if number == 1 {
            lease_all(&bench, true).await;
        }
        for path in [format!("{instance}?hard=true"), format!("{element}?delay=true")] {
            assert_eq!(bench.call("DELETE", &path, &user, Value::Null).await.status, 200);
        }
        let path = format!("{other}/process");
        assert_eq!(bench.call("PUT", &path, &user, ended()).await.status, 200);
        let path = format!("{other}/complete");
        assert_eq!(bench.call("POST", &path, &owner, Value::Null).await.status, 200);
    }
    bench.clock.advance_seconds(8 * DAY_SECONDS);
    let clean = async |what: &str| bench.internal("DELETE", what).await.json();
    let (of_instances, of_elements) = ("/cleanup/cleanupinstances", "/cleanup/cleanupdataelements");
    assert_eq!(
        clean(of_instances).await,
        json!({"instances": 6, "elements": 6, "failed": 2, "complete": true})
    );
    assert_eq!(
        clean(of_elements).await,
        json!({"instances": 0, "elements": 6, "failed": 2, "complete": true})
    );
    lease_all(&bench, false).await;
    assert_eq!(clean(of_instances).await["instances"], 2);
    assert_eq!(clean(of_elements).await["elements"], 2);
}

#[tokio::test]
async fn signatures_are_locked_and_replace_the_same_signee_s() {
    let bench = Bench::new();
    bench.publish("sign", json!({})).await;
    let user = bench.user(1337).await;
    let instance = bench.instance("sign", &user).await;
    let element = bench.element(&instance, "model", &user, b"<signed/>").await;
    let id = element.rsplit('/').next().unwrap().to_owned();
    let sign = async |signee: Value, kind: &str, element: &str| {
        let body = json!({"signatureDocumentDataType": kind, "signee": signee,
            "dataElementSignatures": [{"dataElementId": element, "signed": true}]});
        bench
            .call("POST", &format!("{instance}/sign"), &user, body)
            .await
            .status
            .as_u16()
    };
    assert_eq!(sign(json!({"userId": "1337"}), "signature", &id).await, 201);
    assert_eq!(sign(json!({"userId": "1337"}), "signature", &id).await, 201);
    assert_eq!(sign(json!({"userId": "7"}), "signature", &id).await, 201);
    assert_eq!(sign(json!({}), "signature", &id).await, 400);
    assert_eq!(sign(json!({"userId": "1337"}), "never", &id).await, 405);
    assert_eq!(sign(json!({"userId": "1337"}), "signature", "never").await, 404);
    let elements = bench
        .call("GET", &format!("{instance}/dataelements"), &user, Value::Null)
        .await
        .json();
    let signatures: Vec<&Value> = elements["dataElements"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|element| element["dataType"] == "signature")
        .collect();
    assert_eq!(signatures.len(), 2, "one per signee");
    assert!(signatures.iter().all(|signature| signature["locked"] == true));
    let path = format!("{instance}/data/{}", signatures[0]["id"].as_str().unwrap());
    let document = bench.call("GET", &path, &user, Value::Null).await.json();
    // printf '<signed/>' | sha256sum
    assert_eq!(
        document["dataElementSignatures"][0]["sha256Hash"]
            .as_str()
            .unwrap()
            .len(),
        64
    );
    assert_eq!(document["instanceGuid"], instance.rsplit('/').next().unwrap());
    assert_eq!(
        bench.call("PUT", &path, &user, json!({})).await.status,
        409,
        "locked"
    );
}

#[tokio::test]
async fn parties_are_found_by_their_numbers() {
    let bench = Bench::new();
    bench.publish("who", json!({})).await;
    let user = bench.user(1337).await;
    bench.instance("who", &user).await;
    let list = async |identifier: &str, query: &str| {
        bench
            .send(Ask {
                method: "GET",
                path: format!("/instances{query}"),
                token: &user,
                headers: vec![("x-ai-instanceowneridentifier", identifier.to_owned())],
                body: Bytes::new(),
            })
            .await
    };
    assert_eq!(list("Person:01039012345", "").await.json()["count"], 1);
    assert_eq!(list("person: 01039012345", "").await.json()["count"], 1);
    assert_eq!(list("Organisation:897069650", "").await.json()["count"], 0);
    assert_eq!(
        list("Person:99999999999", "").await.json()["count"],
        0,
        "unknown is empty"
    );
    for bad in [
        "Person",
        "Person:1",
        "Organisation:01039012345",
        "Cat:897069650",
        "Person:0103901234x",
    ] {
        assert_eq!(list(bad, "").await.status, 400, "{bad}");
    }
    let both = format!("?instanceOwner.partyId={PARTY}");
    assert_eq!(list("Person:01039012345", &both).await.status, 400);
}

#[tokio::test]
async fn the_synchroniser_needs_no_permit_to_read() {
    let bench = Bench::new();
    bench.publish("sync", json!({})).await;
    let user = bench.user(1337).await;
    let instance = bench.instance("sync", &user).await;
    for (scope, status) in [
        ("altinn:storage/instances.syncadapter", 200),
        ("altinn:storage/instances.syncadapters", 403),
    ] {
        let token = bench
            .call(
                "GET",
                &format!("/Home/GetTestOrgToken/digdir?scopes={scope}"),
                "",
                Value::Null,
            )
            .await;
        let token = String::from_utf8(token.body.to_vec()).unwrap();
        assert_eq!(
            bench.call("GET", &instance, &token, Value::Null).await.status,
            status,
            "{scope}"
        );
        let values = json!({"values": {"dialog.id": "1"}});
        let path = format!("{instance}/datavalues");
        assert_eq!(
            bench.call("PUT", &path, &token, values).await.status,
            status,
            "{scope}"
        );
        let path = format!("{instance}/complete");
        assert_eq!(
            bench.call("POST", &path, &token, Value::Null).await.status,
            403,
            "{scope}"
        );
    }
}
