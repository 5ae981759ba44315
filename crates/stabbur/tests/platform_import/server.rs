//! A server of ours that runs, and the commands that work on its folder when it doesn't.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

pub const ORG: &str = "ttd";
pub const PARTY: &str = "501337";

pub struct Server {
    child: Child,
    pub platform: String,
    client: reqwest::Client,
    pub user: String,
    pub owner: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{} {}", self.status, String::from_utf8_lossy(&self.body)))
    }
}

impl Server {
    /// Starts `dev` on a folder.
    pub async fn start(data: &Path, options: &[&str]) -> Self {
        let ready = data.with_extension("ready.json");
        let _ = std::fs::remove_file(&ready);
        let ports = [
            "blobs",
            "documents",
            "platform",
            "registry",
            "vault",
            "login",
            "admin",
        ]
        .map(|name| format!("--{name}-port=0"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_stabbur"))
            .args(["dev", "--log", "warn", "--data"])
            .arg(data)
            .arg("--ready-file")
            .arg(&ready)
            .args(ports)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..1_200 {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                let said: Value = serde_json::from_str(&text).unwrap();
                let mut server = Self {
                    child,
                    platform: said["platform"].as_str().unwrap().to_owned(),
                    client: reqwest::Client::new(),
                    user: String::new(),
                    owner: String::new(),
                };
                server.user = server.token("GetTestUserToken/1337?authenticationLevel=2").await;
                server.owner = server
                    .token(&format!(
                        "GetTestOrgToken/{ORG}?orgNumber=991825827&scopes=altinn:serviceowner/instances.read"
                    ))
                    .await;
                return server;
            }
            assert!(child.try_wait().unwrap().is_none(), "dev ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("dev isn't ready after a minute");
    }

    pub async fn token(&self, path: &str) -> String {
        let answer = self.client.get(format!("{}/Home/{path}", self.platform));
        answer
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .trim()
            .to_owned()
    }

    pub fn api(&self) -> String {
        format!("{}/storage/api/v1/", self.platform)
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let url = format!("{}/storage/api/v1{path}", self.platform);
        let mut request = self.client.request(method, url).bearer_auth(token).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }

    pub async fn call(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        let answer = self
            .send(method, path, token, &headers, body.to_string().into_bytes())
            .await;
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status < 300, "{method} {path}: {} {said}", answer.status);
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &self.owner, &[], Vec::new()).await
    }

    pub async fn publish(&self, app: &str, more: Value) {
        let studio = self.token("GetTestStudioToken").await;
        let mut body = json!({"id": format!("{ORG}/{app}"), "org": ORG, "title": {"nb": "Skjema"},
            "dataTypes": [{"id": "model"}, {"id": "attachment"}]});
        for (name, value) in more.as_object().cloned().unwrap_or_default() {
            body[name] = value;
        }
        self.call("POST", &format!("/applications?appId={ORG}/{app}"), &studio, body)
            .await;
        let text = json!({"language": "nb", "resources": [{"id": "appName", "value": "Søknad"}]});
        let path = format!("/applications/{ORG}/{app}/texts");
        self.call("POST", &path, &studio, text).await;
    }

    /// A new instance; its id.
    pub async fn instance(&self, app: &str) -> String {
        let task = json!({"flow": 2, "elementId": "Task_1", "altinnTaskType": "data", "flowType": "CompleteCurrentMoveToNext"});
        let body = json!({"instanceOwner": {"partyId": PARTY}, "dataValues": {"k": "æ"},
            "process": {"started": "2026-01-01T00:00:00Z", "currentTask": task}});
        let path = format!("/instances?appId={ORG}/{app}");
        let made = self.call("POST", &path, &self.user, body).await.json();
        made["id"].as_str().unwrap().to_owned()
    }

    /// A new element; its id.
    pub async fn element(&self, instance: &str, kind: &str, name: &str, content: Vec<u8>) -> String {
        let headers = [
            ("content-type", "application/octet-stream"),
            ("content-disposition", name),
        ];
        let path = format!("/instances/{instance}/data?dataType={kind}");
        let answer = self.send("POST", &path, &self.user, &headers, content).await;
        assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// All that an app's owner can read of its instances, by id: metadata, contents, events.
    pub async fn everything(&self, app: &str) -> Vec<(String, Value, Vec<Vec<u8>>, Value)> {
        let listed = self
            .get(&format!("/instances?appId={ORG}/{app}&size=1000"))
            .await
            .json();
        assert_eq!(listed["next"], Value::Null);
        let mut all = Vec::new();
        for entry in listed["instances"].as_array().unwrap() {
            let id = entry["id"].as_str().unwrap().to_owned();
            let answer = self.get(&format!("/instances/{id}")).await;
            let mut instance = without_links(answer.json());
            instance["version"] = json!(answer.headers["instance-version"].to_str().unwrap());
            let mut contents = Vec::new();
            for element in instance["data"].as_array().unwrap() {
                let id_of = element["id"].as_str().unwrap();
                let content = self.get(&format!("/instances/{id}/data/{id_of}")).await;
                assert_eq!(content.status, 200);
                contents.push(content.body);
            }
            let events = self.get(&format!("/instances/{id}/events")).await.json();
            all.push((id, instance, contents, events));
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

fn without_links(mut value: Value) -> Value {
    value.as_object_mut().unwrap().remove("selfLinks");
    if let Some(elements) = value.get_mut("data").and_then(Value::as_array_mut) {
        for element in elements.iter_mut() {
            *element = without_links(element.take());
        }
    }
    value
}

/// A folder that commands work on.
pub struct Target {
    pub data: PathBuf,
}

impl Target {
    pub fn new(folder: &Path) -> Self {
        Self {
            data: folder.join("target"),
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stabbur"));
        command
            .arg("platform")
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .env_remove("STABBUR_PLATFORM_TOKEN")
            .stdin(Stdio::null());
        command
    }

    /// Runs it, expecting success; what it printed.
    pub fn done(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{out}{err}");
        assert_eq!(err, "", "it is quiet when not at a terminal");
        out
    }

    /// Runs it, expecting failure; all that it said.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(!output.status.success(), "{out}{err}");
        out + &err
    }

    /// Runs it and kills it as soon as so many contents are here; whether it was still running then.
    pub fn killed_at(&self, arguments: &[&str], contents: usize) -> bool {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        loop {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            if self.contents() >= contents {
                child.kill().unwrap();
                child.wait().unwrap();
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Contents that lie in files of their own.
    fn contents(&self) -> usize {
        let Ok(parts) = std::fs::read_dir(self.data.join("content")) else {
            return 0;
        };
        let parts = parts.flatten().filter(|part| part.file_name() != "tmp");
        parts
            .filter_map(|part| std::fs::read_dir(part.path()).ok())
            .map(Iterator::count)
            .sum()
    }

    /// `stabbur ledger verify` finds nothing wrong.
    pub fn is_sound(&self) {
        let output = Command::new(env!("CARGO_BIN_EXE_stabbur"))
            .args(["ledger", "verify", "--data"])
            .arg(&self.data)
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && out.contains("0 faults"), "{out}");
    }
}
