//! Who may what: every operation refused bare, and what roles, tokens and passwords open.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{Answer, Bench, bench_with, open_settings, sha256};
use identity::{PasswordHash, TokenIssuer, Trust, TrustedIssuer};
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{Clock, Ledger};
use registry::rules::grants::{Action, Grant, Pattern, Role};
use registry::{Assignee, Assignment, Bearer, Password, Registry, Settings, User};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";
const HOST: (&str, &str) = ("host", "ttd.cr.test:443");
const TENANT: &str = "tenant";
const ISSUER: &str = "https://login.test/";

fn user(name: &str, roles: &[Role], repositories: &str) -> User {
    let actions: Vec<Action> = roles.iter().flat_map(|role| role.actions()).collect();
    // Hashing costs time: all have the same password.
    static HASH: std::sync::OnceLock<PasswordHash> = std::sync::OnceLock::new();
    let hash = HASH.get_or_init(|| PasswordHash::make(PASSWORD.as_bytes(), &SeededRandom::new(1)));
    User {
        name: name.to_owned(),
        passwords: vec![Password {
            hash: hash.clone(),
            expires: None,
        }],
        grants: vec![Grant {
            repositories: Pattern::parse(repositories).unwrap(),
            actions,
        }],
    }
}

fn settings(bearer: Option<Bearer>) -> Settings {
    let mut registry = Registry::new("ttd");
    registry.users = vec![
        user("reader", &[Role::Pull], "*"),
        user("writer", &[Role::Push], "team/*"),
        user("owner", &[Role::Owner], "*"),
    ];
    registry.assignments = vec![Assignment {
        assignee: Assignee::Group("pushers".to_owned()),
        grant: Grant {
            repositories: Pattern::All,
            actions: Role::Push.actions(),
        },
    }];
    let mut other = Registry::new("skd");
    other.users = vec![user("owner", &[Role::Owner], "*")];
    Settings {
        registries: vec![registry, other],
        host_suffixes: vec!["cr.test".to_owned()],
        default_registry: None,
        bearer,
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

async fn ask(bench: &Bench, method: &str, path: &str, authorization: &str, body: &[u8]) -> Answer {
    let mut headers = vec![HOST];
    if !authorization.is_empty() {
        headers.push(("authorization", authorization));
    }
    bench.ask(method, path, &headers, body).await
}

/// A token for a scope, as `Bearer` has it.
async fn token(bench: &Bench, user: &str, scope: &str) -> String {
    let path = format!("/oauth2/token?service=ttd.cr.test:443&scope={scope}");
    let found = ask(bench, "GET", &path, &basic(user, PASSWORD), b"").await;
    assert_eq!(found.status, 200, "{:?}", found.json());
    format!("Bearer {}", found.json()["access_token"].as_str().unwrap())
}

/// Every operation: method, path, what its challenge asks for.
fn operations() -> Vec<(&'static str, String, &'static str)> {
    let digest = sha256(b"x");
    let upload = "11111111-1111-4111-8111-111111111111";
    vec![
        ("GET", "/v2/".to_owned(), ""),
        ("GET", "/v2/_catalog".to_owned(), "registry:catalog:*"),
        (
            "GET",
            format!("/v2/team/a/blobs/{digest}"),
            "repository:team/a:pull",
        ),
        (
            "HEAD",
            format!("/v2/team/a/blobs/{digest}"),
            "repository:team/a:pull",
        ),
        (
            "DELETE",
            format!("/v2/team/a/blobs/{digest}"),
            "repository:team/a:delete",
        ),
        (
            "POST",
            "/v2/team/a/blobs/uploads/".to_owned(),
            "repository:team/a:pull,push",
        ),
        (
            "GET",
            format!("/v2/team/a/blobs/uploads/{upload}"),
            "repository:team/a:pull,push",
        ),
        (
            "PATCH",
            format!("/v2/team/a/blobs/uploads/{upload}"),
            "repository:team/a:pull,push",
        ),
        (
            "PUT",
            format!("/v2/team/a/blobs/uploads/{upload}"),
            "repository:team/a:pull,push",
        ),
        (
            "DELETE",
            format!("/v2/team/a/blobs/uploads/{upload}"),
            "repository:team/a:pull,push",
        ),
        (
            "GET",
            "/v2/team/a/manifests/v1".to_owned(),
            "repository:team/a:pull",
        ),
        (
            "PUT",
            "/v2/team/a/manifests/v1".to_owned(),
            "repository:team/a:pull,push",
        ),
        (
            "DELETE",
            "/v2/team/a/manifests/v1".to_owned(),
            "repository:team/a:delete",
        ),
        ("GET", "/v2/team/a/tags/list".to_owned(), "repository:team/a:pull"),
        (
            "GET",
            format!("/v2/team/a/referrers/{digest}"),
            "repository:team/a:pull",
        ),
        ("GET", "/acr/v1/_catalog".to_owned(), "registry:catalog:*"),
        (
            "GET",
            "/acr/v1/team/a".to_owned(),
            "repository:team/a:metadata_read",
        ),
        (
            "PATCH",
            "/acr/v1/team/a".to_owned(),
            "repository:team/a:metadata_write",
        ),
        ("DELETE", "/acr/v1/team/a".to_owned(), "repository:team/a:delete"),
        (
            "GET",
            "/acr/v1/team/a/_tags".to_owned(),
            "repository:team/a:metadata_read",
        ),
        (
            "GET",
            "/acr/v1/team/a/_tags/v1".to_owned(),
            "repository:team/a:metadata_read",
        ),
        (
            "PATCH",
            "/acr/v1/team/a/_tags/v1".to_owned(),
            "repository:team/a:metadata_write",
        ),
        (
            "DELETE",
            "/acr/v1/team/a/_tags/v1".to_owned(),
            "repository:team/a:delete",
        ),
        (
            "GET",
            "/acr/v1/team/a/_manifests".to_owned(),
            "repository:team/a:metadata_read",
        ),
        (
            "GET",
            format!("/acr/v1/team/a/_manifests/{digest}"),
            "repository:team/a:metadata_read",
        ),
        (
            "GET",
            "/acr/v1/_deleted/_catalog".to_owned(),
            "registry:deleted_catalog:*",
        ),
        (
            "GET",
            "/acr/v1/_deleted/team/a/_manifests".to_owned(),
            "repository:team/a:deleted_read",
        ),
        (
            "GET",
            "/acr/v1/_deleted/team/a/_tags".to_owned(),
            "repository:team/a:deleted_read",
        ),
        (
            "POST",
            format!("/acr/v1/_deleted/team/a/_manifests/{digest}"),
            "repository:team/a:deleted_restore",
        ),
        (
            "PATCH",
            format!("/acr/v1/team/a/_manifests/{digest}"),
            "repository:team/a:metadata_write",
        ),
        (
            "DELETE",
            format!("/acr/v1/team/a/_manifests/{digest}"),
            "repository:team/a:delete",
        ),
    ]
}

#[tokio::test]
async fn every_operation_is_refused_bare_and_says_what_it_needs() {
    let bench = bench_with(settings(None));
    for (method, path, scope) in operations() {
        let answer = ask(&bench, method, &path, "", b"").await;
        assert_eq!(answer.status, 401, "{method} {path}");
        let mut expected =
            "Bearer realm=\"http://ttd.cr.test:443/oauth2/token\",service=\"ttd.cr.test:443\"".to_owned();
        if !scope.is_empty() {
            expected.push_str(&format!(",scope=\"{scope}\""));
        }
        assert_eq!(answer.header("www-authenticate"), expected, "{method} {path}");
        for bad in ["Bearer nonsense", "Basic nonsense", "Digest x"] {
            assert_eq!(
                ask(&bench, method, &path, bad, b"").await.status,
                401,
                "{method} {path} {bad}"
            );
        }
        // A client whose token ended asks for another one for the same.
        let expired = ask(&bench, method, &path, "Bearer nonsense", b"").await;
        let expected = format!("{expected},error=\"invalid_token\"");
        assert_eq!(expired.header("www-authenticate"), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_granted_is_what_is_permitted() {
    let bench = bench_with(settings(None));
    let logins = [
        ("reader", Role::Pull),
        ("owner", Role::Owner),
        ("writer", Role::Push),
    ];
    for (user, role) in logins {
        for (method, path, scope) in operations() {
            let names: Vec<&str> = scope.rsplit(':').next().unwrap().split(',').collect();
            let needed: Vec<Action> = names.iter().filter_map(|name| Action::parse(name)).collect();
            let permitted = match scope {
                "" => true,
                "registry:catalog:*" => user != "writer",
                "registry:deleted_catalog:*" => user == "owner",
                _ => needed.iter().all(|action| role.actions().contains(action)),
            };
            let answers = [
                ask(&bench, method, &path, &basic(user, PASSWORD), b"").await,
                ask(&bench, method, &path, &token(&bench, user, scope).await, b"").await,
            ];
            for answer in answers {
                assert_eq!(
                    answer.status != 401,
                    permitted,
                    "{user} {method} {path}: {}",
                    answer.status
                );
                if !permitted {
                    assert!(
                        answer
                            .header("www-authenticate")
                            .ends_with("error=\"insufficient_scope\"")
                    );
                }
            }
        }
    }
    // Elsewhere nothing is said of whether something is there.
    let writer = basic("writer", PASSWORD);
    let forbidden = ask(&bench, "GET", "/v2/other/manifests/v1", &writer, b"").await;
    let unknown = ask(&bench, "GET", "/v2/nothing/manifests/v1", &writer, b"").await;
    assert_eq!((forbidden.status, unknown.status), (401, 401));
}

#[tokio::test]
async fn passwords_and_tokens_that_are_not_good_open_nothing() {
    let adjustable = bench_with(settings(None));
    let bench = &adjustable;
    let path = "/v2/team/a/tags/list";
    for (name, password) in [
        ("reader", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("reader", ""),
    ] {
        assert_eq!(
            ask(bench, "GET", path, &basic(name, password), b"").await.status,
            401,
            "{name}"
        );
        let asked = ask(
            bench,
            "GET",
            "/oauth2/token?service=s",
            &basic(name, password),
            b"",
        )
        .await;
        assert_eq!(asked.status, 401, "{name}");
    }
    let good = token(bench, "reader", "repository:team/a:pull").await;
    assert_eq!(ask(bench, "GET", path, &good, b"").await.status, 404);
    // For another repository, another registry, and at another time.
    assert_eq!(
        ask(bench, "GET", "/v2/team/b/tags/list", &good, b"").await.status,
        401
    );
    let elsewhere = [("host", "skd.cr.test"), ("authorization", good.as_str())];
    assert_eq!(bench.ask("GET", path, &elsewhere, b"").await.status, 401);
    let tampered = format!("{good}x");
    assert_eq!(ask(bench, "GET", path, &tampered, b"").await.status, 401);
    bench.clock.advance_seconds(601);
    assert_eq!(ask(bench, "GET", path, &good, b"").await.status, 401);
    // Docker would keep a refresh token in the password's place, and be out when that ends.
    let asked = "/oauth2/token?service=s&offline_token=true&scope=repository:team/a:pull,push";
    let found = ask(bench, "GET", asked, &basic("reader", PASSWORD), b"")
        .await
        .json();
    assert!(found.get("refresh_token").is_none());
    let form =
        format!("grant_type=password&username=reader&password={PASSWORD}&access_type=offline&service=s");
    let found = ask(bench, "POST", "/oauth2/token", "", form.as_bytes()).await;
    assert_eq!((found.status, found.json().get("refresh_token")), (200, None));
    for bad in [
        "",
        "grant_type=password&username=reader&password=x",
        "grant_type=refresh_token&refresh_token=x",
    ] {
        let status = ask(bench, "POST", "/oauth2/token", "", bad.as_bytes())
            .await
            .status;
        assert!(status == 400 || status == 401, "{bad}: {status}");
    }
}

#[tokio::test]
async fn anonymous_pull_is_a_setting_and_lists_no_catalog() {
    let mut settings = settings(None);
    settings.registries[0].anonymous_pull = true;
    let bench = bench_with(settings);
    assert_eq!(
        ask(&bench, "GET", "/v2/team/a/tags/list", "", b"").await.status,
        404
    );
    for (method, path) in [
        ("GET", "/v2/"),
        ("GET", "/v2/_catalog"),
        ("POST", "/v2/team/a/blobs/uploads/"),
    ] {
        assert_eq!(ask(&bench, method, path, "", b"").await.status, 401, "{path}");
    }
    let asked = "/oauth2/token?service=s&scope=repository:team/a:pull,push&scope=registry:catalog:*";
    let found = ask(&bench, "GET", asked, "", b"").await.json();
    let nobody = format!("Bearer {}", found["token"].as_str().unwrap());
    assert_eq!(
        ask(&bench, "GET", "/v2/team/a/tags/list", &nobody, b"")
            .await
            .status,
        404
    );
    assert_eq!(ask(&bench, "GET", "/v2/", &nobody, b"").await.status, 200);
    assert_eq!(ask(&bench, "GET", "/v2/_catalog", &nobody, b"").await.status, 401);
    assert_eq!(
        ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &nobody, b"")
            .await
            .status,
        401
    );
    let sdk = b"grant_type=password&service=s&scope=repository:team/a:pull&refresh_token=";
    assert_eq!(ask(&bench, "POST", "/oauth2/token", "", sdk).await.status, 200);
}

#[tokio::test]
async fn an_organisation_s_token_is_exchanged() {
    let clock: Arc<dyn Clock> = bench::clock();
    let keys: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone()));
    let issuer = Arc::new(TokenIssuer::new(keys, clock.clone(), "login"));
    let trusted = TrustedIssuer {
        issuer: ISSUER.to_owned(),
        keys: issuer.clone(),
    };
    let bearer = Bearer {
        trust: Trust::new(vec![trusted], &clock, 0),
        tenant: TENANT.to_owned(),
        audiences: Vec::new(),
    };
    let bench = bench_with(settings(Some(bearer)));
    let exchange = async |claims: Value| {
        let claims = claims.as_object().cloned().unwrap();
        let token = issuer.issue(ISSUER, claims, 600).await.unwrap();
        let form = format!("grant_type=access_token&service=ttd.cr.test&tenant=x&access_token={token}");
        ask(&bench, "POST", "/oauth2/exchange", "", form.as_bytes()).await
    };
    let audience = "https://containerregistry.azure.net";
    for bad in [
        json!({"oid": "me", "tid": TENANT, "aud": "https://storage.azure.com"}),
        json!({"oid": "me", "tid": "another", "aud": audience}),
        json!({"tid": TENANT, "aud": audience}),
    ] {
        assert_eq!(exchange(bad.clone()).await.status, 401, "{bad}");
    }
    let scope = "repository:team/a:pull,push,delete";
    for (groups, expected) in [(json!(["pushers", "x"]), 202), (json!(["x"]), 401)] {
        let claims = json!({"oid": "me", "tid": TENANT, "aud": audience, "groups": groups});
        let refresh = exchange(claims).await;
        assert_eq!(refresh.status, 200, "{:?}", refresh.json());
        let refresh = refresh.json()["refresh_token"].as_str().unwrap().to_owned();
        let form = format!("grant_type=refresh_token&service=s&scope={scope}&refresh_token={refresh}");
        let access = ask(&bench, "POST", "/oauth2/token", "", form.as_bytes())
            .await
            .json();
        let access = format!("Bearer {}", access["access_token"].as_str().unwrap());
        let begun = ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &access, b"").await;
        assert_eq!(begun.status, expected);
        let deleted = ask(&bench, "DELETE", "/v2/team/a/manifests/v1", &access, b"").await;
        assert_eq!(deleted.status, 401, "nobody gave it");
    }
    // A refresh token isn't an access token, and gives none out past what it is for or when it ends.
    let claims = json!({"oid": "me", "tid": TENANT, "aud": audience, "groups": ["pushers"]});
    let refresh = exchange(claims).await.json()["refresh_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = "/v2/team/a/tags/list";
    let bearer = format!("Bearer {refresh}");
    assert_eq!(ask(&bench, "GET", path, &bearer, b"").await.status, 401);
    let as_password = |token: &str| basic("00000000-0000-0000-0000-000000000000", token);
    let asked = "/oauth2/token?service=s&offline_token=true&scope=repository:team/a:pull";
    let by_refresh = ask(&bench, "GET", asked, &as_password(&refresh), b"")
        .await
        .json();
    assert!(by_refresh.get("refresh_token").is_none());
    bench.clock.advance_seconds(300);
    let access = as_password(by_refresh["token"].as_str().unwrap());
    let by_access = ask(&bench, "GET", asked, &access, b"").await.json();
    assert_eq!(by_access["expires_in"], 300);
    let upload = "/v2/team/a/blobs/uploads/";
    assert_eq!(ask(&bench, "POST", upload, &access, b"").await.status, 401);
    assert_eq!(
        ask(&bench, "GET", path, &as_password(&refresh), b"").await.status,
        404
    );
    bench.clock.advance_seconds(3 * 3_600);
    assert_eq!(
        ask(&bench, "GET", path, &as_password(&refresh), b"").await.status,
        401
    );
    let without = bench_with(open_settings());
    assert_eq!(
        without.ask("POST", "/oauth2/exchange", &[], b"").await.status,
        400
    );
}

#[tokio::test]
async fn an_upload_is_its_caller_s() {
    let bench = bench_with(settings(None));
    let (owner, writer) = (basic("owner", PASSWORD), basic("writer", PASSWORD));
    let begun = ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &writer, b"").await;
    let at = begun.header("location").to_owned();
    assert_eq!(
        ask(&bench, "GET", &at, &owner, b"").await.code(),
        "BLOB_UPLOAD_UNKNOWN"
    );
    assert_eq!(ask(&bench, "PATCH", &at, &owner, b"x").await.status, 404);
    let elsewhere = at.replace("team/a", "team/b");
    assert_eq!(ask(&bench, "PATCH", &elsewhere, &writer, b"x").await.status, 404);
    assert_eq!(ask(&bench, "PATCH", &at, &writer, b"x").await.status, 202);
    for _ in 1..64 {
        assert_eq!(
            ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &writer, b"")
                .await
                .status,
            202
        );
    }
    let refused = ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &writer, b"").await;
    assert_eq!(
        (refused.failure(), refused.header("retry-after")),
        ((429, "TOOMANYREQUESTS".to_owned()), "60")
    );
    let owned = ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &owner, b"").await;
    assert_eq!(owned.status, 202);
    let owned = owned.header("location").to_owned();
    // What was left alone for long makes way; what goes on stays, and so does what is another one's.
    bench.clock.advance_seconds(5 * 60);
    assert_eq!(ask(&bench, "PATCH", &at, &writer, b"y").await.status, 202);
    for _ in 0..63 {
        let begun = ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &writer, b"").await;
        assert_eq!(begun.status, 202);
    }
    let refused = ask(&bench, "POST", "/v2/team/a/blobs/uploads/", &writer, b"").await;
    assert_eq!(refused.status, 429);
    assert_eq!(ask(&bench, "GET", &at, &writer, b"").await.status, 204);
    assert_eq!(ask(&bench, "GET", &owned, &owner, b"").await.status, 204);
}

