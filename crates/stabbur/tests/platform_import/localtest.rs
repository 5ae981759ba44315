//! From a folder as the local test environment keeps it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::large;
use crate::server::{ORG, PARTY, Server, Target};

fn guid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// A folder of the environment's.
struct Environment(PathBuf);

impl Environment {
    fn new(folder: &Path) -> Self {
        let environment = Self(folder.join("AltinnPlatformLocal"));
        std::fs::create_dir_all(environment.0.join("documentdb/instances")).unwrap();
        environment
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn instance(&self, number: u32, more: &Value) {
        let mut document = json!({"id": guid(number), "instanceOwner": {"partyId": PARTY, "personNumber": "01039012345"},
            "appId": format!("{ORG}/skjema"), "org": ORG, "data": [], "created": "2025-05-01T08:00:00.1234567Z",
            "createdBy": "1337", "lastChanged": "2025-05-01T08:00:00.1234567Z", "lastChangedBy": "1337",
            "process": {"started": "2025-05-01T08:00:00Z", "currentTask": {"flow": 2, "elementId": "Task_1",
                "altinnTaskType": "data", "flowType": "CompleteCurrentMoveToNext"}},
            "status": {"isArchived": false, "isSoftDeleted": false, "isHardDeleted": false, "readStatus": "Read"},
            "presentationTexts": {"navn": "Åse"}});
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        let text = format!("\u{feff}{document}");
        let path = format!("documentdb/instances/{PARTY}_{}.json", guid(number));
        self.write(&path, text.as_bytes());
    }

    fn element(&self, instance: u32, number: u32, name: &str, content: Option<&[u8]>) {
        let blob = format!("{ORG}/skjema/{}/data/{}", guid(instance), guid(number));
        let document = json!({"id": guid(number), "instanceGuid": guid(instance), "dataType": "model", "filename": name,
            "contentType": "application/pdf", "blobStoragePath": blob, "size": 7, "locked": false, "isRead": false,
            "fileScanResult": 0, "created": "2025-05-01T09:00:00Z", "createdBy": "1337",
            "lastChanged": "2025-05-02T10:00:00+02:00", "lastChangedBy": "7", "tags": []});
        let path = format!("documentdb/data/{}/{}.json", guid(instance), guid(number));
        self.write(&path, document.to_string().as_bytes());
        if let Some(content) = content {
            self.write(&format!("blobs/{blob}"), content);
        }
    }

    fn event(&self, instance: u32, number: u32, kind: &str) {
        let id = format!("{PARTY}/{}", guid(instance));
        let document = json!({"id": guid(number), "instanceId": id, "created": "2025-05-01T08:00:00Z", "eventType": kind,
            "instanceOwnerPartyId": PARTY, "user": {"userId": 1337, "authenticationLevel": 2}});
        let path = format!(
            "documentdb/instanceevents/{PARTY}_{}_{}.json",
            guid(instance),
            guid(number)
        );
        self.write(&path, document.to_string().as_bytes());
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let from = self.0.to_str().unwrap();
        [&["import", "localtest", "--from", from], more].concat()
    }
}

fn app_folder(folder: &Path) -> PathBuf {
    let config = folder.join("apps/skjema/App/config");
    std::fs::create_dir_all(config.join("texts")).unwrap();
    let metadata = json!({"id": format!("{ORG}/skjema"), "org": ORG, "title": {"nb": "Skjema"}, "dataTypes": [{"id": "model"}]});
    std::fs::write(
        config.join("applicationmetadata.json"),
        format!("\u{feff}{metadata}"),
    )
    .unwrap();
    let text = json!({"language": "nb", "resources": [{"id": "appName", "value": "Skjema ø"}]});
    std::fs::write(config.join("texts/resource.nb.json"), text.to_string()).unwrap();
    folder.join("apps")
}

#[tokio::test]
async fn what_the_environment_left_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::new(folder.path());
    let apps = app_folder(folder.path());
    environment.instance(1, &json!({}));
    environment.element(1, 101, "søknad \"æ\".pdf", Some("innhold æ".as_bytes()));
    environment.element(1, 102, "stor.pdf", Some(&large(1)));
    environment.write(
        &format!("documentdb/data/{}/.instanceversions/versions.json", guid(1)),
        br#"{"InstanceVersion": 9, "ProcessStateVersion": 3}"#,
    );
    environment.event(1, 201, "Created");
    environment.event(1, 202, "process_StartEvent");
    environment.instance(2, &json!({"data": null}));
    // What belongs to nobody, and what isn't Storage's.
    environment.write("documentdb/instancelocks/x.json", b"{}");
    environment.write("documentdb/events/x.json", b"{}");
    let target = Target::new(folder.path());
    let arguments = environment.arguments(&["--app-folder", apps.to_str().unwrap()]);
    let said = target.done(&arguments);
    assert!(
        said.contains("2 instances came, 0 came anew, 0 were here"),
        "{said}"
    );
    assert!(said.contains("2 elements (300010 bytes), 2 events"), "{said}");
    assert!(said.contains("1 applications and 1 texts came"), "{said}");
    let again = target.done(&arguments);
    assert!(
        again.contains("0 instances came, 0 came anew, 2 were here"),
        "{again}"
    );
    target.is_sound();

