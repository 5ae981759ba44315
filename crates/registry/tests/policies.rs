//! Retention of untagged manifests, and soft delete.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

mod bench;

use bench::{Bench, bench_with, described, image_of, index_of, open_settings, sha256};
use registry::rules::digest::Digest;
use registry::rules::manifest::OCI_MANIFEST;
use serde_json::{Value, json};

const DAY: u64 = 24 * 3_600;

fn retaining(days: u32) -> Bench {
    let mut settings = open_settings();
    settings.registries[0].retention_days = Some(days);
    bench_with(settings)
}

fn keeping(days: u32) -> Bench {
    let mut settings = open_settings();
    settings.registries[0].soft_delete_days = Some(days);
    bench_with(settings)
}

async fn after(bench: &Bench, seconds: u64) -> registry::CollectOutcome {
    bench.clock.advance_seconds(seconds.try_into().unwrap());
    bench.collect().await
}

async fn status(bench: &Bench, digest: &Digest) -> u16 {
    bench.get(&format!("/v2/a/manifests/{digest}")).await.status
}

async fn untag(bench: &Bench, tag: &str) {
    assert_eq!(bench.delete(&format!("/v2/a/manifests/{tag}")).await.status, 202);
}

async fn restore(
    bench: &Bench,
    repository: &str,
    digest: &Digest,
    query: &str,
    body: Value,
) -> bench::Answer {
    let path = format!("/acr/v1/_deleted/{repository}/_manifests/{digest}{query}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    bench.ask("POST", &path, &[], body.as_bytes()).await
}

#[tokio::test]
async fn what_was_untagged_for_so_many_days_goes() {
    let bench = retaining(7);
    bench.collect().await;
    let untagged = bench.image("a", "v1", b"one").await;
    let moved = bench.image("a", "v2", b"two").await;
    let kept = bench.image("a", "v2", b"three").await;
    untag(&bench, "v1").await;
    assert_eq!(after(&bench, 6 * DAY).await.untagged, 0);
    assert_eq!(after(&bench, DAY + 1).await.untagged, 2);
    let found = (
        status(&bench, &untagged).await,
        status(&bench, &moved).await,
        status(&bench, &kept).await,
    );
    assert_eq!(found, (404, 404, 200));
    bench.verify().await;
    // What they had goes as after any deletion.
    for _ in 0..4 {
        after(&bench, 2 * DAY).await;
    }
    let layer = sha256(b"one");
    assert_eq!(bench.get(&format!("/v2/a/blobs/{layer}")).await.status, 404);
    bench.verify().await;
}

#[tokio::test]
async fn what_was_untagged_before_the_policy_stays() {
    let before = bench_with(open_settings());
    let old = before.image("a", "v1", b"one").await;
    untag(&before, "v1").await;
    let mut settings = open_settings();
    settings.registries[0].retention_days = Some(1);
    let (ledger, content, clock) = (
        before.ledger.clone(),
        before.content.clone(),
        before.clock.clone(),
    );
    let bench = bench::over(ledger, content, clock, settings, 9);
    bench.collect().await;
    let new = bench.image("a", "v2", b"two").await;
    untag(&bench, "v2").await;
    for _ in 0..3 {
        after(&bench, DAY).await;
    }
    assert_eq!(
        (status(&bench, &old).await, status(&bench, &new).await),
        (200, 404)
    );
}

#[tokio::test]
async fn a_tag_a_lock_an_index_and_a_subject_spare_a_manifest() {
    let bench = retaining(1);
    bench.collect().await;
    let tagged_again = bench.image("a", "v1", b"one").await;
    let locked = bench.image("a", "v2", b"two").await;
    let child = bench.image("a", "v3", b"three").await;
    let index = index_of(&[&child]);
    assert_eq!(bench.manifest("a", "all", &index).await.status, 201);
    let mut signature = image_of(&sha256(b"one"), &sha256(b"one"));
    signature["subject"] = described(OCI_MANIFEST, &tagged_again, 9);
    let by_digest = sha256(signature.to_string().as_bytes());
    let pushed = bench.manifest("a", by_digest.as_str(), &signature).await;
    assert_eq!(pushed.status, 201, "{:?}", pushed.json());
    for tag in ["v1", "v2", "v3"] {
        untag(&bench, tag).await;
    }
    let path = format!("/acr/v1/a/_manifests/{locked}");
    let lock = async |may: bool| {
        let body = json!({ "deleteEnabled": may }).to_string();
        assert_eq!(bench.ask("PATCH", &path, &[], body.as_bytes()).await.status, 200);
    };
    lock(false).await;
    bench.image("a", "back", b"one").await;
    for _ in 0..3 {
        assert_eq!(after(&bench, 2 * DAY).await.untagged, 0);
    }
    for digest in [&tagged_again, &locked, &child, &by_digest] {
        assert_eq!(status(&bench, digest).await, 200);
    }
    // And each goes when nothing spares it any longer; the signature last.
    lock(true).await;
    untag(&bench, "back").await;
    let index = sha256(index.to_string().as_bytes());
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{index}")).await.status,
        202
    );
    let mut gone = 0;
    for _ in 0..3 {
        gone += after(&bench, 2 * DAY).await.untagged;
    }
    assert_eq!(gone, 4);
    bench.verify().await;
}

