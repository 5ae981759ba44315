//! Manifests, tags, referrers and lists through the service's own front.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{bench, bytes, described, image_of, index_of, sha256};
use registry::rules::digest::{Algorithm, Digest};
use registry::rules::manifest::OCI_MANIFEST;
use serde_json::{Value, json};

#[tokio::test]
async fn a_manifest_comes_back_as_it_was_sent() {
    let bench = bench();
    let config = bench.blob("a", b"{}").await;
    let layer = bench.blob("a", &bytes(20_000)).await;
    // Odd spacing must survive.
    let text = format!("\n {} \n", image_of(&config, &layer));
    let path = "/v2/a/manifests/v1";
    let headers = [(
        "content-type",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
    )];
    let pushed = bench.ask("PUT", path, &headers, text.as_bytes()).await;
    let digest = sha256(text.as_bytes());
    assert_eq!(pushed.status, 201, "{:?}", pushed.json());
    assert_eq!(pushed.header("location"), format!("/v2/a/manifests/{digest}"));
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/a/manifests/{reference}");
        let got = bench
            .ask("GET", &path, &[("accept", "application/unheard-of")], b"")
            .await;
        assert_eq!((got.status, &got.body[..]), (200, text.as_bytes()));
        assert_eq!(got.header("content-type"), OCI_MANIFEST);
        let head = bench.ask("HEAD", &path, &[], b"").await;
        assert_eq!(head.header("content-length"), text.len().to_string());
        assert_eq!(head.header("docker-content-digest"), digest.as_str());
    }
    let sha512 = Digest::of(Algorithm::Sha512, text.as_bytes());
    let path = format!("/v2/a/manifests/{sha512}?tag=x&tag=y");
    let pushed = bench.ask("PUT", &path, &headers, text.as_bytes()).await;
    let tags: Vec<_> = pushed
        .headers
        .get_all("oci-tag")
        .iter()
        .map(|tag| tag.to_str().unwrap())
        .collect();
    assert_eq!((pushed.status, tags), (201, vec!["x", "y"]));
    assert_eq!(
        bench
            .get("/v2/a/manifests/y")
            .await
            .header("docker-content-digest"),
        sha512.as_str()
    );
    let wrong = format!("/v2/a/manifests/{}", sha256(b""));
    assert_eq!(
        bench.ask("PUT", &wrong, &headers, text.as_bytes()).await.code(),
        "DIGEST_INVALID"
    );
    bench.verify().await;
}

