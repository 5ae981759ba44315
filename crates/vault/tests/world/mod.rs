//! A vault on memory, and those who call it.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what a test expects may end it"
)]

use std::sync::Arc;

use http::{Request, StatusCode};
use http_semantics::{Body, RequestContext, Service as _};
use identity::{TokenIssuer, Trust, TrustedIssuer};
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock, Ledger, Random};
use serde_json::{Value, json};
use vault::rules::attributes::Recovery;
use vault::rules::names::Kind;
use vault::rules::roles::{Assignee, Assignment, Role};
use vault::seal::{RootKey, Seal};
use vault::{Bearer, Settings, Vault, Vaults};

pub(crate) const ISSUER: &str = "https://login.example/t";
pub(crate) const TENANT: &str = "t";
pub(crate) const HOST: &str = "acme.vault.example";
pub(crate) const START: i64 = 1_800_000_000;

pub(crate) struct World {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) clock: Arc<AdjustableClock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) issuer: Arc<TokenIssuer>,
    pub(crate) vaults: Arc<Vaults>,
    pub(crate) settings: Settings,
    pub(crate) folder: tempfile::TempDir,
}

/// An answer, read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) json: Value,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn inner(&self) -> &str {
        self.json["error"]["innererror"]["code"]
            .as_str()
            .unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
        self.json
    }

    /// Checks status and code, with the finer one behind a slash.
    #[track_caller]
    pub(crate) fn is(&self, status: u16, code: &str) {
        let found = if self.inner().is_empty() {
            self.code().to_owned()
        } else {
            format!("{}/{}", self.code(), self.inner())
        };
        assert_eq!(
            (self.status.as_u16(), found.as_str()),
            (status, code),
            "{}",
            self.text
        );
    }
}

