//! From a server that runs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::large;
use crate::server::{ORG, PARTY, Server, Target};

const APP: &str = "kilde";

fn token_file(folder: &Path, token: &str) -> PathBuf {
    let file = folder.join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    file
}

fn arguments<'a>(api: &'a str, token: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let token = token.to_str().unwrap();
    let app = "ttd/kilde";
    let fixed = [
        "import",
        "storage",
        "--from",
        api,
        "--app",
        app,
        "--token-file",
        token,
    ];
    [fixed.as_slice(), more].concat()
}

/// Instances in all states there are.
async fn fill(source: &Server, instances: u32) -> Vec<String> {
    source.publish(APP, json!({})).await;
    let mut made = Vec::new();
    for number in 0..instances {
        let id = source.instance(APP).await;
        let seed = u8::try_from(number).unwrap();
        let name = "attachment; filename*=UTF-8''bl%C3%A5b%C3%A6r%20%22%C3%B8%22.pdf";
        source.element(&id, "attachment", name, large(seed)).await;
        if number.is_multiple_of(3) {
            source
                .element(&id, "model", "attachment; filename=m.xml", b"<m/>".to_vec())
                .await;
        }
        made.push(id);
    }
    let path = |at: usize, tail: &str| format!("/instances/{}{tail}", made[at]);
    let ended =
        json!({"started": "2026-01-01T00:00:00Z", "ended": "2026-01-02T00:00:00Z", "endEvent": "End"});
    let process = json!({"state": ended, "events": [{"eventType": "process_EndEvent", "instanceId": made[0], "user": {"userId": 1337}}]});
    let user = &source.user;
    source
        .call("PUT", &path(0, "/process/instanceandevents"), user, process)
        .await;
    source
        .call("POST", &path(0, "/complete"), &source.owner, Value::Null)
        .await;
    source
        .call("PUT", &path(1, "/readstatus?status=Read"), user, Value::Null)
        .await;
    source.call("DELETE", &path(2, ""), user, Value::Null).await;
    source
        .call("DELETE", &path(3, "?hard=true"), user, Value::Null)
        .await;
    source
        .call(
            "PUT",
            &path(4, "/substatus"),
            &source.owner,
            json!({"label": "mottatt"}),
        )
        .await;
    made
}

#[tokio::test]
async fn killed_in_its_midst_it_goes_on_and_brings_what_changed() {
    const INSTANCES: u32 = 30;
    let folder = tempfile::tempdir().unwrap();
    let source = Server::start(&folder.path().join("source"), &[]).await;
    let made = fill(&source, INSTANCES).await;
    let target = Target::new(folder.path());
    let token = token_file(folder.path(), &source.owner);
    let api = source.api();
    let arguments = arguments(&api, &token, &[]);
    let kills = [4, 12, 20].map(|contents| target.killed_at(&arguments, contents));
    assert!(kills.iter().any(|hit| *hit), "no kill fell into it");
    let said = target.done(&arguments);
    assert!(!said.contains(" 0 were here"), "nothing was kept: {said}");
    target.is_sound();
    let there = source.everything(APP).await;
    assert_eq!(there.len(), INSTANCES as usize);
    {
        let here = Server::start(&target.data, &[]).await;
        assert!(
            here.everything(APP).await == there,
            "what came isn't what is there"
        );
        let text = here
            .get(&format!("/applications/{ORG}/{APP}/texts/nb"))
            .await
            .json();
        assert_eq!(text["resources"][0]["value"], "Søknad");
    }

    // What changed since, and only that.
    let said = target.done(&arguments);
    assert!(said.contains("0 instances came, 0 came anew"), "{said}");
    let path = format!("/instances/{}/data/{}", made[5], there_element(&there, &made[5]));
    let headers = [("content-type", "application/pdf")];
    let saved = source
        .send("PUT", &path, &source.user, &headers, b"new".to_vec())
        .await;
    assert_eq!(saved.status, 200);
    let fresh = source.instance(APP).await;
    // Not stamped: it is seen by those who look again, as an import does at what is some minutes old.
    let values = json!({"values": {"k": "v"}});
    let path = format!("/instances/{}/datavalues", made[6]);
    source.call("PUT", &path, &source.user, values).await;
    let said = target.done(&arguments);
    assert!(said.contains("1 instances came, 2 came anew"), "{said}");
    let anew = [arguments.clone(), vec!["--anew"]].concat();
    let said = target.done(&anew);
    assert!(
        said.contains("0 instances came, 0 came anew, 31 were here"),
        "{said}"
    );
    let there = source.everything(APP).await;
    let here = Server::start(&target.data, &[]).await;
    assert!(here.everything(APP).await == there, "what changed isn't here");
    assert!(there.iter().any(|(id, ..)| *id == fresh));

    // What is changed here is the one that is used from then on.
    let path = format!("/instances/{}/presentationtexts", made[7]);
    for server in [&here, &source] {
        let texts = json!({"texts": {"who": server.platform}});
        server.call("PUT", &path, &server.user, texts).await;
    }
    drop(here);
    let said = target.refused(&anew);
    assert!(said.contains("was changed here since it came"), "{said}");
    target.is_sound();
}

fn there_element(there: &[(String, Value, Vec<Vec<u8>>, Value)], id: &str) -> String {
    let (_, instance, ..) = there.iter().find(|(of, ..)| of == id).unwrap();
    instance["data"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_the_source_refuses_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let source = Server::start(&folder.path().join("source"), &[]).await;
    source.publish(APP, json!({})).await;
    source.instance(APP).await;
    let target = Target::new(folder.path());
    let api = source.api();
    let token = token_file(folder.path(), "s3cret.s3cret.s3cret");
    let said = target.refused(&arguments(&api, &token, &[]));
    assert!(
        said.contains("refuses the token (401)") && !said.contains("s3cret"),
        "{said}"
    );
    let reader = source
        .token(&format!(
            "GetTestOrgToken/{ORG}?orgNumber=991825827&scopes=altinn:other"
        ))
        .await;
    let token = token_file(folder.path(), &reader);
    let said = target.refused(&arguments(&api, &token, &[]));
    assert!(said.contains("answers 403 to the list"), "{said}");
    let token = token_file(folder.path(), &source.owner);
    let other = [
        "import",
        "storage",
        "--from",
        &api,
        "--app",
        "ttd/never",
        "--token-file",
        token.to_str().unwrap(),
    ];
    assert!(
        target
            .refused(&other)
            .contains("answers 404 about the app ttd/never")
    );
    let without = ["import", "storage", "--from", &api, "--app", "ttd/kilde"];
    assert!(target.refused(&without).contains("--token-file"));
    let plain = [
        "import",
        "storage",
        "--from",
        "http://example.org/",
        "--app",
        "ttd/kilde",
        "--token-file",
        token.to_str().unwrap(),
    ];
    assert!(target.refused(&plain).contains("only https is spoken"));
    // The environment's token will do.
    let output = target
        .command(&without)
        .env("STABBUR_PLATFORM_TOKEN", &source.owner)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // What was made here is nobody's to overwrite.
    let here = Server::start(&target.data, &[]).await;
    assert_eq!(here.everything(APP).await.len(), 1);
    assert!(
        here.get(&format!("/instances/{PARTY}/{}", uuid::Uuid::nil()))
            .await
            .status
            >= 400
    );
}
