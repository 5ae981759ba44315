//! The whole service on memory, spoken to as clients do, with tokens of its own development issuer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blobs::Blobs;
use bytes::Bytes;
use content::ContentId;
use content::memory::MemoryContent;
use documents::Documents;
use http::{Request, StatusCode};
use http_semantics::{Body, RequestContext, Service};
use identity::{SharedKey, TokenIssuer, TokenVerifier};
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock, Ledger};
use platform_storage::{
    DecisionPoint, Development, EmbeddedDecisionPoint, Foundation, InternalService, Platform,
    PlatformService, PlatformTokens, Register, RegisterSource, Settings,
};
use serde_json::{Value, json};

pub const ORG: &str = "ttd";
pub const PARTY: &str = "501337";

/// A running service.
pub struct Bench {
    pub platform: Arc<Platform>,
    pub ledger: Arc<dyn Ledger>,
    pub clock: Arc<AdjustableClock>,
    pub policies: PathBuf,
    service: PlatformService,
    internal: InternalService,
    issuer: Arc<TokenIssuer>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.policies);
    }
}

/// Puts a ledger before another.
pub type Before = Box<dyn FnOnce(Arc<dyn Ledger>) -> Arc<dyn Ledger>>;

/// What a service may be set up with.
#[derive(Default)]
pub struct Options {
    pub scans: bool,
    pub refuse_infected: bool,
    pub portal_sync: bool,
    pub decision: Option<Arc<dyn DecisionPoint>>,
    /// What stands before the ledger.
    pub before_ledger: Option<Before>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {:?}", self.status, self.body))
    }
}