    let server = Server::start(&target.data, &[]).await;
    let path = format!("/instances/{PARTY}/{}", guid(1));
    let answer = server.get(&path).await;
    assert_eq!(answer.headers["instance-version"], "9");
    assert_eq!(answer.headers["process-state-version"], "3");
    let instance = answer.json();
    assert_eq!(instance["created"], "2025-05-01T08:00:00.1234567Z");
    // As the environment shows it: by the newest element, and not read.
    assert_eq!(
        (&instance["lastChanged"], &instance["lastChangedBy"]),
        (&json!("2025-05-02T08:00:00Z"), &json!("7"))
    );
    assert_eq!(instance["status"]["readStatus"], "UpdatedSinceLastReview");
    assert_eq!(instance["presentationTexts"], json!({"navn": "Åse"}));
    let elements = instance["data"].as_array().unwrap();
    assert_eq!(elements.len(), 2);
    for (element, (id, name, content)) in elements.iter().zip([
        (101, "søknad \"æ\".pdf", "innhold æ".as_bytes().to_vec()),
        (102, "stor.pdf", large(1)),
    ]) {
        assert_eq!(
            (&element["id"], &element["filename"]),
            (&json!(guid(id)), &json!(name))
        );
        assert_eq!(element["size"], content.len());
        let read = server.get(&format!("{path}/data/{}", guid(id))).await;
        assert_eq!((read.status, read.body == content), (200, true), "{name}");
    }
    let events = server.get(&format!("{path}/events")).await.json();
    let kinds: Vec<&str> = events["instanceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["eventType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["Created", "process_StartEvent"]);
    let text = server
        .get(&format!("/applications/{ORG}/skjema/texts/nb"))
        .await
        .json();
    assert_eq!(text["resources"][0]["value"], "Skjema ø");
    // It goes on here.
    let texts = json!({"texts": {"navn": "Kari"}});
    server
        .call("PUT", &format!("{path}/presentationtexts"), &server.user, texts)
        .await;
    drop(server);
    environment.instance(1, &json!({"presentationTexts": {"navn": "Per"}}));
    let said = target.refused(&environment.arguments(&[]));
    assert!(said.contains("was changed here since it came"), "{said}");
    assert!(said.contains("1 left out"), "{said}");
}

