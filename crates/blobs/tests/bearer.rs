//! Bearer tokens: which are taken, what is said of others, and what an account takes from nobody.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::tokens::{Estate, NOBODY, TENANT, bare, estate, estate_with, object_id, outcome};
use bench::{account_sas, bench_with, container_sas};
use blobs::rules::firewall::Network;
use blobs::rules::roles::{Assignee, Assignment, Role};
use serde_json::json;

const LIST: &str = "/?comp=list";

async fn asked(estate: &Estate, token: &str, version: &str) -> (u16, String, String) {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-ms-version", version),
    ];
    let answer = estate.bare("GET", LIST, &headers, b"").await;
    let (status, code) = outcome(&answer);
    (status, code, answer.header("www-authenticate").to_owned())
}

#[tokio::test]
async fn tokens_are_taken_for_what_they_say() {
    let estate = estate();
    let reader = object_id(Role::Reader);
    let challenge = format!(
        "Bearer authorization_uri=https://login.example.org/{TENANT}/oauth2/authorize resource_id=https://storage.azure.com"
    );
    let good = (200, String::new(), String::new());
    let bad = (401, "InvalidAuthenticationInfo".to_owned(), challenge.clone());
    let table = [
        (json!({}), &good),
        (json!({"aud": "https://storage.azure.com/"}), &good),
        (json!({"aud": "https://dev.blob.core.windows.net"}), &good),
        (json!({"aud": "https://dev.blob.example.org/"}), &good),
        (json!({"aud": "https://blobs.example.org"}), &good),
        (json!({"tid": TENANT.to_uppercase()}), &good),
        (json!({"tid": null}), &good),
        (json!({"aud": "https://other.blob.core.windows.net"}), &bad),
        (
            json!({"aud": "https://dev.blob.core.windows.net.example.org"}),
            &bad,
        ),
        (json!({"aud": "https://vault.azure.net"}), &bad),
        (json!({"aud": null}), &bad),
        (json!({"iss": "https://login.example.org/other/v2.0"}), &bad),
        (json!({"tid": "bbbbbbbb-0000-4000-8000-000000000000"}), &bad),
        (json!({"oid": null}), &bad),
        (json!({"oid": ""}), &bad),
    ];
    for (claims, expected) in table {
        let token = estate.token_with(&reader, 3_600, &claims).await;
        assert_eq!(&asked(&estate, &token, "2024-11-04").await, expected, "{claims}");
    }
    // The clocks may differ by five minutes.
    for (ttl, expected) in [(-299, &good), (-300, &bad)] {
        let token = estate.token_with(&reader, ttl, &json!({})).await;
        assert_eq!(&asked(&estate, &token, "2024-11-04").await, expected, "{ttl}");
    }
    let token = estate.token(&reader).await;
    let cut = token.rsplit_once('.').unwrap().0;
    for broken in ["x", "a.b.c", cut, &format!("{cut}.AAAA")] {
        assert_eq!(asked(&estate, broken, "2024-11-04").await, bad, "{broken}");
    }
    // Nobody's rights are none, which is another thing than not to be known.
    let nobody = estate.token(NOBODY).await;
    let refused = (403, "AuthorizationPermissionMismatch".to_owned(), String::new());
    assert_eq!(asked(&estate, &nobody, "2024-11-04").await, refused);
    assert_eq!(
        asked(&estate, "", "2024-11-04").await.1,
        "InvalidAuthenticationInfo"
    );
}

#[tokio::test]
async fn versions_of_before_know_no_tokens_or_no_challenge() {
    let estate = estate();
    let reader = object_id(Role::Reader);
    let (good, expired) = (
        estate.token(&reader).await,
        estate.token_with(&reader, -3_600, &json!({})).await,
    );
    let failed = (403, "AuthenticationFailed".to_owned(), String::new());
    for version in ["2017-07-29", "2009-09-19"] {
        assert_eq!(asked(&estate, &good, version).await, failed, "{version}");
    }
    assert_eq!(asked(&estate, &good, "2017-11-09").await.0, 200);
    assert_eq!(asked(&estate, &expired, "2019-07-07").await, failed);
    assert_eq!(asked(&estate, &expired, "2019-12-12").await.0, 401);
    let authorization = format!("Bearer {good}");
    let answer = estate
        .bare("GET", LIST, &[("authorization", &authorization)], b"")
        .await;
    assert_eq!(outcome(&answer), (403, "AuthenticationFailed".to_owned()));
}

