//! What an app asks of other services while it is developed, asked as its library does.
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

use base64::Engine as _;
use bench::{Ask, Bench, ORG, PARTY};
use bytes::Bytes;
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, Scan};
use platform_storage::limits::DEVELOPMENT_EVENTS_KEPT_MAX;
use serde_json::{Value, json};

#[tokio::test]
async fn register_profile_and_authorization() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    let get = async |path: &str, token: &str| bench.call("GET", path, token, Value::Null).await;
    let party = get(&format!("/register/api/v1/parties/{PARTY}"), &user)
        .await
        .json();
    assert_eq!(
        (&party["partyId"], &party["name"], &party["person"]["lastName"]),
        (&json!(501_337), &json!("Sophie Salt"), &json!("Salt"))
    );
    let lookup = bench
        .call(
            "POST",
            "/register/api/v1/parties/lookup",
            "",
            json!({"OrgNo": "897069650"}),
        )
        .await
        .json();
    assert_eq!(
        (&lookup["partyId"], &lookup["organization"]["orgNumber"]),
        (&json!(500_000), &json!("897069650"))
    );
    let organization = get("/register/api/v1/organizations/897069650", "").await.json();
    assert_eq!(organization["name"], "DDG Fitness AS");
    let profile = get("/profile/api/v1/users/1337", &user).await.json();
    assert_eq!(
        (&profile["userId"], &profile["party"]["partyId"]),
        (&json!(1337), &json!(501_337))
    );
    assert_eq!(profile["profileSettingPreference"]["language"], "nb");
    assert_eq!(
        get("/profile/api/v1/users/current", &user).await.json()["userId"],
        1337
    );
    let parties = get("/authorization/api/v1/parties?userid=1337", &user)
        .await
        .json();
    let parties: Vec<i64> = parties
        .as_array()
        .unwrap()
        .iter()
        .map(|party| party["partyId"].as_i64().unwrap())
        .collect();
    assert_eq!(parties, [501_337, 500_000]);
    for (party, valid) in [(500_000, true), (512_345, false)] {
        let answer = get(
            &format!("/authorization/api/v1/parties/{party}/validate?userid=1337"),
            &user,
        )
        .await;
        assert_eq!(answer.json(), json!(valid));
    }
    let roles = get(
        "/authorization/api/v1/roles?coveredByUserId=1337&offeredByPartyId=500000",
        &user,
    )
    .await
    .json();
    assert!(
        roles
            .as_array()
            .unwrap()
            .contains(&json!({"type": "altinn", "value": "DAGL"}))
    );
    for (path, token, status) in [
        ("/register/api/v1/parties/1", &user, 404),
        ("/register/api/v1/parties/x", &user, 400),
        ("/register/api/v1/parties/501337", &String::new(), 401),
        ("/register/api/v1/organizations/01039012345", &String::new(), 404),
        ("/profile/api/v1/users/7", &user, 404),
        ("/profile/api/v1/users/1337", &String::new(), 401),
        (
            "/authorization/api/v1/roles?coveredByUserId=12345&offeredByPartyId=500000",
            &user,
            403,
        ),
        ("/authorization/api/v1/nothing", &user, 404),
    ] {
        assert_eq!(get(path, token).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn persons_are_found_by_number_and_name_together() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    let person = async |number: &str, name: &str| {
        let name = base64::engine::general_purpose::STANDARD.encode(name);
        let headers = vec![
            ("x-ai-nationalidentitynumber", number.to_owned()),
            ("x-ai-lastname", name),
        ];
        bench
            .send(Ask {
                method: "GET",
                path: "/register/api/v1/persons".to_owned(),
                token: &user,
                headers,
                body: Bytes::new(),
            })
            .await
    };
    let found = person("01899699552", "NORDMANN").await;
    assert_eq!(found.json()["firstName"], "Ola");
    assert_eq!(person("01899699552", "Salt").await.status, 404);
    assert_eq!(
        person("897069650", "AS").await.status,
        404,
        "an organisation is no person"
    );
}

#[tokio::test]
async fn tokens_are_refreshed_and_users_are_sent_to_apps() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    bench.publish("app", json!({})).await;
    bench.clock.advance_seconds(60);
    let fresh = bench
        .call("GET", "/authentication/api/v1/refresh", &user, Value::Null)
        .await;
    assert_eq!(fresh.status, 200, "{:?}", fresh.body);
    let fresh = fresh.json().as_str().unwrap().to_owned();
    assert_ne!(fresh, user);
    assert_eq!(
        bench
            .call("GET", "/profile/api/v1/users/current", &fresh, Value::Null)
            .await
            .json()["userId"],
        1337
    );
    assert_eq!(
        bench
            .call("GET", "/authentication/api/v1/refresh", "", Value::Null)
            .await
            .status,
        401
    );
    let page = bench.call("GET", "/Home", "", Value::Null).await;
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        page.contains("Sophie Salt") && page.contains("<option>ttd/app</option>"),
        "{page}"
    );
    let sent = bench
        .call(
            "GET",
            "/Home/LogInTestUser?userId=1337&app=ttd/app&origin=http://localhost:5005",
            "",
            Value::Null,
        )
        .await;
    assert_eq!(
        (sent.status.as_u16(), &sent.headers["location"]),
        (302, &"http://localhost:5005/ttd/app/".parse().unwrap())
    );
    assert!(
        sent.headers["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with("AltinnStudioRuntime=")
    );
    let elsewhere = bench
        .call(
            "GET",
            "/Home/LogInTestUser?userId=1337&app=ttd/app&origin=http://example.org",
            "",
            Value::Null,
        )
        .await;
    assert_eq!(elsewhere.status, 400);
}

