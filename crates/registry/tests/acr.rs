//! Azure Container Registry's REST API: lists, attributes and locks, deletions.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Bench, bench, index_of};
use serde_json::json;

async fn patch(bench: &Bench, path: &str, body: serde_json::Value) -> bench::Answer {
    bench.ask("PATCH", path, &[], body.to_string().as_bytes()).await
}

#[tokio::test]
async fn repositories_tags_and_manifests_are_described() {
    let bench = bench();
    let first = bench.image("org/app", "v1", b"one").await;
    bench.clock.advance_seconds(60);
    let second = bench.image("org/app", "v2", b"two").await;
    let repository = bench.get("/acr/v1/org%2Fapp").await.json();
    assert_eq!(repository["imageName"], "org/app");
    assert_eq!(
        (
            repository["manifestCount"].clone(),
            repository["tagCount"].clone()
        ),
        (json!(2), json!(2))
    );
    assert_eq!(repository["createdTime"], "2027-01-15T08:00:00.0000000Z");
    assert_eq!(repository["lastUpdateTime"], "2027-01-15T08:01:00.0000000Z");
    let names = |value: &serde_json::Value, list: &str, name: &str| -> Vec<String> {
        let list = value[list].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|entry| entry[name].as_str().unwrap().to_owned())
            .collect()
    };
    let tags = bench.get("/acr/v1/org/app/_tags?orderby=timedesc&n=1").await;
    assert_eq!(names(&tags.json(), "tags", "name"), ["v2"]);
    let link = "</acr/v1/org/app/_tags?last=1800000060000000~v2&n=1&orderby=timedesc>; rel=\"next\"";
    assert_eq!(tags.header("link"), link);
    let next = bench
        .get("/acr/v1/org/app/_tags?last=v2&n=1&orderby=timedesc")
        .await;
    assert_eq!(
        (names(&next.json(), "tags", "name"), next.header("link")),
        (vec!["v1".to_owned()], "")
    );
    let of = bench.get(&format!("/acr/v1/org/app/_tags?digest={second}")).await;
    assert_eq!(names(&of.json(), "tags", "name"), ["v2"]);
    let manifests = bench
        .get("/acr/v1/org/app/_manifests?orderby=timeasc")
        .await
        .json();
    assert_eq!(
        names(&manifests, "manifests", "digest"),
        [first.to_string(), second.to_string()]
    );
    let manifest = bench
        .get(&format!("/acr/v1/org/app/_manifests/{first}"))
        .await
        .json();
    let manifest = &manifest["manifest"];
    assert_eq!(
        (manifest["os"].clone(), manifest["architecture"].clone()),
        (json!("linux"), json!("amd64"))
    );
    assert_eq!(manifest["tags"], json!(["v1"]));
    let index = index_of(&[&first, &second]);
    assert_eq!(bench.manifest("org/app", "all", &index).await.status, 201);
    let digest = bench::sha256(index.to_string().as_bytes());
    let described = bench
        .get(&format!("/acr/v1/org/app/_manifests/{digest}"))
        .await
        .json();
    assert_eq!(described["manifest"]["references"].as_array().unwrap().len(), 2);
    assert_eq!(
        bench.get("/acr/v1/_catalog").await.json(),
        json!({"repositories": ["org/app"]})
    );
    assert_eq!(bench.get("/acr/v1/org/app/_tags?orderby=size").await.status, 400);
}