#[tokio::test]
async fn tokens_go_over_tls_alone_and_strangers_are_told_where_to_get_one() {
    let estate = estate();
    let token = estate.token(&object_id(Role::Owner)).await;
    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-ms-version", "2024-11-04"),
    ];
    let answer = estate.bench.send(bare("GET", LIST, &headers, b"")).await;
    assert_eq!(outcome(&answer), (403, "AuthenticationFailed".to_owned()));
    assert!(
        answer.text().contains("<AuthenticationErrorDetail>"),
        "{}",
        answer.text()
    );
    let answer = estate
        .bare("GET", LIST, &[("x-ms-version", "2024-11-04")], b"")
        .await;
    assert_eq!(outcome(&answer), (401, "NoAuthenticationInformation".to_owned()));
    assert!(
        answer
            .header("www-authenticate")
            .starts_with("Bearer authorization_uri=https://")
    );
    // The scheme's case is nobody's business.
    let lower = format!("bearer {token}");
    let headers = [("authorization", lower.as_str()), ("x-ms-version", "2024-11-04")];
    assert_eq!(estate.bare("GET", LIST, &headers, b"").await.status, 200);
    let other = [("authorization", "Basic eDp5"), ("x-ms-version", "2024-11-04")];
    let answer = estate.bare("GET", LIST, &other, b"").await;
    assert_eq!(outcome(&answer), (400, "InvalidAuthenticationInfo".to_owned()));
    // Where no issuer is trusted, no token is taken.
    let closed = bench_with(true);
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-ms-version", "2024-11-04"),
    ];
    let answer = closed
        .send_from("127.0.0.1", true, bare("GET", LIST, &headers, b""))
        .await;
    assert_eq!(outcome(&answer), (403, "AuthenticationFailed".to_owned()));
}

#[tokio::test]
async fn groups_app_roles_and_containers_are_looked_at() {
    let given = |role, assignee, container: Option<&str>| Assignment {
        role,
        assignee,
        container: container.map(str::to_owned),
    };
    let estate = estate_with(|account| {
        account.roles = vec![
            given(Role::Reader, Assignee::Group("readers".to_owned()), None),
            given(
                Role::Contributor,
                Assignee::AppRole("Files.Write".to_owned()),
                Some("box"),
            ),
        ];
    });
    for name in ["/box", "/other"] {
        let path = format!("{name}?restype=container");
        assert_eq!(estate.bench.ask("PUT", &path, &[], b"").await.status, 201);
    }
    let claims = json!({"groups": ["x", "readers"]});
    let reader = estate.token_with(NOBODY, 3_600, &claims).await;
    let writer = estate
        .token_with(NOBODY, 3_600, &json!({"roles": ["Files.Write"]}))
        .await;
    let put = [("x-ms-blob-type", "BlockBlob")];
    let refused = (403, "AuthorizationPermissionMismatch".to_owned());
    let done = |status| (status, String::new());
    for (token, path, expected) in [
        (&reader, "/box/x", refused.clone()),
        (&writer, "/box/x", done(201)),
        (&writer, "/other/x", refused.clone()),
    ] {
        let answer = estate.ask(token, "PUT", path, &put, b"x").await;
        assert_eq!(outcome(&answer), expected, "{path}");
    }
    assert_eq!(
        outcome(&estate.ask(&reader, "GET", LIST, &[], b"").await),
        done(200)
    );
    assert_eq!(
        outcome(&estate.ask(&writer, "GET", LIST, &[], b"").await),
        refused
    );
    // A name with a blank is one name.
    let claims = json!({"groups": ["the readers"], "roles": "no Files.Write"});
    let other = estate.token_with(NOBODY, 3_600, &claims).await;
    assert_eq!(outcome(&estate.ask(&other, "GET", LIST, &[], b"").await), refused);
    let answer = estate.ask(&other, "PUT", "/box/x", &put, b"x").await;
    assert_eq!(outcome(&answer), refused);
    // A signature would name no group: no key that nothing could be done with.
    let path = "/?restype=service&comp=userdelegationkey";
    let body = b"<KeyInfo><Expiry>2023-11-15T00:00:00Z</Expiry></KeyInfo>";
    let answer = estate.ask(&reader, "POST", path, &[], body).await;
    assert_eq!(outcome(&answer), refused);
    assert!(answer.text().contains("group"), "{}", answer.text());
}