#[tokio::test]
async fn what_is_pushed_before_what_refers_to_it_is_there_for_that() {
    let bench = retaining(0);
    bench.collect().await;
    let config = bench.blob("a", b"{}").await;
    let image = image_of(&config, &config);
    let child = sha256(image.to_string().as_bytes());
    assert_eq!(bench.manifest("a", child.as_str(), &image).await.status, 201);
    assert_eq!(after(&bench, DAY - 60).await.untagged, 0);
    // Another push finds it by a HEAD, and leaves it away.
    let head = format!("/v2/a/manifests/{child}");
    assert_eq!(bench.ask("HEAD", &head, &[], b"").await.status, 200);
    assert_eq!(after(&bench, DAY - 60).await.untagged, 0);
    assert_eq!(bench.manifest("a", "all", &index_of(&[&child])).await.status, 201);
    for _ in 0..3 {
        after(&bench, 2 * DAY).await;
    }
    assert_eq!(status(&bench, &child).await, 200);
    // What was untagged by somebody has no such time.
    bench.image("a", "v1", b"one").await;
    untag(&bench, "v1").await;
    assert_eq!(after(&bench, 11 * 60).await.untagged, 1);
}

#[tokio::test]
async fn what_is_deleted_is_listed_and_restored() {
    let bench = keeping(7);
    let digest = bench.image("a", "v1", b"one").await;
    bench.image("a", "other", b"one").await;
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{digest}")).await.status,
        202
    );
    assert_eq!(status(&bench, &digest).await, 404);
    assert_eq!(bench.get("/v2/a/tags/list").await.json()["tags"], json!([]));
    let found = bench.get("/acr/v1/_deleted/_catalog").await.json();
    assert_eq!(found, json!({"repositories": ["a"]}));
    let found = bench.get("/acr/v1/_deleted/a/_manifests").await.json();
    let manifest = &found["manifests"][0];
    assert_eq!(manifest["digest"], digest.as_str());
    assert_eq!(manifest["deletedAt"], "2027-01-15T08:00:00.0000000Z");
    assert_eq!(manifest["architecture"], "amd64");
    let tags = bench.get("/acr/v1/_deleted/a/_tags").await.json();
    let names: Vec<&Value> = tags["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| &tag["tag"])
        .collect();
    assert_eq!(names, [&json!("other"), &json!("v1")]);
    // Its blobs stay, however long the collection runs.
    for _ in 0..3 {
        after(&bench, DAY).await;
    }
    assert_eq!(
        bench
            .delete(&format!("/v2/a/blobs/{}", sha256(b"one")))
            .await
            .status,
        405
    );
    let back = restore(&bench, "a", &digest, "", json!({"tag": "v1"})).await;
    assert_eq!(
        (back.status, &back.json()["manifest"]["tags"]),
        (200, &json!(["v1"]))
    );
    assert_eq!(bench.get("/v2/a/manifests/v1").await.status, 200);
    assert_eq!(
        bench.get(&format!("/v2/a/blobs/{}", sha256(b"one"))).await.status,
        200
    );
    // The other tag is still listed, and restored by itself.
    assert_eq!(
        restore(&bench, "a", &digest, "", json!({"tag": "nosuch"}))
            .await
            .status,
        404
    );
    assert_eq!(
        restore(&bench, "a", &digest, "", json!({"tag": "other"}))
            .await
            .status,
        200
    );
    assert_eq!(bench.get("/v2/a/manifests/other").await.status, 200);
    assert_eq!(
        bench.get("/acr/v1/_deleted/a/_tags").await.json()["tags"],
        json!([])
    );
    assert_eq!(
        bench.get("/acr/v1/_deleted/_catalog").await.json()["repositories"],
        json!([])
    );
    for bad in [json!([]), json!({"tag": 7}), json!({"tag": "a b"})] {
        assert_eq!(
            restore(&bench, "a", &digest, "", bad.clone()).await.status,
            400,
            "{bad}"
        );
    }
    bench.verify().await;
}

