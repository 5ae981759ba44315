//! Retention, purge and restore beside pushes, HEADs and the collection.

use super::*;

/// Somebody who asks something, step by step, with these policies.
fn asking<F>(
    bench: &Bench,
    seed: u64,
    wanted: (Option<u32>, Option<u32>),
    ask: impl FnOnce(Bench) -> F,
) -> (JoinHandle<()>, Arc<Gate>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (own, gate) = stepwise_with(bench, seed, wanted, open_settings());
    (tokio::spawn(ask(own)), gate)
}

fn bench_of(wanted: (Option<u32>, Option<u32>)) -> Bench {
    let mut settings = open_settings();
    policies(&mut settings, wanted);
    bench::bench_with(settings)
}

/// A manifest that the retention is about to delete, and how it is written.
async fn untagged() -> (Bench, serde_json::Value) {
    let bench = bench_of(RETAINING);
    bench.collect().await;
    let layer = bench.blob("a", &bytes(LAYER)).await;
    let mut image = image_of(&layer, &layer);
    image["config"]["mediaType"] = serde_json::json!("application/x.config");
    assert_eq!(bench.manifest("a", "old", &image).await.status, 201);
    // Other commits of the repository aren't in the way.
    bench.clock.advance_seconds(25 * 3_600);
    assert_eq!(bench.delete("/v2/a/manifests/old").await.status, 202);
    bench.clock.advance_seconds(60);
    (bench, image)
}

/// The same stores, and what is there can be pulled whole, now and after days.
async fn check_pulled(bench: &Bench, reference: &str) {
    for _ in 0..4 {
        let manifest = bench.get(&format!("/v2/a/manifests/{reference}")).await;
        assert_eq!(manifest.status, 200, "{reference}");
        let layer = sha256(&bytes(LAYER));
        let got = bench.get(&format!("/v2/a/blobs/{layer}")).await;
        assert_eq!((got.status, got.body.len()), (200, LAYER));
        bench.collect().await;
        bench.clock.advance_seconds(30 * 3_600);
    }
    bench.verify().await;
}

#[tokio::test]
async fn a_tag_beside_the_retention_has_its_manifest_or_is_refused() {
    let outcomes = Told::default();
    let seen = &outcomes;
    every_schedule(|choices| async move {
        let (bench, image) = untagged().await;
        let told = Told::default();
        let answers = told.clone();
        let push = asking(&bench, 2_000, RETAINING, |own| async move {
            let status = own.manifest("a", "v1", &image).await.status;
            answers.lock().unwrap().push(status);
        });
        let retention = asking(&bench, 1_000, RETAINING, |own| async move {
            own.collect().await;
        });
        let taken = run(&[push, retention], &choices).await;
        let status = told.lock().unwrap()[0];
        seen.lock().unwrap().push(status);
        match status {
            201 => check_pulled(&bench, "v1").await,
            // Its blobs went with it, and nobody had asked for them.
            _ => assert_eq!(status, 400),
        }
        taken
    })
    .await;
    let outcomes = outcomes.lock().unwrap();
    assert!(
        outcomes.contains(&201) && outcomes.contains(&400),
        "both ends are reached"
    );
}

#[tokio::test]
async fn an_index_beside_the_retention_has_its_child_or_is_refused() {
    let outcomes = Told::default();
    let seen = &outcomes;
    every_schedule(|choices| async move {
        let (bench, image) = untagged().await;
        let child = sha256(image.to_string().as_bytes());
        let told = Told::default();
        let answers = told.clone();
        let index = bench::index_of(&[&child]);
        let push = asking(&bench, 2_000, RETAINING, |own| async move {
            let status = own.manifest("a", "all", &index).await.status;
            answers.lock().unwrap().push(status);
        });
        let retention = asking(&bench, 1_000, RETAINING, |own| async move {
            own.collect().await;
        });
        let taken = run(&[push, retention], &choices).await;
        let status = told.lock().unwrap()[0];
        seen.lock().unwrap().push(status);
        match status {
            201 => check_pulled(&bench, child.as_str()).await,
            _ => assert_eq!(status, 400),
        }
        taken
    })
    .await;
    let outcomes = outcomes.lock().unwrap();
    assert!(
        outcomes.contains(&201) && outcomes.contains(&400),
        "both ends are reached"
    );
}

#[tokio::test]
async fn a_head_beside_the_retention_promises_what_it_says() {
    every_schedule(|choices| async move {
        let (bench, image) = untagged().await;
        let child = sha256(image.to_string().as_bytes());
        let push = asking(&bench, 2_000, RETAINING, |own| async move {
            let head = own
                .ask("HEAD", &format!("/v2/a/manifests/{child}"), &[], b"")
                .await;
            if head.status == 200 {
                let index = bench::index_of(&[&child]);
                assert_eq!(
                    own.manifest("a", "all", &index).await.status,
                    201,
                    "a HEAD promised it"
                );
            }
        });
        let retention = asking(&bench, 1_000, RETAINING, |own| async move {
            own.collect().await;
        });
        let taken = run(&[push, retention], &choices).await;
        bench.verify().await;
        taken
    })
    .await;
}