#[tokio::test]
async fn a_role_in_one_container_brings_no_other_one_back() {
    let estate = estate_with(|account| {
        account.roles = vec![Assignment {
            role: Role::Contributor,
            assignee: Assignee::Principal(NOBODY.to_owned()),
            container: Some("box".to_owned()),
        }];
    });
    let bench = &estate.bench;
    let keep = "<StorageServiceProperties><DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>\
                </DeleteRetentionPolicy></StorageServiceProperties>";
    let set = "/?restype=service&comp=properties";
    assert_eq!(bench.ask("PUT", set, &[], keep.as_bytes()).await.status, 202);
    let token = estate.token(NOBODY).await;
    for (name, expected) in [
        ("secret", (403, "AuthorizationPermissionMismatch".to_owned())),
        ("box", (201, String::new())),
    ] {
        let path = format!("/{name}?restype=container");
        assert_eq!(bench.ask("PUT", &path, &[], b"").await.status, 201);
        assert_eq!(bench.ask("DELETE", &path, &[], b"").await.status, 202);
        let deleted = format!("/?comp=list&include=deleted&prefix={name}");
        let text = bench.ask("GET", &deleted, &[], b"").await.text();
        let version = text
            .split("<Version>")
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        let headers = [
            ("x-ms-deleted-container-name", name),
            ("x-ms-deleted-container-version", version.unwrap()),
        ];
        let back = "/box?restype=container&comp=undelete";
        let answer = estate.ask(&token, "PUT", back, &headers, b"").await;
        assert_eq!(outcome(&answer), expected, "{name}");
    }
}

#[tokio::test]
async fn copies_read_their_source_as_the_caller_or_by_its_own_token() {
    let estate = estate();
    let bench = &estate.bench;
    bench.ask("PUT", "/box?restype=container", &[], b"").await;
    bench.put("/box/x", b"content").await;
    bench.put("/box/to", b"old").await;
    let (owner, reader, delegator) = (
        estate.token(&object_id(Role::Owner)).await,
        estate.token(&object_id(Role::Reader)).await,
        estate.token(&object_id(Role::Delegator)).await,
    );
    let source = ("x-ms-copy-source", "http://127.0.0.1:10000/dev/box/x");
    let kind = ("x-ms-blob-type", "BlockBlob");
    let answer = estate.ask(&owner, "PUT", "/box/to", &[source, kind], b"").await;
    assert_eq!(outcome(&answer), (201, String::new()), "{}", answer.text());
    let own = |token: &str| format!("Bearer {token}");
    let (by_reader, by_delegator) = (own(&reader), own(&delegator));
    // A caller who may only write, with a source for which another one speaks.
    let sas = account_sas("w", "o", "2030-01-01T00:00:00Z");
    let block = format!("/box/to?comp=block&blockid=MDAx&{sas}");
    let put = format!("/box/to?{sas}");
    for path in [&block, &put] {
        let headers = |authorization| {
            [
                source,
                kind,
                ("x-ms-version", "2024-11-04"),
                ("x-ms-copy-source-authorization", authorization),
            ]
        };
        let answer = estate.bare("PUT", path, &headers(&by_reader), b"").await;
        assert_eq!(
            outcome(&answer),
            (201, String::new()),
            "{path}: {}",
            answer.text()
        );
        let refused = |status| (status, "CannotVerifyCopySource".to_owned());
        let answer = estate.bare("PUT", path, &headers(&by_delegator), b"").await;
        assert_eq!(outcome(&answer), refused(403), "{path}");
        let answer = estate.bare("PUT", path, &headers("Bearer x"), b"").await;
        assert_eq!(outcome(&answer), refused(401), "{path}");
        assert_eq!(answer.header("www-authenticate"), "", "{path}");
        let answer = estate.bare("PUT", path, &headers("SharedKey dev:x"), b"").await;
        assert_eq!(outcome(&answer), refused(400), "{path}");
        // Without it the source is closed.
        let answer = estate
            .bare("PUT", path, &[source, kind, ("x-ms-version", "2024-11-04")], b"")
            .await;
        assert_eq!(answer.code(), "CannotVerifyCopySource", "{path}");
        // Nor is a token for the source heard by others.
        let plain = bare("PUT", path, &headers(&by_reader), b"");
        let answer = bench.send(plain).await;
        assert_eq!(outcome(&answer), refused(403), "{path}");
    }
}

