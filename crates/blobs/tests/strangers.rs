//! What depends on the version that a request names, or on regions and namespaces that don't exist here.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::versions::{LATER, refused};
use bench::{KEY, account_sas, bench_at, with_container};
use http::Request;
use http_semantics::Body;

#[tokio::test]
async fn who_does_not_sign_finds_nothing_before_the_version_that_challenges() {
    let bench = with_container().await;
    bench.put("/box/x", b"1").await;
    let requests = [
        ("GET", "/box/x"),
        ("HEAD", "/box/x"),
        ("GET", "/box/none"),
        ("PUT", "/box/x"),
        ("DELETE", "/box/x"),
        ("GET", "/?comp=list"),
        ("GET", "/none?restype=container&comp=list"),
        ("GET", "/box/x?comp=tags"),
    ];
    let (challenged, unknown) = ((401, "NoAuthenticationInformation"), (404, "ResourceNotFound"));
    for (method, path) in requests {
        for (version, expected) in [
            ("2019-12-12", challenged),
            ("2024-11-04", challenged),
            ("2019-07-07", unknown),
            ("2009-09-19", unknown),
        ] {
            let answer = bench.bare(method, path, &[("x-ms-version", version)]).await;
            assert_eq!(refused(&answer), expected, "{method} {path} {version}");
            let challenge = answer.header("www-authenticate").is_empty();
            assert_eq!(challenge, expected == unknown, "{method} {path} {version}");
        }
    }
    // Without a version it is the account's default one, or the oldest.
    let unversioned = || {
        let request = Request::get("/dev/box/x").header("host", "127.0.0.1:10000");
        bench.send(request.body(Body::empty()).unwrap())
    };
    assert_eq!(refused(&unversioned().await), unknown);
    for (version, expected) in [("2020-02-10", challenged), ("2018-11-09", unknown)] {
        let body = format!(
            "<StorageServiceProperties><DefaultServiceVersion>{version}</DefaultServiceVersion>\
             </StorageServiceProperties>"
        );
        let path = "/?restype=service&comp=properties";
        assert_eq!(bench.ask("PUT", path, &[], body.as_bytes()).await.status, 202);
        assert_eq!(refused(&unversioned().await), expected, "{version}");
    }
    // Who signs is told what is wrong with the signature, in any version.
    let forged = format!("/box/x?{}", account_sas("r", "o", LATER).replace("sig=", "sig=A"));
    let answer = bench
        .bare("GET", &forged, &[("x-ms-version", "2018-11-09")])
        .await;
    assert_eq!(refused(&answer), (403, "AuthenticationFailed"));
}

#[tokio::test]
async fn policies_with_later_permissions_are_not_shown_to_early_versions() {
    let bench = with_container().await;
    let path = "/box?restype=container&comp=acl";
    for (permissions, shown) in [
        ("rwdl", true),
        ("", true),
        ("rc", false),
        ("a", false),
        ("racwdxyltmei", false),
    ] {
        let body = format!(
            "<SignedIdentifiers><SignedIdentifier><Id>p</Id><AccessPolicy><Permission>{permissions}</Permission>\
             </AccessPolicy></SignedIdentifier></SignedIdentifiers>"
        );
        assert_eq!(bench.ask("PUT", path, &[], body.as_bytes()).await.status, 200);
        assert_eq!(bench.ask("GET", path, &[], b"").await.status, 200);
        for (version, old) in [("2014-02-14", true), ("2015-04-05", false)] {
            let path = format!("{path}&{}", account_sas("rwdl", "c", LATER));
            let answer = bench.bare("GET", &path, &[("x-ms-version", version)]).await;
            let expected = match shown || !old {
                true => (200, ""),
                false => (409, "FeatureVersionMismatch"),
            };
            assert_eq!(refused(&answer), expected, "{permissions} {version}");
        }
    }
}

#[tokio::test]
async fn statistics_are_as_of_an_account_without_a_secondary() {
    let bench = bench_at("blob.example.org");
    let stats = "/?restype=service&comp=stats";
    let answer = bench.ask("GET", stats, &[], b"").await;
    assert_eq!(refused(&answer), (400, "InvalidQueryParameterValue"));
    let uri = format!("/dev-secondary{stats}");
    let signed = bench.signed("GET", &uri, &[], 0, KEY);
    let answer = bench.send(signed.body(Body::empty()).unwrap()).await;
    assert_eq!(
        refused(&answer),
        (403, "InsufficientAccountPermissions"),
        "{}",
        answer.text()
    );
    let answer = bench.bare("GET", stats, &[]).await;
    assert_eq!(refused(&answer), (401, "NoAuthenticationInformation"));
}

#[tokio::test]
async fn expiry_is_for_hierarchical_namespaces() {
    let bench = with_container().await;
    bench.put("/box/x", b"1").await;
    let headers = [
        ("x-ms-expiry-option", "RelativeToNow"),
        ("x-ms-expiry-time", "1000"),
    ];
    for name in ["x", "none"] {
        let path = format!("/box/{name}?comp=expiry");
        let answer = bench.ask("PUT", &path, &headers, b"").await;
        assert_eq!(
            refused(&answer),
            (400, "HierarchicalNamespaceNotEnabled"),
            "{name}"
        );
    }
    let read = format!("/box/x?comp=expiry&{}", account_sas("r", "o", LATER));
    let answer = bench.bare("PUT", &read, &headers).await;
    assert_eq!(refused(&answer), (403, "AuthorizationPermissionMismatch"));
}
