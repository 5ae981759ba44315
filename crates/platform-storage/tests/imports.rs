//! Instances that come from elsewhere: whole, once, and over nothing that somebody has changed here.
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

use bench::{Bench, ORG, Options, PARTY};
use http_semantics::Body;
use ledger::fault::{CommitFault, FaultLedger};
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan, Transaction};
use parking_lot::Mutex;
use platform_storage::import::{Incoming, Standing};
use platform_storage::model::{DataElement, FileScanResult, Instance, InstanceEvent, relaxed};
use serde_json::{Value, json};
use uuid::Uuid;

const GUID: &str = "11111111-2222-4333-8444-555555555555";
const FIRST: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const SECOND: &str = "aaaaaaaa-0000-4000-8000-000000000002";

/// Events that take several commits.
const EVENTS: u128 = 6_000;

fn instance(more: &Value) -> Instance {
    let mut said = json!({"id": format!("{PARTY}/{GUID}"), "instanceOwner": {"partyId": PARTY}, "appId": format!("{ORG}/a"),
        "org": ORG, "created": "2025-01-01T00:00:00Z", "lastChanged": "2025-02-01T00:00:00.1234567Z", "createdBy": "1337",
        "lastChangedBy": "7", "process": bench::in_task("Task_1", "data"), "dataValues": {"k": "v"},
        "selfLinks": {"platform": "https://elsewhere.example.org/x"},
        "status": {"readStatus": "Read"}});
    for (name, value) in more.as_object().unwrap() {
        said[name] = value.clone();
    }
    relaxed::from_value(said).unwrap()
}

fn element(id: &str, name: &str) -> DataElement {
    relaxed::from_value(json!({"id": id, "instanceGuid": GUID, "dataType": "model", "filename": name,
        "contentType": "application/xml", "blobStoragePath": "elsewhere/x", "size": 1, "created": "2025-01-02T00:00:00Z",
        "lastChanged": "2025-01-03T00:00:00Z", "isRead": false}))
    .unwrap()
}

fn event(number: u128) -> InstanceEvent {
    relaxed::from_value(
        json!({"id": Uuid::from_u128(number), "instanceId": format!("{PARTY}/{GUID}"),
        "eventType": "Saved", "created": "2025-01-02T00:00:00Z", "user": {"userId": 1337},
        "processInfo": bench::in_task("Task_1", "data")}),
    )
    .unwrap()
}

