//! Uploads and blobs through the service's own front.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{bench, bytes, open_settings, request, sha256};
use bytes::Bytes;
use http_semantics::{Body, BodyError};
use registry::rules::digest::{Algorithm, Digest};

#[tokio::test]
async fn blobs_come_back_whole_and_in_ranges() {
    let bench = bench();
    for length in [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000] {
        let content = bytes(length);
        let digest = bench.blob("a/b", &content).await;
        let path = format!("/v2/a%2Fb/blobs/{digest}");
        let whole = bench.get(&path).await;
        assert_eq!((whole.status, &whole.body[..]), (200, &content[..]));
        assert_eq!(whole.header("docker-content-digest"), digest.as_str());
        assert_eq!(whole.header("accept-ranges"), "bytes");
        let head = bench.ask("HEAD", &path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), length.to_string());
        let ranged = bench.ask("GET", &path, &[("range", "bytes=10-19")], b"").await;
        if length > 10 {
            assert_eq!((ranged.status, &ranged.body[..]), (206, &content[10..20]));
            assert_eq!(ranged.header("content-range"), format!("bytes 10-19/{length}"));
            let last = bench.ask("GET", &path, &[("range", "bytes=-3")], b"").await;
            assert_eq!((last.status, &last.body[..]), (206, &content[length - 3..]));
        } else {
            assert_eq!(ranged.status, 416);
            assert_eq!(ranged.header("content-range"), format!("bytes */{length}"));
        }
        let tag = format!("\"{digest}\"");
        assert_eq!(
            bench
                .ask("GET", &path, &[("if-none-match", &tag)], b"")
                .await
                .status,
            304
        );
    }
    assert_eq!(bench.verify().await, 2);
}

#[tokio::test]
async fn chunks_are_appended_in_order_alone() {
    let bench = bench();
    let content = bytes(90_000);
    let at = bench.begin("a").await;
    assert!(at.starts_with("/v2/a/blobs/uploads/"), "{at} is relative");
    assert_eq!(bench.get(&at).await.header("range"), "0-0");
    let patch =
        async |range: &str, part: &[u8]| bench.ask("PATCH", &at, &[("content-range", range)], part).await;
    let first = patch("0-39999", &content[..40_000]).await;
    assert_eq!((first.status, first.header("range")), (202, "0-39999"));
    let gap = patch("50000-59999", &content[50_000..60_000]).await;
    assert_eq!(gap.failure(), (416, "BLOB_UPLOAD_INVALID".to_owned()));
    assert_eq!(
        (gap.header("range"), gap.header("location")),
        ("0-39999", at.as_str())
    );
    let twice = patch("0-39999", &content[..40_000]).await;
    assert_eq!(twice.status, 416);
    let sized = bench
        .ask(
            "PATCH",
            &at,
            &[("content-range", "40000-40009"), ("content-length", "9")],
            b"123456789",
        )
        .await;
    assert_eq!(sized.failure(), (400, "SIZE_INVALID".to_owned()));
    let bad = patch("x", b"y").await;
    assert_eq!(bad.failure(), (400, "BLOB_UPLOAD_INVALID".to_owned()));
    let more = bench.ask("PATCH", &at, &[], &content[40_000..50_000]).await;
    assert_eq!((more.status, more.header("range")), (202, "0-49999"));
    let digest = sha256(&content);
    let put = format!("{at}?digest={digest}");
    let wrong = bench.ask("PUT", &put, &[("content-range", "0-3")], b"1234").await;
    assert_eq!(wrong.status, 416);
    let done = bench
        .ask(
            "PUT",
            &put,
            &[("content-range", "50000-89999")],
            &content[50_000..],
        )
        .await;
    assert_eq!(done.status, 201, "{:?}", done.json());
    assert_eq!(done.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(bench.get(&format!("/v2/a/blobs/{digest}")).await.body, content);
    for (first, last) in [(0, 0), (39_999, 40_000), (45_000, 89_999), (50_000, 50_000)] {
        let range = format!("bytes={first}-{last}");
        let part = bench
            .ask("GET", &format!("/v2/a/blobs/{digest}"), &[("range", &range)], b"")
            .await;
        assert_eq!(part.body, content[first..=last], "{range}");
    }
    assert_eq!(
        bench.get(&at).await.failure(),
        (404, "BLOB_UPLOAD_UNKNOWN".to_owned())
    );
    bench.verify().await;
}

#[tokio::test]
async fn an_upload_goes_on_in_another_process() {
    let bench = bench();
    let content = bytes(50_000);
    let digest = Digest::of(Algorithm::Sha512, &content);
    let at = bench.begin("a").await;
    assert_eq!(bench.ask("PATCH", &at, &[], &content[..20_000]).await.status, 202);
    let again = bench::over(
        bench.ledger.clone(),
        bench.content.clone(),
        bench.clock.clone(),
        open_settings(),
        99,
    );
    assert_eq!(again.get(&at).await.header("range"), "0-19999");
    assert_eq!(
        again
            .ask("PATCH", &at, &[], &content[20_000..30_000])
            .await
            .status,
        202
    );
    // The hash that was kept is SHA-256: the pieces are read again.
    let done = again
        .ask("PUT", &format!("{at}?digest={digest}"), &[], &content[30_000..])
        .await;
    assert_eq!(done.status, 201, "{:?}", done.json());
    assert_eq!(again.get(&format!("/v2/a/blobs/{digest}")).await.body, content);
}

#[tokio::test]
async fn what_came_of_a_body_that_broke_off_is_kept() {
    let bench = bench();
    let content = bytes(60_000);
    let at = bench.begin("a").await;
    let cut = Body::stream(futures::stream::iter([
        Ok(Bytes::from(content[..25_000].to_vec())),
        Err(BodyError::Truncated("connection closed".to_owned())),
    ]));
    let broken = bench
        .send(request("PATCH", &at, &[("content-length", "60000")], cut))
        .await;
    assert_eq!(broken.failure(), (400, "SIZE_INVALID".to_owned()));
    assert_eq!(bench.get(&at).await.header("range"), "0-24999");
    let digest = sha256(&content);
    let done = bench
        .ask("PUT", &format!("{at}?digest={digest}"), &[], &content[25_000..])
        .await;
    assert_eq!(done.status, 201);
    assert_eq!(bench.get(&format!("/v2/a/blobs/{digest}")).await.body, content);
    // A blob in one request leaves nothing.
    let cut = Body::stream(futures::stream::iter([
        Ok(Bytes::from(bytes(20_000))),
        Err(BodyError::Truncated("connection closed".to_owned())),
    ]));
    let whole = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"other"));
    let broken = bench
        .send(request("POST", &whole, &[("content-length", "60000")], cut))
        .await;
    assert_eq!(broken.status, 400);
    assert_eq!(bench.verify().await, 2);
}