#[tokio::test]
async fn a_list_by_time_goes_on_where_it_was_whatever_became_of_its_entries() {
    let bench = bench();
    let mut digests = Vec::new();
    for number in 0..6 {
        let (tag, layer) = (format!("v{number}"), format!("layer {number}"));
        digests.push(bench.image("a", &tag, layer.as_bytes()).await.to_string());
        bench.clock.advance_seconds(60);
    }
    let next_of = |answer: &bench::Answer| {
        let link = answer.header("link").to_owned();
        link.trim_start_matches('<').split('>').next().unwrap().to_owned()
    };
    let tags = bench.get("/acr/v1/a/_tags?orderby=timedesc&n=2").await;
    let manifests = bench.get("/acr/v1/a/_manifests?orderby=timedesc&n=2").await;
    let oldest = bench.get("/acr/v1/a/_tags?orderby=timeasc&n=2").await;
    // The last that each list gave: one is deleted, one is pushed again.
    assert_eq!(
        bench
            .delete(&format!("/v2/a/manifests/{}", digests[4]))
            .await
            .status,
        202
    );
    bench.image("a", "v1", b"layer 1").await;
    let page = bench.get(&next_of(&tags)).await.json();
    assert_eq!(
        (&page["tags"][0]["name"], &page["tags"][1]["name"]),
        (&json!("v3"), &json!("v2"))
    );
    let page = bench.get(&next_of(&manifests)).await.json();
    let found = (&page["manifests"][0]["digest"], &page["manifests"][1]["digest"]);
    assert_eq!(found, (&json!(digests[3]), &json!(digests[2])));
    let page = bench.get(&next_of(&oldest)).await.json();
    assert_eq!(
        (&page["tags"][0]["name"], &page["tags"][1]["name"]),
        (&json!("v2"), &json!("v3"))
    );
    // A plain name goes on at its own time, and nowhere if it has none.
    let page = bench
        .get("/acr/v1/a/_tags?orderby=timedesc&n=1&last=v3")
        .await
        .json();
    assert_eq!(page["tags"][0]["name"], "v2");
    for list in [
        "_tags?orderby=timedesc&last=v4".to_owned(),
        format!("_manifests?orderby=timeasc&last={}", digests[4]),
        "_manifests?orderby=timeasc&last=1~x".to_owned(),
    ] {
        assert_eq!(
            bench.get(&format!("/acr/v1/a/{list}")).await.status,
            400,
            "{list}"
        );
    }
}

#[tokio::test]
async fn locks_hold() {
    let bench = bench();
    let digest = bench.image("a", "v1", b"one").await;
    bench.image("a", "free", b"one").await;
    let locked = patch(&bench, "/acr/v1/a/_tags/v1", json!({"writeEnabled": false}))
        .await
        .json();
    assert_eq!(
        locked["tag"]["changeableAttributes"]["writeEnabled"],
        json!(false)
    );
    let disallowed = (405, "REGISTRY_DISALLOWED_OPERATION".to_owned());
    assert_eq!(bench.delete("/v2/a/manifests/v1").await.failure(), disallowed);
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{digest}")).await.failure(),
        disallowed
    );
    assert_eq!(bench.delete("/acr/v1/a").await.failure(), disallowed);
    // The same again is no change; another digest is.
    bench.image("a", "v1", b"one").await;
    let config = bench.blob("a", b"{}").await;
    let moved = bench
        .manifest("a", "v1", &bench::image_of(&config, &config))
        .await;
    assert_eq!(moved.failure(), disallowed);
    assert_eq!(bench.delete("/v2/a/manifests/free").await.status, 202);
    let path = format!("/acr/v1/a/_manifests/{digest}");
    assert_eq!(
        patch(&bench, &path, json!({"readEnabled": false})).await.status,
        200
    );
    assert_eq!(bench.get("/v2/a/manifests/v1").await.failure(), disallowed);
    assert_eq!(
        patch(&bench, &path, json!({"readEnabled": true, "listEnabled": false}))
            .await
            .status,
        200
    );
    assert_eq!(bench.get("/v2/a/manifests/v1").await.status, 200);
    assert!(
        bench
            .get("/acr/v1/a/_manifests")
            .await
            .json()
            .get("manifests")
            .is_none()
    );
    assert_eq!(
        patch(&bench, "/acr/v1/a", json!({"writeEnabled": false}))
            .await
            .status,
        200
    );
    let refused = bench.ask("POST", "/v2/a/blobs/uploads/", &[], b"").await;
    assert_eq!(refused.failure(), disallowed);
    for bad in [json!({"x": true}), json!({"readEnabled": "no"}), json!([])] {
        assert_eq!(patch(&bench, "/acr/v1/a", bad.clone()).await.status, 400, "{bad}");
    }
    assert_eq!(patch(&bench, "/acr/v1/none", json!({})).await.status, 404);
    bench.verify().await;
}