async fn incoming(
    bench: &Bench,
    instance: Instance,
    elements: &[(&str, &'static [u8])],
    events: u128,
    stamp: &str,
) -> Incoming {
    let mut taken = Vec::new();
    for (id, content) in elements {
        let content = bench.platform.take_content(Body::full(*content)).await.unwrap();
        taken.push((element(id, "æ.xml"), content));
    }
    let events = (1..=events).map(event).collect();
    Incoming::new(&bench.platform, instance, taken, events, stamp.to_owned()).unwrap()
}

async fn import(bench: &Bench, incoming: &Incoming) -> Standing {
    bench.platform.import_instance("there", incoming).await.unwrap()
}

async fn ready() -> (Bench, String, String) {
    let bench = Bench::with(Options {
        portal_sync: true,
        ..Options::default()
    });
    bench.publish("a", json!({})).await;
    let user = bench.user(1337).await;
    (bench, user, format!("/instances/{PARTY}/{GUID}"))
}

#[tokio::test]
async fn it_comes_as_it_was_and_is_served() {
    let (bench, user, path) = ready().await;
    let coming = incoming(
        &bench,
        instance(&json!({})),
        &[(FIRST, b"<one/>"), (SECOND, b"")],
        3,
        "s",
    )
    .await;
    assert_eq!(import(&bench, &coming).await, Standing::New);
    let seen = bench.call("GET", &path, &user, Value::Null).await.json();
    assert_eq!(seen["lastChanged"], "2025-02-01T00:00:00.1234567Z");
    assert_eq!(
        (&seen["createdBy"], &seen["lastChangedBy"]),
        (&json!("1337"), &json!("7"))
    );
    assert_eq!(seen["status"]["readStatus"], "Read");
    assert!(
        seen["selfLinks"]["platform"]
            .as_str()
            .unwrap()
            .starts_with("http://here/")
    );
    let elements = seen["data"].as_array().unwrap();
    assert_eq!(elements.len(), 2);
    assert_eq!(
        (&elements[0]["size"], &elements[0]["isRead"]),
        (&json!(6), &json!(false))
    );
    assert_eq!(
        elements[0]["blobStoragePath"],
        format!("{ORG}/a/{GUID}/data/{FIRST}")
    );
    let content = bench
        .call("GET", &format!("{path}/data/{FIRST}"), &user, Value::Null)
        .await;
    assert_eq!(content.body.as_ref(), b"<one/>");
    let events = bench
        .call("GET", &format!("{path}/events"), &user, Value::Null)
        .await
        .json();
    assert_eq!(events["instanceEvents"].as_array().unwrap().len(), 3);
    let listed = bench
        .call(
            "GET",
            &format!("/instances?appId={ORG}/a"),
            &bench.org(ORG).await,
            Value::Null,
        )
        .await
        .json();
    assert_eq!(listed["instances"][0]["id"], format!("{PARTY}/{GUID}"));
    // It lives on here.
    let values = json!({"texts": {"t": "1"}});
    let put = bench
        .call("PUT", &format!("{path}/presentationtexts"), &user, values)
        .await;
    assert_eq!(put.status, 200);
    let mut report = ledger::VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[tokio::test]
async fn what_came_is_known_and_what_changed_there_comes_again() {
    let (bench, user, path) = ready().await;
    let contents: &[(&str, &'static [u8])] = &[(FIRST, b"<one/>"), (SECOND, b"<two/>")];
    let coming = incoming(&bench, instance(&json!({})), contents, 1, "s").await;
    assert_eq!(import(&bench, &coming).await, Standing::New);
    assert_eq!(import(&bench, &coming).await, Standing::Known);
    let other = incoming(
        &bench,
        instance(&json!({"dataValues": {"k": "w"}, "lastChanged": "2025-03-01T00:00:00Z"})),
        &[(FIRST, b"<more/>")],
        2,
        "t",
    )
    .await;
    assert_eq!(import(&bench, &other).await, Standing::Changed);
    let seen = bench.call("GET", &path, &user, Value::Null).await.json();
    assert_eq!(seen["dataValues"], json!({"k": "w"}));
    assert_eq!(
        seen["data"].as_array().unwrap().len(),
        1,
        "the other one is gone there"
    );
    let content = bench
        .call("GET", &format!("{path}/data/{FIRST}"), &user, Value::Null)
        .await;
    assert_eq!(content.body.as_ref(), b"<more/>");
    let events = bench
        .call("GET", &format!("{path}/events"), &user, Value::Null)
        .await
        .json();
    assert_eq!(events["instanceEvents"].as_array().unwrap().len(), 2);
    // Without a stamp it is looked at again each time.
    let unsure = incoming(&bench, instance(&json!({})), contents, 1, "").await;
    for _ in 0..2 {
        assert_eq!(import(&bench, &unsure).await, Standing::Changed);
    }
    let mut report = ledger::VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
}

#[tokio::test]
async fn what_was_changed_or_made_here_is_left_alone() {
    let (bench, user, path) = ready().await;
    let coming = incoming(&bench, instance(&json!({})), &[(FIRST, b"<one/>")], 1, "s").await;
    import(&bench, &coming).await;
    let values = json!({"values": {"k": "mine"}});
    assert_eq!(
        bench
            .call("PUT", &format!("{path}/datavalues"), &user, values)
            .await
            .status,
        200
    );
    let other = incoming(&bench, instance(&json!({})), &[(FIRST, b"<two/>")], 1, "t").await;
    assert_eq!(import(&bench, &other).await, Standing::ChangedHere);
    let seen = bench.call("GET", &path, &user, Value::Null).await.json();
    assert_eq!(seen["dataValues"], json!({"k": "mine"}));
    let elsewhere = bench.platform.import_instance("elsewhere", &other).await.unwrap();
    assert_eq!(elsewhere, Standing::NotFromThere);
    let made = bench.instance("a", &user).await;
    let guid = Uuid::parse_str(made.rsplit('/').next().unwrap()).unwrap();
    let standing = bench.platform.standing("there", &guid, "s").await.unwrap();
    assert_eq!(standing, Standing::NotFromThere);
}

#[tokio::test]
async fn what_comes_deleted_is_cleaned_up_in_its_time() {
    let (bench, _, path) = ready().await;
    let status = json!({"status": {"isSoftDeleted": true, "isHardDeleted": true, "hardDeleted": "2025-02-01T00:00:00Z"}});
    let coming = incoming(&bench, instance(&status), &[(FIRST, b"<one/>")], 1, "s").await;
    import(&bench, &coming).await;
    let owner = bench.org(ORG).await;
    assert_eq!(bench.call("GET", &path, &owner, Value::Null).await.status, 200);
    assert_eq!(bench.platform.clean_up_instances().await.unwrap().instances, 1);
    assert_eq!(bench.call("GET", &path, &owner, Value::Null).await.status, 404);
    // That it was here stays known: it doesn't come again, whoever names it.
    let guid = Uuid::parse_str(GUID).unwrap();
    for (source, stamp) in [("there", "s"), ("there", "t"), ("elsewhere", "s")] {
        let standing = bench.platform.standing(source, &guid, stamp).await.unwrap();
        assert_eq!(standing, Standing::RemovedHere);
    }
    assert_eq!(import(&bench, &coming).await, Standing::RemovedHere);
    assert_eq!(bench.call("GET", &path, &owner, Value::Null).await.status, 404);
    assert_eq!(faults(&bench).await, Vec::<String>::new());
}

async fn faults(bench: &Bench) -> Vec<String> {
    let mut report = ledger::VerifyReport::default();
    bench.platform.verify(&mut report).await.unwrap();
    report.faults
}

/// The key of the record of its import.
fn record() -> ledger::Key {
    let guid = Uuid::parse_str(GUID).unwrap();
    KeyWriter::new(Keyspace::Platform)
        .u8(14)
        .raw(guid.as_bytes())
        .finish()
}

/// Imports over a ledger that takes nothing more behind the first part.
async fn interrupted(bench: &Bench, ledger: &FaultLedger, incoming: &Incoming) {
    for commits in 1..100 {
        ledger.fail_commits(commits, 1_000, CommitFault::BeforeApplied);
        let outcome = bench.platform.import_instance("there", incoming).await;
        ledger.heal();
        assert!(outcome.is_err(), "it was through");
        let snapshot = bench.ledger.snapshot().await.unwrap();
        let found = snapshot.get(&record()).await.unwrap();
        if found.is_some_and(|found| String::from_utf8_lossy(&found.value).contains(r#""stamp":"""#)) {
            return;
        }
    }
    panic!("no part was written");
}

/// As [`ready`], over a ledger that can fail.
async fn ready_to_fail() -> (Bench, FaultLedger, String, String) {
    let made: Arc<Mutex<Option<FaultLedger>>> = Arc::default();
    let kept = made.clone();
    let bench = Bench::with(Options {
        before_ledger: Some(Box::new(move |inner| {
            let ledger = FaultLedger::over(inner);
            *kept.lock() = Some(ledger.clone());
            Arc::new(ledger)
        })),
        ..Options::default()
    });
    bench.publish("a", json!({})).await;
    let user = bench.user(1337).await;
    let ledger = made.lock().take().unwrap();
    (bench, ledger, user, format!("/instances/{PARTY}/{GUID}"))
}

#[tokio::test]
async fn a_replacement_that_was_interrupted_goes_on_unless_somebody_changed_it_meanwhile() {
    for is_changed in [false, true] {
        let (bench, ledger, user, path) = ready_to_fail().await;
        let coming = incoming(
            &bench,
            instance(&json!({})),
            &[(FIRST, b"<one/>"), (SECOND, b"")],
            1,
            "s",
        )
        .await;
        assert_eq!(import(&bench, &coming).await, Standing::New);
        let more = instance(&json!({"dataValues": {"k": "w"}}));
        let other = incoming(&bench, more, &[(FIRST, b"<more/>")], EVENTS, "t").await;
        interrupted(&bench, &ledger, &other).await;
        let seen = bench.call("GET", &path, &user, Value::Null).await.json();
        assert_eq!(seen["dataValues"], json!({"k": "v"}), "it was through");
        assert_eq!(seen["data"].as_array().unwrap().len(), 1, "nothing was written");
        if is_changed {
            let values = json!({"values": {"k": "mine"}});
            let put = bench
                .call("PUT", &format!("{path}/datavalues"), &user, values)
                .await;
            assert_eq!(put.status, 200);
            assert_eq!(import(&bench, &other).await, Standing::ChangedHere);
            let seen = bench.call("GET", &path, &user, Value::Null).await.json();
            assert_eq!(seen["dataValues"], json!({"k": "mine"}));
        } else {
            assert_eq!(import(&bench, &other).await, Standing::Changed);
            assert_eq!(import(&bench, &other).await, Standing::Known);
        }
        assert_eq!(faults(&bench).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_first_import_that_was_interrupted_leaves_nothing_behind_when_it_goes_on() {
    let (bench, ledger, user, path) = ready_to_fail().await;
    let both: &[(&str, &'static [u8])] = &[(FIRST, b"<one/>"), (SECOND, b"<two/>")];
    let coming = incoming(&bench, instance(&json!({})), both, EVENTS, "s").await;
    interrupted(&bench, &ledger, &coming).await;
    assert_eq!(bench.call("GET", &path, &user, Value::Null).await.status, 404);
    assert_eq!(
        faults(&bench).await,
        Vec::<String>::new(),
        "it is known to be unfinished"
    );
    let fewer = incoming(&bench, instance(&json!({})), &[(FIRST, b"<one/>")], 1, "t").await;
    assert_eq!(import(&bench, &fewer).await, Standing::New);
    let seen = bench.call("GET", &path, &user, Value::Null).await.json();
    assert_eq!(seen["data"].as_array().unwrap().len(), 1);
    assert_eq!(faults(&bench).await, Vec::<String>::new());
}

#[tokio::test]
async fn elements_and_records_without_their_instance_are_faults() {
    let (bench, ledger, ..) = ready_to_fail().await;
    let coming = incoming(&bench, instance(&json!({})), &[(FIRST, b"<one/>")], EVENTS, "s").await;
    interrupted(&bench, &ledger, &coming).await;
    let mut tx = Transaction::new();
    tx.delete(record());
    bench.ledger.commit(tx).await.unwrap();
    let found = faults(&bench).await;
    assert!(
        found.len() == 1 && found[0].contains("which isn't here"),
        "{found:?}"
    );
    let mut tx = Transaction::new();
    let text = r#"{"source":"there","stamp":"s","here":"x"}"#;
    tx.put(record(), text.as_bytes().to_vec());
    bench.ledger.commit(tx).await.unwrap();
    let found = faults(&bench).await;
    assert!(
        found.iter().any(|fault| fault.contains("says otherwise")),
        "{found:?}"
    );
}

#[tokio::test]
async fn what_this_server_does_by_itself_is_no_change() {
    let (bench, _, _) = ready().await;
    let content = bench.platform.take_content(Body::full("x")).await.unwrap();
    let waiting = DataElement {
        file_scan_result: FileScanResult::Pending,
        ..element(FIRST, "a")
    };
    let deleted: DataElement = relaxed::from_value(json!({"id": SECOND, "instanceGuid": GUID, "dataType": "model",
        "created": "2025-01-02T00:00:00Z", "deleteStatus": {"isHardDeleted": true, "hardDeleted": "2025-01-03T00:00:00Z"}}))
    .unwrap();
    let confirmed =
        json!({"completeConfirmations": [{"stakeholderId": ORG, "confirmedOn": "2025-01-05T00:00:00Z"}]});
    let build = |stamp: &str| {
        let elements = vec![
            (waiting.clone(), content.clone()),
            (deleted.clone(), content.clone()),
        ];
        Incoming::new(
            &bench.platform,
            instance(&confirmed),
            elements,
            Vec::new(),
            stamp.to_owned(),
        )
        .unwrap()
    };
    assert_eq!(import(&bench, &build("s")).await, Standing::New);
    let waived = bench.platform.settle_pending(true, &|_| ()).await.unwrap();
    assert_eq!(waived.helped, 1);
    assert_eq!(bench.platform.clean_up_elements().await.unwrap().elements, 1);
    assert_eq!(import(&bench, &build("t")).await, Standing::Changed);
}

#[tokio::test]
async fn many_that_wait_for_nobody_are_helped_in_several_commits() {
    const WAITING: u128 = 250;
    let (bench, _, _) = ready().await;
    let content = bench.platform.take_content(Body::full("x")).await.unwrap();
    let elements = (1..=WAITING).map(|number| {
        let waiting = DataElement {
            file_scan_result: FileScanResult::Pending,
            ..element(&Uuid::from_u128(number).to_string(), "a")
        };
        (waiting, content.clone())
    });
    let all = Incoming::new(
        &bench.platform,
        instance(&json!({})),
        elements.collect(),
        Vec::new(),
        "s".to_owned(),
    );
    assert_eq!(import(&bench, &all.unwrap()).await, Standing::New);
    let settle = |waive| {
        let platform = bench.platform.clone();
        async move {
            let report = platform.settle_pending(waive, &|_| ()).await.unwrap();
            (report.helped, report.asked_before)
        }
    };
    assert_eq!(settle(false).await, (0, 250));
    let messages = KeyRange::prefix(&KeyWriter::new(Keyspace::Platform).u8(9).finish());
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), messages, Direction::Forward);
    let mut tx = Transaction::new();
    while let Some(entry) = scan.next().await.unwrap() {
        tx.delete(entry.key);
    }
    bench.ledger.commit(tx).await.unwrap();
    let before = *bench.ledger.head().borrow();
    assert_eq!(settle(false).await, (250, 0));
    assert_eq!(*bench.ledger.head().borrow(), before + 3, "commits");
    assert_eq!(settle(false).await, (0, 250));
    assert_eq!(settle(true).await, (250, 0));
    assert_eq!(settle(false).await, (0, 0));
}

#[tokio::test]
async fn one_that_is_too_large_for_a_commit_comes_in_several() {
    let (bench, user, path) = ready().await;
    let coming = incoming(&bench, instance(&json!({})), &[(FIRST, b"<one/>")], 4_000, "s").await;
    let before = *bench.ledger.head().borrow();
    assert_eq!(import(&bench, &coming).await, Standing::New);
    assert!(*bench.ledger.head().borrow() > before + 1, "one commit");
    let events = bench
        .call("GET", &format!("{path}/events"), &user, Value::Null)
        .await
        .json();
    assert_eq!(events["instanceEvents"].as_array().unwrap().len(), 4_000);
    assert_eq!(import(&bench, &coming).await, Standing::Known);
}

#[tokio::test]
async fn what_cannot_be_an_instance_is_refused_with_a_reason() {
    let bench = Bench::new();
    let refused = |more: Value| {
        let all = Incoming::new(
            &bench.platform,
            instance(&more),
            Vec::new(),
            Vec::new(),
            String::new(),
        );
        all.unwrap_err().to_string()
    };
    for (more, why) in [
        (json!({"id": "x"}), "has no guid"),
        (json!({"instanceOwner": {"partyId": "../1"}}), "is no number"),
        (json!({"appId": "TTD/../x"}), "isn't like org/app"),
        (json!({"org": "brg"}), "isn't that of its app"),
        (json!({"process": {"status": "processing"}}), "going on by itself"),
    ] {
        let said = refused(more);
        assert!(said.contains(why), "{said}");
    }
    let content = bench.platform.take_content(Body::full("x")).await.unwrap();
    let build = |elements, events| {
        let built = Incoming::new(
            &bench.platform,
            instance(&json!({})),
            elements,
            events,
            String::new(),
        );
        built.map(|_| ()).map_err(|error| error.to_string())
    };
    let first = (element(FIRST, "a"), content.clone());
    assert!(
        build(vec![first.clone()], vec![event(1), event(1)]).is_ok(),
        "an event twice is one"
    );
    assert!(
        build(vec![first.clone(), first], Vec::new())
            .unwrap_err()
            .contains("comes twice")
    );
    let foreign = DataElement {
        instance_guid: FIRST.to_owned(),
        ..element(SECOND, "b")
    };
    assert!(
        build(vec![(foreign, content)], Vec::new())
            .unwrap_err()
            .contains("of instance")
    );
    let foreign = InstanceEvent {
        instance_id: Some("1/x".to_owned()),
        ..event(1)
    };
    assert!(
        build(Vec::new(), vec![foreign])
            .unwrap_err()
            .contains("of instance")
    );
}

#[tokio::test]
async fn applications_and_texts_come_once() {
    let bench = Bench::new();
    let app = json!({"Id": "ttd/came", "org": "ttd", "title": {"nb": "Kom"}, "dataTypes": [{"id": "model"}], "custom": [1]});
    let object = app.as_object().unwrap().clone();
    assert!(bench.platform.import_application(object.clone()).await.unwrap());
    assert!(!bench.platform.import_application(object).await.unwrap());
    let read = bench
        .call("GET", "/applications/ttd/came", "", Value::Null)
        .await
        .json();
    assert_eq!(
        (&read["title"]["nb"], &read["custom"]),
        (&json!("Kom"), &json!([1]))
    );
    let bad = json!({"id": "../x"}).as_object().unwrap().clone();
    assert!(bench.platform.import_application(bad).await.is_err());
    let id = platform_storage::rules::names::AppId::parse("ttd/came").unwrap();
    let text = json!({"language": "nb", "resources": [{"id": "appName", "value": "Kom"}]});
    let text: platform_storage::model::TextResource = relaxed::from_value(text).unwrap();
    assert!(bench.platform.import_text(&id, text.clone()).await.unwrap());
    assert!(!bench.platform.import_text(&id, text).await.unwrap());
    let user = bench.user(1337).await;
    let read = bench
        .call("GET", "/applications/ttd/came/texts/nb", &user, Value::Null)
        .await
        .json();
    assert_eq!(read["resources"][0]["value"], "Kom");
}