/// A request under construction.
#[derive(Clone)]
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: String,
    pub token: &'a str,
    pub headers: Vec<(&'a str, String)>,
    pub body: Bytes,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let Options {
            scans,
            refuse_infected,
            portal_sync,
            decision,
            before_ledger,
        } = options;
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let policies = std::env::temp_dir().join(format!("stabbur-policies-{}-{number}", std::process::id()));
        let clock = Arc::new(AdjustableClock::standing_at(
            jiff::Timestamp::from_second(1_800_000_000).unwrap(),
        ));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        let ledger = match before_ledger {
            Some(before) => before(ledger),
            None => ledger,
        };
        let random = Arc::new(SeededRandom::new(number + 1));
        let (ids, now) = (AtomicU64::new(1), clock.clone());
        let content = Arc::new(MemoryContent::new(Arc::new(move || {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&ids.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            (ContentId::from_bytes(id), now.now())
        })));
        let key = SharedKey::from_base64("c2VjcmV0LWtleQ==").unwrap();
        let documents = Documents::new(
            ledger.clone(),
            clock.clone(),
            random.clone(),
            documents::Settings::single("dev", key),
        );
        let blobs = Blobs::new(
            ledger.clone(),
            content,
            clock.clone(),
            random.clone(),
            blobs::Settings::default(),
        );
        let issuer = Arc::new(TokenIssuer::new(ledger.clone(), clock.clone(), "test"));
        let register = Arc::new(RegisterSource::fixed(Register::development()));
        let inside: Arc<dyn DecisionPoint> = Arc::new(EmbeddedDecisionPoint::new(
            policies.clone(),
            register.clone(),
            true,
        ));
        let foundation = Foundation {
            ledger: ledger.clone(),
            documents,
            blobs,
            clock: clock.clone(),
            random,
            verifier: TokenVerifier::new(issuer.clone(), clock.clone()),
            platform_tokens: PlatformTokens::new(BTreeMap::from(
                [Development::PLATFORM_ISSUER, ORG, "brg"].map(|name| {
                    let verifier = TokenVerifier::new(issuer.clone(), clock.clone());
                    (name.to_owned(), verifier)
                }),
            )),
            decision: decision.unwrap_or_else(|| inside.clone()),
            register: register.clone(),
        };
        let settings = Settings {
            documents_account: "dev".to_owned(),
            blobs_account: "dev".to_owned(),
            environment: "dev".to_owned(),
            platform_url: None,
            apps_url: None,
            scans,
            refuse_infected,
            portal_sync,
        };
        let platform = Platform::new(foundation, settings);
        Self {
            service: PlatformService::new(
                platform.clone(),
                Some(Development::new(issuer.clone(), register, clock.clone(), inside)),
            ),
            issuer,
            internal: InternalService::new(platform.clone()),
            platform,
            ledger,
            clock,
            policies,
        }
    }

    /// Sends a request; paths that begin with `/Home` or `http` are taken as they stand.
    pub async fn send(&self, ask: Ask<'_>) -> Answer {
        let path = match ask.path.strip_prefix("http://here") {
            Some(path) => path.to_owned(),
            None if ask.path.starts_with("/Home") || ask.path.contains("/api/v1") => ask.path.clone(),
            None => format!("/storage/api/v1{}", ask.path),
        };
        let mut request = Request::builder()
            .method(ask.method)
            .uri(path)
            .header("host", "here");
        if !ask.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", ask.token));
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let mut request = request.body(Body::full(ask.body)).unwrap();
        request.extensions_mut().insert(RequestContext {
            request_id: uuid::Uuid::nil(),
            peer: "127.0.0.1:1".parse().unwrap(),
            secure: false,
            listener: "platform".into(),
        });
        let response = self.service.call(request).await;
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.read_bounded(64 << 20).await.unwrap(),
        }
    }

    /// A request with a JSON body, or none if it is null.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: Value) -> Answer {
        let body = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        self.send(Ask {
            method,
            path: path.to_owned(),
            token,
            headers: vec![("content-type", "application/json".to_owned())],
            body,
        })
        .await
    }

    /// A call to the internal routes.
    pub async fn internal(&self, method: &str, path: &str) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(format!("/storage/api/v1{path}"))
            .body(Body::empty())
            .unwrap();
        let (parts, body) = self.internal.call(request).await.into_parts();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.read_bounded(1 << 20).await.unwrap(),
        }
    }

    async fn token(&self, path: &str) -> String {
        let answer = self.call("GET", &format!("/Home/{path}"), "", Value::Null).await;
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.body);
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// A platform token of an issuer: an org's code, or `platform`.
    pub async fn platform_token(&self, issuer: &str) -> String {
        let claims = json!({"urn:altinn:app": "app"}).as_object().unwrap().clone();
        self.issuer.issue(issuer, claims, 600).await.unwrap()
    }

    pub async fn user(&self, id: u32) -> String {
        self.token(&format!("GetTestUserToken/{id}?authenticationLevel=2"))
            .await
    }

    pub async fn org(&self, org: &str) -> String {
        let scopes = "altinn:serviceowner/instances.read";
        self.token(&format!(
            "GetTestOrgToken/{org}?orgNumber=991825827&scopes={scopes}"
        ))
        .await
    }

    pub async fn studio(&self) -> String {
        self.token("GetTestStudioToken").await
    }

    /// Publishes an app with the data types `model`, `temporary` and `signature`.
    pub async fn publish(&self, app: &str, more: Value) {
        let mut body = json!({
            "id": format!("{ORG}/{app}"), "org": ORG, "title": {"nb": "Skjema"},
            "dataTypes": [{"id": "model", "taskId": "Task_1"},
                {"id": "temporary", "appLogic": {"autoDeleteOnProcessEnd": true}}, {"id": "signature"},
                {"id": "guarded", "actionRequiredToRead": "read-guarded", "actionRequiredToWrite": "write-guarded"}],
        });
        for (name, value) in more.as_object().cloned().unwrap_or_default() {
            body[name] = value;
        }
        let studio = self.studio().await;
        let path = format!("/applications?appId={ORG}/{app}");
        let answer = self.call("POST", &path, &studio, body).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
    }

    /// A new instance in `Task_1`; the path of what is below it.
    pub async fn instance(&self, app: &str, token: &str) -> String {
        let body = json!({"instanceOwner": {"partyId": PARTY}, "process": in_task("Task_1", "data")});
        let answer = self
            .call("POST", &format!("/instances?appId={ORG}/{app}"), token, body)
            .await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        format!("/instances/{}", answer.json()["id"].as_str().unwrap())
    }

    /// A new element of the data type `model`; its path.
    pub async fn element(&self, instance: &str, kind: &str, token: &str, content: &'static [u8]) -> String {
        let answer = self
            .send(Ask {
                method: "POST",
                path: format!("{instance}/data?dataType={kind}"),
                token,
                headers: vec![("content-type", "application/xml".to_owned())],
                body: Bytes::from_static(content),
            })
            .await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        format!("{instance}/data/{}", answer.json()["id"].as_str().unwrap())
    }
}

/// A process in a task.
pub fn in_task(id: &str, kind: &str) -> Value {
    json!({"started": "2027-01-15T08:00:00Z", "startEvent": "Start", "currentTask": {
        "flow": 2, "elementId": id, "altinnTaskType": kind, "flowType": "CompleteCurrentMoveToNext"}})
}

/// A process that has ended.
pub fn ended() -> Value {
    json!({"started": "2027-01-15T08:00:00Z", "startEvent": "Start", "ended": "2027-01-15T08:00:00Z", "endEvent": "End"})
}