/// A manifest that was deleted and is about to be purged.
async fn deleted() -> (Bench, serde_json::Value) {
    let bench = bench_of(KEEPING);
    let layer = bench.blob("a", &bytes(LAYER)).await;
    let mut image = image_of(&layer, &layer);
    image["config"]["mediaType"] = serde_json::json!("application/x.config");
    assert_eq!(bench.manifest("a", "v1", &image).await.status, 201);
    let digest = sha256(image.to_string().as_bytes());
    assert_eq!(
        bench.delete(&format!("/v2/a/manifests/{digest}")).await.status,
        202
    );
    bench.clock.advance_seconds(24 * 3_600 + 60);
    (bench, image)
}

#[tokio::test]
async fn a_restore_beside_purge_and_collection_is_whole_or_too_late() {
    let outcomes = Told::default();
    let seen = &outcomes;
    every_schedule(|choices| async move {
        let (bench, image) = deleted().await;
        let digest = sha256(image.to_string().as_bytes());
        let told = Told::default();
        let answers = told.clone();
        let asked = digest.clone();
        let restore = asking(&bench, 2_000, KEEPING, |own| async move {
            let path = format!("/acr/v1/_deleted/a/_manifests/{asked}");
            let status = own.ask("POST", &path, &[], b"{\"tag\":\"v1\"}").await.status;
            answers.lock().unwrap().push(status);
        });
        let purge = asking(&bench, 1_000, KEEPING, |own| async move {
            for _ in 0..2 {
                own.collect().await;
                own.clock.advance_seconds(2 * 3_600 + 1);
            }
        });
        let taken = run(&[restore, purge], &choices).await;
        let status = told.lock().unwrap()[0];
        seen.lock().unwrap().push(status);
        match status {
            200 => check_pulled(&bench, "v1").await,
            _ => assert_eq!((status, bench.get("/v2/a/manifests/v1").await.status), (404, 404)),
        }
        taken
    })
    .await;
    let outcomes = outcomes.lock().unwrap();
    assert!(
        outcomes.contains(&200) && outcomes.contains(&404),
        "both ends are reached"
    );
}

#[tokio::test]
async fn a_push_beside_the_purge_of_the_same_is_whole_or_refused() {
    every_schedule(|choices| async move {
        let (bench, image) = deleted().await;
        let told = Told::default();
        let answers = told.clone();
        let push = asking(&bench, 2_000, KEEPING, |own| async move {
            let status = own.manifest("a", "v1", &image).await.status;
            answers.lock().unwrap().push(status);
        });
        let purge = asking(&bench, 1_000, KEEPING, |own| async move {
            own.collect().await;
        });
        let taken = run(&[push, purge], &choices).await;
        let status = told.lock().unwrap()[0];
        match status {
            201 => check_pulled(&bench, "v1").await,
            status => assert_eq!(status, 400),
        }
        bench.verify().await;
        taken
    })
    .await;
}

#[tokio::test]
async fn a_deletion_beside_a_restore_leaves_one_of_both() {
    every_schedule(|choices| async move {
        let bench = bench_of(KEEPING);
        let digest = bench.image("a", "v1", &bytes(LAYER)).await;
        let path = format!("/v2/a/manifests/{digest}");
        assert_eq!(bench.delete(&path).await.status, 202);
        let (asked, deleted) = (digest.clone(), path.clone());
        let restore = asking(&bench, 2_000, KEEPING, |own| async move {
            let path = format!("/acr/v1/_deleted/a/_manifests/{asked}");
            let status = own.ask("POST", &path, &[], b"").await.status;
            assert_eq!(status, 200);
        });
        let deletion = asking(&bench, 3_000, KEEPING, |own| async move {
            let status = own.delete(&deleted).await.status;
            assert!(status == 202 || status == 404, "{status}");
        });
        let taken = run(&[restore, deletion], &choices).await;
        bench.verify().await;
        let live = bench.get(&path).await.status == 200;
        let list = bench.get("/acr/v1/_deleted/a/_manifests").await.json();
        assert_eq!(list["manifests"].as_array().unwrap().is_empty(), live);
        taken
    })
    .await;
}

#[tokio::test]
async fn a_deletion_beside_a_tag_s_restore_leaves_no_tag_alone() {
    every_schedule(|choices| async move {
        let bench = bench_of(KEEPING);
        let digest = bench.image("a", "v1", &bytes(LAYER)).await;
        bench.image("a", "v2", &bytes(LAYER)).await;
        assert_eq!(bench.delete("/v2/a/manifests/v2").await.status, 202);
        let path = format!("/v2/a/manifests/{digest}");
        let (asked, deleted) = (digest.clone(), path.clone());
        let restore = asking(&bench, 2_000, KEEPING, |own| async move {
            let path = format!("/acr/v1/_deleted/a/_manifests/{asked}");
            let status = own.ask("POST", &path, &[], b"{\"tag\":\"v2\"}").await.status;
            assert_eq!(status, 200);
        });
        let deletion = asking(&bench, 3_000, KEEPING, |own| async move {
            assert_eq!(own.delete(&deleted).await.status, 202);
        });
        let taken = run(&[restore, deletion], &choices).await;
        bench.verify().await;
        let (tag, manifest) = (
            bench.get("/v2/a/manifests/v2").await.status,
            bench.get(&path).await.status,
        );
        assert_eq!(tag, manifest);
        taken
    })
    .await;
}