#[tokio::test]
async fn what_a_manifest_refers_to_must_be_there() {
    let bench = bench();
    let config = bench.blob("a", b"{}").await;
    let layer = bench.blob("b", b"elsewhere").await;
    let image = image_of(&config, &layer);
    let refused = bench.manifest("a", "v1", &image).await;
    assert_eq!(refused.failure(), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    assert_eq!(refused.json()["errors"][0]["detail"]["digest"], layer.as_str());
    assert_eq!(bench.get("/v2/a/tags/list").await.code(), "NAME_UNKNOWN");
    bench.blob("a", b"elsewhere").await;
    assert_eq!(bench.manifest("a", "v1", &image).await.status, 201);
    let missing = index_of(&[&sha256(b"nothing")]);
    assert_eq!(
        bench.manifest("a", "i", &missing).await.code(),
        "MANIFEST_BLOB_UNKNOWN"
    );
    let child = sha256(image.to_string().as_bytes());
    let index = index_of(&[&child]);
    assert_eq!(bench.manifest("a", "i", &index).await.status, 201);
    let nested = index_of(&[&sha256(index.to_string().as_bytes())]);
    assert_eq!(bench.manifest("a", "n", &nested).await.status, 201);
    let mut foreign = image_of(&config, &layer);
    foreign["layers"] = json!([described(
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        &sha256(b"afar"),
        4
    )]);
    assert_eq!(bench.manifest("a", "f", &foreign).await.status, 201);
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    let path = "/v2/a/manifests/large";
    assert_eq!(
        bench
            .ask("PUT", path, &[("content-type", OCI_MANIFEST)], &large)
            .await
            .status,
        413
    );
    let bad = bench
        .ask("PUT", path, &[("content-type", OCI_MANIFEST)], b"{")
        .await;
    assert_eq!(bad.failure(), (400, "MANIFEST_INVALID".to_owned()));
    // In use: it stays.
    let used = bench.delete(&format!("/v2/a/blobs/{layer}")).await;
    assert_eq!(used.failure(), (405, "UNSUPPORTED".to_owned()));
    bench.verify().await;
}

#[tokio::test]
async fn tags_are_listed_page_by_page_in_byte_order() {
    let bench = bench();
    for tag in ["b", "A", "a", "_", "v1.10", "v1.9"] {
        bench.image("a/x", tag, b"one").await;
    }
    let all = ["A", "_", "a", "b", "v1.10", "v1.9"];
    assert_eq!(
        bench.get("/v2/a/x/tags/list").await.json(),
        json!({"name": "a/x", "tags": all})
    );
    let (mut found, mut next): (Vec<String>, _) = (Vec::new(), "/v2/a/x/tags/list?n=4".to_owned());
    while !next.is_empty() {
        let page = bench.get(&next).await;
        let tags: Vec<String> = serde_json::from_value(page.json()["tags"].clone()).unwrap();
        found.extend(tags);
        let link = page.header("link").to_owned();
        next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(found, all);
    let none = bench.get("/v2/a/x/tags/list?n=0").await;
    assert_eq!(
        (none.json()["tags"].clone(), none.header("link")),
        (json!([]), "")
    );
    let behind = bench.get("/v2/a/x/tags/list?last=aa").await;
    assert_eq!(behind.json()["tags"], json!(["b", "v1.10", "v1.9"]));
    let exact = bench.get("/v2/a/x/tags/list?n=6").await;
    assert_eq!(exact.header("link"), "");
    bench.image("b", "t", b"one").await;
    let catalog = bench.get("/v2/_catalog?n=1").await;
    assert_eq!(catalog.json(), json!({"repositories": ["a/x"]}));
    assert_eq!(
        catalog.header("link"),
        "</v2/_catalog?last=a/x&n=1&orderby=>; rel=\"next\""
    );
    assert_eq!(
        bench.get("/v2/_catalog?last=a/x").await.json(),
        json!({"repositories": ["b"]})
    );
}

#[tokio::test]
async fn a_tag_moves_and_goes_and_a_digest_takes_its_tags_along() {
    let bench = bench();
    let first = bench.image("a", "v1", b"one").await;
    let second = bench.image("a", "v2", b"two").await;
    bench.image("a", "latest", b"one").await;
    bench.image("a", "latest", b"two").await;
    let digest = async |tag: &str| {
        let path = format!("/v2/a/manifests/{tag}");
        let head = bench.ask("HEAD", &path, &[], b"").await;
        (head.status, head.header("docker-content-digest").to_owned())
    };
    assert_eq!(digest("latest").await, (200, second.to_string()));
    assert_eq!(bench.delete("/v2/a/manifests/v2").await.status, 202);
    assert_eq!(digest("v2").await.0, 404);
    assert_eq!(digest(second.as_str()).await.0, 200);
    assert_eq!(
        bench.delete("/v2/a/manifests/v2").await.code(),
        "MANIFEST_UNKNOWN"
    );
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{second}")).await.status,
        202
    );
    assert_eq!(digest("latest").await.0, 404);
    assert_eq!(digest("v1").await, (200, first.to_string()));
    assert_eq!(bench.get("/v2/a/tags/list").await.json()["tags"], json!(["v1"]));
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{second}")).await.status,
        404
    );
    bench.verify().await;
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let bench = bench();
    let subject = sha256(b"pushed later, or never");
    let path = format!("/v2/a/referrers/{subject}");
    let manifests = async |path: &str| -> (Vec<Value>, String) {
        let found = bench.get(path).await;
        assert_eq!(
            (found.status, found.header("content-type")),
            (200, "application/vnd.oci.image.index.v1+json")
        );
        let list = found.json()["manifests"].as_array().unwrap().clone();
        (list, found.header("oci-filters-applied").to_owned())
    };
    assert_eq!(manifests(&path).await.0, Vec::<Value>::new());
    let empty = bench.blob("a", b"{}").await;
    let mut digests = Vec::new();
    for artifact_type in ["application/x.sbom", "application/x.signature"] {
        let mut manifest = image_of(&empty, &empty);
        manifest["artifactType"] = json!(artifact_type);
        manifest["subject"] = described(OCI_MANIFEST, &subject, 3);
        manifest["annotations"] = json!({"of": artifact_type});
        let digest = sha256(manifest.to_string().as_bytes());
        let pushed = bench.manifest("a", digest.as_str(), &manifest).await;
        assert_eq!(
            (pushed.status, pushed.header("oci-subject")),
            (201, subject.as_str())
        );
        digests.push(digest);
    }
    assert_eq!(manifests(&path).await.0.len(), 2);
    let (found, applied) = manifests(&format!("{path}?artifactType=application/x.sbom")).await;
    assert_eq!((found.len(), applied.as_str()), (1, "artifactType"));
    assert_eq!(found[0]["digest"], digests[0].as_str());
    assert_eq!(found[0]["annotations"], json!({"of": "application/x.sbom"}));
}