#[tokio::test]
async fn what_is_deleted_is_purged_after_its_days_by_the_setting_of_now() {
    let bench = keeping(7);
    let digest = bench.image("a", "v1", b"one").await;
    bench.delete(&format!("/v2/a/manifests/{digest}")).await;
    assert_eq!(after(&bench, 6 * DAY).await.purged, 0);
    // Longer now: it counts from the deletion on.
    let over = |days: Option<u32>| {
        let mut settings = open_settings();
        settings.registries[0].soft_delete_days = days;
        let (ledger, content) = (bench.ledger.clone(), bench.content.clone());
        bench::over(ledger, content, bench.clock.clone(), settings, 9)
    };
    let longer = over(Some(14));
    assert_eq!(after(&longer, 2 * DAY).await.purged, 0);
    // Off, what there is keeps its days.
    let off = over(None);
    off.collect().await;
    assert_eq!(after(&off, 5 * DAY).await.purged, 0);
    assert_eq!(restore(&off, "a", &digest, "", Value::Null).await.status, 200);
    off.delete(&format!("/v2/a/manifests/{digest}")).await;
    assert_eq!(
        restore(&off, "a", &digest, "", Value::Null).await.status,
        404,
        "it was off"
    );
    bench.image("a", "v1", b"one").await;
    bench.delete(&format!("/v2/a/manifests/{digest}")).await;
    off.collect().await;
    assert_eq!(after(&off, 15 * DAY).await.purged, 1);
    assert_eq!(restore(&off, "a", &digest, "", Value::Null).await.status, 404);
    assert_eq!(
        bench.get("/acr/v1/_deleted/a/_tags").await.json()["tags"],
        json!([])
    );
    for _ in 0..5 {
        after(&bench, 2 * DAY).await;
    }
    assert_eq!(
        bench.get(&format!("/v2/a/blobs/{}", sha256(b"one"))).await.status,
        404
    );
    assert_eq!(bench.verify().await, 0);
}

#[tokio::test]
async fn a_tag_that_points_elsewhere_is_moved_by_force_alone() {
    let bench = keeping(7);
    let first = bench.image("a", "v1", b"one").await;
    bench.delete(&format!("/v2/a/manifests/{first}")).await;
    let second = bench.image("a", "v1", b"two").await;
    let refused = restore(&bench, "a", &first, "?force=False", json!({"tag": "v1"})).await;
    assert_eq!(refused.status, 409);
    assert_eq!(status(&bench, &first).await, 404, "all of it was refused");
    let moved = restore(&bench, "a", &first, "?force=True", json!({"tag": "v1"})).await;
    assert_eq!(moved.status, 200);
    let now = bench.get("/v2/a/manifests/v1").await;
    assert_eq!(now.header("docker-content-digest"), first.as_str());
    // What it pointed to is kept as a tag that was taken away.
    let tags = bench.get("/acr/v1/_deleted/a/_tags").await.json();
    assert_eq!(tags["tags"][0]["digest"], second.as_str());
    bench.verify().await;
}