#[tokio::test]
async fn events_are_taken_and_shown() {
    let bench = Bench::new();
    let event = json!({"source": "http://localhost/ttd/app/instances/1", "specversion": "1.0", "type": "app.instance.created",
        "subject": "/party/501337", "alternativesubject": "/person/01039012345"});
    for number in 0..3 {
        let mut event = event.clone();
        event["n"] = number.into();
        assert_eq!(
            bench.call("POST", "/events/api/v1/app", "", event).await.status,
            201
        );
    }
    let shown = bench
        .call("GET", "/events/api/v1/app", "", Value::Null)
        .await
        .json();
    let numbers: Vec<i64> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["n"].as_i64().unwrap())
        .collect();
    assert_eq!(numbers, [2, 1, 0]);
    assert!(shown[0]["id"].is_string() && shown[0]["time"].is_string());
    for bad in [json!({}), json!([]), json!({"source": "x", "type": "y"})] {
        assert_eq!(
            bench
                .call("POST", "/events/api/v1/app", "", bad.clone())
                .await
                .status,
            400,
            "{bad}"
        );
    }
}

#[tokio::test]
async fn the_newest_events_are_kept() {
    let bench = Bench::new();
    let event = json!({"source": "s", "specversion": "1.0", "type": "t", "subject": "/party/501337"});
    for _ in 0..DEVELOPMENT_EVENTS_KEPT_MAX + 5 {
        let answer = bench.call("POST", "/events/api/v1/app", "", event.clone()).await;
        assert_eq!(answer.status, 201);
    }
    // 12 is a development event's tag.
    let prefix = KeyWriter::new(Keyspace::Platform).u8(12).finish();
    let snapshot = bench.ledger.snapshot().await.unwrap();
    let mut rows = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let mut kept = 0;
    while rows.next().await.unwrap().is_some() {
        kept += 1;
    }
    assert_eq!(kept, DEVELOPMENT_EVENTS_KEPT_MAX);
}

