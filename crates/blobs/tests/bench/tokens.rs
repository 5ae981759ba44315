//! An issuer of tokens, and the account with roles that they are for.

use std::sync::Arc;

use blobs::rules::roles::{Assignee, Assignment, Role};
use blobs::{Account, Bearer, Settings};
use content::ContentStore;
use http::Request;
use http_semantics::Body;
use identity::{TokenIssuer, Trust, TrustedIssuer};
use ledger::memory::MemoryLedger;
use ledger::{AdjustableClock, Clock, Ledger};
use serde_json::{Value, json};

use super::{ACCOUNT, Answer, Bench, bench_over, bench_with_clock};

pub(crate) const ISSUER: &str = "https://login.example.org/t/v2.0";
pub(crate) const TENANT: &str = "aaaaaaaa-0000-4000-8000-000000000000";

/// The object id of the principal that has a role.
pub(crate) fn object_id(role: Role) -> String {
    let number = Role::ALL.iter().position(|known| *known == role).unwrap();
    format!("00000000-0000-4000-8000-00000000000{number}")
}

/// Somebody without a role.
pub(crate) const NOBODY: &str = "00000000-0000-4000-8000-00000000000f";

/// A bench whose account has a principal for each role.
pub(crate) struct Estate {
    pub(crate) bench: Bench,
    pub(crate) issuer: Arc<TokenIssuer>,
}

pub(crate) fn estate() -> Estate {
    estate_with(|_| {})
}

/// With an account that is changed once more.
pub(crate) fn estate_with(set: impl FnOnce(&mut Account)) -> Estate {
    let clock = Arc::new(AdjustableClock::standing_at(
        jiff::Timestamp::from_second(1_700_000_000).unwrap(),
    ));
    let ledger = Arc::new(MemoryLedger::new(clock.clone()));
    let issuer = Arc::new(TokenIssuer::new(ledger, clock.clone(), "test"));
    estate_of(issuer, clock, set)
}

fn estate_of(
    issuer: Arc<TokenIssuer>,
    clock: Arc<AdjustableClock>,
    set: impl FnOnce(&mut Account),
) -> Estate {
    let settings = settings(&issuer, &clock, set);
    let bench = bench_with_clock(clock, settings);
    Estate { bench, issuer }
}

/// Roles for all, and one issuer.
fn settings<F: FnOnce(&mut Account)>(
    issuer: &Arc<TokenIssuer>,
    clock: &Arc<AdjustableClock>,
    set: F,
) -> impl FnOnce(&mut Settings) + use<F> {
    let shared: Arc<dyn Clock> = clock.clone();
    let trusted = TrustedIssuer {
        issuer: ISSUER.to_owned(),
        keys: issuer.clone(),
    };
    let trust = Trust::new(vec![trusted], &shared, 300);
    move |settings| {
        settings.host_suffixes = vec!["blob.example.org".to_owned()];
        settings.bearer = Some(Bearer {
            trust,
            tenant: TENANT.to_owned(),
            authorization_uri: format!("https://login.example.org/{TENANT}/oauth2/authorize"),
            audiences: vec!["https://blobs.example.org".to_owned()],
        });
        settings.accounts[0].roles = Role::ALL
            .into_iter()
            .map(|role| Assignment {
                role,
                assignee: Assignee::Principal(object_id(role)),
                container: None,
            })
            .collect();
        set(&mut settings.accounts[0]);
    }
}

impl Estate {
    /// Empty stores for the same issuer, whose key takes long to make.
    pub(crate) fn renewed(&self) -> Self {
        self.renewed_with(|_| {})
    }

    /// The same, with an account that is changed.
    pub(crate) fn renewed_with(&self, set: impl FnOnce(&mut Account)) -> Self {
        estate_of(self.issuer.clone(), self.bench.clock.clone(), set)
    }

    /// The same stores after a restart, with an account that is changed.
    pub(crate) fn over(
        &self,
        stores: (Arc<dyn Ledger>, Arc<dyn ContentStore>),
        set: impl FnOnce(&mut Account),
    ) -> Self {
        let clock = self.bench.clock.clone();
        let settings = settings(&self.issuer, &clock, set);
        Self {
            bench: bench_over(stores, clock, 2, settings),
            issuer: self.issuer.clone(),
        }
    }

    /// A token with the usual claims and those in `more`, of which null takes one away.
    pub(crate) async fn token_with(&self, object_id: &str, ttl_seconds: i64, more: &Value) -> String {
        let claims = json!({"aud": "https://storage.azure.com", "oid": object_id, "tid": TENANT});
        let mut claims = claims.as_object().cloned().unwrap();
        let mut issuer = ISSUER;
        for (name, value) in more.as_object().unwrap() {
            match (name.as_str(), value) {
                ("iss", value) => issuer = value.as_str().unwrap(),
                (name, Value::Null) => drop(claims.remove(name)),
                (name, value) => drop(claims.insert(name.to_owned(), value.clone())),
            }
        }
        self.issuer.issue(issuer, claims, ttl_seconds).await.unwrap()
    }

    pub(crate) async fn token(&self, object_id: &str) -> String {
        self.token_with(object_id, 3_600, &json!({})).await
    }

    /// Asks with a token, over TLS.
    pub(crate) async fn ask(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let authorization = format!("Bearer {token}");
        let mut all = vec![
            ("authorization", authorization.as_str()),
            ("x-ms-version", "2024-11-04"),
        ];
        all.extend(headers);
        self.bare(method, path, &all, body).await
    }

    /// Asks over TLS with these headers alone.
    pub(crate) async fn bare(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.bench
            .send_from("127.0.0.1", true, bare(method, path, headers, body))
            .await
    }
}

pub(crate) fn bare(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("/{ACCOUNT}{path}"))
        .header("host", "127.0.0.1:10000")
        .header("content-length", body.len());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::full(body.to_vec())).unwrap()
}

/// Status and code.
pub(crate) fn outcome(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.code().to_owned())
}
