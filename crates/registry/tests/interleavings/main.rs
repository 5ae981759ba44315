//! The collection beside pushes: every order in which their steps can fall is tried.
//!
//! A step is a read or a commit of the ledger. Each actor has the service over a ledger that waits before each
//! step until it is let through; a schedule says who goes next, and the next schedule differs in its last choice
//! that could have been another one. Ordinarily only those orders are tried in which an actor that could go on has to
//! wait for another one a few times; with STABBUR_LONG=1 all of them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

#[path = "../bench/mod.rs"]
mod bench;
mod policies;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bench::{Bench, bench, bytes, image_of, open_settings, sha256};
use ledger::{
    Committed, Health, Ledger, LedgerError, LedgerStats, LogPage, Sequence, Snapshot, Transaction,
    VerifyReport,
};
use registry::Settings;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Most schedules of one scenario: more would mean that it grew past what is tried in a test.
const SCHEDULES_MAX: usize = 60_000;

/// How often an actor that could go on has to wait for another one, unless all orders are tried.
const PREEMPTIONS_MAX: usize = 4;

fn preemptions_max() -> usize {
    match std::env::var_os("STABBUR_LONG") {
        Some(_) => usize::MAX,
        None => PREEMPTIONS_MAX,
    }
}

struct Gate {
    let_through: Semaphore,
    arrived: AtomicUsize,
}

struct Stepwise {
    ledger: Arc<dyn Ledger>,
    gate: Arc<Gate>,
}

impl Stepwise {
    async fn step(&self) {
        self.gate.arrived.fetch_add(1, Ordering::SeqCst);
        self.gate.let_through.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Ledger for Stepwise {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        self.step().await;
        self.ledger.snapshot().await
    }
    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        self.step().await;
        self.ledger.commit(transaction).await
    }
    async fn log_page(&self, after: Sequence, entries: usize, bytes: usize) -> Result<LogPage, LedgerError> {
        self.ledger.log_page(after, entries, bytes).await
    }
    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        self.ledger.trim_log(through).await
    }
    fn head(&self) -> watch::Receiver<Sequence> {
        self.ledger.head()
    }
    fn health(&self) -> Health {
        self.ledger.health()
    }
    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        self.ledger.stats().await
    }
    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        self.ledger.verify(progress).await
    }
    async fn close(&self) -> Result<(), LedgerError> {
        self.ledger.close().await
    }
}

/// What policies a scenario's registry has.
fn policies(settings: &mut Settings, (retention, soft_delete): (Option<u32>, Option<u32>)) {
    settings.registries.truncate(1);
    settings.registries[0].quota_bytes = None;
    settings.registries[0].retention_days = retention;
    settings.registries[0].soft_delete_days = soft_delete;
}

const RETAINING: (Option<u32>, Option<u32>) = (Some(0), None);
const KEEPING: (Option<u32>, Option<u32>) = (None, Some(1));

/// The service over the same stores, step by step.
fn stepwise(bench: &Bench, seed: u64) -> (Bench, Arc<Gate>) {
    stepwise_with(bench, seed, (None, None), open_settings())
}

fn stepwise_with(
    bench: &Bench,
    seed: u64,
    wanted: (Option<u32>, Option<u32>),
    mut settings: Settings,
) -> (Bench, Arc<Gate>) {
    let gate = Arc::new(Gate {
        let_through: Semaphore::new(0),
        arrived: AtomicUsize::new(0),
    });
    let ledger = Arc::new(Stepwise {
        ledger: bench.ledger.clone(),
        gate: gate.clone(),
    });
    settings.registries[0].quota_bytes = None;
    if wanted != (None, None) {
        policies(&mut settings, wanted);
    }
    let own = bench::over(ledger, bench.content.clone(), bench.clock.clone(), settings, seed);
    (own, gate)
}