#[tokio::test]
async fn a_wrong_digest_ends_an_upload_and_shows_nothing() {
    let bench = bench();
    let at = bench.begin("a").await;
    bench.ask("PATCH", &at, &[], &bytes(20_000)).await;
    let wrong = sha256(b"something else");
    let refused = bench.ask("PUT", &format!("{at}?digest={wrong}"), &[], b"").await;
    assert_eq!(refused.failure(), (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(bench.get(&at).await.status, 404);
    assert_eq!(
        bench.get(&format!("/v2/a/blobs/{wrong}")).await.code(),
        "BLOB_UNKNOWN"
    );
    for bad in [
        "",
        "sha256:abc",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "nonsense",
    ] {
        let at = bench.begin("a").await;
        let refused = bench.ask("PUT", &format!("{at}?digest={bad}"), &[], b"x").await;
        assert_eq!(refused.failure(), (400, "DIGEST_INVALID".to_owned()), "{bad}");
        assert_eq!(bench.delete(&at).await.status, 204);
        assert_eq!(bench.delete(&at).await.status, 404);
    }
    let posted = format!("/v2/a/blobs/uploads/?digest={wrong}");
    assert_eq!(
        bench.ask("POST", &posted, &[], b"x").await.code(),
        "DIGEST_INVALID"
    );
    let algorithm = "/v2/a/blobs/uploads/?digest-algorithm=md5";
    assert_eq!(
        bench.ask("POST", algorithm, &[], b"").await.code(),
        "DIGEST_INVALID"
    );
    bench.collect().await;
    assert_eq!(bench.verify().await, 0);
}

#[tokio::test]
async fn blobs_are_mounted_within_a_registry_alone() {
    let bench = bench();
    let content = bytes(30_000);
    let digest = bench.blob("a", &content).await;
    let mount = async |query: &str, host: &str| {
        let path = format!("/v2/b/blobs/uploads/?mount={digest}{query}");
        bench.ask("POST", &path, &[("host", host)], b"").await
    };
    assert_eq!(bench.get(&format!("/v2/b/blobs/{digest}")).await.status, 404);
    assert_eq!(mount("&from=nothing", "dev.cr.test").await.status, 202);
    assert_eq!(mount("&from=a", "other.cr.test").await.status, 202);
    assert_eq!(mount("", "other.cr.test").await.status, 202);
    assert_eq!(mount("&from=a", "dev.cr.test").await.status, 201);
    assert_eq!(bench.get(&format!("/v2/b/blobs/{digest}")).await.body, content);
    assert_eq!(bench.delete(&format!("/v2/b/blobs/{digest}")).await.status, 202);
    assert_eq!(bench.get(&format!("/v2/b/blobs/{digest}")).await.status, 404);
    assert_eq!(mount("", "dev.cr.test").await.status, 201);
    // Another registry pushes the same bytes: one copy, and a link of its own.
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let pushed = bench
        .ask("POST", &path, &[("host", "other.cr.test")], &content)
        .await;
    assert_eq!(pushed.status, 201);
    // The older one goes when nobody reads it any longer.
    bench.clock.advance_seconds(2 * 3_600 + 1);
    bench.collect().await;
    assert_eq!(bench.verify().await, 1);
    let unknown = bench.ask("GET", "/v2/", &[("host", "none.cr.test")], b"").await;
    assert_eq!(unknown.failure(), (404, "REGISTRY_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_quota_refuses_and_deletions_give_back() {
    let mut settings = open_settings();
    settings.registries[0].quota_bytes = Some(100_000);
    let bench = bench::bench_with(settings);
    let first = bench.blob("a", &bytes(60_000)).await;
    // The same bytes count once.
    bench.blob("b", &bytes(60_000)).await;
    let second = &bytes(60_001)[1..];
    let path = format!("/v2/a/blobs/uploads/?digest={}", sha256(second));
    let headers = [("content-length", "60000")];
    let refused = bench.ask("POST", &path, &headers, second).await;
    assert_eq!(refused.failure(), (403, "DENIED".to_owned()));
    let at = bench.begin("a").await;
    assert_eq!(bench.ask("PATCH", &at, &headers, second).await.code(), "DENIED");
    assert_eq!(bench.get(&at).await.header("range"), "0-0");
    for repository in ["a", "b"] {
        assert_eq!(
            bench
                .delete(&format!("/v2/{repository}/blobs/{first}"))
                .await
                .status,
            202
        );
    }
    bench.collect().await;
    assert_eq!(bench.ask("POST", &path, &headers, second).await.status, 201);
}

#[tokio::test]
async fn names_and_paths_have_their_own_errors() {
    let bench = bench();
    for (method, path, expected) in [
        ("GET", "/v2/UPPER/tags/list", (400, "NAME_INVALID")),
        ("GET", "/v2/a/tags/list", (404, "NAME_UNKNOWN")),
        ("GET", "/v2/a/tags/list?n=x", (400, "PAGINATION_NUMBER_INVALID")),
        ("GET", "/v2/a/manifests/v1", (404, "MANIFEST_UNKNOWN")),
        ("GET", "/v2/a/manifests/-v1", (404, "MANIFEST_UNKNOWN")),
        ("GET", "/v2/a/manifests/sha256:1", (404, "MANIFEST_UNKNOWN")),
        ("DELETE", "/v2/a/manifests/.v1", (404, "MANIFEST_UNKNOWN")),
        ("PUT", "/v2/a/manifests/-v1", (400, "TAG_INVALID")),
        ("PUT", "/v2/a/manifests/sha256:1", (400, "DIGEST_INVALID")),
        ("GET", "/v2/a/blobs/sha256:1", (400, "DIGEST_INVALID")),
        ("GET", "/v2/a/referrers/sha256:1", (400, "DIGEST_INVALID")),
        ("GET", "/v2/a/blobs/uploads/1", (404, "BLOB_UPLOAD_UNKNOWN")),
        ("GET", "/v2/nothing", (404, "NAME_UNKNOWN")),
        ("POST", "/v2/", (405, "UNSUPPORTED")),
        ("PUT", "/v2/a/tags/list", (405, "UNSUPPORTED")),
        ("POST", "/acr/v1/_metadata/_query", (405, "UNSUPPORTED")),
        ("GET", "/acr/v1/_deleted/a/_tags", (404, "NAME_UNKNOWN")),
        ("GET", "/acr/v1/a", (404, "NAME_UNKNOWN")),
    ] {
        let (status, code) = expected;
        assert_eq!(
            bench.ask(method, path, &[], b"").await.failure(),
            (status, code.to_owned()),
            "{path}"
        );
    }
    assert_eq!(bench.get("/v2").await.status, 200);
    assert_eq!(bench.get("/v2/").await.body, "{}");
}

#[tokio::test]
async fn idle_uploads_are_given_up() {
    let bench = bench();
    let at = bench.begin("a").await;
    bench.ask("PATCH", &at, &[], &bytes(20_000)).await;
    bench.clock.advance_seconds(23 * 3_600);
    bench.ask("PATCH", &at, &[], &bytes(20_000)).await;
    bench.clock.advance_seconds(2 * 3_600);
    assert_eq!(bench.collect().await.uploads, 0);
    assert_eq!(bench.get(&at).await.status, 204);
    bench.clock.advance_seconds(23 * 3_600);
    let outcome = bench.collect().await;
    assert_eq!(outcome.uploads, 1);
    assert_eq!(bench.collect().await.contents, 2);
    assert_eq!(bench.get(&at).await.status, 404);
    assert_eq!(bench.verify().await, 0);
}