#[tokio::test]
async fn a_repository_is_deleted_and_comes_back_manifest_by_manifest() {
    let bench = keeping(7);
    let mut digests = Vec::new();
    for number in 0..70 {
        let tag = format!("v{number:02}");
        digests.push(bench.image("a", &tag, tag.as_bytes()).await);
    }
    assert_eq!(bench.delete("/acr/v1/a").await.status, 202);
    assert_eq!(bench.get("/v2/a/tags/list").await.code(), "NAME_UNKNOWN");
    let mut listed = Vec::new();
    let mut path = "/acr/v1/_deleted/a/_tags?n=30".to_owned();
    while !path.is_empty() {
        let page = bench.get(&path).await;
        let tags = page.json()["tags"].as_array().unwrap().clone();
        listed.extend(tags.iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()));
        path = page
            .header("link")
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap()
            .to_owned();
    }
    assert_eq!(listed.len(), 70);
    let page = bench.get("/acr/v1/_deleted/a/_manifests?n=69").await;
    assert_eq!(page.json()["manifests"].as_array().unwrap().len(), 69);
    assert!(!page.header("link").is_empty());
    for (digest, tag) in digests.iter().zip(["v00", "v01", "v02"]) {
        assert_eq!(
            restore(&bench, "a", digest, "", json!({"tag": tag})).await.status,
            200
        );
    }
    let found = bench.get("/acr/v1/a").await.json();
    assert_eq!(
        (&found["manifestCount"], &found["tagCount"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(bench.get("/acr/v1/_deleted/b/_tags").await.code(), "NAME_UNKNOWN");
    bench.verify().await;
}

#[tokio::test]
async fn a_subject_is_restored_before_what_is_about_it() {
    let bench = keeping(7);
    let subject = bench.image("a", "v1", b"one").await;
    let mut signature = image_of(&sha256(b"one"), &sha256(b"one"));
    signature["subject"] = described(OCI_MANIFEST, &subject, 9);
    assert_eq!(bench.manifest("a", "signature", &signature).await.status, 201);
    let signature = sha256(signature.to_string().as_bytes());
    assert_eq!(bench.delete("/acr/v1/a").await.status, 202);
    assert_eq!(
        restore(&bench, "a", &signature, "", Value::Null).await.status,
        409
    );
    assert_eq!(restore(&bench, "a", &subject, "", Value::Null).await.status, 200);
    assert_eq!(
        restore(&bench, "a", &signature, "", Value::Null).await.status,
        200
    );
    let referrers = bench.get(&format!("/v2/a/referrers/{subject}")).await.json();
    assert_eq!(referrers["manifests"][0]["digest"], signature.as_str());
    bench.verify().await;
}

#[tokio::test]
async fn a_push_of_what_is_deleted_has_it_there_again() {
    let mut settings = open_settings();
    settings.registries[0].soft_delete_days = Some(1);
    settings.registries[0].quota_bytes = Some(1_500);
    let bench = bench_with(settings);
    let mut digest = bench.image("a", "v1", b"one").await;
    for round in 0..10 {
        bench.delete(&format!("/v2/a/manifests/{digest}")).await;
        digest = bench.image("a", "v1", b"one").await;
        assert_eq!(after(&bench, DAY + 1).await.purged, 0, "{round}");
    }
    assert_eq!(
        bench.get("/acr/v1/_deleted/a/_manifests").await.json()["manifests"],
        json!([])
    );
    bench.verify().await;
    // Deleted and purged, all its bytes are given back.
    for round in 0..10 {
        digest = bench.image("a", "v1", format!("round {round}").as_bytes()).await;
        bench.delete(&format!("/v2/a/manifests/{digest}")).await;
        for _ in 0..5 {
            after(&bench, 2 * DAY).await;
        }
    }
}