#[tokio::test]
async fn manifests_count_in_the_quota() {
    let mut settings = bench::open_settings();
    settings.registries[0].quota_bytes = Some(10_000);
    let bench = bench::bench_with(settings);
    let config = bench.blob("a", b"{}").await;
    let mut image = image_of(&config, &config);
    let mut push = async |filler: usize| {
        image["annotations"] = json!({"filler": "x".repeat(filler)});
        let digest = sha256(image.to_string().as_bytes());
        (bench.manifest("a", digest.as_str(), &image).await, digest)
    };
    let (pushed, first) = push(4_000).await;
    assert_eq!(pushed.status, 201);
    // Once, however often it is pushed.
    assert_eq!(push(4_000).await.0.status, 201);
    assert_eq!(push(4_100).await.0.status, 201);
    let (refused, _) = push(4_200).await;
    assert_eq!(refused.failure(), (403, "DENIED".to_owned()));
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{first}")).await.status,
        202
    );
    assert_eq!(push(4_200).await.0.status, 201);
    bench.verify().await;
}

#[tokio::test]
async fn an_index_may_refer_to_blobs_as_a_build_s_cache_does() {
    let bench = bench();
    let layer = bench.blob("a", &bytes(20_000)).await;
    let config = bench.blob("a", b"{}").await;
    let elsewhere = bench.blob("b", b"elsewhere").await;
    let mut index = index_of(&[]);
    let of = |digests: &[&Digest]| -> Vec<Value> {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        digests.iter().map(|digest| described(layer, digest, 9)).collect()
    };
    index["manifests"] = json!(of(&[&layer, &config, &elsewhere]));
    let refused = bench.manifest("a", "cache", &index).await;
    assert_eq!(refused.failure(), (400, "MANIFEST_BLOB_UNKNOWN".to_owned()));
    index["manifests"] = json!(of(&[&layer, &config]));
    assert_eq!(bench.manifest("a", "cache", &index).await.status, 201);
    // They stay as long as the index does, and go with it.
    let path = format!("/v2/a/blobs/{layer}");
    assert_eq!(bench.delete(&path).await.code(), "UNSUPPORTED");
    let collect = async || {
        for _ in 0..5 {
            bench.clock.advance_seconds(25 * 3_600);
            bench.collect().await;
        }
    };
    collect().await;
    assert_eq!(bench.get(&path).await.body, bytes(20_000));
    bench.verify().await;
    let digest = sha256(index.to_string().as_bytes());
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{digest}")).await.status,
        202
    );
    collect().await;
    assert_eq!(bench.get(&path).await.status, 404);
    assert_eq!(bench.verify().await, 0);
}
