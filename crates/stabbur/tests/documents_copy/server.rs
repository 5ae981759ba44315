//! A server of ours that runs, spoken to by signed requests, and the command that copies from it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use documents::sign_request;
use identity::SharedKey;
use ledger::{Clock as _, SystemClock};
use reqwest::{Method, Url};
use serde_json::{Value, json};

/// The emulators' key, which `dev` has.
pub const KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

pub struct Server {
    child: Child,
    pub http: String,
    pub authority: PathBuf,
    client: reqwest::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `dev` on a folder.
    pub fn start(data: &Path) -> Self {
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
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..1_200 {
            if let Ok(text) = std::fs::read_to_string(&ready) {
                let said: Value = serde_json::from_str(&text).unwrap();
                return Self {
                    child,
                    http: said["documents"].as_str().unwrap().to_owned(),
                    authority: said["ca"].as_str().unwrap().into(),
                    client: reqwest::Client::new(),
                };
            }
            assert!(child.try_wait().unwrap().is_none(), "dev ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("dev isn't ready after a minute");
    }

    pub fn https(&self) -> String {
        self.http.replace("http://", "https://")
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &[&str],
        headers: &[(&str, &str)],
        body: &Value,
    ) -> (u16, Value) {
        let mut url = Url::parse(&self.http).unwrap();
        url.path_segments_mut().unwrap().clear().extend(path);
        let owned: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        let date = http_semantics::date::format(SystemClock.now());
        let key = SharedKey::from_base64(KEY).unwrap();
        let mut request = self
            .client
            .request(method.clone(), url)
            .header("authorization", sign_request(&key, &method, &owned, &date))
            .header("x-ms-date", date)
            .header("x-ms-version", "2020-07-15");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// As [`Server::ask`], expecting success.
    pub async fn done(&self, method: Method, path: &[&str], headers: &[(&str, &str)], body: Value) -> Value {
        let (status, answer) = self.ask(method, path, headers, &body).await;
        assert!(status < 300, "{path:?}: {status} {answer}");
        answer
    }

    pub async fn make(&self, database: &str, containers: &[Value]) {
        let (status, answer) = self
            .ask(Method::POST, &["dbs"], &[], &json!({"id": database}))
            .await;
        assert!(status == 201 || status == 409, "{answer}");
        for container in containers {
            self.done(Method::POST, &["dbs", database, "colls"], &[], container.clone())
                .await;
        }
    }

    pub async fn upsert(&self, database: &str, container: &str, key: &Value, item: Value) -> (u16, Value) {
        let key = ascii(key);
        let headers = [
            ("x-ms-documentdb-partitionkey", key.as_str()),
            ("x-ms-documentdb-is-upsert", "true"),
        ];
        let path = ["dbs", database, "colls", container, "docs"];
        self.ask(Method::POST, &path, &headers, &item).await
    }

    pub async fn delete(&self, database: &str, container: &str, key: &Value, id: &str) {
        let key = ascii(key);
        let headers = [("x-ms-documentdb-partitionkey", key.as_str())];
        let path = ["dbs", database, "colls", container, "docs", id];
        self.done(Method::DELETE, &path, &headers, Value::Null).await;
    }

    /// A container's properties and its items, without what the server sets.
    pub async fn everything(&self, database: &str, container: &str) -> (Value, Vec<String>) {
        let path = ["dbs", database, "colls", container];
        let resource = bare(self.done(Method::GET, &path, &[], Value::Null).await);
        let path = ["dbs", database, "colls", container, "docs"];
        let headers = [("x-ms-max-item-count", "1000")];
        let page = self.done(Method::GET, &path, &headers, Value::Null).await;
        let items = page["Documents"].as_array().unwrap();
        assert!(items.len() < 1_000);
        let mut items: Vec<String> = items.iter().map(|item| bare(item.clone()).to_string()).collect();
        items.sort();
        (resource, items)
    }

    /// A container's scripts, without what the server sets.
    pub async fn scripts(&self, database: &str, container: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (kind, list) in [
            ("sprocs", "StoredProcedures"),
            ("triggers", "Triggers"),
            ("udfs", "UserDefinedFunctions"),
        ] {
            let path = ["dbs", database, "colls", container, kind];
            let page = self.done(Method::GET, &path, &[], Value::Null).await;
            let scripts = page[list].as_array().unwrap().iter();
            found.extend(scripts.map(|script| format!("{kind}: {}", bare(script.clone()))));
        }
        found
    }
}

/// A header's form of a partition key.
fn ascii(key: &Value) -> String {
    key.to_string()
        .chars()
        .map(|character| {
            if character.is_ascii() {
                character.to_string()
            } else {
                format!("\\u{:04x}", u32::from(character))
            }
        })
        .collect()
}

fn bare(mut value: Value) -> Value {
    const SYSTEM: [&str; 10] = [
        "_rid",
        "_self",
        "_etag",
        "_ts",
        "_attachments",
        "_docs",
        "_sprocs",
        "_triggers",
        "_udfs",
        "_conflicts",
    ];
    let object = value.as_object_mut().unwrap();
    object.retain(|name, _| !SYSTEM.contains(&name.as_str()));
    value
}

/// A target: a folder that isn't there, the key's file, and the command's arguments for them.
pub struct Target {
    pub data: PathBuf,
    key_file: PathBuf,
}

impl Target {
    pub fn new(folder: &Path) -> Self {
        let target = Self {
            data: folder.join("target"),
            key_file: folder.join("key"),
        };
        target.key(KEY);
        target
    }

    pub fn key(&self, key: &str) {
        std::fs::write(&self.key_file, format!("{key}\n")).unwrap();
    }

    pub fn command(&self, from: &str, database: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stabbur"));
        command
            .args(["documents", "copy", "--from", from, "--database", database])
            .arg("--key-file")
            .arg(&self.key_file)
            .arg("--data")
            .arg(&self.data)
            .args(more)
            .stdin(Stdio::null());
        command
    }

    /// Runs it, expecting success; what it printed.
    pub fn copy(&self, from: &str, database: &str, more: &[&str]) -> String {
        let (succeeded, out, err) = texts(&self.command(from, database, more).output().unwrap());
        assert!(succeeded, "{out}{err}");
        assert_eq!(err, "", "it is quiet when not at a terminal");
        out
    }

    /// Runs it, expecting failure; all that it said.
    pub fn refused(&self, from: &str, database: &str, more: &[&str]) -> String {
        let (succeeded, out, err) = texts(&self.command(from, database, more).output().unwrap());
        assert!(!succeeded, "{out}{err}");
        out + &err
    }

    /// `stabbur ledger verify` finds nothing wrong.
    pub fn is_sound(&self) {
        let output = Command::new(env!("CARGO_BIN_EXE_stabbur"))
            .args(["ledger", "verify", "--data"])
            .arg(&self.data)
            .output()
            .unwrap();
        let (succeeded, out, err) = texts(&output);
        assert!(succeeded && out.contains("0 faults"), "{out}{err}");
    }
}

pub fn texts(output: &Output) -> (bool, String, String) {
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}
