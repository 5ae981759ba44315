//! Who may what: the golden table. Every operation that is served is refused without a token, and
//! each role gets what the table says. An operation that isn't in the table fails the test.
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

use bench::{Ask, Bench, ORG, PARTY, in_task};
use bytes::Bytes;
use platform_storage::operation::{OPERATIONS, Support};
use serde_json::{Value, json};

/// Columns: nobody, a stranger, the instance's user, a role holder of nothing here (another org),
/// the app's org, Studio. `+` is let through (whatever comes then), `-` is 403, `!` is 401.
const TABLE: &[(&str, &str, &str)] = &[
    // method, path, who: nobody stranger user foreign owner studio
    ("GET", "/applications", "++++++"),
    ("GET", "/applications/{org}", "++++++"),
    ("GET", "/applications/{org}/{app}", "++++++"),
    ("POST", "/applications", "!----+"),
    ("PUT", "/applications/{org}/{app}", "!----+"),
    ("DELETE", "/applications/{org}/{app}", "!----+"),
    ("POST", "/applications/{org}/{app}/texts", "!----+"),
    ("GET", "/applications/{org}/{app}/texts/{language}", "!+++++"),
    ("PUT", "/applications/{org}/{app}/texts/{language}", "!----+"),
    ("DELETE", "/applications/{org}/{app}/texts/{language}", "!----+"),
    ("GET", "/instances", "!++-++"),
    ("POST", "/instances", "!-+-+-"),
    ("GET", "/instances/{guid}", "!-+-+-"),
    ("GET", "/instances/{party}/{guid}", "!-+-+-"),
    ("DELETE", "/instances/{party}/{guid}", "!-+-+-"),
    // A user is let through by the policy, and then isn't an org.
    ("POST", "/instances/{party}/{guid}/complete", "!---+-"),
    ("PUT", "/instances/{party}/{guid}/readstatus", "!-+-+-"),
    ("PUT", "/instances/{party}/{guid}/substatus", "!---+-"),
    ("PUT", "/instances/{party}/{guid}/presentationtexts", "!-+-+-"),
    ("PUT", "/instances/{party}/{guid}/datavalues", "!-+-+-"),
    ("PUT", "/instances/{party}/{guid}/process", "!-+-+-"),
    (
        "PUT",
        "/instances/{party}/{guid}/process/instanceandevents",
        "!-+-+-",
    ),
    ("GET", "/instances/{party}/{guid}/process/history", "!-+-+-"),
    ("POST", "/instances/{party}/{guid}/events", "!-+-+-"),
    ("GET", "/instances/{party}/{guid}/events", "!-+-+-"),
    ("GET", "/instances/{party}/{guid}/events/{id}", "!-+-+-"),
    ("POST", "/instances/{party}/{guid}/sign", "!-+-+-"),
    ("POST", "/instances/{party}/{guid}/lock", "!-+-+-"),
    // Whoever holds a lock's token may change it; here the token is missing: 400, not 403.
    ("PATCH", "/instances/{party}/{guid}/lock", "!+++++"),
    ("POST", "/instances/{party}/{guid}/data", "!-+-+-"),
    ("PUT", "/instances/{party}/{guid}/data/{id}", "!-+-+-"),
    ("GET", "/instances/{party}/{guid}/data/{id}", "!-+-+-"),
    ("DELETE", "/instances/{party}/{guid}/data/{id}", "!-+-+-"),
    ("PUT", "/instances/{party}/{guid}/data/{id}/lock", "!-+-+-"),
    ("DELETE", "/instances/{party}/{guid}/data/{id}/lock", "!-+-+-"),
    ("GET", "/instances/{party}/{guid}/dataelements", "!-+-+-"),
    ("PUT", "/instances/{party}/{guid}/dataelements/{id}", "!-+-+-"),
    // Only what the platform's own components show lets these through; see `platform_tokens_are_another_kind`.
    (
        "PUT",
        "/instances/{party}/{guid}/dataelements/{id}/filescanstatus",
        "!!!!!!",
    ),
    (
        "GET",
        "/instances/{party}/{guid}/dataelementexists/{id}",
        "!!!!!!",
    ),
    ("POST", "/instances/{party}/{guid}/mutations", "!-+-+-"),
    // A search shows what one may read, which may be nothing.
    ("POST", "/sbl/instances/search", "!+++++"),
    ("GET", "/sbl/instances/{party}/{guid}", "!-+-+-"),
    ("GET", "/sbl/instances/{party}/{guid}/events", "!-+-+-"),
    ("GET", "/studio/instances/{org}/{app}", "!----+"),
    ("GET", "/studio/instances/{org}/{app}/{guid}", "!----+"),
    ("DELETE", "/studio/instances/{org}/{app}/{guid}", "!----+"),
    ("PUT", "/sbl/instances/{party}/{guid}/undelete", "!-+-+-"),
    ("DELETE", "/sbl/instances/{party}/{guid}", "!-+-+-"),
];