/// Runs the actors; at each step `choices` says which of those that aren't done goes on: the first is who went last, and
/// goes on behind their end. Gives what was chosen from how many.
async fn run(actors: &[(JoinHandle<()>, Arc<Gate>)], choices: &[usize]) -> Vec<(usize, usize)> {
    let mut taken = Vec::new();
    let mut seen = vec![0; actors.len()];
    let (mut last, mut preemptions) = (0, preemptions_max());
    let settle = async |seen: &mut Vec<usize>, which: usize| {
        let (task, gate) = &actors[which];
        for _ in 0..10_000 {
            if task.is_finished() || gate.arrived.load(Ordering::SeqCst) > seen[which] {
                seen[which] = gate.arrived.load(Ordering::SeqCst);
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("an actor neither goes on nor ends");
    };
    for which in 0..actors.len() {
        settle(&mut seen, which).await;
    }
    loop {
        let mut waiting: Vec<usize> = (0..actors.len())
            .map(|at| (last + at) % actors.len())
            .filter(|which| !actors[*which].0.is_finished())
            .collect();
        if waiting.is_empty() {
            return taken;
        }
        // Whoever begins, and whoever comes behind one that is done, keeps nobody waiting.
        let preempts = !taken.is_empty() && waiting[0] == last;
        if preempts && preemptions == 0 {
            waiting.truncate(1);
        }
        let choice = choices.get(taken.len()).copied().unwrap_or(0);
        preemptions -= usize::from(preempts && choice > 0);
        taken.push((choice, waiting.len()));
        let which = waiting[choice];
        last = which;
        actors[which].1.let_through.add_permits(1);
        settle(&mut seen, which).await;
    }
}

/// Tries every schedule (see above) of `scenario`, which sets up afresh, starts its actors, and looks at what came of it.
async fn every_schedule<S, F>(scenario: S) -> usize
where
    S: Fn(Vec<usize>) -> F,
    F: Future<Output = Vec<(usize, usize)>>,
{
    let mut choices = Vec::new();
    for tried in 1..=SCHEDULES_MAX {
        let mut taken = scenario(choices).await;
        while taken.last().is_some_and(|(choice, of)| choice + 1 >= *of) {
            taken.pop();
        }
        let Some((last, _)) = taken.pop() else {
            return tried;
        };
        choices = taken.into_iter().map(|(choice, _)| choice).collect();
        choices.push(last + 1);
    }
    panic!("more than {SCHEDULES_MAX} schedules");
}

const LAYER: usize = 20_000;

/// A repository with a blob that nothing refers to, its lease over; and the manifest that will.
async fn abandoned_blob() -> (Bench, serde_json::Value) {
    let bench = bench();
    let layer = bench.blob("a", &bytes(LAYER)).await;
    bench.clock.advance_seconds(25 * 3_600);
    let mut image = image_of(&layer, &layer);
    image["config"]["mediaType"] = serde_json::json!("application/x.config");
    (bench, image)
}

/// Rounds of the collection, the clock moved on between them so that each finds what the last one queued.
fn collecting(bench: &Bench, rounds: usize) -> (JoinHandle<()>, Arc<Gate>) {
    let (own, gate) = stepwise(bench, 1_000);
    let task = tokio::spawn(async move {
        for _ in 0..rounds {
            own.collect().await;
            own.clock.advance_seconds(2 * 3_600 + 1);
        }
    });
    (task, gate)
}

/// Whatever is there is whole; a manifest that was acknowledged can be pulled.
async fn check(bench: &Bench, repository: &str, image: &serde_json::Value, acknowledged: bool) {
    bench.verify().await;
    let digest = sha256(image.to_string().as_bytes());
    let manifest = bench.get(&format!("/v2/{repository}/manifests/{digest}")).await;
    assert_eq!(manifest.status, if acknowledged { 200 } else { 404 });
    if acknowledged {
        let layer = sha256(&bytes(LAYER));
        let got = bench.get(&format!("/v2/{repository}/blobs/{layer}")).await;
        assert_eq!((got.status, &got.body[..]), (200, &bytes(LAYER)[..]));
        // And it stays.
        for _ in 0..5 {
            bench.collect().await;
            bench.clock.advance_seconds(30 * 3_600);
        }
        assert_eq!(
            bench.get(&format!("/v2/{repository}/blobs/{layer}")).await.status,
            200
        );
    }
}

/// How a scenario's pusher ended: what it was told.
type Told = Arc<std::sync::Mutex<Vec<u16>>>;

fn pusher<F>(bench: &Bench, told: &Told, push: impl FnOnce(Bench, Told) -> F) -> (JoinHandle<()>, Arc<Gate>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (own, gate) = stepwise(bench, 2_000);
    (tokio::spawn(push(own, told.clone())), gate)
}

#[tokio::test]
async fn a_manifest_beside_the_collection_is_whole_or_refused() {
    let outcomes = Told::default();
    let seen = &outcomes;
    let tried = every_schedule(|choices| async move {
        let (bench, image) = abandoned_blob().await;
        let told = Told::default();
        let pushed = image.clone();
        let push = pusher(&bench, &told, |own, told| async move {
            let status = own.manifest("a", "v1", &pushed).await.status;
            told.lock().unwrap().push(status);
        });
        let taken = run(&[push, collecting(&bench, 5)], &choices).await;
        let status = told.lock().unwrap()[0];
        seen.lock().unwrap().push(status);
        check(&bench, "a", &image, status == 201).await;
        taken
    })
    .await;
    let outcomes = outcomes.lock().unwrap();
    assert!(
        outcomes.contains(&201) && outcomes.contains(&400),
        "both ends are reached"
    );
    assert!(tried > 100, "{tried} schedules");
}

#[tokio::test]
async fn what_a_head_found_is_there_for_the_manifest() {
    every_schedule(|choices| async move {
        let (bench, image) = abandoned_blob().await;
        let told = Told::default();
        let pushed = image.clone();
        let push = pusher(&bench, &told, |own, told| async move {
            let layer = sha256(&bytes(LAYER));
            let head = own
                .ask("HEAD", &format!("/v2/a/blobs/{layer}"), &[], b"")
                .await
                .status;
            told.lock().unwrap().push(head);
            if head == 200 {
                let status = own.manifest("a", "v1", &pushed).await.status;
                assert_eq!(status, 201, "a HEAD promised it");
            }
        });
        let taken = run(&[push, collecting(&bench, 1)], &choices).await;
        let found = told.lock().unwrap()[0] == 200;
        check(&bench, "a", &image, found).await;
        taken
    })
    .await;
}

#[tokio::test]
async fn a_blob_that_is_pushed_again_survives_its_removal() {
    every_schedule(|choices| async move {
        let (bench, image) = abandoned_blob().await;
        // Link and holding are gone and the blob is marked; its removal comes.
        for _ in 0..3 {
            bench.collect().await;
        }
        bench.clock.advance_seconds(2 * 3_600);
        let told = Told::default();
        let pushed = image.clone();
        let push = pusher(&bench, &told, |own, _| async move {
            own.blob("a", &bytes(LAYER)).await;
            assert_eq!(own.manifest("a", "v1", &pushed).await.status, 201);
        });
        let taken = run(&[push, collecting(&bench, 1)], &choices).await;
        check(&bench, "a", &image, true).await;
        taken
    })
    .await;
}

#[tokio::test]
async fn a_mount_beside_the_collection_holds_or_is_refused() {
    every_schedule(|choices| async move {
        let (bench, image) = abandoned_blob().await;
        let told = Told::default();
        let pushed = image.clone();
        let push = pusher(&bench, &told, |own, told| async move {
            let layer = sha256(&bytes(LAYER));
            let path = format!("/v2/b/blobs/uploads/?mount={layer}&from=a");
            let mounted = own.ask("POST", &path, &[], b"").await.status;
            told.lock().unwrap().push(mounted);
            if mounted == 201 {
                assert_eq!(own.manifest("b", "v1", &pushed).await.status, 201);
            }
        });
        let taken = run(&[push, collecting(&bench, 2)], &choices).await;
        let mounted = told.lock().unwrap()[0] == 201;
        check(&bench, "b", &image, mounted).await;
        taken
    })
    .await;
}

#[tokio::test]
async fn a_push_beside_the_deletion_of_its_repository_is_whole_or_goes_with_it() {
    let outcomes = Told::default();
    let seen = &outcomes;
    every_schedule(|choices| async move {
        let bench = bench();
        bench.image("a", "old", b"old").await;
        let layer = bench.blob("a", &bytes(LAYER)).await;
        let mut image = image_of(&layer, &layer);
        image["config"]["mediaType"] = serde_json::json!("application/x.config");
        let pushed = image.clone();
        let told = Told::default();
        let push = pusher(&bench, &told, |own, told| async move {
            let status = own.manifest("a", "v1", &pushed).await.status;
            told.lock().unwrap().push(status);
        });
        let (own, gate) = stepwise(&bench, 3_000);
        let deletion = tokio::spawn(async move {
            assert_eq!(own.delete("/acr/v1/a").await.status, 202);
        });
        let taken = run(&[push, (deletion, gate)], &choices).await;
        assert_eq!(*told.lock().unwrap(), [201]);
        bench.verify().await;
        // It was pushed before the deletion, and went with it, or after that, and is all there is.
        let found = bench.get("/v2/a/manifests/v1").await.status;
        seen.lock().unwrap().push(found);
        let list = bench.get("/v2/a/tags/list").await;
        match found {
            200 => assert_eq!(list.json()["tags"], serde_json::json!(["v1"])),
            _ => assert_eq!((found, list.status), (404, 404)),
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