/// Who has a role for all of the vault: the role's place among all, as an object id.
pub(crate) fn holder(role: Role) -> String {
    format!(
        "role-{}",
        Role::ALL.iter().position(|known| *known == role).unwrap()
    )
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Vault)) -> Self {
        let start = jiff::Timestamp::from_second(START).unwrap();
        let clock = Arc::new(AdjustableClock::standing_at(start));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        Self::over(ledger, clock, change).await
    }

    /// Another installation.
    pub(crate) async fn elsewhere() -> Self {
        let start = jiff::Timestamp::from_second(START).unwrap();
        let clock = Arc::new(AdjustableClock::standing_at(start));
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
        Self::seeded(12, ledger, clock, |_| {}).await
    }

    pub(crate) async fn over(
        ledger: Arc<dyn Ledger>,
        clock: Arc<AdjustableClock>,
        change: impl FnOnce(&mut Vault),
    ) -> Self {
        Self::seeded(11, ledger, clock, change).await
    }

    async fn seeded(
        seed: u64,
        ledger: Arc<dyn Ledger>,
        clock: Arc<AdjustableClock>,
        change: impl FnOnce(&mut Vault),
    ) -> Self {
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(seed));
        let issuer = Arc::new(TokenIssuer::new(
            Arc::new(MemoryLedger::new(clock.clone())),
            clock.clone(),
            "test",
        ));
        let mut vault = Vault::new("acme");
        vault.assignments = Role::ALL
            .into_iter()
            .map(|role| Assignment {
                role,
                assignee: Assignee::Principal(holder(role)),
                object: None,
            })
            .collect();
        let object = |role, kind, name: &str| Assignment {
            role,
            assignee: Assignee::Principal("one-object".to_owned()),
            object: Some((kind, name.to_owned())),
        };
        vault
            .assignments
            .push(object(Role::SecretsOfficer, Kind::Secret, "mine"));
        vault
            .assignments
            .push(object(Role::CryptoOfficer, Kind::Key, "mine"));
        change(&mut vault);
        let other = Vault {
            recovery: Recovery {
                days: 7,
                purge_protection: true,
            },
            name: "other".to_owned(),
            audit_days: None,
            assignments: vault.assignments.clone(),
        };
        let keys: Arc<dyn identity::KeySource> = issuer.clone();
        let trusted = TrustedIssuer {
            issuer: ISSUER.to_owned(),
            keys,
        };
        let shared: Arc<dyn Clock> = clock.clone();
        let settings = Settings {
            vaults: vec![vault, other],
            host_suffixes: vec!["Vault.example".to_owned()],
            ports: Some(vec![8443]),
            loopback_vault: None,
            bearer: Some(Bearer {
                trust: Trust::new(vec![trusted], &shared, 0),
                tenant: TENANT.to_owned(),
                authorization: ISSUER.to_owned(),
                audiences: vec!["https://vault.azure.net".to_owned()],
            }),
        };
        let folder = tempfile::tempdir().unwrap();
        RootKey::make_file(&folder.path().join("root.key"), random.as_ref()).unwrap();
        let mut world = Self {
            vaults: Vaults::new(
                ledger.clone(),
                clock.clone(),
                random.clone(),
                Arc::new(Seal::sealed(ledger.clone(), "not yet")),
                settings.clone(),
            ),
            ledger,
            clock,
            random,
            issuer,
            settings,
            folder,
        };
        world.reopen().await;
        world
    }

    pub(crate) fn root(&self) -> RootKey {
        RootKey::from_file(&self.folder.path().join("root.key")).unwrap()
    }

    pub(crate) async fn seal(&self, roots: Vec<RootKey>) -> Arc<Seal> {
        let names: Vec<String> = self
            .settings
            .vaults
            .iter()
            .map(|vault| vault.name.clone())
            .collect();
        Seal::open(self.ledger.clone(), self.random.as_ref(), roots, &names)
            .await
            .unwrap()
    }

    /// As after a restart.
    pub(crate) async fn reopen(&mut self) {
        let seal = self.seal(vec![self.root()]).await;
        self.restart_with(seal);
    }

    pub(crate) fn restart_with(&mut self, seal: Arc<Seal>) {
        self.vaults = Vaults::new(
            self.ledger.clone(),
            self.clock.clone(),
            self.random.clone(),
            seal,
            self.settings.clone(),
        );
    }

    pub(crate) async fn token_of(&self, oid: &str, aud: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut claims = json!({"aud": aud, "oid": oid, "tid": TENANT, "appid": "app", "upn": "me@example"});
        change(&mut claims);
        let claims = claims.as_object().cloned().unwrap();
        self.issuer.issue(ISSUER, claims, 3_600).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.vaults.call(request).await;
        let (parts, body) = response.into_parts();
        let bytes = body.read_bounded(64 << 20).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            json: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        }
    }

    pub(crate) fn request(
        method: &str,
        host: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Request<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("user-agent", "test")
            .header("x-ms-client-request-id", "client-1");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut request = request.body(Body::full(body.to_owned())).unwrap();
        request.extensions_mut().insert(RequestContext {
            request_id: uuid::Uuid::from_u128(5),
            peer: "192.0.2.7:1".parse().unwrap(),
            secure: true,
            listener: "vault".into(),
        });
        request
    }

    /// A call by somebody, with an api-version.
    pub(crate) async fn by(&self, oid: &str, method: &str, path: &str, body: Value) -> Answer {
        self.at(HOST, oid, method, path, body).await
    }

    pub(crate) async fn at(&self, host: &str, oid: &str, method: &str, path: &str, body: Value) -> Answer {
        let token = self.token_of(oid, "https://vault.example", |_| {}).await;
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = if path.contains("api-version") {
            path.to_owned()
        } else {
            format!("{path}{separator}api-version=7.6")
        };
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.send(Self::request(method, host, &path, Some(&token), &body))
            .await
    }

    /// A call by an administrator.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.by(&holder(Role::Administrator), method, path, body).await
    }

    pub(crate) async fn audit(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        vault::audit::read(self.ledger.as_ref(), "acme", 0, |_, row| {
            rows.push(serde_json::from_slice(row).unwrap());
        })
        .await
        .unwrap();
        rows
    }
}