fn body_of(method: &str, path: &str, instance: &str, element: &str) -> (Value, Bytes) {
    let app = json!({"id": format!("{ORG}/table"), "org": ORG, "title": {"nb": "x"}});
    let json = match (method, path) {
        ("POST", "/applications") | ("PUT", "/applications/{org}/{app}") => app,
        (_, path) if path.contains("/texts") => json!({"language": "nb", "resources": []}),
        ("POST", "/instances") => json!({"instanceOwner": {"partyId": PARTY}}),
        (_, path) if path.ends_with("substatus") => json!({"label": "x"}),
        (_, path) if path.ends_with("presentationtexts") => json!({"texts": {}}),
        (_, path) if path.ends_with("datavalues") => json!({"values": {}}),
        (_, path) if path.ends_with("/process") => in_task("Task_1", "data"),
        (_, path) if path.ends_with("instanceandevents") => {
            json!({"state": in_task("Task_1", "data"), "events": []})
        }
        (_, path) if path.ends_with("/mutations") => json!({"dataValues": {"a": "b"}}),
        (_, path) if path.ends_with("/search") => json!({"instanceOwnerPartyIdList": [1]}),
        ("POST", path) if path.ends_with("/events") => json!({"eventType": "Saved"}),
        (_, path) if path.ends_with("/sign") => {
            json!({"signatureDocumentDataType": "signature", "signee": {"userId": "1337"},
                "dataElementSignatures": [{"dataElementId": element, "signed": true}]})
        }
        (_, path) if path.ends_with("}/lock") && path.contains("data") => Value::Null,
        (_, path) if path.ends_with("/lock") => json!({"ttlSeconds": 60}),
        (_, path) if path.contains("dataelements/{id}") => {
            json!({"id": element, "instanceGuid": instance.rsplit('/').next().unwrap()})
        }
        _ => Value::Null,
    };
    let text = if json.is_null() {
        Bytes::from_static(b"<x/>")
    } else {
        json.to_string().into()
    };
    (json, text)
}

