//! Whole requests to the vault: hosts, paths, queries, bodies, tokens. A request without a token gets a good
//! one, so that what is behind it is reached as well.
#![no_main]

use std::sync::{Arc, LazyLock};

use fuzz_requests::{Stores, block_on, request, serve};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use identity::{TokenIssuer, Trust, TrustedIssuer};
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use vault::rules::roles::{Assignee, Assignment, Role};
use vault::seal::{RootKey, Seal};
use vault::{Bearer, Settings, Vault, Vaults};

const ISSUER: &str = "https://login/tenant";

/// An issuer with a key, a token of it, and the file of a root key.
static ONCE: LazyLock<(Arc<TokenIssuer>, HeaderValue, std::path::PathBuf)> = LazyLock::new(|| {
    let stores = Stores::new();
    let clock: Arc<dyn ledger::Clock> = stores.clock.clone();
    let issuer = Arc::new(TokenIssuer::new(stores.ledger.clone(), clock, "fuzz"));
    let claims = json!({"aud": "https://vault.localhost", "oid": "me", "tid": "tenant"});
    let claims = claims.as_object().cloned().unwrap_or_default();
    let token = block_on(issuer.issue(ISSUER, claims, 3_600)).expect("a token");
    let path = std::env::temp_dir().join(format!("vault-fuzz-{}.key", std::process::id()));
    RootKey::make_file(&path, stores.random.as_ref()).expect("a root key");
    let header = HeaderValue::try_from(format!("Bearer {token}")).expect("a header");
    (issuer, header, path)
});

fuzz_target!(|data: &[u8]| {
    let Some(mut request) = request(data) else { return };
    let (issuer, token, path) = &*ONCE;
    let stores = Stores::new();
    let host = HeaderValue::from_static("dev.vault.localhost");
    request.headers_mut().insert("host", host);
    request.headers_mut().entry(AUTHORIZATION).or_insert(token.clone());
    let clock: Arc<dyn ledger::Clock> = stores.clock.clone();
    let mut vault = Vault::new("dev");
    vault.assignments = vec![Assignment {
        role: Role::Administrator,
        assignee: Assignee::Principal("me".to_owned()),
        object: None,
    }];
    let trusted = TrustedIssuer {
        issuer: ISSUER.to_owned(),
        keys: issuer.clone(),
    };
    let settings = Settings {
        vaults: vec![vault],
        host_suffixes: vec!["vault.localhost".to_owned()],
        ports: None,
        loopback_vault: None,
        bearer: Some(Bearer {
            trust: Trust::new(vec![trusted], &clock, 0),
            tenant: "tenant".to_owned(),
            authorization: ISSUER.to_owned(),
            audiences: Vec::new(),
        }),
    };
    block_on(async {
        let root = RootKey::from_file(path).expect("the root key");
        let names = ["dev".to_owned()];
        let seal = Seal::open(stores.ledger.clone(), stores.random.as_ref(), vec![root], &names).await;
        let seal = seal.expect("a ledger on memory");
        let vaults = Vaults::new(stores.ledger.clone(), clock, stores.random.clone(), seal, settings);
        for body in [
            ("PUT", "/secrets/a?api-version=7.6", r#"{"value":"v"}"#),
            ("POST", "/keys/k/create?api-version=7.6", r#"{"kty":"EC"}"#),
        ] {
            let text = format!("{} {}\n\n{}", body.0, body.1, body.2);
            let mut first = fuzz_requests::request(text.as_bytes()).expect("a request");
            first.headers_mut().insert("host", HeaderValue::from_static("dev.vault.localhost"));
            first.headers_mut().insert(AUTHORIZATION, token.clone());
            serve(vaults.as_ref(), first).await;
        }
        serve(vaults.as_ref(), request).await;
    });
});