#[tokio::test]
async fn a_repository_is_deleted_with_all_it_has() {
    let bench = bench();
    let mut expected = Vec::new();
    for number in 0..70 {
        let digest = bench
            .image("a", &format!("v{number}"), format!("layer {number}").as_bytes())
            .await;
        expected.push(digest.to_string());
    }
    bench.image("b", "v1", b"layer 1").await;
    let removed = bench.delete("/acr/v1/a").await;
    assert_eq!(removed.status, 202);
    let removed = removed.json();
    let mut digests: Vec<String> = serde_json::from_value(removed["manifestsDeleted"].clone()).unwrap();
    digests.sort();
    expected.sort();
    assert_eq!(digests, expected);
    assert_eq!(removed["tagsDeleted"].as_array().unwrap().len(), 70);
    assert_eq!(bench.get("/v2/a/tags/list").await.code(), "NAME_UNKNOWN");
    assert_eq!(bench.delete("/acr/v1/a").await.status, 404);
    assert_eq!(
        bench.delete("/acr/v1/b/_tags/v2").await.failure(),
        (404, "TAG_UNKNOWN".to_owned())
    );
    assert_eq!(bench.delete("/acr/v1/b/_tags/v1").await.status, 202);
    bench.verify().await;
}

#[tokio::test]
async fn a_repository_of_large_manifests_is_deleted_in_smaller_steps() {
    let bench = bench();
    let config = bench.blob("a", b"{}").await;
    for manifest in 0..10 {
        let layers: Vec<serde_json::Value> = (0..9_999)
            .map(|layer| {
                let digest = bench::sha256(format!("{manifest} {layer}").as_bytes());
                bench::described(
                    "application/vnd.oci.image.layer.nondistributable.v1.tar",
                    &digest,
                    9,
                )
            })
            .collect();
        let mut image = bench::image_of(&config, &config);
        image["layers"] = json!(layers);
        assert_eq!(
            bench.manifest("a", &format!("v{manifest}"), &image).await.status,
            201
        );
    }
    let removed = bench.delete("/acr/v1/a").await;
    assert_eq!(removed.status, 202, "{:?}", removed.json());
    assert_eq!(removed.json()["manifestsDeleted"].as_array().unwrap().len(), 10);
    bench.verify().await;
}

#[tokio::test]
async fn a_lock_against_reading_has_no_way_around() {
    let bench = bench();
    let digest = bench.image("a", "v1", b"one").await;
    let layer = bench::sha256(b"one");
    let named = format!("/v2/b/blobs/uploads/?mount={layer}&from=a");
    let unnamed = format!("/v2/b/blobs/uploads/?mount={layer}");
    let readable = |may: bool| json!({"readEnabled": may});
    assert_eq!(patch(&bench, "/acr/v1/a", readable(false)).await.status, 200);
    for path in [
        format!("/v2/a/blobs/{layer}"),
        "/v2/a/manifests/v1".to_owned(),
        "/v2/a/tags/list".to_owned(),
        format!("/v2/a/referrers/{digest}"),
    ] {
        assert_eq!(
            bench.get(&path).await.code(),
            "REGISTRY_DISALLOWED_OPERATION",
            "{path}"
        );
    }
    // As where it isn't there: the client pushes the bytes.
    for path in [&named, &unnamed] {
        assert_eq!(bench.ask("POST", path, &[], b"").await.status, 202, "{path}");
    }
    assert_eq!(patch(&bench, "/acr/v1/a", readable(true)).await.status, 200);
    assert_eq!(bench.ask("POST", &named, &[], b"").await.status, 201);
}

#[tokio::test]
async fn a_tag_goes_only_as_it_was_seen_if_that_is_asked_for() {
    let bench = bench();
    bench.image("a", "v1", b"one").await;
    let path = "/acr/v1/a/_tags/v1";
    let seen = bench.get(path).await;
    let entity_tag = seen.header("etag").to_owned();
    let tag = &seen.json()["tag"];
    let at: jiff::Timestamp = tag["lastUpdateTime"].as_str().unwrap().parse().unwrap();
    let listed = format!("\"{}@{}\"", tag["digest"].as_str().unwrap(), at.as_microsecond());
    assert_eq!(entity_tag, listed);
    // The same again, and another one.
    for bytes in [&b"one"[..], b"two"] {
        bench.clock.advance_seconds(1);
        bench.image("a", "v1", bytes).await;
        let headers = [("if-match", entity_tag.as_str())];
        let refused = bench.ask("DELETE", path, &headers, b"").await;
        assert_eq!(
            refused.failure(),
            (412, "REGISTRY_DISALLOWED_OPERATION".to_owned())
        );
    }
    let entity_tag = bench.get(path).await.header("etag").to_owned();
    let headers = [("if-match", entity_tag.as_str())];
    assert_eq!(bench.ask("DELETE", path, &headers, b"").await.status, 202);
}