#[tokio::test]
async fn golden_table() {
    let bench = Bench::new();
    bench.publish("table", json!({})).await;
    let (user, owner, studio) = (bench.user(1337).await, bench.org(ORG).await, bench.studio().await);
    let (stranger, foreign) = (bench.user(12_345).await, bench.org("skd").await);
    let callers = ["", &stranger, &user, &foreign, &owner, &studio];
    let texts = json!({"language": "nb", "resources": []});
    let mut wrong = Vec::new();
    for (method, path, expected) in TABLE {
        for (caller, expected) in callers.iter().zip(expected.chars()) {
            // Each call on metadata and an instance of its own: calls change them.
            bench.publish("table", json!({})).await;
            bench
                .call("POST", "/applications/ttd/table/texts", &studio, texts.clone())
                .await;
            let instance = bench.instance("table", &user).await;
            let element_path = bench.element(&instance, "model", &user, b"<m/>").await;
            let element = element_path.rsplit('/').next().unwrap();
            let events = bench
                .call("GET", &format!("{instance}/events"), &user, Value::Null)
                .await;
            let event = events.json()["instanceEvents"][0]["id"]
                .as_str()
                .unwrap()
                .to_owned();
            let id = if path.contains("/events/") {
                &event
            } else {
                element
            };
            let query = match (*method, *path) {
                ("POST", "/applications" | "/instances") => "?appId=ttd/table".to_owned(),
                ("GET", "/instances") if [&stranger, &user].contains(&&(*caller).to_owned()) => {
                    format!("?instanceOwner.partyId={PARTY}")
                }
                ("GET", "/instances") => "?org=ttd".to_owned(),
                ("PUT", path) if path.ends_with("readstatus") => "?status=Read".to_owned(),
                ("POST", path) if path.ends_with("/data") => "?dataType=model".to_owned(),
                _ => String::new(),
            };
            let called = path
                .replace("/instances/{party}/{guid}", &instance)
                .replace("{guid}", instance.rsplit('/').next().unwrap())
                .replace("{org}", ORG)
                .replace("{app}", "table")
                .replace("{language}", "nb")
                .replace("{id}", id);
            let content_type = if path.ends_with("/mutations") {
                "application/json"
            } else {
                "application/xml"
            };
            let answer = bench
                .send(Ask {
                    method,
                    path: format!("{called}{query}"),
                    token: caller,
                    headers: vec![("content-type", content_type.to_owned())],
                    body: body_of(method, path, &instance, element).1,
                })
                .await;
            let found = match answer.status.as_u16() {
                401 => '!',
                403 => '-',
                400 if method == &"GET" && path == &"/instances" => '+',
                400 if method == &"PATCH" => '+',
                200..=299 => '+',
                other => panic!("{method} {path}: {other} {:?}", answer.body),
            };
            if found != expected {
                let who = callers.iter().position(|known| known == caller).unwrap();
                wrong.push(format!(
                    "{method} {path}, column {who}: {expected} expected, {found} found"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A platform token is of a known issuer, good, and names an app; a user's is none.
#[tokio::test]
async fn platform_tokens_are_another_kind() {
    let bench = Bench::new();
    bench.publish("table", json!({})).await;
    let user = bench.user(1337).await;
    let instance = bench.instance("table", &user).await;
    let element = bench.element(&instance, "model", &user, b"<m/>").await;
    let path = element.replace("/data/", "/dataelementexists/");
    let token = async |path: &str| {
        let answer = bench.call("GET", &format!("/Home/{path}"), "", Value::Null).await;
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let exists = async |token: &str, path: &str| {
        let headers = vec![("PlatformAccessToken", token.to_owned())];
        bench
            .send(Ask {
                method: "GET",
                path: path.to_owned(),
                token: "",
                headers,
                body: Bytes::new(),
            })
            .await
    };
    let good = token("GetTestPlatformToken/filescan").await;
    let answer = exists(&good, &path).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!(true)));
    let other = format!("{}0", &path[..path.len() - 1]);
    let other = if other == path {
        format!("{}1", &path[..path.len() - 1])
    } else {
        other
    };
    assert_eq!(exists(&good, &other).await.json(), json!(false));
    for (token, status) in [
        (user.clone(), 401),
        (token("GetTestPlatformToken/filescan?ttlSeconds=-1").await, 401),
        (good[..good.len() - 8].to_owned(), 401),
        ("nonsense".to_owned(), 401),
    ] {
        assert_eq!(exists(&token, &path).await.status.as_u16(), status);
    }
    // As a user's token it says nothing.
    assert_eq!(bench.call("GET", &instance, &good, Value::Null).await.status, 403);
}

#[test]
fn every_served_operation_is_in_the_table() {
    for operation in OPERATIONS {
        let served = matches!(operation.support, Support::Yes | Support::Partial(_));
        let listed = TABLE
            .iter()
            .any(|(method, path, _)| *method == operation.method && *path == operation.path);
        assert_eq!(served, listed, "{} {}", operation.method, operation.path);
    }
}

/// The policy says what each may do in each task; actions of data types come on top.
#[tokio::test]
async fn a_policy_decides_by_role_task_action_and_level() {
    let bench = Bench::new();
    bench.publish("strict", json!({})).await;
    let rule = |subject: (&str, &str), task: Option<&str>, actions: &[&str]| {
        let one = |category: &str, attribute: &str, value: &str| {
            format!(
                "<AllOf><Match MatchId=\"urn:oasis:names:tc:xacml:1.0:function:string-equal\"><AttributeValue \
                 DataType=\"http://www.w3.org/2001/XMLSchema#string\">{value}</AttributeValue><AttributeDesignator \
                 AttributeId=\"{attribute}\" Category=\"{category}\"/></Match>"
            )
        };
        let resource = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource";
        let mut target = format!(
            "<AnyOf>{}</AllOf></AnyOf>",
            one(
                "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject",
                subject.0,
                subject.1
            )
        );
        target += &format!(
            "<AnyOf>{}</AllOf></AnyOf>",
            one(resource, "urn:altinn:org", "[ORG]")
        );
        target += &format!(
            "<AnyOf>{}</AllOf></AnyOf>",
            one(resource, "urn:altinn:app", "[APP]")
        );
        if let Some(task) = task {
            target += &format!(
                "<AnyOf>{}</AllOf></AnyOf>",
                one(resource, "urn:altinn:task", task)
            );
        }
        let actions: Vec<String> = actions
            .iter()
            .map(|action| {
                let category = "urn:oasis:names:tc:xacml:3.0:attribute-category:action";
                format!(
                    "{}</AllOf>",
                    one(category, "urn:oasis:names:tc:xacml:1.0:action:action-id", action)
                )
            })
            .collect();
        target += &format!("<AnyOf>{}</AnyOf>", actions.concat());
        format!("<Rule RuleId=\"r\" Effect=\"Permit\"><Target>{target}</Target></Rule>")
    };
    let person = ("urn:altinn:rolecode", "PRIV");
    let rules = [
        rule(person, None, &["instantiate", "read"]),
        rule(person, Some("Task_1"), &["write"]),
        rule(("urn:altinn:org", "[ORG]"), None, &["read", "complete"]),
    ];
    let policy = format!(
        "<Policy RuleCombiningAlgId=\"urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides\"><Target/>\
         {}<ObligationExpressions><ObligationExpression ObligationId=\"o\" FulfillOn=\"Permit\">\
         <AttributeAssignmentExpression AttributeId=\"a\" Category=\"urn:altinn:minimum-authenticationlevel\">\
         <AttributeValue>2</AttributeValue></AttributeAssignmentExpression></ObligationExpression></ObligationExpressions>\
         </Policy>",
        rules.concat()
    );
    let folder = bench.policies.join(ORG).join("strict");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("policy.xml"), policy).unwrap();
    let (user, owner) = (bench.user(1337).await, bench.org(ORG).await);
    let instance = bench.instance("strict", &user).await;
    let element = bench.element(&instance, "model", &user, b"<m/>").await;
    let call = async |method: &str, path: String, token: &str| {
        bench
            .call(method, &path, token, Value::Null)
            .await
            .status
            .as_u16()
    };
    assert_eq!(call("GET", element.clone(), &user).await, 200);
    assert_eq!(call("GET", element.clone(), &owner).await, 200);
    assert_eq!(
        call("DELETE", element.clone(), &owner).await,
        403,
        "the org may only read"
    );
    assert_eq!(
        call("DELETE", instance.clone(), &user).await,
        403,
        "nobody may delete"
    );
    let guarded = format!("{instance}/data?dataType=guarded");
    assert_eq!(
        call("POST", guarded, &user).await,
        403,
        "the data type asks for an action of its own"
    );
    let weak = bench
        .call(
            "GET",
            "/Home/GetTestUserToken/1337?authenticationLevel=1",
            "",
            Value::Null,
        )
        .await;
    let weak = String::from_utf8(weak.body.to_vec()).unwrap();
    assert_eq!(
        call("GET", element.clone(), &weak).await,
        403,
        "the level is too low"
    );
    // In another task the same user may no longer write.
    let next = bench
        .call(
            "PUT",
            &format!("{instance}/process"),
            &user,
            in_task("Task_2", "confirmation"),
        )
        .await;
    assert_eq!(next.status, 200, "{:?}", next.body);
    assert_eq!(call("DELETE", element.clone(), &user).await, 403, "not in Task_2");
    assert_eq!(call("GET", element.clone(), &user).await, 200);
    // A policy that isn't understood decides nothing, which isn't a yes.
    std::fs::write(folder.join("policy.xml"), "<Policy><Condition/></Policy>").unwrap();
    assert_eq!(call("GET", element, &user).await, 500);
}