/// A request as the platform's own client library writes it, in one question or several.
#[tokio::test]
async fn decisions() {
    let bench = Bench::new();
    let user = bench.user(1337).await;
    bench.publish("app", json!({})).await;
    let instance = bench.instance("app", &user).await;
    let id = instance.trim_start_matches("/instances/").to_owned();
    let subject = |user: &str, party: &str| {
        json!({"Attribute": [
        {"AttributeId": "urn:altinn:userid", "Value": user}, {"AttributeId": "urn:altinn:partyid", "Value": party},
        {"AttributeId": "urn:altinn:authlevel", "Value": "2"}]})
    };
    let action = |name: &str| {
        json!({"Attribute": [{"AttributeId": "urn:oasis:names:tc:xacml:1.0:action:action-id",
        "Value": name, "IncludeInResult": true}]})
    };
    let resource = json!({"Attribute": [{"AttributeId": "urn:altinn:instance-id", "Value": id, "IncludeInResult": true},
        {"AttributeId": "urn:altinn:org", "Value": ORG}, {"AttributeId": "urn:altinn:app", "Value": "app"}]});
    let decide = async |request: Value| {
        let answer = bench
            .call(
                "POST",
                "/authorization/api/v1/decision",
                "",
                json!({ "Request": request }),
            )
            .await;
        assert_eq!(answer.status, 200, "{:?}", answer.body);
        answer.json()["response"].as_array().unwrap().clone()
    };
    let single = |user: &str, party: &str| {
        json!({"AccessSubject": [subject(user, party)], "Action": [action("read")],
        "Resource": [resource.clone()]})
    };
    assert_eq!(decide(single("1337", PARTY)).await[0]["decision"], "Permit");
    assert_eq!(
        decide(single("12345", "512345")).await[0]["decision"],
        "NotApplicable"
    );
    let named = |mut part: Value, id: &str| {
        part["Id"] = id.into();
        part
    };
    let several = json!({
        "AccessSubject": [named(subject("1337", PARTY), "s1")],
        "Action": [named(action("read"), "a1"), named(action("write"), "a2")],
        "Resource": [named(resource.clone(), "r1")],
        "MultiRequests": {"RequestReference": [{"ReferenceId": ["s1", "a1", "r1"]}, {"ReferenceId": ["s1", "a2", "r1"]}]},
    });
    let results = decide(several).await;
    assert_eq!(results.len(), 2);
    for (result, action) in results.iter().zip(["read", "write"]) {
        assert_eq!(result["decision"], "Permit");
        assert_eq!(result["category"][0]["attribute"][0]["value"], action);
        assert_eq!(result["category"][1]["attribute"][0]["value"], id);
    }
    let unknown = json!({"AccessSubject": [subject("1337", PARTY)], "Action": [action("read")],
        "Resource": [{"Attribute": [{"AttributeId": "urn:altinn:instance-id", "Value": "1/x"}]}]});
    assert_eq!(decide(unknown).await[0]["decision"], "NotApplicable");
    assert_eq!(
        bench
            .call("POST", "/authorization/api/v1/decision", "", json!([]))
            .await
            .status,
        400
    );
}

/// Permits nothing, as one elsewhere that doesn't know these people.
struct Elsewhere;

#[async_trait::async_trait]
impl platform_storage::DecisionPoint for Elsewhere {
    async fn permits(
        &self,
        _: &platform_storage::Caller,
        _: &str,
        _: &platform_storage::decision::Resource,
    ) -> Result<bool, platform_storage::PlatformError> {
        Ok(false)
    }
}

#[tokio::test]
async fn apps_are_answered_by_the_decision_point_inside() {
    let bench = Bench::with(bench::Options {
        decision: Some(std::sync::Arc::new(Elsewhere)),
        ..bench::Options::default()
    });
    bench.publish("a", json!({})).await;
    let attribute = |id: &str, value: &str| json!({"AttributeId": id, "Value": value});
    let request = json!({"Request": {
        "AccessSubject": [{"Attribute": [attribute("urn:altinn:userid", "1337")]}],
        "Action": [{"Attribute": [attribute("urn:oasis:names:tc:xacml:1.0:action:action-id", "read")]}],
        "Resource": [{"Attribute": [attribute("urn:altinn:org", ORG), attribute("urn:altinn:app", "a"),
            attribute("urn:altinn:partyid", PARTY)]}]}});
    let path = "/authorization/api/v1/decision";
    let answer = bench.call("POST", path, "", request).await.json();
    assert_eq!(answer["response"][0]["decision"], "Permit");
    // Storage itself asks the one elsewhere.
    let user = bench.user(1337).await;
    let body = json!({"instanceOwner": {"partyId": PARTY}});
    let answer = bench
        .call("POST", &format!("/instances?appId={ORG}/a"), &user, body)
        .await;
    assert_eq!(answer.status, 403);
}