#[tokio::test]
async fn a_principal_reads_sources_with_its_roles_there() {
    let given = |role, container: &str| Assignment {
        role,
        assignee: Assignee::Principal(NOBODY.to_owned()),
        container: Some(container.to_owned()),
    };
    let estate = estate_with(|account| {
        account.roles = vec![given(Role::Contributor, "box"), given(Role::Reader, "open")];
    });
    for name in ["box", "open", "closed"] {
        let path = format!("/{name}?restype=container");
        assert_eq!(estate.bench.ask("PUT", &path, &[], b"").await.status, 201);
        estate.bench.put(&format!("/{name}/x"), b"content").await;
    }
    let token = estate.token(NOBODY).await;
    for (name, expected) in [("open", (202, "")), ("closed", (403, "CannotVerifyCopySource"))] {
        let source = format!("http://127.0.0.1:10000/dev/{name}/x");
        let answer = estate
            .ask(&token, "PUT", "/box/to", &[("x-ms-copy-source", &source)], b"")
            .await;
        assert_eq!((answer.status.as_u16(), answer.code()), expected, "{name}");
    }
}

#[tokio::test]
async fn a_batchs_parts_have_their_own_tokens() {
    let estate = estate();
    estate.bench.ask("PUT", "/box?restype=container", &[], b"").await;
    for name in ["/box/a", "/box/b"] {
        estate.bench.put(name, b"content").await;
    }
    let owner = estate.token(&object_id(Role::Owner)).await;
    let reader = estate.token(&object_id(Role::Reader)).await;
    let part = |path: &str, token: &str| {
        format!(
            "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n\
             DELETE /dev{path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    let body = format!("{}{}--b--\r\n", part("/box/a", &owner), part("/box/b", &reader));
    let kind = [("content-type", "multipart/mixed; boundary=b")];
    // Who may do nothing sends a batch all the same: its parts say who asks.
    let nobody = estate.token(NOBODY).await;
    let answer = estate
        .ask(&nobody, "POST", "/?comp=batch", &kind, body.as_bytes())
        .await;
    assert_eq!(outcome(&answer), (202, String::new()), "{}", answer.text());
    let text = answer.text();
    assert!(text.contains("202 Accepted"), "{text}");
    assert!(
        text.contains("x-ms-error-code: AuthorizationPermissionMismatch"),
        "{text}"
    );
    assert_eq!(estate.ask(&reader, "GET", "/box/b", &[], b"").await.status, 200);
    assert_eq!(estate.ask(&reader, "GET", "/box/a", &[], b"").await.status, 404);
}

#[tokio::test]
async fn keys_count_only_where_the_account_lets_them() {
    let estate = estate_with(|account| account.allows_shared_key = false);
    let refused = (403, "KeyBasedAuthenticationNotPermitted".to_owned());
    let answer = estate.bench.ask("PUT", "/box?restype=container", &[], b"").await;
    assert_eq!(outcome(&answer), refused);
    let later = "2030-01-01T00:00:00Z";
    for sas in [account_sas("r", "o", later), container_sas("r", later)] {
        let answer = estate.bare("GET", &format!("/box/x?{sas}"), &[], b"").await;
        assert_eq!(outcome(&answer), refused, "{sas}");
    }
    let token = estate.token(&object_id(Role::Contributor)).await;
    let answer = estate
        .ask(&token, "PUT", "/box?restype=container", &[], b"")
        .await;
    assert_eq!(outcome(&answer), (201, String::new()));
}

#[tokio::test]
async fn an_account_may_demand_tls_and_know_its_networks() {
    let estate = estate_with(|account| {
        account.https_only = true;
        account.networks = vec![
            Network::parse("10.0.0.0/8").unwrap(),
            Network::parse("::1").unwrap(),
        ];
    });
    let sas = account_sas("l", "s", "2030-01-01T00:00:00Z");
    let list = format!("{LIST}&{sas}");
    for (peer, secure, expected) in [
        ("10.1.2.3", true, (200, "")),
        ("::ffff:10.1.2.3", true, (200, "")),
        ("::1", true, (200, "")),
        ("10.1.2.3", false, (400, "AccountRequiresHttps")),
        ("11.0.0.1", true, (403, "AuthorizationFailure")),
    ] {
        let answer = estate
            .bench
            .send_from(peer, secure, bare("GET", &list, &[], b""))
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            expected,
            "{peer} {secure}"
        );
        // Whoever isn't let in learns nothing of the account's rules for browsers either.
        let origin = [
            ("origin", "https://example.org"),
            ("access-control-request-method", "GET"),
        ];
        let preflight = bare("OPTIONS", "/box", &origin, b"");
        let answer = estate.bench.send_from(peer, secure, preflight).await;
        let refused = match expected {
            (200, _) => (403, "CorsPreflightFailure"),
            refused => refused,
        };
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            refused,
            "{peer} {secure}"
        );
    }
}