#[tokio::test]
async fn what_cannot_come_is_named_and_comes_when_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::new(folder.path());
    environment.instance(1, &json!({}));
    environment.element(1, 101, "a.pdf", None);
    environment.element(1, 102, "b.pdf", Some(b"b"));
    environment.instance(2, &json!({"instanceOwner": {"partyId": "x"}}));
    environment.write("documentdb/instances/501337_broken.json", b"{");
    environment.event(77, 201, "Created");
    environment.element(88, 103, "c.pdf", Some(b"c"));
    environment.instance(3, &json!({}));
    environment.element(3, 104, "d.pdf", None);
    let outside = json!({"id": guid(104), "instanceGuid": guid(3), "dataType": "model", "blobStoragePath": "../../secret"});
    environment.write(
        &format!("documentdb/data/{}/{}.json", guid(3), guid(104)),
        outside.to_string().as_bytes(),
    );
    let target = Target::new(folder.path());
    let report = folder.path().join("left-out.jsonl");
    let arguments = environment.arguments(&["--report", report.to_str().unwrap()]);
    let said = target.refused(&arguments);
    for line in [
        "2 instances came",
        "its content blobs/ttd/skjema/",
        "its owner's party \"x\" is no number",
        "broken.json: ",
        "1 events of instance",
        "1 elements of instance",
        "its content's name \"../../secret\" is none",
        "6 left out",
        "there is no metadata here of ttd/skjema",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let lines = std::fs::read_to_string(&report).unwrap();
    assert_eq!(lines.lines().count(), 6);
    assert!(
        lines
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    // The content is found after all.
    environment.element(1, 101, "a.pdf", Some(b"a"));
    let said = target.refused(&environment.arguments(&[]));
    assert!(said.contains("0 instances came, 2 came anew"), "{said}");
    let server = Server::start(&target.data, &[]).await;
    server.publish("skjema", json!({})).await;
    let path = format!("/instances/{PARTY}/{}", guid(1));
    assert_eq!(
        server.get(&path).await.json()["data"].as_array().unwrap().len(),
        2
    );
    assert_eq!(server.get(&format!("{path}/data/{}", guid(101))).await.body, b"a");
    drop(server);
    target.is_sound();
    let nothing = folder.path().join("nothing");
    let said = target.refused(&["import", "localtest", "--from", nothing.to_str().unwrap()]);
    assert!(said.contains("has no documentdb/instances"), "{said}");
}

#[tokio::test]
async fn killed_in_its_midst_it_goes_on() {
    const INSTANCES: u32 = 60;
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::new(folder.path());
    let apps = app_folder(folder.path());
    for number in 1..=INSTANCES {
        environment.instance(number, &json!({}));
        let seed = u8::try_from(number).unwrap();
        environment.element(number, 1_000 + number, "a.pdf", Some(&large(seed)));
        environment.event(number, 2_000 + number, "Created");
    }
    let target = Target::new(folder.path());
    let arguments = environment.arguments(&["--app-folder", apps.to_str().unwrap()]);
    let kills = [5, 20, 40].map(|contents| target.killed_at(&arguments, contents));
    assert!(kills.iter().any(|hit| *hit), "no kill fell into it");
    let said = target.done(&arguments);
    assert!(!said.contains(" 0 were here"), "nothing was kept: {said}");
    let again = target.done(&arguments);
    assert!(
        again.contains(&format!("0 instances came, 0 came anew, {INSTANCES} were here")),
        "{again}"
    );
    target.is_sound();
    let server = Server::start(&target.data, &[]).await;
    let all = server.everything("skjema").await;
    assert_eq!(all.len(), INSTANCES as usize);
    for ((id, instance, contents, events), number) in all.iter().zip(1..) {
        assert_eq!(*id, format!("{PARTY}/{}", guid(number)));
        assert_eq!(instance["data"][0]["id"], guid(1_000 + number));
        assert!(contents[0] == large(u8::try_from(number).unwrap()), "{id}");
        assert_eq!(events["instanceEvents"].as_array().unwrap().len(), 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn one_odd_file_stops_nothing_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let environment = Environment::new(folder.path());
    for number in 1..=4 {
        environment.instance(number, &json!({}));
    }
    environment.element(1, 101, "a.pdf", Some(b"a"));
    environment.write(
        &format!("documentdb/data/{}/.instanceversions/versions.json", guid(1)),
        b"{",
    );
    // A content that is a link out of the folder, and one that is a folder.
    environment.element(2, 102, "b.pdf", None);
    environment.element(2, 103, "c.pdf", None);
    let secret = folder.path().join("secret");
    std::fs::write(&secret, b"s3cret").unwrap();
    let contents = environment.0.join(format!("blobs/{ORG}/skjema/{}/data", guid(2)));
    std::fs::create_dir_all(contents.join(guid(103))).unwrap();
    std::os::unix::fs::symlink(&secret, contents.join(guid(102))).unwrap();
    // Elements in a folder whose name is written otherwise.
    let instance = "abcdef00-0000-4000-8000-000000000005";
    let document = json!({"id": instance, "instanceOwner": {"partyId": PARTY}, "appId": format!("{ORG}/skjema"), "org": ORG});
    environment.write(
        &format!("documentdb/instances/{PARTY}_{instance}.json"),
        document.to_string().as_bytes(),
    );
    let element =
        json!({"id": guid(104), "instanceGuid": instance, "dataType": "model", "blobStoragePath": "x/y"});
    environment.write(
        &format!("documentdb/data/{}/{}.json", instance.to_uppercase(), guid(104)),
        element.to_string().as_bytes(),
    );
    environment.write("blobs/x/y", b"d");
    // Files where folders are.
    environment.write("documentdb/data/.DS_Store", b"x");
    environment.write("documentdb/applications/.DS_Store", b"x");
    environment.write(&format!("documentdb/data/{}", guid(3)), b"x");
    environment.write(&format!("documentdb/applications/{ORG}/broken.json"), b"{");
    let target = Target::new(folder.path());
    let said = target.refused(&environment.arguments(&[]));
    for line in [
        "5 instances came",
        "2 elements (2 bytes)",
        "the versions of instance",
        "leads out of the folder",
        "is no file",
        "broken.json: can't be read",
        "4 left out",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    target.is_sound();
}