#[tokio::test]
async fn a_bad_token_opens_nothing_where_nobody_must_log_in() {
    let mut anonymous = settings(None);
    anonymous.registries[0].anonymous_pull = true;
    let mut open = settings(None);
    open.registries[0].open = true;
    for settings in [anonymous, open] {
        let bench = bench_with(settings);
        for (method, path, _) in operations() {
            let refused = ask(&bench, method, &path, "Bearer nonsense", b"").await;
            assert_eq!(refused.status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a_mirror_s_client_is_served_by_the_registry_that_it_names() {
    let bench = bench_with(settings(None));
    let path = "/v2/team/a/tags/list?n=1&ns=SKD.cr.test";
    let bare = ask(&bench, "GET", path, "", b"").await;
    let expected = "Bearer realm=\"http://ttd.cr.test:443/oauth2/token?ns=skd.cr.test\",\
                    service=\"skd.cr.test\",scope=\"repository:team/a:pull\"";
    assert_eq!((bare.status, bare.header("www-authenticate")), (401, expected));
    let asked = "/oauth2/token?ns=skd.cr.test&service=skd.cr.test&scope=repository:team/a:pull,push";
    let found = ask(&bench, "GET", asked, &basic("owner", PASSWORD), b"")
        .await
        .json();
    let token = format!("Bearer {}", found["token"].as_str().unwrap());
    let elsewhere = ask(&bench, "GET", "/v2/team/a/tags/list", &token, b"").await;
    assert_eq!(elsewhere.status, 401, "the token is the other registry's");
    let upload = format!(
        "/v2/team/a/blobs/uploads/?ns=skd.cr.test&digest={}",
        sha256(b"{}")
    );
    assert_eq!(ask(&bench, "POST", &upload, &token, b"{}").await.status, 201);
    let blob = sha256(b"{}");
    let image = bench::image_of(&blob, &blob).to_string();
    for tag in ["a", "b"] {
        let path = format!("/v2/team/a/manifests/{tag}?ns=skd.cr.test");
        assert_eq!(
            ask(&bench, "PUT", &path, &token, image.as_bytes()).await.status,
            201
        );
    }
    let page = ask(&bench, "GET", path, &token, b"").await;
    let link = "</v2/team/a/tags/list?last=a&n=1&orderby=&ns=SKD.cr.test>; rel=\"next\"";
    assert_eq!((page.status, page.header("link")), (200, link));
}
