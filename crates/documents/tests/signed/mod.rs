//! What the integration tests share: a service on a ledger in memory, and a client that signs.

pub mod direct;
pub mod functions;
pub mod procedures;
pub mod rivals;
pub mod tokens;
pub mod triggers;
pub mod watched;

use std::sync::Arc;

use documents::{Documents, DocumentsService, ScriptWorker, Settings};
use http::{Method, Request, StatusCode};
use http_semantics::{Body, Service};
use identity::SharedKey;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock, Ledger, VerifyReport};
use serde_json::Value;

pub const KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

pub struct Fixture {
    pub ledger: Arc<dyn Ledger>,
    pub documents: Arc<Documents>,
    pub clock: Arc<AdjustableClock>,
    pub service: DocumentsService,
    /// What requests are signed with: the account's key unless a test says otherwise.
    pub key: SharedKey,
    pub read_only_key: SharedKey,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

/// What an error says.
pub fn message(reply: &Reply) -> String {
    reply.json()["message"].as_str().unwrap().to_owned()
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks status, and that everything every answer must have is there.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert!(self.header("x-ms-request-charge").parse::<f64>().is_ok());
        assert!(!self.header("x-ms-activity-id").is_empty());
        if status >= 400 {
            let body = self.json();
            assert!(body["code"].is_string() && body["message"].is_string(), "{body}");
        }
        self
    }
}

/// What runs scripts in tests.
pub fn script_worker() -> ScriptWorker {
    ScriptWorker {
        program: env!("CARGO_BIN_EXE_documents-script-worker").into(),
        arguments: Vec::new(),
        environment: Vec::new(),
    }
}

pub fn fixture() -> Fixture {
    fixture_with(|_| {})
}

pub fn fixture_with(set: impl FnOnce(&mut Settings)) -> Fixture {
    let clock = Arc::new(AdjustableClock::standing_at(
        "2026-01-01T00:00:00Z".parse().unwrap(),
    ));
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
    let key = SharedKey::from_base64(KEY).unwrap();
    let read_only_key = SharedKey::from_base64("cmVhZC1vbmx5").unwrap();
    let mut settings = Settings::single("test", key.clone());
    settings.accounts[0].read_only_keys = vec![read_only_key.clone()];
    set(&mut settings);
    let documents = Documents::new(
        ledger.clone(),
        clock.clone(),
        Arc::new(SeededRandom::new(1)),
        settings,
    );
    let service = DocumentsService::new(documents.clone());
    Fixture {
        ledger,
        documents,
        clock,
        service,
        key,
        read_only_key,
    }
}

impl Fixture {
    /// Another node on the same ledger, which learns nothing of what this one does.
    pub fn another_node(&self) -> Self {
        self.another_node_with(|_| {})
    }

    /// Another node with other settings.
    pub fn another_node_with(&self, set: impl FnOnce(&mut Settings)) -> Self {
        self.another_node_on(self.ledger.clone(), set)
    }

    /// Another node that reaches the ledger in its own way.
    pub fn another_node_on(&self, ledger: Arc<dyn Ledger>, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::single("test", self.key.clone());
        set(&mut settings);
        settings.accounts[0].read_only_keys = vec![self.read_only_key.clone()];
        let random = Arc::new(SeededRandom::new(2));
        let documents = Documents::new(ledger.clone(), self.clock.clone(), random, settings);
        Self {
            ledger,
            clock: self.clock.clone(),
            service: DocumentsService::new(documents.clone()),
            documents,
            key: self.key.clone(),
            read_only_key: self.read_only_key.clone(),
        }
    }

    pub fn authorization(&self, method: &str, path: &str) -> String {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let (kind, link) = match segments.len() {
            0 => ("", String::new()),
            count if count % 2 == 1 => (segments[count - 1], segments[..count - 1].join("/")),
            count => (segments[count - 2], segments.join("/")),
        };
        let (kind, link) = if link.ends_with("/operations/partitionkeydelete") {
            (
                "colls",
                link.trim_end_matches("/operations/partitionkeydelete").to_owned(),
            )
        } else if kind == "offers" {
            (kind, segments.get(1).unwrap_or(&"").to_lowercase())
        } else {
            (kind, link)
        };
        let text = format!(
            "{}\n{kind}\n{link}\n{}\n\n",
            method.to_lowercase(),
            self.date().to_lowercase()
        );
        let signature = self.key.sign(&text);
        let token = format!("type=master&ver=1.0&sig={signature}");
        token
            .replace('=', "%3D")
            .replace('&', "%26")
            .replace('+', "%2B")
            .replace('/', "%2F")
    }

    pub fn date(&self) -> String {
        http_semantics::date::format(self.clock.now())
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Reply {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path.replace(' ', "%20"))
            .header("host", "localhost:8081")
            .header("x-ms-date", self.date())
            .header("authorization", self.authorization(method, path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.raw(request.body(Body::full(body.into())).unwrap()).await
    }

    /// As clients ask by resource id: they sign the last one only, in lower case.
    pub async fn documents_get_by_rid(&self, path: &str, rid: &str) -> Reply {
        let kind = path.split('/').rev().nth(1).unwrap();
        let text = format!(
            "get\n{kind}\n{}\n{}\n\n",
            rid.to_lowercase(),
            self.date().to_lowercase()
        );
        let signature = self
            .key
            .sign(&text)
            .replace('+', "%2B")
            .replace('/', "%2F")
            .replace('=', "%3D");
        let request = Request::builder()
            .uri(path.replace('=', "%3D"))
            .header("host", "localhost:8081")
            .header("x-ms-date", self.date())
            .header(
                "authorization",
                format!("type%3Dmaster%26ver%3D1.0%26sig%3D{signature}"),
            );
        self.raw(request.body(Body::full(Vec::new())).unwrap()).await
    }

    pub async fn raw(&self, request: Request<Body>) -> Reply {
        let response = self.service.call(request).await;
        let (parts, body) = response.into_parts();
        let body = body.read_bounded(64 << 20).await.unwrap().to_vec();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub async fn json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        self.send(method, path, headers, body.to_string()).await
    }

    /// Database `d` with container `c`, keyed by `/pk`.
    pub async fn with_container(self, more: Value) -> Self {
        self.json("POST", "/dbs", &[], serde_json::json!({"id": "d"}))
            .await
            .expect(201);
        let mut container = serde_json::json!({
            "id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
        });
        for (name, value) in more.as_object().unwrap() {
            container[name] = value.clone();
        }
        self.json("POST", "/dbs/d/colls", &[], container)
            .await
            .expect(201);
        self
    }

    /// Every index entry fits its item and the other way round.
    pub async fn verify(&self) {
        let snapshot = self.ledger.snapshot().await.unwrap();
        let mut report = VerifyReport::default();
        self.documents
            .verify(snapshot.as_ref(), &mut report)
            .await
            .unwrap();
        assert_eq!(report.faults, Vec::<String>::new());
    }
}
